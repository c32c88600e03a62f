//! Keys of other nodes that are hot: answered here for a while, and counted for their owners.
//!
//! Invariant: never more than so many, and none for longer than its owner's word holds; as long as there is none, a hit costs
//! one look at a number. It does not know what is stored of them.

use super::network::Home;
use crate::base::clock;
use crate::base::metrics::{HotCopyResult, Metrics};
use crate::cluster::config::Config;
use crate::key::KeyName;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(super) struct HotKeys {
    /// How many there are, beside them to be read fast.
    count: AtomicUsize,
    keys: ArcSwap<HashMap<KeyName, Arc<HotKey>>>,
    /// One changes them at a time.
    changing: Mutex<()>,
    most: usize,
    hot_for: Duration,
    epoch: Instant,
    metrics: Arc<Metrics>,
}

struct HotKey {
    home: Home,
    /// In milliseconds since the set's epoch.
    until_ms: AtomicU64,
    /// Not told yet.
    hits: AtomicU64,
}

/// Whether a hit was one on a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Yes,
    /// It is no hot key of another node.
    No,
}

impl HotKeys {
    pub(super) fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        HotKeys {
            count: AtomicUsize::new(0),
            keys: ArcSwap::default(),
            changing: Mutex::default(),
            most: config.hot_keys_max,
            hot_for: config.hot_for.get(),
            epoch: clock::monotonic(),
            metrics,
        }
    }

    /// A key's owner has called it hot.
    pub(super) fn hear(&self, home: &Home, now: Instant) {
        let until_ms = self.millis(now + self.hot_for);
        if let Some(key) = self.keys.load().get(&home.url) {
            key.until_ms.fetch_max(until_ms, Ordering::Relaxed);
            return;
        }
        let _one_at_a_time = self.changing.lock();
        let mut keys = HashMap::clone(&self.keys.load());
        if keys.len() >= self.most {
            keys.retain(|_, key| !self.has_ended(key, now));
        }
        if keys.len() >= self.most {
            self.metrics.cluster_hot_copies[HotCopyResult::Refused].inc();
            return;
        }
        let key = HotKey {
            home: home.clone(),
            until_ms: AtomicU64::new(until_ms),
            hits: AtomicU64::new(0),
        };
        keys.insert(home.url, Arc::new(key));
        self.put(keys);
    }

    /// What has become of a copy that was to be kept, if the key is one of another node's that is hot.
    pub(super) fn tell(&self, url: &KeyName, result: HotCopyResult) {
        if self.is_hot(url, clock::monotonic()) {
            self.metrics.cluster_hot_copies[result].inc();
        }
    }

    pub(super) fn is_hot(&self, url: &KeyName, now: Instant) -> bool {
        let is_hot = |key: &Arc<HotKey>| !self.has_ended(key, now);
        !self.is_empty() && self.keys.load().get(url).is_some_and(is_hot)
    }

    /// Counts a hit for the key's owner.
    pub(super) fn count(&self, url: &KeyName) -> Counted {
        if self.is_empty() {
            return Counted::No;
        }
        match self.keys.load().get(url) {
            Some(key) => {
                key.hits.fetch_add(1, Ordering::Relaxed);
                Counted::Yes
            }
            None => Counted::No,
        }
    }

    /// Hits that nobody has been told of; keys whose end has come, and of which nothing is left to be told, go.
    pub(super) fn take_hits(&self, now: Instant) -> Vec<(Home, u64)> {
        if self.is_empty() {
            return Vec::new();
        }
        let _one_at_a_time = self.changing.lock();
        let mut keys = HashMap::clone(&self.keys.load());
        let before = keys.len();
        keys.retain(|_, key| !self.has_ended(key, now) || key.hits.load(Ordering::Relaxed) > 0);
        let taken = keys
            .values()
            .map(|key| (key.home.clone(), key.hits.swap(0, Ordering::Relaxed)));
        let taken = taken.filter(|(_, hits)| *hits > 0).collect();
        if keys.len() < before {
            self.put(keys);
        }
        taken
    }

    /// They could not be told: the next time.
    pub(super) fn give_back(&self, url: &KeyName, hits: u64) {
        if let Some(key) = self.keys.load().get(url) {
            key.hits.fetch_add(hits, Ordering::Relaxed);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&self, keys: HashMap<KeyName, Arc<HotKey>>) {
        self.count.store(keys.len(), Ordering::Relaxed);
        self.keys.store(Arc::new(keys));
    }

    fn has_ended(&self, key: &HotKey, now: Instant) -> bool {
        key.until_ms.load(Ordering::Relaxed) <= self.millis(now)
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(most: usize) -> HotKeys {
        let config = Config {
            hot_keys_max: most,
            ..Config::default()
        };
        HotKeys::new(&config, Arc::new(Metrics::new()))
    }

    fn home(number: u8) -> Home {
        Home {
            url: KeyName::from_bytes([number; 16]),
            pool: "default".into(),
        }
    }

    #[test]
    fn a_key_is_hot_until_its_owners_word_ends_and_longer_when_it_is_said_again() {
        let (keys, key, now) = (keys(2), home(1), clock::monotonic());
        let (half, whole) = (keys.hot_for / 2, keys.hot_for);
        assert!(!keys.is_hot(&key.url, now));
        keys.hear(&key, now);
        assert!(keys.is_hot(&key.url, now + half));
        assert!(!keys.is_hot(&key.url, now + whole));
        keys.hear(&key, now + half);
        assert!(keys.is_hot(&key.url, now + whole));
        assert!(!keys.is_hot(&key.url, now + half + whole));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn no_more_keys_are_hot_than_may_be_and_those_that_ended_make_room() {
        let (keys, now) = (keys(2), clock::monotonic());
        (0..10).for_each(|number| keys.hear(&home(number), now));
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.metrics.cluster_hot_copies[HotCopyResult::Refused].get(), 8);
        assert!(!keys.is_hot(&home(9).url, now));
        let later = now + keys.hot_for;
        keys.hear(&home(9), later);
        assert!(keys.is_hot(&home(9).url, later));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn every_hit_on_a_hot_key_is_told_once_even_after_its_end() {
        let (keys, now) = (keys(2), clock::monotonic());
        assert_eq!(keys.count(&home(1).url), Counted::No);
        keys.hear(&home(1), now);
        (0..5).for_each(|_| assert_eq!(keys.count(&home(1).url), Counted::Yes));
        assert_eq!(keys.count(&home(2).url), Counted::No);
        let later = now + keys.hot_for;
        assert_eq!(keys.take_hits(later), [(home(1), 5)]);
        keys.give_back(&home(1).url, 5);
        assert_eq!(keys.take_hits(later), [(home(1), 5)]);
        assert_eq!(keys.take_hits(later), []);
        assert_eq!(keys.len(), 0);
    }
}
