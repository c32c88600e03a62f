//! What makes repeated orders one, where their sender says so.
//!
//! Invariant: two orders are the same when they cover the same by the routes, however they are written; names that two
//! callers choose do not meet. It does not know what was ordered before.

use super::refusal::Refusal;
use crate::purge::caller::Caller;
use crate::purge::order::{Minimum, Mode, OnceKey};
use crate::purge::webhook::Attempt;
use crate::scope::Scope;
use http::HeaderMap;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// The name of an order that is to be carried out once.
pub(super) struct Once {
    name: String,
    sent_at_s: u64,
}

impl Once {
    /// By the header `Idempotency-Key`, where there is one.
    pub(super) fn of_headers(headers: &HeaderMap, caller: &Caller) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let key = value.to_str().ok().filter(|key| is_sound(key));
        let key = key.filter(|_| values.next().is_none());
        let key = key.ok_or(Refusal::IdempotencyKey)?;
        Ok(Some(Once {
            name: format!("api/{}/{key}", caller.name()),
            sent_at_s: 0,
        }))
    }

    /// By the id of a webhook, which its later attempts have too.
    pub(super) fn of_attempt(attempt: &Attempt, caller: &Caller) -> Self {
        Once {
            name: format!("webhook/{}/{}", caller.name(), attempt.id),
            sent_at_s: attempt.sent_at_s,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// With what the order comes to.
    pub(super) fn key(self, scopes: &[Scope], mode: Mode, minimum: Option<&Minimum>) -> OnceKey {
        OnceKey {
            name: self.name,
            request: fingerprint(scopes, mode, minimum),
            sent_at_s: self.sent_at_s,
        }
    }
}

fn is_sound(key: &str) -> bool {
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible && (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len())
}

/// In whatever order the scopes are.
fn fingerprint(scopes: &[Scope], mode: Mode, minimum: Option<&Minimum>) -> [u8; 16] {
    let mut scopes: Vec<_> = scopes.iter().collect();
    scopes.sort_by_cached_key(|scope| scope.name());
    let bytes = postcard::to_stdvec(&(scopes, mode, minimum)).expect("writing to memory can not fail");
    let hash = blake3::hash(&bytes);
    *hash.as_bytes().first_chunk().expect("32 bytes hold 16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_cover_the_same_have_one_fingerprint_and_others_another() {
        let (a, b) = (Scope::url("shop.example", "/a"), Scope::tag("sale"));
        let of = |scopes: &[&Scope]| {
            let scopes: Vec<_> = scopes.iter().copied().cloned().collect();
            fingerprint(&scopes, Mode::Hard, None)
        };
        let one = of(&[&a, &b]);
        assert_eq!(one, of(&[&b, &a]));
        for other in [
            of(&[&a]),
            of(&[&Scope::exact("shop.example", "/a"), &b]),
            of(&[&Scope::prefix("shop.example", "/a"), &b]),
        ] {
            assert_ne!(one, other);
        }
        let all = [a, b];
        assert_ne!(one, fingerprint(&all, Mode::Soft, None));
        let etag = |tag: &str| fingerprint(&all, Mode::Hard, Some(&Minimum::EntityTag(tag.into())));
        assert_ne!(etag("\"1\""), etag("\"2\""));
        assert_ne!(etag("\"1\""), one);
    }
}
