//! What a purge does to what is stored, and to what is on its way: after its acknowledgement no request that starts is
//! answered with an older image.

use crate::support::image::{Image, Kind, shown};
use crate::support::{Answer, Client, Edge, Gate, HOST, Origin, Reply, Setup, eventually, request};
use std::fs;
use std::path::Path;

const TARGET: &str = "/a.png";

/// An origin with an image at each of `targets`.
fn origin(targets: &[&str]) -> Origin {
    let origin = Origin::start();
    for target in targets {
        origin.set(target, Reply::fresh("old"));
    }
    origin
}

/// The origin has new images from now on, and says so to nobody.
fn replace(origin: &Origin, targets: &[&str]) {
    for target in targets {
        origin.set(target, Reply::fresh("new"));
    }
}

fn edge(origin: &Origin) -> Edge {
    Setup::of(origin).with_key().start()
}

/// Fills the cache with what is at each of `targets`.
#[track_caller]
fn fill(edge: &Edge, targets: &[&str]) {
    for target in targets {
        edge.get(target).expect(200, b"old");
        edge.get(target).expect_hit(b"old");
    }
}

/// One image is stored, `order` is carried out, and the next request is answered with the new image.
#[track_caller]
fn assert_covered(order: &str, target: &str) {
    let origin = origin(&[target]);
    let edge = edge(&origin);
    fill(&edge, &[target]);
    replace(&origin, &[target]);
    edge.purge(order);
    edge.get(target).expect_fetched(b"new");
    edge.get(target).expect_hit(b"new");
}

#[track_caller]
fn assert_not_covered(order: &str, target: &str) {
    let origin = origin(&[target]);
    let edge = edge(&origin);
    fill(&edge, &[target]);
    edge.purge(order);
    edge.get(target).expect_hit(b"old");
}

#[test]
fn a_url_is_purged_with_every_version_string_and_spelling() {
    let order = r#"{"files": ["https://images.example/a/b~c.png"]}"#;
    for target in ["/a/b~c.png", "/a/b~c.png?v=3", "/a/b~c.png?x=1&y=2"] {
        assert_covered(order, target);
    }
    for spelling in [
        "http://images.example/a/b~c.png",
        "https://IMAGES.example:443/a/%62%7Ec.png",
        "https://images.example:8443/x/../a/./b~c.png?v=9#top",
    ] {
        let order = format!(r#"{{"files": ["{spelling}"]}}"#);
        assert_covered(&order, "/a/b~c.png?v=3");
    }
    assert_not_covered(order, "/a/b~c.png2");
    assert_not_covered(r#"{"files": ["https://other.example/a/b~c.png"]}"#, "/a/b~c.png");
}

#[test]
fn an_exact_url_is_purged_alone() {
    let order = r#"{"files": ["https://images.example/a.png?b=2&a=1"], "exact": true}"#;
    assert_covered(order, "/a.png?a=1&b=2");
    assert_not_covered(order, "/a.png?a=1");
    assert_not_covered(order, "/a.png");
}

#[test]
fn a_prefix_is_whole_segments() {
    for prefix in [
        "images.example/a/b",
        "https://images.example/a/b/",
        "images.example/a/b/*",
    ] {
        let order = format!(r#"{{"prefixes": ["{prefix}"]}}"#);
        assert_covered(&order, "/a/b/c.png?x=1");
        assert_covered(&order, "/a/b");
        assert_not_covered(&order, "/a/bc.png");
        assert_not_covered(&order, "/a/c.png");
    }
}

#[test]
fn a_host_and_everything_are_purged() {
    let host = format!(r#"{{"hosts": ["{HOST}"]}}"#);
    assert_covered(&host, TARGET);
    assert_not_covered(r#"{"hosts": ["other.example"]}"#, TARGET);
    assert_covered(r#"{"purge_everything": true}"#, TARGET);
}

#[test]
fn a_tag_is_purged_whichever_header_named_it_and_whatever_its_case() {
    for (header, value) in [
        ("Surrogate-Key", "sale Product-7"),
        ("Cache-Tag", "sale, product-7"),
    ] {
        let origin = Origin::with(TARGET, Reply::fresh("old").header(header, value));
        let edge = edge(&origin);
        edge.get(TARGET).expect_miss(b"old");
        edge.purge(r#"{"tags": ["product", "product-70"]}"#);
        edge.get(TARGET).expect_hit(b"old");
        replace(&origin, &[TARGET]);
        edge.purge(r#"{"tags": ["PRODUCT-7"]}"#);
        edge.get(TARGET).expect_fetched(b"new");
    }
}

#[test]
fn tags_are_for_the_edge_alone_unless_a_route_forwards_them() {
    let tagged = Reply::fresh("old")
        .header("Surrogate-Key", "a")
        .header("Cache-Tag", "b");
    let origin = Origin::with(TARGET, tagged.clone());
    origin.set("/private.png", tagged.header("cache-control", "private"));
    let edge = edge(&origin);
    for target in [TARGET, TARGET, "/private.png"] {
        let answer = edge.get(target);
        assert!(
            !answer.has("surrogate-key") && !answer.has("cache-tag"),
            "{answer:?}"
        );
    }
    let forwarding = Setup::of(&origin).route("tags", "{to_clients: forward}").start();
    for _ in 0..2 {
        let answer = forwarding.get(TARGET);
        assert_eq!(
            (answer.said("surrogate-key"), answer.said("cache-tag")),
            ("a", "b")
        );
    }
}

/// A tag that was left out would be purged, and its image served.
#[test]
fn a_response_with_more_tags_than_can_be_kept_is_not_stored() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("Surrogate-Key", "a b c"));
    let edge = Setup::of(&origin).route("tags", "{count_max: 2}").start();
    for _ in 0..2 {
        edge.get(TARGET).expect_fetched(b"image");
    }
    assert_eq!(origin.count(TARGET), 2);
}

/// craft-cloudflare#76, payload#5301, thumbor#1292: what was made of an image outlives its purge.
#[test]
fn what_was_made_of_an_image_goes_with_it() {
    let (old, new) = (
        Image::plain(32, 32, [250, 0, 0, 255]),
        Image::plain(32, 32, [0, 0, 250, 255]),
    );
    let origin = Origin::with(TARGET, Reply::image(Kind::Png, Kind::Png.encode(&old)));
    let edge = Setup::transforming(&origin, "sizes: []").with_key().start();
    let renditions = [
        "/a.png?w=16&fm=png",
        "/a.png?w=16&fm=webp",
        "/cdn-cgi/image/w=8/a.png",
        "/a.png",
    ];
    for target in renditions {
        for _ in 0..2 {
            assert!(is_red(&edge.get(target)), "{target}");
        }
    }
    let tag = edge.get(renditions[0]).strong_tag().to_owned();
    origin.set(TARGET, Reply::image(Kind::Png, Kind::Png.encode(&new)));
    // By the URL of one of them.
    edge.purge(&format!(r#"{{"files": ["https://{HOST}{}"]}}"#, renditions[0]));
    for target in renditions {
        assert!(!is_red(&edge.get(target)), "{target} is still as it was");
    }
    assert_ne!(edge.get(renditions[0]).strong_tag(), tag);
}

fn is_red(answer: &Answer) -> bool {
    let [red, _, blue, _] = shown(&answer.body).still().pixel(2, 2);
    red > blue
}

#[test]
fn all_alternates_of_a_url_are_purged_together() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| {
        alternate("old", asked.header("accept-language"))
    });
    let edge = edge(&origin);
    let ask = |language| edge.get_with(TARGET, &[("Accept-Language", language)]);
    for language in ["de", "fr"] {
        ask(language).expect_fetched(format!("old {language}").as_bytes());
        ask(language).expect_hit(format!("old {language}").as_bytes());
    }
    origin.set_with(TARGET, |asked, _| {
        alternate("new", asked.header("accept-language"))
    });
    edge.purge(&format!(r#"{{"files": ["https://{HOST}{TARGET}"]}}"#));
    for language in ["de", "fr"] {
        ask(language).expect_fetched(format!("new {language}").as_bytes());
        ask(language).expect_hit(format!("new {language}").as_bytes());
    }
}

fn alternate(version: &str, language: Option<&str>) -> Reply {
    let body = format!("{version} {}", language.unwrap_or_default());
    Reply::fresh(body).header("vary", "Accept-Language")
}

fn purge_url(edge: &Edge) {
    edge.purge(&format!(r#"{{"files": ["https://{HOST}{TARGET}"]}}"#));
}

/// warehouse#12214, varnish-cache#4082: a fill that was under way stores the old image after the purge.
#[test]
fn a_fill_that_a_purge_overtakes_answers_only_those_who_asked_before_and_is_not_stored() {
    for order in [
        r#"{"files": ["https://images.example/a.png"]}"#,
        r#"{"files": ["https://images.example/a.png"], "soft": true}"#,
        r#"{"tags": ["sale"]}"#,
        r#"{"prefixes": ["images.example/"]}"#,
    ] {
        for held in ["header", "body"] {
            let gate = Gate::closed();
            let old = Reply::fresh("old").header("surrogate-key", "sale");
            let origin = Origin::with(
                TARGET,
                match held {
                    "header" => old.header_held_by(&gate),
                    _ => old.body_held_by(&gate, 1),
                },
            );
            let edge = edge(&origin);
            let mut before = Client::connect(edge.address());
            before.send_request("GET", TARGET, &[]);
            gate.wait_for_held(1);
            replace(&origin, &[TARGET]);
            edge.purge(order);
            let mut after = Client::connect(edge.address());
            after.send_request("GET", TARGET, &[]);
            if order.contains("tags") && held == "header" {
                // Whether the purge covers what is on its way is known when its header is there.
                edge.wait_for_metric("aquatint_coalesced_requests_total", |n| n == 1.0);
            } else {
                assert_eq!(after.answer().body, b"new", "{order}, {held}");
            }
            gate.open();
            before.answer().expect(200, b"old");
            if order.contains("tags") && held == "header" {
                after.answer().expect(200, b"new");
            }
            edge.wait_for_fills();
            edge.get(TARGET).expect_hit(b"new");
            assert_eq!(edge.metric("aquatint_fills_fenced_total"), 1.0, "{order}, {held}");
        }
    }
}

#[test]
fn a_304_to_a_question_from_before_the_purge_revives_nothing() {
    let stored = Reply::of("old")
        .header("etag", "\"1\"")
        .header("cache-control", "max-age=1");
    let origin = Origin::with(TARGET, stored.clone());
    let edge = edge(&origin);
    edge.get(TARGET).expect_miss(b"old");
    let gate = Gate::closed();
    origin.set(TARGET, stored.header_held_by(&gate));
    let mut before = eventually("it is asked about", || {
        let mut client = Client::connect(edge.address());
        client.send_request("GET", TARGET, &[]);
        let is_asked = origin
            .asked(TARGET)
            .iter()
            .any(|asked| asked.has("if-none-match"));
        is_asked.then_some(client)
    });
    gate.wait_for_held(1);
    replace(&origin, &[TARGET]);
    purge_url(&edge);
    edge.get(TARGET).expect_fetched(b"new");
    gate.open();
    before.answer().expect(200, b"new");
    edge.wait_for_fills();
    edge.get(TARGET).expect_hit(b"new");
}

/// ngx_cache_purge#40: users want an image to expire and be confirmed, not fetched again.
#[test]
fn a_soft_purge_has_the_image_confirmed_and_a_hard_one_has_it_fetched() {
    let origin = Origin::with(TARGET, Reply::fresh("image").header("etag", "\"1\""));
    let edge = edge(&origin);
    edge.get(TARGET).expect_miss(b"image");
    edge.purge(r#"{"files": ["https://images.example/a.png"], "soft": true}"#);
    let confirmed = edge.get(TARGET);
    confirmed.expect(200, b"image");
    assert_eq!(
        confirmed.cache_status().value("fwd-status"),
        Some("304"),
        "{confirmed:?}"
    );
    assert_eq!(origin.last(TARGET).header("if-none-match"), Some("\"1\""));
    edge.get(TARGET).expect_hit(b"image");
    edge.purge(r#"{"files": ["https://images.example/a.png"]}"#);
    edge.get(TARGET).expect_miss(b"image");
    assert!(!origin.last(TARGET).has("if-none-match"));
}

#[test]
fn no_window_of_staleness_outlives_a_purge() {
    for soft in ["true", "false"] {
        let windows = "max-age=3600, stale-while-revalidate=3600, stale-if-error=3600";
        let origin = Origin::with(
            TARGET,
            Reply::of("old")
                .header("cache-control", windows)
                .header("etag", "\"1\""),
        );
        let edge = edge(&origin);
        edge.get(TARGET).expect_miss(b"old");
        edge.purge(&format!(
            r#"{{"files": ["https://{HOST}{TARGET}"], "soft": {soft}}}"#
        ));
        for failure in [Reply::reset(), Reply::of("sorry").status(503)] {
            origin.set(TARGET, failure);
            let answer = edge.get(TARGET);
            assert!(matches!(answer.status, 502 | 503), "soft {soft}: {answer:?}");
        }
        replace(&origin, &[TARGET]);
        edge.get(TARGET).expect_fetched(b"new");
    }
}

#[test]
fn a_stored_part_is_purged_and_never_completed() {
    let origin = Origin::with(TARGET, Reply::fresh("0123456789").header("etag", "\"1\""));
    let edge = Setup::of(&origin).with_key().route("ranges", "forward").start();
    let part = |range| edge.get_with(TARGET, &[("Range", range)]);
    part("bytes=0-4").expect(206, b"01234");
    assert!(part("bytes=1-2").is_hit());
    origin.set(TARGET, Reply::fresh("abcdefghij").header("etag", "\"1\""));
    purge_url(&edge);
    part("bytes=1-2").expect(206, b"bc");
    edge.get(TARGET).expect(200, b"abcdefghij");
}

/// cloudflare-docs#33306, fastly-ruby#54: a purge that was acknowledged is not one everywhere.
#[test]
fn what_the_ssd_held_before_a_crash_is_checked_like_all_else() {
    let targets = ["/a.png", "/b.png", "/c/d.png", "/e.png"];
    let origin = origin(&targets);
    let setup = Setup::of(&origin).with_ssd().with_key();
    let edge = setup.start();
    fill(&edge, &targets);
    // Equal bodies are one.
    edge.wait_for_metric("aquatint_ssd_writes_total{kind=\"entries\"}", |n| n >= 4.0);
    edge.wait_for_ssd_writes(1.0);
    let receipts = [
        edge.purge(r#"{"files": ["https://images.example/a.png"]}"#),
        edge.purge(r#"{"files": ["https://images.example/b.png"], "soft": true}"#),
        edge.purge(r#"{"prefixes": ["images.example/c"]}"#),
    ];
    edge.kill9();
    replace(&origin, &targets);
    let edge = setup.start();
    for target in &targets[..3] {
        edge.get(target).expect_fetched(b"new");
    }
    edge.get("/e.png").expect_hit(b"old");
    for receipt in receipts {
        let answer = edge.receipt(receipt.id());
        answer.expect(200, &answer.body);
        let again = crate::support::purging::Receipt::of(&answer);
        assert_eq!((again.id(), again.index()), (receipt.id(), receipt.index()));
    }
}

/// What was purged is not known any more: nothing that was stored before may be served.
#[test]
fn nothing_stored_outlives_the_loss_of_the_log() {
    let origin = origin(&[TARGET]);
    let setup = Setup::of(&origin).with_ssd().with_key();
    let edge = setup.start();
    fill(&edge, &[TARGET]);
    edge.wait_for_ssd_writes(1.0);
    purge_url(&edge);
    edge.kill9();
    fs::remove_dir_all(setup.data_directory().join("purges")).unwrap();
    replace(&origin, &[TARGET]);
    let edge = setup.start();
    edge.get(TARGET).expect_fetched(b"new");
}

/// cache-handler#127: an index of tags grows without end. Here there is none: purges cost room, objects do not.
#[test]
fn tables_stay_bounded_and_what_has_no_place_is_purged_all_the_same() {
    let origin = Origin::with(TARGET, Reply::fresh("old").header("cache-tag", "last"));
    let edge = Setup::of(&origin).with_key().purge("scopes_max", "1024").start();
    edge.get(TARGET).expect_miss(b"old");
    let tags: Vec<String> = (0..5000).map(|n| format!("\"tag-{n}\"")).collect();
    edge.purge(&format!(r#"{{"tags": [{}]}}"#, tags.join(",")));
    assert_eq!(edge.metric("aquatint_purge_table_scopes"), 1024.0);
    assert!(edge.metric("aquatint_purge_table_buckets") > 0.0);
    replace(&origin, &[TARGET]);
    edge.purge(r#"{"tags": ["last"]}"#);
    edge.get(TARGET).expect_fetched(b"new");
    edge.get(TARGET).expect_hit(b"new");
}

fn versioned(body: &str, version: u32) -> Reply {
    Reply::fresh(body).header("x-version", &version.to_string())
}

/// imagor#625: an image is overwritten at its own URL, and the origin behind a purge still has the old one.
#[test]
fn an_origin_that_is_behind_the_purge_is_asked_again() {
    let origin = Origin::with(TARGET, versioned("old", 6));
    let edge = edge(&origin);
    edge.get(TARGET).expect_miss(b"old");
    origin.set_with(TARGET, |_, nth| match nth {
        ..4 => versioned("old", 6),
        _ => versioned("new", 7),
    });
    edge.purge(
        r#"{"files": ["https://images.example/a.png"], "min_version": {"header": "X-Version", "at_least": 7}}"#,
    );
    edge.get(TARGET).expect_fetched(b"new");
    edge.get(TARGET).expect_hit(b"new");
    assert!(edge.metric("aquatint_answers_below_minimum_total") >= 1.0);
}

#[test]
fn an_answer_that_stays_too_old_is_passed_on_briefly_and_not_stored() {
    let old = Reply::fresh("old").header("etag", "\"v6\"");
    let origin = Origin::with(TARGET, old);
    let edge = Setup::of(&origin)
        .with_key()
        .purge("minimum_patience", "100ms")
        .start();
    edge.get(TARGET).expect_miss(b"old");
    edge.purge(r#"{"files": ["https://images.example/a.png"], "min_version": {"etag": "\"v7\""}}"#);
    for _ in 0..2 {
        let answer = edge.get(TARGET);
        answer.expect_fetched(b"old");
        assert_eq!(answer.said("cache-control"), "max-age=1");
        assert!(!answer.cache_status().has("stored"), "{answer:?}");
    }
    origin.set(TARGET, Reply::fresh("new").header("etag", "\"v7\""));
    edge.get(TARGET).expect_fetched(b"new");
    edge.get(TARGET).expect_hit(b"new");
    // Who purges later knows better.
    purge_url(&edge);
    origin.set(TARGET, Reply::fresh("newer").header("etag", "\"v8\""));
    edge.get(TARGET).expect_fetched(b"newer");
    edge.get(TARGET).expect_hit(b"newer");
}

#[test]
fn an_audit_counts_the_images_that_changed_without_a_purge() {
    let origin = Origin::with(TARGET, Reply::fresh("old").header("etag", "\"1\""));
    let edge = Setup::of(&origin).route("audit", "1").start();
    edge.get(TARGET).expect_miss(b"old");
    edge.get(TARGET).expect_hit(b"old");
    edge.wait_for_metric("aquatint_audits_total{result=\"same\"}", |n| n == 1.0);
    origin.set(TARGET, Reply::fresh("new").header("etag", "\"2\""));
    edge.get(TARGET).expect_hit(b"old");
    edge.wait_for_metric("aquatint_audits_total{result=\"stale\"}", |n| n == 1.0);
    origin.set(TARGET, Reply::reset());
    edge.get(TARGET).expect_hit(b"old");
    edge.wait_for_metric("aquatint_audits_total{result=\"unknown\"}", |n| n == 1.0);
}

/// A header may be alike where the body is another.
#[test]
fn a_head_revives_nothing_that_was_purged() {
    let origin = Origin::with(TARGET, Reply::fresh("old"));
    let edge = edge(&origin);
    edge.get(TARGET).expect_miss(b"old");
    replace(&origin, &[TARGET]);
    edge.purge(r#"{"files": ["https://images.example/a.png"], "soft": true}"#);
    assert_eq!(request(edge.address(), "HEAD", TARGET, &[]).status, 200);
    edge.wait_for_fills();
    edge.get(TARGET).expect_fetched(b"new");
}

/// An origin that confirms an image need not name its tags again, and may name more than can be kept.
#[test]
fn a_304_takes_no_tag_from_an_image() {
    let many = "a b c d e f";
    for (tags_of_304, is_confirmed) in [("", true), ("y", true), (many, false)] {
        let tagged = Reply::of("old")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=3600")
            .header("surrogate-key", "x");
        let origin = Origin::with(TARGET, tagged.clone());
        let edge = Setup::of(&origin)
            .with_key()
            .route("tags", "{count_max: 4}")
            .start();
        edge.get(TARGET).expect_miss(b"old");
        edge.purge(r#"{"files": ["https://images.example/a.png"], "soft": true}"#);
        origin.set(
            TARGET,
            match tags_of_304 {
                "" => tagged.without("surrogate-key"),
                tags => tagged.header("surrogate-key", tags),
            },
        );
        edge.get(TARGET).expect(200, b"old");
        assert_eq!(edge.get(TARGET).is_hit(), is_confirmed, "{tags_of_304}");
        replace(&origin, &[TARGET]);
        edge.purge(r#"{"tags": ["x"]}"#);
        edge.get(TARGET).expect_fetched(b"new");
    }
}

/// Each may name others: what they come to together is held to what one answer may have.
#[test]
fn the_tags_that_304s_add_are_bounded() {
    let tagged = |tags: &str| {
        Reply::of("image")
            .header("etag", "\"1\"")
            .header("cache-control", "max-age=3600")
            .header("surrogate-key", tags)
    };
    let origin = Origin::with(TARGET, tagged("a"));
    let edge = Setup::of(&origin)
        .with_key()
        .route("tags", "{count_max: 4}")
        .start();
    edge.get(TARGET).expect_miss(b"image");
    let soft = r#"{"files": ["https://images.example/a.png"], "soft": true}"#;
    for (tags, is_confirmed) in [("b c d", true), ("a d", true), ("e", false)] {
        origin.set(TARGET, tagged(tags));
        edge.purge(soft);
        let before = origin.count(TARGET);
        edge.get(TARGET).expect(200, b"image");
        // Where the 304 confirms nothing, the image is asked for once more.
        let asked = origin.count(TARGET) - before;
        assert_eq!(asked == 1, is_confirmed, "{tags}");
    }
}

/// It has lost purges that were acknowledged; once it had as many again, what was stored under those would pass for valid.
#[test]
fn an_older_copy_of_the_whole_log_is_not_served_from() {
    let origin = origin(&[TARGET]);
    let setup = Setup::of(&origin).with_ssd().with_key();
    let log = setup.data_directory().join("purges");
    let kept = setup.directory().join("kept");
    setup.start().terminate();
    copy(&log, &kept);
    let edge = setup.start();
    for _ in 0..20 {
        edge.purge(r#"{"files": ["https://images.example/other.png"]}"#);
    }
    fill(&edge, &[TARGET]);
    edge.wait_for_ssd_writes(1.0);
    edge.kill9();
    fs::remove_dir_all(&log).unwrap();
    copy(&kept, &log);
    let mut refused = setup.spawn();
    assert!(!refused.wait_for_exit().success());
    let (_, said) = refused.whole_output();
    assert!(
        said.contains("older copy") && said.contains("move the whole directory away"),
        "{said}"
    );
    fs::remove_dir_all(&log).unwrap();
    replace(&origin, &[TARGET]);
    let edge = setup.start();
    for _ in 0..30 {
        purge_url(&edge);
    }
    edge.get(TARGET).expect_fetched(b"new");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn an_answer_that_is_too_old_does_not_take_the_place_of_a_newer_one() {
    let origin = Origin::with(TARGET, versioned("old", 6));
    let edge = Setup::of(&origin)
        .with_key()
        .purge("minimum_patience", "10ms")
        .start();
    edge.purge(
        r#"{"files": ["https://images.example/a.png"], "min_version": {"header": "X-Version", "at_least": 7}}"#,
    );
    origin.set(TARGET, versioned("new", 7));
    edge.get(TARGET).expect_miss(b"new");
    origin.set(TARGET, versioned("old", 6));
    edge.get_with(TARGET, &[("Cache-Control", "no-cache")])
        .expect(200, b"new");
    edge.get(TARGET).expect_hit(b"new");
}

/// Version 7 is stored and fresh, and told by a purge; the origin is behind again.
fn stored_before_an_origin_fell_behind(newer: Reply, older: Reply) -> (Origin, Edge) {
    let origin = Origin::with(TARGET, newer);
    let edge = Setup::of(&origin)
        .with_key()
        .purge("minimum_patience", "10ms")
        .start();
    edge.purge(
        r#"{"files": ["https://images.example/a.png"], "min_version": {"header": "X-Version", "at_least": 7}}"#,
    );
    edge.get(TARGET).expect_miss(b"new");
    origin.set(TARGET, older);
    (origin, edge)
}

#[test]
fn an_answer_for_one_that_is_too_old_takes_no_place_either_and_is_passed_on_briefly() {
    let private = versioned("old", 6).header("cache-control", "private, max-age=600");
    let (_origin, edge) = stored_before_an_origin_fell_behind(versioned("new", 7), private.clone());
    edge.get_with(TARGET, &[("Cache-Control", "no-cache")])
        .expect(200, b"new");
    edge.get(TARGET).expect_hit(b"new");
    let origin = Origin::with(TARGET, private);
    let edge = Setup::of(&origin)
        .with_key()
        .purge("minimum_patience", "10ms")
        .start();
    edge.purge(
        r#"{"files": ["https://images.example/a.png"], "min_version": {"header": "X-Version", "at_least": 7}}"#,
    );
    let answer = edge.get(TARGET);
    answer.expect(200, b"old");
    assert_eq!(answer.said("cache-control"), "max-age=1");
}

#[test]
fn what_must_be_revalidated_does_not_stand_in_for_an_answer_that_is_too_old() {
    let newer = versioned("new", 7).header("cache-control", "max-age=1, must-revalidate");
    let (_origin, edge) = stored_before_an_origin_fell_behind(newer, versioned("old", 6));
    edge.get_past_freshness(TARGET).expect(200, b"old");
}

#[test]
fn a_prefix_below_an_alias_is_that_of_its_sources() {
    let target = "/photos/a.png";
    let origin = origin(&[target]);
    let edge = Setup::transforming(&origin, "sizes: []").with_key().start();
    fill(&edge, &[target]);
    replace(&origin, &[target]);
    edge.purge(r#"{"prefixes": ["images.example/cdn-cgi/image/w=8/photos"]}"#);
    edge.get(target).expect_fetched(b"new");
}

/// next.js#93757: what breaks off after a purge is not stored short in the place of what was purged.
#[test]
fn a_fill_that_breaks_off_after_a_purge_leaves_nothing() {
    let origin = origin(&[TARGET]);
    let edge = edge(&origin);
    fill(&edge, &[TARGET]);
    purge_url(&edge);
    origin.set(TARGET, Reply::fresh("new").cut_after(1));
    let mut client = Client::connect(edge.address());
    let answer: Result<Answer, _> = client.send_request("GET", TARGET, &[]).try_answer_to("GET");
    assert!(answer.map_or(true, |answer| answer.status == 502));
    edge.wait_for_fills();
    replace(&origin, &[TARGET]);
    edge.get(TARGET).expect_fetched(b"new");
}
