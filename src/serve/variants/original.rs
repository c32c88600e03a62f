//! The source's bytes, as a variant is made of them or as they are served in its place.
//!
//! Invariant: bytes that were taken from a body that can be read only once are not lost, whatever comes of them; those
//! that are in no store and no flight's budget are counted. It does not know pixels.

use crate::serve::body::{Body, BodyError};
use crate::store::{Body as StoredBody, Store};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Granularity of the count: a semaphore counts in 32 bits.
const UNIT: u64 = 1024;

/// From here on bytes are copied and hashed off the way of other requests.
const AT_ONCE: usize = 256 << 10;

/// Where the bytes of a source are.
#[derive(Clone)]
pub(super) enum Original {
    Stored(StoredBody),
    Here(Arc<Chunks>),
}

/// Room for sources that are held here.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// What came of reading a body to its end.
pub(super) enum Collected {
    Whole(Chunks),
    /// It is larger than was asked for; these are its first bytes, which may be none.
    TooLarge(Bytes),
    /// The room is full; as above.
    NoRoom(Bytes),
}

/// A body in pieces, and the room it takes.
#[derive(Default)]
pub(super) struct Chunks {
    chunks: Vec<Bytes>,
    length: u64,
    /// Of its bytes those that have room.
    counted: u64,
    held: Arc<Vec<OwnedSemaphorePermit>>,
}

/// Bytes that take their room for as long as anybody has them.
struct Counted {
    bytes: Bytes,
    _held: Arc<Vec<OwnedSemaphorePermit>>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Original {
    /// In one piece; `None` where a part is no longer stored.
    pub(super) async fn bytes(&self, store: &Store) -> Option<Bytes> {
        let body = match self {
            Original::Here(chunks) => return Some(chunks.joined()),
            Original::Stored(body) => body,
        };
        let mut parts = Vec::new();
        for id in body.parts() {
            let part = match store.part(&id) {
                Some(part) => part,
                None => store.load_part(&id).await?,
            };
            parts.push(part);
        }
        Some(joined(&parts))
    }

    pub(super) fn length(&self) -> u64 {
        match self {
            Original::Here(chunks) => chunks.length,
            Original::Stored(body) => body.length,
        }
    }
}

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX);
        Room(Arc::new(Semaphore::new(units.min(u32::MAX as usize))))
    }

    /// `None` where it is full.
    fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        self.0.clone().try_acquire_many_owned(units).ok()
    }
}

impl Chunks {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Takes room for what has none yet; whether there is any.
    pub(super) fn settle(&mut self, room: &Room) -> bool {
        let taken = room.take(self.length - self.counted);
        let (Some(permit), Some(held)) = (taken, Arc::get_mut(&mut self.held)) else {
            return false;
        };
        held.push(permit);
        self.counted = self.length;
        true
    }

    /// In one piece, which takes as much room as the pieces.
    pub(super) fn joined(&self) -> Bytes {
        Bytes::from_owner(Counted {
            bytes: joined(&self.chunks),
            _held: self.held.clone(),
        })
    }

    fn push(&mut self, chunk: Bytes) {
        self.length += chunk.len() as u64;
        self.chunks.push(chunk);
    }
}

/// Reads `body` to its end, unless that is further than `most` bytes, or than there is `room` for. What a flight keeps as
/// a whole is in that flight's budget, and takes none.
pub(super) async fn collect(
    body: &mut Body,
    length: Option<u64>,
    most: u64,
    room: &Room,
) -> Result<Collected, BodyError> {
    if length.is_some_and(|length| length > most) {
        return Ok(Collected::TooLarge(Bytes::new()));
    }
    let mut read = Chunks::default();
    while let Some(chunk) = body.read_at(read.length, u64::MAX).await? {
        read.push(chunk);
        let has_room = body.is_kept_whole() || read.settle(room);
        if read.length > most {
            return Ok(Collected::TooLarge(read.joined()));
        }
        if !has_room {
            return Ok(Collected::NoRoom(read.joined()));
        }
    }
    Ok(Collected::Whole(read))
}

fn joined(parts: &[Bytes]) -> Bytes {
    if let [whole] = parts {
        return whole.clone();
    }
    let length = parts.iter().map(Bytes::len).sum();
    at_length(length, || {
        let mut whole = BytesMut::with_capacity(length);
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        whole.freeze()
    })
}

/// Runs what takes as long as so many bytes do: where that is long, off the way of other requests.
pub(super) fn at_length<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > AT_ONCE {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
