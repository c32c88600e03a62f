//! All flights under way, by key: who comes first leads, who comes while it is under way follows.
//!
//! Invariant: at most one flight is boarding for a key, none is boarded in an era later than its own or by who wants what a
//! later purge has left, and every flight that was begun lands: its fill holds a [`Landing`], whose end is the flight's.
//! Knows nothing of what a flight carries.

use super::failure::FlightFailure;
use super::flight::{EntrySource, Flight, Ticket};
use super::invalidations::Era;
use crate::base::epoch::Epoch;
use crate::base::metrics::Metrics;
use crate::key::KeyName;
use crate::store::Entry;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

const SHARDS: usize = 64;

/// All flights under way.
pub(crate) struct Flights {
    shards: Vec<Mutex<HashMap<KeyName, Boarding>>>,
    metrics: Arc<Metrics>,
}

/// A flight that can be boarded, and when its origin was asked.
struct Boarding {
    flight: Arc<Flight>,
    era: Era,
    epoch: Epoch,
}

/// Which flight a request may board, and which it starts otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board {
    pub(crate) era: Era,
    /// Of the flight it would start.
    pub(crate) epoch: Epoch,
    /// Of a flight it may board.
    pub(crate) least: Epoch,
}

/// A place on a flight, and the duty that comes with it.
pub(crate) enum Joined {
    /// The first: has to start the fill.
    Leader(Ticket, Landing),
    Follower(Ticket),
}

/// The fill's hold on its flight: when it is dropped, the flight has landed, one way or the other.
pub(crate) struct Landing {
    flights: Arc<Flights>,
    name: KeyName,
    pub(crate) flight: Arc<Flight>,
}

impl Flights {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Flights {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            metrics,
        }
    }

    /// Boards the flight for `name`, or starts one; a flight of another era, or begun too early, is left to those who are
    /// on it.
    pub(crate) fn join(self: &Arc<Self>, name: KeyName, board: Board) -> Joined {
        let Board { era, epoch, .. } = board;
        let mut shard = self.shard(&name).lock();
        if let Some(boarding) = shard.get(&name).filter(|boarding| board.fits(boarding)) {
            return Joined::Follower(Ticket::board(boarding.flight.clone()));
        }
        let flight = Arc::new(Flight::new(self.metrics.clone()));
        let boarding = Boarding {
            flight: flight.clone(),
            era,
            epoch,
        };
        shard.insert(name, boarding);
        self.metrics.fills_in_flight.inc();
        let landing = Landing {
            flights: self.clone(),
            name,
            flight: flight.clone(),
        };
        Joined::Leader(Ticket::board(flight), landing)
    }

    /// A flight that nobody boards.
    pub(super) fn unboarded(self: &Arc<Self>, name: KeyName) -> Landing {
        self.metrics.fills_in_flight.inc();
        Landing {
            flights: self.clone(),
            name,
            flight: Arc::new(Flight::new(self.metrics.clone())),
        }
    }

    /// Whether [`Flights::join`] would find a flight under way.
    pub(super) fn is_boarding(&self, name: &KeyName, board: Board) -> bool {
        let shard = self.shard(name).lock();
        shard.get(name).is_some_and(|boarding| board.fits(boarding))
    }

    #[cfg(test)]
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn shard(&self, name: &KeyName) -> &Mutex<HashMap<KeyName, Boarding>> {
        &self.shards[usize::from(name.as_bytes()[0]) % SHARDS]
    }
}

impl Board {
    fn fits(&self, boarding: &Boarding) -> bool {
        boarding.era == self.era && boarding.epoch >= self.least
    }
}

impl Landing {
    /// Takes the flight off the board: who asks from here on starts anew, or finds what was stored.
    /// Always before a reader can see the flight's end, so that its next request does not board a flight
    /// that is over.
    pub(crate) fn close_boarding(&self) {
        let mut shard = self.flights.shard(&self.name).lock();
        if shard
            .get(&self.name)
            .is_some_and(|boarding| Arc::ptr_eq(&boarding.flight, &self.flight))
        {
            shard.remove(&self.name);
        }
    }

    /// A stored entry answers instead of a body.
    pub(crate) fn land_on(&self, entry: Arc<Entry>, source: EntrySource) {
        self.close_boarding();
        self.flight.land_on(entry, source);
    }

    /// Ends the flight without its body, unless it has ended already.
    pub(crate) fn fail(&self, failure: FlightFailure) {
        self.close_boarding();
        self.flight.fail(failure);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.fail(FlightFailure::Abandoned);
        self.flights.metrics.fills_in_flight.dec();
    }
}
