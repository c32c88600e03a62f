//! How much a node wants a key: `-log2(u) / weight`, in whole numbers.
//!
//! `u` is a hash of node and key, even in (0, 1]. Where each node draws so, the least draw is a node's with a probability of
//! its weight's share of all weights, and a node's draw depends on no other node (weighted rendezvous hashing, Schindelhauer
//! and Schomaker 2005). Invariant: only integer arithmetic of fixed width, so that every processor, compiler and release
//! finds the same order: a float's logarithm is its library's own, and may differ in the last bit. It does not know members.

use rendezvous_hash::NodeHasher;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Larger weights count as this one: [`Score`] multiplies distance by weight within 64 bits. The configuration's most is less.
pub(super) const SCORED_WEIGHT_MAX: u32 = 1 << 16;

/// Bits after the point of a logarithm.
const FRACTION_BITS: u32 = 40;

/// The logarithm's table has `2^SEGMENT_BITS` segments; between its points it is a chord, which is off by less than 3e-6.
const SEGMENT_BITS: u32 = 8;
const SEGMENTS: usize = 1 << SEGMENT_BITS;

/// Bits of a hash's position within a segment that count.
const WITHIN_BITS: u32 = 24;

/// `log2(1 + i / SEGMENTS)`.
static LOGARITHMS: [u64; SEGMENTS + 1] = logarithms();

/// The less, the better. Between two scores it is decided without division, and so without rounding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    /// `-log2(u)`, of 47 bits at most.
    distance: u64,
    /// From 1 to [`SCORED_WEIGHT_MAX`].
    weight: u32,
}

impl Score {
    pub(super) const WORST: Score = Score {
        distance: 64 << FRACTION_BITS,
        weight: 1,
    };

    pub(super) fn new(hash: u64, weight: u32) -> Self {
        let weight = weight.clamp(1, SCORED_WEIGHT_MAX);
        let distance = (64 << FRACTION_BITS) - log2(hash | 1);
        Score { distance, weight }
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        let (own, others) = (
            self.distance * u64::from(other.weight),
            other.distance * u64::from(self.weight),
        );
        own.cmp(&others)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Score {}

/// Of a number that is not 0.
fn log2(number: u64) -> u64 {
    let zeros = number.leading_zeros();
    let after_first_one = (number << zeros) << 1;
    let segment = (after_first_one >> (64 - SEGMENT_BITS)) as usize;
    let within = (after_first_one << SEGMENT_BITS) >> (64 - WITHIN_BITS);
    let (from, to) = (LOGARITHMS[segment], LOGARITHMS[segment + 1]);
    (u64::from(63 - zeros) << FRACTION_BITS) + from + (((to - from) * within) >> WITHIN_BITS)
}

const fn logarithms() -> [u64; SEGMENTS + 1] {
    let mut table = [0; SEGMENTS + 1];
    let mut index = 0;
    while index <= SEGMENTS {
        table[index] = log2_bit_by_bit(SEGMENTS + index);
        index += 1;
    }
    table
}

/// `log2(numerator / SEGMENTS)`, of a quotient from 1 to 2: squared, it passes 2 where the next bit is a 1.
const fn log2_bit_by_bit(numerator: usize) -> u64 {
    if numerator == 2 * SEGMENTS {
        return 1 << FRACTION_BITS;
    }
    const POINT: u32 = 62;
    let mut quotient = (numerator as u128) << (POINT - SEGMENT_BITS);
    let mut result = 0;
    let mut bit = FRACTION_BITS;
    while bit > 0 {
        bit -= 1;
        quotient = (quotient * quotient) >> POINT;
        if quotient >= 2 << POINT {
            quotient >>= 1;
            result |= 1 << bit;
        }
    }
    result
}

/// A node's name, or a key's, as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seed(u64);

impl Seed {
    /// A change here moves all keys.
    pub(super) fn of_node(id: &str) -> Self {
        let hash = blake3::derive_key("aquatint 2026 ring node", id.as_bytes());
        Seed(u64::from_le_bytes(*hash.first_chunk().expect("32 bytes hold 8")))
    }

    /// A key's name is a hash already.
    pub(super) fn of_key(name: &[u8; 16]) -> Self {
        let [low, high] = [0, 8].map(|start| {
            let bytes = name[start..].first_chunk().expect("16 bytes hold 8, twice");
            u64::from_le_bytes(*bytes)
        });
        Seed(low ^ high.rotate_left(32))
    }
}

/// Not derived: what a derived one writes differs between processors.
impl Hash for Seed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Hashes by our own arithmetic: the standard library's hasher may change with a release.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FixedHasher;

impl NodeHasher<Seed> for FixedHasher {
    fn hash<T: Hash>(&self, node: &Seed, item: &T) -> u64 {
        let mut mixed = Mixed(node.0);
        item.hash(&mut mixed);
        mixed.finish()
    }
}

struct Mixed(u64);

impl Hasher for Mixed {
    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The last step of SplitMix64 (Steele, Lea, Flood 2014): each bit of the input changes each bit of the output in half of
/// all cases, and no two inputs have one output.
pub(in crate::cluster) const fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn as_float(fixed: u64) -> f64 {
        fixed as f64 / (1u64 << FRACTION_BITS) as f64
    }

    #[test]
    fn the_logarithm_is_one() {
        for number in [
            1,
            2,
            3,
            255,
            256,
            257,
            1 << 40,
            (1 << 40) + 1,
            u64::MAX / 3,
            u64::MAX,
        ] {
            let exact = (number as f64).log2();
            assert!((as_float(log2(number)) - exact).abs() < 4e-6, "{number}");
        }
        assert_eq!(log2(1), 0);
        assert_eq!(log2(1 << 63), 63 << FRACTION_BITS);
    }

    /// From a computation with 60 digits.
    #[test]
    fn the_table_has_the_logarithms_to_their_last_bit() {
        assert_eq!(
            [0, 1, 100, 255, 256].map(|index| LOGARITHMS[index]),
            [
                0,
                6_184_257_239,
                523_074_439_069,
                1_096_410_434_270,
                1 << FRACTION_BITS,
            ]
        );
    }

    #[test]
    fn the_mixer_is_the_published_one() {
        assert_eq!(mix(1), 0x5692_161d_100b_05e5);
    }

    proptest! {
        #[test]
        fn a_larger_number_has_no_smaller_logarithm(one in 1u64.., other in 1u64..) {
            let (less, more) = (one.min(other), one.max(other));
            prop_assert!(log2(less) <= log2(more));
        }

        #[test]
        fn a_score_gets_no_worse_with_a_larger_weight(hash: u64, weight in 1..SCORED_WEIGHT_MAX) {
            prop_assert!(Score::new(hash, weight + 1) <= Score::new(hash, weight));
            prop_assert!(Score::new(hash, weight) <= Score::WORST);
        }
    }
}
