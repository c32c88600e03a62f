//! Which requests of the edge listener are orders of purges.
//!
//! Invariant: all of them are answered on this path, however wrong: none reaches an origin. It does not know who asks.

use crate::serve::Request;
use http::{Method, header};
use std::net::IpAddr;

/// Where signed webhooks arrive.
const WEBHOOK: &str = "/.aquatint/webhooks/purge";

/// How a request orders a purge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// `PURGE` of this URL.
    Method { url: String },
    /// From this address.
    Webhook { client: IpAddr },
    /// A webhook's place, and another method than its own.
    NotPosted,
}

/// How a request orders a purge; `None`: it does not, as most.
pub(crate) fn entrance(request: &Request<'_>) -> Option<Entrance> {
    if request.path == WEBHOOK {
        return Some(match *request.method {
            Method::POST => Entrance::Webhook {
                client: request.client,
            },
            _ => Entrance::NotPosted,
        });
    }
    is_purge(request).then(|| Entrance::Method { url: url(request) })
}

/// HTTP tells methods apart by their case, and so `purge` is an origin's to know; but not with a key, which was meant for
/// here and would travel on.
fn is_purge(request: &Request<'_>) -> bool {
    match request.method.as_str() {
        "PURGE" => true,
        method => method.eq_ignore_ascii_case("PURGE") && request.headers.contains_key(header::AUTHORIZATION),
    }
}

fn url(request: &Request<'_>) -> String {
    let Request {
        scheme,
        host,
        path,
        query,
        ..
    } = request;
    let scheme = scheme.name();
    match query {
        Some(query) => format!("{scheme}://{host}{path}?{query}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::key::Scheme;
    use http::{HeaderMap, HeaderValue, Version};
    use std::net::Ipv4Addr;

    fn entrance_of(method: &str, path: &str, query: Option<&str>) -> Option<Entrance> {
        entrance_with(&HeaderMap::new(), method, path, query)
    }

    fn entrance_with(headers: &HeaderMap, method: &str, path: &str, query: Option<&str>) -> Option<Entrance> {
        entrance(&Request {
            method: &Method::from_bytes(method.as_bytes()).unwrap(),
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            host: "shop.example:8080",
            path,
            query,
            headers,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            id: &HeaderValue::from_static("1"),
            trace: &crate::trace::UNRECORDED,
            received_at: Timestamp::ZERO,
            asked_by: crate::serve::AskedBy::Client,
        })
    }

    #[test]
    fn only_purge_and_the_webhooks_place_order_purges() {
        for (method, path) in [
            ("GET", "/a.jpg"),
            ("POST", "/a.jpg"),
            ("purge", "/a.jpg"),
            ("PURGES", "/a.jpg"),
            ("BAN", "/a.jpg"),
            ("POST", "/.aquatint/webhooks/purge/"),
            ("POST", "/.aquatint/webhooks"),
        ] {
            assert_eq!(entrance_of(method, path, None), None, "{method} {path}");
        }
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(
            entrance_of("POST", WEBHOOK, Some("a=b")),
            Some(Entrance::Webhook { client })
        );
        for method in ["GET", "PUT", "PURGE"] {
            assert_eq!(
                entrance_of(method, WEBHOOK, None),
                Some(Entrance::NotPosted),
                "{method}"
            );
        }
    }

    #[test]
    fn with_a_key_purge_is_purge_whatever_its_case() {
        let key = HeaderValue::from_static("Bearer aqk_1");
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, key)]);
        for method in ["PURGE", "purge", "Purge", "pURGE"] {
            let url = "http://shop.example:8080/a.jpg".into();
            let entrance = entrance_with(&headers, method, "/a.jpg", None);
            assert_eq!(entrance, Some(Entrance::Method { url }), "{method}");
        }
        assert_eq!(entrance_with(&headers, "BAN", "/a.jpg", None), None);
    }

    #[test]
    fn purge_is_of_the_requests_own_url() {
        for (query, url) in [
            (None, "http://shop.example:8080/a.jpg"),
            (Some("v=3&w=9"), "http://shop.example:8080/a.jpg?v=3&w=9"),
        ] {
            assert_eq!(
                entrance_of("PURGE", "/a.jpg", query),
                Some(Entrance::Method { url: url.into() })
            );
        }
    }
}
