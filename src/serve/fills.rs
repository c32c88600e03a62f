//! What all fills share, and who waits for them at the end.
//!
//! Invariant: a fill that was started runs to its end, whoever leaves meanwhile. It does not know what one fill does.

use super::brief_memory::BriefMemory;
use super::config::Config;
use super::copies::Copies;
use super::fill::Fill;
use super::flight::BUDGET_UNIT;
use super::indexes::Indexes;
use super::invalidations::Invalidations;
use super::minimum::BEHIND;
use super::neighbours::Neighbours;
use super::validity::standing;
use crate::base::metrics::{HotCopyResult, Metrics};
use crate::key::without_query;
use crate::purge::Purges;
use crate::purge::table::Standing;
use crate::store::{Entry, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// All fills of the edge: what they share, and a way to wait for them.
pub(crate) struct Fills {
    pub(super) store: Store,
    pub(super) purges: Purges,
    pub(super) neighbours: Option<Neighbours>,
    pub(super) copies: Copies,
    pub(super) metrics: Arc<Metrics>,
    /// Of URLs whose responses may not be shared, so that their requests need not queue for each other.
    pub(super) pass_memory: BriefMemory<()>,
    /// Of URLs whose origin answered with less than a purge told, for as long as it was given.
    pub(super) behind: BriefMemory<()>,
    pub(super) invalidations: Invalidations,
    pub(super) indexes: Indexes,
    tracker: TaskTracker,
    /// Memory that bodies of fills may hold together, in [`BUDGET_UNIT`].
    pub(super) budget: Arc<Semaphore>,
    deadline: Duration,
    pub(super) pass_window: u64,
    pub(super) pass_patience: Duration,
}

impl Fills {
    pub(crate) fn new(config: &Config, store: Store, purges: Purges, metrics: Arc<Metrics>) -> Self {
        let units = (config.fill_bytes_max.bytes() / BUDGET_UNIT) as usize;
        Fills {
            store,
            purges,
            neighbours: None,
            copies: Copies::none(),
            metrics,
            pass_memory: BriefMemory::new(config.pass_memory.get()),
            behind: BriefMemory::new(BEHIND),
            invalidations: Invalidations::new(),
            indexes: Indexes::default(),
            tracker: TaskTracker::new(),
            budget: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            deadline: config.fill_deadline.get(),
            pass_window: config.pass_window.bytes(),
            pass_patience: config.pass_patience.get(),
        }
    }

    /// Runs a fill to its end, whoever leaves meanwhile.
    pub(crate) fn start(&self, fill: Fill) {
        self.tracker.spawn(async move {
            if let Err(failure) = fill.run().await {
                tracing::debug!(key = without_query(fill.key.text()), %failure, "fill failed");
                let copies = &fill.fills.copies;
                copies.filled(&fill.url.name(), HotCopyResult::Failed);
                fill.landing.fail(failure);
            }
        });
    }

    /// Whether no purge covers what is stored.
    pub(super) fn is_valid(&self, entry: &Entry) -> bool {
        standing(&self.purges, entry) == Standing::Valid
    }

    /// How long one may take.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(crate) async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
