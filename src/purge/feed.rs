//! The last entries of the log as they were applied, for those who follow it.
//!
//! Invariants: entries follow each other without a gap; what is here is in the tables; bounded, the oldest go first: who needs
//! them takes a snapshot. It does not know who follows.

use super::order::Batch;
use crate::base::epoch::PurgeIndex;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::watch;

/// Of one fetch; a single entry may be longer.
const FETCH_BYTES_MAX: usize = 1 << 20;
const FETCH_ENTRIES_MAX: usize = 1024;

/// About what an entry takes beside its batch.
const ENTRY_BYTES: usize = 64;

/// One entry of the log, on its way to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FedEntry {
    pub index: PurgeIndex,
    /// A [`Batch`], by postcard; empty where the entry purges nothing.
    pub batch: Bytes,
}

pub(super) struct Feed {
    recent: Mutex<Recent>,
    applied: watch::Sender<PurgeIndex>,
    bytes_max: usize,
}

struct Recent {
    entries: VecDeque<FedEntry>,
    bytes: usize,
    last: PurgeIndex,
}

impl Feed {
    pub(super) fn new(bytes_max: usize) -> Self {
        Feed {
            recent: Mutex::new(Recent {
                entries: VecDeque::new(),
                bytes: 0,
                last: PurgeIndex::NONE,
            }),
            applied: watch::Sender::new(PurgeIndex::NONE),
            bytes_max,
        }
    }

    /// What has been applied before is passed over.
    pub(super) fn push(&self, index: PurgeIndex, batch: Option<&Batch>) {
        let mut recent = self.recent.lock();
        if index <= recent.last {
            return;
        }
        let encoded = batch.map(postcard::to_stdvec).transpose();
        match encoded {
            Ok(batch) if index.follows(recent.last) => recent.push(FedEntry {
                index,
                batch: batch.map_or_else(Bytes::new, Bytes::from),
            }),
            // A gap sends everybody to a snapshot.
            _ => recent.begin_after(index),
        }
        recent.cut(self.bytes_max);
        drop(recent);
        self.tell(index);
    }

    /// A snapshot has taken the place of all entries up to `index`.
    pub(super) fn begin_after(&self, index: PurgeIndex) {
        let mut recent = self.recent.lock();
        if index <= recent.last {
            return;
        }
        recent.begin_after(index);
        drop(recent);
        self.tell(index);
    }

    fn tell(&self, index: PurgeIndex) {
        self.applied.send_if_modified(|applied| {
            let is_later = index > *applied;
            *applied = index.max(*applied);
            is_later
        });
    }

    /// What comes after `applied`, as much as goes at once; `None`: it is too long ago.
    pub(super) fn after(&self, applied: PurgeIndex) -> Option<Vec<FedEntry>> {
        let recent = self.recent.lock();
        if applied >= recent.last {
            return Some(Vec::new());
        }
        let first = recent.entries.front()?.index;
        let passed = (applied.number() + 1).checked_sub(first.number())?;
        let mut bytes = 0;
        let fits = recent.entries.iter().skip(passed as usize).take_while(|entry| {
            let is_first = bytes == 0;
            bytes += ENTRY_BYTES + entry.batch.len();
            is_first || bytes <= FETCH_BYTES_MAX
        });
        Some(fits.take(FETCH_ENTRIES_MAX).cloned().collect())
    }

    /// Returns when there is something after `applied`.
    pub(super) async fn grown_beyond(&self, applied: PurgeIndex) {
        let mut seen = self.applied.subscribe();
        // The sender is here.
        seen.wait_for(|last| *last > applied).await.ok();
    }
}

impl Recent {
    fn push(&mut self, entry: FedEntry) {
        self.last = entry.index;
        self.bytes += ENTRY_BYTES + entry.batch.len();
        self.entries.push_back(entry);
    }

    fn begin_after(&mut self, index: PurgeIndex) {
        self.entries.clear();
        self.bytes = 0;
        self.last = index;
    }

    fn cut(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= ENTRY_BYTES + oldest.batch.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::purge::order::{Purge, PurgeId, Recall};
    use crate::scope::Scope;

    fn index(number: u64) -> PurgeIndex {
        PurgeIndex::from_number(number)
    }

    fn batch() -> Batch {
        Batch {
            at: Timestamp::ZERO,
            wall: Timestamp::ZERO,
            recall: Recall::ALL,
            purges: vec![Purge {
                id: PurgeId::unused(),
                scopes: vec![Scope::url("h", "/a")],
                mode: Default::default(),
                minimum: None,
                once: None,
            }],
        }
    }

    fn indexes(feed: &Feed, applied: u64) -> Option<Vec<u64>> {
        let entries = feed.after(index(applied))?;
        Some(entries.iter().map(|entry| entry.index.number()).collect())
    }

    #[test]
    fn entries_are_had_in_order_from_where_one_is() {
        let feed = Feed::new(usize::MAX);
        for number in 1..=4 {
            feed.push(index(number), (number > 2).then(batch).as_ref());
        }
        feed.push(index(3), None);
        assert_eq!(indexes(&feed, 0), Some(vec![1, 2, 3, 4]));
        assert_eq!(indexes(&feed, 3), Some(vec![4]));
        assert_eq!(indexes(&feed, 4), Some(vec![]));
        let entries = feed.after(index(1)).unwrap();
        assert!(entries[0].batch.is_empty() && !entries[1].batch.is_empty());
    }

    #[test]
    fn what_is_too_long_ago_or_behind_a_gap_is_not_had() {
        let feed = Feed::new(2 * ENTRY_BYTES);
        for number in 1..=4 {
            feed.push(index(number), None);
        }
        assert_eq!(indexes(&feed, 1), None);
        assert_eq!(indexes(&feed, 2), Some(vec![3, 4]));
        feed.push(index(7), None);
        assert_eq!(indexes(&feed, 4), None);
        assert_eq!(indexes(&feed, 7), Some(vec![]));
        feed.push(index(8), None);
        assert_eq!(indexes(&feed, 7), Some(vec![8]));
        feed.begin_after(index(9));
        assert_eq!(indexes(&feed, 8), None);
    }
}
