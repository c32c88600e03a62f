//! The ways in for purges: who may order them, how an order may read, and what whoever gives one is told.

use crate::support::edge::run;
use crate::support::http2::Http2;
use crate::support::image::{Image, Kind, shown};
use crate::support::{Answer, Client, Edge, HOST, Origin, Reply, Setup, eventually, get, request};
use aquatint::base::clock;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const KEY: &str = "aqk_for_everything";
const URL_KEY: &str = "aqk_for_urls";
const SECRETS: [&str; 2] = [
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
];
const WEBHOOK: &str = "/.aquatint/webhooks/purge";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Two keys, and a webhook with a secret that takes the place of another.
fn setup(origin: &Origin) -> Setup {
    let hash = |key: &str| blake3::hash(key.as_bytes()).to_hex();
    let keys = format!(
        "{{all: {{hash: 'blake3:{}', scopes: ['purge:all']}}, url: {{hash: 'blake3:{}', scopes: ['purge:url']}}}}",
        hash(KEY),
        hash(URL_KEY)
    );
    let webhooks = format!("{{cms: {{secrets: {SECRETS:?}, scopes: ['purge:url', 'purge:tag']}}}}");
    Setup::of(origin).purge("keys", keys).purge("webhooks", webhooks)
}

fn world() -> (Origin, Edge) {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = setup(&origin).start();
    (origin, edge)
}

/// A request with a body, on a connection of its own.
#[track_caller]
fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut client = Client::connect(address);
    send(&mut client, path, headers, body.len());
    client.send(body);
    client.answer()
}

fn send(client: &mut Client, path: &str, headers: &[(&str, &str)], length: usize) {
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    client.send(head + "\r\n");
}

#[track_caller]
fn order_with(edge: &Edge, key: &str, more: &[(&str, &str)], order: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    let mut headers = vec![JSON, ("Authorization", bearer.as_str())];
    headers.extend(more);
    post(edge.admin_address(), "/api/v1/purge", &headers, order.as_bytes())
}

#[track_caller]
fn order(edge: &Edge, order: &Value) -> Answer {
    order_with(edge, KEY, &[], &order.to_string())
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[track_caller]
fn expect_error(answer: &Answer, status: u16, code: &str) -> String {
    let body = json_of(answer);
    let found = (answer.status, body["error"]["code"].as_str());
    assert_eq!(found, (status, Some(code)), "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[track_caller]
fn expect_applied(answer: &Answer) -> Value {
    let body = json_of(answer);
    assert_eq!(
        (answer.status, &body["state"]),
        (200, &json!("applied")),
        "{body}"
    );
    body
}

fn now_s() -> i64 {
    clock::now().as_secs() as i64
}

fn event(order: &Value) -> String {
    json!({"type": "purge", "timestamp": "2026-01-01T00:00:00Z", "data": order}).to_string()
}

/// Delivers an event as its sender does.
#[track_caller]
fn deliver(edge: &Edge, secret: &str, id: &str, sent_at_s: i64, body: &str) -> Answer {
    let signature = Webhook::new(secret)
        .unwrap()
        .sign(id, sent_at_s, body.as_bytes())
        .unwrap();
    deliver_signed(edge, id, sent_at_s, &signature, body)
}

#[track_caller]
fn deliver_signed(edge: &Edge, id: &str, sent_at_s: i64, signature: &str, body: &str) -> Answer {
    let sent_at = sent_at_s.to_string();
    let headers = [
        JSON,
        ("webhook-id", id),
        ("webhook-timestamp", sent_at.as_str()),
        ("webhook-signature", signature),
    ];
    post(edge.address(), WEBHOOK, &headers, body.as_bytes())
}

fn url(path: &str) -> String {
    format!("http://{HOST}{path}")
}

/// A file that holds a key.
fn key_file(setup: &Setup, key: &str) -> PathBuf {
    let file = setup.directory().join("key");
    std::fs::write(&file, format!("{key}\n")).unwrap();
    file
}

fn bearing(key: &str) -> String {
    format!("Bearer {key}")
}

/// Stores the image, orders it purged, and finds it fetched again.
#[track_caller]
fn is_purged_by(origin: &Origin, edge: &Edge, way: &str, purge: impl FnOnce()) {
    edge.get("/a.png").expect(200, b"image");
    edge.get("/a.png").expect_hit(b"image");
    let before = origin.count("/a.png");
    purge();
    let answer = edge.get("/a.png");
    assert!(!answer.is_hit(), "{way}: {answer:?}");
    assert_eq!(origin.count("/a.png"), before + 1, "{way}");
}

#[test]
fn every_way_in_purges_and_answers_with_a_receipt() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin);
    let edge = setup.start();
    let files = json!({"files": [url("/a.png")]});
    is_purged_by(&origin, &edge, "the API", || {
        let receipt = expect_applied(&order(&edge, &files));
        assert_eq!(
            (&receipt["duplicate"], &receipt["fenced"]),
            (&json!(false), &json!([]))
        );
        assert!(receipt["index"].as_u64().unwrap() > 0 && receipt["nodes"].as_array().unwrap().len() == 1);
    });
    let bearer = bearing(URL_KEY);
    is_purged_by(&origin, &edge, "PURGE", || {
        expect_applied(&request(
            edge.address(),
            "PURGE",
            "/a.png?v=7",
            &[("Authorization", &bearer)],
        ));
    });
    is_purged_by(&origin, &edge, "PURGE in absolute-form", || {
        let target = url("/a.png");
        expect_applied(&request(
            edge.address(),
            "PURGE",
            &target,
            &[("Authorization", &bearer)],
        ));
    });
    is_purged_by(&origin, &edge, "PURGE over HTTP/2", || {
        let mut client = Http2::connect(edge.address());
        let answer = client
            .ask("PURGE", "/a.png", &[("authorization", &bearer)])
            .unwrap();
        expect_applied(&answer);
    });
    for (at, secret) in SECRETS.iter().enumerate() {
        is_purged_by(&origin, &edge, "a webhook", || {
            let receipt = deliver(&edge, secret, &format!("msg_{at}"), now_s(), &event(&files));
            expect_applied(&receipt);
        });
    }
    let (file, admin) = (key_file(&setup, KEY), format!("http://{}", edge.admin_address()));
    is_purged_by(&origin, &edge, "the command line", || {
        let file = file.to_str().unwrap();
        let arguments = ["purge", &url("/a.png"), "--admin", &admin, "--key-file", file];
        let (status, stdout, stderr) = run(&arguments);
        assert!(status.success(), "{stderr}");
        assert!(stdout.starts_with("purged: index "), "{stdout}");
    });
    assert!(!origin.targets().iter().any(|target| target.contains("aquatint")));
}

#[test]
fn a_purge_can_be_asked_about_by_its_id() {
    let (_origin, edge) = world();
    let receipt = expect_applied(&order(&edge, &json!({"tags": ["sale"]})));
    let path = format!("/api/v1/purges/{}", receipt["purge_id"].as_str().unwrap());
    let bearer = bearing(URL_KEY);
    let answer = request(edge.admin_address(), "GET", &path, &[("Authorization", &bearer)]);
    assert_eq!((answer.status, json_of(&answer)), (200, receipt));
    expect_error(
        &request(edge.admin_address(), "GET", &path, &[]),
        401,
        "unauthorized",
    );
    let unknown = "/api/v1/purges/01900000-0000-7000-8000-000000000000";
    let answer = request(
        edge.admin_address(),
        "GET",
        unknown,
        &[("Authorization", &bearer)],
    );
    expect_error(&answer, 404, "unknown_purge");
    let answer = request(
        edge.admin_address(),
        "DELETE",
        &path,
        &[("Authorization", &bearer)],
    );
    expect_error(&answer, 405, "method");
    assert_eq!(answer.said("allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn who_has_no_key_purges_nothing_and_reaches_no_origin() {
    let (origin, edge) = world();
    edge.get("/a.png").expect(200, b"image");
    let wrong = bearing("aqk_wrong");
    for headers in [
        vec![],
        vec![("Authorization", wrong.as_str())],
        vec![("Authorization", "Basic YQ==")],
    ] {
        let answer = request(edge.address(), "PURGE", "/a.png", &headers);
        expect_error(&answer, 401, "unauthorized");
        assert_eq!(answer.said("www-authenticate"), "Bearer");
        let mut http2 = Http2::connect(edge.address());
        let headers: Vec<_> = headers
            .iter()
            .map(|(_, value)| ("authorization", *value))
            .collect();
        assert_eq!(http2.ask("PURGE", "/a.png", &headers).unwrap().status, 401);
    }
    let answer = order_with(&edge, "aqk_wrong", &[], r#"{"purge_everything": true}"#);
    expect_error(&answer, 401, "unauthorized");
    edge.get("/a.png").expect_hit(b"image");
    assert_eq!(origin.targets(), ["/a.png"]);
}

#[test]
fn a_key_that_lacks_a_permission_is_told_which() {
    let (_origin, edge) = world();
    for (text, lacked) in [
        (r#"{"tags": ["a"]}"#, "purge:tag"),
        (r#"{"hosts": ["images.example"]}"#, "purge:prefix"),
        (r#"{"files": ["http://images.example/a/*"]}"#, "purge:prefix"),
        (r#"{"purge_everything": true}"#, "purge:all"),
    ] {
        let message = expect_error(&order_with(&edge, URL_KEY, &[], text), 403, "not_allowed");
        assert!(message.contains(lacked), "{message}");
    }
}

#[test]
fn without_keys_and_webhooks_the_operator_is_told_how_to_make_them() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let message = expect_error(&order(&edge, &json!({"tags": ["a"]})), 403, "no_keys");
    assert!(message.contains("aquatint key"), "{message}");
    expect_error(&request(edge.address(), "PURGE", "/a.png", &[]), 403, "no_keys");
    let answer = deliver(
        &edge,
        SECRETS[0],
        "msg_1",
        now_s(),
        &event(&json!({"tags": ["a"]})),
    );
    expect_error(&answer, 403, "no_webhooks");
}

#[test]
fn a_wrong_missing_or_expired_signature_purges_nothing() {
    let (origin, edge) = world();
    edge.get("/a.png").expect(200, b"image");
    let body = event(&json!({"files": [url("/a.png")]}));
    let stranger = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    expect_error(
        &deliver(&edge, stranger, "msg_1", now_s(), &body),
        401,
        "wrong_signature",
    );
    let answer = post(edge.address(), WEBHOOK, &[JSON], body.as_bytes());
    expect_error(&answer, 401, "unsigned");
    for sent_at_s in [now_s() - 3600, now_s() + 3600] {
        expect_error(
            &deliver(&edge, SECRETS[0], "msg_late", sent_at_s, &body),
            401,
            "expired",
        );
    }
    let signature = Webhook::new(SECRETS[0])
        .unwrap()
        .sign("msg_1", now_s(), body.as_bytes())
        .unwrap();
    let other = body.replace("a.png", "b.png");
    expect_error(
        &deliver_signed(&edge, "msg_1", now_s(), &signature, &other),
        401,
        "wrong_signature",
    );
    edge.get("/a.png").expect_hit(b"image");
    assert_eq!(origin.targets(), ["/a.png"]);
    let refused = "aquatint_purge_orders_total{way=\"webhook\",result=\"refused\"}";
    assert_eq!(edge.metric(refused), 5.0);
    expect_applied(&deliver(&edge, SECRETS[0], "msg_2", now_s(), &body));
    eventually("the order is logged", || {
        edge.stderr().contains("a purge was ordered").then_some(())
    });
    let told = edge.stderr();
    assert!(
        !told.contains("msg_late") && !told.contains("a webhook is refused"),
        "{told}"
    );
}

/// Whoever sends slowly holds the room of a body.
#[test]
fn a_body_that_comes_slowly_is_waited_for_until_its_deadline_and_no_longer() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin).purge("body_deadline", "200ms");
    let edge = setup
        .purge("body_bytes_max", "1KiB")
        .purge("bodies_bytes_max", "2KiB")
        .start();
    let sent_at = now_s().to_string();
    let signed = [
        JSON,
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", sent_at.as_str()),
        ("webhook-signature", "v1,x"),
    ];
    let mut slow = Client::connect(edge.address());
    send(&mut slow, WEBHOOK, &signed, 1024);
    slow.send(" ".repeat(1000));
    expect_error(&slow.answer(), 408, "body_late");
    let body = event(&json!({"files": [url("/a.png")]}));
    // On a slow machine a body may take longer than that where nothing is wrong.
    let applied = eventually("the room is free again", || {
        let answer = deliver(&edge, SECRETS[0], "msg_2", now_s(), &body);
        (answer.status == 200).then_some(answer)
    });
    expect_applied(&applied);
}

#[test]
fn the_same_order_by_another_spelling_is_the_same_order() {
    let (_origin, edge) = world();
    let once = [("Idempotency-Key", "deploy-8")];
    let of = |files: Value| order_with(&edge, KEY, &once, &json!({"files": files}).to_string());
    let first = expect_applied(&of(json!([url("/a.png")])));
    let host = HOST.to_ascii_uppercase();
    for spelling in [
        format!("https://{HOST}/a.png"),
        format!("http://{host}/x/../a.png?v=2"),
    ] {
        let again = expect_applied(&of(json!([spelling])));
        assert_eq!(
            (&again["duplicate"], &again["purge_id"]),
            (&json!(true), &first["purge_id"]),
            "{spelling}"
        );
    }
    expect_error(&of(json!([url("/b.png")])), 409, "conflict");
}

#[test]
fn an_order_that_is_carried_out_is_counted_as_a_purge_and_one_that_is_not_as_refused() {
    let (_origin, edge) = world();
    let bearer = bearing(URL_KEY);
    let purges = || edge.metric("aquatint_requests_total{outcome=\"purge\",status_class=\"2xx\"}");
    let refused = || edge.metric("aquatint_requests_total{outcome=\"refused\"}");
    expect_applied(&request(
        edge.address(),
        "PURGE",
        "/a.png",
        &[("Authorization", &bearer)],
    ));
    let body = event(&json!({"files": [url("/a.png")]}));
    expect_applied(&deliver(&edge, SECRETS[0], "msg_1", now_s(), &body));
    eventually("both are counted", || (purges() == 2.0).then_some(()));
    assert_eq!(refused(), 0.0);
    expect_error(
        &request(edge.address(), "PURGE", "/a.png", &[]),
        401,
        "unauthorized",
    );
    eventually("the third is too", || (refused() == 1.0).then_some(()));
    assert_eq!(purges(), 2.0);
}

#[test]
fn what_a_place_takes_is_told_to_whoever_asks() {
    let (origin, edge) = world();
    for (address, path, allowed) in [
        (edge.address(), WEBHOOK, "OPTIONS, POST"),
        (edge.admin_address(), "/api/v1/purge", "OPTIONS, POST"),
        (edge.admin_address(), "/api/v1/purges/7", "GET, HEAD, OPTIONS"),
    ] {
        let answer = request(address, "OPTIONS", path, &[]);
        assert_eq!((answer.status, answer.said("allow")), (200, allowed), "{path}");
    }
    assert_eq!(origin.targets(), [""; 0]);
}

/// One target of an order, by the API, as a webhook and as `PURGE` of it where that can be said.
#[track_caller]
fn by_every_way(
    edge: &Edge,
    order_text: &Value,
    target: Option<(&str, &str)>,
) -> Vec<(&'static str, Answer)> {
    let id = format!("msg_{}", blake3::hash(order_text.to_string().as_bytes()));
    let mut answers = vec![
        ("the API", order(edge, order_text)),
        (
            "a webhook",
            deliver(edge, SECRETS[0], &id, now_s(), &event(order_text)),
        ),
    ];
    if let Some((host, path)) = target {
        let mut client = Client::connect(edge.address());
        let bearer = bearing(KEY);
        client.send(format!(
            "PURGE {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\n\r\n"
        ));
        answers.push(("PURGE", client.answer()));
    }
    answers
}

/// souin#456: a purge is answered well and does nothing.
#[test]
fn no_purge_silently_does_nothing_whatever_the_way() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let webhooks = format!("{{cms: {{secrets: {SECRETS:?}, scopes: ['purge:all']}}}}");
    let setup = setup(&origin).purge("webhooks", webhooks).route("host", HOST);
    let edge = setup.start();
    edge.get("/a.png").expect(200, b"image");
    let stranger = "other.example";
    for (order_text, target) in [
        (
            json!({"files": ["http://other.example/a.png"]}),
            Some((stranger, "/a.png")),
        ),
        (json!({"prefixes": ["other.example/a"]}), None),
        (json!({"hosts": [stranger]}), None),
    ] {
        for (way, answer) in by_every_way(&edge, &order_text, target) {
            let message = expect_error(&answer, 422, "no_route");
            assert!(message.contains(stranger), "{way}: {message}");
        }
    }
    for order_text in [
        json!({}),
        json!({"files": []}),
        json!({"purge_everything": false}),
    ] {
        for (_, answer) in by_every_way(&edge, &order_text, None) {
            expect_error(&answer, 400, "bad_order");
        }
    }
    for (way, answer) in by_every_way(&edge, &json!({"files": [url("/*.png")]}), Some((HOST, "/*.png"))) {
        let message = expect_error(&answer, 501, "wildcard");
        assert!(message.contains("/*.png"), "{way}: {message}");
    }
    edge.get("/a.png").expect_hit(b"image");
    let purged = edge.metric("aquatint_purges_total");
    assert_eq!(purged, 0.0);
}

/// weserv/images#14: an image proxy has no purge, and what it has made of an image stays.
#[test]
fn purge_of_a_source_takes_all_variants_that_were_made_of_it_along() {
    let picture = |colour| Kind::Png.encode(&Image::plain(32, 32, colour));
    let is_red = |answer: &Answer| {
        let [red, _, blue, _] = shown(&answer.body).still().pixel(2, 2);
        red > blue
    };
    let origin = Origin::with("/a.png", Reply::image(Kind::Png, picture([250, 0, 0, 255])));
    let edge = setup(&origin).transform("sizes: []").start();
    let variants = ["/a.png?w=16&fm=png", "/a.png?w=8&fm=webp", "/a.png"];
    for variant in variants {
        assert!(is_red(&edge.get(variant)), "{variant}");
    }
    origin.set("/a.png", Reply::image(Kind::Png, picture([0, 0, 250, 255])));
    let bearer = bearing(URL_KEY);
    let headers = [("Authorization", bearer.as_str())];
    expect_applied(&request(edge.address(), "PURGE", "/a.png", &headers));
    for variant in variants {
        assert!(!is_red(&edge.get(variant)), "{variant} is still as it was");
    }
}

#[test]
fn what_a_caller_may_not_or_too_often_is_refused_by_every_way() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let tags = blake3::hash(b"aqk_for_tags").to_hex();
    let all = blake3::hash(KEY.as_bytes()).to_hex();
    let keys = format!(
        "{{all: {{hash: 'blake3:{all}', scopes: ['purge:all']}}, tags: {{hash: 'blake3:{tags}', scopes: ['purge:tag']}}}}"
    );
    let webhooks = format!("{{cms: {{secrets: {SECRETS:?}, scopes: ['purge:tag']}}}}");
    let setup = setup(&origin).purge("keys", keys).purge("webhooks", webhooks);
    let edge = setup.purge("rate_max", "1").purge("burst_max", "1").start();
    let purge = |key: &str| {
        let bearer = bearing(key);
        request(edge.address(), "PURGE", "/a.png", &[("Authorization", &bearer)])
    };
    let message = expect_error(&purge("aqk_for_tags"), 403, "not_allowed");
    assert!(message.contains("purge:url"), "{message}");
    let files = json!({"files": [url("/a.png")]});
    let answer = deliver(&edge, SECRETS[0], "msg_1", now_s(), &event(&files));
    expect_error(&answer, 403, "not_allowed");
    // A slow machine may have saved up one more by now.
    let limited = |way: &str, order: &dyn Fn() -> Answer| {
        let answer = eventually(way, || Some(order()).filter(|answer| answer.status == 429));
        expect_error(&answer, 429, "rate_limited");
        assert!(answer.said("retry-after").parse::<u64>().unwrap() >= 1);
    };
    limited("PURGE", &|| purge(KEY));
    limited("the API, by the same key", &|| {
        order(&edge, &json!({"tags": ["a"]}))
    });
    limited("a webhook", &|| {
        let event = event(&json!({"tags": ["a"]}));
        deliver(&edge, SECRETS[0], "msg_2", now_s(), &event)
    });
}

#[test]
fn a_webhook_that_is_sent_again_is_known_again_even_after_a_crash() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin).with_ssd();
    let edge = setup.start();
    let (body, sent) = (event(&json!({"files": [url("/a.png")]})), now_s() - 20);
    let first = expect_applied(&deliver(&edge, SECRETS[0], "msg_1", sent, &body));
    edge.kill9();
    let edge = setup.start();
    edge.get("/a.png").expect(200, b"image");
    let replay = deliver(&edge, SECRETS[0], "msg_1", sent, &body);
    expect_error(&replay, 409, "replayed");
    assert_eq!(json_of(&replay)["receipt"]["purge_id"], first["purge_id"]);
    let later = expect_applied(&deliver(&edge, SECRETS[1], "msg_1", sent + 5, &body));
    assert_eq!(
        (&later["duplicate"], &later["index"]),
        (&json!(true), &first["index"])
    );
    let other = event(&json!({"files": [url("/b.png")]}));
    expect_error(
        &deliver(&edge, SECRETS[0], "msg_1", sent + 6, &other),
        409,
        "conflict",
    );
    edge.get("/a.png").expect_hit(b"image");
}

#[test]
fn an_idempotency_key_carries_an_order_out_once() {
    let (_origin, edge) = world();
    let once = [("Idempotency-Key", "deploy-7")];
    let files = json!({"files": [url("/a.png")]}).to_string();
    let first = expect_applied(&order_with(&edge, KEY, &once, &files));
    edge.get("/a.png").expect(200, b"image");
    let again = expect_applied(&order_with(&edge, KEY, &once, &files));
    assert_eq!(
        (&again["duplicate"], &again["purge_id"]),
        (&json!(true), &first["purge_id"])
    );
    edge.get("/a.png").expect_hit(b"image");
    let other = order_with(&edge, KEY, &once, r#"{"tags": ["a"]}"#);
    expect_error(&other, 409, "conflict");
}

#[test]
fn a_body_beyond_the_limit_is_refused_before_it_has_been_sent() {
    let (origin, edge) = world();
    let bearer = bearing(KEY);
    let mut client = Client::connect(edge.admin_address());
    send(
        &mut client,
        "/api/v1/purge",
        &[JSON, ("Authorization", &bearer)],
        3 << 20,
    );
    expect_error(&client.answer(), 413, "body_too_large");
    assert!(client.is_closed(), "the rest is not waited for");

    let sent_at = now_s().to_string();
    let signed = [
        JSON,
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &sent_at),
        ("webhook-signature", "v1,x"),
    ];
    let mut client = Client::connect(edge.address());
    send(&mut client, WEBHOOK, &signed, 3 << 20);
    expect_error(&client.answer(), 413, "body_too_large");
    assert!(client.is_closed(), "the rest is not waited for");

    let mut client = Client::connect(edge.admin_address());
    client.send(format!(
        "POST /api/v1/purge HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    // The edge may have refused, and closed, before the last of them.
    (0..33).for_each(|_| drop(client.try_send(&chunk)));
    expect_error(&client.answer(), 413, "body_too_large");
    edge.get("/a.png").expect(200, b"image");
    assert_eq!(origin.targets(), ["/a.png"]);
}

#[test]
fn what_is_no_order_is_told_why() {
    let (_origin, edge) = world();
    for (text, status, code, named) in [
        (
            r#"{"file": ["http://images.example/a.png"]}"#,
            400,
            "bad_order",
            "unknown field `file`",
        ),
        (
            r#"{"files": ["http://images.example/a.png"], "Tags": []}"#,
            400,
            "bad_order",
            "unknown field `Tags`",
        ),
        (
            r#"{"files": "http://images.example/a.png"}"#,
            400,
            "bad_order",
            "files",
        ),
        (
            r#"{"purge_everything": false}"#,
            400,
            "bad_order",
            "nothing to purge",
        ),
        (
            r#"{"tags": ["a"], "min_version": {"etag": "\"a\""}}"#,
            400,
            "bad_order",
            "min_version",
        ),
        ("{", 400, "bad_order", "EOF"),
        (
            r#"{"files": ["http://images.example/*.png"]}"#,
            501,
            "wildcard",
            "*.png",
        ),
        (
            r#"{"files": ["ftp://images.example/a.png"]}"#,
            400,
            "bad_url",
            "ftp://images.example/a.png",
        ),
        (r#"{"files": ["/a.png"]}"#, 400, "bad_url", "/a.png"),
    ] {
        let message = expect_error(&order_with(&edge, KEY, &[], text), status, code);
        assert!(message.contains(named), "{message}");
    }
    let headers = [("Authorization", bearing(KEY))].map(|(name, value)| (name, value));
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let form = [
        headers.as_slice(),
        &[("Content-Type", "application/x-www-form-urlencoded")],
    ]
    .concat();
    expect_error(
        &post(edge.admin_address(), "/api/v1/purge", &form, b"tag=a"),
        415,
        "not_json",
    );
    let answer = request(edge.admin_address(), "POST", "/api/v1/purge", &headers);
    expect_error(&answer, 411, "no_body");
    let answer = request(edge.admin_address(), "GET", "/api/v1/purge", &headers);
    expect_error(&answer, 405, "method");
    assert_eq!(answer.said("allow"), "OPTIONS, POST");
    let answer = request(edge.address(), "GET", WEBHOOK, &[]);
    expect_error(&answer, 405, "method");
    assert_eq!(answer.said("allow"), "OPTIONS, POST");
}

#[test]
fn a_webhook_over_http2_is_heard_too() {
    let (_origin, edge) = world();
    let sent_at = now_s().to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", sent_at.as_str()),
        ("webhook-signature", "v1,x"),
    ];
    let mut client = Http2::connect(edge.address());
    expect_error(&client.ask("POST", WEBHOOK, &headers).unwrap(), 411, "no_body");
    expect_error(&client.ask("POST", WEBHOOK, &[]).unwrap(), 401, "unsigned");
    expect_error(&client.ask("PUT", WEBHOOK, &headers).unwrap(), 405, "method");
}

#[test]
fn one_url_of_no_route_refuses_the_whole_order() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = setup(&origin).route("host", HOST).start();
    edge.get("/a.png").expect(200, b"image");
    let answer = order(
        &edge,
        &json!({"files": [url("/a.png"), "http://other.example/b.png"]}),
    );
    let message = expect_error(&answer, 422, "no_route");
    assert!(message.contains("http://other.example/b.png"), "{message}");
    edge.get("/a.png").expect_hit(b"image");
    for text in [
        r#"{"hosts": ["other.example"]}"#,
        r#"{"prefixes": ["other.example/a"]}"#,
    ] {
        expect_error(&order_with(&edge, KEY, &[], text), 422, "no_route");
    }
    let reserved = json!({"files": [url("/.aquatint/webhooks/purge")]});
    expect_error(&order(&edge, &reserved), 422, "no_route");
}

/// RFC 3986 section 6.2.2, and what clients write besides.
#[test]
fn whatever_form_a_url_is_written_in_it_purges_the_same_image() {
    let origin = Origin::with("/a%20b/c.png", Reply::fresh("image"));
    let edge = setup(&origin).start();
    let host = HOST.to_ascii_uppercase();
    for form in [
        format!("http://{HOST}/a%20b/c.png"),
        format!("https://{HOST}/a%20b/c.png"),
        format!("HTTP://{host}:80/a%20b/c.png"),
        format!("http://{HOST}./a%20b/%63.png"),
        format!("http://{HOST}/x/../a%20b/./c.png"),
        format!("http://{HOST}/a%20b/c.png?v=3&w=100#top"),
    ] {
        edge.get("/a%20b/c.png").expect(200, b"image");
        edge.get("/a%20b/c.png").expect_hit(b"image");
        expect_applied(&order(&edge, &json!({"files": [form]})));
        let answer = edge.get("/a%20b/c.png");
        assert!(!answer.is_hit(), "{form}: {answer:?}");
    }
}

/// craft-blitz#880: a plugin sends one request for each URL, and the CDN's limit on requests leaves images unpurged.
#[test]
fn ten_thousand_urls_in_one_call_are_one_entry_and_count_once() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = setup(&origin)
        .purge("rate_max", "1")
        .purge("burst_max", "2")
        .start();
    edge.get("/a.png").expect(200, b"image");
    let before = edge.metric("aquatint_purge_index");
    let mut files: Vec<_> = (0..9_999).map(|n| url(&format!("/{n}.png"))).collect();
    files.push(url("/a.png"));
    expect_applied(&order(&edge, &json!({"files": files})));
    assert_eq!(edge.metric("aquatint_purge_index"), before + 1.0);
    assert_eq!(
        edge.metric("aquatint_purges_total{scope=\"url\",way=\"api\"}"),
        10_000.0
    );
    assert!(!edge.get("/a.png").is_hit());
    files.push(url("/b.png"));
    expect_error(&order(&edge, &json!({"files": files})), 413, "too_many_targets");
    // A slow machine may have saved up one more by now.
    let limited = eventually("too many orders", || {
        let answer = order(&edge, &json!({"tags": ["a"]}));
        (answer.status != 200).then_some(answer)
    });
    let message = expect_error(&limited, 429, "rate_limited");
    assert!(message.contains("one order"), "{message}");
    let wait: u64 = limited.said("retry-after").parse().unwrap();
    assert!(wait >= 1);
    assert!(edge.metric("aquatint_purge_orders_total{way=\"api\",result=\"limited\"}") >= 1.0);
    let bearer = bearing(URL_KEY);
    expect_applied(&request(
        edge.address(),
        "PURGE",
        "/a.png",
        &[("Authorization", &bearer)],
    ));
}

#[test]
fn a_soft_purge_is_revalidated_and_an_exact_one_spares_other_queries() {
    let origin = Origin::start();
    for target in ["/a.png?b=1", "/a.png?b=2"] {
        origin.set_with(target, |asked, _| match asked.has("if-none-match") {
            true => Reply::of([]).status(304).header("etag", "\"1\""),
            false => Reply::fresh("image").header("etag", "\"1\""),
        });
    }
    let edge = setup(&origin).start();
    let both = || ["/a.png?b=1", "/a.png?b=2"].map(|target| edge.get(target));
    both();
    assert!(both().iter().all(Answer::is_hit));
    let bearer = bearing(URL_KEY);
    let purge = |header| {
        let headers = [("Authorization", bearer.as_str()), header];
        expect_applied(&request(edge.address(), "PURGE", "/a.png?b=1", &headers));
    };
    purge(("Aquatint-Exact", "1"));
    let [one, other] = both();
    assert!(!one.is_hit() && other.is_hit());
    purge(("Fastly-Soft-Purge", "1"));
    for answer in both() {
        answer.expect(200, b"image");
        assert_eq!(
            answer.cache_status().value("fwd-status"),
            Some("304"),
            "{answer:?}"
        );
    }
    assert!(both().iter().all(Answer::is_hit));
}

#[test]
fn a_dry_run_tells_what_it_would_hit_and_leaves_it() {
    let (_origin, edge) = world();
    edge.get("/a.png").expect(200, b"image");
    let answer = order(&edge, &json!({"hosts": [HOST], "dry_run": true}));
    let expected = json!({"dry_run": true, "objects": 1, "bytes": 5, "scopes": 1});
    assert_eq!((answer.status, json_of(&answer)), (200, expected));
    edge.get("/a.png").expect_hit(b"image");
}

#[test]
fn who_waits_to_be_asked_for_an_order_is_asked_once_its_key_is_known() {
    let (_origin, edge) = world();
    let body = json!({"files": [url("/a.png")]}).to_string();
    let bearer = bearing(KEY);
    let mut client = Client::connect(edge.admin_address());
    let headers = [
        JSON,
        ("Authorization", bearer.as_str()),
        ("Expect", "100-continue"),
    ];
    send(&mut client, "/api/v1/purge", &headers, body.len());
    assert_eq!(client.header().unwrap().status, 100);
    client.send(&body);
    expect_applied(&client.answer());
    let mut client = Client::connect(edge.admin_address());
    send(
        &mut client,
        "/api/v1/purge",
        &[JSON, ("Expect", "100-continue")],
        body.len(),
    );
    let answer = client.header().unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn one_connection_takes_one_order_after_the_other_and_ends_with_one_refused_unread() {
    let (_origin, edge) = world();
    let bearer = bearing(KEY);
    let mut client = Client::connect(edge.admin_address());
    for (key, body, status) in [
        (bearer.as_str(), r#"{"tags": ["a"]}"#, 200),
        (&bearer, r#"{"tag": ["a"]}"#, 400),
        (&bearer, r#"{"tags": ["b"]}"#, 200),
        ("Bearer aqk_wrong", r#"{"tags": ["b"]}"#, 401),
    ] {
        let headers = [JSON, ("Authorization", key)];
        send(&mut client, "/api/v1/purge", &headers, body.len());
        client.send(body);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{body}");
        assert_eq!(
            answer.header("connection") == Some("close"),
            status == 401,
            "{answer:?}"
        );
    }
    assert!(client.is_closed());
}

#[test]
fn what_was_ordered_is_logged_and_no_key_or_secret_is() {
    let (_origin, edge) = world();
    let receipt = expect_applied(&order(
        &edge,
        &json!({"files": [url("/a.png")], "tags": ["a", "b"]}),
    ));
    let id = receipt["purge_id"].as_str().unwrap();
    let line = eventually("the order is logged", || {
        edge.stderr()
            .lines()
            .find(|line| line.contains(id))
            .map(str::to_owned)
    });
    for told in ["way=\"api\"", "by=\"all\"", "urls=1", "tags=2"] {
        assert!(line.contains(told), "{line}");
    }
    order_with(&edge, "aqk_wrong", &[], "{}");
    deliver(
        &edge,
        SECRETS[0],
        "msg_1",
        now_s(),
        &event(&json!({"tags": ["a"]})),
    );
    request(
        edge.address(),
        "PURGE",
        "/a.png",
        &[("Authorization", &bearing(URL_KEY))],
    );
    let told = edge.stdout() + &edge.stderr();
    for secret in [KEY, URL_KEY, "aqk_wrong", SECRETS[0], &SECRETS[0][6..]] {
        assert!(!told.contains(secret), "{secret} was shown");
    }
}

#[test]
fn the_command_line_tells_by_its_exit_code_how_an_order_ended() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin);
    let edge = setup.start();
    edge.get("/a.png").expect(200, b"image");
    let admin = format!("http://{}", edge.admin_address());
    let file = key_file(&setup, KEY).to_str().unwrap().to_owned();
    let purge = |arguments: &[&str]| {
        let common = ["purge", "--admin", &admin, "--key-file", &file];
        let (status, stdout, stderr) = run(&[&common, arguments].concat());
        (status.code().unwrap(), stdout, stderr)
    };
    let (code, stdout, _) = purge(&["--all", "--dry-run"]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "a purge would hit 1 object of 5 bytes; nothing was purged\n")
    );
    edge.get("/a.png").expect_hit(b"image");
    let (code, stdout, _) = purge(&["--host", HOST, "--idempotency-key", "7", "--json"]);
    assert_eq!(
        (code, &serde_json::from_str::<Value>(&stdout).unwrap()["state"]),
        (0, &json!("applied"))
    );
    assert!(!edge.get("/a.png").is_hit());
    let (code, stdout, _) = purge(&["--host", HOST, "--idempotency-key", "7"]);
    assert!(
        code == 0 && stdout.starts_with("purged by an earlier order: "),
        "{stdout}"
    );
    let (code, _, stderr) = purge(&["ftp://a/b"]);
    assert!(code == 3 && stderr.contains("refused with 400"), "{stderr}");
    let (code, _, stderr) = purge(&[]);
    assert!(code == 64 && stderr.contains("name what to purge"), "{stderr}");
    key_file(&setup, "aqk_wrong");
    let (code, _, stderr) = purge(&["--all"]);
    assert!(
        code == 3 && stderr.contains("401") && !stderr.contains("aqk_wrong"),
        "{stderr}"
    );
    drop(edge);
    let (code, _, stderr) = purge(&["--all"]);
    assert!(
        code == 5 && stderr.contains(&admin) && stderr.contains("nothing was ordered"),
        "{stderr}"
    );
}

/// Any web server answers 200 to whatever it is asked.
#[test]
fn the_command_line_takes_no_other_server_for_an_edge() {
    let origin = Origin::with("/api/v1/purge", Reply::fresh("It works"));
    let setup = setup(&origin);
    let file = key_file(&setup, KEY).to_str().unwrap().to_owned();
    for more in [&["--all"][..], &["--all", "--dry-run"], &["--all", "--json"]] {
        let admin = format!("http://{}", origin.address());
        let common = ["purge", "--admin", &admin, "--key-file", &file];
        let (status, stdout, stderr) = run(&[&common, more].concat());
        assert_eq!((status.code(), stdout.as_str()), (Some(5), ""), "{stderr}");
        assert!(stderr.contains("this is no admin listener"), "{stderr}");
    }
}

/// A key that was meant for the edge would be the origin's to read.
#[test]
fn a_key_with_purge_in_another_case_goes_to_no_origin() {
    let (origin, edge) = world();
    edge.get("/a.png").expect(200, b"image");
    let wrong = bearing("aqk_wrong");
    for method in ["purge", "Purge"] {
        let answer = request(edge.address(), method, "/a.png", &[("Authorization", &wrong)]);
        expect_error(&answer, 401, "unauthorized");
    }
    edge.get("/a.png").expect_hit(b"image");
    let right = bearing(KEY);
    let answer = request(edge.address(), "purge", "/a.png", &[("Authorization", &right)]);
    expect_applied(&answer);
    assert_eq!(origin.targets(), ["/a.png"]);
}

#[test]
fn an_array_is_no_order() {
    let (_origin, edge) = world();
    edge.get("/a.png").expect(200, b"image");
    for order in [
        "[[],[],[],[],[],true]",
        r#"[["http://images.example/a.png"]]"#,
        r#"{"files": [["http://images.example/a.png"]]}"#,
    ] {
        expect_error(&order_with(&edge, KEY, &[], order), 400, "bad_order");
        let event = format!(r#"{{"type": "purge", "data": {order}}}"#);
        let answer = deliver(&edge, SECRETS[0], "msg_1", now_s(), &event);
        expect_error(&answer, 400, "bad_order");
    }
    edge.get("/a.png").expect_hit(b"image");
}

#[test]
fn a_printed_key_purges_once_its_lines_are_in_the_configuration() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (status, printed, _) = run(&["key", "--name", "deploy", "--scope", "purge:all"]);
    assert!(status.success());
    let key = printed
        .split_whitespace()
        .find(|word| word.starts_with("aqk_"))
        .unwrap();
    let line = printed
        .lines()
        .find_map(|line| line.trim().strip_prefix("deploy: "))
        .unwrap();
    let edge = Setup::of(&origin)
        .purge("keys", format!("{{deploy: {line}}}"))
        .start();
    expect_applied(&order_with(&edge, key, &[], r#"{"purge_everything": true}"#));
}

#[test]
fn a_log_that_is_torn_refuses_to_start_and_is_left_alone() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin).with_ssd();
    let edge = setup.start();
    expect_applied(&order(&edge, &json!({"tags": ["a"]})));
    edge.kill9();
    let file = setup.data_directory().join("purges/log.redb");
    let whole = std::fs::read(&file).unwrap();
    let torn = &whole[..whole.len() / 3];
    std::fs::write(&file, torn).unwrap();
    let mut edge = setup.spawn();
    assert!(!edge.wait_for_exit().success());
    let (_, stderr) = edge.whole_output();
    assert!(stderr.contains("the log of purges"), "{stderr}");
    assert_eq!(std::fs::read(&file).unwrap(), torn);
}

/// A process of which no file may become larger than it is told; without the trap the system would end it for trying.
struct Confined {
    child: Child,
    edge: SocketAddr,
    admin: SocketAddr,
}

impl Confined {
    fn start(setup: &Setup) -> Confined {
        let command = "trap '' XFSZ; exec \"$0\" serve --config \"$1\"";
        let mut child = Command::new("sh")
            .args(["-c", command, env!("CARGO_BIN_EXE_aquatint")])
            .arg(setup.file())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut after = |prefix: &str| {
            let line = lines.next().unwrap().unwrap();
            line.strip_prefix(prefix).unwrap().parse().unwrap()
        };
        let edge = after("edge listening on http://");
        let admin = after("admin listening on http://");
        // The access log goes there too.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Confined { child, edge, admin }
    }

    fn confine(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    fn order(&self, order: &Value) -> Answer {
        let bearer = bearing(KEY);
        let headers = [JSON, ("Authorization", bearer.as_str())];
        post(
            self.admin,
            "/api/v1/purge",
            &headers,
            order.to_string().as_bytes(),
        )
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn with_no_room_for_its_log_an_edge_acknowledges_nothing_serves_and_fills_on_and_recovers() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = setup(&origin);
    let directory = setup.directory().join("purges");
    let setup = setup.purge("directory", directory.display().to_string());
    let edge = Confined::start(&setup);
    get(edge.edge, "/a.png").expect(200, b"image");
    let size = directory.join("log.redb").metadata().unwrap().len();
    edge.confine(Some(size));
    let many = |n: usize| {
        let files: Vec<_> = (0..10_000).map(|m| url(&format!("/{n}/{m}.png"))).collect();
        json!({"files": files})
    };
    let mut numbers = 0..;
    let refused = eventually("there is no more room", || {
        let answer = edge.order(&many(numbers.next()?));
        (answer.status != 200).then_some(answer)
    });
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    let message = json_of(&refused)["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("nothing is acknowledged"), "{message}");
    assert!(refused.said("retry-after").parse::<u64>().unwrap() >= 1);
    for n in 0..3 {
        get(edge.edge, "/a.png").expect_hit(b"image");
        let target = format!("/filled/{n}.png");
        origin.set(&target, Reply::fresh("another"));
        get(edge.edge, &target).expect_fetched(b"another");
        get(edge.edge, &target).expect_hit(b"another");
        let still = edge.order(&many(100 + n));
        assert!(matches!(still.status, 503 | 507), "{still:?}");
    }
    get(edge.edge, "/a.png").expect_hit(b"image");
    assert_eq!(get(edge.admin, "/livez").status, 200);
    edge.confine(None);
    let applied = eventually("orders are taken again", || {
        let answer = edge.order(&json!({"files": [url("/a.png")]}));
        (answer.status == 200).then_some(answer)
    });
    expect_applied(&applied);
    assert!(!get(edge.edge, "/a.png").is_hit());
}
