//! Methods beyond GET and HEAD: every one is the origin's to judge, but for those that tunnel or echo.

use crate::support::{Client, Edge, HOST, Origin, Reply, request};

/// RFC 9110 section 9.1: methods are case-sensitive, and more of them may be registered.
#[test]
fn a_method_that_the_edge_does_not_know_passes_with_its_body() {
    let origin = Origin::start();
    origin.set_with("/form", |asked, _| Reply::of(asked.method.clone()));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    for method in [
        "M-SEARCH",
        "purge",
        "PROPFIND",
        "BREW",
        "get",
        "DELETE",
        "OPTIONS",
        "A!#$%&'*+.^_`|~9",
    ] {
        client.send(format!(
            "{method} /form HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello"
        ));
        client.answer().expect(200, method.as_bytes());
        let asked = origin.last("/form");
        assert_eq!(
            (asked.method.as_str(), asked.body.as_slice()),
            (method, &b"hello"[..])
        );
    }
}

/// RFC 9110 sections 9.3.6, 9.3.8 and 15.5.6.
#[test]
fn tunnels_and_echoes_are_refused_by_the_edge_itself() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for (method, target) in [("TRACE", "/form"), ("CONNECT", "images.example:443")] {
        let mut client = Client::connect(edge.address());
        let answer = client.ask(method, target, &[]);
        assert_eq!(answer.status, 405, "{answer:?}");
        assert!(answer.said("allow").contains("OPTIONS"), "{answer:?}");
    }
    assert_eq!(origin.targets(), [""; 0]);
}

/// RFC 9110 sections 7.6.2 and 9.3.7.
#[test]
fn an_options_for_the_edge_itself_is_answered_by_it() {
    let origin = Origin::with("/a.png", Reply::of("origin"));
    let edge = Edge::before(&origin);
    for (target, headers) in [("*", &[][..]), ("/a.png", &[("Max-Forwards", "0")][..])] {
        let answer = request(edge.address(), "OPTIONS", target, headers);
        answer.expect(204, b"");
        assert!(answer.said("allow").contains("GET"), "{answer:?}");
    }
    assert_eq!(origin.targets(), [""; 0]);
    request(edge.address(), "OPTIONS", "/a.png", &[("Max-Forwards", "3")]).expect(200, b"origin");
    assert_eq!(origin.last("/a.png").header("max-forwards"), Some("2"));
}
