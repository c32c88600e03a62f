//! What is counted: every metric of the process (`table`), what their labels may say (`labels`), and how both are told.
//!
//! Handles are resolved once, at start: counting on the hot path is one atomic addition. Labels are enums, or names of the
//! configuration, so that every series exists from the start at zero and none can be minted by a request. Only these files
//! know Prometheus.

mod build;
mod exemplars;
mod format;
mod labels;
mod named;
mod open_metrics;
mod samples;
mod table;

pub use build::{Family, Grid, Raised};
pub use format::Format;
pub use labels::*;
pub use prometheus::{Histogram, IntGauge};
pub use samples::Sample;
pub use table::{OriginMetrics, RouteMetrics, Table};

use crate::base::clock::Timestamp;
use exemplars::{Exemplar, Exemplars};
use named::Names;
use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use table::{OriginTemplates, RouteTemplates};

/// What requests are counted under that found no route: no route's name, since each has a path.
const NO_ROUTE: &str = "none";

/// Handles to every metric of the process.
pub struct Metrics {
    registry: Registry,
    table: Table,
    routes: Names<RouteTemplates>,
    origins: Names<OriginTemplates>,
    no_route: Arc<RouteMetrics>,
    exemplars: Exemplars,
    observers: Mutex<Vec<Weak<dyn Observer>>>,
}

/// Who sets gauges when they are asked for.
pub trait Observer: Send + Sync {
    fn observe(&self);
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let table = Table::register(&registry);
        table.build_info[BuildVersion::This].set(1);
        let routes = Names::new(RouteTemplates::register(&registry));
        let process = registry.register(Box::new(ProcessCollector::for_self()));
        process.expect("nothing else is called as the process collector's metrics are");
        Metrics {
            table,
            origins: Names::new(OriginTemplates::register(&registry)),
            no_route: routes.of(NO_ROUTE),
            routes,
            registry,
            exemplars: Exemplars::new(),
            observers: Mutex::default(),
        }
    }

    /// Handles to what is counted for the route of this name; its series go with the last of them.
    pub fn of_route(&self, name: &str) -> Arc<RouteMetrics> {
        self.routes.of(name)
    }

    /// Of requests that found no route.
    pub fn of_no_route(&self) -> &RouteMetrics {
        &self.no_route
    }

    /// Handles to what is counted for the origin of this name; its series go with the last of them.
    pub fn of_origin(&self, name: &str) -> Arc<OriginMetrics> {
        self.origins.of(name)
    }

    /// From here on `observer` sets its gauges before they are told, for as long as it lives. Of several that set the same
    /// ones the last has its way.
    pub fn observed_by(&self, observer: Weak<dyn Observer>) {
        self.observers.lock().push(observer);
    }

    /// Shows the trace of a request with the bucket that has counted it.
    pub fn exemplar(&self, outcome: Outcome, seconds: f64, trace_id: [u8; 16], at: Timestamp) {
        let exemplar = Exemplar {
            trace_id,
            seconds,
            at,
        };
        self.exemplars.put(outcome, exemplar);
    }

    /// All that is counted, to be sent.
    pub fn render(&self, format: Format) -> Vec<u8> {
        let families = self.gather();
        match format {
            Format::OpenMetrics => open_metrics::encode(&families, &self.exemplars).into_bytes(),
            Format::Text => {
                let mut text = Vec::new();
                TextEncoder::new()
                    .encode(&families, &mut text)
                    .expect("writing to memory can not fail");
                text
            }
        }
    }

    /// All that is counted, as numbers; of a histogram its buckets, sum and count.
    pub fn samples(&self) -> Vec<Sample> {
        self.gather().iter().flat_map(samples::samples_of).collect()
    }

    fn gather(&self) -> Vec<MetricFamily> {
        self.observe();
        self.registry.gather()
    }

    fn observe(&self) {
        let observers: Vec<_> = {
            let mut observers = self.observers.lock();
            observers.retain(|observer| observer.strong_count() > 0);
            observers.iter().filter_map(Weak::upgrade).collect()
        };
        observers.iter().for_each(|observer| observer.observe());
    }
}

impl Deref for Metrics {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
