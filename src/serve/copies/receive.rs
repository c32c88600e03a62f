//! Copies that other nodes offer and push.
//!
//! 1. an offer is judged: is it for this node, of the same log, covered by no purge, newer than what is here?
//! 2. who is wanted gets a ticket: the time of this clock, and the era of the URL;
//! 3. what is pushed under it is aged from the ticket's time, which was before the sender wrote it, and judged once more;
//! 4. it is stored if its bytes are those of its digest, and its URL was not invalidated since the ticket.
//!
//! Invariant: a copy is stored only as what its source's own fill could have been stored as: with its epoch, tags and age. Nothing
//! that a peer sends makes this node fail. It does not know how it travels.

use super::Shared;
use super::network::Home;
use crate::base::clock::{self, Timestamp};
use crate::base::digest::Hasher;
use crate::base::epoch::Epoch;
use crate::cluster::node_client::{Offered, Ticket};
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::serve::invalidations::{Era, Invalidations};
use crate::serve::validity::standing_of;
use crate::store::{Arrived, Entry, EntryKind, PART_BYTES, TravelError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How often a copy that waits for this node's log to come to its epoch looks.
const LOG_LOOK: Duration = Duration::from_millis(5);

/// Copies of one response that came by two ways are not told apart by so little.
const SAME_BIRTH: Duration = Duration::from_secs(2);

/// A chunk takes memory beside its bytes: no more of them than if each but the last were as long as this.
const CHUNK_BYTES: u64 = 16 << 10;

/// Of the budget for bodies that arrive.
pub(super) const ARRIVAL_UNIT: u64 = 1024;

/// Why a copy is not taken; nothing of it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Travel(#[from] TravelError),
    #[error("the copy is of no URL")]
    Key,
    #[error("the copy's ticket is none of this node's")]
    Ticket,
    #[error("the copy's key is not this node's to keep")]
    NotOurs,
    #[error("the copy is of another life of the log of purges")]
    Incarnation,
    #[error("the copy is of an epoch that this node has not reached")]
    EpochAhead,
    #[error("a purge covers the copy")]
    Purged,
    #[error("what is stored is as new as the copy")]
    NotNewer,
    #[error("the copy's URL was invalidated meanwhile")]
    Invalidated,
    #[error("the copy's body is too large")]
    TooLarge,
    #[error("bodies of copies take all the memory they may")]
    Busy,
    #[error("the copy's body is not as long as it was said to be")]
    Length,
    #[error("the copy's body comes in too many pieces")]
    Chunks,
    #[error("the copy's body is not what its digest says")]
    Digest,
    #[error("the copy came without its body, which is not here")]
    NoBody,
}

/// Takes copies in.
pub(crate) struct Receiver<'a> {
    pub(super) shared: &'a Shared,
    pub(super) invalidations: &'a Invalidations,
}

/// A copy that is arriving.
pub(crate) struct Arriving {
    key: CacheKey,
    entry: Entry,
    era: Era,
    chunks: Vec<Bytes>,
    hasher: Hasher,
    received: u64,
    room: Option<OwnedSemaphorePermit>,
}

impl Refusal {
    /// Whether the sender has broken the protocol.
    pub(crate) fn is_fault(self) -> bool {
        use Refusal::{Chunks, Digest, Key, Length, Ticket, Travel};
        matches!(self, Travel(_) | Key | Ticket | Length | Chunks | Digest)
    }
}

impl Receiver<'_> {
    /// Whether what is offered is wanted.
    ///
    /// # Errors
    /// When it is not, and why.
    pub(crate) async fn offered(
        &self,
        entry: &Bytes,
        place: impl FnOnce(&CacheKey) -> Option<Home>,
    ) -> Result<Offered, Refusal> {
        let began = clock::now();
        let (Arrived { entry, incarnation }, key) = read(entry, began)?;
        let era = self.invalidations.era(&key.url_name());
        let home = place(&key).ok_or(Refusal::NotOurs)?;
        let owners = self.shared.network.owners(&home);
        if !owners.is_own() && !owners.is_next {
            return Err(Refusal::NotOurs);
        }
        if incarnation != self.shared.purges.incarnation() {
            return Err(Refusal::Incarnation);
        }
        if entry.body.length > self.shared.arriving_bytes_max {
            return Err(Refusal::TooLarge);
        }
        self.reach(entry.stamp.epoch).await?;
        self.judge(&key, &entry).await?;
        let ticket = write_ticket(clock::now(), era);
        Ok(match self.shared.store.holds_body(&entry.body) {
            true => Offered::Entry(ticket),
            false => Offered::Whole(ticket),
        })
    }

    /// What was offered comes.
    ///
    /// # Errors
    /// When it is malformed, or of another life of the log.
    pub(crate) fn begin(&self, entry: &Bytes, ticket: &Bytes) -> Result<Arriving, Refusal> {
        let (at, era) = read_ticket(ticket).ok_or(Refusal::Ticket)?;
        let (Arrived { entry, incarnation }, key) = read(entry, at.min(clock::now()))?;
        if incarnation != self.shared.purges.incarnation() {
            return Err(Refusal::Incarnation);
        }
        Ok(Arriving {
            key,
            entry,
            era,
            chunks: Vec::new(),
            hasher: Hasher::default(),
            received: 0,
            room: None,
        })
    }

    /// The next bytes of its body.
    ///
    /// # Errors
    /// When there are more than were said to be, or no memory is left for them.
    pub(crate) fn take(&self, arriving: &mut Arriving, chunk: Bytes) -> Result<(), Refusal> {
        let length = arriving.entry.body.length;
        arriving.received = arriving.received.saturating_add(chunk.len() as u64);
        if arriving.received > length {
            return Err(Refusal::Length);
        }
        if arriving.chunks.len() as u64 > length / CHUNK_BYTES {
            return Err(Refusal::Chunks);
        }
        if arriving.room.is_none() {
            let units = u32::try_from(length.div_ceil(ARRIVAL_UNIT)).map_err(|_| Refusal::TooLarge)?;
            let room = self.shared.arriving.clone().try_acquire_many_owned(units);
            arriving.room = Some(room.map_err(|_| Refusal::Busy)?);
        }
        arriving.hasher.update(&chunk);
        arriving.chunks.push(chunk);
        Ok(())
    }

    /// Stores what has come, if it is whole and still to be stored.
    ///
    /// # Errors
    /// When it is not stored, and why.
    pub(crate) async fn finish(&self, arriving: Arriving) -> Result<(), Refusal> {
        let body = arriving.entry.body;
        let is_without_body = arriving.chunks.is_empty() && body.length > 0;
        if is_without_body && !self.shared.store.holds_body(&body) {
            return Err(Refusal::NoBody);
        }
        if !is_without_body && arriving.received != body.length {
            return Err(Refusal::Length);
        }
        if !is_without_body && arriving.hasher.finish() != body.digest {
            return Err(Refusal::Digest);
        }
        self.judge(&arriving.key, &arriving.entry).await?;
        self.put(arriving, is_without_body)
    }

    /// As a fill does: what is invalidated meanwhile is taken back.
    fn put(&self, arriving: Arriving, is_without_body: bool) -> Result<(), Refusal> {
        let Arriving {
            key,
            entry,
            era,
            chunks,
            room,
            ..
        } = arriving;
        let is_current = || self.invalidations.era(&key.url_name()) == era;
        if !is_current() {
            return Err(Refusal::Invalidated);
        }
        let store = &self.shared.store;
        if is_without_body {
            store.put_entry(&key, entry);
        } else if entry.body.length > PART_BYTES as u64 {
            // Copies the whole body: its connections must not wait for that.
            tokio::task::block_in_place(|| store.put(&key, entry, &chunks));
        } else {
            store.put(&key, entry, &chunks);
        }
        drop(room);
        if !is_current() {
            store.remove(&key);
            return Err(Refusal::Invalidated);
        }
        Ok(())
    }

    /// An epoch that is ahead may be a moment ahead.
    async fn reach(&self, epoch: Epoch) -> Result<(), Refusal> {
        let patience = clock::monotonic() + self.shared.log_patience;
        while self.shared.purges.epoch() < epoch {
            if clock::monotonic() >= patience {
                return Err(Refusal::EpochAhead);
            }
            tokio::time::sleep(LOG_LOOK).await;
        }
        Ok(())
    }

    async fn judge(&self, key: &CacheKey, entry: &Entry) -> Result<(), Refusal> {
        if !self.is_valid(entry) {
            return Err(Refusal::Purged);
        }
        let present = self.shared.store.peek_entry(key).await;
        match present {
            Some((present, _)) if self.is_valid(&present) && !is_newer(entry, &present) => {
                Err(Refusal::NotNewer)
            }
            _ => Ok(()),
        }
    }

    fn is_valid(&self, entry: &Entry) -> bool {
        standing_of(&self.shared.purges, &entry.key_text, &entry.stamp) == Standing::Valid
    }
}

/// Whether a copy is to take the place of what is stored and valid.
fn is_newer(copy: &Entry, present: &Entry) -> bool {
    if copy.stamp.epoch != present.stamp.epoch {
        return copy.stamp.epoch > present.stamp.epoch;
    }
    match (copy.kind(), present.kind()) {
        // The primary's index leads to the alternates that it pushes.
        (EntryKind::Index, EntryKind::Index) => copy.headers != present.headers,
        (EntryKind::Part, EntryKind::Whole) => false,
        _ => {
            let same = copy.body == present.body && copy.headers == present.headers;
            let patience = if same { SAME_BIRTH } else { Duration::ZERO };
            copy.lifetime.born_at > present.lifetime.born_at.plus(patience)
        }
    }
}

fn read(entry: &Bytes, began: Timestamp) -> Result<(Arrived, CacheKey), Refusal> {
    let arrived = Arrived::read(entry, began)?;
    let key = CacheKey::of_url(&arrived.entry.key_text).ok_or(Refusal::Key)?;
    Ok((arrived, key))
}

fn write_ticket(at: Timestamp, era: Era) -> Ticket {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u64_le(at.as_millis());
    bytes.put_u64_le(era.number());
    Ticket(bytes.freeze())
}

fn read_ticket(mut bytes: &[u8]) -> Option<(Timestamp, Era)> {
    let at = bytes.try_get_u64_le().ok()?;
    let era = bytes.try_get_u64_le().ok()?;
    bytes
        .is_empty()
        .then(|| (Timestamp::from_millis(at), Era::from_number(era)))
}
