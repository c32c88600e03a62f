//! The id by which the logs of every hop know a request (`X-Request-Id`).
//!
//! Invariant: what a client chose is taken only where it is harmless in a log. It does not know sessions.

use crate::http::hop::X_REQUEST_ID;
use http::{HeaderMap, HeaderValue};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Longer ones of clients are replaced.
const BYTES_MAX: usize = 128;

/// The client's, or one of this edge's own.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    match headers.get(X_REQUEST_ID) {
        Some(given) if is_harmless(given.as_bytes()) => given.clone(),
        _ => own(),
    }
}

fn is_harmless(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

/// 128 bits that nobody else has, and nobody can tell beforehand.
fn own() -> HeaderValue {
    thread_local! {
        static KEYS: [RandomState; 2] = [RandomState::new(), RandomState::new()];
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.replace(COUNT.get().wrapping_add(1));
    let halves = KEYS.with(|keys| keys.each_ref().map(|key| key.hash_one(count)));
    let mut text = [0; 32];
    for (half, text) in halves.into_iter().zip(text.chunks_exact_mut(16)) {
        for (position, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(half >> (60 - 4 * position)) as usize & 0xf];
        }
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits make a header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn of(given: &'static str) -> HeaderValue {
        request_id(&HeaderMap::from_iter([(
            X_REQUEST_ID,
            HeaderValue::from_static(given),
        )]))
    }

    #[test]
    fn a_harmless_id_is_taken_and_any_other_replaced() {
        let longest = "a".repeat(BYTES_MAX).leak();
        for taken in ["a", "Root=1-67891233-abcdef012345678912345678", longest] {
            assert_eq!(of(taken), taken);
        }
        let too_long = "a".repeat(BYTES_MAX + 1).leak();
        for replaced in ["", "a b", "a\"b", "a\\b", "<a>", too_long] {
            assert_eq!(of(replaced).len(), 32, "{replaced}");
        }
    }

    #[test]
    fn no_two_requests_get_the_same_id() {
        let ids: HashSet<_> = (0..10_000).map(|_| request_id(&HeaderMap::new())).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
