//! What purges have told that origins have at least.
//!
//! Invariant: bounded; where there are too many the oldest half is forgotten. An entity tag is of one URL; a version is of
//! all that its purge covers. It does not know origins.

use super::order::Minimum;
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use crate::scope::{Place, Scope, ScopeName};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What an answer has to be at least, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    pub index: PurgeIndex,
    /// Wall time.
    pub at: Timestamp,
    pub minimum: Minimum,
}

pub(super) struct Minimums {
    by_name: RwLock<HashMap<ScopeName, Since>>,
    /// Apart, so that nobody waits who has none to look for.
    count: AtomicUsize,
    count_max: usize,
}

impl Minimums {
    pub(super) fn new(count_max: usize) -> Self {
        Minimums {
            by_name: RwLock::default(),
            count: AtomicUsize::new(0),
            count_max,
        }
    }

    /// A purge without one ends what an earlier purge of its scope told.
    pub(super) fn set(&self, scope: &Scope, since: Option<&Since>) {
        if since.is_none() && self.is_empty() {
            return;
        }
        let name = scope.name();
        let one_url = match scope {
            Scope::Url { host, path } => Scope::exact(host, path).name(),
            Scope::Exact { .. } => name,
            // They cover URLs that nobody has named, and end what is known of those by their index.
            Scope::Prefix { .. } | Scope::Tag(_) | Scope::Host(_) | Scope::All => return,
        };
        let mut by_name = self.by_name.write();
        by_name.remove(&name);
        by_name.remove(&one_url);
        if let Some(since) = since {
            let name = match since.minimum {
                Minimum::EntityTag(_) => one_url,
                Minimum::Version { .. } => name,
            };
            make_room(&mut by_name, self.count_max);
            by_name.insert(name, since.clone());
        }
        self.count.store(by_name.len(), Ordering::Release);
    }

    /// The latest for a URL.
    pub(super) fn of(&self, key_text: &str) -> Option<Since> {
        if self.is_empty() {
            return None;
        }
        let place = Place::of(key_text)?;
        let by_name = self.by_name.read();
        let names = [place.url(), place.exact()];
        let found = names.iter().filter_map(|name| by_name.get(name));
        found.max_by_key(|since| since.index).cloned()
    }

    /// Those of purges up to `floor`.
    pub(super) fn forget(&self, floor: PurgeIndex) {
        let mut by_name = self.by_name.write();
        by_name.retain(|_, since| since.index > floor);
        self.count.store(by_name.len(), Ordering::Release);
    }

    pub(super) fn contents(&self) -> Vec<(ScopeName, Since)> {
        let by_name = self.by_name.read();
        let pairs = by_name.iter().map(|(name, since)| (*name, since.clone()));
        pairs.collect()
    }

    pub(super) fn replace(&self, contents: Vec<(ScopeName, Since)>) {
        let mut by_name = self.by_name.write();
        *by_name = contents.into_iter().collect();
        self.count.store(by_name.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

/// In halves, so that room costs each of those who need it little.
fn make_room(by_name: &mut HashMap<ScopeName, Since>, count_max: usize) {
    if by_name.len() < count_max {
        return;
    }
    let mut ages: Vec<_> = by_name.iter().map(|(name, since)| (since.index, *name)).collect();
    ages.sort_unstable();
    for (_, name) in &ages[..ages.len().div_ceil(2)] {
        by_name.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(index: u64, minimum: Minimum) -> Since {
        Since {
            index: PurgeIndex::from_number(index),
            at: Timestamp::ZERO,
            minimum,
        }
    }

    fn version(index: u64) -> Since {
        let header = "x-version".to_owned();
        let minimum = Minimum::Version {
            header,
            at_least: index,
        };
        since(index, minimum)
    }

    fn index_for(minimums: &Minimums, key_text: &str) -> Option<u64> {
        Some(minimums.of(key_text)?.index.number())
    }

    #[test]
    fn a_version_is_of_every_query_of_a_path_and_an_entity_tag_of_one_url() {
        let minimums = Minimums::new(10);
        minimums.set(&Scope::url("h", "/a"), Some(&version(1)));
        assert_eq!(index_for(&minimums, "http://h/a?v=2"), Some(1));
        let tag = since(2, Minimum::EntityTag("\"7\"".into()));
        minimums.set(&Scope::url("h", "/a"), Some(&tag));
        assert_eq!(index_for(&minimums, "http://h/a"), Some(2));
        assert_eq!(index_for(&minimums, "http://h/a?v=2"), None);
    }

    #[test]
    fn a_later_purge_of_the_scope_knows_better() {
        let minimums = Minimums::new(10);
        let scope = Scope::url("h", "/a");
        minimums.set(&scope, Some(&since(1, Minimum::EntityTag("\"7\"".into()))));
        minimums.set(&scope, None);
        assert_eq!(index_for(&minimums, "http://h/a"), None);
    }

    #[test]
    fn the_oldest_give_way() {
        let minimums = Minimums::new(4);
        for index in 1..=5 {
            minimums.set(&Scope::url("h", &format!("/{index}")), Some(&version(index)));
        }
        let left: Vec<_> = (1..=5)
            .filter_map(|index| index_for(&minimums, &format!("http://h/{index}")))
            .collect();
        assert_eq!(left, [3, 4, 5]);
    }
}
