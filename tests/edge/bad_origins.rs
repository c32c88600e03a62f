//! Origins that lie, break off, stall or speak nonsense: a clear status, and nothing of it is ever kept.

use crate::support::{Client, Edge, Origin, Reply, Setup, picture};
use std::time::Duration;

/// Asks twice: first from a failing origin, then from the same origin in health.
#[track_caller]
fn leaves_nothing(what: &str, failure: Reply) {
    let body = picture(40, 50_000);
    let origin = Origin::with("/a.png", failure);
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    let first = client.send_request("GET", "/a.png", &[]).try_answer_to("GET");
    if let Ok(answer) = &first {
        assert_eq!(answer.status, 502, "{what}: {answer:?}");
        assert!(!answer.cache_status().has("stored"), "{what}: {answer:?}");
    }
    edge.wait_for_fills();
    origin.set("/a.png", Reply::fresh(body.clone()));
    edge.get("/a.png").expect_miss(&body);
    edge.get("/a.png").expect_hit(&body);
    assert!(edge.metric("aquatint_origin_failures_total") >= 1.0, "{what}");
}

/// Complaint 20: entries of zero bytes, or truncated, were served for as long as they were fresh.
#[test]
fn a_truncated_image_is_never_stored() {
    let image = || Reply::fresh(picture(40, 50_000));
    leaves_nothing("cut in the middle", image().cut_after(20_000));
    leaves_nothing("cut before the last byte", image().cut_after(49_999));
    leaves_nothing("cut before the first byte", image().cut_after(0));
    leaves_nothing("reset in the middle", image().reset_after(20_000));
    leaves_nothing("chunks without their end", image().chunked().cut_after(50_000));
    leaves_nothing("chunks cut in the middle", image().chunked().cut_after(20_000));
    leaves_nothing(
        "a length that is too long",
        image().declaring(50_001).cut_after(50_000),
    );
    leaves_nothing(
        "a close-delimited body that is reset",
        image().until_close().reset_after(20_000),
    );
}

/// A client that was promised a length must see that it did not get it.
#[test]
fn a_truncated_image_is_not_passed_off_as_whole() {
    let body = picture(41, 3 << 20);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).cut_after(2 << 20));
    origin.set("/chunked.png", Reply::fresh(body).chunked().cut_after(2 << 20));
    let edge = Edge::before(&origin);
    for target in ["/a.png", "/chunked.png"] {
        let mut client = Client::connect(edge.address());
        let outcome = client.send_request("GET", target, &[]).try_answer_to("GET");
        assert!(
            !matches!(&outcome, Ok(answer) if answer.status == 200),
            "{target}: {outcome:?}"
        );
    }
}

#[test]
fn a_body_longer_than_it_said_is_not_kept_and_does_not_become_the_next_answer() {
    let poison = "image HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let origin = Origin::with("/a.png", Reply::fresh(poison).declaring(5));
    origin.set("/b.png", Reply::fresh("second"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    if let Ok(answer) = client.send_request("GET", "/a.png", &[]).try_answer_to("GET") {
        assert!(answer.status == 502 || answer.body == b"image", "{answer:?}");
    }
    edge.get("/b.png").expect_miss(b"second");
    edge.get("/b.png").expect_hit(b"second");
    edge.wait_for_fills();
    origin.set("/a.png", Reply::fresh("honest"));
    edge.get("/a.png").expect_miss(b"honest");
}

#[test]
fn an_origin_that_speaks_garbage_is_502() {
    for garbage in [
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ] {
        leaves_nothing(garbage, Reply::raw(garbage));
    }
}

#[test]
fn an_origin_that_hangs_up_or_resets_is_502() {
    leaves_nothing("reset", Reply::reset());
    leaves_nothing("hung up", Reply::hang_up());
    leaves_nothing(
        "half a header",
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-type: ima"),
    );
}

#[test]
fn an_origin_header_without_end_is_502() {
    let header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    leaves_nothing("a header of 1 MiB", Reply::raw(header));
}

#[test]
fn an_origin_that_is_not_there_is_502() {
    let setup = {
        let origin = Origin::start();
        Setup::of(&origin)
    };
    let edge = setup.start();
    let answer = edge.get("/a.png");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(edge.metric("aquatint_origin_failures_total{reason=\"connect\"}") >= 1.0);
}

#[test]
fn an_origin_that_does_not_answer_in_time_is_504() {
    let gate = crate::support::Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image").header_held_by(&gate));
    let edge = Setup::of(&origin).origin("first_byte_deadline", "200ms").start();
    let answer = edge.get("/a.png");
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(edge.metric("aquatint_origin_failures_total{reason=\"timeout\"}") >= 1.0);
    gate.open();
}

#[test]
fn a_body_that_stalls_is_given_up_and_not_kept() {
    let gate = crate::support::Gate::closed();
    let origin = Origin::with(
        "/a.png",
        Reply::fresh(picture(42, 5000)).body_held_by(&gate, 1000),
    );
    let edge = Setup::of(&origin).origin("read_deadline", "200ms").start();
    let mut client = Client::connect(edge.address());
    let outcome = client.send_request("GET", "/a.png", &[]).try_answer_to("GET");
    assert!(
        !matches!(&outcome, Ok(answer) if answer.status == 200),
        "{outcome:?}"
    );
    gate.open();
    edge.wait_for_fills();
    origin.set("/a.png", Reply::fresh("image"));
    edge.get_despite_deadlines("/a.png").expect_miss(b"image");
}

#[test]
fn a_trickling_image_arrives_whole() {
    let body = picture(43, 3000);
    let origin = Origin::with(
        "/a.png",
        Reply::fresh(body.clone()).trickling(100, Duration::from_millis(5)),
    );
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(&body);
    edge.get("/a.png").expect_hit(&body);
}

#[test]
fn interim_responses_are_not_the_answer() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncache-control: max-age=60\r\ncontent-length: 5\r\n\r\nimage";
    let origin = Origin::with("/a.png", Reply::raw(format!("{early}{last}")));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let hit = edge.get("/a.png");
    hit.expect_hit(b"image");
    assert!(!hit.has("link"), "{hit:?}");
}

/// The origin's keep-alive ended between two requests: nobody's request failed.
#[test]
fn a_connection_that_died_unused_is_not_an_error() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for n in 0..10 {
        let target = format!("/{n}.png");
        origin.set(&target, Reply::fresh("image"));
        edge.get(&target).expect_miss(b"image");
        origin.close_idle_connections();
    }
}

#[test]
fn connections_to_the_origin_are_reused() {
    let origin = Origin::start();
    let edge = Setup::of(&origin).edge("threads", "1").start();
    for n in 0..20 {
        let target = format!("/{n}.png");
        origin.set(&target, Reply::fresh("image"));
        edge.get(&target).expect_miss(b"image");
        edge.wait_for_fills();
    }
    let last = origin.last("/19.png").connection;
    assert!(last < 10, "20 requests took {} connections", last + 1);
}

#[test]
fn a_broken_origin_is_left_alone_for_a_while() {
    let origin = Origin::start();
    let edge = Setup::of(&origin)
        .origin("breaker", "{failures: 3, open_for: 1h}")
        .start();
    for n in 0..3 {
        origin.set(&format!("/{n}.png"), Reply::hang_up());
        assert_eq!(edge.get(&format!("/{n}.png")).status, 502);
    }
    let asked = origin.targets().len();
    assert!(matches!(edge.get("/3.png").status, 502 | 503));
    assert_eq!(origin.targets().len(), asked);
    assert!(edge.metric("aquatint_origin_failures_total{reason=\"breaker_open\"}") >= 1.0);
}
