//! An edge that serves, and the ways in which it comes to its end; how it begins is in `start`.
//!
//! Invariant: what is under way ends well or by a deadline; the cache is closed before the log that speaks of it. It does not
//! know why it is to end.

mod start;

pub(super) use start::{Opened, start};

use super::alarm::Alarm;
use super::handover::{Binary, HandOverError, Handed, Successor};
use super::joined::Membership;
use super::notify;
use crate::base::clock;
use crate::base::metrics::Metrics;
use crate::edge;
use crate::edge::access_log::AccessLog;
use crate::edge::lifecycle::Lifecycle;
use crate::edge::settings::InForce;
use crate::purge::Purges;
use crate::serve::Engine;
use crate::store::Store;
use crate::trace::Tracer;
use rustix::process::Pid;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// What the cache and the log have at least to write out what waits, however short the drain deadline is.
const FLUSH_DEADLINE_MIN: Duration = Duration::from_secs(1);

/// A connection that was accepted is not known before its TLS handshake.
const OPENING: Duration = Duration::from_secs(2);

pub(super) struct Running {
    pub(super) alarm: Alarm,
    /// `None`: this node is alone.
    membership: Option<Arc<Membership>>,
    lifecycle: Arc<Lifecycle>,
    engine: Arc<Engine>,
    settings: InForce,
    store: Store,
    purges: Purges,
    log: Arc<AccessLog>,
    tracer: Tracer,
    metrics: Arc<Metrics>,
    /// The sockets that are listened on, once more.
    sockets: Vec<Handed>,
    requests: TaskTracker,
    connections: TaskTracker,
    /// Of the admin listener.
    answers: TaskTracker,
    stop_edge: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
    stop_peers: watch::Sender<bool>,
}

/// Why another process has not taken this one's place.
pub(super) enum NotHanded {
    /// Nothing has been given away.
    StillServing(HandOverError),
    /// Cache and log have, and nobody has them.
    Lost(HandOverError),
}

impl Running {
    /// Has another process take this one's place. It has `deadline` to prepare, and again to open cache and log; so has the
    /// binary that runs, where that one fails with both in its hands.
    pub(super) async fn hand_over(&self, binary: &Binary, deadline: Duration) -> Result<Pid, NotHanded> {
        let successor = Successor::start(binary, &self.sockets, deadline).await;
        let mut successor = successor.map_err(NotHanded::StillServing)?;
        if let Err(error) = self.store.hand_over().await {
            successor.end().await;
            return Err(NotHanded::StillServing(error.into()));
        }
        if let Some(membership) = &self.membership {
            membership.joined.cluster.hand_over().await;
        }
        if timeout(deadline, self.purges.hand_over()).await.is_err() {
            return Err(self.lost(HandOverError::LogStuck(deadline)));
        }
        if let Err(error) = successor.take(deadline).await {
            tracing::error!(%error, "the other process did not take over; trying the binary that runs already");
            successor.end().await;
            successor = self
                .try_again(&binary.that_runs(), deadline)
                .await
                .map_err(|error| self.lost(error))?;
        }
        self.stop_edge.send_replace(true);
        self.stop_admin.send_replace(true);
        self.stop_peers.send_replace(true);
        self.engine.retire();
        let process = successor.serve().await.map_err(NotHanded::Lost)?;
        notify(&[NotifyState::MainPid(
            process.as_raw_nonzero().get().cast_unsigned(),
        )]);
        Ok(process)
    }

    /// Whoever has cache and log may not be known, and purge.
    fn lost(&self, error: HandOverError) -> NotHanded {
        self.retire();
        NotHanded::Lost(error)
    }

    /// From here on nothing is answered from this process's cache.
    pub(super) fn retire(&self) {
        self.engine.retire();
    }

    /// Log and cache are nobody's: the way back into service is that of a successor, too.
    async fn try_again(&self, binary: &Binary, deadline: Duration) -> Result<Successor, HandOverError> {
        let mut successor = Successor::start(binary, &self.sockets, deadline).await?;
        successor.take(deadline).await?;
        Ok(successor)
    }

    /// Ends what is under way here, where another process has taken over. Idle connections are given time to ask once more
    /// or to close, so that none is closed under a request on its way; so are those that are being opened.
    pub(super) async fn leave(&mut self, config: &edge::config::Config) {
        self.sockets.clear();
        self.metrics.ready.set(0);
        self.lifecycle.drain();
        self.requests.close();
        self.connections.close();
        if timeout(flush_deadline(config), self.purges.retire())
            .await
            .is_err()
        {
            tracing::warn!(
                "the voter was not told that this process serves nothing; purges wait for its lease"
            );
        }
        self.drain_within(config.drain_deadline.get()).await;
        tokio::time::sleep(OPENING).await;
        let idle = config.keepalive_idle.get();
        timeout(idle, self.connections.wait()).await.ok();
        self.drain_within(config.drain_deadline.get()).await;
        self.tracer.close(flush_deadline(config)).await;
        self.log.close(flush_deadline(config)).await;
        self.end_answers(flush_deadline(config)).await;
    }

    pub(super) async fn stop(&mut self, config: &edge::config::Config) {
        tracing::info!("stopping: not ready from here on");
        self.metrics.ready.set(0);
        if let Some(membership) = &self.membership {
            membership.joined.cluster.drain().await;
        }
        self.lifecycle.drain();
        tokio::time::sleep(config.drain_delay.get()).await;
        self.stop_edge.send_replace(true);
        // While one of them is open the system accepts connections that nobody will answer.
        self.sockets.clear();
        self.requests.close();
        let (began, deadline) = (clock::monotonic(), config.drain_deadline.get());
        if let Some(membership) = &self.membership {
            self.engine.hand_over(deadline).await;
            membership.joined.cluster.leave().await;
            self.engine.copies().close().await;
        }
        self.drain_within(deadline.saturating_sub(clock::monotonic() - began))
            .await;
        close_store(&self.store, flush_deadline(config)).await;
        // Once the log is nobody's another process may take it, and acknowledge.
        self.engine.retire();
        close_purges(&self.purges, flush_deadline(config)).await;
        // Connections that were idle may have asked meanwhile.
        self.drain_within(deadline.saturating_sub(clock::monotonic() - began))
            .await;
        self.stop_peers.send_replace(true);
        self.tracer.close(flush_deadline(config)).await;
        self.log.close(flush_deadline(config)).await;
        self.stop_admin.send_replace(true);
        self.end_answers(flush_deadline(config)).await;
    }

    /// Who follows the log gets its last line, and the stream's end: the process may be gone right after.
    async fn end_answers(&self, deadline: Duration) {
        self.answers.close();
        if timeout(deadline, self.answers.wait()).await.is_err() {
            tracing::warn!("a reader of the admin listener stands still; what it was to get is cut off");
        }
    }

    async fn drain_within(&self, deadline: Duration) {
        let quiet = until_quiet(&self.requests, || self.engine.drain());
        if timeout(deadline, quiet).await.is_err() {
            self.warn_of_deadline();
        }
    }

    fn warn_of_deadline(&self) {
        tracing::warn!(
            requests = self.requests.len(),
            "the drain deadline has passed; what is left is cut off"
        );
    }
}

/// Returns once neither a request nor a fill is under way: a request may begin while fills end.
async fn until_quiet(requests: &TaskTracker, fills: impl AsyncFn()) {
    loop {
        requests.wait().await;
        fills().await;
        if requests.is_empty() {
            return;
        }
    }
}

pub(super) fn flush_deadline(config: &edge::config::Config) -> Duration {
    config.drain_deadline.get().max(FLUSH_DEADLINE_MIN)
}

pub(super) async fn close_store(store: &Store, deadline: Duration) {
    if timeout(deadline, store.close()).await.is_err() {
        tracing::warn!("the cache was not closed in time; what waited for the SSD is lost");
    }
}

pub(super) async fn close_purges(purges: &Purges, deadline: Duration) {
    if timeout(deadline, purges.close()).await.is_err() {
        tracing::warn!("the log of purges was not closed in time; nothing acknowledged is lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_request_that_begins_while_fills_end_is_waited_for() {
        let requests = TaskTracker::new();
        requests.close();
        let (rounds, answered) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let fills = async || {
            if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
                let answered = answered.clone();
                requests.spawn(async move {
                    tokio::task::yield_now().await;
                    answered.fetch_add(1, Ordering::Relaxed);
                });
            }
        };
        let quiet = timeout(Duration::from_secs(30), until_quiet(&requests, fills));
        quiet.await.unwrap();
        assert_eq!(answered.load(Ordering::Relaxed), 1);
    }
}
