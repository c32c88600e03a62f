//! A thousand nodes in one process: how evenly the ring spreads keys, which keys move, and what one hot key does.
//!
//! Prints the tables of docs/cluster-simulation.md; with a path as argument, draws its plot there. The ring, the choice among
//! candidates and the heat are the server's own; time, requests and what is under way are made up, from a fixed seed: the
//! same figures come out each time.

#![expect(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "plot.rs"]
mod plot;
#[path = "traffic.rs"]
mod traffic;

use aquatint::cluster::config::Role;
use aquatint::cluster::member::{Generation, Member, NodeId, State};
use aquatint::cluster::ring::{Ring, Wanted};
use aquatint::key::KeyName;
use std::sync::Arc;
use traffic::Defence;

const SIZES: [usize; 3] = [10, 50, 1000];
/// For each node.
const KEYS: usize = 1000;

fn main() -> std::io::Result<()> {
    println!("## Keys\n");
    let shares = balance();
    println!("\n## Keys that move\n");
    movement();
    println!("\n## Weights\n");
    weights();
    println!("\n## One key with half of all requests\n");
    let busiest = one_hot_key();
    match std::env::args().nth(1) {
        Some(path) => std::fs::write(path, plot::svg(&shares, &busiest)),
        None => Ok(()),
    }
}

/// A ring of nodes with these weights.
fn ring(weights: impl IntoIterator<Item = u32>) -> Ring {
    let member = |(number, weight): (usize, u32)| {
        Arc::new(Member {
            id: NodeId::new(&format!("edge-{number:04}")),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 7946).into(),
            zone: "".into(),
            pool: "default".into(),
            weight,
            roles: [Role::Edge, Role::Cache].into(),
            state: State::Up,
            load: 0,
            version: "".into(),
        })
    };
    Ring::new(weights.into_iter().enumerate().map(member).collect())
}

fn equal(nodes: usize) -> Ring {
    ring(vec![100; nodes])
}

fn key(number: usize) -> KeyName {
    KeyName::of(&format!("http://shop.example/images/{number}.jpg"))
}

fn wanted(key: KeyName) -> Wanted<'static> {
    Wanted {
        key,
        pool: "default",
        zone: "",
    }
}

/// Of each key, the position of the node that owns it first.
fn primaries(ring: &Ring, keys: usize) -> Vec<u16> {
    let primary = |number| ring.fill_order(&wanted(key(number))).iter().next();
    (0..keys)
        .map(|number| primary(number).expect("the ring has nodes"))
        .collect()
}

/// Of each node, its number of keys in proportion to the mean.
fn shares(primaries: &[u16], nodes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; nodes];
    let one = nodes as f64 / primaries.len() as f64;
    primaries
        .iter()
        .for_each(|primary| counts[usize::from(*primary)] += one);
    counts
}

/// Returns the shares of the largest ring's nodes.
fn balance() -> Vec<f64> {
    println!(
        "| nodes | keys | least / mean | most / mean | deviation | of pure chance |\n|---|---|---|---|---|---|"
    );
    let mut of_the_largest = Vec::new();
    for nodes in SIZES {
        let shares = shares(&primaries(&equal(nodes), nodes * KEYS), nodes);
        let most = shares.iter().copied().fold(0.0, f64::max);
        let least = shares.iter().copied().fold(f64::MAX, f64::min);
        let variance = shares.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / nodes as f64;
        let chance = ((1.0 - 1.0 / nodes as f64) / KEYS as f64).sqrt();
        let keys = nodes * KEYS;
        println!(
            "| {nodes} | {keys} | {least:.3} | {most:.3} | {:.1} % | {:.1} % |",
            variance.sqrt() * 100.0,
            chance * 100.0
        );
        of_the_largest = shares;
    }
    of_the_largest
}

fn movement() {
    println!(
        "| nodes | change | moved | 1 in as many as share them | moved between others |\n|---|---|---|---|---|"
    );
    for nodes in SIZES {
        let keys = (nodes * KEYS).min(200_000);
        let before = primaries(&equal(nodes), keys);
        let joined = primaries(&equal(nodes + 1), keys);
        let left = primaries(&equal(nodes - 1), keys);
        let changed = nodes as u16;
        row(nodes, "one joins", &before, &joined, changed, nodes + 1);
        row(nodes, "one leaves", &before, &left, changed - 1, nodes);
    }
}

/// `changed` came or went: it is the last in the order of ids, so that positions stay.
fn row(nodes: usize, change: &str, before: &[u16], after: &[u16], changed: u16, sharing: usize) {
    let moves: Vec<_> = before.iter().zip(after).filter(|(was, is)| was != is).collect();
    let others = moves
        .iter()
        .filter(|(was, is)| **was != changed && **is != changed)
        .count();
    let moved = moves.len() as f64 / before.len() as f64 * 100.0;
    let expected = 100.0 / sharing as f64;
    println!("| {nodes} | {change} | {moved:.2} % | {expected:.2} % | {others} |");
}

/// A node of fifty that comes to its weight, and stays or goes beyond.
fn weights() {
    println!("| weight, of 100 | its keys / mean | expected |\n|---|---|---|");
    for weight in [1, 10, 25, 50, 100, 200, 400] {
        let others = vec![100; 49];
        let ring = ring([weight].into_iter().chain(others));
        let share = shares(&primaries(&ring, 200_000), 50)[0];
        let expected = f64::from(weight) * 50.0 / (f64::from(weight) + 4900.0);
        println!("| {weight} | {share:.3} | {expected:.3} |");
    }
}

/// Returns what the busiest node of each trial answers, in proportion to the mean.
fn one_hot_key() -> Vec<(String, f64)> {
    println!("| nodes | defence | busiest / mean | spilled | answered from copies |\n|---|---|---|---|---|");
    let mut plotted = Vec::new();
    for nodes in [9, 50] {
        for defence in Defence::ALL {
            let result = traffic::run(nodes, defence);
            let name = defence.name();
            println!(
                "| {nodes} | {name} | {:.2} | {:.1} % | {:.1} % |",
                result.busiest,
                result.spilled * 100.0,
                result.copied * 100.0
            );
            plotted.push((format!("{nodes} nodes, {name}"), result.busiest));
        }
    }
    plotted
}
