//! The pool that makes variants is bounded: in what runs, what waits, how long and in how much memory.
//!
//! What keeps a worker busy here is the AVIF of a large picture, which takes an unoptimised encoder many seconds; the
//! edge's end does not wait for it.

use crate::support::image::{Image, Kind};
use crate::support::variant::{LARGE, NOISE, busy};
use crate::support::{Answer, Client, Gate, Origin, Reply, Setup, eventually};

const SMALL: &str = "/a.png";
const VARIANT: &str = "/a.png?w=24&fm=webp";

fn picture() -> Vec<u8> {
    Kind::Png.encode(&Image::sample(48, 32))
}

/// An origin with a small picture and a large one.
fn gallery() -> Origin {
    let origin = Origin::with(SMALL, Reply::fresh(picture()));
    origin.set(LARGE, Reply::fresh(NOISE.clone()));
    origin
}

/// One worker.
fn setup(origin: &Origin, route: &str, pool: &str) -> Setup {
    Setup::transforming(origin, &format!("sizes: [], {route}"))
        .serve("transform", format!("{{workers: 1, {pool}}}"))
}

#[track_caller]
fn expect_original_for_now(answer: &Answer) {
    answer.expect(200, &picture());
    assert_eq!(answer.said("content-type"), "image/png");
    assert_eq!(answer.said("cache-control"), "no-store");
}

#[test]
fn beyond_the_queue_the_original_is_served_and_kept_by_nobody() {
    let origin = gallery();
    let edge = setup(&origin, "", "deadline: 5m, queue_max: 0").start();
    let waiting = busy(&edge);
    expect_original_for_now(&edge.get(VARIANT));
    assert_eq!(edge.transforms("refused"), 1.0);
    // It was no failure: the next one is tried.
    expect_original_for_now(&edge.get(VARIANT));
    assert_eq!(edge.transforms("refused"), 2.0);
    drop(waiting);
}

#[test]
fn beyond_the_queue_a_route_may_answer_an_error() {
    let origin = gallery();
    let edge = setup(&origin, "on_overload: error", "deadline: 5m, queue_max: 0").start();
    let _waiting = busy(&edge);
    let answer = edge.get(VARIANT);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.said("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(edge.transforms("refused"), 1.0);
}

#[test]
fn beyond_the_queue_a_route_may_answer_the_last_variant() {
    let origin = gallery();
    let control = "max-age=1, stale-if-error=600";
    origin.set(SMALL, Reply::of(picture()).header("cache-control", control));
    let edge = setup(&origin, "on_overload: stale", "deadline: 5m, queue_max: 0").start();
    let first = edge.get(VARIANT);
    assert_eq!(first.picture().size(), (24, 16));
    let _waiting = busy(&edge);
    let turned = Kind::Png.encode(&Image::sample(48, 32).turned(2));
    origin.set(SMALL, Reply::fresh(turned.clone()));
    let stale = edge.get_past_freshness(VARIANT);
    stale.expect(200, &first.body);
    assert_eq!(stale.said("content-type"), "image/webp");
    assert_eq!(stale.strong_tag(), first.strong_tag());
    // Of another variant there is none.
    let none = edge.get("/a.png?w=16&fm=webp");
    none.expect(200, &turned);
    assert_eq!(none.said("cache-control"), "no-store");
}

#[test]
fn what_is_there_is_served_however_busy_the_pool_is() {
    let origin = gallery();
    let edge = setup(&origin, "", "deadline: 5m, queue_max: 0").start();
    let first = edge.get(VARIANT);
    let _waiting = busy(&edge);
    edge.get(VARIANT).expect_hit(&first.body);
    edge.get(SMALL).expect_hit(&picture());
}

#[test]
fn so_many_wait_and_no_more() {
    let origin = gallery();
    let edge = setup(&origin, "", "deadline: 5m, queue_max: 1").start();
    let _running = busy(&edge);
    let mut queued = Client::connect(edge.address());
    queued.send_request("GET", "/a.png?w=16&fm=webp", &[]);
    edge.wait_for_metric("aquatint_transforms_waiting", |waiting| waiting == 1.0);
    expect_original_for_now(&edge.get(VARIANT));
    assert!(queued.is_silent());
}

#[test]
fn a_client_is_freed_when_time_is_up_and_the_worker_when_it_is_done() {
    let origin = gallery();
    let edge = setup(&origin, "", "deadline: 500ms, queue_max: 0").start();
    let answer = edge.get(&format!("{LARGE}?q=90&fm=avif"));
    answer.expect(200, &NOISE);
    assert_eq!(answer.said("cache-control"), "no-store");
    assert_eq!(edge.transforms("timed_out"), 1.0);
    // Told off at once, for a while.
    edge.get(&format!("{LARGE}?q=90&fm=avif"));
    assert_eq!(edge.transforms("timed_out"), 1.0);
}

#[test]
fn a_thread_that_goes_on_past_its_deadline_keeps_its_worker() {
    let origin = gallery();
    let edge = setup(&origin, "", "deadline: 1s, queue_max: 0").start();
    let answer = edge.get(&format!("{LARGE}?q=90&fm=avif"));
    assert_eq!(answer.said("cache-control"), "no-store");
    assert_eq!(edge.metric("aquatint_transforms_running"), 1.0);
    assert!(edge.metric("aquatint_transform_memory_bytes") > 1_000_000.0);
    expect_original_for_now(&edge.get(VARIANT));
}

const CHROME: [(&str, &str); 1] = [("Accept", "image/avif,image/webp,*/*;q=0.8")];

#[test]
fn an_avif_beyond_its_budget_is_webp_now_and_avif_later() {
    let origin = gallery();
    let edge = setup(&origin, "", "avif: {pixels_max: 1}").start();
    let target = "/a.png?w=24&fm=auto";
    let now = edge.get_with(target, &CHROME);
    assert_eq!(now.picture().kind, Kind::Webp);
    assert_eq!(now.varies_by(), ["accept"]);
    assert_eq!(edge.transforms("stood_in"), 1.0);
    let later = eventually("the AVIF is made", || {
        let answer = edge.get_with(target, &CHROME);
        (answer.picture().kind == Kind::Avif).then_some(answer)
    });
    assert_ne!(later.strong_tag(), now.strong_tag());
    assert_eq!(later.picture().size(), (24, 16));
    edge.get_with(target, &CHROME).expect_hit(&later.body);
    assert_eq!(
        edge.metric("aquatint_transforms_total{format=\"avif\",result=\"made\"}"),
        1.0
    );
    assert_eq!(edge.transforms("stood_in"), 1.0);
    // Who asks for WebP gets the one that stood in.
    let webp = edge.get_with(target, &[("Accept", "image/webp")]);
    webp.expect(200, &now.body);
    assert_eq!(webp.strong_tag(), now.strong_tag());
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn a_client_that_shows_avif_alone_waits_for_it() {
    let origin = gallery();
    let edge = setup(&origin, "", "avif: {pixels_max: 1}").start();
    for target in ["/a.png?w=24&fm=avif", "/a.png?w=16&fm=auto"] {
        let answer = edge.get_with(target, &[("Accept", "image/avif")]);
        assert_eq!(answer.picture().kind, Kind::Avif, "{target}");
    }
    assert_eq!(edge.transforms("stood_in"), 0.0);
}

#[test]
fn an_avif_within_its_budget_is_made_at_once() {
    let origin = gallery();
    let edge = setup(&origin, "", "avif: {pixels_max: 100000}").start();
    let answer = edge.get_with("/a.png?w=24&fm=auto", &CHROME);
    assert_eq!(answer.picture().kind, Kind::Avif);
}

#[test]
fn a_variant_that_needs_more_memory_than_there_is_is_refused() {
    let origin = Origin::start();
    let flat = Kind::Png.encode(&Image::plain(3000, 2000, [9, 99, 199, 255]));
    origin.set(LARGE, Reply::fresh(flat.clone()));
    origin.set(SMALL, Reply::fresh(picture()));
    let edge = setup(&origin, "on_failure: error", "memory_max: 16MiB").start();
    let answer = edge.get(&format!("{LARGE}?w=24&fm=webp"));
    assert_eq!(answer.status, 422, "{answer:?}");
    assert_eq!(edge.get(VARIANT).picture().size(), (24, 16));
}

#[test]
fn every_limit_of_the_configuration_is_one() {
    let sample = Image::sample(48, 32);
    let moving = crate::support::image::animated_gif(&crate::support::image::turning(16, &[50, 50, 50]));
    for (limit, kind, bytes) in [
        ("source_bytes: 1KiB", Kind::Bmp, Kind::Bmp.encode(&sample)),
        ("pixels: 1535", Kind::Png, picture()),
        ("side: 47", Kind::Png, picture()),
        ("frames: 2", Kind::Gif, moving.clone()),
        ("animation_pixels: 767", Kind::Gif, moving.clone()),
    ] {
        let origin = Origin::with(SMALL, Reply::image(kind, bytes.clone()));
        let setup = setup(&origin, "on_failure: error", &format!("limits: {{{limit}}}"));
        let edge = setup.start();
        let answer = edge.get("/a.png?w=24&h=24&fit=scale&fm=webp&flip=h");

        assert_eq!(answer.status, 422, "{limit}: {answer:?}");
        edge.get(SMALL).expect(200, &bytes);
    }
}

#[test]
fn a_source_too_large_to_be_transformed_is_passed_on_as_it_comes() {
    for length_is_known in [true, false] {
        let (gate, body) = (Gate::closed(), crate::support::picture(14, 8_000));
        let reply = Reply::fresh(body.clone()).body_held_by(&gate, 4_000);
        let reply = if length_is_known { reply } else { reply.chunked() };
        let origin = Origin::with(SMALL, reply);
        let edge = setup(&origin, "", "limits: {source_bytes: 1KiB}").start();
        let mut client = Client::connect(edge.address());
        client.send_request("GET", VARIANT, &[]);
        let answer = client.header().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        if length_is_known {
            assert_eq!(client.read_exactly(4_000).unwrap(), body[..4_000]);
        }
        gate.open();
    }
}

#[test]
fn no_variant_is_larger_than_the_limit() {
    let origin = gallery();
    let edge = setup(&origin, "on_failure: error", "limits: {output_side: 23}").start();
    for parameters in [
        "w=24",
        "h=32",
        "w=48&h=32&fit=scale",
        "rot=90",
        "w=20&pad=9",
        "fm=png",
    ] {
        let answer = edge.get(&format!("{SMALL}?{parameters}&fm=webp"));
        if answer.status == 422 {
            continue;
        }
        let (width, height) = answer.picture().size();
        assert!(width.max(height) <= 23, "{parameters}: {width} x {height}");
    }
}
