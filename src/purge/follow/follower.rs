//! The work of following: asking again and again, applying what comes, holding the lease.
//!
//! Invariants: the lease counts from when its renewal was sent, and ends by itself; one task alone applies and renews. It does
//! not know what a purge covers.

use super::agree::{agree, note, recall};
use super::memory::{Known, Memory};
use super::voter::{Fetch, Fetched, News, Voter, VoterError};
use super::{Limits, Settings};
use crate::base::clock::{self, BootTime};
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::Metrics;
use crate::purge::config::Config;
use crate::purge::feed::FedEntry;
use crate::purge::leases::{Held, Holder};
use crate::purge::log::LogError;
use crate::purge::order::{Batch, Order, PurgeId};
use crate::purge::orders::OrderError;
use crate::purge::receipt::Receipt;
use crate::purge::remembered::Ends;
use crate::purge::state::{Snapshot, State};
use crate::purge::table::Tables;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Of a lease: how long a question waits for news, and what its answer may take beside that. Two that fail in a row leave time
/// for a third.
const POLL_PARTS: u32 = 3;
const ANSWER_PARTS: u32 = 4;

/// After a failure.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(20);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Who follows, and whom.
pub(in crate::purge) struct Start {
    pub(in crate::purge) settings: Settings,
    pub(in crate::purge) node: String,
    pub(in crate::purge) voter: Arc<dyn Voter>,
    pub(in crate::purge) before: Option<Incarnation>,
    pub(in crate::purge) metrics: Arc<Metrics>,
}

/// A node's following, from its start to its end.
pub(in crate::purge) struct Follower {
    shared: Arc<Shared>,
    work: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
    ended: CancellationToken,
    deadline: Duration,
}

struct Shared {
    voter: Arc<dyn Voter>,
    holder: Holder,
    incarnation: Incarnation,
    /// What an earlier process had applied, at least.
    before: PurgeIndex,
    tables: Arc<Tables>,
    state: Mutex<State>,
    ends: Ends,
    /// Until when it may serve, in nanoseconds since boot.
    until: AtomicU64,
    lease: Duration,
    limits: Limits,
    /// `None`: the cache ends with the process, or is another process's.
    memory: Mutex<Option<Memory>>,
    metrics: Arc<Metrics>,
}

/// Why what came is not taken.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Voter(#[from] VoterError),
    #[error("no answer in time")]
    Deadline,
    #[error("entry {0} does not follow the last one that is applied")]
    Gap(PurgeIndex),
    #[error("what was sent can not be read: {0}")]
    Unreadable(String),
    #[error("a snapshot has more than {0} bytes")]
    TooLong(usize),
    #[error(
        "the voter has begun another log of purges ({0:?}): nothing that was cached here may be served any more, and the edge has to start again"
    )]
    OtherLog(Incarnation),
    #[error(
        "the voter's log of purges ends at {last}, and went to {applied}: it is an older copy; move its directory away there, so that a new log begins, and everything cached counts as purged"
    )]
    WentBack { last: PurgeIndex, applied: PurgeIndex },
}

impl Follower {
    /// Returns once it is known which log is followed.
    pub(in crate::purge) async fn start(
        config: &Config,
        state: State,
        tables: Arc<Tables>,
        start: Start,
    ) -> Result<Self, LogError> {
        let Start {
            settings,
            node,
            voter,
            before,
            metrics,
        } = start;
        let (memory, noted) = recall(&settings).await?;
        let noted = noted.or(before.map(Known::of));
        let holder = Holder {
            node: node.into(),
            process: *Uuid::now_v7().as_bytes(),
        };
        let limits = Limits::of(config);
        let known = agree(&*voter, &holder, noted, memory.as_ref(), limits).await;
        let shared = Arc::new(Shared {
            voter,
            holder,
            incarnation: known.incarnation,
            before: known.applied,
            tables,
            ends: state.ends(),
            state: Mutex::new(state),
            until: AtomicU64::new(0),
            lease: settings.lease,
            limits,
            memory: Mutex::new(memory),
            metrics,
        });
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let work = follow(shared.clone(), stop.clone(), ended.clone().drop_guard());
        Ok(Follower {
            shared,
            work: Mutex::new(Some(tokio::spawn(work))),
            stop,
            ended,
            deadline: config.deadline.get() + limits.answer_deadline,
        })
    }

    pub(in crate::purge) fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Whether a lease is held now.
    pub(in crate::purge) fn is_leased(&self) -> bool {
        clock::boottime().as_nanos() < self.shared.until.load(Ordering::Acquire)
    }

    /// As far as is known here.
    pub(in crate::purge) fn is_replay(&self, name: &str, sent_at_s: u64) -> bool {
        self.shared.ends.replayed(name, sent_at_s).is_some()
    }

    pub(in crate::purge) async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        if self.stop.is_cancelled() {
            return Err(OrderError::Stopping);
        }
        let answer = timeout(self.deadline, self.shared.voter.submit(order)).await;
        let late = || VoterError::Unreachable("no answer in time".to_owned());
        answer.unwrap_or_else(|_| Err(OrderError::Unreachable(late().to_string())))
    }

    pub(in crate::purge) async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, OrderError> {
        let answer = timeout(self.shared.limits.answer_deadline, self.shared.voter.receipt(id)).await;
        let answer = answer.unwrap_or_else(|_| Err(VoterError::Unreachable("no answer in time".to_owned())));
        answer.map_err(|error| OrderError::Unreachable(error.to_string()))
    }

    pub(in crate::purge) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Gives the cache up, and goes on following: two processes of one node each hold a lease, and an order waits for both.
    pub(in crate::purge) fn hand_over(&self) {
        self.shared.give_up_memory();
    }

    /// From here on nothing stored is served, and no order waits for this process.
    pub(in crate::purge) async fn close(&self) {
        self.stop.cancel();
        let work = self.work.lock().take();
        if let Some(work) = work
            && let Err(error) = work.await
        {
            tracing::error!(%error, "following the log of purges did not end in order");
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// However it ends, `_ended` tells.
async fn follow(shared: Arc<Shared>, stop: CancellationToken, _ended: DropGuard) {
    let outcome = tokio::select! {
        trouble = shared.follow() => Some(trouble),
        () = stop.cancelled() => None,
    };
    shared.until.store(0, Ordering::Release);
    match outcome {
        None => shared.release().await,
        Some(trouble) => {
            tracing::error!(%trouble, "this node can not go on following the log of purges");
            if let Trouble::OtherLog(incarnation) = trouble {
                note(shared.memory.lock().as_ref(), Known::of(incarnation));
            }
        }
    }
    shared.give_up_memory();
}

impl Shared {
    /// Returns when the log that was followed is no more.
    async fn follow(self: &Arc<Self>) -> Trouble {
        let mut held = Held::default();
        let (mut patience, mut pause) = (Duration::ZERO, PAUSE_FIRST);
        let mut is_torn = false;
        loop {
            let done = match is_torn {
                true => self.restore().await,
                false => self.step(patience, &mut held).await,
            };
            let trouble = match done {
                Ok(()) => {
                    is_torn = false;
                    (patience, pause) = (self.lease / POLL_PARTS, PAUSE_FIRST);
                    continue;
                }
                Err(trouble @ (Trouble::OtherLog(_) | Trouble::WentBack { .. })) => return trouble,
                Err(trouble) => trouble,
            };
            self.metrics.purge_follow_errors.inc();
            tracing::warn!(%trouble, "the log of purges can not be followed for the moment");
            is_torn |= matches!(trouble, Trouble::Gap(_) | Trouble::Unreadable(_));
            // The lease may be near its end: the next answer is wanted at once.
            patience = Duration::ZERO;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX).min(self.lease / POLL_PARTS);
        }
    }

    async fn step(self: &Arc<Self>, patience: Duration, held: &mut Held) -> Result<(), Trouble> {
        let sent = clock::boottime();
        let fetch = Fetch {
            holder: self.holder.clone(),
            incarnation: Some(self.incarnation),
            applied: self.tables.applied(),
            patience,
        };
        let answer = timeout(patience + self.lease / ANSWER_PARTS, self.voter.fetch(fetch)).await;
        let fetched = answer.map_err(|_| Trouble::Deadline)??;
        self.check(&fetched)?;
        let taken = self.take(fetched.news, sent, held).await;
        if taken.is_err() {
            held.release();
        }
        self.until.store(held.until().as_nanos(), Ordering::Release);
        taken
    }

    fn check(&self, fetched: &Fetched) -> Result<(), Trouble> {
        if fetched.incarnation != self.incarnation {
            return Err(Trouble::OtherLog(fetched.incarnation));
        }
        let applied = self.tables.applied().max(self.before);
        let last = fetched.last;
        match last < applied || fetched.news == News::WentBack {
            true => Err(Trouble::WentBack { last, applied }),
            false => Ok(()),
        }
    }

    async fn take(self: &Arc<Self>, news: News, sent: BootTime, held: &mut Held) -> Result<(), Trouble> {
        match news {
            News::Entries { entries, grant } => {
                if !entries.is_empty() {
                    self.apply(entries).await?;
                }
                let applied = self.tables.applied();
                held.applied(applied);
                if let Some(grant) = grant {
                    held.granted(sent, grant, applied);
                }
                Ok(())
            }
            News::SnapshotNeeded | News::OtherLog | News::WentBack => {
                held.release();
                self.until.store(0, Ordering::Release);
                self.restore().await
            }
        }
    }

    async fn apply(self: &Arc<Self>, entries: Vec<FedEntry>) -> Result<(), Trouble> {
        let shared = self.clone();
        blocking(move || {
            let mut state = shared.state.lock();
            for entry in entries {
                if !entry.index.follows(shared.tables.applied()) {
                    return Err(Trouble::Gap(entry.index));
                }
                match entry.batch.is_empty() {
                    true => state.pass_over(entry.index),
                    false => drop(state.apply(entry.index, &read::<Batch>(&entry.batch)?)),
                }
            }
            shared.note_applied();
            Ok(())
        })
        .await
    }

    async fn restore(self: &Arc<Self>) -> Result<(), Trouble> {
        let bytes = self.snapshot().await?;
        let shared = self.clone();
        blocking(move || {
            let snapshot: Snapshot = read(&bytes)?;
            let (last, applied) = (snapshot.applied(), shared.tables.applied().max(shared.before));
            if last < applied {
                return Err(Trouble::WentBack { last, applied });
            }
            shared.state.lock().restore(snapshot);
            shared.note_applied();
            Ok(())
        })
        .await
    }

    async fn snapshot(&self) -> Result<Vec<u8>, Trouble> {
        let late = |_| Trouble::Deadline;
        let Limits {
            snapshot_deadline: deadline,
            snapshot_bytes_max: bytes_max,
            ..
        } = self.limits;
        let snapshot = timeout(deadline, self.voter.snapshot()).await.map_err(late)??;
        if snapshot.incarnation != self.incarnation {
            return Err(Trouble::OtherLog(snapshot.incarnation));
        }
        let (mut parts, mut bytes) = (snapshot.parts, Vec::new());
        while let Some(part) = timeout(deadline, parts.next()).await.map_err(late)? {
            let part: Bytes = part?;
            if bytes.len() + part.len() > bytes_max {
                return Err(Trouble::TooLong(bytes_max));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Blocking.
    fn note_applied(&self) {
        let known = Known {
            incarnation: self.incarnation,
            applied: self.tables.applied(),
        };
        note(self.memory.lock().as_ref(), known);
    }

    /// From here on the cache may be another process's, and nothing is noted with it.
    fn give_up_memory(&self) {
        drop(self.memory.lock().take());
    }

    async fn release(&self) {
        let released = timeout(self.limits.answer_deadline, self.voter.release(&self.holder)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!(
                "the voter does not hear that this node's lease is given back; orders wait until it has run out"
            );
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Trouble> {
    postcard::from_bytes(bytes).map_err(|error| Trouble::Unreadable(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Trouble::Unreadable(panic.to_string())))
}
