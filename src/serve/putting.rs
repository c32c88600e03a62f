//! What a program hands in to be stored, as an origin's answer would be.
//!
//! 1. the epoch is taken, that of the node that took it in where it is lower, then the response is judged by its route's policy;
//! 2. its body comes in full, of the length and the digest that were declared;
//! 3. it is stored as a fill stores ([`super::commit`]).
//!
//! Invariant: nothing is stored that an origin could not have answered with, and nothing that a purge has overtaken. Nobody
//! waits for a body that is handed in: it is on no board. It does not know how it travels.

use super::asking::Questions;
use super::fill::{Fill, Previous};
use super::head::Fate;
use super::neighbours::Asks;
use super::route::Caching;
use super::trip::{Extent, Trip};
use super::{Engine, FlightFailure, Request, ServeError};
use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::epoch::Epoch;
use crate::cluster::Cluster;
use crate::cluster::member::Member;
use crate::cluster::question::LogPosition;
use crate::http::freshness::{Exchange, InitialAge};
use crate::upstream::{Elsewhere, Framing, OriginBody, OriginResponse};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A response that somebody has.
pub(crate) struct Handed<B> {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Of the body, in bytes.
    pub(crate) length: u64,
    /// Where the node was in the log of purges that took it in: this one, or one that has passed it on.
    pub(crate) taken_in_at: LogPosition,
    pub(crate) body: B,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPut {
    #[error("{0}")]
    Serve(#[from] ServeError),
    #[error("the URL names a variant; only sources are stored this way")]
    Variant,
    #[error("the route does not cache")]
    Uncached,
    #[error("a response of status {0} can not be stored as a whole one")]
    Status(StatusCode),
    #[error("the node that took it in follows another log of purges")]
    OtherLog,
    #[error("the response varies by request headers, and which it answers is not said")]
    Varies,
    #[error("the route's policy does not let it be stored: {0}")]
    Unfit(&'static str),
    #[error("a purge, or a change at the origin, has overtaken it")]
    Overtaken,
    #[error("the memory for bodies on their way (serve.fill_bytes_max) is taken")]
    NoRoom,
    #[error(transparent)]
    Broken(FlightFailure),
}

impl Engine {
    /// Who is to store what is handed in for a URL, and the cluster by which it is reached; `None`: this node.
    ///
    /// # Errors
    /// When no route covers it, or its URL is malformed.
    pub(crate) fn keeper_elsewhere(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<(Cluster, Arc<Member>)>, ServeError> {
        let Some(neighbours) = &self.fills.neighbours else {
            return Ok(None);
        };
        let routes = self.routes.load_full();
        let trip = Trip::set_out(&routes, request, self.purges.epoch()).map_err(|unserved| unserved.error)?;
        Ok(neighbours.keeper_elsewhere(&trip.target.key, trip.route))
    }

    /// Stores what was handed in, and tells its digest.
    ///
    /// # Errors
    /// When it is not stored.
    pub(crate) async fn put<B: Elsewhere + 'static>(
        &self,
        request: &Request<'_>,
        handed: Handed<B>,
    ) -> Result<Digest, NotPut> {
        let routes = self.routes.load_full();
        // Before anything of the response is looked at.
        let epoch = self.epoch_of(handed.taken_in_at)?;
        let trip = Trip::set_out(&routes, request, epoch).map_err(|unserved| unserved.error)?;
        if trip.wish().is_some() {
            return Err(NotPut::Variant);
        }
        if routes.caching(trip.route) == Caching::Off {
            return Err(NotPut::Uncached);
        }
        self.put_fill(&trip).take_handed(answer_of(handed)?).await
    }

    /// The lower one: a purge that either node may have been told of on the way wins.
    fn epoch_of(&self, taken_in_at: LogPosition) -> Result<Epoch, NotPut> {
        let own = self.log_position();
        match taken_in_at.incarnation == own.incarnation {
            true => Ok(Epoch::at(own.applied.min(taken_in_at.applied))),
            false => Err(NotPut::OtherLog),
        }
    }

    fn put_fill(&self, trip: &Trip<'_>) -> Fill {
        let url = &trip.target.key;
        Fill {
            landing: self.flights.unboarded(url.name()),
            fills: self.fills.clone(),
            route: trip.route.clone(),
            asks: Asks::Origin,
            client: trip.request.client,
            url: url.clone(),
            key: url.clone(),
            era: self.era(trip),
            epoch: trip.epoch,
            request: trip.fill_request(&self.name, &Extent::Whole),
            request_headers: trip.headers.clone().into_owned(),
            versioned: trip.versioned(),
            previous: Previous::Nothing,
            extent: Extent::Whole,
            overtaken: AtomicBool::new(false),
            questions: Questions::of(trip.request.trace),
            must_ask: true,
        }
    }
}

/// As an origin would have sent it, now.
fn answer_of<B: Elsewhere + 'static>(handed: Handed<B>) -> Result<OriginResponse, NotPut> {
    let Handed {
        status,
        headers,
        length,
        body,
        taken_in_at: _,
    } = handed;
    let is_whole = status.as_u16() >= 200 && !matches!(status.as_u16(), 206 | 304);
    if !is_whole {
        return Err(NotPut::Status(status));
    }
    let now = clock::now();
    Ok(OriginResponse {
        status,
        headers,
        length: Some(length),
        body: OriginBody::from_elsewhere(body, Framing::Framed),
        exchange: Exchange {
            requested_at: now,
            received_at: now,
            initial_age: InitialAge::ByHeader,
        },
    })
}

impl Fill {
    async fn take_handed(&self, response: OriginResponse) -> Result<Digest, NotPut> {
        let fate = match self.fate(&response) {
            fate @ Fate::Stored(_) => fate,
            Fate::Shared(reason) | Fate::Private(reason) => return Err(NotPut::Unfit(reason)),
        };
        if self.alternate(&response.headers).is_some() {
            return Err(NotPut::Varies);
        }
        let deadline = clock::monotonic() + self.fills.deadline();
        let received = self.receive_response(response, fate, deadline).await;
        received.map_err(|failure| match failure {
            // Nobody reads it: what does not fit in memory whole has no reader.
            FlightFailure::Abandoned => NotPut::NoRoom,
            failure => NotPut::Broken(failure),
        })?;
        let is_current = self.fills.invalidations.era(&self.url.name()) == self.era;
        match self.landing.flight.digest() {
            Some(digest) if is_current && !self.overtaken.load(Ordering::Relaxed) => Ok(digest),
            Some(_) => Err(NotPut::Overtaken),
            None => Err(NotPut::NoRoom),
        }
    }
}
