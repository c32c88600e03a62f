//! Whether a stored response answers a request: the request's directives against the response's times (RFC 9111
//! sections 4, 4.2.4 and 5.2.1).
//!
//! Invariant: no directive of a request makes a response usable that the response itself forbids to use. It does not
//! know what is stored.

use super::cache_control::{Argument, split};
use super::field;
use super::lifetime::Lifetime;
use crate::base::clock::Timestamp;
use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;

/// What a request says to caches on its way. Most say nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestControl {
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<Duration>,
    pub min_fresh: Option<Duration>,
    /// [`Duration::MAX`] for any staleness.
    pub max_stale: Option<Duration>,
}

/// What a stored response is good for at a moment, for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It answers.
    Serve,
    /// It answers, stale, while one request refreshes it.
    ServeAndRefresh,
    /// The origin has to be asked: it is stale.
    Stale,
    /// The origin has to be asked: the request wants it, though the response is fresh.
    Unwanted,
}

/// How an origin failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with an error, or too late.
    Error,
    /// It could not be reached, or its connection ended before its answer.
    Disconnected,
}

impl RequestControl {
    /// Reads `Cache-Control`, and `Pragma` where that is absent (RFC 9111 section 5.4).
    pub fn of(headers: &HeaderMap) -> Self {
        let mut control = RequestControl::default();
        if headers.contains_key(header::CACHE_CONTROL) {
            for directive in field::list(headers, header::CACHE_CONTROL) {
                let (name, argument) = split(directive);
                control.hear(name, argument);
            }
        } else if headers.contains_key(header::PRAGMA) {
            let mut words = field::list(headers, header::PRAGMA);
            control.no_cache = words.any(|word| word.eq_ignore_ascii_case(b"no-cache"));
        }
        control
    }

    /// What of it a request says that is made on behalf of others too, as `Cache-Control`: nobody gets an older response for it.
    /// `no-store` has no say: such requests are made for nobody else.
    pub fn demands(&self) -> Option<HeaderValue> {
        let seconds = |name, span: Option<Duration>| span.map(|span| format!("{name}={}", span.as_secs()));
        let said = [
            self.no_cache.then(|| "no-cache".to_owned()),
            seconds("max-age", self.max_age),
            seconds("min-fresh", self.min_fresh),
        ];
        let said: Vec<_> = said.into_iter().flatten().collect();
        let line = (!said.is_empty()).then(|| said.join(", "))?;
        Some(HeaderValue::try_from(line).expect("directives are visible ASCII"))
    }

    /// Unlike a response's, a request's directive that can not be read is as one that is not known: nothing hangs on
    /// it but the client's own wish. Of several values the most demanding counts.
    fn hear(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-cache") {
            self.no_cache = true;
        } else if is("no-store") {
            self.no_store = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age = least(self.max_age, argument.seconds());
        } else if is("min-fresh") {
            self.min_fresh = self.min_fresh.max(argument.seconds());
        } else if is("max-stale") {
            let any = (argument == Argument::Absent).then_some(Duration::MAX);
            self.max_stale = least(self.max_stale, any.or_else(|| argument.seconds()));
        }
    }

    /// Sections 5.2.1.1, 5.2.1.3 and 5.2.1.4.
    fn accepts_fresh(&self, age: Duration, left: Duration) -> bool {
        !self.no_cache
            && self.max_age.is_none_or(|most| age <= most)
            && self.min_fresh.is_none_or(|least| left >= least)
    }

    /// Section 5.2.1.2: a `max-stale` is a limit, too, where the response itself would allow more.
    fn bears(&self, staleness: Duration) -> bool {
        self.max_stale.is_none_or(|most| staleness <= most)
    }

    /// Section 5.2.1.2.
    fn tolerates(&self, staleness: Duration) -> bool {
        self.max_stale.is_some_and(|most| staleness <= most)
    }

    /// Section 5.2.1.1: with `max-age` a stale response is unwanted unless `max-stale` allows it; with `min-fresh` it
    /// always is.
    fn accepts_stale(&self, age: Duration, staleness: Duration) -> bool {
        let is_young_enough = |most| age <= most && self.tolerates(staleness);
        !self.no_cache && self.min_fresh.is_none() && self.max_age.is_none_or(is_young_enough)
    }
}

impl Lifetime {
    pub fn reuse(&self, now: Timestamp, control: &RequestControl) -> Reuse {
        let age = self.age(now);
        if self.is_fresh(now) {
            return match control.accepts_fresh(age, self.fresh_until.since(now)) {
                true => Reuse::Serve,
                false => Reuse::Unwanted,
            };
        }
        let staleness = now.since(self.fresh_until);
        if !control.accepts_stale(age, staleness) {
            Reuse::Stale
        } else if self.is_within(self.stale.while_revalidate, now) && control.bears(staleness) {
            Reuse::ServeAndRefresh
        } else if self.stale.on_request && control.tolerates(staleness) {
            Reuse::Serve
        } else {
            Reuse::Stale
        }
    }

    /// Whether it may answer in place of an origin that failed. One that can not be reached has failed, too.
    pub fn stands_in(&self, now: Timestamp, failure: Failure) -> bool {
        let window = match failure {
            Failure::Error => self.stale.if_error,
            Failure::Disconnected => self.stale.if_error.max(self.stale.on_disconnect),
        };
        self.is_fresh(now) || self.is_within(window, now)
    }
}

fn least(known: Option<Duration>, said: Option<Duration>) -> Option<Duration> {
    match (known, said) {
        (Some(known), Some(said)) => Some(known.min(said)),
        _ => known.or(said),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifetime::StaleWindows;
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn read(lines: &[(&'static str, &str)]) -> RequestControl {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        RequestControl::of(&headers)
    }

    fn control(line: &str) -> RequestControl {
        read(&[("cache-control", line)])
    }

    /// Born at 100 s and fresh until 160 s.
    fn lifetime(stale: StaleWindows) -> Lifetime {
        Lifetime::without_stale(Timestamp::from_secs(100), Timestamp::from_secs(160)).with_stale(stale)
    }

    const ON_REQUEST: StaleWindows = StaleWindows {
        on_request: true,
        ..StaleWindows::NONE
    };

    /// Refreshed in the background for 20 s after 160 s.
    const REFRESHED: StaleWindows = StaleWindows {
        while_revalidate: 20,
        ..ON_REQUEST
    };

    fn reuse(stale: StaleWindows, seconds: u64, line: &str) -> Reuse {
        lifetime(stale).reuse(Timestamp::from_secs(seconds), &control(line))
    }

    /// RFC 9111 section 4, RFC 5861 section 3.
    #[test]
    fn a_request_that_says_nothing_gets_what_the_response_allows() {
        assert_eq!(read(&[]), RequestControl::default());
        let none = RequestControl::default();
        let at = |seconds| lifetime(REFRESHED).reuse(Timestamp::from_secs(seconds), &none);
        assert_eq!(at(159), Reuse::Serve);
        assert_eq!(at(160), Reuse::ServeAndRefresh);
        assert_eq!(at(180), Reuse::Stale);
    }

    /// RFC 9111 section 5.2, and RFC 9110 section 5.3 for several lines.
    #[test]
    fn every_directive_is_heard_in_any_case_and_on_any_line() {
        let expected = RequestControl {
            no_cache: true,
            no_store: true,
            only_if_cached: true,
            max_age: Some(SECOND),
            min_fresh: Some(2 * SECOND),
            max_stale: Some(3 * SECOND),
        };
        let lines = [
            (
                "cache-control",
                "No-Cache,no-store, ONLY-IF-CACHED, unknown=\"min-fresh=9\"",
            ),
            ("cache-control", "max-age=1, min-fresh=\"2\", Max-Stale=3"),
        ];
        assert_eq!(read(&lines), expected);
    }

    /// RFC 9111 section 5.2.1.2: without an argument any staleness is accepted.
    #[test]
    fn max_stale_without_an_argument_has_no_limit() {
        assert_eq!(control("max-stale").max_stale, Some(Duration::MAX));
        assert_eq!(control("max-stale, max-stale=5").max_stale, Some(5 * SECOND));
    }

    #[test]
    fn what_can_not_be_read_is_not_heard() {
        for line in [
            "max-age",
            "max-age=x",
            "max-age =1",
            "max-age= 1",
            "max-stale=",
            "max-stale =5",
            "min-fresh=-1",
        ] {
            assert_eq!(control(line), RequestControl::default(), "{line}");
        }
    }

    #[test]
    fn of_several_values_the_most_demanding_counts() {
        let control =
            control("max-age=9, max-age=5, max-age=7, min-fresh=3, min-fresh=8, max-stale=4, max-stale=2");
        assert_eq!(control.max_age, Some(5 * SECOND));
        assert_eq!(control.min_fresh, Some(8 * SECOND));
        assert_eq!(control.max_stale, Some(2 * SECOND));
    }

    /// RFC 9111 section 5.4.
    #[test]
    fn pragma_is_heard_only_where_cache_control_is_absent() {
        assert!(read(&[("pragma", "foo, No-Cache")]).no_cache);
        assert!(!read(&[("pragma", "foo")]).no_cache);
        assert!(!read(&[("pragma", "no-cache"), ("cache-control", "max-age=1")]).no_cache);
        assert!(!read(&[("pragma", "no-cache"), ("cache-control", "")]).no_cache);
    }

    /// RFC 9111 section 5.2.1.4.
    #[test]
    fn no_cache_makes_a_fresh_response_unwanted_and_a_stale_one_no_better() {
        assert_eq!(reuse(REFRESHED, 100, "no-cache"), Reuse::Unwanted);
        assert_eq!(reuse(REFRESHED, 165, "no-cache"), Reuse::Stale);
        assert_eq!(reuse(REFRESHED, 165, "no-cache, max-stale"), Reuse::Stale);
    }

    /// RFC 9111 section 5.2.1.1.
    #[test]
    fn a_response_older_than_max_age_is_unwanted() {
        assert_eq!(reuse(ON_REQUEST, 110, "max-age=10"), Reuse::Serve);
        assert_eq!(reuse(ON_REQUEST, 111, "max-age=10"), Reuse::Unwanted);
        let soon = Timestamp::from_millis(100_001);
        let reload = lifetime(ON_REQUEST).reuse(soon, &control("max-age=0"));
        assert_eq!(reload, Reuse::Unwanted);
    }

    /// RFC 9111 section 5.2.1.3.
    #[test]
    fn a_response_with_less_freshness_left_than_min_fresh_is_unwanted() {
        assert_eq!(reuse(ON_REQUEST, 150, "min-fresh=10"), Reuse::Serve);
        assert_eq!(reuse(ON_REQUEST, 151, "min-fresh=10"), Reuse::Unwanted);
        assert_eq!(reuse(REFRESHED, 165, "min-fresh=0"), Reuse::Stale);
        assert_eq!(reuse(ON_REQUEST, 165, "min-fresh=1, max-stale"), Reuse::Stale);
    }

    /// RFC 9111 section 5.2.1.2.
    #[test]
    fn max_stale_allows_as_much_staleness_as_it_says() {
        assert_eq!(reuse(ON_REQUEST, 170, "max-stale=10"), Reuse::Serve);
        assert_eq!(reuse(ON_REQUEST, 171, "max-stale=10"), Reuse::Stale);
        assert_eq!(reuse(ON_REQUEST, 99_999, "max-stale"), Reuse::Serve);
    }

    /// RFC 9111 sections 5.2.2.2, 5.2.2.8 and 5.2.2.10.
    #[test]
    fn max_stale_allows_nothing_that_the_response_forbids() {
        assert_eq!(reuse(StaleWindows::NONE, 161, "max-stale"), Reuse::Stale);
    }

    /// RFC 9111 section 5.2.1.1.
    #[test]
    fn with_max_age_a_stale_response_needs_both_its_age_and_its_staleness_allowed() {
        assert_eq!(reuse(ON_REQUEST, 165, "max-age=0, max-stale"), Reuse::Stale);
        assert_eq!(reuse(ON_REQUEST, 165, "max-age=65, max-stale=5"), Reuse::Serve);
        assert_eq!(reuse(ON_REQUEST, 165, "max-age=65, max-stale=4"), Reuse::Stale);
        assert_eq!(reuse(ON_REQUEST, 165, "max-age=65"), Reuse::Stale);
    }

    /// RFC 5861 section 3, RFC 9111 section 5.2.1.1.
    #[test]
    fn a_response_is_refreshed_behind_only_where_the_request_takes_a_stale_one() {
        assert_eq!(reuse(REFRESHED, 165, "max-age=999"), Reuse::Stale);
        assert_eq!(
            reuse(REFRESHED, 165, "max-age=999, max-stale=9"),
            Reuse::ServeAndRefresh
        );
        assert_eq!(reuse(REFRESHED, 165, "max-stale=5"), Reuse::ServeAndRefresh);
        assert_eq!(
            reuse(REFRESHED, 165, "max-stale=4"),
            Reuse::Stale,
            "section 5.2.1.2"
        );
        assert_eq!(reuse(REFRESHED, 165, "no-store"), Reuse::ServeAndRefresh);
    }

    /// RFC 5861 section 4, RFC 9111 section 4.2.4.
    #[test]
    fn it_stands_in_for_an_origin_while_the_window_for_its_failure_lasts() {
        let stale = StaleWindows {
            if_error: 10,
            on_disconnect: 20,
            ..StaleWindows::NONE
        };
        let stands_in =
            |stale, seconds, failure| lifetime(stale).stands_in(Timestamp::from_secs(seconds), failure);
        assert!(stands_in(stale, 169, Failure::Error));
        assert!(!stands_in(stale, 170, Failure::Error));
        assert!(stands_in(stale, 179, Failure::Disconnected));
        assert!(!stands_in(stale, 180, Failure::Disconnected));
        let only_errors = StaleWindows {
            on_disconnect: 0,
            ..stale
        };
        assert!(stands_in(only_errors, 169, Failure::Disconnected));
        assert!(stands_in(StaleWindows::NONE, 159, Failure::Error));
        assert!(!stands_in(ON_REQUEST, 160, Failure::Disconnected));
    }

    fn spans() -> impl Strategy<Value = Option<Duration>> {
        let seconds = (0u64..300).prop_map(Duration::from_secs);
        prop_oneof![Just(None), seconds.prop_map(Some), Just(Some(Duration::MAX))]
    }

    fn controls() -> impl Strategy<Value = RequestControl> {
        (prop::bool::weighted(0.1), spans(), spans(), spans()).prop_map(
            |(no_cache, max_age, min_fresh, max_stale)| RequestControl {
                no_cache,
                max_age,
                min_fresh,
                max_stale,
                ..RequestControl::default()
            },
        )
    }

    fn lifetimes() -> impl Strategy<Value = Lifetime> {
        let windows = (0u32..99, 0u32..99, 0u32..99, any::<bool>());
        (0u64..300, 0u64..300, windows).prop_map(|(born_at, fresh_until, windows)| {
            let (while_revalidate, if_error, on_disconnect, on_request) = windows;
            let stale = StaleWindows {
                while_revalidate,
                if_error,
                on_disconnect,
                on_request,
            };
            let [born_at, fresh_until] = [born_at, fresh_until].map(Timestamp::from_secs);
            Lifetime::without_stale(born_at, fresh_until).with_stale(stale)
        })
    }

    /// One that demands all that either of the two does.
    fn stricter(one: &RequestControl, other: &RequestControl) -> RequestControl {
        RequestControl {
            no_cache: one.no_cache || other.no_cache,
            max_age: least(one.max_age, other.max_age),
            min_fresh: one.min_fresh.max(other.min_fresh),
            max_stale: one.max_stale.min(other.max_stale),
            ..*one
        }
    }

    fn answers(lifetime: &Lifetime, seconds: u64, control: &RequestControl) -> bool {
        let reuse = lifetime.reuse(Timestamp::from_secs(seconds), control);
        matches!(reuse, Reuse::Serve | Reuse::ServeAndRefresh)
    }

    proptest! {
        #[test]
        fn no_later_moment_makes_an_entry_more_usable(
            lifetime in lifetimes(), control in controls(), now in 0u64..500, passed in 0u64..500,
        ) {
            let later = now + passed;
            prop_assert!(answers(&lifetime, now, &control) || !answers(&lifetime, later, &control));
            for failure in [Failure::Error, Failure::Disconnected] {
                let stands_in = |seconds| lifetime.stands_in(Timestamp::from_secs(seconds), failure);
                prop_assert!(stands_in(now) || !stands_in(later));
            }
        }

        #[test]
        fn what_is_demanded_for_all_makes_no_entry_usable_that_was_not(
            lifetime in lifetimes(), control in controls(), now in 0u64..500,
        ) {
            let demanded = control.demands().map_or_else(RequestControl::default, |line| {
                RequestControl::of(&HeaderMap::from_iter([(header::CACHE_CONTROL, line)]))
            });
            prop_assert_eq!((demanded.no_cache, demanded.only_if_cached), (control.no_cache, false));
            prop_assert!(answers(&lifetime, now, &RequestControl::default()) || !answers(&lifetime, now, &demanded));
        }

        #[test]
        fn no_stricter_request_makes_an_entry_usable(
            lifetime in lifetimes(), one in controls(), other in controls(), now in 0u64..500,
        ) {
            let strict = stricter(&one, &other);
            prop_assert!(answers(&lifetime, now, &one) || !answers(&lifetime, now, &strict));
        }

        /// RFC 9111 section 4.2.4.
        #[test]
        fn no_request_makes_a_forbidden_entry_usable(control in controls(), now in 160u64..500) {
            prop_assert!(!answers(&lifetime(StaleWindows::NONE), now, &control));
        }

        #[test]
        fn no_bytes_make_reading_panic(
            lines in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (is_pragma, line) in lines {
                let name = if is_pragma { header::PRAGMA } else { header::CACHE_CONTROL };
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(name, value);
                }
            }
            RequestControl::of(&headers);
        }
    }
}
