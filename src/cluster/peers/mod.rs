//! Connections to the other nodes.
//!
//! 1. a peer is asked while few enough questions of the kind are under way to it (`room`), and its breaker admits (`peer`);
//! 2. over the least busy of its connections, which is opened when it is needed (`link`);
//! 3. the answer's body is pulled piece by piece, and held against its length (`body`).
//!
//! Invariant: no await on a peer is without a deadline; a peer that keeps failing is left alone for a while; each question is
//! counted once, when it is over. It does not know what is asked.

mod body;
mod dial;
mod fault;
mod link;
mod peer;
mod room;

use super::config::Config;
use super::identity::Identity;
use super::member::{Member, NodeId};
use super::question::{Errand, Refusal};
use crate::base::breaker::{Policy, Verdict};
use crate::base::clock;
use crate::base::metrics::{Metrics, QuestionErrand, QuestionResult};
pub use body::PeerBody;
use dial::Dialer;
use http::{Request, Response};
use parking_lot::RwLock;
use peer::{Peer, Turn};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;

/// Why a peer gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PeerError {
    #[error("the peer can not be reached: {0}; the next is asked")]
    Unreachable(String),
    #[error("the peer did not answer in time; the next is asked")]
    Deadline,
    #[error("too many requests are under way to the peer; the next is asked")]
    Busy,
    #[error("the peer has failed too often and is left alone for a while")]
    BreakerOpen,
    #[error("the peer's answer broke off: {0}")]
    BrokenOff(String),
    #[error("the peer does not answer this: {0}; the next is asked")]
    Refused(Refusal),
}

/// All connections to peers; cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    dialer: Arc<Dialer>,
    limits: Limits,
    metrics: Arc<Metrics>,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
}

#[derive(Clone, Debug)]
struct Limits {
    connections: usize,
    requests_max: usize,
    relays_max: usize,
    relay_margin: Duration,
    first_byte_deadline: Duration,
    read_deadline: Duration,
    breaker: Policy,
}

impl Peers {
    pub fn new(config: &Config, identity: &Identity, metrics: Arc<Metrics>) -> Self {
        Peers(Arc::new(Inner {
            dialer: Arc::new(Dialer::new(config, identity)),
            limits: Limits::new(config),
            metrics,
            peers: RwLock::default(),
        }))
    }

    /// Asks a peer: HTTP/2, with the fields of [`super::question`]. Returns with the header.
    ///
    /// # Errors
    /// When the next is to be asked.
    pub async fn ask(&self, to: &Member, question: Request<()>) -> Result<Response<PeerBody>, PeerError> {
        let errand = Errand::of(question.headers()).ok_or(PeerError::Refused(Refusal::Malformed))?;
        let errand = label(errand);
        let peer = self.peer(to);
        let admitted = Turn::begin(&peer, errand, &self.0.metrics);
        let mut turn = admitted.inspect_err(|error| self.count(errand, error))?;
        let began = clock::monotonic();
        let method = question.method().clone();
        let asked = turn.ask(&self.0.dialer, question.map(|()| Default::default()));
        let answered = match timeout(self.0.limits.first_byte_deadline(errand), asked).await {
            Ok(answered) => answered,
            Err(_) => Err(turn.late()),
        };
        let answer = answered.map_err(|fault| turn.fail(fault))?;
        let seconds = (clock::monotonic() - began).as_secs_f64();
        self.0.metrics.cluster_question_duration[errand].observe(seconds);
        turn.settle(Verdict::Answered);
        if let Some(refusal) = Refusal::of(answer.headers()) {
            turn.end(QuestionResult::Refused);
            return Err(PeerError::Refused(refusal));
        }
        let read_deadline = self.0.limits.read_deadline;
        Ok(PeerBody::follow(answer, &method, turn, read_deadline))
    }

    /// How many questions to a node are under way.
    pub fn in_flight(&self, id: &NodeId) -> usize {
        let peers = self.0.peers.read();
        peers.get(id).map_or(0, |peer| peer.in_flight())
    }

    /// For gRPC, over a connection of its own that is opened when it is needed, and again when it broke. Calls need deadlines
    /// of their own, and count neither as questions nor against the breaker: a call that waits for news may take minutes.
    pub fn channel(&self, to: &Member) -> Channel {
        self.peer(to).channel(&self.0.dialer)
    }

    /// Lets go of all others than these: their connections close when what is under way has ended.
    pub fn keep_only(&self, members: &[Arc<Member>]) {
        let ids: HashSet<&NodeId> = members.iter().map(|member| &member.id).collect();
        self.0.peers.write().retain(|id, _| ids.contains(id));
    }

    /// One that has started anew, or moved, is another.
    fn peer(&self, member: &Member) -> Arc<Peer> {
        if let Some(peer) = self.0.peers.read().get(&member.id)
            && peer.is_of(member)
        {
            return peer.clone();
        }
        let mut peers = self.0.peers.write();
        match peers.get(&member.id) {
            Some(peer) if peer.is_of(member) => peer.clone(),
            _ => {
                let peer = Arc::new(Peer::new(member, &self.0.limits));
                peers.insert(member.id.clone(), peer.clone());
                peer
            }
        }
    }

    fn count(&self, errand: QuestionErrand, error: &PeerError) {
        self.0.metrics.cluster_questions[(errand, error.result())].inc();
    }
}

impl Limits {
    fn first_byte_deadline(&self, errand: QuestionErrand) -> Duration {
        match errand {
            QuestionErrand::Relay => self.first_byte_deadline + self.relay_margin,
            QuestionErrand::Fill | QuestionErrand::Look => self.first_byte_deadline,
        }
    }

    fn new(config: &Config) -> Self {
        Limits {
            connections: config.connections.max(1),
            requests_max: config.requests_max,
            relays_max: config.relays_max.min(relays_max(config)),
            relay_margin: config.relay_margin.get(),
            first_byte_deadline: config.first_byte_deadline.get(),
            read_deadline: config.read_deadline.get(),
            breaker: Policy {
                failures: config.breaker_failures,
                open_for: config.breaker_open_for.get(),
            },
        }
    }
}

/// Of the streams that a peer set up alike allows, so that clients who do not read leave the other half.
fn relays_max(config: &Config) -> usize {
    let streams = usize::try_from(config.streams_max).unwrap_or(usize::MAX);
    (config.connections.saturating_mul(streams) / 2).max(1)
}

impl PeerError {
    fn result(&self) -> QuestionResult {
        match self {
            PeerError::Unreachable(_) => QuestionResult::Unreachable,
            PeerError::Deadline => QuestionResult::Deadline,
            PeerError::Busy => QuestionResult::Busy,
            PeerError::BreakerOpen => QuestionResult::BreakerOpen,
            PeerError::BrokenOff(_) => QuestionResult::BrokenOff,
            PeerError::Refused(_) => QuestionResult::Refused,
        }
    }
}

/// As metrics call it.
pub fn label(errand: Errand) -> QuestionErrand {
    match errand {
        Errand::Relay => QuestionErrand::Relay,
        Errand::Fill => QuestionErrand::Fill,
        Errand::Look => QuestionErrand::Look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_an_owner_hears_that_it_has_waited_too_long_for_another() {
        let limits = Limits::new(&Config::default());
        let [relay, fill] =
            [QuestionErrand::Relay, QuestionErrand::Fill].map(|errand| limits.first_byte_deadline(errand));
        assert!(relay > fill);
    }
}
