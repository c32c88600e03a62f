//! Whose variants are made of what, and when none is: methods, types, the origin's word, alternates, overload.

use crate::support::image::{Image, Kind};
use crate::support::variant::{LARGE, NOISE, busy};
use crate::support::{Answer, Client, Origin, Reply, Setup, eventually, request};

const TARGET: &str = "/a.png";
const VARIANT: &str = "/a.png?w=24&fm=webp";
const CHROME: [(&str, &str); 1] = [("Accept", "image/avif,image/webp,*/*;q=0.8")];

fn picture() -> Vec<u8> {
    Kind::Png.encode(&Image::sample(48, 32))
}

fn another() -> Vec<u8> {
    Kind::Png.encode(&Image::sample(48, 32).turned(2))
}

fn pool(origin: &Origin, route: &str, pool: &str) -> Setup {
    origin.set(LARGE, Reply::fresh(NOISE.clone()));
    Setup::transforming(origin, &format!("sizes: [], {route}"))
        .serve("transform", format!("{{workers: 1, deadline: 5m, {pool}}}"))
}

#[test]
fn what_changes_something_reaches_the_origin_as_it_was_and_makes_the_source_invalid() {
    for route in ["", "defaults: 'fm=auto'"] {
        for (method, asked) in [
            ("PUT", VARIANT),
            ("DELETE", TARGET),
            ("POST", "/a.png?w=300"),
            ("PUT", "/a.png?w=nonsense"),
        ] {
            let origin = Origin::with(TARGET, Reply::fresh(picture()));
            let edge = Setup::transforming(&origin, route).start();
            let first = edge.get(VARIANT);
            origin.set(asked, Reply::of("done"));
            let length = ("Content-Length", "0");
            let answer = request(edge.address(), method, asked, &[length, ("If-Match", "\"x\"")]);
            answer.expect(200, b"done");
            let seen = origin.last(asked);
            assert_eq!(seen.method, method, "{route}");
            assert_eq!(seen.header("if-match"), Some("\"x\""));
            origin.set(TARGET, Reply::fresh(another()));
            assert_ne!(
                edge.get(VARIANT).body,
                first.body,
                "{method} {asked} under {route}"
            );
        }
    }
}

#[test]
fn an_alias_is_no_path_to_write_to() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let alias = "/cdn-cgi/image/w=24/a.png";
    origin.set(alias, Reply::of("no such thing").status(404));
    let edge = Setup::transforming(&origin, "").start();
    let answer = request(edge.address(), "PUT", alias, &[("Content-Length", "0")]);
    answer.expect(404, b"no such thing");
    assert!(origin.asked(TARGET).is_empty());
}

#[test]
fn what_is_no_picture_by_its_own_word_is_not_waited_for() {
    for media_type in ["text/html", "text/event-stream", "application/json", "video/mp4"] {
        let origin = Origin::start();
        let text = "data: 1\n\n".repeat(100);
        let reply = Reply::of(text.clone()).header("content-type", media_type);
        origin.set(TARGET, reply);
        let edge = Setup::transforming(&origin, "defaults: 'fm=auto', on_failure: error").start();
        for target in [TARGET, VARIANT] {
            let answer = edge.get(target);
            answer.expect(200, text.as_bytes());
            assert_eq!(answer.said("content-type"), media_type);
        }
        assert_eq!(edge.transforms("failed") + edge.transforms("made"), 0.0);
    }
}

#[test]
fn a_store_of_files_that_knows_no_types_has_variants() {
    for media_type in ["application/octet-stream", "Binary/Octet-Stream"] {
        let reply = Reply::fresh(picture()).header("content-type", media_type);
        let origin = Origin::with(TARGET, reply);
        let edge = Setup::transforming(&origin, "").start();
        assert_eq!(edge.get(VARIANT).picture().kind, Kind::Webp, "{media_type}");
    }
}

/// RFC 9111 section 5.2.2.6.
#[test]
fn what_the_origin_forbids_to_transform_is_not() {
    let reply = Reply::of(picture()).header("cache-control", "max-age=600, No-Transform");
    let origin = Origin::with(TARGET, reply);
    let edge = Setup::transforming(&origin, "").start();
    for _ in 0..2 {
        edge.get(VARIANT).expect(200, &picture());
    }
    assert_eq!(edge.transforms("made"), 0.0);
    // Its facts are told all the same.
    assert_eq!(edge.get("/a.png?info").said("content-type"), "application/json");
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn nobody_gets_an_older_variant_of_anothers_alternate() {
    let origin = Origin::start();
    let control = "max-age=1, stale-if-error=600";
    origin.set_with(TARGET, move |asked, count| {
        let body = match (asked.header("accept-language"), count) {
            (Some("de"), _) => picture(),
            _ => another(),
        };
        let reply = Reply::of(body).header("cache-control", control);
        reply.header("vary", "accept-language")
    });
    let edge = pool(&origin, "on_overload: stale", "queue_max: 0").start();
    let german = edge.get_with(VARIANT, &[("Accept-Language", "de")]);
    assert_eq!(german.picture().kind, Kind::Webp);
    let _waiting = busy(&edge);
    let english = edge.get_with(VARIANT, &[("Accept-Language", "en")]);
    english.expect(200, &another());
}

#[test]
fn who_wants_the_newest_gets_no_older_variant() {
    let control = "max-age=600, stale-if-error=600";
    let origin = Origin::with(TARGET, Reply::of(picture()).header("cache-control", control));
    let edge = pool(&origin, "on_overload: stale", "queue_max: 0").start();
    edge.get(VARIANT);
    let _waiting = busy(&edge);
    origin.set(TARGET, Reply::of(another()).header("cache-control", control));
    let newest = edge.get_with(VARIANT, &[("Cache-Control", "no-cache")]);
    newest.expect(200, &another());
}

#[test]
fn what_has_become_private_has_no_older_variant() {
    let control = "max-age=1, stale-if-error=600";
    let origin = Origin::with(TARGET, Reply::of(picture()).header("cache-control", control));
    let edge = pool(&origin, "on_overload: stale", "queue_max: 0").start();
    edge.get(VARIANT);
    let _waiting = busy(&edge);
    origin.set(TARGET, Reply::of(another()).header("cache-control", "private"));
    edge.get_past_freshness(VARIANT).expect(200, &another());
}

#[test]
fn a_stand_in_is_made_once_though_its_avif_can_not_be() {
    let origin = Origin::with("/large", Reply::fresh(NOISE.clone()));
    // The one that is made behind goes on for longer than the test.
    let edge = pool(&origin, "", "avif: {pixels_max: 1, background_deadline: 10m}").start();
    let target = "/large?q=90&fm=auto";
    let first = edge.get_with(target, &CHROME);
    assert_eq!(first.picture().kind, Kind::Webp);
    for _ in 0..5 {
        edge.get_with(target, &CHROME).expect_hit(&first.body);
    }
    assert_eq!(edge.transforms("stood_in"), 1.0);
    // The only worker is free for others meanwhile.
    origin.set(TARGET, Reply::fresh(picture()));
    assert_eq!(edge.get(VARIANT).picture().kind, Kind::Webp);
}

#[test]
fn an_edge_that_stops_waits_for_nothing_that_nobody_waits_for() {
    let origin = Origin::with("/large", Reply::fresh(NOISE.clone()));
    let setup = pool(&origin, "", "avif: {pixels_max: 1, background_deadline: 1h}");
    let mut edge = setup.edge("drain_deadline", "1h").start();
    edge.get_with("/large?q=90&fm=auto", &CHROME);
    edge.wait_for_metric("aquatint_transforms_running", |running| running == 1.0);
    edge.ask_to_stop();
    assert!(edge.wait_for_exit().success());
}

#[test]
fn a_making_that_nobody_waits_for_leaves_the_queue() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let edge = pool(&origin, "", "queue_max: 1").start();
    let _running = busy(&edge);
    let mut impatient = Client::connect(edge.address());
    impatient.send_request("GET", VARIANT, &[]);
    edge.wait_for_metric("aquatint_transforms_waiting", |waiting| waiting == 1.0);
    drop(impatient);
    edge.wait_for_metric("aquatint_transforms_waiting", |waiting| waiting == 0.0);
}

#[test]
fn facts_are_not_answered_with_a_picture() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    origin.set(
        "/broken.png",
        Reply::fresh(&b"no picture"[..]).header("content-type", "image/png"),
    );
    let edge = pool(&origin, "", "queue_max: 0").start();
    for facts in ["info", "blurhash", "thumbhash", "dominant"] {
        assert_eq!(edge.get(&format!("/broken.png?{facts}")).status, 422, "{facts}");
    }
    let _waiting = busy(&edge);
    for facts in ["info", "thumbhash"] {
        let answer = edge.get(&format!("{TARGET}?{facts}"));
        assert_eq!(answer.status, 503, "{facts}");
        assert!(answer.has("retry-after"));
    }
}

#[test]
fn sources_that_are_not_stored_are_held_within_their_limit() {
    let private = |bytes| Reply::of(bytes).header("cache-control", "private");
    let noise = Kind::Bmp.encode(&Image::sample(100, 100));
    let origin = Origin::with(TARGET, private(picture()));
    origin.set("/large.bmp", private(noise.clone()));
    let edge = Setup::transforming(&origin, "")
        .serve("transform", "{arrived_max: 8KiB}")
        .start();
    assert_eq!(edge.get(VARIANT).picture().kind, Kind::Webp);
    edge.get("/large.bmp?w=24&fm=webp").expect(200, &noise);
}

#[test]
fn what_is_stored_has_variants_though_the_room_for_sources_is_full() {
    let noise = Kind::Bmp.encode(&Image::sample(100, 100));
    let origin = Origin::with("/large.bmp", Reply::fresh(noise));
    let edge = Setup::transforming(&origin, "")
        .serve("transform", "{arrived_max: 8KiB}")
        .start();
    assert_eq!(edge.get("/large.bmp?w=24&fm=webp").picture().kind, Kind::Webp);
    assert_eq!(origin.count("/large.bmp"), 1);
}

/// RFC 9213: what a cache on the way heeds before `Cache-Control`.
#[test]
fn what_only_helps_out_is_kept_by_no_cache_on_the_way() {
    let reply = Reply::fresh(picture()).and_header("cdn-cache-control", "max-age=600");
    let origin = Origin::with(
        TARGET,
        reply.and_header("expires", "Thu, 01 Jan 2037 00:00:00 GMT"),
    );
    let edge = pool(&origin, "", "queue_max: 0").start();
    let _waiting = busy(&edge);
    let answer = edge.get(VARIANT);
    answer.expect(200, &picture());
    assert_eq!(answer.said("cache-control"), "no-store");
    assert!(
        !answer.has("cdn-cache-control") && !answer.has("expires"),
        "{answer:?}"
    );
}

#[test]
fn variants_that_go_take_their_bytes_with_them() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let edge = Setup::transforming(&origin, "sizes: [], variants_per_source: 4").start();
    for width in 8..40 {
        edge.get(&format!("{TARGET}?w={width}&fm=webp"));
    }
    let blobs = eventually("the last ones have gone", || {
        let blobs = edge.metric("aquatint_memory_objects{kind=\"blobs\"}");
        (blobs <= 5.0).then_some(blobs)
    });
    assert!(blobs >= 2.0, "{blobs}");
}

fn is_transformed(answer: &Answer) -> bool {
    answer.picture().size() == (24, 16)
}

#[test]
fn a_source_whose_bytes_have_gone_is_fetched_once_for_all_who_wait() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let edge = Setup::transforming(&origin, "sizes: []")
        .store("memory", "16MiB")
        .start();
    edge.get(TARGET);
    for seed in 0..40 {
        let filler = format!("/filler-{seed}");
        origin.set(&filler, Reply::fresh(crate::support::picture(seed, 900_000)));
        edge.get(&filler);
    }
    let clients: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::connect(edge.address());
            client.send_request("GET", VARIANT, &[]);
            client
        })
        .collect();
    for mut client in clients {
        assert!(is_transformed(&client.answer()));
    }
    assert!(origin.count(TARGET) <= 3, "{}", origin.count(TARGET));
}
