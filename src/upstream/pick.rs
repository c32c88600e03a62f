//! Which address of an origin a request goes to.
//!
//! Smooth weighted round robin over the addresses that are healthy and whose breaker admits. Invariant: an address
//! that probes found unhealthy is skipped unless every address that may be asked is; a breaker is never overridden.
//! It opens no sockets: to it an address is a position and a label for the log, which it tells of every turn.

use super::config;
use super::health::{Health, Turn};
use crate::base::breaker::{Admission, Breaker, Change, Verdict};
use crate::base::clock;
use crate::base::metrics::AddressState;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// The addresses of one origin, shared by its requests and probes.
#[derive(Clone)]
pub(super) struct Balancer(Arc<Mutex<Scales>>);

struct Scales {
    addresses: Vec<Weighed>,
}

struct Weighed {
    label: Arc<str>,
    weight: i64,
    /// Grows by the weight each time another is chosen; the richest is chosen and pays the sum of all weights.
    credit: i64,
    breaker: Breaker,
    health: Health,
}

/// A request's right to ask the address at `position`. Dropping it unsettled counts for nothing.
pub(super) struct Attempt {
    pub(super) position: usize,
    admission: Admission,
    balancer: Balancer,
}

impl Balancer {
    /// Over addresses given by their label and weight.
    pub(super) fn new(
        addresses: impl IntoIterator<Item = (Arc<str>, u32)>,
        breaker: &config::Breaker,
        health: &config::Health,
    ) -> Self {
        let weighed = |(label, weight)| Weighed {
            label,
            weight: i64::from(weight),
            credit: 0,
            breaker: Breaker::new(breaker.policy()),
            health: Health::new(health),
        };
        let addresses = addresses.into_iter().map(weighed).collect();
        Balancer(Arc::new(Mutex::new(Scales { addresses })))
    }

    /// The address to ask, other than those already `tried`; none when every breaker is open.
    pub(super) fn pick(&self, now: Instant, tried: &[usize]) -> Option<Attempt> {
        let (position, admission) = self.0.lock().pick(now, tried)?;
        Some(Attempt {
            position,
            admission,
            balancer: self.clone(),
        })
    }

    /// What each address is worth now.
    pub(super) fn states(&self) -> Vec<AddressState> {
        self.0.lock().addresses.iter().map(Weighed::state).collect()
    }

    /// Records a probe's outcome; says whether that turned the address's health.
    pub(super) fn probed(&self, position: usize, probe: Probe) -> Option<Turn> {
        let mut scales = self.0.lock();
        let address = &mut scales.addresses[position];
        let turn = address.health.probed(probe);
        match turn {
            Some(Turn::Ill) => tracing::warn!(address = &*address.label, "probes fail: address taken out"),
            Some(Turn::Well) => tracing::info!(address = &*address.label, "probes pass: address back in"),
            None => {}
        }
        turn
    }
}

#[cfg(test)]
impl Balancer {
    /// Whether each address is well.
    pub(super) fn wellness(&self) -> Vec<bool> {
        self.0
            .lock()
            .addresses
            .iter()
            .map(|address| address.health.is_well())
            .collect()
    }
}

/// How a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Passed,
    Failed,
}

impl Attempt {
    /// Records how it went, so far or at last.
    pub(super) fn settle(&mut self, verdict: Verdict) {
        // A trial decides once; what follows its answer counts like any other request.
        let admission = std::mem::replace(&mut self.admission, Admission::Ordinary);
        let mut scales = self.balancer.0.lock();
        let address = &mut scales.addresses[self.position];
        match address.breaker.settle(admission, verdict, clock::monotonic()) {
            Some(Change::Opened) => tracing::warn!(address = &*address.label, "breaker opened"),
            Some(Change::Closed) => tracing::info!(address = &*address.label, "breaker closed"),
            None => {}
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.settle(Verdict::Abandoned);
    }
}

impl Weighed {
    /// A breaker is never overridden, so that an open one says more than probes do.
    fn state(&self) -> AddressState {
        if !self.breaker.is_closed() {
            AddressState::BreakerOpen
        } else if self.health.is_well() {
            AddressState::Up
        } else {
            AddressState::Down
        }
    }
}

impl Scales {
    fn pick(&mut self, now: Instant, tried: &[usize]) -> Option<(usize, Admission)> {
        let admitted: Vec<usize> = (0..self.addresses.len())
            .filter(|position| !tried.contains(position) && self.addresses[*position].breaker.admits(now))
            .collect();
        let healthy: Vec<usize> = admitted
            .iter()
            .copied()
            .filter(|position| self.addresses[*position].health.is_well())
            .collect();
        let position = self.weigh(if healthy.is_empty() { &admitted } else { &healthy })?;
        Some((position, self.addresses[position].breaker.admit()))
    }

    fn weigh(&mut self, candidates: &[usize]) -> Option<usize> {
        let mut sum = 0;
        for &position in candidates {
            let address = &mut self.addresses[position];
            address.credit += address.weight;
            sum += address.weight;
        }
        // Of equals the first wins: `max_by_key` would take the last.
        let chosen = candidates
            .iter()
            .copied()
            .rev()
            .max_by_key(|position| self.addresses[*position].credit)?;
        self.addresses[chosen].credit -= sum;
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Span;
    use std::time::Duration;

    fn balancer(weights: &[u32]) -> Balancer {
        let breaker = config::Breaker {
            failures: 1,
            open_for: Span::secs(5),
        };
        let health = config::Health {
            failures: 1,
            passes: 1,
            ..config::Health::default()
        };
        Balancer::new(
            weights.iter().map(|weight| ("test".into(), *weight)),
            &breaker,
            &health,
        )
    }

    fn picks(balancer: &Balancer, count: usize) -> Vec<usize> {
        let now = clock::monotonic();
        let pick = |_| balancer.pick(now, &[]).unwrap().position;
        (0..count).map(pick).collect()
    }

    #[test]
    fn weights_share_requests_smoothly() {
        assert_eq!(picks(&balancer(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn an_address_whose_breaker_is_open_is_skipped_until_its_trial() {
        let balancer = balancer(&[1, 1]);
        let now = clock::monotonic();
        balancer.pick(now, &[]).unwrap().settle(Verdict::Failed);
        assert_eq!(picks(&balancer, 3), [1, 1, 1]);
        let later = now + Duration::from_secs(10);
        let trial = balancer.pick(later, &[1]).unwrap();
        assert_eq!((trial.position, trial.admission), (0, Admission::Trial));
    }

    #[test]
    fn when_every_breaker_is_open_nobody_is_asked() {
        let balancer = balancer(&[1, 1]);
        let now = clock::monotonic();
        for _ in 0..2 {
            balancer.pick(now, &[]).unwrap().settle(Verdict::Failed);
        }
        assert!(balancer.pick(now, &[]).is_none());
    }

    #[test]
    fn an_unhealthy_address_is_skipped_unless_all_are() {
        let balancer = balancer(&[1, 1]);
        assert_eq!(balancer.probed(0, Probe::Failed), Some(Turn::Ill));
        assert_eq!(picks(&balancer, 3), [1, 1, 1]);
        balancer.probed(1, Probe::Failed);
        let both = picks(&balancer, 4);
        assert!(both.contains(&0) && both.contains(&1), "{both:?}");
        assert_eq!(balancer.probed(0, Probe::Passed), Some(Turn::Well));
        assert_eq!(picks(&balancer, 2), [0, 0]);
    }

    #[test]
    fn an_address_has_one_state_and_an_open_breaker_goes_before_failed_probes() {
        let balancer = balancer(&[1, 1, 1]);
        assert_eq!(balancer.states(), [AddressState::Up; 3]);
        balancer.probed(1, Probe::Failed);
        let now = clock::monotonic();
        balancer.pick(now, &[1, 2]).unwrap().settle(Verdict::Failed);
        let (up, down, open) = (AddressState::Up, AddressState::Down, AddressState::BreakerOpen);
        assert_eq!(balancer.states(), [open, down, up]);
        balancer.probed(0, Probe::Failed);
        assert_eq!(balancer.states(), [open, down, up]);
        let later = now + Duration::from_secs(10);
        let mut trial = balancer.pick(later, &[1, 2]).unwrap();
        assert_eq!(balancer.states()[0], open, "the trial has not been answered");
        trial.settle(Verdict::Answered);
        assert_eq!(balancer.states(), [down, down, up]);
    }

    #[test]
    fn an_address_already_tried_is_not_picked_again() {
        let balancer = balancer(&[9, 1]);
        let now = clock::monotonic();
        assert_eq!(balancer.pick(now, &[0]).unwrap().position, 1);
        assert!(balancer.pick(now, &[0, 1]).is_none());
    }

    #[test]
    fn a_dropped_attempt_frees_the_trial() {
        let balancer = balancer(&[1]);
        let now = clock::monotonic();
        balancer.pick(now, &[]).unwrap().settle(Verdict::Failed);
        let later = now + Duration::from_secs(10);
        let trial = balancer.pick(later, &[]).unwrap();
        assert!(balancer.pick(later, &[]).is_none());
        drop(trial);
        assert!(balancer.pick(later, &[]).is_some());
    }
}
