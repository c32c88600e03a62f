//! The bytes of a fill in their order: the origin's, with stored ones before or after them.
//!
//! Invariant: a source that ends without an error has given all bytes of all its pieces. It does not know readers.

use super::body::Body;
use super::failure::FlightFailure;
use crate::upstream::OriginBody;
use bytes::Bytes;

pub(super) struct Source {
    before: Option<Piece>,
    origin: Option<OriginBody>,
    after: Option<Piece>,
}

/// Stored bytes.
pub(super) struct Piece {
    body: Body,
    at: u64,
    length: u64,
}

impl Piece {
    pub(super) fn new(body: Body, length: u64) -> Self {
        Piece { body, at: 0, length }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FlightFailure> {
        if self.at == self.length {
            return Ok(None);
        }
        let chunk = self.body.read_at(self.at, self.length).await;
        let chunk = chunk.ok().flatten().ok_or(FlightFailure::PartGone)?;
        self.at += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

impl Source {
    pub(super) fn of(origin: OriginBody) -> Self {
        Source {
            before: None,
            origin: Some(origin),
            after: None,
        }
    }

    pub(super) fn preceded_by(self, before: Piece) -> Self {
        Source {
            before: Some(before),
            ..self
        }
    }

    pub(super) fn followed_by(self, after: Piece) -> Self {
        Source {
            after: Some(after),
            ..self
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FlightFailure> {
        if let Some(before) = &mut self.before {
            match before.next().await? {
                Some(chunk) => return Ok(Some(chunk)),
                None => self.before = None,
            }
        }
        if let Some(origin) = &mut self.origin {
            match origin.next().await? {
                Some(chunk) => return Ok(Some(chunk)),
                None => self.origin = None,
            }
        }
        match &mut self.after {
            Some(after) => after.next().await,
            None => Ok(None),
        }
    }
}
