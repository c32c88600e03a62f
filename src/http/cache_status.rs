//! The `Cache-Status` of an answer (RFC 9211).
//!
//! Invariant: what is written is a valid structured field, whatever the name and the numbers. It runs on every
//! hit, so that a hit costs one allocation. It does not know why a request went the way it did.

use bytes::Bytes;
use http::HeaderValue;

/// How this cache handled a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the store, without asking the origin; `ttl` is negative when it was stale.
    Hit { ttl: i64 },
    /// The origin was asked.
    Forward {
        why: Why,
        /// The status of the origin's answer, where there was one.
        status: Option<u16>,
        stored: Stored,
        collapsed: Collapsed,
        ttl: Option<i64>,
        detail: Option<&'static str>,
    },
    /// Answered here, neither from the store nor by the origin.
    Local { detail: &'static str },
}

/// Why the origin was asked (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    UriMiss,
    VaryMiss,
    Stale,
    Request,
    Bypass,
    Method,
    Partial,
}

/// Whether the origin's answer was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Yes,
    No,
}

/// Whether the request shared the origin request of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collapsed {
    Yes,
    No,
}

/// The greatest integer of a structured field has 15 digits (RFC 9651 section 3.3.1).
const INTEGER_MAX: i64 = 999_999_999_999_999;

/// Sign and digits of any [`INTEGER_MAX`].
const INTEGER_BYTES_MAX: usize = 16;

const HIT: &str = "; hit; ttl=";

impl CacheStatus {
    /// Written as the word of the cache called `name`.
    pub fn render(&self, name: &str) -> HeaderValue {
        let text = match self {
            CacheStatus::Hit { ttl } => hit(name, *ttl),
            _ => self.described(name),
        };
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("structured fields are visible ASCII")
    }

    fn described(&self, name: &str) -> Vec<u8> {
        let mut text = Vec::with_capacity(96);
        push_name(&mut text, name);
        match *self {
            CacheStatus::Hit { ttl } => push(&mut text, HIT, ttl),
            CacheStatus::Local { detail } => push_detail(&mut text, detail),
            CacheStatus::Forward {
                why,
                status,
                stored,
                collapsed,
                ttl,
                detail,
            } => {
                text.extend_from_slice(b"; fwd=");
                text.extend_from_slice(why.name().as_bytes());
                status.inspect(|status| push(&mut text, "; fwd-status=", i64::from(*status)));
                if stored == Stored::Yes {
                    text.extend_from_slice(b"; stored");
                }
                if collapsed == Collapsed::Yes {
                    text.extend_from_slice(b"; collapsed");
                }
                ttl.inspect(|ttl| push(&mut text, "; ttl=", *ttl));
                detail.inspect(|detail| push_detail(&mut text, detail));
            }
        }
        text
    }
}

impl Why {
    pub const fn name(self) -> &'static str {
        match self {
            Why::UriMiss => "uri-miss",
            Why::VaryMiss => "vary-miss",
            Why::Stale => "stale",
            Why::Request => "request",
            Why::Bypass => "bypass",
            Why::Method => "method",
            Why::Partial => "partial",
        }
    }
}

/// Exactly as large as it is long, so that `Bytes` takes it over as it is.
fn hit(name: &str, ttl: i64) -> Vec<u8> {
    if !is_token(name) {
        return CacheStatus::Hit { ttl }.described(name);
    }
    let mut buffer = [0; INTEGER_BYTES_MAX];
    let ttl = integer(ttl, &mut buffer);
    let mut text = Vec::with_capacity(name.len() + HIT.len() + ttl.len());
    text.extend_from_slice(name.as_bytes());
    text.extend_from_slice(HIT.as_bytes());
    text.extend_from_slice(ttl);
    text
}

fn push(text: &mut Vec<u8>, parameter: &str, number: i64) {
    text.extend_from_slice(parameter.as_bytes());
    text.extend_from_slice(integer(number, &mut [0; INTEGER_BYTES_MAX]));
}

fn push_detail(text: &mut Vec<u8>, detail: &str) {
    text.extend_from_slice(b"; detail=");
    push_name(text, detail);
}

/// A token where it is one, else a string (RFC 9651 section 3.3.3).
fn push_name(text: &mut Vec<u8>, name: &str) {
    if is_token(name) {
        return text.extend_from_slice(name.as_bytes());
    }
    text.push(b'"');
    for byte in name.bytes().filter(|byte| (b' '..=b'~').contains(byte)) {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    text.push(b'"');
}

/// RFC 9651 section 3.3.4.
fn is_token(text: &str) -> bool {
    let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'*';
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
    text.as_bytes().first().is_some_and(starts) && text.bytes().all(goes_on)
}

/// Written from its end into `buffer`; beyond the greatest integer it is that.
fn integer(number: i64, buffer: &mut [u8; INTEGER_BYTES_MAX]) -> &[u8] {
    let number = number.clamp(-INTEGER_MAX, INTEGER_MAX);
    let mut rest = number.unsigned_abs();
    let mut start = INTEGER_BYTES_MAX;
    loop {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        buffer[start] = b'-';
    }
    &buffer[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MISS: CacheStatus = CacheStatus::Forward {
        why: Why::UriMiss,
        status: None,
        stored: Stored::No,
        collapsed: Collapsed::No,
        ttl: None,
        detail: None,
    };

    /// RFC 9211 sections 2.1 and 2.4.
    #[test]
    fn a_hit_tells_the_freshness_left_also_when_it_is_none() {
        let hit = |ttl| CacheStatus::Hit { ttl }.render("aquatint");
        assert_eq!(hit(376), "aquatint; hit; ttl=376");
        assert_eq!(hit(0), "aquatint; hit; ttl=0");
        assert_eq!(hit(-412), "aquatint; hit; ttl=-412");
    }

    /// RFC 9211 sections 2.2 to 2.6, and 2.8 for `detail`.
    #[test]
    fn a_forwarded_request_tells_all_that_is_known() {
        assert_eq!(MISS.render("aquatint"), "aquatint; fwd=uri-miss");
        let known = CacheStatus::Forward {
            why: Why::Stale,
            status: Some(304),
            stored: Stored::Yes,
            collapsed: Collapsed::Yes,
            ttl: Some(60),
            detail: Some("no-freshness"),
        };
        let expected = "aquatint; fwd=stale; fwd-status=304; stored; collapsed; ttl=60; detail=no-freshness";
        assert_eq!(known.render("aquatint"), expected);
    }

    /// RFC 9211 section 2.2.
    #[test]
    fn every_reason_has_its_name_in_the_rfc() {
        let reasons = [
            (Why::UriMiss, "uri-miss"),
            (Why::VaryMiss, "vary-miss"),
            (Why::Stale, "stale"),
            (Why::Request, "request"),
            (Why::Bypass, "bypass"),
            (Why::Method, "method"),
            (Why::Partial, "partial"),
        ];
        for (why, name) in reasons {
            assert_eq!(why.name(), name);
        }
    }

    /// RFC 9211 sections 2 and 2.8, RFC 9651 sections 3.3.3 and 3.3.4.
    #[test]
    fn what_is_no_token_is_written_as_a_string() {
        let hit = |name| CacheStatus::Hit { ttl: 1 }.render(name);
        assert_eq!(hit("edge.example:8080/a"), "edge.example:8080/a; hit; ttl=1");
        assert_eq!(hit("1st edge"), r#""1st edge"; hit; ttl=1"#);
        assert_eq!(hit(r#"a"b\c"#), r#""a\"b\\c"; hit; ttl=1"#);
        let local = CacheStatus::Local { detail: "bad url" };
        assert_eq!(local.render("aquatint"), r#"aquatint; detail="bad url""#);
    }

    proptest! {
        /// RFC 9651 sections 3.3.1 and 3.3.3.
        #[test]
        fn any_name_and_number_render_within_the_limits_of_the_format(name in ".{0,20}", ttl in any::<i64>()) {
            let value = CacheStatus::Hit { ttl }.render(&name);
            let text = value.to_str().unwrap();
            let (_, number) = text.rsplit_once("; hit; ttl=").unwrap();
            prop_assert_eq!(number.parse::<i64>().unwrap(), ttl.clamp(-INTEGER_MAX, INTEGER_MAX));
        }
    }
}
