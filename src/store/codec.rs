//! Entries and parts as bytes on the SSD.
//!
//! Numbers are little-endian. An entry: version, status, two times in milliseconds, three stale windows in seconds
//! and whether requests may allow staleness, digest, length of the body, incarnation of the log of purges, epoch, names
//! of tags after their number, then key text and header block, each after its length. A part: version, then [`WHOLE`] for a body of one
//! part or [`PIECE`] and the part's own digest, then its bytes. Invariant: bytes that were not written by this
//! version, whole, decode to nothing. It does not know where the bytes lie.

use super::entry::{Body, Entry, PartId, Stamp};
use crate::base::clock::Timestamp;
use crate::base::digest::Digest;
use crate::base::epoch::{Epoch, Incarnation, PurgeIndex};
use crate::base::holes::{Hole, is_open};
use crate::http::header_block::{HeaderBlock, HeaderBlockError};
use crate::http::lifetime::{Lifetime, StaleWindows};
use crate::scope::{ScopeName, Tags};
use bytes::{Buf, BufMut, Bytes};
use http::StatusCode;
use std::io;

/// Counts up whenever the layout changes; what another version wrote is a miss.
pub(super) const VERSION: u8 = 4;

const WHOLE: u8 = 0;
const PIECE: u8 = 1;

/// All that comes before an entry's two texts.
const ENTRY_FIXED_BYTES: usize = 1 + 2 + LIFETIME_BYTES + 32 + 8 + STAMP_FIXED_BYTES;

const LIFETIME_BYTES: usize = 2 * 8 + 3 * 4 + 1;

/// Incarnation, epoch and the number of tags.
pub(super) const STAMP_FIXED_BYTES: usize = 16 + 8 + 4;

const TAG_BYTES: usize = 8;

/// Version, kind and digest of a [`PIECE`].
const PIECE_HEADER_BYTES: usize = 2 + 32;

/// Why bytes are no entry or part; they are treated as absent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    #[error("stored bytes are of version {0}; they count as absent")]
    Version(u8),
    #[error("stored bytes end too early; they count as absent")]
    Truncated,
    #[error("stored bytes go on after their end; they count as absent")]
    Excess,
    #[error("a stored field is invalid; the bytes count as absent")]
    Field,
    #[error("stored headers are invalid; the entry counts as absent")]
    Headers(#[from] HeaderBlockError),
    #[error("a stored part's bytes are not those of its digest; it counts as absent")]
    Digest,
}

pub(super) fn encode_entry(entry: &Entry, incarnation: &Incarnation) -> Bytes {
    let headers = entry.headers.as_bytes();
    let mut bytes = Vec::with_capacity(entry_encoded_bytes(entry));
    bytes.put_u8(VERSION);
    bytes.put_u16_le(entry.status.as_u16());
    put_lifetime(&mut bytes, &entry.lifetime);
    bytes.put_slice(entry.body.digest.as_bytes());
    bytes.put_u64_le(entry.body.length);
    put_stamp(&mut bytes, &entry.stamp, incarnation);
    put_text(&mut bytes, entry.key_text.as_bytes());
    put_text(&mut bytes, headers);
    bytes.into()
}

/// What was stored under another incarnation than `incarnation` is of no known epoch.
pub(super) fn decode_entry(bytes: &Bytes, incarnation: &Incarnation) -> Result<Entry, CodecError> {
    let mut rest = &bytes[..];
    take_version(&mut rest)?;
    if rest.len() < ENTRY_FIXED_BYTES - 1 {
        return Err(CodecError::Truncated);
    }
    let status = StatusCode::from_u16(rest.get_u16_le()).map_err(|_| CodecError::Field)?;
    let lifetime = take_lifetime(&mut rest)?;
    let body = Body {
        digest: take_digest(&mut rest)?,
        length: rest.get_u64_le(),
    };
    let stamp = take_stamp(&mut rest, incarnation)?;
    let key_text = std::str::from_utf8(take_text(&mut rest)?).map_err(|_| CodecError::Field)?;
    let headers = HeaderBlock::from_bytes(Bytes::copy_from_slice(take_text(&mut rest)?))?;
    if !rest.is_empty() {
        return Err(CodecError::Excess);
    }
    let entry = Entry::from_parts(key_text.into(), status, headers, lifetime, body, stamp);
    if is_open(Hole::RaiseEpoch) {
        entry.clear_to(PurgeIndex::from_number(u64::from(u32::MAX)));
    }
    Ok(entry)
}

/// Writes a part; the digest of a [`PIECE`] is taken here, off the request's path.
pub(super) fn write_part(part: &StoredPart, writer: &mut impl io::Write) -> io::Result<()> {
    let piece: &[u8] = match part {
        StoredPart::Whole(bytes) => {
            writer.write_all(&[VERSION, WHOLE])?;
            return writer.write_all(bytes);
        }
        StoredPart::Piece(bytes) => bytes,
        StoredPart::Read(part) => &part.bytes,
    };
    writer.write_all(&[VERSION, PIECE])?;
    writer.write_all(Digest::of(piece).as_bytes())?;
    writer.write_all(piece)
}

/// Reads all that is left of `reader`. Its bytes are not proven yet.
pub(super) fn read_part(reader: &mut impl io::Read) -> io::Result<ReadPart> {
    let mut header = [0; 2];
    reader.read_exact(&mut header)?;
    let proof = match header {
        [VERSION, WHOLE] => Proof::Body,
        [VERSION, PIECE] => {
            let mut digest = [0; 32];
            reader.read_exact(&mut digest)?;
            Proof::Own(Digest::from_bytes(digest))
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    let bytes = bytes.into();
    Ok(ReadPart { proof, bytes })
}

/// A part on its way to the SSD or from it.
#[derive(Clone, Debug)]
pub(super) enum StoredPart {
    /// The only part of its body: the body's digest is its own.
    Whole(Bytes),
    Piece(Bytes),
    Read(ReadPart),
}

/// A part as it was read, with nothing proven.
#[derive(Clone, Debug)]
pub(super) struct ReadPart {
    proof: Proof,
    bytes: Box<[u8]>,
}

/// The digest that a part must have.
#[derive(Clone, Copy, Debug)]
enum Proof {
    /// That of its body, of which it is the only part.
    Body,
    Own(Digest),
}

impl ReadPart {
    /// The bytes, proven to be those that were stored under `id`.
    pub(super) fn verified(self, id: &PartId) -> Result<Box<[u8]>, CodecError> {
        let digest = match self.proof {
            Proof::Body if id.index == 0 => id.digest,
            Proof::Body => return Err(CodecError::Field),
            Proof::Own(digest) => digest,
        };
        match Digest::of(&self.bytes) == digest {
            true => Ok(self.bytes),
            false => Err(CodecError::Digest),
        }
    }
}

impl StoredPart {
    pub(super) fn new(body: &Body, bytes: Bytes) -> Self {
        match body.part_count() {
            1 => StoredPart::Whole(bytes),
            _ => StoredPart::Piece(bytes),
        }
    }

    /// An upper bound.
    pub(super) fn encoded_bytes_max(&self) -> usize {
        let bytes = match self {
            StoredPart::Whole(bytes) | StoredPart::Piece(bytes) => bytes.len(),
            StoredPart::Read(part) => part.bytes.len(),
        };
        bytes + PIECE_HEADER_BYTES
    }
}

pub(super) fn entry_encoded_bytes(entry: &Entry) -> usize {
    let tags = entry.stamp.tags.names().len() * TAG_BYTES;
    ENTRY_FIXED_BYTES + tags + 8 + entry.key_text.len() + entry.headers.as_bytes().len()
}

fn put_lifetime(bytes: &mut Vec<u8>, lifetime: &Lifetime) {
    let Lifetime {
        born_at,
        fresh_until,
        stale,
    } = lifetime;
    for time in [born_at, fresh_until] {
        bytes.put_u64_le(time.as_millis());
    }
    for seconds in [stale.while_revalidate, stale.if_error, stale.on_disconnect] {
        bytes.put_u32_le(seconds);
    }
    bytes.put_u8(stale.on_request.into());
}

/// The caller has found the bytes to be there.
fn take_lifetime(rest: &mut &[u8]) -> Result<Lifetime, CodecError> {
    let born_at = Timestamp::from_millis(rest.get_u64_le());
    let fresh_until = Timestamp::from_millis(rest.get_u64_le());
    let stale = StaleWindows {
        while_revalidate: rest.get_u32_le(),
        if_error: rest.get_u32_le(),
        on_disconnect: rest.get_u32_le(),
        on_request: take_flag(rest)?,
    };
    Ok(Lifetime::without_stale(born_at, fresh_until).with_stale(stale))
}

pub(super) fn put_stamp(bytes: &mut Vec<u8>, stamp: &Stamp, incarnation: &Incarnation) {
    bytes.put_slice(incarnation.as_bytes());
    bytes.put_u64_le(stamp.epoch.number());
    let tags = stamp.tags.names();
    bytes.put_u32_le(u32::try_from(tags.len()).expect("tags are limited far below 2^32"));
    tags.iter().for_each(|tag| bytes.put_u64_le(tag.number()));
}

/// The caller has found the fixed bytes to be there.
pub(super) fn take_stamp(rest: &mut &[u8], incarnation: &Incarnation) -> Result<Stamp, CodecError> {
    let (own, tail) = rest.split_first_chunk().ok_or(CodecError::Truncated)?;
    *rest = tail;
    let epoch = Epoch::from_number(rest.get_u64_le());
    let count = rest.get_u32_le() as usize;
    if rest.len() / TAG_BYTES < count {
        return Err(CodecError::Truncated);
    }
    let tags = (0..count).map(|_| ScopeName::from_number(rest.get_u64_le()));
    Ok(Stamp {
        tags: Tags::from_names(tags.collect()),
        epoch: match Incarnation::from_bytes(*own) == *incarnation {
            _ if is_open(Hole::ForeignIncarnation) => epoch,
            true => epoch,
            false => Epoch::UNKNOWN,
        },
    })
}

pub(super) fn take_flag(rest: &mut &[u8]) -> Result<bool, CodecError> {
    match rest.try_get_u8() {
        Ok(flag @ (0 | 1)) => Ok(flag == 1),
        Ok(_) => Err(CodecError::Field),
        Err(_) => Err(CodecError::Truncated),
    }
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.put_u32_le(u32::try_from(text.len()).expect("keys and headers are limited far below 4 GiB"));
    bytes.put_slice(text);
}

fn take_version(rest: &mut &[u8]) -> Result<(), CodecError> {
    match rest.try_get_u8() {
        Ok(VERSION) => Ok(()),
        Ok(other) => Err(CodecError::Version(other)),
        Err(_) => Err(CodecError::Truncated),
    }
}

pub(super) fn take_digest(rest: &mut &[u8]) -> Result<Digest, CodecError> {
    let (digest, tail) = rest.split_first_chunk().ok_or(CodecError::Truncated)?;
    *rest = tail;
    Ok(Digest::from_bytes(*digest))
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let length = rest.try_get_u32_le().map_err(|_| CodecError::Truncated)?;
    let (text, tail) = rest
        .split_at_checked(length as usize)
        .ok_or(CodecError::Truncated)?;
    *rest = tail;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use http::HeaderMap;
    use proptest::prelude::*;

    const LIFE: Incarnation = Incarnation::from_bytes([1; 16]);

    fn entry(key_text: &str, etag: &str) -> Entry {
        let mut headers = HeaderMap::new();
        headers.insert("etag", etag.parse().unwrap());
        let stale = StaleWindows {
            while_revalidate: 3,
            if_error: u32::MAX,
            on_disconnect: 5,
            on_request: true,
        };
        let lifetime = Lifetime::without_stale(Timestamp::from_millis(1), Timestamp::from_millis(u64::MAX));
        let lifetime = lifetime.with_stale(stale);
        let headers = HeaderBlock::pack(&headers);
        Entry::from_parts(
            key_text.into(),
            StatusCode::NOT_FOUND,
            headers,
            lifetime,
            Body::of(b"gone"),
            Stamp {
                epoch: Epoch::from_number(7),
                tags: Tags::from_names(vec![Scope::tag("sale").name()]),
            },
        )
    }

    fn decoded_part(id: &PartId, bytes: &[u8]) -> Option<Box<[u8]>> {
        read_part(&mut &bytes[..]).ok()?.verified(id).ok()
    }

    fn encoded_part(part: &StoredPart) -> Bytes {
        let mut bytes = Vec::new();
        write_part(part, &mut bytes).unwrap();
        bytes.into()
    }

    proptest! {
        #[test]
        fn an_entry_survives_being_written_and_read(key_text in ".*", etag in "[!-~]{0,300}") {
            let entry = entry(&key_text, &etag);
            let bytes = encode_entry(&entry, &LIFE);
            prop_assert_eq!(bytes.len(), entry_encoded_bytes(&entry));
            let read = decode_entry(&bytes, &LIFE).unwrap();
            prop_assert_eq!(read.key_text, entry.key_text);
            prop_assert_eq!(read.status, entry.status);
            prop_assert_eq!(read.headers, entry.headers);
            prop_assert_eq!(read.lifetime, entry.lifetime);
            prop_assert_eq!(read.body, entry.body);
            prop_assert_eq!(&read.stamp, &entry.stamp);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut bytes = bytes;
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            let bytes = Bytes::from(bytes);
            prop_assert!(decode_entry(&bytes, &LIFE).is_err());
            prop_assert!(decoded_part(&Body::of(b"x").part(0), &bytes).is_none());
        }

        #[test]
        fn a_cut_or_extended_entry_is_absent(cut in 0usize..200) {
            let bytes = encode_entry(&entry("http://shop.example/a.jpg", "\"v1\""), &LIFE);
            let cut = cut.min(bytes.len() - 1);
            prop_assert!(decode_entry(&bytes.slice(..cut), &LIFE).is_err());
            let extended = [&bytes[..], &[0]].concat();
            prop_assert_eq!(decode_entry(&extended.into(), &LIFE).unwrap_err(), CodecError::Excess);
        }

        #[test]
        fn a_part_with_any_bit_flipped_is_absent(place in 0usize..134, bit in 0u8..8) {
            let body = Body { digest: Digest::of(b"of a larger body"), length: 2 << 20 };
            for part in [StoredPart::Whole(vec![7; 100].into()), StoredPart::Piece(vec![7; 100].into())] {
                let id = match part {
                    StoredPart::Whole(_) => Body::of(&[7; 100]).part(0),
                    _ => body.part(1),
                };
                let mut bytes = encoded_part(&part).to_vec();
                let place = place.min(bytes.len() - 1);
                prop_assert_eq!(decoded_part(&id, &bytes).unwrap().to_vec(), [7; 100]);
                bytes[place] ^= 1 << bit;
                prop_assert!(decoded_part(&id, &bytes).is_none());
            }
        }
    }

    #[test]
    fn what_another_incarnation_stored_is_of_no_known_epoch() {
        let bytes = encode_entry(&entry("k", "e"), &LIFE);
        let other = Incarnation::from_bytes([2; 16]);
        assert_eq!(decode_entry(&bytes, &other).unwrap().stamp.epoch, Epoch::UNKNOWN);
    }

    #[test]
    fn another_version_is_absent() {
        let mut bytes = encode_entry(&entry("k", "e"), &LIFE).to_vec();
        bytes[0] = VERSION + 1;
        assert_eq!(
            decode_entry(&bytes.into(), &LIFE).unwrap_err(),
            CodecError::Version(VERSION + 1)
        );
    }
}
