//! Whether a response may be stored, and until when it may be served (RFC 9111 sections 3 and 4.2).
//!
//! Invariant: what a response forbids by `no-store` or `private` no policy allows. The origin's own
//! lifetimes count from the response's birth, as its `Age` and `Date` tell it; those of the policy count from
//! its receipt. It does not know the store, nor whether a purge has come since.

use super::cache_control::CacheControl;
use super::field;
use crate::base::clock::Timestamp;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::time::Duration;

/// When the origin was asked, and when its header section was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub requested_at: Timestamp,
    pub received_at: Timestamp,
}

/// The times of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Receipt less the corrected initial age (RFC 9111 section 4.2.3).
    pub born_at: Timestamp,
    pub fresh_until: Timestamp,
    /// Until then it may be served while one request refreshes it (RFC 5861 section 3).
    pub revalidate_until: Timestamp,
    /// Until then it may be served when the origin fails (RFC 5861 section 4).
    pub error_until: Timestamp,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    StaleWhileRevalidate,
    StaleIfError,
    Expired,
}

/// Inclusive bounds of a set of statuses: `StatusRange(404, 404)`, `StatusRange(500, 599)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange(pub u16, pub u16);

/// A route's word on lifetimes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifetimePolicy {
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

impl Lifetime {
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(self.born_at)
    }

    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if now < self.fresh_until {
            Freshness::Fresh
        } else if now < self.revalidate_until {
            Freshness::StaleWhileRevalidate
        } else if now < self.error_until {
            Freshness::StaleIfError
        } else {
            Freshness::Expired
        }
    }

    /// Whole seconds of freshness left, negative from the moment it is stale: the `ttl` of RFC 9211 section 2.3.
    pub fn ttl(&self, now: Timestamp) -> i64 {
        let left = self.fresh_until.as_millis() as i128 - now.as_millis() as i128;
        let seconds = left.div_euclid(1000) as i64;
        if left > 0 { seconds } else { seconds.min(-1) }
    }

    /// From then on it may not be served without the origin's word.
    pub fn gone_at(&self) -> Timestamp {
        self.fresh_until.max(self.revalidate_until).max(self.error_until)
    }
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

impl LifetimePolicy {
    fn of_status(&self, status: StatusCode) -> Option<Duration> {
        let status = status.as_u16();
        self.by_status
            .iter()
            .filter(|(range, _)| (range.0..=range.1).contains(&status))
            .min_by_key(|(range, _)| range.1 - range.0)
            .map(|(_, ttl)| *ttl)
    }

    /// For a response that says nothing of its freshness.
    fn unsaid(&self, status: StatusCode, control: &CacheControl) -> Option<Duration> {
        match status.as_u16() {
            404 | 410 | 451 => Some(self.negative_ttl),
            code if control.public || heuristically_cacheable(code) => self.default_ttl,
            _ => None,
        }
    }
}

/// Whether, and until when, a response may be stored. Pure: equal facts get equal verdicts.
pub fn judge(facts: &Facts<'_>, policy: &LifetimePolicy) -> Verdict {
    let control = CacheControl::of(facts.headers);
    if let Some(refusal) = refusal(facts, &control, policy) {
        return Verdict::Refuse(refusal);
    }
    let lifetime = lifetime(facts, &control, policy);
    let serves = lifetime.gone_at() > facts.exchange.received_at;
    if serves || can_be_revalidated(facts) {
        Verdict::Store(lifetime)
    } else {
        Verdict::Refuse(Refusal::NoFreshness)
    }
}

/// What makes a response one client's own is judged before its status: a response that is refused for its status or
/// for want of freshness may still answer those who wait for it.
fn refusal(facts: &Facts<'_>, control: &CacheControl, policy: &LifetimePolicy) -> Option<Refusal> {
    let denied = policy.of_status(facts.status) == Some(Duration::ZERO);
    let found = if control.no_store {
        Refusal::NoStore
    } else if control.private {
        Refusal::Private
    } else if facts.request_headers.contains_key(header::AUTHORIZATION) && !shares_authorized(control) {
        Refusal::Authorization
    } else if facts.headers.contains_key(header::SET_COOKIE) {
        Refusal::SetCookie
    } else if varies(facts.headers) {
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

/// Interim responses, 304, 412 and 416 answer one request's conditions, not its URL.
fn answers_url_alone(status: StatusCode) -> bool {
    !(status.is_informational() || matches!(status.as_u16(), 304 | 412 | 416))
}

/// RFC 9111 section 3.5.
fn shares_authorized(control: &CacheControl) -> bool {
    control.public || control.s_maxage.is_some() || control.must_revalidate
}

/// `Accept-Encoding` never reaches an origin, so that a response that varies by it alone does not vary here.
fn varies(headers: &HeaderMap) -> bool {
    field::list(headers, header::VARY).any(|name| !name.eq_ignore_ascii_case(b"accept-encoding"))
}

/// Whether a 304 could ever confirm it: conditions are for a 200 (RFC 9110 section 13.2.1).
fn can_be_revalidated(facts: &Facts<'_>) -> bool {
    let has_date = || field::only_date(facts.headers, header::LAST_MODIFIED).is_some();
    facts.status == StatusCode::OK && (facts.headers.contains_key(header::ETAG) || has_date())
}

/// RFC 9110 section 15.1, and RFC 7725 section 3 for 451.
fn heuristically_cacheable(status: u16) -> bool {
    matches!(
        status,
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}

fn lifetime(facts: &Facts<'_>, control: &CacheControl, policy: &LifetimePolicy) -> Lifetime {
    let born_at = facts
        .exchange
        .received_at
        .minus(initial_age(facts.headers, &facts.exchange));
    let known = fresh_until(facts, control, policy, born_at);
    let fresh_until = known.unwrap_or(born_at);
    let windows = Windows::of(control, policy, known);
    Lifetime {
        born_at,
        fresh_until,
        revalidate_until: fresh_until.plus(windows.revalidate),
        error_until: fresh_until.plus(windows.error),
    }
}

/// `None`: neither the response nor the policy says; it has to be revalidated on each use.
fn fresh_until(
    facts: &Facts<'_>,
    control: &CacheControl,
    policy: &LifetimePolicy,
    born_at: Timestamp,
) -> Option<Timestamp> {
    if control.no_cache {
        return None;
    }
    let received_at = facts.exchange.received_at;
    let said = match policy.of_status(facts.status) {
        Some(ttl) => Some(received_at.plus(ttl)),
        None => explicit(facts, control).map(|span| born_at.plus(span)),
    };
    let is_version = facts.versioned == Versioned::Yes && facts.status == StatusCode::OK;
    let promised = is_version.then(|| received_at.plus(policy.versioned_ttl));
    let unsaid = || Some(received_at.plus(policy.unsaid(facts.status, control)?));
    said.max(promised).or_else(unsaid)
}

/// The lifetime the origin gave (RFC 9111 section 4.2.1).
fn explicit(facts: &Facts<'_>, control: &CacheControl) -> Option<Duration> {
    control
        .s_maxage
        .or(control.max_age)
        .or_else(|| until_expires(facts))
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

/// How long past its freshness a response may be served.
struct Windows {
    revalidate: Duration,
    error: Duration,
}

impl Windows {
    /// A response with `s-maxage` may be served stale only on its own word (RFC 9111 section 5.2.2.10); one of
    /// unknown freshness asks the origin on each use, so that the policy's `error` window alone is for it.
    fn of(control: &CacheControl, policy: &LifetimePolicy, fresh_until: Option<Timestamp>) -> Self {
        if control.forbids_stale() {
            return Windows {
                revalidate: Duration::ZERO,
                error: Duration::ZERO,
            };
        }
        let unsaid = |span: Duration| match control.s_maxage {
            Some(_) => Duration::ZERO,
            None => span,
        };
        let unsaid_revalidate = fresh_until.map_or(Duration::ZERO, |_| unsaid(policy.stale_while_revalidate));
        Windows {
            revalidate: control.stale_while_revalidate.unwrap_or(unsaid_revalidate),
            error: control.stale_if_error.unwrap_or(unsaid(policy.stale_if_error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
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
        policy: LifetimePolicy,
    }

    fn response(lines: &[(&'static str, &str)]) -> Case {
        Case {
            status: 200,
            headers: map(lines),
            request_headers: HeaderMap::new(),
            delay: Duration::ZERO,
            versioned: Versioned::No,
            policy: LifetimePolicy {
                versioned_ttl: 365 * 86_400 * SECOND,
                negative_ttl: 10 * SECOND,
                ..LifetimePolicy::default()
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

        fn under(mut self, change: impl FnOnce(&mut LifetimePolicy)) -> Self {
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
        fn windows(&self) -> (u64, u64) {
            let lifetime = self.stored();
            let past = |until: Timestamp| until.since(lifetime.fresh_until).as_secs();
            (past(lifetime.revalidate_until), past(lifetime.error_until))
        }
    }

    fn by_status(lowest: u16, highest: u16, secs: u64) -> (StatusRange, Duration) {
        (StatusRange(lowest, highest), Duration::from_secs(secs))
    }

    fn stale_windows(policy: &mut LifetimePolicy) {
        policy.stale_while_revalidate = 30 * SECOND;
        policy.stale_if_error = 300 * SECOND;
    }

    #[test]
    fn s_maxage_wins_over_max_age_and_max_age_over_expires() {
        let expires = ("expires", DATE_60_S_LATER);
        let both = ("cache-control", "max-age=20, s-maxage=30");
        assert_eq!(response(&[both, expires]).ttl(), 30);
        assert_eq!(response(&[("cache-control", "max-age=20"), expires]).ttl(), 20);
        assert_eq!(response(&[expires, ("date", DATE)]).ttl(), 60);
    }

    #[test]
    fn expires_counts_from_the_origins_date_not_from_our_clock() {
        let lifetime = response(&[("expires", DATE_60_S_LATER), ("date", DATE_10_S_EARLIER)]).stored();
        assert_eq!(lifetime.fresh_until.since(lifetime.born_at), 70 * SECOND);
        assert_eq!(lifetime.ttl(RECEIVED), 60);
    }

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

    #[test]
    fn of_several_ages_the_first_counts_and_junk_is_none() {
        let age = |value| response(&[("cache-control", "max-age=60"), ("age", value)]).ttl();
        assert_eq!(age("20, 50"), 40);
        assert_eq!(age("-5"), 60);
        assert_eq!(age("1.5"), 60);
        assert_eq!(age("abc, 20"), 60);
        assert_eq!(age(""), 60);
    }

    #[test]
    fn a_response_older_than_its_lifetime_is_stored_only_to_be_revalidated() {
        let stale = [("cache-control", "max-age=60"), ("age", "61")];
        assert_eq!(response(&stale).refused(), Refusal::NoFreshness);
        let validated = [("cache-control", "max-age=60"), ("age", "61"), ("etag", "\"a\"")];
        assert_eq!(response(&validated).ttl(), -1);
        assert_eq!(response(&validated).status(404).refused(), Refusal::NoFreshness);
    }

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

    #[test]
    fn what_is_for_one_client_or_one_request_is_refused() {
        let fresh = ("cache-control", "max-age=60");
        assert_eq!(
            response(&[fresh, ("set-cookie", "a=b")]).refused(),
            Refusal::SetCookie
        );
        for vary in ["*", "accept", "Accept-Encoding, Accept", "accept-encoding, *"] {
            assert_eq!(
                response(&[fresh, ("vary", vary)]).refused(),
                Refusal::Vary,
                "{vary}"
            );
        }
        assert_eq!(
            response(&[fresh, ("vary", "Accept-Encoding, , accept-encoding")]).ttl(),
            60
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

    /// A refusal for `Status` or `NoFreshness` lets other clients have the response.
    #[test]
    fn what_makes_a_response_private_is_told_before_its_status() {
        let fresh = ("cache-control", "max-age=60");
        for (field, refusal) in [
            (("cache-control", "no-store"), Refusal::NoStore),
            (("cache-control", "private"), Refusal::Private),
            (("set-cookie", "a=1"), Refusal::SetCookie),
            (("vary", "cookie"), Refusal::Vary),
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

    #[test]
    fn a_versioned_url_promises_nothing_for_other_statuses_and_nothing_against_no_cache() {
        assert_eq!(response(&[]).status(404).versioned().ttl(), 10);
        let asks_back = response(&[("cache-control", "no-cache"), ("etag", "\"a\"")]).versioned();
        assert_eq!(asks_back.ttl(), -1);
        assert_eq!(asks_back.stored().freshness(RECEIVED), Freshness::Expired);
    }

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

    #[test]
    fn no_cache_is_stored_stale_with_a_validator_and_refused_without() {
        let asks_back = ("cache-control", "no-cache, max-age=60");
        assert_eq!(response(&[asks_back]).refused(), Refusal::NoFreshness);
        let case = response(&[asks_back, ("etag", "\"a\"")]).under(stale_windows);
        assert_eq!(case.stored().freshness(RECEIVED), Freshness::Expired);
        assert_eq!(case.windows(), (0, 0));
    }

    #[test]
    fn stale_windows_of_the_response_win_over_those_of_the_policy() {
        let case = |line: &str| response(&[("cache-control", line)]).under(stale_windows);
        assert_eq!(case("max-age=60").windows(), (30, 300));
        assert_eq!(
            case("max-age=60, stale-while-revalidate=7, stale-if-error=0").windows(),
            (7, 0)
        );
    }

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

    #[test]
    fn a_stored_response_passes_from_fresh_through_its_windows_to_expired() {
        let lifetime = Lifetime {
            born_at: Timestamp::from_secs(100),
            fresh_until: Timestamp::from_secs(160),
            revalidate_until: Timestamp::from_secs(170),
            error_until: Timestamp::from_secs(200),
        };
        let at = |millis| lifetime.freshness(Timestamp::from_millis(millis));
        assert_eq!(at(159_999), Freshness::Fresh);
        assert_eq!(at(160_000), Freshness::StaleWhileRevalidate);
        assert_eq!(at(170_000), Freshness::StaleIfError);
        assert_eq!(at(200_000), Freshness::Expired);
        assert_eq!(lifetime.gone_at(), Timestamp::from_secs(200));
        assert_eq!(lifetime.age(Timestamp::from_secs(130)), 30 * SECOND);
        assert_eq!(lifetime.age(Timestamp::from_secs(90)), Duration::ZERO);
        assert_eq!(lifetime.ttl(Timestamp::from_millis(158_500)), 1);
        assert_eq!(lifetime.ttl(Timestamp::from_millis(160_001)), -1);
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_origin_make_judging_panic_or_break_the_order_of_times(
            lines in prop::collection::vec((0..7usize, "[ -~]{0,40}"), 0..6),
            status in 100u16..600,
        ) {
            let names = ["cache-control", "expires", "date", "age", "vary", "etag", "last-modified"];
            let lines: Vec<_> = lines.iter().map(|(name, value)| (names[*name], value.as_str())).collect();
            let case = response(&lines).status(status).under(stale_windows);
            if let Verdict::Store(lifetime) = case.verdict() {
                prop_assert!(lifetime.born_at <= RECEIVED);
                prop_assert!(lifetime.born_at <= lifetime.fresh_until);
                prop_assert!(lifetime.fresh_until <= lifetime.revalidate_until);
                prop_assert!(lifetime.fresh_until <= lifetime.error_until);
            }
        }

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
