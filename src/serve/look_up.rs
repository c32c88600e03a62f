//! What the store has for a request: a response, a part of one, or nothing, and under which key.
//!
//! Invariant: what is found answers this request and no other that differs in what the response varies by. It does not
//! judge freshness.

use super::body::Body;
use super::indexes::selected_key;
use super::served::Part;
use super::trip::Trip;
use crate::http::alternates::Alternates;
use crate::http::cache_status::Why;
use crate::http::partial::Run;
use crate::key::CacheKey;
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
    Whole(Arc<Entry>, Body),
    Part(Part, Body),
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
pub(super) async fn look_up(store: &Store, trip: &Trip<'_>, read_ahead: usize) -> Found {
    let url = &trip.target.key;
    let nothing = || Found {
        key: url.clone(),
        index: None,
        held: Held::Nothing,
    };
    let Some(entry) = load(store, url).await else {
        return nothing();
    };
    if entry.kind() != EntryKind::Index {
        return Found {
            key: url.clone(),
            index: None,
            held: hold(store, url, entry, trip, read_ahead).await,
        };
    }
    let Some(key) = selected_key(url, &entry, &trip.headers, &trip.route.policy.vary) else {
        // An index of other rules than today's is none.
        return nothing();
    };
    let held = match load(store, &key).await {
        Some(alternate) if alternate.kind() != EntryKind::Index => {
            hold(store, &key, alternate, trip, read_ahead).await
        }
        _ => Held::Nothing,
    };
    Found {
        key,
        index: Alternates::from_block(&entry.headers),
        held,
    }
}

pub(super) async fn load(store: &Store, key: &CacheKey) -> Option<Arc<Entry>> {
    match store.entry(key) {
        Some(entry) => Some(entry),
        None => store.load_entry(key).await,
    }
}

/// An entry without its body is none, unless a variant may answer for it.
async fn hold(store: &Store, key: &CacheKey, entry: Arc<Entry>, trip: &Trip<'_>, read_ahead: usize) -> Held {
    if trip.wish().is_some() && entry.kind() == EntryKind::Whole {
        return Held::Whole(entry, Body::Later);
    }
    let Some(body) = Body::stored(store, Some(key.name()), &entry.body, read_ahead).await else {
        return Held::Nothing;
    };
    if entry.kind() == EntryKind::Whole {
        return Held::Whole(entry, body);
    }
    match Run::of(&entry.headers.to_map(), entry.body.length) {
        Some(run) => Held::Part(Part { entry, run }, body),
        None => Held::Nothing,
    }
}
