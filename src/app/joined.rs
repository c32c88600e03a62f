//! This node's place in its cluster: taken before it serves, given up before it goes.
//!
//! Invariant: a node owns keys only while it serves. It does not know what the others do with what it tells.

use super::AppError;
use super::prepared::Prepared;
use crate::base::metrics::Metrics;
use crate::cluster::Cluster;
use crate::cluster::config::Config;
use crate::cluster::member::NodeId;
use crate::cluster::members::{Own, OwnState};
use crate::cluster::peers::Peers;
use crate::edge::peers::log_client::RemoteVoter;
use crate::purge;
use crate::purge::follow::Settings;
use crate::purge::log::{LogError, Place};
use crate::purge::{Contested, Following, Purges};
use crate::serve::copies::{Copies, InCluster};
use crate::store::Store;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// How often the others are told how much is under way here.
const LOAD_INTERVAL: Duration = Duration::from_millis(250);

/// How often a node that is to own keys looks whether it may serve what it stores.
const LEASE_INTERVAL: Duration = Duration::from_millis(20);

/// A node's part in a cluster.
#[derive(Clone)]
pub(super) struct Joined {
    pub(super) cluster: Cluster,
    pub(super) config: Config,
}

impl Joined {
    /// Becomes a member that owns nothing yet; `None` where the node is alone.
    pub(super) async fn join(
        config: &crate::config::Config,
        prepared: &Prepared,
        takes_over: bool,
        metrics: &Arc<Metrics>,
    ) -> Result<Option<Joined>, AppError> {
        let (Some(sockets), Some(identity)) = (&prepared.sockets.cluster, &prepared.identity) else {
            return Ok(None);
        };
        let own = Own::new(&config.cluster, &config.edge.name, sockets.address).beginning(OwnState::Draining);
        let own = if takes_over { own.taking_over() } else { own };
        let peers = Peers::new(&config.cluster, identity, metrics.clone());
        let gossip = sockets.gossip.try_clone()?;
        let cluster = Cluster::start(&config.cluster, own, gossip, peers, metrics.clone()).await?;
        Ok(Some(Joined {
            cluster,
            config: config.cluster.clone(),
        }))
    }

    /// The cluster's one log: kept here, or followed.
    pub(super) async fn open_purges(
        &self,
        config: &purge::config::Config,
        place: Option<Place>,
        cache: Option<&Path>,
        metrics: &Arc<Metrics>,
    ) -> Result<Purges, LogError> {
        let own = self.cluster.own().id.as_str();
        let lease = self.config.lease.get();
        match self.config.voters.first() {
            Some(voter) if !self.config.is_voter(own) => {
                let (cluster, voter) = (self.cluster.clone(), NodeId::new(voter));
                let voter = Arc::new(RemoteVoter::new(
                    cluster,
                    voter,
                    self.config.log_message_bytes_max,
                ));
                let settings = Settings {
                    lease,
                    cache: cache.map(Path::to_owned),
                };
                Purges::follow(config, settings, own, voter, None, metrics.clone()).await
            }
            _ => Purges::keep(config, place, own, Following::Others(lease), metrics.clone()).await,
        }
    }

    pub(super) fn copies(&self, store: &Store, purges: &Purges, metrics: &Arc<Metrics>) -> Copies {
        let network = Arc::new(InCluster::new(self.cluster.clone(), &self.config));
        Copies::start(
            &self.config,
            network,
            store.clone(),
            purges.clone(),
            metrics.clone(),
        )
    }

    /// Tells the log of purges whether this node's name is its alone, for as long as there is gossip.
    pub(super) fn watch_name(&self, purges: Purges) {
        let mut contested = self.cluster.contested();
        tokio::spawn(async move {
            loop {
                purges.contest(match *contested.borrow_and_update() {
                    true => Contested::Yes,
                    false => Contested::No,
                });
                if contested.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// From its first lease on it owns keys, and the others hear how much it has to do.
    pub(super) fn serve(&self, requests: TaskTracker, purges: Purges) {
        let cluster = self.cluster.clone();
        tokio::spawn(async move {
            while !purges.may_serve() {
                tokio::time::sleep(LEASE_INTERVAL).await;
            }
            cluster.resume().await;
            loop {
                cluster.set_load(u32::try_from(requests.len()).unwrap_or(u32::MAX));
                tokio::time::sleep(LOAD_INTERVAL).await;
            }
        });
    }
}

/// What the end of serving and the admin API need of it.
pub(super) struct Membership {
    pub(super) joined: Joined,
    pub(super) deadline: Duration,
}
