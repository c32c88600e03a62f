//! What a request may look like before anything is done for it.
//!
//! Invariant: a request that passes has one host, an ASCII path in origin-form, and stays within the
//! limits of the configuration. Knows nothing of routes or of the cache.

use super::config::Config;
use crate::base::clock::Timestamp;
use crate::base::metrics::Rejection;
use crate::http::hop::hops_left;
use crate::key::Scheme;
use crate::serve::{AskedBy, Request};
use crate::trace::Trace;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use std::net::{IpAddr, Ipv4Addr};

/// Limits on a request's header.
pub(crate) struct Guard {
    url_bytes_max: usize,
    header_bytes_max: usize,
    headers_max: usize,
}

/// A request's header as it came in.
pub(crate) struct Incoming<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    /// The request-target, unparsed.
    pub(crate) target: &'a [u8],
    /// The authority that HTTP/2 carries apart from the headers.
    pub(crate) authority: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) scheme: Scheme,
    pub(crate) client: Option<IpAddr>,
    pub(crate) id: &'a HeaderValue,
    pub(crate) trace: &'a Trace,
    pub(crate) received_at: Timestamp,
    pub(crate) asked_by: AskedBy,
}

/// Why a request is refused unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the URL is longer than this edge accepts")]
    UrlTooLong,
    #[error("the header is larger than this edge accepts")]
    HeaderTooLarge,
    #[error("the request names no host")]
    NoHost,
    #[error("the request-target is not a path of visible ASCII")]
    BadTarget,
    #[error("this edge neither tunnels nor echoes")]
    Method,
    /// No refusal in the client's eyes: it asks what this server can do, and no other.
    #[error("an OPTIONS that goes no further")]
    OwnOptions,
    #[error("this edge can meet no expectation but 100-continue")]
    Expectation,
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Refusal::UrlTooLong => StatusCode::URI_TOO_LONG,
            Refusal::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::NoHost | Refusal::BadTarget => StatusCode::BAD_REQUEST,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::OwnOptions => StatusCode::NO_CONTENT,
            Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }

    /// As metrics call it.
    pub(crate) fn rejection(self) -> Rejection {
        match self {
            Refusal::UrlTooLong => Rejection::UrlTooLong,
            Refusal::HeaderTooLarge => Rejection::HeaderTooLarge,
            Refusal::NoHost => Rejection::NoHost,
            Refusal::BadTarget => Rejection::BadTarget,
            Refusal::Method => Rejection::Method,
            Refusal::OwnOptions => Rejection::Options,
            Refusal::Expectation => Rejection::Expectation,
        }
    }
}

impl Guard {
    pub(crate) fn new(config: &Config) -> Self {
        Guard {
            url_bytes_max: config.url_bytes_max.as_usize(),
            header_bytes_max: config.header_bytes_max.as_usize(),
            headers_max: config.headers_max,
        }
    }

    /// For requests that another edge has let in, and given an id and the like.
    pub(super) fn of_peers(config: &Config) -> Self {
        const FIELDS_OF_A_HOP: usize = 8;
        const BYTES_OF_A_HOP: usize = 1024;
        Guard {
            url_bytes_max: config.url_bytes_max.as_usize(),
            header_bytes_max: config.header_bytes_max.as_usize() + BYTES_OF_A_HOP,
            headers_max: config.headers_max + FIELDS_OF_A_HOP,
        }
    }

    /// The request, if it may come in.
    pub(crate) fn admit<'a>(&self, incoming: &Incoming<'a>) -> Result<Request<'a>, Refusal> {
        if incoming.target.len() > self.url_bytes_max {
            return Err(Refusal::UrlTooLong);
        }
        self.check_size(incoming.headers)?;
        if matches!(*incoming.method, Method::CONNECT | Method::TRACE) {
            return Err(Refusal::Method);
        }
        if !can_meet_expectations(incoming) {
            return Err(Refusal::Expectation);
        }
        // RFC 9110 sections 9.3.7 and 7.6.2.
        let is_options = *incoming.method == Method::OPTIONS;
        if is_options && (incoming.target == b"*" || hops_left(incoming.method, incoming.headers) == Some(0))
        {
            return Err(Refusal::OwnOptions);
        }
        let (path, query) = path_and_query(incoming.target)?;
        Ok(Request {
            method: incoming.method,
            version: incoming.version,
            scheme: incoming.scheme,
            host: host(incoming)?,
            path,
            query,
            headers: incoming.headers,
            client: incoming.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            id: incoming.id,
            trace: incoming.trace,
            received_at: incoming.received_at,
            asked_by: incoming.asked_by,
        })
    }

    fn check_size(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        /// Colon, space, carriage return and line feed.
        const SEPARATORS: usize = 4;
        let bytes: usize = headers
            .iter()
            .map(|(n, v)| n.as_str().len() + v.len() + SEPARATORS)
            .sum();
        if headers.len() > self.headers_max || bytes > self.header_bytes_max {
            return Err(Refusal::HeaderTooLarge);
        }
        Ok(())
    }
}

/// Whether the client holds its body back until it is sent a 100.
pub(super) fn expects_continue(version: Version, headers: &HeaderMap) -> bool {
    version >= Version::HTTP_11 && expectations(headers).any(is_continue)
}

/// RFC 9110 section 10.1.1: of expectations only `100-continue` has a meaning, and in HTTP/1.0 none has.
fn can_meet_expectations(incoming: &Incoming<'_>) -> bool {
    incoming.version < Version::HTTP_11 || expectations(incoming.headers).all(is_continue)
}

fn expectations(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::EXPECT).iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn is_continue(expectation: &[u8]) -> bool {
    expectation.eq_ignore_ascii_case(b"100-continue")
}

/// RFC 9112 section 3.2: a request names its host in `Host`, in `:authority` or in an absolute target;
/// where several do they have been found equal.
fn host<'a>(incoming: &Incoming<'a>) -> Result<&'a str, Refusal> {
    let in_header = incoming
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = in_header
        .or(incoming.authority)
        .or_else(|| absolute(incoming.target).map(|(host, _)| host));
    host.filter(|host| !host.is_empty()).ok_or(Refusal::NoHost)
}

fn path_and_query(target: &[u8]) -> Result<(&str, Option<&str>), Refusal> {
    let visible = target.iter().all(|byte| (0x21..0x7f).contains(byte));
    let text = str::from_utf8(target)
        .ok()
        .filter(|_| visible)
        .ok_or(Refusal::BadTarget)?;
    let text = if text.starts_with('/') {
        text
    } else {
        absolute(target).ok_or(Refusal::BadTarget)?.1
    };
    let text = text.split('#').next().unwrap_or(text);
    match text.split_once('?') {
        _ if text.is_empty() => Ok(("/", None)),
        Some(("", query)) => Ok(("/", Some(query))),
        Some((path, query)) => Ok((path, Some(query))),
        None => Ok((text, None)),
    }
}

/// Host and the rest of `http://host/path`.
fn absolute(target: &[u8]) -> Option<(&str, &str)> {
    let text = str::from_utf8(target).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    static ID: HeaderValue = HeaderValue::from_static("1");
    use http::HeaderValue;

    fn headers(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    fn incoming<'a>(target: &'a str, headers: &'a HeaderMap) -> Incoming<'a> {
        Incoming {
            method: &Method::GET,
            version: Version::HTTP_11,
            target: target.as_bytes(),
            authority: None,
            headers,
            scheme: Scheme::Http,
            client: None,
            id: &ID,
            trace: &crate::trace::UNRECORDED,
            received_at: Timestamp::ZERO,
            asked_by: AskedBy::Client,
        }
    }

    fn refusal(target: &str, headers: &HeaderMap) -> Refusal {
        match Guard::new(&Config::default()).admit(&incoming(target, headers)) {
            Err(refusal) => refusal,
            Ok(_) => panic!("{target} was admitted"),
        }
    }

    #[test]
    fn origin_form_and_absolute_form_name_the_same_resource() {
        let headers = headers("shop.example");
        for target in ["/a?b=1", "http://shop.example/a?b=1"] {
            let request = Guard::new(&Config::default()).admit(&incoming(target, &headers));
            let request = request.unwrap_or_else(|refusal| panic!("{refusal}"));
            assert_eq!(
                (request.host, request.path, request.query),
                ("shop.example", "/a", Some("b=1"))
            );
        }
    }

    #[test]
    fn a_request_beyond_a_limit_is_refused_with_the_status_that_says_so() {
        let headers = headers("shop.example");
        assert_eq!(
            refusal(&format!("/{}", "a".repeat(8192)), &headers),
            Refusal::UrlTooLong
        );
        let mut many = headers.clone();
        for n in 0..100 {
            many.append("x-many", HeaderValue::from(n));
        }
        assert_eq!(refusal("/", &many), Refusal::HeaderTooLarge);
        let mut large = headers.clone();
        large.insert("x-large", HeaderValue::from_bytes(&[b'a'; 33_000]).unwrap());
        assert_eq!(refusal("/", &large), Refusal::HeaderTooLarge);
    }

    /// RFC 9110 section 10.1.1.
    #[test]
    fn only_the_expectation_of_a_100_can_be_met() {
        for (value, met) in [
            ("100-continue", true),
            ("100-Continue, ,100-continue", true),
            ("", true),
            ("200-ok", false),
            ("100-continue, x=y", false),
            ("100-continue;q=1", false),
        ] {
            let mut headers = headers("shop.example");
            headers.insert(header::EXPECT, HeaderValue::from_static(value));
            let mut incoming = incoming("/", &headers);
            assert_eq!(can_meet_expectations(&incoming), met, "{value}");
            incoming.version = Version::HTTP_10;
            assert!(can_meet_expectations(&incoming), "HTTP/1.0 knows no expectation");
            assert!(!expects_continue(Version::HTTP_10, &headers));
        }
        let mut headers = headers("shop.example");
        headers.append(header::EXPECT, HeaderValue::from_static("100-continue"));
        headers.append(header::EXPECT, HeaderValue::from_static("more"));
        assert_eq!(refusal("/", &headers), Refusal::Expectation);
    }

    #[test]
    fn a_target_that_is_no_path_is_refused() {
        let headers = headers("shop.example");
        for target in ["a", "*", "/a b", "/\u{7f}", "ftp://shop.example/a", "//\u{e9}"] {
            assert_eq!(refusal(target, &headers), Refusal::BadTarget, "{target}");
        }
        assert_eq!(refusal("/a", &HeaderMap::new()), Refusal::NoHost);
    }
}
