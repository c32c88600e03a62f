//! The purges of late: what came of each, and by which requests they are known again.
//!
//! Invariants: bounded; the oldest is forgotten first. A request by which a purge is known again stays for as long as its
//! signature can be believed, whatever else comes: who wants more of them asks [`Remembered::has_room`] first. It does not
//! know tables.

use super::order::{OnceKey, PurgeId};
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where a purge stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub id: PurgeId,
    pub index: PurgeIndex,
    pub committed_at: Timestamp,
}

/// What came of purges, for others to read: nobody holds it for longer than one look or one change takes.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<RwLock<HashMap<PurgeId, Settled>>>);

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// What was committed before is forgotten.
    pub(super) since: Timestamp,
    /// Requests of later are not forgotten because there are many.
    pub(super) believed_since: Timestamp,
    /// Of purges that are known by a request, and of others.
    pub(super) count_max: usize,
}

#[derive(Default)]
pub(super) struct Remembered {
    ends: Ends,
    /// Oldest first.
    plain: VecDeque<Settled>,
    /// Oldest first.
    known: VecDeque<Arc<Known>>,
    by_once: HashSet<ByOnce>,
}

/// A purge that is known by the request that led to it.
pub(super) struct Known {
    pub(super) settled: Settled,
    pub(super) once: OnceKey,
}

/// Found by the request's name.
struct ByOnce(Arc<Known>);

impl Remembered {
    pub(super) fn add(&mut self, settled: Settled, once: Option<OnceKey>) {
        match once {
            Some(once) => {
                let known = Arc::new(Known { settled, once });
                self.by_once.insert(ByOnce(known.clone()));
                self.known.push_back(known);
            }
            None => self.plain.push_back(settled),
        }
        self.ends.0.write().insert(settled.id, settled);
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// The purge that was carried out for a request of this name.
    pub(super) fn known(&self, once: &str) -> Option<&Known> {
        self.by_once.get(once).map(|found| &*found.0)
    }

    /// Whether one more request can be remembered beside `more` others that are to come before it.
    pub(super) fn has_room(&self, more: usize, extent: &Extent) -> bool {
        let stay = |believed: usize| believed + more < extent.count_max;
        stay(self.known.len())
            || stay(
                self.known.len()
                    - self
                        .known
                        .partition_point(|known| known.is_before(extent.believed_since)),
            )
    }

    pub(super) fn forget(&mut self, extent: &Extent) {
        while let Some(oldest) = self.plain.front()
            && (oldest.committed_at < extent.since || self.plain.len() > extent.count_max)
        {
            self.ends.0.write().remove(&oldest.id);
            self.plain.pop_front();
        }
        while let Some(oldest) = self.known.front()
            && (oldest.is_before(extent.since)
                || self.known.len() > extent.count_max && oldest.is_before(extent.believed_since))
        {
            self.ends.0.write().remove(&oldest.settled.id);
            self.by_once.remove(oldest.once.name.as_str());
            self.known.pop_front();
        }
    }

    /// Forgets everything, and remembers these; of each kind the oldest first.
    pub(super) fn replace(&mut self, all: Vec<(Settled, Option<OnceKey>)>) {
        self.forget(&Extent {
            since: Timestamp::from_millis(u64::MAX),
            believed_since: Timestamp::ZERO,
            count_max: 0,
        });
        for (settled, once) in all {
            self.add(settled, once);
        }
    }

    /// Of each kind the oldest first.
    pub(super) fn all(&self) -> (Vec<Settled>, Vec<Arc<Known>>) {
        (
            self.plain.iter().copied().collect(),
            self.known.iter().cloned().collect(),
        )
    }
}

impl Ends {
    pub(super) fn settled(&self, id: &PurgeId) -> Option<Settled> {
        self.0.read().get(id).copied()
    }
}

impl Known {
    fn is_before(&self, at: Timestamp) -> bool {
        self.settled.committed_at < at
    }
}

impl Borrow<str> for ByOnce {
    fn borrow(&self) -> &str {
        &self.0.once.name
    }
}

impl Hash for ByOnce {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.once.name.hash(state);
    }
}

impl PartialEq for ByOnce {
    fn eq(&self, other: &Self) -> bool {
        self.0.once.name == other.0.once.name
    }
}

impl Eq for ByOnce {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(second: u64) -> Settled {
        Settled {
            id: PurgeId::unused(),
            index: PurgeIndex::from_number(second),
            committed_at: Timestamp::from_secs(second),
        }
    }

    fn once(name: String) -> OnceKey {
        OnceKey {
            name,
            request: [0; 16],
            sent_at_s: 0,
        }
    }

    fn extent(since: u64, believed_since: u64, count_max: usize) -> Extent {
        Extent {
            since: Timestamp::from_secs(since),
            believed_since: Timestamp::from_secs(believed_since),
            count_max,
        }
    }

    /// Six of each kind, at the seconds from 0 to 5.
    fn full() -> (Remembered, Vec<Settled>, Vec<Settled>) {
        let mut remembered = Remembered::default();
        let plain: Vec<_> = (0..6).map(settled).collect();
        let known: Vec<_> = (0..6).map(settled).collect();
        for (number, (plain, known)) in plain.iter().zip(&known).enumerate() {
            remembered.add(*plain, None);
            remembered.add(*known, Some(once(number.to_string())));
        }
        (remembered, plain, known)
    }

    #[test]
    fn the_oldest_is_forgotten_first_with_the_request_it_was_known_by() {
        let (mut remembered, plain, known) = full();
        let ends = remembered.ends();
        remembered.forget(&extent(0, 6, 4));
        for settled in [&plain, &known] {
            assert_eq!(ends.settled(&settled[1].id), None);
            assert_eq!(ends.settled(&settled[2].id), Some(settled[2]));
        }
        assert!(remembered.known("1").is_none());
        assert_eq!(remembered.known("2").map(|known| known.settled), Some(known[2]));
        remembered.forget(&extent(4, 6, 4));
        assert!(remembered.known("3").is_none());
        let (left, left_known) = remembered.all();
        let left_known: Vec<_> = left_known.iter().map(|known| known.settled).collect();
        assert_eq!((left, left_known), (plain[4..].to_vec(), known[4..].to_vec()));
        remembered.replace(Vec::new());
        assert!(remembered.plain.is_empty() && remembered.known.is_empty());
        assert!(remembered.by_once.is_empty() && ends.0.read().is_empty());
    }

    #[test]
    fn a_request_that_can_be_believed_again_is_not_pushed_out() {
        let (mut remembered, plain, _) = full();
        remembered.forget(&extent(0, 3, 1));
        assert!(remembered.known("2").is_none());
        for name in ["3", "4", "5"] {
            assert!(remembered.known(name).is_some(), "{name}");
        }
        assert_eq!(remembered.all().0, plain[5..]);
    }

    #[test]
    fn there_is_room_where_requests_can_be_forgotten() {
        let (remembered, ..) = full();
        for (believed_since, more, count_max, has_room) in [
            (0, 0, 7, true),
            (0, 1, 7, false),
            (0, 0, 6, false),
            (3, 0, 4, true),
            (3, 0, 3, false),
            (3, 1, 4, false),
            (6, 0, 1, true),
        ] {
            let found = remembered.has_room(more, &extent(0, believed_since, count_max));
            assert_eq!(found, has_room, "{believed_since} {more} {count_max}");
        }
    }
}
