//! Where an answer's body ends: after its length, after its last chunk, or with its connection.
//!
//! Invariant: a body that is cut short is an error and no end. It does not know what is in it.

use super::Connection;
use super::wire::{Head, malformed};
use bytes::{Buf, Bytes};
use std::io;
use tokio::io::AsyncReadExt;

/// Of the line that says how long a chunk is, and of a trailer's.
const LINE_BYTES_MAX: usize = 8 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunk),
    UntilClose,
    Ended,
}

/// Where in a chunked body the next byte is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    /// So many bytes of it are left; then its line ends.
    Data(u64),
    Trailers,
}

impl Framing {
    pub(super) fn of(head: &Head) -> io::Result<Self> {
        match (head.status, head.is_chunked, head.length) {
            (204 | 304, ..) => Ok(Framing::Ended),
            // RFC 9112 section 6.1: what says both may be meant to be read in two ways.
            (_, true, Some(_)) => Err(malformed("its answer has two lengths")),
            (_, true, None) => Ok(Framing::Chunked(Chunk::Size)),
            (_, false, Some(length)) => Ok(Framing::Length(length)),
            (_, false, None) => Ok(Framing::UntilClose),
        }
    }
}

impl Connection {
    /// The next bytes of a body; `None` at its end.
    pub(super) async fn next(&mut self, framing: &mut Framing) -> io::Result<Option<Bytes>> {
        loop {
            match framing {
                Framing::Ended | Framing::Length(0) => return Ok(None),
                Framing::Length(left) => return self.some(left).await.map(Some),
                Framing::UntilClose => return self.rest().await,
                Framing::Chunked(Chunk::Data(left)) if *left > 0 => return self.some(left).await.map(Some),
                Framing::Chunked(chunk) => match self.step(chunk).await? {
                    Some(next) => *chunk = next,
                    None => *framing = Framing::Ended,
                },
            }
        }
    }

    /// Up to `left` bytes, at least one.
    async fn some(&mut self, left: &mut u64) -> io::Result<Bytes> {
        if self.arrived.is_empty() {
            self.more().await?;
        }
        let length = usize::try_from(*left)
            .unwrap_or(usize::MAX)
            .min(self.arrived.len());
        *left -= length as u64;
        Ok(self.arrived.split_to(length).freeze())
    }

    async fn rest(&mut self) -> io::Result<Option<Bytes>> {
        if self.arrived.is_empty() && self.stream.read_buf(&mut self.arrived).await? == 0 {
            return Ok(None);
        }
        Ok(Some(self.arrived.split().freeze()))
    }

    /// What lies between chunks; `None` at the end of all.
    async fn step(&mut self, chunk: &Chunk) -> io::Result<Option<Chunk>> {
        let line = self.line().await?;
        match chunk {
            Chunk::Size => match httparse::parse_chunk_size(&line) {
                Ok(httparse::Status::Complete((_, 0))) => Ok(Some(Chunk::Trailers)),
                Ok(httparse::Status::Complete((_, size))) => Ok(Some(Chunk::Data(size))),
                _ => Err(malformed("its answer has a chunk without a size")),
            },
            Chunk::Data(_) if line[..] == *b"\r\n" => Ok(Some(Chunk::Size)),
            Chunk::Data(_) => Err(malformed("its answer has a chunk of another size than it says")),
            Chunk::Trailers if line[..] == *b"\r\n" => Ok(None),
            Chunk::Trailers => Ok(Some(Chunk::Trailers)),
        }
    }

    /// With its end.
    async fn line(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(end) = self.arrived.windows(2).position(|pair| pair == b"\r\n") {
                return Ok(self.arrived.copy_to_bytes(end + 2));
            }
            if self.arrived.len() > LINE_BYTES_MAX {
                return Err(malformed("its answer has a line without an end"));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.arrived).await? {
            0 => Err(malformed("its answer is not whole")),
            _ => Ok(()),
        }
    }
}
