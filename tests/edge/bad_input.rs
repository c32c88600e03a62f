//! Hostile and broken requests: a clear status, and nothing that outlives the connection.

use crate::support::{Client, Edge, HOST, Origin, Reply, Setup, eventually, get};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

fn edge() -> (Origin, Edge) {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    (origin, edge)
}

/// The status of what these bytes are answered with; nothing when the connection is closed without a word.
fn status_of(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Option<u16> {
    let mut client = Client::connect(address);
    // The edge may have refused, and closed, before the last byte.
    client.try_send(bytes).ok();
    client.header().ok().map(|answer| answer.status)
}

#[track_caller]
fn refuses(edge: &Edge, bytes: impl AsRef<[u8]>, status: u16) {
    let shown = String::from_utf8_lossy(&bytes.as_ref()[..bytes.as_ref().len().min(200)]).into_owned();
    assert_eq!(status_of(edge.address(), bytes), Some(status), "{shown:?}");
}

/// The edge still serves, and the origin was asked for nothing but that.
#[track_caller]
fn is_unharmed(edge: &Edge, origin: &Origin) {
    edge.get("/a.png").expect(200, b"image");
    assert_eq!(origin.targets(), ["/a.png"]);
    assert!(!edge.stderr().contains("panicked"), "{}", edge.stderr());
}

#[test]
fn a_malformed_request_line_is_400() {
    let (origin, edge) = edge();
    for line in [
        "GARBAGE",
        "GET",
        "GET /a.png",
        "GET /a.png HTTP/x.y",
        "GET  /a.png HTTP/1.1",
        "GET /a.png HTTP/1.1 more",
        "G<T /a.png HTTP/1.1",
        "GET a.png HTTP/1.1",
        "\u{1}\u{2}\u{3}",
    ] {
        refuses(&edge, format!("{line}\r\nHost: {HOST}\r\n\r\n"), 400);
    }
    is_unharmed(&edge, &origin);
}

#[test]
fn bytes_that_are_no_http_never_harm() {
    let (origin, edge) = edge();
    let tls_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for bytes in [
        &[0u8; 64][..],
        &[0xff; 64],
        &tls_hello,
        b"\r\n\r\n\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut client = Client::connect(edge.address());
        client.send(bytes).send("\r\n\r\n");
        let status = client.header().map(|answer| answer.status);
        assert!(!matches!(status, Ok(200..300)), "{bytes:?}: {status:?}");
    }
    is_unharmed(&edge, &origin);
}

#[test]
fn a_malformed_header_is_400() {
    let (origin, edge) = edge();
    for header in [
        "no colon",
        "Name : value",
        " folded: value",
        "X-A: b\r\n folded",
        "X-\u{0}: b",
        "X-A: b\u{0}c",
        "X-A: b\rc",
        ": value",
        "X A: b",
    ] {
        refuses(
            &edge,
            format!("GET /a.png HTTP/1.1\r\nHost: {HOST}\r\n{header}\r\n\r\n"),
            400,
        );
    }
    is_unharmed(&edge, &origin);
}

#[test]
fn a_header_too_large_is_431_and_a_url_too_long_414() {
    let (origin, edge) = edge();
    let long = "x".repeat(40 << 10);
    refuses(
        &edge,
        format!("GET /a.png HTTP/1.1\r\nHost: {HOST}\r\nX-A: {long}\r\n\r\n"),
        431,
    );
    let many = "X-A: b\r\n".repeat(200);
    refuses(
        &edge,
        format!("GET /a.png HTTP/1.1\r\nHost: {HOST}\r\n{many}\r\n"),
        431,
    );
    let url = "x".repeat(9 << 10);
    refuses(&edge, format!("GET /{url} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 414);
    is_unharmed(&edge, &origin);
}

/// A header that never ends is refused at the limit, not collected.
#[test]
fn a_header_without_end_is_refused_at_its_limit() {
    let (origin, edge) = edge();
    let mut client = Client::connect(edge.address());
    client.send(format!("GET /a.png HTTP/1.1\r\nHost: {HOST}\r\nX-A: "));
    let refused = (0..1000).any(|_| client.try_send([b'x'; 10_000]).is_err());
    assert!(refused, "10 MB of header were taken");
    is_unharmed(&edge, &origin);
}

#[test]
fn limits_are_those_of_the_configuration() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin)
        .edge("url_bytes_max", "64B")
        .edge("header_bytes_max", "1KiB");
    let edge = setup.edge("headers_max", "5").start();
    assert_eq!(edge.get(&format!("/{}", "x".repeat(100))).status, 414);
    assert_eq!(edge.get_with("/a.png", &[("X-A", &"x".repeat(1100))]).status, 431);
    assert_eq!(edge.get_with("/a.png", &[("X-A", "b"); 5]).status, 431);
    edge.get_with("/a.png", &[("X-A", "b"); 4]).expect(200, b"image");
}

#[test]
fn a_path_above_the_root_is_400() {
    let (origin, edge) = edge();
    for path in [
        "/..",
        "/../a.png",
        "/a/../../etc/passwd",
        "/%2e%2e/a.png",
        "/a/%2E%2e/.%2e/b",
        "/.%2E",
    ] {
        refuses(&edge, format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400);
    }
    is_unharmed(&edge, &origin);
}

#[test]
fn a_path_that_can_not_be_named_is_400() {
    let (origin, edge) = edge();
    for path in [
        "/a%00b",
        "/a\u{0}b",
        "/%zz",
        "/%",
        "/%4",
        "/a\\b",
        "/a%0d%0aX: b",
        "/a\u{7f}",
        "/\u{1}",
        "/a.png?q=%zz",
    ] {
        refuses(&edge, format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400);
    }
    is_unharmed(&edge, &origin);
}

#[test]
fn a_host_that_is_missing_twice_there_or_no_name_is_400() {
    let (origin, edge) = edge();
    for hosts in [
        "",
        "Host: images.example\r\nHost: images.example\r\n",
        "Host: images.example\r\nHost: other.example\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: user@images.example\r\n",
        "Host: images.example:port\r\n",
        "Host: images.example:99999\r\n",
        "Host: images.example, other.example\r\n",
    ] {
        refuses(&edge, format!("GET /a.png HTTP/1.1\r\n{hosts}\r\n"), 400);
    }
    is_unharmed(&edge, &origin);
}

/// RFC 9112 3.2.2: the target's authority is the host; the Host field can not smuggle in another.
#[test]
fn an_absolute_target_can_not_poison_the_host_it_disagrees_with() {
    let origin = Origin::start();
    origin.set_with("/a.png", |asked, _| {
        Reply::fresh(asked.header("host").unwrap_or("none"))
    });
    let edge = Setup::of(&origin).origin("host", "client").start();
    let mut client = Client::connect(edge.address());
    client.send("GET http://evil.example/a.png HTTP/1.1\r\nHost: images.example\r\n\r\n");
    let answer = client.answer();
    match answer.status {
        200 => answer.expect(200, b"evil.example"),
        _ => answer.expect(400, &answer.body.clone()),
    };
    edge.get_with("/a.png", &[("Host", "images.example")])
        .expect_miss(b"images.example");
    let mut client = Client::connect(edge.address());
    client.send("GET http://images.example/a.png HTTP/1.1\r\nHost: images.example\r\n\r\n");
    client.answer().expect_hit(b"images.example");
}

/// Whatever is made of such a request, what follows its header is never taken for another request.
#[test]
fn a_request_with_two_framings_smuggles_nothing() {
    let (origin, edge) = edge();
    origin.set("/smuggled", Reply::fresh("smuggled"));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: images.example\r\n\r\n";
    let chunked = format!("0\r\n\r\n{smuggled}");
    for framing in [
        "Content-Length: 0\r\nContent-Length: 50",
        "Content-Length: 0, 50",
        "Content-Length: 50\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked\r\nContent-Length: 0",
        "Transfer-Encoding : chunked\r\nContent-Length: 0",
        "Transfer-Encoding: chunked, gzip",
        "Content-Length: -1",
        "Content-Length: +0",
        "Content-Length: 0x0",
        "Content-Length: 99999999999999999999999",
        "Content-Length:\r\n 0",
    ] {
        for method in ["GET", "POST"] {
            let mut client = Client::connect(edge.address());
            let request = format!("{method} /a.png HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n{chunked}");
            client.try_send(request).ok();
            let first = client
                .header()
                .unwrap_or_else(|error| panic!("{method} {framing}: {error}"));
            let rest = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(
                !rest.contains("smuggled"),
                "{method} {framing}: {first:?} then {rest}"
            );
            assert_eq!(origin.count("/smuggled"), 0, "{method} {framing}");
        }
    }
    get(edge.address(), "/a.png").expect(200, b"image");
}

#[test]
fn a_conflicting_length_is_400() {
    let (_origin, edge) = edge();
    for framing in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: x",
        "Content-Length: -1",
    ] {
        refuses(
            &edge,
            format!("POST /a.png HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\nab"),
            400,
        );
    }
}

#[test]
fn a_get_with_a_body_leaves_the_connection_in_step_or_ends_it() {
    let (origin, edge) = edge();
    origin.set("/smuggled", Reply::fresh("smuggled"));
    let mut client = Client::connect(edge.address());
    let body = "GET /smuggled HTTP/1.1\r\nHost: images.example\r\n\r\n";
    let length = body.len();
    client.send(format!(
        "GET /a.png HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    client.answer();
    client
        .try_send(format!("GET /a.png HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .ok();
    if let Ok(next) = client.try_answer_to("GET") {
        next.expect(200, b"image");
    }
    assert_eq!(origin.count("/smuggled"), 0);
}

#[test]
fn a_header_sent_drop_by_drop_is_cut_off_at_its_deadline() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let begun = "GET /a.png HTTP/1.1\r\nHost: images.example\r\nX-Slow: ";
    // Whose header began earlier and has more time: the deadline is the configured one.
    let patient = Setup::of(&origin).edge("header_deadline", "1h").start();
    let mut waited_for = Client::connect(patient.address());
    waited_for.send(begun);
    let edge = Setup::of(&origin).edge("header_deadline", "500ms").start();
    let mut client = Client::connect(edge.address());
    client.send(begun);
    eventually("the slow client is cut off", || {
        // Each drop comes well before any deadline of its own.
        thread::sleep(Duration::from_millis(20));
        client.try_send("x").is_err().then_some(())
    });
    assert!(waited_for.is_silent());
    edge.get("/a.png").expect(200, b"image");
}

#[test]
fn a_slow_second_header_on_a_connection_is_cut_off_too() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin)
        .edge("header_deadline", "300ms")
        .edge("keepalive_idle", "1s")
        .start();
    let mut client = Client::connect(edge.address());
    client.get("/a.png").expect(200, b"image");
    client.send("GET /a.png HTTP/1.1\r\nHost: ");
    let rest = client.rest();
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
}

#[test]
fn connect_and_trace_are_refused() {
    let (origin, edge) = edge();
    let connect = status_of(
        edge.address(),
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    );
    assert!(matches!(connect, Some(400 | 405 | 501)), "{connect:?}");
    let trace = status_of(
        edge.address(),
        format!("TRACE /a.png HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    );
    assert!(matches!(trace, Some(405 | 501)), "{trace:?}");
    is_unharmed(&edge, &origin);
}

#[test]
fn refused_requests_are_counted() {
    let (_origin, edge) = edge();
    refuses(&edge, format!("GET /%zz HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 400);
    edge.wait_for_metric(
        "aquatint_requests_total{outcome=\"refused\",status_class=\"4xx\"}",
        |count| count == 1.0,
    );
}

/// Where a body ends is lost with a malformed chunk, and with it where the next request would begin.
#[test]
fn after_a_malformed_chunk_nothing_more_is_read_as_a_request() {
    let (origin, edge) = edge();
    for body in [
        "4\nabcd\n0\n\n",
        "10000000000000004\r\nabcd\r\n",
        "zz\r\nabcd\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(edge.address());
        client.send(format!(
            "POST /post HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /smuggled.png HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        ));
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{body:?}: {rest}");
        assert!(rest.starts_with("HTTP/1.1 400"), "{body:?}: {rest}");
    }
    assert_eq!(origin.count("/smuggled.png"), 0);
    assert!(!edge.stderr().contains("panicked"), "{}", edge.stderr());
}
