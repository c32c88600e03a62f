//! The header of a response, interim or final; the final one is held against RFC 9112 section 6 before anybody
//! believes it.
//!
//! Invariant: a [`Head`] has one unambiguous framing. Whatever could be read in two ways is refused, because caches
//! that read it differently serve each other's bodies. It reads no body.

use super::Interim;
use super::error::OriginError;
use super::fault;
use super::request::digits;
use crate::http::hop::strip_hop_by_hop;
use http::{HeaderMap, Method, StatusCode, Version, header};
use pingora_core::BError;
use pingora_core::protocols::http::client::HttpSession;

/// Interim responses before the final one; beyond it the origin is playing games.
const INTERIMS_MAX: usize = 32;
/// What HTTP/2 adds to a field's name and value when it counts a header's size (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: u64 = 32;

/// A final response's header.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// End-to-end headers only.
    pub(super) headers: HeaderMap,
    /// What Content-Length says.
    pub(super) length: Option<u64>,
    pub(super) content: Content,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
}

/// Whether a body follows the header (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Absent,
    Follows,
}

/// What tells where a body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Its length, its last chunk or the end of its stream; or there is no body.
    Framed,
    /// Only that the connection closes: a body that was cut looks like a whole one.
    UntilClose,
}

/// Whether the origin means to keep the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Keep,
    Close,
}

/// A header that an origin sent.
pub(super) enum Heard {
    /// 100: the origin wants the request's body.
    Continue,
    Interim(Interim),
    /// The final header is there to be examined.
    Final,
}

/// Hears an origin up to its final header, and keeps count of what it says before.
#[derive(Debug)]
pub(super) struct Hearing {
    interims: usize,
    /// Of header, that all interim responses together may still take.
    bytes_left: u64,
}

impl Hearing {
    /// All interim responses together may be as long as one header.
    pub(super) fn new(header_bytes_max: u64) -> Self {
        Hearing {
            interims: 0,
            bytes_left: header_bytes_max,
        }
    }

    /// Reads the next header. May be cancelled and called again.
    ///
    /// HTTP/2's interim responses are not heard: pingora skips them.
    pub(super) async fn next(&mut self, session: &mut HttpSession) -> Result<Heard, AwaitError> {
        session.read_response_header().await.map_err(AwaitError::Broken)?;
        match session.response_header().map(|header| header.status) {
            Some(StatusCode::SWITCHING_PROTOCOLS) => Err(AwaitError::Absurd("it switches protocols unasked")),
            Some(status) if status.is_informational() => {
                self.count(session)?;
                Heard::interim(session, status)
            }
            _ => Ok(Heard::Final),
        }
    }

    fn count(&mut self, session: &HttpSession) -> Result<(), AwaitError> {
        self.interims += 1;
        if self.interims > INTERIMS_MAX {
            return Err(AwaitError::Absurd("it sends interim responses without end"));
        }
        let left = self.bytes_left.checked_sub(size(session));
        self.bytes_left = left.ok_or(AwaitError::Oversized)?;
        Ok(())
    }
}

impl Heard {
    fn interim(session: &HttpSession, status: StatusCode) -> Result<Self, AwaitError> {
        if status == StatusCode::CONTINUE {
            return Ok(Heard::Continue);
        }
        let mut headers = checked_headers(session).map_err(AwaitError::Absurd)?;
        strip_hop_by_hop(&mut headers);
        // RFC 9110 section 8.6: it has no place in a 1xx.
        headers.remove(header::CONTENT_LENGTH);
        Ok(Heard::Interim(Interim { status, headers }))
    }
}

/// Why there is no final response.
#[derive(Debug)]
pub(super) enum AwaitError {
    Broken(BError),
    Absurd(&'static str),
    /// The interim responses' headers are too long.
    Oversized,
}

impl AwaitError {
    /// As the caller of the origin is told; `limit` is how long a header may be.
    pub(super) fn into_origin_error(self, limit: u64) -> OriginError {
        match self {
            AwaitError::Broken(error) => fault::awaiting_header(&error, limit),
            AwaitError::Absurd(reason) => OriginError::malformed(reason),
            AwaitError::Oversized => OriginError::Oversized { limit },
        }
    }
}

/// The headers as they came, with values that may go on to stores and other protocols; pingora takes those of
/// HTTP/1.1 unchecked.
fn checked_headers(session: &HttpSession) -> Result<HeaderMap, &'static str> {
    let Some(header) = session.response_header() else {
        return Ok(HeaderMap::new());
    };
    let mut headers = HeaderMap::with_capacity(header.headers.len());
    for (name, value) in &header.headers {
        let value = http::HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| "a header's value holds control characters")?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Bytes of the header that was read last.
fn size(session: &HttpSession) -> u64 {
    match session.as_http1() {
        Some(http1) => http1.get_headers_raw_bytes().len() as u64,
        None => session
            .response_header()
            .map_or(0, |header| size_of(&header.headers)),
    }
}

/// Judges the final header that [`Hearing::next`] read in answer to a request of `method`.
pub(super) fn examine(session: &HttpSession, method: &Method, limit: u64) -> Result<Head, OriginError> {
    let header = session.response_header().expect("the final header has been read");
    let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
    if size(session) > limit {
        return Err(OriginError::Oversized { limit });
    }
    if let Some(raw) = &raw {
        check_transfer_coding(&header.headers, header.version, raw)?;
    }
    let chunked = header.headers.contains_key(header::TRANSFER_ENCODING);
    let mut headers = checked_headers(session).map_err(OriginError::malformed)?;
    let persistence = persistence(header.version, &headers);
    let length = take_length(&mut headers)?;
    strip_hop_by_hop(&mut headers);
    let status = header.status;
    let content = content(method, status);
    let ends_by_close = raw.is_some() && content == Content::Follows && length.is_none() && !chunked;
    Ok(Head {
        status,
        headers,
        length,
        content,
        framing: if ends_by_close {
            Framing::UntilClose
        } else {
            Framing::Framed
        },
        persistence,
    })
}

pub(super) fn size_of(headers: &HeaderMap) -> u64 {
    let field = |(name, value): (&header::HeaderName, &http::HeaderValue)| {
        (name.as_str().len() + value.len()) as u64 + FIELD_OVERHEAD
    };
    headers.iter().map(field).sum()
}

/// RFC 9112 section 6.1: only `chunked`, alone, in HTTP/1.1, and without a Content-Length that contradicts it.
fn check_transfer_coding(headers: &HeaderMap, version: Version, raw: &[u8]) -> Result<(), OriginError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(OriginError::malformed("a transfer coding other than chunked"));
    }
    if version != Version::HTTP_11 {
        return Err(OriginError::malformed("a transfer coding before HTTP/1.1"));
    }
    // pingora has dropped the Content-Length by now, so the bytes themselves are asked.
    if names(raw).any(|name| name.eq_ignore_ascii_case(b"content-length")) {
        return Err(OriginError::malformed(
            "both Transfer-Encoding and Content-Length",
        ));
    }
    Ok(())
}

/// The field names of a header as it came.
fn names(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    raw.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b':').next())
        .map(<[u8]>::trim_ascii)
}

/// Content-Length as one number. Equal repetitions become one header (RFC 9110 section 8.6).
fn take_length(headers: &mut HeaderMap) -> Result<Option<u64>, OriginError> {
    let refused = || OriginError::malformed("a Content-Length that is not one number");
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let part = http::HeaderValue::from_bytes(part.trim_ascii()).map_err(|_| refused())?;
            let part = digits(&part).ok_or_else(refused)?;
            if length.replace(part).is_some_and(|earlier| earlier != part) {
                return Err(refused());
            }
        }
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(length)
}

fn content(method: &Method, status: StatusCode) -> Content {
    let absent =
        method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if absent { Content::Absent } else { Content::Follows }
}

fn persistence(version: Version, headers: &HeaderMap) -> Persistence {
    let closes = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    if closes || version < Version::HTTP_11 {
        Persistence::Close
    } else {
        Persistence::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn equal_lengths_become_one_and_differing_ones_are_refused() {
        let length = |values: &[&'static str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
            let mut headers = headers(&pairs);
            take_length(&mut headers).map(|length| (length, headers.get_all("content-length").iter().count()))
        };
        assert_eq!(length(&[]).unwrap(), (None, 0));
        assert_eq!(length(&["5", "5, 5"]).unwrap(), (Some(5), 1));
        for bad in [
            &["5", "6"][..],
            &["5,6"],
            &["+5"],
            &["-1"],
            &[""],
            &["5,"],
            &["0x5"],
            &["99999999999999999999"],
        ] {
            assert!(length(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_chunked_alone_is_understood() {
        let check = |value, version, raw: &str| {
            check_transfer_coding(&headers(&[("transfer-encoding", value)]), version, raw.as_bytes())
        };
        assert!(check("Chunked", Version::HTTP_11, "a: b\r\n").is_ok());
        assert!(check("gzip, chunked", Version::HTTP_11, "").is_err());
        assert!(check("identity", Version::HTTP_11, "").is_err());
        assert!(check("chunked", Version::HTTP_10, "").is_err());
        assert!(
            check(
                "chunked",
                Version::HTTP_11,
                "HTTP/1.1 200 OK\r\ncontent-LENGTH : 5\r\n"
            )
            .is_err()
        );
    }

    #[test]
    fn head_204_and_304_carry_no_body() {
        assert_eq!(content(&Method::HEAD, StatusCode::OK), Content::Absent);
        assert_eq!(content(&Method::GET, StatusCode::NO_CONTENT), Content::Absent);
        assert_eq!(content(&Method::GET, StatusCode::NOT_MODIFIED), Content::Absent);
        assert_eq!(content(&Method::GET, StatusCode::NOT_FOUND), Content::Follows);
    }
}
