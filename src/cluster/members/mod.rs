//! Who is there, by gossip: the only place that knows chitchat.
//!
//! 1. each node says of itself what `told` has; chitchat carries it from node to node, sealed (`seal`, `transport`);
//! 2. whoever knows nobody asks the `seeds`, and all ask them now and then, so that a cluster that fell apart finds together;
//! 3. the `census` makes members of what was heard, and whoever follows [`Members::changes`] hears of each change.
//!
//! Where A hears B and B does not hear A, A has B up, and B has A down: steadily, for B goes on speaking to the dead, and what
//! A hears is new each time. A node that hears nobody is alone by its own view, and up by the others'. Where a third hears
//! both, each hears of the other by it, and both are up though they may not reach each other: that is for the peers' breakers.
//! A link that comes and goes makes a member down, until it has been heard for as long as `census` asks.
//!
//! Chitchat sends what it knows of all nodes in one datagram: up to about 400 nodes fit.
//!
//! Invariant: gossip serves routing alone. What was sealed with the secret is taken for a node's word, within bounds; who has
//! the secret can lie, and be wrong about others, and nothing stale is served for it. It does not know what keys are.

mod census;
mod gossip;
mod rarely;
mod seal;
mod seeds;
mod told;
mod transport;
mod weight;

use super::config::Config;
use super::member::{Generation, Member, NodeId};
use super::secret::{ClusterSecret, SecretError};
use crate::base::clock;
use crate::base::metrics::Metrics;
use gossip::{Command, Gossip};
use seal::Sealer;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

/// Orders to the gossip that wait.
const COMMANDS_MAX: usize = 16;

/// Why there is no gossip.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the cluster has no secret: gossip is not started")]
    NoSecret,
    #[error("the socket for gossip can not be used: {0}")]
    Socket(#[from] io::Error),
    #[error("gossip can not be started: {0}")]
    Gossip(String),
}

/// This node, as the others are to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    pub id: NodeId,
    /// By which others reach its cluster listener, TCP and UDP.
    pub address: SocketAddr,
    pub arrival: Arrival,
    /// Of which it begins.
    pub state: OwnState,
}

/// How a node comes to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Its keys come to it one after the other.
    New,
    /// In the place of a process that hands over to it, which has its keys already.
    TakesOver,
}

/// What a node may say of itself while it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnState {
    Up,
    /// It answers, and is to own nothing any more.
    Draining,
}

/// All that are known, this node too, by id.
pub type Roll = Arc<[Arc<Member>]>;

/// The gossip of this node. Dropping it ends it without a word.
pub struct Members {
    own: Own,
    load: Arc<AtomicU32>,
    commands: mpsc::Sender<Command>,
    roll: watch::Receiver<Roll>,
    settled: watch::Receiver<bool>,
    contested: watch::Receiver<bool>,
    tasks: Vec<AbortHandle>,
}

impl Own {
    /// As the configuration says, for a listener that is bound to `bound`.
    pub fn new(config: &Config, edge_name: &str, bound: SocketAddr) -> Self {
        let mut address = config.advertise.unwrap_or(bound);
        if address.port() == 0 {
            address.set_port(bound.port());
        }
        let id = NodeId::new(config.node.as_deref().unwrap_or(edge_name));
        Own {
            id,
            address,
            arrival: Arrival::New,
            state: OwnState::Up,
        }
    }

    /// The same, in another state at first.
    #[must_use]
    pub fn beginning(self, state: OwnState) -> Self {
        Own { state, ..self }
    }

    /// The same, in the place of another process.
    pub fn taking_over(self) -> Self {
        let arrival = Arrival::TakesOver;
        Own { arrival, ..self }
    }
}

impl Members {
    /// Starts gossip over `socket`, which is bound.
    ///
    /// # Errors
    /// When there is no secret, or the socket can not be used. Seeds that do not answer are none.
    pub async fn start(
        config: &Config,
        own: Own,
        socket: UdpSocket,
        metrics: Arc<Metrics>,
    ) -> Result<Self, MembersError> {
        let secret = ClusterSecret::of(config)?.ok_or(MembersError::NoSecret)?;
        Self::start_sealed(config, own, socket, Sealer::new(&secret), metrics).await
    }

    async fn start_sealed(
        config: &Config,
        own: Own,
        socket: UdpSocket,
        sealer: Sealer,
        metrics: Arc<Metrics>,
    ) -> Result<Self, MembersError> {
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let generation = Generation(clock::now().as_millis());
        let load = Arc::new(AtomicU32::new(0));
        let (commands, ordered) = mpsc::channel(COMMANDS_MAX);
        let (roll_sender, roll) = watch::channel(Roll::from([]));
        let (settled_sender, settled) = watch::channel(false);
        let transport = transport::Sealed::new(socket, sealer, metrics.clone());
        let gossip = Gossip::start(config, &own, generation, &transport, load.clone(), metrics).await?;
        let contested = gossip.contested();
        let tasks = gossip.spawn(config, ordered, roll_sender, settled_sender);
        let mut first = roll.clone();
        // Until this node itself is on it.
        first.wait_for(|roll| !roll.is_empty()).await.ok();
        Ok(Members {
            own,
            load,
            commands,
            roll,
            settled,
            contested,
            tasks,
        })
    }

    pub fn own(&self) -> &Own {
        &self.own
    }

    /// As of now.
    pub fn roll(&self) -> Roll {
        self.roll.borrow().clone()
    }

    pub fn changes(&self) -> watch::Receiver<Roll> {
        self.roll.clone()
    }

    /// Whether another process has this node's id.
    pub fn contested(&self) -> watch::Receiver<bool> {
        self.contested.clone()
    }

    /// Requests under way here; the others hear of it when it has changed by much.
    pub fn set_load(&self, load: u32) {
        self.load.store(load, Ordering::Relaxed);
    }

    /// Returns once the others can hear of it.
    pub async fn set_state(&self, state: OwnState) {
        self.order(|done| Command::Say(state.into(), done)).await;
    }

    /// Says that this node goes, to all at once, and ends gossip.
    pub async fn leave(&self) {
        self.order(Command::Leave).await;
    }

    /// Ends gossip without a word: another process takes this one's place, under the same id.
    pub async fn hand_over(&self) {
        self.order(Command::End).await;
    }

    /// Returns once somebody else was found, or nobody for a while.
    pub async fn settled(&self) {
        // It ends too when gossip does.
        self.settled.clone().wait_for(|settled| *settled).await.ok();
    }

    /// Returns when gossip has ended.
    pub async fn ended(&self) {
        let mut roll = self.roll.clone();
        while roll.changed().await.is_ok() {}
    }

    /// Returns when it is done, or gossip has ended.
    async fn order(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(command(done)).await.is_ok() {
            is_done.await.ok();
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests;
