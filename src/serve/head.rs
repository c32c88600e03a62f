//! What is known of a response when its header is there, before its body: for all who wait for it.
//!
//! Invariant: what only one client may have is told apart from what all may have. It does not know bodies.

use crate::http::freshness::{Lifetime, Refusal};
use crate::http::header_block::HeaderBlock;
use crate::http::vary::{Fields, Selection, VaryPolicy};
use http::{HeaderMap, StatusCode};

/// A response's header, as all readers of a flight see it.
pub(crate) struct FlightHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderBlock,
    /// Fields that only the one gets who asked first.
    pub(crate) unshared: HeaderBlock,
    /// Of the body, where the origin said.
    pub(crate) length: Option<u64>,
    pub(crate) fate: Fate,
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

impl Fate {
    /// Whether another request for the same URL would meet it too; credentials, and faults of a request, are one
    /// client's.
    pub(crate) fn lies_in_response(self) -> bool {
        match self {
            Fate::Stored(_) => false,
            Fate::Shared(_) => true,
            Fate::Private(reason) => reason != Refusal::Authorization.name() && reason != FAULT_OF_REQUEST,
        }
    }

    /// Whether a header of the one request may have brought it about.
    pub(crate) fn is_for_one(self) -> bool {
        matches!(self, Fate::Private(reason) if reason == Refusal::SetCookie.name())
    }
}
