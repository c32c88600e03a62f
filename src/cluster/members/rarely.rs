//! Something that may happen very often and is to be said now and then.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Rarely {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Rarely {
    /// It has happened: how often since it was last said, if it is to be said now.
    pub(super) fn happened(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        let is_due = self
            .said_at
            .is_none_or(|said| now.saturating_duration_since(said) >= PAUSE);
        is_due.then(|| {
            self.said_at = Some(now);
            std::mem::take(&mut self.unsaid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    #[test]
    fn a_flood_is_said_once_a_minute_with_its_number() {
        let (mut rarely, start) = (Rarely::default(), clock::monotonic());
        assert_eq!(rarely.happened(start), Some(1));
        for _ in 0..9 {
            assert_eq!(rarely.happened(start + PAUSE / 2), None);
        }
        assert_eq!(rarely.happened(start + PAUSE), Some(10));
    }
}
