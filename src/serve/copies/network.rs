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
    /// Who would own it without this node, and who would ask the origin, wherever it is.
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
        let mut heirs = named(
            ring.candidates_without(&wanted, &view.own)
                .owners(self.replication),
        );
        // A miss in any zone comes to it first.
        let primary_next = ring.named(ring.fill_order_without(&wanted, &view.own)).next();
        let is_missing = |next: &&Arc<Member>| heirs.iter().all(|heir| heir.id != next.id);
        heirs.extend(primary_next.filter(is_missing).cloned());
        Owners {
            primary: ring.primary(&wanted).cloned(),
            owners: named(ring.owners(&wanted, self.replication)),
            heirs,
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

#[cfg(test)]
mod tests {
    use super::super::scripted::member;
    use super::*;
    use crate::base::metrics::Metrics;
    use crate::base::secret::Secret;
    use crate::cluster::identity::Identity;
    use crate::cluster::peers::Peers;
    use crate::cluster::view::View;

    const SECRET: &str = "aqc_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    /// Six nodes in three zones.
    fn members() -> Vec<Arc<Member>> {
        let place = |number: usize| {
            let member = Member::clone(&member(&format!("node-{number}")));
            let zone = ["a", "b", "c"][number % 3].into();
            Arc::new(Member { zone, ..member })
        };
        (0..6).map(place).collect()
    }

    /// What `own` sees while these are there.
    fn network(own: &Member, members: &[Arc<Member>], replication: usize) -> InCluster {
        let config = Config {
            secret: Some(Secret::new(SECRET.into())),
            zone: own.zone.to_string(),
            replication,
            ..Config::default()
        };
        let identity = Identity::open(&config, &own.id).unwrap();
        let peers = Peers::new(&config, &identity, Arc::new(Metrics::new()));
        let view = View::new(1, own.id.clone(), members);
        InCluster::new(Cluster::fixed(view, peers), &config)
    }

    #[tokio::test]
    async fn who_asks_the_origin_next_is_an_heir_in_whatever_zone_and_takes_what_it_is_offered() {
        let members = members();
        let homes: Vec<_> = (0..100)
            .map(|number| Home {
                url: KeyName::of(&number.to_string()),
                pool: "default".into(),
            })
            .collect();
        for replication in [1, 2] {
            let before: Vec<_> = members
                .iter()
                .map(|member| network(member, &members, replication))
                .collect();
            for (leaving, seen) in members.iter().zip(&before) {
                let rest = members.iter().filter(|member| member.id != leaving.id);
                let rest: Vec<_> = rest.cloned().collect();
                let after = network(&rest[0], &rest, replication);
                for home in &homes {
                    let next = after.owners(home).primary.unwrap();
                    let heirs = seen.owners(home).heirs;
                    let found = heirs.iter().filter(|heir| heir.id == next.id).count();
                    assert_eq!(found, 1, "{heirs:?} without {}", next.id);
                    let at = members.iter().position(|member| member.id == next.id).unwrap();
                    let receiver = before[at].owners(home);
                    assert!(receiver.is_own() || receiver.is_next, "{}", next.id);
                }
            }
        }
    }
}
