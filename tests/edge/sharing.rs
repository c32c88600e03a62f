//! Nothing of one client's reaches another, and no spelling of a URL chooses another's policy.

use crate::support::{Client, Gate, Origin, Reply, Setup, eventually};

/// Two routes with an origin each; the spelling of a path must not mix them.
#[test]
fn a_spelling_of_a_path_can_not_put_one_routes_image_under_anothers_url() {
    let (public, secure) = (
        Origin::with("/secure/x.png", Reply::fresh("public")),
        Origin::start(),
    );
    secure.set("/secure/x.png", Reply::fresh("secure"));
    let setup = Setup::of(&public);
    let yaml = format!(
        "edge: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: '127.0.0.1:0'}}\n\
         origins: {{public: {{url: '{}'}}, secure: {{url: '{}'}}}}\n\
         routes: [{{path: /public, origin: public}}, {{path: /secure, origin: secure}}]\n",
        public.url(),
        secure.url()
    );
    let file = setup.directory().join("routes.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut edge = crate::support::Edge::spawn(&["serve".as_ref(), "--config".as_ref(), file.as_os_str()]);
    edge.wait_until_listening();
    for spelling in [
        "/public/../secure/x.png",
        "/public/%2e%2e/secure/x.png",
        "/%73ecure/x.png",
    ] {
        edge.get(spelling).expect(200, b"secure");
    }
    edge.get("/secure/x.png").expect_hit(b"secure");
    assert_eq!(edge.get("/x/../.aquatint/y").status, 404);
    assert!(public.targets().is_empty(), "{:?}", public.targets());
}

#[test]
fn a_browser_lifetime_never_calls_a_private_answer_public() {
    let origin = Origin::with(
        "/a.png",
        Reply::of("mine").header("cache-control", "private, no-store"),
    );
    origin.set("/missing.png", Reply::of("none").status(404));
    let edge = Setup::of(&origin).route("ttl", "{browser: 1h}").start();
    for _ in 0..2 {
        assert_eq!(edge.get("/a.png").said("cache-control"), "private, no-store");
    }
    assert!(!edge.get("/missing.png").has("cache-control"));
}

#[test]
fn a_browser_lifetime_counts_from_now_however_old_the_image_is() {
    let origin = Origin::with("/a.png", Reply::fresh("image").header("age", "1000"));
    let edge = Setup::of(&origin).route("ttl", "{browser: 5m}").start();
    edge.get("/a.png").expect_miss(b"image");
    let hit = edge.get("/a.png");
    hit.expect_hit(b"image");
    let age: u64 = hit.said("age").parse().unwrap();
    assert_eq!(
        hit.said("cache-control"),
        format!("public, max-age={}", 300 + age)
    );
}

/// Who waited for an error must not get the cookie it sets for another.
#[test]
fn an_error_that_sets_a_cookie_is_not_shared_with_those_who_waited() {
    let gate = Gate::closed();
    let origin = Origin::with(
        "/a.png",
        Reply::of("sorry")
            .status(500)
            .header("set-cookie", "session=1")
            .header_held_by(&gate),
    );
    let edge = Setup::of(&origin).route("ttl", "{by_status: {5xx: 0s}}").start();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.send_request("GET", "/a.png", &[]);
    }
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 4.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().status, 500);
    }
    assert_eq!(origin.count("/a.png"), 4, "each has an answer of its own");
}

#[test]
fn credentials_of_one_do_not_keep_an_image_from_all() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).start();
    edge.get_with("/a.png", &[("Authorization", "Basic eDp5")])
        .expect(200, b"image");
    assert_eq!(origin.last("/a.png").header("authorization"), Some("Basic eDp5"));
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
    edge.get_with("/a.png", &[("Authorization", "Basic eDp5")])
        .expect(200, b"image");
    assert_eq!(
        origin.count("/a.png"),
        2,
        "what is public to all is public to them"
    );
}

/// What an origin may answer by, but the key does not hold, is not sent where the answer is for all.
#[test]
fn a_fill_carries_nothing_that_only_one_client_said() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).start();
    let said = [
        ("Cookie", "session=1"),
        ("X-Original-URL", "/b.png"),
        ("X-Rewrite-URL", "/b.png"),
        ("X-HTTP-Method-Override", "DELETE"),
    ];
    edge.get_with("/a.png", &said).expect_miss(b"image");
    for (name, _) in said {
        assert!(!origin.last("/a.png").has(&name.to_ascii_lowercase()), "{name}");
    }
}

#[test]
fn an_answer_to_a_bad_range_is_nothing_to_keep() {
    let origin = Origin::with("/a.png?v=1", Reply::fresh("image").header("etag", "\"1\""));
    let edge = Setup::of(&origin).start();
    edge.get("/a.png?v=1").expect_miss(b"image");
    for (header, status) in [(("Range", "bytes=99-"), 416), (("If-Match", "\"2\""), 412)] {
        let answer = edge.get_with("/a.png?v=1", &[header]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.said("cache-control"), "no-store");
        assert!(!answer.has("etag") && !answer.has("content-type"), "{answer:?}");
    }
}

#[test]
fn an_image_that_became_private_is_not_served_stale() {
    let control = "max-age=1, stale-while-revalidate=600, stale-if-error=600";
    let origin = Origin::with("/a.png", Reply::of("public").header("cache-control", control));
    let edge = Setup::of(&origin).start();
    edge.get("/a.png").expect_miss(b"public");
    origin.set("/a.png", Reply::of("private").header("cache-control", "private"));
    eventually("the old one is gone", || {
        (edge.get("/a.png").body == b"private").then_some(())
    });
    origin.set("/a.png", Reply::reset());
    assert!(matches!(edge.get("/a.png").status, 502 | 503));
}

/// A versioned URL does not overrule an origin that wants to be asked each time.
#[test]
fn no_cache_is_told_to_browsers_of_a_versioned_image_too() {
    let origin = Origin::with(
        "/a.png?v=1",
        Reply::of("image")
            .header("cache-control", "no-cache")
            .header("etag", "\"1\""),
    );
    let edge = Setup::of(&origin).start();
    for _ in 0..2 {
        assert_eq!(edge.get("/a.png?v=1").said("cache-control"), "no-cache");
    }
}

/// An origin's words are for the log: a client is told no more than that there is no answer.
#[test]
fn what_a_broken_origin_said_is_not_told_to_the_client() {
    let reply = Reply::raw("HTTP/1.1 99 No\r\nSet-Cookie: secret=1\r\nContent-Length: 0\r\n\r\n");
    let origin = Origin::with("/a.png", reply);
    let edge = Setup::of(&origin).start();
    let answer = edge.get("/a.png");
    assert_eq!(answer.status, 502);
    assert!(
        !String::from_utf8_lossy(&answer.body).contains("secret"),
        "{answer:?}"
    );
}

/// RFC 9111 section 3.5: that a confirmed answer may be stored does not make it an answer to other credentials.
#[test]
fn requests_with_different_credentials_never_share_an_answer_on_its_way() {
    let (alice, bob) = (
        ("Authorization", "Basic YWxpY2U="),
        ("Authorization", "Basic Ym9i"),
    );
    let reply = move |authorization: Option<&str>| match authorization {
        Some(said) if said == alice.1 => Reply::of("for alice")
            .header("cache-control", "public, no-cache")
            .header("etag", "\"1\""),
        _ => Reply::of("who are you?")
            .status(401)
            .header("cache-control", "no-store"),
    };
    for (is_stored, order) in [
        (false, [alice, bob]),
        (false, [bob, alice]),
        (true, [alice, bob]),
        (true, [bob, alice]),
    ] {
        let origin = Origin::start();
        origin.set_with("/a.png", move |asked, _| reply(asked.header("authorization")));
        let edge = Setup::of(&origin).start();
        if is_stored {
            edge.get_with("/a.png", &[alice]).expect(200, b"for alice");
            edge.wait_for_fills();
        }
        let gate = Gate::closed();
        let held = gate.clone();
        origin.set_with("/a.png", move |asked, _| {
            reply(asked.header("authorization")).header_held_by(&held)
        });
        let mut clients = order.map(|credentials| (credentials, Client::connect(edge.address())));
        for (held, (credentials, client)) in clients.iter_mut().enumerate() {
            gate.wait_for_held(held.min(1));
            client.send_request("GET", "/a.png", &[*credentials]);
        }
        edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 2.0);
        gate.open();
        for (credentials, client) in &mut clients {
            let answer = client.answer();
            match *credentials == alice {
                true => answer.expect(200, b"for alice"),
                false => answer.expect(401, b"who are you?"),
            };
        }
    }
}
