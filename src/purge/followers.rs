//! Those who follow the log that is kept here: what they are told, and who waits for them.
//!
//! Invariant: a lease is granted at the index that is committed after its renewal arrived, and under one lock with the question
//! whether an order may be acknowledged; so each order either waits for a lease or is within its barrier. It does not know how
//! they are reached.

use super::feed::Feed;
use super::follow::{Fetch, Fetched, News};
use super::leases::{Acknowledgement, Holder, Leases, NotGranted, Renewal};
use super::receipt::{Applied, Receipt};
use super::table::Tables;
use crate::base::clock::{self, BootTime, Timestamp};
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::{FollowerState, Metrics};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A question is answered after this part of a lease, whether there is news or not.
const POLL_PARTS: u32 = 3;

/// Nobody may follow a log that is closed: another process may have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log of purges is closed here")]
pub(super) struct Closed;

pub(super) struct Followers {
    incarnation: Incarnation,
    tables: Arc<Tables>,
    feed: Arc<Feed>,
    lease: Duration,
    leases: Mutex<Leases>,
    /// Up to where orders may be acknowledged.
    acknowledged: watch::Sender<PurgeIndex>,
    closed: CancellationToken,
    metrics: Arc<Metrics>,
}

/// Which leases there may be.
pub(super) struct Granting {
    pub(super) lease: Duration,
    /// The longest that may have been granted by another process before.
    pub(super) earlier: Duration,
    /// Processes that may hold one.
    pub(super) holders_max: usize,
}

/// What the followers have made of an entry of the log.
struct Shares {
    /// With when that was heard.
    applied: Vec<(Arc<str>, Timestamp)>,
    fenced: Vec<Arc<str>>,
}

impl Followers {
    pub(super) fn new(
        incarnation: Incarnation,
        tables: Arc<Tables>,
        feed: Arc<Feed>,
        granting: Granting,
        metrics: Arc<Metrics>,
    ) -> Self {
        let Granting {
            lease,
            earlier,
            holders_max,
        } = granting;
        let leases = Leases::new(lease, holders_max, Some(earlier), clock::boottime());
        Followers {
            incarnation,
            tables,
            feed,
            lease,
            leases: Mutex::new(leases),
            acknowledged: watch::Sender::new(PurgeIndex::NONE),
            closed: CancellationToken::new(),
            metrics,
        }
    }

    /// Answers a follower: at once where there is news, or after a while.
    pub(super) async fn fetch(&self, fetch: &Fetch) -> Result<Fetched, Closed> {
        let received = clock::boottime();
        let applied = fetch.applied;
        if fetch.incarnation != Some(self.incarnation) {
            return self.fetched(News::OtherLog);
        }
        if self.feed.after(applied).is_none() {
            return self.fetched(News::SnapshotNeeded);
        }
        let grant = match self.renew(received, &fetch.holder, applied) {
            Ok(grant) => Some(grant),
            Err(NotGranted::Crowded) => None,
            Err(NotGranted::Ahead) => return self.fetched(News::WentBack),
            Err(NotGranted::Closed) => return Err(Closed),
        };
        let patience = fetch.patience.min(self.lease / POLL_PARTS);
        tokio::select! {
            _ = timeout(patience, self.feed.grown_beyond(applied)) => {}
            () = self.closed.cancelled() => return Err(Closed),
        }
        self.fetched(match self.feed.after(applied) {
            Some(entries) => News::Entries { entries, grant },
            None => News::SnapshotNeeded,
        })
    }

    fn fetched(&self, news: News) -> Result<Fetched, Closed> {
        match self.closed.is_cancelled() {
            true => Err(Closed),
            false => Ok(Fetched {
                incarnation: self.incarnation,
                last: self.tables.applied(),
                news,
            }),
        }
    }

    fn renew(
        &self,
        received: BootTime,
        holder: &Holder,
        applied: PurgeIndex,
    ) -> Result<super::leases::Grant, NotGranted> {
        let granted = {
            let mut leases = self.leases.lock();
            let renewal = Renewal {
                holder,
                applied,
                // After the renewal arrived, and under the lock.
                committed: self.tables.applied(),
            };
            leases.renew(received, renewal)
        };
        self.advance(clock::boottime());
        granted
    }

    pub(super) fn release(&self, holder: &Holder) {
        self.leases.lock().release(holder);
        self.advance(clock::boottime());
    }

    /// Finds out anew up to where orders may be acknowledged.
    fn advance(&self, now: BootTime) -> PurgeIndex {
        let leases = self.leases.lock();
        let reached = leases.acknowledgeable(self.tables.applied(), now);
        self.acknowledged.send_if_modified(|acknowledged| {
            let is_later = reached > *acknowledged;
            *acknowledged = reached.max(*acknowledged);
            is_later
        });
        *self.acknowledged.borrow()
    }

    /// Whether the order at `index`, which is applied here, may be acknowledged now.
    pub(super) fn may_acknowledge(&self, index: PurgeIndex) -> bool {
        self.advance(clock::boottime()) >= index
    }

    /// Returns when the order at `index`, which is applied here, may be acknowledged.
    pub(super) async fn acknowledged(&self, index: PurgeIndex) {
        let mut acknowledged = self.acknowledged.subscribe();
        let mut fenced_before = None;
        loop {
            let now = clock::boottime();
            if self.advance(now) >= index {
                break;
            }
            let Acknowledgement::Wait(until) = self.leases.lock().may_acknowledge(index, now) else {
                break;
            };
            fenced_before.get_or_insert_with(|| self.lapsed(now));
            tokio::select! {
                _ = acknowledged.wait_for(|reached| *reached >= index) => {}
                () = sleep(until.since(now)) => {}
            }
        }
        let fenced = self.shares(index).fenced.len();
        if fenced_before.is_some_and(|before| fenced > 0 && self.lapsed(clock::boottime()) > before) {
            self.metrics.purge_fenced.inc();
        }
    }

    fn lapsed(&self, now: BootTime) -> usize {
        self.leases.lock().counts(now).1
    }

    fn shares(&self, index: PurgeIndex) -> Shares {
        let (now, wall) = (clock::boottime(), clock::now());
        let (applied, fenced) = self.leases.lock().shares(index);
        let wall_of = |at: BootTime| wall.minus(now.since(at));
        Shares {
            applied: applied
                .into_iter()
                .map(|(node, at)| (node, wall_of(at)))
                .collect(),
            fenced,
        }
    }

    /// Names the followers that have applied what it is the receipt of, and those that may serve nothing until they have.
    pub(super) fn complete(&self, receipt: &mut Receipt, committed_at: Timestamp) {
        let Some(index) = receipt.index else {
            return;
        };
        let shares = self.shares(index);
        let applied = shares.applied.into_iter();
        let applied = applied.map(|(node, at)| Applied::new(&node, Some(at), committed_at));
        receipt.nodes.extend(applied);
        receipt.fenced = shares.fenced.iter().map(|node| node.to_string()).collect();
    }

    pub(super) fn observe(&self) {
        let (leased, lapsed) = self.leases.lock().counts(clock::boottime());
        self.metrics.purge_followers[FollowerState::Leased].set(leased as i64);
        self.metrics.purge_followers[FollowerState::Lapsed].set(lapsed as i64);
    }

    /// Whether no lease is held, of those that other processes granted either.
    pub(super) fn is_quiet(&self) -> bool {
        let leases = self.leases.lock();
        leases.is_quiet(clock::boottime())
    }

    /// From here on nothing is granted.
    pub(super) fn close(&self) {
        self.leases.lock().close();
        self.closed.cancel();
    }
}
