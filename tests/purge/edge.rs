//! The guarantee, judged: the edge under readers and writers, killed and restarted, in a short form and a long one.

use crate::node::Edge;
use crate::run::{Fault, Found, Plan, Until};
use std::str::FromStr;
use std::time::Duration;

/// Of the short form. Any other is as good: it decides what is drawn, and no order of events.
const SEED: u64 = 5;

fn short() -> Plan {
    Plan {
        seed: seed(),
        urls: 1200,
        readers: 32,
        writers: 5,
        pace: Duration::from_millis(100),
        delay: Duration::from_millis(40),
        reads_max: 80_000,
        time_max: Duration::from_secs(28),
        faults: vec![
            Fault::Kill,
            Fault::HandOver,
            Fault::Terminate,
            Fault::HandOver,
            Fault::Kill,
            Fault::Kill,
        ],
        until: Until::TheEnd,
    }
}

#[test]
fn no_read_is_older_than_what_was_acknowledged_before_it() {
    let found = short().run(&mut Edge::new(seed()));
    found.expect_none();
    expect_proof(&found, 1);
}

#[test]
fn no_read_is_older_when_the_log_is_lost() {
    let plan = Plan {
        urls: 400,
        reads_max: 20_000,
        time_max: Duration::from_secs(10),
        faults: vec![Fault::LoseLog, Fault::LoseLog],
        ..short()
    };
    let found = plan.run(&mut Edge::new(seed()));
    found.expect_none();
    found.shared.tally.expect("outcomes", "hit", 500);
    found.shared.tally.expect("faults", "LoseLog", 1);
}

/// The long form: `make chaos`. `CHAOS_OPERATIONS`, `CHAOS_SECONDS` and `CHAOS_SEED` say how long, and which.
#[test]
#[ignore = "takes minutes: make chaos"]
fn chaos() {
    let seconds = variable("CHAOS_SECONDS").unwrap_or(900);
    let plan = Plan {
        urls: 3000,
        readers: 48,
        reads_max: variable("CHAOS_OPERATIONS").unwrap_or(5_000_000),
        time_max: Duration::from_secs(seconds),
        faults: faults((seconds / 12).max(3) as usize),
        ..short()
    };
    let found = plan.run(&mut Edge::new(plan.seed));
    found.expect_none();
    expect_proof(&found, (seconds / 30).max(1));
}

/// Now and then a kill is a loss of the log, and of every four faults one is an orderly end and one a hand-over.
fn faults(count: usize) -> Vec<Fault> {
    let fault = |number| match number % 12 {
        7 => Fault::LoseLog,
        1 | 4 | 9 => Fault::HandOver,
        2 | 5 | 10 => Fault::Terminate,
        _ => Fault::Kill,
    };
    (0..count).map(fault).collect()
}

/// # Panics
/// When too little happened to prove anything; `times` as much is expected as of the short form.
#[track_caller]
fn expect_proof(found: &Found, times: u64) {
    let tally = &found.shared.tally;
    for kind in [
        "plain",
        "variant",
        "conditional",
        "range",
        "if-range",
        "head",
        "hang-up",
    ] {
        tally.expect("reads", kind, 100 * times);
    }
    tally.expect("outcomes", "hit", 2000 * times);
    tally.expect("outcomes", "fwd=uri-miss", 200 * times);
    tally.expect("outcomes", "fwd=stale; fwd-status=304", 30 * times);
    tally.expect("origin", "GET 304", 30 * times);
    tally.expect("origin", "503", 2 * times);
    assert!(
        tally.with("outcomes", "collapsed") >= 30 * times,
        "too little coalesced\n{tally}"
    );
    for scope in [
        "url hard", "url soft", "exact", "prefix", "tag hard", "tag soft", "host",
    ] {
        tally.expect("purges", scope, times);
    }
    tally.expect("purges", "all", 1);
    for way in ["webhook", "api", "PURGE"] {
        tally.expect("purges by way", way, 30 * times);
    }
    // What a start finds on the SSD is checked like all else.
    assert!(
        tally.with("counted by the edge", "ssd") >= 30 * times,
        "the SSD was hardly read\n{tally}"
    );
    tally.expect(
        "counted by the edge",
        "aquatint_purge_refused_hits_total",
        100 * times,
    );
    tally.expect("faults", "Kill", times.min(3));
    tally.expect("faults", "Terminate", 1);
    tally.expect("faults", "HandOver", times.min(2));
}

fn seed() -> u64 {
    variable("CHAOS_SEED").unwrap_or(SEED)
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}
