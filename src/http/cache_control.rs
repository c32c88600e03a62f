//! The `Cache-Control` of a response, as a shared cache reads it (RFC 9111 section 5.2.2).
//!
//! Invariant: in doubt the reading is the more restrictive one. It does not know what follows from it; that
//! is [`super::freshness`].

use super::field;
use http::{HeaderMap, HeaderName, header};
use std::time::Duration;

/// What the directives say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub no_store: bool,
    /// Unqualified; with field names it speaks of those fields alone (section 5.2.2.4).
    pub no_cache: bool,
    /// Unqualified; with field names it speaks of those fields alone (section 5.2.2.7).
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub must_understand: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// The fields that `no-cache` or `private` names: no later request may get them from here.
    pub unshared: Vec<HeaderName>,
}

/// What a directive says beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    Absent,
    /// A token or a quoted string: section 5.2 asks recipients to take both for any directive.
    Text(&'a [u8]),
    /// Of a structured field, where it can not be text.
    Number(i64),
    /// Of a structured field, where it can not be a number.
    Words(&'a str),
    /// No directive takes it.
    Malformed,
}

impl CacheControl {
    /// Reads all lines; unknown directives are ignored (section 5.2.3).
    pub fn of(headers: &HeaderMap) -> CacheControl {
        let mut control = CacheControl::default();
        for directive in field::list(headers, header::CACHE_CONTROL) {
            let (name, argument) = split(directive);
            control.hear(name, argument);
        }
        control
    }

    /// Whether the response itself forbids to serve it stale, whatever else is allowed (section 4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate
    }

    /// What forbids is heard whatever its argument; what allows must be well formed.
    pub(super) fn hear(&mut self, name: &[u8], argument: Argument<'_>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            qualify(&mut self.no_cache, &mut self.unshared, argument);
        } else if is("private") {
            qualify(&mut self.private, &mut self.unshared, argument);
        } else if is("public") {
            self.public |= argument == Argument::Absent;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand |= argument == Argument::Absent;
        } else if is("max-age") {
            restrict(&mut self.max_age, argument);
        } else if is("s-maxage") {
            restrict(&mut self.s_maxage, argument);
        } else if is("stale-while-revalidate") {
            restrict(&mut self.stale_while_revalidate, argument);
        } else if is("stale-if-error") {
            restrict(&mut self.stale_if_error, argument);
        }
    }
}

impl Argument<'_> {
    pub(super) fn seconds(self) -> Option<Duration> {
        match self {
            Argument::Text(text) => field::delta_seconds(unquoted(text)),
            Argument::Number(number) => u64::try_from(number).ok().map(field::capped_seconds),
            Argument::Absent | Argument::Words(_) | Argument::Malformed => None,
        }
    }

    /// One or more field names.
    fn names(self) -> Option<Vec<HeaderName>> {
        let text = match self {
            Argument::Text(text) => unquoted(text),
            Argument::Words(text) => text.as_bytes(),
            Argument::Absent | Argument::Number(_) | Argument::Malformed => return None,
        };
        let words = text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let names = words.filter(|word| !word.is_empty()).map(HeaderName::from_bytes);
        let names: Vec<_> = names.collect::<Result<_, _>>().ok()?;
        (!names.is_empty()).then_some(names)
    }
}

/// What says whose answer a response is, how long, and what its bytes mean.
static ESSENTIAL: [HeaderName; 9] = [
    header::VARY,
    header::CACHE_CONTROL,
    header::DATE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_LENGTH,
];

/// Name and argument. Whitespace around `=` is malformed: the name is still heard, its argument is not.
pub(super) fn split(directive: &[u8]) -> (&[u8], Argument<'_>) {
    let Some(at) = directive.iter().position(|&byte| byte == b'=') else {
        return (directive, Argument::Absent);
    };
    let name = directive[..at].trim_ascii_end();
    let argument = &directive[at + 1..];
    let is_tight = name.len() == at && argument.trim_ascii_start() == argument;
    let argument = if is_tight {
        Argument::Text(argument)
    } else {
        Argument::Malformed
    };
    (name, argument)
}

fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(text)
}

/// Without valid field names the directive is as restrictive as it can be, as sections 5.2.2.4 and 5.2.2.7 allow; so it
/// is where it names a field without which the rest would be another response.
fn qualify(unqualified: &mut bool, unshared: &mut Vec<HeaderName>, argument: Argument<'_>) {
    match argument.names() {
        Some(names) if !names.iter().any(|name| ESSENTIAL.contains(name)) => unshared.extend(names),
        _ => *unqualified = true,
    }
}

/// The smallest of several values counts; an invalid one is none at all: stale (section 4.2.1).
fn restrict(known: &mut Option<Duration>, argument: Argument<'_>) {
    let said = argument.seconds().unwrap_or(Duration::ZERO);
    *known = Some(known.map_or(said, |earlier| earlier.min(said)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        }
        CacheControl::of(&headers)
    }

    fn max_age(line: &str) -> Option<u64> {
        read(&[line]).max_age.map(|age| age.as_secs())
    }

    /// RFC 9111 section 5.2, and RFC 9110 section 5.3 for several lines.
    #[test]
    fn every_directive_is_heard_in_any_case_and_on_any_line() {
        let control = read(&[
            "No-Store, PRIVATE,no-cache",
            "public, must-revalidate, Proxy-Revalidate , immutable, Must-Understand",
            "MAX-AGE=1, s-maxage=2, stale-while-revalidate=3, Stale-If-Error=4",
        ]);
        let expected = CacheControl {
            no_store: true,
            no_cache: true,
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            max_age: Some(Duration::from_secs(1)),
            s_maxage: Some(Duration::from_secs(2)),
            stale_while_revalidate: Some(Duration::from_secs(3)),
            stale_if_error: Some(Duration::from_secs(4)),
            unshared: Vec::new(),
        };
        assert_eq!(control, expected);
    }

    /// RFC 9111 section 5.2, RFC 9110 section 5.6.4.
    #[test]
    fn a_directive_within_a_quoted_string_is_not_heard() {
        let control = read(&[r#"extension="no-store, max-age=9", public"#]);
        assert!(!control.no_store && control.max_age.is_none() && control.public);
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7.
    #[test]
    fn no_cache_and_private_with_field_names_speak_of_those_fields_alone() {
        for line in [
            r#"private="X-A, x-b", no-cache="Set-Cookie""#,
            r#"Private=" x-a ,, X-B ", NO-CACHE=set-cookie"#,
        ] {
            let control = read(&[line]);
            assert!(!control.private && !control.no_cache, "{line}");
            assert_eq!(control.unshared, ["x-a", "x-b", "set-cookie"], "{line}");
        }
        assert_eq!(read(&[r#"no-cache="a""#, r#"no-cache="b""#]).unshared, ["a", "b"]);
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7 let a cache take a qualified directive as unqualified.
    #[test]
    fn a_field_that_the_rest_can_not_be_without_makes_the_directive_unqualified() {
        let control = read(&[r#"private="x-a, Vary", no-cache="content-type""#]);
        assert!(control.private && control.no_cache && control.unshared.is_empty());
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7.
    #[test]
    fn an_unqualified_no_cache_or_private_beside_a_qualified_one_is_heard() {
        let control = read(&[r#"private="a", private"#, r#"no-cache, no-cache="b""#]);
        assert!(control.private && control.no_cache);
        assert_eq!(control.unshared, ["a", "b"]);
    }

    /// RFC 9111 sections 5.2.2.4 and 5.2.2.7 let a cache take a qualified directive as unqualified.
    #[test]
    fn field_names_that_can_not_be_read_make_the_directive_unqualified() {
        for argument in [
            "=",
            r#"="""#,
            r#"=",""#,
            r#"="a"#,
            r#"=a""#,
            r#"="a b""#,
            r#"="a, (b)""#,
            r#"="\a""#,
            r#" ="a""#,
            r#"= "a""#,
        ] {
            let control = read(&[&format!("no-cache{argument}, private{argument}")]);
            assert!(control.no_cache, "{argument}");
            let other = read(&[&format!("private{argument}")]);
            assert!(other.private && other.unshared.is_empty(), "{argument}");
        }
    }

    /// `public` and `must-understand` widen what a cache may do.
    #[test]
    fn what_allows_more_must_be_well_formed() {
        let control = read(&["public=1, must-understand=\"x\""]);
        assert_eq!(control, CacheControl::default());
    }

    /// RFC 9111 section 4.2.1.
    #[test]
    fn an_invalid_age_means_stale() {
        for line in [
            "max-age",
            "max-age=",
            "max-age=a1",
            "max-age=1.0",
            "max-age=-1",
            "max-age='1'",
        ] {
            assert_eq!(max_age(line), Some(0), "{line}");
        }
        for line in ["max-age =9", "max-age= 9", "max-age=9 9", r#"max-age="9"#] {
            assert_eq!(max_age(line), Some(0), "{line}");
        }
    }

    /// RFC 9111 sections 1.2.2 and 5.2.
    #[test]
    fn a_quoted_age_and_leading_zeros_are_taken() {
        assert_eq!(max_age(r#"max-age="60""#), Some(60));
        assert_eq!(max_age("max-age=00060"), Some(60));
    }

    /// RFC 9111 section 4.2.1: of what conflicts the most restrictive counts.
    #[test]
    fn of_several_values_the_smallest_counts() {
        assert_eq!(max_age("max-age=60, max-age=10, max-age=30"), Some(10));
        assert_eq!(max_age("max-age=60, max-age=junk"), Some(0));
    }

    /// RFC 9111 section 1.2.2.
    #[test]
    fn an_age_beyond_all_numbers_is_a_very_long_one() {
        assert_eq!(max_age("max-age=99999999999999999999999999"), Some(1 << 31));
    }

    /// RFC 9111 section 5.2.3: what is not known is ignored.
    #[test]
    fn a_longer_name_that_starts_like_a_directive_is_another_one() {
        assert_eq!(
            read(&["no-store-at-all, max-ages=1, xprivate"]),
            CacheControl::default()
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..4)) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(header::CACHE_CONTROL, value);
                }
            }
            CacheControl::of(&headers);
        }

        /// RFC 9111 sections 5.2.2.5 and 5.2.3.
        #[test]
        fn no_store_is_heard_among_any_other_whole_directives(
            before in "[a-z-]{1,12}(=[0-9]{1,4}|=\"[a-z, =]{0,8}\")?",
            after in "[a-z-]{1,12}(=[0-9]{1,4}|=\"[a-z, =]{0,8}\")?",
        ) {
            let line = format!("{before} ,no-store, {after}");
            prop_assert!(read(&[&line]).no_store);
        }
    }
}
