//! One life of the raft, on one opening of the database.
//!
//! Invariants: from [`Setup::start`] on it leads, and has applied all that is committed; what fails to start leaves nothing
//! running. It does not know what comes after a failure.

use super::machine::{Applied, Machine};
use super::network::Network;
use super::storage::{CommittedAt, Storage, check_whole};
use super::store::{Failure, Medium, Store};
use super::types::{ALONE, Raft};
use crate::base::clock::Timestamp;
use crate::base::epoch::Incarnation;
use crate::base::metrics::Metrics;
use crate::purge::config::Config;
use crate::purge::order::{Batch, Recall};
use crate::purge::state::Outcome;
use openraft::error::Fatal;
use openraft::{BasicNode, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Also the deadline of a call to another voter: it has to cross continents.
const HEARTBEAT_MS: u64 = 500;
const ELECTION_MS_MIN: u64 = 1500;
const ELECTION_MS_MAX: u64 = 3000;

/// Until a cluster of one has elected itself: all it waits for is its own disk.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// What a log is started from, the first time and again.
pub(super) struct Setup {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) config: Arc<openraft::Config>,
    pub(super) applied: Arc<Mutex<Applied>>,
    /// Bytes of entries that no snapshot holds.
    pub(super) pending_bytes_max: u64,
    pub(super) metrics: Arc<Metrics>,
}

/// A cheap handle.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) raft: Raft,
    store: Arc<Store>,
    pending_bytes_max: u64,
}

pub(super) fn raft_config(config: &Config) -> openraft::Config {
    openraft::Config {
        cluster_name: "aquatint".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: 0,
        ..openraft::Config::default()
    }
}

impl Setup {
    /// Opens the log, which is to be of the life `expected` if there was one before.
    pub(super) async fn start(&self, expected: Option<Incarnation>) -> Result<Running, Failure> {
        let store = Store::open(self.medium.clone(), check_whole).await?;
        let started = match expected {
            Some(expected) if expected != incarnation(&store) => Err(Failure::Damaged(
                "another log has been put into its place".to_owned(),
            )),
            _ => self.start_on(store.clone()).await,
        };
        if started.is_err() {
            close(&store).await;
        }
        started
    }

    async fn start_on(&self, store: Arc<Store>) -> Result<Running, Failure> {
        let committed_at = CommittedAt::default();
        let storage = Storage::new(store.clone(), committed_at.clone());
        let applied = self.applied.clone();
        let machine = Machine::open(applied, store.clone(), committed_at, self.metrics.clone()).await?;
        let raft = Raft::new(ALONE, self.config.clone(), Network, storage, machine).await;
        let raft = raft.map_err(|fatal| cause(&store, &fatal))?;
        let running = Running {
            raft,
            store,
            pending_bytes_max: self.pending_bytes_max,
        };
        if let Err(failure) = running.lead().await {
            running.stop_raft().await;
            return Err(failure);
        }
        Ok(running)
    }
}

impl Running {
    /// Has a cluster of one elect itself, at once, and apply what is in its log.
    async fn lead(&self) -> Result<(), Failure> {
        let raft = &self.raft;
        if !raft.is_initialized().await.map_err(|fatal| self.cause(&fatal))? {
            let alone = BTreeMap::from([(ALONE, BasicNode::default())]);
            let initialized = raft.initialize(alone).await;
            initialized.map_err(|error| self.cause(&error))?;
        } else {
            let elected = raft.trigger().elect().await;
            elected.map_err(|fatal| self.cause(&fatal))?;
        }
        let leading = raft.wait(Some(START_DEADLINE));
        let leading = leading.state(ServerState::Leader, "the only voter leads").await;
        leading.map_err(|error| self.cause(&error))?;
        self.own_the_log().await
    }

    /// What an earlier leader left is committed only along with an entry of this one: a crash right after an election leaves
    /// a leader without any.
    async fn own_the_log(&self) -> Result<(), Failure> {
        let last = self.raft.data_metrics().borrow().last_log;
        let leader = *self.raft.metrics().borrow().vote.leader_id();
        if last.is_none_or(|last| last.leader_id != leader) {
            let nothing = Batch {
                // The log's clock is moved by purges alone, whose times are looked at.
                at: Timestamp::ZERO,
                wall: Timestamp::ZERO,
                recall: Recall::ALL,
                purges: Vec::new(),
            };
            let written = self.raft.client_write(nothing).await;
            written.map_err(|error| self.cause(&error))?;
        }
        let applied = self.raft.ensure_linearizable().await;
        applied.map_err(|error| self.cause(&error))?;
        Ok(())
    }

    pub(super) async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, Failure> {
        let purges = batch.purges.len();
        let written = self.raft.client_write(batch).await;
        let written = written.map_err(|error| self.cause(&error))?;
        if written.data.len() != purges {
            let text = "the raft was started again meanwhile, and what came of the entry is not known";
            return Err(Failure::Io(text.to_owned()));
        }
        if self.store.pending_bytes() > self.pending_bytes_max
            && let Err(fatal) = self.raft.trigger().snapshot().await
        {
            tracing::debug!(%fatal, "no snapshot of the log of purges was begun");
        }
        Ok(written.data)
    }

    pub(super) fn cause(&self, error: &impl std::error::Error) -> Failure {
        cause(&self.store, error)
    }

    /// Returns when the raft has ended of itself.
    pub(super) async fn ended(&self) -> Failure {
        let mut metrics = self.raft.metrics();
        let ended = metrics.wait_for(|metrics| metrics.running_state.is_err()).await;
        let fatal = ended.ok().and_then(|metrics| metrics.running_state.clone().err());
        self.cause(&fatal.unwrap_or(Fatal::Panicked))
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        incarnation(&self.store)
    }

    async fn stop_raft(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the raft of the log of purges did not end in order");
        }
    }

    pub(super) async fn stop(&self) {
        self.stop_raft().await;
        close(&self.store).await;
    }
}

/// What the database failed of says more than what openraft makes of it.
fn cause(store: &Store, error: &impl std::error::Error) -> Failure {
    store.failure().unwrap_or_else(|| Failure::Io(error.to_string()))
}

async fn close(store: &Arc<Store>) {
    if let Err(error) = store.close().await {
        tracing::warn!(%error, "the log of purges was not closed in order; it is repaired when it is opened again");
    }
}

fn incarnation(store: &Store) -> Incarnation {
    Incarnation::from_bytes(store.incarnation())
}
