//! Signed orders, from a body that anybody may have sent to an order of somebody known.
//!
//! Whoever sends one costs a hash of the whole of it for each secret. Invariant: that is paid off the threads that serve, by
//! no more bodies at once than the limit and a small one, senders that have gone included; nobody waits for it without end, and
//! none that are small for large ones alone; a body and its room are gone as soon as it is understood. It does not know
//! what becomes of an order.

use super::body::Held;
use super::once::Once;
use super::refusal::Refusal;
use super::{take_turn, unfinished};
use crate::base::clock;
use crate::purge::Purges;
use crate::purge::caller::Caller;
use crate::purge::config::Config;
use crate::purge::request::PurgeRequest;
use crate::purge::webhook::{Attempt, WebhookError, Webhooks};
use http::HeaderMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub(super) struct Verifier {
    webhooks: Arc<Webhooks>,
    purges: Purges,
    /// A permit for each body that may be verified at once.
    pub(super) turns: Arc<Semaphore>,
    /// One more, for small bodies alone: large ones that nobody signed do not keep them waiting.
    small: Arc<Semaphore>,
    /// For a turn.
    deadline: Duration,
}

/// An order whose sender is proven.
pub(super) struct Signed {
    pub(super) caller: Arc<Caller>,
    pub(super) request: PurgeRequest,
    pub(super) once: Once,
}

impl Verifier {
    pub(super) fn new(config: &Config, purges: Purges) -> Self {
        Verifier {
            webhooks: Arc::new(Webhooks::new(config)),
            purges,
            turns: Arc::new(Semaphore::new(config.verifications_max)),
            small: Arc::new(Semaphore::new(1)),
            deadline: config.body_deadline.get(),
        }
    }

    /// What an attempt says of itself, before its body is read.
    pub(super) fn attempt(&self, headers: &HeaderMap) -> Result<Attempt, WebhookError> {
        self.webhooks.attempt(headers, clock::now())
    }

    /// Who sent it, and what it orders.
    pub(super) async fn open(&self, attempt: Attempt, body: Held) -> Result<Signed, Refusal> {
        let turn = self.turn(&body).await?;
        let (webhooks, purges) = (self.webhooks.clone(), self.purges.clone());
        let opening = spawn_blocking(move || {
            let signed = open(&webhooks, &purges, &attempt, body.bytes());
            drop((body, turn));
            signed
        });
        opening.await.map_err(unfinished)?
    }

    async fn turn(&self, body: &Held) -> Result<OwnedSemaphorePermit, Refusal> {
        let turn = async {
            let turn = self.turns.clone().acquire_owned();
            match body.is_small() {
                true => tokio::select! {
                    turn = turn => turn,
                    turn = self.small.clone().acquire_owned() => turn,
                },
                false => turn.await,
            }
        };
        let turn = timeout(self.deadline, turn).await;
        Ok(turn.map_err(|_| Refusal::Crowded)?.expect("nobody closes it"))
    }
}

fn open(webhooks: &Webhooks, purges: &Purges, attempt: &Attempt, body: &[u8]) -> Result<Signed, Refusal> {
    let caller = webhooks.verify(attempt, body)?;
    let once = Once::of_attempt(attempt, caller);
    // Whoever has seen it may send it again: its sender's turns are not for them.
    if !purges.is_replay(once.name(), attempt.sent_at_s) {
        take_turn(caller)?;
    }
    Ok(Signed {
        request: PurgeRequest::of_event(body)?,
        once,
        caller: caller.clone(),
    })
}
