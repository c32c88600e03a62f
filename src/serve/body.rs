//! A response's body, wherever its bytes are: read at an offset, a chunk at a time.
//!
//! Invariant: bytes come in order and complete, or an error says that they will not. Large stored bodies
//! are read ahead of the client, part by part. Knows nothing of ranges or connections.

use super::failure::FlightFailure;
use super::flight::Ticket;
use crate::base::digest::Digest;
use crate::base::metrics::Tier;
use crate::key::KeyName;
use crate::store::{Body as StoredBody, PART_BYTES, Store};
use crate::upstream::{OriginBody, OriginError};
use bytes::Bytes;
use std::collections::VecDeque;
use tokio::task::JoinHandle;

pub(crate) enum Body {
    Empty,
    Whole(Bytes),
    Parts(Parts),
    Flight(Ticket),
    Origin(OriginBody),
    /// Of a stored entry, and not looked for: a variant may answer without it.
    Later,
    /// A body that can be read only once, of which the first bytes have been.
    Begun {
        before: Bytes,
        rest: Box<Body>,
    },
    /// A body whose first byte is at `start` of the whole.
    From {
        start: u64,
        body: Box<Body>,
    },
}

/// Why a body that was begun can not be finished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("a part of the stored body has been evicted")]
    PartGone,
    /// A mistake of the edge's own.
    #[error("the stored body was to be read before it was looked for")]
    NotLookedFor,
    #[error(transparent)]
    Flight(#[from] FlightFailure),
    #[error(transparent)]
    Origin(#[from] OriginError),
}

impl Body {
    /// The body of a stored entry if memory holds it in one piece.
    pub(crate) fn in_memory(store: &Store, body: &StoredBody) -> Option<Body> {
        match body.length {
            0 => Some(Body::Empty),
            length if length <= PART_BYTES as u64 => store.part(&body.part(0)).map(Body::Whole),
            _ => None,
        }
    }

    /// Whether all that has come stays readable, and counts as its flight's.
    pub(super) fn is_kept_whole(&self) -> bool {
        matches!(self, Body::Flight(ticket) if ticket.is_kept_whole())
    }

    /// Of a body that has come whole, where that is known.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Body::Flight(ticket) => ticket.digest(),
            _ => None,
        }
    }

    /// Whether it is still on its way here: its client must not wait for more than has come.
    pub(crate) fn is_arriving(&self) -> bool {
        match self {
            Body::Flight(_) | Body::Origin(_) => true,
            Body::Begun { rest, .. } => rest.is_arriving(),
            Body::From { body, .. } => body.is_arriving(),
            Body::Empty | Body::Whole(_) | Body::Parts(_) | Body::Later => false,
        }
    }

    /// Whether all of it can be read, in any order.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self, Body::Whole(_) | Body::Parts(_))
    }

    /// The bytes of a representation from `start` on.
    pub(crate) fn from_offset(start: u64, body: Body) -> Body {
        Body::From {
            start,
            body: Box::new(body),
        }
    }

    /// The body of a stored entry, or `None` when a part of it is no longer stored.
    pub(crate) async fn stored(
        store: &Store,
        name: Option<KeyName>,
        body: &StoredBody,
        read_ahead: usize,
    ) -> Option<Body> {
        Body::find(store, name, body, read_ahead)
            .await
            .map(|(body, _)| body)
    }

    /// The same, and where its first part was.
    pub(crate) async fn find(
        store: &Store,
        name: Option<KeyName>,
        body: &StoredBody,
        read_ahead: usize,
    ) -> Option<(Body, Tier)> {
        if let Some(body) = Body::in_memory(store, body) {
            return Some((body, Tier::Memory));
        }
        if body.length <= PART_BYTES as u64 {
            let part = store.load_part(&body.part(0)).await?;
            return Some((Body::Whole(part), Tier::Ssd));
        }
        let tier = match store.peek_part(&body.part(0)) {
            Some(_) => Tier::Memory,
            None => Tier::Ssd,
        };
        let parts = Parts::open(store, name, body, read_ahead).await?;
        Some((Body::Parts(parts), tier))
    }

    /// The next chunk at `offset`, at most up to `end`; `None` is the body's end. A body that is passed
    /// through can only be read in order.
    pub(crate) async fn read_at(&mut self, offset: u64, end: u64) -> Result<Option<Bytes>, BodyError> {
        let chunk = match self {
            Body::Empty => None,
            Body::Whole(bytes) => slice_from(bytes, offset),
            Body::Parts(parts) => parts.read_at(offset, end).await?,
            Body::Flight(ticket) => ticket.read_at(offset).await?,
            Body::Origin(body) => body.next().await?,
            Body::Later => return Err(BodyError::NotLookedFor),
            Body::Begun { before, rest } => match slice_from(before, offset) {
                Some(bytes) => Some(bytes),
                None => Box::pin(rest.read_at(offset, end)).await?,
            },
            Body::From { start, body } => match offset.checked_sub(*start) {
                Some(within) => Box::pin(body.read_at(within, end - *start)).await?,
                None => None,
            },
        };
        Ok(chunk.map(|mut bytes| {
            bytes.truncate(usize::try_from(end - offset).unwrap_or(usize::MAX));
            bytes
        }))
    }
}

fn slice_from(bytes: &Bytes, offset: u64) -> Option<Bytes> {
    let offset = usize::try_from(offset)
        .ok()
        .filter(|offset| *offset < bytes.len())?;
    Some(bytes.slice(offset..))
}

/// A stored body of several parts.
pub(crate) struct Parts {
    store: Store,
    /// Of the entry that goes where a part of it has gone.
    name: Option<KeyName>,
    body: StoredBody,
    read_ahead: u32,
    /// Parts being loaded from the SSD, in order.
    coming: VecDeque<(u32, JoinHandle<Option<Bytes>>)>,
}

impl Parts {
    /// `None` when a part is certainly gone or the first can not be had, so that the answer need not break
    /// off later.
    async fn open(
        store: &Store,
        name: Option<KeyName>,
        body: &StoredBody,
        read_ahead: usize,
    ) -> Option<Parts> {
        if !store.holds_body(body) {
            return None;
        }
        let mut parts = Parts {
            store: store.clone(),
            name,
            body: *body,
            read_ahead: u32::try_from(read_ahead).unwrap_or(u32::MAX),
            coming: VecDeque::new(),
        };
        parts.part(0, PART_BYTES as u64).await?;
        Some(parts)
    }

    async fn read_at(&mut self, offset: u64, end: u64) -> Result<Option<Bytes>, BodyError> {
        if offset >= self.body.length {
            return Ok(None);
        }
        let index = (offset / PART_BYTES as u64) as u32;
        let Some(part) = self.part(index, end).await else {
            // The next request starts anew.
            self.name.into_iter().for_each(|name| self.store.forget(name));
            return Err(BodyError::PartGone);
        };
        Ok(slice_from(&part, offset % PART_BYTES as u64))
    }

    async fn part(&mut self, index: u32, end: u64) -> Option<Bytes> {
        let last = (end.min(self.body.length).max(1) - 1) / PART_BYTES as u64;
        for ahead in index..=index.saturating_add(self.read_ahead).min(last as u32) {
            self.request(ahead);
        }
        while let Some((coming, load)) = self.coming.pop_front() {
            if coming == index {
                return load.await.ok().flatten();
            }
            load.abort();
        }
        let id = self.body.part(index);
        match self.store.part(&id) {
            Some(part) => Some(part),
            None => self.store.load_part(&id).await,
        }
    }

    /// Starts loading a part that is neither in memory nor on its way.
    fn request(&mut self, index: u32) {
        let id = self.body.part(index);
        if self.coming.iter().any(|(coming, _)| *coming >= index) || self.store.peek_part(&id).is_some() {
            return;
        }
        let store = self.store.clone();
        self.coming
            .push_back((index, tokio::spawn(async move { store.load_part(&id).await })));
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.coming.iter().for_each(|(_, load)| load.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_was_not_looked_for_is_not_said_to_be_gone() {
        let error = Body::Later.read_at(0, 1).await.unwrap_err();
        assert!(matches!(error, BodyError::NotLookedFor), "{error}");
    }
}
