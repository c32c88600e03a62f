//! The `Cache-Control` of a response, as a shared cache reads it (RFC 9111 section 5.2.2).
//!
//! Invariant: in doubt the reading is the more restrictive one. It does not know what follows from it; that
//! is [`super::freshness`].

use super::field;
use http::{HeaderMap, header};
use std::time::Duration;

/// What the directives say together. A field-qualified `no-cache` or `private` counts as an unqualified one,
/// as sections 5.2.2.4 and 5.2.2.7 allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub no_store: bool,
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub immutable: bool,
    pub max_age: Option<Duration>,
    pub s_maxage: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

impl CacheControl {
    /// Reads all lines; unknown directives are ignored (section 5.2.3).
    pub fn of(headers: &HeaderMap) -> CacheControl {
        let mut control = CacheControl::default();
        for directive in field::list(headers, header::CACHE_CONTROL) {
            control.add(directive);
        }
        control
    }

    /// Whether the response itself forbids to serve it stale, whatever else is allowed (section 4.2.4).
    pub fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate
    }

    fn add(&mut self, directive: &[u8]) {
        let (name, argument) = split(directive);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("immutable") {
            self.immutable = true;
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

/// Name and argument. Whitespace before `=` is malformed: the name is still heard, its argument is not.
fn split(directive: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = directive.iter().position(|&byte| byte == b'=') else {
        return (directive, None);
    };
    let name = directive[..at].trim_ascii_end();
    let argument = (name.len() == at).then_some(&directive[at + 1..]);
    (name, argument)
}

/// The smallest of several values counts; an invalid one is none at all: stale (section 4.2.1).
fn restrict(known: &mut Option<Duration>, argument: Option<&[u8]>) {
    let said = argument.and_then(seconds).unwrap_or(Duration::ZERO);
    *known = Some(known.map_or(said, |earlier| earlier.min(said)));
}

/// A token or a quoted string: section 5.2 asks recipients to take both.
fn seconds(argument: &[u8]) -> Option<Duration> {
    let unquoted = argument
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    field::delta_seconds(unquoted.unwrap_or(argument))
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

    #[test]
    fn every_directive_is_heard_in_any_case_and_on_any_line() {
        let control = read(&[
            "No-Store, PRIVATE,no-cache",
            "public, must-revalidate, Proxy-Revalidate , immutable",
            "MAX-AGE=1, s-maxage=2, stale-while-revalidate=3, Stale-If-Error=4",
        ]);
        let expected = CacheControl {
            no_store: true,
            no_cache: true,
            private: true,
            public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            immutable: true,
            max_age: Some(Duration::from_secs(1)),
            s_maxage: Some(Duration::from_secs(2)),
            stale_while_revalidate: Some(Duration::from_secs(3)),
            stale_if_error: Some(Duration::from_secs(4)),
        };
        assert_eq!(control, expected);
    }

    #[test]
    fn a_directive_within_a_quoted_string_is_not_heard() {
        let control = read(&[r#"extension="no-store, max-age=9", public"#]);
        assert!(!control.no_store && control.max_age.is_none() && control.public);
    }

    #[test]
    fn a_field_qualified_private_or_no_cache_counts_as_unqualified() {
        let control = read(&[r#"private="X-A, X-B", no-cache="Set-Cookie""#]);
        assert!(control.private && control.no_cache);
    }

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

    #[test]
    fn a_quoted_age_and_leading_zeros_are_taken() {
        assert_eq!(max_age(r#"max-age="60""#), Some(60));
        assert_eq!(max_age("max-age=00060"), Some(60));
    }

    #[test]
    fn of_several_values_the_smallest_counts() {
        assert_eq!(max_age("max-age=60, max-age=10, max-age=30"), Some(10));
        assert_eq!(max_age("max-age=60, max-age=junk"), Some(0));
    }

    #[test]
    fn an_age_beyond_all_numbers_is_a_very_long_one() {
        assert_eq!(max_age("max-age=99999999999999999999999999"), Some(1 << 31));
    }

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
