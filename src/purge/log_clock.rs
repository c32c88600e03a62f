//! The time that entries of the log bear: wall time, kept from running away.
//!
//! What the log has told of time stays: its clock never runs back, on any node and after any restart. A wall clock that is
//! years ahead for a moment would have made it stand still for years, and with it all that ages by it.
//!
//! Invariant: between two entries of one process the time told grows by at most [`PACE_MAX`] times what has passed, and from
//! what the log told before to the first of a process by at most [`FIRST_MAX`]: a machine may boot with a clock that nobody
//! has set yet. Only a log that has told nothing believes what it hears first. It does not know who reads a clock.

use crate::base::clock::Timestamp;
use std::time::{Duration, Instant};

/// More than 1, so that it catches up with a wall clock that was put right or a machine that slept; not much more, so that
/// what a wrong clock has led to passes in as long as it was wrong.
const PACE_MAX: u32 = 2;

/// Nobody knows how long the machine was off. What ages by a log that lags stays longer, and is served no longer for it.
const FIRST_MAX: Duration = Duration::from_secs(86_400);

/// It is no news that wall clocks are slewed.
const AHEAD_TOLD: Duration = Duration::from_secs(60);

pub(super) struct LogClock {
    /// What other processes told.
    before: Timestamp,
    /// What was told last, and when.
    last: Option<(Timestamp, Instant)>,
    is_told: bool,
}

impl LogClock {
    /// That goes on where the log stopped.
    pub(super) fn after(before: Timestamp) -> Self {
        LogClock {
            before,
            last: None,
            is_told: false,
        }
    }

    /// The time of an entry that is handed to the log now.
    pub(super) fn stamp(&mut self, wall: Timestamp, now: Instant) -> Timestamp {
        let at = match self.last {
            None if self.before == Timestamp::ZERO => wall,
            None => wall.max(self.before).min(self.before.plus(FIRST_MAX)),
            Some((last, then)) => wall.max(last).min(last.plus((now - then) * PACE_MAX)),
        };
        self.last = Some((at, now));
        self.tell(wall, at);
        at
    }

    fn tell(&mut self, wall: Timestamp, at: Timestamp) {
        let ahead = wall.since(at);
        if ahead > AHEAD_TOLD && !self.is_told {
            tracing::warn!(
                ahead_s = ahead.as_secs(),
                "the wall clock jumped ahead: the log of purges follows slowly, and what ages by it stays longer"
            );
        }
        self.is_told = ahead > AHEAD_TOLD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_wall_clock_that_jumps_for_a_moment_moves_the_log_by_no_more_than_twice_the_moment() {
        let (start, now) = (Timestamp::from_secs(1_000_000_000), clock::monotonic());
        let mut log = LogClock::after(Timestamp::ZERO);
        assert_eq!(log.stamp(start, now), start);
        assert_eq!(log.stamp(start.plus(SECOND), now + SECOND), start.plus(SECOND));
        let wrong = log.stamp(start.plus(YEAR), now + 2 * SECOND);
        assert_eq!(wrong, start.plus(3 * SECOND));
        assert!(log.is_told);
        let right = log.stamp(start.plus(4 * SECOND), now + 4 * SECOND);
        assert_eq!(right, start.plus(4 * SECOND));
        assert!(!log.is_told);
    }

    #[test]
    fn the_log_stands_still_while_the_wall_clock_is_behind_and_then_follows() {
        let (start, now) = (Timestamp::from_secs(1_000_000_000), clock::monotonic());
        let mut log = LogClock::after(Timestamp::ZERO);
        log.stamp(start, now);
        assert_eq!(log.stamp(start.minus(YEAR), now + 5 * SECOND), start);
        let after = log.stamp(start.plus(10 * SECOND), now + 10 * SECOND);
        assert_eq!(after, start.plus(10 * SECOND));
    }

    #[test]
    fn only_a_log_that_has_told_nothing_believes_the_first_entry_of_a_process() {
        let (before, now) = (Timestamp::from_secs(1_000_000_000), clock::monotonic());
        for (wall, expected) in [
            (before.plus(SECOND), before.plus(SECOND)),
            (before.minus(YEAR), before),
            (before.plus(YEAR), before.plus(FIRST_MAX)),
        ] {
            assert_eq!(LogClock::after(before).stamp(wall, now), expected);
        }
        let wall = Timestamp::from_secs(7);
        assert_eq!(LogClock::after(Timestamp::ZERO).stamp(wall, now), wall);
    }

    #[test]
    fn a_machine_that_was_off_for_long_is_followed_from_a_day_on() {
        let (before, now) = (Timestamp::from_secs(1_000_000_000), clock::monotonic());
        let mut log = LogClock::after(before);
        let first = log.stamp(before.plus(YEAR), now);
        let second = log.stamp(before.plus(YEAR + SECOND), now + SECOND);
        assert_eq!(second, first.plus(2 * SECOND));
    }
}
