//! All flights under way, by key: who comes first leads, who comes while it is under way follows.
//!
//! Invariant: at most one flight is boarding for a key, and every flight that was begun lands: its fill holds a
//! [`Landing`], whose end is the flight's. Knows nothing of what a flight carries.

use super::flight::{EntrySource, Flight, FlightFailure, Ticket};
use crate::base::metrics::Metrics;
use crate::key::KeyName;
use crate::store::Entry;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

const SHARDS: usize = 64;

/// All flights under way.
pub(crate) struct Flights {
    shards: Vec<Mutex<HashMap<KeyName, Arc<Flight>>>>,
    metrics: Arc<Metrics>,
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

    /// Boards the flight for `name`, or starts one.
    pub(crate) fn join(self: &Arc<Self>, name: KeyName) -> Joined {
        let mut shard = self.shard(&name).lock();
        if let Some(flight) = shard.get(&name) {
            return Joined::Follower(Ticket::board(flight.clone()));
        }
        let flight = Arc::new(Flight::new(self.metrics.clone()));
        shard.insert(name, flight.clone());
        self.metrics.fills_in_flight.inc();
        let landing = Landing {
            flights: self.clone(),
            name,
            flight: flight.clone(),
        };
        Joined::Leader(Ticket::board(flight), landing)
    }

    #[cfg(test)]
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn shard(&self, name: &KeyName) -> &Mutex<HashMap<KeyName, Arc<Flight>>> {
        &self.shards[usize::from(name.as_bytes()[0]) % SHARDS]
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
            .is_some_and(|boarding| Arc::ptr_eq(boarding, &self.flight))
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
