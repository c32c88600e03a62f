//! Which requests are recorded.
//!
//! Invariant: a sender's word, where it is followed, decides alone; without it chance does. It does not know what is recorded.

use super::config::Config;
use super::export::Exporter;
use super::{Parent, Recording, Span, Stage};
use crate::base::clock;
use crate::base::metrics::Metrics;
use crate::http::trace_context::{Sampled, TraceParent};
use http::HeaderMap;
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

/// Why traces can not be exported.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    #[error("tracing.otlp: no export can be set up: {0}; nothing is served")]
    Exporter(String),
    #[error("tracing.otlp: the system's trusted certificates can not be read: {0}; nothing is served")]
    Roots(std::io::Error),
}

/// Begins traces. Cheap to clone and share.
#[derive(Clone, Default)]
pub(crate) struct Tracer(Option<Arc<Inner>>);

struct Inner {
    exporter: Arc<Exporter>,
    sample: Share,
    follow: Follow,
    deadline: Duration,
}

/// What a sender's word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Follow {
    Sender,
    Nobody,
}

/// A share of all requests; of each 2^32 so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share(u64);

impl Tracer {
    /// Sends nothing yet: a collector that is down is no reason not to serve.
    ///
    /// # Errors
    /// When what an export needs can not be had.
    pub(crate) fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Tracer, TracerError> {
        let Some(otlp) = &config.otlp else {
            return Ok(Tracer(None));
        };
        let exporter = Exporter::open(otlp, config, metrics)?;
        Ok(Tracer(Some(Arc::new(Inner {
            exporter: Arc::new(exporter),
            sample: Share::of(config.sample),
            follow: match config.follow {
                true => Follow::Sender,
                false => Follow::Nobody,
            },
            deadline: config.deadline.get(),
        }))))
    }

    /// The root of a request's trace, if it is recorded.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Span {
        match &self.0 {
            None => Span::default(),
            Some(inner) => inner.begin(headers),
        }
    }

    /// Exports what waits, for so long at most and no longer than any export may take. What ends later is dropped.
    pub(crate) async fn close(&self, deadline: Duration) {
        if let Some(inner) = &self.0 {
            inner.exporter.clone().close(deadline.min(inner.deadline)).await;
        }
    }
}

impl Inner {
    fn begin(&self, headers: &HeaderMap) -> Span {
        let sender = TraceParent::of(headers);
        if !self.records(sender.as_ref()) {
            return Span::default();
        }
        let began = clock::monotonic();
        let recording = Arc::new(Recording {
            id: sender.map_or_else(|| self.exporter.new_trace(), |sender| sender.trace),
            began,
            began_at: clock::now().as_system_time(),
            exporter: self.exporter.clone(),
        });
        let parent = sender.map(|sender| Parent::Sender(sender.span));
        recording.begin(Stage::Request, parent, began)
    }

    fn records(&self, sender: Option<&TraceParent>) -> bool {
        match (sender, self.follow) {
            (Some(sender), Follow::Sender) => sender.sampled == Sampled::Yes,
            (Some(_), Follow::Nobody) | (None, _) => self.sample.chooses(random()),
        }
    }
}

impl Share {
    fn of(share: f64) -> Self {
        Share((share.clamp(0.0, 1.0) * (1_u64 << 32) as f64) as u64)
    }

    /// `random` is even over all numbers.
    fn chooses(self, random: u64) -> bool {
        random >> 32 < self.0
    }
}

/// Even over all numbers, and another sequence in each thread and process: SplitMix64.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_none_chooses_none_and_of_all_chooses_all() {
        for random in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert!(!Share::of(0.0).chooses(random));
            assert!(Share::of(1.0).chooses(random));
        }
    }

    #[test]
    fn about_the_share_is_chosen() {
        let share = Share::of(0.25);
        let chosen = (0..100_000).filter(|_| share.chooses(random())).count();
        assert!((24_000..26_000).contains(&chosen), "{chosen}");
    }

    #[test]
    fn without_a_collector_nothing_is_recorded_though_the_sender_records() {
        let tracer = Tracer::open(&Config::default(), Arc::new(Metrics::new())).unwrap();
        let mut headers = HeaderMap::new();
        let sampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert("traceparent", sampled.parse().unwrap());
        assert!(tracer.begin(&headers).trace_id().is_none());
    }
}
