//! What is enqueued for the SSD and not yet there, so that a removal is not taken for a loss.
//!
//! Invariant: of an enqueueing and a removal of one name, the later one counts here exactly if foyer met it
//! later too: both happen under the lock. It does not know whether a write succeeded.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

pub(super) struct UnderWay<K>(Mutex<HashMap<K, Fate>>);

/// Names of what was removed while it was under way.
pub(super) type Removed<K> = HashSet<K>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Wanted,
    Removed,
}

impl<K> Default for UnderWay<K> {
    fn default() -> Self {
        UnderWay(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> UnderWay<K> {
    pub(super) fn enqueue(&self, name: K, hand_over: impl FnOnce()) {
        self.enqueue_if(name, || true, hand_over);
    }

    /// Asks under the lock: who withdraws first and removes then is never too early for both.
    pub(super) fn enqueue_if(
        &self,
        name: K,
        is_wanted: impl FnOnce() -> bool,
        hand_over: impl FnOnce(),
    ) -> bool {
        let mut fates = self.0.lock();
        let wanted = is_wanted();
        if wanted {
            fates.insert(name, Fate::Wanted);
            hand_over();
        }
        wanted
    }

    pub(super) fn remove(&self, name: &K, delete: impl FnOnce()) {
        let mut fates = self.0.lock();
        if let Some(fate) = fates.get_mut(name) {
            *fate = Fate::Removed;
        }
        delete();
    }

    /// To be called when all that was enqueued has been waited for.
    pub(super) fn land(&self) -> Removed<K> {
        let landed = std::mem::take(&mut *self.0.lock());
        let removed = landed.into_iter().filter(|(_, fate)| *fate == Fate::Removed);
        removed.map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_removed_after_its_last_enqueueing_was_removed() {
        let names = UnderWay::default();
        names.remove(&"before", || {});
        for name in ["before", "kept", "removed", "again"] {
            names.enqueue(name, || {});
        }
        names.remove(&"removed", || {});
        names.remove(&"again", || {});
        names.enqueue("again", || {});
        assert_eq!(names.land(), HashSet::from(["removed"]));
        names.enqueue("removed", || {});
        assert_eq!(names.land(), HashSet::new());
    }
}
