//! Places for connections that still have to prove who they are.
//!
//! Invariant: no more than so many are held; when one more comes, the one that is held longest is taken from its holder. A proof
//! takes a few round trips: whoever wants to keep nodes out has to open connections faster than that, and not only to keep them.
//! It does not know connections.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

#[derive(Debug)]
pub(super) struct Unproven {
    places_max: usize,
    /// The one that is held longest first.
    held: Mutex<VecDeque<Arc<Notify>>>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Notify>,
    of: Arc<Unproven>,
}

impl Unproven {
    pub(super) fn new(places_max: usize) -> Self {
        Unproven {
            places_max,
            held: Mutex::default(),
        }
    }

    pub(super) fn places_max(&self) -> usize {
        self.places_max
    }

    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let taken = Arc::new(Notify::new());
        let mut held = self.held.lock();
        if held.len() >= self.places_max
            && let Some(longest) = held.pop_front()
        {
            longest.notify_one();
        }
        held.push_back(taken.clone());
        Place {
            taken,
            of: self.clone(),
        }
    }
}

impl Place {
    /// Returns when a newer one needs it.
    pub(super) async fn taken(&self) {
        self.taken.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.held.lock().retain(|held| !Arc::ptr_eq(held, &self.taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn who_comes_last_takes_the_place_that_is_held_longest() {
        let unproven = Arc::new(Unproven::new(2));
        let [first, second, third] = std::array::from_fn(|_| unproven.enter());
        assert!(first.taken().now_or_never().is_some());
        assert!(second.taken().now_or_never().is_none());
        assert!(third.taken().now_or_never().is_none());
    }

    #[test]
    fn a_place_that_is_given_back_is_nobodys() {
        let unproven = Arc::new(Unproven::new(1));
        drop(unproven.enter());
        let second = unproven.enter();
        assert!(second.taken().now_or_never().is_none());
        assert_eq!(unproven.held.lock().len(), 1);
    }
}
