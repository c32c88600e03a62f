//! What a cluster costs and gains, in figures: `make bench-cluster`.
//!
//! Clusters of several sizes are measured one after the other in one run, under the same load; figures are to be read as
//! ratios between them. Nothing lies between the nodes but the loopback. It judges nothing: goals are beside the figures.

use crate::cluster::{Cluster, Settings, metric, told};
use crate::load::{HOST, Load, Pick};
use crate::network;
use crate::operation::{Disk, Operation};
use crate::origin::target;
use std::fs;
use std::thread;
use std::time::Duration;

const NODES: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9];

/// In the cluster with divided roles, one of so many nodes answers clients, and the others own all keys.
const NODES_FOR_EACH_EDGE: usize = 3;

const OBJECTS: usize = 2000;

/// Of each measurement, unless `BENCH_REQUESTS` says how many.
const REQUESTS_USUAL: u64 = 20_000;

/// How long latencies are collected before a death, after it, and after the return.
const WINDOW: Duration = Duration::from_secs(5);

const OWNERS_ASKED: usize = 500;

const CLIENTS: usize = 8;

/// By which the kernel counts the time of processes, in a second.
const TICKS: f64 = 100.0;

/// Times are the binary's own, but for the ramp: what is measured is what operators get.
const SETTINGS: Settings = &[
    ("gossip_interval", "500ms"),
    ("ramp", "2s"),
    ("lease", "5s"),
    ("connect_deadline", "1s"),
    ("look_deadline", "250ms"),
    ("first_byte_deadline", "20s"),
    ("read_deadline", "10s"),
];

const EDGE_ALONE: Settings = &[("roles", "[edge]")];
const CACHE_ALONE: Settings = &[("roles", "[cache]")];

struct Row {
    what: &'static str,
    goal: &'static str,
    values: Vec<String>,
}

#[test]
#[ignore = "takes minutes: make bench-cluster"]
fn figures() {
    let sizes: Vec<usize> = match std::env::var("BENCH_NODES") {
        Ok(text) => text.split(' ').map(|size| size.parse().unwrap()).collect(),
        Err(_) => vec![1, 3, 9],
    };
    let columns: Vec<Vec<Figure>> = sizes.iter().map(|size| measure(*size)).collect();
    let rows = (0..columns[0].len()).map(|row| Row {
        what: columns[0][row].what,
        goal: columns[0][row].goal,
        values: columns.iter().map(|column| column[row].value.clone()).collect(),
    });
    let requests = requests();
    println!("\n{requests} requests of {CLIENTS} clients for {OBJECTS} objects");
    print!("{:<58}", "nodes");
    sizes.iter().for_each(|size| print!("{size:>12}"));
    println!("   goal");
    for row in rows {
        print!("{:<58}", row.what);
        row.values.iter().for_each(|value| print!("{value:>12}"));
        println!("   {}", row.goal);
    }
}

fn requests() -> u64 {
    std::env::var("BENCH_REQUESTS").map_or(REQUESTS_USUAL, |text| text.parse().unwrap())
}

struct Figure {
    what: &'static str,
    goal: &'static str,
    value: String,
}

fn figure(what: &'static str, value: Option<f64>, goal: &'static str) -> Figure {
    let value = value.map_or("-".into(), |value| format!("{value:.3}"));
    Figure { what, goal, value }
}

fn measure(size: usize) -> Vec<Figure> {
    let mut cluster = Cluster::new(network::direct(), SETTINGS);
    cluster.run(&[Operation::Start(size)]);
    let mut figures = efficiency(&mut cluster, size);
    figures.extend(balance(&mut cluster, size));
    figures.extend(movement(&mut cluster, size));
    figures.extend(death(&mut cluster, size));
    drop(cluster);
    figures.extend(roles(size));
    figures
}

fn load(size: usize, pick: Pick) -> Load {
    load_of(CLIENTS, size, pick)
}

fn load_of(clients: usize, size: usize, pick: Pick) -> Load {
    Load {
        nodes: &NODES[..size],
        objects: 0..OBJECTS,
        pick,
        clients,
        pause: Duration::ZERO,
    }
}

fn drive(cluster: &mut Cluster, load: Load, requests: u64) {
    cluster.run(&[
        Operation::BeginLoad(load),
        Operation::AwaitAnswers(requests),
        Operation::EndLoad,
        Operation::AssertNoClientErrors,
    ]);
}

/// From the first request on, and then warm.
fn efficiency(cluster: &mut Cluster, size: usize) -> Vec<Figure> {
    let before = cluster.directory().answered();
    drive(cluster, load(size, Pick::Zipf), requests());
    let answered = (cluster.directory().answered() - before) as f64;
    let fetches = cluster.origin().fetches();
    let objects = fetches.iter().filter(|count| **count > 0).count() as f64;
    let fetches = fetches.iter().sum::<u64>() as f64;
    let cost = cost_of(cluster, &NODES[..size], |cluster| {
        drive(cluster, load(size, Pick::Zipf), requests());
    });
    vec![
        figure(
            "hit ratio, from an empty cache",
            Some(1.0 - fetches / answered),
            "",
        ),
        figure("origin fetches for each object", Some(fetches / objects), "1.0"),
        figure("CPU us of all nodes for each request, warm", Some(cost), ""),
    ]
}

/// CPU time of these nodes for each request that clients had answered meanwhile, in microseconds.
fn cost_of(cluster: &mut Cluster, nodes: &[usize], drive: impl FnOnce(&mut Cluster)) -> f64 {
    let ticks = |cluster: &Cluster| nodes.iter().map(|node| ticks_of(cluster, *node)).sum::<f64>();
    let (before, answered) = (ticks(cluster), cluster.directory().answered());
    drive(cluster);
    let requests = (cluster.directory().answered() - answered) as f64;
    (ticks(cluster) - before) / TICKS * 1e6 / requests
}

/// utime and stime.
fn ticks_of(cluster: &Cluster, node: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", cluster.edge(node).id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

fn balance(cluster: &mut Cluster, size: usize) -> Vec<Figure> {
    let mut busiest = |pick| {
        // Until what is hot is known as hot.
        drive(cluster, load(size, pick), requests() / 4);
        let answered = |cluster: &Cluster| {
            let nodes = NODES[..size].iter();
            nodes.map(|node| cluster.answered_by(*node)).collect::<Vec<_>>()
        };
        let before = answered(cluster);
        drive(cluster, load(size, pick), requests());
        let after = answered(cluster);
        let all: Vec<f64> = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        all.into_iter().fold(0.0, f64::max) / mean
    };
    vec![
        figure("busiest node to the mean, Zipf", Some(busiest(Pick::Zipf)), ""),
        figure(
            "busiest node to the mean, one key half of all",
            Some(busiest(Pick::Hot)),
            "<= 1.3",
        ),
    ]
}

/// The share of keys whose first owner is another after a join, and again after the leave.
fn movement(cluster: &mut Cluster, size: usize) -> Vec<Figure> {
    let next = size + 1;
    let before = owners(cluster);
    cluster.run(&[Operation::Join(next)]);
    let joined = owners(cluster);
    cluster.run(&[
        Operation::Leave(next),
        Operation::AssertMembers(&[1], &NODES[..size]),
    ]);
    let left = owners(cluster);
    let moved = |from: &[String], to: &[String]| {
        let moved = from.iter().zip(to).filter(|(from, to)| from != to);
        moved.count() as f64 / OWNERS_ASKED as f64 * next as f64
    };
    vec![
        figure(
            "keys moved by a join, to 1/N",
            Some(moved(&before, &joined)),
            "about 1",
        ),
        figure(
            "keys moved by a leave, to 1/N",
            Some(moved(&joined, &left)),
            "about 1",
        ),
    ]
}

fn owners(cluster: &Cluster) -> Vec<String> {
    let owner = |object| {
        let url = format!("http://{HOST}{}", target(object));
        let path = format!(
            "/api/v1/cluster/owner?url={}",
            url.replace(':', "%3A").replace('/', "%2F")
        );
        let told = told(cluster.edge(1), &path).expect("the API tells owners");
        told["primary"].as_str().unwrap_or_default().to_owned()
    };
    (0..OWNERS_ASKED).map(owner).collect()
}

/// Clients ask so seldom that it is not the processors they wait for.
fn death(cluster: &mut Cluster, size: usize) -> Vec<Figure> {
    let mut p99 = [None; 3];
    if size > 1 {
        let paced = Load {
            pause: Duration::from_millis(20),
            ..load(size, Pick::Zipf)
        };
        let window = |cluster: &mut Cluster| {
            cluster.directory().take_latencies();
            thread::sleep(WINDOW);
            Some(p99_of(cluster.directory().take_latencies()))
        };
        cluster.run_on(&[Operation::BeginLoad(paced)]);
        p99[0] = window(cluster);
        cluster.run_on(&[Operation::Kill(size)]);
        p99[1] = window(cluster);
        cluster.run_on(&[Operation::Restart(size, Disk::Kept)]);
        p99[2] = window(cluster);
        cluster.run(&[Operation::EndLoad, Operation::AssertNoClientErrors]);
    }
    let lost = (size > 1).then(|| cluster.directory().lost() as f64);
    vec![
        figure("p99 in ms, before a death", p99[0], ""),
        figure("p99 in ms, in the 5 s from a death on", p99[1], ""),
        figure("p99 in ms, in the 5 s from the return on", p99[2], ""),
        figure("requests lost with the dead node", lost, "in flight"),
    ]
}

fn p99_of(mut latencies: Vec<u32>) -> f64 {
    latencies.sort_unstable();
    let at = latencies.len() * 99 / 100;
    f64::from(latencies[at.min(latencies.len() - 1)]) / 1000.0
}

/// Another cluster of as many, in which a node answers clients or owns keys, and does not do both. Each edge has as many
/// clients, whatever the size: fewer would have it wait for the network more often for as many requests.
fn roles(size: usize) -> Vec<Figure> {
    let (mut costs, mut relayed) = ([None; 2], None);
    let edges = size / NODES_FOR_EACH_EDGE;
    if edges > 0 {
        let particular = move |node: usize| match node <= edges {
            true => EDGE_ALONE,
            false => CACHE_ALONE,
        };
        let mut cluster = Cluster::new(network::direct(), SETTINGS).with_particular(particular);
        cluster.run(&[Operation::Start(size)]);
        let load = load_of(CLIENTS * edges, edges, Pick::Zipf);
        drive(&mut cluster, load.clone(), requests());
        let (relays, answered) = (relays_of(&cluster, edges), cluster.directory().answered());
        let mut of_caches = 0.0;
        let both = cost_of(&mut cluster, &NODES[..size], |cluster| {
            of_caches = cost_of(cluster, &NODES[edges..size], |cluster| {
                drive(cluster, load, requests());
            });
        });
        costs = [Some(both - of_caches), Some(of_caches)];
        let answered = cluster.directory().answered() - answered;
        relayed = Some((relays_of(&cluster, edges) - relays) / answered as f64);
    }
    vec![
        figure(
            "CPU us at edges for each request, roles divided",
            costs[0],
            "flat",
        ),
        figure(
            "CPU us at caches for each request, roles divided",
            costs[1],
            "flat",
        ),
        figure("requests that a cache answered, roles divided", relayed, ""),
    ]
}

/// Requests that these edges have passed on; hot ones they answer by themselves.
fn relays_of(cluster: &Cluster, edges: usize) -> f64 {
    let relayed = |edge: &usize| metric(cluster.edge(*edge), "aquatint_cluster_forwards_total");
    NODES[..edges].iter().filter_map(relayed).sum()
}
