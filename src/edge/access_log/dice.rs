//! Chance, for shares of requests.
//!
//! Nobody can tell beforehand what it comes to without knowing its seed; it is not for secrets. Xorshift (Marsaglia 2003).

use std::hash::{BuildHasher, RandomState};

pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        // Of zero nothing but zero follows.
        Dice(RandomState::new().hash_one(0) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// `share` is from 0 to 1, of which each holds exactly.
    pub(super) fn falls_within(&mut self, share: f64) -> bool {
        share >= 1.0 || (self.next() as f64) < share * u64::MAX as f64
    }
}
