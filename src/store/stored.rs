//! Names and values as foyer writes and reads them.
//!
//! foyer checks its own checksum before it decodes; what decodes here is not trusted yet and goes through
//! [`codec`](super::codec). It does not know what is inside.

use super::codec::{self, StoredPart};
use super::entry::PartId;
use crate::base::digest::Digest;
use crate::key::KeyName;
use bytes::Bytes;
use foyer::Code;
use std::io::{Read, Write};

/// An encoded entry.
#[derive(Clone)]
pub(super) struct StoredEntry(pub(super) Bytes);

impl Code for StoredEntry {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer.write_all(&self.0).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        Ok(StoredEntry(read_all(reader)?))
    }

    fn estimated_size(&self) -> usize {
        self.0.len()
    }
}

impl Code for StoredPart {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        codec::write_part(self, writer).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        codec::read_part(reader)
            .map(StoredPart::Read)
            .map_err(foyer::Error::io_error)
    }

    fn estimated_size(&self) -> usize {
        self.encoded_bytes_max()
    }
}

impl Code for KeyName {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer.write_all(self.as_bytes()).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        Ok(KeyName::from_bytes(read_array(reader)?))
    }

    fn estimated_size(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Code for PartId {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer
            .write_all(self.digest.as_bytes())
            .and_then(|()| writer.write_all(&self.index.to_le_bytes()))
            .map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        Ok(PartId {
            digest: Digest::from_bytes(read_array(reader)?),
            index: u32::from_le_bytes(read_array(reader)?),
        })
    }

    fn estimated_size(&self) -> usize {
        size_of::<PartId>()
    }
}

fn read_all(reader: &mut impl Read) -> foyer::Result<Bytes> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(foyer::Error::io_error)?;
    Ok(bytes.into())
}

fn read_array<const N: usize>(reader: &mut impl Read) -> foyer::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map_err(foyer::Error::io_error)?;
    Ok(bytes)
}
