//! Metrics as they are made, registered and counted on: single ones, and one for each value of their labels.
//!
//! Invariant: every series of a metric exists as soon as the metric does, at zero. It does not know which metrics there are.

use super::labels::Label;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::marker::PhantomData;
use std::ops::Index;

/// From a memory hit to a slow origin.
pub(super) const DURATION_BUCKETS_SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 30.0,
];

/// Names are literals of the table and a test builds it, so a refusal can not reach a user.
const VALID: &str = "names in the table of metrics are valid and unique";

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

impl Drop for Raised {
    fn drop(&mut self) {
        self.gauge.sub(self.by);
    }
}

/// One series, and the vector of all that differ from it by their labels' values.
pub(super) trait Single: Sized {
    type Vector: Collector + Clone + 'static;

    fn vector(name: &str, help: &str, labels: &[&str]) -> Self::Vector;

    /// The one with these values, made where it is not there yet.
    fn of(vector: &Self::Vector, values: &[&str]) -> Self;

    fn remove(vector: &Self::Vector, values: &[&str]);
}

macro_rules! single {
    ($metric:ty, $vector:ty, $options:expr) => {
        impl Single for $metric {
            type Vector = $vector;

            fn vector(name: &str, help: &str, labels: &[&str]) -> $vector {
                let options = $options;
                <$vector>::new(options(name, help), labels).expect(VALID)
            }

            fn of(vector: &$vector, values: &[&str]) -> $metric {
                vector.with_label_values(values)
            }

            fn remove(vector: &$vector, values: &[&str]) {
                // One that was never made is gone already.
                vector.remove_label_values(values).ok();
            }
        }
    };
}

single!(IntCounter, IntCounterVec, Opts::new);
single!(IntGauge, IntGaugeVec, Opts::new);
single!(Histogram, HistogramVec, |name, help| {
    HistogramOpts::new(name, help).buckets(DURATION_BUCKETS_SECONDS.to_vec())
});

/// What the table has on a line: a single series, or one for each value of its labels.
pub(super) trait Series: Sized {
    type Single: Single;

    /// The values of its labels, for each of its series in their order.
    fn values() -> Vec<Vec<&'static str>>;

    fn of(series: Vec<Self::Single>) -> Self;
}

macro_rules! series_of_one {
    ($($metric:ty),+) => {$(
        impl Series for $metric {
            type Single = Self;

            fn values() -> Vec<Vec<&'static str>> {
                vec![Vec::new()]
            }

            fn of(mut series: Vec<Self>) -> Self {
                series.pop().expect("there is one for each of the values")
            }
        }
    )+};
}

series_of_one!(IntCounter, IntGauge, Histogram);

impl<L: Label, M: Single> Series for Family<L, M> {
    type Single = M;

    fn values() -> Vec<Vec<&'static str>> {
        L::ALL.iter().map(|label| vec![label.name()]).collect()
    }

    fn of(children: Vec<M>) -> Self {
        Family {
            children,
            label: PhantomData,
        }
    }
}

impl<A: Label, B: Label, M: Single> Series for Grid<A, B, M> {
    type Single = M;

    fn values() -> Vec<Vec<&'static str>> {
        let pairs = |a: &A| {
            B::ALL
                .iter()
                .map(|b| vec![a.name(), b.name()])
                .collect::<Vec<_>>()
        };
        A::ALL.iter().flat_map(pairs).collect()
    }

    fn of(children: Vec<M>) -> Self {
        Grid {
            children,
            labels: PhantomData,
        }
    }
}

/// A registered metric; the values of the labels that come before its own are still to be said.
pub(super) struct Template<S: Series>(<S::Single as Single>::Vector);

impl<S: Series> Template<S> {
    /// `first` is the label before those of the metric's own, where there is one.
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        first: Option<&str>,
        own: &[&str],
    ) -> Self {
        let labels: Vec<&str> = first.into_iter().chain(own.iter().copied()).collect();
        let vector = S::Single::vector(name, help, &labels);
        registry.register(Box::new(vector.clone())).expect(VALID);
        Template(vector)
    }

    /// All series of which the first label says `first`.
    pub(super) fn series(&self, first: Option<&str>) -> S {
        let of = |own: Vec<&'static str>| S::Single::of(&self.0, &joined(first, &own));
        S::of(S::values().into_iter().map(of).collect())
    }

    pub(super) fn remove(&self, first: &str) {
        for own in S::values() {
            S::Single::remove(&self.0, &joined(Some(first), &own));
        }
    }
}

fn joined<'a>(first: Option<&'a str>, own: &[&'a str]) -> Vec<&'a str> {
    first.into_iter().chain(own.iter().copied()).collect()
}
