//! A collector of traces, as far as an edge can tell: it takes OTLP over HTTP and says what it was sent.

use super::{Origin, Reply, Setup, eventually};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span as Sent, span::SpanKind};
use prost::Message;
use std::collections::BTreeMap;

const PATH: &str = "/v1/traces";

pub(crate) struct Collector(Origin);

/// Ids are hexadecimal, as in `traceparent`; no parent is an empty one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) failure: Option<String>,
}

impl Collector {
    /// Takes everything.
    pub(crate) fn start() -> Collector {
        Collector::answering(Reply::of("").header("content-type", "application/x-protobuf"))
    }

    pub(crate) fn answering(reply: Reply) -> Collector {
        Collector(Origin::with(PATH, reply))
    }

    pub(crate) fn url(&self) -> String {
        self.0.url() + PATH
    }

    pub(crate) fn exports(&self) -> usize {
        self.0.count(PATH)
    }

    /// What each export says of the service.
    pub(crate) fn resources(&self) -> Vec<BTreeMap<String, String>> {
        let requests = self.requests();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        resources
            .map(|resource| attributes(resource.resource.unwrap().attributes))
            .collect()
    }

    /// Of all traces.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let resources = requests.into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(Span::of).collect()
    }

    /// Waits for so many roots, and what had ended by their end with them.
    #[track_caller]
    pub(crate) fn wait_for_roots(&self, count: usize) -> Vec<Span> {
        eventually("the spans of all requests have come", || {
            let spans = self.spans();
            let roots = spans.iter().filter(|span| span.name == "request").count();
            (roots >= count).then_some(spans)
        })
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let asked = self.0.asked(PATH);
        asked
            .iter()
            .map(|asked| {
                assert_eq!(asked.header("content-type"), Some("application/x-protobuf"));
                ExportTraceServiceRequest::decode(&asked.body[..]).unwrap()
            })
            .collect()
    }
}

impl Setup {
    /// Records every request, as the collector hears it.
    pub(crate) fn traced_by(self, collector: &Collector) -> Setup {
        self.tracing("otlp", collector.url()).tracing("sample", "1")
    }
}

impl Span {
    fn of(sent: Sent) -> Span {
        Span {
            kind: sent.kind(),
            trace: hex(&sent.trace_id),
            id: hex(&sent.span_id),
            parent: hex(&sent.parent_span_id),
            name: sent.name,
            began: sent.start_time_unix_nano,
            ended: sent.end_time_unix_nano,
            attributes: attributes(sent.attributes),
            failure: sent
                .status
                .filter(|status| status.code != 0)
                .map(|status| status.message),
        }
    }

    #[track_caller]
    pub(crate) fn said(&self, name: &str) -> &str {
        self.attributes
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// The one of that name.
#[track_caller]
pub(crate) fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn attributes(sent: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("no edge says {other:?}"),
    };
    sent.into_iter()
        .map(|said| (said.key, text(said.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
