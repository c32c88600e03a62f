//! Traces: what goes on to origins, and what a collector hears of each request.

use crate::support::collector::{Collector, Span, only};
use crate::support::image::{Image, Kind};
use crate::support::purging::KEY;
use crate::support::{Edge, Gate, HOST, Nobody, Origin, Reply, Setup, eventually, get_with, request};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::BTreeSet;
use std::thread;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SENDER}-{flags}")
}

/// Trace, span and flags of a `traceparent`.
#[track_caller]
fn parts(parent: &str) -> (String, String, String) {
    let parts: Vec<&str> = parent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("no traceparent: {parent}");
    };
    assert_eq!((version, trace.len(), span.len()), ("00", 32, 16), "{parent}");
    (trace.into(), span.into(), flags.into())
}

/// Every span but the root has its parent among the others, of the same trace, and lies within it where it has to.
#[track_caller]
fn expect_one_tree(spans: &[Span]) {
    let root = only(spans, "request");
    for span in spans.iter().filter(|span| span.id != root.id) {
        assert_eq!(span.trace, root.trace, "{span:?}");
        let parent = spans.iter().find(|other| other.id == span.parent);
        let parent = parent.unwrap_or_else(|| panic!("no parent of {span:?} in {spans:#?}"));
        assert!(
            span.began >= parent.began && span.ended >= span.began,
            "{span:?} in {parent:?}"
        );
    }
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "{spans:#?}");
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

/// The spans of one trace.
fn of_trace(spans: &[Span], trace: &str) -> Vec<Span> {
    let of_it = spans.iter().filter(|span| span.trace == trace);
    of_it.cloned().collect()
}

/// Waits until these are the spans of the trace that the root with that outcome belongs to.
#[track_caller]
fn wait_for_tree(collector: &Collector, outcome: &str, expected: &[&str]) -> Vec<Span> {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    eventually("the spans of the request have come", || {
        let spans = collector.spans();
        let root = spans.iter().find(|span| {
            span.attributes
                .get("aquatint.outcome")
                .is_some_and(|o| o == outcome)
        })?;
        let tree = of_trace(&spans, &root.trace);
        (names(&tree) == expected).then_some(tree)
    })
}

// ---- What goes on to origins ----

#[test]
fn without_a_collector_a_trace_goes_on_as_it_came() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/form", Reply::of("taken"));
    let edge = Edge::before(&origin);
    let parent = parent("01");
    let headers = [("traceparent", parent.as_str()), ("tracestate", "a=1,b=2")];
    get_with(edge.address(), "/a.png", &headers).expect_miss(b"image");
    request(edge.address(), "DELETE", "/form", &headers);
    for target in ["/a.png", "/form"] {
        let asked = origin.last(target);
        assert_eq!(asked.header("traceparent"), Some(parent.as_str()), "{target}");
        assert_eq!(asked.header("tracestate"), Some("a=1,b=2"), "{target}");
    }
}

#[test]
fn a_malformed_trace_goes_no_further() {
    let origin = Origin::with("/a.png", Reply::of("image"));
    let edge = Edge::before(&origin);
    let zeros = format!("00-{}-{SENDER}-01", "0".repeat(32));
    let good = parent("01");
    for headers in [
        &[("traceparent", "nonsense"), ("tracestate", "a=1")][..],
        &[("traceparent", zeros.as_str()), ("tracestate", "a=1")],
        &[
            ("traceparent", good.as_str()),
            ("traceparent", good.as_str()),
            ("tracestate", "a=1"),
        ],
        &[("tracestate", "a=1")],
    ] {
        get_with(edge.address(), "/a.png", headers);
        let asked = origin.last("/a.png");
        assert!(
            !asked.has("traceparent") && !asked.has("tracestate"),
            "{headers:?}: {asked:?}"
        );
    }
    let headers = [("traceparent", good.as_str()), ("tracestate", "no value")];
    get_with(edge.address(), "/a.png", &headers);
    let asked = origin.last("/a.png");
    assert!(asked.has("traceparent") && !asked.has("tracestate"), "{asked:?}");
}

#[test]
fn a_trace_is_in_no_key_and_selects_no_alternate() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/varies.png", Reply::fresh("image").header("vary", "traceparent"));
    let edge = Edge::before(&origin);
    let (one, other) = (parent("01"), parent("00"));
    get_with(edge.address(), "/a.png", &[("traceparent", &one)]).expect_miss(b"image");
    for headers in [
        &[][..],
        &[("traceparent", other.as_str())],
        &[("tracestate", "a=1")],
    ] {
        let answer = get_with(edge.address(), "/a.png", headers);
        answer.expect_hit(b"image");
        assert!(
            !answer.has("traceparent") && !answer.has("tracestate"),
            "{answer:?}"
        );
    }
    for _ in 0..2 {
        get_with(edge.address(), "/varies.png", &[("traceparent", &one)]).expect_fetched(b"image");
    }
    assert_eq!(origin.count("/varies.png"), 2, "it is not stored");
}

#[test]
fn many_who_share_a_flight_ask_as_the_first_of_them() {
    let gate = Gate::closed();
    let origin = Origin::with("/a.png", Reply::fresh("image").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let address = edge.address();
    let first = parent("01");
    let leader = {
        let first = first.clone();
        thread::spawn(move || get_with(address, "/a.png", &[("traceparent", &first)]))
    };
    gate.wait_for_held(1);
    let follower = thread::spawn(move || get_with(address, "/a.png", &[("traceparent", &parent("00"))]));
    edge.wait_for_metric("aquatint_coalesced_requests_total", |count| count == 1.0);
    gate.open();
    leader.join().unwrap().expect(200, b"image");
    follower.join().unwrap().expect(200, b"image");
    assert_eq!(origin.count("/a.png"), 1);
    assert_eq!(origin.last("/a.png").header("traceparent"), Some(first.as_str()));
}

// ---- What a collector hears ----

#[test]
fn a_miss_and_a_hit_are_a_tree_of_spans_each() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).traced_by(&collector).start();
    let id = [("X-Request-Id", "the-first")];
    get_with(edge.address(), "/a.png", &id).expect_miss(b"image");
    let asked = parts(
        origin
            .last("/a.png")
            .header("traceparent")
            .expect("the origin hears of the trace"),
    );
    edge.get("/a.png").expect_hit(b"image");

    let miss = wait_for_tree(
        &collector,
        "miss",
        &["look up", "origin", "request", "send", "store"],
    );
    expect_one_tree(&miss);
    let root = only(&miss, "request");
    assert_eq!((root.parent.as_str(), root.kind), ("", SpanKind::Server));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/a.png"),
        ("server.address", "images.example"),
        ("http.response.status_code", "200"),
        ("aquatint.outcome", "miss"),
        ("aquatint.route", "*/"),
        ("aquatint.request_id", "the-first"),
    ] {
        assert_eq!(root.said(name), value, "{name}");
    }
    assert_eq!(only(&miss, "look up").said("aquatint.tier"), "none");
    let question = only(&miss, "origin");
    assert_eq!(question.kind, SpanKind::Client);
    assert_eq!(question.said("aquatint.origin"), "default");
    assert_eq!(question.said("http.response.status_code"), "200");
    assert_eq!(question.said("server.address"), "127.0.0.1");
    assert_eq!(question.said("server.port"), origin.address().port().to_string());
    assert_eq!(question.said("aquatint.connection"), "new");
    assert_eq!(asked, (root.trace.clone(), question.id.clone(), "01".into()));
    assert_eq!(only(&miss, "send").said("aquatint.body_bytes"), "5");

    let hit = wait_for_tree(&collector, "hit_memory", &["look up", "request", "send"]);
    expect_one_tree(&hit);
    assert_ne!(hit[0].trace, root.trace);
    assert_eq!(only(&hit, "look up").said("aquatint.tier"), "memory");
    let resources = collector.resources();
    assert!(
        resources.iter().all(|said| said["service.name"] == "aquatint"),
        "{resources:?}"
    );
    edge.wait_for_metric("aquatint_trace_spans_exported_total{result=\"sent\"}", |n| {
        n == 8.0
    });
    assert_eq!(edge.metric("aquatint_trace_spans_dropped_total"), 0.0);
}

#[test]
fn a_passed_request_and_a_failed_one_tell_of_their_origin() {
    let collector = Collector::start();
    let origin = Origin::with("/form", Reply::of("taken"));
    origin.set("/broken.png", Reply::hang_up());
    let edge = Setup::of(&origin).traced_by(&collector).start();
    request(edge.address(), "DELETE", "/form", &[]);
    assert_eq!(edge.get("/broken.png").status, 502);
    let passed = wait_for_tree(&collector, "bypass", &["origin", "request", "send"]);
    expect_one_tree(&passed);
    let asked = parts(origin.last("/form").header("traceparent").unwrap());
    assert_eq!(asked.1, only(&passed, "origin").id);
    assert_eq!(only(&passed, "origin").said("server.address"), "127.0.0.1");
    let failed = wait_for_tree(&collector, "error", &["look up", "origin", "request", "send"]);
    assert!(only(&failed, "origin").failure.is_some(), "{failed:#?}");
    assert!(
        only(&failed, "origin").attributes.contains_key("error.type"),
        "{failed:#?}"
    );
    assert!(only(&failed, "request").failure.is_some(), "{failed:#?}");
}

#[test]
fn a_variant_tells_what_each_of_its_steps_took() {
    let collector = Collector::start();
    let image = Image::sample(48, 32);
    let origin = Origin::with("/a.jpg", Reply::image(Kind::Jpeg, Kind::Jpeg.encode(&image)));
    let edge = Setup::transforming(&origin, "sizes: []")
        .traced_by(&collector)
        .start();
    assert_eq!(edge.get("/a.jpg?w=24").status, 200);
    let steps = ["queue", "decode", "resize", "encode", "transform"];
    let around = ["look up", "origin", "request", "send", "store"];
    let tree = eventually("the variant's spans have come", || {
        let spans = collector.spans();
        let found = names(&spans);
        let all = steps.iter().chain(&around).all(|name| found.contains(name));
        all.then_some(spans)
    });
    expect_one_tree(&tree);
    let transform = only(&tree, "transform");
    assert_eq!(transform.parent, only(&tree, "request").id);
    for step in steps.iter().filter(|step| **step != "transform") {
        assert_eq!(only(&tree, step).parent, transform.id, "{step}");
    }
    assert_eq!(only(&tree, "request").said("url.path"), "/a.jpg", "and no query");
}

#[test]
fn a_purge_tells_of_its_commit() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).with_key().traced_by(&collector).start();
    edge.purge("{\"tags\": [\"a\"]}");
    let bearer = format!("Bearer {KEY}");
    let answer = request(edge.address(), "PURGE", "/a.png", &[("Authorization", &bearer)]);
    assert_eq!(answer.status, 200, "{answer:?}");
    let spans = collector.wait_for_roots(2);
    let orders: Vec<&Span> = spans.iter().filter(|span| span.name == "purge order").collect();
    assert_eq!(orders.len(), 2, "{spans:#?}");
    for (order, way) in orders.iter().zip(["api", "method"]) {
        assert_eq!(order.said("aquatint.purge.way"), way);
        assert_eq!(order.said("aquatint.purge.scopes"), "1");
        let tree = of_trace(&spans, &order.trace);
        expect_one_tree(&tree);
        assert_eq!(order.parent, only(&tree, "request").id);
        assert_eq!(only(&tree, "commit").parent, order.id);
        assert_eq!(only(&tree, "request").said("aquatint.outcome"), "purge");
    }
}

// ---- Which requests are recorded ----

#[test]
fn a_senders_word_decides_where_it_is_followed() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png", Reply::of("image"));
    let never = Setup::of(&origin)
        .traced_by(&collector)
        .tracing("sample", "0")
        .tracing("follow", "true")
        .start();
    never.get("/a.png");
    get_with(never.address(), "/a.png", &[("traceparent", &parent("00"))]);
    assert_eq!(
        origin.last("/a.png").header("traceparent"),
        Some(parent("00").as_str())
    );
    let headers = [("traceparent", parent("01")), ("tracestate", "a=1".into())];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    get_with(never.address(), "/a.png", &headers);
    let spans = collector.wait_for_roots(1);
    let root = only(&spans, "request");
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, SENDER));
    let asked = origin.last("/a.png");
    assert_eq!(asked.header("tracestate"), Some("a=1"));
    let question = of_trace(&spans, TRACE)
        .into_iter()
        .find(|span| span.name == "origin");
    let (trace, span, flags) = parts(asked.header("traceparent").unwrap());
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "01"));
    assert_eq!(question.expect("the origin was asked").id, span);
    // The two before it were answered before it, and would have come with it.
    never.terminate();
    let roots = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "request");
    assert_eq!(roots.count(), 1);
}

#[test]
fn a_senders_word_does_not_count_by_default() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png", Reply::of("image"));
    let setup = Setup::of(&origin).traced_by(&collector);
    let all = setup.clone().start();
    get_with(all.address(), "/a.png", &[("traceparent", &parent("00"))]);
    let spans = collector.wait_for_roots(1);
    let root = only(&spans, "request");
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, SENDER));
    let none = setup.tracing("sample", "0").start();
    get_with(none.address(), "/a.png", &[("traceparent", &parent("01"))]);
    assert_eq!(
        origin.last("/a.png").header("traceparent"),
        Some(parent("01").as_str())
    );
    none.terminate();
    let roots = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "request");
    assert_eq!(roots.count(), 1);
}

#[test]
fn no_secret_is_in_a_span() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png?token=hunter2", Reply::fresh("image"));
    let edge = Setup::of(&origin).with_key().traced_by(&collector).start();
    let headers = [
        ("Authorization", "Bearer hunter2"),
        ("Cookie", "session=hunter2"),
        ("X-Api-Key", "hunter2"),
    ];
    for _ in 0..2 {
        get_with(edge.address(), "/a.png?token=hunter2", &headers);
    }
    request(
        edge.address(),
        "PURGE",
        "/a.png?token=hunter2",
        &[("Authorization", &format!("Bearer {KEY}"))],
    );
    let with_user = format!("user:hunter2@{HOST}:80");
    let refused = get_with(edge.address(), "/a.png", &[("Host", &with_user)]);
    assert_eq!(refused.status, 400, "{refused:?}");
    let spans = collector.wait_for_roots(3);
    let text = format!("{spans:?}");
    for secret in ["hunter2", KEY] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

// ---- A collector that fails ----

#[test]
fn no_request_waits_for_a_collector_that_never_answers() {
    let gate = Gate::closed();
    let collector = Collector::answering(Reply::of("").header_held_by(&gate));
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin)
        .traced_by(&collector)
        .tracing("spans_max", "64")
        .start();
    let mut asked = 0;
    edge.get("/a.png").expect_miss(b"image");
    gate.wait_for_held(1);
    // All of them are answered while the first export hangs.
    while edge.metric("aquatint_trace_spans_dropped_total") < 1.0 {
        edge.get("/a.png").expect_hit(b"image");
        asked += 1;
        assert!(asked < 1000, "64 spans are fewer");
    }
    assert_eq!(edge.metric("aquatint_trace_spans_exported_total"), 0.0);
    gate.open();
    // There is room again.
    edge.wait_for_metric("aquatint_trace_spans_exported_total{result=\"sent\"}", |sent| {
        sent >= 64.0
    });
    edge.get("/a.png").expect_hit(b"image");
    edge.wait_for_metric("aquatint_trace_spans_exported_total{result=\"sent\"}", |sent| {
        sent >= 67.0
    });
}

#[test]
fn an_edge_stops_though_its_collector_never_answers() {
    let gate = Gate::closed();
    let collector = Collector::answering(Reply::of("").header_held_by(&gate));
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin).traced_by(&collector).tracing("deadline", "1m");
    let edge = setup.edge("drain_deadline", "1s").start();
    edge.get("/a.png").expect_miss(b"image");
    gate.wait_for_held(1);
    assert!(edge.terminate().success());
    gate.open();
}

#[test]
fn what_waits_at_the_stop_is_exported_before_the_end() {
    let collector = Collector::start();
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).traced_by(&collector).start();
    for _ in 0..20 {
        edge.get("/a.png").expect(200, b"image");
    }
    assert!(edge.terminate().success());
    let roots = collector
        .spans()
        .into_iter()
        .filter(|span| span.name == "request");
    assert_eq!(roots.count(), 20);
}

#[test]
fn spans_that_a_collector_refuses_or_that_find_none_are_counted_and_told_once() {
    let refusing = Collector::answering(Reply::of("no").status(400));
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).traced_by(&refusing).start();
    for _ in 0..2 {
        let failed = edge.metric("aquatint_trace_spans_exported_total{result=\"failed\"}");
        edge.get("/a.png").expect(200, b"image");
        edge.wait_for_metric("aquatint_trace_spans_exported_total{result=\"failed\"}", |n| {
            n > failed
        });
    }
    assert!(refusing.exports() >= 2);
    assert_eq!(
        edge.stderr().matches("can not be exported").count(),
        1,
        "{}",
        edge.stderr()
    );

    let gone = Nobody::there();
    let url = format!("http://{}/v1/traces", gone.address);
    let setup = Setup::of(&origin).tracing("otlp", url);
    let alone = setup.tracing("sample", "1").start();
    alone.get("/a.png").expect(200, b"image");
    alone.wait_for_metric("aquatint_trace_spans_exported_total{result=\"failed\"}", |n| {
        n >= 3.0
    });
}
