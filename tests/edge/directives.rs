//! What a client may ask of a cache by `Cache-Control` and `Pragma` (RFC 9111 sections 5.2.1 and 5.4), and that a route
//! may not listen.

use crate::support::{Answer, Edge, Origin, Reply, Setup, eventually};

const TARGET: &str = "/a.png";
const ETAG: &str = "\"v1\"";

/// An edge that has the image: fresh for an hour, of which a hundred seconds are over.
fn stored() -> (Origin, Edge) {
    let reply = Reply::fresh("image").header("etag", ETAG).header("age", "100");
    let origin = Origin::with(TARGET, reply);
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    (origin, edge)
}

#[track_caller]
fn get_with_control(edge: &Edge, directives: &str) -> Answer {
    edge.get_with(TARGET, &[("Cache-Control", directives)])
}

/// The origin was asked because the client wanted it.
#[track_caller]
fn expect_asked_for(answer: &Answer, body: &[u8]) {
    answer.expect(200, body);
    assert_eq!(answer.cache_status().forwarded(), Some("request"), "{answer:?}");
}

#[test]
fn no_cache_asks_the_origin_whether_the_image_is_still_right() {
    let (origin, edge) = stored();
    let answer = get_with_control(&edge, "no-cache");
    expect_asked_for(&answer, b"image");
    assert_eq!(
        answer.cache_status().value("fwd-status"),
        Some("304"),
        "{answer:?}"
    );
    assert_eq!(origin.last(TARGET).header("if-none-match"), Some(ETAG));
    edge.get(TARGET).expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn what_no_cache_brings_answers_everybody() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::fresh("new").header("etag", "\"v2\""));
    expect_asked_for(&get_with_control(&edge, "no-cache"), b"new");
    edge.get(TARGET).expect_hit(b"new");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn pragma_counts_where_there_is_no_cache_control() {
    let (origin, edge) = stored();
    expect_asked_for(&edge.get_with(TARGET, &[("Pragma", "no-cache")]), b"image");
    assert_eq!(origin.count(TARGET), 2);
    edge.get_with(TARGET, &[("Pragma", "no-cache"), ("Cache-Control", "max-stale")])
        .expect_hit(b"image");
    edge.get_with(TARGET, &[("Pragma", "nonsense")])
        .expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn max_age_is_the_greatest_age_a_client_takes() {
    let (origin, edge) = stored();
    get_with_control(&edge, "max-age=2000").expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 1);
    expect_asked_for(&get_with_control(&edge, "max-age=50"), b"image");
    expect_asked_for(&get_with_control(&edge, "max-age=0"), b"image");
    assert_eq!(origin.count(TARGET), 3);
}

#[test]
fn min_fresh_is_how_long_it_has_to_stay_fresh() {
    let (origin, edge) = stored();
    get_with_control(&edge, "min-fresh=60").expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 1);
    // 3500 s are left.
    expect_asked_for(&get_with_control(&edge, "min-fresh=3550"), b"image");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn max_stale_takes_what_is_stale_and_no_staler_than_it_says() {
    let reply = Reply::of("image")
        .header("etag", ETAG)
        .header("cache-control", "max-age=1");
    let origin = Origin::with(TARGET, reply);
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"image");
    let stale = eventually("the image is stale", || {
        let answer = get_with_control(&edge, "max-stale=600");
        answer.expect_hit(b"image");
        (answer.cache_status().ttl() < 0).then_some(answer)
    });
    assert!(stale.has("age"), "{stale:?}");
    get_with_control(&edge, "max-stale").expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 1);
    // In the very millisecond in which freshness ends, it is stale by nothing.
    let answer = eventually("the image is stale by more than nothing", || {
        Some(get_with_control(&edge, "max-stale=0")).filter(|answer| !answer.is_hit())
    });
    answer.expect(200, b"image");
    assert_eq!(answer.cache_status().forwarded(), Some("stale"), "{answer:?}");
}

#[test]
fn max_stale_can_not_undo_what_the_response_forbids() {
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=1"] {
        let control = format!("max-age=1, {forbidding}");
        let reply = Reply::of("image")
            .header("etag", ETAG)
            .header("cache-control", &control);
        let origin = Origin::with(TARGET, reply);
        let edge = Edge::before(&origin);
        edge.get(TARGET).expect_miss(b"image");
        let answer = eventually("the image is stale", || {
            let answer = get_with_control(&edge, "max-stale=600");
            (!answer.is_hit()).then_some(answer)
        });
        answer.expect(200, b"image");
        assert_eq!(
            answer.cache_status().forwarded(),
            Some("stale"),
            "{forbidding}: {answer:?}"
        );
    }
}

#[test]
fn only_if_cached_never_asks_the_origin() {
    let (origin, edge) = stored();
    get_with_control(&edge, "only-if-cached").expect_hit(b"image");
    let control = [("Cache-Control", "only-if-cached")];
    let answer = edge.get_with("/b.png", &control);
    assert_eq!(answer.status, 504, "{answer:?}");
    let status = answer.cache_status();
    assert!(status.has("detail") && status.forwarded().is_none(), "{answer:?}");
    assert_eq!(get_with_control(&edge, "only-if-cached, max-age=50").status, 504);
    assert_eq!(origin.targets(), [TARGET]);
}

#[test]
fn no_store_leaves_nothing_behind() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let answer = get_with_control(&edge, "no-store");
    answer.expect_fetched(b"image");
    assert!(!answer.cache_status().has("stored"), "{answer:?}");
    edge.get(TARGET).expect_miss(b"image");
    edge.get(TARGET).expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn directives_that_mean_nothing_cost_nothing() {
    let (origin, edge) = stored();
    for nonsense in [
        "nothing-to-see-here",
        "max-age=abc",
        "",
        ",,",
        "no-cachex",
        "\"no-cache\"",
    ] {
        get_with_control(&edge, nonsense).expect_hit(b"image");
    }
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn a_route_may_ignore_what_clients_say() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("age", "100"));
    let edge = Setup::of(&origin).route("request_directives", "ignore").start();
    get_with_control(&edge, "only-if-cached").expect_miss(b"image");
    for said in ["no-cache", "max-age=0", "min-fresh=86400", "no-store"] {
        get_with_control(&edge, said).expect_hit(b"image");
    }
    edge.get_with(TARGET, &[("Pragma", "no-cache")])
        .expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn on_a_route_that_ignores_clients_no_store_does_not_keep_an_image_from_all() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Setup::of(&origin).route("request_directives", "ignore").start();
    get_with_control(&edge, "no-store").expect_miss(b"image");
    edge.get(TARGET).expect_hit(b"image");
}

/// An edge whose image is stale for so many seconds, within a long window for refreshing it behind, and has not been
/// refreshed.
fn stale_for(seconds: i64) -> (Origin, Edge) {
    let control = "max-age=1, stale-while-revalidate=600";
    let origin = Origin::with(TARGET, Reply::of("old").header("cache-control", control));
    let edge = Edge::before(&origin);
    edge.get(TARGET).expect_miss(b"old");
    eventually("the image is stale", || {
        // Causes no refresh.
        let answer = get_with_control(&edge, "no-store");
        answer.expect_hit(b"old");
        (answer.cache_status().ttl() <= -seconds).then_some(())
    });
    origin.set(TARGET, Reply::fresh("new"));
    (origin, edge)
}

/// RFC 9111 section 5.2.1.5: nothing of such a request is stored, so that nothing is asked for on its behalf.
#[test]
fn a_stale_answer_to_no_store_starts_no_refresh() {
    let (origin, edge) = stale_for(1);
    for _ in 0..5 {
        let answer = get_with_control(&edge, "no-store");
        answer.expect_hit(b"old");
        assert!(answer.cache_status().is_stale(), "{answer:?}");
    }
    edge.wait_for_fills();
    assert_eq!(origin.count(TARGET), 1);
}

/// RFC 9111 section 5.2.1.2.
#[test]
fn max_stale_limits_how_stale_an_answer_is_that_the_response_allows() {
    let (origin, edge) = stale_for(3);
    let answer = get_with_control(&edge, "max-stale=1");
    answer.expect(200, b"new");
    assert_eq!(answer.cache_status().forwarded(), Some("stale"), "{answer:?}");
    assert_eq!(origin.count(TARGET), 2);
}

/// RFC 9111 section 4.3.3: only a full response to be used in its place replaces what is stored.
#[test]
fn an_origin_that_refuses_a_request_for_its_word_leaves_a_fresh_image_in_place() {
    let (origin, edge) = stored();
    origin.set(TARGET, Reply::of("bad").status(400));
    get_with_control(&edge, "no-cache").expect(400, b"bad");
    edge.wait_for_fills();
    edge.get(TARGET).expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 2);
}
