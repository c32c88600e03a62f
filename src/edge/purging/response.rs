//! How the end of an order reads: a receipt, an estimate, or an error that says what went wrong.
//!
//! Invariant: always JSON, never to be stored; 200 is a purge that is applied, or something that purges nothing. It does
//! not know sessions.

use super::Done;
use super::refusal::Refusal;
use crate::base::metrics::{Outcome, Rejection};
use crate::edge::respond::{Manner, Reply};
use crate::http::cache_status::CacheStatus;
use crate::purge::OrderError;
use crate::purge::receipt::{Receipt, State};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    /// But for the body's length.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorText<'a>,
    /// Of the purge that was carried out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<&'a Receipt>,
}

#[derive(Serialize)]
struct ErrorText<'a> {
    code: &'a str,
    message: String,
}

#[derive(Serialize)]
struct DryRunBody {
    dry_run: bool,
    objects: u64,
    bytes: u64,
    scopes: usize,
}

impl Response {
    pub(super) fn of(done: &Result<Done, Refusal>) -> Self {
        match done {
            Ok(Done::Receipt(receipt)) => Response::json(status_of(receipt), receipt),
            Ok(Done::DryRun { estimate, scopes }) => {
                let body = DryRunBody {
                    dry_run: true,
                    objects: estimate.objects,
                    bytes: estimate.bytes,
                    scopes: *scopes,
                };
                Response::json(StatusCode::OK, &body)
            }
            Err(refusal) => Response::refusal(refusal),
        }
    }

    /// With where a purge can be asked about again.
    pub(super) fn with_place(mut self, done: &Result<Done, Refusal>) -> Self {
        if let Ok(Done::Receipt(receipt)) = done
            && self.status == StatusCode::ACCEPTED
            && let Ok(place) =
                HeaderValue::try_from(format!("{}{}", super::session::RECEIPTS, receipt.purge_id))
        {
            self.headers.insert(header::LOCATION, place);
        }
        self
    }

    fn refusal(refusal: &Refusal) -> Self {
        let (status, code) = refusal.kind();
        let receipt = match refusal {
            Refusal::Order(OrderError::Replayed(receipt)) => Some(&**receipt),
            _ => None,
        };
        let message = refusal.to_string();
        let error = ErrorText { code, message };
        let mut response = Response::json(status, &ErrorBody { error, receipt });
        if status == StatusCode::UNAUTHORIZED && !matches!(refusal, Refusal::Webhook(_)) {
            response.headers.insert(header::WWW_AUTHENTICATE, BEARER);
        }
        if let Refusal::Method(allowed) = refusal {
            response
                .headers
                .insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        if let Some(seconds) = refusal.retry_after_s() {
            response
                .headers
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    pub(in crate::edge) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let mut text = serde_json::to_vec(body).expect("writing to memory can not fail");
        text.push(b'\n');
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE)]);
        Response {
            status,
            headers,
            body: Bytes::from(text),
        }
    }

    /// Which methods are answered (RFC 9110 section 9.3.7).
    pub(in crate::edge) fn options(allowed: &'static str) -> Self {
        let allowed = HeaderValue::from_static(allowed);
        Response {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(header::ALLOW, allowed), (header::CACHE_CONTROL, NO_STORE)]),
            body: Bytes::new(),
        }
    }

    /// As the edge listener answers.
    pub(super) fn into_reply(self, outcome: Outcome, manner: &Manner) -> Reply {
        let mut reply = match outcome {
            Outcome::Refused => manner.reject(self.status, Rejection::Purge, String::new()),
            outcome => manner.plain(self.status, outcome, String::new()),
        };
        let status = CacheStatus::Local { detail: "purge" };
        reply.headers.insert(CACHE_STATUS, status.render(&manner.name));
        reply
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        reply.headers.extend(self.headers);
        reply.payload = crate::edge::respond::Payload::Text(self.body);
        reply
    }
}

fn status_of(receipt: &Receipt) -> StatusCode {
    match receipt.state {
        State::Applied => StatusCode::OK,
        State::Pending => StatusCode::ACCEPTED,
        State::Failed => StatusCode::SERVICE_UNAVAILABLE,
    }
}
