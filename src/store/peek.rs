//! Looking without taking: what the cache holds, and in which tier.
//!
//! Invariant: nothing is counted as a hit or a miss, brought into memory, or written to the SSD. That memory's eviction
//! takes a look for a use can not be helped: foyer has no other. It does not know who looks.

use super::{Body, Entry, Store};
use crate::base::metrics::Tier;
use crate::key::{CacheKey, KeyName};
use std::sync::Arc;

impl Store {
    /// The entry of `key`, and where it is.
    pub async fn peek_entry(&self, key: &CacheKey) -> Option<(Arc<Entry>, Tier)> {
        let shared = &self.0.shared;
        let is_of_key = |entry: &Entry| *entry.key_text == *key.text();
        if let Some(entry) = shared.memory.entry(key.name()) {
            return is_of_key(&entry).then_some((entry, Tier::Memory));
        }
        // A fault is for those to report who need the entry.
        let loaded = shared.readable_ssd()?.load_entry(key.name()).await.ok()??;
        is_of_key(&loaded.value).then(|| (Arc::new(loaded.value), Tier::Ssd))
    }

    /// The entry of this name, if memory holds it.
    pub fn peek_named(&self, name: KeyName) -> Option<Arc<Entry>> {
        self.0.shared.memory.entry(name)
    }

    /// Where all of a body is, as far as the SSD's index tells; in memory only if all of it is.
    pub fn peek_body(&self, body: &Body) -> Option<Tier> {
        let shared = &self.0.shared;
        if body.parts().all(|id| shared.memory.contains_part(&id)) {
            return Some(Tier::Memory);
        }
        self.holds_body(body).then_some(Tier::Ssd)
    }
}
