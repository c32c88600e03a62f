//! SIGQUIT: another process takes the edge's place, its sockets and its cache, and nobody notices.

use crate::support::command::{command, json_of, ran};
use crate::support::load::{Load, Way};
use crate::support::{
    Certificate, Client, Edge, Gate, Http2, Origin, Reply, Setup, eventually, get, picture,
};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::PermissionsExt;

const EVERY_WAY: [Way; 6] = [
    Way::Kept,
    Way::Kept,
    Way::NewEachTime,
    Way::KeptTls,
    Way::NewTlsEachTime,
    Way::Http2,
];

/// What a retired process may ask on: each connection that was kept asks once more, and on HTTP/2 what is under way.
const LAST_REQUESTS: usize = 16;

fn with_images(origin: &Origin) -> [(&'static str, Vec<u8>); 2] {
    let images = [("/a.png", picture(1, 30_000)), ("/b.png", picture(2, 2_500_000))];
    for (target, body) in &images {
        origin.set(target, Reply::fresh(body.clone()));
    }
    images
}

#[test]
fn under_load_no_request_fails_and_the_cache_is_kept() {
    let origin = Origin::start();
    let images = with_images(&origin);
    let certificate = Certificate::new();
    let setup = Setup::of(&origin).with_ssd().with_tls(&certificate);
    let mut edge = setup.edge("drain_deadline", "60s").start();
    for (target, body) in &images {
        edge.get(target).expect_miss(body);
    }
    // Two entries, and bodies of one part and of three.
    edge.wait_for_metric("aquatint_ssd_writes_total{kind=\"blobs\"}", |parts| parts >= 4.0);
    edge.wait_for_ssd_writes(2.0);
    let targets = images.each_ref().map(|(target, body)| (*target, &body[..]));
    let load = Load::on(&edge, Some(certificate), &targets, &EVERY_WAY);
    load.go_on_for(100);
    let second = edge.hand_over();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    load.go_on_for(100);
    let third = edge.hand_over_again(&second);
    second.wait_for_exit();
    load.go_on_for(100);
    load.stop();
    for (target, body) in &images {
        let asked = origin.count(target);
        assert!(asked <= 1 + 2 * LAST_REQUESTS, "{target}: {asked}");
        edge.get(target).expect_hit(body);
        assert_eq!(origin.count(target), asked);
    }
    third.terminate();
}

#[test]
fn what_was_purged_before_stays_purged_and_the_new_process_purges() {
    let origin = Origin::with("/a.png", Reply::fresh("one").header("Cache-Tag", "t"));
    let edge = Setup::of(&origin).with_ssd().with_key().start();
    edge.get("/a.png").expect_miss(b"one");
    edge.wait_for_ssd_writes(1.0);
    let first = edge.purge("{\"tags\": [\"t\"]}").index();
    origin.set("/a.png", Reply::fresh("two").header("Cache-Tag", "t"));
    let _second = edge.hand_over();
    edge.get("/a.png").expect_fetched(b"two");
    assert!(edge.purge("{\"tags\": [\"t\"]}").index() > first);
    origin.set("/a.png", Reply::fresh("three"));
    edge.get("/a.png").expect_fetched(b"three");
}

#[test]
fn who_still_asks_the_old_process_is_answered_nothing_that_the_new_one_has_purged() {
    let origin = Origin::with("/a.png", Reply::fresh("one"));
    let setup = Setup::of(&origin).with_ssd().with_key();
    let mut edge = setup.edge("drain_deadline", "60s").start();
    let mut kept = Client::connect(edge.address());
    kept.get("/a.png").expect_miss(b"one");
    kept.get("/a.png").expect_hit(b"one");
    edge.wait_for_ssd_writes(1.0);
    let _second = edge.hand_over();
    edge.purge("{\"files\": [\"http://images.example/a.png\"]}");
    origin.set("/a.png", Reply::fresh("two"));
    let answer = kept.get("/a.png");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"two"[..]));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(kept.is_closed());
    assert_eq!(edge.wait_for_exit().code(), Some(0));
}

/// While the voter stands still the successor can not open what it follows, so that there is time to look.
#[test]
fn a_follower_of_the_log_answers_from_its_cache_until_its_successor_serves() {
    let origin = Origin::with("/a.png", Reply::fresh("one"));
    let secret = ran(command(&["key", "--cluster", "--json"]), "").expect(0).json();
    let in_cluster = |name: &str| {
        let setup = Setup::of(&origin).with_ssd().with_key().edge("name", name);
        let setup = setup
            .cluster("listen", "'127.0.0.1:0'")
            .cluster("voters", "[voter]");
        let setup = setup.cluster("secret", secret["secret"].to_string());
        setup.cluster("lease", "60s").purge("start_patience", "60s")
    };
    let voter = in_cluster("voter").cluster("roles", "[edge]").start();
    let told = json_of(&voter.api("GET", "/api/v1/cluster", "", &[]));
    let told = &told["members"][0];
    assert_eq!(told["roles"], serde_json::json!(["edge", "voter"]), "{told}");
    let seeds = format!("[{}]", told["address"]);
    let edge = in_cluster("follower").cluster("seeds", seeds).start();
    edge.wait_for_metric("aquatint_purge_lease_held", |held| held == 1.0);
    eventually("it is a hit", || edge.get("/a.png").is_hit().then_some(()));
    let signal = |signal| kill_process(Pid::from_raw(voter.id().cast_signed()).unwrap(), signal).unwrap();
    signal(Signal::STOP);
    edge.ask_to_hand_over();
    eventually("the successor waits for the voter", || {
        let told = edge.stderr();
        told.contains("the start waits for the voter").then_some(())
    });
    edge.get("/a.png").expect_hit(b"one");
    signal(Signal::CONT);
    let _second = edge.wait_for_successor(0);
    edge.wait_for_metric("aquatint_purge_lease_held", |held| held == 1.0);
    // The old process has given its own back.
    voter.wait_for_metric("aquatint_purge_followers{state=\"leased\"}", |leased| {
        leased == 1.0
    });
}

/// Its parts are read from the SSD, which is the new process's by then.
#[test]
fn a_download_under_way_is_finished_by_the_old_process() {
    let body = picture(3, 24 << 20);
    let origin = Origin::with("/large.png", Reply::fresh(body.clone()));
    let setup = Setup::of(&origin).with_ssd().edge("drain_deadline", "60s");
    let before = setup.start();
    before.get("/large.png").expect_miss(&body);
    before.wait_for_metric("aquatint_ssd_writes_total{kind=\"blobs\"}", |parts| parts >= 24.0);
    before.wait_for_ssd_writes(1.0);
    before.terminate();
    let mut edge = setup.start();
    let mut client = Client::connect(edge.address());
    assert_eq!(
        client
            .send_request("GET", "/large.png", &[])
            .header()
            .unwrap()
            .status,
        200
    );
    let _second = edge.hand_over();
    edge.get("/large.png").expect_hit(&body);
    assert!(client.read_exactly(body.len()).unwrap() == body);
    drop(client);
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    assert_eq!(origin.count("/large.png"), 1);
}

#[test]
fn a_fill_under_way_is_finished_by_the_old_process() {
    let (gate, body) = (Gate::closed(), picture(4, 500_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 200_000));
    let setup = Setup::of(&origin).with_ssd().edge("drain_deadline", "60s");
    let mut edge = setup.start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]).header().unwrap();
    let _second = edge.hand_over();
    gate.open();
    assert!(client.read_exactly(body.len()).unwrap() == body);
    drop(client);
    assert_eq!(edge.wait_for_exit().code(), Some(0));
}

#[test]
fn connections_over_http2_are_told_to_go_elsewhere() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let mut edge = Setup::of(&origin)
        .with_ssd()
        .edge("drain_deadline", "60s")
        .start();
    let mut client = Http2::connect(edge.address());
    assert_eq!(client.get("/a.png").status, 200);
    let _second = edge.hand_over();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    assert!(client.ask("GET", "/a.png", &[]).is_err());
    assert_eq!(Http2::connect(edge.address()).get("/a.png").body, b"image");
}

#[test]
fn a_process_that_can_not_start_leaves_the_old_one_serving_with_its_cache() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin).with_ssd().with_key();
    let edge = setup.start();
    edge.get("/a.png").expect_miss(b"image");
    std::fs::write(setup.directory().join("aquatint.yaml"), "nonsense: 1\n").unwrap();
    edge.ask_to_hand_over();
    eventually("it is told", || {
        edge.stderr().contains("not handed over").then_some(())
    });
    edge.get("/a.png").expect_hit(b"image");
    edge.purge("{\"purge_everything\": true}");
    edge.get("/a.png").expect_fetched(b"image");
    assert_eq!(get(edge.admin_address(), "/readyz").status, 200);
    assert_eq!(edge.terminate().code(), Some(0));
}

/// It says that it is prepared, is given cache and log, and dies.
const TREACHEROUS: &str = "#!/bin/sh\necho prepared >&0\nread -r line\nexit 1\n";

#[test]
fn when_the_new_process_dies_with_the_cache_in_its_hands_the_old_program_takes_it_up_again() {
    let origin = Origin::start();
    let images = with_images(&origin);
    let setup = Setup::of(&origin)
        .with_ssd()
        .with_key()
        .edge("drain_deadline", "60s");
    let binary = setup.directory().join("aquatint");
    std::fs::copy(env!("CARGO_BIN_EXE_aquatint"), &binary).unwrap();
    let mut edge = setup.start_from(&binary);
    for (target, body) in &images {
        edge.get(target).expect_miss(body);
    }
    edge.wait_for_metric("aquatint_ssd_writes_total{kind=\"blobs\"}", |parts| parts >= 4.0);
    edge.wait_for_ssd_writes(2.0);
    std::fs::remove_file(&binary).unwrap();
    std::fs::write(&binary, TREACHEROUS).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let targets = images.each_ref().map(|(target, body)| (*target, &body[..]));
    let load = Load::on(&edge, None, &targets, &[Way::Kept, Way::NewEachTime]);
    load.go_on_for(20);
    let _second = edge.hand_over();
    load.go_on_for(20);
    load.stop();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    for (target, body) in &images {
        edge.get(target).expect_hit(body);
    }
    edge.purge("{\"purge_everything\": true}");
}

#[test]
fn without_an_ssd_the_new_process_begins_with_an_empty_cache() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let mut edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let _second = edge.hand_over();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    edge.get("/a.png").expect_miss(b"image");
}
