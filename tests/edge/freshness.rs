//! What happens when an image is no longer fresh, and what was never to be kept.

use crate::support::{Edge, Gate, Origin, Reply, Setup, eventually};

const ETAG: &str = "\"v1\"";
const DATE: &str = "Tue, 01 Jul 2025 10:00:00 GMT";

#[test]
fn an_expired_image_that_did_not_change_is_confirmed_and_not_sent_again() {
    let origin = Origin::with(
        "/a.png",
        Reply::of("image")
            .header("etag", ETAG)
            .header("cache-control", "max-age=1"),
    );
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let received = edge.metric("aquatint_origin_body_bytes_total");
    let confirmed = Reply::of("image")
        .header("etag", ETAG)
        .header("cache-control", "max-age=600");
    origin.set("/a.png", confirmed.header("x-edition", "second"));
    let answer = edge.get_past_freshness("/a.png");
    answer.expect(200, b"image");
    let status = answer.cache_status();
    assert_eq!(
        (status.forwarded(), status.value("fwd-status")),
        (Some("stale"), Some("304")),
        "{answer:?}"
    );
    assert_eq!(origin.last("/a.png").header("if-none-match"), Some(ETAG));
    assert_eq!(edge.metric("aquatint_origin_body_bytes_total"), received);
    // The 304 brought new headers and a new life.
    let hit = edge.get("/a.png");
    hit.expect_hit(b"image");
    assert_eq!(hit.said("x-edition"), "second");
    assert!(hit.cache_status().ttl() > 500, "{hit:?}");
    assert_eq!(origin.count("/a.png"), 2);
    edge.wait_for_metric("aquatint_requests_total{outcome=\"revalidated\"}", |count| {
        count == 1.0
    });
}

#[test]
fn an_expired_image_that_changed_is_replaced() {
    let origin = Origin::with(
        "/a.png",
        Reply::of("old")
            .header("etag", ETAG)
            .header("cache-control", "max-age=1"),
    );
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"old");
    origin.set("/a.png", Reply::fresh("new").header("etag", "\"v2\""));
    let answer = edge.get_past_freshness("/a.png");
    answer.expect(200, b"new");
    assert_eq!(answer.cache_status().forwarded(), Some("stale"), "{answer:?}");
    let hit = edge.get("/a.png");
    hit.expect_hit(b"new");
    assert_eq!(hit.said("etag"), "\"v2\"");
}

#[test]
fn a_date_alone_confirms_an_image_too() {
    let reply = Reply::of("image")
        .header("last-modified", DATE)
        .header("cache-control", "no-cache");
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let answer = edge.get("/a.png");
    answer.expect(200, b"image");
    assert_eq!(
        answer.cache_status().value("fwd-status"),
        Some("304"),
        "{answer:?}"
    );
    assert_eq!(origin.last("/a.png").header("if-modified-since"), Some(DATE));
}

#[test]
fn no_cache_is_confirmed_on_each_use() {
    let reply = Reply::of("image")
        .header("etag", ETAG)
        .header("cache-control", "no-cache");
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    for count in 2..5 {
        edge.get("/a.png").expect(200, b"image");
        assert_eq!(origin.count("/a.png"), count);
        assert_eq!(origin.last("/a.png").header("if-none-match"), Some(ETAG));
    }
    assert_eq!(edge.metric("aquatint_origin_body_bytes_total"), 5.0);
}

#[test]
fn a_confirmation_answers_the_clients_own_condition() {
    let reply = Reply::of("image")
        .header("etag", ETAG)
        .header("cache-control", "no-cache");
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    edge.get_with("/a.png", &[("If-None-Match", ETAG)])
        .expect(304, b"");
    edge.get_with("/a.png", &[("If-None-Match", "\"v0\"")])
        .expect(200, b"image");
    edge.get_with("/a.png", &[("Range", "bytes=1-2")])
        .expect(206, b"ma");
}

#[test]
fn many_requests_for_an_expired_image_ask_the_origin_once() {
    let gate = Gate::closed();
    let origin = Origin::start();
    let held = gate.clone();
    origin.set_with("/a.png", move |_, nth| {
        let reply = Reply::of("image").header("etag", ETAG);
        match nth {
            1 => reply.header("cache-control", "max-age=1"),
            _ => reply.header("cache-control", "max-age=600").header_held_by(&held),
        }
    });
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let address = edge.address();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let first = scope.spawn(|| edge.get_past_freshness("/a.png"));
        gate.wait_for_held(1);
        let others: Vec<_> = (0..20)
            .map(|_| scope.spawn(move || crate::support::get(address, "/a.png")))
            .collect();
        edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 21.0);
        gate.open();
        others
            .into_iter()
            .chain([first])
            .map(|client| client.join().unwrap())
            .collect()
    });
    for answer in answers {
        answer.expect(200, b"image");
    }
    assert_eq!(origin.count("/a.png"), 2);
}

#[test]
fn a_response_that_says_nothing_of_its_freshness_is_not_reused() {
    let origin = Origin::with("/a.png", Reply::of("image"));
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        edge.get("/a.png").expect_fetched(b"image");
    }
    assert_eq!(origin.count("/a.png"), 2);
}

#[test]
fn a_route_may_say_how_long_to_keep_what_says_nothing() {
    let origin = Origin::with("/a.png", Reply::of("image"));
    let edge = Setup::of(&origin).route("ttl", "{default: 1h}").start();
    edge.get("/a.png").expect_miss(b"image");
    let hit = edge.get("/a.png");
    hit.expect_hit(b"image");
    assert!((3000..=3600).contains(&hit.cache_status().ttl()), "{hit:?}");
}

#[test]
fn shared_caches_go_by_s_maxage() {
    let origin = Origin::with(
        "/a.png",
        Reply::of("image").header("cache-control", "max-age=0, s-maxage=600"),
    );
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
}

#[test]
fn expires_counts_from_the_origins_date() {
    let reply = Reply::of("image").header("date", "Tue, 01 Jul 2025 10:00:00 GMT");
    let origin = Origin::with(
        "/old.png",
        reply.clone().header("expires", "Tue, 01 Jul 2025 10:10:00 GMT"),
    );
    origin.set(
        "/a.png",
        Reply::of("image").header("expires", "Fri, 01 Jan 2100 00:00:00 GMT"),
    );
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
    edge.get("/old.png").expect(200, b"image");
    assert!(
        !edge.get("/old.png").is_hit(),
        "ten minutes that began in 2025 are over"
    );
}

#[test]
fn a_versioned_image_is_kept_for_a_year_and_each_version_on_its_own() {
    let origin = Origin::with("/a.png?v=1", Reply::of("first"));
    origin.set(
        "/a.png?v=2",
        Reply::of("second").header("cache-control", "max-age=60"),
    );
    origin.set("/a.png", Reply::fresh("unversioned"));
    let edge = Edge::before(&origin);
    for (target, body) in [
        ("/a.png?v=1", "first"),
        ("/a.png?v=2", "second"),
        ("/a.png", "unversioned"),
    ] {
        edge.get(target).expect_miss(body.as_bytes());
    }
    let year = 365 * 86_400;
    for (target, body) in [("/a.png?v=1", "first"), ("/a.png?v=2", "second")] {
        let hit = edge.get(target);
        hit.expect_hit(body.as_bytes());
        assert!((year - 600..=year).contains(&hit.cache_status().ttl()), "{hit:?}");
    }
    let hit = edge.get("/a.png");
    hit.expect_hit(b"unversioned");
    assert!(hit.cache_status().ttl() <= 3600, "{hit:?}");
}

#[test]
fn a_version_does_not_overrule_no_store_nor_keep_an_error() {
    let origin = Origin::with(
        "/a.png?v=1",
        Reply::of("image").header("cache-control", "no-store"),
    );
    origin.set("/b.png?v=1", Reply::of("gone").status(404));
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        edge.get("/a.png?v=1").expect_fetched(b"image");
        edge.get("/b.png?v=1").expect(404, b"gone");
    }
    assert_eq!(origin.count("/a.png?v=1"), 2);
    assert!(edge.get("/b.png?v=1").cache_status().ttl() <= 10);
}

#[test]
fn what_is_not_there_is_remembered_for_a_while() {
    let origin = Origin::start();
    for (target, status) in [("/404", 404), ("/410", 410)] {
        let reply = Reply::of("gone")
            .status(status)
            .header("content-type", "text/plain");
        origin.set(target, reply);
    }
    let edge = Edge::before(&origin);
    for (target, status) in [("/404", 404), ("/410", 410)] {
        edge.get(target).expect(status, b"gone");
        let hit = edge.get(target);
        hit.expect(status, b"gone");
        assert!(hit.is_hit() && hit.cache_status().ttl() <= 10, "{hit:?}");
        assert_eq!(origin.count(target), 1);
    }
}

#[test]
fn an_image_that_appears_is_served_after_its_absence_was_remembered() {
    let origin = Origin::start();
    let edge = Setup::of(&origin).route("ttl", "{negative: 1s}").start();
    eventually("the absence is remembered", || {
        let answer = edge.get("/a.png");
        assert_eq!(answer.status, 404);
        answer.is_hit().then_some(())
    });
    origin.set("/a.png", Reply::fresh("image"));
    let answer = eventually("the absence is forgotten", || {
        Some(edge.get("/a.png")).filter(|a| a.status == 200)
    });
    answer.expect(200, b"image");
}

#[test]
fn a_failure_of_the_origin_is_not_remembered() {
    let origin = Origin::with("/a.png", Reply::of("sorry").status(500));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect(500, b"sorry");
    origin.set("/a.png", Reply::fresh("image"));
    edge.get("/a.png").expect_miss(b"image");
}

#[test]
fn a_route_overrides_the_origins_times_by_status() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/b.png", Reply::of("sorry").status(503));
    let setup = Setup::of(&origin).route("ttl", "{by_status: {200: 0s, 404: 0s, 5xx: 1h}}");
    let edge = setup.start();
    for _ in 0..2 {
        edge.get("/a.png").expect_fetched(b"image");
        assert!(!edge.get("/missing").is_hit());
    }
    edge.get("/b.png").expect(503, b"sorry");
    assert!(edge.get("/b.png").is_hit());
}

#[test]
fn expired_images_leave_without_being_asked_for() {
    let origin = Origin::start();
    for n in 0..20 {
        origin.set(
            &format!("/{n}.png"),
            Reply::of(format!("{n}")).header("cache-control", "max-age=1"),
        );
    }
    let setup = Setup::of(&origin).store("expiry_interval", "50ms");
    let edge = setup.store("keep_expired", "0s").start();
    for n in 0..20 {
        assert_eq!(edge.get(&format!("/{n}.png")).status, 200);
    }
    edge.wait_for_metric("aquatint_expirations_total", |count| count >= 20.0);
    edge.wait_for_metric("aquatint_memory_objects{kind=\"entries\"}", |count| count == 0.0);
}
