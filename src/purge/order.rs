//! What the log carries: purges, in batches, each batch one entry.
//!
//! Invariant: whatever decides what a purge does is in here, so that every node that applies the log comes to the same
//! tables. It does not know who applies it.

use super::config::Config;
use crate::base::clock::Timestamp;
use crate::base::metrics::PurgeWay;
use crate::scope::Scope;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// The name of a purge, for its caller to ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurgeId(Uuid);

/// What becomes of an entry that is covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// It has to be fetched in full.
    #[default]
    Hard,
    /// It may be revalidated: a 304 revives it.
    Soft,
}

/// What the origin's answer has to be at least, so that one older than the purge is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Minimum {
    /// This entity tag, as in `ETag`.
    EntityTag(String),
    /// A header whose whole number is not less.
    Version { header: String, at_least: u64 },
}

/// By which a repeated request is known: the same order is not carried out twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnceKey {
    /// The caller, so that two callers' keys do not meet, and the key it chose.
    pub name: String,
    /// Of what was asked: the same key for something else is a mistake.
    pub request: [u8; 16],
    /// When the caller signed that it sent this attempt, in seconds since 1970; 0 where nothing is signed.
    pub sent_at_s: u64,
}

/// One purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    pub id: PurgeId,
    pub scopes: Vec<Scope>,
    pub mode: Mode,
    pub minimum: Option<Minimum>,
    pub once: Option<OnceKey>,
}

/// How long, and how many, requests are known again. The log carries it: were it read from a configuration that has changed
/// since, a replay could take an acknowledged purge for one that was carried out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recall {
    /// How long a request is known again.
    pub life: Duration,
    /// How long from when it was sent a request's signature can be believed: it is known again for that long, however many
    /// there are.
    pub believed: Duration,
    /// How many purges can be asked about, how many signed requests be known again, and how many others.
    pub count_max: usize,
}

/// Purges that are committed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The log's own time, which never runs back: tables age by it and by no node's clock.
    pub at: Timestamp,
    /// Wall time at the node that appended it, as it was: to be compared with the clocks of others.
    pub wall: Timestamp,
    pub recall: Recall,
    pub purges: Vec<Purge>,
}

/// Signed requests that are to become part of one batch, each with its purge's place in it.
#[derive(Clone, Debug)]
pub struct Newcomers {
    pub wall: Timestamp,
    pub recall: Recall,
    pub names: Vec<(usize, String)>,
}

/// What somebody wants purged.
#[derive(Clone, Debug)]
pub struct Order {
    pub scopes: Vec<Scope>,
    pub mode: Mode,
    pub minimum: Option<Minimum>,
    pub once: Option<OnceKey>,
    pub way: PurgeWay,
    /// The name of the key or webhook that allowed it.
    pub by: String,
}

impl Recall {
    /// Forgets nothing.
    pub const ALL: Recall = Recall {
        life: Duration::MAX,
        believed: Duration::MAX,
        count_max: usize::MAX,
    };

    /// A webhook can be believed until its timestamp is as old as it may be; twice that, for clocks that are set back.
    pub fn of(config: &Config) -> Self {
        Recall {
            life: config.once_life.get(),
            believed: config.webhook_tolerance.get().saturating_mul(2),
            count_max: config.remembered_max,
        }
    }
}

impl PurgeId {
    /// A new one, ordered by time.
    pub fn unused() -> Self {
        PurgeId(Uuid::now_v7())
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        PurgeId(Uuid::from_bytes(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// As a caller writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(PurgeId)
    }
}

impl fmt::Display for PurgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
