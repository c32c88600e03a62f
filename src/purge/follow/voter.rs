//! What a follower says to the node that keeps the log, and hears from it.
//!
//! Invariant: each of these ends within a deadline of its caller's, or its future is dropped. It does not know how they travel.

use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::purge::feed::FedEntry;
use crate::purge::leases::{Grant, Holder};
use crate::purge::order::{Order, PurgeId};
use crate::purge::orders::OrderError;
use crate::purge::receipt::Receipt;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::time::Duration;

/// Asks for what comes after `applied`; says that everything up to it is applied, and renews the lease.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub holder: Holder,
    /// `None`: it is not known yet, and all that is asked.
    pub incarnation: Option<Incarnation>,
    pub applied: PurgeIndex,
    /// How long it may wait for something new.
    pub patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub incarnation: Incarnation,
    /// The last entry that is committed.
    pub last: PurgeIndex,
    pub news: News,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was asked about another log, or about none.
    OtherLog,
    /// What comes after is not there any more.
    SnapshotNeeded,
    /// The log does not go as far as who asks.
    WentBack,
    Entries {
        entries: Vec<FedEntry>,
        /// `None`: as many processes as may be hold leases.
        grant: Option<Grant>,
    },
}

/// All of it at one index: a [`crate::purge::state::Snapshot`] by postcard, in parts.
pub struct SnapshotParts {
    pub incarnation: Incarnation,
    pub parts: BoxStream<'static, Result<Bytes, VoterError>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VoterError {
    #[error("the voter of the log of purges can not be reached: {0}")]
    Unreachable(String),
    #[error("the voter of the log of purges refuses: {0}")]
    Refused(String),
    #[error("the voter of the log of purges says what is none of its words: {0}")]
    Malformed(String),
}

/// The node that keeps the log.
#[async_trait]
pub trait Voter: Send + Sync {
    /// # Errors
    /// When there is no answer.
    async fn fetch(&self, fetch: Fetch) -> Result<Fetched, VoterError>;

    /// # Errors
    /// When there is no answer.
    async fn snapshot(&self) -> Result<SnapshotParts, VoterError>;

    /// The process serves nothing stored any more.
    ///
    /// # Errors
    /// When it is not known to be heard.
    async fn release(&self, holder: &Holder) -> Result<(), VoterError>;

    /// Has an order carried out there.
    ///
    /// # Errors
    /// When it is not acknowledged, and why.
    async fn submit(&self, order: Order) -> Result<Receipt, OrderError>;

    /// What is known of a purge there.
    ///
    /// # Errors
    /// When there is no answer.
    async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, VoterError>;
}
