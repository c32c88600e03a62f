//! The log of purges: one order, on disk before anybody is told.
//!
//! Invariant: what [`InvalidationLog::append`] has returned is committed, survives a crash, and is in the tables of this node.
//! Only this folder knows openraft and redb.

mod directory;
mod machine;
pub(in crate::purge) mod mark;
mod network;
mod note;
pub mod raft;
mod running;
mod storage;
mod store;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_adapter;
#[cfg(test)]
mod tests_crash;
#[cfg(test)]
mod tests_damage;
#[cfg(test)]
mod tests_disk;
#[cfg(test)]
mod tests_restart;

use super::order::{Batch, Newcomers};
use super::remembered::{Known, Settled};
use super::state::Outcome;
pub(in crate::purge) use directory::witness_file;
pub(in crate::purge) use note::LeaseNote;

use crate::base::clock::Timestamp;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::purge::order::PurgeId;
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the log lies.
#[derive(Clone, Debug)]
pub struct Place {
    pub directory: PathBuf,
    /// Of the cache that it is the log of: there is noted how far it went, out of reach of who puts an older log back.
    pub witness: Option<PathBuf>,
}

/// Why the log can not be opened, or does not take an entry.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log of purges in {} can not be opened: {cause}; nothing is served", .directory.display())]
    Open { directory: PathBuf, cause: String },
    #[error("the log of purges in {} is used by another process; nothing in it was touched", .directory.display())]
    Locked { directory: PathBuf },
    #[error("the disk of the log of purges is full; nothing is acknowledged")]
    Full,
    #[error(
        "the log of purges could not be written: {0}; nothing is acknowledged, though it may yet take effect"
    )]
    Write(String),
    #[error("the log of purges is closed; nothing is acknowledged")]
    Closed,
}

/// The one order of all purges, as one node sees it.
#[async_trait]
pub trait InvalidationLog: Send + Sync {
    /// The log's life: another means that nothing stored before may be served.
    fn incarnation(&self) -> Incarnation;

    /// Appends a batch as one entry. Returns when it is committed and applied here, with what became of each purge.
    ///
    /// # Errors
    /// When it is not known to be committed.
    async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, LogError>;

    /// Returns once everything that was committed before the call is applied here.
    ///
    /// # Errors
    /// When that can not be found out.
    async fn barrier(&self) -> Result<PurgeIndex, LogError>;

    /// All of it as at one index, for another node; takes time.
    ///
    /// # Errors
    /// When it can not be made.
    async fn snapshot(&self) -> Result<Vec<u8>, LogError>;

    /// Which of those that are to be appended ask to be known again where no more can be, by their place: they are not to be.
    ///
    /// # Errors
    /// When that can not be found out.
    async fn surplus(&self, newcomers: Newcomers) -> Result<Vec<usize>, LogError>;

    /// The time that its entries had told when it was opened.
    fn told(&self) -> Timestamp;

    /// What came of a purge, as long as that is remembered. Takes no time, whatever the log is at.
    fn settled(&self, id: &PurgeId) -> Option<Settled>;

    /// What came of the request of this name, if what was signed at `sent_at_s` is no later attempt of it.
    fn replayed(&self, name: &str, sent_at_s: u64) -> Option<Arc<Known>>;

    /// Returns when the log takes nothing any more, and never will: it is closed, or beyond repair.
    async fn ended(&self);

    /// Ends the log's work; what was appended is on disk already.
    async fn close(&self);
}
