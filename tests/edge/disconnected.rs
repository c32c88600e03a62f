//! An origin that can not be reached, or hangs up: when a stale image stands in for it (RFC 9111 section 4.2.4, RFC 5861
//! section 4).

use crate::support::{Edge, Gate, Origin, Reply, Setup, eventually};

const TARGET: &str = "/a.png";
const ETAG: &str = "\"v1\"";

fn controlled(control: &str) -> Reply {
    Reply::of("old")
        .header("etag", ETAG)
        .header("cache-control", control)
}

/// An edge that has what the origin said, on a route that serves it stale where the origin is away.
fn stored(control: &str) -> (Origin, Edge) {
    let origin = Origin::with(TARGET, controlled(control));
    let edge = Setup::of(&origin)
        .route("ttl", "{stale_on_disconnect: 1h}")
        .start();
    edge.get(TARGET).expect_fetched(b"old");
    (origin, edge)
}

#[track_caller]
fn expect_stale(edge: &Edge) {
    let answer = edge.get_past_freshness(TARGET);
    answer.expect(200, b"old");
    assert!(answer.cache_status().is_stale(), "{answer:?}");
}

#[test]
fn a_stale_image_stands_in_for_an_origin_that_hangs_up() {
    for failure in [Reply::hang_up(), Reply::reset()] {
        let (origin, edge) = stored("max-age=1");
        origin.set(TARGET, failure);
        expect_stale(&edge);
        expect_stale(&edge);
    }
}

#[test]
fn a_stale_image_stands_in_for_an_origin_that_refuses_connections() {
    let (origin, edge) = stored("max-age=1");
    drop(origin);
    expect_stale(&edge);
}

#[test]
fn an_origin_that_is_back_is_heard_at_once() {
    let (origin, edge) = stored("max-age=1");
    origin.set(TARGET, Reply::hang_up());
    expect_stale(&edge);
    origin.set(TARGET, Reply::fresh("new"));
    edge.get(TARGET).expect_fetched(b"new");
    edge.get(TARGET).expect_hit(b"new");
}

#[test]
fn an_origin_that_says_it_fails_is_not_away() {
    let (origin, edge) = stored("max-age=1");
    origin.set(TARGET, Reply::of("sorry").status(503));
    edge.get_past_freshness(TARGET).expect(503, b"sorry");
}

#[test]
fn an_origin_that_is_too_slow_is_not_away() {
    let gate = Gate::closed();
    let origin = Origin::with(TARGET, controlled("max-age=1"));
    let edge = Setup::of(&origin)
        .origin("first_byte_deadline", "200ms")
        .route("ttl", "{stale_on_disconnect: 1h}")
        .start();
    edge.get_despite_deadlines(TARGET).expect_miss(b"old");
    origin.set(TARGET, Reply::fresh("new").header_held_by(&gate));
    assert_eq!(edge.get_past_freshness(TARGET).status, 504);
    gate.open();
}

/// RFC 9111 sections 5.2.2.2, 5.2.2.4, 5.2.2.8 and 5.2.2.10.
#[test]
fn what_forbids_stale_answers_forbids_this_one() {
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
        let (origin, edge) = stored(&format!("max-age=1, {forbidding}"));
        origin.set(TARGET, Reply::hang_up());
        let answer = edge.get_past_freshness(TARGET);
        assert_eq!(answer.status, 502, "{forbidding}: {answer:?}");
    }
}

#[test]
fn a_route_that_does_not_allow_it_serves_nothing_stale() {
    let origin = Origin::with(TARGET, controlled("max-age=1"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"old");
    origin.set(TARGET, Reply::hang_up());
    assert_eq!(edge.get_past_freshness(TARGET).status, 502);
}

#[test]
fn the_window_ends() {
    let origin = Origin::with(TARGET, controlled("max-age=1"));
    let edge = Setup::of(&origin)
        .route("ttl", "{stale_on_disconnect: 1s}")
        .start();
    edge.get(TARGET).expect_miss(b"old");
    origin.set(TARGET, Reply::hang_up());
    let answer = eventually("the window ends", || {
        Some(edge.get(TARGET)).filter(|answer| answer.status != 200)
    });
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
}

#[test]
fn stale_if_error_covers_an_error_and_an_origin_that_is_away() {
    let failures = [
        Reply::hang_up(),
        Reply::of("sorry").status(500),
        Reply::of("sorry").status(503),
    ];
    for failure in failures {
        let origin = Origin::with(TARGET, controlled("max-age=1, stale-if-error=600"));
        let edge = Edge::before(&origin);
        edge.get(TARGET).expect_miss(b"old");
        origin.set(TARGET, failure);
        expect_stale(&edge);
    }
}

#[test]
fn stale_if_error_covers_an_origin_that_refuses_connections() {
    let origin = Origin::with(TARGET, controlled("max-age=1, stale-if-error=600"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"old");
    drop(origin);
    expect_stale(&edge);
}
