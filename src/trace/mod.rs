//! Traces: what each step of a sampled request took, and their way to a collector.
//!
//! 1. `Tracer::begin` decides whether a request is recorded: by what its sender says, or by chance;
//! 2. a `Span` measures one step and says what is to be said of it, a `Trace` travels to where its children begin;
//! 3. a span that ends goes into a bounded queue (`export`), from which a thread of its own sends batches to the
//!    collector.
//!
//! Invariant: a request that is not recorded pays one comparison for each step, and none ever waits for the collector; what
//! the queue can not hold is dropped and counted. It does not know what the steps do.

pub(crate) mod attribute;
mod collector;
pub mod config;
mod export;
mod stage;
mod tracer;

pub(crate) use stage::Stage;
pub(crate) use tracer::Tracer;
pub use tracer::TracerError;

use crate::base::clock;
use crate::http::trace_context::{Sampled, SpanId, TraceId, TraceParent};
use attribute::Value;
use export::Exporter;
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Of a request that is not recorded.
#[cfg(test)]
pub(crate) static UNRECORDED: Trace = Trace(None);

/// A request's trace at one place: what begins here is a child of that place. Nothing, for most requests.
#[derive(Clone, Default)]
pub(crate) struct Trace(Option<Place>);

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Trace(recorded)",
            None => "Trace(none)",
        })
    }
}

#[derive(Clone)]
struct Place {
    recording: Arc<Recording>,
    span: SpanId,
}

/// What all spans of one trace have in common here.
struct Recording {
    id: TraceId,
    /// Both of the same moment: spans are measured by the one clock and told by the other.
    began: Instant,
    began_at: SystemTime,
    exporter: Arc<Exporter>,
}

/// One step under way; it ends when it is dropped.
#[must_use]
#[derive(Default)]
pub(crate) struct Span(Option<Box<Open>>);

struct Open {
    recording: Arc<Recording>,
    said: Said,
}

/// A step as it is told.
struct Said {
    trace: TraceId,
    id: SpanId,
    parent: Option<Parent>,
    stage: Stage,
    began: Instant,
    attributes: Vec<(&'static str, Value)>,
    failure: Option<String>,
}

#[derive(Clone, Copy)]
enum Parent {
    Here(SpanId),
    /// Of whoever asks.
    Sender(SpanId),
}

/// A step that has ended.
struct Ended {
    said: Said,
    began_at: SystemTime,
    ended_at: SystemTime,
}

impl Trace {
    /// Begins a step.
    pub(crate) fn stage(&self, stage: Stage) -> Span {
        match &self.0 {
            None => Span(None),
            Some(place) => place.begin(stage, clock::monotonic()),
        }
    }

    /// Tells a step that took so long, from `began` on.
    pub(crate) fn past(&self, stage: Stage, began: Instant, took: Duration) {
        if let Some(place) = &self.0 {
            place.begin(stage, began).end_at(began + took);
        }
    }
}

impl Place {
    fn begin(&self, stage: Stage, began: Instant) -> Span {
        self.recording.begin(stage, Some(Parent::Here(self.span)), began)
    }
}

impl Recording {
    fn begin(self: &Arc<Self>, stage: Stage, parent: Option<Parent>, began: Instant) -> Span {
        let said = Said {
            trace: self.id,
            id: self.exporter.new_span(),
            parent,
            stage,
            began,
            attributes: Vec::new(),
            failure: None,
        };
        Span(Some(Box::new(Open {
            recording: self.clone(),
            said,
        })))
    }

    fn time_of(&self, instant: Instant) -> SystemTime {
        self.began_at + instant.saturating_duration_since(self.began)
    }
}

impl Span {
    /// Where what belongs to this step begins.
    pub(crate) fn trace(&self) -> Trace {
        Trace(self.0.as_ref().map(|open| Place {
            recording: open.recording.clone(),
            span: open.said.id,
        }))
    }

    pub(crate) fn trace_id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|open| open.said.trace)
    }

    pub(crate) fn word(&mut self, name: &'static str, word: &'static str) {
        self.say(name, || Value::Word(word));
    }

    /// Longer texts are cut.
    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        self.say(name, || Value::of_text(text));
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        self.say(name, || Value::Number(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    /// Says that the step came to nothing, and why.
    pub(crate) fn fail(&mut self, why: impl ToString) {
        if let Some(open) = &mut self.0 {
            open.said.failure = Some(why.to_string());
        }
    }

    /// Names this step as the parent of what the next hop does. Of a step that is not recorded, nothing is said, and what
    /// the sender said stays.
    pub(crate) fn continue_in(&self, headers: &mut HeaderMap) {
        if let Some(open) = &self.0 {
            let parent = TraceParent {
                trace: open.said.trace,
                span: open.said.id,
                sampled: Sampled::Yes,
            };
            parent.write(headers);
        }
    }

    /// Nothing is told of it.
    pub(crate) fn discard(mut self) {
        self.0 = None;
    }

    fn say(&mut self, name: &'static str, value: impl FnOnce() -> Value) {
        if let Some(open) = &mut self.0 {
            let attributes = &mut open.said.attributes;
            match attributes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) => *last = value(),
                None => attributes.push((name, value())),
            }
        }
    }

    fn end_at(mut self, end: Instant) {
        self.end(end);
    }

    fn end(&mut self, end: Instant) {
        if let Some(open) = self.0.take() {
            let Open { recording, said } = *open;
            let ended = Ended {
                began_at: recording.time_of(said.began),
                ended_at: recording.time_of(end.max(said.began)),
                said,
            };
            recording.exporter.take(ended);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.end(clock::monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Metrics;

    /// Of everything, to a collector that is nowhere.
    fn tracer() -> Tracer {
        let config = config::Config {
            otlp: Some("http://127.0.0.1:9/v1/traces".into()),
            sample: 1.0,
            ..config::Config::default()
        };
        Tracer::open(&config, Arc::new(Metrics::new())).unwrap()
    }

    fn said(span: &Span) -> &Said {
        &span.0.as_ref().unwrap().said
    }

    #[test]
    fn a_step_belongs_to_the_one_whose_trace_it_began_in() {
        let root = tracer().begin(&HeaderMap::new());
        let transform = root.trace().stage(Stage::Transform);
        let decode = transform.trace().stage(Stage::Decode);
        assert!(said(&root).parent.is_none());
        for (child, parent) in [(&transform, &root), (&decode, &transform)] {
            let of = said(child).parent.map(|parent| match parent {
                Parent::Here(span) => span,
                Parent::Sender(_) => panic!("it began here"),
            });
            assert_eq!(of, Some(said(parent).id));
            assert_eq!(child.trace_id(), root.trace_id());
        }
    }

    #[test]
    fn of_what_is_said_twice_the_last_counts() {
        let mut span = tracer().begin(&HeaderMap::new());
        span.word(attribute::CONNECTION, "reused");
        span.text(attribute::SERVER_ADDRESS, "a.example");
        span.word(attribute::CONNECTION, "new");
        let expected = [
            (attribute::CONNECTION, Value::Word("new")),
            (attribute::SERVER_ADDRESS, Value::of_text("a.example")),
        ];
        assert_eq!(said(&span).attributes, expected);
    }

    #[test]
    fn what_is_not_recorded_says_nothing_and_leaves_what_the_sender_said() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", "as it came".parse().unwrap());
        let mut step = Trace::default().stage(Stage::Origin);
        step.fail("nobody hears of it");
        step.continue_in(&mut headers);
        assert!(step.trace_id().is_none() && step.trace().0.is_none());
        assert_eq!(headers["traceparent"], "as it came");
    }
}
