//! The log where it is kept, with those who give orders and those who follow.
//!
//! Invariants: while another process has this node's name nothing is acknowledged, granted or served from what is stored, because
//! there may be two logs; a lease is granted only after the longest one is noted with the log, so that who keeps it next waits for it; a
//! snapshot counts as one of those there may be at once until it is sent. It does not know how anybody is reached.

use super::config::Config;
use super::feed::Feed;
use super::followers::{Followers, Granting};
use super::log::{self, InvalidationLog, LeaseNote, LogError, Place};
use super::order::{Order, PurgeId};
use super::orders::{OrderError, Orders};
use super::receipt::Receipt;
use super::state::State;
use super::table::Tables;
use crate::base::metrics::Metrics;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct LocalVoter {
    pub(super) log: Arc<dyn InvalidationLog>,
    pub(super) orders: Orders,
    pub(super) followers: Option<Arc<Followers>>,
    pub(super) snapshots: Arc<Semaphore>,
    snapshot_deadline: Duration,
    /// To be removed once it has come true: nobody follows this log any more.
    note: Option<LeaseNote>,
    /// Another process has this node's name.
    contested: AtomicBool,
}

/// What is opened, and for whom.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    pub(super) place: Option<Place>,
    pub(super) node: &'a str,
    pub(super) following: Following,
    pub(super) tables: Arc<Tables>,
    pub(super) metrics: Arc<Metrics>,
}

/// Whether other nodes follow the log that is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    Nobody,
    /// With leases of this length.
    Others(Duration),
}

/// Whether another process has the voter's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contested {
    Yes,
    No,
}

/// A snapshot on its way to a follower. As long as it lives it counts among those there may be at once.
pub struct MadeSnapshot {
    /// A [`super::state::Snapshot`] by postcard.
    pub bytes: Bytes,
    /// How long the follower may take for each part.
    pub part_deadline: Duration,
    _turn: OwnedSemaphorePermit,
}

/// Why a follower gets no answer here.
#[derive(Debug, thiserror::Error)]
pub enum NotFollowed {
    #[error("this node keeps no log of purges that others follow")]
    NotKept,
    #[error("the log of purges is closed here")]
    Closed,
    #[error("another node has the voter's name, and may keep another log")]
    Contested,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl LocalVoter {
    /// From the return on, everything that was ever acknowledged here is in the tables.
    pub(super) async fn open(state: State, opening: Opening<'_>) -> Result<Self, LogError> {
        let Opening {
            config,
            place,
            node,
            following,
            tables,
            metrics,
        } = opening;
        let feed = Arc::new(Feed::new(config.feed_bytes_max.as_usize()));
        let state = match following {
            Following::Nobody => state,
            Following::Others(_) => state.feeding(feed.clone()),
        };
        let note = place.as_ref().map(LeaseNote::beside);
        let log = log::raft::open(config, place, state, metrics.clone()).await?;
        log.barrier().await?;
        // The directory is this process's from here on: no other grants a lease on it.
        let granting = granting(following, note.as_ref(), config.followers_max)?;
        let followers = granting.map(|granting| {
            let incarnation = log.incarnation();
            Arc::new(Followers::new(
                incarnation,
                tables,
                feed,
                granting,
                metrics.clone(),
            ))
        });
        let orders = Orders::start(config, node, log.clone(), followers.clone(), metrics);
        Ok(LocalVoter {
            log,
            orders,
            note: note.filter(|_| followers.is_some() && following == Following::Nobody),
            followers,
            snapshots: Arc::new(Semaphore::new(config.snapshots_max)),
            snapshot_deadline: config.snapshot_deadline.get(),
            contested: AtomicBool::new(false),
        })
    }

    /// Over a log that is open.
    #[cfg(test)]
    pub(super) fn unfollowed(log: Arc<dyn InvalidationLog>, orders: Orders) -> Self {
        LocalVoter {
            log,
            orders,
            followers: None,
            snapshots: Arc::new(Semaphore::new(1)),
            snapshot_deadline: Duration::ZERO,
            note: None,
            contested: AtomicBool::new(false),
        }
    }

    pub(super) fn contest(&self, contested: Contested) {
        let is_contested = contested == Contested::Yes;
        if self.contested.swap(is_contested, Ordering::AcqRel) != is_contested {
            match contested {
                Contested::Yes => tracing::error!(
                    "another node has the voter's name, and may keep another log of purges: no purge is taken, and nothing stored is served, until it is gone"
                ),
                Contested::No => tracing::info!("the voter's name is this node's alone again"),
            }
        }
    }

    #[inline]
    pub(super) fn is_contested(&self) -> bool {
        self.contested.load(Ordering::Acquire)
    }

    pub(super) async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        self.uncontested()?;
        let receipt = self.orders.submit(order).await?;
        // Who does not follow this log any more may follow the other.
        self.uncontested()?;
        Ok(receipt)
    }

    pub(super) fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, OrderError> {
        self.uncontested()?;
        Ok(self.orders.receipt(id))
    }

    fn uncontested(&self) -> Result<(), OrderError> {
        match self.is_contested() {
            true => Err(OrderError::Contested),
            false => Ok(()),
        }
    }

    /// Waits for its turn among those that are made, or sent.
    pub(super) async fn snapshot(&self) -> Result<MadeSnapshot, NotFollowed> {
        let turn = self.snapshots.clone().acquire_owned().await;
        let turn = turn.map_err(|_| NotFollowed::Closed)?;
        Ok(MadeSnapshot {
            bytes: self.log.snapshot().await?.into(),
            part_deadline: self.snapshot_deadline,
            _turn: turn,
        })
    }

    /// Those that follow now: not those of before, whose leases are waited for and who get nothing here any more.
    pub(super) fn followed(&self) -> Result<&Followers, NotFollowed> {
        if self.is_contested() {
            return Err(NotFollowed::Contested);
        }
        match (&self.note, &self.followers) {
            (None, Some(followers)) => Ok(followers),
            _ => Err(NotFollowed::NotKept),
        }
    }

    pub(super) async fn close(&self) {
        if let Some(followers) = &self.followers {
            // First: who keeps the log next waits for what was granted before.
            followers.close();
        }
        self.orders.close().await;
        if let (Some(note), Some(followers)) = (&self.note, &self.followers)
            && followers.is_quiet()
        {
            note.remove();
        }
        self.log.close().await;
    }
}

/// The leases that are granted, and those that an earlier process may have granted; `None`: none of either. The longest is
/// noted before any is.
fn granting(
    following: Following,
    note: Option<&LeaseNote>,
    holders_max: usize,
) -> Result<Option<Granting>, LogError> {
    let noted = note.map(LeaseNote::read).transpose()?.flatten();
    let (lease, earlier) = match following {
        Following::Nobody => (Duration::ZERO, noted),
        Following::Others(lease) => (lease, Some(noted.unwrap_or_default().max(lease))),
    };
    if let (Following::Others(_), Some(note), Some(longest)) = (following, note, earlier) {
        note.write(longest)?;
    }
    Ok(earlier.map(|earlier| Granting {
        lease,
        earlier,
        holders_max,
    }))
}
