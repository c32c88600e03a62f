//! Whether a response may be stored, and until when it may be served (RFC 9111 sections 3 and 4.2).
//!
//! Invariant: what a response forbids by `no-store` or `private` no policy allows. The origin's own
//! lifetimes count from the response's birth, as its `Age` and `Date` tell it; those of the policy count from
//! its receipt. It does not know the store, nor whether a purge has come since.

use super::cache_control::CacheControl;
use super::field;
use super::targeted::{self, Control};
use super::vary::{Vary, VaryPolicy};
use crate::base::clock::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;

pub use super::lifetime::{Freshness, Lifetime, StaleWindows};

/// When the origin was asked, and when its header section was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub requested_at: Timestamp,
    pub received_at: Timestamp,
    pub initial_age: InitialAge,
}

/// How it is known how old a response is when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialAge {
    /// By its `Date` and `Age`, and by how long it took.
    ByHeader,
    /// It was told, and it counts as received so long before: `Date` is of a clock that need not agree with this one.
    Told,
}

/// Inclusive bounds of a set of statuses: `StatusRange(404, 404)`, `StatusRange(500, 599)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

/// A route's word on lifetimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachePolicy {
    /// For a response that says nothing of its freshness, where RFC 9110 section 15.1 allows to guess one.
    pub default_ttl: Option<Duration>,
    /// Wins over the origin's own lifetime; the narrowest range wins; zero refuses to store.
    pub by_status: Vec<(StatusRange, Duration)>,
    /// For a 404, 410 or 451 that says nothing of its freshness.
    pub negative_ttl: Duration,
    /// The least lifetime of a 200 under a versioned URL.
    pub versioned_ttl: Duration,
    /// Where the response does not say.
    pub stale_while_revalidate: Duration,
    /// Where the response does not say.
    pub stale_if_error: Duration,
    /// How long a response that does not forbid it may stand in for an origin that can not be reached.
    pub stale_on_disconnect: Duration,
    pub heuristic: Heuristic,
    pub set_cookie: SetCookie,
    /// Targeted fields to look for, first come first (RFC 9213).
    pub targets: Vec<HeaderName>,
    pub vary: VaryPolicy,
}

/// How fresh a response is guessed to be that says nothing but when it was last changed (RFC 9111 section 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heuristic {
    /// Of the time since `Last-Modified`; zero guesses nothing.
    pub percent: u32,
    pub max: Duration,
}

/// What becomes of a response that sets a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetCookie {
    /// It is not stored, and shared with nobody.
    #[default]
    Refuse,
    /// It is stored without its cookie, which nobody gets.
    Strip,
    /// It is stored with its cookie, for everybody.
    Store,
}

/// Whether the URL names one version, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioned {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Store(Lifetime),
    Refuse(Refusal),
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoStore,
    Private,
    Authorization,
    SetCookie,
    Vary,
    Status,
    NoFreshness,
    Partial,
}

/// A response and what it answers.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    pub request_headers: &'a HeaderMap,
    pub exchange: Exchange,
    pub versioned: Versioned,
}

impl Refusal {
    /// A token, as the `detail` of Cache-Status.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::NoStore => "no-store",
            Refusal::Private => "private",
            Refusal::Authorization => "authorization",
            Refusal::SetCookie => "set-cookie",
            Refusal::Vary => "vary",
            Refusal::Status => "status",
            Refusal::NoFreshness => "no-freshness",
            Refusal::Partial => "partial",
        }
    }
}

impl CachePolicy {
    fn of_status(&self, status: StatusCode) -> Option<Duration> {
        let status = status.as_u16();
        self.by_status
            .iter()
            .filter(|(range, _)| (range.0..=range.1).contains(&status))
            .min_by_key(|(range, _)| range.1 - range.0)
            .map(|(_, ttl)| *ttl)
    }

    /// For a response that says nothing of its freshness, as the route would have it.
    fn unsaid(&self, status: StatusCode, control: &CacheControl) -> Option<Duration> {
        match status.as_u16() {
            404 | 410 | 451 => Some(self.negative_ttl),
            _ if may_be_guessed_at(status, control) => self.default_ttl,
            _ => None,
        }
    }
}

impl Heuristic {
    /// A part of the time for which the response had not changed when it was sent; `None` when that is not known, or
    /// not in the past (RFC 9111 section 4.2.2).
    fn guess(&self, facts: &Facts<'_>) -> Option<Duration> {
        let changed_at = field::only_date(facts.headers, header::LAST_MODIFIED)?;
        let unchanged = sent_at(facts).since(changed_at);
        let guessed = (unchanged.saturating_mul(self.percent) / 100).min(self.max);
        (guessed > Duration::ZERO).then_some(guessed)
    }
}

/// By the clock that `Last-Modified` is told by, where there is a `Date`.
fn sent_at(facts: &Facts<'_>) -> Timestamp {
    let Exchange {
        received_at,
        initial_age,
        ..
    } = facts.exchange;
    match (field::only_date(facts.headers, header::DATE), initial_age) {
        (None, _) => received_at,
        (Some(date), InitialAge::ByHeader) => date.min(received_at),
        (Some(date), InitialAge::Told) => date,
    }
}

/// Whether, and until when, a response may be stored. Pure: equal facts get equal verdicts.
pub fn judge(facts: &Facts<'_>, policy: &CachePolicy) -> Verdict {
    let control = targeted::control(facts.headers, &policy.targets);
    if let Some(refusal) = refusal(facts, &control.directives, policy) {
        return Verdict::Refuse(refusal);
    }
    let born_at = born_at(facts);
    let known = fresh_until(facts, &control, policy, born_at);
    // Section 3: what neither says how long it is fresh nor may be guessed at is not stored at all.
    if known.is_none() && !may_be_guessed_at(facts.status, &control.directives) {
        return Verdict::Refuse(Refusal::NoFreshness);
    }
    let stale = stale_windows(&control.directives, policy, known);
    let lifetime = Lifetime::without_stale(born_at, known.unwrap_or(born_at)).with_stale(stale);
    let serves = lifetime.gone_at() > facts.exchange.received_at;
    if serves || can_be_revalidated(facts) {
        Verdict::Store(lifetime)
    } else {
        Verdict::Refuse(Refusal::NoFreshness)
    }
}

/// The fields of a response that only the one gets who asked for it: those named by `no-cache` and `private` (RFC 9111
/// sections 5.2.2.4 and 5.2.2.7).
pub fn unshared(headers: &HeaderMap, policy: &CachePolicy) -> Vec<HeaderName> {
    targeted::control(headers, &policy.targets).directives.unshared
}

/// What makes a response one client's own is judged before its status: a response that is refused for its status or
/// for want of freshness may still answer those who wait for it.
fn refusal(facts: &Facts<'_>, control: &CacheControl, policy: &CachePolicy) -> Option<Refusal> {
    let denied = policy.of_status(facts.status) == Some(Duration::ZERO);
    let sets_cookie =
        || facts.headers.contains_key(header::SET_COOKIE) && !control.unshared.contains(&header::SET_COOKIE);
    let found = if forbids_storing(facts.status, control) {
        Refusal::NoStore
    } else if control.private {
        Refusal::Private
    } else if facts.request_headers.contains_key(header::AUTHORIZATION) && !shares_authorized(control) {
        Refusal::Authorization
    } else if policy.set_cookie == SetCookie::Refuse && sets_cookie() {
        Refusal::SetCookie
    } else if Vary::of(facts.headers, &policy.vary) == Vary::Everything {
        Refusal::Vary
    } else if facts.status == StatusCode::PARTIAL_CONTENT {
        Refusal::Partial
    } else if denied || !answers_url_alone(facts.status) {
        Refusal::Status
    } else {
        return None;
    };
    Some(found)
}

/// `must-understand` takes the place of `no-store`: it forbids to store what is not understood, and nothing else (RFC
/// 9111 section 5.2.2.3).
fn forbids_storing(status: StatusCode, control: &CacheControl) -> bool {
    match control.must_understand {
        true => !is_understood(status),
        false => control.no_store,
    }
}

/// The statuses whose meaning for a cache is known: those of RFC 9110 section 15, and 451 of RFC 7725.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 451 | 500..=505
    )
}

/// Interim responses, 304, 412 and 416 answer one request's conditions, not its URL.
fn answers_url_alone(status: StatusCode) -> bool {
    !(status.is_informational() || matches!(status.as_u16(), 304 | 412 | 416))
}

/// RFC 9111 section 3.5.
fn shares_authorized(control: &CacheControl) -> bool {
    control.public || control.s_maxage.is_some() || control.must_revalidate
}

/// Whether a 304 could ever confirm it: conditions are for a 200 (RFC 9110 section 13.2.1).
fn can_be_revalidated(facts: &Facts<'_>) -> bool {
    let has_date = || field::only_date(facts.headers, header::LAST_MODIFIED).is_some();
    facts.status == StatusCode::OK && (facts.headers.contains_key(header::ETAG) || has_date())
}

/// RFC 9111 section 4.2.2; the statuses are those of RFC 9110 section 15.1, and 451 of RFC 7725 section 3.
fn may_be_guessed_at(status: StatusCode, control: &CacheControl) -> bool {
    let by_default = matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    );
    by_default || control.public
}

fn born_at(facts: &Facts<'_>) -> Timestamp {
    let age = initial_age(facts.headers, &facts.exchange);
    facts.exchange.received_at.minus(age)
}

/// `None`: neither the response nor the policy says; it has to be revalidated on each use.
fn fresh_until(
    facts: &Facts<'_>,
    control: &Control,
    policy: &CachePolicy,
    born_at: Timestamp,
) -> Option<Timestamp> {
    let directives = &control.directives;
    if directives.no_cache {
        return None;
    }
    let received_at = facts.exchange.received_at;
    let said = match policy.of_status(facts.status) {
        Some(ttl) => Some(received_at.plus(ttl)),
        None => explicit(facts, control).map(|span| born_at.plus(span)),
    };
    let is_version = facts.versioned == Versioned::Yes && facts.status == StatusCode::OK;
    let promised = is_version.then(|| received_at.plus(policy.versioned_ttl));
    let unsaid = || Some(received_at.plus(policy.unsaid(facts.status, directives)?));
    let guessed = || {
        let may_guess = may_be_guessed_at(facts.status, directives);
        may_guess
            .then(|| policy.heuristic.guess(facts))?
            .map(|span| born_at.plus(span))
    };
    said.max(promised).or_else(unsaid).or_else(guessed)
}

/// The lifetime the origin gave (RFC 9111 section 4.2.1).
fn explicit(facts: &Facts<'_>, control: &Control) -> Option<Duration> {
    let Control {
        directives,
        is_targeted,
    } = control;
    let expires = || if *is_targeted { None } else { until_expires(facts) };
    directives.s_maxage.or(directives.max_age).or_else(expires)
}

/// An invalid `Expires`, `0` above all, is in the past (RFC 9111 section 5.3); of several the earliest counts.
fn until_expires(facts: &Facts<'_>) -> Option<Duration> {
    let date = field::only_date(facts.headers, header::DATE).unwrap_or(facts.exchange.received_at);
    let moment = |value: &HeaderValue| field::date(value).unwrap_or(Timestamp::ZERO);
    let expires = facts.headers.get_all(header::EXPIRES).iter().map(moment).min()?;
    Some(expires.since(date))
}

/// The corrected initial age of RFC 9111 section 4.2.3.
fn initial_age(headers: &HeaderMap, exchange: &Exchange) -> Duration {
    if exchange.initial_age == InitialAge::Told {
        return Duration::ZERO;
    }
    let delay = exchange.received_at.since(exchange.requested_at);
    age_value(headers)
        .saturating_add(delay)
        .max(apparent_age(headers, exchange))
}

/// In whole seconds, because `Date` is: the fraction of the receipt's second is no age.
fn apparent_age(headers: &HeaderMap, exchange: &Exchange) -> Duration {
    let received = exchange.received_at.as_secs();
    let date = field::only_date(headers, header::DATE).map_or(received, Timestamp::as_secs);
    Duration::from_secs(received.saturating_sub(date))
}

/// The first value counts, and junk is no age (RFC 9111 section 5.1).
fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).map_or(&[][..], HeaderValue::as_bytes);
    let first = first.split(|&byte| byte == b',').next().unwrap_or_default();
    field::delta_seconds(first.trim_ascii()).unwrap_or_default()
}

/// A response with `s-maxage` may be served stale only on its own word (RFC 9111 section 5.2.2.10); one of unknown
/// freshness asks the origin on each use, so that the policy gives it no window but those for failures.
fn stale_windows(
    control: &CacheControl,
    policy: &CachePolicy,
    fresh_until: Option<Timestamp>,
) -> StaleWindows {
    if control.forbids_stale() {
        return StaleWindows::NONE;
    }
    let needs_word = control.s_maxage.is_some();
    let window = |said: Option<Duration>, unsaid: Duration| match said {
        Some(span) => whole_seconds(span),
        None if needs_word => 0,
        None => whole_seconds(unsaid),
    };
    let unsaid_revalidate = fresh_until.map_or(Duration::ZERO, |_| policy.stale_while_revalidate);
    StaleWindows {
        while_revalidate: window(control.stale_while_revalidate, unsaid_revalidate),
        if_error: window(control.stale_if_error, policy.stale_if_error),
        // An origin that can not be reached is an error too: what it said of errors is its word on this.
        on_disconnect: window(control.stale_if_error, policy.stale_on_disconnect),
        on_request: !needs_word,
    }
}

/// A fraction is dropped: no window is longer than was said.
fn whole_seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// Sun, 06 Nov 1994 08:49:37 GMT and a half second.
    const RECEIVED: Timestamp = Timestamp::from_millis(784_111_777_500);
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_10_S_EARLIER: &str = "Sun, 06 Nov 1994 08:49:27 GMT";
    const DATE_60_S_LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    /// A response as a test describes it: a 200 to a plain request, received without delay.
    struct Case {
        status: u16,
        headers: HeaderMap,
        request_headers: HeaderMap,
        delay: Duration,
        versioned: Versioned,
        policy: CachePolicy,
    }

    fn response(lines: &[(&'static str, &str)]) -> Case {
        Case {
            status: 200,
            headers: map(lines),
            request_headers: HeaderMap::new(),
            delay: Duration::ZERO,
            versioned: Versioned::No,
            policy: CachePolicy {
                versioned_ttl: 365 * 86_400 * SECOND,
                negative_ttl: 10 * SECOND,
                ..CachePolicy::default()
            },
        }
    }

    impl Case {
        fn status(mut self, status: u16) -> Self {
            self.status = status;
            self
        }

        fn versioned(mut self) -> Self {
            self.versioned = Versioned::Yes;
            self
        }

        fn under(mut self, change: impl FnOnce(&mut CachePolicy)) -> Self {
            change(&mut self.policy);
            self
        }

        fn asked_with(mut self, lines: &[(&'static str, &str)]) -> Self {
            self.request_headers = map(lines);
            self
        }

        fn verdict(&self) -> Verdict {
            let facts = Facts {
                status: StatusCode::from_u16(self.status).unwrap(),
                headers: &self.headers,
                request_headers: &self.request_headers,
                exchange: Exchange {
                    requested_at: RECEIVED.minus(self.delay),
                    received_at: RECEIVED,
                    initial_age: InitialAge::ByHeader,
                },
                versioned: self.versioned,
            };
            judge(&facts, &self.policy)
        }

        #[track_caller]
        fn stored(&self) -> Lifetime {
            match self.verdict() {
                Verdict::Store(lifetime) => lifetime,
                Verdict::Refuse(refusal) => panic!("refused: {refusal:?}"),
            }
        }

        #[track_caller]
        fn refused(&self) -> Refusal {
            match self.verdict() {
                Verdict::Store(lifetime) => panic!("stored: {lifetime:?}"),
                Verdict::Refuse(refusal) => refusal,
            }
        }

        /// Whole seconds of freshness left at receipt.
        #[track_caller]
        fn ttl(&self) -> i64 {
            self.stored().ttl(RECEIVED)
        }

        /// Seconds past freshness that it may be served: while revalidating, and when the origin fails.
        #[track_caller]
        fn windows(&self) -> (u32, u32) {
            let stale = self.stored().stale;
            (stale.while_revalidate, stale.if_error)
        }
    }

    fn by_status(lowest: u16, highest: u16, secs: u64) -> (StatusRange, Duration) {
        (StatusRange(lowest, highest), Duration::from_secs(secs))
    }

    fn stale_windows(policy: &mut CachePolicy) {
        policy.stale_while_revalidate = 30 * SECOND;
        policy.stale_if_error = 300 * SECOND;
    }

    /// RFC 9111 section 4.2.1.
    #[test]
    fn s_maxage_wins_over_max_age_and_max_age_over_expires() {
        let expires = ("expires", DATE_60_S_LATER);
        let both = ("cache-control", "max-age=20, s-maxage=30");
        assert_eq!(response(&[both, expires]).ttl(), 30);
        assert_eq!(response(&[("cache-control", "max-age=20"), expires]).ttl(), 20);
        assert_eq!(response(&[expires, ("date", DATE)]).ttl(), 60);
    }

    /// RFC 9111 section 4.2.1.
    #[test]
    fn expires_counts_from_the_origins_date_not_from_our_clock() {
        let lifetime = response(&[("expires", DATE_60_S_LATER), ("date", DATE_10_S_EARLIER)]).stored();
        assert_eq!(lifetime.fresh_until.since(lifetime.born_at), 70 * SECOND);
        assert_eq!(lifetime.ttl(RECEIVED), 60);
    }

    /// RFC 9111 section 5.3, and section 4.2.1 for several.
    #[test]
    fn an_expires_that_is_no_date_has_expired() {
        for junk in ["0", "-1", "tomorrow", ""] {
            assert_eq!(
                response(&[("expires", junk)]).refused(),
                Refusal::NoFreshness,
                "{junk}"
            );
        }
        let several = [("expires", DATE_60_S_LATER), ("expires", "0")];
        assert_eq!(response(&several).refused(), Refusal::NoFreshness);
    }

    /// RFC 9111 section 4.2.3.
    #[test]
    fn the_initial_age_is_the_greater_of_apparent_and_given_age() {
        let fresh = ("cache-control", "max-age=60");
        let age = |lines: &[(&'static str, &str)]| response(lines).stored().age(RECEIVED);
        assert_eq!(age(&[fresh]), Duration::ZERO);
        assert_eq!(age(&[fresh, ("date", DATE_10_S_EARLIER)]), 10 * SECOND);
        assert_eq!(
            age(&[fresh, ("date", DATE_10_S_EARLIER), ("age", "25")]),
            25 * SECOND
        );
        assert_eq!(
            age(&[fresh, ("date", DATE_10_S_EARLIER), ("age", "5")]),
            10 * SECOND
        );
        assert_eq!(age(&[fresh, ("date", DATE_60_S_LATER)]), Duration::ZERO);
    }

    /// RFC 9111 section 4.2.3.
    #[test]
    fn the_delay_of_the_response_adds_to_its_given_age() {
        let mut slow = response(&[("cache-control", "max-age=60"), ("age", "25")]);
        slow.delay = 3 * SECOND;
        assert_eq!(slow.stored().age(RECEIVED), 28 * SECOND);
    }

    #[test]
    fn the_fraction_of_the_second_of_date_is_no_age() {
        let lifetime = response(&[("cache-control", "max-age=1"), ("date", DATE)]).stored();
        assert_eq!(lifetime.born_at, RECEIVED);
    }

    /// RFC 9111 section 5.1.
    #[test]
    fn of_several_ages_the_first_counts_and_junk_is_none() {
        let age = |value| response(&[("cache-control", "max-age=60"), ("age", value)]).ttl();
        assert_eq!(age("20, 50"), 40);
        assert_eq!(age("-5"), 60);
        assert_eq!(age("1.5"), 60);
        assert_eq!(age("abc, 20"), 60);
        assert_eq!(age(""), 60);
    }

    /// RFC 9111 section 4.2: an age beyond the lifetime is stale.
    #[test]
    fn a_response_older_than_its_lifetime_is_stored_only_to_be_revalidated() {
        let stale = [("cache-control", "max-age=60"), ("age", "61")];
        assert_eq!(response(&stale).refused(), Refusal::NoFreshness);
        let validated = [("cache-control", "max-age=60"), ("age", "61"), ("etag", "\"a\"")];
        assert_eq!(response(&validated).ttl(), -1);
        assert_eq!(response(&validated).status(404).refused(), Refusal::NoFreshness);
    }

    /// RFC 9111 sections 5.2.2.5 and 5.2.2.7.
    #[test]
    fn no_store_and_private_are_refused_whatever_the_policy_says() {
        for (line, refusal) in [
            ("no-store, max-age=60", Refusal::NoStore),
            ("private, max-age=60", Refusal::Private),
        ] {
            let case = response(&[("cache-control", line)])
                .versioned()
                .under(|policy| policy.by_status = vec![by_status(200, 200, 60)])
                .under(|policy| policy.default_ttl = Some(SECOND));
            assert_eq!(case.refused(), refusal);
        }
    }

    /// RFC 9111 section 3.5.
    #[test]
    fn an_authorized_response_is_stored_only_where_it_is_declared_shared() {
        let asked = |line| {
            response(&[("cache-control", line), ("etag", "\"a\"")])
                .asked_with(&[("authorization", "Basic YTpi")])
        };
        assert_eq!(asked("max-age=60").refused(), Refusal::Authorization);
        assert_eq!(
            asked("max-age=60, proxy-revalidate").refused(),
            Refusal::Authorization
        );
        for shared in ["max-age=60, public", "s-maxage=60", "max-age=60, must-revalidate"] {
            assert_eq!(asked(shared).ttl(), 60, "{shared}");
        }
    }

    /// RFC 9111 section 3 for interim statuses.
    #[test]
    fn what_is_for_one_client_or_one_request_is_refused() {
        let fresh = ("cache-control", "max-age=60");
        assert_eq!(
            response(&[fresh, ("set-cookie", "a=b")]).refused(),
            Refusal::SetCookie
        );
        assert_eq!(response(&[fresh]).status(206).refused(), Refusal::Partial);
        for status in [100, 103, 304, 412, 416] {
            assert_eq!(
                response(&[fresh]).status(status).refused(),
                Refusal::Status,
                "{status}"
            );
        }
    }

    /// RFC 9111 section 4.1.
    #[test]
    fn what_varies_by_everything_is_refused_and_that_is_told_before_its_status() {
        let fresh = ("cache-control", "max-age=60");
        for vary in ["*", "accept, *", "*, accept-encoding"] {
            for status in [200, 206, 304, 503] {
                let case = response(&[fresh, ("vary", vary)]).status(status);
                assert_eq!(case.refused(), Refusal::Vary, "{status} {vary}");
            }
        }
    }

    /// RFC 9111 section 4.1.
    #[test]
    fn what_varies_by_request_headers_is_stored() {
        let fresh = ("cache-control", "max-age=60");
        for vary in ["accept", "Accept-Encoding, , accept-encoding", ""] {
            assert_eq!(response(&[fresh, ("vary", vary)]).ttl(), 60, "{vary}");
        }
    }

    /// RFC 9111 section 7.3, and section 5.2.2.4 for a cookie that `no-cache` names.
    #[test]
    fn a_route_may_store_what_sets_a_cookie() {
        let case = |policy_of_cookies| {
            response(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")])
                .under(|policy| policy.set_cookie = policy_of_cookies)
        };
        assert_eq!(case(SetCookie::Refuse).refused(), Refusal::SetCookie);
        assert_eq!(case(SetCookie::Strip).ttl(), 60);
        assert_eq!(case(SetCookie::Store).ttl(), 60);
        let named = ("cache-control", r#"max-age=60, no-cache="set-cookie""#);
        let for_one = response(&[named, ("set-cookie", "a=b")]);
        assert_eq!(for_one.ttl(), 60, "only the one who asked gets it");
    }

    /// RFC 9111 section 5.2.2.3.
    #[test]
    fn must_understand_takes_the_place_of_no_store() {
        let case = |line, status| response(&[("cache-control", line)]).status(status);
        for line in [
            "no-store, must-understand, max-age=60",
            "must-understand, max-age=60",
        ] {
            for status in [200, 301, 404, 451, 503] {
                assert_eq!(case(line, status).ttl(), 60, "{status} {line}");
            }
            for status in [299, 306, 418, 499, 599] {
                assert_eq!(case(line, status).refused(), Refusal::NoStore, "{status} {line}");
            }
        }
        let private = "no-store, must-understand, private, max-age=60";
        assert_eq!(case(private, 200).refused(), Refusal::Private);
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7.
    #[test]
    fn fields_named_by_no_cache_or_private_are_unshared_and_the_rest_is_stored() {
        let fresh = ("cache-control", "max-age=60");
        let named = ("cache-control", r#"no-cache="a, b", private="Set-Cookie""#);
        let case = response(&[fresh, named]);
        assert_eq!(case.ttl(), 60);
        assert_eq!(unshared(&case.headers, &case.policy), ["a", "b", "set-cookie"]);
        let unqualified = response(&[fresh, ("cache-control", r#"private="a, private"#)]);
        assert_eq!(unqualified.refused(), Refusal::Private);
    }

    /// RFC 9111 sections 5.2.2.5 and 5.2.2.7.
    /// A refusal for `Status` or `NoFreshness` lets other clients have the response.
    #[test]
    fn what_makes_a_response_private_is_told_before_its_status() {
        let fresh = ("cache-control", "max-age=60");
        for (field, refusal) in [
            (("cache-control", "no-store"), Refusal::NoStore),
            (("cache-control", "private"), Refusal::Private),
            (("set-cookie", "a=1"), Refusal::SetCookie),
        ] {
            for status in [206, 304, 412, 416, 500, 503] {
                let case = || response(&[fresh, field]).status(status);
                let denying = case().under(|policy| policy.by_status = vec![by_status(500, 599, 0)]);
                assert_eq!(denying.refused(), refusal, "{status} {field:?}");
            }
            let unsaid = response(&[field]).status(500);
            assert_eq!(unsaid.refused(), refusal, "{field:?}");
        }
    }

    /// RFC 9111 section 3.5.
    #[test]
    fn an_error_to_an_authorized_request_is_refused_for_the_authorization() {
        for status in [206, 416, 503] {
            let case = response(&[])
                .status(status)
                .asked_with(&[("authorization", "Basic YTpi")])
                .under(|policy| policy.by_status = vec![by_status(500, 599, 0)]);
            assert_eq!(case.refused(), Refusal::Authorization, "{status}");
        }
    }

    /// RFC 9111 section 3.
    #[test]
    fn every_final_status_with_explicit_freshness_is_stored() {
        for status in [
            200, 203, 299, 301, 302, 303, 400, 404, 499, 500, 502, 503, 504, 599,
        ] {
            let case = response(&[("cache-control", "max-age=60")]).status(status);
            assert_eq!(case.ttl(), 60, "{status}");
        }
    }

    #[test]
    fn the_policys_lifetime_for_a_status_wins_over_the_origins() {
        let case = |status| {
            response(&[("cache-control", "max-age=60"), ("age", "50")])
                .status(status)
                .under(|policy| {
                    policy.by_status = vec![
                        by_status(400, 499, 5),
                        by_status(404, 404, 7),
                        by_status(500, 599, 0),
                    ]
                })
        };
        assert_eq!(case(200).ttl(), 10);
        assert_eq!(case(403).ttl(), 5);
        assert_eq!(case(404).ttl(), 7);
        assert_eq!(case(503).refused(), Refusal::Status);
    }

    #[test]
    fn a_versioned_200_is_fresh_for_at_least_the_versioned_lifetime() {
        let year = 365 * 86_400;
        assert_eq!(response(&[]).versioned().ttl(), year);
        let short = response(&[("cache-control", "max-age=60"), ("age", "50")]);
        assert_eq!(short.versioned().ttl(), year);
        let long = response(&[("cache-control", "max-age=99999999")]);
        assert_eq!(long.versioned().ttl(), 99_999_999);
    }

    /// RFC 9111 section 5.2.2.4 for `no-cache`.
    #[test]
    fn a_versioned_url_promises_nothing_for_other_statuses_and_nothing_against_no_cache() {
        assert_eq!(response(&[]).status(404).versioned().ttl(), 10);
        let asks_back = response(&[("cache-control", "no-cache"), ("etag", "\"a\"")]).versioned();
        assert_eq!(asks_back.ttl(), -1);
        assert_eq!(asks_back.stored().freshness(RECEIVED), Freshness::Expired);
    }

    /// RFC 9111 section 4.2.2: nothing is guessed where the origin says.
    #[test]
    fn a_missing_image_that_says_nothing_is_kept_for_the_negative_lifetime() {
        for status in [404, 410, 451] {
            assert_eq!(response(&[]).status(status).ttl(), 10, "{status}");
        }
        assert_eq!(response(&[("cache-control", "max-age=3")]).status(404).ttl(), 3);
        let none = response(&[])
            .status(404)
            .under(|policy| policy.negative_ttl = Duration::ZERO);
        assert_eq!(none.refused(), Refusal::NoFreshness);
    }

    /// RFC 9111 section 4.2.2, and section 5.2.2.9 for `public`; RFC 9110 section 15.1.
    #[test]
    fn the_default_lifetime_is_for_statuses_that_may_be_guessed_at() {
        let case = |status| {
            response(&[])
                .status(status)
                .under(|policy| policy.default_ttl = Some(9 * SECOND))
        };
        for status in [200, 203, 204, 300, 301, 308, 405, 414, 501] {
            assert_eq!(case(status).ttl(), 9, "{status}");
        }
        for status in [201, 302, 307, 400, 403, 500, 502, 503] {
            assert_eq!(case(status).refused(), Refusal::NoFreshness, "{status}");
        }
        let public = response(&[("cache-control", "public")])
            .status(302)
            .under(|policy| policy.default_ttl = Some(9 * SECOND));
        assert_eq!(public.ttl(), 9);
    }

    fn tenth(policy: &mut CachePolicy) {
        policy.heuristic = Heuristic {
            percent: 10,
            max: 3600 * SECOND,
        };
    }

    const MONTH_BEFORE: &str = "Thu, 06 Oct 1994 08:49:37 GMT";

    /// RFC 9111 section 4.2.2.
    #[test]
    fn a_tenth_of_the_time_since_it_was_changed_is_guessed_up_to_the_limit() {
        let case = |changed, date| response(&[("last-modified", changed), ("date", date)]).under(tenth);
        assert_eq!(case(DATE_10_S_EARLIER, DATE).ttl(), 1);
        assert_eq!(case(MONTH_BEFORE, DATE).ttl(), 3600);
        // The guess counts from the response's birth.
        assert_eq!(case(MONTH_BEFORE, DATE_10_S_EARLIER).ttl(), 3590);
        assert_eq!(
            response(&[("last-modified", MONTH_BEFORE)]).under(tenth).ttl(),
            3600
        );
    }

    /// RFC 9111 section 4.2.2.
    #[test]
    fn nothing_is_guessed_without_a_change_in_the_past() {
        let later = [("last-modified", DATE_60_S_LATER), ("date", DATE)];
        let same = [("last-modified", DATE), ("date", DATE)];
        let fast_clock = [
            ("last-modified", DATE_60_S_LATER),
            ("date", "Mon, 07 Nov 1994 08:49:37 GMT"),
        ];
        for lines in [&later, &same, &fast_clock] {
            assert_eq!(response(lines).under(tenth).ttl(), -1, "{lines:?}");
        }
        let junk = response(&[("last-modified", "yesterday")]).under(tenth);
        assert_eq!(junk.refused(), Refusal::NoFreshness);
        assert_eq!(response(&[]).under(tenth).refused(), Refusal::NoFreshness);
        assert_eq!(response(&[("last-modified", MONTH_BEFORE)]).ttl(), -1);
    }

    /// RFC 9111 section 4.2.2, and section 5.2.2.9 for `public`.
    #[test]
    fn only_statuses_that_allow_it_and_public_responses_are_guessed_at() {
        let changed = ("last-modified", MONTH_BEFORE);
        for status in [200, 203, 204, 300, 301, 308, 405, 414, 501] {
            assert_eq!(
                response(&[changed]).status(status).under(tenth).ttl(),
                3600,
                "{status}"
            );
        }
        for status in [201, 202, 302, 403, 500, 502, 503, 504, 599] {
            let case = response(&[changed]).status(status).under(tenth);
            assert_eq!(case.refused(), Refusal::NoFreshness, "{status}");
            let public = response(&[changed, ("cache-control", "public")]);
            assert_eq!(public.status(status).under(tenth).ttl(), 3600, "{status}");
        }
    }

    /// RFC 9111 section 4.2.2.
    #[test]
    fn nothing_is_guessed_where_the_origin_or_the_route_says() {
        let changed = ("last-modified", MONTH_BEFORE);
        let case = |line| response(&[changed, line]).under(tenth);
        assert_eq!(case(("cache-control", "max-age=5")).ttl(), 5);
        assert_eq!(case(("expires", "0")).ttl(), -1);
        assert_eq!(case(("cache-control", "no-cache")).ttl(), -1);
        let by_route = response(&[changed]).under(tenth);
        let by_route = by_route.under(|policy| policy.default_ttl = Some(9 * SECOND));
        assert_eq!(by_route.ttl(), 9);
        assert_eq!(response(&[changed]).status(404).under(tenth).ttl(), 10);
    }

    /// RFC 9111 section 3.
    #[test]
    fn a_status_that_may_not_be_guessed_at_is_not_kept_for_failures_either() {
        let windows = |policy: &mut CachePolicy| {
            stale_windows(policy);
            policy.stale_on_disconnect = 60 * SECOND;
        };
        for status in [302, 403, 500, 503] {
            let case = response(&[]).status(status).under(windows);
            assert_eq!(case.refused(), Refusal::NoFreshness, "{status}");
        }
        assert_eq!(response(&[]).under(windows).windows(), (0, 300));
    }

    fn target(policy: &mut CachePolicy) {
        policy.targets = vec![HeaderName::from_static("cdn-cache-control")];
    }

    /// RFC 9213 section 2.2.
    #[test]
    fn with_a_targeted_field_neither_cache_control_nor_expires_is_heard() {
        let case = |line| {
            let general = ("cache-control", "max-age=10000");
            response(&[("cdn-cache-control", line), general, ("expires", DATE_60_S_LATER)]).under(target)
        };
        assert_eq!(case("max-age=3600").ttl(), 3600);
        assert_eq!(case("max-age=0").refused(), Refusal::NoFreshness);
        assert_eq!(case("no-store").refused(), Refusal::NoStore);
        assert_eq!(case("private").refused(), Refusal::Private);
        assert_eq!(case("no-cache").refused(), Refusal::NoFreshness);
        assert_eq!(case("foo").refused(), Refusal::NoFreshness);
        assert_eq!(case("max-age=3600, &&").ttl(), 10_000);
        assert_eq!(case("").ttl(), 10_000);
        let general = ("cache-control", r#"no-store, private="a""#);
        let overridden = response(&[("cdn-cache-control", "max-age=60"), general]).under(target);
        assert_eq!(overridden.ttl(), 60);
        assert!(unshared(&overridden.headers, &overridden.policy).is_empty());
    }

    /// RFC 9213 section 2.2 with RFC 9111 section 3.5.
    #[test]
    fn an_authorized_response_is_shared_on_the_word_of_the_directives_that_are_heard() {
        let case = |line, general| {
            response(&[("cdn-cache-control", line), ("cache-control", general)])
                .asked_with(&[("authorization", "Basic YTpi")])
                .under(target)
        };
        assert_eq!(case("max-age=60", "public").refused(), Refusal::Authorization);
        assert_eq!(case("max-age=60, public", "private").ttl(), 60);
    }

    /// RFC 9111 section 4.2.3: the age counts against a targeted lifetime too.
    #[test]
    fn a_targeted_lifetime_counts_from_birth() {
        let old = [
            ("cdn-cache-control", "max-age=3600"),
            ("date", DATE),
            ("age", "7200"),
        ];
        assert_eq!(response(&old).under(target).refused(), Refusal::NoFreshness);
    }

    /// RFC 9111 section 5.4 speaks of requests alone.
    #[test]
    fn pragma_in_a_response_is_not_heard() {
        let case = response(&[("pragma", "no-cache"), ("cache-control", "max-age=60")]);
        assert_eq!(case.ttl(), 60);
        let guessed = response(&[("pragma", "no-cache"), ("last-modified", MONTH_BEFORE)]).under(tenth);
        assert_eq!(guessed.ttl(), 3600);
    }

    /// RFC 9111 section 4.2.3, and section 4.2.1 for the lifetime, which is `Expires` less `Date`.
    #[test]
    fn an_age_beyond_expires_less_date_is_stale_whichever_clock_is_wrong() {
        let slow = [
            ("date", DATE_10_S_EARLIER),
            ("expires", DATE_60_S_LATER),
            ("age", "75"),
        ];
        let fast = [
            ("date", DATE_60_S_LATER),
            ("expires", "Sun, 06 Nov 1994 08:50:47 GMT"),
            ("age", "15"),
        ];
        for lines in [&slow, &fast] {
            assert_eq!(response(lines).refused(), Refusal::NoFreshness, "{lines:?}");
        }
        let no_date = [("date", "foo"), ("expires", DATE_60_S_LATER)];
        assert_eq!(response(&no_date).ttl(), 59);
    }

    /// RFC 9111 section 3.
    #[test]
    fn a_response_that_says_nothing_is_stored_stale_with_a_validator_and_refused_without() {
        assert_eq!(response(&[]).refused(), Refusal::NoFreshness);
        assert_eq!(
            response(&[("last-modified", "junk")]).refused(),
            Refusal::NoFreshness
        );
        for validator in [("etag", "\"a\""), ("last-modified", DATE)] {
            let lifetime = response(&[validator]).under(stale_windows).stored();
            assert_eq!(lifetime.freshness(RECEIVED), Freshness::StaleIfError);
        }
    }

    /// RFC 9111 section 5.2.2.4.
    #[test]
    fn no_cache_is_stored_stale_with_a_validator_and_refused_without() {
        let asks_back = ("cache-control", "no-cache, max-age=60");
        assert_eq!(response(&[asks_back]).refused(), Refusal::NoFreshness);
        let case = response(&[asks_back, ("etag", "\"a\"")]).under(stale_windows);
        assert_eq!(case.stored().freshness(RECEIVED), Freshness::Expired);
        assert_eq!(case.windows(), (0, 0));
    }

    /// RFC 5861 sections 3 and 4.
    #[test]
    fn stale_windows_of_the_response_win_over_those_of_the_policy() {
        let case = |line: &str| response(&[("cache-control", line)]).under(stale_windows);
        assert_eq!(case("max-age=60").windows(), (30, 300));
        assert_eq!(
            case("max-age=60, stale-while-revalidate=7, stale-if-error=0").windows(),
            (7, 0)
        );
    }

    /// RFC 9111 sections 5.2.2.2, 5.2.2.8 and 5.2.2.10.
    #[test]
    fn a_response_that_must_be_revalidated_has_no_stale_window() {
        let case = |line: &str| response(&[("cache-control", line)]).under(stale_windows);
        let own = "stale-while-revalidate=7, stale-if-error=7";
        for word in ["must-revalidate", "proxy-revalidate"] {
            assert_eq!(
                case(&format!("max-age=60, {word}, {own}")).windows(),
                (0, 0),
                "{word}"
            );
        }
        assert_eq!(case("s-maxage=60").windows(), (0, 0));
        assert_eq!(case(&format!("s-maxage=60, {own}")).windows(), (7, 7));
    }

    fn on_disconnect(line: &str) -> u32 {
        let case = response(&[("cache-control", line)]).under(stale_windows);
        case.under(|policy| policy.stale_on_disconnect = 99 * SECOND)
            .stored()
            .stale
            .on_disconnect
    }

    /// RFC 9111 section 4.2.4.
    #[test]
    fn the_route_lets_a_response_stand_in_for_a_lost_origin_unless_it_forbids_that() {
        assert_eq!(on_disconnect("max-age=60"), 99);
        for word in ["must-revalidate", "proxy-revalidate", "s-maxage=60"] {
            assert_eq!(on_disconnect(&format!("max-age=60, {word}")), 0, "{word}");
        }
        let asks_back = response(&[("cache-control", "no-cache"), ("etag", "\"a\"")])
            .under(|policy| policy.stale_on_disconnect = 99 * SECOND);
        assert_eq!(asks_back.stored().stale, StaleWindows::NONE);
    }

    /// RFC 5861 section 4.
    #[test]
    fn what_the_origin_says_of_errors_it_says_of_lost_connections() {
        assert_eq!(on_disconnect("max-age=60, stale-if-error=7"), 7);
        assert_eq!(on_disconnect("max-age=60, stale-if-error=0"), 0);
        assert_eq!(on_disconnect("s-maxage=60, stale-if-error=7"), 7);
    }

    /// RFC 9111 sections 5.2.2.2, 5.2.2.4, 5.2.2.8 and 5.2.2.10.
    #[test]
    fn a_request_may_allow_staleness_unless_the_response_forbids_it() {
        let on_request = |line| {
            response(&[("cache-control", line), ("etag", "\"a\"")])
                .stored()
                .stale
                .on_request
        };
        assert!(on_request("max-age=60"));
        for word in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"] {
            assert!(!on_request(word), "{word}");
        }
    }

    #[test]
    fn a_window_is_whole_seconds_and_never_longer_than_was_said() {
        let case = |span| {
            let case = response(&[("cache-control", "max-age=60")]);
            case.under(|policy| policy.stale_if_error = span).windows().1
        };
        assert_eq!(case(Duration::from_millis(1_999)), 1);
        assert_eq!(case(Duration::MAX), u32::MAX);
    }

    /// Names that judging looks at.
    const NAMES: [&str; 11] = [
        "cache-control",
        "cdn-cache-control",
        "surrogate-control",
        "expires",
        "date",
        "age",
        "vary",
        "etag",
        "last-modified",
        "set-cookie",
        "pragma",
    ];

    /// A policy under which every rule is at work.
    fn everything(policy: &mut CachePolicy) {
        stale_windows(policy);
        tenth(policy);
        policy.stale_on_disconnect = 60 * SECOND;
        policy.targets = ["cdn-cache-control", "surrogate-control"]
            .map(HeaderName::from_static)
            .to_vec();
        policy.set_cookie = SetCookie::Store;
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_origin_make_judging_panic(
            lines in prop::collection::vec((0..NAMES.len(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            status in 100u16..1000,
        ) {
            let mut case = response(&[]).status(status).under(everything);
            for (name, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    case.headers.append(HeaderName::from_static(NAMES[name]), value);
                }
            }
            case.verdict();
            unshared(&case.headers, &case.policy);
        }

        #[test]
        fn no_text_of_an_origin_breaks_the_order_of_times(
            lines in prop::collection::vec((0..NAMES.len(), "[ -~]{0,40}"), 0..6),
            status in 100u16..600,
        ) {
            let lines: Vec<_> = lines.iter().map(|(name, value)| (NAMES[*name], value.as_str())).collect();
            let case = response(&lines).status(status).under(everything);
            if let Verdict::Store(lifetime) = case.verdict() {
                prop_assert!(lifetime.born_at <= RECEIVED);
                prop_assert!(lifetime.born_at <= lifetime.fresh_until);
                prop_assert!(lifetime.fresh_until <= lifetime.gone_at());
            }
        }

        /// RFC 9111 section 3.5.
        #[test]
        fn an_authorized_response_is_never_stored_without_the_origins_word(
            words in prop::collection::vec("[a-z-]{1,12}(=[0-9]{1,4})?|max-age=60|immutable|proxy-revalidate", 0..4),
            status in 100u16..1000,
        ) {
            let line = words.join(", ");
            let shares = ["public", "s-maxage", "must-revalidate"].iter().any(|word| line.contains(word));
            prop_assume!(!shares);
            let case = response(&[("cache-control", &line), ("etag", "\"a\"")])
                .status(status)
                .asked_with(&[("authorization", "Basic YTpi")])
                .under(everything)
                .under(|policy| policy.default_ttl = Some(SECOND))
                .versioned();
            prop_assert!(matches!(case.verdict(), Verdict::Refuse(_)));
        }

        /// RFC 9111 section 5.2.2.5.
        #[test]
        fn no_store_is_never_stored_whatever_stands_beside_it(
            other in "(max-age=[0-9]{1,5}|public|immutable|s-maxage=9|stale-if-error=9)",
            status in 100u16..600,
        ) {
            let line = format!("{other}, no-store");
            let case = response(&[("cache-control", &line), ("etag", "\"a\"")]).status(status).versioned();
            prop_assert_eq!(case.verdict(), Verdict::Refuse(Refusal::NoStore));
        }
    }
}
