//! Whether operators see what dashboards and alerts promise: every query against the real binary, in a real Prometheus.
//!
//! 1. [`query`] reads PromQL as far as it takes to know which metrics and labels a query names.
//! 2. [`dashboards`] and [`rules`] read `grafana/` and `prometheus/`, and hold each query against what an edge tells
//!    ([`exposed`]). What fires when is tried by promtool, on made-up series.
//! 3. [`live`] starts an edge and a Prometheus that watches it, has every kind of traffic ([`traffic`]) pass, and waits until
//!    each panel shows something.
//! 4. [`packages`] holds the files that packages and containers name against those that are there.
//!
//! `scripts/packages monitoring` brings Prometheus ([`tools`]); without it these tests fail.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stderr, reason = "a failed test shows the edge's logs")]

#[allow(
    dead_code,
    unused_imports,
    reason = "the parts of the edge's own tests, of which some are needed here"
)]
#[path = "../edge/support/mod.rs"]
mod support;

mod dashboards;
mod exposed;
mod live;
mod packages;
mod query;
mod rules;
mod tools;
mod traffic;

use std::path::{Path, PathBuf};

/// A file or folder of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn text_of(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
