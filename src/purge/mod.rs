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
mod voter;
pub mod webhook;

use crate::base::clock::Timestamp;
use crate::base::epoch::{Epoch, Incarnation, PurgeIndex};
use crate::base::metrics::Metrics;
use config::Config;
pub use feed::FedEntry;
use follow::{Fetch, Fetched, Follower, Settings, Start, Voter};
use followers::Followers;
pub use leases::{Grant, Holder};
use log::{LogError, Place};
use order::{Minimum, Order, PurgeId};
pub use orders::OrderError;
use receipt::Receipt;
use recent::{Recent, TooFarBack, Watched};
use state::{Keeping, State};
use std::sync::Arc;
use std::time::Duration;
use table::{Since, Standing, Subject, Tables};
use tokio::sync::watch;
pub use voter::{Contested, Following, MadeSnapshot, NotFollowed};
use voter::{LocalVoter, Opening};

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
    Votes(Box<LocalVoter>),
    Follows(Box<Follower>),
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
        let state = State::new(tables.clone(), keeping(config)).watched(config.watched_scopes_max);
        let recent = state.recent();
        let opening = Opening {
            config,
            place,
            node,
            following,
            tables: tables.clone(),
            metrics: metrics.clone(),
        };
        let voter = LocalVoter::open(state, opening).await?;
        let role = Role::Votes(Box::new(voter));
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
        voter: Arc<dyn Voter>,
        before: Option<Incarnation>,
        metrics: Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let state = State::new(tables.clone(), keeping(config)).watched(config.watched_scopes_max);
        let recent = state.recent();
        let start = Start {
            settings,
            node: node.to_owned(),
            voter,
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
            Role::Votes(voter) => voter.log.incarnation(),
            Role::Follows(follower) => follower.incarnation(),
        }
    }

    /// Whether what is stored may be served by a request that is here already: to be asked before it looks in the tables, and
    /// for each request anew.
    #[inline]
    pub fn may_serve(&self) -> bool {
        match &self.0.role {
            Role::Votes(voter) => !voter.is_contested(),
            Role::Follows(follower) => follower.is_leased(),
        }
    }

    /// Whether another process has this node's name: a voter acknowledges and serves nothing then.
    pub fn contest(&self, contested: Contested) {
        match &self.0.role {
            Role::Votes(voter) => voter.contest(contested),
            // What it may serve is the voter's word.
            Role::Follows(_) => {}
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
            Role::Votes(voter) => voter.orders.is_replay(name, sent_at_s),
            Role::Follows(follower) => follower.is_replay(name, sent_at_s),
        }
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// When it is not acknowledged, and why.
    pub async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        match &self.0.role {
            Role::Votes(voter) => voter.submit(order).await,
            Role::Follows(follower) => follower.submit(order).await,
        }
    }

    /// What is known of a purge.
    ///
    /// # Errors
    /// When who would know can not be asked.
    pub async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, OrderError> {
        match &self.0.role {
            Role::Votes(voter) => voter.receipt(id),
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
            Role::Votes(voter) => tokio::select! {
                () = voter.orders.ended() => {}
                () = voter.log.ended() => {}
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
        if let Role::Votes(voter) = role
            && let Some(followers) = &voter.followers
        {
            followers.observe();
        }
    }

    /// Lets go of what another process on this machine needs to open its own: a log that is kept here is closed, and one that
    /// is followed goes on being followed, so that what is stored may be served until [`Purges::retire`].
    pub async fn hand_over(&self) {
        match &self.0.role {
            Role::Votes(voter) => voter.close().await,
            Role::Follows(follower) => follower.hand_over(),
        }
    }

    /// Ends what [`Purges::hand_over`] has left. To be called once nothing that is stored is served here any more: from the
    /// return on no purge waits for this process.
    pub async fn retire(&self) {
        match &self.0.role {
            // The log may be another process's already.
            Role::Votes(_) => {}
            Role::Follows(follower) => follower.close().await,
        }
    }

    /// Takes no more orders, and lets those that wait come to their end; nothing is granted, or held, any more.
    pub async fn close(&self) {
        match &self.0.role {
            Role::Votes(voter) => voter.close().await,
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
        let followers = self.followed()?;
        followers.fetch(fetch).await.map_err(|_| NotFollowed::Closed)
    }

    /// All there is. Waits for its turn among those that are made, or sent.
    ///
    /// # Errors
    /// When nobody can follow this node, or it can not be made.
    pub async fn snapshot(&self) -> Result<MadeSnapshot, NotFollowed> {
        self.followed()?;
        match &self.0.role {
            Role::Votes(voter) => voter.snapshot().await,
            Role::Follows(_) => Err(NotFollowed::NotKept),
        }
    }

    /// A follower serves nothing stored any more.
    ///
    /// # Errors
    /// When nobody can follow this node.
    pub fn release(&self, holder: &Holder) -> Result<(), NotFollowed> {
        self.followed()?.release(holder);
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

    fn followed(&self) -> Result<&Followers, NotFollowed> {
        match &self.0.role {
            Role::Votes(voter) => voter.followed(),
            Role::Follows(_) => Err(NotFollowed::NotKept),
        }
    }
}

fn keeping(config: &Config) -> Keeping {
    Keeping {
        object_life: config.object_life.get(),
    }
}
