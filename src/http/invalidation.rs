//! What a successful unsafe request makes invalid (RFC 9111 section 4.4).
//!
//! Invariant: only URLs of the origin that answered are ever named. It does not know keys or what is stored.

use fluent_uri::component::Authority;
use fluent_uri::{Uri, UriRef};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, percent_encode};

/// What a URL may not hold as it is and clients send nevertheless. A space and a backslash are not among them: what
/// is meant by those can not be told.
static RAW: AsciiSet = AsciiSet::EMPTY
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The same with brackets, which have a meaning only around an IPv6 address.
static RAW_OR_BRACKET: AsciiSet = RAW.add(b'[').add(b']');

/// The URL a request was for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// With its port where that is not the scheme's own.
    pub authority: &'a str,
    /// With the query, as the client sent it.
    pub path_and_query: &'a str,
}

/// Whether the answer makes what is stored of its target invalid: a method that is not known to be safe, and a 2xx
/// or 3xx.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    // `Method::is_safe` takes a method for unsafe that it does not know.
    !method.is_safe() && (status.is_success() || status.is_redirection())
}

/// Path and query of what `Location` and `Content-Location` name on the same origin; what is no URL names nothing.
pub fn named_targets(asked: &Asked<'_>, headers: &HeaderMap) -> Vec<String> {
    let Some(base) = asked.url() else {
        return Vec::new();
    };
    let names = [header::LOCATION, header::CONTENT_LOCATION];
    let values = names.iter().flat_map(|name| headers.get_all(name));
    let mut targets: Vec<String> = values.filter_map(|value| target(&base, value)).collect();
    targets.sort_unstable();
    targets.dedup();
    targets
}

impl Asked<'_> {
    fn url(&self) -> Option<Uri<String>> {
        let rest = percent_encode(self.path_and_query.as_bytes(), &RAW_OR_BRACKET);
        let url = Uri::parse(format!("{}://{}{rest}", self.scheme, self.authority)).ok()?;
        // A path that does not start with a slash would be part of the authority.
        let is_apart = url.authority().is_some_and(|own| own.as_str() == self.authority);
        is_apart.then_some(url)
    }
}

fn target(base: &Uri<String>, value: &HeaderValue) -> Option<String> {
    let text = value.as_bytes();
    let has_address = text.windows(3).any(|bytes| bytes == b"//[");
    let raw = if has_address { &RAW } else { &RAW_OR_BRACKET };
    let reference = UriRef::parse(percent_encode(text, raw).to_string()).ok()?;
    let url = reference.resolve_against(base).ok()?;
    if !is_same_origin(&url, base) {
        return None;
    }
    let path = match url.path().as_str() {
        "" => "/",
        path => path,
    };
    Some(match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    })
}

/// Scheme, host and port (RFC 9110 section 4.3.1).
fn is_same_origin(url: &Uri<String>, base: &Uri<String>) -> bool {
    let hosts = url.authority().zip(base.authority());
    let same_host =
        |(one, other): (Authority<'_>, Authority<'_>)| one.host().eq_ignore_ascii_case(other.host());
    url.scheme() == base.scheme()
        && hosts.is_some_and(same_host)
        && port(url).is_some_and(|own| Some(own) == port(base))
}

fn port(url: &Uri<String>) -> Option<u16> {
    let written = url.authority()?.port_to_u16().ok()?;
    written.or(url.scheme().default_port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKED: Asked<'static> = Asked {
        scheme: "http",
        authority: "shop.example",
        path_and_query: "/a/b.jpg?v=1",
    };

    fn named_by(asked: &Asked<'_>, location: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::LOCATION,
            HeaderValue::from_bytes(location.as_bytes()).unwrap(),
        );
        named_targets(asked, &headers)
    }

    fn named(location: &str) -> Vec<String> {
        named_by(&ASKED, location)
    }

    #[test]
    fn methods_not_known_to_be_safe_invalidate_by_rfc_9111_section_4_4() {
        for method in [
            "POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PURGE", "get", "CONNECT",
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(invalidates(&method, StatusCode::OK), "{method}");
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(!invalidates(&method, StatusCode::OK), "{method}");
        }
    }

    #[test]
    fn only_a_response_without_error_invalidates_by_rfc_9111_section_4_4() {
        for (status, expected) in [
            (100, false),
            (200, true),
            (204, true),
            (299, true),
            (303, true),
            (399, true),
            (400, false),
            (404, false),
            (500, false),
            (599, false),
            (600, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(invalidates(&Method::POST, status), expected, "{status}");
        }
    }

    #[test]
    fn references_are_resolved_against_the_request_by_rfc_3986_section_5() {
        for (location, expected) in [
            ("c.jpg", "/a/c.jpg"),
            ("/c.jpg?x=1&y", "/c.jpg?x=1&y"),
            ("../c.jpg", "/c.jpg"),
            ("../../../c.jpg", "/c.jpg"),
            ("?x", "/a/b.jpg?x"),
            ("", "/a/b.jpg?v=1"),
            ("#top", "/a/b.jpg?v=1"),
            ("c.jpg#top", "/a/c.jpg"),
            ("./", "/a/"),
            ("//shop.example/d", "/d"),
            ("http://shop.example", "/"),
            ("http://shop.example?x", "/?x"),
            ("/%41%2f", "/%41%2f"),
        ] {
            assert_eq!(named(location), [expected], "{location}");
        }
    }

    #[test]
    fn only_the_same_origin_is_named_by_rfc_9111_section_4_4() {
        for location in [
            "HTTP://SHOP.example/c",
            "http://shop.example:80/c",
            "http://shop.example:/c",
            "http://shop.example:0080/c",
        ] {
            assert_eq!(named(location), ["/c"], "{location}");
        }
        for location in [
            "https://shop.example/c",
            "https://shop.example:80/c",
            "http://shop.example:8080/c",
            "http://shop.example:99999/c",
            "http://shop.example@other.example/c",
            "http://other.example/c",
            "http://shop.example.other/c",
            "//other.example/c",
            "http:/c",
            "http:c",
            "mailto:shop.example",
            "urn:x:y",
        ] {
            assert_eq!(named(location), [""; 0], "{location}");
        }
    }

    /// RFC 9110 section 4.3.1.
    #[test]
    fn a_port_belongs_to_the_origin() {
        let asked = Asked {
            scheme: "https",
            authority: "[2001:db8::1]:8443",
            path_and_query: "/",
        };
        assert_eq!(named_by(&asked, "https://[2001:DB8::1]:8443/c"), ["/c"]);
        assert_eq!(named_by(&asked, "https://[2001:db8::1]/c"), [""; 0]);
        assert_eq!(named_by(&asked, "d"), ["/d"]);
        let own = Asked {
            authority: "shop.example:443",
            ..asked
        };
        assert_eq!(named_by(&own, "https://shop.example/c"), ["/c"]);
    }

    #[test]
    fn what_is_no_url_names_nothing() {
        for location in [
            "a b",
            "http://[::1/c",
            "\\c",
            "/%zz",
            "http://shop.example:x/c",
            ":",
            "/a\tb",
        ] {
            assert_eq!(named(location), [""; 0], "{location}");
        }
    }

    #[test]
    fn bytes_that_a_url_should_have_encoded_are_understood() {
        assert_eq!(named("/\u{fc}[1]|.jpg"), ["/%C3%BC%5B1%5D%7C.jpg"]);
        let asked = Asked {
            path_and_query: "/[a]\u{fc}/b|?{}",
            ..ASKED
        };
        assert_eq!(named_by(&asked, "c"), ["/%5Ba%5D%C3%BC/c"]);
        assert_eq!(named_by(&asked, ""), ["/%5Ba%5D%C3%BC/b%7C?%7B%7D"]);
    }

    #[test]
    fn an_authority_and_a_path_that_run_together_name_nothing() {
        for (authority, path_and_query) in [
            ("shop.example", "@other.example/"),
            ("shop.example", "*"),
            ("shop.example/x", "/"),
            ("a b", "/"),
        ] {
            let asked = Asked {
                authority,
                path_and_query,
                ..ASKED
            };
            let expected: &[&str] = if authority.is_empty() { &["/c"] } else { &[] };
            assert_eq!(named_by(&asked, "/c"), expected, "{authority} {path_and_query}");
        }
    }

    /// RFC 9111 section 4.4.
    #[test]
    fn both_fields_are_read_and_each_target_is_named_once() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::LOCATION, "location"),
            (header::CONTENT_LOCATION, "content"),
            (header::CONTENT_LOCATION, "/a/location"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(named_targets(&ASKED, &headers), ["/a/content", "/a/location"]);
        assert_eq!(named_targets(&ASKED, &HeaderMap::new()), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_naming_panic_and_targets_are_paths(
            path in "[ -~]{0,20}",
            location in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "(https?:)?(//[a-z.@:\\[\\]]{0,8})?/?[ -~]{0,12}".prop_map(String::into_bytes),
            ],
        ) {
            let path = format!("/{path}");
            let asked = Asked { path_and_query: &path, ..ASKED };
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&location) {
                headers.insert(header::CONTENT_LOCATION, value);
            }
            for target in named_targets(&asked, &headers) {
                prop_assert!(target.starts_with('/') && !target.contains('#'));
            }
        }
    }
}
