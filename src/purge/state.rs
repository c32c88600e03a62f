//! What the log says, applied: the tables, and which requests have been carried out.
//!
//! Invariant: it is made of the log's entries in their order and of nothing else, no clock and no chance, so that every
//! node and every restart comes to the same. It does not know how entries are stored or agreed on.

use super::order::{Batch, OnceKey, Purge, PurgeId, Recall};
use super::remembered::{Ends, Extent, Known, Remembered, Settled};
use super::table::{Contents, Since, Tables};
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
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

pub struct State {
    tables: Arc<Tables>,
    keeping: Keeping,
    /// The latest time that the log has told; it never runs back.
    clock: Timestamp,
    /// Indexes and when they were appended, oldest first, apart by a step of the floor at least.
    steps: VecDeque<(Timestamp, PurgeIndex)>,
    remembered: Remembered,
}

/// All of it, as at one index.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    contents: Contents,
    clock: Timestamp,
    steps: Vec<(Timestamp, PurgeIndex)>,
    /// Those without a request first, then those with one; of each the oldest first.
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
        }
    }

    /// Applies one entry of the log. From the return on, every thread sees what it purged.
    pub fn apply(&mut self, index: PurgeIndex, batch: &Batch) -> Vec<Outcome> {
        self.clock = self.clock.max(batch.at);
        // Before as well as after: a request is known no longer than it is to be, however long nothing was purged.
        self.forget(&batch.recall);
        let outcomes = batch
            .purges
            .iter()
            .map(|purge| self.apply_one(index, purge))
            .collect();
        self.forget(&batch.recall);
        self.grow_old(index);
        self.tables.publish(index);
        outcomes
    }

    /// An entry of the log that purges nothing.
    pub fn pass_over(&mut self, index: PurgeIndex) {
        self.tables.publish(index);
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
    }

    /// What came of purges: to be read while entries are applied and snapshots are made.
    pub(super) fn ends(&self) -> Ends {
        self.remembered.ends()
    }

    /// Which purges of a batch ask for more than can be remembered, by their place in it. They are to be taken out before the
    /// batch becomes an entry: what is in the log is applied, whatever the configuration says by then.
    pub fn surplus(&self, batch: &Batch) -> Vec<usize> {
        let extent = extent(self.clock.max(batch.at), &batch.recall);
        let mut more = 0;
        let mut surplus = Vec::new();
        for (at, purge) in batch.purges.iter().enumerate() {
            match &purge.once {
                Some(once) if self.remembered.known(&once.name).is_none() => {
                    match self.remembered.has_room(more, &extent) {
                        true => more += 1,
                        false => surplus.push(at),
                    }
                }
                _ => {}
            }
        }
        surplus
    }

    fn apply_one(&mut self, index: PurgeIndex, purge: &Purge) -> Outcome {
        if let Some(once) = &purge.once
            && let Some(known) = self.remembered.known(&once.name)
        {
            return match known.once.request == once.request {
                true => Outcome::Repeated {
                    settled: known.settled,
                    sent_at_s: known.once.sent_at_s,
                },
                false => Outcome::Conflict(known.settled.id),
            };
        }
        let minimum = purge.minimum.as_ref().map(|minimum| Since {
            index,
            at: self.clock,
            minimum: minimum.clone(),
        });
        for scope in &purge.scopes {
            self.tables.insert(scope, index, purge.mode, minimum.as_ref());
        }
        let settled = Settled {
            id: purge.id,
            index,
            committed_at: self.clock,
        };
        self.remembered.add(settled, purge.once.clone());
        Outcome::Applied(settled)
    }

    fn forget(&mut self, recall: &Recall) {
        self.remembered.forget(&extent(self.clock, recall));
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

fn extent(now: Timestamp, recall: &Recall) -> Extent {
    Extent {
        since: now.minus(recall.life),
        believed_since: now.minus(recall.believed),
        count_max: recall.count_max,
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
    use super::super::order::Mode;
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
        let again = apply(&mut state, 100, 109, purge(Some(("a", 1))));
        assert!(matches!(again, Outcome::Repeated { settled, .. } if settled == first));
    }

    #[test]
    fn new_requests_are_one_too_many_while_all_that_are_known_can_be_believed() {
        let mut state = state();
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            applied(apply(&mut state, 3 + number as u64, 10, purge(Some((name, 1)))));
        }
        let names = [None, Some("d"), Some("e"), Some("a"), None, Some("f")];
        let mut batch = Batch {
            at: Timestamp::from_secs(60),
            recall: Recall {
                believed: Duration::from_secs(50),
                ..RECALL
            },
            purges: names.map(|name| purge(name.map(|name| (name, 1)))).to_vec(),
        };
        assert_eq!(state.surplus(&batch), [2, 5]);
        // From here on those that are known may give way, though no entry has said so.
        batch.at = Timestamp::from_secs(61);
        assert!(state.surplus(&batch).is_empty());
        state.apply(PurgeIndex::from_number(9), &batch);
        for name in ["d", "e", "f"] {
            assert!(state.remembered.known(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger() {
        let mut state = state();
        applied(apply(&mut state, 3, 500, purge(None)));
        let later = applied(apply(&mut state, 4, 100, purge(None)));
        assert_eq!(later.committed_at, Timestamp::from_secs(500));
    }
}
