//! The indexes of URLs whose responses vary: which alternate a request selects, and where that is stored.
//!
//! Invariant: an index that is gone takes all its alternates with it: the next one has another series, which is part of
//! its alternates' keys. It does not know flights.

use crate::base::digest::Hex;
use crate::http::alternates::{Alternates, Known};
use crate::http::freshness::Lifetime;
use crate::http::vary::{Fields, Selection, VaryPolicy};
use crate::key::CacheKey;
use crate::store::{Entry, EntryKind, Store};
use http::HeaderMap;
use parking_lot::Mutex;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Bytes of a selection's digest that tell alternates apart, as many as tell keys apart.
const SELECTION_BYTES: usize = 16;

/// Changes of indexes, one at a time: each is read, changed and put back.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<()>);

/// What tells an alternate from the others of its URL.
struct Distinction {
    series: u64,
    selection: Selection,
}

impl fmt::Display for Distinction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-", self.series)?;
        let digest = self.selection.digest();
        write!(f, "{}", Hex(&digest.as_bytes()[..SELECTION_BYTES]))
    }
}

/// The key of one alternate.
pub(crate) fn alternate_key(url: &CacheKey, series: u64, selection: Selection) -> CacheKey {
    url.alternate(Distinction { series, selection })
}

/// The key of what a request selects; `None` where the index can not be read.
pub(crate) fn selected_key(
    url: &CacheKey,
    index: &Entry,
    request: &HeaderMap,
    policy: &VaryPolicy,
) -> Option<CacheKey> {
    let (series, selection) = Alternates::select_in(&index.headers, request, policy)?;
    Some(alternate_key(url, series, selection))
}

impl Indexes {
    /// The index of `url` for responses that vary by `fields`, with `known` among its alternates. Where that is news it is
    /// handed to `put`, to be kept for as long as `lifetime` at least. An index for other fields gives way, and its
    /// alternates with it.
    pub(crate) fn note(
        &self,
        store: &Store,
        url: &CacheKey,
        fields: &Fields,
        lifetime: Lifetime,
        known: Option<Known>,
        put: impl FnOnce(Entry),
    ) -> Alternates {
        let _one_at_a_time = self.0.lock();
        let present = store
            .entry(url)
            .filter(|entry| entry.kind() == EntryKind::Index)
            .and_then(|entry| Some((entry.lifetime, Alternates::from_block(&entry.headers)?)))
            .filter(|(_, index)| index.fields() == fields);
        let (longest, index) = match (present, known) {
            (Some((present, index)), None) if present.gone_at() >= lifetime.gone_at() => return index,
            (Some((present, index)), known) if present.gone_at() > lifetime.gone_at() => {
                (present, with(index, known))
            }
            (Some((_, index)), known) => (lifetime, with(index, known)),
            (None, known) => (
                lifetime,
                with(Alternates::new(fields.clone(), unused_series()), known),
            ),
        };
        put(Entry::index(url, index.to_block(), longest));
        index
    }
}

fn with(index: Alternates, known: Option<Known>) -> Alternates {
    match known {
        Some(known) => index.with(known),
        None => index,
    }
}

fn unused_series() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::metrics::Metrics;
    use crate::http::vary::Vary;
    use crate::key::{QueryPolicy, RequestUrl, Scheme, target};
    use http::HeaderValue;
    use std::sync::Arc;

    async fn store() -> Store {
        let config = crate::store::config::Config::default();
        Store::open(&config, Arc::new(Metrics::new())).await.unwrap()
    }

    fn url() -> CacheKey {
        let url = RequestUrl {
            scheme: Scheme::Http,
            host: "shop.example",
            path: "/a.png",
            query: None,
        };
        target(&url, &QueryPolicy::default()).unwrap().key
    }

    fn fields(vary: &'static str) -> Fields {
        let headers = HeaderMap::from_iter([(http::header::VARY, HeaderValue::from_static(vary))]);
        match Vary::of(&headers, &VaryPolicy::default()) {
            Vary::By(fields) => fields,
            other => panic!("{other:?}"),
        }
    }

    fn until(secs: u64) -> Lifetime {
        Lifetime::without_stale(Timestamp::ZERO, Timestamp::from_secs(secs))
    }

    fn note(
        indexes: &Indexes,
        store: &Store,
        url: &CacheKey,
        fields: &Fields,
        lifetime: Lifetime,
        known: Option<Known>,
    ) -> Alternates {
        indexes.note(store, url, fields, lifetime, known, |index| {
            store.put_entry(url, index);
        })
    }

    fn selection(fields: &Fields) -> Selection {
        fields.select(&HeaderMap::new(), &VaryPolicy::default())
    }

    #[tokio::test]
    async fn an_index_that_was_forgotten_takes_its_alternates_with_it() {
        let (store, indexes, url, fields) = (store().await, Indexes::default(), url(), fields("a"));
        let before = note(&indexes, &store, &url, &fields, until(10), None);
        store.remove(&url);
        let after = note(&indexes, &store, &url, &fields, until(10), None);
        let key = |index: &Alternates| alternate_key(&url, index.series(), selection(&fields));
        assert_ne!(key(&before).name(), key(&after).name());
        assert_ne!(key(&after).name(), url.name());
    }

    #[tokio::test]
    async fn an_index_lives_as_long_as_its_longest_alternate() {
        let (store, indexes, url, fields) = (store().await, Indexes::default(), url(), fields("a, b"));
        for secs in [10, 1000, 100] {
            note(&indexes, &store, &url, &fields, until(secs), None);
        }
        assert_eq!(store.entry(&url).unwrap().lifetime, until(1000));
    }

    #[tokio::test]
    async fn an_index_for_other_fields_gives_way() {
        let (store, indexes, url) = (store().await, Indexes::default(), url());
        let known = |fields: &Fields| Known {
            selection: selection(fields),
            etag: None,
        };
        let one = note(
            &indexes,
            &store,
            &url,
            &fields("a"),
            until(10),
            Some(known(&fields("a"))),
        );
        let other = note(&indexes, &store, &url, &fields("a, b"), until(10), None);
        assert_ne!(one.series(), other.series());
        assert_eq!((one.known().len(), other.known().len()), (1, 0));
    }
}
