//! How fast requests may follow one another.
//!
//! Invariant: never faster than the rate, and what was missed is not made up for. It does not know requests.

use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Of a rate, so that a pace is a duration that can be waited for.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1_000_000.0;

pub(super) struct Pace(Option<Interval>);

/// A rate as it is written.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text
        .parse()
        .ok()
        .filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("a number from {RATE_MIN} to {RATE_MAX}"))
}

impl Pace {
    /// Without a rate nothing waits.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Pace(rate.map(|rate| {
            let mut interval = interval(Duration::from_secs_f64(rate.recip()));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Until the next may go.
    pub(super) async fn wait(&mut self) {
        if let Some(interval) = &mut self.0 {
            interval.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_not_exceeded() {
        let ten_and_the_first = async |within_ms| {
            let mut pace = Pace::new(Some(10.0));
            let waiting = async {
                for _ in 0..11 {
                    pace.wait().await;
                }
            };
            timeout(Duration::from_millis(within_ms), waiting).await.is_ok()
        };
        assert!(!ten_and_the_first(990).await);
        assert!(ten_and_the_first(1010).await);
        let mut free = Pace::new(None);
        assert!(timeout(Duration::ZERO, free.wait()).await.is_ok());
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        assert_eq!(rate("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "inf", "NaN", "x", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
