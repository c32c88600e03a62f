//! Where variants are kept: in the store, under names of their own.
//!
//! A variant is a pure function of its source's bytes, its spec and the encoder. So it never goes stale; it is there or
//! has been evicted, and whoever has other bytes has other variants. Invariant: no source has more variants here than its
//! route allows, as far as this process has seen them made: one too many makes the oldest go. It does not know how
//! they are made.

use crate::base::clock::Timestamp;
use crate::base::digest::{Digest, Hex};
use crate::base::metrics::Tier;
use crate::http::freshness::Lifetime;
use crate::http::header_block::HeaderBlock;
use crate::image::ENCODER;
use crate::key::{CacheKey, KeyName};
use crate::serve::body::Body;
use crate::serve::look_up;
use crate::spec::Spec;
use crate::store::{Body as StoredBody, Entry, PART_BYTES, Stamp, Store};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Sources whose variants are counted; of the oldest ones beyond it the count is forgotten.
const SOURCES_MAX: usize = 65_536;

/// Never stale.
const FOR_EVER: Lifetime =
    Lifetime::without_stale(Timestamp::from_millis(0), Timestamp::from_millis(u64::MAX));

pub(super) struct Shelf {
    store: Store,
    counts: Mutex<Counts>,
}

/// A variant that is there.
pub(super) struct Found {
    pub(super) entry: Arc<Entry>,
    pub(super) body: Body,
    pub(super) tier: Tier,
}

/// The names of variants by their source, oldest first.
#[derive(Default)]
struct Counts {
    by_source: HashMap<Digest, VecDeque<KeyName>>,
    sources: VecDeque<Digest>,
}

/// The key of what `spec` makes of a source.
pub(super) fn variant_key(source: &Digest, spec: &Spec) -> CacheKey {
    CacheKey::variant(source, format_args!("{spec};{ENCODER}"))
}

impl Shelf {
    pub(super) fn new(store: Store) -> Self {
        Shelf {
            store,
            counts: Mutex::default(),
        }
    }

    /// If memory holds it in one piece.
    pub(super) fn in_memory(&self, key: &CacheKey) -> Option<Found> {
        let entry = self.store.entry(key)?;
        let body = Body::in_memory(&self.store, &entry.body)?;
        Some(Found {
            entry,
            body,
            tier: Tier::Memory,
        })
    }

    /// If memory holds all of it.
    pub(super) fn present(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let is_whole = |entry: &Arc<Entry>| entry.body.parts().all(|id| self.store.peek_part(&id).is_some());
        self.store.entry(key).filter(is_whole)
    }

    /// Memory first, then SSD.
    pub(super) async fn find(&self, key: &CacheKey, read_ahead: usize) -> Option<Found> {
        let (entry, tier) = look_up::find(&self.store, key).await?;
        let found = self.take(entry, read_ahead).await?;
        Some(Found {
            tier: tier.and(found.tier),
            ..found
        })
    }

    /// With its body.
    pub(super) async fn take(&self, entry: Arc<Entry>, read_ahead: usize) -> Option<Found> {
        let (body, tier) = Body::find(&self.store, Some(entry.name()), &entry.body, read_ahead).await?;
        Some(Found { entry, body, tier })
    }

    /// Puts what has been made of `source`; no more than `most` of one source stay.
    pub(super) fn put(
        &self,
        source: &Digest,
        key: &CacheKey,
        media_type: &'static str,
        bytes: &Bytes,
        most: usize,
    ) -> Arc<Entry> {
        let entry = variant_entry(key, media_type, StoredBody::of(bytes));
        let put = || self.store.put(key, entry, std::slice::from_ref(bytes));
        let entry = if bytes.len() > PART_BYTES {
            // Copies the whole: its connections must not wait for that.
            tokio::task::block_in_place(put)
        } else {
            put()
        };
        self.keep_at_most(most, source, key);
        entry
    }

    /// Notes that the source itself is what `key` stands for: its bytes are stored already.
    pub(super) fn put_unchanged(
        &self,
        source: &Digest,
        key: &CacheKey,
        media_type: &'static str,
        body: StoredBody,
        most: usize,
    ) -> Arc<Entry> {
        let entry = self.store.put_entry(key, variant_entry(key, media_type, body));
        self.keep_at_most(most, source, key);
        entry
    }

    fn keep_at_most(&self, most: usize, source: &Digest, key: &CacheKey) {
        let gone = self.counts.lock().add(*source, key.name(), most);
        gone.into_iter().for_each(|name| self.store.discard(name, source));
    }
}

/// What is known of a variant: its type, and a strong tag, which is its own and no other bytes'.
pub(super) fn variant_entry(key: &CacheKey, media_type: &'static str, body: StoredBody) -> Entry {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(ETAG, entity_tag(&body.digest));
    Entry::new(
        key,
        StatusCode::OK,
        HeaderBlock::pack(&headers),
        FOR_EVER,
        body,
        Stamp::default(),
    )
}

/// That of bytes which are not stored.
pub(super) fn entry_of(key: &CacheKey, media_type: &'static str, bytes: &[u8]) -> Entry {
    variant_entry(key, media_type, StoredBody::of(bytes))
}

/// 128 bits of the digest: as many as an attacker can not make collide.
fn entity_tag(digest: &Digest) -> HeaderValue {
    let tag = Hex(&digest.as_bytes()[..16]);
    HeaderValue::try_from(format!("\"{tag}\"")).expect("quoted hexadecimal digits are a field value")
}

impl Counts {
    /// The names that are too many now.
    fn add(&mut self, source: Digest, name: KeyName, most: usize) -> Vec<KeyName> {
        if !self.by_source.contains_key(&source) {
            self.sources.push_back(source);
        }
        let names = self.by_source.entry(source).or_default();
        if !names.contains(&name) {
            names.push_back(name);
        }
        let excess = names.len().saturating_sub(most.max(1));
        let gone = names.drain(..excess).collect();
        if self.sources.len() > SOURCES_MAX
            && let Some(oldest) = self.sources.pop_front()
        {
            self.by_source.remove(&oldest);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> KeyName {
        KeyName::from_bytes([number; 16])
    }

    #[test]
    fn one_variant_too_many_makes_the_oldest_of_its_source_go() {
        let mut counts = Counts::default();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert_eq!(counts.add(one, name(1), 2), []);
        assert_eq!(counts.add(other, name(9), 2), []);
        assert_eq!(counts.add(one, name(2), 2), []);
        assert_eq!(counts.add(one, name(1), 2), [], "it is there already");
        assert_eq!(counts.add(one, name(3), 2), [name(1)]);
        assert_eq!(counts.add(one, name(4), 1), [name(2), name(3)]);
    }

    #[test]
    fn the_counts_are_of_so_many_sources_and_no_more() {
        let mut counts = Counts::default();
        for number in 0..SOURCES_MAX + 10 {
            counts.add(Digest::of(&number.to_le_bytes()), name(1), 2);
        }
        assert_eq!(counts.by_source.len(), SOURCES_MAX);
        assert_eq!(counts.sources.len(), SOURCES_MAX);
    }

    #[test]
    fn a_variant_has_a_strong_tag_of_its_bytes_alone() {
        let key = variant_key(&Digest::of(b"source"), &Spec::default());
        let tag = |bytes: &[u8]| {
            variant_entry(&key, "image/webp", StoredBody::of(bytes))
                .headers
                .get(&ETAG)
        };
        assert_eq!(tag(b"a"), tag(b"a"));
        assert_ne!(tag(b"a"), tag(b"b"));
        assert_eq!(tag(b"a").unwrap().len(), 34);
    }
}
