//! How a store ends: closed, or handed over to another process.
//!
//! Invariant: what is queued is written out, or a deadline has passed and it is told; the memory tier stays readable. It does not
//! know why the store ends.

use super::{Open, Store};
use std::sync::atomic::Ordering;
use tokio_util::task::AbortOnDropHandle;

/// The SSD stands still, or is being opened anew.
#[derive(Debug, thiserror::Error)]
#[error("the cache's directory could not be given up; the cache is memory alone from here on")]
pub struct NotGivenUp;

/// Who has the directory next.
enum Farewell {
    Close,
    HandOver,
}

impl Store {
    /// Writes out what is queued and gives the directory up, for at most the configured deadline: the directory
    /// of a stuck disk is given up with the process. The memory tier stays readable.
    pub async fn close(&self) {
        // What is not closed in time is told; it ends with the process.
        self.end(Farewell::Close).await.ok();
    }

    /// As [`Store::close`], for another process that opens the directory next: what answers under way still read of the SSD
    /// can be read, until that process has overwritten it.
    ///
    /// # Errors
    /// When the directory could not be given up in time: no other process can open it.
    pub async fn hand_over(&self) -> Result<(), NotGivenUp> {
        self.end(Farewell::HandOver).await
    }

    async fn end(&self, farewell: Farewell) -> Result<(), NotGivenUp> {
        self.0.shared.accepting.store(false, Ordering::Relaxed);
        self.0.tasks.lock().abort_all();
        let deadline = self.0.close_deadline;
        let written = tokio::time::timeout(deadline, self.0.write_out(farewell)).await;
        written.unwrap_or_else(|_| {
            let queued_bytes = self.0.shared.queue.bytes();
            tracing::error!(
                ?deadline,
                queued_bytes,
                "the SSD did not take in time what was queued: it is not written"
            );
            Err(NotGivenUp)
        })
    }
}

impl Open {
    async fn write_out(&self, farewell: Farewell) -> Result<(), NotGivenUp> {
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let mut writer = AbortOnDropHandle::new(writer);
            self.shared.queue.stop().await;
            if let Err(error) = (&mut writer).await {
                tracing::error!(%error, "the SSD writer did not end in order: queued objects are not written");
            }
        }
        match farewell {
            Farewell::Close => {
                self.shared.tier.close().await;
                Ok(())
            }
            Farewell::HandOver => self.shared.tier.hand_over().await.ok_or(NotGivenUp),
        }
    }
}
