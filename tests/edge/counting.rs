//! What is counted of a request and of an origin: under which outcome, reason and name, and in which format it is told.

use crate::support::http2::Http2;
use crate::support::image::{Image, Kind};
use crate::support::{
    Certificate, Client, Edge, Gate, HOST, Origin, Reply, Setup, eventually, get_with, picture, request,
};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

#[track_caller]
fn counts(edge: &Edge, selector: &str, count: f64) {
    edge.wait_for_metric(selector, |value| value == count);
}

/// Requests of a route that ended so.
fn requests(route: &str, outcome: &str) -> String {
    format!("aquatint_requests_total{{outcome=\"{outcome}\",route=\"{route}\"}}")
}

/// Each way for a request to end but by the SSD and by a refusal, each as often as is given back.
fn end_in_every_way(origin: &Origin, edge: &Edge, gate: &Gate) -> [(&'static str, f64); 7] {
    edge.get("/a.png").expect_miss(b"image");
    for _ in 0..2 {
        edge.get("/a.png").expect_hit(b"image");
    }
    edge.get("/asked-each-time.png").expect(200, b"image");
    edge.get("/asked-each-time.png").expect(200, b"image");
    edge.get("/stale.png").expect_miss(b"old");
    edge.get_past_freshness("/stale.png").expect(200, b"old");
    assert_eq!(edge.get("/broken.png").status, 502);
    request(edge.address(), "POST", "/form", &[("Content-Length", "0")]).expect(200, b"done");
    let mut crowd: Vec<_> = (0..3).map(|_| Client::connect(edge.address())).collect();
    for client in &mut crowd {
        client.send_request("GET", "/held.png", &[]);
    }
    counts(edge, "aquatint_coalesced_requests_total", 2.0);
    gate.open();
    for client in &mut crowd {
        client.answer().expect(200, b"held");
    }
    let bearer = format!("Bearer {}", crate::support::purging::KEY);
    let purged = request(edge.address(), "PURGE", "/a.png", &[("Authorization", &bearer)]);
    assert_eq!(purged.status, 200, "{purged:?}");
    assert_eq!(origin.count("/held.png"), 1);
    [
        ("miss", 4.0),
        ("revalidated", 1.0),
        ("error", 1.0),
        ("bypass", 1.0),
        ("coalesced", 2.0),
        ("purge", 1.0),
        ("refused", 0.0),
    ]
}

#[test]
fn each_way_to_end_is_counted_under_its_route() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set_with("/asked-each-time.png", |asked, _| {
        match asked.has("if-none-match") {
            true => Reply::of("").status(304),
            false => Reply::of("image")
                .header("cache-control", "no-cache")
                .header("etag", "\"1\""),
        }
    });
    let stale = "max-age=1, stale-while-revalidate=600";
    origin.set("/stale.png", Reply::of("old").header("cache-control", stale));
    origin.set("/broken.png", Reply::hang_up());
    origin.set("/form", Reply::of("done"));
    origin.set("/held.png", Reply::fresh("held").header_held_by(&gate));
    let edge = Setup::of(&origin).with_key().route("host", HOST).start();
    let route = format!("{HOST}/");
    for (outcome, count) in end_in_every_way(&origin, &edge, &gate) {
        // An order of a purge goes no further than the edge.
        let route = if outcome == "purge" { "none" } else { &route };
        counts(&edge, &requests(route, outcome), count);
        let all = edge.metric(&format!("aquatint_requests_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(all, count, "{outcome}, whatever the route");
        for histogram in ["request_duration", "request_first_byte"] {
            let seen = format!("aquatint_{histogram}_seconds_count{{outcome=\"{outcome}\"}}");
            counts(&edge, &seen, count);
        }
        let sum = |name| edge.metric(&format!("aquatint_{name}_seconds_sum{{outcome=\"{outcome}\"}}"));
        assert!(
            sum("request_first_byte") <= sum("request_duration"),
            "{outcome}: the first byte goes before the last"
        );
    }
    let (hits, stale) = (requests(&route, "hit_memory"), requests(&route, "stale"));
    // How often the stale one was fresh, the machine's pace says.
    assert!(edge.metric(&hits) >= 2.0 && edge.metric(&stale) >= 1.0);
    let of_misses = format!("aquatint_response_body_bytes_total{{outcome=\"miss\",route=\"{route}\"}}");
    assert_eq!(edge.metric(&of_misses), 5.0 + 5.0 + 3.0 + 4.0);
}

/// Of one part, of several, an alternate, and a variant.
#[test]
fn what_has_to_be_read_from_the_ssd_is_another_hit_than_what_memory_holds() {
    let origin = Origin::with("/small.png", Reply::fresh("image"));
    origin.set("/large.png", Reply::fresh(picture(5, 3 << 20)));
    origin.set("/alternate.png", Reply::fresh("image").header("vary", "Accept"));
    let source = Kind::Png.encode(&Image::of_rgb(4, 4, &picture(6, 48)));
    origin.set("/source.png", Reply::image(Kind::Png, source));
    let setup = Setup::of(&origin).with_ssd().transform("");
    let targets = [
        "/small.png",
        "/large.png",
        "/alternate.png",
        "/source.png?w=2&fm=jpg",
    ];
    let edge = setup.start();
    for target in targets {
        assert_eq!(edge.get(target).status, 200, "{target}");
    }
    edge.wait_for_fills();
    edge.wait_for_ssd_writes(5.0);
    assert!(edge.terminate().success());
    let edge = setup.start();
    let (from_ssd, from_memory) = (requests("*/", "hit_ssd"), requests("*/", "hit_memory"));
    for (position, target) in targets.iter().enumerate() {
        assert!(edge.get(target).is_hit(), "{target}");
        counts(&edge, &from_ssd, position as f64 + 1.0);
        assert!(edge.get(target).is_hit(), "{target}");
        counts(&edge, &from_memory, position as f64 + 1.0);
    }
    counts(
        &edge,
        "aquatint_request_first_byte_seconds_count{outcome=\"hit_ssd\"}",
        4.0,
    );
    assert_eq!(edge.metric("aquatint_origin_requests_total"), 0.0);
}

#[test]
fn every_refusal_has_its_reason() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin).with_key().route("host", HOST).transform("");
    let edge = setup.edge("body_bytes_max", "10KiB").start();
    let to_host = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
    let long = "x".repeat(40 << 10);
    for (reason, route, bytes) in [
        (
            "url_too_long",
            "none",
            to_host(&format!("GET /{}", &long[..9 << 10]), ""),
        ),
        (
            "header_too_large",
            "none",
            to_host("GET /", &"X-A: b\r\n".repeat(200)),
        ),
        ("no_host", "none", "GET /a.png HTTP/1.0\r\n\r\n".into()),
        ("bad_target", "none", to_host("GET *", "")),
        ("method", "none", to_host("TRACE /", "")),
        ("options", "none", to_host("OPTIONS *", "")),
        (
            "expectation",
            "none",
            to_host("GET /", "Expect: the-unexpected\r\n"),
        ),
        ("malformed", "none", to_host("GARBAGE", "")),
        (
            "no_route",
            "none",
            "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n".into(),
        ),
        ("reserved_path", "none", to_host("GET /.aquatint/nothing", "")),
        ("bad_url", "none", to_host("GET /%zz", "")),
        ("purge", "none", to_host("PURGE /a.png", "")),
        (
            "only_if_cached",
            HOST,
            to_host("GET /b.png", "Cache-Control: only-if-cached\r\n"),
        ),
        ("bad_parameters", HOST, to_host("GET /a.png?w=wide", "")),
        (
            "body_too_large",
            HOST,
            to_host("POST /form", "Content-Length: 20000\r\n"),
        ),
        (
            "unsendable",
            HOST,
            to_host("POST /form", "Transfer-Encoding: chunked\r\n") + "zz\r\n",
        ),
    ] {
        let reason = format!("aquatint_rejected_requests_total{{reason=\"{reason}\"}}");
        let route = if route == HOST {
            format!("{HOST}/")
        } else {
            route.to_owned()
        };
        let (refused, of_route) = (
            requests(&route, "refused"),
            edge.metric(&requests(&route, "refused")),
        );
        let mut client = Client::connect(edge.address());
        // The edge may have refused, and closed, before the last byte.
        client.try_send(bytes).ok();
        client
            .header()
            .unwrap_or_else(|error| panic!("{reason}: {error}"));
        counts(&edge, &reason, 1.0);
        counts(&edge, &refused, of_route + 1.0);
    }
    let (refused, rejected) = (
        edge.metric("aquatint_requests_total{outcome=\"refused\"}"),
        edge.metric("aquatint_rejected_requests_total"),
    );
    assert_eq!(refused, rejected, "who is refused is refused for a reason");
}

#[test]
fn a_header_that_comes_too_late_has_its_reason_too() {
    let origin = Origin::start();
    let edge = Setup::of(&origin).edge("header_deadline", "200ms").start();
    let mut client = Client::connect(edge.address());
    client.send("GET /a.png HTTP/1.1\r\nHost: ");
    client.rest();
    counts(
        &edge,
        "aquatint_rejected_requests_total{reason=\"late_header\"}",
        1.0,
    );
    let timed = edge.metric("aquatint_request_duration_seconds_count{outcome=\"refused\"}");
    assert_eq!(timed, 0.0, "from when is not known");
}

#[test]
fn connections_are_counted_by_protocol_and_those_beyond_the_limit_apart() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let certificate = Certificate::new();
    let setup = Setup::of(&origin).with_tls(&certificate);
    let edge = setup.edge("connections_max", "2").start();
    let opened = |protocol, count| {
        counts(
            &edge,
            &format!("aquatint_connections_total{{protocol=\"{protocol}\"}}"),
            count,
        );
        counts(&edge, "aquatint_connections", 0.0);
    };
    for round in [1.0, 2.0] {
        edge.get("/a.png").expect(200, b"image");
        opened("http1", round);
        Http2::connect(edge.address()).get("/a.png").expect(200, b"image");
        opened("http2", round);
        Client::connect_tls(edge.tls_address(), &certificate)
            .get("/a.png")
            .expect(200, b"image");
        opened("http1_tls", round);
        Http2::connect_tls(edge.tls_address(), &certificate)
            .get("/a.png")
            .expect(200, b"image");
        opened("http2_tls", round);
    }
    assert_eq!(edge.metric("aquatint_connections_refused_total"), 0.0);
    let clients: Vec<_> = (0..2).map(|_| Client::connect(edge.address())).collect();
    counts(&edge, "aquatint_connections", 2.0);
    assert!(Client::connect(edge.address()).is_closed());
    counts(&edge, "aquatint_connections_refused_total", 1.0);
    drop(clients);
}

#[test]
fn an_origin_is_counted_by_name_with_its_answers_times_and_connections() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/held.png", Reply::fresh("held").body_held_by(&gate, 2));
    origin.set("/form", Reply::of("done").status(201));
    let edge = Setup::of(&origin).origin("concurrency_max", "7").start();
    let named = |name: &str, label: &str| format!("aquatint_origin_{name}{{origin=\"default\"{label}}}");
    assert_eq!(edge.metric(&named("requests_max", "")), 7.0);
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/missing.png");
    let mut waiting = Client::connect(edge.address());
    waiting.send_request("GET", "/held.png", &[]);
    gate.wait_for_held(1);
    counts(&edge, &named("requests_in_flight", ""), 1.0);
    counts(&edge, &named("first_byte_seconds_count", ""), 3.0);
    assert_eq!(
        edge.metric(&named("duration_seconds_count", "")),
        2.0,
        "one has not ended"
    );
    gate.open();
    waiting.answer().expect(200, b"held");
    let body = [("Content-Length", "5")];
    let mut client = Client::connect(edge.address());
    client.send_request("POST", "/form", &body).send("hello");
    client.answer().expect(201, b"done");
    counts(&edge, &named("requests_in_flight", ""), 0.0);
    for (name, label, count) in [
        ("requests_total", "", 4.0),
        ("responses_total", ",status_class=\"2xx\"", 3.0),
        ("responses_total", ",status_class=\"4xx\"", 1.0),
        ("responses_total", ",status_class=\"5xx\"", 0.0),
        ("first_byte_seconds_count", "", 4.0),
        ("duration_seconds_count", "", 4.0),
        ("failures_total", "", 0.0),
    ] {
        counts(&edge, &named(name, label), count);
    }
    let (new, reused) = (",kind=\"new\"", ",kind=\"reused\"");
    let connections = |kind| edge.metric(&named("connections_total", kind));
    assert_eq!(connections(new) + connections(reused), 4.0);
    assert!(connections(new) >= 1.0);
    let sum = |name| edge.metric(&named(name, ""));
    assert!(sum("first_byte_seconds_sum") <= sum("duration_seconds_sum"));
    assert!(sum("body_bytes_total") >= 5.0 + 4.0 + 4.0);
    let received = "aquatint_request_body_bytes_total{route=\"*/\"}";
    assert_eq!(edge.metric(received), 5.0, "of the form");
}

#[test]
fn the_state_of_an_origins_addresses_is_told_as_it_is_when_asked_for() {
    let origin = Origin::with("/health", Reply::of("well"));
    let edge = Setup::of(&origin)
        .origin("breaker", "{failures: 2, open_for: 1h}")
        .origin(
            "health",
            "{path: /health, interval: 100ms, failures: 1, passes: 1}",
        )
        .start();
    let is_in = |state| {
        for known in ["up", "down", "breaker_open"] {
            let selector = format!("aquatint_origin_addresses{{origin=\"default\",state=\"{known}\"}}");
            counts(&edge, &selector, f64::from(u8::from(known == state)));
        }
    };
    is_in("up");
    origin.set("/health", Reply::of("ill").status(500));
    is_in("down");
    origin.set("/health", Reply::of("well"));
    is_in("up");
    origin.set("/a.png", Reply::hang_up());
    eventually("the breaker is open", || {
        (edge.get("/a.png").status == 503).then_some(())
    });
    is_in("breaker_open");
    let failures = |reason| {
        let labels = format!("{{origin=\"default\",reason=\"{reason}\"}}");
        edge.metric(&format!("aquatint_origin_failures_total{labels}"))
    };
    assert!(failures("breaker_open") >= 1.0 && failures("reset") + failures("truncated") >= 2.0);
}

/// Both formats tell the same, and neither what a client wrote.
#[test]
fn metrics_are_told_as_the_client_prefers_and_never_with_what_a_client_wrote() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    for target in ["/a.png?mint=1", "/mint/%6dint.png", "/%zz-mint"] {
        edge.get_with(
            target,
            &[
                ("User-Agent", "mint"),
                ("X-Request-Id", "mint"),
                ("Referer", "mint"),
            ],
        );
    }
    request(edge.address(), "MINT", "/mint", &[]);
    counts(&edge, "aquatint_requests_in_flight", 0.0);
    let told = |accept| {
        let answer = get_with(edge.admin_address(), "/metrics", &[("Accept", accept)]);
        assert_eq!((answer.status, answer.said("vary")), (200, "Accept"), "{accept}");
        let content_type = answer.said("content-type").to_owned();
        (content_type, String::from_utf8(answer.body).unwrap())
    };
    let (of_text, text) = told("*/*");
    let (of_open, open) = told(OPEN_METRICS);
    assert_eq!(of_text, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(
        of_open,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.ends_with("# EOF\n") && !text.contains("# EOF"));
    let names = |text: &str| {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| line.split(['{', ' ']).next().map(str::to_owned));
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&text), names(&open));
    for told in [&text, &open] {
        assert!(!told.to_ascii_lowercase().contains("mint"), "{told}");
        assert!(!told.contains(".png"), "{told}");
    }
}
