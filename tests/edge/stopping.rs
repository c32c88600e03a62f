//! SIGTERM: turn away the balancer, finish what is under way, keep what is stored, exit 0.

use crate::support::{Client, Edge, Gate, Origin, Reply, Setup, eventually, get, picture};
use aquatint::base::clock::monotonic;
use rustix::fs::FileType;
use std::time::Duration;

#[test]
fn an_idle_edge_exits_0() {
    let origin = Origin::start();
    assert_eq!(Edge::before(&origin).terminate().code(), Some(0));
}

#[test]
fn while_draining_it_is_alive_and_not_ready_and_still_serves() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).edge("drain_delay", "1h").start();
    edge.get("/a.png").expect_miss(b"image");
    assert_eq!(get(edge.admin_address(), "/readyz").status, 200);
    edge.ask_to_stop();
    eventually("it is not ready", || {
        (get(edge.admin_address(), "/readyz").status == 503).then_some(())
    });
    assert_eq!(get(edge.admin_address(), "/livez").status, 200);
    edge.get("/a.png").expect_hit(b"image");
}

#[test]
fn after_the_delay_it_exits_0() {
    let origin = Origin::start();
    let delay = Duration::from_millis(500);
    let edge = Setup::of(&origin).edge("drain_delay", "500ms").start();
    let asked = monotonic();
    assert_eq!(edge.terminate().code(), Some(0));
    assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
}

#[test]
fn a_request_under_way_is_finished_before_the_exit() {
    let (gate, body) = (Gate::closed(), picture(95, 500_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 200_000));
    let mut edge = Setup::of(&origin).edge("drain_deadline", "60s").start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]);
    let header = client.header().unwrap();
    assert_eq!(header.status, 200);
    edge.ask_to_stop();
    // New connections are turned away while the old request is still served.
    eventually("the listener is closed", || {
        std::net::TcpStream::connect(edge.address())
            .is_err()
            .then_some(())
    });
    gate.open();
    assert!(client.read_exactly(body.len()).unwrap() == body);
    assert_eq!(edge.wait_for_exit().code(), Some(0));
}

#[test]
fn a_fill_under_way_is_stored_before_the_exit() {
    let (gate, body) = (Gate::closed(), picture(96, 500_000));
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).body_held_by(&gate, 200_000));
    let setup = Setup::of(&origin).with_ssd().edge("drain_deadline", "60s");
    let mut edge = setup.start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]).header().unwrap();
    drop(client);
    edge.ask_to_stop();
    gate.open();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    let edge = setup.start();
    edge.get("/a.png").expect_hit(&body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn what_never_ends_is_given_up_at_the_deadline() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image").header_held_by(&gate));
    let mut edge = Setup::of(&origin).edge("drain_deadline", "300ms").start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]);
    gate.wait_for_held(1);
    edge.ask_to_stop();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    gate.open();
}

#[test]
fn idle_connections_do_not_hold_up_the_exit() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let mut edge = Setup::of(&origin).edge("drain_deadline", "1h").start();
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.get("/a.png").expect(200, b"image");
    }
    edge.ask_to_stop();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    assert!(clients.iter_mut().all(Client::is_closed));
}

#[test]
fn told_a_second_time_it_ends_at_once() {
    for step in ["drain_delay", "drain_deadline"] {
        let gate = Gate::closed();
        let origin = Origin::with("/a.png", Reply::fresh("image").header_held_by(&gate));
        let mut edge = Setup::of(&origin).with_ssd().edge(step, "1h").start();
        let mut client = Client::connect(edge.address());
        client.send_request("GET", "/a.png", &[]);
        gate.wait_for_held(1);
        edge.ask_to_stop();
        eventually("it is not ready", || {
            (get(edge.admin_address(), "/readyz").status == 503).then_some(())
        });
        edge.ask_to_stop();
        assert_eq!(edge.wait_for_exit().code(), Some(1), "{step}");
        eventually("the reason is told", || {
            edge.stderr().contains("a second time").then_some(())
        });
        gate.open();
    }
}

/// A log whose reader stands still: the writer hangs in a write that never ends.
#[test]
fn a_log_that_nobody_reads_holds_up_neither_the_exit_nor_the_cache() {
    let body = picture(97, 50_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    // What the cache may take to be written, and the log takes in vain.
    let setup = Setup::of(&origin).with_ssd().edge("drain_deadline", "5s");
    let pipe = setup.directory().join("log");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    let _reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let logged = setup
        .clone()
        .edge("access_log", format!("{{to: '{}'}}", pipe.display()));
    let mut edge = logged.start();
    edge.get("/a.png").expect_miss(&body);
    let long = format!("/{}.png", "x".repeat(4000));
    for _ in 0..50 {
        edge.get(&long);
    }
    edge.ask_to_stop();
    assert_eq!(edge.wait_for_exit().code(), Some(0));
    eventually("the loss is told", || {
        edge.stderr()
            .contains("the access log takes nothing any more")
            .then_some(())
    });
    let edge = setup.start();
    edge.get("/a.png").expect_hit(&body);
}
