//! For each outcome and bucket of a request's duration, the trace of a request that fell into it.
//!
//! Invariant: an exemplar lies in the bucket it is shown with. Only who traces a request writes here; whoever does not pays
//! nothing. It does not know traces.

use super::build::DURATION_BUCKETS_SECONDS;
use super::labels::{Label, Outcome};
use super::samples::canonical;
use crate::base::clock::Timestamp;
use parking_lot::Mutex;

/// With one for what is above the highest bound.
const BUCKETS: usize = DURATION_BUCKETS_SECONDS.len() + 1;

/// One request of those that a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Exemplar {
    /// As W3C Trace Context has it.
    pub(super) trace_id: [u8; 16],
    pub(super) seconds: f64,
    pub(super) at: Timestamp,
}

/// A place for each outcome and bucket.
pub(super) struct Exemplars(Vec<Mutex<Option<Exemplar>>>);

impl Exemplars {
    pub(super) fn new() -> Self {
        let places = Outcome::ALL.len() * BUCKETS;
        Exemplars((0..places).map(|_| Mutex::default()).collect())
    }

    /// Takes the place of the last one.
    pub(super) fn put(&self, outcome: Outcome, exemplar: Exemplar) {
        let bucket = DURATION_BUCKETS_SECONDS.partition_point(|bound| *bound < exemplar.seconds);
        *self.0[outcome.position() * BUCKETS + bucket].lock() = Some(exemplar);
    }

    /// By the outcome's name and the bucket's bound, as a sample's labels have them.
    pub(super) fn find(&self, outcome: &str, bound: &str) -> Option<Exemplar> {
        let outcome = Outcome::ALL.iter().position(|known| known.name() == outcome)?;
        let mut bounds = DURATION_BUCKETS_SECONDS.iter().copied().chain([f64::INFINITY]);
        let bucket = bounds.position(|known| canonical(known) == bound)?;
        *self.0[outcome * BUCKETS + bucket].lock()
    }
}
