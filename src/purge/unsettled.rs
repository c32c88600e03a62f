//! What this process knows of orders beside the log: those whose end is not told yet, and when entries were applied here.
//!
//! Invariant: bounded; the oldest is forgotten first. It does not know who waits.

use super::order::PurgeId;
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Orders that the log does not know.
#[derive(Default)]
pub(super) struct Unsettled {
    /// Their end is not known yet.
    pub(super) pending: HashSet<PurgeId>,
    /// Of those whose callers did not wait for it, oldest first.
    ended: VecDeque<(PurgeId, End)>,
}

/// How an order ends that is not applied.
#[derive(Clone, Copy)]
pub(super) enum End {
    Failed,
    /// An earlier one of the same key was.
    DuplicateOf(PurgeId),
}

/// When entries of the log were applied here, as far as this process has seen it.
pub(super) struct Applications {
    by_index: BTreeMap<PurgeIndex, Timestamp>,
    count_max: usize,
}

impl Unsettled {
    pub(super) fn end(&self, id: &PurgeId) -> Option<End> {
        let mut ended = self.ended.iter();
        ended.find(|(ended, _)| ended == id).map(|(_, end)| *end)
    }

    /// Its caller was told to ask again.
    pub(super) fn note(&mut self, id: PurgeId, end: End, count_max: usize) {
        while self.ended.len() >= count_max {
            self.ended.pop_front();
        }
        self.ended.push_back((id, end));
    }
}

impl Applications {
    pub(super) fn new(count_max: usize) -> Self {
        Applications {
            by_index: BTreeMap::new(),
            count_max,
        }
    }

    pub(super) fn note(&mut self, index: PurgeIndex, at: Timestamp) {
        self.by_index.entry(index).or_insert(at);
        while self.by_index.len() > self.count_max {
            self.by_index.pop_first();
        }
    }

    pub(super) fn at(&self, index: PurgeIndex) -> Option<Timestamp> {
        self.by_index.get(&index).copied()
    }
}
