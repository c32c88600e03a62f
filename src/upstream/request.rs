//! The request an origin is sent.
//!
//! Invariant: no hop-by-hop header but our own TE, no Accept-Encoding (what is stored is the identity coding) and no
//! framing but what the body's own says ever goes out. It opens no connection.

use super::error::OriginError;
use super::{OriginRequest, config};
use crate::http::hop::strip_hop_by_hop;
use http::{HeaderMap, HeaderValue, Method, header};
use pingora_core::BError;
use pingora_http::RequestHeader;
use std::sync::Arc;

/// How the request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Absent,
    Length(u64),
    /// Of unknown length: chunked in HTTP/1.1, DATA frames in HTTP/2.
    Unknown,
}

/// What the request goes out over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Framing {
    /// The framing of a body that comes with these headers.
    pub(super) fn of_body(headers: &HeaderMap) -> Result<Self, OriginError> {
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        match (lengths.next(), lengths.next()) {
            (None, _) => Ok(Framing::Unknown),
            (Some(length), None) => digits(length).map(Framing::Length).ok_or_else(bad_length),
            (Some(_), Some(_)) => Err(bad_length()),
        }
    }
}

fn bad_length() -> OriginError {
    unsendable("its Content-Length is not one number")
}

fn unsendable(reason: impl Into<Arc<str>>) -> OriginError {
    OriginError::Unsendable {
        reason: reason.into(),
    }
}

/// A number written in digits alone: no sign, no space.
pub(super) fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The Host that `policy` says, for an origin whose own is `authority`.
pub(super) fn host(
    policy: &config::Host,
    authority: &HeaderValue,
    client: &str,
) -> Result<HeaderValue, OriginError> {
    let name = match policy {
        config::Host::Origin => return Ok(authority.clone()),
        config::Host::Client => client,
        config::Host::Fixed(name) => name,
    };
    HeaderValue::from_str(name).map_err(|_| unsendable("its host can not stand in a header"))
}

/// A request's line and headers, apart from what a protocol and a body ask for.
pub(super) struct Envelope<'a> {
    pub(super) request: &'a OriginRequest,
    pub(super) base_path: &'a str,
    pub(super) host: HeaderValue,
    pub(super) trailers: Trailers,
}

/// What becomes of the response's trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    Discarded,
    /// They go on to the client.
    Passed,
}

impl Envelope<'_> {
    /// The header to send.
    pub(super) fn seal(
        self,
        framing: Framing,
        protocol: Protocol,
    ) -> Result<Box<RequestHeader>, OriginError> {
        let path = format!("{}{}", self.base_path, self.request.path_and_query);
        let headers = self.headers(framing, protocol);
        let refused = |error: BError| unsendable(error.to_string());
        let mut out =
            RequestHeader::build_no_case(self.request.method.clone(), path.as_bytes(), Some(headers.len()))
                .map_err(refused)?;
        for (name, value) in &headers {
            out.append_header(name.clone(), value.clone()).map_err(refused)?;
        }
        Ok(Box::new(out))
    }

    fn headers(&self, framing: Framing, protocol: Protocol) -> HeaderMap {
        let mut headers = self.request.headers.clone();
        strip_hop_by_hop(&mut headers);
        for name in [header::ACCEPT_ENCODING, header::CONTENT_LENGTH] {
            headers.remove(name);
        }
        if !may_expect(framing, protocol) {
            headers.remove(header::EXPECT);
        }
        // RFC 9110 section 10.1.4: a promise to keep trailers. In HTTP/1.1 pingora drops them.
        if self.trailers == Trailers::Passed && protocol == Protocol::Http2 {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        headers.insert(header::HOST, self.host.clone());
        match framing {
            Framing::Length(length) => drop(headers.insert(header::CONTENT_LENGTH, length.into())),
            Framing::Unknown if protocol == Protocol::Http1 => {
                headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            // RFC 9110 section 8.6: these methods say that nothing follows.
            Framing::Absent if expects_content(&self.request.method) => {
                headers.insert(header::CONTENT_LENGTH, 0.into());
            }
            Framing::Unknown | Framing::Absent => {}
        }
        headers
    }
}

/// RFC 9110 section 10.1.1: a request without content expects nothing. Neither does one over HTTP/2: pingora does not
/// let its 100 through.
fn may_expect(framing: Framing, protocol: Protocol) -> bool {
    framing != Framing::Absent && protocol == Protocol::Http1
}

fn expects_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&'static str, &'static str)]) -> OriginRequest {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                name.parse::<header::HeaderName>().unwrap(),
                HeaderValue::from_static(value),
            )
        };
        OriginRequest {
            method,
            path_and_query: "/a.jpg?v=1".into(),
            host: "shop.example".into(),
            headers: headers.iter().map(pair).collect(),
        }
    }

    fn sealed(request: &OriginRequest, framing: Framing, protocol: Protocol) -> Box<RequestHeader> {
        let host = HeaderValue::from_static("origin.example");
        let envelope = Envelope {
            request,
            base_path: "/base",
            host,
            trailers: Trailers::Passed,
        };
        envelope.seal(framing, protocol).unwrap()
    }

    #[test]
    fn what_belongs_to_the_clients_connection_stays_there() {
        let given = [
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("accept-encoding", "gzip"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("content-length", "7"),
            ("expect", "100-continue"),
            ("host", "evil.example"),
            ("accept", "image/*"),
        ];
        let sent = sealed(&request(Method::GET, &given), Framing::Absent, Protocol::Http1);
        let names: Vec<&str> = sent.headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(sent.headers["host"], "origin.example");
        assert_eq!(sent.headers["accept"], "image/*");
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(sent.raw_path(), b"/base/a.jpg?v=1");
    }

    #[test]
    fn a_bodys_framing_follows_the_protocol() {
        let post = request(Method::POST, &[]);
        let chunked = sealed(&post, Framing::Unknown, Protocol::Http1);
        assert_eq!(chunked.headers["transfer-encoding"], "chunked");
        let frames = sealed(&post, Framing::Unknown, Protocol::Http2);
        assert!(!frames.headers.contains_key("transfer-encoding"));
        assert_eq!(
            sealed(&post, Framing::Absent, Protocol::Http1).headers["content-length"],
            "0"
        );
        assert_eq!(
            sealed(&post, Framing::Length(3), Protocol::Http2).headers["content-length"],
            "3"
        );
    }

    /// RFC 9110 section 10.1.1.
    #[test]
    fn an_expectation_goes_with_a_body_and_where_its_answer_can_be_heard() {
        let post = request(Method::POST, &[("expect", "100-continue")]);
        let expects = |framing, protocol| sealed(&post, framing, protocol).headers.contains_key("expect");
        assert!(expects(Framing::Length(3), Protocol::Http1));
        assert!(expects(Framing::Unknown, Protocol::Http1));
        assert!(!expects(Framing::Absent, Protocol::Http1));
        assert!(!expects(Framing::Length(3), Protocol::Http2));
    }

    /// RFC 9110 section 10.1.4: TE is for one hop, so it is ours to say.
    #[test]
    fn trailers_are_asked_for_where_they_can_be_had_and_are_passed_on() {
        let get = request(Method::GET, &[("te", "gzip")]);
        let http2 = sealed(&get, Framing::Absent, Protocol::Http2);
        assert_eq!(http2.headers["te"], "trailers");
        let http1 = sealed(&get, Framing::Absent, Protocol::Http1);
        assert!(!http1.headers.contains_key("te"));
    }

    #[test]
    fn a_body_with_an_ambiguous_length_is_not_sent() {
        let framing =
            |given: &[(&'static str, &'static str)]| Framing::of_body(&request(Method::PUT, given).headers);
        assert_eq!(framing(&[]).unwrap(), Framing::Unknown);
        assert_eq!(framing(&[("content-length", "12")]).unwrap(), Framing::Length(12));
        assert!(framing(&[("content-length", "+12")]).is_err());
        assert!(framing(&[("content-length", "")]).is_err());
        assert!(framing(&[("content-length", "1"), ("content-length", "1")]).is_err());
    }

    #[test]
    fn the_host_is_the_origins_the_clients_or_a_fixed_one() {
        let authority = HeaderValue::from_static("origin.example:81");
        let said = |policy| host(&policy, &authority, "shop.example").unwrap();
        assert_eq!(said(config::Host::Origin), "origin.example:81");
        assert_eq!(said(config::Host::Client), "shop.example");
        assert_eq!(said(config::Host::Fixed("fixed.example".into())), "fixed.example");
        assert!(host(&config::Host::Client, &authority, "a\r\nb").is_err());
    }
}
