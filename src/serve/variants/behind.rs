//! What is made behind, for the next request: one at a time and beside the workers, so that nobody who waits is kept from
//! one of those.
//!
//! Invariant: nothing is begun twice, and no more waits than its queue may hold. It does not know what is made.

use crate::key::KeyName;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

pub(super) struct Behind {
    pending: Mutex<HashSet<KeyName>>,
    most: usize,
    turn: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Behind {
    pub(super) fn new(most: usize) -> Self {
        Behind {
            pending: Mutex::default(),
            most,
            turn: Arc::new(Semaphore::new(1)),
            closing: CancellationToken::new(),
        }
    }

    /// Whether it may be begun: nobody has, and there is room.
    pub(super) fn begin(&self, name: KeyName) -> bool {
        let mut pending = self.pending.lock();
        !self.closing.is_cancelled() && pending.len() < self.most && pending.insert(name)
    }

    pub(super) fn end(&self, name: &KeyName) {
        self.pending.lock().remove(name);
    }

    /// `None` once closed: see [`Behind::close`].
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    /// Ends once closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Nobody waits for what is made here: it is given up.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.turn.close();
    }
}
