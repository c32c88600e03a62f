//! Holes of the guarantee, each opened in a build with the feature `holes`: the checker has to find it, and nothing without.
//!
//! `make holes` builds that binary and names it in `AQUATINT_HOLES_BINARY`; without it nothing is judged here.

use crate::node::Edge;
use crate::run::{Fault, Found, Plan, Until};
use std::path::PathBuf;
use std::time::Duration;

const BINARY: &str = "AQUATINT_HOLES_BINARY";

/// Each with what it takes to be seen.
const HOLES: [(&str, &[Fault]); 11] = [
    ("epoch-after-request", &[]),
    ("no-hit-check", &[]),
    ("join-any-flight", &[]),
    ("renew-purged", &[]),
    ("serve-stale-purged", &[]),
    ("raise-epoch", &[Fault::Kill, Fault::Terminate, Fault::Kill]),
    ("foreign-incarnation", &[Fault::LoseLog, Fault::LoseLog]),
    (
        "serve-retired",
        &[Fault::HandOver, Fault::HandOver, Fault::HandOver],
    ),
    ("ack-before-apply", &[]),
    ("tags-ignored", &[]),
    ("forget-without-floor", &[]),
];

fn judge(binary: PathBuf, hole: Option<&str>, faults: &[Fault], reads_max: u64) -> Found {
    let plan = Plan {
        seed: 11,
        urls: 600,
        readers: 24,
        writers: 5,
        pace: Duration::from_millis(60),
        delay: Duration::from_millis(40),
        reads_max,
        time_max: Duration::from_secs(30),
        faults: faults.to_vec(),
        until: Until::AViolation,
    };
    println!("hole: {hole:?}");
    let found = plan.run(&mut Edge::with_hole(binary, hole, plan.seed));
    println!("{}", found.told);
    found
}

#[test]
fn every_hole_that_is_opened_is_found() {
    let Some(binary) = std::env::var_os(BINARY).map(PathBuf::from) else {
        println!("not judged: {BINARY} names no build with the feature `holes` (make holes)");
        return;
    };
    let only = std::env::var("HOLE").ok();
    let meant = HOLES
        .iter()
        .filter(|(hole, _)| only.as_deref().is_none_or(|only| only == *hole));
    let missed: Vec<_> = meant
        .filter(|(hole, faults)| judge(binary.clone(), Some(hole), faults, 100_000).violations == 0)
        .map(|(hole, _)| hole)
        .collect();
    let faults = [Fault::Kill, Fault::HandOver, Fault::LoseLog];
    judge(binary, None, &faults, 20_000).expect_none();
    assert!(missed.is_empty(), "nothing found, though opened: {missed:?}");
}
