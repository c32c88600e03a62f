//! How often somebody may order: so many at once, so many each second after that.
//!
//! Invariant: within any span of `s` seconds at most `burst + rate * s` orders pass, and one that is refused counts for
//! nothing. What an order covers does not matter. It is the generic cell rate algorithm: all that is kept is when a caller
//! that never paused would have been due. It knows no clock.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

pub(super) struct Bucket {
    /// Between two orders of somebody who never pauses.
    interval: Duration,
    /// How far ahead of its time an order may come.
    ahead_max: Duration,
    /// When the next one would be due.
    due: Mutex<Option<Instant>>,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Bucket {
            interval,
            ahead_max: interval * burst.saturating_sub(1),
            due: Mutex::default(),
        }
    }

    /// Lets one pass, or says when to come again.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut due = self.due.lock();
        let at = due.map_or(now, |due| due.max(now));
        let ahead = at.duration_since(now);
        if ahead > self.ahead_max {
            return Err(ahead - self.ahead_max);
        }
        *due = Some(at + self.interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_at_once_and_then_one_for_each_interval() {
        let (bucket, start) = (Bucket::new(10, 5), clock::monotonic());
        for _ in 0..5 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(100);
        assert_eq!(bucket.take(later), Ok(()));
        assert!(bucket.take(later).is_err());
        let much_later = start + Duration::from_secs(60);
        let passed = (0..50).filter(|_| bucket.take(much_later).is_ok()).count();
        assert_eq!(passed, 5, "a pause saves up no more than a burst");
    }

    proptest! {
        #[test]
        fn no_more_pass_than_burst_and_rate_allow_and_who_waits_as_told_passes(
            rate in 1_u32..100, burst in 1_u32..20, pauses in proptest::collection::vec(0_u64..50, 1..200),
        ) {
            let (bucket, start) = (Bucket::new(rate, burst), clock::monotonic());
            let (mut now, mut passed) = (start, 0_u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                match bucket.take(now) {
                    Ok(()) => passed += 1,
                    Err(wait) => {
                        prop_assert!(bucket.take(now + wait - Duration::from_nanos(1)).is_err());
                        now += wait;
                        prop_assert_eq!(bucket.take(now), Ok(()));
                        passed += 1;
                    }
                }
                let allowed = f64::from(burst) + f64::from(rate) * (now - start).as_secs_f64() + 1e-3;
                prop_assert!(f64::from(passed) <= allowed, "{} of {}", passed, allowed);
            }
        }
    }
}
