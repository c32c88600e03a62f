//! The lease that a follower holds itself.
//!
//! Invariants: it counts from when its renewal was sent, and is effective only once its barrier is applied; what was dropped
//! does not come back. Pure. It does not know who grants it.

use super::Grant;
use crate::base::clock::BootTime;
use crate::base::epoch::PurgeIndex;

/// Of one process.
#[derive(Debug, Default)]
pub(in crate::purge) struct Held {
    until: BootTime,
    /// It was granted, and is not effective yet.
    next: Option<Next>,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    barrier: PurgeIndex,
    until: BootTime,
}

impl Held {
    /// A renewal that was sent at `sent` was granted.
    pub(in crate::purge) fn granted(&mut self, sent: BootTime, grant: Grant, applied: PurgeIndex) {
        // The one before, if it waits yet, waits for no less.
        self.next = Some(Next {
            barrier: grant.barrier,
            until: sent.plus(grant.lease),
        });
        self.applied(applied);
    }

    /// So much is applied, and seen by all threads.
    pub(in crate::purge) fn applied(&mut self, applied: PurgeIndex) {
        if let Some(next) = self.next
            && applied >= next.barrier
        {
            self.until = self.until.max(next.until);
            self.next = None;
        }
    }

    /// Until when it may serve what it has stored.
    pub(in crate::purge) fn until(&self) -> BootTime {
        self.until
    }

    pub(in crate::purge) fn release(&mut self) {
        *self = Held::default();
    }
}
