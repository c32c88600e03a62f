//! The only place that reads a clock.
//!
//! Pure modules take a [`Timestamp`]; adapters ask here. Wall time decides freshness, because it has to
//! survive a restart; monotonic time measures durations and deadlines; time since boot measures leases, because it goes on
//! while the machine sleeps.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point of wall time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every other timestamp: what is fresh until then is stale.
    pub const ZERO: Timestamp = Timestamp(0);

    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Timestamp(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to here, zero when `earlier` is later: a clock may have been set back.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub const fn plus(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_add(millis(span)))
    }

    pub const fn minus(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_sub(millis(span)))
    }

    pub fn as_system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0)
    }
}

/// A point of time since the machine was started, in nanoseconds; time that it slept counts. Nobody sets this clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

impl BootTime {
    /// Before every other.
    pub const ZERO: BootTime = BootTime(0);

    pub const fn from_nanos(nanos: u64) -> Self {
        BootTime(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    pub const fn plus(self, span: Duration) -> Self {
        let nanos = span.as_nanos();
        let nanos = if nanos > u64::MAX as u128 {
            u64::MAX
        } else {
            nanos as u64
        };
        BootTime(self.0.saturating_add(nanos))
    }

    /// The time from `earlier` to here, zero when `earlier` is later.
    pub const fn since(self, earlier: BootTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Timestamp(time.duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

const fn millis(span: Duration) -> u64 {
    let millis = span.as_millis();
    if millis > u64::MAX as u128 {
        u64::MAX
    } else {
        millis as u64
    }
}

/// Wall time, now.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Monotonic time, now: for durations and deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Time since boot, now: for leases.
pub fn boottime() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    let span = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
    BootTime::ZERO.plus(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_yields_no_negative_age() {
        let later = Timestamp::from_secs(10);
        assert_eq!(Timestamp::from_secs(9).since(later), Duration::ZERO);
    }

    #[test]
    fn adding_a_span_beyond_the_end_of_time_saturates() {
        assert_eq!(Timestamp::from_secs(1).plus(Duration::MAX).as_millis(), u64::MAX);
    }
}
