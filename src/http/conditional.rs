//! Conditional requests, both ways: a client's against a stored response, and ours to the origin.
//!
//! Invariant: a condition that can not be evaluated (a bad date, a missing validator) never yields a 304 or a part
//! of another representation. It does not know bodies, nor whether the stored response is fresh.

use super::entity_tag::{self, EntityTag};
use super::field;
use super::hop;
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
static OF_THE_BODY: [HeaderName; 5] = [
    header::CONTENT_LENGTH,
    HeaderName::from_static("content-digest"),
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

    pub(super) fn tag(&self) -> Option<EntityTag<'a>> {
        EntityTag::parse(self.etag?)
    }

    fn modified_at(&self) -> Option<Timestamp> {
        field::date(self.last_modified?)
    }

    fn sent_at(&self) -> Option<Timestamp> {
        field::date(self.date?)
    }

    /// `Last-Modified` where it is a strong validator.
    pub(super) fn strong_date(&self) -> Option<Timestamp> {
        let (modified_at, sent_at) = self.modified_at().zip(self.sent_at())?;
        (sent_at >= modified_at.plus(STRONG_AFTER)).then_some(modified_at)
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
    let dates = field::date(asked).zip(stored.strong_date());
    dates.is_some_and(|(asked, modified_at)| asked == modified_at)
}

/// Makes a request to the origin ask whether the stored response is still the current one; the client's own
/// preconditions go (RFC 9111 section 4.3.1).
///
/// `alternates` are the tags of other stored responses of the same URL: a 304 may select one of them. They are left out
/// where the stored response has no tag but a date, because an origin that hears tags does not hear dates.
pub fn ask_if_changed(request: &mut HeaderMap, stored: &Validators<'_>, alternates: &[HeaderValue]) {
    for name in &PRECONDITIONS {
        request.remove(name);
    }
    let date = stored.last_modified.filter(|_| stored.modified_at().is_some());
    let alternates = match (stored.etag, date) {
        (None, Some(_)) => &[],
        _ => alternates,
    };
    if let Some(tags) = tag_list(stored.etag, alternates) {
        request.insert(header::IF_NONE_MATCH, tags);
    }
    if let Some(date) = date {
        request.insert(header::IF_MODIFIED_SINCE, date.clone());
    }
}

/// One line, each tag once, and malformed ones not at all, except that the first stands alone if it is malformed: it
/// may be what the origin knows, and no list could be told from it.
fn tag_list(first: Option<&HeaderValue>, others: &[HeaderValue]) -> Option<HeaderValue> {
    let mut tags: Vec<EntityTag<'_>> = Vec::new();
    let mut list: Vec<&[u8]> = Vec::new();
    for value in first.into_iter().chain(others) {
        match EntityTag::parse(value) {
            Some(tag) if !tags.contains(&tag) => {
                tags.push(tag);
                list.push(value.as_bytes().trim_ascii());
            }
            None if first.is_some_and(|first| std::ptr::eq(first, value)) => return first.cloned(),
            _ => {}
        }
    }
    HeaderValue::from_bytes(&list.join(&b", "[..]))
        .ok()
        .filter(|_| !list.is_empty())
}

/// What a response to HEAD says of the stored response (RFC 9111 section 4.3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadUpdate {
    /// It is the same representation: these are its headers now.
    Same(HeaderMap),
    /// It is another one: what is stored is stale.
    Another,
}

/// `body_length` is that of the stored body. Every validator that the response to HEAD brings must be the stored one,
/// and so must its `Content-Length` if it brings one.
pub fn updated_by_head(stored: &HeaderMap, body_length: u64, head: &HeaderMap) -> HeadUpdate {
    let validators = Validators::of(stored);
    let mut tags = head.get_all(header::ETAG).iter();
    let mut dates = head.get_all(header::LAST_MODIFIED).iter();
    let mut lengths = head.get_all(header::CONTENT_LENGTH).iter();
    let is_same = tags.all(|tag| is_tag_of(tag, &validators))
        && dates.all(|date| is_date_of(date, &validators))
        && lengths.all(|length| field::decimal(length.as_bytes()) == Some(body_length));
    match is_same {
        true => HeadUpdate::Same(updated_by_304(stored, head)),
        false => HeadUpdate::Another,
    }
}

/// Also in another form of the same date; a malformed one only byte for byte.
fn is_date_of(value: &HeaderValue, stored: &Validators<'_>) -> bool {
    let dates = field::date(value).zip(stored.modified_at());
    stored.last_modified == Some(value) || dates.is_some_and(|(brought, modified_at)| brought == modified_at)
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

fn is_tag_of(value: &HeaderValue, stored: &Validators<'_>) -> bool {
    stored.etag.is_some_and(|etag| is_same_tag(value, etag))
}

/// Whether the tag that an answer brings is the stored one, strongly unless it is weak itself (RFC 9111 section
/// 4.3.4). A malformed one that comes back byte for byte is still the one that was asked for.
pub(super) fn is_same_tag(brought: &HeaderValue, stored: &HeaderValue) -> bool {
    let is_same = || {
        let (brought, stored) = EntityTag::parse(brought).zip(EntityTag::parse(stored))?;
        Some(brought.is_strongly(&stored) || brought.is_weak() && brought.is_weakly(&stored))
    };
    brought == stored || is_same().unwrap_or(false)
}

/// An older date counts too: a version that was rolled back is unmodified since the stored one's date.
fn brings_another_date(response_304: &HeaderMap, stored: &Validators<'_>) -> bool {
    let brought = field::only_date(response_304, header::LAST_MODIFIED);
    let dates = brought.zip(stored.modified_at());
    dates.is_some_and(|(brought, modified_at)| brought != modified_at)
}

/// The stored headers after a 304 that [`confirms`] them: each field it brings replaces the stored one, but for those
/// of its hop and of its body (RFC 9111 section 3.2). `Set-Cookie` is a field like others here: who does not store it
/// has to take it out of `fresh`.
///
/// The stored `Date` and `Age` were those of the earlier message and go in any case, lest the confirmed response be
/// born old: after a 304 without `Date` there is none, and whoever has a clock adds the time of its receipt (RFC 9110
/// section 6.6.1).
pub fn updated_by_304(stored: &HeaderMap, fresh: &HeaderMap) -> HeaderMap {
    let mut fresh = fresh.clone();
    hop::strip_hop_by_hop(&mut fresh);
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

    /// RFC 9110 section 13.1.2.
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

    /// RFC 9110 section 13.1.1.
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

    /// RFC 9110 sections 13.1.3 and 13.1.4.
    #[test]
    fn dates_decide_where_no_tags_are_given() {
        assert_eq!(get(&[("if-modified-since", MODIFIED)]), Precondition::NotModified);
        assert_eq!(get(&[("if-modified-since", LATER)]), Precondition::NotModified);
        assert_eq!(get(&[("if-modified-since", EARLIER)]), Precondition::Proceed);
        assert_eq!(get(&[("if-unmodified-since", MODIFIED)]), Precondition::Proceed);
        assert_eq!(get(&[("if-unmodified-since", EARLIER)]), Precondition::Failed);
    }

    /// RFC 9110 sections 13.1.3, 13.1.4 and 13.2.2.
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

    /// RFC 9110 section 13.2.2.
    #[test]
    fn a_failed_demand_comes_before_a_304() {
        let lines = [("if-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(get(&lines), Precondition::Failed);
        let lines = [("if-match", "\"a\""), ("if-none-match", "\"a\"")];
        assert_eq!(get(&lines), Precondition::NotModified);
    }

    /// RFC 9110 sections 13.1.3 and 13.1.4.
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

    /// RFC 9111 section 4.3.2, RFC 9110 section 13.1.4.
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

    /// RFC 9110 sections 13.2.1 and 13.2.2.
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

    /// RFC 9110 section 13.1.5.
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

    /// RFC 9110 sections 8.8.2.2 and 13.1.5.
    #[test]
    fn a_date_within_the_second_of_the_response_is_too_weak_for_a_range() {
        let at_once = map(&[("last-modified", MODIFIED), ("date", MODIFIED)]);
        assert_eq!(if_range(&at_once, MODIFIED), RangeApplies::No);
        let undated = map(&[("last-modified", MODIFIED)]);
        assert_eq!(if_range(&undated, MODIFIED), RangeApplies::No);
    }

    /// RFC 9111 section 4.3.1.
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
        ask_if_changed(&mut request, &Validators::of(&stored()), &[]);
        let expected = map(&[
            ("accept", "image/*"),
            ("if-none-match", "\"a\""),
            ("if-modified-since", MODIFIED),
        ]);
        assert_eq!(request, expected);
        ask_if_changed(&mut request, &Validators::default(), &[]);
        assert_eq!(request, map(&[("accept", "image/*")]));
    }

    fn values<const N: usize>(texts: [&'static str; N]) -> [HeaderValue; N] {
        texts.map(HeaderValue::from_static)
    }

    /// What is asked for with `stored` and tags of other responses.
    fn asked(stored: &[(&'static str, &str)], alternates: &[HeaderValue]) -> HeaderMap {
        let mut request = HeaderMap::new();
        ask_if_changed(&mut request, &Validators::of(&map(stored)), alternates);
        request
    }

    #[test]
    fn tags_of_other_responses_are_asked_for_in_the_same_line_by_rfc_9111_section_4_3_1() {
        let alternates = values(["\"b\"", "\"a\"", "W/\"c\"", "\"b\"", "junk"]);
        let request = asked(&[("etag", "\"a\""), ("last-modified", MODIFIED)], &alternates);
        let expected = [
            ("if-none-match", "\"a\", \"b\", W/\"c\""),
            ("if-modified-since", MODIFIED),
        ];
        assert_eq!(request, map(&expected));
        let request = asked(&[], &alternates);
        assert_eq!(request, map(&[("if-none-match", "\"b\", \"a\", W/\"c\"")]));
        assert_eq!(asked(&[], &values(["junk"])), HeaderMap::new());
    }

    #[test]
    fn a_malformed_stored_tag_is_asked_for_as_it_came_and_alone() {
        let request = asked(&[("etag", "junk")], &values(["\"b\""]));
        assert_eq!(request, map(&[("if-none-match", "junk")]));
    }

    #[test]
    fn a_stored_date_is_not_silenced_by_tags_of_other_responses_by_rfc_9110_section_13_1_3() {
        let request = asked(&[("last-modified", MODIFIED)], &values(["\"b\""]));
        assert_eq!(request, map(&[("if-modified-since", MODIFIED)]));
    }

    #[test]
    fn tags_with_bytes_beyond_ascii_match_by_rfc_9110_section_8_8_3() {
        let etag = HeaderValue::from_bytes("\"abc\u{fc}\"".as_bytes()).unwrap();
        let stored = HeaderMap::from_iter([(header::ETAG, etag.clone())]);
        let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, etag.clone())]);
        let outcome = evaluate(&Method::GET, &request, StatusCode::OK, &Validators::of(&stored));
        assert_eq!(outcome, Precondition::NotModified);
        let mut request = HeaderMap::new();
        ask_if_changed(&mut request, &Validators::of(&stored), &values(["\"b\""]));
        let expected = [etag.as_bytes(), b", \"b\""].concat();
        assert_eq!(request[header::IF_NONE_MATCH].as_bytes(), expected);
    }

    #[test]
    fn a_date_in_an_obsolete_form_is_the_same_date_by_rfc_9110_section_5_6_7() {
        for (last_modified, since) in [
            (MODIFIED, "Sunday, 06-Nov-94 08:49:37 GMT"),
            (MODIFIED, "Sun Nov  6 08:49:37 1994"),
            ("Mon, 20 Jul 2026 10:00:00 GMT", "Monday, 20-Jul-26 10:00:00 GMT"),
        ] {
            let stored = map(&[("last-modified", last_modified)]);
            let outcome = against(&stored, &[("if-modified-since", since)]);
            assert_eq!(outcome, Precondition::NotModified, "{since}");
        }
    }

    #[test]
    fn an_unquoted_tag_matches_nothing_by_rfc_9110_section_8_8_3() {
        for (etag, asked) in [
            ("\"a\"", "a"),
            ("a", "a"),
            ("a", "\"a\""),
            ("w/\"a\"", "w/\"a\""),
            ("W\"a\"", "W\"a\""),
            ("W\\\"a\"", "W\\\"a\""),
        ] {
            let stored = map(&[("etag", etag)]);
            let outcome = against(&stored, &[("if-none-match", asked)]);
            assert_eq!(outcome, Precondition::Proceed, "{etag} {asked}");
        }
    }

    /// Of a stored body of 10 bytes.
    fn by_head(stored: &[(&'static str, &str)], head: &[(&'static str, &str)]) -> HeadUpdate {
        updated_by_head(&map(stored), 10, &map(head))
    }

    #[test]
    fn a_head_with_another_validator_or_length_is_of_another_response_by_rfc_9111_section_4_3_5() {
        let stored = [("etag", "\"a\""), ("last-modified", MODIFIED)];
        let rfc_850 = "Sunday, 06-Nov-94 08:49:37 GMT";
        for head in [
            &[][..],
            &[("etag", "\"a\"")],
            &[("etag", "W/\"a\"")],
            &[("last-modified", MODIFIED)],
            &[("last-modified", rfc_850)],
            &[("content-length", "10")],
            &[
                ("etag", "\"a\""),
                ("last-modified", MODIFIED),
                ("content-length", "10"),
            ],
        ] {
            assert!(matches!(by_head(&stored, head), HeadUpdate::Same(_)), "{head:?}");
        }
        for head in [
            &[("etag", "\"b\"")][..],
            &[("etag", "junk")],
            &[("last-modified", LATER)],
            &[("last-modified", "junk")],
            &[("content-length", "11")],
            &[("content-length", "x")],
            &[("content-length", "10"), ("content-length", "11")],
            &[("etag", "\"b\""), ("last-modified", MODIFIED)],
            &[("etag", "\"a\""), ("last-modified", LATER)],
            &[("etag", "\"a\""), ("content-length", "0")],
        ] {
            assert_eq!(by_head(&stored, head), HeadUpdate::Another, "{head:?}");
        }
        let dated = [("last-modified", MODIFIED)];
        assert_eq!(by_head(&dated, &[("etag", "\"a\"")]), HeadUpdate::Another);
        let tagged = [("etag", "\"a\"")];
        assert_eq!(by_head(&tagged, &dated), HeadUpdate::Another);
        let weak = [("etag", "W/\"a\"")];
        assert_eq!(by_head(&weak, &tagged), HeadUpdate::Another);
    }

    #[test]
    fn a_head_of_the_same_response_updates_it_as_a_304_does_by_rfc_9111_section_4_3_5() {
        let stored = [
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("x-changed", "1"),
            ("content-type", "a/b"),
        ];
        let head = [
            ("x-changed", "2"),
            ("cache-control", "max-age=9"),
            ("content-type", "c/d"),
        ];
        assert_eq!(
            by_head(&stored, &head),
            HeadUpdate::Same(updated_by_304(&map(&stored), &map(&head)))
        );
        let HeadUpdate::Same(updated) = by_head(&stored, &head) else {
            panic!("it is the same response");
        };
        assert_eq!(updated["x-changed"], "2");
        assert_eq!(updated["x-kept"], "1");
        assert_eq!(updated["content-type"], "a/b");
    }

    fn confirmed(stored: &[(&'static str, &str)], fresh: &[(&'static str, &str)]) -> bool {
        confirms(&Validators::of(&map(stored)), &map(fresh)) == Confirms::Yes
    }

    /// RFC 9111 section 4.3.4.
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

    /// RFC 9111 section 4.3.4 for a date that is another.
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

    /// RFC 9111 section 3.2.
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
    fn fields_that_end_at_the_hop_are_not_taken_from_a_304_by_rfc_9111_section_3_1() {
        let stored = map(&[("x-listed", "1"), ("etag", "\"a\"")]);
        let fresh = map(&[
            ("connection", "x-listed, close"),
            ("x-listed", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "x"),
            ("proxy-authorization", "x"),
            ("te", "trailers"),
            ("trailer", "x-t"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-plain", "1"),
        ]);
        let expected = map(&[("x-listed", "1"), ("etag", "\"a\""), ("x-plain", "1")]);
        assert_eq!(updated_by_304(&stored, &fresh), expected);
    }

    #[test]
    fn fields_of_unknown_meaning_are_taken_from_a_304_by_rfc_9111_section_3_2() {
        for name in [
            "x-test-header",
            "content-foo",
            "content-location",
            "content-md5",
            "expires",
            "set-cookie",
        ] {
            let updated = updated_by_304(&map(&[(name, "1")]), &map(&[(name, "2")]));
            assert_eq!(updated, map(&[(name, "2")]), "{name}");
        }
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

        /// RFC 9110 section 13.1.2.
        #[test]
        fn a_stored_valid_tag_is_found_among_others(tag in "[!#-~]{0,12}", others in "(\"[!#-~]{0,5}\", ?){0,4}") {
            let headers = map(&[("etag", &format!("\"{tag}\""))]);
            let list = format!("{others}W/\"{tag}\"");
            prop_assert_eq!(against(&headers, &[("if-none-match", &list)]), Precondition::NotModified);
        }
    }
}
