//! Entries between the writer's queue and the disk, so that one that is removed meanwhile is not written.
//!
//! Invariant: an entry is here from before it is queued until the writer is done with it, unless it was withdrawn. It
//! does not know the queue.

use super::entry::Entry;
use crate::key::KeyName;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The newest of each name.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<KeyName, Arc<Entry>>>);

impl Waiting {
    /// One that waits already gives way: the newer one tells all that it could.
    pub(super) fn add(&self, name: KeyName, entry: &Arc<Entry>) {
        let older = self.0.lock().insert(name, Arc::clone(entry));
        if let Some(older) = older.filter(|older| !Arc::ptr_eq(older, entry)) {
            older.withdraw();
        }
    }

    pub(super) fn withdraw(&self, name: KeyName) {
        if let Some(entry) = self.0.lock().remove(&name) {
            entry.withdraw();
        }
    }

    pub(super) fn strike(&self, written: Option<&(KeyName, Arc<Entry>)>) {
        let Some((name, entry)) = written else { return };
        let mut waiting = self.0.lock();
        if waiting.get(name).is_some_and(|newest| Arc::ptr_eq(newest, entry)) {
            waiting.remove(name);
        }
    }
}
