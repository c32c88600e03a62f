//! Signed orders, from a body that anybody may have sent to an order of somebody known.
//!
//! Whoever sends one costs a hash of the whole of it for each secret. Invariant: that is paid off the threads that serve, by
//! no more bodies at once than the limit, senders that have gone included; a body and its room are gone as soon as it
//! is understood. It does not know what becomes of an order.

use super::body::Held;
use super::once::Once;
use super::refusal::Refusal;
use super::{take_turn, unfinished};
use crate::base::clock;
use crate::purge::caller::Caller;
use crate::purge::config::Config;
use crate::purge::request::PurgeRequest;
use crate::purge::webhook::{Attempt, WebhookError, Webhooks};
use http::HeaderMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

pub(super) struct Verifier {
    webhooks: Arc<Webhooks>,
    /// A permit for each body that may be verified at once.
    pub(super) turns: Arc<Semaphore>,
}

/// An order whose sender is proven.
pub(super) struct Signed {
    pub(super) caller: Arc<Caller>,
    pub(super) request: PurgeRequest,
    pub(super) once: Once,
}

impl Verifier {
    pub(super) fn new(config: &Config) -> Self {
        Verifier {
            webhooks: Arc::new(Webhooks::new(config)),
            turns: Arc::new(Semaphore::new(config.verifications_max)),
        }
    }

    /// What an attempt says of itself, before its body is read.
    pub(super) fn attempt(&self, headers: &HeaderMap) -> Result<Attempt, WebhookError> {
        self.webhooks.attempt(headers, clock::now())
    }

    /// Who sent it, and what it orders.
    pub(super) async fn open(&self, attempt: Attempt, body: Held) -> Result<Signed, Refusal> {
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.expect("nobody closes it");
        let webhooks = self.webhooks.clone();
        let opening = spawn_blocking(move || {
            let signed = open(&webhooks, &attempt, body.bytes());
            drop((body, turn));
            signed
        });
        opening.await.map_err(unfinished)?
    }
}

fn open(webhooks: &Webhooks, attempt: &Attempt, body: &[u8]) -> Result<Signed, Refusal> {
    let caller = webhooks.verify(attempt, body)?;
    take_turn(caller)?;
    Ok(Signed {
        request: PurgeRequest::of_event(body)?,
        once: Once::of_attempt(attempt, caller),
        caller: caller.clone(),
    })
}
