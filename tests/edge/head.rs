//! What HEAD asks and brings: a fresh image answers it, a stale one is updated by it (RFC 9111 section 4.3.5).

use crate::support::client::Headers;
use crate::support::http2::Http2;
use crate::support::{Answer, Client, Edge, Gate, Origin, Reply, Setup, eventually, request};

const TARGET: &str = "/a.png";
const ETAG: &str = "\"v1\"";
const DATE: &str = "Tue, 01 Jul 2025 10:00:00 GMT";

fn image() -> Reply {
    Reply::of("image")
        .header("etag", ETAG)
        .header("last-modified", DATE)
        .header("x-edition", "first")
}

/// An edge that has the image, fresh for a second.
fn stored() -> (Origin, Edge) {
    let origin = Origin::with(TARGET, image().header("cache-control", "max-age=1"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    (origin, edge)
}

/// Waits for the origin's answer to have done what it does: a HEAD is answered before.
fn head(edge: &Edge) -> Answer {
    head_with(edge, &[])
}

fn head_with(edge: &Edge, headers: Headers) -> Answer {
    let answer = request(edge.address(), "HEAD", TARGET, headers);
    edge.wait_for_fills();
    answer
}

/// Asks until the image is stale: the first answer that is no fresh hit.
#[track_caller]
fn head_past_freshness(edge: &Edge) -> Answer {
    eventually("the image is stale", || {
        Some(head(edge)).filter(|answer| !answer.is_hit())
    })
}

#[test]
fn head_of_a_fresh_image_is_a_hit() {
    let origin = Origin::with(TARGET, image().header("cache-control", "max-age=600"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    let answer = head(&edge);
    answer.expect(200, b"");
    assert!(answer.is_hit(), "{answer:?}");
    assert_eq!(answer.said("content-length"), "5");
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn head_of_a_stale_image_reaches_the_origin_as_head() {
    let (origin, edge) = stored();
    let answer = head_past_freshness(&edge);
    answer.expect(200, b"");
    assert_eq!(answer.cache_status().forwarded(), Some("stale"), "{answer:?}");
    assert_eq!(answer.said("content-length"), "5");
    assert_eq!(origin.last(TARGET).method, "HEAD");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn the_answer_to_a_head_updates_headers_and_freshness_of_what_is_stored() {
    let (origin, edge) = stored();
    let second = image().header("x-edition", "second");
    origin.set(TARGET, second.header("cache-control", "max-age=600"));
    let answer = head_past_freshness(&edge);
    answer.expect(200, b"");
    assert_eq!(answer.said("x-edition"), "second");
    let hit = edge.get(TARGET);
    hit.expect_hit(b"image");
    assert_eq!(hit.said("x-edition"), "second");
    assert!(hit.cache_status().ttl() > 500, "{hit:?}");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn headers_that_a_head_does_not_repeat_are_kept() {
    let (origin, edge) = stored();
    let second = image().without("x-edition").header("x-news", "1");
    origin.set(TARGET, second.header("cache-control", "max-age=600"));
    head_past_freshness(&edge).expect(200, b"");
    let hit = edge.get(TARGET);
    hit.expect_hit(b"image");
    assert_eq!(
        [
            hit.said("x-edition"),
            hit.said("x-news"),
            hit.said("content-length")
        ],
        ["first", "1", "5"]
    );
}

/// Nothing speaks against it: no validator differs, and the length is the same.
#[test]
fn a_head_without_validators_updates_an_image_without_validators() {
    let plain = Reply::of("image");
    let origin = Origin::with(TARGET, plain.clone().header("cache-control", "max-age=1"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    let second = plain.header("x-edition", "second");
    origin.set(TARGET, second.header("cache-control", "max-age=600"));
    let answer = head_past_freshness(&edge);
    answer.expect(200, b"");
    assert_eq!(origin.last(TARGET).method, "HEAD");
    let hit = edge.get(TARGET);
    hit.expect_hit(b"image");
    assert_eq!(hit.said("x-edition"), "second");
    assert_eq!(origin.count(TARGET), 2);
}

/// The client that asks for the origin's word finds that the stored image is another.
#[test]
fn a_head_that_tells_of_another_image_makes_the_stored_one_stale() {
    let others = [
        Reply::of("other").header("etag", "\"v2\""),
        Reply::of("other").header("last-modified", "Wed, 02 Jul 2025 10:00:00 GMT"),
        Reply::of("a longer one"),
    ];
    for other in others {
        let fresh = image().header("cache-control", "max-age=600");
        let origin = Origin::with(TARGET, fresh);
        let edge = Edge::before(&origin);
        edge.get(TARGET).expect_miss(b"image");
        origin.set(TARGET, other.header("cache-control", "max-age=600"));
        head_with(&edge, &[("Cache-Control", "no-cache")]).expect(200, b"");
        assert_eq!(origin.last(TARGET).method, "HEAD");
        let answer = edge.get(TARGET);
        assert_eq!(answer.status, 200);
        assert!(!answer.is_hit() && answer.body != b"image", "{answer:?}");
    }
}

#[test]
fn a_head_that_fails_leaves_what_is_stored_as_it_is() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::of("sorry").status(503));
    assert_eq!(head_past_freshness(&edge).status, 503);
    origin.set(TARGET, image().header("cache-control", "max-age=600"));
    let answer = edge.get(TARGET);
    answer.expect(200, b"image");
    assert_eq!(
        answer.cache_status().value("fwd-status"),
        Some("304"),
        "{answer:?}"
    );
}

#[test]
fn head_of_what_is_not_stored_stores_no_empty_image() {
    let origin = Origin::with(TARGET, image().header("cache-control", "max-age=600"));
    let edge = Edge::before(&origin);
    let answer = head(&edge);
    answer.expect(200, b"");
    assert_eq!(answer.said("content-length"), "5");
    edge.get(TARGET).expect(200, b"image");
}

// ---- What a HEAD says on behalf of everybody ----

/// Asks for the origin's word though what is stored is fresh.
const ASK: (&str, &str) = ("Cache-Control", "no-cache");

/// Waits until what is stored is stale, without asking the origin.
fn wait_until_stale(edge: &Edge) {
    eventually("the image is stale", || {
        let answer = edge.get_with(TARGET, &[("Cache-Control", "only-if-cached")]);
        (answer.status == 504).then_some(())
    });
}

/// Its answer updates what everybody gets, so that it is asked as a fill is.
#[test]
fn a_head_that_updates_what_is_stored_carries_nothing_that_the_key_leaves_out() {
    let (kept, asked) = ("/a.png?size=1", "/a.png?size=1&token=secret");
    let origin = Origin::start();
    for target in [kept, asked] {
        origin.set_with(target, |asked, _| {
            let said = ["cookie", "x-host"].map(|name| asked.header(name).unwrap_or("-"));
            let reflected = format!("{} {}", said.join(" "), asked.target);
            Reply::fresh("image")
                .header("etag", ETAG)
                .header("x-reflected", &reflected)
        });
    }
    let edge = Setup::of(&origin)
        .route("query", "{keep: {include: [size]}}")
        .start();
    edge.get(asked).expect_miss(b"image");
    let headers = [ASK, ("Cookie", "session=secret"), ("X-Host", "secret.example")];
    request(edge.address(), "HEAD", asked, &headers).expect(200, b"");
    edge.wait_for_fills();
    assert_eq!(origin.last(kept).method, "HEAD");
    assert_eq!(origin.targets(), [kept, kept]);
    let hit = edge.get(kept);
    hit.expect_hit(b"image");
    assert_eq!(hit.said("x-reflected"), format!("- - {kept}"));
}

/// RFC 9111 section 4.1: from then on each request has to select.
#[test]
fn an_image_that_a_head_says_varies_does_not_answer_everybody_any_more() {
    let origin = Origin::with(TARGET, Reply::fresh("any"));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"any");
    // As long as the stored one, and without a validator: only the Vary tells that it is another.
    origin.set_with(TARGET, |asked, _| {
        let language = asked.header("accept-language").unwrap_or("non");
        Reply::fresh(language).header("vary", "Accept-Language")
    });
    let german = ("Accept-Language", "deu");
    head_with(&edge, &[ASK, german]).expect(200, b"");
    for language in ["fra", "deu", "fra"] {
        edge.get_with(TARGET, &[("Accept-Language", language)])
            .expect(200, language.as_bytes());
    }
}

#[test]
fn a_head_that_is_overtaken_by_a_newer_image_does_not_bring_the_old_one_back() {
    let gate = Gate::closed();
    let fresh = image().header("cache-control", "max-age=600");
    let origin = Origin::with(TARGET, fresh.clone());
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    let held = gate.clone();
    origin.set_with(TARGET, move |asked, _| match &*asked.method {
        "HEAD" => fresh.clone().header_held_by(&held),
        _ => Reply::fresh("newer").header("etag", "\"v2\""),
    });
    let mut slow = Client::connect(edge.address());
    slow.send_request("HEAD", TARGET, &[ASK]);
    gate.wait_for_held(1);
    edge.get_with(TARGET, &[ASK]).expect(200, b"newer");
    edge.get(TARGET).expect_hit(b"newer");
    gate.open();
    assert_eq!(slow.try_answer_to("HEAD").unwrap().status, 200);
    edge.wait_for_fills();
    let answer = edge.get(TARGET);
    answer.expect(200, b"newer");
    assert_eq!(answer.said("etag"), "\"v2\"");
    assert!(!answer.has("x-edition"), "{answer:?}");
}

#[test]
fn many_heads_of_a_stale_image_reach_the_origin_once() {
    const CLIENTS: usize = 50;
    let (origin, edge) = stored();
    wait_until_stale(&edge);
    let gate = Gate::closed();
    let renewed = image().header("cache-control", "max-age=600");
    origin.set(TARGET, renewed.header_held_by(&gate));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.send_request("HEAD", TARGET, &[]);
    }
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| {
        requests >= CLIENTS as f64
    });
    gate.open();
    for client in &mut clients {
        let answer = client.try_answer_to("HEAD").unwrap();
        assert_eq!((answer.status, answer.said("content-length")), (200, "5"));
    }
    assert_eq!(origin.count(TARGET), 2);
    edge.get(TARGET).expect_hit(b"image");
}

#[test]
fn a_head_leaves_a_version_its_long_freshness() {
    let versioned = "/a.png?v=1";
    let origin = Origin::with(versioned, image());
    let edge = Edge::before(&origin);
    edge.get(versioned).expect_miss(b"image");
    request(edge.address(), "HEAD", versioned, &[ASK]).expect(200, b"");
    edge.wait_for_fills();
    assert_eq!(origin.last(versioned).method, "HEAD");
    let hit = edge.get(versioned);
    hit.expect_hit(b"image");
    assert!(hit.cache_status().ttl() > 300 * 86_400, "{hit:?}");
}

/// RFC 5861 section 4.
#[test]
fn a_head_is_answered_from_a_stale_image_while_the_origin_fails() {
    for failure in [Reply::of("sorry").status(503), Reply::reset()] {
        let control = "max-age=1, stale-if-error=600";
        let origin = Origin::with(TARGET, image().header("cache-control", control));
        let edge = Edge::before(&origin);
        edge.get(TARGET).expect_miss(b"image");
        wait_until_stale(&edge);
        origin.set(TARGET, failure);
        let answer = head(&edge);
        answer.expect(200, b"");
        assert!(answer.cache_status().is_stale(), "{answer:?}");
        assert_eq!(
            [answer.said("x-edition"), answer.said("content-length")],
            ["first", "5"]
        );
    }
}

/// RFC 9110 section 9.3.2; on HTTP/2 nothing but the edge itself keeps a body from being sent.
#[test]
fn head_of_a_reserved_path_over_http2_gets_a_header_alone() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let mut http2 = Http2::connect(edge.address());
    let answer = http2.ask("HEAD", "/.aquatint/x", &[]).unwrap();
    answer.expect(404, b"");
    assert!(http2.get("/.aquatint/x").status == 404 && origin.targets().is_empty());
}
