//! Why an origin could not be opened, and why a request to it failed.
//!
//! Invariant: an [`OriginError`] never stands for a usable response; whoever reads one has nothing that may be
//! stored. Errors are values that can be cloned, because every waiter of one flight is told the same.

use crate::base::metrics::OriginFailure;
use crate::http::reuse::Failure;
use http::StatusCode;
use std::path::PathBuf;
use std::sync::Arc;

/// Why an origin's configuration can not be put to work. Nothing was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("an origin needs exactly one of url, addresses and directory; the configuration is refused")]
    Place,
    #[error("{value:?} is not {wanted}; the configuration is refused")]
    Address { value: String, wanted: &'static str },
    #[error("{value:?} is no name a certificate can carry; TLS to the origin can not be verified")]
    ServerName { value: String },
    #[error("no trusted certificates from {from}: {reason}; TLS to the origin can not be verified")]
    Roots { from: String, reason: String },
    #[error("{path} can not be opened as a directory: {source}; nothing can be served from it")]
    Directory { path: PathBuf, source: std::io::Error },
}

/// The part of an exchange whose deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Resolving, connecting and the TLS handshake.
    Connect,
    /// Sending one part of the request's body.
    Write,
    /// From the request's last byte to the response's header.
    FirstByte,
    /// From one part of the body to the next.
    Read,
    /// All waiting of the whole exchange.
    Total,
}

/// Why an origin gave no response, or not the whole of it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OriginError {
    #[error("the origin's name {name} does not resolve: {reason}; nothing was sent")]
    Resolve { name: Arc<str>, reason: Arc<str> },
    #[error("no connection to the origin: {reason}; nothing was sent")]
    Connect { reason: Arc<str> },
    #[error("no TLS with the origin: {reason}; nothing was sent")]
    Tls { reason: Arc<str> },
    #[error("the origin exceeded the {stage:?} deadline; the exchange was given up")]
    Timeout { stage: Stage },
    #[error("the origin broke the connection: {reason}; the exchange was given up")]
    Reset { reason: Arc<str> },
    #[error("the origin does not speak HTTP properly: {reason}; the exchange was given up")]
    Malformed { reason: Arc<str> },
    #[error(
        "the origin's body ended after {received} bytes, expected: {expected:?}; what came can not be used"
    )]
    Truncated {
        /// What Content-Length promised, where it was given.
        expected: Option<u64>,
        received: u64,
    },
    #[error("the response's header exceeds {limit} bytes; the exchange was given up")]
    Oversized { limit: u64 },
    #[error("every address of the origin has failed too often of late; nothing was sent")]
    BreakerOpen,
    #[error("as many requests as the origin is allowed are under way; nothing was sent")]
    Saturated,
    #[error("the origin's file can not be read: {reason}; what came can not be used")]
    File { reason: Arc<str> },
    #[error("the request can not be sent: {reason}; the exchange was given up")]
    Unsendable { reason: Arc<str> },
    #[error("the node that asked the origin has no answer: {reason}; it is not asked again")]
    ToldByPeer {
        /// As it told its own client.
        status: StatusCode,
        kind: Failure,
        reason: Arc<str>,
    },
    #[error("the client's request body did not arrive whole; the exchange was given up")]
    RequestBody,
}

impl OriginError {
    /// The metric's label; `None` where the failure is the client's.
    pub fn failure(&self) -> Option<OriginFailure> {
        Some(match self {
            OriginError::Resolve { .. } => OriginFailure::Resolve,
            OriginError::Connect { .. } => OriginFailure::Connect,
            OriginError::Tls { .. } => OriginFailure::Tls,
            OriginError::Timeout { .. } => OriginFailure::Timeout,
            OriginError::Reset { .. } => OriginFailure::Reset,
            OriginError::Malformed { .. } => OriginFailure::Malformed,
            OriginError::Truncated { .. } => OriginFailure::Truncated,
            OriginError::Oversized { .. } => OriginFailure::Oversized,
            OriginError::BreakerOpen => OriginFailure::BreakerOpen,
            OriginError::Saturated => OriginFailure::Saturated,
            OriginError::File { .. } => OriginFailure::File,
            OriginError::Unsendable { .. } | OriginError::RequestBody | OriginError::ToldByPeer { .. } => {
                return None;
            }
        })
    }

    /// What a client is told when nothing better can be served.
    pub fn status(&self) -> StatusCode {
        match self {
            OriginError::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            OriginError::BreakerOpen | OriginError::Saturated => StatusCode::SERVICE_UNAVAILABLE,
            OriginError::Unsendable { .. } | OriginError::RequestBody => StatusCode::BAD_REQUEST,
            OriginError::ToldByPeer { status, .. } => *status,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// Whether the origin could not be reached, or its connection ended before its answer did.
    pub fn is_disconnection(&self) -> bool {
        matches!(
            self,
            OriginError::Resolve { .. }
                | OriginError::Connect { .. }
                | OriginError::Tls { .. }
                | OriginError::Timeout {
                    stage: Stage::Connect
                }
                | OriginError::Reset { .. }
                | OriginError::BreakerOpen
                | OriginError::ToldByPeer {
                    kind: Failure::Disconnected,
                    ..
                }
        )
    }

    /// Whether the failure speaks against the address that was asked, as the breaker counts.
    ///
    /// One URL's oversized header says nothing of its server, and the total deadline may have passed because the
    /// client was slow to send its request's body.
    pub(super) fn blames_address(&self) -> bool {
        match self {
            OriginError::Timeout { stage } => *stage != Stage::Total,
            OriginError::Resolve { .. }
            | OriginError::Connect { .. }
            | OriginError::Tls { .. }
            | OriginError::Reset { .. }
            | OriginError::Malformed { .. }
            | OriginError::Truncated { .. } => true,
            _ => false,
        }
    }

    pub(super) fn malformed(reason: impl AsRef<str>) -> Self {
        OriginError::Malformed {
            reason: reason.as_ref().into(),
        }
    }

    pub(super) fn file(source: &std::io::Error) -> Self {
        OriginError::File {
            reason: source.to_string().into(),
        }
    }
}
