//! The purges of late: what came of each, and by which requests they are known again.
//!
//! Invariants: bounded; the oldest is forgotten first. A signed request by which a purge is known again stays for as long as its
//! signature can be believed, whatever else comes: who wants more of them asks [`Remembered::room`] first. A key that its
//! caller chose proves nothing, and gives way to later ones: it takes no room from signed requests. It does not know tables.

use super::order::{OnceKey, PurgeId};
use super::state::Outcome;
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Where a purge stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub id: PurgeId,
    pub index: PurgeIndex,
    /// The log's time of it.
    pub at: Timestamp,
    /// Wall time of it.
    pub committed_at: Timestamp,
}

/// What came of purges, for others to read: nobody holds it for longer than one look or one change takes.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<RwLock<Found>>);

#[derive(Default)]
struct Found {
    by_id: HashMap<PurgeId, Settled>,
    by_name: HashSet<ByName>,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// What was committed before, by the log's time, is forgotten.
    pub(super) since: Timestamp,
    /// Requests that were signed from then on, in seconds of wall time, can be believed.
    pub(super) believed_since_s: u64,
    /// Of purges that are known by a signed request, by a key of their caller's choice, and of others.
    pub(super) count_max: usize,
}

#[derive(Default)]
pub(super) struct Remembered {
    ends: Ends,
    /// Oldest first.
    plain: VecDeque<Settled>,
    /// Known by a key of their caller's choice; oldest first.
    keyed: VecDeque<Arc<Known>>,
    /// Known by a signed request; by when that was sent.
    signed: BTreeMap<(u64, PurgeId), Arc<Known>>,
}

/// A purge that is known by the request that led to it.
pub struct Known {
    pub(super) settled: Settled,
    pub(super) once: OnceKey,
}

/// Found by the request's name.
struct ByName(Arc<Known>);

impl Remembered {
    pub(super) fn add(&mut self, settled: Settled, once: Option<OnceKey>) {
        let known = once.map(|once| Arc::new(Known { settled, once }));
        let mut found = self.ends.0.write();
        found.by_id.insert(settled.id, settled);
        match known {
            None => self.plain.push_back(settled),
            Some(known) => {
                found.by_name.insert(ByName(known.clone()));
                match known.once.sent_at_s {
                    0 => self.keyed.push_back(known),
                    sent_at_s => drop(self.signed.insert((sent_at_s, settled.id), known)),
                }
            }
        }
    }

    pub(super) fn ends(&self) -> Ends {
        self.ends.clone()
    }

    /// How many signed requests more can be remembered; as far as `wanted`.
    pub(super) fn room(&self, wanted: usize, extent: &Extent) -> usize {
        let excess = self.signed.len().saturating_sub(extent.count_max);
        let sent = self.signed.keys().map(|(sent_at_s, _)| *sent_at_s);
        let can_go = sent.take_while(|sent_at_s| *sent_at_s < extent.believed_since_s);
        let can_go = can_go.take(wanted + excess).count();
        (extent.count_max + can_go).saturating_sub(self.signed.len())
    }

    pub(super) fn forget(&mut self, extent: &Extent) {
        let is_old = |settled: &Settled| settled.at < extent.since;
        while let Some(oldest) = self.plain.front()
            && (is_old(oldest) || self.plain.len() > extent.count_max)
        {
            self.ends.forget(oldest, None);
            self.plain.pop_front();
        }
        while let Some(oldest) = self.keyed.front()
            && (is_old(&oldest.settled) || self.keyed.len() > extent.count_max)
        {
            self.ends.forget(&oldest.settled, Some(&oldest.once));
            self.keyed.pop_front();
        }
        while let Some(((sent_at_s, _), oldest)) = self.signed.first_key_value()
            && *sent_at_s < extent.believed_since_s
            && (is_old(&oldest.settled) || self.signed.len() > extent.count_max)
        {
            self.ends.forget(&oldest.settled, Some(&oldest.once));
            self.signed.pop_first();
        }
    }

    /// Forgets everything, and remembers these; of each kind the oldest first.
    pub(super) fn replace(&mut self, all: Vec<(Settled, Option<OnceKey>)>) {
        *self.ends.0.write() = Found::default();
        self.plain.clear();
        self.keyed.clear();
        self.signed.clear();
        for (settled, once) in all {
            self.add(settled, once);
        }
    }

    /// Of each kind the oldest first; those that are not known by a request apart.
    pub(super) fn all(&self) -> (Vec<Settled>, Vec<Arc<Known>>) {
        let known = self.keyed.iter().chain(self.signed.values());
        (self.plain.iter().copied().collect(), known.cloned().collect())
    }
}

impl Ends {
    pub(super) fn settled(&self, id: &PurgeId) -> Option<Settled> {
        self.0.read().by_id.get(id).copied()
    }

    /// The purge that was carried out for a request of this name.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Known>> {
        let found = self.0.read();
        found.by_name.get(name).map(|found| found.0.clone())
    }

    /// As [`Ends::known`], where what was signed at `sent_at_s` is no later attempt of it.
    pub(super) fn replayed(&self, name: &str, sent_at_s: u64) -> Option<Arc<Known>> {
        let known = self.known(name)?;
        (sent_at_s != 0 && sent_at_s <= known.once.sent_at_s).then_some(known)
    }

    fn forget(&self, settled: &Settled, once: Option<&OnceKey>) {
        let mut found = self.0.write();
        found.by_id.remove(&settled.id);
        if let Some(once) = once {
            found.by_name.remove(once.name.as_str());
        }
    }
}

impl Known {
    /// What the same name comes to once more.
    pub(super) fn again(&self, once: &OnceKey) -> Outcome {
        match self.once.request == once.request {
            true => Outcome::Repeated {
                settled: self.settled,
                sent_at_s: self.once.sent_at_s,
            },
            false => Outcome::Conflict(self.settled.id),
        }
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.once.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.once.name.hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.once.name == other.0.once.name
    }
}

impl Eq for ByName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(second: u64) -> Settled {
        Settled {
            id: PurgeId::unused(),
            index: PurgeIndex::from_number(second),
            at: Timestamp::from_secs(second),
            committed_at: Timestamp::from_secs(second),
        }
    }

    fn once(name: String, sent_at_s: u64) -> OnceKey {
        OnceKey {
            name,
            request: [0; 16],
            sent_at_s,
        }
    }

    fn extent(since: u64, believed_since_s: u64, count_max: usize) -> Extent {
        Extent {
            since: Timestamp::from_secs(since),
            believed_since_s,
            count_max,
        }
    }

    /// Six of each kind, at the seconds from 1 to 6.
    struct Full {
        remembered: Remembered,
        plain: Vec<Settled>,
        keyed: Vec<Settled>,
        signed: Vec<Settled>,
    }

    impl Full {
        fn new() -> Self {
            let mut remembered = Remembered::default();
            let [plain, keyed, signed] = [0; 3].map(|_| (1..=6).map(settled).collect::<Vec<_>>());
            for at in 0..6 {
                let second = at as u64 + 1;
                remembered.add(plain[at], None);
                remembered.add(keyed[at], Some(once(format!("key {second}"), 0)));
                remembered.add(signed[at], Some(once(format!("id {second}"), second)));
            }
            Full {
                remembered,
                plain,
                keyed,
                signed,
            }
        }

        /// The seconds of those that are known.
        fn left(&self, kind: &str) -> Vec<u64> {
            let ends = self.remembered.ends();
            (1..=6)
                .filter(|second| ends.known(&format!("{kind} {second}")).is_some())
                .collect()
        }
    }

    #[test]
    fn the_oldest_is_forgotten_first_with_the_request_it_was_known_by() {
        let mut full = Full::new();
        let ends = full.remembered.ends();
        full.remembered.forget(&extent(0, 7, 4));
        for settled in [&full.plain, &full.keyed, &full.signed] {
            assert_eq!(ends.settled(&settled[1].id), None);
            assert_eq!(ends.settled(&settled[2].id), Some(settled[2]));
        }
        assert_eq!([full.left("key"), full.left("id")], [[3, 4, 5, 6]; 2]);
        full.remembered.forget(&extent(5, 7, 4));
        assert_eq!([full.left("key"), full.left("id")], [[5, 6]; 2]);
        assert_eq!(full.remembered.all().0, full.plain[4..]);
        full.remembered.replace(Vec::new());
        assert!(full.remembered.all().0.is_empty() && full.remembered.all().1.is_empty());
        assert!(ends.0.read().by_id.is_empty() && ends.0.read().by_name.is_empty());
    }

    /// However old it is by the log's time, which may run ahead of the wall's or follow it at a pace of its own.
    #[test]
    fn a_signed_request_that_can_be_believed_again_is_not_forgotten() {
        let mut full = Full::new();
        full.remembered.forget(&extent(100, 4, 1));
        assert_eq!(full.left("id"), [4, 5, 6]);
        assert!(full.left("key").is_empty() && full.remembered.all().0.is_empty());
    }

    #[test]
    fn keys_of_callers_choice_take_no_room_from_signed_requests() {
        let mut full = Full::new();
        for number in 0..100 {
            let chosen = once(format!("more {number}"), 0);
            full.remembered.add(settled(7), Some(chosen));
        }
        assert_eq!(full.remembered.room(10, &extent(0, 0, 10)), 4);
        full.remembered.forget(&extent(0, 7, 6));
        assert_eq!(full.left("id"), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn there_is_room_where_signed_requests_can_be_forgotten() {
        let Full { remembered, .. } = Full::new();
        for (believed_since_s, wanted, count_max, room) in [
            (0, 5, 8, 2),
            (0, 5, 6, 0),
            (0, 5, 4, 0),
            (3, 5, 6, 2),
            (3, 1, 6, 1),
            (3, 5, 4, 0),
            (4, 5, 4, 1),
            (7, 9, 6, 6),
        ] {
            let found = remembered.room(wanted, &extent(0, believed_since_s, count_max));
            assert_eq!(found, room, "{believed_since_s} {wanted} {count_max}");
        }
    }

    #[test]
    fn an_attempt_that_is_no_later_than_the_one_that_is_known_is_a_replay() {
        let ends = Full::new().remembered.ends();
        for (name, sent_at_s, is_replay) in [
            ("id 4", 3, true),
            ("id 4", 4, true),
            ("id 4", 5, false),
            ("id 7", 7, false),
            ("key 4", 0, false),
        ] {
            assert_eq!(
                ends.replayed(name, sent_at_s).is_some(),
                is_replay,
                "{name} {sent_at_s}"
            );
        }
    }
}
