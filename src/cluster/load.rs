//! Which of a key's candidates is asked: the less busy of two owners, and nobody who is much busier than the others.
//!
//! Power of two choices (Mitzenmacher 1996) evens load out among the owners; the bound (Mirrokni, Thorup, Zadimoghaddam 2016)
//! lets a key that its owners can not bear spill to the next candidates of the zone. Both go by requests under way for each unit of
//! weight. Invariant: pure but for the counters; the same counts and the same draw make the same choice. Being wrong costs
//! efficiency alone. It does not know keys' heat, nor whether a peer answers.

use super::config::Config;
use super::member::NodeId;
use super::ring::{Candidates, Ring, Wanted};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Of a ring's members, how busy they are.
pub struct Loads {
    /// By position in the ring, which is the order of ids.
    nodes: Vec<(NodeId, Arc<Load>)>,
}

/// What this node knows of one other's load.
#[derive(Debug, Default)]
struct Load {
    /// Requests of this node that are under way there.
    own: AtomicU32,
    /// Requests under way there, of whomever, when it last said so.
    told: AtomicU32,
    /// `own` at that time: `told` holds it already.
    own_when_told: AtomicU32,
}

/// A request under way to a node, until it is dropped.
pub struct Underway(Arc<Load>);

/// How much more than others a node may have to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// In proportion to the mean.
    pub factor: f64,
    /// So many requests under way are never too many: the mean of an idle cluster says nothing.
    pub floor: u32,
    /// Owners of each key.
    pub replication: usize,
}

/// Who is asked, and who is asked when that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// All candidates in the order to ask them in.
    pub order: Candidates,
    pub first: First,
}

/// What the first of a choice is to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Owner,
    /// All owners have too much to do.
    Spill,
    /// The ring is empty.
    Nobody,
}

/// A cheap source of draws that many threads share. Not for secrets.
#[derive(Debug)]
pub struct Draws(AtomicU64);

impl Loads {
    pub fn new(ring: &Ring) -> Self {
        Loads { nodes: Vec::new() }.renewed(ring)
    }

    /// For another ring: what is under way stays counted, and what members tell is taken in.
    pub fn renewed(&self, ring: &Ring) -> Self {
        let nodes = ring.members().iter().map(|member| {
            let load = self.known(&member.id).unwrap_or_default();
            load.tell(member.load);
            (member.id.clone(), load)
        });
        Loads {
            nodes: nodes.collect(),
        }
    }

    /// Counts a request to the member at a position, until what is returned is dropped.
    pub fn begin(&self, position: u16) -> Underway {
        let load = Arc::clone(&self.nodes[usize::from(position)].1);
        load.own.fetch_add(1, Ordering::Relaxed);
        Underway(load)
    }

    /// Requests under way at the member, as far as is known.
    pub fn of(&self, position: u16) -> u32 {
        self.nodes[usize::from(position)].1.now()
    }

    /// Takes in what a member tells of itself.
    pub fn tell(&self, position: u16, load: u32) {
        self.nodes[usize::from(position)].1.tell(load);
    }

    fn known(&self, id: &NodeId) -> Option<Arc<Load>> {
        let found = self.nodes.binary_search_by(|(known, _)| known.cmp(id)).ok()?;
        Some(Arc::clone(&self.nodes[found].1))
    }
}

impl Load {
    fn tell(&self, load: u32) {
        self.told.store(load, Ordering::Relaxed);
        let own = self.own.load(Ordering::Relaxed);
        self.own_when_told.store(own, Ordering::Relaxed);
    }

    /// What it told, and what this node has added since.
    fn now(&self) -> u32 {
        let own = self.own.load(Ordering::Relaxed);
        let of_others = self.told.load(Ordering::Relaxed);
        let of_others = of_others.saturating_sub(self.own_when_told.load(Ordering::Relaxed));
        of_others.saturating_add(own)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.own.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Bound {
    pub fn new(config: &Config) -> Self {
        Bound {
            factor: config.load_factor,
            floor: config.load_floor,
            replication: config.replication,
        }
    }

    /// Reads the loads of all members of the requester's zone and pool, of which the mean is made. Takes no memory.
    pub fn choose(&self, ring: &Ring, loads: &Loads, wanted: &Wanted<'_>, draw: u64) -> Choice {
        let candidates = ring.candidates(wanted);
        let owners = candidates.owners(self.replication);
        let burden = Burden::of(ring, loads);
        let mean = burden.mean(wanted);
        let is_over = |position| self.is_over(&burden, mean, position);
        let near = candidates.near();
        let Some(preferred) = burden.lighter_of_two(&owners, draw) else {
            return Choice {
                order: candidates,
                first: First::Nobody,
            };
        };
        let preferred = Some(preferred).filter(|position| !is_over(*position));
        let chosen = preferred
            .or_else(|| near.iter().find(|position| !is_over(*position)))
            .or_else(|| burden.lightest(&near));
        let order = candidates.reordered(|position| match position {
            position if Some(position) == chosen => Turn::First,
            position if !near.contains(position) => Turn::Far,
            position if is_over(position) => Turn::Busy,
            _ => Turn::Next,
        });
        let first = match chosen {
            Some(chosen) if !owners.contains(chosen) => First::Spill,
            _ => First::Owner,
        };
        Choice { order, first }
    }

    fn is_over(&self, burden: &Burden<'_>, mean: f64, position: u16) -> bool {
        let (load, weight) = burden.at(position);
        load > self.floor && f64::from(load) > self.factor * mean * f64::from(weight)
    }
}

/// In which a candidate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    First,
    Next,
    Busy,
    /// Of another zone: its load is of other clients, and says nothing beside this one's.
    Far,
}

/// Loads beside weights.
struct Burden<'a> {
    ring: &'a Ring,
    loads: &'a Loads,
}

impl<'a> Burden<'a> {
    fn of(ring: &'a Ring, loads: &'a Loads) -> Self {
        Burden { ring, loads }
    }

    fn at(&self, position: u16) -> (u32, u32) {
        (self.loads.of(position), self.ring.member(position).weight)
    }

    /// Requests under way for each unit of weight, the one that is to be sent included.
    fn mean(&self, wanted: &Wanted<'_>) -> f64 {
        let (mut requests, mut weights) = (1, 0);
        for (position, weight) in self.ring.neighbours(wanted) {
            requests += u64::from(self.loads.of(position));
            weights += u64::from(weight);
        }
        requests as f64 / weights.max(1) as f64
    }

    /// Of equals the one that was drawn first, so that owners share even a little load.
    fn lighter_of_two(&self, owners: &Candidates, draw: u64) -> Option<u16> {
        let count = owners.len() as u64;
        let first = draw.checked_rem(count)?;
        let Some(others) = count.checked_sub(1).filter(|others| *others > 0) else {
            return owners.iter().next();
        };
        let second = (first + 1 + (draw >> 32) % others) % count;
        let two = [first, second].map(|index| owners.iter().nth(index as usize));
        two.into_iter().flatten().min_by(|a, b| self.compare(*a, *b))
    }

    fn lightest(&self, candidates: &Candidates) -> Option<u16> {
        candidates.iter().min_by(|a, b| self.compare(*a, *b))
    }

    fn compare(&self, one: u16, other: u16) -> std::cmp::Ordering {
        let ((load, weight), (other_load, other_weight)) = (self.at(one), self.at(other));
        let own = u64::from(load) * u64::from(other_weight);
        own.cmp(&(u64::from(other_load) * u64::from(weight)))
    }
}

impl Draws {
    pub const fn new(seed: u64) -> Self {
        Draws(AtomicU64::new(seed))
    }

    /// SplitMix64.
    pub fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        super::ring::mix(self.0.fetch_add(STEP, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ring::testing::{Node, ring_of, wanted};
    use proptest::prelude::*;

    const BOUND: Bound = Bound {
        factor: 1.25,
        floor: 4,
        replication: 2,
    };

    fn ten() -> (Ring, Loads) {
        let ring = ring_of((0..10).map(|number| Node::named(&format!("n{number}"))));
        let loads = Loads::new(&ring);
        (ring, loads)
    }

    fn first(choice: &Choice) -> u16 {
        choice.order.iter().next().unwrap()
    }

    #[test]
    fn the_less_busy_of_two_owners_is_asked() {
        let (ring, loads) = ten();
        let wanted = wanted("a");
        let owners: Vec<u16> = ring.owners(&wanted, 2).iter().collect();
        loads.tell(owners[0], 3);
        for draw in 0..100 {
            let choice = BOUND.choose(&ring, &loads, &wanted, draw);
            assert_eq!((first(&choice), choice.first), (owners[1], First::Owner));
        }
    }

    #[test]
    fn idle_owners_share_what_comes() {
        let (ring, loads) = ten();
        let draws = Draws::new(1);
        let wanted = wanted("a");
        let of_the_first = (0..1000).filter(|_| {
            let choice = BOUND.choose(&ring, &loads, &wanted, draws.draw());
            first(&choice) == ring.owners(&wanted, 1).iter().next().unwrap()
        });
        assert!((400..600).contains(&of_the_first.count()));
    }

    #[test]
    fn owners_over_the_bound_are_passed_over_in_the_order_of_the_ring() {
        let (ring, loads) = ten();
        let wanted = wanted("a");
        let candidates: Vec<u16> = ring.candidates(&wanted).iter().collect();
        for busy in &candidates[..3] {
            loads.tell(*busy, 20);
        }
        let choice = BOUND.choose(&ring, &loads, &wanted, 7);
        assert_eq!(choice.first, First::Spill);
        let order: Vec<u16> = choice.order.iter().collect();
        let expected = [3, 4, 5, 0, 1, 2].map(|index| candidates[index]);
        assert_eq!(order, expected);
    }

    #[test]
    fn an_idle_cluster_does_not_spill() {
        let (ring, loads) = ten();
        let wanted = wanted("a");
        for owner in ring.owners(&wanted, 2).iter() {
            loads.tell(owner, BOUND.floor);
        }
        assert_eq!(BOUND.choose(&ring, &loads, &wanted, 1).first, First::Owner);
    }

    #[test]
    fn a_heavier_node_bears_more() {
        let heavy = Node {
            weight: 400,
            ..Node::named("heavy")
        };
        let ring = ring_of((0..9).map(|n| Node::named(&format!("n{n}"))).chain([heavy]));
        let loads = Loads::new(&ring);
        let position = ring.position(&NodeId::new("heavy")).unwrap();
        for other in 0..10 {
            loads.tell(other, 10);
        }
        loads.tell(position, 40);
        let burden = Burden::of(&ring, &loads);
        let mean = burden.mean(&wanted("a"));
        assert!((0..10).all(|position| !BOUND.is_over(&burden, mean, position)));
    }

    #[test]
    fn where_all_are_over_the_bound_the_least_busy_is_asked() {
        let (ring, loads) = ten();
        let wanted = wanted("a");
        let candidates: Vec<u16> = ring.candidates(&wanted).iter().collect();
        for (busy, load) in candidates.iter().zip([90, 80, 70, 60, 75, 85]) {
            loads.tell(*busy, load);
        }
        let choice = BOUND.choose(&ring, &loads, &wanted, 1);
        assert_eq!((first(&choice), choice.first), (candidates[3], First::Spill));
    }

    #[test]
    fn a_request_leaves_its_zone_last() {
        let zones = ["north", "south"].into_iter().flat_map(|zone| {
            (0..3).map(move |number| Node {
                zone,
                ..Node::named(&format!("{zone}{number}"))
            })
        });
        let ring = ring_of(zones);
        let loads = Loads::new(&ring);
        let wanted = Wanted {
            zone: "south",
            ..wanted("a")
        };
        for owner in ring.owners(&wanted, 2).iter() {
            loads.tell(owner, 1000);
        }
        let choice = BOUND.choose(&ring, &loads, &wanted, 1);
        let zones: Vec<&str> = ring.named(choice.order).map(|member| &*member.zone).collect();
        assert_eq!(zones, ["south", "south", "south", "north", "north", "north"]);
        assert_eq!(choice.first, First::Spill);
    }

    #[test]
    fn an_empty_ring_names_nobody() {
        let ring = ring_of([]);
        let choice = BOUND.choose(&ring, &Loads::new(&ring), &wanted("a"), 1);
        assert_eq!(choice.first, First::Nobody);
        assert!(choice.order.is_empty());
    }

    #[test]
    fn what_is_under_way_is_counted_once_and_until_it_ends() {
        let (ring, loads) = ten();
        let first = loads.begin(3);
        loads.tell(3, 5);
        assert_eq!(loads.of(3), 5);
        let second = loads.begin(3);
        assert_eq!(loads.of(3), 6);
        let renewed = loads.renewed(&ring);
        assert_eq!(
            renewed.of(3),
            2,
            "its member tells of nothing; two of this node's are under way"
        );
        drop((first, second));
        assert_eq!(renewed.of(3), 0);
    }

    proptest! {
        #[test]
        fn a_choice_orders_the_candidates_and_starts_with_one_under_the_bound_where_there_is_any(
            told in proptest::collection::vec(0u32..50, 10), key: u64, draw: u64,
        ) {
            let (ring, loads) = ten();
            for (position, load) in (0..).zip(&told) {
                loads.tell(position, *load);
            }
            let key = key.to_string();
            let wanted = wanted(&key);
            let choice = BOUND.choose(&ring, &loads, &wanted, draw);
            let mut order: Vec<u16> = choice.order.iter().collect();
            let burden = Burden::of(&ring, &loads);
            let mean = burden.mean(&wanted);
            let candidates = ring.candidates(&wanted);
            if candidates.iter().any(|position| !BOUND.is_over(&burden, mean, position)) {
                prop_assert!(!BOUND.is_over(&burden, mean, order[0]));
            }
            let mut expected: Vec<u16> = candidates.iter().collect();
            order.sort();
            expected.sort();
            prop_assert_eq!(order, expected);
        }
    }
}
