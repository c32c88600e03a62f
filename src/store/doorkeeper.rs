//! Remembers which keys were stored before, long after memory forgot them.
//!
//! A fixed array of fingerprints: an image that comes back after its eviction is recognised as worth an SSD
//! write. It may forget (another key took the place) and, one time in 65,535, mistake; either costs only one
//! write too few or too many. It does not know why it is asked.

use crate::key::KeyName;
use std::sync::atomic::{AtomicU16, Ordering};

/// A power of two; two bytes each.
const FINGERPRINTS: usize = 1 << 20;

pub(super) struct Doorkeeper {
    fingerprints: Box<[AtomicU16]>,
}

impl Doorkeeper {
    pub(super) fn new() -> Self {
        Doorkeeper {
            fingerprints: (0..FINGERPRINTS).map(|_| AtomicU16::new(0)).collect(),
        }
    }

    /// Whether `name` was met before; it is remembered from now on.
    pub(super) fn has_met(&self, name: KeyName) -> bool {
        let (place, fingerprint) = place_and_fingerprint(name);
        self.fingerprints[place].swap(fingerprint, Ordering::Relaxed) == fingerprint
    }
}

/// From other bytes of the name than the memory tier's hash uses; zero marks an empty place.
fn place_and_fingerprint(name: KeyName) -> (usize, u16) {
    let [.., a, b, c, d, e, f] = *name.as_bytes();
    let place = u32::from_le_bytes([a, b, c, d]) as usize % FINGERPRINTS;
    (place, u16::from_le_bytes([e, f]).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;

    fn name(number: u32) -> KeyName {
        let digest = Digest::of(&number.to_le_bytes());
        KeyName::from_bytes(*digest.as_bytes().first_chunk().unwrap())
    }

    #[test]
    fn a_key_is_known_from_its_second_time_on() {
        let doorkeeper = Doorkeeper::new();
        assert!(!doorkeeper.has_met(name(1)));
        assert!(doorkeeper.has_met(name(1)));
        assert!(doorkeeper.has_met(name(1)));
    }

    #[test]
    fn strangers_are_almost_never_taken_for_known() {
        let doorkeeper = Doorkeeper::new();
        let mistaken = (0..100_000)
            .filter(|&number| doorkeeper.has_met(name(number)))
            .count();
        assert!(mistaken < 20, "{mistaken}");
    }

    #[test]
    fn most_keys_are_still_known_after_a_hundred_thousand_others() {
        let doorkeeper = Doorkeeper::new();
        (0..1000).for_each(|number| _ = doorkeeper.has_met(name(number)));
        (1000..101_000).for_each(|number| _ = doorkeeper.has_met(name(number)));
        let known = (0..1000)
            .filter(|&number| doorkeeper.has_met(name(number)))
            .count();
        assert!(known > 850, "{known}");
    }
}
