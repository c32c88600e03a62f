//! Conditional requests, both ways: a client's against a stored response, and ours to the origin.
//!
//! Invariant: a condition that can not be evaluated (a bad date, a missing validator) never yields a 304 or a part
//! of another representation. It does not know bodies, nor whether the stored response is fresh.

use super::entity_tag::{self, EntityTag};
use super::field;
use crate::base::clock::Timestamp;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// What a stored response is recognised by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validators<'a> {
    pub etag: Option<&'a HeaderValue>,
    pub last_modified: Option<&'a HeaderValue>,
    /// When the origin sent it: tells how far `Last-Modified` can be trusted, and stands in where there is none.
    pub date: Option<&'a HeaderValue>,
}

/// What the preconditions of a request make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Whether the `Range` of a request is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeApplies {
    Yes,
    No,
}

/// Whether a 304 speaks of the stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirms {
    Yes,
    /// It must not be merged; the origin has to be asked again, without conditions.
    No,
}

/// A `Last-Modified` this much older than the response's `Date` can not have changed twice within its second
/// (RFC 9110 section 8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(1);

/// What a client asked for is none of what we ask the origin. The last one is about ranges only.
static PRECONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// What a 304 says of the body it does not have is no news of the stored one; `Content-Length` by RFC 9111
/// section 3.2, the others because the stored bytes depend on them.
static OF_THE_BODY: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
];

impl<'a> Validators<'a> {
    pub fn of(headers: &'a HeaderMap) -> Self {
        Validators {
            etag: headers.get(header::ETAG),
            last_modified: headers.get(header::LAST_MODIFIED),
            date: headers.get(header::DATE),
        }
    }

    fn tag(&self) -> Option<EntityTag<'a>> {
        EntityTag::parse(self.etag?)
    }

    fn modified_at(&self) -> Option<Timestamp> {
        field::date(self.last_modified?)
    }

    fn sent_at(&self) -> Option<Timestamp> {
        field::date(self.date?)
    }
}

/// Evaluates in the order of RFC 9110 section 13.2.2. Preconditions are for a response that would be a 200 (section
/// 13.2.1); others proceed.
pub fn evaluate(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    stored: &Validators<'_>,
) -> Precondition {
    if status != StatusCode::OK || !states_some(request) {
        return Precondition::Proceed;
    }
    let still_meant = match request.contains_key(header::IF_MATCH) {
        true => matches_any(request, header::IF_MATCH, stored, |asked, tag| {
            asked.is_strongly(tag)
        }),
        false => !is_modified_since(request, header::IF_UNMODIFIED_SINCE, stored.modified_at()),
    };
    if !still_meant {
        return Precondition::Failed;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if request.contains_key(header::IF_NONE_MATCH) {
        match matches_any(request, header::IF_NONE_MATCH, stored, |asked, tag| {
            asked.is_weakly(tag)
        }) {
            true if reads => Precondition::NotModified,
            true => Precondition::Failed,
            false => Precondition::Proceed,
        }
    } else if reads && is_unmodified_since(request, stored) {
        Precondition::NotModified
    } else {
        Precondition::Proceed
    }
}

/// Most requests state none; this is all that a hit pays for conditions.
fn states_some(request: &HeaderMap) -> bool {
    PRECONDITIONS[..4].iter().any(|name| request.contains_key(name))
}

/// `*` matches whatever is stored.
fn matches_any(
    request: &HeaderMap,
    name: HeaderName,
    stored: &Validators<'_>,
    is: fn(&EntityTag<'_>, &EntityTag<'_>) -> bool,
) -> bool {
    if field::only(request, &name).is_some_and(|value| value.as_bytes().trim_ascii() == b"*") {
        return true;
    }
    let Some(tag) = stored.tag() else {
        return false;
    };
    request
        .get_all(&name)
        .iter()
        .flat_map(|line| entity_tag::tags(line.as_bytes()))
        .any(|asked| is(&asked, &tag))
}

/// Not when either date is missing or unreadable: the condition is then ignored (RFC 9110 section 13.1.4).
fn is_modified_since(request: &HeaderMap, name: HeaderName, modified_at: Option<Timestamp>) -> bool {
    match (field::only_date(request, name), modified_at) {
        (Some(asked), Some(modified_at)) => modified_at > asked,
        _ => false,
    }
}

/// A stored response without `Last-Modified` is judged by its `Date` (RFC 9111 section 4.3.2).
fn is_unmodified_since(request: &HeaderMap, stored: &Validators<'_>) -> bool {
    let modified_at = match stored.last_modified {
        Some(value) => field::date(value),
        None => stored.sent_at(),
    };
    match (field::only_date(request, header::IF_MODIFIED_SINCE), modified_at) {
        (Some(asked), Some(modified_at)) => modified_at <= asked,
        _ => false,
    }
}

/// `If-Range`: a strong tag that is the stored one, or exactly the stored date where that is a strong validator
/// (RFC 9110 section 13.1.5). Without `If-Range` every range applies.
pub fn range_applies(request: &HeaderMap, stored: &Validators<'_>) -> RangeApplies {
    if !request.contains_key(header::IF_RANGE) {
        return RangeApplies::Yes;
    }
    let holds = field::only(request, header::IF_RANGE).is_some_and(|asked| is_same_range_base(asked, stored));
    match holds {
        true => RangeApplies::Yes,
        false => RangeApplies::No,
    }
}

/// A tag has a quote among its first three characters, a date never.
fn is_same_range_base(asked: &HeaderValue, stored: &Validators<'_>) -> bool {
    if asked.as_bytes().iter().take(3).any(|&byte| byte == b'"') {
        let tags = EntityTag::parse(asked).zip(stored.tag());
        return tags.is_some_and(|(asked, tag)| asked.is_strongly(&tag));
    }
    match (field::date(asked), stored.modified_at(), stored.sent_at()) {
        (Some(asked), Some(modified_at), Some(sent_at)) => {
            asked == modified_at && sent_at >= modified_at.plus(STRONG_AFTER)
        }
        _ => false,
    }
}

/// Makes a request to the origin ask whether the stored response is still the current one; the client's own
/// preconditions go (RFC 9111 section 4.3.1).
pub fn ask_if_changed(request: &mut HeaderMap, stored: &Validators<'_>) {
    for name in &PRECONDITIONS {
        request.remove(name);
    }
    if let Some(etag) = stored.etag {
        request.insert(header::IF_NONE_MATCH, etag.clone());
    }
    if let (Some(value), Some(_)) = (stored.last_modified, stored.modified_at()) {
        request.insert(header::IF_MODIFIED_SINCE, value.clone());
    }
}

/// Whether a 304 that answers [`ask_if_changed`] is about the stored response (RFC 9111 section 4.3.4).
///
/// Its entity tag must be the stored one, strongly unless it is weak itself; where it brings none its `Last-Modified`
/// must be the stored one; where it brings neither it confirms. A 304 to a response without a validator answers
/// nothing that was asked.
pub fn confirms(stored: &Validators<'_>, response_304: &HeaderMap) -> Confirms {
    let asked = stored.etag.is_some() || stored.modified_at().is_some();
    let is_meant = if response_304.contains_key(header::ETAG) {
        let mut tags = response_304.get_all(header::ETAG).iter();
        tags.all(|tag| is_tag_of(tag, stored))
    } else {
        !brings_another_date(response_304, stored)
    };
    match asked && is_meant {
        true => Confirms::Yes,
        false => Confirms::No,
    }
}

/// A malformed tag that comes back byte for byte is still the one that was asked for.
fn is_tag_of(value: &HeaderValue, stored: &Validators<'_>) -> bool {
    let is_same = || {
        let (brought, tag) = EntityTag::parse(value).zip(stored.tag())?;
        Some(brought.is_strongly(&tag) || brought.is_weak() && brought.is_weakly(&tag))
    };
    stored.etag == Some(value) || is_same().unwrap_or(false)
}

/// An older date counts too: a version that was rolled back is unmodified since the stored one's date.
fn brings_another_date(response_304: &HeaderMap, stored: &Validators<'_>) -> bool {
    let brought = field::only_date(response_304, header::LAST_MODIFIED);
    let dates = brought.zip(stored.modified_at());
    dates.is_some_and(|(brought, modified_at)| brought != modified_at)
}

/// The stored headers after a 304 that [`confirms`] them: each field it brings replaces the stored one (RFC 9111
/// section 3.2). The stored `Date` and `Age` were those of the earlier message and go in any case, lest the confirmed
/// response be born old: after a 304 without `Date` there is none, and whoever has a clock adds the time of its
/// receipt (RFC 9110 section 6.6.1).
pub fn updated_by_304(stored: &HeaderMap, fresh: &HeaderMap) -> HeaderMap {
    let mut updated = stored.clone();
    updated.remove(header::DATE);
    updated.remove(header::AGE);
    for name in fresh.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        updated.remove(name);
        for value in fresh.get_all(name) {
            updated.append(name, value.clone());
        }
    }
    updated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

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

    fn stored() -> HeaderMap {
        map(&[("etag", "\"a\""), ("last-modified", MODIFIED), ("date", LATER)])
    }

    /// The outcome of a GET with `lines` against a 200 with `headers`.
    fn against(headers: &HeaderMap, lines: &[(&'static str, &str)]) -> Precondition {
        evaluate(
            &Method::GET,
            &map(lines),
            StatusCode::OK,
            &Validators::of(headers),
        )
    }

    fn get(lines: &[(&'static str, &str)]) -> Precondition {
        against(&stored(), lines)
    }

    #[test]
    fn if_none_match_compares_weakly_over_all_members_and_lines() {
        for list in ["\"a\"", "W/\"a\"", "\"x\", W/\"a\"", "*", " * "] {
            assert_eq!(
                get(&[("if-none-match", list)]),
                Precondition::NotModified,
                "{list}"
            );
        }
        let lines = [("if-none-match", "\"x\""), ("if-none-match", "\"a\"")];
        assert_eq!(get(&lines), Precondition::NotModified);
        for list in ["\"b\"", "a", "\"A\"", "", "\"*\""] {
            assert_eq!(get(&[("if-none-match", list)]), Precondition::Proceed, "{list}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        for list in ["\"a\"", "\"x\", \"a\"", "*"] {
            assert_eq!(get(&[("if-match", list)]), Precondition::Proceed, "{list}");
        }
        for list in ["W/\"a\"", "\"b\"", ""] {
            assert_eq!(get(&[("if-match", list)]), Precondition::Failed, "{list}");
        }
        let weak = map(&[("etag", "W/\"a\"")]);
        assert_eq!(against(&weak, &[("if-match", "W/\"a\"")]), Precondition::Failed);
    }

    #[test]
    fn dates_decide_where_no_tags_are_given() {
        assert_eq!(get(&[("if-modified-since", MODIFIED)]), Precondition::NotModified);
        assert_eq!(get(&[("if-modified-since", LATER)]), Precondition::NotModified);
        assert_eq!(get(&[("if-modified-since", EARLIER)]), Precondition::Proceed);
        assert_eq!(get(&[("if-unmodified-since", MODIFIED)]), Precondition::Proceed);
        assert_eq!(get(&[("if-unmodified-since", EARLIER)]), Precondition::Failed);
    }

    #[test]
    fn tags_take_precedence_over_dates() {
        let other_tag = ("if-none-match", "\"b\"");
        assert_eq!(
            get(&[other_tag, ("if-modified-since", LATER)]),
            Precondition::Proceed
        );
        let same_tag = ("if-match", "\"a\"");
        assert_eq!(
            get(&[same_tag, ("if-unmodified-since", EARLIER)]),
            Precondition::Proceed
        );
    }

    #[test]
    fn a_failed_demand_comes_before_a_304() {
        let lines = [("if-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(get(&lines), Precondition::Failed);
        let lines = [("if-match", "\"a\""), ("if-none-match", "\"a\"")];
        assert_eq!(get(&lines), Precondition::NotModified);
    }

    #[test]
    fn a_date_that_is_none_or_several_is_ignored() {
        for name in ["if-modified-since", "if-unmodified-since"] {
            for junk in ["yesterday", "0", "", "Sun, 06 Nov 1994 08:49:37 GMT, x"] {
                assert_eq!(get(&[(name, junk)]), Precondition::Proceed, "{name}: {junk}");
            }
        }
        let twice = [("if-modified-since", LATER), ("if-modified-since", LATER)];
        assert_eq!(get(&twice), Precondition::Proceed);
    }

    #[test]
    fn without_last_modified_the_date_decides_a_304_but_never_a_412() {
        let dated = map(&[("date", MODIFIED)]);
        assert_eq!(
            against(&dated, &[("if-modified-since", MODIFIED)]),
            Precondition::NotModified
        );
        assert_eq!(
            against(&dated, &[("if-modified-since", EARLIER)]),
            Precondition::Proceed
        );
        assert_eq!(
            against(&dated, &[("if-unmodified-since", EARLIER)]),
            Precondition::Proceed
        );
        let bare = HeaderMap::new();
        assert_eq!(
            against(&bare, &[("if-modified-since", LATER)]),
            Precondition::Proceed
        );
        assert_eq!(
            against(&bare, &[("if-none-match", "\"a\"")]),
            Precondition::Proceed
        );
        assert_eq!(against(&bare, &[("if-match", "\"a\"")]), Precondition::Failed);
    }

    #[test]
    fn conditions_are_for_a_200_and_a_304_for_reading() {
        let evaluated = |method: &Method, status: StatusCode, lines: &[(&'static str, &str)]| {
            evaluate(method, &map(lines), status, &Validators::of(&stored()))
        };
        let same_tag = [("if-none-match", "\"a\"")];
        assert_eq!(
            evaluated(&Method::HEAD, StatusCode::OK, &same_tag),
            Precondition::NotModified
        );
        assert_eq!(
            evaluated(&Method::PUT, StatusCode::OK, &same_tag),
            Precondition::Failed
        );
        assert_eq!(
            evaluated(&Method::GET, StatusCode::NOT_FOUND, &same_tag),
            Precondition::Proceed
        );
        let since = [("if-modified-since", LATER)];
        assert_eq!(
            evaluated(&Method::PUT, StatusCode::OK, &since),
            Precondition::Proceed
        );
    }

    fn if_range(headers: &HeaderMap, value: &str) -> RangeApplies {
        range_applies(&map(&[("if-range", value)]), &Validators::of(headers))
    }

    #[test]
    fn a_range_applies_to_the_same_bytes_only() {
        assert_eq!(
            range_applies(&HeaderMap::new(), &Validators::default()),
            RangeApplies::Yes
        );
        assert_eq!(if_range(&stored(), "\"a\""), RangeApplies::Yes);
        assert_eq!(if_range(&stored(), MODIFIED), RangeApplies::Yes);
        for other in [
            "\"b\"",
            "W/\"a\"",
            "\"b\", \"a\"",
            EARLIER,
            LATER,
            "junk",
            "",
            "*",
        ] {
            assert_eq!(if_range(&stored(), other), RangeApplies::No, "{other}");
        }
        let weak = map(&[("etag", "W/\"a\"")]);
        assert_eq!(if_range(&weak, "W/\"a\""), RangeApplies::No);
    }

    #[test]
    fn a_date_within_the_second_of_the_response_is_too_weak_for_a_range() {
        let at_once = map(&[("last-modified", MODIFIED), ("date", MODIFIED)]);
        assert_eq!(if_range(&at_once, MODIFIED), RangeApplies::No);
        let undated = map(&[("last-modified", MODIFIED)]);
        assert_eq!(if_range(&undated, MODIFIED), RangeApplies::No);
    }

    #[test]
    fn our_conditions_replace_the_clients() {
        let mut request = map(&[
            ("accept", "image/*"),
            ("if-match", "\"x\""),
            ("if-none-match", "\"x\""),
            ("if-modified-since", EARLIER),
            ("if-unmodified-since", EARLIER),
            ("if-range", "\"x\""),
        ]);
        ask_if_changed(&mut request, &Validators::of(&stored()));
        let expected = map(&[
            ("accept", "image/*"),
            ("if-none-match", "\"a\""),
            ("if-modified-since", MODIFIED),
        ]);
        assert_eq!(request, expected);
        ask_if_changed(&mut request, &Validators::default());
        assert_eq!(request, map(&[("accept", "image/*")]));
    }

    fn confirmed(stored: &[(&'static str, &str)], fresh: &[(&'static str, &str)]) -> bool {
        confirms(&Validators::of(&map(stored)), &map(fresh)) == Confirms::Yes
    }

    #[test]
    fn a_304_with_another_entity_tag_confirms_nothing() {
        for (stored, brought, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("\"a\"", "W/\"a\"", true),
            ("\"a\"", "W/\"b\"", false),
            ("W/\"a\"", "W/\"a\"", true),
            ("W/\"a\"", "\"a\"", false),
            ("unquoted", "unquoted", true),
            ("unquoted", "other", false),
            ("\"a\"", "junk", false),
        ] {
            let dated = ("last-modified", MODIFIED);
            let (stored, fresh) = ([("etag", stored), dated], [("etag", brought), dated]);
            assert_eq!(confirmed(&stored, &fresh), expected, "{stored:?} {fresh:?}");
        }
        let two = [("etag", "\"a\""), ("etag", "\"b\"")];
        assert!(!confirmed(&[("etag", "\"a\"")], &two));
        assert!(!confirmed(&[("last-modified", MODIFIED)], &[("etag", "\"a\"")]));
    }

    #[test]
    fn a_304_without_entity_tag_confirms_unless_its_date_is_another() {
        for stored in [
            &[("etag", "\"a\""), ("last-modified", MODIFIED)][..],
            &[("last-modified", MODIFIED)],
        ] {
            assert!(confirmed(stored, &[]));
            assert!(confirmed(stored, &[("last-modified", MODIFIED)]));
            assert!(!confirmed(stored, &[("last-modified", LATER)]));
            assert!(!confirmed(stored, &[("last-modified", EARLIER)]));
        }
        assert!(confirmed(&[("etag", "\"a\"")], &[("last-modified", LATER)]));
    }

    #[test]
    fn nothing_confirms_a_response_without_a_validator() {
        for stored in [&[("date", LATER)][..], &[("last-modified", "yesterday")]] {
            for fresh in [&[][..], &[("etag", "\"a\"")], &[("last-modified", MODIFIED)]] {
                assert!(!confirmed(stored, fresh), "{stored:?} {fresh:?}");
            }
        }
    }

    #[test]
    fn a_304_renews_what_it_brings_and_leaves_the_body_described_as_it_was() {
        let stored = map(&[
            ("content-length", "10"),
            ("content-type", "image/png"),
            ("cache-control", "max-age=1"),
            ("date", EARLIER),
            ("age", "50"),
            ("x-kept", "1"),
            ("link", "<a>"),
            ("link", "<b>"),
        ]);
        let fresh = map(&[
            ("content-length", "0"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-0/1"),
            ("cache-control", "max-age=60"),
            ("cache-control", "public"),
            ("date", LATER),
            ("link", "<c>"),
        ]);
        let expected = map(&[
            ("content-length", "10"),
            ("content-type", "image/png"),
            ("cache-control", "max-age=60"),
            ("cache-control", "public"),
            ("date", LATER),
            ("x-kept", "1"),
            ("link", "<c>"),
        ]);
        assert_eq!(updated_by_304(&stored, &fresh), expected);
    }

    #[test]
    fn a_304_without_date_does_not_leave_the_response_as_old_as_it_was() {
        let stored = map(&[("date", EARLIER), ("age", "50"), ("etag", "\"a\"")]);
        assert_eq!(
            updated_by_304(&stored, &HeaderMap::new()),
            map(&[("etag", "\"a\"")])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_evaluating_panic(
            name in prop::sample::select(&PRECONDITIONS[..]),
            line in prop::collection::vec(any::<u8>(), 0..60),
            etag in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut request = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                request.insert(name, value);
            }
            let etag = HeaderValue::from_bytes(&etag).ok();
            let stored = Validators { etag: etag.as_ref(), ..Validators::default() };
            evaluate(&Method::GET, &request, StatusCode::OK, &stored);
            range_applies(&request, &stored);
        }

        #[test]
        fn a_stored_valid_tag_is_found_among_others(tag in "[!#-~]{0,12}", others in "(\"[!#-~]{0,5}\", ?){0,4}") {
            let headers = map(&[("etag", &format!("\"{tag}\""))]);
            let list = format!("{others}W/\"{tag}\"");
            prop_assert_eq!(against(&headers, &[("if-none-match", &list)]), Precondition::NotModified);
        }
    }
}
