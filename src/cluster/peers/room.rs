//! How many questions may be under way to a peer.
//!
//! Invariant: what is passed on for clients takes no room from what this node asks for itself: a client that does not read keeps its
//! place for as long as it likes. It does not know the questions.

use super::{Limits, PeerError};
use crate::base::metrics::QuestionErrand;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Rooms {
    own: Room,
    relays: Room,
}

struct Room {
    under_way: AtomicUsize,
    max: usize,
}

impl Rooms {
    pub(super) fn new(limits: &Limits) -> Self {
        Rooms {
            own: Room::of(limits.requests_max),
            relays: Room::of(limits.relays_max),
        }
    }

    pub(super) fn under_way(&self) -> usize {
        let of = |room: &Room| room.under_way.load(Ordering::Relaxed);
        of(&self.own) + of(&self.relays)
    }

    pub(super) fn enter(&self, errand: QuestionErrand) -> Result<(), PeerError> {
        let room = self.room(errand);
        let one_more = |under_way| (under_way < room.max).then_some(under_way + 1);
        let counted = room
            .under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map(drop).map_err(|_| PeerError::Busy)
    }

    pub(super) fn leave(&self, errand: QuestionErrand) {
        self.room(errand).under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn room(&self, errand: QuestionErrand) -> &Room {
        match errand {
            QuestionErrand::Relay => &self.relays,
            QuestionErrand::Fill | QuestionErrand::Look => &self.own,
        }
    }
}

impl Room {
    fn of(max: usize) -> Self {
        Room {
            under_way: AtomicUsize::new(0),
            max,
        }
    }
}
