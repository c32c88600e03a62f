//! The answer to a request as data: outcome, header and body derive status line, log, metrics and
//! Cache-Status alike.
//!
//! Invariant: a [`Served`] can be answered as it is; whatever had to be decided has been. Knows nothing of
//! connections.

use super::body::Body;
use super::body::BodyError;
use super::failure::FlightFailure;
use super::head::{Fate, FlightHead};
use super::rendition::Rendition;
use super::route::{Route, Versioning};
use super::variants::Refusal;
use crate::base::metrics::Outcome;
use crate::http::cache_status::{CacheStatus, Why};
use crate::http::conditional::Validators;
use crate::http::freshness::Lifetime;
use crate::http::header_block::HeaderBlock;
use crate::http::partial::Run;
use crate::key::{CacheKey, UrlError};
use crate::spec::SpecError;
use crate::store::{Entry, Stamp};
use crate::trace::Trace;
use crate::upstream::{OriginError, OriginRequest};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;

/// What a source's header says of its own bytes, and of no variant's.
static OF_BYTES: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ETAG,
    // One source's variants differ by encoder and negotiation, all at one date: it validates none of them.
    header::LAST_MODIFIED,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

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
    /// How long this request waited for its origin; `None` where it did not.
    pub(crate) origin_time: Option<Duration>,
    pub(crate) head: Head,
    pub(crate) body: Body,
    pub(crate) route: Arc<Route>,
    pub(crate) versioning: Versioning,
    /// `None`: the source as it is, and no request header had a say.
    pub(crate) rendition: Option<Box<Rendition>>,
}

/// Where a response's header comes from.
pub(crate) enum Head {
    Stored(Arc<Entry>),
    /// A stored part, as the representation it is a part of.
    Part(Part),
    Flight(Arc<FlightHead>, Role),
    Passed(PassedHead),
    /// As another node answers its own clients.
    Relayed(PassedHead),
    /// What was made of a source: the source's word on everything but the bytes.
    Variant {
        source: Box<Head>,
        variant: Arc<Entry>,
    },
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
    pub(crate) rendition: Option<Box<Rendition>>,
    pub(crate) trace: Trace,
}

/// Why a request got no answer from a route.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("no route covers this host and path")]
    NoRoute,
    #[error("there is nothing at this reserved path")]
    Reserved,
    #[error("the other node's routes lead to another key")]
    Misdirected,
    #[error("nothing that may answer is stored, and the request forbids to ask the origin")]
    OnlyIfCached,
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Flight(#[from] FlightFailure),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("{0}; try again shortly")]
    Overloaded(Refusal),
    #[error("no variant of this image can be had: {0}")]
    Variant(Refusal),
    #[error("no variant was made, because the source could not be read to its end: {0}")]
    Source(#[from] BodyError),
}

/// A request that got no answer.
pub(crate) struct Unserved {
    pub(crate) error: ServeError,
    /// `None`: it found none.
    pub(crate) route: Option<Arc<Route>>,
}

impl ServeError {
    /// Of a request that had found its route.
    pub(crate) fn on(self, route: &Arc<Route>) -> Unserved {
        Unserved {
            error: self,
            route: Some(route.clone()),
        }
    }
}

impl From<ServeError> for Unserved {
    fn from(error: ServeError) -> Self {
        Unserved { error, route: None }
    }
}

impl Served {
    /// The Cache-Control a client sees instead of the origin's, if any: only of a success that is shared from
    /// the cache, so that nothing private is ever called public.
    pub(crate) fn browser_cache_control(&self) -> Option<HeaderValue> {
        let age = self
            .age
            .filter(|_| self.head.is_stored() && self.head.status().is_success())?;
        self.route.browser_cache_control(self.versioning, age)
    }

    pub(crate) fn validators(&self) -> StoredValidators {
        StoredValidators::of(&self.head)
    }
}

impl Head {
    /// Whether it is shared from the cache, or will be from now on.
    pub(crate) fn is_stored(&self) -> bool {
        self.lifetime().is_some()
    }

    /// Of what is stored, or will be from now on.
    pub(crate) fn lifetime(&self) -> Option<Lifetime> {
        match self {
            Head::Stored(entry) => Some(entry.lifetime),
            Head::Part(part) => Some(part.entry.lifetime),
            Head::Flight(head, _) => match head.fate {
                Fate::Stored(lifetime) => Some(lifetime),
                Fate::Shared(_) | Fate::Private(_) => None,
            },
            Head::Passed(_) | Head::Relayed(_) => None,
            Head::Variant { source, .. } => source.lifetime(),
        }
    }

    /// By which purges know it; `None` for what is passed through.
    pub(crate) fn stamp(&self) -> Option<&Stamp> {
        match self {
            Head::Stored(entry) => Some(&entry.stamp),
            Head::Part(part) => Some(&part.entry.stamp),
            Head::Flight(head, _) => Some(&head.stamp),
            Head::Passed(_) | Head::Relayed(_) => None,
            Head::Variant { source, .. } => source.stamp(),
        }
    }

    /// By which other nodes may know what they keep of it. Of what is for one alone the stamp may say too little: its tags
    /// could not be kept.
    pub(crate) fn stamp_for_others(&self) -> Option<&Stamp> {
        match self {
            Head::Flight(head, _) if matches!(head.fate, Fate::Private(_)) => None,
            head => head.stamp(),
        }
    }

    /// Whether it is below what a purge has told that the origin has.
    pub(crate) fn is_too_old(&self) -> bool {
        matches!(self, Head::Flight(head, _) if head.fate.is_too_old())
    }

    /// Whether its body's end can not be told from its being cut off.
    pub(crate) fn is_unframed(&self) -> bool {
        matches!(self, Head::Flight(head, _) if head.fate.is_unframed())
    }

    /// That of the whole representation: a stored part is one of a 200.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Head::Stored(entry) => entry.status,
            Head::Part(_) => StatusCode::OK,
            Head::Flight(head, _) => head.status,
            Head::Passed(head) | Head::Relayed(head) => head.status,
            Head::Variant { variant, .. } => variant.status,
        }
    }

    /// Length of the whole body, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Head::Stored(entry) => Some(entry.body.length),
            Head::Part(part) => Some(part.run.length),
            Head::Flight(head, _) => head.length,
            Head::Passed(head) | Head::Relayed(head) => head.length,
            Head::Variant { variant, .. } => Some(variant.body.length),
        }
    }

    /// One of the origin's headers.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<HeaderValue> {
        match self {
            Head::Stored(entry) => entry.headers.get(name),
            Head::Part(part) => part.entry.headers.get(name),
            Head::Flight(head, _) => head.headers.get(name),
            Head::Passed(head) | Head::Relayed(head) => head.headers.get(name).cloned(),
            Head::Variant { variant, .. } if OF_BYTES.contains(name) => variant.headers.get(name),
            Head::Variant { source, .. } => source.get(name),
        }
    }

    /// When the origin sent these bytes: of a variant's it never sent any.
    fn date(&self) -> Option<HeaderValue> {
        match self {
            Head::Variant { .. } => None,
            head => head.get(&header::DATE),
        }
    }

    /// All lines of one of the origin's headers.
    pub(crate) fn get_all(&self, name: &HeaderName) -> Vec<HeaderValue> {
        match self {
            Head::Stored(entry) => entry.headers.get_all(name).collect(),
            Head::Part(part) => part.entry.headers.get_all(name).collect(),
            Head::Flight(head, _) => head.headers.get_all(name).collect(),
            Head::Passed(head) | Head::Relayed(head) => head.headers.get_all(name).iter().cloned().collect(),
            Head::Variant { variant, .. } if OF_BYTES.contains(name) => {
                variant.headers.get_all(name).collect()
            }
            Head::Variant { source, .. } => source.get_all(name),
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
            Head::Passed(head) | Head::Relayed(head) => {
                map.extend(head.headers.iter().map(|(n, v)| (n.clone(), v.clone())))
            }
            Head::Variant { source, variant } => {
                source.copy_headers(map);
                OF_BYTES.iter().for_each(|name| drop(map.remove(name)));
                append(&variant.headers, map);
            }
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
            date: head.date(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_variant_says_what_was_not_done() {
        let busy = ServeError::Overloaded(Refusal::Overloaded).to_string();
        assert!(busy.starts_with("the variant was not made"), "{busy}");
        let broken = ServeError::from(BodyError::PartGone).to_string();
        assert!(broken.starts_with("no variant was made"), "{broken}");
        assert!(!broken.contains("the answer"), "none was begun: {broken}");
    }
}
