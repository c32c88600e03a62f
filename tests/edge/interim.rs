//! Interim responses: what an origin says before its answer reaches who can hear it (RFC 9110 section 15.2, RFC 8297).

use crate::support::http2::Http2;
use crate::support::{Client, Edge, Gate, HOST, Origin, Reply, Setup, request};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n\r\n";

/// An origin that hints, and answers a POST when the gate is opened.
fn hinting(gate: &Gate) -> Origin {
    Origin::with("/form", Reply::of("done").preceded_by(HINTS).header_held_by(gate))
}

fn open() -> Gate {
    let gate = Gate::closed();
    gate.open();
    gate
}

/// RFC 9110 section 7.6.1 for the headers of this hop.
#[test]
fn early_hints_reach_the_client_before_the_answer_is_there() {
    let gate = Gate::closed();
    let origin = hinting(&gate);
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("POST", "/form", &[("Content-Length", "0")]);
    let hints = client.header().unwrap();
    assert_eq!((hints.status, hints.said("link")), (103, "</a.css>"));
    assert_eq!(hints.headers.len(), 1, "{hints:?}");
    gate.open();
    client.answer().expect(200, b"done");
    client
        .ask("POST", "/form", &[("Content-Length", "0")])
        .expect(200, b"done");
}

#[test]
fn a_connection_is_kept_after_a_body_and_a_hint() {
    let origin = hinting(&open());
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for _ in 0..2 {
        client.send_request("POST", "/form", &[("Content-Length", "5")]);
        client.send("hello");
        assert_eq!(client.header().unwrap().status, 103);
        client.answer().expect(200, b"done");
    }
    assert_eq!(origin.last("/form").body, b"hello");
}

#[test]
fn several_interim_responses_keep_their_order_and_a_100_nobody_waits_for_is_none_of_them() {
    let said = [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n",
    ];
    let origin = Origin::with("/form", Reply::of("done").preceded_by(&said.concat()));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("POST", "/form", &[("Content-Length", "0")]);
    let heard: Vec<_> = (0..3)
        .map(|_| client.header().unwrap())
        .map(|hint| (hint.status, hint.header("link").map(str::to_owned)))
        .collect();
    assert_eq!(
        heard,
        [
            (102, None),
            (103, Some("</a>".into())),
            (103, Some("</b>".into()))
        ]
    );
    client.answer().expect(200, b"done");
}

/// RFC 9110 section 15.2: HTTP/1.0 has none. Pingora has none on HTTP/2.
#[test]
fn a_client_that_can_not_be_sent_hints_gets_the_answer_alone() {
    let origin = hinting(&open());
    let edge = Edge::before(&origin);
    let mut old = Client::connect(edge.address());
    old.send(format!(
        "POST /form HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n"
    ));
    assert_eq!(old.header().unwrap().status, 200);
    let answer = Http2::connect(edge.address()).ask("POST", "/form", &[]).unwrap();
    answer.expect(200, b"done");
}

#[test]
fn hints_without_end_are_cut_off_and_answered_for() {
    let endless = HINTS.repeat(1000);
    let origin = Origin::with("/form", Reply::raw(endless));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("POST", "/form", &[("Content-Length", "0")]);
    let mut hints = 0;
    let answer = loop {
        let header = client.header().unwrap();
        match header.status {
            103 => hints += 1,
            _ => break header,
        }
    };
    assert_eq!((answer.status, hints), (502, 32), "{answer:?}");
}

#[test]
fn a_hint_does_not_stretch_the_deadline_of_the_answer() {
    let origin = hinting(&Gate::closed());
    let edge = Setup::of(&origin).origin("first_byte_deadline", "100ms").start();
    let answer = request(edge.address(), "POST", "/form", &[("Content-Length", "0")]);
    assert_eq!(answer.status, 504, "{answer:?}");
}

#[test]
fn switching_protocols_unasked_is_no_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let origin = Origin::with("/form", Reply::raw(format!("{HINTS}{switch}anything")));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let headers = [
        ("Content-Length", "0"),
        ("Connection", "upgrade"),
        ("Upgrade", "x"),
    ];
    client.send_request("POST", "/form", &headers);
    assert_eq!(client.header().unwrap().status, 103);
    assert_eq!(client.header().unwrap().status, 502);
}

#[test]
fn a_hint_after_the_answer_reaches_nobody() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    let origin = Origin::with("/form", Reply::raw(format!("{answer}{HINTS}")));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request(
        "POST",
        "/form",
        &[("Content-Length", "0"), ("Connection", "close")],
    );
    let said = String::from_utf8(client.rest()).unwrap();
    assert!(said.starts_with("HTTP/1.1 ") && !said.contains("103"), "{said}");
}

#[test]
fn a_client_that_leaves_after_a_hint_harms_nobody_else() {
    let gate = Gate::closed();
    let origin = hinting(&gate);
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("POST", "/form", &[("Content-Length", "0")]);
    assert_eq!(client.header().unwrap().status, 103);
    drop(client);
    gate.open();
    request(edge.address(), "POST", "/form", &[("Content-Length", "0")]).expect(200, b"done");
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests == 0.0);
}

/// They may be meant for what that one said, which a later one need not have said.
#[test]
fn hints_of_a_shared_answer_go_to_the_one_whose_request_reached_the_origin() {
    let gate = Gate::closed();
    let reply = Reply::fresh("image").preceded_by(HINTS).header_held_by(&gate);
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    let mut first = Client::connect(edge.address());
    first.send_request("GET", "/a.png", &[]);
    assert_eq!(first.header().unwrap().status, 103);
    let mut second = Client::connect(edge.address());
    second.send_request("GET", "/a.png", &[]);
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 2.0);
    gate.open();
    let header = second.header().unwrap();
    assert_eq!(header.status, 200, "{header:?}");
    first.answer().expect(200, b"image");
    assert_eq!(origin.count("/a.png"), 1);
}
