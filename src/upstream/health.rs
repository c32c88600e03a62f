//! Whether an address is well, by what its probes said.
//!
//! A pure state machine. Invariant: one probe alone turns nothing unless the policy says so; it takes `failures` in a
//! row to fall ill and `passes` in a row to be well again. It knows neither sockets nor time.

use super::config;
use super::pick::Probe;

#[derive(Debug)]
pub(super) struct Health {
    failures_to_fall_ill: u32,
    passes_to_be_well: u32,
    state: State,
}

/// With how many probes in a row spoke against it.
#[derive(Debug)]
enum State {
    Well { failures: u32 },
    Ill { passes: u32 },
}

/// A change of health, worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Well,
    Ill,
}

impl Health {
    pub(super) fn new(policy: &config::Health) -> Self {
        Health {
            failures_to_fall_ill: policy.failures,
            passes_to_be_well: policy.passes,
            state: State::Well { failures: 0 },
        }
    }

    pub(super) fn is_well(&self) -> bool {
        matches!(self.state, State::Well { .. })
    }

    pub(super) fn probed(&mut self, probe: Probe) -> Option<Turn> {
        match (&mut self.state, probe) {
            (State::Well { failures }, Probe::Passed) => *failures = 0,
            (State::Ill { passes }, Probe::Failed) => *passes = 0,
            (State::Well { failures }, Probe::Failed) => {
                *failures += 1;
                if *failures >= self.failures_to_fall_ill {
                    self.state = State::Ill { passes: 0 };
                    return Some(Turn::Ill);
                }
            }
            (State::Ill { passes }, Probe::Passed) => {
                *passes += 1;
                if *passes >= self.passes_to_be_well {
                    self.state = State::Well { failures: 0 };
                    return Some(Turn::Well);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outcomes_in_a_row_turn_it() {
        let policy = config::Health {
            failures: 2,
            passes: 2,
            ..config::Health::default()
        };
        let mut health = Health::new(&policy);
        let turns = [Probe::Failed, Probe::Passed, Probe::Failed, Probe::Failed].map(|p| health.probed(p));
        assert_eq!(turns, [None, None, None, Some(Turn::Ill)]);
        assert!(!health.is_well());
        let turns = [Probe::Passed, Probe::Failed, Probe::Passed, Probe::Passed].map(|p| health.probed(p));
        assert_eq!(turns, [None, None, None, Some(Turn::Well)]);
        assert!(health.is_well());
    }
}
