//! What a node gives as its weight and its load, as they change.
//!
//! Invariant: both change in steps, so that gossip and rings are left alone by what matters to nobody. It does not know who is
//! told.

use std::time::{Duration, Instant};

/// In how many steps a node comes to its full weight.
const STEPS: u32 = 10;

/// The weight of a node that comes: a tenth at first, and a tenth more with each tenth of the span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ramp {
    full: u32,
    span: Duration,
    /// `None`: it is over.
    began: Option<Instant>,
}

impl Ramp {
    pub(super) fn new(full: u32, span: Duration, now: Instant) -> Self {
        Ramp {
            full,
            span,
            began: Some(now),
        }
    }

    /// There is nobody whose keys would come to this node all at once.
    pub(super) fn skip(&mut self) {
        self.began = None;
    }

    /// A weight of at least 1: a node that comes owns something.
    pub(super) fn weight(&self, now: Instant) -> u32 {
        let step = self.began.map_or(STEPS, |began| {
            let passed = now.saturating_duration_since(began).as_nanos();
            let step = (passed * u128::from(STEPS)).checked_div(self.span.as_nanos());
            step.map_or(STEPS, |step| step.min(u128::from(STEPS - 1)) as u32 + 1)
        });
        (self.full * step / STEPS).max(1)
    }
}

/// The load that was last given, until it has changed by more than a quarter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounded(u32);

impl Rounded {
    pub(super) fn told(&mut self, load: u32) -> u32 {
        let tolerated = (self.0 / 4).max(1);
        let idle_again = load == 0 && self.0 != 0;
        if load.abs_diff(self.0) > tolerated || idle_again {
            self.0 = two_digits(load);
        }
        self.0
    }
}

/// With the two highest bits of a number alone.
fn two_digits(number: u32) -> u32 {
    let dropped = (u32::BITS - number.leading_zeros()).saturating_sub(2);
    number >> dropped << dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    #[test]
    fn a_node_comes_to_its_weight_in_ten_steps() {
        let (start, span) = (clock::monotonic(), Duration::from_secs(60));
        let ramp = Ramp::new(100, span, start);
        let weights: Vec<u32> = (0..=11)
            .map(|step| ramp.weight(start + span / 10 * step))
            .collect();
        assert_eq!(weights, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 100, 100]);
    }

    #[test]
    fn without_a_span_or_anybody_else_the_weight_is_full_at_once() {
        let start = clock::monotonic();
        assert_eq!(Ramp::new(7, Duration::ZERO, start).weight(start), 7);
        let mut ramp = Ramp::new(7, Duration::from_secs(60), start);
        assert_eq!(ramp.weight(start), 1);
        ramp.skip();
        assert_eq!(ramp.weight(start), 7);
    }

    #[test]
    fn a_load_that_wavers_is_given_once() {
        let mut rounded = Rounded::default();
        let told: Vec<u32> = [100, 101, 97, 104, 95, 110].map(|load| rounded.told(load)).into();
        assert_eq!(told, [96; 6]);
        assert_eq!(rounded.told(0), 0);
    }

    proptest! {
        #[test]
        fn a_load_is_given_within_a_half_of_itself(loads in proptest::collection::vec(0u32.., 1..50)) {
            let mut rounded = Rounded::default();
            for load in loads {
                let told = rounded.told(load);
                prop_assert!(told.abs_diff(load) <= (load / 2).max(1), "{load}: {told}");
            }
        }
    }
}
