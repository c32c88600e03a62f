//! The other nodes as copies need them: whose a key is, and how others are told.
//!
//! Invariant: what is said here serves efficiency alone: whoever receives a copy judges for itself. It does not know what is
//! stored.

use crate::base::units::Span;
use crate::cluster::Cluster;
use crate::cluster::config::Config;
use crate::cluster::member::{Member, NodeId};
use crate::cluster::node_client::{Offered, Parcel, Pushed, TellError};
use crate::cluster::ring::{Candidates, Wanted};
use crate::key::KeyName;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A URL's key, and where nodes that own it are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Home {
    pub(crate) url: KeyName,
    pub(crate) pool: Arc<str>,
}

/// Who owns a key, best first, and whether this node is among them.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    pub(super) own: NodeId,
    /// Who asks the origin, wherever it is.
    pub(super) primary: Option<Arc<Member>>,
    /// In this node's zone.
    pub(super) owners: Vec<Arc<Member>>,
    /// Who would own it without this node.
    pub(super) heirs: Vec<Arc<Member>>,
    /// Whether this node would own it if one of the owners went.
    pub(super) is_next: bool,
}

/// All that copies ask of the cluster. The real one, and the tests'.
#[async_trait]
pub(crate) trait Network: Send + Sync + 'static {
    fn owners(&self, home: &Home) -> Owners;

    async fn offer(&self, to: &Member, entry: Bytes) -> Result<Offered, TellError>;
    async fn push(&self, to: &Member, parcel: Parcel) -> Result<Pushed, TellError>;
    async fn report(&self, to: &Member, hits: &[(KeyName, u64)]) -> Result<(), TellError>;
    async fn invalidate(&self, to: &Member, keys: Vec<String>) -> Result<(), TellError>;
}

/// The cluster this node is in.
pub(crate) struct InCluster {
    cluster: Cluster,
    zone: String,
    replication: usize,
    offer_deadline: Duration,
    push_deadline: Duration,
    report_deadline: Duration,
    invalidate_deadline: Duration,
}

impl InCluster {
    pub(crate) fn new(cluster: Cluster, config: &Config) -> Self {
        let [
            offer_deadline,
            push_deadline,
            report_deadline,
            invalidate_deadline,
        ] = [
            config.offer_deadline,
            config.push_deadline,
            config.report_interval,
            config.invalidate_deadline,
        ]
        .map(Span::get);
        InCluster {
            cluster,
            zone: config.zone.clone(),
            replication: config.replication,
            offer_deadline,
            push_deadline,
            report_deadline,
            invalidate_deadline,
        }
    }
}

#[async_trait]
impl Network for InCluster {
    fn owners(&self, home: &Home) -> Owners {
        let view = self.cluster.view();
        let ring = &view.ring;
        let wanted = Wanted {
            key: home.url,
            pool: &home.pool,
            zone: &self.zone,
        };
        let named = |candidates: Candidates| ring.named(candidates).cloned().collect::<Vec<_>>();
        let next = named(ring.candidates(&wanted).owners(self.replication + 1));
        Owners {
            primary: ring.primary(&wanted).cloned(),
            owners: named(ring.owners(&wanted, self.replication)),
            heirs: named(
                ring.candidates_without(&wanted, &view.own)
                    .owners(self.replication),
            ),
            is_next: next.iter().any(|member| member.id == view.own),
            own: view.own.clone(),
        }
    }

    async fn offer(&self, to: &Member, entry: Bytes) -> Result<Offered, TellError> {
        self.cluster.peers().offer(to, entry, self.offer_deadline).await
    }

    async fn push(&self, to: &Member, parcel: Parcel) -> Result<Pushed, TellError> {
        self.cluster.peers().push(to, parcel, self.push_deadline).await
    }

    async fn report(&self, to: &Member, hits: &[(KeyName, u64)]) -> Result<(), TellError> {
        self.cluster.peers().report(to, hits, self.report_deadline).await
    }

    async fn invalidate(&self, to: &Member, keys: Vec<String>) -> Result<(), TellError> {
        let told = self
            .cluster
            .peers()
            .invalidate(to, keys, self.invalidate_deadline);
        told.await
    }
}

impl Owners {
    /// Whether it is this node that asks the origin.
    pub(super) fn is_primary(&self) -> bool {
        self.primary
            .as_ref()
            .is_some_and(|primary| primary.id == self.own)
    }

    /// Whether this node keeps the key for others.
    pub(super) fn is_own(&self) -> bool {
        self.is_primary() || self.owners.iter().any(|owner| owner.id == self.own)
    }

    /// Owners that are other nodes.
    pub(super) fn others(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.owners.iter().filter(|owner| owner.id != self.own)
    }
}
