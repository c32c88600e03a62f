//! What the store has for a request: a response, a part of one, or nothing, and under which key.
//!
//! Invariant: what is found answers this request and no other that differs in what the response varies by, and no purge
//! forbids it; what was purged softly is found as such. It does not judge freshness.

use super::body::Body;
use super::fills::Fills;
use super::indexes::selected_key;
use super::served::Part;
use super::trip::Trip;
use super::validity::standing;
use crate::base::metrics::Tier;
use crate::http::alternates::Alternates;
use crate::http::cache_status::Why;
use crate::http::partial::Run;
use crate::key::CacheKey;
use crate::purge::Purges;
use crate::purge::table::Standing;
use crate::store::{Body as StoredBody, Entry, EntryKind, Store};
use std::sync::Arc;

/// What is stored for a request.
pub(super) struct Found {
    /// Under which the answer is stored, or would be.
    pub(super) key: CacheKey,
    /// Of the URL, where its responses vary.
    pub(super) index: Option<Alternates>,
    pub(super) held: Held,
}

pub(super) enum Held {
    Nothing,
    Whole(Whole),
    Part(Part, Body, Tier),
}

/// A whole response.
pub(super) struct Whole {
    pub(super) entry: Arc<Entry>,
    pub(super) body: Body,
    /// Never [`Standing::Hard`].
    pub(super) standing: Standing,
    /// Where it was, index, entry and the body's first part together.
    pub(super) tier: Tier,
}

impl Found {
    /// Why the origin is asked where nothing is held.
    pub(super) fn why_missing(&self) -> Why {
        match &self.index {
            Some(index) if !index.known().is_empty() => Why::VaryMiss,
            _ => Why::UriMiss,
        }
    }
}

/// How a look-up sees the store.
pub(super) trait Sight {
    /// Memory first, then SSD.
    async fn entry(&self, key: &CacheKey) -> Option<(Arc<Entry>, Tier)>;

    /// The body of the entry of `key`.
    async fn body(&self, key: &CacheKey, body: &StoredBody) -> Option<(Body, Tier)>;

    /// Is told of an entry that a purge forbids to serve.
    fn purged(&self, entry: &Arc<Entry>, standing: Standing);
}

/// To serve what is found: the SSD's finds come into memory, and all is counted.
pub(super) struct Taking<'a> {
    fills: &'a Fills,
    read_ahead: usize,
}

impl<'a> Taking<'a> {
    pub(super) fn new(fills: &'a Fills, read_ahead: usize) -> Self {
        Taking { fills, read_ahead }
    }
}

impl Sight for Taking<'_> {
    async fn entry(&self, key: &CacheKey) -> Option<(Arc<Entry>, Tier)> {
        find(&self.fills.store, key).await
    }

    async fn body(&self, key: &CacheKey, body: &StoredBody) -> Option<(Body, Tier)> {
        Body::find(&self.fills.store, Some(key.name()), body, self.read_ahead).await
    }

    fn purged(&self, _: &Arc<Entry>, _: Standing) {
        self.fills.metrics.purge_refused_hits.inc();
    }
}

pub(super) async fn look_up(sight: &impl Sight, purges: &Purges, trip: &Trip<'_>) -> Found {
    let url = &trip.target.key;
    let nothing = || Found {
        key: url.clone(),
        index: None,
        held: Held::Nothing,
    };
    let Some((entry, tier)) = unpurged(sight, purges, url).await else {
        return nothing();
    };
    if entry.kind() != EntryKind::Index {
        return Found {
            key: url.clone(),
            index: None,
            held: hold(sight, purges, url, (entry, tier), trip).await,
        };
    }
    let Some(key) = selected_key(url, &entry, &trip.headers, &trip.route.policy.vary) else {
        // An index of other rules than today's is none.
        return nothing();
    };
    let held = match unpurged(sight, purges, &key).await {
        Some((alternate, also)) if alternate.kind() != EntryKind::Index => {
            hold(sight, purges, &key, (alternate, tier.and(also)), trip).await
        }
        _ => Held::Nothing,
    };
    Found {
        key,
        index: Alternates::from_block(&entry.headers),
        held,
    }
}

/// What no purge forbids to look at.
async fn unpurged(sight: &impl Sight, purges: &Purges, key: &CacheKey) -> Option<(Arc<Entry>, Tier)> {
    let (entry, tier) = sight.entry(key).await?;
    if standing(purges, &entry) == Standing::Hard {
        sight.purged(&entry, Standing::Hard);
        return None;
    }
    Some((entry, tier))
}

pub(super) async fn load(store: &Store, key: &CacheKey) -> Option<Arc<Entry>> {
    find(store, key).await.map(|(entry, _)| entry)
}

/// An entry, and where it was.
pub(super) async fn find(store: &Store, key: &CacheKey) -> Option<(Arc<Entry>, Tier)> {
    match store.entry(key) {
        Some(entry) => Some((entry, Tier::Memory)),
        None => store.load_entry(key).await.map(|entry| (entry, Tier::Ssd)),
    }
}

/// An entry without its body is none, unless a variant may answer for it.
async fn hold(
    sight: &impl Sight,
    purges: &Purges,
    key: &CacheKey,
    (entry, tier): (Arc<Entry>, Tier),
    trip: &Trip<'_>,
) -> Held {
    let standing = standing(purges, &entry);
    if standing == Standing::Soft {
        sight.purged(&entry, standing);
    }
    let whole = |entry, body, tier| {
        Held::Whole(Whole {
            entry,
            body,
            standing,
            tier,
        })
    };
    if trip.wish().is_some() && entry.kind() == EntryKind::Whole {
        return whole(entry, Body::Later, tier);
    }
    let Some((body, of_body)) = sight.body(key, &entry.body).await else {
        return Held::Nothing;
    };
    let tier = tier.and(of_body);
    match entry.kind() {
        EntryKind::Whole => return whole(entry, body, tier),
        // Bytes of a part can not be confirmed without the rest.
        EntryKind::Part if standing != Standing::Valid => return Held::Nothing,
        EntryKind::Part | EntryKind::Index => {}
    }
    match Run::of(&entry.headers.to_map(), entry.body.length) {
        Some(run) => Held::Part(Part { entry, run }, body, tier),
        None => Held::Nothing,
    }
}
