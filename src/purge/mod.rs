//! The purge path: from an order to an acknowledgement that means something.
//!
//! 1. an order arrives by webhook, API or `PURGE`, is verified and allowed ([`webhook`], [`keys`]);
//! 2. orders that wait together become one batch, one entry of the log (`orders`);
//! 3. the entry is agreed on and on disk ([`log`]): the commit point;
//! 4. it is applied: one insertion for each scope ([`state`], [`table`]); from then on no hit passes by it;
//! 5. the caller gets its receipt ([`receipt`]).
//!
//! In a cluster one node keeps the log, and the others follow it ([`follow`]): step 5 waits for those that hold a lease
//! (`leases`, `followers`).
//!
//! Invariant: a receipt says `applied` only after step 4. Whoever serves asks [`Purges::epoch`] before it asks an origin,
//! stores what comes under that epoch, and asks [`Purges::standing`] before it serves what is stored. Nothing is searched
//! for at the time of a purge. It does not know HTTP sessions, nor what is stored.

mod buckets;
pub mod caller;
pub mod config;
mod feed;
pub mod follow;
mod followers;
pub mod keys;
mod leases;
pub mod log;
mod log_clock;
mod minimums;
pub mod order;
mod orders;
mod rate;
pub mod receipt;
pub mod recent;
mod remembered;
pub mod request;
#[cfg(test)]
pub(crate) mod scripted;
pub mod state;
pub mod table;
mod unsettled;
pub mod webhook;

use crate::base::clock::Timestamp;
use crate::base::epoch::{Epoch, Incarnation, PurgeIndex};
use crate::base::metrics::Metrics;
use config::Config;
pub use feed::FedEntry;
use feed::Feed;
use follow::{Fetch, Fetched, Follower, Leader, Settings, Start};
use followers::Followers;
pub use leases::{Grant, Holder};
use log::{InvalidationLog, LeaseNote, LogError, Place};
use order::{Minimum, Order, PurgeId};
pub use orders::OrderError;
use orders::Orders;
use receipt::Receipt;
use recent::{Recent, TooFarBack, Watched};
use state::{Keeping, State};
use std::sync::Arc;
use std::time::Duration;
use table::{Since, Standing, Subject, Tables};
use tokio::sync::{Semaphore, watch};

/// Entries that are kept in memory for those who follow, in bytes; who is further behind takes a snapshot.
const FEED_BYTES_MAX: usize = 16 << 20;

/// Snapshots that are made for followers at once: each is a copy of all there is.
const SNAPSHOTS_MAX: usize = 2;

/// A cheap handle to the purges of this node.
#[derive(Clone)]
pub struct Purges(Arc<Open>);

struct Open {
    tables: Arc<Tables>,
    role: Role,
    recent: Arc<Recent>,
    minimum_life: Duration,
    minimum_patience: Duration,
    order_scopes_max: usize,
    metrics: Arc<Metrics>,
}

enum Role {
    Keeps(Box<Keeper>),
    Follows(Box<Follower>),
}

/// The log, and those who give orders and follow.
struct Keeper {
    log: Arc<dyn InvalidationLog>,
    orders: Orders,
    followers: Option<Arc<Followers>>,
    snapshots: Semaphore,
    /// To be removed once it has come true: nobody follows this log any more.
    note: Option<LeaseNote>,
}

/// Whether other nodes follow the log that is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    Nobody,
    /// With leases of this length.
    Others(Duration),
}

/// Why a follower gets no answer here.
#[derive(Debug, thiserror::Error)]
pub enum NotFollowed {
    #[error("this node keeps no log of purges that others follow")]
    NotKept,
    #[error("the log of purges is closed here")]
    Closed,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Purges {
    /// Opens the log of a node that is alone, and applies it. From the return on, everything that was ever acknowledged here is
    /// in the tables.
    ///
    /// # Errors
    /// When the log can not be read: nothing stored may be served then.
    pub async fn open(
        config: &Config,
        place: Option<Place>,
        node: &str,
        metrics: Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        Purges::keep(config, place, node, Following::Nobody, metrics).await
    }

    /// As [`Purges::open`], of a node whose log others may follow.
    ///
    /// # Errors
    /// When the log can not be read: nothing stored may be served then.
    pub async fn keep(
        config: &Config,
        place: Option<Place>,
        node: &str,
        following: Following,
        metrics: Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let mut state = State::new(tables.clone(), keeping(config)).watched(config.watched_scopes_max);
        let recent = state.recent();
        let feed = Arc::new(Feed::new(FEED_BYTES_MAX));
        if following != Following::Nobody {
            state = state.feeding(feed.clone());
        }
        let note = place.as_ref().map(LeaseNote::beside);
        let log = log::raft::open(config, place, state, metrics.clone()).await?;
        log.barrier().await?;
        // The directory is this process's from here on: no other grants a lease on it.
        let earlier = note.as_ref().map(LeaseNote::read).transpose()?.flatten();
        let (lease, earlier) = match following {
            Following::Nobody => (Duration::ZERO, earlier),
            Following::Others(lease) => (lease, Some(earlier.unwrap_or_default().max(lease))),
        };
        if let (Following::Others(_), Some(note), Some(longest)) = (following, &note, earlier) {
            note.write(longest)?;
        }
        let followers = earlier.map(|_| {
            let (incarnation, tables) = (log.incarnation(), tables.clone());
            Arc::new(Followers::new(
                incarnation,
                tables,
                feed,
                lease,
                earlier,
                metrics.clone(),
            ))
        });
        let orders = Orders::start(config, node, log.clone(), followers.clone(), metrics.clone());
        let keeper = Keeper {
            log,
            orders,
            note: note.filter(|_| followers.is_some() && following == Following::Nobody),
            followers,
            snapshots: Semaphore::new(SNAPSHOTS_MAX),
        };
        let role = Role::Keeps(Box::new(keeper));
        Ok(Purges::new(config, tables, recent, role, metrics))
    }

    /// Follows the log of another node. Returns once it is known which log that is: by the voter's word, or by what was noted
    /// with the cache, or as `before` has it.
    ///
    /// # Errors
    /// When another process uses the cache.
    pub async fn follow(
        config: &Config,
        settings: Settings,
        node: &str,
        leader: Arc<dyn Leader>,
        before: Option<Incarnation>,
        metrics: Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let state = State::new(tables.clone(), keeping(config)).watched(config.watched_scopes_max);
        let recent = state.recent();
        let start = Start {
            settings,
            node: node.to_owned(),
            leader,
            before,
            metrics: metrics.clone(),
        };
        let follower = Follower::start(config, state, tables.clone(), start).await?;
        let role = Role::Follows(Box::new(follower));
        Ok(Purges::new(config, tables, recent, role, metrics))
    }

    fn new(
        config: &Config,
        tables: Arc<Tables>,
        recent: Arc<Recent>,
        role: Role,
        metrics: Arc<Metrics>,
    ) -> Self {
        Purges(Arc::new(Open {
            tables,
            role,
            recent,
            minimum_life: config.minimum_life.get(),
            minimum_patience: config.minimum_patience.get(),
            order_scopes_max: config.order_scopes_max,
            metrics,
        }))
    }

    /// The life of the log: nothing that was stored under another may be served.
    pub fn incarnation(&self) -> Incarnation {
        match &self.0.role {
            Role::Keeps(keeper) => keeper.log.incarnation(),
            Role::Follows(follower) => follower.incarnation(),
        }
    }

    /// Whether what is stored may be served by a request that is here already: to be asked before it looks in the tables, and
    /// for each request anew.
    #[inline]
    pub fn may_serve(&self) -> bool {
        match &self.0.role {
            Role::Keeps(_) => true,
            Role::Follows(follower) => follower.is_leased(),
        }
    }

    /// Up to which index every purge is known here.
    pub fn applied(&self) -> PurgeIndex {
        self.0.tables.applied()
    }

    /// What is asked of an origin from here on is not older than any purge acknowledged before.
    pub fn epoch(&self) -> Epoch {
        Epoch::at(self.applied())
    }

    /// What may be done with a stored response.
    pub fn standing(&self, subject: &Subject<'_>) -> Standing {
        self.0.tables.standing(subject)
    }

    /// The highest index at which a URL was purged, as far as it can be told without its tags.
    pub fn highest(&self, key_text: &str) -> PurgeIndex {
        self.0.tables.highest(key_text)
    }

    /// What the origin's answer for a URL has to be at least.
    pub fn minimum(&self, key_text: &str, now: Timestamp) -> Option<Minimum> {
        let Since { at, minimum, .. } = self.0.tables.minimum(key_text)?;
        (now.since(at) < self.0.minimum_life).then_some(minimum)
    }

    /// How long a fill goes on asking for an answer that reaches its minimum.
    pub fn minimum_patience(&self) -> Duration {
        self.0.minimum_patience
    }

    /// Whether a request of this name, signed at `sent_at_s`, was carried out before, and this is no later attempt of it.
    pub fn is_replay(&self, name: &str, sent_at_s: u64) -> bool {
        match &self.0.role {
            Role::Keeps(keeper) => keeper.orders.is_replay(name, sent_at_s),
            Role::Follows(follower) => follower.is_replay(name, sent_at_s),
        }
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// When it is not acknowledged, and why.
    pub async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        match &self.0.role {
            Role::Keeps(keeper) => keeper.orders.submit(order).await,
            Role::Follows(follower) => follower.submit(order).await,
        }
    }

    /// What is known of a purge.
    ///
    /// # Errors
    /// When who would know can not be asked.
    pub async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, OrderError> {
        match &self.0.role {
            Role::Keeps(keeper) => Ok(keeper.orders.receipt(id)),
            Role::Follows(follower) => follower.receipt(id).await,
        }
    }

    /// What has been applied here from an index on, as far as it is still told.
    ///
    /// # Errors
    /// When it begins too far back.
    pub fn applied_since(&self, from: PurgeIndex) -> Result<Vec<Watched>, TooFarBack> {
        self.0.recent.since(from)
    }

    /// Changes with each entry that is applied here.
    pub fn watch(&self) -> watch::Receiver<PurgeIndex> {
        self.0.recent.latest()
    }

    /// Returns when purges can not be carried out any more, and never will be: it is closed, or a part of it is broken.
    pub async fn ended(&self) {
        match &self.0.role {
            Role::Keeps(keeper) => tokio::select! {
                () = keeper.orders.ended() => {}
                () = keeper.log.ended() => {}
            },
            Role::Follows(follower) => follower.ended().await,
        }
    }

    /// Sets the gauges. To be called before metrics are rendered.
    pub fn observe(&self) {
        let Open {
            tables,
            metrics,
            role,
            ..
        } = &*self.0;
        metrics.purge_index.set(tables.applied().number() as i64);
        metrics.purge_floor.set(tables.floor().number() as i64);
        metrics.purge_table_scopes.set(tables.scopes() as i64);
        metrics.purge_table_buckets.set(tables.buckets_used() as i64);
        metrics.purge_lease_held.set(self.may_serve().into());
        if let Role::Keeps(keeper) = role
            && let Some(followers) = &keeper.followers
        {
            followers.observe();
        }
    }

    /// Takes no more orders, and lets those that wait come to their end; nothing is granted, or held, any more.
    pub async fn close(&self) {
        match &self.0.role {
            Role::Keeps(keeper) => keeper.close().await,
            Role::Follows(follower) => follower.close().await,
        }
    }
}

/// For those who follow.
impl Purges {
    /// What comes after what a follower has; it renews its lease with it.
    ///
    /// # Errors
    /// When nobody can follow this node.
    pub async fn fetch(&self, fetch: &Fetch) -> Result<Fetched, NotFollowed> {
        let followers = self.followed()?.1;
        followers.fetch(fetch).await.map_err(|_| NotFollowed::Closed)
    }

    /// All there is, as a [`state::Snapshot`] by postcard.
    ///
    /// # Errors
    /// When nobody can follow this node, or it can not be made.
    pub async fn snapshot(&self) -> Result<Vec<u8>, NotFollowed> {
        let keeper = self.followed()?.0;
        let _turn = keeper
            .snapshots
            .acquire()
            .await
            .map_err(|_| NotFollowed::Closed)?;
        Ok(keeper.log.snapshot().await?)
    }

    /// A follower serves nothing stored any more.
    ///
    /// # Errors
    /// When nobody can follow this node.
    pub fn release(&self, holder: &Holder) -> Result<(), NotFollowed> {
        self.followed()?.1.release(holder);
        Ok(())
    }

    /// Scopes of one order.
    pub fn order_scopes_max(&self) -> usize {
        self.0.order_scopes_max
    }

    /// Whether others may follow the log that is kept here.
    pub fn is_followed(&self) -> bool {
        self.followed().is_ok()
    }

    fn followed(&self) -> Result<(&Keeper, &Followers), NotFollowed> {
        match &self.0.role {
            Role::Keeps(keeper) if keeper.note.is_none() => match &keeper.followers {
                Some(followers) => Ok((keeper, followers)),
                None => Err(NotFollowed::NotKept),
            },
            _ => Err(NotFollowed::NotKept),
        }
    }
}

impl Keeper {
    async fn close(&self) {
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

fn keeping(config: &Config) -> Keeping {
    Keeping {
        object_life: config.object_life.get(),
    }
}
