//! The times of a stored response: how old it is, until when it is fresh, and how long after that it may still be
//! served, and to whom (RFC 9111 sections 4.2 and 4.2.4, RFC 5861).
//!
//! Invariant: no later moment makes a response fresher. A million of these stay in memory, so that each is compact.
//! It does not know where the times come from, nor what a request asks for.

use crate::base::clock::Timestamp;
use std::time::Duration;

/// The times of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Receipt less the corrected initial age (RFC 9111 section 4.2.3).
    pub born_at: Timestamp,
    pub fresh_until: Timestamp,
    pub stale: StaleWindows,
}

/// How long past its freshness a response may be served, in whole seconds, and on what occasion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleWindows {
    /// While one request refreshes it (RFC 5861 section 3).
    pub while_revalidate: u32,
    /// When the origin fails in any way (RFC 5861 section 4).
    pub if_error: u32,
    /// When the origin can not be reached (RFC 9111 section 4.2.4).
    pub on_disconnect: u32,
    /// Whether a request may allow it by `max-stale`, for as long as it says (RFC 9111 section 5.2.1.2).
    pub on_request: bool,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    StaleWhileRevalidate,
    StaleIfError,
    Expired,
}

impl Lifetime {
    /// Of a response that is never served stale.
    pub const fn without_stale(born_at: Timestamp, fresh_until: Timestamp) -> Self {
        Lifetime {
            born_at,
            fresh_until,
            stale: StaleWindows::NONE,
        }
    }

    #[must_use]
    pub const fn with_stale(self, stale: StaleWindows) -> Self {
        Lifetime { stale, ..self }
    }

    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.born_at)
    }

    /// One that was never fresh does not become so by a clock that is set back.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fresh_until && self.born_at < self.fresh_until
    }

    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if self.is_fresh(now) {
            Freshness::Fresh
        } else if self.is_within(self.stale.while_revalidate, now) {
            Freshness::StaleWhileRevalidate
        } else if self.is_within(self.stale.if_error, now) {
            Freshness::StaleIfError
        } else {
            Freshness::Expired
        }
    }

    /// Whole seconds of freshness left, negative from the moment it is stale: the `ttl` of RFC 9211 section 2.4.
    pub fn ttl(&self, now: Timestamp) -> i64 {
        let left = self.fresh_until.as_millis() as i128 - now.as_millis() as i128;
        let seconds = left.div_euclid(1000) as i64;
        if left > 0 { seconds } else { seconds.min(-1) }
    }

    /// From then on it may not be served without the origin's word, unless a request allows any staleness.
    pub fn gone_at(&self) -> Timestamp {
        self.fresh_until.plus(seconds(self.stale.longest()))
    }

    /// Whether `now` is no later than `window` seconds past freshness.
    pub(super) fn is_within(&self, window: u32, now: Timestamp) -> bool {
        window > 0 && now < self.fresh_until.plus(seconds(window))
    }
}

impl StaleWindows {
    pub const NONE: StaleWindows = StaleWindows {
        while_revalidate: 0,
        if_error: 0,
        on_disconnect: 0,
        on_request: false,
    };

    /// In whole seconds.
    pub fn longest(&self) -> u32 {
        self.while_revalidate.max(self.if_error).max(self.on_disconnect)
    }
}

fn seconds(window: u32) -> Duration {
    Duration::from_secs(window.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOWS: StaleWindows = StaleWindows {
        while_revalidate: 10,
        if_error: 40,
        on_disconnect: 50,
        on_request: true,
    };

    fn lifetime() -> Lifetime {
        Lifetime::without_stale(Timestamp::from_secs(100), Timestamp::from_secs(160)).with_stale(WINDOWS)
    }

    #[test]
    fn a_lifetime_has_32_bytes() {
        assert_eq!(size_of::<Lifetime>(), 32);
    }

    /// RFC 9111 section 4.2, RFC 5861 sections 3 and 4, and RFC 9211 section 2.4 for `ttl`.
    #[test]
    fn a_stored_response_passes_from_fresh_through_its_windows_to_expired() {
        let lifetime = lifetime();
        let at = |millis| lifetime.freshness(Timestamp::from_millis(millis));
        assert_eq!(at(159_999), Freshness::Fresh);
        assert_eq!(at(160_000), Freshness::StaleWhileRevalidate);
        assert_eq!(at(170_000), Freshness::StaleIfError);
        assert_eq!(at(200_000), Freshness::Expired);
        assert_eq!(lifetime.age(Timestamp::from_secs(130)), Duration::from_secs(30));
        assert_eq!(lifetime.age(Timestamp::from_secs(90)), Duration::ZERO);
        assert_eq!(lifetime.ttl(Timestamp::from_millis(158_500)), 1);
        assert_eq!(lifetime.ttl(Timestamp::from_millis(160_001)), -1);
    }

    #[test]
    fn it_is_gone_when_its_longest_window_ends() {
        let gone_at = |stale| lifetime().with_stale(stale).gone_at().as_secs();
        assert_eq!(gone_at(StaleWindows::NONE), 160);
        assert_eq!(gone_at(WINDOWS), 210);
        let refreshed_longest = StaleWindows {
            while_revalidate: 99,
            ..WINDOWS
        };
        assert_eq!(gone_at(refreshed_longest), 259);
        let error_longest = StaleWindows {
            if_error: u32::MAX,
            ..WINDOWS
        };
        assert_eq!(gone_at(error_longest), 160 + u64::from(u32::MAX));
    }

    #[test]
    fn what_was_never_fresh_is_not_when_the_clock_is_set_back() {
        let born_at = Timestamp::from_secs(100);
        let lifetime = Lifetime::without_stale(born_at, born_at);
        assert_eq!(lifetime.freshness(Timestamp::from_secs(50)), Freshness::Expired);
    }

    proptest! {
        #[test]
        fn no_later_moment_makes_it_fresher(
            times in prop::array::uniform2(0u64..400), windows in prop::array::uniform2(0u32..100), now in 0u64..600,
            later in 0u64..600,
        ) {
            let [born_at, fresh_until] = times.map(Timestamp::from_secs);
            let stale = StaleWindows { while_revalidate: windows[0], if_error: windows[1], ..StaleWindows::NONE };
            let lifetime = Lifetime { born_at, fresh_until, stale };
            let at = |seconds| lifetime.freshness(Timestamp::from_secs(seconds)) as u8;
            prop_assert!(at(now) <= at(now + later));
        }
    }
}
