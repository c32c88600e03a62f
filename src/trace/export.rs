//! From spans that have ended to batches at a collector, on a thread of its own.
//!
//! Invariant: taking a span never waits, and there are never more of them in memory than the bound: what is beyond is dropped
//! and counted, as is what ends after the close. It does not know requests.

use super::attribute::Value;
use super::collector::{self, Collector};
use super::config::Config;
use super::stage::Side;
use super::{Ended, Parent, Said, TracerError};
use crate::base::metrics::{Metrics, TraceExport};
use crate::http::trace_context::{SpanId, TraceId};
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, SpanData, SpanEvents,
    SpanExporter, SpanLinks, SpanProcessor,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long a span waits for its batch to fill.
const INTERVAL: Duration = Duration::from_secs(1);

const BATCH_SPANS_MAX: usize = 512;

/// By which the spans say what has written them.
const SCOPE: &str = "aquatint";

pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    queue: Arc<Queue>,
    scope: InstrumentationScope,
    ids: RandomIdGenerator,
}

/// How many spans are on their way.
#[derive(Debug)]
struct Queue {
    spans: AtomicUsize,
    spans_max: usize,
    closed: AtomicBool,
    metrics: Arc<Metrics>,
}

/// An exporter whose results are counted, and told where they change.
#[derive(Debug)]
struct Counted {
    exporter: opentelemetry_otlp::SpanExporter,
    queue: Arc<Queue>,
    fails: AtomicBool,
}

impl Exporter {
    pub(super) fn open(otlp: &str, config: &Config, metrics: Arc<Metrics>) -> Result<Self, TracerError> {
        let endpoint = collector::endpoint(otlp)
            .map_err(|refusal| TracerError::Exporter(refusal.shown(otlp).to_owned()))?;
        let deadline = config.deadline.get();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(&endpoint, deadline)?)
            .with_endpoint(otlp)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(deadline)
            .build()
            .map_err(|error| TracerError::Exporter(error.to_string()))?;
        let queue = Arc::new(Queue {
            spans: AtomicUsize::new(0),
            spans_max: config.spans_max,
            closed: AtomicBool::new(false),
            metrics,
        });
        let counted = Counted {
            exporter,
            queue: queue.clone(),
            fails: AtomicBool::new(false),
        };
        Ok(Exporter {
            processor: processor(counted, config),
            queue,
            scope: InstrumentationScope::builder(SCOPE)
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
            ids: RandomIdGenerator::default(),
        })
    }

    pub(super) fn new_trace(&self) -> TraceId {
        std::iter::repeat_with(|| self.ids.new_trace_id().to_bytes())
            .find_map(TraceId::new)
            .expect("an endless sequence ends only with what is looked for")
    }

    pub(super) fn new_span(&self) -> SpanId {
        std::iter::repeat_with(|| self.ids.new_span_id().to_bytes())
            .find_map(SpanId::new)
            .expect("an endless sequence ends only with what is looked for")
    }

    pub(super) fn take(&self, ended: Ended) {
        if self.queue.enter() {
            self.processor.on_end(self.written(ended));
        }
    }

    pub(super) async fn close(self: Arc<Self>, deadline: Duration) {
        self.queue.closed.store(true, Ordering::Relaxed);
        let queue = self.queue.clone();
        let closing = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(deadline));
        // Whatever the reason, what is left is what was not exported.
        drop(closing.await);
        let left = queue.spans.load(Ordering::Relaxed);
        if left > 0 {
            tracing::warn!(
                spans = left,
                "spans were not exported before the end; they are lost"
            );
        }
    }

    fn written(&self, ended: Ended) -> SpanData {
        let Ended {
            said,
            began_at,
            ended_at,
        } = ended;
        let parent = said.parent.map(|parent| match parent {
            Parent::Here(span) | Parent::Sender(span) => span,
        });
        SpanData {
            span_context: context(&said),
            parent_span_id: parent.map_or(opentelemetry::SpanId::INVALID, |span| {
                opentelemetry::SpanId::from_bytes(*span.as_bytes())
            }),
            parent_span_is_remote: matches!(said.parent, Some(Parent::Sender(_))),
            span_kind: match said.stage.side() {
                Side::Server => SpanKind::Server,
                Side::Client => SpanKind::Client,
                Side::Inside => SpanKind::Internal,
            },
            name: said.stage.name().into(),
            start_time: began_at,
            end_time: ended_at,
            attributes: said.attributes.into_iter().map(attribute).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: said.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn processor(exporter: Counted, config: &Config) -> BatchSpanProcessor {
    let batches = BatchConfigBuilder::default()
        // Never reached: the queue's own bound counts also what is being sent.
        .with_max_queue_size(config.spans_max)
        .with_max_export_batch_size(BATCH_SPANS_MAX.min(config.spans_max))
        .with_scheduled_delay(INTERVAL)
        .build();
    let mut processor = BatchSpanProcessor::new(exporter, batches);
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder()
        .with_service_name(config.service_name.clone())
        .with_attribute(version)
        .build();
    processor.set_resource(&resource);
    processor
}

fn context(said: &Said) -> SpanContext {
    SpanContext::new(
        opentelemetry::TraceId::from_bytes(*said.trace.as_bytes()),
        opentelemetry::SpanId::from_bytes(*said.id.as_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

fn attribute((name, value): (&'static str, Value)) -> KeyValue {
    match value {
        Value::Word(word) => KeyValue::new(name, word),
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    }
}

impl Queue {
    /// Whether there is room for one more; where there is none, that is counted.
    fn enter(&self) -> bool {
        let entered = self
            .spans
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spans| {
                let has_room = spans < self.spans_max && !self.closed.load(Ordering::Relaxed);
                has_room.then_some(spans + 1)
            });
        if entered.is_err() {
            self.metrics.trace_spans_dropped.inc();
        }
        entered.is_ok()
    }

    fn leave(&self, spans: usize, result: TraceExport) {
        self.spans.fetch_sub(spans, Ordering::Relaxed);
        self.metrics.trace_spans_exported[result].inc_by(spans as u64);
    }
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        let fails = exported.is_err();
        self.queue.leave(
            spans,
            match fails {
                true => TraceExport::Failed,
                false => TraceExport::Sent,
            },
        );
        match (self.fails.swap(fails, Ordering::Relaxed), &exported) {
            (false, Err(error)) => tracing::warn!(%error, "traces can not be exported; spans are lost"),
            (true, Ok(())) => tracing::info!("traces are exported again"),
            (false, Ok(())) | (true, Err(_)) => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_takes_no_more_than_its_bound_and_nothing_once_it_is_closed() {
        let metrics = Arc::new(Metrics::new());
        let queue = Queue {
            spans: AtomicUsize::new(0),
            spans_max: 2,
            closed: AtomicBool::new(false),
            metrics: metrics.clone(),
        };
        assert_eq!([(); 3].map(|()| queue.enter()), [true, true, false]);
        assert_eq!(metrics.trace_spans_dropped.get(), 1);
        queue.leave(2, TraceExport::Failed);
        assert_eq!(metrics.trace_spans_exported[TraceExport::Failed].get(), 2);
        assert!(queue.enter());
        queue.closed.store(true, Ordering::Relaxed);
        assert!(!queue.enter());
        assert_eq!(metrics.trace_spans_dropped.get(), 2);
        assert_eq!(queue.spans.load(Ordering::Relaxed), 1);
    }
}
