//! A request that has found its route and key: what is asked of the origin for it, and how a stored entry answers
//! it.
//!
//! Invariant: what is asked on behalf of everybody carries nothing that only one client said and the key does not
//! hold. Knows nothing of flights or tiers.

use super::Request;
use super::body::Body;
use super::route::{Route, Versioning};
use super::served::{Answer, Head, Pass, Served};
use crate::base::clock::Timestamp;
use crate::base::metrics::Outcome;
use crate::http::cache_status::{CacheStatus, Collapsed, Stored, Why};
use crate::http::freshness::{Freshness, Lifetime, Versioned};
use crate::http::hop::{Forwarding, forward_request, strip_hop_by_hop, strip_unkeyed};
use crate::key::{self, KeyName, Target};
use crate::store::Entry;
use crate::upstream::OriginRequest;
use http::{Method, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Headers by which one client asks for less than the whole image.
const ONLY_THIS_CLIENTS: [header::HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// A request that has found its route and key.
pub(super) struct Trip<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) route: &'a Arc<Route>,
    /// As the key has it.
    pub(super) path: Cow<'a, str>,
    pub(super) target: Target,
    pub(super) now: Timestamp,
}

impl Trip<'_> {
    /// What the origin is asked on behalf of everybody: the whole image, unconditionally.
    pub(super) fn fill_request(&self, edge: &str) -> OriginRequest {
        let mut request = self.origin_request(edge);
        request.method = Method::GET;
        for name in ONLY_THIS_CLIENTS {
            request.headers.remove(name);
        }
        strip_unkeyed(&mut request.headers);
        request
    }

    /// What is not stored need not be cut down to what the key holds: the query goes as it came.
    pub(super) fn pass_order(&self, edge: &str, why: Why) -> Pass {
        let mut request = self.origin_request(edge);
        request.path_and_query = match self.request.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone().into_owned(),
        };
        Pass {
            request,
            why,
            route: self.route.clone(),
        }
    }

    pub(super) fn origin_request(&self, edge: &str) -> OriginRequest {
        let mut headers = self.request.headers.clone();
        strip_hop_by_hop(&mut headers);
        forward_request(
            &mut headers,
            &Forwarding {
                client: self.request.client,
                host: self.target.key.host(),
                scheme: self.request.scheme.name(),
                via: edge,
                version: self.request.version,
            },
        );
        OriginRequest {
            method: self.request.method.clone(),
            path_and_query: self.target.path_and_query().to_owned(),
            host: self.target.key.host().to_owned(),
            headers,
        }
    }

    pub(super) fn stored(&self, outcome: Outcome, entry: Arc<Entry>, body: Body) -> Answer {
        let ttl = entry.lifetime.ttl(self.now);
        let cache_status = match outcome {
            Outcome::Revalidated => CacheStatus::Forward {
                why: Why::Stale,
                status: Some(StatusCode::NOT_MODIFIED.as_u16()),
                stored: Stored::Yes,
                collapsed: Collapsed::No,
                ttl: Some(ttl),
                detail: None,
            },
            _ => CacheStatus::Hit { ttl },
        };
        let age: Duration = entry.lifetime.age(self.now);
        Answer::Served(Served {
            outcome,
            cache_status,
            age: Some(age),
            versioning: self.versioning(Some(entry.lifetime)),
            head: Head::Stored(entry),
            body,
            route: self.route.clone(),
        })
    }

    pub(super) fn versioned(&self) -> Versioned {
        match self.target.versioned {
            key::Versioned::Yes => Versioned::Yes,
            key::Versioned::No => Versioned::No,
        }
    }

    /// A versioned URL makes what is stored immutable for as long as it is fresh: an origin that wants to be
    /// asked each time is obeyed.
    pub(super) fn versioning(&self, stored: Option<Lifetime>) -> Versioning {
        let fresh = stored.is_some_and(|lifetime| {
            lifetime.fresh_until > lifetime.born_at && lifetime.freshness(self.now) == Freshness::Fresh
        });
        match self.versioned() {
            Versioned::Yes if fresh => Versioning::Versioned,
            Versioned::Yes | Versioned::No => Versioning::Plain,
        }
    }

    pub(super) fn asks_for_range(&self) -> bool {
        self.request.headers.contains_key(header::RANGE)
    }

    /// What the origin answers to credentials may be the client's own (RFC 9111 section 3.5): such requests
    /// share no flight with those that have none.
    pub(super) fn flight_name(&self) -> KeyName {
        let name = self.target.key.name();
        if self.request.headers.contains_key(header::AUTHORIZATION) {
            KeyName::from_bytes(name.as_bytes().map(|byte| !byte))
        } else {
            name
        }
    }
}
