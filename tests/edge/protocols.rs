//! HTTP/2 and TLS carry the same bytes as HTTP/1.1 in clear text.

use crate::support::http2::Http2;
use crate::support::{Certificate, Client, Edge, Origin, Reply, Setup, picture};

fn images(origin: &Origin) -> Vec<(String, Vec<u8>)> {
    let lengths = [0, 1, 1000, 65_535, 65_536, 100_000, 1 << 20, (3 << 20) + 7];
    let images = lengths.map(|length| (format!("/{length}.png"), picture(90, length)));
    for (target, body) in &images {
        origin.set(target, Reply::fresh(body.clone()).header("etag", "\"1\""));
    }
    images.to_vec()
}

#[test]
fn http2_in_clear_text_gives_the_same_bytes() {
    let origin = Origin::start();
    let images = images(&origin);
    let edge = Edge::before(&origin);
    let mut http2 = Http2::connect(edge.address());
    for _ in 0..2 {
        for (target, body) in &images {
            http2.get(target).expect(200, body);
        }
    }
    for (target, body) in &images {
        edge.get(target).expect_hit(body);
        http2.get(target).expect_hit(body);
    }
    assert_eq!(origin.targets().len(), images.len());
}

#[test]
fn tls_gives_the_same_bytes_over_both_protocols() {
    let origin = Origin::start();
    let images = images(&origin);
    let certificate = Certificate::new();
    let edge = Setup::of(&origin).with_tls(&certificate).start();
    let mut http2 = Http2::connect_tls(edge.tls_address(), &certificate);
    let mut http1 = Client::connect_tls(edge.tls_address(), &certificate);
    for (target, body) in &images {
        http2.get(target).expect(200, body);
        http1.get(target).expect_hit(body);
        http2.get(target).expect_hit(body);
    }
    assert_eq!(origin.targets().len(), images.len());
}

#[test]
fn the_origin_is_told_that_the_client_came_by_tls() {
    let origin = Origin::with("/form", Reply::of("done"));
    let certificate = Certificate::new();
    let edge = Setup::of(&origin).with_tls(&certificate).start();
    let mut client = Client::connect_tls(edge.tls_address(), &certificate);
    client
        .ask("POST", "/form", &[("Content-Length", "0")])
        .expect(200, b"done");
    assert_eq!(origin.last("/form").header("x-forwarded-proto"), Some("https"));
}

#[test]
fn an_image_seen_by_tls_is_not_taken_for_the_one_in_clear_text() {
    let origin = Origin::start();
    origin.set_with("/a.png", |asked, _| {
        Reply::fresh(asked.header("x-forwarded-proto").unwrap_or("none"))
    });
    let certificate = Certificate::new();
    let edge = Setup::of(&origin).with_tls(&certificate).start();
    edge.get("/a.png").expect_miss(b"http");
    Client::connect_tls(edge.tls_address(), &certificate)
        .get("/a.png")
        .expect_miss(b"https");
}

#[test]
fn many_streams_of_one_connection_are_answered_at_once() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let images: Vec<_> = (0..60)
        .map(|n| (format!("/{n}.png"), picture(91 + n, 40_000)))
        .collect();
    for (target, body) in &images {
        origin.set(target, Reply::fresh(body.clone()));
    }
    let targets: Vec<_> = images.iter().map(|(target, _)| target.clone()).collect();
    let mut http2 = Http2::connect(edge.address());
    for _ in 0..2 {
        for (answer, (_, body)) in http2.get_all(&targets).iter().zip(&images) {
            answer.expect(200, body);
        }
    }
    assert_eq!(origin.targets().len(), images.len());
}

#[test]
fn http2_knows_ranges_conditions_heads_and_bad_paths() {
    let body = picture(92, 5000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).header("etag", "\"1\""));
    let edge = Edge::before(&origin);
    let mut http2 = Http2::connect(edge.address());
    http2.get("/a.png").expect_miss(&body);
    http2
        .ask("GET", "/a.png", &[("range", "bytes=10-19")])
        .unwrap()
        .expect(206, &body[10..20]);
    http2
        .ask("GET", "/a.png", &[("if-none-match", "\"1\"")])
        .unwrap()
        .expect(304, b"");
    let head = http2.ask("HEAD", "/a.png", &[]).unwrap();
    head.expect(200, b"");
    assert_eq!(head.said("content-length"), "5000");
    assert_eq!(http2.get("/%zz").status, 400);
    assert_eq!(http2.get("/../a.png").status, 400);
    let long = format!("/{}", "x".repeat(9 << 10));
    assert_eq!(http2.get(&long).status, 414);
    http2.get("/a.png").expect_hit(&body);
}

#[test]
fn http2_answers_carry_no_header_of_a_connection() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let mut http2 = Http2::connect(edge.address());
    for _ in 0..2 {
        let answer = http2.get("/a.png");
        answer.expect(200, b"image");
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade"] {
            assert!(!answer.has(name), "{answer:?}");
        }
        assert!(answer.said("via").contains("aquatint"));
        assert_eq!(answer.said("x-content-type-options"), "nosniff");
    }
}

#[test]
fn a_truncated_image_is_a_reset_stream_and_not_an_end() {
    let origin = Origin::with("/a.png", Reply::fresh(picture(93, 3 << 20)).cut_after(2 << 20));
    origin.set("/b.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let mut http2 = Http2::connect(edge.address());
    let outcome = http2.ask("GET", "/a.png", &[]);
    assert!(
        !matches!(&outcome, Ok(answer) if answer.status == 200),
        "{outcome:?}"
    );
    http2.get("/b.png").expect_miss(b"image");
}
