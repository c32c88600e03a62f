//! What is known of a response when its header is there, before its body: for all who wait for it.
//!
//! Invariant: what only one client may have is told apart from what all may have. It does not know bodies.

use crate::http::freshness::{CachePolicy, Exchange, Lifetime, Refusal, SetCookie};
use crate::http::header_block::HeaderBlock;
use crate::http::vary::{Fields, Selection, VaryPolicy};
use crate::store::Stamp;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// A response's header, as all readers of a flight see it.
pub(crate) struct FlightHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderBlock,
    /// Fields that only the one gets who asked first.
    pub(crate) unshared: HeaderBlock,
    /// Of the body, where the origin said.
    pub(crate) length: Option<u64>,
    pub(crate) fate: Fate,
    pub(crate) stamp: Stamp,
    /// What a request has to select, where the response varies.
    pub(crate) alternate: Option<Alternate>,
}

/// Which requests a response answers that varies.
#[derive(Clone, Debug)]
pub(crate) struct Alternate {
    pub(crate) fields: Fields,
    pub(crate) selection: Selection,
}

impl FlightHead {
    /// Whether the response is the one that `request` selects.
    pub(crate) fn answers(&self, request: &HeaderMap, policy: &VaryPolicy) -> bool {
        self.alternate
            .as_ref()
            .is_none_or(|alternate| alternate.fields.select(request, policy) == alternate.selection)
    }
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Stored once it is complete.
    Stored(Lifetime),
    /// Not stored, but nothing in it is private to who asked: those who waited may have it too.
    Shared(&'static str),
    /// Only for the one who asked.
    Private(&'static str),
}

/// The origin finds fault with one client's request: who else waits asks by itself.
pub(crate) const FAULT_OF_REQUEST: &str = "request";

/// The origin answers with less than a purge has told that it has.
pub(crate) const TOO_OLD: &str = "older-than-purge";

/// The body's end can not be told from a connection that died.
pub(crate) const UNFRAMED: &str = "unframed";

/// Another node does not tell by which purges its answer is known: the next time it may.
pub(crate) const UNTOLD: &str = "untold";

impl Fate {
    pub(crate) fn is_too_old(self) -> bool {
        matches!(self, Fate::Shared(TOO_OLD) | Fate::Private(TOO_OLD))
    }

    pub(crate) fn is_unframed(self) -> bool {
        matches!(self, Fate::Shared(UNFRAMED))
    }

    /// Whether another request for the same URL would meet it too; credentials, and faults of a request, are one
    /// client's.
    pub(crate) fn lies_in_response(self) -> bool {
        match self {
            // The origin has better elsewhere.
            _ if self.is_too_old() => false,
            Fate::Stored(_) => false,
            Fate::Shared(_) => true,
            Fate::Private(reason) => {
                reason != Refusal::Authorization.name() && reason != FAULT_OF_REQUEST && reason != UNTOLD
            }
        }
    }

    /// Whether a header of the one request may have brought it about.
    pub(crate) fn is_for_one(self) -> bool {
        matches!(self, Fate::Private(reason) if reason == Refusal::SetCookie.name())
    }
}

pub(super) fn strip_cookies(headers: &mut HeaderMap, policy: &CachePolicy) {
    if policy.set_cookie == SetCookie::Strip {
        headers.remove(header::SET_COOKIE);
    }
}

/// RFC 9110 section 6.6.1: who has a clock records when a response came that does not say.
pub(super) fn date(headers: &mut HeaderMap, exchange: Exchange) {
    if !headers.contains_key(header::DATE) {
        let date = httpdate::fmt_http_date(exchange.received_at.as_system_time());
        headers.insert(
            header::DATE,
            HeaderValue::try_from(date).expect("a date is visible ASCII"),
        );
    }
}
