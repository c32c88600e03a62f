//! How long a connection lives and how it ends.

use crate::support::{Client, Edge, Gate, HOST, Origin, Reply, Setup, eventually, picture};

fn origin() -> Origin {
    Origin::with("/a.png", Reply::fresh("image"))
}

#[test]
fn a_connection_serves_so_many_requests_and_says_when_it_ends() {
    let origin = origin();
    let edge = Setup::of(&origin).edge("keepalive_requests", "3").start();
    let mut client = Client::connect(edge.address());
    for _ in 0..2 {
        let answer = client.get("/a.png");
        answer.expect(200, b"image");
        assert_ne!(answer.header("connection"), Some("close"));
    }
    let last = client.get("/a.png");
    last.expect(200, b"image");
    assert_eq!(last.header("connection"), Some("close"), "{last:?}");
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = origin();
    let edge = Setup::of(&origin).edge("keepalive_idle", "1s").start();
    let mut client = Client::connect(edge.address());
    client.get("/a.png").expect(200, b"image");
    assert!(client.is_closed());
    // Nor does one stay that never says a word.
    let setup = Setup::of(&origin)
        .edge("keepalive_idle", "1s")
        .edge("header_deadline", "200ms");
    let edge = setup.start();
    assert!(Client::connect(edge.address()).is_closed());
}

#[test]
fn a_client_may_end_the_connection() {
    let origin = origin();
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let answer = client.ask("GET", "/a.png", &[("Connection", "close")]);
    answer.expect(200, b"image");
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    assert!(client.is_closed());
}

#[test]
fn http_1_0_is_answered_whole_and_closed() {
    let body = picture(80, 100_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).chunked());
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        let mut client = Client::connect(edge.address());
        client.send(format!("GET /a.png HTTP/1.0\r\nHost: {HOST}\r\n\r\n"));
        let answer = client.answer();
        answer.expect(200, &body);
        assert!(
            !answer.has("transfer-encoding"),
            "HTTP/1.0 knows no chunks: {answer:?}"
        );
        assert!(client.is_closed());
        edge.wait_for_fills();
    }
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let body = picture(81, 30 << 20);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Setup::of(&origin).edge("write_deadline", "300ms").start();
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]).header().unwrap();
    edge.wait_for_fills();
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests == 0.0);
    assert!(
        client.read_exactly(body.len()).is_err(),
        "the rest was sent to nobody"
    );
    edge.get_despite_deadlines("/a.png").expect(200, &body);
}

#[test]
fn a_client_that_stops_in_its_body_is_let_go() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Setup::of(&origin).edge("read_deadline", "200ms").start();
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nhalf"
    ));
    let rest = client.rest();
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests == 0.0);
}

#[test]
fn a_client_that_half_closes_does_not_end_the_fill() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let mut leaving = Client::connect(edge.address());
    leaving.send_request("GET", "/a.png", &[]);
    gate.wait_for_held(1);
    leaving.finish_sending();
    gate.open();
    // To treat it as gone is allowed, to fail the image for others is not.
    leaving.try_answer_to("GET").ok();
    edge.wait_for_fills();
    edge.get("/a.png").expect(200, b"image");
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_go_on() {
    let origin = origin();
    let edge = Setup::of(&origin).edge("connections_max", "2").start();
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.get("/a.png").expect(200, b"image");
    }
    assert!(Client::connect(edge.address()).is_closed());
    clients[0].get("/a.png").expect_hit(b"image");
    drop(clients.pop());
    eventually("a place is free", || {
        let mut client = Client::connect(edge.address());
        client.send_request("GET", "/a.png", &[]);
        client
            .try_answer_to("GET")
            .ok()
            .filter(|answer| answer.status == 200)
    });
}
