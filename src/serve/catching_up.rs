//! Whether this node may answer another: it has to know every purge that the other knows.
//!
//! Invariant: who is told that it may has applied them all, in the same life of the log. It does not know who asks.

use super::Engine;
use crate::base::epoch::PurgeIndex;
use crate::cluster::question::{LogPosition, Refusal};
use std::time::Duration;
use tokio::time::timeout;

impl Engine {
    /// Where this node is in the log of purges.
    pub(crate) fn log_position(&self) -> LogPosition {
        let applied = self.purges.applied();
        LogPosition {
            incarnation: self.purges.incarnation(),
            applied,
        }
    }

    /// Waits until all that is applied where `asked` says is applied here, for so long at most.
    ///
    /// # Errors
    /// When it is not, or what is stored here is another process's by now.
    pub(crate) async fn catch_up(&self, asked: LogPosition, patience: Duration) -> Result<(), Refusal> {
        if self.is_retired() {
            return Err(Refusal::Leaving);
        }
        if self.stands_at(asked)? >= asked.applied {
            return Ok(());
        }
        timeout(patience, self.reach(asked))
            .await
            .unwrap_or(Err(Refusal::Behind))
    }

    async fn reach(&self, asked: LogPosition) -> Result<(), Refusal> {
        let mut progress = self.purges.watch();
        // What comes after it was looked at wakes it.
        while self.stands_at(asked)? < asked.applied {
            progress.changed().await.map_err(|_| Refusal::Behind)?;
        }
        Ok(())
    }

    fn stands_at(&self, asked: LogPosition) -> Result<PurgeIndex, Refusal> {
        let own = self.log_position();
        match own.incarnation == asked.incarnation {
            true => Ok(own.applied),
            false => Err(Refusal::Incarnation),
        }
    }
}
