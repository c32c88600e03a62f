//! The log by openraft on redb: opens it, appends to it, and starts it again when it has failed.
//!
//! ```text
//! append -> openraft -> storage (entry on disk) -> machine (applied) -> outcomes
//!             |  fails: everything that waits is refused, nothing is acknowledged
//!             v
//! supervise: drops raft and database, opens them anew until it works; the tables keep what they have
//! ```
//!
//! Invariants: a log that takes entries has applied all that are committed; after a failure, what is on disk is read again
//! before anything is added to it. It does not know what a purge covers.

use super::directory::{Directory, Memory};
use super::machine::Applied;
use super::running::{Running, Setup, raft_config};
use super::store::{Failure, Medium, blocking};
use super::types::purge_index;
use super::{InvalidationLog, LogError, Place};
use crate::base::clock::Timestamp;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::Metrics;
use crate::purge::config::Config;
use crate::purge::order::{Batch, Newcomers, PurgeId};
use crate::purge::remembered::{Ends, Known, Settled};
use crate::purge::state::{Outcome, State};
use async_trait::async_trait;
use openraft::error::RaftError;
use parking_lot::{Mutex, RwLock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// However few entries they are: an order may have thousands of scopes. It is redb's work and memory at the next start that
/// this bounds, and nothing that an operator could choose better.
const PENDING_BYTES_MAX: u64 = 64 << 20;

/// Between a failure and the first attempt to start again, and between later ones at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Opens the log in `place`, or in memory without one, and applies what is committed.
///
/// # Errors
/// When it can not be read, or is another process's; it is left alone then.
pub async fn open(
    config: &Config,
    place: Option<Place>,
    state: State,
    metrics: Arc<Metrics>,
) -> Result<Arc<dyn InvalidationLog>, LogError> {
    let directory = place.as_ref().map(|place| place.directory.clone());
    let medium: Arc<dyn Medium> = match place {
        Some(place) => Arc::new(take(place).await?),
        None => Arc::new(Memory::new()),
    };
    let directory = directory.unwrap_or_else(|| PathBuf::from("memory"));
    let setup = Setup {
        medium,
        config: Arc::new(raft_config(config)),
        applied: Arc::new(Mutex::new(Applied::new(state))),
        pending_bytes_max: PENDING_BYTES_MAX,
        metrics,
    };
    Ok(Arc::new(Log::open(setup, &directory).await?))
}

async fn take(place: Place) -> Result<Directory, LogError> {
    let directory = place.directory.clone();
    let taking = tokio::task::spawn_blocking(move || Directory::take(&place));
    taking.await.map_err(|error| LogError::Open {
        directory,
        cause: error.to_string(),
    })?
}

pub(super) struct Log {
    incarnation: Incarnation,
    applied: Arc<Mutex<Applied>>,
    phase: Arc<RwLock<Phase>>,
    ends: Ends,
    told: Timestamp,
    stop: CancellationToken,
    ended: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

enum Phase {
    Up(Running),
    /// It has failed, and is being started again.
    Down(Failure),
    Closed,
}

fn refusal(failure: Failure) -> LogError {
    match failure {
        Failure::Full => LogError::Full,
        Failure::Closed => LogError::Closed,
        Failure::Io(cause) | Failure::Damaged(cause) => LogError::Write(cause),
    }
}

fn unopened(failure: &Failure, place: &Path) -> LogError {
    // A copy of earlier would lack what was acknowledged since, and is refused by the mark.
    let cause = match failure {
        Failure::Damaged(_) => format!(
            "{failure}; move the whole directory away: a new log begins, and everything cached counts as purged"
        ),
        _ => failure.to_string(),
    };
    LogError::Open {
        directory: place.into(),
        cause,
    }
}

impl Log {
    pub(super) async fn open(setup: Setup, place: &Path) -> Result<Self, LogError> {
        let started = setup.start(None).await;
        let running = started.map_err(|failure| {
            setup.medium.release();
            unopened(&failure, place)
        })?;
        setup.metrics.purge_log_up.set(1);
        let supervisor = Supervisor {
            incarnation: running.incarnation(),
            setup,
            phase: Arc::new(RwLock::new(Phase::Up(running))),
            stop: CancellationToken::new(),
        };
        let ended = CancellationToken::new();
        let (ends, told) = {
            let applied = supervisor.setup.applied.lock();
            (applied.ends(), applied.told())
        };
        Ok(Log {
            incarnation: supervisor.incarnation,
            applied: supervisor.setup.applied.clone(),
            phase: supervisor.phase.clone(),
            ends,
            told,
            stop: supervisor.stop.clone(),
            ended: ended.clone(),
            supervisor: Mutex::new(Some(tokio::spawn(supervisor.supervise(ended.drop_guard())))),
        })
    }

    /// Up to which entry snapshots have taken the place of entries.
    #[cfg(test)]
    pub(super) fn purged(&self) -> Option<u64> {
        let running = self.running().ok()?;
        let metrics = running.raft.metrics();
        let purged = metrics.borrow().purged;
        purged.map(|purged| purged.index)
    }

    pub(super) fn running(&self) -> Result<Running, LogError> {
        match &*self.phase.read() {
            Phase::Up(running) => Ok(running.clone()),
            Phase::Down(failure) => Err(refusal(failure.clone())),
            Phase::Closed => Err(LogError::Closed),
        }
    }
}

#[async_trait]
impl InvalidationLog for Log {
    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, LogError> {
        self.running()?.append(batch).await.map_err(refusal)
    }

    async fn barrier(&self) -> Result<PurgeIndex, LogError> {
        let running = self.running()?;
        let read = running.raft.ensure_linearizable().await;
        match read {
            Ok(id) => Ok(id.as_ref().map_or(PurgeIndex::NONE, purge_index)),
            Err(RaftError::Fatal(fatal)) => Err(refusal(running.cause(&fatal))),
            Err(RaftError::APIError(error)) => Err(refusal(running.cause(&error))),
        }
    }

    async fn snapshot(&self) -> Result<Vec<u8>, LogError> {
        let applied = self.applied.clone();
        let making = blocking(move || {
            let captured = applied.lock().capture();
            Ok(postcard::to_stdvec(&captured.into_snapshot())?)
        });
        making.await.map_err(refusal)
    }

    async fn surplus(&self, newcomers: Newcomers) -> Result<Vec<usize>, LogError> {
        let applied = self.applied.clone();
        // It may have to wait for a snapshot.
        let looking = blocking(move || Ok(applied.lock().surplus(&newcomers)));
        looking.await.map_err(refusal)
    }

    fn told(&self) -> Timestamp {
        self.told
    }

    fn settled(&self, id: &PurgeId) -> Option<Settled> {
        self.ends.settled(id)
    }

    fn replayed(&self, name: &str, sent_at_s: u64) -> Option<Arc<Known>> {
        self.ends.replayed(name, sent_at_s)
    }

    async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn close(&self) {
        self.stop.cancel();
        let supervisor = self.supervisor.lock().take();
        if let Some(supervisor) = supervisor
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the log of purges did not end in order");
        }
    }
}

/// A log that nobody closed is given up all the same.
impl Drop for Log {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Supervisor {
    incarnation: Incarnation,
    setup: Setup,
    phase: Arc<RwLock<Phase>>,
    stop: CancellationToken,
}

impl Supervisor {
    /// However it ends, `_ended` tells.
    async fn supervise(self, _ended: DropGuard) {
        while let Some(running) = self.up() {
            tokio::select! {
                failure = running.ended() => self.start_again(&running, failure).await,
                () = self.stop.cancelled() => {
                    *self.phase.write() = Phase::Closed;
                    running.stop().await;
                }
            }
        }
        self.setup.metrics.purge_log_up.set(0);
        self.setup.medium.release();
    }

    fn up(&self) -> Option<Running> {
        match &*self.phase.read() {
            Phase::Up(running) => Some(running.clone()),
            Phase::Down(_) | Phase::Closed => None,
        }
    }

    /// Returns when the log is up or closed.
    async fn start_again(&self, failed: &Running, failure: Failure) {
        tracing::error!(%failure, "the log of purges has failed: purges are refused until it works again");
        self.setup.metrics.purge_log_up.set(0);
        *self.phase.write() = Phase::Down(failure);
        failed.stop().await;
        let mut pause = RETRY_FIRST;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {
                    *self.phase.write() = Phase::Closed;
                    return;
                }
            }
            match self.setup.start(Some(self.incarnation)).await {
                Ok(running) => {
                    tracing::info!("the log of purges works again");
                    self.setup.metrics.purge_log_up.set(1);
                    *self.phase.write() = Phase::Up(running);
                    return;
                }
                Err(failure) => {
                    tracing::warn!(%failure, "the log of purges does not work yet");
                    *self.phase.write() = Phase::Down(failure);
                }
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}
