//! Why the API for operators does not do what it is asked: the one mapping to statuses of this path.
//!
//! Invariant: always JSON, of the shape that the API of purges has; it says what was refused and holds no key. It does not
//! know sessions.

use super::asked::AskedError;
use super::reload::ReloadRefused;
use super::who::Denied;
use crate::edge::guard;
use crate::edge::purging::Response;
use crate::serve::ServeError;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// In seconds: of what is under way something ends soon.
const RETRY_AFTER_S: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("there is nothing here; try /api/v1/stat, top, log, explain, warm, reload, cluster or purge")]
    NoSuchPlace,
    #[error("only {0} is answered here")]
    Method(&'static str),
    #[error("{name}: {wrong}")]
    Query { name: String, wrong: String },
    #[error("the body does not say that it is JSON: Content-Type: application/json")]
    MediaType,
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(u64),
    #[error("the body did not arrive whole")]
    BodyGone,
    #[error("the body did not arrive in time")]
    BodyLate,
    #[error("the body is not what is asked for here: {0}")]
    Json(serde_json::Error),
    #[error(transparent)]
    Asked(#[from] AskedError),
    #[error("the edge would refuse the request: {0}")]
    Guard(#[from] guard::Refusal),
    #[error("{0}")]
    Serve(ServeError),
    #[error("{0} are under way already; nothing was begun")]
    Busy(&'static str),
    #[error("this node is alone: its configuration says no cluster.listen")]
    Alone,
    #[error("the edge is stopping; nothing was begun")]
    Stopping,
    #[error(transparent)]
    Reload(#[from] ReloadRefused),
}

impl Refusal {
    /// The status, and a word for programs.
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::Denied(denied) => of_denied(*denied),
            Refusal::NoSuchPlace => (StatusCode::NOT_FOUND, "not_found"),
            Refusal::Alone => (StatusCode::NOT_FOUND, "alone"),
            Refusal::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Refusal::Query { .. } => (StatusCode::BAD_REQUEST, "bad_query"),
            Refusal::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            Refusal::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Refusal::BodyGone => (StatusCode::BAD_REQUEST, "body_gone"),
            Refusal::BodyLate => (StatusCode::REQUEST_TIMEOUT, "body_late"),
            Refusal::Json(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Refusal::Asked(AskedError::Header { .. }) => (StatusCode::BAD_REQUEST, "bad_header"),
            Refusal::Asked(_) => (StatusCode::BAD_REQUEST, "bad_url"),
            Refusal::Guard(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            Refusal::Serve(ServeError::NoRoute | ServeError::Reserved) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "no_route")
            }
            Refusal::Serve(_) => (StatusCode::BAD_REQUEST, "bad_url"),
            Refusal::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            Refusal::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Refusal::Reload(refused) => of_reload(refused),
        }
    }
}

fn of_denied(denied: Denied) -> (StatusCode, &'static str) {
    match denied {
        Denied::Browser => (StatusCode::FORBIDDEN, "browser"),
        Denied::Name => (StatusCode::FORBIDDEN, "host"),
        Denied::KeyNeeded | Denied::UnknownKey => (StatusCode::UNAUTHORIZED, "unauthorized"),
        Denied::NotAllowed => (StatusCode::FORBIDDEN, "not_allowed"),
    }
}

fn of_reload(refused: &ReloadRefused) -> (StatusCode, &'static str) {
    match refused {
        ReloadRefused::Problems(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_configuration"),
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = refusal.kind();
        let mut error = json!({ "code": code, "message": refusal.to_string() });
        if let Refusal::Reload(ReloadRefused::Problems(problems)) = &refusal {
            error["problems"] = Value::from(problems.clone());
        }
        let mut response = Response::json(status, &json!({ "error": error }));
        let headers = &mut response.headers;
        match refusal {
            Refusal::Method(allowed) => {
                drop(headers.insert(header::ALLOW, HeaderValue::from_static(allowed)))
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::Busy(_) | Refusal::Stopping => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
            }
            _ => {}
        }
        response
    }
}
