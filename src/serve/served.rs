//! The answer to a request as data: outcome, header and body derive status line, log, metrics and
//! Cache-Status alike.
//!
//! Invariant: a [`Served`] can be answered as it is; whatever had to be decided has been. Knows nothing of
//! connections.

use super::body::Body;
use super::failure::FlightFailure;
use super::head::{Fate, FlightHead};
use super::route::{Route, Versioning};
use crate::base::metrics::Outcome;
use crate::http::cache_status::{CacheStatus, Why};
use crate::http::conditional::Validators;
use crate::http::header_block::HeaderBlock;
use crate::http::partial::Run;
use crate::key::{CacheKey, UrlError};
use crate::store::Entry;
use crate::upstream::{OriginError, OriginRequest};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;

/// What serving a request came to.
pub(crate) enum Answer {
    Served(Served),
    /// The request has to go to the origin as it is, with its body.
    Pass(Pass),
}

/// A response, ready to be sent.
pub(crate) struct Served {
    pub(crate) outcome: Outcome,
    pub(crate) cache_status: CacheStatus,
    /// Since the origin made the response; `None` for one that does not come from a store.
    pub(crate) age: Option<Duration>,
    pub(crate) head: Head,
    pub(crate) body: Body,
    pub(crate) route: Arc<Route>,
    pub(crate) versioning: Versioning,
}

/// Where a response's header comes from.
pub(crate) enum Head {
    Stored(Arc<Entry>),
    /// A stored part, as the representation it is a part of.
    Part(Part),
    Flight(Arc<FlightHead>, Role),
    Passed(PassedHead),
}

/// A stored run of a representation's bytes.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) entry: Arc<Entry>,
    pub(crate) run: Run,
}

/// Whether a request started its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    Follower,
}

/// The header of a response that is passed through.
pub(crate) struct PassedHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) length: Option<u64>,
}

/// A request on its way to the origin, around the cache.
pub(crate) struct Pass {
    pub(crate) request: OriginRequest,
    pub(crate) why: Why,
    /// Of the request's URL.
    pub(crate) key: CacheKey,
    pub(crate) route: Arc<Route>,
}

/// Why a request got no answer from a route.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("no route covers this host and path")]
    NoRoute,
    #[error("there is nothing at this reserved path")]
    Reserved,
    #[error("nothing that may answer is stored, and the request forbids to ask the origin")]
    OnlyIfCached,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Flight(#[from] FlightFailure),
    #[error(transparent)]
    Origin(#[from] OriginError),
}

impl Served {
    /// The Cache-Control a client sees instead of the origin's, if any: only of a success that is shared from
    /// the cache, so that nothing private is ever called public.
    pub(crate) fn browser_cache_control(&self) -> Option<HeaderValue> {
        let shared = match &self.head {
            Head::Stored(_) | Head::Part(_) => true,
            Head::Flight(head, _) => matches!(head.fate, Fate::Stored(_)),
            Head::Passed(_) => false,
        };
        let age = self.age.filter(|_| shared && self.head.status().is_success())?;
        self.route.browser_cache_control(self.versioning, age)
    }

    pub(crate) fn validators(&self) -> StoredValidators {
        StoredValidators::of(&self.head)
    }
}

impl Head {
    /// That of the whole representation: a stored part is one of a 200.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Head::Stored(entry) => entry.status,
            Head::Part(_) => StatusCode::OK,
            Head::Flight(head, _) => head.status,
            Head::Passed(head) => head.status,
        }
    }

    /// Length of the whole body, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Head::Stored(entry) => Some(entry.body.length),
            Head::Part(part) => Some(part.run.length),
            Head::Flight(head, _) => head.length,
            Head::Passed(head) => head.length,
        }
    }

    /// One of the origin's headers.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<HeaderValue> {
        match self {
            Head::Stored(entry) => entry.headers.get(name),
            Head::Part(part) => part.entry.headers.get(name),
            Head::Flight(head, _) => head.headers.get(name),
            Head::Passed(head) => head.headers.get(name).cloned(),
        }
    }

    /// Adds the origin's headers to `map`.
    pub(crate) fn copy_headers(&self, map: &mut HeaderMap) {
        match self {
            Head::Stored(entry) => append(&entry.headers, map),
            Head::Part(part) => {
                append(&part.entry.headers, map);
                map.remove(header::CONTENT_RANGE);
            }
            Head::Flight(head, role) => {
                append(&head.headers, map);
                if *role == Role::Leader {
                    append(&head.unshared, map);
                }
            }
            Head::Passed(head) => map.extend(head.headers.iter().map(|(n, v)| (n.clone(), v.clone()))),
        }
    }
}

fn append(block: &HeaderBlock, map: &mut HeaderMap) {
    for (name, value) in block.iter() {
        map.append(name, value);
    }
}

/// The validators of a response.
pub(crate) struct StoredValidators {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    date: Option<HeaderValue>,
}

impl StoredValidators {
    pub(crate) fn of(head: &Head) -> Self {
        StoredValidators {
            etag: head.get(&http::header::ETAG),
            last_modified: head.get(&http::header::LAST_MODIFIED),
            date: head.get(&http::header::DATE),
        }
    }

    pub(crate) fn as_ref(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_ref(),
            last_modified: self.last_modified.as_ref(),
            date: self.date.as_ref(),
        }
    }
}
