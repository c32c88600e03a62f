//! The API for operators: who may use it, and that what it tells is what clients get.

use crate::support::command::{ADMIN_KEY, json_of};
use crate::support::image::{Image, Kind};
use crate::support::purging::KEY;
use crate::support::{Client, Edge, Gate, HOST, Origin, Reply, Setup, eventually, get};
use serde_json::{Value, json};

const TARGET: &str = "/a.png";

fn described(target: &str) -> String {
    json!({ "url": format!("http://{HOST}{target}") }).to_string()
}

#[track_caller]
fn explained(edge: &Edge, target: &str) -> Value {
    edge.told("POST", "/api/v1/explain", &described(target))
}

#[track_caller]
fn warmed(edge: &Edge, target: &str) -> Value {
    edge.told("POST", "/api/v1/warm", &described(target))
}

#[track_caller]
fn assert_error(edge: &Edge, method: &str, target: &str, headers: &[(&str, &str)], status: u16, code: &str) {
    let answer = edge.api(method, target, "", headers);
    assert_eq!(answer.status, status, "{method} {target} {headers:?}: {answer:?}");
    assert_eq!(json_of(&answer)["error"]["code"], code, "{answer:?}");
    assert!(json_of(&answer)["error"]["message"].is_string(), "{answer:?}");
}

const PLACES: [(&str, &str); 10] = [
    ("GET", "/api/v1/stat"),
    ("GET", "/api/v1/top"),
    ("GET", "/api/v1/log"),
    ("POST", "/api/v1/explain"),
    ("POST", "/api/v1/warm"),
    ("POST", "/api/v1/reload"),
    ("GET", "/api/v1/cluster"),
    ("GET", "/api/v1/cluster/owner"),
    ("POST", "/api/v1/cluster/drain"),
    ("GET", "/api/v1/nothing"),
];

#[test]
fn no_page_in_a_browser_may_use_any_of_it() {
    let edge = Setup::of(&Origin::start()).with_admin_key().start();
    let bearer = format!("Bearer {ADMIN_KEY}");
    let places = PLACES
        .iter()
        .chain(&[("POST", "/api/v1/purge"), ("GET", "/api/v1/purges/1")]);
    for (method, place) in places {
        for header in [
            ("Origin", "https://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            assert_error(&edge, method, place, &[header], 403, "browser");
            let with_key = [header, ("Authorization", bearer.as_str())];
            assert_error(&edge, method, place, &with_key, 403, "browser");
        }
    }
    // Machines may be asked by pages how they are.
    let answer = edge.api("GET", "/livez", "", &[("Origin", "https://evil.example")]);
    assert_eq!(answer.status, 200);
}

#[test]
fn a_name_that_was_made_to_lead_here_opens_nothing_without_a_key() {
    let edge = Setup::of(&Origin::start()).with_admin_key().start();
    let bearer = format!("Bearer {ADMIN_KEY}");
    for (method, place) in PLACES {
        let named = ("Host", "rebound.example:9090");
        assert_error(&edge, method, place, &[named], 403, "host");
    }
    let named = [
        ("Host", "edge-1.example:9090"),
        ("Authorization", bearer.as_str()),
    ];
    assert_eq!(edge.api("GET", "/api/v1/stat", "", &named).status, 200);
    let local = [("Host", "localhost")];
    assert_eq!(edge.api("GET", "/api/v1/stat", "", &local).status, 200);
}

#[test]
fn a_key_counts_for_what_it_allows_and_a_wrong_one_for_nothing() {
    let edge = Setup::of(&Origin::start()).with_admin_key().start();
    let wrong = [("Authorization", "Bearer aqk_wrong")];
    assert_error(&edge, "GET", "/api/v1/stat", &wrong, 401, "unauthorized");
    let bearer = format!("Bearer {ADMIN_KEY}");
    let proxied = ("X-Forwarded-For", "127.0.0.1");
    assert_error(&edge, "GET", "/api/v1/stat", &[proxied], 401, "unauthorized");
    let allowed = [proxied, ("Authorization", bearer.as_str())];
    assert_eq!(edge.api("GET", "/api/v1/stat", "", &allowed).status, 200);
    // Who may administer may not purge by that.
    let order = r#"{"purge_everything": true}"#;
    let answer = edge.api("POST", "/api/v1/purge", order, &[("Authorization", &bearer)]);
    assert_eq!(answer.status, 403, "{answer:?}");
    let purger = Setup::of(&Origin::start()).with_key().start();
    let bearer = format!("Bearer {KEY}");
    let passed_on = [proxied, ("Authorization", bearer.as_str())];
    assert_error(&purger, "GET", "/api/v1/stat", &passed_on, 403, "not_allowed");
}

#[test]
fn what_is_not_understood_is_refused_as_json_with_what_would_be() {
    let edge = Setup::of(&Origin::start())
        .admin("body_bytes_max", "1KiB")
        .start();
    assert_error(&edge, "GET", "/api/v1/nothing", &[], 404, "not_found");
    assert_error(&edge, "POST", "/api/v1/stat", &[], 405, "method");
    assert_error(&edge, "GET", "/api/v1/warm", &[], 405, "method");
    assert_error(&edge, "GET", "/api/v1/top?limit=0", &[], 400, "bad_query");
    assert_error(&edge, "GET", "/api/v1/top?colour=red", &[], 400, "bad_query");
    let long = json!({ "url": format!("http://a/{}", "b".repeat(2000)) }).to_string();
    for (body, status, code) in [
        ("", 400, "bad_request"),
        ("{}", 400, "bad_request"),
        (r#"{"url": "http://a/b", "colour": "red"}"#, 400, "bad_request"),
        (r#"{"url": "/a.png"}"#, 400, "bad_url"),
        (
            r#"{"url": "http://a/b", "headers": {"Host": "c"}}"#,
            400,
            "bad_header",
        ),
        (r#"{"url": "http://a/.aquatint/x"}"#, 422, "no_route"),
        (&long, 413, "too_large"),
    ] {
        for place in ["/api/v1/explain", "/api/v1/warm"] {
            let answer = edge.api("POST", place, body, &[]);
            assert_eq!(answer.status, status, "{place} {body}: {answer:?}");
            assert_eq!(json_of(&answer)["error"]["code"], code, "{place} {body}");
        }
    }
    let form = [("Content-Type", "text/plain")];
    let answer = edge.api("POST", "/api/v1/warm", &described(TARGET), &form);
    assert_eq!(answer.status, 415, "{answer:?}");
    let answer = edge.api("OPTIONS", "/api/v1/warm", "", &[]);
    assert_eq!((answer.status, answer.said("allow")), (200, "OPTIONS, POST"));
}

#[test]
fn stat_tells_the_numbers_of_the_metrics_and_who_it_is() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Setup::of(&origin).edge("name", "edge-7").start();
    edge.get(TARGET).expect_miss(b"image");
    let told = eventually("the request is counted", || {
        let told = edge.told("GET", "/api/v1/stat", "");
        let samples = told["samples"].as_array().unwrap().iter();
        let misses = samples.filter(|sample| {
            sample["name"] == "aquatint_requests_total" && sample["labels"]["outcome"] == "miss"
        });
        let sum: f64 = misses.map(|sample| sample["value"].as_f64().unwrap()).sum();
        (sum == 1.0).then_some(told)
    });
    assert_eq!((&told["node"], &told["ready"]), (&json!("edge-7"), &json!(true)));
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["uptime_seconds"].as_f64().unwrap() > 0.0);
}

/// What would be done is what is then done.
#[test]
fn an_explanation_comes_true() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Setup::of(&origin).with_key().edge("name", "edge-7").start();
    let told = explained(&edge, TARGET);
    assert_eq!(told["answer"]["action"], "fetch", "{told}");
    assert_eq!(told["answer"]["why"], "uri-miss");
    assert_eq!((&told["stored"], &told["flight"]), (&Value::Null, &json!(false)));
    assert_eq!(
        (&told["route"], &told["origin"]),
        (&json!("*/"), &json!("default"))
    );
    assert_eq!(
        (&told["owner"], &told["node"]),
        (&json!("edge-7"), &json!("edge-7"))
    );
    let fetched = edge.get(TARGET);
    fetched.expect_miss(b"image");
    let told = explained(&edge, TARGET);
    assert_eq!(told["answer"]["action"], "serve", "{told}");
    assert_eq!(told["stored"]["tier"], "memory");
    assert_eq!(
        (&told["stored"]["bytes"], &told["stored"]["standing"]),
        (&json!(5), &json!("valid"))
    );
    let hit = edge.get(TARGET);
    hit.expect_hit(b"image");
    let said = told["answer"]["cache_status"].as_str().unwrap();
    assert!(said.starts_with("edge-7; hit; ttl="), "{said}");
    edge.purge(r#"{"purge_everything": true}"#);
    let told = explained(&edge, TARGET);
    assert_eq!(told["answer"]["action"], "fetch", "{told}");
    assert_eq!(told["stored"]["standing"], "hard", "{told}");
    assert_eq!(told["answer"]["because"], "what is stored is purged");
    edge.get(TARGET).expect_fetched(b"image");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn an_explanation_leaves_nothing_behind() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    let counted = || {
        [
            "aquatint_tier_hits_total",
            "aquatint_tier_misses_total",
            "aquatint_origin_requests_total",
        ]
        .map(|name| edge.metric(name))
    };
    let before = counted();
    for _ in 0..10 {
        explained(&edge, TARGET);
        explained(&edge, "/b.png");
        explained(&edge, "/a.png?w=7&x=1");
    }
    assert_eq!(counted(), before);
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn an_explanation_tells_what_is_on_the_ssd_and_leaves_it_there() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    edge.get(TARGET).expect_miss(b"image");
    edge.wait_for_ssd_writes(1.0);
    assert!(edge.terminate().success());
    let edge = setup.start();
    for _ in 0..2 {
        let told = explained(&edge, TARGET);
        assert_eq!(told["answer"]["action"], "serve", "{told}");
        assert_eq!(
            (&told["stored"]["tier"], &told["stored"]["body_tier"]),
            (&json!("ssd"), &json!("ssd"))
        );
    }
    assert_eq!(edge.metric("aquatint_memory_objects"), 0.0);
    edge.get(TARGET).expect_hit(b"image");
    assert_eq!(explained(&edge, TARGET)["stored"]["tier"], "memory");
}

#[test]
fn an_explanation_tells_stale_private_varying_and_passed_apart() {
    let origin = Origin::start();
    let image = || Reply::of("image").header("Content-Type", "image/png");
    origin.set(
        "/stale",
        image().header("Cache-Control", "max-age=0, stale-while-revalidate=1000"),
    );
    origin.set(
        "/old",
        image()
            .header("Cache-Control", "max-age=0")
            .header("ETag", "\"1\""),
    );
    origin.set("/private", image().header("Cache-Control", "private"));
    origin.set(
        "/vary",
        image()
            .header("Cache-Control", "max-age=60")
            .header("Vary", "Accept-Language"),
    );
    let edge = Edge::before(&origin);
    for target in ["/stale", "/old", "/private", "/vary"] {
        edge.get(target).expect_fetched(b"image");
    }
    for (target, action, why) in [
        ("/stale", "serve_and_refresh", Value::Null),
        ("/private", "pass", json!("uri-miss")),
        ("/vary", "serve", Value::Null),
    ] {
        let told = explained(&edge, target);
        assert_eq!(
            (&told["answer"]["action"], &told["answer"]["why"]),
            (&json!(action), &why),
            "{told}"
        );
    }
    assert_eq!(
        explained(&edge, "/vary")["vary"]["fields"],
        json!(["accept-language"])
    );
    let other = json!({
        "url": format!("http://{HOST}/vary"), "headers": {"Accept-Language": "de"},
    });
    let told = edge.told("POST", "/api/v1/explain", &other.to_string());
    assert_eq!(
        (&told["answer"]["action"], &told["answer"]["why"]),
        (&json!("fetch"), &json!("vary-miss"))
    );
    let cached = json!({
        "url": format!("http://{HOST}/none"), "headers": {"Cache-Control": "only-if-cached"},
    });
    let told = edge.told("POST", "/api/v1/explain", &cached.to_string());
    assert_eq!(told["answer"]["action"], "refuse", "{told}");
    let post = json!({"url": format!("http://{HOST}/vary"), "method": "POST"}).to_string();
    assert_eq!(
        edge.told("POST", "/api/v1/explain", &post)["answer"]["action"],
        "pass"
    );
}

#[test]
fn an_explanation_sees_the_flight_that_would_be_joined() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.set(TARGET, Reply::fresh("image").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let mut client = Client::connect(edge.address());
    client.send_request("GET", TARGET, &[]);
    gate.wait_for_held(1);
    let told = explained(&edge, TARGET);
    assert_eq!(
        (&told["answer"]["action"], &told["flight"]),
        (&json!("join"), &json!(true)),
        "{told}"
    );
    gate.open();
    client.answer().expect_miss(b"image");
    assert_eq!(explained(&edge, TARGET)["flight"], false);
}

#[test]
fn an_explanation_tells_whether_the_variant_is_made() {
    let origin = Origin::with(
        TARGET,
        Reply::image(Kind::Png, Kind::Png.encode(&Image::sample(64, 64))),
    );
    let edge = Setup::transforming(&origin, "").start();
    let target = "/a.png?w=32";
    assert_eq!(explained(&edge, target)["variant"]["found"], Value::Null);
    edge.get(TARGET);
    assert_eq!(explained(&edge, target)["variant"]["found"]["is"], "missing");
    assert_eq!(edge.get(target).status, 200);
    let told = explained(&edge, target);
    assert_eq!(
        told["variant"]["found"],
        json!({"is": "stored", "tier": "memory"}),
        "{told}"
    );
    assert_eq!(explained(&edge, TARGET)["variant"], Value::Null);
}

#[test]
fn what_is_warmed_is_a_hit_and_what_can_not_be_is_told() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    origin.set("/private", Reply::of("image").header("Cache-Control", "private"));
    origin.set("/broken", Reply::fresh("image").cut_after(2));
    let edge = Edge::before(&origin);
    let told = warmed(&edge, TARGET);
    assert_eq!(
        (&told["outcome"], &told["status"]),
        (&json!("miss"), &json!(200)),
        "{told}"
    );
    assert_eq!((&told["bytes"], &told["stored"]), (&json!(5), &json!(true)));
    edge.get(TARGET).expect_hit(b"image");
    assert_eq!(warmed(&edge, TARGET)["outcome"], "hit_memory");
    assert_eq!(origin.count(TARGET), 1);
    for _ in 0..2 {
        let told = warmed(&edge, "/private");
        assert_eq!(
            (&told["status"], &told["stored"]),
            (&json!(200), &json!(false)),
            "{told}"
        );
        assert!(told["note"].is_string(), "{told}");
    }
    let told = warmed(&edge, "/broken");
    assert_eq!(
        (&told["outcome"], &told["stored"]),
        (&json!("error"), &json!(false)),
        "{told}"
    );
    let told = warmed(&edge, "/missing");
    assert_eq!(told["status"], 404, "{told}");
    drop(origin);
    let told = warmed(&edge, "/gone");
    assert_eq!(
        (&told["outcome"], &told["status"]),
        (&json!("error"), &json!(502)),
        "{told}"
    );
}

#[test]
fn no_more_is_warmed_at_once_than_is_allowed() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.set(TARGET, Reply::fresh("image").header_held_by(&gate));
    let edge = Setup::of(&origin).admin("warm_max", "1").start();
    let mut first = Client::connect(edge.admin_address());
    let body = described(TARGET);
    first.send(format!(
        "POST /api/v1/warm HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    gate.wait_for_held(1);
    let answer = edge.api("POST", "/api/v1/warm", &described("/b.png"), &[]);
    assert_eq!(
        (answer.status, answer.said("retry-after")),
        (429, "1"),
        "{answer:?}"
    );
    gate.open();
    assert_eq!(json_of(&first.answer())["outcome"], "miss");
}

#[test]
fn pages_for_machines_are_as_they_were() {
    let edge = Edge::before(&Origin::start());
    for (page, body) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        get(edge.admin_address(), page).expect(200, body.as_bytes());
    }
    assert_eq!(get(edge.admin_address(), "/metrics").status, 200);
    assert_eq!(get(edge.admin_address(), "/nothing").status, 404);
}

#[test]
fn a_node_alone_has_no_cluster_to_tell_of() {
    let edge = Edge::before(&Origin::start());
    assert_error(&edge, "GET", "/api/v1/cluster", &[], 404, "alone");
    assert_error(
        &edge,
        "GET",
        "/api/v1/cluster/owner?url=http://a/b",
        &[],
        404,
        "alone",
    );
    assert_error(&edge, "POST", "/api/v1/cluster/drain", &[], 404, "alone");
    let answer = edge.api("POST", "/api/v1/cluster", "", &[]);
    assert_eq!(answer.status, 405, "{answer:?}");
}
