//! A node that follows the log of another: it has the tables and no log of its own.
//!
//! ```text
//! fetch (long poll) -> entries in order -> tables -> lease held once its barrier is applied -> fetch, which says so
//!    | too far behind: snapshot         | another log, or one that went back: the end, the process has to start anew
//! ```
//!
//! Invariants: an entry is applied only right after the one before; nothing here ever goes back; without a lease nothing
//! that is stored may be served. It does not know how the voter is reached.

mod agree;
mod follower;
mod leader;
mod memory;
#[cfg(test)]
mod tests;

pub(super) use follower::{Follower, Start};
pub use leader::{Fetch, Fetched, Leader, LeaderError, News, SnapshotParts};

use std::path::PathBuf;
use std::time::Duration;

/// How a node follows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// About what the voter grants: how often it is asked goes by that.
    pub lease: Duration,
    /// Of the cache, where it outlives the process: there is noted which log it belongs to.
    pub cache: Option<PathBuf>,
}
