//! Every metric of the process in one table; a metric's doc comment is its Prometheus help. What their labels may say
//! stands in `labels`.
//!
//! Handles are resolved once, at start: counting on the hot path is one atomic addition. Labels are enums,
//! so that every series exists from the start at zero and none can be minted by a request. Only this file
//! knows Prometheus.

mod labels;

pub use labels::*;

use prometheus::core::Collector;
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, TextEncoder};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;

/// One metric for each value of a label.
pub struct Family<L, M> {
    children: Vec<M>,
    label: PhantomData<L>,
}

impl<L: Label, M> Index<L> for Family<L, M> {
    type Output = M;

    fn index(&self, label: L) -> &M {
        &self.children[label.position()]
    }
}

/// One metric for each pair of values of two labels.
pub struct Grid<A, B, M> {
    children: Vec<M>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label, M> Index<(A, B)> for Grid<A, B, M> {
    type Output = M;

    fn index(&self, (a, b): (A, B)) -> &M {
        &self.children[a.position() * B::ALL.len() + b.position()]
    }
}

/// A gauge that is higher for as long as this lives.
pub struct Raised {
    gauge: IntGauge,
    by: i64,
}

impl Raised {
    pub fn by(gauge: &IntGauge, by: i64) -> Self {
        gauge.add(by);
        Raised {
            gauge: gauge.clone(),
            by,
        }
    }
}

impl std::ops::Drop for Raised {
    fn drop(&mut self) {
        self.gauge.sub(self.by);
    }
}

/// Makes and registers a metric from its name, help, and bounds of buckets where it has any.
trait Build: Sized {
    fn build(registry: &Registry, name: &str, help: &str, label_names: &[&str]) -> Self;
}

/// Names are literals of this file and a test builds the table, so a refusal can not reach a user.
const VALID: &str = "names in the table of metrics are valid and unique";

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> C {
    registry.register(Box::new(collector.clone())).expect(VALID);
    collector
}

impl Build for IntCounter {
    fn build(registry: &Registry, name: &str, help: &str, _: &[&str]) -> Self {
        registered(registry, IntCounter::new(name, help).expect(VALID))
    }
}

impl Build for IntGauge {
    fn build(registry: &Registry, name: &str, help: &str, _: &[&str]) -> Self {
        registered(registry, IntGauge::new(name, help).expect(VALID))
    }
}

impl<L: Label> Build for Family<L, IntCounter> {
    fn build(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let vector = prometheus::IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
        let vector = registered(registry, vector);
        let children = L::ALL
            .iter()
            .map(|l| vector.with_label_values(&[l.name()]))
            .collect();
        Family {
            children,
            label: PhantomData,
        }
    }
}

impl<L: Label> Build for Family<L, IntGauge> {
    fn build(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let vector = prometheus::IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID);
        let vector = registered(registry, vector);
        let children = L::ALL
            .iter()
            .map(|l| vector.with_label_values(&[l.name()]))
            .collect();
        Family {
            children,
            label: PhantomData,
        }
    }
}

impl Build for Histogram {
    fn build(registry: &Registry, name: &str, help: &str, _: &[&str]) -> Self {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec());
        registered(registry, Histogram::with_opts(opts).expect(VALID))
    }
}

impl<L: Label> Build for Family<L, Histogram> {
    fn build(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec());
        let vector = prometheus::HistogramVec::new(opts, labels).expect(VALID);
        let vector = registered(registry, vector);
        let children = L::ALL
            .iter()
            .map(|l| vector.with_label_values(&[l.name()]))
            .collect();
        Family {
            children,
            label: PhantomData,
        }
    }
}

impl<A: Label, B: Label> Build for Grid<A, B, IntCounter> {
    fn build(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Self {
        let vector = prometheus::IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
        let vector = registered(registry, vector);
        let pairs = A::ALL
            .iter()
            .flat_map(|a| B::ALL.iter().map(move |b| [a.name(), b.name()]));
        let children = pairs.map(|pair| vector.with_label_values(&pair)).collect();
        Grid {
            children,
            labels: PhantomData,
        }
    }
}

/// From a memory hit to a slow origin.
const DURATION_BUCKETS_SECONDS: [f64; 14] = [
    0.000_05, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $type:ty = $name:literal [$($label:literal),*]),+ $(,)?) => {
        /// Handles to every metric of the process.
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $field: $type),+
        }

        impl Metrics {
            pub fn new() -> Self {
                let registry = Registry::new();
                Metrics {
                    $($field: <$type as Build>::build(&registry, $name, concat!($($help),+).trim(), &[$($label),*]),)+
                    registry,
                }
            }
        }
    };
}

metrics! {
    /// Requests answered, by how they ended and the class of their status.
    requests: Grid<Outcome, StatusClass, IntCounter> = "aquatint_requests_total" ["outcome", "status_class"],
    /// Time from a request's header to the end of its answer, in seconds.
    request_duration: Family<Outcome, Histogram> = "aquatint_request_duration_seconds" ["outcome"],
    /// Body bytes sent to clients.
    response_body_bytes: IntCounter = "aquatint_response_body_bytes_total" [],
    /// Requests being answered now.
    requests_in_flight: IntGauge = "aquatint_requests_in_flight" [],
    /// Requests sent to origins.
    origin_requests: IntCounter = "aquatint_origin_requests_total" [],
    /// Origin requests that failed, by reason.
    origin_failures: Family<OriginFailure, IntCounter> = "aquatint_origin_failures_total" ["reason"],
    /// Body bytes received from origins.
    origin_body_bytes: IntCounter = "aquatint_origin_body_bytes_total" [],
    /// Requests that waited for the origin request of another instead of sending their own.
    coalesced_requests: IntCounter = "aquatint_coalesced_requests_total" [],
    /// Fills under way now.
    fills_in_flight: IntGauge = "aquatint_fills_in_flight" [],
    /// Bytes of bodies that fills under way hold in memory.
    fill_bytes: IntGauge = "aquatint_fill_bytes" [],
    /// Look-ups answered by a tier of the cache.
    tier_hits: Grid<Tier, Kind, IntCounter> = "aquatint_tier_hits_total" ["tier", "kind"],
    /// Look-ups that no tier of the cache could answer.
    misses: Family<Kind, IntCounter> = "aquatint_tier_misses_total" ["kind"],
    /// Bytes held in the memory tier.
    memory_bytes: Family<Kind, IntGauge> = "aquatint_memory_bytes" ["kind"],
    /// Bytes the memory tier may hold.
    memory_capacity_bytes: Family<Kind, IntGauge> = "aquatint_memory_capacity_bytes" ["kind"],
    /// Objects held in the memory tier.
    memory_objects: Family<Kind, IntGauge> = "aquatint_memory_objects" ["kind"],
    /// Objects evicted from the memory tier to make room.
    evictions: Family<Kind, IntCounter> = "aquatint_memory_evictions_total" ["kind"],
    /// Stored entries removed because they had expired beyond every stale window.
    expirations: IntCounter = "aquatint_expirations_total" [],
    /// Whether the SSD tier is in use: 1, or 0 when it is off or has failed.
    ssd_up: IntGauge = "aquatint_ssd_up" [],
    /// Bytes the SSD tier may hold.
    ssd_capacity_bytes: Family<Kind, IntGauge> = "aquatint_ssd_capacity_bytes" ["kind"],
    /// Bytes of the SSD tier's blocks that hold data.
    ssd_bytes: Family<Kind, IntGauge> = "aquatint_ssd_bytes" ["kind"],
    /// Bytes waiting to be written to the SSD.
    ssd_queue_bytes: IntGauge = "aquatint_ssd_queue_bytes" [],
    /// Objects written to the SSD.
    ssd_writes: Family<Kind, IntCounter> = "aquatint_ssd_writes_total" ["kind"],
    /// Bytes written to the SSD.
    ssd_written_bytes: IntCounter = "aquatint_ssd_written_bytes_total" [],
    /// Objects that were not written to the SSD, by reason.
    ssd_drops: Family<Drop, IntCounter> = "aquatint_ssd_drops_total" ["reason"],
    /// Failures of the SSD: reads, writes and checks of its health.
    ssd_errors: IntCounter = "aquatint_ssd_errors_total" [],
    /// Bytes that arrived from origins and were not stored again because equal bytes were stored already.
    dedup_saved_bytes: IntCounter = "aquatint_dedup_saved_bytes_total" [],
    /// Variants made or not made, by what was to be made and how it ended.
    transforms: Grid<TransformFormat, TransformResult, IntCounter> = "aquatint_transforms_total" ["format", "result"],
    /// Requests that waited for a variant whose making another request had begun.
    transforms_joined: IntCounter = "aquatint_transforms_joined_total" [],
    /// Time that a step of making a variant took, in seconds.
    transform_stages: Family<TransformStage, Histogram> = "aquatint_transform_stage_seconds" ["stage"],
    /// Variants being made now.
    transforms_running: IntGauge = "aquatint_transforms_running" [],
    /// Variants that wait for a worker.
    transforms_waiting: IntGauge = "aquatint_transforms_waiting" [],
    /// Estimated memory of the variants being made now, in bytes.
    transform_bytes: IntGauge = "aquatint_transform_memory_bytes" [],
    /// By how many bytes the variants that answered were smaller than their sources.
    transform_saved_bytes: IntCounter = "aquatint_transform_saved_bytes_total" [],
    /// Scopes purged, by kind and by how it was ordered.
    purges: Grid<PurgeScope, PurgeWay, IntCounter> = "aquatint_purges_total" ["scope", "way"],
    /// Orders of purges, by way and how they ended.
    purge_orders: Grid<PurgeWay, PurgeResult, IntCounter> = "aquatint_purge_orders_total" ["way", "result"],
    /// Time from an order of a purge to its commit, in seconds.
    purge_commit: Histogram = "aquatint_purge_commit_seconds" [],
    /// Time from an entry of the log being committed to every request seeing it here, in seconds.
    purge_apply: Histogram = "aquatint_purge_apply_seconds" [],
    /// Highest index of the log of purges that is applied here.
    purge_index: IntGauge = "aquatint_purge_index" [],
    /// Index before which nothing stored is served.
    purge_floor: IntGauge = "aquatint_purge_floor" [],
    /// Scopes in the purge tables with a place of their own.
    purge_table_scopes: IntGauge = "aquatint_purge_table_scopes" [],
    /// Buckets of the purge tables that hold scopes for which there was no place.
    purge_table_buckets: IntGauge = "aquatint_purge_table_buckets" [],
    /// Stored responses that were found and not served because a purge covers them.
    purge_refused_hits: IntCounter = "aquatint_purge_refused_hits_total" [],
    /// Responses that were not stored because a purge overtook their origin request.
    fills_fenced: IntCounter = "aquatint_fills_fenced_total" [],
    /// Responses that were older than what a purge said the origin has at least.
    answers_below_minimum: IntCounter = "aquatint_answers_below_minimum_total" [],
    /// Whether the log of purges takes entries: 1, or 0 while it has failed.
    purge_log_up: IntGauge = "aquatint_purge_log_up" [],
    /// Hits that were compared with their origins, by what was found; nothing stale is expected.
    audits: Family<AuditResult, IntCounter> = "aquatint_audits_total" ["result"],
    /// Access log lines dropped because the log could not keep up.
    access_log_drops: IntCounter = "aquatint_access_log_drops_total" [],
    /// Connections of clients that are open now.
    connections: IntGauge = "aquatint_connections" [],
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The whole table in the Prometheus text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory can not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_exists_at_zero_from_the_start() {
        let text = String::from_utf8(Metrics::new().render()).unwrap();
        for outcome in Outcome::ALL {
            let line = format!(
                "aquatint_requests_total{{outcome=\"{}\",status_class=\"5xx\"}} 0",
                outcome.name()
            );
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("# HELP aquatint_ssd_up Whether the SSD tier is in use"));
    }

    #[test]
    fn a_family_resolves_the_label_it_is_asked_for() {
        let metrics = Metrics::new();
        metrics.requests[(Outcome::Stale, StatusClass::of(304))].inc();
        let text = String::from_utf8(metrics.render()).unwrap();
        assert!(text.contains("aquatint_requests_total{outcome=\"stale\",status_class=\"3xx\"} 1"));
    }
}
