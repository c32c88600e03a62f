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
mod memory;
#[cfg(test)]
mod tests;
mod voter;

pub(super) use follower::{Follower, Start};
pub use voter::{Fetch, Fetched, News, SnapshotParts, Voter, VoterError};

use super::config::Config;
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

/// How long a follower waits, and what it takes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// What a voter that lives takes to answer, beside what it waits for.
    answer_deadline: Duration,
    /// How long a start waits for the voter where it can do without.
    start_patience: Duration,
    /// From one part of a snapshot to the next; the first has to be made.
    snapshot_deadline: Duration,
    snapshot_bytes_max: usize,
}

impl Limits {
    fn of(config: &Config) -> Self {
        Limits {
            answer_deadline: config.voter_deadline.get(),
            start_patience: config.start_patience.get(),
            snapshot_deadline: config.snapshot_deadline.get(),
            snapshot_bytes_max: config.snapshot_bytes_max.as_usize(),
        }
    }
}
