//! Conditions of clients on what is stored: 304 and 412.

use crate::support::{Answer, Edge, Origin, Reply, request};

const ETAG: &str = "\"v1\"";
const DATE: &str = "Tue, 01 Jul 2025 10:00:00 GMT";
const EARLIER: &str = "Tue, 01 Jul 2025 09:00:00 GMT";
const LATER: &str = "Tue, 01 Jul 2025 11:00:00 GMT";

fn stored() -> (Origin, Edge) {
    let reply = Reply::fresh("image")
        .header("etag", ETAG)
        .header("last-modified", DATE);
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    (origin, edge)
}

fn asked(edge: &Edge, name: &str, value: &str) -> Answer {
    edge.get_with("/a.png", &[(name, value)])
}

#[test]
fn a_client_that_has_the_image_gets_304_without_a_body() {
    let (origin, edge) = stored();
    for (name, value) in [
        ("If-None-Match", ETAG),
        ("If-None-Match", "W/\"v1\""),
        ("If-None-Match", "\"v0\", \"v1\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", DATE),
        ("If-Modified-Since", LATER),
    ] {
        let answer = asked(&edge, name, value);
        answer.expect(304, b"");
        assert_eq!(answer.said("etag"), ETAG, "{name}: {value}");
        assert!(answer.has("cache-control") && answer.has("date"), "{answer:?}");
        assert!(answer.is_hit(), "{answer:?}");
    }
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_client_that_has_another_image_gets_this_one() {
    let (_origin, edge) = stored();
    for (name, value) in [
        ("If-None-Match", "\"v0\""),
        ("If-None-Match", "\"v10\""),
        ("If-None-Match", "v1"),
        ("If-Modified-Since", EARLIER),
        ("If-Modified-Since", "yesterday"),
    ] {
        asked(&edge, name, value).expect_hit(b"image");
    }
}

#[test]
fn the_tag_decides_where_a_client_sends_tag_and_date() {
    let (_origin, edge) = stored();
    let both = [("If-None-Match", "\"v0\""), ("If-Modified-Since", LATER)];
    edge.get_with("/a.png", &both).expect_hit(b"image");
}

#[test]
fn a_304_keeps_the_connection_in_step() {
    let (_origin, edge) = stored();
    let mut client = crate::support::Client::connect(edge.address());
    for _ in 0..3 {
        client
            .ask("GET", "/a.png", &[("If-None-Match", ETAG)])
            .expect(304, b"");
        client.get("/a.png").expect_hit(b"image");
    }
}

#[test]
fn head_is_304_under_the_same_conditions() {
    let (_origin, edge) = stored();
    let head = request(edge.address(), "HEAD", "/a.png", &[("If-None-Match", ETAG)]);
    head.expect(304, b"");
}

#[test]
fn a_failed_precondition_is_412() {
    let (_origin, edge) = stored();
    for (name, value) in [
        ("If-Match", "\"v0\""),
        ("If-Match", "W/\"v1\""),
        ("If-Unmodified-Since", EARLIER),
    ] {
        let answer = asked(&edge, name, value);
        assert_eq!(answer.status, 412, "{name}: {value}: {answer:?}");
    }
    for (name, value) in [
        ("If-Match", ETAG),
        ("If-Match", "*"),
        ("If-Unmodified-Since", DATE),
    ] {
        asked(&edge, name, value).expect_hit(b"image");
    }
}

/// The condition is the client's; a fill that carried it would store a 304 or a 412 for everyone.
#[test]
fn a_clients_condition_on_a_miss_never_reaches_the_origin() {
    let reply = Reply::fresh("image")
        .header("etag", ETAG)
        .header("last-modified", DATE);
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    asked(&edge, "If-None-Match", ETAG).expect(304, b"");
    let fill = origin.last("/a.png");
    for name in [
        "if-none-match",
        "if-modified-since",
        "if-match",
        "if-unmodified-since",
        "if-range",
    ] {
        assert!(!fill.has(name), "{fill:?}");
    }
    edge.wait_for_fills();
    edge.get("/a.png").expect_hit(b"image");
}
