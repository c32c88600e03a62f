//! Where keys are, and who is asked for them: zones, pools, owners that have too much to do, and seeds by name.

use crate::cluster::{Cluster, PATIENT, Settings};
use crate::load::{HOST, Load, Pick};
use crate::network::{direct, proxied};
use crate::operation::{Expected, Fetches, Operation::*};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

const RELAYS: &str = "aquatint_cluster_answers_total{errand=\"relay\"}";
const SPILLED: &str = "aquatint_cluster_forwards_total{result=\"spilled\"}";

/// Two in each.
fn zone(node: usize) -> Settings {
    match node <= 2 {
        true => &[("zone", "a"), ("replication", "1")],
        false => &[("zone", "b"), ("replication", "1")],
    }
}

#[test]
fn a_request_is_answered_within_its_zone_and_only_misses_leave_it() {
    let cluster = Cluster::new(proxied(), PATIENT);
    cluster.with_particular(zone).run(&[
        Start(4),
        Ask(&[1], 0..120),
        AssertMetric(&[2], RELAYS, Expected::AtLeast(20.0)),
        AssertMetric(&[3, 4], RELAYS, Expected::Is(0.0)),
        // What the other zone's nodes own first they have fetched.
        AssertMetric(&[3, 4], FILLS, Expected::AtLeast(20.0)),
        Ask(&[1, 2, 3, 4], 0..120),
        AssertOriginFetches(Fetches::Each(0..120, 1)),
        AssertNoClientErrors,
    ]);
}

const FILLS: &str = "aquatint_cluster_answers_total{errand=\"fill\"}";

fn pool(node: usize) -> Settings {
    match node == 3 {
        true => &[("pool", "large"), ("replication", "1")],
        false => &[("replication", "1")],
    }
}

#[test]
fn a_prefix_that_is_pinned_to_a_pool_belongs_to_its_nodes_alone() {
    let cluster = Cluster::new(proxied(), PATIENT).with_particular(pool);
    let mut cluster =
        cluster.with_shape(|_, setup| setup.second_route("path", "/o").second_route("pool", "large"));
    cluster.run(&[
        Start(3),
        Ask(&[1, 2], 0..60),
        AssertMetric(&[3], RELAYS, Expected::Is(120.0)),
        AssertMetric(&[1, 2], RELAYS, Expected::Is(0.0)),
        AssertOriginFetches(Fetches::Each(0..60, 1)),
        AssertNoClientErrors,
    ]);
    let owner = |path: &str| {
        let url = format!("http://{HOST}{path}");
        let told = cluster.command(1, &["owner", &url, "--json"]).expect(0).json();
        let primary = told["primary"].as_str().unwrap();
        (told["pool"].as_str().unwrap().to_owned(), primary.to_owned())
    };
    for number in 0..8 {
        let pinned = owner(&format!("/o/{number}.png"));
        assert_eq!(pinned, ("large".to_owned(), "n3".to_owned()));
        let (pool, primary) = owner(&format!("/elsewhere/{number}.png"));
        assert_eq!(pool, "default");
        assert_ne!(primary, "n3");
    }
}

/// Few requests at once are too many.
const TIGHT: Settings = &[("replication", "1"), ("load_floor", "1"), ("load_factor", "1.05")];

const AT_ONE: Load = Load {
    nodes: &[1],
    objects: 0..100,
    pick: Pick::Hot,
    clients: 16,
    pause: Duration::ZERO,
};

#[test]
fn an_owner_that_has_more_to_do_than_others_is_passed_over_and_the_origin_asked_once() {
    let cluster = Cluster::new(proxied(), PATIENT).with_particular(|_| TIGHT);
    // Nothing is hot: everybody goes to the one owner.
    let mut cluster = cluster.with_shape(|_, setup| setup.cluster("hot_rate", "0"));
    cluster.run(&[
        Start(4),
        OriginDelay(Duration::from_millis(100)),
        BeginLoad(AT_ONE),
        AssertMetric(&[1], SPILLED, Expected::AtLeast(10.0)),
        EndLoad,
        AssertOriginFetches(Fetches::EachAtMost(1)),
        AssertNoClientErrors,
    ]);
}

#[test]
fn nodes_find_each_other_by_a_seed_with_a_name() {
    let port = unused_port();
    let cluster = Cluster::new(direct(), PATIENT);
    let mut cluster = cluster.with_shape(move |node, setup| {
        let setup = setup.cluster("seeds", format!("['localhost:{port}']"));
        match node {
            1 => setup
                .cluster("listen", format!("'127.0.0.1:{port}'"))
                .cluster("advertise", format!("'127.0.0.1:{port}'")),
            _ => setup,
        }
    });
    cluster.run(&[
        Start(3),
        Ask(&[1, 2, 3], 0..30),
        AssertOriginFetches(Fetches::Each(0..30, 1)),
        AssertNoClientErrors,
    ]);
}

/// Of both protocols, just now.
fn unused_port() -> u16 {
    let found = (0..100).find_map(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        UdpSocket::bind(at).ok().map(|_| at.port())
    });
    found.expect("a port is free")
}
