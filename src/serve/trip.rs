//! A request that has found its route and key: what is asked of the origin for it, and how a stored entry answers
//! it.
//!
//! Invariant: what is asked on behalf of everybody carries nothing that only one client said and the key does not
//! hold. Knows nothing of flights or tiers.

use super::Request;
use super::body::Body;
use super::flying::Boarded;
use super::head::{Fate, FlightHead};
use super::neighbours::Asks;
use super::rendition::Rendition;
use super::route::{Ranges, RequestDirectives, Route, Routes, Versioning};
use super::served::{Head, Part, Pass, Role, ServeError, Served, Unserved};
use super::way::{Purpose, Way, take};
use crate::base::clock::{self, Timestamp};
use crate::base::epoch::Epoch;
use crate::base::metrics::{Outcome, Tier};
use crate::http::cache_status::{CacheStatus, Collapsed, Stored, Why};
use crate::http::freshness::{Freshness, Lifetime, Versioned};
use crate::http::hop::X_REQUEST_ID;
use crate::http::hop::{
    Forwarding, ONLY_THIS_CLIENTS, count_hop, end_to_end, forward_request, strip_hop_by_hop, strip_unkeyed,
};
use crate::http::range::is_one_range;
use crate::http::reuse::{RequestControl, Reuse};
use crate::http::trace_context;
use crate::key::{self, CacheKey, KeyName, RequestUrl, Target};
use crate::spec::Wish;
use crate::store::Entry;
use crate::upstream::OriginRequest;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::borrow::Cow;
use std::sync::Arc;

/// A request that has found its route and key.
pub(super) struct Trip<'a> {
    pub(super) request: &'a Request<'a>,
    /// What the client says end to end: the origin hears nothing else, so that nothing else selects an alternate.
    pub(super) headers: Cow<'a, HeaderMap>,
    pub(super) route: &'a Arc<Route>,
    /// Of the source, as the key has it.
    pub(super) path: Cow<'a, str>,
    /// Of the source, as the client has it.
    query: Option<Cow<'a, str>>,
    pub(super) rendition: Option<Box<Rendition>>,
    pub(super) target: Target,
    pub(super) control: RequestControl,
    pub(super) now: Timestamp,
    /// At which the request began: it may not be answered with what was purged before.
    pub(super) epoch: Epoch,
}

/// How much of an image the origin is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// As in `Range`: one range.
    Range(HeaderValue),
    /// HEAD.
    Header,
}

impl<'a> Trip<'a> {
    /// Route and key are found by one and the same path: no spelling chooses another route's policy.
    pub(super) fn set_out(
        routes: &'a Routes,
        request: &'a Request<'a>,
        epoch: Epoch,
    ) -> Result<Trip<'a>, Unserved> {
        let purpose = match request.reads() {
            true => Purpose::Read,
            false => Purpose::Change,
        };
        let path = key::normalise_path(request.path).map_err(ServeError::from)?;
        let way = Way::find(routes, request.host, path, purpose)?;
        let Way { route, path, options } = way;
        let taken = take(request, route, options.as_deref()).map_err(|error| error.on(route))?;
        let query = taken.query.clone();
        let url = RequestUrl {
            scheme: request.scheme,
            host: request.host,
            path: &path,
            query: query.as_deref(),
        };
        let target = key::target(&url, &route.query).map_err(|error| ServeError::from(error).on(route))?;
        if request.is_misdirected(&target.key) {
            return Err(ServeError::Misdirected.on(route));
        }
        let control = match route.request_directives {
            _ if request.only_looks() => RequestControl {
                only_if_cached: true,
                ..RequestControl::default()
            },
            RequestDirectives::Honor => RequestControl::of(request.headers),
            RequestDirectives::Ignore => RequestControl::default(),
        };
        Ok(Trip {
            request,
            headers: end_to_end(request.headers),
            route,
            path,
            query,
            rendition: match request.wants_source() {
                true => None,
                false => Rendition::of(taken),
            },
            target,
            control,
            now: request.received_at,
            epoch,
        })
    }
}

impl Trip<'_> {
    /// What the origin is asked on behalf of everybody, unconditionally.
    pub(super) fn fill_request(&self, edge: &str, extent: &Extent) -> OriginRequest {
        let mut request = self.origin_request(edge);
        request.method = match extent {
            Extent::Header => Method::HEAD,
            Extent::Whole | Extent::Range(_) => Method::GET,
        };
        strip_unkeyed(&mut request.headers);
        if let Extent::Range(range) = extent {
            request.headers.insert(header::RANGE, range.clone());
        }
        request
    }

    /// What is not stored need not be cut down to what the key holds: the query goes as it came.
    pub(super) fn pass_order(&self, edge: &str, why: Why) -> Pass {
        let mut request = self.origin_request(edge);
        request.path_and_query = self.asked_path_and_query();
        if self.wishes() {
            // Conditions and ranges are about the variant: of the source all is needed.
            request.method = Method::GET;
            ONLY_THIS_CLIENTS
                .iter()
                .for_each(|name| drop(request.headers.remove(name)));
        }
        Pass {
            request,
            why,
            key: self.target.key.clone(),
            route: self.route.clone(),
            rendition: self.rendition.clone(),
            trace: self.request.trace.clone(),
        }
    }

    /// The variant that is wished for, where one is.
    pub(super) fn wish(&self) -> Option<&Wish> {
        self.rendition
            .as_ref()
            .and_then(|rendition| rendition.wish.as_deref())
    }

    fn wishes(&self) -> bool {
        self.wish().is_some()
    }

    fn asked_path_and_query(&self) -> String {
        let query = match self.request.reads() {
            true => self.query.as_deref(),
            false => self.request.query,
        };
        match query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone().into_owned(),
        }
    }

    pub(super) fn origin_request(&self, edge: &str) -> OriginRequest {
        let mut headers = self.headers.clone().into_owned();
        strip_hop_by_hop(&mut headers);
        count_hop(self.request.method, &mut headers);
        headers.insert(X_REQUEST_ID, self.request.id.clone());
        trace_context::pass_on(&mut headers);
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

    /// A stored entry as the answer, without the origin's help, and where it was.
    pub(super) fn stored(&self, entry: Arc<Entry>, body: Body, tier: Tier) -> Served {
        let ttl = entry.lifetime.ttl(self.now);
        let outcome = if ttl < 0 {
            Outcome::Stale
        } else {
            Outcome::HitMemory.read_from(tier)
        };
        self.of_store(outcome, CacheStatus::Hit { ttl }, Head::Stored(entry), body)
    }

    /// Some bytes of a stored part.
    pub(super) fn part(&self, part: Part, body: Body, tier: Tier) -> Served {
        let ttl = part.entry.lifetime.ttl(self.now);
        let body = Body::from_offset(part.run.first, body);
        self.of_store(
            Outcome::HitMemory.read_from(tier),
            CacheStatus::Hit { ttl },
            Head::Part(part),
            body,
        )
    }

    /// A stored entry that the origin has confirmed.
    pub(super) fn revalidated(&self, asked: AskedOrigin, entry: Arc<Entry>, body: Body) -> Served {
        // Of when the origin has answered, not of when it was asked.
        let (ttl, age) = (entry.lifetime.ttl(clock::now()), entry.lifetime.age(clock::now()));
        let cache_status = asked.cache_status(StatusCode::NOT_MODIFIED, ttl);
        Served {
            age: Some(age),
            ..self.of_store(Outcome::Revalidated, cache_status, Head::Stored(entry), body)
        }
    }

    /// A stale entry in place of an origin that failed, with what it answered if it did.
    pub(super) fn stand_in(
        &self,
        why: Why,
        status: Option<StatusCode>,
        entry: Arc<Entry>,
        body: Body,
    ) -> Served {
        let cache_status = stood_in(why, status, entry.lifetime.ttl(self.now));
        self.of_store(Outcome::Stale, cache_status, Head::Stored(entry), body)
    }

    /// A response that arrives.
    pub(super) fn of_flight(
        &self,
        why: Why,
        head: Arc<FlightHead>,
        boarded: Boarded,
        outcome: Outcome,
        collapsed: Collapsed,
    ) -> Served {
        let (stored, lifetime, detail) = match head.fate {
            Fate::Stored(lifetime) => (Stored::Yes, Some(lifetime), None),
            Fate::Shared(detail) | Fate::Private(detail) => (Stored::No, None, Some(detail)),
        };
        // Time has passed since the request: by its clock the response would be younger than its origin said.
        let now = clock::now();
        let cache_status = CacheStatus::Forward {
            why,
            status: Some(head.status.as_u16()),
            stored,
            collapsed,
            ttl: lifetime.map(|lifetime| lifetime.ttl(now)),
            detail,
        };
        Served {
            outcome,
            cache_status,
            age: lifetime.map(|lifetime| lifetime.age(now)),
            origin_time: None,
            versioning: self.versioning(lifetime),
            head: Head::Flight(head, boarded.role),
            body: Body::Flight(boarded.ticket),
            route: self.route.clone(),
            rendition: None,
        }
    }

    fn of_store(&self, outcome: Outcome, cache_status: CacheStatus, head: Head, body: Body) -> Served {
        let lifetime = head.lifetime();
        Served {
            outcome,
            cache_status,
            age: lifetime.map(|lifetime| lifetime.age(self.now)),
            origin_time: None,
            versioning: self.versioning(lifetime),
            head,
            body,
            route: self.route.clone(),
            rendition: None,
        }
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
        !self.wishes() && self.request.headers.contains_key(header::RANGE)
    }

    /// What the request asks for of the source, if that is one range and nothing else: no conditions.
    fn one_range(&self) -> Option<&HeaderValue> {
        if self.wishes() {
            return None;
        }
        let headers = &self.request.headers;
        let is_conditional = || {
            ONLY_THIS_CLIENTS[1..]
                .iter()
                .any(|name| headers.contains_key(name))
        };
        let range = headers.get(header::RANGE)?;
        let is_one = *self.request.method == Method::GET && is_one_range(range) && !is_conditional();
        is_one.then_some(range)
    }

    /// Whether a stored part is fresh, and holds every byte that the request asks for.
    pub(super) fn is_answered_by(&self, part: &Part) -> bool {
        let serves = part.entry.lifetime.reuse(self.now, &self.control) == Reuse::Serve;
        let holds = |range| part.run.answers(range).is_some();
        serves && self.one_range().is_some_and(holds)
    }

    /// What to ask for where nothing stored answers.
    pub(super) fn missing_extent(&self) -> Extent {
        match (self.route.ranges, self.one_range()) {
            (Ranges::Forward, Some(range)) => Extent::Range(range.clone()),
            (Ranges::Whole, _) | (Ranges::Forward, None) => Extent::Whole,
        }
    }

    /// What to ask for where an entry is stale: a HEAD is enough to learn whether it still is what it was.
    pub(super) fn stale_extent(&self) -> Extent {
        match *self.request.method {
            Method::HEAD if !self.wishes() => Extent::Header,
            _ => Extent::Whole,
        }
    }

    /// The name of the flight for `key`. What the origin answers to credentials may be the client's own (RFC 9111
    /// section 3.5): such requests share a flight only with those that have the same.
    pub(super) fn flight_name(&self, key: &CacheKey, extent: &Extent, asks: Asks) -> KeyName {
        let credentials = self.request.headers.get_all(header::AUTHORIZATION);
        let lines: Vec<_> = credentials.iter().map(HeaderValue::as_bytes).collect();
        match (extent, &lines[..], asks) {
            (Extent::Whole, [], Asks::Origin | Asks::OwnerBefore) => key.name(),
            // Who waits for a peer must not be waited for by that peer.
            (extent, lines, Asks::Primary) => key.name_of(format_args!("{extent:?} {lines:?} of a peer")),
            (extent, lines, _) => key.name_of(format_args!("{extent:?} {lines:?}")),
        }
    }
}

/// How a request came by an entry that the origin was asked about.
#[derive(Clone, Copy)]
pub(super) struct AskedOrigin {
    pub(super) why: Why,
    pub(super) role: Role,
    /// Whether the entry was renewed.
    pub(super) stored: Stored,
}

impl AskedOrigin {
    fn cache_status(self, status: StatusCode, ttl: i64) -> CacheStatus {
        CacheStatus::Forward {
            why: self.why,
            status: Some(status.as_u16()),
            stored: self.stored,
            collapsed: match self.role {
                Role::Leader => Collapsed::No,
                Role::Follower => Collapsed::Yes,
            },
            ttl: Some(ttl),
            detail: None,
        }
    }
}

/// The origin was asked, so that this is no hit (RFC 9211 section 2.1).
fn stood_in(why: Why, status: Option<StatusCode>, ttl: i64) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: status.map(|status| status.as_u16()),
        stored: Stored::No,
        collapsed: Collapsed::No,
        ttl: Some(ttl),
        detail: Some("stale"),
    }
}
