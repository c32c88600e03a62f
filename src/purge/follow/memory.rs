//! Which log the cache belongs to, noted with it, so that a follower can start while the voter is away.
//!
//! It is the witness of [`crate::purge::log`]: a node that kept a log of its own, then followed another and takes up its own
//! again is found out by it. Invariant: the note is of this process alone while it runs. It does not know who follows.

use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::purge::log::LogError;
use crate::purge::log::mark::{self, Mark};
use crate::purge::log::witness_file;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub(super) struct Memory(File);

impl Drop for Memory {
    /// At once, also where a child process has the file yet.
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of the cache goes only with the process");
        }
    }
}

/// What was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) incarnation: Incarnation,
    pub(super) applied: PurgeIndex,
}

impl Memory {
    /// Blocking.
    pub(super) fn open(cache: &Path) -> Result<(Self, Option<Known>), LogError> {
        let file = witness_file(cache)?;
        let mut bytes = [0; mark::BYTES];
        let read = file.read_exact_at(&mut bytes, 0);
        let mark = read.ok().and_then(|()| Mark::from_bytes(&bytes));
        Ok((Memory(file), mark.map(Known::from)))
    }

    /// So that it outlives the process. Blocking.
    pub(super) fn note(&self, known: Known) -> io::Result<()> {
        self.0.write_all_at(&Mark::from(known).to_bytes(), 0)
    }
}

/// Marks count as the raft's log does, from 0.
impl From<Mark> for Known {
    fn from(mark: Mark) -> Self {
        Known {
            incarnation: Incarnation::from_bytes(mark.incarnation),
            applied: PurgeIndex::from_number(mark.index.saturating_add(1)),
        }
    }
}

impl From<Known> for Mark {
    fn from(known: Known) -> Self {
        Mark {
            incarnation: *known.incarnation.as_bytes(),
            index: known.applied.number().saturating_sub(1),
        }
    }
}
