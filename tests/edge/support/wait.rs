//! Waiting for a condition, never for a time: under a deadline that only a defect reaches.

use aquatint::base::clock::monotonic;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Far beyond what a busy machine needs; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(5);

/// Looks until there is something to return.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = monotonic() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(monotonic() < deadline, "waited {PATIENCE:?} in vain: {what}");
        thread::sleep(POLL);
    }
}

/// Holds whoever passes until it is opened; then it stays open.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Passage>, Condvar)>);

#[derive(Default)]
struct Passage {
    open: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn closed() -> Gate {
        Gate::default()
    }

    pub(crate) fn open(&self) {
        let (passage, changed) = &*self.0;
        passage.lock().unwrap().open = true;
        changed.notify_all();
    }

    /// Waits until `count` are held.
    pub(crate) fn wait_for_held(&self, count: usize) {
        eventually("someone is held at the gate", || {
            (self.0.0.lock().unwrap().waiting >= count).then_some(())
        });
    }

    /// Says whether the gate opened before the patience ended.
    pub(crate) fn pass(&self) -> bool {
        let (passage, changed) = &*self.0;
        let mut passage = passage.lock().unwrap();
        passage.waiting += 1;
        let (mut passage, _) = changed
            .wait_timeout_while(passage, PATIENCE * 2, |passage| !passage.open)
            .unwrap();
        passage.waiting -= 1;
        passage.open
    }
}
