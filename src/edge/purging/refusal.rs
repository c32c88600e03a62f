//! Why an order is not carried out, and how its caller is told: the one mapping to statuses of this path.
//!
//! Invariant: a refusal says what was refused, what became of the order and, where that is known, what to do; it holds
//! neither keys nor secrets. It does not know sessions.

use super::scopes::{Gravity, Unresolved};
use crate::base::metrics::PurgeResult;
use crate::purge::OrderError;
use crate::purge::config::Permission;
use crate::purge::log::LogError;
use crate::purge::request::RequestError;
use crate::purge::webhook::WebhookError;
use http::StatusCode;
use std::time::Duration;

/// In seconds: an entry of the log takes far less.
const RETRY_AFTER_S: u64 = 1;

/// In seconds: a disk that is full is somebody's to clear.
const RETRY_AFTER_FULL_S: u64 = 30;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no key may purge: make one with `aquatint key`, and put its hash under purge.keys")]
    NoKeys,
    #[error("a key is needed: Authorization: Bearer aqk_..")]
    NoKeyGiven,
    #[error("the key is none of purge.keys")]
    UnknownKey,
    #[error("the caller lacks {}; nothing was purged", .0.name())]
    NotAllowed(Permission),
    #[error(
        "too many orders of one caller; nothing was purged; name many URLs or tags in one order: it counts once"
    )]
    Limited(Duration),
    #[error("other dry runs are under way; nothing was counted")]
    DryRuns,
    #[error("{0}; nothing was purged")]
    Webhook(#[from] WebhookError),
    #[error("an order needs a body, and its length or an encoding that has an end")]
    NoBody,
    #[error("an order is JSON: Content-Type: application/json")]
    MediaType,
    #[error("the body is larger than {0} bytes; nothing was purged")]
    BodyTooLarge(u64),
    #[error("the body did not arrive whole; nothing was purged")]
    BodyGone,
    #[error("the body did not arrive in time; nothing was purged")]
    BodyLate,
    #[error("too many bodies of webhooks arrive; nothing was purged")]
    Crowded,
    #[error("the order names {count} targets, more than {allowed}; nothing was purged")]
    TooManyScopes { count: usize, allowed: usize },
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("Idempotency-Key has to be one value of 1 to 255 visible characters; nothing was purged")]
    IdempotencyKey,
    #[error("the lines of {0} contradict each other; nothing was purged")]
    Contradiction(&'static str),
    #[error("{0}")]
    Unresolved(Unresolved),
    #[error(transparent)]
    Order(OrderError),
    #[error("no purge of this id is remembered")]
    UnknownPurge,
    #[error("only {0} is answered here")]
    Method(&'static str),
}

impl Refusal {
    /// The status, and a word for programs.
    pub(super) fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::NoKeys => (StatusCode::FORBIDDEN, "no_keys"),
            Refusal::NoKeyGiven | Refusal::UnknownKey => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Refusal::NotAllowed(_) => (StatusCode::FORBIDDEN, "not_allowed"),
            Refusal::Limited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Refusal::DryRuns => (StatusCode::TOO_MANY_REQUESTS, "dry_runs_limited"),
            Refusal::Webhook(error) => of_webhook(error),
            Refusal::NoBody => (StatusCode::LENGTH_REQUIRED, "no_body"),
            Refusal::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Refusal::BodyTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Refusal::BodyGone => (StatusCode::BAD_REQUEST, "body_cut_short"),
            Refusal::BodyLate => (StatusCode::REQUEST_TIMEOUT, "body_late"),
            Refusal::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Refusal::TooManyScopes { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_targets"),
            Refusal::Request(RequestError::Wildcard(_)) => (StatusCode::NOT_IMPLEMENTED, "wildcard"),
            Refusal::Request(_) => (StatusCode::BAD_REQUEST, "bad_order"),
            Refusal::IdempotencyKey => (StatusCode::BAD_REQUEST, "bad_idempotency_key"),
            Refusal::Contradiction(_) => (StatusCode::BAD_REQUEST, "contradiction"),
            Refusal::Unresolved(unresolved) => of_gravity(unresolved.gravity),
            Refusal::Order(error) => of_order(error),
            Refusal::UnknownPurge => (StatusCode::NOT_FOUND, "unknown_purge"),
            Refusal::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method"),
        }
    }

    /// How long to wait before the same order may succeed, in seconds.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Refusal::Limited(wait) => Some(wait.as_millis().div_ceil(1000).max(1) as u64),
            _ => match self.kind().0 {
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Some(RETRY_AFTER_S),
                StatusCode::INSUFFICIENT_STORAGE => Some(RETRY_AFTER_FULL_S),
                _ => None,
            },
        }
    }

    /// What the log has not counted itself.
    pub(super) fn counts_as(&self) -> Option<PurgeResult> {
        match self {
            Refusal::Limited(_) | Refusal::DryRuns => Some(PurgeResult::Limited),
            Refusal::Crowded
            | Refusal::Order(
                OrderError::Busy
                | OrderError::Stopping
                | OrderError::Lost
                | OrderError::Contested
                | OrderError::Unreachable(_),
            ) => Some(PurgeResult::Failed),
            Refusal::Order(_) => None,
            _ => Some(PurgeResult::Refused),
        }
    }

    /// For somebody who looks for it alone: anybody can send a webhook, and with any id. How many are refused, the metrics
    /// tell.
    pub(super) fn tell(&self) {
        match self {
            Refusal::Webhook(error @ (WebhookError::Expired { id, .. } | WebhookError::Ahead { id, .. })) => {
                tracing::debug!(%error, id, "a webhook is refused");
            }
            Refusal::Webhook(error) => tracing::debug!(%error, "a webhook is refused"),
            _ => {}
        }
    }
}

impl From<Unresolved> for Refusal {
    fn from(unresolved: Unresolved) -> Self {
        Refusal::Unresolved(unresolved)
    }
}

fn of_webhook(error: &WebhookError) -> (StatusCode, &'static str) {
    match error {
        WebhookError::NotConfigured => (StatusCode::FORBIDDEN, "no_webhooks"),
        WebhookError::Missing(_) => (StatusCode::UNAUTHORIZED, "unsigned"),
        WebhookError::Malformed { .. } => (StatusCode::BAD_REQUEST, "bad_webhook_header"),
        WebhookError::Expired { .. } | WebhookError::Ahead { .. } => (StatusCode::UNAUTHORIZED, "expired"),
        WebhookError::Signature => (StatusCode::UNAUTHORIZED, "wrong_signature"),
    }
}

fn of_gravity(gravity: Gravity) -> (StatusCode, &'static str) {
    match gravity {
        Gravity::Malformed => (StatusCode::BAD_REQUEST, "bad_url"),
        Gravity::Unsupported => (StatusCode::NOT_IMPLEMENTED, "wildcard"),
        Gravity::Foreign => (StatusCode::UNPROCESSABLE_ENTITY, "no_route"),
    }
}

fn of_order(error: &OrderError) -> (StatusCode, &'static str) {
    match error {
        OrderError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        OrderError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        OrderError::Lost => (StatusCode::SERVICE_UNAVAILABLE, "log_failed"),
        OrderError::TooManyRemembered => (StatusCode::SERVICE_UNAVAILABLE, "too_many_remembered"),
        OrderError::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
        OrderError::Replayed(_) => (StatusCode::CONFLICT, "replayed"),
        OrderError::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "voter_unreachable"),
        OrderError::Contested => (StatusCode::SERVICE_UNAVAILABLE, "voter_contested"),
        OrderError::Log(error) => match **error {
            LogError::Full => (StatusCode::INSUFFICIENT_STORAGE, "log_full"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "log_failed"),
        },
    }
}
