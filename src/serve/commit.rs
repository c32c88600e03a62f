//! Where a response is stored: under its URL's own key, with the alternates, or joined with a stored part.
//!
//! Invariant: what was asked of the origin before its URL was invalidated, or purged, is not stored after; what is made of
//! two answers is as old as the older. It does not know readers.

use super::body::Body;
use super::copies::{Home, Keeping};
use super::fill::{Fill, Incoming, Received};
use super::fills::Fills;
use super::flight::BUDGET_UNIT;
use super::indexes::alternate_key;
use super::look_up::load;
use super::served::Part;
use super::source::Piece;
use super::trip::Extent;
use crate::base::clock;
use crate::base::digest::Hasher;
use crate::base::metrics::HotCopyResult;
use crate::http::alternates::Known;
use crate::http::conditional::{Validators, updated_by_304};
use crate::http::freshness::Lifetime;
use crate::http::header_block::HeaderBlock;
use crate::http::partial::{Joined, Run, same_representation};
use crate::http::range::content_range;
use crate::key::CacheKey;
use crate::store::{Body as StoredBody, Entry, EntryKind, PART_BYTES, Stamp, Store};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedSemaphorePermit;

/// The least part of the stored bytes that fresh ones must be, so that joining many ranges costs no more than a few times
/// their sum.
const JOIN_FRACTION: u64 = 16;

/// What is put into the store.
struct Stored {
    status: StatusCode,
    headers: HeaderMap,
    received: Received,
    stamp: Stamp,
}

/// What is stored where a part is to be stored.
enum Beside {
    Nothing,
    Part(Part, HeaderMap),
    Whole,
}

impl Fill {
    pub(super) async fn commit(&self, incoming: &Incoming, lifetime: Lifetime, received: Received) {
        let _storing = self.questions.store();
        let stored = Stored {
            status: incoming.status,
            headers: incoming.headers.clone(),
            received,
            stamp: incoming.stamp.clone(),
        };
        let stored = match self.extent {
            Extent::Range(_) if stored.status == StatusCode::PARTIAL_CONTENT => {
                match self.with_stored_part(stored).await {
                    Some(joined) => joined,
                    None => return,
                }
            }
            _ => stored,
        };
        let key = self.place(&stored.headers, lifetime);
        let Stored {
            status,
            headers,
            received: Received { body, chunks },
            stamp,
        } = stored;
        let entry = Entry::new(&key, status, HeaderBlock::pack(&headers), lifetime, body, stamp);
        if body.length > PART_BYTES as u64 {
            // Copies the whole body: its connections must not wait for that.
            tokio::task::block_in_place(|| self.put(&key, entry, &chunks));
        } else {
            self.put(&key, entry, &chunks);
        }
    }

    /// Lets `put` store under `key` what was asked of the origin, unless a purge has overtaken it or its URL has been
    /// invalidated since. What is invalidated meanwhile is taken back; what is purged meanwhile is found out when it is
    /// looked for.
    pub(super) fn store(&self, key: &CacheKey, entry: Entry, put: impl FnOnce(&Store, Entry)) {
        let Fills {
            store,
            invalidations,
            copies,
            metrics,
            ..
        } = &*self.fills;
        if !self.fills.is_valid(&entry) {
            let was_known = self.overtaken.swap(true, Ordering::Relaxed);
            metrics.fills_fenced.inc_by(u64::from(!was_known));
            return;
        }
        let is_current = || invalidations.era(&self.url.name()) == self.era;
        if is_current() {
            let home = self.home();
            let body_bytes = entry.body.length;
            if copies.keeping(&home) == Keeping::Memory {
                entry.keep_in_memory_alone();
            }
            put(store, entry);
            match is_current() {
                true => copies.stored(&home, key, body_bytes),
                false => store.remove(key),
            }
        }
    }

    fn home(&self) -> Home {
        Home::by(self.url.name(), &self.route)
    }

    fn put(&self, key: &CacheKey, entry: Entry, chunks: &[Bytes]) {
        self.store(key, entry, |store, entry| {
            store.put(key, entry, chunks);
            let copies = &self.fills.copies;
            copies.filled(&self.url.name(), HotCopyResult::Stored);
        });
    }

    /// The key for a response with these headers; where it varies, it is noted in the URL's index.
    fn place(&self, headers: &HeaderMap, lifetime: Lifetime) -> CacheKey {
        let Some(alternate) = self.alternate(headers) else {
            return self.url.clone();
        };
        let known = Known {
            selection: alternate.selection,
            etag: headers.get(header::ETAG).cloned(),
        };
        let index = self.note(&alternate, lifetime, Some(known));
        alternate_key(&self.url, index.series(), alternate.selection)
    }

    /// An entry that a 304 renewed, under its own key and, where that is another, under the one that was asked for.
    pub(super) fn put_renewed(
        &self,
        key: &CacheKey,
        entry: &Arc<Entry>,
        headers: HeaderBlock,
        lifetime: Lifetime,
        stamp: &Stamp,
    ) -> Arc<Entry> {
        let _storing = self.questions.store();
        let own = self.place(&headers.to_map(), lifetime);
        let refreshed = || entry.refreshed(headers.clone(), lifetime, stamp.clone());
        let mut renewed = Arc::new(refreshed());
        self.store(key, refreshed(), |store, entry| {
            store.renew_entry(key, entry);
        });
        if own.name() != key.name() {
            let (status, headers) = (entry.status, headers.clone());
            let copy = Entry::new(&own, status, headers, lifetime, entry.body, stamp.clone());
            self.store(&own, copy, |store, copy| {
                renewed = store.renew_entry(&own, copy);
            });
        }
        renewed
    }

    /// A part, together with the one that is stored where both are of one representation. `None`: what is stored is
    /// better.
    async fn with_stored_part(&self, fresh: Stored) -> Option<Stored> {
        let (part, stored_headers) = match self.stored_beside().await {
            Beside::Nothing => return Some(fresh),
            Beside::Whole => return None,
            Beside::Part(part, headers) => (part, headers),
        };
        let fresh_run = Run::of(&fresh.headers, fresh.received.body.length)?;
        let same = same_representation(&Validators::of(&stored_headers), &Validators::of(&fresh.headers));
        if !same {
            return Some(fresh);
        }
        // What is stale is worth less than what has just come.
        let is_better = fresh.received.body.length > part.entry.body.length
            || !part.entry.lifetime.is_fresh(clock::now());
        let joined = part.run.join(&fresh_run);
        let Some(joined) = joined.filter(|joined| is_worth_joining(joined, &part, &fresh)) else {
            return is_better.then_some(fresh);
        };
        let Some(_budget) = self.budget_to_join(&part, &fresh.received) else {
            return is_better.then_some(fresh);
        };
        let stored_bytes = self.bytes_of(&part).await;
        let (chunks, run) = match (joined, stored_bytes) {
            (Joined::StoredAlone, _) => return is_better.then_some(fresh),
            (Joined::StoredThenFresh { skip, run }, Some(stored)) => {
                (concatenated(stored, skipped(fresh.received.chunks, skip)), run)
            }
            (Joined::FreshThenStored { skip, run }, Some(stored)) => {
                (concatenated(fresh.received.chunks, skipped(stored, skip)), run)
            }
            (Joined::FreshAlone, _) | (_, None) => return Some(fresh),
        };
        let mut headers = updated_by_304(&stored_headers, &fresh.headers);
        let status = if run.is_whole() {
            headers.remove(header::CONTENT_RANGE);
            StatusCode::OK
        } else {
            headers.insert(
                header::CONTENT_RANGE,
                content_range(&(run.first..=run.last), run.length),
            );
            StatusCode::PARTIAL_CONTENT
        };
        Some(Stored {
            status,
            headers,
            stamp: fresh.stamp.joined(&part.entry.stamp),
            received: tokio::task::block_in_place(|| whole(chunks)),
        })
    }

    /// Room for the stored bytes beside the fresh ones, where both together are not too large.
    fn budget_to_join(&self, part: &Part, fresh: &Received) -> Option<OwnedSemaphorePermit> {
        let stored = part.entry.body.length;
        let units = u32::try_from(stored.div_ceil(BUDGET_UNIT)).ok()?;
        let fits = stored + fresh.body.length <= self.route.object_bytes_max;
        fits.then(|| self.fills.budget.clone().try_acquire_many_owned(units).ok())?
    }

    /// What is stored now, where a part is to be: another range may have been joined, or the whole stored, meanwhile.
    async fn stored_beside(&self) -> Beside {
        let Some(entry) = load(&self.fills.store, &self.key).await else {
            return Beside::Nothing;
        };
        if !self.fills.is_valid(&entry) {
            return Beside::Nothing;
        }
        match entry.kind() {
            EntryKind::Whole if self.serves(&entry) => Beside::Whole,
            EntryKind::Index | EntryKind::Whole => Beside::Nothing,
            EntryKind::Part => {
                let headers = entry.headers.to_map();
                match Run::of(&headers, entry.body.length) {
                    Some(run) => Beside::Part(Part { entry, run }, headers),
                    None => Beside::Nothing,
                }
            }
        }
    }

    async fn bytes_of(&self, part: &Part) -> Option<Vec<Bytes>> {
        let length = part.entry.body.length;
        let body = Body::stored(&self.fills.store, Some(self.key.name()), &part.entry.body, 1).await?;
        let mut piece = Piece::new(body, length);
        let mut chunks = Vec::new();
        while let Some(chunk) = piece.next().await.ok()? {
            chunks.push(chunk);
        }
        Some(chunks)
    }
}

/// Joining writes all bytes again: a few more are not worth that, unless they complete the whole.
fn is_worth_joining(joined: &Joined, part: &Part, fresh: &Stored) -> bool {
    let completes = match joined {
        Joined::StoredThenFresh { run, .. } | Joined::FreshThenStored { run, .. } => run.is_whole(),
        Joined::FreshAlone | Joined::StoredAlone => true,
    };
    completes || fresh.received.body.length >= part.entry.body.length / JOIN_FRACTION
}

fn whole(chunks: Vec<Bytes>) -> Received {
    let mut hasher = Hasher::default();
    chunks.iter().for_each(|chunk| hasher.update(chunk));
    let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    Received {
        body: StoredBody {
            digest: hasher.finish(),
            length,
        },
        chunks,
    }
}

fn concatenated(mut first: Vec<Bytes>, second: Vec<Bytes>) -> Vec<Bytes> {
    first.extend(second);
    first
}

/// Without the first `skip` bytes.
fn skipped(chunks: Vec<Bytes>, skip: u64) -> Vec<Bytes> {
    let mut left = usize::try_from(skip).unwrap_or(usize::MAX);
    let rest = chunks.into_iter().map(|mut chunk| {
        let cut = left.min(chunk.len());
        left -= cut;
        chunk.split_off(cut)
    });
    rest.filter(|chunk| !chunk.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_skipped_across_chunks_and_no_more() {
        let chunks = || {
            vec![
                Bytes::from_static(b"abc"),
                Bytes::from_static(b"de"),
                Bytes::from_static(b"f"),
            ]
        };
        for skip in 0..=7 {
            let left = skipped(chunks(), skip as u64).concat();
            assert_eq!(left, &b"abcdef"[skip.min(6)..], "{skip}");
        }
        assert!(skipped(chunks(), 4).iter().all(|chunk| !chunk.is_empty()));
    }

    #[test]
    fn a_body_of_pieces_has_the_digest_of_the_whole() {
        let joined = concatenated(vec![Bytes::from_static(b"ab")], vec![Bytes::from_static(b"c")]);
        assert_eq!(whole(joined).body, StoredBody::of(b"abc"));
    }
}
