//! The purge path: from an order to an acknowledgement that means something.
//!
//! 1. an order arrives by webhook, API or `PURGE`, is verified and allowed ([`webhook`], [`keys`]);
//! 2. orders that wait together become one batch, one entry of the log (`orders`);
//! 3. the entry is agreed on and on disk ([`log`]): the commit point;
//! 4. it is applied: one insertion for each scope ([`state`], [`table`]); from then on no hit passes by it;
//! 5. the caller gets its receipt ([`receipt`]).
//!
//! Invariant: a receipt says `applied` only after step 4. Whoever serves asks [`Purges::epoch`] before it asks an origin,
//! stores what comes under that epoch, and asks [`Purges::standing`] before it serves what is stored. Nothing is searched
//! for at the time of a purge. It does not know HTTP sessions, nor what is stored.

mod buckets;
pub mod caller;
pub mod config;
pub mod keys;
pub mod log;
mod log_clock;
mod minimums;
pub mod order;
mod orders;
mod rate;
pub mod receipt;
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
use log::{InvalidationLog, LogError, Place};
use order::{Minimum, Order, PurgeId};
pub use orders::OrderError;
use orders::Orders;
use receipt::Receipt;
use state::{Keeping, State};
use std::sync::Arc;
use std::time::Duration;
use table::{Since, Standing, Subject, Tables};

/// A cheap handle to the purges of this node.
#[derive(Clone)]
pub struct Purges(Arc<Open>);

struct Open {
    tables: Arc<Tables>,
    log: Arc<dyn InvalidationLog>,
    orders: Orders,
    minimum_life: Duration,
    minimum_patience: Duration,
    metrics: Arc<Metrics>,
}

impl Purges {
    /// Opens the log and applies it. From the return on, everything that was ever acknowledged here is in the tables.
    ///
    /// # Errors
    /// When the log can not be read: nothing stored may be served then.
    pub async fn open(
        config: &Config,
        place: Option<Place>,
        node: &str,
        metrics: Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let keeping = Keeping {
            object_life: config.object_life.get(),
        };
        let state = State::new(tables.clone(), keeping);
        let log = log::raft::open(config, place, state, metrics.clone()).await?;
        log.barrier().await?;
        let orders = Orders::start(config, node, log.clone(), metrics.clone());
        Ok(Purges(Arc::new(Open {
            tables,
            log,
            orders,
            minimum_life: config.minimum_life.get(),
            minimum_patience: config.minimum_patience.get(),
            metrics,
        })))
    }

    /// The life of the log: nothing that was stored under another may be served.
    pub fn incarnation(&self) -> Incarnation {
        self.0.log.incarnation()
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
        self.0.orders.is_replay(name, sent_at_s)
    }

    /// Carries an order out.
    ///
    /// # Errors
    /// When it is not acknowledged, and why.
    pub async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        self.0.orders.submit(order).await
    }

    /// What is known of a purge.
    pub fn receipt(&self, id: &PurgeId) -> Option<Receipt> {
        self.0.orders.receipt(id)
    }

    /// Returns when purges can not be carried out any more, and never will be: it is closed, or a part of it is broken.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.0.orders.ended() => {}
            () = self.0.log.ended() => {}
        }
    }

    /// Sets the gauges. To be called before metrics are rendered.
    pub fn observe(&self) {
        let Open { tables, metrics, .. } = &*self.0;
        metrics.purge_index.set(tables.applied().number() as i64);
        metrics.purge_floor.set(tables.floor().number() as i64);
        metrics.purge_table_scopes.set(tables.scopes() as i64);
        metrics.purge_table_buckets.set(tables.buckets_used() as i64);
    }

    /// Takes no more orders, and lets those that wait come to their end.
    pub async fn close(&self) {
        self.0.orders.close().await;
        self.0.log.close().await;
    }
}
