//! What a node that leaves gives to those who own its keys without it.
//!
//! The hottest first, then what else is in memory, up to a limit of bytes and time. Who has it already says so to the offer, so
//! that with replicas little is sent. Invariant: nothing that is another node's is given away. It does not know why the node
//! leaves.

use super::Shared;
use super::network::Home;
use super::queue::COPY_BYTES_MIN;
use crate::base::metrics::PushResult;
use crate::key::{CacheKey, KeyName};
use crate::store::Entry;
use futures::stream::{self, StreamExt};
use std::collections::HashSet;

/// Offers under way for each push that may be: most are declined.
const OFFERS_FOR_EACH_PUSH: usize = 4;

/// Keys that are to be given away.
struct Chosen {
    keys: Vec<(Home, CacheKey)>,
    names: HashSet<KeyName>,
    bytes_left: u64,
}

impl Shared {
    /// Returns when all is given that may be; to be stopped by a deadline.
    pub(super) async fn hand_over(&self, place: impl Fn(&CacheKey) -> Option<Home>) {
        let keys = self.chosen(place);
        let at_once = self.pushes_max * OFFERS_FOR_EACH_PUSH;
        let given = stream::iter(keys).for_each_concurrent(at_once, async |(home, key)| {
            if self.give(&home, &key).await {
                self.metrics.cluster_handed_over.inc();
            }
        });
        given.await;
    }

    fn chosen(&self, place: impl Fn(&CacheKey) -> Option<Home>) -> Vec<(Home, CacheKey)> {
        let mut chosen = Chosen {
            keys: Vec::new(),
            names: HashSet::new(),
            bytes_left: self.handover_bytes_max,
        };
        for (name, _) in self.heat.hottest() {
            if let Some(entry) = self.store.peek_named(name) {
                chosen.add(&entry, &place);
            }
        }
        self.store.each_in_memory(|entry| chosen.add(entry, &place));
        chosen.keys
    }

    /// Whether any of those who own it without this node has taken it.
    async fn give(&self, home: &Home, key: &CacheKey) -> bool {
        let mut is_given = false;
        for heir in &self.network.owners(home).heirs {
            is_given |= self.push(heir, key).await == Some(PushResult::Stored);
        }
        is_given
    }
}

impl Chosen {
    fn add(&mut self, entry: &Entry, place: impl Fn(&CacheKey) -> Option<Home>) {
        let bytes = entry.body.length.saturating_add(COPY_BYTES_MIN);
        if entry.is_kept_in_memory_alone() || bytes > self.bytes_left {
            return;
        }
        let key = CacheKey::of_url(&entry.key_text);
        let Some((key, home)) = key.and_then(|key| place(&key).map(|home| (key, home))) else {
            return;
        };
        if self.names.insert(key.name()) {
            self.bytes_left -= bytes;
            self.keys.push((home, key));
        }
    }
}
