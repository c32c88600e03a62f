//! One peer: its connections, how many questions are under way to it, and whether it is asked at all.
//!
//! Invariant: what is counted as under way is, until its answer has ended or nobody waits for it. It does not know the others.

use super::dial::{Dialer, Outgoing};
use super::fault::Fault;
use super::link::Link;
use super::{Limits, PeerError};
use crate::base::breaker::{Admission, Breaker, Change, Verdict};
use crate::base::clock;
use crate::base::metrics::{Metrics, QuestionErrand, QuestionResult};
use crate::cluster::member::{Generation, Member, NodeId};
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tonic::transport::Channel;

pub(super) struct Peer {
    id: NodeId,
    generation: Generation,
    address: SocketAddr,
    links: Vec<Link>,
    /// Links take turns.
    turn: AtomicUsize,
    in_flight: AtomicUsize,
    breaker: Mutex<Breaker>,
    channel: OnceLock<Channel>,
}

impl Peer {
    pub(super) fn new(member: &Member, limits: &Limits) -> Self {
        Peer {
            id: member.id.clone(),
            generation: member.generation,
            address: member.address,
            links: (0..limits.connections).map(|_| Link::default()).collect(),
            turn: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(limits.breaker)),
            channel: OnceLock::new(),
        }
    }

    pub(super) fn is_of(&self, member: &Member) -> bool {
        self.generation == member.generation && self.address == member.address
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) async fn ask(
        &self,
        dialer: &Dialer,
        question: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let link = &self.links[turn % self.links.len()];
        link.ask(dialer, self.address, question).await
    }

    /// It did not answer in time.
    pub(super) fn late(&self) -> Fault {
        match self.links.iter().any(Link::is_open) {
            true => Fault::waited(),
            false => PeerError::Deadline.into(),
        }
    }

    pub(super) fn channel(&self, dialer: &Arc<Dialer>) -> Channel {
        self.channel.get_or_init(|| dialer.channel(self.address)).clone()
    }

    fn admit(&self) -> Option<Admission> {
        let mut breaker = self.breaker.lock();
        breaker.admits(clock::monotonic()).then(|| breaker.admit())
    }

    fn settle(&self, admission: Admission, verdict: Verdict) {
        let change = self.breaker.lock().settle(admission, verdict, clock::monotonic());
        match change {
            Some(Change::Opened) => tracing::warn!(peer = self.id.as_str(), "breaker opened"),
            Some(Change::Closed) => tracing::info!(peer = self.id.as_str(), "breaker closed"),
            None => {}
        }
    }
}

/// One question that is under way.
pub(super) struct Turn {
    peer: Arc<Peer>,
    /// `None` once its last verdict is known.
    admission: Option<Admission>,
    errand: QuestionErrand,
    /// `None`: nobody waited for it.
    result: Option<QuestionResult>,
    metrics: Arc<Metrics>,
}

impl Turn {
    pub(super) fn begin(
        peer: &Arc<Peer>,
        requests_max: usize,
        errand: QuestionErrand,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, PeerError> {
        let one_more = |under_way| (under_way < requests_max).then_some(under_way + 1);
        let counted = peer
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map_err(|_| PeerError::Busy)?;
        let mut turn = Turn {
            peer: peer.clone(),
            admission: None,
            errand,
            result: None,
            metrics: metrics.clone(),
        };
        turn.admission = Some(peer.admit().ok_or(PeerError::BreakerOpen)?);
        Ok(turn)
    }

    pub(super) fn errand(&self) -> QuestionErrand {
        self.errand
    }

    pub(super) fn late(&self) -> Fault {
        self.peer.late()
    }

    /// What came of it has other bytes than it says.
    pub(super) fn count_corrupt(&self) {
        self.metrics.cluster_corrupt_copies.inc();
    }

    /// What has become of it so far.
    pub(super) fn settle(&mut self, verdict: Verdict) {
        if let Some(admission) = self.admission {
            self.peer.settle(admission, verdict);
        }
        if verdict != Verdict::Answered {
            self.admission = None;
        }
    }

    pub(super) fn fail(&mut self, fault: Fault) -> PeerError {
        self.settle(fault.verdict);
        self.end(fault.error.result());
        fault.error
    }

    pub(super) fn end(&mut self, result: QuestionResult) {
        self.result = Some(result);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.peer.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.settle(Verdict::Abandoned);
        if let Some(result) = self.result {
            self.metrics.cluster_questions[(self.errand, result)].inc();
        }
    }
}
