//! Whose turn it is: a cluster is several processes, and few clusters at once are as many as a machine bears without its nodes
//! being late for each other.
//!
//! Invariant: a turn ends with its cluster. It does not know other runs of this binary.

use parking_lot::{Condvar, Mutex};
use std::thread::available_parallelism;

/// That keep one cluster busy.
const PROCESSORS: usize = 2;

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_UP: Condvar = Condvar::new();

pub(crate) struct Turn(());

impl Turn {
    /// Waits for it.
    pub(crate) fn take() -> Turn {
        let most = available_parallelism().map_or(1, |processors| processors.get() / PROCESSORS);
        let mut taken = TAKEN.lock();
        GIVEN_UP.wait_while(&mut taken, |taken| *taken >= most.max(1));
        *taken += 1;
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock() -= 1;
        GIVEN_UP.notify_one();
    }
}
