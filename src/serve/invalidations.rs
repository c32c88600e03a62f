//! Counts what was invalidated, so that nothing the origin was asked for before is shared or stored after.
//!
//! Invariant: whoever noted the era of a URL before it was invalidated sees another era afterwards. URLs share
//! counters: a needless change of era costs a request to the origin, never a wrong answer. It does not know what is
//! stored.

use crate::key::KeyName;
use std::sync::atomic::{AtomicU64, Ordering};

/// A power of two.
const COUNTERS: usize = 4096;

pub(crate) struct Invalidations {
    counters: Box<[AtomicU64]>,
}

/// The time between two invalidations of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Era {
    pub(super) const fn from_number(number: u64) -> Self {
        Era(number)
    }

    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

impl Invalidations {
    pub(crate) fn new() -> Self {
        Invalidations {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(crate) fn era(&self, url: &KeyName) -> Era {
        Era(self.counter(url).load(Ordering::SeqCst))
    }

    /// To be called before what is stored is removed.
    pub(crate) fn begin_era(&self, url: &KeyName) {
        self.counter(url).fetch_add(1, Ordering::SeqCst);
    }

    fn counter(&self, url: &KeyName) -> &AtomicU64 {
        let [a, b, ..] = *url.as_bytes();
        &self.counters[usize::from(u16::from_le_bytes([a, b])) % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidation_changes_the_era_of_its_url_and_not_of_others() {
        let invalidations = Invalidations::new();
        let (one, other) = (KeyName::from_bytes([1; 16]), KeyName::from_bytes([2; 16]));
        let eras = [invalidations.era(&one), invalidations.era(&other)];
        invalidations.begin_era(&one);
        assert_ne!(invalidations.era(&one), eras[0]);
        assert_eq!(invalidations.era(&other), eras[1]);
    }
}
