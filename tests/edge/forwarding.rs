//! What reaches the origin of a request, and the client of a response.

use crate::support::{Client, Edge, HOST, Origin, Reply, Setup, request};
use std::collections::HashSet;

#[test]
fn a_fill_tells_the_origin_who_forwards_it() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(b"image");
    let asked = origin.last("/a.png");
    assert_eq!(asked.header("via"), Some("1.1 aquatint"), "{asked:?}");
    assert_eq!(asked.header("host"), Some(origin.address().to_string().as_str()));
    assert!(
        !asked.has("accept-encoding"),
        "only the identity is stored: {asked:?}"
    );
}

#[test]
fn a_passed_request_tells_the_origin_whom_it_is_for() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Edge::before(&origin);
    let answer = request(
        edge.address(),
        "POST",
        "/form",
        &[("Content-Length", "0"), ("X-Forwarded-For", "10.0.0.1")],
    );
    answer.expect(200, b"done");
    let asked = origin.last("/form");
    assert_eq!(
        asked.header("x-forwarded-for"),
        Some("10.0.0.1, 127.0.0.1"),
        "{asked:?}"
    );
    assert_eq!(asked.header("x-forwarded-host"), Some(HOST));
    assert_eq!(asked.header("x-forwarded-proto"), Some("http"));
    let forwarded = asked.header("forwarded").expect("RFC 7239").to_ascii_lowercase();
    assert!(
        forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"),
        "{forwarded}"
    );
}

#[test]
fn the_origin_may_be_told_the_clients_host_or_a_fixed_one() {
    for (setting, host) in [("client", HOST), ("store.example", "store.example")] {
        let origin = Origin::with("/a.png", Reply::fresh("image"));
        let edge = Setup::of(&origin).origin("host", setting).start();
        edge.get("/a.png").expect_miss(b"image");
        assert_eq!(origin.last("/a.png").header("host"), Some(host));
    }
}

/// What one client says in headers that are not in the key must not shape what others get.
#[test]
fn a_clients_forwarding_headers_can_not_poison_a_fill() {
    let origin = Origin::start();
    origin.set_with("/a.png", |asked, _| {
        let said = ["x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded"];
        let said: Vec<_> = said.iter().filter_map(|name| asked.header(name)).collect();
        Reply::fresh(said.join(" "))
    });
    let edge = Edge::before(&origin);
    let poison = [
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "host=evil.example"),
    ];
    edge.get_with("/a.png", &poison);
    edge.wait_for_fills();
    let hit = edge.get("/a.png");
    assert!(
        hit.is_hit() && !String::from_utf8_lossy(&hit.body).contains("evil"),
        "{hit:?}"
    );
}

#[test]
fn headers_of_the_clients_connection_do_not_reach_the_origin() {
    let origin = Origin::with("/form", Reply::of("done"));
    origin.set("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let headers = [
        ("Connection", "keep-alive, X-Secret"),
        ("X-Secret", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authorization", "Basic YTpi"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Upgrade", "websocket"),
        ("X-Kept", "2"),
        ("Content-Length", "0"),
    ];
    request(edge.address(), "POST", "/form", &headers).expect(200, b"done");
    edge.get_with("/a.png", &headers[..8]).expect(200, b"image");
    for target in ["/form", "/a.png"] {
        let asked = origin.last(target);
        for name in [
            "x-secret",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "upgrade",
        ] {
            assert!(!asked.has(name), "{name} in {asked:?}");
        }
    }
    assert_eq!(origin.last("/form").header("x-kept"), Some("2"));
}

#[test]
fn headers_of_the_origins_connection_do_not_reach_the_client() {
    let reply = |reply: Reply| {
        let reply = reply
            .header("connection", "X-Internal")
            .header("x-internal", "1")
            .header("x-kept", "2");
        reply
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("trailer", "x-t")
    };
    let origin = Origin::with("/a.png", reply(Reply::fresh("image")));
    origin.set("/form", reply(Reply::of("image")));
    let edge = Edge::before(&origin);
    let answers = [
        edge.get("/a.png"),
        edge.get("/a.png"),
        request(edge.address(), "POST", "/form", &[("Content-Length", "0")]),
    ];
    for answer in answers {
        answer.expect(200, b"image");
        for name in ["x-internal", "keep-alive", "proxy-authenticate", "trailer"] {
            assert!(!answer.has(name), "{name} in {answer:?}");
        }
        assert_eq!(answer.said("x-kept"), "2");
        assert!(answer.said("via").contains("1.1 aquatint"), "{answer:?}");
    }
}

#[test]
fn the_edges_name_is_configured() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).edge("name", "north-1").start();
    let answer = edge.get("/a.png");
    assert_eq!(answer.cache_status().cache, "north-1");
    assert!(answer.said("via").contains("north-1"));
    assert_eq!(origin.last("/a.png").header("via"), Some("1.1 north-1"));
}

#[test]
fn cache_status_is_appended_to_the_origins() {
    let origin = Origin::with(
        "/a.png",
        Reply::fresh("image").header("cache-status", "inner; hit"),
    );
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        let answer = edge.get("/a.png");
        let said: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "cache-status")
            .collect();
        let said = said
            .iter()
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        assert!(said.starts_with("inner; hit"), "{answer:?}");
        assert!(said.contains(", aquatint; "), "{answer:?}");
    }
}

#[test]
fn a_post_reaches_the_origin_once_with_its_body() {
    let origin = Origin::with("/form", Reply::fresh("done").status(201));
    let edge = Edge::before(&origin);
    let body = "x".repeat(100_000);
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 100000\r\n\r\n{body}"
    ));
    let answer = client.answer();
    answer.expect(201, b"done");
    assert_eq!(answer.cache_status().forwarded(), Some("method"), "{answer:?}");
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    client.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    client.answer().expect(201, b"done");
    let bodies: Vec<_> = origin
        .asked("/form")
        .into_iter()
        .map(|asked| asked.body)
        .collect();
    assert!(bodies == [body.into_bytes(), b"hello world".to_vec()]);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    ));
    assert_eq!(client.header().unwrap().status, 100);
    client.send("hello").answer().expect(200, b"done");
    assert_eq!(origin.last("/form").body, b"hello");
}

#[test]
fn a_body_too_large_is_413() {
    let origin = Origin::with("/form", Reply::of("done"));
    let edge = Setup::of(&origin).edge("body_bytes_max", "10KiB").start();
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10241\r\n\r\n"
    ));
    assert_eq!(client.header().unwrap().status, 413);
    assert_eq!(origin.count("/form"), 0);
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "POST /form HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    for _ in 0..20 {
        client.try_send(format!("400\r\n{}\r\n", "x".repeat(1024))).ok();
    }
    // A reset may overtake the answer while the rest of the body is still on its way.
    let outcome = client.header();
    assert!(
        !matches!(&outcome, Ok(answer) if answer.status != 413),
        "{outcome:?}"
    );
}

/// The origin may have acted on it before it broke off.
#[test]
fn a_request_the_origin_has_seen_is_not_sent_again() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for method in ["PUT", "DELETE", "POST", "PATCH", "M-SEARCH"] {
        let target = format!("/{method}");
        origin.set(&target, Reply::hang_up());
        let answer = request(edge.address(), method, &target, &[("Content-Length", "0")]);
        assert_eq!(answer.status, 502, "{method}: {answer:?}");
        assert_eq!(origin.count(&target), 1, "{method}");
        assert_eq!(origin.last(&target).method, method);
    }
}

#[test]
fn an_answer_to_another_method_is_never_a_hit_for_get() {
    let origin = Origin::start();
    origin.set_with("/a.png", |asked, _| Reply::fresh(asked.method.clone()));
    let edge = Edge::before(&origin);
    request(edge.address(), "POST", "/a.png", &[("Content-Length", "0")]).expect(200, b"POST");
    request(edge.address(), "OPTIONS", "/a.png", &[]).expect(200, b"OPTIONS");
    edge.get("/a.png").expect_miss(b"GET");
    request(edge.address(), "POST", "/a.png", &[("Content-Length", "0")]).expect(200, b"POST");
}

#[test]
fn redirects_are_passed_to_the_client_and_not_followed() {
    let origin = Origin::start();
    origin.set(
        "/a.png",
        Reply::of("")
            .status(302)
            .header("location", "/b.png")
            .without("content-type"),
    );
    let edge = Edge::before(&origin);
    let answer = edge.get("/a.png");
    assert_eq!((answer.status, answer.said("location")), (302, "/b.png"));
    let targets: HashSet<_> = origin.targets().into_iter().collect();
    assert_eq!(targets, HashSet::from(["/a.png".to_owned()]));
}

#[test]
fn a_base_path_of_the_origin_is_put_before_every_request() {
    let origin = Origin::with("/bucket/a.png", Reply::fresh("image"));
    let edge = Setup::without_origin()
        .origin("url", format!("{}/bucket", origin.url()))
        .start();
    edge.get("/a.png").expect_miss(b"image");
    assert_eq!(origin.targets(), ["/bucket/a.png"]);
}
