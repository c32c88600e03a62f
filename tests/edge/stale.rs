//! Stale images: when they are better than waiting or an error, and when they are forbidden.

use crate::support::{Edge, Gate, Origin, Reply, Setup, eventually};

#[test]
fn a_stale_image_is_served_at_once_while_one_request_refreshes_it() {
    let gate = Gate::closed();
    let origin = Origin::start();
    let held = gate.clone();
    origin.set_with("/a.png", move |_, nth| match nth {
        1 => Reply::of("old").header("cache-control", "max-age=1, stale-while-revalidate=600"),
        _ => Reply::fresh("new").header_held_by(&held),
    });
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"old");
    let stale = edge.get_past_freshness("/a.png");
    stale.expect(200, b"old");
    assert!(stale.cache_status().is_stale(), "{stale:?}");
    gate.wait_for_held(1);
    for _ in 0..5 {
        edge.get("/a.png").expect(200, b"old");
    }
    assert_eq!(origin.count("/a.png"), 2);
    gate.open();
    let fresh = eventually("the image is refreshed", || {
        Some(edge.get("/a.png")).filter(|a| a.body == b"new")
    });
    fresh.expect_hit(b"new");
    assert_eq!(origin.count("/a.png"), 2);
    edge.wait_for_metric("aquatint_requests_total{outcome=\"stale\"}", |count| count >= 6.0);
}

#[test]
fn a_route_may_allow_stale_images_where_the_origin_does_not_say() {
    let origin = Origin::with("/a.png", Reply::of("old").header("cache-control", "max-age=1"));
    let edge = Setup::of(&origin)
        .route("ttl", "{stale_while_revalidate: 1h}")
        .start();
    edge.get("/a.png").expect_miss(b"old");
    origin.set("/a.png", Reply::fresh("new"));
    edge.get_past_freshness("/a.png").expect(200, b"old");
    let fresh = eventually("the image is refreshed", || {
        Some(edge.get("/a.png")).filter(|a| a.body == b"new")
    });
    fresh.expect_hit(b"new");
}

#[test]
fn a_stale_image_is_better_than_an_error_while_its_window_lasts() {
    let failures = [
        Reply::reset(),
        Reply::of("sorry").status(503),
        Reply::raw("garbage\r\n\r\n"),
    ];
    for failure in failures {
        let old = Reply::of("old").header("cache-control", "max-age=1, stale-if-error=600");
        let origin = Origin::with("/a.png", old);
        let edge = Edge::before(&origin);
        edge.get("/a.png").expect_miss(b"old");
        origin.set("/a.png", failure);
        let stale = edge.get_past_freshness("/a.png");
        stale.expect(200, b"old");
        origin.set("/a.png", Reply::fresh("new"));
        eventually("the image is refreshed", || {
            (edge.get("/a.png").body == b"new").then_some(())
        });
    }
}

#[test]
fn a_stale_image_is_not_served_beyond_its_window() {
    let reply = Reply::of("old").header("cache-control", "max-age=1, stale-if-error=1");
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"old");
    origin.set("/a.png", Reply::reset());
    let answer = eventually("the window ends", || {
        let answer = edge.get("/a.png");
        if answer.status == 200 {
            answer.expect(200, b"old");
        }
        (answer.status != 200).then_some(answer)
    });
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
}

#[test]
fn must_revalidate_forbids_every_stale_answer() {
    let control = "max-age=1, must-revalidate, stale-if-error=600, stale-while-revalidate=600";
    let origin = Origin::with("/a.png", Reply::of("old").header("cache-control", control));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"old");
    origin.set("/a.png", Reply::reset());
    assert_eq!(edge.get_past_freshness("/a.png").status, 502);
}

#[test]
fn without_a_window_a_failing_origin_is_an_error() {
    let origin = Origin::with("/a.png", Reply::of("old").header("cache-control", "max-age=1"));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"old");
    origin.set("/a.png", Reply::reset());
    assert_eq!(edge.get_past_freshness("/a.png").status, 502);
}

/// RFC 9211 section 2.1: an answer for which the origin was asked is no hit.
#[test]
fn a_stale_image_in_place_of_a_failed_origin_says_that_the_origin_was_asked() {
    let failures = [
        (Reply::of("sorry").status(503), Some("503")),
        (Reply::reset(), None),
    ];
    for (failure, status) in failures {
        let old = Reply::of("old").header("cache-control", "max-age=1, stale-if-error=600");
        let origin = Origin::with("/a.png", old);
        let edge = Edge::before(&origin);
        edge.get("/a.png").expect_miss(b"old");
        origin.set("/a.png", failure);
        let stale = edge.get_past_freshness("/a.png");
        stale.expect(200, b"old");
        let said = stale.cache_status();
        assert_eq!(said.forwarded(), Some("stale"), "{stale:?}");
        assert_eq!(said.value("fwd-status"), status, "{stale:?}");
        assert!(!said.is_hit() && !said.has("stored"), "{stale:?}");
    }
}
