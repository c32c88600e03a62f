//! Why a flight brought no response, or not the whole of one.
//!
//! Invariant: a value that can be cloned, because all who wait are told the same. It does not know what is served
//! instead.

use crate::http::reuse::Failure;
use crate::upstream::OriginError;
use http::StatusCode;
use std::sync::Arc;

/// Why a flight ended without its whole body.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FlightFailure {
    #[error("the origin gave no complete response; nothing was stored: {0}")]
    Origin(Arc<OriginError>),
    #[error("the fill took longer than its deadline; nothing was stored")]
    Deadline,
    #[error("the fill was abandoned; nothing was stored")]
    Abandoned,
    #[error("stored bytes that belong to the body are gone; nothing was stored")]
    PartGone,
    #[error("this reader fell behind the window of a body that is not stored")]
    Overtaken,
}

impl FlightFailure {
    /// As far as stored responses that may stand in are concerned.
    pub(crate) fn kind(&self) -> Failure {
        match self {
            FlightFailure::Origin(error) if error.is_disconnection() => Failure::Disconnected,
            _ => Failure::Error,
        }
    }
}

impl From<OriginError> for FlightFailure {
    fn from(error: OriginError) -> Self {
        FlightFailure::Origin(Arc::new(error))
    }
}

/// RFC 5861 section 4: the statuses in whose place a stale response may be served.
pub(super) fn is_at_origin(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
