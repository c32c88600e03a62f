//! How a request comes to a flight: whether it may cause one, which one it boards, and what it waits for.
//!
//! Invariant: the epoch of a flight is taken before its origin is asked, and nobody boards one that was begun before a purge
//! which they have to follow. It does not know what the answer is good for.

use super::Engine;
use super::Hints;
use super::asking::Questions;
use super::board::{Board, Joined};
use super::fill::{Fill, Previous};
use super::flight::{Landed, Ticket};
use super::neighbours::Asks;
use super::served::{Answer, Role, ServeError};
use super::trip::{Extent, Trip};
use crate::base::clock;
use crate::base::epoch::Epoch;
use crate::base::holes::{Hole, is_open};
use crate::http::cache_status::Why;
use crate::key::CacheKey;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A request's place on a flight.
pub(super) struct Boarded {
    pub(super) role: Role,
    pub(super) ticket: Ticket,
}

/// How often a request has looked for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    First,
    Again,
}

/// What a request wants of the origin.
pub(super) struct Wanted {
    pub(super) why: Why,
    pub(super) look: Look,
    /// Under which the answer is to be stored, as far as is known.
    pub(super) key: CacheKey,
    pub(super) previous: Previous,
    pub(super) extent: Extent,
}

impl Engine {
    /// Without waiting for it, and without a word of a request that must leave no trace.
    pub(super) fn refresh_behind(&self, trip: &Trip<'_>, wanted: &Wanted) {
        if !trip.control.no_store && !trip.request.only_looks() {
            drop(self.fly(trip, wanted));
        }
    }

    /// What a request may not share, or may not cause, needs no flight.
    pub(super) fn refuse_to_fly(
        &self,
        trip: &Trip<'_>,
        wanted: &Wanted,
    ) -> Result<Option<Answer>, ServeError> {
        if trip.control.only_if_cached {
            return Err(ServeError::OnlyIfCached);
        }
        let is_private = self
            .fills
            .pass_memory
            .recall(&wanted.key.name(), trip.now)
            .is_some();
        if is_private || trip.control.no_store {
            return Ok(Some(self.pass_order(trip, wanted.why)));
        }
        Ok(None)
    }

    /// Waits for the flight's header, and says for how long.
    pub(super) async fn landed(&self, boarded: &Boarded, hints: &Hints) -> (Landed, Duration) {
        let began = clock::monotonic();
        let landed = match boarded.role {
            Role::Leader => boarded.ticket.landed(Some(hints)).await,
            Role::Follower => {
                self.metrics.coalesced_requests.inc();
                boarded.ticket.landed(None).await
            }
        };
        (landed, clock::monotonic() - began)
    }

    /// Whether a flight is under way that the request would board.
    pub(super) fn is_boarding(&self, trip: &Trip<'_>, wanted: &Wanted) -> bool {
        let name = trip.flight_name(&wanted.key, &wanted.extent, self.asks(trip));
        self.flights.is_boarding(&name, self.board(trip, wanted.look))
    }

    fn asks(&self, trip: &Trip<'_>) -> Asks {
        let Some(neighbours) = &self.fills.neighbours else {
            return Asks::Origin;
        };
        neighbours.asks(&trip.target.key, trip.route, trip.request.asked_by)
    }

    fn board(&self, trip: &Trip<'_>, look: Look) -> Board {
        Board {
            era: self.era(trip),
            // Before anything is asked: what is purged from here on may be missing in the answer.
            epoch: self.purges.epoch(),
            least: match look {
                _ if is_open(Hole::JoinAnyFlight) => Epoch::UNKNOWN,
                // A purge that came after this request began was not acknowledged before it.
                Look::First => Epoch::at(self.purges.highest(trip.target.key.text())).min(trip.epoch),
                Look::Again => trip.epoch,
            },
        }
    }

    /// Boards the flight for what is wanted, starting it where none is under way.
    pub(super) fn fly(&self, trip: &Trip<'_>, wanted: &Wanted) -> Boarded {
        let url = &trip.target.key;
        let board = self.board(trip, wanted.look);
        let Board { era, epoch, .. } = board;
        let asks = self.asks(trip);
        let name = trip.flight_name(&wanted.key, &wanted.extent, asks);
        match self.flights.join(name, board) {
            Joined::Follower(ticket) => Boarded {
                role: Role::Follower,
                ticket,
            },
            Joined::Leader(ticket, landing) => {
                self.fills.start(Fill {
                    landing,
                    fills: self.fills.clone(),
                    route: trip.route.clone(),
                    asks,
                    client: trip.request.client,
                    url: url.clone(),
                    key: wanted.key.clone(),
                    era,
                    epoch,
                    request: trip.fill_request(&self.name, &wanted.extent),
                    request_headers: trip.headers.clone().into_owned(),
                    versioned: trip.versioned(),
                    previous: wanted.previous.clone(),
                    extent: wanted.extent.clone(),
                    overtaken: AtomicBool::new(false),
                    questions: Questions::of(trip.request.trace),
                    must_ask: wanted.why == Why::Request || trip.control.no_cache,
                });
                Boarded {
                    role: Role::Leader,
                    ticket,
                }
            }
        }
    }
}
