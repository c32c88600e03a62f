//! The other nodes, as the path of a request asks them: whose a key is, who answers in this node's place, who is asked in the
//! origin's.
//!
//! 1. a client's request for what others own is relayed to one of its owners, whole (`relay`); without a lease every one is;
//! 2. whoever serves a key without having it asks the key's primary in the origin's place (`fill`);
//! 3. nobody passes on what another node has passed on: a relay's miss is a fill, and a fill asks the origin.
//!
//! Invariant: an answer of another node is one of the same key, and of a node that has applied every purge known here when it
//! was asked. When none can answer, the request is served as if there were none. It does not know how questions travel.

mod fill;
mod relay;

use super::AskedBy;
use super::route::Route;
use super::trip::Trip;
use crate::base::clock;
use crate::base::metrics::ForwardResult;
use crate::cluster::Cluster;
use crate::cluster::config::Config;
use crate::cluster::load::{Bound, Draws};
use crate::cluster::member::Member;
use crate::cluster::peers::PeerError;
use crate::cluster::question::{self, Errand, LogPosition};
use crate::cluster::ring::{Candidates, Wanted};
use crate::cluster::view::View;
use crate::key::{CacheKey, KeyName};
use crate::purge::Purges;
use http::HeaderMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Draws are no secret, and differ by what has been drawn before.
const DRAWS_SEED: u64 = 1;

/// So many times the time in which it comes to its full weight a node asks who had its keys before.
const SETTLING: u32 = 3;

/// The cluster, for the path of a request.
pub(crate) struct Neighbours {
    cluster: Cluster,
    purges: Purges,
    zone: String,
    look_deadline: Duration,
    /// Nodes that are asked for one thing before this one serves by itself.
    asked_max: usize,
    bound: Bound,
    draws: Draws,
    /// Until then it may not have yet what it owns.
    settled_at: Instant,
}

/// Whom a fill asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Origin,
    /// The origin, once the owner of before has been asked for what it has.
    OwnerBefore,
    /// The key's primary.
    Primary,
}

/// Whether this node may serve what it has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    Held,
    Lapsed,
}

impl Lease {
    pub(super) fn of(purges: &Purges) -> Self {
        match purges.may_serve() {
            true => Lease::Held,
            false => Lease::Lapsed,
        }
    }
}

/// The nodes that may answer in this one's place.
struct Elsewhere {
    view: Arc<View>,
    owners: Candidates,
    /// Positions in the ring.
    order: Vec<u16>,
}

impl Elsewhere {
    fn result(&self, position: u16) -> ForwardResult {
        match self.owners.contains(position) {
            true => ForwardResult::Relayed,
            false => ForwardResult::Spilled,
        }
    }
}

impl Neighbours {
    pub(crate) fn new(cluster: Cluster, purges: Purges, config: &Config) -> Self {
        Neighbours {
            cluster,
            purges,
            zone: config.zone.clone(),
            look_deadline: config.look_deadline.get(),
            asked_max: config.asked_max,
            bound: Bound::new(config),
            draws: Draws::new(DRAWS_SEED),
            settled_at: clock::monotonic() + config.ramp.get() * SETTLING,
        }
    }

    /// Whom a flight for `key` is to ask that a request of `asked_by` begins.
    pub(super) fn asks(&self, key: &CacheKey, route: &Route, asked_by: AskedBy) -> Asks {
        let view = self.cluster.view();
        let primary = view.ring.primary(&self.wanted(key, route));
        let errand = match asked_by {
            AskedBy::Client => None,
            AskedBy::Peer { errand, .. } => Some(errand),
        };
        match (errand, primary) {
            (Some(Errand::Look), _) => Asks::Origin,
            (None | Some(Errand::Relay), Some(primary)) if primary.id != view.own => Asks::Primary,
            _ if clock::monotonic() < self.settled_at => Asks::OwnerBefore,
            _ => Asks::Origin,
        }
    }

    /// Who may be asked for `key`, in order, before the origin is. Who comes after this node in the ranking takes it for
    /// the primary.
    fn in_the_origins_place(&self, key: &CacheKey, route: &Route, asks: Asks) -> Vec<Arc<Member>> {
        let view = self.cluster.view();
        let wanted = self.wanted(key, route);
        let (ranked, count) = match asks {
            Asks::Origin => return Vec::new(),
            Asks::OwnerBefore => (view.ring.fill_order_without(&wanted, &view.own), 1),
            Asks::Primary => (view.ring.fill_order(&wanted), self.asked_max),
        };
        let others = view.ring.named(ranked).take_while(|member| member.id != view.own);
        others.take(count).cloned().collect()
    }

    /// Who is asked in this node's place, in order; `None` where it is an owner itself, or there is none.
    fn elsewhere(&self, trip: &Trip<'_>, lease: Lease) -> Option<Elsewhere> {
        let view = self.cluster.view();
        let wanted = self.wanted(&trip.target.key, trip.route);
        let here = view.ring.position(&view.own);
        let owners = view.ring.owners(&wanted, self.bound.replication);
        let order: Vec<u16> = match lease {
            Lease::Held if here.is_some_and(|here| owners.contains(here)) => return None,
            Lease::Held => {
                let draw = self.draws.draw();
                let choice = self.bound.choose(&view.ring, &view.loads, &wanted, draw);
                let before = choice.order.iter().take_while(|position| Some(*position) != here);
                before.take(self.asked_max).collect()
            }
            // What it owns it may not serve either, and whoever has a lease answers rightly.
            Lease::Lapsed => {
                let all = view.ring.candidates(&wanted);
                let others = all.iter().filter(|position| Some(*position) != here);
                others.take(self.asked_max).collect()
            }
        };
        (!order.is_empty()).then_some(Elsewhere { view, owners, order })
    }

    fn owns(&self, key: &CacheKey, route: &Route) -> bool {
        let view = self.cluster.view();
        let owners = view.ring.owners(&self.wanted(key, route), self.bound.replication);
        let here = view.ring.position(&view.own);
        here.is_some_and(|here| owners.contains(here))
    }

    /// Who is to store what a program hands in, so that whoever misses finds it; `None` where this node is.
    pub(super) fn keeper_elsewhere(&self, key: &CacheKey, route: &Route) -> Option<(Cluster, Arc<Member>)> {
        let view = self.cluster.view();
        let primary = view.ring.primary(&self.wanted(key, route))?;
        (primary.id != view.own).then(|| (self.cluster.clone(), primary.clone()))
    }

    fn wanted<'a>(&'a self, key: &CacheKey, route: &'a Route) -> Wanted<'a> {
        Wanted {
            key: key.name(),
            pool: &route.pool,
            zone: &self.zone,
        }
    }

    /// What only nodes say to each other.
    fn address(&self, headers: &mut HeaderMap, errand: Errand, client: IpAddr, key: KeyName) {
        question::strip(headers);
        let position = LogPosition {
            incarnation: self.purges.incarnation(),
            applied: self.purges.applied(),
        };
        question::Fields {
            errand,
            position,
            client,
            key,
        }
        .write(headers);
    }

    fn tell(&self, member: &Member, error: &PeerError) {
        tracing::debug!(peer = member.id.as_str(), %error, "a peer gave no answer");
    }
}
