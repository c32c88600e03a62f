//! The first request goes to the origin, the next ones do not; and both say so.

use crate::support::{Client, Edge, Origin, Reply, Setup, picture, request};

#[test]
fn the_second_request_is_a_hit_with_the_same_bytes() {
    let body = picture(10, 20_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    let miss = edge.get("/a.png");
    miss.expect_miss(&body);
    let status = miss.cache_status();
    assert_eq!(status.cache, "aquatint");
    assert!(status.has("stored"), "{miss:?}");
    let hit = edge.get("/a.png");
    hit.expect_hit(&body);
    assert!(!hit.has("transfer-encoding"));
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_hit_tells_its_age_and_how_long_it_stays_fresh() {
    let origin = Origin::with("/a.png", Reply::fresh("image").header("age", "100"));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let hit = edge.get("/a.png");
    let age: i64 = hit.said("age").parse().unwrap();
    assert!((100..160).contains(&age), "{hit:?}");
    assert!((3600 - 160..=3500).contains(&hit.cache_status().ttl()), "{hit:?}");
}

#[test]
fn every_answer_forbids_guessing_its_type() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    for target in ["/a.png", "/a.png", "/missing.png"] {
        let answer = edge.get(target);
        assert_eq!(answer.said("x-content-type-options"), "nosniff", "{target}");
        assert!(answer.has("cache-status"), "{target}");
    }
}

#[test]
fn a_hit_carries_the_origins_headers() {
    let origin = Origin::start();
    let reply = Reply::fresh("image")
        .header("etag", "\"e1\"")
        .header("x-photographer", "Eve");
    origin.set(
        "/a.png",
        reply.header("last-modified", "Tue, 01 Jul 2025 10:00:00 GMT"),
    );
    let edge = Edge::before(&origin);
    let (miss, hit) = (edge.get("/a.png"), edge.get("/a.png"));
    hit.expect_hit(b"image");
    for name in [
        "content-type",
        "etag",
        "last-modified",
        "x-photographer",
        "cache-control",
        "content-length",
    ] {
        assert_eq!(miss.said(name), hit.said(name), "{name}");
    }
    assert_eq!(hit.said("x-photographer"), "Eve");
    assert!(hit.has("date"), "{hit:?}");
}

#[test]
fn head_is_answered_from_what_get_stored() {
    let body = picture(11, 5000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(&body);
    let mut client = Client::connect(edge.address());
    let head = client.ask("HEAD", "/a.png", &[]);
    head.expect(200, b"");
    assert_eq!(head.said("content-length"), "5000");
    assert!(head.is_hit(), "{head:?}");
    client.get("/a.png").expect_hit(&body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn head_first_never_stores_an_empty_image() {
    let body = picture(12, 5000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    let head = request(edge.address(), "HEAD", "/a.png", &[]);
    head.expect(200, b"");
    assert_eq!(head.said("content-length"), "5000");
    edge.get("/a.png").expect(200, &body);
}

#[test]
fn many_requests_on_one_connection_are_each_answered_whole() {
    let origin = Origin::start();
    let bodies: Vec<_> = (0..50).map(|n| picture(100 + n, 1 << (n % 17))).collect();
    for (n, body) in bodies.iter().enumerate() {
        origin.set(&format!("/{n}.png"), Reply::fresh(body.clone()));
    }
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for _ in 0..3 {
        for (n, body) in bodies.iter().enumerate() {
            client.get(&format!("/{n}.png")).expect(200, body);
        }
    }
    assert_eq!(origin.targets().len(), 50);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::with("/a.png", Reply::fresh("first"));
    origin.set("/b.png", Reply::fresh("second"));
    let edge = Edge::before(&origin);
    edge.get("/b.png").expect_miss(b"second");
    let mut client = Client::connect(edge.address());
    client.send(
        "GET /a.png HTTP/1.1\r\nHost: images.example\r\n\r\nGET /b.png HTTP/1.1\r\nHost: images.example\r\n\r\n",
    );
    client.answer().expect(200, b"first");
    client.answer().expect(200, b"second");
}

#[test]
fn only_media_types_of_the_route_are_stored() {
    let origin = Origin::with(
        "/page",
        Reply::fresh("<html>").header("content-type", "text/html"),
    );
    origin.set(
        "/vector.svg",
        Reply::fresh("<svg>").header("content-type", "image/svg+xml; charset=utf-8"),
    );
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        let answer = edge.get("/page");
        answer.expect(200, b"<html>");
        assert!(
            !answer.is_hit() && !answer.cache_status().has("stored"),
            "{answer:?}"
        );
    }
    edge.get("/vector.svg").expect_miss(b"<svg>");
    edge.get("/vector.svg").expect_hit(b"<svg>");
    assert_eq!(origin.count("/page"), 2);
}

#[test]
fn a_route_that_stores_any_media_type_stores_a_page() {
    let origin = Origin::with(
        "/page",
        Reply::fresh("<html>").header("content-type", "text/html"),
    );
    let edge = Setup::of(&origin).route("content_types", "['*']").start();
    edge.get("/page").expect_miss(b"<html>");
    edge.get("/page").expect_hit(b"<html>");
}

#[test]
fn a_route_without_cache_passes_everything_through() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).route("cache", "false").start();
    for _ in 0..2 {
        let answer = edge.get("/a.png");
        answer.expect(200, b"image");
        assert_eq!(answer.cache_status().forwarded(), Some("bypass"), "{answer:?}");
    }
    assert_eq!(origin.count("/a.png"), 2);
}

#[test]
fn browsers_are_told_the_routes_own_time_where_it_has_one() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).route("ttl", "{browser: 5m}").start();
    edge.get("/a.png").expect_miss(b"image");
    let hit = edge.get("/a.png");
    assert!(hit.said("cache-control").contains("max-age=300"), "{hit:?}");
    assert!(hit.cache_status().ttl() > 3000, "{hit:?}");
}

#[test]
fn a_chunked_image_is_stored_and_one_whose_end_is_not_told_is_only_passed_on() {
    let body = picture(13, 300_000);
    let origin = Origin::with("/chunked.png", Reply::fresh(body.clone()).chunked());
    origin.set("/close.png", Reply::fresh(body.clone()).until_close());
    let edge = Edge::before(&origin);
    edge.get("/chunked.png").expect_miss(&body);
    edge.wait_for_fills();
    let hit = edge.get("/chunked.png");
    hit.expect_hit(&body);
    assert_eq!(hit.said("content-length"), "300000");
    // Its end looks like that of a connection that died.
    for _ in 0..2 {
        edge.get("/close.png").expect(200, &body);
    }
    assert_eq!(origin.count("/close.png"), 2);
}

#[test]
fn an_image_of_one_site_is_not_anothers() {
    let origin = Origin::start();
    origin.set_with("/a.png", |asked, _| {
        Reply::fresh(asked.header("host").unwrap_or("none"))
    });
    let edge = Setup::of(&origin).origin("host", "client").start();
    for host in ["one.example", "two.example"] {
        edge.get_with("/a.png", &[("Host", host)])
            .expect_miss(host.as_bytes());
        edge.get_with("/a.png", &[("Host", host)])
            .expect_hit(host.as_bytes());
    }
    edge.get_with("/a.png", &[("Host", "ONE.example")])
        .expect_hit(b"one.example");
}
