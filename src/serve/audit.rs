//! The self-audit: a share of a route's hits is compared with what the origin has, behind the answer.
//!
//! A response that is stale without having been purged is an origin that did not tell of a change: the share of those is what
//! readers see of it. Invariant: an audit changes nothing that is stored, and there are never more than its limit at once;
//! one too many is left out. It does not know how hits are answered.

use super::Engine;
use super::route::Route;
use super::trip::{Extent, Trip};
use super::validity::standing;
use crate::base::metrics::{AuditResult, Metrics};
use crate::http::conditional::{HeadUpdate, updated_by_head};
use crate::key::without_query;
use crate::purge::Purges;
use crate::purge::table::Standing;
use crate::store::Entry;
use crate::upstream::OriginRequest;
use http::{HeaderMap, StatusCode, header};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

/// Between an origin's change and its purge some time may lie.
const GRACE: Duration = Duration::from_secs(2);

/// A share counts in millionths.
const WHOLE: u64 = 1_000_000;

/// Chooses an even share of hits.
pub(crate) struct Sampler {
    /// In millionths; zero chooses none.
    share: u64,
    drawn: AtomicU64,
}

pub(super) struct Audits {
    places: Arc<Semaphore>,
    deadline: Duration,
    tracker: TaskTracker,
}

/// One comparison.
struct Audit {
    route: Arc<Route>,
    request: OriginRequest,
    entry: Arc<Entry>,
    purges: Purges,
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

impl Sampler {
    /// `share` is from 0 to 1.
    pub(crate) fn new(share: f64) -> Self {
        Sampler {
            share: (share.clamp(0.0, 1.0) * WHOLE as f64) as u64,
            drawn: AtomicU64::new(0),
        }
    }

    pub(super) fn chooses(&self) -> bool {
        if self.share == 0 {
            return false;
        }
        let before = self.drawn.fetch_add(self.share, Ordering::Relaxed);
        before / WHOLE != (before + self.share) / WHOLE
    }
}

impl Audits {
    pub(super) fn new(count_max: usize, deadline: Duration) -> Self {
        Audits {
            places: Arc::new(Semaphore::new(count_max)),
            deadline,
            tracker: TaskTracker::new(),
        }
    }

    pub(super) async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Engine {
    /// Compares a hit with its origin.
    pub(super) fn audit(&self, trip: &Trip<'_>, entry: Arc<Entry>) {
        let Ok(place) = self.audits.places.clone().try_acquire_owned() else {
            return;
        };
        let audit = Audit {
            route: trip.route.clone(),
            request: trip.fill_request(&self.name, &Extent::Header),
            entry,
            purges: self.purges.clone(),
            metrics: self.metrics.clone(),
            _place: place,
        };
        self.audits.tracker.spawn(audit.run(self.audits.deadline));
    }
}

impl Audit {
    async fn run(self, deadline: Duration) {
        let answer = timeout(deadline, self.route.origin.fetch(self.request.clone())).await;
        let mut result = match answer {
            Ok(Ok(response)) => compare(&self.entry, response.status, &response.headers),
            Ok(Err(_)) | Err(_) => AuditResult::Unknown,
        };
        if result == AuditResult::Stale {
            sleep(GRACE).await;
            result = self.unless_purged(result);
        }
        self.metrics.audits[result].inc();
    }

    fn unless_purged(&self, result: AuditResult) -> AuditResult {
        if standing(&self.purges, &self.entry) != Standing::Valid {
            return AuditResult::Unknown;
        }
        tracing::warn!(
            key = without_query(&self.entry.key_text),
            "the origin has changed what was not purged"
        );
        result
    }
}

fn compare(entry: &Entry, status: StatusCode, headers: &HeaderMap) -> AuditResult {
    if status != entry.status {
        // Gone is another; anything else may be about the method, or about us.
        return match status {
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::OK => AuditResult::Stale,
            _ => AuditResult::Unknown,
        };
    }
    let says = [header::ETAG, header::LAST_MODIFIED, header::CONTENT_LENGTH];
    if !says.iter().any(|name| headers.contains_key(name)) {
        return AuditResult::Unknown;
    }
    match updated_by_head(&entry.headers.to_map(), entry.body.length, headers) {
        HeadUpdate::Same(_) => AuditResult::Same,
        HeadUpdate::Another => AuditResult::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_chosen_evenly() {
        for (share, of_a_thousand) in [(0.0, 0), (0.001, 1), (0.25, 250), (1.0, 1000), (7.0, 1000)] {
            let sampler = Sampler::new(share);
            let chosen = (0..1000).filter(|_| sampler.chooses()).count();
            assert_eq!(chosen, of_a_thousand, "{share}");
        }
    }
}
