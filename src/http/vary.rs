//! What a response varies by, and which alternate a request selects (RFC 9111 section 4.1).
//!
//! Invariant: requests whose answers may differ never make equal selections. It does not know what is stored.

mod normal;

use super::trace_context::{TRACEPARENT, TRACESTATE};
use super::{field, hop};
use crate::base::digest::{Digest, Hasher};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt;

/// A response that varies by more fields than this is not stored: no two requests would select the same.
const FIELDS_MAX: usize = 16;

/// Between stored names.
const SEPARATOR: &str = ", ";

/// Fields that make no difference to the answers of one URL: the first reaches no origin, and of the others the URL
/// says what the origin is told.
static WITHOUT_CONSEQUENCE: [HeaderName; 3] = [
    header::ACCEPT_ENCODING,
    hop::X_FORWARDED_HOST,
    hop::X_FORWARDED_PROTO,
];

/// Fields that the origin gets as this hop writes them, which is not as they were asked with.
static WRITTEN_HERE: [HeaderName; 6] = [
    hop::X_FORWARDED_FOR,
    header::FORWARDED,
    header::VIA,
    hop::X_REQUEST_ID,
    TRACEPARENT,
    TRACESTATE,
];

/// What a route does with a request header that a response varies by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Values that mean the same select the same alternate.
    Normalize,
    /// Values are compared byte for byte.
    Passthrough,
    /// A response that varies by it is not stored.
    Bypass,
}

/// A route's word on request headers that responses vary by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaryPolicy {
    pub default: Treatment,
    pub by_header: Vec<(HeaderName, Treatment)>,
}

/// What a response varies by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    Nothing,
    By(Fields),
    /// `*`, a field that the route bypasses or that no fill carries, or what can not be read: no other request may get
    /// it.
    Everything,
}

/// Names of request headers, sorted, each once, at least one. `Accept-Encoding` is never among them: it reaches no
/// origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Box<[HeaderName]>);

/// What a request says in the fields a response varies by: equal selections get the same alternate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selection(Digest);

impl Default for VaryPolicy {
    fn default() -> Self {
        VaryPolicy {
            default: Treatment::Normalize,
            by_header: Vec::new(),
        }
    }
}

impl VaryPolicy {
    fn treatment(&self, name: &str) -> Treatment {
        let mut listed = self.by_header.iter();
        listed
            .find(|(listed, _)| listed.as_str() == name)
            .map_or(self.default, |(_, treatment)| *treatment)
    }

    fn stores(&self, name: &HeaderName) -> bool {
        let reaches_origin = !WRITTEN_HERE.contains(name) && !hop::stays_out_of_fills(name);
        reaches_origin && self.treatment(name.as_str()) != Treatment::Bypass
    }
}

impl Vary {
    /// Reads the `Vary` lines of a response (RFC 9110 section 12.5.5).
    pub fn of(response: &HeaderMap, policy: &VaryPolicy) -> Vary {
        let mut names = Vec::new();
        for member in field::list(response, header::VARY) {
            let name = (member != b"*").then(|| HeaderName::from_bytes(member).ok());
            match name.flatten() {
                Some(name) if WITHOUT_CONSEQUENCE.contains(&name) => {}
                Some(name) if policy.stores(&name) => names.push(name),
                _ => return Vary::Everything,
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        match names.len() {
            0 => Vary::Nothing,
            1..=FIELDS_MAX => Vary::By(Fields(names.into())),
            _ => Vary::Everything,
        }
    }
}

impl Fields {
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// What `request` selects; `request` is as the origin gets it, without the fields that end at this hop: what a
    /// client lists in `Connection` is absent.
    pub fn select(&self, request: &HeaderMap, policy: &VaryPolicy) -> Selection {
        let mut hasher = Hasher::default();
        for name in &self.0 {
            let name = name.as_str();
            add(&mut hasher, name, policy.treatment(name), request);
        }
        Selection(hasher.finish())
    }

    /// As a list that [`Fields::parse`] takes back.
    pub(super) fn to_value(&self) -> HeaderValue {
        let names: Vec<&str> = self.0.iter().map(HeaderName::as_str).collect();
        HeaderValue::try_from(names.join(SEPARATOR)).expect("names and commas are a value")
    }

    /// Reads nothing but what [`Fields::to_value`] writes.
    pub(super) fn parse(value: &HeaderValue) -> Option<Self> {
        let names: Option<Vec<HeaderName>> = stored_names(value)?
            .map(|name| HeaderName::from_lowercase(name.as_bytes()).ok())
            .collect();
        let names = names.filter(|names| {
            names.len() <= FIELDS_MAX && names.windows(2).all(|pair| pair[0].as_str() < pair[1].as_str())
        })?;
        let readable = names.iter().all(|name| name != "*");
        readable.then(|| Fields(names.into()))
    }
}

fn stored_names(value: &HeaderValue) -> Option<impl Iterator<Item = &str>> {
    Some(value.to_str().ok()?.split(SEPARATOR))
}

/// [`Fields::select`] for fields as [`Fields::to_value`] writes them, without making names of them. `None` where the
/// route bypasses one by now.
pub(super) fn select_by_stored(
    fields: &HeaderValue,
    request: &HeaderMap,
    policy: &VaryPolicy,
) -> Option<Selection> {
    let mut hasher = Hasher::default();
    for name in stored_names(fields)? {
        let treatment = policy.treatment(name);
        if treatment == Treatment::Bypass {
            return None;
        }
        add(&mut hasher, name, treatment, request);
    }
    Some(Selection(hasher.finish()))
}

fn add(hasher: &mut Hasher, name: &str, treatment: Treatment, request: &HeaderMap) {
    normal::add_framed(hasher, name.as_bytes());
    match treatment {
        Treatment::Normalize => normal::add_meaning(hasher, request, name),
        Treatment::Passthrough | Treatment::Bypass => normal::add_bytes(hasher, request, name),
    }
}

impl Selection {
    pub fn digest(&self) -> Digest {
        self.0
    }

    pub(super) fn from_digest(digest: Digest) -> Self {
        Selection(digest)
    }
}

/// All of it, in lower-case hexadecimal digits.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.as_bytes().iter();
        bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    fn map(lines: Lines<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn vary(value: &str) -> Vary {
        Vary::of(&map(&[("vary", value)]), &VaryPolicy::default())
    }

    fn fields(value: &str) -> Fields {
        match vary(value) {
            Vary::By(fields) => fields,
            other => panic!("{value}: {other:?}"),
        }
    }

    fn only(treatment: Treatment, name: &'static str) -> VaryPolicy {
        VaryPolicy {
            by_header: vec![(HeaderName::from_static(name), treatment)],
            ..VaryPolicy::default()
        }
    }

    fn selected(by: &str, request: Lines<'_>) -> Selection {
        fields(by).select(&map(request), &VaryPolicy::default())
    }

    /// Whether both lines of `name` select the same.
    fn same(name: &str, one: &str, other: &str) -> bool {
        selected(name, &[(name, one)]) == selected(name, &[(name, other)])
    }

    #[test]
    fn a_trace_selects_no_alternate() {
        for name in ["traceparent", "tracestate", "accept, traceparent"] {
            assert_eq!(vary(name), Vary::Everything, "{name}");
        }
    }

    #[test]
    fn all_members_of_all_lines_count_and_each_once_by_rfc_9110_section_12_5_5() {
        let lines = map(&[
            ("vary", "Foo, ,accept-language"),
            ("vary", ""),
            ("vary", "BAR,foo"),
        ]);
        let Vary::By(fields) = Vary::of(&lines, &VaryPolicy::default()) else {
            panic!("fields are named");
        };
        assert_eq!(fields.names(), ["accept-language", "bar", "foo"]);
    }

    #[test]
    fn a_star_anywhere_is_everything_by_rfc_9111_section_4_1() {
        for value in ["*", "*, *", ", *", "*, Foo", "Foo, *", " * "] {
            assert_eq!(vary(value), Vary::Everything, "{value}");
        }
        for lines in [[("vary", "*"), ("vary", "*")], [("vary", ""), ("vary", "*")]] {
            let vary = Vary::of(&map(&lines), &VaryPolicy::default());
            assert_eq!(vary, Vary::Everything, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_name_may_be_any_and_is_everything() {
        for value in ["a b", "\"foo\"", "foo;bar", "foo, b@r", "\u{fc}", "foo=1"] {
            assert_eq!(vary(value), Vary::Everything, "{value}");
        }
    }

    #[test]
    fn what_makes_no_difference_to_the_answers_of_a_url_is_left_out() {
        let none = Vary::of(&HeaderMap::new(), &VaryPolicy::default());
        assert_eq!(none, Vary::Nothing);
        for value in ["", " , ", "Accept-Encoding", "X-Forwarded-Proto, accept-encoding"] {
            assert_eq!(vary(value), Vary::Nothing, "{value}");
        }
        assert_eq!(fields("Accept-Encoding, Accept").names(), ["accept"]);
        assert_eq!(vary("Accept-Encoding, *"), Vary::Everything);
    }

    #[test]
    fn what_this_hop_writes_is_not_what_clients_ask_with_and_is_everything() {
        for value in ["X-Forwarded-For", "Forwarded", "Via, Foo"] {
            assert_eq!(vary(value), Vary::Everything, "{value}");
        }
    }

    #[test]
    fn a_field_that_the_route_bypasses_is_everything() {
        let policy = only(Treatment::Bypass, "user-agent");
        let of = |value| Vary::of(&map(&[("vary", value)]), &policy);
        assert_eq!(of("Accept, User-Agent"), Vary::Everything);
        assert!(matches!(of("Accept"), Vary::By(_)));
        let policy = VaryPolicy {
            default: Treatment::Bypass,
            ..only(Treatment::Normalize, "accept")
        };
        let of = |value| Vary::of(&map(&[("vary", value)]), &policy);
        assert_eq!(of("Foo"), Vary::Everything);
        assert!(matches!(of("Accept"), Vary::By(_)));
        assert_eq!(of("Accept-Encoding"), Vary::Nothing);
    }

    #[test]
    fn more_fields_than_anyone_varies_by_are_everything() {
        let names = |count: usize| (0..count).map(|at| format!("x-{at},")).collect::<String>();
        assert!(matches!(vary(&names(FIELDS_MAX)), Vary::By(_)));
        assert_eq!(vary(&names(FIELDS_MAX + 1)), Vary::Everything);
    }

    #[test]
    fn absent_matches_absent_and_nothing_else_by_rfc_9111_section_4_1() {
        let by = "foo, bar";
        let without = selected(by, &[("bar", "1"), ("other", "1")]);
        assert_eq!(without, selected(by, &[("bar", "1"), ("other", "2")]));
        assert_ne!(without, selected(by, &[("bar", "1"), ("foo", "")]));
        assert_ne!(without, selected(by, &[("bar", "1"), ("foo", "1")]));
        assert_ne!(without, selected(by, &[("foo", "1")]));
    }

    #[test]
    fn a_value_of_one_field_is_not_that_of_another() {
        assert_ne!(selected("foo", &[("foo", "1")]), selected("bar", &[("bar", "1")]));
    }

    /// RFC 9111 section 4.1.
    #[test]
    fn all_fields_have_to_match_in_whatever_order_they_come() {
        let by = "foo, bar, baz";
        let one = selected(by, &[("foo", "1"), ("bar", "abc"), ("baz", "789")]);
        let other_order = [("baz", "789"), ("foo", "1"), ("bar", "abc")];
        assert_eq!(one, selected(by, &other_order));
        assert_ne!(
            one,
            selected(by, &[("foo", "1"), ("baz", "789"), ("bar", "abcde")])
        );
        assert_ne!(one, selected(by, &[("foo", "abc"), ("bar", "1"), ("baz", "789")]));
    }

    #[test]
    fn white_space_and_lines_make_no_difference_to_unknown_fields_by_rfc_9111_section_4_1() {
        let one_line = selected("foo", &[("foo", "1, 2")]);
        assert_eq!(one_line, selected("foo", &[("foo", "1"), ("foo", "2")]));
        for other in ["1,2", " 1, 2 ", "1 ,\t2", ",1,,2,"] {
            assert!(same("foo", "1, 2", other), "{other}");
        }
    }

    /// RFC 9111 section 4.1.
    #[test]
    fn order_case_and_quoted_strings_of_unknown_fields_count() {
        for (one, other) in [
            ("1, 2", "2, 1"),
            ("a", "A"),
            ("a;q=1", "a"),
            ("a  b", "a b"),
            ("a, a", "a"),
            ("\"1, 2\"", "\"1,2\""),
            ("\"1,2\"", "1,2"),
        ] {
            assert!(!same("foo", one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_weighted_list_has_no_order_but_that_of_its_weights_by_rfc_9110_section_12_5_4() {
        for (one, other) in [
            ("en, de", "de, en"),
            ("en, de", "eN, De"),
            ("en, de", " en ,   de"),
            ("en;q=0.5, de", "de;q=1.000,EN ; Q=0.50"),
            ("*;q=0", "*;q=0.000"),
        ] {
            assert!(same("accept-language", one, other), "{one} {other}");
        }
        for (one, other) in [
            ("en, de", "en"),
            ("en, de", "en, de;q=0.9"),
            ("en;q=0.5, de", "en, de;q=0.5"),
            ("en-us", "en"),
            ("", "en"),
        ] {
            assert!(!same("accept-language", one, other), "{one} {other}");
        }
        let lines = [("accept-language", "de"), ("accept-language", "en")];
        let one_line = selected("accept-language", &[("accept-language", "en,de")]);
        assert_eq!(selected("accept-language", &lines), one_line);
    }

    #[test]
    fn parameters_of_a_media_range_count_by_rfc_9110_section_12_5_1() {
        let both_ways = ("Image/WebP,*/*;q=0.8", "*/* ;Q=0.800, image/webp");
        assert!(same("accept", both_ways.0, both_ways.1));
        assert!(same("accept", "a/b;Level=1;q=0.1", "A/B; level=1;q=0.1"));
        for (one, other) in [
            ("a/b;level=1", "a/b"),
            ("a/b;level=x", "a/b;level=X"),
            ("a/b;x=1;y=2", "a/b;x=\"1;y=2\""),
            ("a/b;x=\"A\"", "a/b;x=\"a\""),
        ] {
            assert!(!same("accept", one, other), "{one} {other}");
        }
    }

    /// RFC 9111 section 4.1: only what is known to mean the same matches.
    #[test]
    fn a_weighted_list_that_can_not_be_read_is_compared_as_it_is() {
        for malformed in [
            "en;q=2",
            "en;q",
            "en;q=0.5;q=0.5",
            ";q=1",
            "en;",
            "\"EN\"",
            "en;q =1",
        ] {
            let padded = format!("  {malformed} , de");
            let list = format!("{malformed}, de");
            assert!(same("accept-language", &list, &padded), "{list}");
            let turned = format!("de, {malformed}");
            assert!(!same("accept-language", &list, &turned), "{list}");
        }
        assert!(!same("accept-language", "EN;q=2", "en;q=2"));
    }

    /// RFC 9110 section 5.3 for the lines.
    #[test]
    fn passthrough_compares_bytes_of_the_joined_lines() {
        let policy = only(Treatment::Passthrough, "accept-language");
        let selected = |request: Lines<'_>| fields("accept-language").select(&map(request), &policy);
        let name = "accept-language";
        let one_line = selected(&[(name, "en, de")]);
        assert_eq!(one_line, selected(&[(name, "en"), (name, "de")]));
        for other in ["en,de", "de, en", "EN, de", ""] {
            assert_ne!(one_line, selected(&[(name, other)]), "{other}");
        }
        assert_ne!(selected(&[]), selected(&[(name, "")]));
        assert_ne!(one_line, super::tests::selected(name, &[(name, "en, de")]));
    }

    #[test]
    fn stored_fields_are_taken_back_only_as_they_were_written() {
        for value in ["accept-language", "accept-language, foo"] {
            assert_eq!(Fields::parse(&fields(value).to_value()), Some(fields(value)));
        }
        for value in [
            "", "*", "foo, bar", "foo, foo", "Foo", "a,b", "a, ", "a b", "\u{fc}", "a, *",
        ] {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            assert_eq!(Fields::parse(&value), None, "{value:?}");
        }
    }

    #[test]
    fn a_field_that_is_bypassed_by_now_selects_nothing_that_is_stored() {
        let stored = fields("accept, foo").to_value();
        let policy = only(Treatment::Bypass, "foo");
        assert_eq!(select_by_stored(&stored, &HeaderMap::new(), &policy), None);
    }

    #[test]
    fn a_selection_is_written_in_full() {
        let written = selected("foo", &[]).to_string();
        assert_eq!(written.len(), 64);
        assert!(written.starts_with(&format!("{:?}", selected("foo", &[]).digest())));
    }

    /// A slow and obvious model of what [`Fields::select`] compares of an unknown field.
    fn model(lines: &[String]) -> Option<Vec<String>> {
        let joined = lines.join(",");
        let members = joined.split(',').map(|member| member.trim().to_owned());
        (!lines.is_empty()).then(|| members.filter(|member| !member.is_empty()).collect())
    }

    fn request(name: &str, lines: &[String]) -> HeaderMap {
        let lines: Vec<_> = lines.iter().map(|line| (name, line.as_str())).collect();
        map(&lines)
    }

    fn any_request() -> impl Strategy<Value = HeaderMap> {
        let name = prop::sample::select(&["accept", "accept-language", "foo", "bar"][..]);
        let value = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..30),
            "[ -~]{0,30}".prop_map(String::into_bytes),
            "([a-c]{1,2}(;q=[0-9.]{1,4})?,? ?){0,5}".prop_map(String::into_bytes),
        ];
        prop::collection::vec((name, value), 0..6).prop_map(|lines| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name, value);
                }
            }
            headers
        })
    }

    proptest! {
        /// RFC 9111 section 4.1.
        #[test]
        fn unknown_fields_select_the_same_exactly_when_their_normal_values_are_the_same(
            one in prop::collection::vec("[ab, ]{0,4}", 0..3),
            other in prop::collection::vec("[ab, ]{0,4}", 0..3),
        ) {
            let selected = |lines| fields("foo").select(&request("foo", lines), &VaryPolicy::default());
            prop_assert_eq!(selected(&one) == selected(&other), model(&one) == model(&other));
        }

        /// RFC 9111 section 4.1.
        #[test]
        fn pieces_of_two_fields_never_pass_for_those_of_one_another(
            one in prop::array::uniform2("[ab,]{0,3}"), other in prop::array::uniform2("[ab,]{0,3}"),
        ) {
            let selected = |values: &[String; 2]| {
                fields("foo, bar").select(&map(&[("foo", &values[0]), ("bar", &values[1])]), &VaryPolicy::default())
            };
            let models = |values: &[String; 2]| values.clone().map(|value| model(&[value]));
            prop_assert_eq!(selected(&one) == selected(&other), models(&one) == models(&other));
        }

        /// RFC 9111 section 4.1, RFC 9110 sections 12.4.2 and 12.5.4.
        #[test]
        fn spellings_of_one_list_of_languages_select_the_same(
            choices in prop::collection::vec(("[a-zA-Z]{1,3}", 0u16..=10), 1..6).prop_shuffle(),
            turned in any::<prop::sample::Index>(),
            space in "[ \t]{0,3}",
        ) {
            let spelled: Vec<_> = choices.iter().map(|(name, weight)| format!("{name};q={}.{}", weight / 10, weight % 10)).collect();
            let mut other = choices.clone();
            other.rotate_left(turned.index(choices.len()));
            let other: Vec<_> = other.iter().map(|(name, weight)| match weight {
                10 => name.to_uppercase(),
                _ => format!("{}{space};{space}Q=0.{weight}00", name.to_lowercase()),
            }).collect();
            let separator = format!("{space},{space}");
            prop_assert!(same("accept-language", &spelled.join(","), &other.join(&separator)));
        }

        /// RFC 9111 section 4.1, RFC 9110 sections 12.4.2 and 12.5.4.
        #[test]
        fn lists_of_languages_select_the_same_only_if_they_hold_the_same_choices(
            one in prop::collection::vec(("[ab]{1,2}", 0u16..3), 0..4),
            other in prop::collection::vec(("[ab]{1,2}", 0u16..3), 0..4),
        ) {
            let list = |choices: &[(String, u16)]| {
                let spelled: Vec<_> = choices.iter().map(|(name, weight)| format!("{name};q=0.{weight}")).collect();
                spelled.join(", ")
            };
            let sorted = |choices: &[(String, u16)]| {
                let mut choices = choices.to_vec();
                choices.sort();
                choices
            };
            prop_assert_eq!(same("accept-language", &list(&one), &list(&other)), sorted(&one) == sorted(&other));
        }

        #[test]
        fn no_bytes_make_reading_or_selecting_panic_and_stored_fields_select_as_fresh_ones(
            request in any_request(), line in prop::collection::vec(any::<u8>(), 0..40),
            treatment in prop::sample::select(&[Treatment::Normalize, Treatment::Passthrough][..]),
        ) {
            let mut response = map(&[("vary", "accept, foo, accept-language")]);
            let policy = VaryPolicy { default: treatment, by_header: Vec::new() };
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                response.append(header::VARY, value);
            }
            if let Vary::By(fields) = Vary::of(&response, &policy) {
                let stored = select_by_stored(&fields.to_value(), &request, &policy);
                prop_assert_eq!(stored, Some(fields.select(&request, &policy)));
                prop_assert_eq!(Fields::parse(&fields.to_value()), Some(fields));
            }
        }
    }
}
