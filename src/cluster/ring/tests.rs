//! What the ring promises, on rings that are made up.

use super::testing::{Node, ring_of, wanted};
use super::*;
use crate::cluster::config::Role;
use crate::cluster::member::{Generation, State};
use proptest::prelude::*;
use proptest::sample::Index;
use rendezvous_hash::RendezvousNodes;
use std::collections::HashMap;

fn ids(ring: &Ring, candidates: Candidates) -> Vec<String> {
    ring.named(candidates)
        .map(|member| member.id.to_string())
        .collect()
}

fn candidates(ring: &Ring, key: &str) -> Vec<String> {
    ids(ring, ring.candidates(&wanted(key)))
}

fn numbered(count: usize) -> Vec<Node<'static>> {
    (0..count)
        .map(|number| Node::named(&format!("node{number}")))
        .collect()
}

/// Nodes with weights, zones and pools.
fn nodes() -> impl Strategy<Value = Vec<Node<'static>>> {
    let node = (
        1u32..1000,
        prop::sample::select(vec!["", "north", "south"]),
        prop::sample::select(vec!["default", "default", "large"]),
    );
    prop::collection::vec(node, 1..20).prop_map(|nodes| {
        let nodes = nodes.into_iter().enumerate();
        let node = |(number, (weight, zone, pool))| Node {
            weight,
            zone,
            pool,
            ..Node::named(&format!("node{number}"))
        };
        nodes.map(node).collect()
    })
}

fn in_zone(key: &str, zone: &'static str) -> Wanted<'static> {
    Wanted { zone, ..wanted(key) }
}

/// Counts of keys by their primary.
fn primaries(ring: &Ring, keys: u32) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for key in 0..keys {
        let primary = ring.primary(&wanted(&key.to_string())).unwrap();
        *counts.entry(primary.id.to_string()).or_default() += 1;
    }
    counts
}

/// A change here moves every key of every cluster: old and new releases would not agree.
#[test]
fn keys_have_the_owners_they_have_always_had() {
    let weights = [
        ("north-1", 100),
        ("north-2", 100),
        ("north-3", 50),
        ("south-1", 200),
        ("south-2", 100),
    ];
    let ring = ring_of(weights.map(|(id, weight)| Node {
        weight,
        zone: if id.starts_with("north") { "north" } else { "south" },
        ..Node::named(id)
    }));
    let found = [
        "http://shop.example/a.jpg",
        "http://shop.example/b.jpg",
        "http://shop.example/images/red-shoes.jpg?v=3",
        "https://cdn.example/",
    ]
    .map(|key| {
        let fill_order = ids(&ring, ring.fill_order(&wanted(key)));
        let near = ids(&ring, ring.candidates(&in_zone(key, "north")));
        format!("{} | {}", fill_order.join(" "), near.join(" "))
    });
    assert_eq!(
        found,
        [
            "south-1 north-1 south-2 north-3 north-2 | north-1 north-3 north-2 south-1 south-2",
            "south-1 north-2 south-2 north-1 north-3 | north-2 north-1 north-3 south-1 south-2",
            "north-3 south-2 north-1 south-1 north-2 | north-3 north-1 north-2 south-2 south-1",
            "south-2 north-2 north-1 north-3 south-1 | north-2 north-1 north-3 south-2 south-1",
        ]
    );
}

proptest! {
    #[test]
    fn the_order_of_members_does_not_matter(
        (nodes, shuffled) in nodes().prop_flat_map(|nodes| (Just(nodes.clone()), Just(nodes).prop_shuffle())),
        key: u64,
    ) {
        let key = key.to_string();
        prop_assert_eq!(candidates(&ring_of(nodes), &key), candidates(&ring_of(shuffled), &key));
    }

    #[test]
    fn the_scan_ranks_as_the_library_does(nodes in nodes(), key: u64) {
        let key = key.to_string();
        let wanted = wanted(&key);
        let ring = ring_of(nodes);
        let mut reference = RendezvousNodes::new(FixedHasher);
        for place in ring.pool("default", None) {
            reference.insert(*place);
        }
        let key = Seed::of_key(wanted.key.as_bytes());
        let expected: Vec<u16> = reference.calc_candidates(&key).map(|place| place.position).collect();
        let found: Vec<u16> = ring.fill_order(&wanted).iter().collect();
        prop_assert_eq!(&found[..], &expected[..expected.len().min(CANDIDATES_MAX)]);
    }

    #[test]
    fn a_node_that_leaves_takes_only_itself_out_of_each_ranking(
        nodes in nodes(), key: u64, leaver: Index, zone in prop::sample::select(vec!["", "north", "elsewhere"]),
    ) {
        let key = key.to_string();
        let wanted = in_zone(&key, zone);
        let leaver = leaver.get(&nodes).id.clone();
        let before = ring_of(nodes.clone());
        let after = ring_of(nodes.into_iter().filter(|node| node.id != leaver));
        let id = NodeId::new(&leaver);
        prop_assert_eq!(
            ids(&before, before.candidates_without(&wanted, &id)),
            ids(&after, after.candidates(&wanted))
        );
        prop_assert_eq!(
            ids(&before, before.fill_order_without(&wanted, &id)),
            ids(&after, after.fill_order(&wanted))
        );
        if before.pool("default", None).len() < CANDIDATES_MAX && after.pools.len() == before.pools.len() {
            let mut expected = ids(&before, before.candidates(&wanted));
            expected.retain(|id| *id != leaver);
            prop_assert_eq!(ids(&after, after.candidates(&wanted)), expected);
        }
    }

    #[test]
    fn a_weight_that_grows_moves_keys_to_its_node_alone(
        nodes in nodes(), keys in prop::collection::vec(any::<u64>(), 50), grown: Index, by in 1u32..1000,
    ) {
        let grown = grown.index(nodes.len());
        let before = ring_of(nodes.clone());
        let mut nodes = nodes;
        nodes[grown].weight += by;
        let id = nodes[grown].id.clone();
        let after = ring_of(nodes);
        for key in keys {
            let wanted = wanted(&key.to_string());
            let [was, is] = [&before, &after].map(|ring| ring.primary(&wanted).unwrap().id.clone());
            prop_assert!(was == is || is.as_str() == id, "{was} -> {is}, though {id} grew");
        }
    }

    #[test]
    fn the_primary_is_the_same_for_all_zones_and_the_first_of_its_own(nodes in nodes(), key: u64) {
        let key = key.to_string();
        let ring = ring_of(nodes);
        let primary = ring.primary(&in_zone(&key, "elsewhere")).unwrap();
        let seen_from_its_zone = Wanted { zone: &primary.zone, ..wanted(&key) };
        prop_assert_eq!(ring.primary(&seen_from_its_zone).unwrap(), primary);
        prop_assert_eq!(ring.named(ring.candidates(&seen_from_its_zone)).next(), Some(primary));
    }

    #[test]
    fn all_nodes_of_the_zone_come_before_any_other(nodes in nodes(), key: u64) {
        let ring = ring_of(nodes);
        let wanted = in_zone(&key.to_string(), "north");
        let candidates = ring.candidates(&wanted);
        let is_near: Vec<bool> = ring.named(candidates).map(|member| &*member.zone == "north").collect();
        prop_assert!(is_near.is_sorted_by(|a, b| a >= b), "{is_near:?}");
        let near = is_near.iter().filter(|near| **near).count();
        let expected = if near == 0 { candidates.len() } else { near };
        prop_assert_eq!(candidates.near().len(), expected);
        prop_assert_eq!(candidates.owners(2).len(), expected.min(2));
    }
}

#[test]
fn keys_spread_by_weight() {
    let weights = [("a", 10), ("b", 100), ("c", 400), ("d", 490)];
    let ring = ring_of(weights.map(|(id, weight)| Node {
        weight,
        ..Node::named(id)
    }));
    let counts = primaries(&ring, 50_000);
    for (id, weight) in weights {
        let expected = f64::from(weight) / 1000.0;
        let found = f64::from(counts[id]) / 50_000.0;
        let deviation = (expected * (1.0 - expected) / 50_000.0).sqrt();
        assert!(
            (found - expected).abs() < 4.0 * deviation,
            "{id}: {found}, not {expected}"
        );
        let share = ring.share(&NodeId::new(id)).unwrap();
        assert_eq!(
            share,
            Share {
                primary: expected,
                in_zone: expected
            }
        );
    }
}

#[test]
fn a_node_that_joins_takes_its_share_from_all() {
    let before = ring_of(numbered(10));
    let after = ring_of(numbered(11));
    let moved = (0..20_000).filter(|key: &u32| {
        let wanted = wanted(&key.to_string());
        let [was, is] = [&before, &after].map(|ring| ring.primary(&wanted).unwrap().id.clone());
        assert!(was == is || is.as_str() == "node10");
        was != is
    });
    let moved = moved.count() as f64 / 20_000.0;
    assert!((moved - 1.0 / 11.0).abs() < 0.01, "{moved}");
}

#[test]
fn a_pool_has_its_own_keys_and_an_empty_one_has_everybody() {
    let large = ["large1", "large2"].map(|id| Node {
        pool: "large",
        ..Node::named(id)
    });
    let ring = ring_of(numbered(3).into_iter().chain(large));
    let of_pool = |pool| ids(&ring, ring.candidates(&Wanted { pool, ..wanted("a") }));
    let mut names = of_pool("large");
    names.sort();
    assert_eq!(names, ["large1", "large2"]);
    assert_eq!(of_pool("default").len(), 3);
    assert_eq!(of_pool("nowhere").len(), 5);
    let without = |pool, id| {
        let ranking = ring.candidates_without(&Wanted { pool, ..wanted("a") }, &NodeId::new(id));
        ids(&ring, ranking).len()
    };
    assert_eq!(without("large", "large1"), 1);
}

#[test]
fn without_its_only_node_a_pool_is_empty() {
    let large = Node {
        pool: "large",
        ..Node::named("large1")
    };
    let ring = ring_of(numbered(3).into_iter().chain([large]));
    let wanted = Wanted {
        pool: "large",
        ..wanted("a")
    };
    assert_eq!(ids(&ring, ring.candidates(&wanted)), ["large1"]);
    let without = ring.candidates_without(&wanted, &NodeId::new("large1"));
    assert_eq!(without.len(), 3);
}

#[test]
fn only_those_that_own_are_named() {
    let with = |change: fn(&mut Member)| {
        let mut member = Member::clone(&Node::named("other").member());
        change(&mut member);
        Ring::new(vec![Arc::new(member), Node::named("here").member()])
    };
    assert_eq!(
        candidates(&with(|member| member.state = State::Draining), "a"),
        ["here"]
    );
    assert_eq!(candidates(&with(|member| member.weight = 0), "a"), ["here"]);
    assert_eq!(candidates(&with(|member| member.roles.clear()), "a"), ["here"]);
    let edge_alone = with(|member| member.roles = [Role::Edge, Role::Voter].into());
    assert_eq!(candidates(&edge_alone, "a"), ["here"]);
    assert_eq!(edge_alone.share(&NodeId::new("other")), None);
    assert_eq!(candidates(&with(|_| ()), "a").len(), 2);
}

#[test]
fn of_two_lives_of_a_node_the_later_one_counts() {
    let old = Node::named("a").member();
    let new = Arc::new(Member {
        generation: Generation(2),
        ..Member::clone(&old)
    });
    for members in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
        let ring = Ring::new(members);
        assert_eq!(ring.members(), std::slice::from_ref(&new));
    }
}

#[test]
fn an_empty_ring_names_nobody() {
    let ring = ring_of([]);
    assert!(ring.candidates(&wanted("a")).is_empty());
    assert_eq!(ring.primary(&wanted("a")), None);
    assert_eq!(ring.share(&NodeId::new("a")), None);
}
