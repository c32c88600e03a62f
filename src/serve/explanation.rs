//! What would be done with a request, as data: for programs, and for people who are told it.
//!
//! Invariant: it says what was found and decided, and decides nothing. It does not know how it came about.

use super::variants::foreseen::Foreseen;
use crate::base::clock::Timestamp;
use crate::base::digest::Hex;
use crate::base::metrics::{Label, Tier};
use crate::http::alternates::Alternates;
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::store::{Entry, EntryKind, Store};
use http::{HeaderName, header};
use serde::Serialize;
use std::sync::Arc;

/// What would be done with a request.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) url: String,
    pub(crate) method: String,
    /// As the configuration says it: host and path.
    pub(crate) route: String,
    pub(crate) origin: String,
    /// Who answers.
    pub(crate) node: String,
    /// Who keeps the source.
    pub(crate) owner: String,
    pub(crate) key: String,
    pub(crate) key_name: String,
    /// `None`: the source as it is.
    pub(crate) variant: Option<Foreseen>,
    /// `None`: responses are not known to vary.
    pub(crate) vary: Option<Varying>,
    /// `None`: nothing is stored for it.
    pub(crate) stored: Option<Stored>,
    pub(crate) purges: Purged,
    /// Whether an origin request is under way whose answer it would wait for.
    pub(crate) flight: bool,
    pub(crate) answer: Foretold,
}

/// By what the responses of the URL vary.
#[derive(Debug, Serialize)]
pub(crate) struct Varying {
    fields: Vec<String>,
    /// Alternates that are known.
    alternates: usize,
    /// Under which what the request selects is stored, or would be.
    selected_key: String,
}

/// What is stored.
#[derive(Debug, Serialize)]
pub(crate) struct Stored {
    kind: &'static str,
    /// Of the entry.
    tier: &'static str,
    /// `none`: the bytes are gone.
    body_tier: &'static str,
    status: u16,
    content_type: Option<String>,
    etag: Option<String>,
    bytes: u64,
    digest: String,
    tags: usize,
    /// At which its origin was asked.
    epoch: u64,
    standing: &'static str,
    age_seconds: u64,
    /// Negative from when it is stale.
    fresh_for_seconds: i64,
    stale: StaleFor,
}

/// How long past its freshness it may be served, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct StaleFor {
    while_revalidate_seconds: u32,
    if_error_seconds: u32,
    on_disconnect_seconds: u32,
    /// Whether a request may ask for it by `max-stale`.
    on_request: bool,
}

/// The log of purges, as far as the request depends on it.
#[derive(Debug, Serialize)]
pub(crate) struct Purged {
    /// Highest index that is applied here.
    pub(super) applied: u64,
    /// Highest index that may cover the URL by its name.
    pub(super) highest: u64,
}

/// What the client would get.
#[derive(Debug, Serialize)]
pub(crate) struct Foretold {
    pub(crate) action: Action,
    /// As `Cache-Status` says it; `None` where the origin is not asked.
    pub(crate) why: Option<&'static str>,
    /// As far as it is known before the origin has answered.
    pub(crate) cache_status: Option<String>,
    /// For people.
    pub(crate) because: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Serve,
    ServeAndRefresh,
    /// The origin is asked whether what is stored still is what it was.
    Revalidate,
    Fetch,
    /// The answer of an origin request under way is waited for.
    Join,
    /// By the cache to the origin.
    Pass,
    Refuse,
}

/// The entry that was looked at last.
pub(super) struct Seen {
    pub(super) entry: Arc<Entry>,
    pub(super) tier: Tier,
    pub(super) standing: Standing,
}

impl Varying {
    pub(super) fn of(index: &Alternates, selected: &CacheKey) -> Self {
        Varying {
            fields: index.fields().names().iter().map(HeaderName::to_string).collect(),
            alternates: index.known().len(),
            selected_key: selected.text().to_owned(),
        }
    }
}

impl Stored {
    /// `None`: it is no response.
    pub(super) fn of(seen: &Seen, store: &Store, now: Timestamp) -> Option<Self> {
        let Seen {
            entry,
            tier,
            standing,
        } = seen;
        let text = |name| Some(String::from_utf8_lossy(entry.headers.get(name)?.as_bytes()).into_owned());
        let stale = entry.lifetime.stale;
        Some(Stored {
            kind: match entry.kind() {
                EntryKind::Whole => "whole",
                EntryKind::Part => "part",
                EntryKind::Index => return None,
            },
            tier: tier.name(),
            body_tier: store.peek_body(&entry.body).map_or("none", Tier::name),
            status: match entry.kind() {
                EntryKind::Part => 200,
                _ => entry.status.as_u16(),
            },
            content_type: text(&header::CONTENT_TYPE),
            etag: text(&header::ETAG),
            bytes: entry.body.length,
            digest: Hex(entry.body.digest.as_bytes()).to_string(),
            tags: entry.stamp.tags.names().len(),
            epoch: entry.stamp.epoch.number(),
            standing: match standing {
                Standing::Valid => "valid",
                Standing::Soft => "soft",
                Standing::Hard => "hard",
            },
            age_seconds: entry.lifetime.age(now).as_secs(),
            fresh_for_seconds: entry.lifetime.ttl(now),
            stale: StaleFor {
                while_revalidate_seconds: stale.while_revalidate,
                if_error_seconds: stale.if_error,
                on_disconnect_seconds: stale.on_disconnect,
                on_request: stale.on_request,
            },
        })
    }
}
