//! The answers of the edge's own: to requests that no response could be had for, and what those count as.
//!
//! Invariant: whoever is refused is refused for one reason; what an origin said of itself is for the log alone. The one place
//! that turns errors into statuses. It does not know sessions.

use super::respond::{Facts, Manner, NO_STORE, Payload, Reply};
use crate::base::metrics::{Outcome, Rejection};
use crate::http::cache_status::CacheStatus;
use crate::serve::{FlightFailure, ServeError, Unserved};
use crate::upstream::OriginError;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

/// Methods that are answered or passed on; the others tunnel or echo.
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// In seconds: variants take less.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The request's, or there was no room for it.
    Refused(Rejection),
    /// The origin's.
    Failed,
}

impl Manner {
    /// An answer of the edge's own.
    pub(crate) fn plain(&self, status: StatusCode, outcome: Outcome, text: String) -> Reply {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, TEXT);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        let body = Bytes::from(text + "\n");
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, ALLOWED_METHODS);
        }
        let detail = if outcome == Outcome::Error {
            "origin-failed"
        } else {
            "refused"
        };
        self.sign(&mut headers, &CacheStatus::Local { detail });
        Reply {
            status,
            headers,
            payload: Payload::Text(body),
            outcome,
            facts: Facts::default(),
        }
    }

    /// What this edge can do (RFC 9110 section 9.3.7).
    pub(crate) fn own_options(&self) -> Reply {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::ALLOW, ALLOWED_METHODS);
        self.sign(&mut headers, &CacheStatus::Local { detail: "options" });
        Reply {
            status: StatusCode::NO_CONTENT,
            headers,
            payload: Payload::None,
            outcome: Outcome::Refused,
            facts: Facts::rejected(Rejection::Options),
        }
    }

    /// What is not done, and why.
    pub(crate) fn reject(&self, status: StatusCode, reason: Rejection, text: String) -> Reply {
        let mut reply = self.plain(status, Outcome::Refused, text);
        reply.facts = Facts::rejected(reason);
        reply
    }

    /// A request that no response could be had for.
    pub(crate) fn refuse(&self, unserved: &Unserved) -> Reply {
        let (status, ending) = ending_of(&unserved.error);
        let mut reply = match ending {
            Ending::Refused(reason) => {
                let mut reply = self.reject(status, reason, unserved.error.to_string());
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    reply.headers.insert(header::RETRY_AFTER, RETRY_AFTER);
                }
                reply
            }
            Ending::Failed => self.failed(status, &unserved.error),
        };
        reply.facts.route = unserved.route.clone();
        reply
    }

    /// What the origin said is for the log alone.
    fn failed(&self, status: StatusCode, error: &ServeError) -> Reply {
        tracing::info!(%error, "no answer could be had from the origin");
        let text = match status {
            StatusCode::GATEWAY_TIMEOUT => "the origin did not answer in time",
            StatusCode::SERVICE_UNAVAILABLE => "the origin takes no more requests for now",
            _ => "the origin gave no usable answer",
        };
        self.plain(status, Outcome::Error, text.to_owned())
    }
}

/// The status and outcome of a request that got no response.
pub(super) fn status_of(error: &ServeError) -> (StatusCode, Outcome) {
    let (status, ending) = ending_of(error);
    let outcome = match ending {
        Ending::Refused(_) => Outcome::Refused,
        Ending::Failed => Outcome::Error,
    };
    (status, outcome)
}

/// The status of a request that got no response, and what became of it.
fn ending_of(error: &ServeError) -> (StatusCode, Ending) {
    use Ending::{Failed, Refused};
    match error {
        ServeError::NoRoute => (StatusCode::NOT_FOUND, Refused(Rejection::NoRoute)),
        ServeError::Misdirected => (StatusCode::MISDIRECTED_REQUEST, Refused(Rejection::NoRoute)),
        ServeError::Reserved => (StatusCode::NOT_FOUND, Refused(Rejection::ReservedPath)),
        ServeError::OnlyIfCached => (StatusCode::GATEWAY_TIMEOUT, Refused(Rejection::OnlyIfCached)),
        ServeError::Url(_) => (StatusCode::BAD_REQUEST, Refused(Rejection::BadUrl)),
        ServeError::Spec(_) => (StatusCode::BAD_REQUEST, Refused(Rejection::BadParameters)),
        ServeError::Overloaded(_) => (StatusCode::SERVICE_UNAVAILABLE, Refused(Rejection::Overloaded)),
        ServeError::Variant(_) => (StatusCode::UNPROCESSABLE_ENTITY, Refused(Rejection::NoVariant)),
        ServeError::Source(_) => (StatusCode::BAD_GATEWAY, Failed),
        ServeError::Origin(error) => of_origin(error),
        ServeError::Flight(FlightFailure::Origin(error)) => of_origin(error),
        ServeError::Flight(FlightFailure::Deadline) => (StatusCode::GATEWAY_TIMEOUT, Failed),
        ServeError::Flight(FlightFailure::Abandoned | FlightFailure::Overtaken | FlightFailure::PartGone) => {
            (StatusCode::BAD_GATEWAY, Failed)
        }
    }
}

/// A request that could not be sent on is the client's fault.
fn of_origin(error: &OriginError) -> (StatusCode, Ending) {
    let status = error.status();
    match status.is_client_error() {
        true => (status, Ending::Refused(Rejection::Unsendable)),
        false => (status, Ending::Failed),
    }
}
