//! One peer: its connections, how many questions are under way to it, and whether it is asked at all.
//!
//! Invariant: what is counted as under way is, until its answer has ended or nobody waits for it. It does not know the others.

use super::dial::{Dialer, Outgoing};
use super::fault::Fault;
use super::link::Link;
use super::room::Rooms;
use super::{Limits, PeerError};
use crate::base::breaker::{Admission, Breaker, Change, Verdict};
use crate::base::clock;
use crate::base::metrics::{Metrics, QuestionErrand, QuestionResult};
use crate::cluster::member::{Generation, Member, NodeId};
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tonic::transport::Channel;

pub(super) struct Peer {
    id: NodeId,
    generation: Generation,
    address: SocketAddr,
    links: Vec<Link>,
    rooms: Rooms,
    /// Headers that have come, and what stands in their place.
    answers: AtomicU64,
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
            rooms: Rooms::new(limits),
            answers: AtomicU64::new(0),
            breaker: Mutex::new(Breaker::new(limits.breaker)),
            channel: OnceLock::new(),
        }
    }

    pub(super) fn is_of(&self, member: &Member) -> bool {
        self.generation == member.generation && self.address == member.address
    }

    pub(super) fn in_flight(&self) -> usize {
        self.rooms.under_way()
    }

    pub(super) fn channel(&self, dialer: &Arc<Dialer>) -> Channel {
        self.channel.get_or_init(|| dialer.channel(self.address)).clone()
    }

    /// Slow clients' answers fill one link as they fill the others.
    fn least_busy(&self) -> usize {
        let under_way = |link: &usize| self.links[*link].under_way.load(Ordering::Relaxed);
        (0..self.links.len()).min_by_key(under_way).unwrap_or_default()
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
    /// The position of that which it goes over.
    link: usize,
    /// What the peer had answered before.
    answers_before: u64,
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
        errand: QuestionErrand,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, PeerError> {
        peer.rooms.enter(errand)?;
        let link = peer.least_busy();
        peer.links[link].under_way.fetch_add(1, Ordering::Relaxed);
        let mut turn = Turn {
            peer: peer.clone(),
            link,
            answers_before: peer.answers.load(Ordering::Relaxed),
            admission: None,
            errand,
            result: None,
            metrics: metrics.clone(),
        };
        turn.admission = Some(peer.admit().ok_or(PeerError::BreakerOpen)?);
        Ok(turn)
    }

    pub(super) async fn ask(
        &self,
        dialer: &Dialer,
        question: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Fault> {
        let link = &self.peer.links[self.link];
        link.ask(dialer, self.peer.address, question).await
    }

    pub(super) fn errand(&self) -> QuestionErrand {
        self.errand
    }

    /// No more of the answer came in time.
    pub(super) fn late(&self) -> Fault {
        match self.peer.answers.load(Ordering::Relaxed) > self.answers_before {
            true => Fault::waited(),
            false => PeerError::Deadline.into(),
        }
    }

    /// What came of it has other bytes than it says.
    pub(super) fn count_corrupt(&self) {
        self.metrics.cluster_corrupt_copies.inc();
    }

    /// What has become of it so far.
    pub(super) fn settle(&mut self, verdict: Verdict) {
        if verdict == Verdict::Answered {
            self.peer.answers.fetch_add(1, Ordering::Relaxed);
        }
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
        let link = &self.peer.links[self.link];
        link.under_way.fetch_sub(1, Ordering::Relaxed);
        self.peer.rooms.leave(self.errand);
        self.settle(Verdict::Abandoned);
        if let Some(result) = self.result {
            self.metrics.cluster_questions[(self.errand, result)].inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::config::Config;
    use crate::cluster::member::State;

    fn peer(config: &Config) -> Arc<Peer> {
        let member = Member {
            id: NodeId::new("answers"),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 1).into(),
            zone: "".into(),
            pool: "default".into(),
            weight: 100,
            roles: Default::default(),
            state: State::Up,
            load: 0,
            version: "".into(),
        };
        Arc::new(Peer::new(&member, &Limits::new(config)))
    }

    #[test]
    fn a_question_takes_the_link_with_the_fewest_under_way() {
        let peer = peer(&Config {
            connections: 3,
            ..Config::default()
        });
        let metrics = Arc::new(Metrics::new());
        let begin = || Turn::begin(&peer, QuestionErrand::Relay, &metrics).unwrap();
        let mut turns: Vec<Turn> = (0..6).map(|_| begin()).collect();
        let links: Vec<usize> = turns.iter().map(|turn| turn.link).collect();
        assert_eq!(links, [0, 1, 2, 0, 1, 2]);
        turns.retain(|turn| turn.link != 1);
        let next = [begin(), begin(), begin()];
        assert_eq!(next.map(|turn| turn.link), [1, 1, 0]);
    }

    #[test]
    fn relays_and_what_is_asked_for_this_node_take_no_room_from_each_other() {
        let peer = peer(&Config {
            requests_max: 2,
            relays_max: 1,
            ..Config::default()
        });
        let metrics = Arc::new(Metrics::new());
        let begin = |errand| Turn::begin(&peer, errand, &metrics);
        let relay = begin(QuestionErrand::Relay).unwrap();
        let own = [QuestionErrand::Fill, QuestionErrand::Look].map(|errand| begin(errand).unwrap());
        for errand in [QuestionErrand::Relay, QuestionErrand::Fill, QuestionErrand::Look] {
            assert!(matches!(begin(errand), Err(PeerError::Busy)));
        }
        drop(relay);
        assert!(begin(QuestionErrand::Relay).is_ok());
        drop(own);
        assert_eq!(peer.in_flight(), 0);
    }

    #[test]
    fn slow_clients_leave_half_of_a_peers_streams() {
        let limits = Limits::new(&Config {
            connections: 2,
            streams_max: 10,
            ..Config::default()
        });
        assert_eq!(limits.relays_max, 10);
    }
}
