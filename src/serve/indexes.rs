//! The indexes of URLs whose responses vary: which alternate a request selects, and where that is stored.
//!
//! Invariant: an index that is gone, or purged, takes all its alternates with it: the next one has another series, which is part of
//! its alternates' keys. It does not know flights.

use super::fills::Fills;
use super::validity::standing;
use crate::base::digest::Hex;
use crate::base::epoch::Epoch;
use crate::http::alternates::{Alternates, Known};
use crate::http::freshness::Lifetime;
use crate::http::vary::{Fields, Selection, VaryPolicy};
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::store::{Entry, EntryKind};
use http::HeaderMap;
use parking_lot::Mutex;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Bytes of a selection's digest that tell alternates apart, as many as tell keys apart.
const SELECTION_BYTES: usize = 16;

/// Changes of indexes, one at a time: each is read, changed and put back.
#[derive(Default)]
pub(crate) struct Indexes(Mutex<()>);

/// What is to be noted of a URL whose responses vary.
pub(super) struct Note<'a> {
    pub(super) url: &'a CacheKey,
    pub(super) fields: &'a Fields,
    pub(super) lifetime: Lifetime,
    pub(super) epoch: Epoch,
    /// An alternate that has been stored.
    pub(super) known: Option<Known>,
}

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
    pub(super) fn note(&self, fills: &Fills, note: Note<'_>, put: impl FnOnce(Entry)) -> Alternates {
        let Note {
            url,
            fields,
            lifetime,
            epoch,
            known,
        } = note;
        let _one_at_a_time = self.0.lock();
        let present = fills
            .store
            .entry(url)
            .filter(|entry| entry.kind() == EntryKind::Index)
            .map(|entry| (standing(&fills.purges, &entry), entry))
            .filter(|(standing, _)| *standing != Standing::Hard)
            .and_then(|(standing, entry)| {
                let index = Alternates::from_block(&entry.headers)?;
                Some((standing, entry.lifetime, index))
            })
            .filter(|(.., index)| index.fields() == fields);
        let is_valid = matches!(present, Some((Standing::Valid, ..)));
        let present = present.map(|(_, lifetime, index)| (lifetime, index));
        let (longest, index) = match (present, known) {
            (Some((present, index)), None) if is_valid && present.gone_at() >= lifetime.gone_at() => {
                return index;
            }
            (Some((present, index)), known) if present.gone_at() > lifetime.gone_at() => {
                (present, with(index, known))
            }
            (Some((_, index)), known) => (lifetime, with(index, known)),
            (None, known) => (
                lifetime,
                with(Alternates::new(fields.clone(), unused_series()), known),
            ),
        };
        put(Entry::index(url, index.to_block(), longest, epoch));
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
    use crate::base::metrics::{Metrics, PurgeWay};
    use crate::http::vary::Vary;
    use crate::key::{QueryPolicy, RequestUrl, Scheme, target};
    use crate::purge::Purges;
    use crate::purge::order::{Mode, Order};
    use crate::scope::Scope;
    use crate::store::Store;
    use http::HeaderValue;
    use std::sync::Arc;

    async fn fills() -> Fills {
        let metrics = Arc::new(Metrics::new());
        let (purge, cache) = Default::default();
        let purges = Purges::open(&purge, None, "test", metrics.clone()).await.unwrap();
        let store = Store::open(&cache, purges.incarnation(), metrics.clone());
        let store = store.await.unwrap();
        Fills::new(&Default::default(), store, purges, metrics)
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
        fills: &Fills,
        url: &CacheKey,
        fields: &Fields,
        lifetime: Lifetime,
        known: Option<Known>,
    ) -> Alternates {
        let note = Note {
            url,
            fields,
            lifetime,
            epoch: fills.purges.epoch(),
            known,
        };
        fills.indexes.note(fills, note, |index| {
            fills.store.put_entry(url, index);
        })
    }

    fn selection(fields: &Fields) -> Selection {
        fields.select(&HeaderMap::new(), &VaryPolicy::default())
    }

    #[tokio::test]
    async fn an_index_that_was_forgotten_takes_its_alternates_with_it() {
        let (fills, url, fields) = (fills().await, url(), fields("a"));
        let before = note(&fills, &url, &fields, until(10), None);
        fills.store.remove(&url);
        let after = note(&fills, &url, &fields, until(10), None);
        let key = |index: &Alternates| alternate_key(&url, index.series(), selection(&fields));
        assert_ne!(key(&before).name(), key(&after).name());
        assert_ne!(key(&after).name(), url.name());
    }

    #[tokio::test]
    async fn an_index_that_was_purged_gives_way_to_another() {
        let (fills, url, fields) = (fills().await, url(), fields("a"));
        let before = note(&fills, &url, &fields, until(10), None);
        let order = Order {
            scopes: vec![Scope::All],
            mode: Mode::Hard,
            minimum: None,
            once: None,
            way: PurgeWay::Api,
            by: "test".into(),
        };
        fills.purges.submit(order).await.unwrap();
        let after = note(&fills, &url, &fields, until(10), None);
        assert_ne!(before.series(), after.series());
        let index = fills.store.entry(&url).unwrap();
        assert_eq!(standing(&fills.purges, &index), Standing::Valid);
    }

    #[tokio::test]
    async fn an_index_lives_as_long_as_its_longest_alternate() {
        let (fills, url, fields) = (fills().await, url(), fields("a, b"));
        for secs in [10, 1000, 100] {
            note(&fills, &url, &fields, until(secs), None);
        }
        assert_eq!(fills.store.entry(&url).unwrap().lifetime, until(1000));
    }

    #[tokio::test]
    async fn an_index_for_other_fields_gives_way() {
        let (fills, url) = (fills().await, url());
        let known = |fields: &Fields| Known {
            selection: selection(fields),
            etag: None,
        };
        let one = note(&fills, &url, &fields("a"), until(10), Some(known(&fields("a"))));
        let other = note(&fills, &url, &fields("a, b"), until(10), None);
        assert_ne!(one.series(), other.series());
        assert_eq!((one.known().len(), other.known().len()), (1, 0));
    }
}
