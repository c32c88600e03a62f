//! Whether this node may answer another: it has to know every purge that the other knows.
//!
//! Invariant: who is told that it may has applied them all, in the same life of the log. It does not know who asks.

use super::Engine;
use crate::base::epoch::PurgeIndex;
use crate::cluster::question::{LogPosition, Refusal};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Purges arrive of themselves, and an index that is ahead is rare: it is looked at so often.
const PAUSE: Duration = Duration::from_millis(2);

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
        let reached = async {
            while self.stands_at(asked)? < asked.applied {
                sleep(PAUSE).await;
            }
            Ok(())
        };
        timeout(patience, reached).await.unwrap_or(Err(Refusal::Behind))
    }

    fn stands_at(&self, asked: LogPosition) -> Result<PurgeIndex, Refusal> {
        let own = self.log_position();
        match own.incarnation == asked.incarnation {
            true => Ok(own.applied),
            false => Err(Refusal::Incarnation),
        }
    }
}
