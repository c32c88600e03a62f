//! Whose time `Date` is: a cache hands on what the origin said (RFC 9111 section 4, RFC 9110 section 6.6.1).

use crate::support::{Answer, Certificate, Client, Edge, Gate, Origin, Reply, Setup, picture};
use std::thread;
use std::time::Duration;

const THEN: &str = "Tue, 01 Jul 2025 10:00:00 GMT";

/// Fresh in spite of its age.
fn dated(body: impl Into<Vec<u8>>) -> Reply {
    Reply::of(body)
        .header("cache-control", "max-age=1000000000")
        .header("date", THEN)
        .header("etag", "\"a\"")
}

#[track_caller]
fn assert_dated_now(answer: &Answer) {
    let date = answer.said("date");
    assert!(date != THEN && date.len() == THEN.len(), "{answer:?}");
    assert_eq!(
        answer.headers.iter().filter(|(name, _)| name == "date").count(),
        1
    );
}

#[track_caller]
fn assert_dated_then(answer: &Answer) {
    let dates: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "date").collect();
    assert_eq!(dates, [&("date".to_owned(), THEN.to_owned())], "{answer:?}");
}

#[test]
fn a_stored_response_keeps_its_date_in_every_form() {
    let origin = Origin::with("/a.png", dated("image"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let miss = client.get("/a.png");
    assert_dated_then(miss.expect_miss(b"image"));
    let hit = client.get("/a.png");
    assert_dated_then(hit.expect_hit(b"image"));
    assert_dated_then(client.ask("HEAD", "/a.png", &[]).expect(200, b""));
    let unchanged = client.ask("GET", "/a.png", &[("If-None-Match", "\"a\"")]);
    assert_dated_then(unchanged.expect(304, b""));
    let part = client.ask("GET", "/a.png", &[("Range", "bytes=1-2")]);
    assert_dated_then(part.expect(206, b"ma"));
}

#[test]
fn the_edges_own_answers_are_dated_now_also_after_a_stored_one() {
    let origin = Origin::with("/a.png", dated("image"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for _ in 0..2 {
        assert_dated_then(&client.get("/a.png"));
        assert_dated_now(&client.ask("TRACE", "/a.png", &[]));
        assert_dated_now(&client.ask("GET", "/a.png", &[("Range", "bytes=9-")]));
        assert_dated_now(&client.ask("GET", "/a.png", &[("If-Match", "\"b\"")]));
    }
}

#[test]
fn requests_sent_at_once_are_each_answered_with_their_own_date() {
    let origin = Origin::with("/a.png", dated("image"));
    origin.set("/b.png", Reply::fresh("other"));
    let edge = Edge::before(&origin);
    edge.get("/a.png");
    edge.get("/b.png");
    edge.wait_for_fills();
    let mut client = Client::connect(edge.address());
    for _ in 0..20 {
        client
            .send_request("GET", "/a.png", &[])
            .send_request("GET", "/b.png", &[]);
    }
    for _ in 0..20 {
        assert_dated_then(&client.answer());
        assert_dated_now(&client.answer());
    }
}

#[test]
fn a_passed_response_keeps_its_date() {
    let origin = Origin::with("/form", dated("done"));
    origin.set("/chunked", dated("done").chunked());
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for target in ["/form", "/chunked"] {
        let answer = client.ask("POST", target, &[("Content-Length", "0")]);
        assert_dated_then(answer.expect(200, b"done"));
    }
}

#[test]
fn a_large_body_follows_its_date_unharmed() {
    let body = picture(7, 3_000_000);
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", dated(body.clone()).body_held_by(&gate, 100_000));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("GET", "/a.png", &[]);
    let header = client.header().unwrap();
    assert_dated_then(&header);
    gate.open();
    assert!(client.read_exactly(body.len()).unwrap() == body);
    edge.wait_for_fills();
    let hit = client.get("/a.png");
    assert_dated_then(&hit);
    assert!(hit.body == body);
}

#[test]
fn dates_pass_through_tls_and_to_many_at_once() {
    let certificate = Certificate::new();
    let origin = Origin::with("/a.png", dated(picture(8, 200_000)));
    let edge = Setup::of(&origin).with_tls(&certificate).start();
    edge.get("/a.png");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect_tls(edge.tls_address(), &certificate);
                for _ in 0..10 {
                    assert_dated_then(&client.get("/a.png"));
                }
            });
        }
    });
}

/// A body may hold what looks like a date; a date in an obsolete form, or none, gives way to the time of sending.
#[test]
fn only_a_date_in_todays_form_takes_the_place_of_now() {
    let body = format!("\r\nDate: {THEN}\r\n\r\nHTTP/1.1 200 OK\r\nDate: {THEN}\r\n\r\n");
    let origin = Origin::with("/none.png", Reply::fresh(body.clone()));
    for (target, date) in [
        ("/rfc850.png", "Tuesday, 01-Jul-25 10:00:00 GMT"),
        ("/asctime.png", "Tue Jul  1 10:00:00 2025"),
        ("/garbage.png", "yesterday"),
    ] {
        origin.set(target, dated(body.clone()).header("date", date));
    }
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for target in ["/none.png", "/rfc850.png", "/asctime.png", "/garbage.png"] {
        let answer = client.get(target);
        assert_eq!(answer.body, body.as_bytes(), "{target}");
        assert_dated_now(&answer);
    }
}

/// What is written as it comes is dated like all else.
#[test]
fn a_body_that_trickles_keeps_its_date() {
    let body = picture(9, 2000);
    let origin = Origin::with(
        "/form",
        dated(body.clone())
            .chunked()
            .trickling(500, Duration::from_millis(2)),
    );
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let answer = client.ask("POST", "/form", &[("Content-Length", "0")]);
    assert_dated_then(answer.expect(200, &body));
}
