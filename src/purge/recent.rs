//! The latest entries of the log as they were applied here, for those who watch.
//!
//! Invariant: what is told is applied by then, in the log's order, and none is left out: who asks for what is no longer kept is
//! told so. Of no more scopes than the limit, but for one entry that has more by itself. It does not know who watches.

use super::order::Batch;
use crate::base::epoch::PurgeIndex;
use crate::scope::Scope;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub index: PurgeIndex,
    pub scopes: Arc<[Scope]>,
}

/// What is asked for is no longer kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "purges before index {first} are no longer told; whatever may be older than it has to be looked at anew"
)]
pub struct TooFarBack {
    /// From which on all are kept.
    pub first: u64,
}

pub(super) struct Recent {
    kept: Mutex<Kept>,
    scopes_max: usize,
    latest: watch::Sender<PurgeIndex>,
}

struct Kept {
    entries: VecDeque<Watched>,
    scopes: usize,
    /// The highest index that is known to be gone.
    gone: PurgeIndex,
}

impl Recent {
    pub(super) fn new(scopes_max: usize) -> Self {
        Recent {
            kept: Mutex::new(Kept {
                entries: VecDeque::new(),
                scopes: 0,
                gone: PurgeIndex::NONE,
            }),
            scopes_max,
            latest: watch::Sender::new(PurgeIndex::NONE),
        }
    }

    /// To be called when the entry is applied.
    pub(super) fn add(&self, index: PurgeIndex, batch: &Batch) {
        let scopes = batch.purges.iter().flat_map(|purge| purge.scopes.iter().cloned());
        let scopes: Arc<[Scope]> = scopes.collect();
        let mut kept = self.kept.lock();
        kept.scopes += scopes.len();
        kept.entries.push_back(Watched { index, scopes });
        while kept.scopes > self.scopes_max && kept.entries.len() > 1 {
            kept.forget_first();
        }
        drop(kept);
        self.latest.send_replace(index);
    }

    /// The entry purges nothing.
    pub(super) fn pass_over(&self, index: PurgeIndex) {
        self.latest.send_replace(index);
    }

    /// Entries up to `index` were applied as a whole, and can not be told one by one.
    pub(super) fn skip_to(&self, index: PurgeIndex) {
        let mut kept = self.kept.lock();
        kept.entries.clear();
        kept.scopes = 0;
        kept.gone = index;
        drop(kept);
        self.latest.send_replace(index);
    }

    /// What is kept from `from` on.
    pub(super) fn since(&self, from: PurgeIndex) -> Result<Vec<Watched>, TooFarBack> {
        let kept = self.kept.lock();
        if from <= kept.gone {
            let first = kept.gone.number() + 1;
            return Err(TooFarBack { first });
        }
        let start = kept.entries.partition_point(|entry| entry.index < from);
        Ok(kept.entries.range(start..).cloned().collect())
    }

    /// Changes with each entry that is applied.
    pub(super) fn latest(&self) -> watch::Receiver<PurgeIndex> {
        self.latest.subscribe()
    }
}

impl Kept {
    fn forget_first(&mut self) {
        if let Some(first) = self.entries.pop_front() {
            self.scopes -= first.scopes.len();
            self.gone = first.index;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::{Mode, Purge, PurgeId, Recall};
    use super::*;

    #[test]
    fn an_entry_that_purges_nothing_is_heard_of_too() {
        let recent = Recent::new(10);
        let mut latest = recent.latest();
        recent.pass_over(PurgeIndex::from_number(7));
        assert!(latest.has_changed().unwrap());
        assert_eq!(latest.borrow_and_update().number(), 7);
        assert_eq!(recent.since(PurgeIndex::from_number(1)), Ok(Vec::new()));
    }
    use crate::base::clock::Timestamp;

    fn batch(scopes: usize) -> Batch {
        Batch {
            at: Timestamp::ZERO,
            wall: Timestamp::ZERO,
            recall: Recall::ALL,
            purges: vec![Purge {
                id: PurgeId::unused(),
                scopes: vec![Scope::All; scopes],
                mode: Mode::Hard,
                minimum: None,
                once: None,
            }],
        }
    }

    fn indexes(recent: &Recent, from: u64) -> Result<Vec<u64>, u64> {
        let since = recent.since(PurgeIndex::from_number(from));
        let since = since.map_err(|too_far| too_far.first)?;
        Ok(since.iter().map(|entry| entry.index.number()).collect())
    }

    #[test]
    fn none_is_left_out_and_what_is_gone_is_said_to_be() {
        let recent = Recent::new(5);
        for index in [2, 3, 5, 8] {
            recent.add(PurgeIndex::from_number(index), &batch(2));
        }
        assert_eq!(indexes(&recent, 4), Ok(vec![5, 8]));
        assert_eq!(indexes(&recent, 9), Ok(vec![]));
        assert_eq!(indexes(&recent, 3), Err(4));
        assert_eq!(indexes(&recent, 0), Err(4));
        recent.skip_to(PurgeIndex::from_number(20));
        assert_eq!(
            (indexes(&recent, 20), indexes(&recent, 21)),
            (Err(21), Ok(vec![]))
        );
    }

    #[test]
    fn an_entry_that_is_larger_than_all_that_is_kept_is_told_all_the_same() {
        let recent = Recent::new(5);
        recent.add(PurgeIndex::from_number(1), &batch(1));
        recent.add(PurgeIndex::from_number(2), &batch(9));
        assert_eq!(indexes(&recent, 2), Ok(vec![2]));
        assert_eq!(indexes(&recent, 1), Err(2));
    }
}
