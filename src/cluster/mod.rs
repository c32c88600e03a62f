//! The other nodes: who they are, which of them owns a key, and how they are asked.
//!
//! 1. gossip tells who is there, where, and how busy ([`members`]): a [`view::View`] at each moment;
//! 2. a key's owners are the members that rendezvous hashing names ([`ring`]);
//! 3. they are asked over pooled HTTP/2 ([`peers`], [`question`]).
//!
//! Invariant: all of it serves routing, and being wrong costs only efficiency: what may be served is decided by who serves, by
//! the log of purges alone.

pub mod config;
pub mod hot;
pub mod identity;
pub mod load;
pub mod member;
pub mod members;
pub mod node_client;
pub mod peers;
pub mod question;
pub mod ring;
pub mod secret;
pub mod view;

use crate::base::metrics::Metrics;
use arc_swap::ArcSwap;
use config::Config;
use member::{Member, State};
use members::{Arrival, Members, MembersError, Own, OwnState, Roll};
use peers::Peers;
use std::net::UdpSocket;
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use view::View;

/// A cheap handle to the cluster, as this node sees it.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    view: ArcSwap<View>,
    peers: Peers,
    own: Own,
    /// Of the view in place.
    version: watch::Sender<u64>,
    /// `None`: the view is fixed.
    members: Option<Members>,
}

impl Cluster {
    /// Starts gossip over `socket`, which is bound to the cluster listener's address. Returns once others were found, or
    /// nobody for a few rounds of gossip.
    ///
    /// # Errors
    /// When gossip can not be started; that nobody is found is none.
    pub async fn start(
        config: &Config,
        own: Own,
        socket: UdpSocket,
        peers: Peers,
        metrics: Arc<Metrics>,
    ) -> Result<Self, MembersError> {
        let members = Members::start(config, own.clone(), socket, metrics.clone()).await?;
        let mut changes = members.changes();
        let view = View::new(1, own.id.clone(), &changes.borrow_and_update());
        let cluster = Cluster(Arc::new(Inner {
            view: ArcSwap::from_pointee(view),
            peers,
            own,
            version: watch::Sender::new(1),
            members: Some(members),
        }));
        tokio::spawn(follow(Arc::downgrade(&cluster.0), changes, metrics));
        if let Some(members) = &cluster.0.members {
            members.settled().await;
        }
        Ok(cluster)
    }

    /// One whose view never changes, without a network.
    pub fn fixed(view: View, peers: Peers) -> Self {
        let own = view.member(&view.own).map(|member| member.address);
        let own = Own {
            id: view.own.clone(),
            address: own.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            arrival: Arrival::New,
            state: OwnState::Up,
        };
        Cluster(Arc::new(Inner {
            version: watch::Sender::new(view.version),
            view: ArcSwap::from_pointee(view),
            peers,
            own,
            members: None,
        }))
    }

    /// As of now.
    pub fn view(&self) -> Arc<View> {
        self.0.view.load_full()
    }

    /// The version of the view, each time another is in place.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Whether another process has this node's id; of a view that never changes, never.
    pub fn contested(&self) -> watch::Receiver<bool> {
        match &self.0.members {
            Some(members) => members.contested(),
            None => watch::Sender::new(false).subscribe(),
        }
    }

    pub fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub fn own(&self) -> &Own {
        &self.0.own
    }

    /// Requests under way here, to be told to the others.
    pub fn set_load(&self, load: u32) {
        if let Some(members) = &self.0.members {
            members.set_load(load);
        }
    }

    /// From here on this node is to own nothing.
    pub async fn drain(&self) {
        if let Some(members) = &self.0.members {
            members.set_state(OwnState::Draining).await;
        }
    }

    /// Takes part again after it has drained.
    pub async fn resume(&self) {
        if let Some(members) = &self.0.members {
            members.set_state(OwnState::Up).await;
        }
    }

    /// Tells all others at once that this node goes.
    pub async fn leave(&self) {
        if let Some(members) = &self.0.members {
            members.leave().await;
        }
    }

    /// Ends gossip without a word: another process takes this one's place.
    pub async fn hand_over(&self) {
        if let Some(members) = &self.0.members {
            members.hand_over().await;
        }
    }

    /// Returns when gossip has ended; never where there is none.
    pub async fn ended(&self) {
        match &self.0.members {
            Some(members) => members.ended().await,
            None => std::future::pending().await,
        }
    }
}

/// Puts a new view in place with each change of the members, for as long as there is a cluster.
async fn follow(cluster: Weak<Inner>, mut roll: watch::Receiver<Roll>, metrics: Arc<Metrics>) {
    while roll.changed().await.is_ok() {
        let Some(cluster) = cluster.upgrade() else { return };
        let before = cluster.view.load_full();
        let members = roll.borrow_and_update().clone();
        let view = View::after(&before, &members);
        if !own_the_same(before.ring.members(), view.ring.members()) {
            metrics.cluster_ring_changes.inc();
        }
        cluster.view.store(Arc::new(view));
        let is_here = |member: &&Arc<Member>| member.state != State::Left;
        let here: Vec<_> = members.iter().filter(is_here).cloned().collect();
        cluster.peers.keep_only(&here);
        cluster.version.send_modify(|version| *version += 1);
    }
}

/// Whether two rings name the same owners for all keys.
fn own_the_same(one: &[Arc<Member>], other: &[Arc<Member>]) -> bool {
    let places = |members: &[Arc<Member>]| {
        let place = |member: &Arc<Member>| {
            let Member {
                id,
                zone,
                pool,
                weight,
                ..
            } = &**member;
            (id.clone(), zone.clone(), pool.clone(), *weight)
        };
        members.iter().map(place).collect::<Vec<_>>()
    };
    places(one) == places(other)
}
