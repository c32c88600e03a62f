//! What happened to one URL lately, so that a violation tells how it came about.
//!
//! Bounded, by kind: many reads do not drive out the few purges. It does not judge.

use crate::order::Purge;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Events kept of each kind.
const KEPT: usize = 16;

/// Times are since the run's start.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Submitted {
        purge: Arc<Purge>,
        version: u64,
    },
    /// What came of it, and whether it counts.
    Answered {
        purge: Arc<Purge>,
        what: String,
    },
    /// At the origin.
    Fetched {
        began: Duration,
        version: u64,
        how: String,
    },
    Read {
        began: Duration,
        version: u64,
        how: String,
    },
    Node(&'static str),
}

#[derive(Default)]
pub(crate) struct History {
    purges: Mutex<VecDeque<(Duration, Event)>>,
    fetches: Mutex<VecDeque<(Duration, Event)>>,
    reads: Mutex<VecDeque<(Duration, Event)>>,
}

impl History {
    pub(crate) fn add(&self, at: Duration, event: Event) {
        let ring = match event {
            Event::Submitted { .. } | Event::Answered { .. } | Event::Node(_) => &self.purges,
            Event::Fetched { .. } => &self.fetches,
            Event::Read { .. } => &self.reads,
        };
        let mut ring = ring.lock();
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back((at, event));
    }

    /// In the order of their ends.
    pub(crate) fn tell(&self) -> String {
        let mut events: Vec<_> = self.purges.lock().iter().cloned().collect();
        events.extend(self.fetches.lock().iter().cloned());
        events.extend(self.reads.lock().iter().cloned());
        events.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        for (at, event) in events {
            let at = seconds(at);
            let told = match event {
                Event::Submitted { purge, version } => {
                    writeln!(
                        text,
                        "  {at} purge {purge} submitted while the origin held {version}"
                    )
                }
                Event::Answered { purge, what } => writeln!(text, "  {at} purge {} {what}", purge.number),
                Event::Fetched { began, version, how } => {
                    writeln!(
                        text,
                        "  {at} origin answered {version}, asked at {}: {how}",
                        seconds(began)
                    )
                }
                Event::Read { began, version, how } => {
                    writeln!(text, "  {at} read {version}, asked at {}: {how}", seconds(began))
                }
                Event::Node(what) => writeln!(text, "  {at} {what}"),
            };
            told.expect("a string takes everything");
        }
        text
    }
}

pub(crate) fn seconds(at: Duration) -> String {
    format!("{:.6}", at.as_secs_f64())
}
