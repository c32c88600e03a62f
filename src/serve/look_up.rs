//! What the store has for a request: a response, a part of one, or nothing, and under which key.
//!
//! Invariant: what is found answers this request and no other that differs in what the response varies by, and no purge
//! forbids it; what was purged softly is found as such. It does not judge freshness.

use super::body::Body;
use super::fill::Fills;
use super::indexes::selected_key;
use super::served::Part;
use super::trip::Trip;
use super::validity::standing;
use crate::http::alternates::Alternates;
use crate::http::cache_status::Why;
use crate::http::partial::Run;
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::store::{Entry, EntryKind, Store};
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
    Part(Part, Body),
}

/// A whole response.
pub(super) struct Whole {
    pub(super) entry: Arc<Entry>,
    pub(super) body: Body,
    /// Never [`Standing::Hard`].
    pub(super) standing: Standing,
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

/// Memory first, then SSD.
pub(super) async fn look_up(fills: &Fills, trip: &Trip<'_>, read_ahead: usize) -> Found {
    let url = &trip.target.key;
    let nothing = || Found {
        key: url.clone(),
        index: None,
        held: Held::Nothing,
    };
    let Some(entry) = load_unpurged(fills, url).await else {
        return nothing();
    };
    if entry.kind() != EntryKind::Index {
        return Found {
            key: url.clone(),
            index: None,
            held: hold(fills, url, entry, trip, read_ahead).await,
        };
    }
    let Some(key) = selected_key(url, &entry, &trip.headers, &trip.route.policy.vary) else {
        // An index of other rules than today's is none.
        return nothing();
    };
    let held = match load_unpurged(fills, &key).await {
        Some(alternate) if alternate.kind() != EntryKind::Index => {
            hold(fills, &key, alternate, trip, read_ahead).await
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
async fn load_unpurged(fills: &Fills, key: &CacheKey) -> Option<Arc<Entry>> {
    let entry = load(&fills.store, key).await?;
    if standing(&fills.purges, &entry) == Standing::Hard {
        fills.metrics.purge_refused_hits.inc();
        return None;
    }
    Some(entry)
}

pub(super) async fn load(store: &Store, key: &CacheKey) -> Option<Arc<Entry>> {
    match store.entry(key) {
        Some(entry) => Some(entry),
        None => store.load_entry(key).await,
    }
}

/// An entry without its body is none, unless a variant may answer for it.
async fn hold(fills: &Fills, key: &CacheKey, entry: Arc<Entry>, trip: &Trip<'_>, read_ahead: usize) -> Held {
    let standing = standing(&fills.purges, &entry);
    if standing == Standing::Soft {
        fills.metrics.purge_refused_hits.inc();
    }
    let whole = |entry, body| {
        Held::Whole(Whole {
            entry,
            body,
            standing,
        })
    };
    if trip.wish().is_some() && entry.kind() == EntryKind::Whole {
        return whole(entry, Body::Later);
    }
    let Some(body) = Body::stored(&fills.store, Some(key.name()), &entry.body, read_ahead).await else {
        return Held::Nothing;
    };
    match entry.kind() {
        EntryKind::Whole => return whole(entry, body),
        // Bytes of a part can not be confirmed without the rest.
        EntryKind::Part if standing != Standing::Valid => return Held::Nothing,
        EntryKind::Part | EntryKind::Index => {}
    }
    match Run::of(&entry.headers.to_map(), entry.body.length) {
        Some(run) => Held::Part(Part { entry, run }, body),
        None => Held::Nothing,
    }
}
