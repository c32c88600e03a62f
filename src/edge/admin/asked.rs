//! A request that an operator describes: the edge is to make it, or to say what it would do with it.
//!
//! Invariant: it passes the same guard as a client's. What belongs to a connection, and not to a request, is refused. It
//! does not know what becomes of it.

use crate::base::clock::Timestamp;
use crate::edge::guard::{Guard, Incoming};
use crate::edge::request_id::request_id;
use crate::http::hop::ONLY_THIS_CLIENTS;
use crate::key::Scheme;
use crate::serve::{AskedBy, Request};
use crate::trace::Trace;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::net::IpAddr;

/// What frames a message, or belongs to its connection.
static OF_CONNECTIONS: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// As it is written in a body.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::edge) struct Written {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: Headers,
}

/// In the order written. A map would keep the last of those with one name, and say nothing.
#[derive(Debug, Default)]
struct Headers(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names of headers with their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = Vec::new();
        while let Some(header) = map.next_entry()? {
            headers.push(header);
        }
        Ok(Headers(headers))
    }
}

/// What a described request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Purpose {
    Explain,
    /// Only a whole image, asked for by GET.
    Warm,
}

/// Understood.
#[derive(Debug)]
pub(in crate::edge) struct Asked {
    pub(in crate::edge) url: String,
    method: Method,
    scheme: Scheme,
    authority: Authority,
    target: String,
    headers: HeaderMap,
    id: HeaderValue,
    trace: Trace,
    client: IpAddr,
    received_at: Timestamp,
}

/// Why a description is none of a request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::edge) enum AskedError {
    #[error("{0:?} is no URL such as https://shop.example/a.jpg")]
    Url(String),
    #[error("{0:?} is no method that is answered here")]
    Method(String),
    #[error("header {name:?}: {wrong}")]
    Header { name: String, wrong: &'static str },
}

impl Written {
    pub(in crate::edge) fn new(url: String, method: &Method, headers: Vec<(String, String)>) -> Self {
        Written {
            url,
            method: Some(method.to_string()),
            headers: Headers(headers),
        }
    }

    /// A plain GET.
    pub(in crate::edge) fn of_url(url: &str) -> Self {
        Written {
            url: url.to_owned(),
            method: None,
            headers: Headers::default(),
        }
    }

    /// `client` is who asks, and who the origin would be told of.
    pub(in crate::edge) fn understand(
        self,
        purpose: Purpose,
        client: IpAddr,
        received_at: Timestamp,
    ) -> Result<Asked, AskedError> {
        let Written { url, method, headers } = self;
        let method = understood_method(method, purpose)?;
        let headers = understood_headers(headers, purpose)?;
        let (scheme, authority, target) = split(&url).ok_or_else(|| AskedError::Url(url.clone()))?;
        Ok(Asked {
            url,
            method,
            scheme,
            authority,
            target,
            id: request_id(&headers),
            trace: Trace::default(),
            headers,
            client,
            received_at,
        })
    }
}

impl Asked {
    /// As the engine is asked it.
    ///
    /// # Errors
    /// When the edge would refuse it unread.
    pub(in crate::edge) fn admit(&self, guard: &Guard) -> Result<Request<'_>, crate::edge::guard::Refusal> {
        guard.admit(&Incoming {
            method: &self.method,
            version: Version::HTTP_11,
            target: self.target.as_bytes(),
            authority: Some(self.authority.as_str()),
            headers: &self.headers,
            scheme: self.scheme,
            client: Some(self.client),
            id: &self.id,
            trace: &self.trace,
            received_at: self.received_at,
            asked_by: AskedBy::Client,
        })
    }
}

fn split(url: &str) -> Option<(Scheme, Authority, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let authority = uri
        .authority()
        .filter(|authority| !authority.as_str().contains('@'))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Some((scheme, authority.clone(), target.to_owned()))
}

fn understood_method(method: Option<String>, purpose: Purpose) -> Result<Method, AskedError> {
    let Some(text) = method else {
        return Ok(Method::GET);
    };
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if purpose == Purpose::Explain || method == Method::GET => Ok(method),
        _ => Err(AskedError::Method(text)),
    }
}

fn understood_headers(Headers(written): Headers, purpose: Purpose) -> Result<HeaderMap, AskedError> {
    let mut headers = HeaderMap::with_capacity(written.len());
    for (name, value) in written {
        let (known, value) = understood_line(name, &value, purpose)?;
        if headers.contains_key(&known) {
            return Err(AskedError::Header {
                name: known.to_string(),
                wrong: "it is given twice; its values go into one, with commas between",
            });
        }
        headers.insert(known, value);
    }
    Ok(headers)
}

fn understood_line(
    name: String,
    value: &str,
    purpose: Purpose,
) -> Result<(HeaderName, HeaderValue), AskedError> {
    let wrong = |name: &str, wrong| AskedError::Header {
        name: name.to_owned(),
        wrong,
    };
    let Ok(known) = HeaderName::from_bytes(name.as_bytes()) else {
        return Err(wrong(&name, "this is no name of a header"));
    };
    let value = HeaderValue::from_str(value).map_err(|_| wrong(&name, "its value is no text of a header"))?;
    if OF_CONNECTIONS.contains(&known) {
        return Err(wrong(&name, "it belongs to a connection, or the URL says it"));
    }
    if purpose == Purpose::Warm && ONLY_THIS_CLIENTS.contains(&known) {
        return Err(wrong(&name, "the whole image is asked for, unconditionally"));
    }
    Ok((known, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::config::Config;

    fn asked(text: &str, purpose: Purpose) -> Result<Asked, AskedError> {
        let written: Written = serde_json::from_str(text).unwrap();
        written.understand(purpose, [127, 0, 0, 1].into(), Timestamp::ZERO)
    }

    #[test]
    fn a_described_request_is_admitted_as_a_clients_is() {
        let text = r#"{"url": "https://Shop.example:8443/a%20b?w=1#x", "headers": {"accept": "image/avif"}}"#;
        let asked = asked(text, Purpose::Warm).unwrap();
        let request = asked
            .admit(&Guard::new(&Config::default()))
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (request.host, request.path, request.query),
            ("Shop.example:8443", "/a%20b", Some("w=1"))
        );
        assert_eq!((request.method, request.scheme), (&Method::GET, Scheme::Https));
        assert_eq!(request.headers["accept"], "image/avif");
    }

    #[test]
    fn what_is_no_url_of_an_image_is_refused() {
        for url in [
            "",
            "/a.jpg",
            "shop.example/a",
            "ftp://a/b",
            "http://",
            "http://u:p@a/b",
        ] {
            let text = serde_json::json!({ "url": url }).to_string();
            let refused = asked(&text, Purpose::Explain);
            assert_eq!(refused.err(), Some(AskedError::Url(url.into())), "{url}");
        }
        let unreadable = asked(r#"{"url": "http://a/\u00e9"}"#, Purpose::Explain).unwrap();
        assert!(unreadable.admit(&Guard::new(&Config::default())).is_err());
    }

    #[test]
    fn a_header_that_is_given_twice_is_refused_however_it_is_written() {
        for headers in [
            r#"{"accept": "image/avif", "accept": "image/webp"}"#,
            r#"{"Accept": "image/avif", "accept": "image/avif"}"#,
        ] {
            let text = format!(r#"{{"url": "http://a/b", "headers": {headers}}}"#);
            let refused = asked(&text, Purpose::Explain).unwrap_err();
            assert!(refused.to_string().contains("given twice"), "{refused}");
        }
    }

    #[test]
    fn what_frames_a_message_can_not_be_described_and_warming_asks_for_the_whole() {
        for (name, purpose) in [
            ("Host", Purpose::Explain),
            ("content-length", Purpose::Explain),
            ("Transfer-Encoding", Purpose::Warm),
            ("expect", Purpose::Explain),
            ("a b", Purpose::Explain),
            ("Range", Purpose::Warm),
            ("If-None-Match", Purpose::Warm),
        ] {
            let text = serde_json::json!({"url": "http://a/b", "headers": {name: "1"}}).to_string();
            assert!(
                matches!(asked(&text, purpose), Err(AskedError::Header { .. })),
                "{name}"
            );
        }
        let post = r#"{"url": "http://a/b", "method": "POST"}"#;
        assert!(asked(post, Purpose::Warm).is_err() && asked(post, Purpose::Explain).is_ok());
        let range = r#"{"url": "http://a/b", "headers": {"range": "bytes=0-1"}}"#;
        assert!(asked(range, Purpose::Explain).is_ok());
    }
}
