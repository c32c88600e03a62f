//! What becomes of a response: stored for everybody, shared with those who wait, or for the one who asked.
//!
//! Invariant: it is decided by the header alone, before any byte of the body. It does not know flights.

use super::fill::{Fill, Incoming, Previous};
use super::head::{FAULT_OF_REQUEST, Fate, TOO_OLD, UNFRAMED, UNTOLD};
use super::trip::Extent;
use crate::base::clock;
use crate::http::freshness::{Exchange, Facts, Refusal, Verdict, judge};
use crate::http::partial::Run;
use crate::http::reuse::Failure;
use crate::scope::TagError;
use crate::upstream::{Framing, OriginResponse};
use http::{HeaderMap, StatusCode, header};

impl Fill {
    pub(super) fn fate(&self, response: &OriginResponse) -> Fate {
        let fate = self.fate_by_header(response);
        match self.is_too_old(response.status, &response.headers) {
            true => too_old(fate),
            false => fate,
        }
    }

    /// Whatever purges have told.
    fn fate_by_header(&self, response: &OriginResponse) -> Fate {
        let OriginResponse {
            status,
            headers,
            length,
            body,
            exchange,
        } = response;
        // A part is one of a response that would be a 200.
        let is_part = matches!(self.extent, Extent::Range(_)) && *status == StatusCode::PARTIAL_CONTENT;
        let judged_as = if is_part { StatusCode::OK } else { *status };
        match self.stamp(headers) {
            Ok(_) => {}
            Err(TagError::Untold) => return Fate::Private(UNTOLD),
            Err(_) => return Fate::Private("tags"),
        }
        let lifetime = match self.judge(judged_as, headers, *exchange) {
            Verdict::Store(lifetime) => lifetime,
            Verdict::Refuse(Refusal::Status | Refusal::NoFreshness) if faults_request(*status) => {
                return Fate::Private(FAULT_OF_REQUEST);
            }
            Verdict::Refuse(refusal @ (Refusal::Status | Refusal::NoFreshness)) => {
                return Fate::Shared(refusal.name());
            }
            Verdict::Refuse(refusal) => return Fate::Private(refusal.name()),
        };
        if judged_as.is_success() && !self.route.stores_type(headers.get(header::CONTENT_TYPE)) {
            return Fate::Private("content-type");
        }
        if length.is_some_and(|length| length > self.route.object_bytes_max) {
            return Fate::Private("too-large");
        }
        if body.framing() == Framing::UntilClose {
            return Fate::Shared(UNFRAMED);
        }
        if is_part && length.and_then(|length| Run::of(headers, length)).is_none() {
            return Fate::Shared("content-range");
        }
        if status.is_server_error() && self.previous_may_stand_in() {
            return Fate::Shared("stale-if-error");
        }
        Fate::Stored(lifetime)
    }

    /// Of a body that stored bytes complete.
    pub(super) fn fate_of_rest(&self, whole: &Incoming) -> Fate {
        let fate = match self.judge(whole.status, &whole.headers, whole.exchange) {
            Verdict::Store(_) if whole.length > Some(self.route.object_bytes_max) => {
                Fate::Private("too-large")
            }
            Verdict::Store(lifetime) => Fate::Stored(lifetime),
            Verdict::Refuse(refusal) => Fate::Private(refusal.name()),
        };
        match self.is_too_old(whole.status, &whole.headers) {
            true => too_old(fate),
            false => fate,
        }
    }

    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap, exchange: Exchange) -> Verdict {
        let facts = Facts {
            status,
            headers,
            request_headers: &self.request_headers,
            exchange,
            versioned: self.versioned,
        };
        judge(&facts, &self.route.policy)
    }

    /// An error must not replace an image that may still be served in its place.
    fn previous_may_stand_in(&self) -> bool {
        match &self.previous {
            Previous::Entry(entry, _) => {
                entry.lifetime.stands_in(clock::now(), Failure::Error) && self.fills.is_valid(entry)
            }
            Previous::Nothing | Previous::Alternates(_) | Previous::Part(_) => false,
        }
    }
}

/// Too old for all who may have it: it takes the place of nothing that is newer, whoever it is for.
fn too_old(fate: Fate) -> Fate {
    match fate {
        Fate::Private(_) => Fate::Private(TOO_OLD),
        Fate::Stored(_) | Fate::Shared(_) => Fate::Shared(TOO_OLD),
    }
}

/// Statuses that another client's request for the same URL may not meet (RFC 9110 section 15.5, RFC 6585).
fn faults_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 401 | 407 | 408 | 411 | 413 | 414 | 417 | 431
    )
}
