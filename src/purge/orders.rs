//! Orders on their way into the log: those that wait while one entry is written become the next.
//!
//! Invariant: an order is answered `applied` only when its batch is; one that nobody waits for any longer is carried out
//! all the same. It does not know how the log agrees.

use super::config::Config;
use super::followers::Followers;
use super::log::{InvalidationLog, LogError};
use super::log_clock::LogClock;
use super::order::{Batch, Newcomers, Order, Purge, PurgeId, Recall};
use super::receipt::{Applied, Receipt, State};
use super::remembered::Settled;
use super::state::Outcome;
use super::unsettled::{Applications, End, Unsettled};
use crate::base::clock::{self, Timestamp};
use crate::base::epoch::PurgeIndex;
use crate::base::holes::{Hole, is_open};
use crate::base::metrics::{Metrics, PurgeResult, PurgeScope, PurgeWay};
use crate::scope::{Kind, Scope};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Why an order is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("too many purges wait for the log; nothing was done")]
    Busy,
    #[error("the edge stops; nothing was done")]
    Stopping,
    #[error(
        "the order was lost on its way into the log; nothing is acknowledged, though it may have taken effect"
    )]
    Lost,
    #[error("too many webhooks are remembered; nothing was done")]
    TooManyRemembered,
    #[error("the id or idempotency key was used for another purge, {0}; nothing was done")]
    Conflict(PurgeId),
    #[error("this very request was carried out before, as purge {}; nothing was done", .0.purge_id)]
    Replayed(Box<Receipt>),
    /// With all that is to be said of the voter.
    #[error("{0}; nothing is acknowledged, though it may yet take effect")]
    Unreachable(String),
    #[error(
        "another node has the voter's name, and may keep another log; nothing is acknowledged, though it may have taken effect"
    )]
    Contested,
    #[error(transparent)]
    Log(Arc<LogError>),
}

pub(super) struct Orders {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    ended: CancellationToken,
    shared: Arc<Shared>,
    deadline: Duration,
}

struct Shared {
    node: String,
    log: Arc<dyn InvalidationLog>,
    /// Who has to have applied an order before it is acknowledged, where others may follow the log.
    followers: Option<Arc<Followers>>,
    unsettled: Mutex<Unsettled>,
    applications: Mutex<Applications>,
    recall: Recall,
    /// Scopes of one entry of the log: no more than of one order.
    entry_scopes_max: usize,
    /// Orders of one entry, and ends that are remembered: as many as may wait.
    waiting_max: usize,
    metrics: Arc<Metrics>,
}

/// Of one entry, as a batch has them.
#[derive(Clone, Copy)]
struct Times {
    at: Timestamp,
    wall: Timestamp,
}

struct Waiting {
    purge: Purge,
    way: PurgeWay,
    answer: oneshot::Sender<Result<Outcome, OrderError>>,
}

impl Orders {
    pub(super) fn start(
        config: &Config,
        node: &str,
        log: Arc<dyn InvalidationLog>,
        followers: Option<Arc<Followers>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(config.queue_max);
        let shared = Arc::new(Shared {
            node: node.to_owned(),
            log,
            followers,
            unsettled: Mutex::default(),
            applications: Mutex::new(Applications::new(config.remembered_max)),
            recall: Recall::of(config),
            entry_scopes_max: config.order_scopes_max,
            waiting_max: config.queue_max,
            metrics,
        });
        let ended = CancellationToken::new();
        let writer = tokio::spawn(write(shared.clone(), waiting, ended.clone().drop_guard()));
        Orders {
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            ended,
            shared,
            deadline: config.deadline.get(),
        }
    }

    pub(super) async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        let began = clock::monotonic();
        let queue = self.queue.lock().clone().ok_or(OrderError::Stopping)?;
        let id = PurgeId::unused();
        let sent_at_s = order.once.as_ref().map(|once| once.sent_at_s);
        if let Some(outcome) = self.shared.replay(&order) {
            return self.finish(outcome, sent_at_s, began).await;
        }
        let (answer, mut answered) = oneshot::channel();
        let waiting = Waiting {
            way: order.way,
            purge: Purge {
                id,
                scopes: order.scopes,
                mode: order.mode,
                minimum: order.minimum,
                once: order.once,
            },
            answer,
        };
        self.shared.unsettled.lock().pending.insert(id);
        if let Err(error) = queue.try_send(waiting) {
            self.shared.unsettled.lock().pending.remove(&id);
            return Err(match error {
                TrySendError::Full(_) => OrderError::Busy,
                TrySendError::Closed(_) => OrderError::Stopping,
            });
        }
        // The writer ends when nobody can give an order any more.
        drop(queue);
        let Ok(outcome) = timeout(self.deadline, &mut answered).await else {
            // From here on the writer knows that nobody waits.
            answered.close();
            return match answered.try_recv() {
                Ok(outcome) => self.finish(outcome?, sent_at_s, began).await,
                Err(_) => Ok(Receipt::unsettled(id, State::Pending)),
            };
        };
        let Ok(outcome) = outcome else {
            self.shared.unsettled.lock().pending.remove(&id);
            return Err(OrderError::Lost);
        };
        self.finish(outcome?, sent_at_s, began).await
    }

    /// The log has it. The next entries may be written while this one waits for who follows.
    async fn finish(
        &self,
        outcome: Outcome,
        sent_at_s: Option<u64>,
        began: Instant,
    ) -> Result<Receipt, OrderError> {
        self.shared
            .metrics
            .purge_commit
            .observe((clock::monotonic() - began).as_secs_f64());
        if let (Some(followers), Some(index)) = (&self.shared.followers, outcome.index()) {
            let left = (began + self.deadline).saturating_duration_since(clock::monotonic());
            // Whose order still waits then has a receipt that says so.
            timeout(left, followers.acknowledged(index)).await.ok();
        }
        match outcome {
            Outcome::Applied(settled) => Ok(self.shared.receipt(settled, false)),
            Outcome::Conflict(other) => Err(OrderError::Conflict(other)),
            Outcome::Repeated {
                settled,
                sent_at_s: known,
            } if sent_at_s.is_some_and(|sent| sent != 0 && sent <= known) => {
                Err(OrderError::Replayed(Box::new(self.shared.receipt(settled, true))))
            }
            Outcome::Repeated { settled, .. } => Ok(self.shared.receipt(settled, true)),
        }
    }

    pub(super) fn receipt(&self, id: &PurgeId) -> Option<Receipt> {
        let shared = &self.shared;
        // First: what pends no longer is in the log by then.
        if shared.unsettled.lock().pending.contains(id) {
            return Some(Receipt::unsettled(*id, State::Pending));
        }
        if let Some(settled) = shared.log.settled(id) {
            return Some(shared.receipt(settled, false));
        }
        let end = shared.unsettled.lock().end(id)?;
        match end {
            End::Failed => Some(Receipt::unsettled(*id, State::Failed)),
            End::DuplicateOf(first) => {
                let settled = shared.log.settled(&first)?;
                Some(shared.receipt(settled, true))
            }
        }
    }

    /// Whether a request of this name, signed at `sent_at_s`, was carried out before, and this is no later attempt of it.
    pub(super) fn is_replay(&self, name: &str, sent_at_s: u64) -> bool {
        self.shared.log.replayed(name, sent_at_s).is_some()
    }

    /// Returns when no order is carried out any more.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(super) async fn close(&self) {
        self.queue.lock().take();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(%error, "the writer of purges did not end in order");
        }
    }
}

impl Shared {
    /// A commit is applied here by the time it is known here.
    fn receipt(&self, settled: Settled, duplicate: bool) -> Receipt {
        let applied_at = self.applications.lock().at(settled.index);
        let own = Applied::new(&self.node, applied_at, settled.committed_at);
        let mut receipt = Receipt {
            purge_id: settled.id,
            index: Some(settled.index),
            committed_at: Some(settled.committed_at),
            nodes: vec![own],
            fenced: Vec::new(),
            state: State::Applied,
            duplicate,
        };
        if let Some(followers) = &self.followers {
            match followers.may_acknowledge(settled.index) {
                true => followers.complete(&mut receipt, settled.committed_at),
                false => receipt.state = State::Pending,
            }
        }
        receipt
    }

    /// What a replay of an earlier order comes to: it costs the log nothing.
    fn replay(&self, order: &Order) -> Option<Outcome> {
        let once = order.once.as_ref()?;
        let outcome = self.log.replayed(&once.name, once.sent_at_s)?.again(once);
        self.metrics.purge_orders[(order.way, result(&outcome))].inc();
        Some(outcome)
    }

    fn count(&self, scopes: &[Scope], way: PurgeWay) {
        for scope in scopes {
            self.metrics.purges[(label(scope.kind()), way)].inc();
        }
    }
}

/// Writes one entry after the other, each of all that waits.
async fn write(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Waiting>, _ended: DropGuard) {
    let mut orders = Vec::new();
    let mut log_clock = LogClock::after(shared.log.told());
    while waiting.recv_many(&mut orders, shared.waiting_max).await > 0 {
        let mut rest = std::mem::take(&mut orders);
        while !rest.is_empty() {
            let later = rest.split_off(fitting(&rest, shared.entry_scopes_max));
            let wall = clock::now();
            let at = log_clock.stamp(wall, clock::monotonic());
            write_entry(&shared, rest, Times { at, wall }).await;
            rest = later;
        }
    }
}

/// How many of the first orders make one entry; one at least.
fn fitting(orders: &[Waiting], scopes_max: usize) -> usize {
    let mut scopes = 0;
    let fits = orders.iter().take_while(|order| {
        scopes += order.purge.scopes.len();
        scopes <= scopes_max
    });
    fits.count().max(1)
}

async fn write_entry(shared: &Shared, orders: Vec<Waiting>, times: Times) {
    let (orders, surplus) = match sift(shared, orders, times).await {
        Ok(sifted) => sifted,
        Err((orders, error)) => return fail(shared, orders, &error),
    };
    if !surplus.is_empty() {
        tracing::warn!(
            orders = surplus.len(),
            "webhooks are refused: purge.remembered_max are known already"
        );
    }
    for order in surplus {
        settle(shared, order, Err(OrderError::TooManyRemembered));
    }
    if orders.is_empty() {
        return;
    }
    let batch = batch(&orders, times, shared.recall);
    let appended = match is_open(Hole::AckBeforeApply) {
        true => Ok(append_behind(shared, batch)),
        false => shared.log.append(batch).await.map_err(Arc::new),
    };
    match appended {
        Ok(outcomes) => {
            for (order, outcome) in orders.into_iter().zip(outcomes) {
                settle(shared, order, Ok(outcome));
            }
        }
        Err(error) => fail(shared, orders, &error),
    }
}

fn batch(orders: &[Waiting], Times { at, wall }: Times, recall: Recall) -> Batch {
    let purges = orders.iter().map(|order| order.purge.clone());
    Batch {
        at,
        wall,
        recall,
        purges: purges.collect(),
    }
}

/// Those that are to be an entry, and those that are too many.
async fn sift(
    shared: &Shared,
    orders: Vec<Waiting>,
    times: Times,
) -> Result<(Vec<Waiting>, Vec<Waiting>), (Vec<Waiting>, Arc<LogError>)> {
    let names = (0..).zip(&orders).filter_map(|(place, order)| {
        let once = order.purge.once.as_ref().filter(|once| once.sent_at_s != 0)?;
        Some((place, once.name.clone()))
    });
    let newcomers = Newcomers {
        wall: times.wall,
        recall: shared.recall,
        names: names.collect(),
    };
    if newcomers.names.is_empty() {
        return Ok((orders, Vec::new()));
    }
    let surplus: BTreeSet<usize> = match shared.log.surplus(newcomers).await {
        Ok(surplus) => surplus.into_iter().collect(),
        Err(error) => return Err((orders, Arc::new(error))),
    };
    let (mut entry, mut rest) = (Vec::with_capacity(orders.len()), Vec::new());
    for (at, order) in orders.into_iter().enumerate() {
        match surplus.contains(&at) {
            true => rest.push(order),
            false => entry.push(order),
        }
    }
    Ok((entry, rest))
}

fn fail(shared: &Shared, orders: Vec<Waiting>, error: &Arc<LogError>) {
    tracing::error!(%error, orders = orders.len(), "purges are not acknowledged");
    for order in orders {
        settle(shared, order, Err(OrderError::Log(error.clone())));
    }
}

fn settle(shared: &Shared, order: Waiting, outcome: Result<Outcome, OrderError>) {
    let Waiting { purge, way, answer } = order;
    if let Ok(Outcome::Applied(settled)) = outcome {
        shared.count(&purge.scopes, way);
        shared.applications.lock().note(settled.index, clock::now());
    }
    let end = match &outcome {
        Ok(Outcome::Applied(_)) => None,
        Ok(Outcome::Repeated { settled, .. }) => Some(End::DuplicateOf(settled.id)),
        Ok(Outcome::Conflict(_)) | Err(_) => Some(End::Failed),
    };
    let result = outcome.as_ref().map_or(PurgeResult::Failed, result);
    shared.metrics.purge_orders[(way, result)].inc();
    let mut unsettled = shared.unsettled.lock();
    unsettled.pending.remove(&purge.id);
    // Who waited too long asks for the receipt.
    if answer.send(outcome).is_err()
        && let Some(end) = end
    {
        unsettled.note(purge.id, end, shared.waiting_max);
    }
}

fn result(outcome: &Outcome) -> PurgeResult {
    match outcome {
        Outcome::Applied(_) => PurgeResult::Applied,
        Outcome::Repeated { .. } => PurgeResult::Duplicate,
        Outcome::Conflict(_) => PurgeResult::Refused,
    }
}

/// A fault.
fn append_behind(shared: &Shared, batch: Batch) -> Vec<Outcome> {
    let settled = |purge: &Purge| Settled {
        id: purge.id,
        index: PurgeIndex::NONE,
        at: batch.at,
        committed_at: batch.wall,
    };
    let outcomes = batch.purges.iter().map(|purge| Outcome::Applied(settled(purge)));
    let outcomes = outcomes.collect();
    let log = shared.log.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(log.append(batch).await);
    });
    outcomes
}

fn label(kind: Kind) -> PurgeScope {
    match kind {
        Kind::Url => PurgeScope::Url,
        Kind::Exact => PurgeScope::Exact,
        Kind::Prefix => PurgeScope::Prefix,
        Kind::Tag => PurgeScope::Tag,
        Kind::Host => PurgeScope::Host,
        Kind::All => PurgeScope::All,
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
