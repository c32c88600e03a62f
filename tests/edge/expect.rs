//! `Expect: 100-continue` from the client to the origin and back (RFC 9110 section 10.1.1).

use crate::support::{Client, Edge, Gate, HOST, Origin, Reply, Setup};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// An origin that plays a script on each connection, and what it tells the test.
fn playing(script: impl Fn(&mut Visit) + Send + 'static) -> (Setup, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (said, heard) = sync_channel(8);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut visit = Visit(BufReader::new(stream));
            said.send(visit.header()).ok();
            script(&mut visit);
        }
    });
    (Setup::without_origin().origin("url", url), heard)
}

struct Visit(BufReader<TcpStream>);

impl Visit {
    fn header(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") && self.0.read_line(&mut text).unwrap_or(0) > 0 {}
        text.to_lowercase()
    }

    fn body(&mut self) -> [u8; 5] {
        let mut body = [0; 5];
        self.0.read_exact(&mut body).unwrap();
        body
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }
}

fn send_header(client: &mut Client) {
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    ));
}

#[test]
fn the_client_goes_on_when_the_origin_says_so_and_not_before() {
    let gate = Gate::closed();
    let held = gate.clone();
    let (setup, heard) = playing(move |visit| {
        held.pass();
        visit.say("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(&visit.body(), b"hello");
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let edge = setup.origin("expect_wait", "1h").start();
    let mut client = Client::connect(edge.address());
    send_header(&mut client);
    let asked = heard.recv().unwrap();
    assert!(asked.contains("expect: 100-continue\r\n"), "{asked}");
    gate.wait_for_held(1);
    assert!(client.is_silent());
    gate.open();
    assert_eq!(client.header().unwrap().status, 100);
    client.send("hello").answer().expect(200, b"done");
    client
        .get("/.aquatint/none")
        .expect(404, b"there is nothing at this reserved path\n");
}

#[test]
fn a_refusal_reaches_the_client_and_its_body_is_never_asked_for() {
    let (setup, _heard) = playing(|visit| {
        visit.say("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
        // Nothing comes but the connection's end.
        assert_eq!(visit.0.read(&mut [0; 1]).unwrap_or(0), 0);
    });
    let edge = setup.origin("expect_wait", "1h").start();
    let mut client = Client::connect(edge.address());
    send_header(&mut client);
    let answer = client.header().unwrap();
    assert_eq!((answer.status, answer.said("connection")), (413, "close"));
    assert_eq!(client.rest(), b"no");
}

#[test]
fn hints_come_before_the_100_where_the_origin_says_them_first() {
    let (setup, _heard) = playing(|visit| {
        visit.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        visit.body();
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let edge = setup.origin("expect_wait", "1h").start();
    let mut client = Client::connect(edge.address());
    send_header(&mut client);
    assert_eq!(client.header().unwrap().status, 103);
    assert_eq!(client.header().unwrap().status, 100);
    client.send("hello").answer().expect(200, b"done");
}

#[test]
fn an_origin_that_says_nothing_is_waited_for_a_while_only() {
    let (setup, _heard) = playing(|visit| {
        visit.body();
        visit.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let edge = setup.origin("expect_wait", "50ms").start();
    let mut client = Client::connect(edge.address());
    send_header(&mut client);
    assert_eq!(client.header().unwrap().status, 100);
    client.send("hello").answer().expect(200, b"done");
}

#[test]
fn an_expectation_nobody_can_meet_is_417() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for expectation in ["200-ok", "100-continue, moon"] {
        let headers = [("Content-Length", "0"), ("Expect", expectation)];
        assert_eq!(client.ask("POST", "/form", &headers).status, 417, "{expectation}");
    }
    assert_eq!(origin.count("/form"), 0);
}

#[test]
fn an_http10_clients_expectation_is_as_if_it_were_not_there() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Edge::before(&origin);
    for expectation in ["100-continue", "200-ok"] {
        let mut client = Client::connect(edge.address());
        client.send(format!(
            "POST /form HTTP/1.0\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: {expectation}\r\n\r\nhello"
        ));
        assert_eq!(client.header().unwrap().status, 200);
        assert!(!origin.last("/form").has("expect"));
    }
}

/// Some clients send it with every request.
#[test]
fn an_expectation_without_a_body_is_met_by_the_answer() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/form", Reply::of("done"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let expecting = [("Expect", "100-continue")];
    for _ in 0..2 {
        client.send_request("GET", "/a.png", &expecting);
        assert_eq!(client.header().unwrap().status, 200);
        assert_eq!(client.read_exactly(5).unwrap(), b"image");
    }
    client.send_request("DELETE", "/form", &expecting);
    assert_eq!(client.header().unwrap().status, 200);
    assert!(!origin.last("/a.png").has("expect") && !origin.last("/form").has("expect"));
}
