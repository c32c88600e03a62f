//! Cache directives for some caches only: `CDN-Cache-Control` and its kin (RFC 9213), and `Surrogate-Control`.
//!
//! Invariant: a field that is no valid structured field counts as absent. It does not know what follows from the
//! directives.

use super::cache_control::{Argument, CacheControl, split};
use super::field;
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// Older than structured fields: its syntax is its own (Edge Architecture Specification, section 2.2).
const SURROGATE_CONTROL: &str = "surrogate-control";

/// The fields a cache looks for, first come first.
pub type TargetList = Vec<HeaderName>;

/// Directives, and whether a targeted field said them: then `Expires` is not heard (RFC 9213 section 2.2).
#[derive(Clone, Debug)]
pub struct Control {
    pub directives: CacheControl,
    pub is_targeted: bool,
}

/// The directives that are for this cache: those of the first field of `targets` that is there and valid, else those
/// of `Cache-Control`.
pub fn control(headers: &HeaderMap, targets: &[HeaderName]) -> Control {
    let said = targets.iter().find_map(|name| targeted(headers, name));
    Control {
        is_targeted: said.is_some(),
        directives: said.unwrap_or_else(|| CacheControl::of(headers)),
    }
}

fn targeted(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    if !headers.contains_key(name) {
        None
    } else if name == SURROGATE_CONTROL {
        surrogate(headers, name)
    } else {
        structured(headers, name)
    }
}

/// `None` for a field that is empty or can not be parsed (RFC 9213 section 2.1).
fn structured(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    let mut members = Dictionary::new();
    for line in headers.get_all(name) {
        let parser = Parser::new(line.as_bytes());
        parser.parse_dictionary_with_visitor(&mut members).ok()?;
    }
    if members.is_empty() {
        return None;
    }
    let mut control = CacheControl::default();
    for (name, member) in &members {
        if let Some(argument) = argument(member) {
            control.hear(name.as_str().as_bytes(), argument);
        }
    }
    Some(control)
}

/// The value of a member, without its parameters, in the types that RFC 9213 section 2.1 infers for directives; `None`
/// where it says that the directive is not meant.
fn argument(member: &ListEntry) -> Option<Argument<'_>> {
    let ListEntry::Item(item) = member else {
        return Some(Argument::Malformed);
    };
    match &item.bare_item {
        BareItem::Boolean(true) => Some(Argument::Absent),
        BareItem::Boolean(false) => None,
        BareItem::Integer(number) => Some(Argument::Number(i64::from(*number))),
        BareItem::String(words) => Some(Argument::Words(words.as_str())),
        BareItem::Token(word) => Some(Argument::Words(word.as_str())),
        _ => Some(Argument::Malformed),
    }
}

/// `None` for a field that says nothing about storing, such as `content="ESI/1.0"`.
fn surrogate(headers: &HeaderMap, name: &HeaderName) -> Option<CacheControl> {
    let mut control = CacheControl::default();
    // With a parameter it is for the one surrogate that the parameter names.
    for directive in field::list(headers, name).filter(|directive| !directive.contains(&b';')) {
        hear_surrogate(&mut control, directive);
    }
    (control != CacheControl::default()).then_some(control)
}

fn hear_surrogate(control: &mut CacheControl, directive: &[u8]) {
    let (name, argument) = split(directive);
    match extended(argument) {
        Some([fresh, stale]) if name.eq_ignore_ascii_case(b"max-age") => {
            control.hear(b"max-age", Argument::Text(fresh));
            control.hear(b"stale-while-revalidate", Argument::Text(stale));
        }
        // A cache of a network is far from its origins.
        _ if name.eq_ignore_ascii_case(b"no-store-remote") => control.hear(b"no-store", Argument::Absent),
        _ => control.hear(name, argument),
    }
}

/// `3600+600`: how long it is fresh, and how long after that it may be served while it is fetched anew.
fn extended(argument: Argument<'_>) -> Option<[&[u8]; 2]> {
    let Argument::Text(text) = argument else {
        return None;
    };
    let at = text.iter().position(|&byte| byte == b'+')?;
    Some([&text[..at], &text[at + 1..]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};
    use proptest::prelude::*;
    use std::time::Duration;

    const TARGETS: [&str; 3] = [
        "aquatint-cdn-cache-control",
        "cdn-cache-control",
        SURROGATE_CONTROL,
    ];

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn read(lines: &[(&'static str, &str)]) -> Control {
        control(&map(lines), &TARGETS.map(HeaderName::from_static))
    }

    fn cdn(line: &str) -> Control {
        read(&[("cdn-cache-control", line), ("cache-control", "max-age=7")])
    }

    fn surrogate(line: &str) -> Control {
        read(&[(SURROGATE_CONTROL, line), ("cache-control", "max-age=7")])
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    /// RFC 9213 section 2.2.
    #[test]
    fn the_first_listed_field_wins_and_no_other_is_heard() {
        let first = ("aquatint-cdn-cache-control", "max-age=1");
        let second = ("cdn-cache-control", "max-age=2, private");
        let general = ("cache-control", "max-age=3, no-store");
        let control = read(&[general, second, first]);
        assert!(control.is_targeted);
        let only_max_age = CacheControl {
            max_age: seconds(1),
            ..CacheControl::default()
        };
        assert_eq!(control.directives, only_max_age);
        let control = read(&[general, second]).directives;
        assert!(control.private && !control.no_store);
        let control = read(&[general]);
        assert!(!control.is_targeted && control.directives.no_store);
    }

    /// RFC 9213 section 2.2.
    #[test]
    fn a_field_that_is_not_on_the_list_changes_nothing() {
        let headers = map(&[("cdn-cache-control", "no-store"), ("cache-control", "max-age=7")]);
        let control = control(&headers, &[]);
        assert_eq!(control.directives.max_age, seconds(7));
        assert!(!control.directives.no_store && !control.is_targeted);
    }

    /// RFC 9213 section 2.1.
    #[test]
    fn an_empty_or_unparsable_field_is_absent_and_the_next_is_heard() {
        for line in [
            "",
            "max-age=9, &&&&&",
            "MaX-aGe=9",
            "max-age =9",
            "max-age= 9",
            "no-store,",
            "=",
            "max-age=1.2345",
            "max-age=1234567890123456",
        ] {
            let control = cdn(line);
            assert!(!control.is_targeted, "{line}");
            assert_eq!(control.directives.max_age, seconds(7), "{line}");
        }
        let next = read(&[
            ("aquatint-cdn-cache-control", "max-age=9, &&"),
            ("cdn-cache-control", "max-age=2"),
        ]);
        assert_eq!(next.directives.max_age, seconds(2));
    }

    /// RFC 9213 section 2.2: the meaning is that of `Cache-Control`.
    #[test]
    fn every_directive_of_cache_control_is_heard() {
        let plain = "no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, \
            immutable, max-age=1, s-maxage=2, stale-while-revalidate=3, stale-if-error=4, foobar";
        assert_eq!(
            cdn(plain).directives,
            read(&[("cache-control", plain)]).directives
        );
        let unknown = cdn("none");
        assert!(unknown.is_targeted);
        assert_eq!(unknown.directives, CacheControl::default());
    }

    /// RFC 9651 sections 4.2 and 4.2.2.
    #[test]
    fn lines_are_one_dictionary_in_which_the_last_of_equal_members_counts() {
        let lines = [
            ("cdn-cache-control", "max-age=1, private"),
            ("cdn-cache-control", "max-age=5"),
        ];
        let control = read(&lines).directives;
        assert!(control.private);
        assert_eq!(control.max_age, seconds(5));
    }

    /// RFC 9213 section 2.1: parameters are ignored.
    #[test]
    fn parameters_of_members_are_ignored() {
        let control = cdn("max-age=60;foo=1, private;bar").directives;
        assert!(control.private);
        assert_eq!(control.max_age, seconds(60));
    }

    /// RFC 9213 section 2.1: a value of a wrong type is not consumed; RFC 9111 section 4.2.1: without a valid one a
    /// response is stale.
    #[test]
    fn seconds_of_a_wrong_type_are_none() {
        for line in [
            r#"max-age="10000""#,
            "max-age=1.5",
            "max-age=-1",
            "max-age=abc",
            "max-age",
            "max-age=(60)",
            "max-age=:aa==:",
        ] {
            let control = cdn(line);
            assert!(control.is_targeted, "{line}");
            assert_eq!(control.directives.max_age, seconds(0), "{line}");
        }
    }

    /// RFC 9213 section 2.1: a value of a wrong type is not consumed; that it still forbids is our caution.
    #[test]
    fn a_flag_of_a_wrong_type_forbids_but_does_not_allow_and_a_false_one_is_not_there() {
        let odd = cdn("no-store=1, private=2.5, no-cache=7, public=1, must-understand=yes").directives;
        assert!(odd.no_store && odd.private && odd.no_cache);
        assert!(!odd.public && !odd.must_understand && odd.unshared.is_empty());
        let false_ones = cdn("no-store=?0, private=?0, no-cache=?0, public=?0");
        assert!(false_ones.is_targeted);
        assert_eq!(false_ones.directives, CacheControl::default());
    }

    /// RFC 9213 section 2.1: `no-cache` may be a string of field names.
    #[test]
    fn field_names_are_a_string() {
        let control = cdn(r#"no-cache="A, b", private=c"#).directives;
        assert!(!control.no_cache && !control.private);
        assert_eq!(control.unshared, ["a", "b", "c"]);
        assert!(cdn(r#"private="a (b)""#).directives.private);
    }

    /// RFC 9111 section 1.2.2.
    #[test]
    fn an_age_beyond_all_numbers_is_a_very_long_one() {
        assert_eq!(cdn("max-age=99999999999").directives.max_age, seconds(1 << 31));
    }

    #[test]
    fn surrogate_control_gives_a_lifetime_and_a_stale_window() {
        let plain = surrogate("max-age=3600").directives;
        assert_eq!(
            (plain.max_age, plain.stale_while_revalidate),
            (seconds(3600), None)
        );
        let extended = surrogate(r#"content="ESI/1.0, X", Max-Age=3600+600"#);
        assert!(extended.is_targeted);
        let extended = extended.directives;
        assert_eq!(extended.max_age, seconds(3600));
        assert_eq!(extended.stale_while_revalidate, seconds(600));
        for line in ["no-store", "no-store-remote, max-age=60"] {
            assert!(surrogate(line).directives.no_store, "{line}");
        }
        for junk in ["max-age=+", "max-age=x+1", "max-age=-1"] {
            assert_eq!(surrogate(junk).directives.max_age, seconds(0), "{junk}");
        }
    }

    #[test]
    fn surrogate_control_that_says_nothing_for_this_cache_is_absent() {
        for line in [
            r#"content="ESI/1.0""#,
            "max-age=60;abc",
            "no-store;abc",
            "unknown",
            "",
        ] {
            let control = surrogate(line);
            assert!(!control.is_targeted, "{line}");
            assert_eq!(control.directives.max_age, seconds(7), "{line}");
        }
        assert_eq!(
            surrogate("max-age=60, max-age=5;abc").directives.max_age,
            seconds(60)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(
            lines in prop::collection::vec((0..4usize, prop::collection::vec(any::<u8>(), 0..60)), 0..4),
        ) {
            let mut headers = HeaderMap::new();
            for (name, line) in lines {
                let name = TARGETS.get(name).map_or(header::CACHE_CONTROL, |name| HeaderName::from_static(name));
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(name, value);
                }
            }
            control(&headers, &TARGETS.map(HeaderName::from_static));
        }

        /// RFC 9213 section 2.2.
        #[test]
        fn a_valid_no_store_is_heard_whatever_cache_control_says(
            other in "[a-z-]{1,9}(=[0-9]{1,4}|=\"[a-z, ]{0,8}\")?",
            general in "[ -~]{0,40}",
        ) {
            prop_assume!(!other.starts_with('-'));
            let line = format!("{other}, no-store");
            let lines = [("cdn-cache-control", line.as_str()), ("cache-control", general.as_str())];
            prop_assert!(read(&lines).directives.no_store);
        }
    }
}
