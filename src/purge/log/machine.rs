//! What the log says, applied here, and kept as snapshots.
//!
//! Invariants: an entry is applied once, in order; a snapshot is of one place in the log, and on disk as a whole or not at
//! all; what is applied here outlives a restart of the raft. It does not know how entries are agreed on.

use super::storage::{CommittedAt, read_single, write_single};
use super::store::{Failure, Key, SNAPSHOT, Store, blocking, failed};
use super::types::{Entry, LogId, SnapshotMeta, StorageError, StoredMembership, Types, purge_index};
use crate::base::clock::{self, Timestamp};
use crate::base::metrics::Metrics;
use crate::purge::order::Newcomers;
use crate::purge::remembered::Ends;
use crate::purge::state::{self, Outcome, State};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::sync::Arc;

/// Of one part of a snapshot: a little less than a power of two, which redb rounds up to.
const PART_BYTES: usize = 250_000;

/// All that entries have led to; shared by the rafts that follow each other.
pub(super) struct Applied {
    state: State,
    last: Option<LogId>,
    membership: StoredMembership,
}

/// What a snapshot's bytes say. Who installs it belongs to that log from its next start on.
#[derive(Serialize, Deserialize)]
struct Image {
    incarnation: [u8; 16],
    state: state::Snapshot,
}

/// A cheap handle.
#[derive(Clone)]
pub(super) struct Machine {
    applied: Arc<Mutex<Applied>>,
    store: Arc<Store>,
    committed_at: CommittedAt,
    metrics: Arc<Metrics>,
}

impl Applied {
    pub(super) fn new(state: State) -> Self {
        Applied {
            state,
            last: None,
            membership: StoredMembership::default(),
        }
    }

    pub(super) fn ends(&self) -> Ends {
        self.state.ends()
    }

    pub(super) fn told(&self) -> Timestamp {
        self.state.told()
    }

    pub(super) fn capture(&self) -> state::Captured {
        self.state.capture()
    }

    pub(super) fn surplus(&self, newcomers: &Newcomers) -> Vec<usize> {
        self.state.surplus(newcomers)
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self) -> state::Snapshot {
        self.state.snapshot()
    }

    /// What has been applied is passed over: a raft that has failed may still be at work while the next one applies the same.
    pub(super) fn apply(&mut self, entry: Entry) -> Vec<Outcome> {
        if self.last >= Some(entry.log_id) {
            return Vec::new();
        }
        let index = purge_index(&entry.log_id);
        let outcomes = match entry.payload {
            EntryPayload::Normal(batch) => self.state.apply(index, &batch),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                self.state.pass_over(index);
                Vec::new()
            }
            EntryPayload::Blank => {
                self.state.pass_over(index);
                Vec::new()
            }
        };
        // Last: what a panic has left half done is done again.
        self.last = Some(entry.log_id);
        outcomes
    }

    fn restore(&mut self, meta: &SnapshotMeta, state: state::Snapshot) {
        if self.last >= meta.last_log_id {
            return;
        }
        self.state.restore(state);
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
    }
}

impl Machine {
    /// Goes on from where `applied` is, or from the snapshot in `store` where that is further.
    pub(super) async fn open(
        applied: Arc<Mutex<Applied>>,
        store: Arc<Store>,
        committed_at: CommittedAt,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Failure> {
        let machine = Machine {
            applied,
            store,
            committed_at,
            metrics,
        };
        let meta: Option<SnapshotMeta> = machine
            .store
            .run(|database| read_single(database, Key::SNAPSHOT))
            .await?;
        let last = machine.applied.lock().last;
        if let Some(meta) = meta
            && meta.last_log_id > last
        {
            let bytes = machine.store.run(read_parts).await?;
            machine.restore(meta, bytes).await?;
        }
        Ok(machine)
    }

    /// A view of one moment, on disk.
    async fn build(&self) -> Result<(SnapshotMeta, Vec<u8>), Failure> {
        let pending = self.store.pending_bytes();
        let applied = self.applied.clone();
        let incarnation = self.store.incarnation();
        let built = blocking(move || {
            let applied = applied.lock();
            let (meta, captured) = (applied.meta(), applied.state.capture());
            drop(applied);
            let state = captured.into_snapshot();
            let bytes = postcard::to_stdvec(&Image { incarnation, state })?;
            Ok((meta, bytes))
        });
        let (meta, bytes) = built.await?;
        let saved = self.save(meta, incarnation, bytes).await?;
        self.store.settle_pending(pending);
        Ok(saved)
    }

    async fn save(
        &self,
        meta: SnapshotMeta,
        incarnation: [u8; 16],
        bytes: Vec<u8>,
    ) -> Result<(SnapshotMeta, Vec<u8>), Failure> {
        let work = move |database: &Database| {
            write_snapshot(database, &meta, incarnation, &bytes)?;
            Ok((meta, bytes))
        };
        self.store.run(work).await
    }

    async fn restore(&self, meta: SnapshotMeta, bytes: Vec<u8>) -> Result<(), Failure> {
        let applied = self.applied.clone();
        let restoring = blocking(move || {
            let image: Image = postcard::from_bytes(&bytes)?;
            applied.lock().restore(&meta, image.state);
            Ok(())
        });
        restoring.await
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Outcome>>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let places: Vec<u64> = entries.iter().map(|entry| entry.log_id.index).collect();
        let applied = self.applied.clone();
        // It may have to wait for a snapshot.
        let applying = blocking(move || {
            let mut applied = applied.lock();
            Ok(entries.into_iter().map(|entry| applied.apply(entry)).collect())
        });
        let outcomes = applying.await?;
        // What is applied at a start was agreed on long ago.
        for at in places
            .into_iter()
            .filter_map(|place| self.committed_at.take(place))
        {
            let lag = clock::monotonic() - at;
            self.metrics.purge_apply.observe(lag.as_secs_f64());
        }
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let image: Image = postcard::from_bytes(&bytes).map_err(Failure::from)?;
        let (meta, bytes) = self.save(meta.clone(), image.incarnation, bytes).await?;
        Ok(self.restore(meta, bytes).await?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let work = |database: &Database| match read_single(database, Key::SNAPSHOT)? {
            Some(meta) => Ok(Some(snapshot(meta, read_parts(database)?))),
            None => Ok(None),
        };
        Ok(self.store.run(work).await?)
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let (meta, bytes) = self.build().await?;
        Ok(snapshot(meta, bytes))
    }
}

impl Applied {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last,
            last_membership: self.membership.clone(),
            snapshot_id: self.last.map_or_else(String::new, |last| last.to_string()),
        }
    }
}

fn snapshot(meta: SnapshotMeta, bytes: Vec<u8>) -> Snapshot<Types> {
    Snapshot {
        meta,
        snapshot: Box::new(Cursor::new(bytes)),
    }
}

/// One of a later place stays.
fn write_snapshot(
    database: &Database,
    meta: &SnapshotMeta,
    incarnation: [u8; 16],
    bytes: &[u8],
) -> Result<(), Failure> {
    let present: Option<SnapshotMeta> = read_single(database, Key::SNAPSHOT)?;
    if present.is_some_and(|present| present.last_log_id > meta.last_log_id) {
        return Ok(());
    }
    let write = database.begin_write().map_err(failed)?;
    {
        write_single(&write, Key::SNAPSHOT, meta)?;
        write_single(&write, Key::INCARNATION, &incarnation)?;
        let mut parts = write.open_table(SNAPSHOT).map_err(failed)?;
        parts.retain(|_, _| false).map_err(failed)?;
        for (number, part) in (0..).zip(bytes.chunks(PART_BYTES)) {
            parts.insert(number, part).map_err(failed)?;
        }
    }
    write.commit().map_err(failed)
}

fn read_parts(database: &Database) -> Result<Vec<u8>, Failure> {
    let read = database.begin_read().map_err(failed)?;
    let parts = read.open_table(SNAPSHOT).map_err(failed)?;
    let mut bytes = Vec::new();
    for part in parts.iter().map_err(failed)? {
        bytes.extend_from_slice(part.map_err(failed)?.1.value());
    }
    Ok(bytes)
}
