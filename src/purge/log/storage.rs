//! The raft's log in the database: entries, the vote, and how far the log is agreed on and cut off.
//!
//! Invariants: an entry is on disk before openraft is told so; a log is opened only if its entries follow each other, and the
//! snapshot that took the place of earlier ones, without a gap. How far it is agreed
//! on is written along with the next entry, and so costs no write of its own: it may lag behind, which openraft makes up
//! for. It does not know what entries say.

use super::store::{ENTRIES, Failure, Key, SINGLES, Store, failed};
use super::types::{Entry, LogId, SnapshotMeta, StorageError, Types, Vote};
use crate::base::clock;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Instant;

/// A cheap handle.
#[derive(Clone)]
pub(super) struct Storage {
    store: Arc<Store>,
    /// Where it is known here and not on disk yet.
    committed: Option<LogId>,
    committed_at: CommittedAt,
}

/// When entries were agreed on, until they are applied: up to which place, and when, oldest first.
#[derive(Clone, Default)]
pub(super) struct CommittedAt(Arc<Mutex<VecDeque<(u64, Instant)>>>);

impl CommittedAt {
    pub(super) fn note(&self, upto: u64, at: Instant) {
        let mut noted = self.0.lock();
        if noted.back().is_none_or(|(last, _)| *last < upto) {
            noted.push_back((upto, at));
        }
    }

    /// When the entry at `index` was, if that was seen here; earlier ones are forgotten.
    pub(super) fn take(&self, index: u64) -> Option<Instant> {
        let mut noted = self.0.lock();
        while noted.front().is_some_and(|(upto, _)| *upto < index) {
            noted.pop_front();
        }
        let (upto, at) = *noted.front()?;
        if upto == index {
            noted.pop_front();
        }
        Some(at)
    }
}

impl Storage {
    pub(super) fn new(store: Arc<Store>, committed_at: CommittedAt) -> Self {
        Storage {
            store,
            committed: None,
            committed_at,
        }
    }

    async fn single<T: DeserializeOwned + Send + 'static>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, Failure> {
        self.store.run(move |database| read_single(database, key)).await
    }

    /// On disk when it returns.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let work = move |database: &Database| {
            let write = database.begin_write().map_err(failed)?;
            let done = work(&write)?;
            write.commit().map_err(failed)?;
            Ok(done)
        };
        self.store.run(work).await
    }
}

impl RaftLogReader<Types> for Storage {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, StorageError> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        Ok(self
            .store
            .run(move |database| read_entries(database, range))
            .await?)
    }
}

impl RaftLogStorage<Types> for Storage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        Ok(self.store.run(read_state).await?)
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        Ok(self
            .write(move |write| write_single(write, Key::VOTE, &vote))
            .await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.single(Key::VOTE).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.committed = committed;
        if let Some(committed) = committed {
            self.committed_at.note(committed.index, clock::monotonic());
            self.store.mark(committed.index).await;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        match self.committed {
            Some(committed) => Ok(Some(committed)),
            None => Ok(self.single(Key::COMMITTED).await?),
        }
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let committed = self.committed;
        let bytes = self
            .write(move |write| write_entries(write, &entries, committed))
            .await?;
        self.store.count_pending(bytes);
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        Ok(self
            .write(move |write| remove_entries(write, since.index..))
            .await?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let work = move |write: &WriteTransaction| {
            write_single(write, Key::PURGED, &upto)?;
            remove_entries(write, ..=upto.index)
        };
        Ok(self.write(work).await?)
    }
}

pub(super) fn read_single<T: DeserializeOwned>(database: &Database, key: &str) -> Result<Option<T>, Failure> {
    let read = database.begin_read().map_err(failed)?;
    let singles = read.open_table(SINGLES).map_err(failed)?;
    let value = singles.get(key).map_err(failed)?;
    Ok(value
        .map(|value| postcard::from_bytes(value.value()))
        .transpose()?)
}

pub(super) fn write_single<T: Serialize>(
    write: &WriteTransaction,
    key: &str,
    value: &T,
) -> Result<(), Failure> {
    let mut singles = write.open_table(SINGLES).map_err(failed)?;
    let bytes = postcard::to_stdvec(value)?;
    singles.insert(key, bytes.as_slice()).map_err(failed)?;
    Ok(())
}

fn read_entries(database: &Database, range: (Bound<u64>, Bound<u64>)) -> Result<Vec<Entry>, Failure> {
    let read = database.begin_read().map_err(failed)?;
    let entries = read.open_table(ENTRIES).map_err(failed)?;
    let found = entries.range(range).map_err(failed)?;
    found.map(|row| entry(&row.map_err(failed)?.1)).collect()
}

/// Finds out whether the log has lost something: `marked` is the place of an entry that was agreed on, if one is known.
pub(super) fn check_whole(database: &Database, marked: Option<u64>) -> Result<(), Failure> {
    let state = read_state(database)?;
    let last = state.last_log_id.map(|last| last.index);
    if let Some(marked) = marked
        && last.is_none_or(|last| last < marked)
    {
        return Err(Failure::Damaged(format!(
            "it has no entry {marked}, which was agreed on: its end is lost, or it is an older copy"
        )));
    }
    let snapshot: Option<SnapshotMeta> = read_single(database, Key::SNAPSHOT)?;
    if state.last_purged_log_id > snapshot.and_then(|meta| meta.last_log_id) {
        let text = "the snapshot that took the place of its first entries is missing";
        return Err(Failure::Damaged(text.to_owned()));
    }
    check_gaps(database, state.last_purged_log_id)
}

fn check_gaps(database: &Database, purged: Option<LogId>) -> Result<(), Failure> {
    let read = database.begin_read().map_err(failed)?;
    let entries = read.open_table(ENTRIES).map_err(failed)?;
    let first = entries.first().map_err(failed)?.map(|(index, _)| index.value());
    let last = entries.last().map_err(failed)?.map(|(index, _)| index.value());
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(());
    };
    let expected = purged.map_or(0, |purged| purged.index + 1);
    let count = entries.len().map_err(failed)?;
    match first == expected && count == last - first + 1 {
        true => Ok(()),
        false => Err(Failure::Damaged(format!(
            "it has {count} entries from {first} to {last}, and lacks others from {expected} on"
        ))),
    }
}

fn read_state(database: &Database) -> Result<LogState<Types>, Failure> {
    let last_purged_log_id = read_single(database, Key::PURGED)?;
    let last = read_last(database)?;
    Ok(LogState {
        last_purged_log_id,
        last_log_id: last.or(last_purged_log_id),
    })
}

fn read_last(database: &Database) -> Result<Option<LogId>, Failure> {
    let read = database.begin_read().map_err(failed)?;
    let entries = read.open_table(ENTRIES).map_err(failed)?;
    let last = entries.last().map_err(failed)?;
    last.map(|(_, bytes)| Ok(entry(&bytes)?.log_id)).transpose()
}

fn entry(bytes: &redb::AccessGuard<'_, &[u8]>) -> Result<Entry, Failure> {
    Ok(postcard::from_bytes(bytes.value())?)
}

/// How many bytes they take.
fn write_entries(
    write: &WriteTransaction,
    entries: &[Entry],
    committed: Option<LogId>,
) -> Result<u64, Failure> {
    let mut table = write.open_table(ENTRIES).map_err(failed)?;
    let mut total = 0;
    for entry in entries {
        let bytes = postcard::to_stdvec(entry)?;
        total += bytes.len() as u64;
        table
            .insert(entry.log_id.index, bytes.as_slice())
            .map_err(failed)?;
    }
    if let Some(committed) = committed {
        write_single(write, Key::COMMITTED, &committed)?;
    }
    Ok(total)
}

fn remove_entries(write: &WriteTransaction, range: impl RangeBounds<u64>) -> Result<(), Failure> {
    let mut entries = write.open_table(ENTRIES).map_err(failed)?;
    entries.retain_in(range, |_, _| false).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_entry_has_the_time_at_which_it_was_agreed_on() {
        let start = clock::monotonic();
        let after = |seconds| start + Duration::from_secs(seconds);
        let committed_at = CommittedAt::default();
        for (upto, second) in [(3, 1), (3, 2), (5, 3), (6, 4)] {
            committed_at.note(upto, after(second));
        }
        let taken = [2, 3, 4, 5, 6, 7].map(|index| committed_at.take(index));
        let expected = [1, 1, 3, 3, 4].map(|second| Some(after(second)));
        assert_eq!(taken[..5], expected);
        assert_eq!(taken[5], None);
        assert!(committed_at.0.lock().is_empty());
    }
}
