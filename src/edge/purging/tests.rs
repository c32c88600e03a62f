//! From headers and body to an answer, on a log in memory.

use super::*;
use crate::base::secret::Secret;
use crate::base::units::{ByteSize, Span};
use crate::purge::config::{Key, Permission, Webhook};
use crate::purge::keys::KeyHash;
use crate::purge::log::LogError;
use crate::purge::order::Minimum;
use crate::purge::request::Target;
use crate::purge::scripted::{Script, ScriptedLog};
use crate::purge::webhook::{sign, unused_secret};
use crate::serve::purging::ScopeError;
use crate::trace::UNRECORDED;
use crate::upstream::BodyGone;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

pub(in crate::edge) const KEY: &str = "aqk_all";

/// One host has routes.
struct OneHost;

impl OneHost {
    fn place<'a>(&self, text: &'a str) -> Result<(&'a str, &'a str), ScopeError> {
        let url = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = url.split_at(url.find('/').unwrap_or(url.len()));
        match host {
            "" => Err(ScopeError::Malformed(Default::default())),
            "shop.example" => Ok((host, path)),
            _ => Err(ScopeError::NoRoute),
        }
    }
}

impl Places for OneHost {
    fn scope(&self, target: &Target) -> Result<Scope, ScopeError> {
        let (host, path) = match target {
            Target::Tag(tag) => return Ok(Scope::tag(tag)),
            Target::Everything => return Ok(Scope::All),
            other => self.place(other.text())?,
        };
        let without_query = path.split('?').next().unwrap_or_default();
        Ok(match target {
            Target::Url(_) => Scope::url(host, without_query),
            Target::Exact(_) => Scope::exact(host, path),
            Target::Prefix(_) => Scope::prefix(host, path),
            _ => Scope::host(host),
        })
    }

    fn estimate(&self, scopes: &[Scope]) -> Estimate {
        Estimate {
            objects: scopes.len() as u64,
            bytes: 1000 * scopes.len() as u64,
        }
    }
}

/// A body that comes in pieces, and whether it was asked for.
#[derive(Default)]
struct Pieces {
    waiting: VecDeque<Bytes>,
    is_absent: bool,
    is_cut_short: bool,
    never_ends: bool,
    /// A byte of it comes each second.
    trickles: bool,
    asked: bool,
}

impl Pieces {
    fn of(body: impl AsRef<[u8]>) -> Self {
        let pieces = body.as_ref().chunks(1000).map(Bytes::copy_from_slice);
        Pieces {
            waiting: pieces.collect(),
            ..Pieces::default()
        }
    }
}

impl RequestBody for Pieces {
    fn is_absent(&self) -> bool {
        self.is_absent
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        self.asked = true;
        if self.trickles {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Ok(Some(Bytes::from_static(b" ")));
        }
        match self.waiting.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None if self.is_cut_short => Err(BodyGone),
            None if self.never_ends => std::future::pending().await,
            None => Ok(None),
        }
    }
}

pub(in crate::edge) struct World {
    pub(in crate::edge) orderer: Orderer,
    log: Arc<ScriptedLog>,
    metrics: Arc<Metrics>,
    secret: Secret,
}

fn key(text: &str, scopes: &[Permission]) -> Key {
    Key {
        hash: KeyHash::of(text),
        scopes: scopes.to_vec(),
    }
}

pub(in crate::edge) fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config::default();
    let secret = unused_secret().unwrap();
    let named = [
        ("all", key(KEY, &[Permission::All])),
        ("url", key("aqk_url", &[Permission::Url])),
        ("tag", key("aqk_tag", &[Permission::Tag])),
    ];
    config
        .keys
        .extend(named.map(|(name, key)| (name.to_owned(), key)));
    let webhook = Webhook {
        secrets: vec![unused_secret().unwrap(), secret.clone()],
        scopes: vec![Permission::Tag],
    };
    config.webhooks.insert("cms".into(), webhook);
    change(&mut config);
    let metrics = Arc::new(Metrics::new());
    let (purges, log) = ScriptedLog::purges(&config, metrics.clone());
    World {
        orderer: Orderer::new(&config, purges, Arc::new(OneHost), metrics.clone()),
        log,
        metrics,
        secret,
    }
}

/// What a caller gets, its body read as JSON.
#[derive(Debug)]
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn of(done: Result<Done, Refusal>) -> Self {
        let answer = Response::of(&done).with_place(&done);
        Seen {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: serde_json::from_slice(&answer.body).unwrap(),
        }
    }

    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.body);
        self
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (http::HeaderName::from_static(name), value)
    });
    lines.collect()
}

fn bearing(key: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {key}"))])
}

/// A sender of an address of its own.
fn from(address: u8, headers: &HeaderMap) -> Sender<'_> {
    let client = [192, 0, 2, address].into();
    Sender { client, headers }
}

impl World {
    async fn call(&self, order: Value) -> Seen {
        self.call_with(&bearing(KEY), &order.to_string()).await
    }

    async fn call_with(&self, headers: &HeaderMap, body: &str) -> Seen {
        self.call_of(headers, &mut Pieces::of(body)).await
    }

    async fn call_of(&self, headers: &HeaderMap, body: &mut Pieces) -> Seen {
        Seen::of(self.orderer.call(headers, body, &UNRECORDED).await)
    }

    /// What an attempt of the webhook carries.
    fn signed(&self, id: &str, sent_at_s: u64, body: &str) -> HeaderMap {
        let signature = sign(&self.secret, id, sent_at_s, body.as_bytes());
        headers(&[
            ("webhook-id", id),
            ("webhook-timestamp", &sent_at_s.to_string()),
            ("webhook-signature", &signature),
        ])
    }

    async fn deliver(&self, headers: &HeaderMap, body: &str) -> Seen {
        Seen::of(
            self.orderer
                .deliver(from(1, headers), &mut Pieces::of(body), &UNRECORDED)
                .await,
        )
    }

    fn count(&self, way: PurgeWay, result: PurgeResult) -> u64 {
        self.metrics.purge_orders[(way, result)].get()
    }

    /// What the log says was purged.
    fn logged(&self) -> Vec<Scope> {
        let entries = self.log.entries().into_iter();
        entries
            .flat_map(|batch| batch.purges)
            .flat_map(|purge| purge.scopes)
            .collect()
    }
}

fn now_s() -> u64 {
    clock::now().as_secs()
}

#[tokio::test]
async fn an_order_is_answered_by_the_receipt_of_one_entry() {
    let world = world();
    let order = json!({
        "files": ["https://shop.example/a.jpg?v=3", "http://shop.example/a.jpg", "https://shop.example/p/*"],
        "tags": ["Sale"], "soft": true,
    });
    let seen = world.call(order).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!(
        (&seen.body["index"], &seen.body["state"]),
        (&json!(1), &json!("applied"))
    );
    assert_eq!(seen.body["nodes"][0]["id"], "here");
    assert_eq!(seen.headers["cache-control"], "no-store");
    let expected = [
        Scope::url("shop.example", "/a.jpg"),
        Scope::prefix("shop.example", "/p"),
        Scope::tag("sale"),
    ];
    assert_eq!(world.logged(), expected, "two spellings of a URL are one scope");
    assert_eq!(world.log.entries()[0].purges[0].mode, Mode::Soft);
}

#[tokio::test]
async fn a_receipt_can_be_asked_for_by_whoever_has_a_key() {
    let world = world();
    let first = world.call(json!({"tags": ["a"]})).await;
    let id = first.body["purge_id"].as_str().unwrap();
    let seen = Seen::of(world.orderer.receipt(&bearing("aqk_url"), id).await);
    assert_eq!((seen.status, &seen.body), (200, &first.body));
    let unknown = PurgeId::unused().to_string();
    for id in [unknown.as_str(), "", "7", "../metrics"] {
        Seen::of(world.orderer.receipt(&bearing(KEY), id).await).expect(404, "unknown_purge");
    }
    Seen::of(world.orderer.receipt(&HeaderMap::new(), id).await).expect(401, "unauthorized");
}

#[tokio::test]
async fn without_a_known_key_nothing_is_read() {
    let world = world();
    let mut twice = bearing(KEY);
    twice.append("authorization", HeaderValue::from_static("Bearer aqk_all"));
    for headers in [
        HeaderMap::new(),
        bearing(""),
        bearing("aqk_other"),
        headers(&[("authorization", KEY)]),
        headers(&[("authorization", &format!("Basic {KEY}"))]),
        twice,
    ] {
        let mut body = Pieces::of(r#"{"tags": ["a"]}"#);
        let seen = world
            .call_of(&headers, &mut body)
            .await
            .expect(401, "unauthorized");
        assert_eq!(seen.headers["www-authenticate"], "Bearer");
        assert!(!body.asked, "{headers:?}");
        assert!(!seen.body.to_string().contains("aqk_other"));
    }
    assert_eq!(world.logged(), []);
    let spaced = headers(&[("authorization", "bearer  aqk_all ")]);
    assert_eq!(world.call_with(&spaced, r#"{"tags": ["a"]}"#).await.status, 200);
}

#[tokio::test]
async fn without_any_key_the_way_to_one_is_told() {
    let world = world_with(|config| config.keys.clear());
    let seen = world.call(json!({"tags": ["a"]})).await.expect(403, "no_keys");
    assert!(seen.message().contains("aquatint key"), "{}", seen.body);
}

#[tokio::test]
async fn what_a_key_lacks_is_named_and_nothing_is_purged() {
    let world = world();
    for (key, order, lacked) in [
        ("aqk_url", json!({"tags": ["a"]}), "purge:tag"),
        (
            "aqk_url",
            json!({"files": ["shop.example/a"], "hosts": ["shop.example"]}),
            "purge:prefix",
        ),
        ("aqk_url", json!({"files": ["shop.example/a/*"]}), "purge:prefix"),
        ("aqk_url", json!({"prefixes": ["shop.example/a"]}), "purge:prefix"),
        (
            "aqk_url",
            json!({"purge_everything": true, "dry_run": true}),
            "purge:all",
        ),
        (
            "aqk_tag",
            json!({"files": ["shop.example/a"], "exact": true}),
            "purge:url",
        ),
    ] {
        let seen = world
            .call_with(&bearing(key), &order.to_string())
            .await
            .expect(403, "not_allowed");
        assert!(seen.message().contains(lacked), "{}", seen.body);
    }
    assert_eq!(world.logged(), []);
    let allowed = r#"{"files": ["shop.example/a"]}"#;
    assert_eq!(world.call_with(&bearing("aqk_url"), allowed).await.status, 200);
}

#[tokio::test]
async fn one_wrong_target_refuses_the_whole_order_and_is_named() {
    let world = world();
    let ok = "shop.example/a.jpg";
    for (order, status, code, named) in [
        (
            json!({"files": [ok, "other.example/b.jpg"]}),
            422,
            "no_route",
            "other.example/b.jpg",
        ),
        (json!({"files": [ok, "/b.jpg"]}), 400, "bad_url", "/b.jpg"),
        (
            json!({"files": ["other.example/b", "/b.jpg"]}),
            400,
            "bad_url",
            "other.example/b",
        ),
        (
            json!({"hosts": ["other.example"]}),
            422,
            "no_route",
            "other.example",
        ),
        (
            json!({"files": [ok, "shop.example/*.jpg"]}),
            501,
            "wildcard",
            "shop.example/*.jpg",
        ),
        (
            json!({"files": [ok], "file": []}),
            400,
            "bad_order",
            "unknown field `file`",
        ),
        (json!({"files": [ok, 1]}), 400, "bad_order", "files[1]"),
        (json!({}), 400, "bad_order", "nothing"),
        (json!({"purge_everything": false}), 400, "bad_order", "nothing"),
        (
            json!({"tags": ["a"], "min_version": {"etag": "\"a\""}}),
            400,
            "bad_order",
            "min_version",
        ),
    ] {
        let seen = world.call(order).await.expect(status, code);
        assert!(seen.message().contains(named), "{}", seen.body);
    }
    assert_eq!(world.logged(), []);
    assert_eq!(world.count(PurgeWay::Api, PurgeResult::Refused), 10);
}

#[tokio::test]
async fn of_many_wrong_targets_the_first_few_are_named() {
    let files: Vec<_> = (0..100).map(|n| format!("other.example/{n}")).collect();
    let seen = world()
        .call(json!({"files": files}))
        .await
        .expect(422, "no_route");
    assert!(seen.message().contains("other.example/4\""), "{}", seen.body);
    assert!(seen.message().contains("and 95 more"), "{}", seen.body);
}

#[tokio::test]
async fn ten_thousand_urls_are_one_entry_and_one_more_is_too_many() {
    let world = world();
    let files = |count| {
        (0..count)
            .map(|n| format!("https://shop.example/{n}.jpg"))
            .collect::<Vec<_>>()
    };
    let seen = world.call(json!({"files": files(10_000)})).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
    assert_eq!((world.log.entries().len(), world.logged().len()), (1, 10_000));
    world
        .call(json!({"files": files(10_001)}))
        .await
        .expect(413, "too_many_targets");
    assert_eq!(world.log.entries().len(), 1);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_unread_or_as_soon_as_it_is_beyond() {
    let world = world_with(|config| config.body_bytes_max = ByteSize::kib(2));
    let mut declared = bearing(KEY);
    declared.insert(header::CONTENT_LENGTH, HeaderValue::from(2049));
    let mut body = Pieces::of("x".repeat(2049));
    world
        .call_of(&declared, &mut body)
        .await
        .expect(413, "body_too_large");
    assert!(!body.asked);
    let mut body = Pieces::of("x".repeat(100_000));
    world
        .call_of(&bearing(KEY), &mut body)
        .await
        .expect(413, "body_too_large");
    assert_eq!(body.waiting.len(), 97, "no more than was needed to tell");
}

#[tokio::test]
async fn a_body_that_is_none_or_is_no_json_or_breaks_off_is_told_so() {
    let world = world();
    let mut absent = Pieces {
        is_absent: true,
        ..Pieces::default()
    };
    world
        .call_of(&bearing(KEY), &mut absent)
        .await
        .expect(411, "no_body");
    world.call_with(&bearing(KEY), "").await.expect(400, "bad_order");
    let mut cut = Pieces {
        is_cut_short: true,
        ..Pieces::of(r#"{"tags":"#)
    };
    world
        .call_of(&bearing(KEY), &mut cut)
        .await
        .expect(400, "body_cut_short");
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.shop+json", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/jsonp", 415),
    ] {
        let mut headers = bearing(KEY);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let seen = world.call_with(&headers, r#"{"tags": ["a"]}"#).await;
        assert_eq!(seen.status, status, "{content_type}: {}", seen.body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_body_is_waited_for_no_longer_than_its_deadline_however_it_comes() {
    let world = world();
    let never = || Pieces {
        never_ends: true,
        ..Pieces::of("{")
    };
    let slow = || Pieces {
        trickles: true,
        ..Pieces::default()
    };
    let limits = &world.orderer.bodies;
    let room = limits.places.available_permits();
    for mut body in [never(), slow()] {
        world
            .call_of(&bearing(KEY), &mut body)
            .await
            .expect(408, "body_late");
    }
    for mut body in [never(), slow()] {
        let headers = world.signed("msg_1", now_s(), EVENT);
        let delivering = world.orderer.deliver(from(1, &headers), &mut body, &UNRECORDED);
        let done = tokio::time::timeout(Duration::from_secs(11), delivering).await;
        Seen::of(done.unwrap()).expect(408, "body_late");
        assert_eq!(limits.places.available_permits(), room);
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_repeated_orders_one_and_each_callers_keys_are_its_own() {
    let world = world();
    let with = |key: &str, once: &str| {
        let mut headers = bearing(key);
        headers.insert("idempotency-key", HeaderValue::from_str(once).unwrap());
        headers
    };
    let order = r#"{"files": ["shop.example/a", "shop.example/b"]}"#;
    let first = world.call_with(&with(KEY, "1"), order).await;
    assert_eq!((first.status, &first.body["duplicate"]), (200, &json!(false)));
    let again = world
        .call_with(
            &with(KEY, "1"),
            r#"{"files":["shop.example/b","shop.example/a"]}"#,
        )
        .await;
    assert_eq!((again.status, &again.body["duplicate"]), (200, &json!(true)));
    assert_eq!(again.body["purge_id"], first.body["purge_id"]);
    assert_eq!(
        world.logged().len(),
        2 * 2,
        "the log holds the attempt, and it did nothing"
    );
    let otherwise = r#"{"files": ["http://shop.example/a?v=2", "https://shop.example/b"]}"#;
    let again = world.call_with(&with(KEY, "1"), otherwise).await;
    assert_eq!(
        (again.status, &again.body["duplicate"]),
        (200, &json!(true)),
        "it covers the same: {}",
        again.body
    );
    world
        .call_with(&with(KEY, "1"), r#"{"tags": ["a"]}"#)
        .await
        .expect(409, "conflict");
    let others = world.call_with(&with("aqk_url", "1"), order).await;
    assert_eq!((others.status, &others.body["duplicate"]), (200, &json!(false)));
    for wrong in ["", " ", "a b", &"a".repeat(256), "\u{e9}"] {
        world
            .call_with(&with(KEY, wrong), order)
            .await
            .expect(400, "bad_idempotency_key");
    }
    assert_eq!(
        world.call_with(&with(KEY, &"a".repeat(255)), order).await.status,
        200
    );
}

#[tokio::test]
async fn a_dry_run_counts_and_purges_nothing() {
    let world = world();
    let order =
        json!({"files": ["shop.example/a?v=1", "shop.example/a?v=2", "shop.example/b"], "dry_run": true});
    let seen = world.call(order).await;
    let expected = json!({"dry_run": true, "objects": 2, "bytes": 2000, "scopes": 2});
    assert_eq!((seen.status, seen.body), (200, expected));
    assert_eq!(world.logged(), []);
}

#[tokio::test]
async fn a_dry_run_beside_others_is_told_to_come_again_and_purges_are_not_held_up() {
    let world = world();
    let turn = world.orderer.dry_runs.clone().try_acquire_owned().unwrap();
    let dry = || world.call(json!({"tags": ["a"], "dry_run": true}));
    let seen = dry().await.expect(429, "dry_runs_limited");
    assert_eq!(seen.headers["retry-after"], "1");
    assert_eq!(world.count(PurgeWay::Api, PurgeResult::Limited), 1);
    assert_eq!(world.call(json!({"tags": ["a"]})).await.status, 200);
    drop(turn);
    for _ in 0..3 {
        assert_eq!(dry().await.status, 200);
    }
}

#[tokio::test]
async fn a_minimum_reaches_the_log() {
    let world = world();
    let order = json!({"files": ["shop.example/a"], "min_version": {"header": "X-Version", "at_least": 42}});
    assert_eq!(world.call(order).await.status, 200);
    let expected = Minimum::Version {
        header: "x-version".into(),
        at_least: 42,
    };
    assert_eq!(world.log.entries()[0].purges[0].minimum, Some(expected));
}

#[tokio::test]
async fn orders_beyond_the_rate_are_told_when_to_come_again_and_others_are_not_held_up() {
    let world = world_with(|config| {
        config.rate_max = 1;
        config.burst_max = 2;
    });
    // Whatever it names, and however it ends.
    let files: Vec<_> = (0..10_000).map(|n| format!("shop.example/{n}")).collect();
    assert_eq!(world.call(json!({"files": files})).await.status, 200);
    world.call(json!({})).await.expect(400, "bad_order");
    let mut body = Pieces::of("{}");
    let seen = world
        .call_of(&bearing(KEY), &mut body)
        .await
        .expect(429, "rate_limited");
    assert_eq!(seen.headers["retry-after"], "1");
    assert!(!body.asked);
    assert_eq!(world.count(PurgeWay::Api, PurgeResult::Limited), 1);
    let other = world.call_with(&bearing("aqk_tag"), r#"{"tags": ["a"]}"#).await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_log_that_takes_nothing_acknowledges_nothing() {
    let world = world();
    world.log.set(Script::IsFull);
    let seen = world.call(json!({"tags": ["a"]})).await.expect(507, "log_full");
    assert!(
        seen.message().contains("nothing is acknowledged"),
        "{}",
        seen.body
    );
    world.log.set(Script::Fails);
    let seen = world.call(json!({"tags": ["a"]})).await.expect(503, "log_failed");
    assert!(seen.headers.contains_key("retry-after"));
    world.log.set(Script::Commits);
    assert_eq!(world.call(json!({"tags": ["a"]})).await.status, 200);
    world.orderer.purges.close().await;
    world.call(json!({"tags": ["a"]})).await.expect(503, "stopping");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_committed_in_time_is_pending_and_can_be_asked_about() {
    let world = world_with(|config| config.deadline = Span::millis(100));
    world.log.set(Script::NeverEnds);
    let seen = world.call(json!({"tags": ["a"]})).await;
    assert_eq!(
        (seen.status, &seen.body["state"]),
        (202, &json!("pending")),
        "{}",
        seen.body
    );
    let id = seen.body["purge_id"].as_str().unwrap();
    assert_eq!(seen.headers["location"], format!("/api/v1/purges/{id}").as_str());
    let later = Seen::of(world.orderer.receipt(&bearing(KEY), id).await);
    assert_eq!((later.status, later.body), (202, seen.body.clone()));
    assert_eq!(
        world.count(PurgeWay::Api, PurgeResult::Pending),
        1,
        "asking counts nothing"
    );
}

#[tokio::test]
async fn purge_is_of_one_url_soft_or_exact_as_its_headers_say() {
    let world = world();
    let url = "http://shop.example/a.jpg?v=3";
    for (lines, scope, mode) in [
        (vec![], Scope::url("shop.example", "/a.jpg"), Mode::Hard),
        (
            vec![("fastly-soft-purge", "1")],
            Scope::url("shop.example", "/a.jpg"),
            Mode::Soft,
        ),
        (
            vec![("fastly-soft-purge", "0")],
            Scope::url("shop.example", "/a.jpg"),
            Mode::Hard,
        ),
        (
            vec![("aquatint-exact", "1")],
            Scope::exact("shop.example", "/a.jpg?v=3"),
            Mode::Hard,
        ),
    ] {
        let mut all = headers(&lines);
        all.extend(bearing("aqk_url"));
        let seen = Seen::of(world.orderer.purge(&all, url, &UNRECORDED).await);
        assert_eq!(seen.status, 200, "{}", seen.body);
        let purge = world.log.entries().pop().unwrap().purges.remove(0);
        assert_eq!((purge.scopes, purge.mode), (vec![scope], mode), "{lines:?}");
    }
    for (value, mode) in [
        ("true", Mode::Soft),
        ("yes", Mode::Soft),
        ("1, 1", Mode::Soft),
        ("", Mode::Hard),
        ("False", Mode::Hard),
    ] {
        let mut all = bearing("aqk_url");
        all.insert("fastly-soft-purge", HeaderValue::from_static(value));
        let seen = Seen::of(world.orderer.purge(&all, url, &UNRECORDED).await);
        assert_eq!(seen.status, 200, "{}", seen.body);
        let purge = world.log.entries().pop().unwrap().purges.remove(0);
        assert_eq!(purge.mode, mode, "{value:?}");
    }
    for name in ["fastly-soft-purge", "aquatint-exact"] {
        let mut all = bearing("aqk_url");
        all.append(name, HeaderValue::from_static("1"));
        all.append(name, HeaderValue::from_static("0"));
        Seen::of(world.orderer.purge(&all, url, &UNRECORDED).await).expect(400, "contradiction");
    }
    Seen::of(world.orderer.purge(&bearing("aqk_tag"), url, &UNRECORDED).await).expect(403, "not_allowed");
    Seen::of(world.orderer.purge(&HeaderMap::new(), url, &UNRECORDED).await).expect(401, "unauthorized");
    let wildcard = "http://shop.example/*.jpg";
    Seen::of(world.orderer.purge(&bearing(KEY), wildcard, &UNRECORDED).await).expect(501, "wildcard");
}

const EVENT: &str = r#"{"type": "purge", "timestamp": "2026-01-01T00:00:00Z", "data": {"tags": ["a"]}}"#;

#[tokio::test]
async fn a_signed_webhook_is_carried_out_once_however_often_it_is_sent() {
    let world = world();
    let sent = now_s() - 10;
    let first = world.deliver(&world.signed("msg_1", sent, EVENT), EVENT).await;
    assert_eq!(
        (first.status, &first.body["duplicate"]),
        (200, &json!(false)),
        "{}",
        first.body
    );
    let later = world
        .deliver(&world.signed("msg_1", sent + 5, EVENT), EVENT)
        .await;
    assert_eq!(
        (later.status, &later.body["duplicate"]),
        (200, &json!(true)),
        "{}",
        later.body
    );
    assert_eq!(later.body["index"], first.body["index"]);
    let replay = world.deliver(&world.signed("msg_1", sent, EVENT), EVENT).await;
    let replay = replay.expect(409, "replayed");
    assert_eq!(replay.body["receipt"]["purge_id"], first.body["purge_id"]);
    let other = EVENT.replace("\"a\"", "\"b\"");
    let seen = world
        .deliver(&world.signed("msg_1", sent + 6, &other), &other)
        .await;
    seen.expect(409, "conflict");
}

#[tokio::test]
async fn a_webhook_that_is_not_proven_is_refused() {
    let world = world();
    let now = now_s();
    let good = world.signed("msg_1", now, EVENT);
    world
        .deliver(&good, &EVENT.replace("\"a\"", "\"b\""))
        .await
        .expect(401, "wrong_signature");
    world
        .deliver(&HeaderMap::new(), EVENT)
        .await
        .expect(401, "unsigned");
    let old = world
        .deliver(&world.signed("msg_1", now - 400, EVENT), EVENT)
        .await;
    assert!(old.expect(401, "expired").message().contains("s old"));
    world
        .deliver(&world.signed("msg_1", now + 400, EVENT), EVENT)
        .await
        .expect(401, "expired");
    world
        .deliver(&world.signed("msg.1", now, EVENT), EVENT)
        .await
        .expect(400, "bad_webhook_header");
    let mut body = Pieces::of(EVENT);
    let done = world
        .orderer
        .deliver(from(1, &HeaderMap::new()), &mut body, &UNRECORDED)
        .await;
    assert!(
        done.is_err() && !body.asked,
        "without a signature nothing is read"
    );
    assert_eq!(world.logged(), []);
    let bare = world_with(|config| config.webhooks.clear());
    bare.deliver(&good, EVENT).await.expect(403, "no_webhooks");
}

#[tokio::test]
async fn a_webhooks_order_is_held_to_what_every_order_is() {
    let world = world();
    for (event, status, code) in [
        (
            r#"{"type": "purge", "data": {"files": ["shop.example/a"]}}"#,
            403,
            "not_allowed",
        ),
        (r#"{"type": "image.changed", "data": {}}"#, 400, "bad_order"),
        (r#"{"type": "purge", "data": {"tag": ["a"]}}"#, 400, "bad_order"),
        (r#"{"type": "purge", "data": {}}"#, 400, "bad_order"),
        ("purge", 400, "bad_order"),
    ] {
        let headers = world.signed("msg_1", now_s(), event);
        world.deliver(&headers, event).await.expect(status, code);
    }
    let allowed = world.deliver(&world.signed("msg_1", now_s(), EVENT), EVENT).await;
    assert_eq!(allowed.status, 200, "what was refused has not used its id up");
    assert_eq!(world.count(PurgeWay::Webhook, PurgeResult::Refused), 5);
}

#[tokio::test]
async fn bodies_of_the_unknown_are_bounded_together_and_give_their_room_back() {
    let world = world_with(|config| {
        config.body_bytes_max = ByteSize::kib(2);
        config.bodies_bytes_max = ByteSize::kib(3);
    });
    let limits = &world.orderer.bodies;
    let held = limits
        .read_of_unknown(from(1, &HeaderMap::new()), &mut Pieces::of("x".repeat(2000)))
        .await
        .unwrap();
    assert_eq!(held.bytes().len(), 2000);
    let long = EVENT.to_owned() + &" ".repeat(1900);
    let headers = world.signed("msg_1", now_s(), &long);
    let seen = world.deliver(&headers, &long).await.expect(503, "busy");
    assert!(seen.headers.contains_key("retry-after"));
    drop(held);
    for _ in 0..5 {
        let seen = world.deliver(&world.signed("msg_1", now_s(), &long), &long).await;
        assert!(matches!(seen.status, 200 | 409), "{}", seen.body);
    }
}

/// Bodies that nobody has signed fill the room that there is as fast as it becomes free.
#[tokio::test]
async fn small_orders_pass_while_large_bodies_of_the_unknown_are_held_up() {
    let world = world_with(|config| {
        config.body_bytes_max = ByteSize::kib(64);
        config.bodies_bytes_max = ByteSize::kib(256);
    });
    let limits = &world.orderer.bodies;
    let unsigned = HeaderMap::new();
    let flood = |address: u8| {
        let unsigned = &unsigned;
        async move {
            limits
                .read_of_unknown(from(address, unsigned), &mut Pieces::of("x".repeat(64 * 1024)))
                .await
        }
    };
    // From other addresses than the orders.
    let mut held = Vec::new();
    while let Ok(body) = flood(100 + held.len() as u8).await {
        held.push(body);
    }
    assert_eq!(held.len(), 3);
    let small = |length: usize| {
        let body = EVENT.to_owned() + &" ".repeat(length - EVENT.len());
        let mut headers = world.signed(&format!("msg_{length}"), now_s(), &body);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        (headers, body)
    };
    for length in [EVENT.len(), 16 * 1024] {
        let (headers, body) = small(length);
        let seen = world.deliver(&headers, &body).await;
        assert_eq!(seen.status, 200, "{}", seen.body);
    }
    let (mut headers, body) = small(16 * 1024 + 1);
    world.deliver(&headers, &body).await.expect(503, "busy");
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(1));
    let lied = world.deliver(&headers, &body).await;
    lied.expect(503, "busy");
}

#[tokio::test]
async fn one_client_has_so_many_bodies_under_way_and_another_is_not_held_up() {
    let world = world();
    let (limits, headers) = (&world.orderer.bodies, HeaderMap::new());
    let read = |address: u8| {
        let headers = &headers;
        async move {
            limits
                .read_of_unknown(from(address, headers), &mut Pieces::of(EVENT))
                .await
        }
    };
    let mut held = Vec::new();
    for _ in 0..clients::BODIES_MAX {
        held.push(read(1).await.unwrap());
    }
    assert!(matches!(read(1).await, Err(Refusal::Crowded)));
    assert!(read(2).await.is_ok());
    held.pop();
    assert!(read(1).await.is_ok());
}

/// Somebody whom nobody knows keeps the verifier busy.
#[tokio::test]
async fn a_large_webhook_waits_for_its_turn_to_be_verified_and_nothing_else_does() {
    let world = world();
    let turn = world
        .orderer
        .verifier
        .turns
        .clone()
        .acquire_owned()
        .await
        .unwrap();
    let large = EVENT.to_owned() + &" ".repeat(16 * 1024);
    let headers = world.signed("msg_1", now_s(), &large);
    let mut waiting = std::pin::pin!(world.deliver(&headers, &large));
    let polled = futures::poll!(&mut waiting);
    assert!(polled.is_pending());
    assert_eq!(world.call(json!({"tags": ["b"]})).await.status, 200);
    let small = world.deliver(&world.signed("msg_2", now_s(), EVENT), EVENT).await;
    assert_eq!(small.status, 200, "{}", small.body);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(turn);
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_does_not_come_is_waited_for_no_longer_than_a_body() {
    let world = world();
    let _turn = world
        .orderer
        .verifier
        .turns
        .clone()
        .acquire_owned()
        .await
        .unwrap();
    let large = EVENT.to_owned() + &" ".repeat(16 * 1024);
    let headers = world.signed("msg_1", now_s(), &large);
    world.deliver(&headers, &large).await.expect(503, "busy");
}

#[tokio::test]
async fn who_replays_a_webhook_takes_no_turn_of_its_sender() {
    let world = world_with(|config| {
        config.rate_max = 1;
        config.burst_max = 2;
        config.remembered_max = 1000;
    });
    let seen = world.signed("msg_1", now_s(), EVENT);
    assert_eq!(world.deliver(&seen, EVENT).await.status, 200);
    for _ in 0..5 {
        world.deliver(&seen, EVENT).await.expect(409, "replayed");
    }
    let next = world.deliver(&world.signed("msg_2", now_s(), EVENT), EVENT).await;
    assert_eq!(next.status, 200, "{}", next.body);
}

#[tokio::test]
async fn one_client_takes_so_much_of_the_room_however_few_its_bodies() {
    let world = world_with(|config| {
        config.body_bytes_max = ByteSize::kib(64);
        config.bodies_bytes_max = ByteSize::kib(512);
    });
    let (limits, headers) = (&world.orderer.bodies, HeaderMap::new());
    let read = |address: u8| {
        let headers = &headers;
        async move {
            limits
                .read_of_unknown(from(address, headers), &mut Pieces::of("x".repeat(64 * 1024)))
                .await
        }
    };
    let _held = [read(1).await.unwrap(), read(1).await.unwrap()];
    assert!(matches!(read(1).await, Err(Refusal::Crowded)));
    assert!(read(2).await.is_ok());
}

#[tokio::test]
async fn the_room_of_a_body_is_free_before_its_order_is_carried_out() {
    let world = world();
    let limits = &world.orderer.bodies;
    let room = limits.places.available_permits();
    let headers = HeaderMap::new();
    let held = limits
        .read_of_unknown(from(1, &headers), &mut Pieces::of(EVENT))
        .await
        .unwrap();
    assert_eq!(limits.places.available_permits(), room - EVENT.len());
    let verifier = &world.orderer.verifier;
    let attempt = verifier.attempt(&world.signed("msg_1", now_s(), EVENT)).unwrap();
    let Ok(signed) = verifier.open(attempt, held).await else {
        panic!("it is signed");
    };
    assert_eq!(signed.caller.name(), "cms");
    assert_eq!(limits.places.available_permits(), room);
}

#[test]
fn errors_of_the_log_have_statuses_of_their_own() {
    let status = |error: LogError| Refusal::from(OrderError::Log(Arc::new(error))).kind().0;
    assert_eq!(status(LogError::Full), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(status(LogError::Closed), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        Refusal::from(OrderError::Busy).kind().0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
