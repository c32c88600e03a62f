//! Positions in the log of purges, and what is stored under them.
//!
//! Invariant: there is one order of all purges; whatever was asked of an origin at an epoch can be older than a purge of
//! a higher index, and of no other. It does not know what a purge covers.

use super::digest::Hex;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A purge's position in the one committed, totally ordered log; the first has 1 or more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PurgeIndex(u64);

/// The highest committed purge index known before a source's origin request was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// One life of the log. A log that begins anew knows nothing of what was purged before: nothing stored under another
/// incarnation may be served.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation([u8; 16]);

impl PurgeIndex {
    /// Before every purge.
    pub const NONE: PurgeIndex = PurgeIndex(0);

    pub const fn from_number(number: u64) -> Self {
        PurgeIndex(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    /// Whether it comes right after `earlier`.
    pub fn follows(self, earlier: PurgeIndex) -> bool {
        earlier.0.checked_add(1) == Some(self.0)
    }

    /// Whether what was asked for at `epoch` was asked for before this purge was known.
    pub const fn is_after(self, epoch: Epoch) -> bool {
        self.0 > epoch.0
    }
}

impl Epoch {
    /// Of what was stored under another incarnation, or by nobody knows whom: before every floor.
    pub const UNKNOWN: Epoch = Epoch(0);

    /// At which all purges up to `index` are known.
    pub const fn at(index: PurgeIndex) -> Self {
        Epoch(index.0)
    }

    pub const fn from_number(number: u64) -> Self {
        Epoch(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

impl Incarnation {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Incarnation(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for PurgeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}
