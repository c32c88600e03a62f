//! What the log says, applied: the tables, and which requests have been carried out.
//!
//! Invariant: it is made of the log's entries in their order and of nothing else, no clock and no chance, so that every
//! node and every restart comes to the same. It does not know how entries are stored or agreed on.

use super::config::WATCHED_SCOPES_MAX;
use super::feed::Feed;
use super::order::{Batch, Newcomers, OnceKey, Purge, PurgeId, Recall};
use super::recent::Recent;
use super::remembered::{Ends, Extent, Known, Remembered, Settled};
use super::table::{Contents, Since, Tables};
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The floor is raised in steps of this fraction of what an object may live: each step looks at the whole tables.
const FLOOR_STEPS: u32 = 64;

/// How long what the log says is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// After so long without its origin's word, an entry is not served: what was purged longer ago need not be known.
    pub object_life: Duration,
}

/// What became of one purge of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Applied(Settled),
    /// The same request was carried out before: this is what came of it.
    Repeated {
        settled: Settled,
        sent_at_s: u64,
    },
    /// Its key was used for another request: nothing was done.
    Conflict(PurgeId),
}

impl Outcome {
    /// Where the purge stands that the request has led to.
    pub(super) fn index(&self) -> Option<PurgeIndex> {
        match self {
            Outcome::Applied(settled) | Outcome::Repeated { settled, .. } => Some(settled.index),
            Outcome::Conflict(_) => None,
        }
    }
}

pub struct State {
    tables: Arc<Tables>,
    keeping: Keeping,
    /// The latest time that the log has told; it never runs back.
    clock: Timestamp,
    /// Indexes and when they were appended, oldest first, apart by a step of the floor at least.
    steps: VecDeque<(Timestamp, PurgeIndex)>,
    remembered: Remembered,
    recent: Arc<Recent>,
    /// Told of each entry that is applied, for those who follow.
    feed: Option<Arc<Feed>>,
}

/// All of it, as at one index.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    contents: Contents,
    clock: Timestamp,
    steps: Vec<(Timestamp, PurgeIndex)>,
    /// Those without a request first, then those with one of its caller's choice, then those with a signed one; of each the
    /// oldest first.
    remembered: Vec<(Settled, Option<OnceKey>)>,
}

/// What a snapshot is made of, taken while nothing is applied: copies, and no work that can be done later.
pub(super) struct Captured {
    contents: Contents,
    clock: Timestamp,
    steps: Vec<(Timestamp, PurgeIndex)>,
    plain: Vec<Settled>,
    known: Vec<Arc<Known>>,
}

impl State {
    pub fn new(tables: Arc<Tables>, keeping: Keeping) -> Self {
        State {
            tables,
            keeping,
            clock: Timestamp::ZERO,
            steps: VecDeque::new(),
            remembered: Remembered::default(),
            recent: Arc::new(Recent::new(WATCHED_SCOPES_MAX)),
            feed: None,
        }
    }

    /// The latest entries are told to who watches, of so many scopes.
    pub(super) fn watched(self, scopes_max: usize) -> Self {
        State {
            recent: Arc::new(Recent::new(scopes_max)),
            ..self
        }
    }

    pub(super) fn recent(&self) -> Arc<Recent> {
        self.recent.clone()
    }

    /// Has others hear of what is applied.
    pub(super) fn feeding(mut self, feed: Arc<Feed>) -> Self {
        self.feed = Some(feed);
        self
    }

    /// Applies one entry of the log. From the return on, every thread sees what it purged.
    pub fn apply(&mut self, index: PurgeIndex, batch: &Batch) -> Vec<Outcome> {
        self.clock = self.clock.max(batch.at);
        // Before as well as after: a request is known no longer than it is to be, however long nothing was purged.
        self.forget(batch);
        let outcomes = batch
            .purges
            .iter()
            .map(|purge| self.apply_one(index, batch.wall, purge))
            .collect();
        self.forget(batch);
        self.grow_old(index);
        self.publish(index, Some(batch));
        self.recent.add(index, batch);
        outcomes
    }

    /// An entry of the log that purges nothing.
    pub fn pass_over(&mut self, index: PurgeIndex) {
        self.publish(index, None);
        self.recent.pass_over(index);
    }

    /// Others hear of it when it is in the tables.
    fn publish(&self, index: PurgeIndex, batch: Option<&Batch>) {
        self.tables.publish(index);
        if let Some(feed) = &self.feed {
            feed.push(index, batch);
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        self.capture().into_snapshot()
    }

    pub(super) fn capture(&self) -> Captured {
        let (plain, known) = self.remembered.all();
        Captured {
            contents: self.tables.contents(),
            clock: self.clock,
            steps: self.steps.iter().copied().collect(),
            plain,
            known,
        }
    }

    pub fn restore(&mut self, snapshot: Snapshot) {
        self.clock = snapshot.clock;
        self.steps = snapshot.steps.into();
        self.remembered.replace(snapshot.remembered);
        self.tables.take_over(snapshot.contents);
        self.recent.skip_to(self.tables.applied());
        if let Some(feed) = &self.feed {
            feed.begin_after(self.tables.applied());
        }
    }

    /// The latest time that the log has told.
    pub(super) fn told(&self) -> Timestamp {
        self.clock
    }

    /// What came of purges: to be read while entries are applied and snapshots are made.
    pub(super) fn ends(&self) -> Ends {
        self.remembered.ends()
    }

    /// Which of those that are to become a batch ask for more than can be remembered, by their place in it. They are to be taken
    /// out before: what is in the log is applied, whatever the configuration says by then.
    pub fn surplus(&self, newcomers: &Newcomers) -> Vec<usize> {
        let Newcomers { wall, recall, names } = newcomers;
        let room = self
            .remembered
            .room(names.len(), &extent(self.clock, *wall, recall));
        let ends = self.remembered.ends();
        let mut taken_in = HashSet::new();
        let mut surplus = Vec::new();
        for (place, name) in names {
            let is_known = taken_in.contains(name) || ends.known(name).is_some();
            if !is_known && taken_in.len() < room {
                taken_in.insert(name);
            } else if !is_known {
                surplus.push(*place);
            }
        }
        surplus
    }

    fn apply_one(&mut self, index: PurgeIndex, wall: Timestamp, purge: &Purge) -> Outcome {
        if let Some(once) = &purge.once
            && let Some(known) = self.remembered.ends().known(&once.name)
        {
            return known.again(once);
        }
        let minimum = purge.minimum.as_ref().map(|minimum| Since {
            index,
            at: wall,
            minimum: minimum.clone(),
        });
        for scope in &purge.scopes {
            self.tables.insert(scope, index, purge.mode, minimum.as_ref());
        }
        let settled = Settled {
            id: purge.id,
            index,
            at: self.clock,
            committed_at: wall,
        };
        self.remembered.add(settled, purge.once.clone());
        Outcome::Applied(settled)
    }

    fn forget(&mut self, batch: &Batch) {
        let extent = extent(self.clock, batch.wall, &batch.recall);
        self.remembered.forget(&extent);
    }

    fn grow_old(&mut self, index: PurgeIndex) {
        let object_life = self.keeping.object_life;
        let step = object_life / FLOOR_STEPS;
        if self
            .steps
            .back()
            .is_none_or(|(at, _)| self.clock.since(*at) >= step)
        {
            self.steps.push_back((self.clock, index));
        }
        let mut floor = None;
        while let Some((at, passed)) = self.steps.front()
            && self.clock.since(*at) > object_life
        {
            floor = Some(*passed);
            self.steps.pop_front();
        }
        if let Some(floor) = floor {
            self.tables.raise_floor(floor);
        }
    }
}

/// Signatures bear wall time, and are believed by it.
fn extent(log_time: Timestamp, wall: Timestamp, recall: &Recall) -> Extent {
    Extent {
        since: log_time.minus(recall.life),
        believed_since_s: wall.minus(recall.believed).as_secs(),
        count_max: recall.count_max,
    }
}

impl Snapshot {
    /// Of which index it is.
    pub(super) fn applied(&self) -> PurgeIndex {
        self.contents.applied
    }
}

impl Captured {
    /// As every node has it. Takes time: to be done where nobody waits.
    pub(super) fn into_snapshot(self) -> Snapshot {
        let plain = self.plain.into_iter().map(|settled| (settled, None));
        let known = self
            .known
            .iter()
            .map(|known| (known.settled, Some(known.once.clone())));
        let mut contents = self.contents;
        contents.sort();
        Snapshot {
            contents,
            clock: self.clock,
            steps: self.steps,
            remembered: plain.chain(known).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::{Minimum, Mode};
    use super::*;
    use crate::scope::Scope;

    const KEEPING: Keeping = Keeping {
        object_life: Duration::from_secs(1000),
    };

    const RECALL: Recall = Recall {
        life: Duration::from_secs(100),
        believed: Duration::from_secs(100),
        count_max: 4,
    };

    fn state() -> State {
        State::new(Arc::new(Tables::new(100, 1000)), KEEPING)
    }

    /// Signed at the seventh second.
    fn purge(once: Option<(&str, u8)>) -> Purge {
        Purge {
            id: PurgeId::unused(),
            scopes: vec![Scope::All],
            mode: Mode::Hard,
            minimum: None,
            once: once.map(|(name, request)| OnceKey {
                name: name.to_owned(),
                request: [request; 16],
                sent_at_s: 7,
            }),
        }
    }

    /// What comes of one purge at `second`.
    fn apply(state: &mut State, index: u64, second: u64, purge: Purge) -> Outcome {
        let batch = Batch {
            at: Timestamp::from_secs(second),
            wall: Timestamp::from_secs(second),
            recall: RECALL,
            purges: vec![purge],
        };
        state.apply(PurgeIndex::from_number(index), &batch)[0]
    }

    fn applied(outcome: Outcome) -> Settled {
        match outcome {
            Outcome::Applied(settled) => settled,
            other => panic!("not applied: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_carried_out_once_also_across_a_restart() {
        let mut state = state();
        let first = applied(apply(&mut state, 3, 10, purge(Some(("a", 1)))));
        let mut restored = super::tests::state();
        restored.restore(state.snapshot());
        for state in [&mut state, &mut restored] {
            let again = apply(state, 4, 20, purge(Some(("a", 1))));
            let known = Outcome::Repeated {
                settled: first,
                sent_at_s: 7,
            };
            assert_eq!(again, known);
            let other = apply(state, 5, 30, purge(Some(("a", 2))));
            assert_eq!(other, Outcome::Conflict(first.id));
            assert_eq!(state.tables.highest("http://h/"), first.index);
            applied(apply(state, 6, 40, purge(Some(("b", 2)))));
        }
    }

    #[test]
    fn a_request_twice_in_one_batch_is_carried_out_once() {
        let mut state = state();
        let batch = Batch {
            at: Timestamp::from_secs(10),
            wall: Timestamp::from_secs(10),
            recall: RECALL,
            purges: vec![purge(Some(("a", 1))), purge(Some(("a", 1)))],
        };
        let outcomes = state.apply(PurgeIndex::from_number(3), &batch);
        assert!(matches!(
            outcomes[..],
            [Outcome::Applied(_), Outcome::Repeated { .. }]
        ));
    }

    #[test]
    fn a_request_is_known_no_longer_than_it_is_to_be() {
        let mut state = state();
        let first = applied(apply(&mut state, 3, 10, purge(Some(("a", 1)))));
        apply(&mut state, 4, 110, purge(None));
        assert_eq!(state.ends().settled(&first.id), Some(first));
        let later = applied(apply(&mut state, 5, 111, purge(Some(("a", 2)))));
        assert_eq!(state.ends().settled(&first.id), None);
        assert_eq!(state.ends().settled(&later.id), Some(later));
    }

    #[test]
    fn requests_are_known_again_whatever_comes_after_them() {
        let mut state = state();
        let first = applied(apply(&mut state, 3, 10, purge(Some(("a", 1)))));
        for number in 0..20 {
            applied(apply(&mut state, 4 + number, 20, purge(None)));
            let name = number.to_string();
            applied(apply(&mut state, 50 + number, 20, purge(Some((&name, 1)))));
        }
        let again = apply(&mut state, 100, 107, purge(Some(("a", 1))));
        assert!(matches!(again, Outcome::Repeated { settled, .. } if settled == first));
    }

    #[test]
    fn new_requests_are_one_too_many_while_all_that_are_known_can_be_believed() {
        let mut state = state();
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            applied(apply(&mut state, 3 + number as u64, 10, purge(Some((name, 1)))));
        }
        let names = ["d", "d", "e", "e", "a", "f"];
        let mut newcomers = Newcomers {
            wall: Timestamp::from_secs(57),
            recall: Recall {
                believed: Duration::from_secs(50),
                ..RECALL
            },
            names: (0..).zip(names.map(str::to_owned)).collect(),
        };
        assert_eq!(state.surplus(&newcomers), [2, 3, 5], "of one name there is one");
        // From here on those that are known may give way, though no entry has said so.
        newcomers.wall = Timestamp::from_secs(58);
        assert!(state.surplus(&newcomers).is_empty());
        let batch = Batch {
            at: Timestamp::from_secs(10),
            wall: newcomers.wall,
            recall: newcomers.recall,
            purges: names.map(|name| purge(Some((name, 1)))).to_vec(),
        };
        state.apply(PurgeIndex::from_number(9), &batch);
        for name in ["d", "e", "f"] {
            assert!(state.ends().known(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger() {
        let mut state = state();
        applied(apply(&mut state, 3, 500, purge(None)));
        let later = applied(apply(&mut state, 4, 100, purge(None)));
        assert_eq!(later.at, Timestamp::from_secs(500));
        assert_eq!(later.committed_at, Timestamp::from_secs(100));
    }

    /// The log follows a wall clock that has jumped, as after a suspend, slowly.
    #[test]
    fn a_minimum_counts_from_the_wall_time_of_its_purge_however_far_the_log_lags() {
        let mut state = state();
        let wall = Timestamp::from_secs(90_000);
        let minimum = Minimum::EntityTag("\"7\"".to_owned());
        let batch = Batch {
            at: Timestamp::from_secs(10),
            wall,
            recall: RECALL,
            purges: vec![Purge {
                scopes: vec![Scope::url("h", "/a")],
                minimum: Some(minimum),
                ..purge(None)
            }],
        };
        state.apply(PurgeIndex::from_number(3), &batch);
        assert_eq!(
            state.tables.minimum("http://h/a").map(|since| since.at),
            Some(wall)
        );
    }
}
