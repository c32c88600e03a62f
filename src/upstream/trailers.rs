//! Fields that came after a response's body, and which of them may go on to a client.
//!
//! Invariant: nothing that frames, routes, authenticates or decides about caching comes from a trailer: whoever reads
//! the header first has acted on what that said (RFC 9110 section 6.5.1). It reads no connection.

use super::response::size_of;
use crate::http::hop::strip_hop_by_hop;
use http::HeaderMap;
use http::header::{self, HeaderName};

/// Framing, routing, authentication, response control and the form of the content: never merged from a trailer.
static FORBIDDEN: [HeaderName; 26] = [
    header::CONTENT_LENGTH,
    header::HOST,
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("authentication-info"),
    header::SET_COOKIE,
    header::COOKIE,
    header::AGE,
    header::CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("aquatint-cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    header::ETAG,
    header::LAST_MODIFIED,
    header::EXPIRES,
    header::DATE,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    header::PRAGMA,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::EXPECT,
    header::RANGE,
];

/// The trailers that may go on; none where all together are longer than a header may be.
pub(super) fn passable(mut trailers: HeaderMap, bytes_max: u64) -> HeaderMap {
    if size_of(&trailers) > bytes_max {
        tracing::debug!(bytes_max, "an origin's trailers are too long and were dropped");
        return HeaderMap::new();
    }
    strip_hop_by_hop(&mut trailers);
    for name in &FORBIDDEN {
        trailers.remove(name);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    /// RFC 9110 section 6.5.1.
    #[test]
    fn what_a_header_alone_may_say_is_taken_out_of_trailers() {
        let kept = [("digest", "a"), ("server-timing", "b"), ("server-timing", "c")];
        let mut given = map(&kept);
        for name in &FORBIDDEN {
            given.append(name, HeaderValue::from_static("1"));
        }
        given.append("connection", HeaderValue::from_static("x-listed"));
        given.append("x-listed", HeaderValue::from_static("1"));
        given.append("transfer-encoding", HeaderValue::from_static("chunked"));
        assert_eq!(passable(given, 1 << 16), map(&kept));
    }

    #[test]
    fn trailers_longer_than_a_header_may_be_are_dropped() {
        let given = map(&[("digest", "0123456789")]);
        let size = size_of(&given);
        assert_eq!(passable(given.clone(), size), given);
        assert!(passable(given, size - 1).is_empty());
    }
}
