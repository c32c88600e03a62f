//! An exchange with an origin while it is under way.
//!
//! Invariant: no more of them live than the origin has permits, and each is counted for as long as it does. It does not know
//! what is exchanged.

use crate::base::metrics::{OriginMetrics, Raised};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct UnderWay {
    _permit: OwnedSemaphorePermit,
    _counted: Raised,
}

impl UnderWay {
    /// `None`: as many as may be are under way.
    pub(super) fn begin(permits: &Arc<Semaphore>, metrics: &OriginMetrics) -> Option<Self> {
        let permit = permits.clone().try_acquire_owned().ok()?;
        Some(UnderWay {
            _permit: permit,
            _counted: Raised::by(&metrics.requests_in_flight, 1),
        })
    }
}
