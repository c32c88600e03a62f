//! What a request pays to know who owns its key, and what each costs to be counted.
//!
//! Rings of 10, 50 and 1,000 nodes: the scan for the best candidates, the choice among them by load, and the count of heat.
//! The goal is a scan of 50 nodes within a microsecond.

use aquatint::base::clock;
use aquatint::cluster::config::{Config, Role};
use aquatint::cluster::hot::Heat;
use aquatint::cluster::load::{Bound, Draws, Loads};
use aquatint::cluster::member::{Generation, Member, NodeId, State};
use aquatint::cluster::ring::{Ring, Wanted};
use aquatint::key::KeyName;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;

const SIZES: [usize; 3] = [10, 50, 1000];
const ZONES: [&str; 3] = ["north", "south", "west"];

fn ring(nodes: usize) -> Ring {
    let member = |number: usize| {
        Arc::new(Member {
            id: NodeId::new(&format!("edge-{number}")),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 7946).into(),
            zone: ZONES[number % ZONES.len()].into(),
            pool: "default".into(),
            weight: 100,
            roles: [Role::Edge, Role::Cache].into(),
            state: State::Up,
            load: 0,
            version: "".into(),
        })
    };
    Ring::new((0..nodes).map(member).collect())
}

fn keys() -> Vec<KeyName> {
    let text = |number| format!("http://shop.example/images/{number}.jpg");
    (0..1024).map(|number: u32| KeyName::of(&text(number))).collect()
}

fn wanted(key: KeyName) -> Wanted<'static> {
    Wanted {
        key,
        pool: "default",
        zone: "north",
    }
}

fn scans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let keys = keys();
    for nodes in SIZES {
        let ring = ring(nodes);
        let loads = Loads::new(&ring);
        let bound = Bound::new(&Config::default());
        let draws = Draws::new(1);
        let mut next = keys.iter().cycle().copied();
        let mut wanted = || wanted(next.next().expect("a cycle has no end"));
        group.bench_function(BenchmarkId::new("candidates", nodes), |bencher| {
            bencher.iter(|| ring.candidates(black_box(&wanted())));
        });
        group.bench_function(BenchmarkId::new("fill order", nodes), |bencher| {
            bencher.iter(|| ring.fill_order(black_box(&wanted())));
        });
        group.bench_function(BenchmarkId::new("choice", nodes), |bencher| {
            bencher.iter(|| bound.choose(&ring, &loads, black_box(&wanted()), draws.draw()));
        });
    }
    group.finish();
}

fn heat(criterion: &mut Criterion) {
    let heat = Heat::new(&Config::default());
    heat.tick(clock::monotonic());
    let keys = keys();
    let mut next = keys.iter().cycle().copied();
    criterion.bench_function("heat/of one in 1,024 keys", |bencher| {
        bencher.iter(|| heat.note(black_box(next.next().expect("a cycle has no end"))));
    });
    let heat = Heat::new(&Config::default());
    criterion.bench_function("heat/of a hot key", |bencher| {
        bencher.iter(|| heat.note(black_box(keys[0])));
    });
}

criterion_group!(benches, scans, heat);
criterion_main!(benches);
