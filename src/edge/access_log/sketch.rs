//! The heaviest names of a stream, in bounded memory.
//!
//! Invariant: for every name, `count <= true weight <= count + error`, and the error is at most twice the total by the
//! entries there may be (Misra and Gries; room is made for half of them at once, so that adding costs the same on average
//! however many names there are). It does not know what names are.

use std::collections::HashMap;

pub(super) struct Sketch {
    entries_max: usize,
    counts: HashMap<Box<[u8]>, u64>,
    total: u64,
    error: u64,
}

impl Sketch {
    /// Of at least two entries.
    pub(super) fn new(entries_max: usize) -> Self {
        Sketch {
            entries_max: entries_max.max(2),
            counts: HashMap::new(),
            total: 0,
            error: 0,
        }
    }

    pub(super) fn add(&mut self, name: &[u8], weight: u64) {
        if weight == 0 {
            return;
        }
        self.total += weight;
        if let Some(count) = self.counts.get_mut(name) {
            *count += weight;
            return;
        }
        if self.counts.len() >= self.entries_max {
            self.make_room();
        }
        self.counts.insert(name.into(), weight);
    }

    /// Takes from all what the one in the middle has, so that it and all below it go.
    fn make_room(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let taken = *counts.select_nth_unstable(middle).1;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
        self.error += taken;
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.counts.iter().map(|(name, count)| (&**name, *count))
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// By how much each count may be too small.
    pub(super) fn error(&self) -> u64 {
        self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_flood_of_names_drives_no_heavy_one_out() {
        let mut sketch = Sketch::new(100);
        for number in 0..100_000_u32 {
            sketch.add(&number.to_le_bytes(), 1);
            if number % 20 == 0 {
                sketch.add(b"heavy", 1);
            }
            assert!(sketch.counts.len() <= 100);
        }
        let heaviest = sketch.counts().max_by_key(|(_, count)| *count).unwrap();
        assert_eq!(heaviest.0, b"heavy");
        assert!((5_000 - sketch.error()..=5_000).contains(&heaviest.1));
    }

    proptest! {
        #[test]
        fn a_count_is_never_too_large_and_too_small_by_no_more_than_the_error(
            stream in prop::collection::vec((0u8..40, 0u64..100), 0..500), entries_max in 2usize..20,
        ) {
            let mut sketch = Sketch::new(entries_max);
            let mut truth: HashMap<u8, u64> = HashMap::new();
            for (name, weight) in stream {
                sketch.add(&[name], weight);
                *truth.entry(name).or_default() += weight;
                prop_assert!(sketch.counts.len() <= entries_max);
            }
            let total: u64 = truth.values().sum();
            prop_assert_eq!(sketch.total(), total);
            prop_assert!(sketch.error() <= total * 2 / entries_max as u64 + 1);
            for (name, weight) in truth {
                let count = sketch.counts.get(&[name][..]).copied().unwrap_or(0);
                prop_assert!(count <= weight && weight <= count + sketch.error());
            }
        }
    }
}
