//! One connection to a peer: opened when it is needed, and again when it broke.
//!
//! Invariant: who waits for a connection that can not be opened is told so once, and tries no second time; a question that was
//! never sent goes over another connection, and no other is repeated. It does not know whom it leads to.

use super::PeerError;
use super::dial::{Dialer, Outgoing, Sender};
use super::fault::Fault;
use crate::base::clock;
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Link {
    /// Questions whose answers have not ended.
    pub(super) under_way: AtomicUsize,
    open: Mutex<Option<Sender>>,
    /// Held while it is being opened.
    opening: tokio::sync::Mutex<Option<Failed>>,
}

/// The last time that it could not be opened.
struct Failed {
    at: Instant,
    why: PeerError,
}

impl Link {
    pub(super) async fn ask(
        &self,
        dialer: &Dialer,
        address: SocketAddr,
        question: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Fault> {
        let mut sender = self.sender(dialer, address).await?;
        let mut failure = match sender.try_send_request(question).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        // It had broken before anything was sent.
        let Some(question) = failure.take_message() else {
            return Err(Fault::of_answer(failure.error()));
        };
        self.forget_closed();
        let mut sender = self.sender(dialer, address).await?;
        let answer = sender.try_send_request(question).await;
        answer.map_err(|failure| Fault::of_answer(failure.error()))
    }

    async fn sender(&self, dialer: &Dialer, address: SocketAddr) -> Result<Sender, PeerError> {
        if let Some(sender) = self.opened() {
            return Ok(sender);
        }
        let wanted_at = clock::monotonic();
        let mut failed = self.opening.lock().await;
        if let Some(sender) = self.opened() {
            return Ok(sender);
        }
        // Who opened it meanwhile has waited for this one too.
        if let Some(Failed { why, .. }) = failed.as_ref().filter(|failed| failed.at >= wanted_at) {
            return Err(why.clone());
        }
        match dialer.dial(address).await {
            Ok(sender) => {
                *self.open.lock() = Some(sender.clone());
                Ok(sender)
            }
            Err(why) => {
                let at = clock::monotonic();
                *failed = Some(Failed { at, why: why.clone() });
                Err(why)
            }
        }
    }

    fn opened(&self) -> Option<Sender> {
        self.forget_closed();
        self.open.lock().clone()
    }

    fn forget_closed(&self) {
        self.open.lock().take_if(|sender| sender.is_closed());
    }
}
