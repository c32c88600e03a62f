//! What may be stored and shared, by the word of the origin and of the route (RFC 9111 section 3, RFC 9213).

use crate::support::client::Headers;
use crate::support::{Answer, Client, Edge, Gate, Origin, Reply, Setup, eventually, request};

const TARGET: &str = "/a.png";
const LAST_MODIFIED: &str = "Wed, 01 Jan 2020 10:00:00 GMT";

fn controlled(control: &str) -> Reply {
    Reply::of("image").header("cache-control", control)
}

/// The second of two like requests.
#[track_caller]
fn second(edge: &Edge, target: &str, headers: Headers) -> Answer {
    edge.get_with(target, headers).expect_fetched(b"image");
    edge.get_with(target, headers)
}

#[track_caller]
fn expect_shared(reply: Reply) {
    let origin = Origin::with(TARGET, reply);
    second(&Edge::before(&origin), TARGET, &[]).expect_hit(b"image");
    assert_eq!(origin.count(TARGET), 1);
}

#[track_caller]
fn expect_not_reused(reply: Reply) {
    let origin = Origin::with(TARGET, reply);
    second(&Edge::before(&origin), TARGET, &[]).expect_fetched(b"image");
    assert_eq!(origin.count(TARGET), 2);
}

// ---- Directives ----

/// RFC 9111 section 5.2.2.3.
#[test]
fn must_understand_overrules_no_store_for_a_status_that_is_understood() {
    expect_shared(controlled("max-age=3600, no-store, must-understand"));
}

#[test]
fn must_understand_forbids_to_store_a_status_that_is_not_understood() {
    let reply = controlled("max-age=3600, must-understand").status(499);
    let origin = Origin::with(TARGET, reply);
    let edge = Edge::before(&origin);
    for _ in 0..2 {
        edge.get(TARGET).expect(499, b"image");
    }
    assert_eq!(origin.count(TARGET), 2);
}

/// RFC 9111 sections 5.2.2.4 and 5.2.2.7.
#[test]
fn a_field_that_no_cache_or_private_names_reaches_only_the_client_that_asked_the_origin() {
    for directive in ["no-cache=\"x-mine\"", "private=\"x-mine\""] {
        let reply = controlled(&format!("max-age=3600, {directive}"));
        let origin = Origin::with(TARGET, reply.header("x-mine", "1").header("x-ours", "1"));
        let edge = Edge::before(&origin);
        let first = edge.get(TARGET);
        first.expect_miss(b"image");
        assert_eq!(first.said("x-mine"), "1", "{directive}");
        let hit = edge.get(TARGET);
        hit.expect_hit(b"image");
        assert!(!hit.has("x-mine") && hit.has("x-ours"), "{directive}: {hit:?}");
    }
}

/// RFC 9111 section 3.
#[test]
fn any_final_status_with_explicit_freshness_is_stored() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let statuses = [
        200, 203, 299, 301, 302, 303, 307, 308, 400, 403, 404, 405, 410, 414, 451, 499, 500, 501, 502, 503,
        504, 599,
    ];
    for status in statuses {
        let target = format!("/{status}.png");
        origin.set(&target, controlled("max-age=3600").status(status));
        edge.get(&target).expect(status, b"image");
        let hit = edge.get(&target);
        hit.expect(status, b"image");
        assert!(hit.is_hit(), "{hit:?}");
        assert_eq!(origin.count(&target), 1);
    }
}

// ---- Guessed freshness ----

/// RFC 9111 section 4.2.2.
#[test]
fn an_image_that_has_not_changed_for_long_is_taken_to_be_fresh_for_a_while() {
    let origin = Origin::with(TARGET, Reply::of("image").header("last-modified", LAST_MODIFIED));
    let edge = Edge::before(&origin);
    let hit = second(&edge, TARGET, &[]);
    hit.expect_hit(b"image");
    assert!((86_000..=86_400).contains(&hit.cache_status().ttl()), "{hit:?}");
}

#[test]
fn a_route_may_refuse_to_guess() {
    let origin = Origin::with(TARGET, Reply::of("image").header("last-modified", LAST_MODIFIED));
    let edge = Setup::of(&origin)
        .route("ttl", "{heuristic: {percent: 0}}")
        .start();
    second(&edge, TARGET, &[]).expect_fetched(b"image");
}

#[test]
fn nothing_is_guessed_for_a_status_that_is_not_heuristically_cacheable() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for status in [201, 202, 302, 403, 502, 503, 504] {
        let target = format!("/{status}.png");
        let reply = Reply::of("image").status(status);
        origin.set(&target, reply.header("last-modified", LAST_MODIFIED));
        for _ in 0..2 {
            let answer = edge.get(&target);
            answer.expect(status, b"image");
            assert!(!answer.is_hit(), "{answer:?}");
        }
    }
}

// ---- Targeted fields ----

/// RFC 9213 section 2.2.
#[test]
fn a_targeted_field_speaks_in_place_of_cache_control() {
    for forbidding in ["no-store", "private", "no-cache", "max-age=0"] {
        expect_not_reused(controlled("max-age=3600").header("cdn-cache-control", forbidding));
    }
    for forbidding in ["no-store", "private", "no-cache", "max-age=0"] {
        expect_shared(controlled(forbidding).header("cdn-cache-control", "max-age=3600"));
    }
}

#[test]
fn the_first_targeted_field_that_is_there_decides() {
    let reply = controlled("no-store")
        .header("cdn-cache-control", "no-store")
        .header("aquatint-cdn-cache-control", "max-age=3600");
    expect_shared(reply);
}

#[test]
fn a_route_names_its_targeted_fields_and_their_order() {
    let reply = controlled("no-store")
        .header("cdn-cache-control", "no-store")
        .header("x-mine-cache-control", "max-age=3600");
    let origin = Origin::with("/mine.png", reply.clone());
    origin.set("/other.png", reply.without("x-mine-cache-control"));
    let theirs = controlled("max-age=3600").header("aquatint-cdn-cache-control", "no-store");
    origin.set("/theirs.png", theirs);
    let edge = Setup::of(&origin)
        .route("targeted_fields", "[x-mine-cache-control, cdn-cache-control]")
        .start();
    second(&edge, "/mine.png", &[]).expect_hit(b"image");
    second(&edge, "/other.png", &[]).expect_fetched(b"image");
    second(&edge, "/theirs.png", &[]).expect_hit(b"image");
}

/// RFC 9213 section 2.1.
#[test]
fn a_targeted_field_that_is_no_structured_field_counts_as_absent() {
    for invalid in ["max-age=3600, &&&&&", "max-age=", "max-age=3600;;"] {
        expect_not_reused(controlled("no-store").header("cdn-cache-control", invalid));
        expect_shared(
            controlled("max-age=3600").header("cdn-cache-control", &format!("no-store, {invalid}")),
        );
    }
}

#[test]
fn a_targeted_lifetime_of_another_type_is_none() {
    for wrong in ["max-age=\"3600\"", "max-age=3600.5", "max-age=?1"] {
        expect_not_reused(controlled("no-store").header("cdn-cache-control", wrong));
    }
}

#[test]
fn surrogate_control_speaks_to_this_cache_too() {
    expect_shared(controlled("no-store").header("surrogate-control", "max-age=3600"));
    expect_not_reused(controlled("max-age=3600").header("surrogate-control", "no-store"));
}

// ---- Cookies ----

fn with_cookie(policy: &str) -> (Origin, Edge) {
    let reply = Reply::fresh("image").header("set-cookie", "session=1");
    let origin = Origin::with(TARGET, reply);
    let edge = Setup::of(&origin).route("set_cookie", policy).start();
    (origin, edge)
}

#[test]
fn a_response_with_a_cookie_is_shared_with_nobody() {
    let (origin, edge) = with_cookie("refuse");
    for count in 1..3 {
        let answer = edge.get(TARGET);
        answer.expect_fetched(b"image");
        assert_eq!(answer.said("set-cookie"), "session=1");
        assert_eq!(origin.count(TARGET), count);
    }
}

#[test]
fn a_route_may_store_the_image_without_its_cookie_which_nobody_gets() {
    let (_origin, edge) = with_cookie("strip");
    let first = edge.get(TARGET);
    first.expect_miss(b"image");
    assert!(!first.has("set-cookie"), "{first:?}");
    let hit = edge.get(TARGET);
    hit.expect_hit(b"image");
    assert!(!hit.has("set-cookie"), "{hit:?}");
}

#[test]
fn a_route_may_give_the_cookie_to_everybody() {
    let (_origin, edge) = with_cookie("store");
    let hit = second(&edge, TARGET, &[]);
    hit.expect_hit(b"image");
    assert_eq!(hit.said("set-cookie"), "session=1");
}

// ---- Credentials ----

/// RFC 9111 section 3.5.
#[test]
fn an_answer_to_credentials_is_shared_only_where_the_origin_says_so() {
    let credentials = [("Authorization", "Basic eDp5")];
    for control in ["max-age=3600", "max-age=3600, no-transform"] {
        let origin = Origin::with(TARGET, controlled(control));
        let edge = Edge::before(&origin);
        second(&edge, TARGET, &credentials).expect_fetched(b"image");
        edge.get(TARGET).expect_fetched(b"image");
        assert_eq!(origin.count(TARGET), 3, "{control}");
    }
    for control in [
        "max-age=3600, public",
        "s-maxage=3600",
        "max-age=3600, must-revalidate",
    ] {
        let origin = Origin::with(TARGET, controlled(control));
        let edge = Edge::before(&origin);
        second(&edge, TARGET, &credentials).expect_hit(b"image");
        edge.get(TARGET).expect_hit(b"image");
        assert_eq!(origin.count(TARGET), 1, "{control}");
    }
}

#[test]
fn a_targeted_field_may_share_an_answer_to_credentials() {
    let reply = controlled("private").header("cdn-cache-control", "max-age=3600, public");
    let origin = Origin::with(TARGET, reply);
    let edge = Edge::before(&origin);
    second(&edge, TARGET, &[("Authorization", "Basic eDp5")]).expect_hit(b"image");
}

// ---- What is not stored ----

/// RFC 9111 section 4: what another cache kept for that long is no younger for passing through this one.
#[test]
fn a_response_that_is_shared_and_not_stored_keeps_its_age() {
    let gate = Gate::closed();
    let page = controlled("max-age=3600").header("content-type", "text/html");
    let origin = Origin::with(TARGET, page.header("age", "100").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.send_request("GET", TARGET, &[]);
    }
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 2.0);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        answer.expect_fetched(b"image");
        assert!(!answer.cache_status().has("stored"), "{answer:?}");
        assert!(answer.said("age").parse::<u64>().unwrap() >= 100, "{answer:?}");
    }
}

/// RFC 9110 section 8.6.
#[test]
fn a_passed_response_without_content_has_no_length() {
    let origin = Origin::with(TARGET, Reply::of("").status(204));
    let edge = Setup::of(&origin).route("cache", "false").start();
    for method in ["POST", "DELETE", "GET", "HEAD"] {
        let answer = request(edge.address(), method, TARGET, &[("Content-Length", "0")]);
        answer.expect(204, b"");
        assert!(!answer.has("content-length"), "{method}: {answer:?}");
    }
}

/// A 304 that may not be shared is the word for one client alone.
#[test]
fn those_who_waited_for_a_confirmation_that_is_for_one_ask_for_themselves() {
    const CLIENTS: usize = 3;
    for (name, value) in [("cache-control", "private"), ("set-cookie", "session=")] {
        let image = controlled("max-age=1").header("etag", "\"1\"");
        let origin = Origin::with(TARGET, image.clone());
        let edge = Edge::before(&origin);
        edge.get(TARGET).expect_miss(b"image");
        eventually("the image is stale", || {
            let answer = edge.get_with(TARGET, &[("Cache-Control", "only-if-cached")]);
            (answer.status == 504).then_some(())
        });
        let gate = Gate::closed();
        let held = gate.clone();
        origin.set_with(TARGET, move |_, nth| {
            let reply = image.clone().header("cache-control", "max-age=3600");
            let value = if value.ends_with('=') {
                format!("{value}{nth}")
            } else {
                value.to_owned()
            };
            reply.header(name, &value).header_held_by(&held)
        });
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(edge.address())).collect();
        for client in &mut clients {
            client.send_request("GET", TARGET, &[]);
        }
        edge.wait_for_metric("aquatint_requests_in_flight", |requests| {
            requests >= CLIENTS as f64
        });
        gate.open();
        let answers: Vec<_> = clients.iter_mut().map(Client::answer).collect();
        let mut cookies = Vec::new();
        for answer in &answers {
            answer.expect(200, b"image");
            cookies.extend(answer.header("set-cookie"));
        }
        let given = cookies.len();
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), given, "{name}: {answers:?}");
        assert_eq!(origin.count(TARGET), 1 + CLIENTS, "{name}: {answers:?}");
    }
}

/// RFC 9111 section 4.2.3.
#[test]
fn no_answer_is_younger_than_the_origin_said() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for number in 0..200 {
        let target = format!("/{number}.png");
        origin.set(&target, Reply::fresh("image").header("age", "30"));
        let answer = edge.get(&target);
        let age: u64 = answer.said("age").parse().unwrap();
        assert!(age >= 30, "{answer:?}");
    }
}
