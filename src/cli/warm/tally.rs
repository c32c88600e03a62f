//! What came of all URLs so far.
//!
//! Invariant: every URL counts once. It does not know how it is shown.

use super::{Ending, Warmed};
use crate::base::clock;
use crate::cli::access::counted;
use crate::cli::exit::Exit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(super) struct Tally {
    began_at: Instant,
    pub(super) well: u64,
    pub(super) failed: u64,
    /// Of those that went well.
    not_stored: u64,
    bytes: u64,
    by_outcome: BTreeMap<String, u64>,
    is_interrupted: bool,
}

impl Tally {
    pub(super) fn begin() -> Self {
        Tally {
            began_at: clock::monotonic(),
            well: 0,
            failed: 0,
            not_stored: 0,
            bytes: 0,
            by_outcome: BTreeMap::new(),
            is_interrupted: false,
        }
    }

    pub(super) fn count(&mut self, warmed: &Warmed) {
        match warmed.ending {
            Ending::Well => self.well += 1,
            Ending::Failed { .. } => self.failed += 1,
        }
        if warmed.ending == Ending::Well && warmed.told["stored"] != true {
            self.not_stored += 1;
        }
        self.bytes += warmed.told["bytes"].as_u64().unwrap_or_default();
        *self.by_outcome.entry(warmed.outcome().to_owned()).or_default() += 1;
    }

    /// What was under way is not waited for.
    pub(super) fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    pub(super) fn exit(&self) -> Exit {
        match self.failed == 0 && !self.is_interrupted {
            true => Exit::Done,
            false => Exit::Failure,
        }
    }

    fn took(&self) -> Duration {
        clock::monotonic() - self.began_at
    }

    pub(super) fn for_people(&self) -> String {
        let outcomes = self
            .by_outcome
            .iter()
            .map(|(outcome, count)| format!("{outcome} {count}"));
        let outcomes = outcomes.collect::<Vec<_>>().join(", ");
        let mut text = counted(self.well + self.failed, "URL");
        if !outcomes.is_empty() {
            text += &format!(" ({outcomes})");
        }
        if self.not_stored > 0 {
            text += &format!(", {} not stored", self.not_stored);
        }
        if self.failed > 0 {
            text += &format!(", {} failed", self.failed);
        }
        let (bytes, took) = (bytesize::ByteSize(self.bytes), self.took().as_secs_f64());
        text += &format!("; {bytes} in {took:.1} s");
        if self.is_interrupted {
            text += "; interrupted: the rest of the list was not asked for";
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({ "summary": {
            "urls": self.well + self.failed,
            "well": self.well,
            "failed": self.failed,
            "not_stored": self.not_stored,
            "by_outcome": self.by_outcome,
            "bytes": self.bytes,
            "duration_seconds": self.took().as_secs_f64(),
            "interrupted": self.is_interrupted,
        }})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmed(told: Value) -> Warmed {
        Warmed::of("http://a/b".into(), told)
    }

    #[test]
    fn every_url_counts_once_and_one_failure_is_no_success() {
        let mut tally = Tally::begin();
        assert_eq!(tally.exit(), Exit::Done);
        tally.count(&warmed(
            json!({"outcome": "miss", "status": 200, "bytes": 1024, "stored": true}),
        ));
        tally.count(&warmed(
            json!({"outcome": "bypass", "status": 200, "bytes": 1024, "stored": false}),
        ));
        assert_eq!(tally.exit(), Exit::Done);
        tally.count(&Warmed::failed("x".into(), "no route"));
        assert_eq!(tally.exit(), Exit::Failure);
        let text = tally.for_people();
        let expected = "3 URLs (bypass 1, miss 1, refused 1), 1 not stored, 1 failed; 2.0 KiB in ";
        assert!(text.starts_with(expected), "{text}");
        assert_eq!(
            tally.json()["summary"]["by_outcome"],
            json!({"bypass": 1, "miss": 1, "refused": 1})
        );
    }

    #[test]
    fn what_was_interrupted_is_not_done() {
        let mut tally = Tally::begin();
        tally.interrupt();
        assert_eq!(tally.exit(), Exit::Failure);
        assert!(tally.for_people().ends_with("was not asked for"));
    }
}
