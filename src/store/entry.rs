//! Entries and the names of their bodies' parts.
//!
//! An entry is what is known of a stored response; its body is named by digest and kept apart, so that equal
//! bodies under many keys are stored once and a 304 rewrites nothing but the entry. Invariant: but for three notes, an entry
//! never changes; a new fact makes a new entry. They are where it is written, whether it may still be, and up to which
//! purge it was found clear, which is never further than was looked. A million of them stay in memory, so every field is
//! compact. It does not know tiers.

use crate::base::digest::Digest;
use crate::base::epoch::{Epoch, PurgeIndex};
use crate::http::freshness::Lifetime;
use crate::http::header_block::HeaderBlock;
use crate::key::{CacheKey, KeyName};
use crate::scope::Tags;
use bytes::Bytes;
use http::StatusCode;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// Bodies are stored in parts of this many bytes; only the last is shorter.
pub const PART_BYTES: usize = 1 << 20;

/// A stored response without its body, or the index of a URL's alternates in its place.
#[derive(Debug)]
pub struct Entry {
    /// The key in full: two keys of one name are told apart by it.
    pub key_text: Box<str>,
    pub status: StatusCode,
    pub headers: HeaderBlock,
    pub lifetime: Lifetime,
    pub body: Body,
    pub stamp: Stamp,
    /// Up to how many indexes after the epoch no purge covers it.
    cleared: AtomicU32,
    /// The generation it was given to the SSD in, or [`MEMORY_ALONE`], and [`WITHDRAWN`].
    written: AtomicU16,
}

/// By which purges know a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// At which the origin was asked for it.
    pub epoch: Epoch,
    pub tags: Tags,
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole,
    /// One run of a representation's bytes, which its `Content-Range` tells.
    Part,
    /// No response: its headers are the index of the URL's alternates.
    Index,
}

/// No response that is stored is interim, so that this status marks an index without taking any room.
const INDEX: StatusCode = StatusCode::CONTINUE;

/// The name and size of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body {
    pub digest: Digest,
    /// In bytes.
    pub length: u64,
}

/// The name of a part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartId {
    /// Of the whole body.
    pub digest: Digest,
    pub index: u32,
}

/// One opening of the SSD tier, in 15 bits. What was written in an earlier one may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u16);

/// The bit that no generation has.
const WITHDRAWN: u16 = 1 << 15;

/// In a generation's place: it is never given to the SSD.
const MEMORY_ALONE: u16 = WITHDRAWN - 1;

impl Entry {
    pub fn new(
        key: &CacheKey,
        status: StatusCode,
        headers: HeaderBlock,
        lifetime: Lifetime,
        body: Body,
        stamp: Stamp,
    ) -> Self {
        Entry::from_parts(key.text().into(), status, headers, lifetime, body, stamp)
    }

    /// The index of a URL's alternates, kept for as long as `lifetime` says.
    pub fn index(key: &CacheKey, headers: HeaderBlock, lifetime: Lifetime, epoch: Epoch) -> Self {
        let stamp = Stamp {
            epoch,
            tags: Tags::default(),
        };
        Entry::new(key, INDEX, headers, lifetime, Body::of(b""), stamp)
    }

    /// Of its key.
    pub fn name(&self) -> KeyName {
        KeyName::of(&self.key_text)
    }

    pub fn kind(&self) -> Kind {
        match self.status {
            INDEX => Kind::Index,
            StatusCode::PARTIAL_CONTENT => Kind::Part,
            _ => Kind::Whole,
        }
    }

    pub(super) fn from_parts(
        key_text: Box<str>,
        status: StatusCode,
        headers: HeaderBlock,
        lifetime: Lifetime,
        body: Body,
        stamp: Stamp,
    ) -> Self {
        Entry {
            key_text,
            status,
            headers,
            lifetime,
            body,
            stamp,
            cleared: AtomicU32::new(0),
            written: AtomicU16::new(Generation::NONE.0),
        }
    }

    /// The same body with the headers and times that a 304 brought, and by which purges know it from now on.
    pub fn refreshed(&self, headers: HeaderBlock, lifetime: Lifetime, stamp: Stamp) -> Self {
        Entry::from_parts(
            self.key_text.clone(),
            self.status,
            headers,
            lifetime,
            self.body,
            stamp,
        )
    }

    /// Whether no purge up to `index` was found to cover it.
    pub fn is_cleared_to(&self, index: PurgeIndex) -> bool {
        let (epoch, index) = (self.stamp.epoch.number(), index.number());
        let cleared = u64::from(self.cleared.load(Ordering::Relaxed));
        // An epoch that is ahead is of a log that has lost its end.
        epoch != 0 && epoch <= index && index <= epoch + cleared
    }

    /// Notes that no purge up to `index` covers it: what it is stored with never changes, so that only later ones have
    /// to be looked for.
    pub fn clear_to(&self, index: PurgeIndex) {
        let after = index.number().saturating_sub(self.stamp.epoch.number());
        let after = u32::try_from(after).unwrap_or_default();
        self.cleared.fetch_max(after, Ordering::Relaxed);
    }

    /// Notes that it is never to be given to the SSD: it is another node's, or it is hot and soon gone. To be called before
    /// it is stored.
    pub fn keep_in_memory_alone(&self) {
        self.written.store(MEMORY_ALONE, Ordering::Relaxed);
    }

    pub fn is_kept_in_memory_alone(&self) -> bool {
        self.written.load(Ordering::Relaxed) & !WITHDRAWN == MEMORY_ALONE
    }

    /// Whether nothing is to be written of it in `generation`: it was given to the SSD, or never is.
    pub(super) fn is_written_in(&self, generation: Generation) -> bool {
        let written = self.written.load(Ordering::Relaxed) & !WITHDRAWN;
        written == generation.0 || written == MEMORY_ALONE
    }

    /// Notes that it is given to the SSD; false when another was first.
    pub(super) fn claim_for(&self, generation: Generation) -> bool {
        let claim = |written: u16| match written & !WITHDRAWN {
            MEMORY_ALONE => None,
            _ => Some(written & WITHDRAWN | generation.0),
        };
        let before = self
            .written
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        before.is_ok_and(|written| written & !WITHDRAWN != generation.0)
    }

    /// It was removed, or another took its place: what is still to be written of it is not.
    pub(super) fn withdraw(&self) {
        self.written.fetch_or(WITHDRAWN, Ordering::SeqCst);
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.written.load(Ordering::SeqCst) & WITHDRAWN != 0
    }

    /// Takes the note back: the next hit tries again.
    pub(super) fn release(&self) {
        self.written.fetch_and(WITHDRAWN, Ordering::Relaxed);
    }
}

impl Stamp {
    /// Of what is made of both.
    #[must_use]
    pub fn joined(&self, other: &Stamp) -> Self {
        Stamp {
            epoch: self.epoch.min(other.epoch),
            tags: self.tags.joined(&other.tags),
        }
    }
}

impl Body {
    pub fn of(bytes: &[u8]) -> Self {
        Body {
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
        }
    }

    /// Zero for an empty body.
    pub fn part_count(&self) -> u32 {
        u32::try_from(self.length.div_ceil(PART_BYTES as u64)).unwrap_or(u32::MAX)
    }

    pub fn part(&self, index: u32) -> PartId {
        PartId {
            digest: self.digest,
            index,
        }
    }

    pub fn parts(&self) -> impl Iterator<Item = PartId> + use<> {
        let body = *self;
        (0..body.part_count()).map(move |index| body.part(index))
    }
}

impl Generation {
    /// No SSD tier is open.
    pub(super) const NONE: Generation = Generation(0);

    pub(super) fn from_number(number: u16) -> Self {
        Generation(number)
    }

    pub(super) fn number(self) -> u16 {
        self.0
    }

    pub(super) fn next(self) -> Self {
        match self.0 + 1 {
            MEMORY_ALONE.. => Generation(1),
            next => Generation(next),
        }
    }
}

/// Copies a body into parts of their exact size: a chunk may be a sliver of a large network buffer, which it
/// would keep alive.
pub(super) fn into_parts(chunks: &[Bytes], length: u64) -> Vec<Box<[u8]>> {
    let mut left = usize::try_from(length).expect("the body is in memory");
    let mut parts = Vec::with_capacity(left.div_ceil(PART_BYTES));
    let mut chunks = chunks.iter().map(|chunk| &chunk[..]);
    let mut chunk: &[u8] = &[];
    while left > 0 {
        let part_bytes = left.min(PART_BYTES);
        let mut part = Vec::with_capacity(part_bytes);
        while part.len() < part_bytes {
            if chunk.is_empty() {
                chunk = chunks.next().expect("the chunks are as long as the body");
            }
            let (taken, rest) = chunk.split_at(chunk.len().min(part_bytes - part.len()));
            part.extend_from_slice(taken);
            chunk = rest;
        }
        left -= part_bytes;
        parts.push(part.into_boxed_slice());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_as_many_parts_as_its_length_needs() {
        let parts = |length| Body {
            digest: Digest::of(b""),
            length,
        };
        for (length, count) in [(0, 0), (1, 1), (1 << 20, 1), ((1 << 20) + 1, 2), (30 << 20, 30)] {
            assert_eq!(parts(length).part_count(), count, "{length}");
            assert_eq!(parts(length).parts().count() as u32, count, "{length}");
        }
    }

    #[test]
    fn what_is_kept_in_memory_alone_is_never_claimed_for_the_ssd() {
        let lifetime = Lifetime::without_stale(Default::default(), Default::default());
        let (status, headers) = (StatusCode::OK, HeaderBlock::default());
        let entry = Entry::from_parts(
            "k".into(),
            status,
            headers,
            lifetime,
            Body::of(b""),
            Stamp::default(),
        );
        let generation = Generation::NONE.next();
        assert!(!entry.is_written_in(generation) && !entry.is_kept_in_memory_alone());
        entry.keep_in_memory_alone();
        assert!(entry.is_written_in(generation) && entry.is_kept_in_memory_alone());
        assert!(!entry.claim_for(generation));
        entry.withdraw();
        assert!(entry.is_kept_in_memory_alone() && !entry.claim_for(generation));
    }

    #[test]
    fn no_generation_looks_like_a_mark() {
        let mut generation = Generation::NONE;
        for _ in 0..1 << 16 {
            generation = generation.next();
            assert!((1..MEMORY_ALONE).contains(&generation.number()));
        }
    }

    #[test]
    fn an_entry_with_its_counts_fits_into_160_bytes() {
        assert!(
            size_of::<Entry>() + 2 * size_of::<usize>() <= 160,
            "{}",
            size_of::<Entry>()
        );
    }
}
