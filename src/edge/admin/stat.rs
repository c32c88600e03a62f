//! `GET /api/v1/stat`: every number of the process, and who it is.
//!
//! Invariant: the numbers are those of `/metrics`. It does not know what they mean.

use super::Admin;
use crate::base::{clock, metrics};
use crate::edge::lifecycle::Phase;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct Stat {
    node: String,
    version: &'static str,
    uptime_seconds: f64,
    ready: bool,
    /// When the numbers were read, in seconds since 1970.
    at_seconds: f64,
    samples: Vec<Sample>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Admin {
    pub(super) fn stat(&self) -> Stat {
        self.observe();
        Stat {
            node: self.settings.load().manner.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: (clock::monotonic() - self.started_at).as_secs_f64(),
            ready: self.lifecycle.phase() == Phase::Serving,
            at_seconds: clock::now().as_millis() as f64 / 1000.0,
            samples: self.metrics.samples().into_iter().map(Sample::of).collect(),
        }
    }
}

impl Sample {
    fn of(sample: metrics::Sample) -> Self {
        Sample {
            name: sample.name,
            labels: sample.labels.into_iter().collect(),
            value: sample.value,
        }
    }
}
