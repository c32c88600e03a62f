//! Stops asking an address that keeps failing: an origin's, or another node's.
//!
//! A pure state machine; it takes `now`. Invariant: while open nobody is admitted, and while half-open exactly one
//! request, the trial, is under way. It knows neither the address nor the request.
//!
//! ```text
//!            `failures` in a row              `open_for` has passed
//!   Closed ---------------------> Open -------------------------------> HalfOpen
//!     ^                             ^            (admits the trial)        |  |
//!     |                             +------------- the trial failed -------+  |
//!     +----------------------------- the trial was answered ------------------+
//! ```

use std::time::{Duration, Instant};

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In a row; 0 never opens it.
    pub failures: u32,
    pub open_for: Duration,
}

#[derive(Debug)]
pub struct Breaker {
    policy: Policy,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// In what standing a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Ordinary,
    /// The one request that decides whether a half-open breaker closes.
    Trial,
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A response's header came.
    Answered,
    /// The response came whole.
    Finished,
    Failed,
    /// Given up for reasons of our own: says nothing about the address.
    Abandoned,
}

/// What a verdict changed, worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened,
    Closed,
}

impl Breaker {
    pub fn new(policy: Policy) -> Self {
        Breaker {
            policy,
            state: State::Closed { failures: 0 },
        }
    }

    /// Whether requests are admitted as if nothing had been.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether a request would be admitted.
    pub fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
            State::HalfOpen => false,
        }
    }

    /// Lets a request through that [`Breaker::admits`] allows.
    pub fn admit(&mut self) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Ordinary,
            State::Open { .. } | State::HalfOpen => {
                self.state = State::HalfOpen;
                Admission::Trial
            }
        }
    }

    /// Records how a request went that was admitted as `admission`.
    pub fn settle(&mut self, admission: Admission, verdict: Verdict, now: Instant) -> Option<Change> {
        match (&mut self.state, admission, verdict) {
            // A header alone does not clear the count: an origin that cuts every body would never open it.
            (State::Closed { failures }, _, Verdict::Finished) => {
                *failures = 0;
                None
            }
            (State::Closed { failures }, _, Verdict::Failed) => {
                *failures = failures.saturating_add(1);
                let opens = self.policy.failures > 0 && *failures >= self.policy.failures;
                opens.then(|| self.open(now))
            }
            (State::HalfOpen, Admission::Trial, Verdict::Failed) => Some(self.open(now)),
            (State::HalfOpen, Admission::Trial, Verdict::Answered | Verdict::Finished) => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            (State::HalfOpen, Admission::Trial, Verdict::Abandoned) => {
                self.state = State::Open { until: now };
                None
            }
            // Requests from before it opened have no say any more.
            _ => None,
        }
    }

    fn open(&mut self, now: Instant) -> Change {
        self.state = State::Open {
            until: now + self.policy.open_for,
        };
        Change::Opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn breaker(failures: u32) -> (Breaker, Instant) {
        let policy = Policy {
            failures,
            open_for: Duration::from_secs(5),
        };
        (Breaker::new(policy), clock::monotonic())
    }

    fn fail(breaker: &mut Breaker, now: Instant) -> Option<Change> {
        let admission = breaker.admit();
        breaker.settle(admission, Verdict::Failed, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_time_lets_one_trial_through() {
        let (mut breaker, now) = breaker(3);
        assert_eq!(fail(&mut breaker, now), None);
        assert_eq!(fail(&mut breaker, now), None);
        assert_eq!(fail(&mut breaker, now), Some(Change::Opened));
        assert!(!breaker.admits(now + Duration::from_millis(4_999)));
        let later = now + Duration::from_secs(5);
        assert!(breaker.admits(later));
        assert_eq!(breaker.admit(), Admission::Trial);
        assert!(!breaker.admits(later), "only one trial at a time");
    }

    #[test]
    fn a_whole_response_between_failures_starts_the_count_again() {
        let (mut breaker, now) = breaker(2);
        fail(&mut breaker, now);
        breaker.settle(Admission::Ordinary, Verdict::Finished, now);
        assert_eq!(fail(&mut breaker, now), None);
        assert!(breaker.admits(now));
    }

    #[test]
    fn headers_followed_by_cut_bodies_open_it_all_the_same() {
        let (mut breaker, now) = breaker(2);
        for expected in [None, Some(Change::Opened)] {
            let admission = breaker.admit();
            breaker.settle(admission, Verdict::Answered, now);
            assert_eq!(breaker.settle(admission, Verdict::Failed, now), expected);
        }
    }

    #[test]
    fn the_trials_answer_closes_it_and_its_failure_opens_it_again() {
        let (mut breaker, now) = breaker(1);
        fail(&mut breaker, now);
        let later = now + Duration::from_secs(5);
        assert_eq!(fail(&mut breaker, later), Some(Change::Opened));
        assert!(!breaker.admits(later));
        let latest = later + Duration::from_secs(5);
        let trial = breaker.admit();
        assert_eq!(
            breaker.settle(trial, Verdict::Answered, latest),
            Some(Change::Closed)
        );
        assert_eq!(breaker.admit(), Admission::Ordinary);
    }

    #[test]
    fn an_abandoned_trial_leaves_room_for_the_next() {
        let (mut breaker, now) = breaker(1);
        fail(&mut breaker, now);
        let later = now + Duration::from_secs(5);
        let trial = breaker.admit();
        assert_eq!(breaker.settle(trial, Verdict::Abandoned, later), None);
        assert!(breaker.admits(later));
    }

    #[test]
    fn requests_from_before_it_opened_have_no_say() {
        let (mut breaker, now) = breaker(1);
        let early = breaker.admit();
        fail(&mut breaker, now);
        assert_eq!(breaker.settle(early, Verdict::Finished, now), None);
        assert!(!breaker.admits(now));
        let trial_time = now + Duration::from_secs(5);
        breaker.admit();
        assert_eq!(breaker.settle(early, Verdict::Failed, trial_time), None);
        assert_eq!(
            breaker.settle(Admission::Trial, Verdict::Answered, trial_time),
            Some(Change::Closed)
        );
    }

    #[test]
    fn zero_failures_never_open_it() {
        let (mut breaker, now) = breaker(0);
        for _ in 0..100 {
            assert_eq!(fail(&mut breaker, now), None);
        }
    }
}
