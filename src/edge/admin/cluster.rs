//! `/api/v1/cluster`: the members as this node sees them, who owns a URL's source, and this node's own part in it.
//!
//! Invariant: what is told is one view of the cluster, the one that requests are routed by at that moment. It does not know how
//! members are found, nor what is handed over when a node drains.

use super::Admin;
use super::asked::{Asked, Purpose, Written};
use super::query::{Query, wrong};
use super::refusal::Refusal;
use crate::base::clock;
use crate::base::digest::Hex;
use crate::cluster::Cluster;
use crate::cluster::config::{Config, Role};
use crate::cluster::member::{Member, State};
use crate::cluster::ring::Wanted;
use crate::cluster::view::View;
use crate::serve::placing::Whereabouts;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A node's part in a cluster.
pub(crate) struct Nodes {
    pub(crate) cluster: Cluster,
    pub(crate) config: Config,
    /// How long what is hot may take to be handed over.
    pub(crate) hand_over_deadline: Duration,
}

/// The body of a drain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drain {
    drain: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Drain { drain: true }
    }
}

/// The cluster, as one node sees it.
#[derive(Debug, Serialize)]
pub(super) struct ClusterTold {
    node: String,
    /// Of this node's view; other nodes count their own.
    view: u64,
    replication: usize,
    voters: Vec<String>,
    /// Whether this node may serve what it has stored.
    lease_held: bool,
    members: Vec<MemberTold>,
}

#[derive(Debug, Serialize)]
struct MemberTold {
    node: String,
    state: &'static str,
    address: SocketAddr,
    zone: String,
    pool: String,
    roles: Vec<Role>,
    weight: u32,
    load: u32,
    /// Of the keys of its pool, those whose primary it is; from 0 to 1.
    share: f64,
    /// Of the keys of its pool, those of which it is the first owner for requests to its zone.
    share_in_zone: f64,
    version: String,
    generation: u64,
}

/// Who owns a source.
#[derive(Debug, Serialize)]
pub(super) struct OwnerTold {
    url: String,
    node: String,
    route: String,
    pool: String,
    key: String,
    key_name: String,
    /// Who asks the origin, whoever has the miss; `None`: nobody owns keys.
    primary: Option<String>,
    /// Whether this node would serve a client's request for it itself.
    served_here: bool,
    /// Best first.
    candidates: Vec<CandidateTold>,
}

#[derive(Debug, Serialize)]
struct CandidateTold {
    node: String,
    address: SocketAddr,
    zone: String,
    load: u32,
    /// One that is none is asked when the owners fail or are busy.
    owner: bool,
    /// Whom a miss asks in the origin's place.
    primary: bool,
}

/// What this node does from now on.
#[derive(Debug, Serialize)]
pub(super) struct DrainTold {
    node: String,
    draining: bool,
    /// `false`: it did so before.
    changed: bool,
}

impl Admin {
    pub(super) fn cluster(&self) -> Result<ClusterTold, Refusal> {
        let nodes = self.nodes()?;
        self.observe();
        let view = nodes.cluster.view();
        Ok(ClusterTold {
            lease_held: self.metrics.purge_lease_held.get() == 1,
            ..ClusterTold::of(&view, &nodes.config)
        })
    }

    /// `peer` is who asks.
    pub(super) fn owner(&self, query: Option<&str>, peer: IpAddr) -> Result<OwnerTold, Refusal> {
        let nodes = self.nodes()?;
        let query = Query::read(query, Some(&["url"]))?;
        let url = query.get("url");
        let url = url.ok_or_else(|| {
            wrong(
                "url",
                "it is needed, as a client would ask for an image".to_owned(),
            )
        })?;
        let written = Written::of_url(url);
        let asked: Asked = written.understand(Purpose::Explain, peer, clock::now())?;
        let settings = self.settings.load_full();
        let request = asked.admit(&settings.guard)?;
        let placed = self.engine.whereabouts(&request).map_err(Refusal::Serve)?;
        Ok(OwnerTold::of(
            &nodes.cluster.view(),
            nodes.config.replication,
            &placed,
        ))
    }

    /// What is hot is handed over behind.
    pub(super) async fn drain(&self, drain: &Drain) -> Result<DrainTold, Refusal> {
        let nodes = self.nodes()?;
        let view = nodes.cluster.view();
        let was_draining = own(&view).is_some_and(|member| member.state == State::Draining);
        match drain.drain {
            true => {
                nodes.cluster.drain().await;
                if !was_draining {
                    self.engine.begin_hand_over(nodes.hand_over_deadline);
                }
            }
            false => {
                self.engine.copies().end_hand_over();
                nodes.cluster.resume().await;
            }
        }
        tracing::info!(draining = drain.drain, "this node was told whether to own keys");
        Ok(DrainTold {
            node: view.own.to_string(),
            draining: drain.drain,
            changed: was_draining != drain.drain,
        })
    }

    fn nodes(&self) -> Result<&Nodes, Refusal> {
        self.nodes.as_ref().ok_or(Refusal::Alone)
    }
}

fn own(view: &View) -> Option<&Arc<Member>> {
    view.members.iter().find(|member| member.id == view.own)
}

impl ClusterTold {
    fn of(view: &View, config: &Config) -> Self {
        ClusterTold {
            node: view.own.to_string(),
            view: view.version,
            replication: config.replication,
            voters: config.voters.clone(),
            lease_held: false,
            members: view
                .members
                .iter()
                .map(|member| MemberTold::of(member, view))
                .collect(),
        }
    }
}

impl MemberTold {
    fn of(member: &Member, view: &View) -> Self {
        let share = view.ring.share(&member.id).filter(|_| member.owns());
        MemberTold {
            node: member.id.to_string(),
            state: state_name(member.state),
            address: member.address,
            zone: member.zone.to_string(),
            pool: member.pool.to_string(),
            roles: member.roles.iter().copied().collect(),
            weight: member.weight,
            load: member.load,
            share: share.map_or(0.0, |share| share.primary),
            share_in_zone: share.map_or(0.0, |share| share.in_zone),
            version: member.version.to_string(),
            generation: member.generation.0,
        }
    }
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Draining => "draining",
        State::Down => "down",
        State::Left => "left",
    }
}

impl OwnerTold {
    fn of(view: &View, replication: usize, placed: &Whereabouts) -> Self {
        let zone = own(view).map(|member| member.zone.clone()).unwrap_or_default();
        let wanted = Wanted {
            key: placed.key.name(),
            pool: &placed.pool,
            zone: &zone,
        };
        let (ring, candidates) = (&view.ring, view.ring.candidates(&wanted));
        let (owners, primary) = (ring.owners(&wanted, replication), ring.primary(&wanted));
        let is_owner = |member: &Member| ring.named(owners).any(|owner| owner.id == member.id);
        let own = own(view);
        let told = ring.named(candidates).map(|member| CandidateTold {
            owner: is_owner(member),
            primary: primary.is_some_and(|primary| primary.id == member.id),
            ..CandidateTold::of(member)
        });
        OwnerTold {
            url: placed.key.url().to_owned(),
            node: view.own.to_string(),
            route: placed.route.clone(),
            pool: placed.pool.clone(),
            key: placed.key.text().to_owned(),
            key_name: Hex(placed.key.name().as_bytes()).to_string(),
            primary: primary.map(|member| member.id.to_string()),
            served_here: primary.is_none() || own.is_some_and(|own| is_owner(own)),
            candidates: told.collect(),
        }
    }
}

impl CandidateTold {
    fn of(member: &Member) -> Self {
        CandidateTold {
            node: member.id.to_string(),
            address: member.address,
            zone: member.zone.to_string(),
            load: member.load,
            owner: false,
            primary: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::member::{Generation, NodeId};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;

    fn member(id: &str, pool: &str, weight: u32, state: State) -> Arc<Member> {
        Arc::new(Member {
            id: NodeId::new(id),
            generation: Generation(7),
            address: ([192, 0, 2, 1], 7946).into(),
            zone: "a".into(),
            pool: pool.into(),
            weight,
            roles: BTreeSet::from([Role::Edge, Role::Cache]),
            state,
            load: 3,
            version: "0.1.0".into(),
        })
    }

    fn view(members: Vec<Arc<Member>>) -> View {
        View::new(5, NodeId::new("edge-1"), &members)
    }

    #[test]
    fn members_are_told_with_their_share_and_those_that_own_nothing_have_none() {
        let view = view(vec![
            member("edge-1", "default", 300, State::Up),
            member("edge-2", "default", 100, State::Up),
            member("edge-3", "default", 100, State::Draining),
            member("other-1", "other", 50, State::Up),
        ]);
        let config = Config {
            voters: vec!["edge-1".into()],
            ..Config::default()
        };
        let told = serde_json::to_value(ClusterTold::of(&view, &config)).unwrap();
        let shares: Vec<_> = told["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["share"].clone())
            .collect();
        assert_eq!(shares, [json!(0.75), json!(0.25), json!(0.0), json!(1.0)]);
        let third = &told["members"][2];
        assert_eq!(
            (&third["state"], &third["roles"]),
            (&json!("draining"), &json!(["edge", "cache"]))
        );
        assert_eq!((&told["view"], &told["voters"]), (&json!(5), &json!(["edge-1"])));
    }

    fn placed() -> Whereabouts {
        let url = crate::key::RequestUrl {
            scheme: crate::key::Scheme::Http,
            host: "shop.example",
            path: "/a.jpg",
            query: None,
        };
        Whereabouts {
            key: crate::key::target(&url, &Default::default()).unwrap().key,
            route: "*/".into(),
            pool: "default".into(),
        }
    }

    #[test]
    fn candidates_are_told_with_the_owners_among_them_and_one_primary() {
        let nodes = ["edge-1", "edge-2", "edge-3"];
        let view = view(nodes.map(|id| member(id, "default", 100, State::Up)).into());
        let told = OwnerTold::of(&view, 2, &placed());
        let parts: Vec<_> = told.candidates.iter().map(|c| (c.owner, c.primary)).collect();
        assert_eq!(parts, [(true, true), (true, false), (false, false)]);
        assert_eq!(told.primary.as_deref(), Some(told.candidates[0].node.as_str()));
        assert_eq!(told.served_here, told.candidates[2].node != "edge-1");
    }

    #[test]
    fn without_owners_a_node_serves_by_itself() {
        let told = OwnerTold::of(&view(Vec::new()), 2, &placed());
        assert!(told.served_here && told.candidates.is_empty());
        assert_eq!(serde_json::to_value(told).unwrap()["primary"], Value::Null);
    }

    #[test]
    fn an_order_without_words_drains() {
        let drain = |text| serde_json::from_str::<Drain>(text).map(|drain| drain.drain);
        assert!(drain("{}").unwrap() && drain(r#"{"drain": true}"#).unwrap());
        assert!(!drain(r#"{"drain": false}"#).unwrap());
        assert!(drain(r#"{"drian": false}"#).is_err());
    }
}
