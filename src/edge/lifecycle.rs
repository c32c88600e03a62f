//! Whether the edge wants new requests.
//!
//! Invariant: draining is final. Knows nothing of what drains.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
pub(crate) struct Lifecycle {
    draining: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Draining,
}

impl Lifecycle {
    pub(crate) fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            Phase::Draining
        } else {
            Phase::Serving
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
