//! Which nodes own a key: weighted rendezvous hashing.
//!
//! Invariant: pure; nodes that know the same members name the same owners, in the same order, whatever their architecture or
//! release. A node that comes, goes or changes its weight moves keys to or from itself alone. It does not know who is busy.
//!
//! # Two rankings
//! - [`Ring::candidates`], for who has a client's request: nodes of its own zone first, then the others. All requesters of a
//!   zone have the same, so that a key has its owners in each zone that has nodes, and requests stay within the zone.
//! - [`Ring::fill_order`], for who has a miss: all zones' nodes in one ranking. Its first is the key's *primary*, the same for
//!   everybody, through whom all zones' owners fill: the origin is asked once. It is the first candidate of its own zone, too.
//!
//! # Pools
//! A route may name a pool, and then only nodes of that pool are ranked. Where nobody of it is there, all are: a request is
//! answered from a cache of the wrong pool rather than by the origin each time.

mod score;

use super::config::REPLICATION_MAX;
use super::member::{Member, NodeId};
use crate::key::KeyName;
use rendezvous_hash::{Node, NodeHasher};
pub(super) use score::mix;
use score::{FixedHasher, Score, Seed};
use std::array::IntoIter;
use std::borrow::Borrow;
use std::cmp::Reverse;
use std::hash::Hash;
use std::iter::Take;
use std::sync::Arc;

/// Candidates that are named for one key: its owners, and who is asked when they fail or are busy.
pub const CANDIDATES_MAX: usize = REPLICATION_MAX + 2;

/// Positions are of 16 bits, and the last says "none".
const MEMBERS_MAX: usize = u16::MAX as usize;

/// The members that own keys.
pub struct Ring {
    /// By id: of equal scores the first wins.
    members: Vec<Arc<Member>>,
    /// By position.
    places: Vec<Place>,
    /// Each with its own, by position.
    pools: Vec<(Arc<str>, Vec<Place>)>,
    zones: Vec<Arc<str>>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub key: KeyName,
    /// Of the route; "default" where it names none.
    pub pool: &'a str,
    /// Of who asks.
    pub zone: &'a str,
}

/// The best nodes for a key, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Positions in the ring's members.
    positions: [u16; CANDIDATES_MAX],
    len: u8,
    /// So many of the first are of the requester's zone; all, where none is.
    near: u8,
}

/// What is expected of a member, as a share from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Of the keys of its pool: those whose primary it is.
    pub primary: f64,
    /// Of the keys of its pool, for requesters of its zone: those whose first owner it is.
    pub in_zone: f64,
}

/// All that a look-up has to read of a member.
#[derive(Clone, Copy, Debug)]
struct Place {
    seed: Seed,
    weight: u32,
    zone: u16,
    position: u16,
}

impl Node for Place {
    type NodeId = Seed;
    type HashCode = Reverse<Score>;

    fn node_id(&self) -> &Seed {
        &self.seed
    }

    fn hash_code<H: NodeHasher<Seed>, U: Hash>(&self, hasher: &H, item: &U) -> Reverse<Score> {
        Reverse(Score::new(hasher.hash(&self.seed, item), self.weight))
    }
}

impl Ring {
    /// Of those among the members that own keys.
    pub fn new(mut members: Vec<Arc<Member>>) -> Self {
        members.retain(|member| member.owns());
        members.sort_by(|a, b| (&a.id, Reverse(a.generation)).cmp(&(&b.id, Reverse(b.generation))));
        members.dedup_by(|later, kept| later.id == kept.id);
        members.truncate(MEMBERS_MAX);
        let mut ring = Ring {
            places: Vec::with_capacity(members.len()),
            pools: Vec::new(),
            zones: Vec::new(),
            members,
        };
        for (position, member) in (0..).zip(&ring.members) {
            let place = Place {
                seed: Seed::of_node(member.id.as_str()),
                weight: member.weight,
                zone: zone_index(&mut ring.zones, &member.zone),
                position,
            };
            ring.places.push(place);
            match ring.pools.iter_mut().find(|(pool, _)| *pool == member.pool) {
                Some((_, places)) => places.push(place),
                None => ring.pools.push((Arc::clone(&member.pool), vec![place])),
            }
        }
        ring
    }

    pub fn member(&self, position: u16) -> &Arc<Member> {
        &self.members[usize::from(position)]
    }

    pub fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// `None` for who owns nothing.
    pub fn position(&self, id: &NodeId) -> Option<u16> {
        let found = self.members.binary_search_by(|member| member.id.cmp(id)).ok();
        found.and_then(|index| index.try_into().ok())
    }

    /// Nodes of the requester's zone, then the others. Takes no memory.
    pub fn candidates(&self, wanted: &Wanted<'_>) -> Candidates {
        self.ranking(wanted, self.zone(wanted.zone), None)
    }

    /// As they would be without a node: as they were before it came.
    pub fn candidates_without(&self, wanted: &Wanted<'_>, id: &NodeId) -> Candidates {
        self.ranking(wanted, self.zone(wanted.zone), self.position(id))
    }

    /// Who answers requests for a key, in the requester's zone where it has anybody.
    pub fn owners(&self, wanted: &Wanted<'_>, replication: usize) -> Candidates {
        self.candidates(wanted).owners(replication)
    }

    /// Who is asked in place of the origin, from whatever zone. Takes no memory.
    pub fn fill_order(&self, wanted: &Wanted<'_>) -> Candidates {
        self.ranking(wanted, None, None)
    }

    /// As it would be without a node: its first was the primary before that node came.
    pub fn fill_order_without(&self, wanted: &Wanted<'_>, id: &NodeId) -> Candidates {
        self.ranking(wanted, None, self.position(id))
    }

    /// Who asks the origin.
    pub fn primary(&self, wanted: &Wanted<'_>) -> Option<&Arc<Member>> {
        let first = self.fill_order(wanted).iter().next()?;
        Some(self.member(first))
    }

    /// The members that candidates are.
    pub fn named(&self, candidates: impl Borrow<Candidates>) -> impl Iterator<Item = &Arc<Member>> {
        let positions = candidates.borrow().into_iter();
        positions.map(|position| self.member(position))
    }

    /// For people: computed in floats.
    pub fn share(&self, id: &NodeId) -> Option<Share> {
        let place = self.places[usize::from(self.position(id)?)];
        let pool = self.pool(&self.member(place.position).pool, None);
        let of = |all: u64| f64::from(place.weight) / all as f64;
        let near = pool.iter().filter(|other| other.zone == place.zone);
        Some(Share {
            primary: of(pool.iter().map(|other| u64::from(other.weight)).sum()),
            in_zone: of(near.map(|other| u64::from(other.weight)).sum()),
        })
    }

    /// Who shares a requester's load with a candidate: all of its zone and pool, with their weights; all of the pool, where
    /// nobody of it is in the zone.
    pub fn neighbours(&self, wanted: &Wanted<'_>) -> impl Iterator<Item = (u16, u32)> {
        let pool = self.pool(wanted.pool, None);
        let zone = self.zone(wanted.zone);
        let zone = zone.filter(|zone| pool.iter().any(|place| place.zone == *zone));
        let near = pool
            .iter()
            .filter(move |place| zone.is_none_or(|zone| place.zone == zone));
        near.map(|place| (place.position, place.weight))
    }

    fn ranking(&self, wanted: &Wanted<'_>, zone: Option<u16>, without: Option<u16>) -> Candidates {
        let key = Seed::of_key(wanted.key.as_bytes());
        let mut best = Best::new();
        for place in self.pool(wanted.pool, without) {
            if Some(place.position) == without {
                continue;
            }
            let Reverse(score) = place.hash_code(&FixedHasher, &key);
            let distance = match zone {
                Some(zone) if zone != place.zone => Distance::Far,
                _ => Distance::Near,
            };
            best.offer(Ranked {
                distance,
                score,
                position: place.position,
            });
        }
        best.candidates()
    }

    /// All, where nobody is of that pool.
    fn pool(&self, name: &str, without: Option<u16>) -> &[Place] {
        let pool = self.pools.iter().find(|(pool, _)| **pool == *name);
        let pool = pool.map_or(&[][..], |(_, places)| places);
        let somebody = pool.iter().any(|place| Some(place.position) != without);
        if somebody { pool } else { &self.places }
    }

    /// `None` for a zone without nodes.
    fn zone(&self, name: &str) -> Option<u16> {
        let index = self.zones.iter().position(|zone| **zone == *name)?;
        index.try_into().ok()
    }
}

impl Candidates {
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        self.into_iter()
    }

    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, position: u16) -> bool {
        self.iter().any(|candidate| candidate == position)
    }

    /// The first that own the key: fewer than `replication` where the requester's zone has fewer. A request leaves its zone
    /// only when nobody there answers.
    pub fn owners(&self, replication: usize) -> Candidates {
        self.first(replication.min(usize::from(self.near)))
    }

    /// Those of the requester's zone; all, where none is.
    pub fn near(&self) -> Candidates {
        self.first(usize::from(self.near))
    }

    fn first(&self, count: usize) -> Candidates {
        let count = self.len().min(count) as u8;
        Candidates {
            len: count,
            near: count.min(self.near),
            ..*self
        }
    }

    /// The same candidates, by turns; those of one turn as they were.
    pub(super) fn reordered<T: Ord>(&self, turn: impl Fn(u16) -> T) -> Candidates {
        let mut reordered = *self;
        let index_of = |position| self.iter().position(|other| other == position);
        let len = self.len();
        reordered.positions[..len].sort_unstable_by_key(|position| (turn(*position), index_of(*position)));
        reordered
    }
}

impl IntoIterator for &Candidates {
    type Item = u16;
    type IntoIter = Take<IntoIter<u16, CANDIDATES_MAX>>;

    fn into_iter(self) -> Self::IntoIter {
        self.positions.into_iter().take(self.len())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    Near,
    Far,
}

/// A place with its score; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    distance: Distance,
    score: Score,
    position: u16,
}

/// The best of those offered so far, best first.
struct Best {
    ranked: [Ranked; CANDIDATES_MAX],
    len: usize,
}

impl Best {
    fn new() -> Self {
        let nobody = Ranked {
            distance: Distance::Far,
            score: Score::WORST,
            position: u16::MAX,
        };
        Best {
            ranked: [nobody; CANDIDATES_MAX],
            len: 0,
        }
    }

    /// Nobody's place is worse than anybody's: a full array and one with room are treated alike.
    fn offer(&mut self, offered: Ranked) {
        if offered >= self.ranked[CANDIDATES_MAX - 1] {
            return;
        }
        self.len = (self.len + 1).min(CANDIDATES_MAX);
        let mut index = CANDIDATES_MAX - 1;
        while index > 0 && offered < self.ranked[index - 1] {
            self.ranked[index] = self.ranked[index - 1];
            index -= 1;
        }
        self.ranked[index] = offered;
    }

    fn candidates(&self) -> Candidates {
        let chosen = &self.ranked[..self.len];
        let near = chosen
            .iter()
            .filter(|ranked| ranked.distance == Distance::Near)
            .count();
        let near = if near == 0 { self.len } else { near };
        Candidates {
            positions: self.ranked.map(|ranked| ranked.position),
            len: self.len as u8,
            near: near as u8,
        }
    }
}

fn zone_index(zones: &mut Vec<Arc<str>>, zone: &Arc<str>) -> u16 {
    let index = zones.iter().position(|known| known == zone).unwrap_or_else(|| {
        zones.push(Arc::clone(zone));
        zones.len() - 1
    });
    u16::try_from(index).expect("each zone has a member, whose position is of 16 bits")
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
