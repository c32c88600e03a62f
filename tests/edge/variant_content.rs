//! Variants are of bytes, not of URLs: what is encoded once is not encoded again while the bytes stay what they are. And
//! a variant is an image like any other to whoever asks for it.

use crate::support::image::{Image, Kind};
use crate::support::{Answer, Edge, Gate, Origin, Reply, Setup, eventually, get, request};
use std::thread;

const TARGET: &str = "/a.png";
const VARIANT: &str = "/a.png?w=24&fm=webp";

fn picture() -> Vec<u8> {
    Kind::Png.encode(&Image::sample(48, 32))
}

fn another() -> Vec<u8> {
    Kind::Png.encode(&Image::sample(48, 32).turned(2))
}

fn setup(origin: &Origin) -> Setup {
    Setup::transforming(origin, "sizes: []")
}

/// Fresh for a second only.
fn brief(body: Vec<u8>) -> Reply {
    Reply::of(body).header("cache-control", "max-age=1")
}

/// An edge that has the variant of a long fresh source.
fn stored() -> (Origin, Edge, Answer) {
    let reply = Reply::fresh(picture()).header("etag", "\"source\"");
    let origin = Origin::with(TARGET, reply);
    let edge = setup(&origin).start();
    let answer = edge.get(VARIANT);
    assert_eq!(answer.picture().size(), (24, 16));
    (origin, edge, answer)
}

#[test]
fn fifty_first_requests_reach_the_origin_once_and_encode_once() {
    let gate = Gate::closed();
    let origin = Origin::with(TARGET, Reply::fresh(picture()).header_held_by(&gate));
    let edge = setup(&origin).start();
    let address = edge.address();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let crowd: Vec<_> = (0..50)
            .map(|_| scope.spawn(move || get(address, VARIANT)))
            .collect();
        edge.wait_for_metric("aquatint_coalesced_requests_total", |followers| followers >= 49.0);
        gate.open();
        crowd.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.picture().size(), (24, 16));
        assert!(answer.body == answers[0].body);
        assert_eq!(answer.strong_tag(), answers[0].strong_tag());
    }
    assert_eq!(origin.count(TARGET), 1);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn requests_for_different_variants_share_the_fetch_alone() {
    let gate = Gate::closed();
    let origin = Origin::with(TARGET, Reply::fresh(picture()).header_held_by(&gate));
    let edge = setup(&origin).start();
    let address = edge.address();
    let widths = thread::scope(|scope| {
        let crowd: Vec<_> = [8, 16, 24, 32]
            .into_iter()
            .map(|width| scope.spawn(move || get(address, &format!("{TARGET}?w={width}&fm=png"))))
            .collect();
        edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 4.0);
        gate.open();
        let answers = crowd.into_iter().map(|client| client.join().unwrap());
        answers
            .map(|answer| answer.picture().size().0)
            .collect::<Vec<_>>()
    });
    assert_eq!(widths, [8, 16, 24, 32]);
    assert_eq!(origin.count(TARGET), 1);
    assert_eq!(edge.transforms("made"), 4.0);
}

#[test]
fn the_second_request_for_a_variant_is_a_hit_with_the_same_header() {
    let (origin, edge, first) = stored();
    let hit = edge.get(VARIANT);
    hit.expect_hit(&first.body);
    for name in ["content-type", "content-length", "etag", "cache-control"] {
        assert_eq!(hit.said(name), first.said(name), "{name}");
    }
    assert!(hit.has("age"), "{hit:?}");
    assert_ne!(hit.strong_tag(), "\"source\"");
    assert_eq!(origin.count(TARGET), 1);
    assert_eq!(edge.transforms("made"), 1.0);
    // The source is stored too, as it is.
    let source = edge.get(TARGET);
    source.expect_hit(&picture());
    assert_eq!(source.said("etag"), "\"source\"");
}

#[test]
fn a_source_confirmed_by_its_origin_is_not_encoded_again() {
    let origin = Origin::with(TARGET, brief(picture()).header("etag", "\"source\""));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    let confirmed = edge.get_past_freshness(VARIANT);
    confirmed.expect(200, &first.body);
    assert_eq!(
        confirmed.cache_status().value("fwd-status"),
        Some("304"),
        "{confirmed:?}"
    );
    assert_eq!(confirmed.strong_tag(), first.strong_tag());
    assert_eq!(origin.last(TARGET).header("if-none-match"), Some("\"source\""));
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn a_source_that_comes_again_with_equal_bytes_is_not_encoded_again() {
    let origin = Origin::with(TARGET, brief(picture()));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    let again = edge.get_past_freshness(VARIANT);
    again.expect(200, &first.body);
    assert_eq!(again.strong_tag(), first.strong_tag());
    assert!(origin.count(TARGET) >= 2);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn an_invalidated_source_with_equal_bytes_is_not_encoded_again() {
    let (origin, edge, first) = stored();
    let change = request(edge.address(), "POST", TARGET, &[("Content-Length", "0")]);
    assert_eq!(change.status, 200);
    edge.get(VARIANT).expect_fetched(&first.body);
    assert_eq!(origin.count(TARGET), 3);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn the_same_image_under_another_url_is_not_encoded_again() {
    let (origin, edge, first) = stored();
    origin.set("/b.png", Reply::fresh(picture()));
    origin.set("/a.png?v=2", Reply::fresh(picture()));
    for target in ["/b.png?w=24&fm=webp", "/a.png?v=2&w=24&fm=webp"] {
        let answer = edge.get(target);
        answer.expect_miss(&first.body);
        assert_eq!(answer.strong_tag(), first.strong_tag());
    }
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn other_bytes_make_another_variant() {
    let origin = Origin::with(TARGET, brief(picture()));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    origin.set(TARGET, Reply::fresh(another()));
    let second = edge.get_past_freshness(VARIANT);
    assert_ne!(second.strong_tag(), first.strong_tag());
    let expected = Image::sample(48, 32).turned(2).resized(24, 16);
    assert!(second.picture().still().distance(&expected) < 7.0);
    assert_eq!(edge.transforms("made"), 2.0);
}

#[test]
fn a_variant_is_found_on_the_ssd_after_a_restart() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let setup = setup(&origin).with_ssd();
    let edge = setup.start();
    let first = edge.get(VARIANT);
    edge.wait_for_ssd_writes(2.0);
    assert!(edge.terminate().success());
    let edge = setup.start();
    let hit = edge.get(VARIANT);
    hit.expect_hit(&first.body);
    assert_eq!(hit.strong_tag(), first.strong_tag());
    assert_eq!(edge.transforms("made"), 0.0);
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn a_stale_source_serves_its_old_variant_while_one_request_refreshes_it() {
    let control = "max-age=1, stale-while-revalidate=600";
    let origin = Origin::with(TARGET, Reply::of(picture()).header("cache-control", control));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    let gate = Gate::closed();
    origin.set(TARGET, Reply::fresh(another()).header_held_by(&gate));
    let stale = edge.get_past_freshness(VARIANT);
    stale.expect(200, &first.body);
    assert!(stale.cache_status().is_stale(), "{stale:?}");
    gate.wait_for_held(1);
    edge.get(VARIANT).expect(200, &first.body);
    gate.open();
    let fresh = eventually("the source is refreshed", || {
        Some(edge.get(VARIANT)).filter(|answer| answer.strong_tag() != first.strong_tag())
    });
    fresh.picture();
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn a_source_that_is_away_is_stood_in_for_by_its_stale_variant() {
    let control = "max-age=1, stale-if-error=600";
    let origin = Origin::with(TARGET, Reply::of(picture()).header("cache-control", control));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    origin.set(TARGET, Reply::of("sorry").status(503));
    edge.get_past_freshness(VARIANT).expect(200, &first.body);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn a_range_is_of_the_variants_bytes_whether_it_was_there_or_not() {
    let reply = Reply::fresh(picture()).header("etag", "\"source\"");
    let origin = Origin::with(TARGET, reply);
    let edge = setup(&origin).start();
    let cold = edge.get_with(VARIANT, &[("Range", "bytes=10-19")]);
    let whole = edge.get(VARIANT);
    whole.picture();
    let length = whole.body.len();
    cold.expect(206, &whole.body[10..20]);
    assert_eq!(cold.said("content-range"), format!("bytes 10-19/{length}"));
    assert_eq!(cold.said("content-type"), "image/webp");
    let last = edge.get_with(VARIANT, &[("Range", "bytes=-5")]);
    last.expect(206, &whole.body[length - 5..]);
    let beyond = edge.get_with(VARIANT, &[("Range", &format!("bytes={length}-"))]);
    assert_eq!(beyond.status, 416, "{beyond:?}");
    assert_eq!(beyond.said("content-range"), format!("bytes */{length}"));
    assert!(!origin.last(TARGET).has("range"));
    assert_eq!(origin.count(TARGET), 1);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn if_range_holds_for_the_variants_own_tag_alone() {
    let (_origin, edge, first) = stored();
    let part = |tag: &str| edge.get_with(VARIANT, &[("Range", "bytes=0-9"), ("If-Range", tag)]);
    part(first.strong_tag()).expect(206, &first.body[..10]);
    part("\"source\"").expect(200, &first.body);
    part("\"other\"").expect(200, &first.body);
    part(&format!("W/{}", first.strong_tag())).expect(200, &first.body);
}

/// Of one source, at one date, there are variants by encoder and by what a client accepts.
#[test]
fn no_date_is_a_variants_validator() {
    let date = "Tue, 01 Jul 2025 10:00:00 GMT";
    let origin = Origin::with(TARGET, Reply::fresh(picture()).header("last-modified", date));
    let edge = setup(&origin).start();
    let first = edge.get(VARIANT);
    assert!(!first.has("last-modified"), "{first:?}");
    assert_eq!(edge.get(TARGET).said("last-modified"), date);
    let part = edge.get_with(VARIANT, &[("Range", "bytes=0-9"), ("If-Range", date)]);
    part.expect(200, &first.body);
    // Neither the source's date of change nor the date of its answer.
    for since in [date, first.said("date"), "Fri, 01 Jan 2100 00:00:00 GMT"] {
        let answer = edge.get_with(VARIANT, &[("If-Modified-Since", since)]);
        answer.expect(200, &first.body);
        let source = edge.get_with(TARGET, &[("If-Modified-Since", since)]);
        assert_eq!(source.status, 304, "{since}: {source:?}");
    }
}

#[test]
fn several_ranges_of_a_stored_variant_are_parts() {
    let (_origin, edge, first) = stored();
    let parts = edge.get_with(VARIANT, &[("Range", "bytes=0-3,8-11")]);
    assert_eq!(parts.status, 206, "{parts:?}");
    let media_type = parts.said("content-type");
    assert!(media_type.starts_with("multipart/byteranges"), "{media_type}");
    for range in [0..4, 8..12] {
        let (start, end) = (range.start, range.end - 1);
        let mut part =
            format!("content-range: bytes {start}-{end}/{}\r\n\r\n", first.body.len()).into_bytes();
        part.extend_from_slice(&first.body[range]);
        let body = parts.body.to_ascii_lowercase();
        let part = part.to_ascii_lowercase();
        assert!(body.windows(part.len()).any(|bytes| bytes == part), "{parts:?}");
    }
}

#[test]
fn a_client_that_has_the_variant_is_told_so_by_its_own_tag_alone() {
    let (origin, edge, first) = stored();
    let tag = first.strong_tag();
    for (said, status) in [
        (tag.to_owned(), 304),
        (format!("\"x\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"source\"".to_owned(), 200),
        ("\"x\"".to_owned(), 200),
    ] {
        let answer = edge.get_with(VARIANT, &[("If-None-Match", &said)]);
        assert_eq!(answer.status, status, "{said}: {answer:?}");
        assert_eq!(answer.strong_tag(), tag);
    }
    let source = edge.get_with(TARGET, &[("If-None-Match", tag)]);
    source.expect(200, &picture());
    assert_eq!(origin.count(TARGET), 1);
}

/// The tag is no business of the origin's: it would not know it, or mean other bytes by it.
#[test]
fn a_condition_on_a_variant_never_reaches_the_origin() {
    let (_other_origin, _other_edge, first) = stored();
    let reply = Reply::fresh(picture()).header("etag", "\"source\"");
    let origin = Origin::with(TARGET, reply);
    let edge = setup(&origin).start();
    let known = edge.get_with(VARIANT, &[("If-None-Match", first.strong_tag())]);
    assert_eq!(known.status, 304, "{known:?}");
    assert!(!origin.last(TARGET).has("if-none-match"));
    let edge = setup(&origin).start();
    let unknown = edge.get_with(VARIANT, &[("If-None-Match", "\"source\"")]);
    unknown.expect(200, &first.body);
    assert!(!origin.last(TARGET).has("if-none-match"));
}

#[test]
fn head_says_of_a_variant_what_get_says() {
    for warm in [true, false] {
        let origin = Origin::with(TARGET, Reply::fresh(picture()));
        let edge = setup(&origin).start();
        if warm {
            edge.get(VARIANT).picture();
        }
        let head = request(edge.address(), "HEAD", VARIANT, &[]);
        head.expect(200, b"");
        let get = edge.get(VARIANT);
        get.picture();
        for name in ["content-type", "content-length", "etag", "cache-control"] {
            assert_eq!(head.said(name), get.said(name), "{name}, warm: {warm}");
        }
        assert_eq!(edge.transforms("made"), 1.0);
    }
}

#[test]
fn a_private_image_is_transformed_and_stored_nowhere() {
    for control in ["private, max-age=600", "no-store"] {
        let origin = Origin::with(TARGET, Reply::of(picture()).header("cache-control", control));
        let edge = setup(&origin).start();
        for _ in 0..3 {
            let answer = edge.get(VARIANT);
            assert_eq!(answer.picture().size(), (24, 16), "{control}");
            assert_eq!(answer.picture().kind, Kind::Webp);
            assert_eq!(answer.said("cache-control"), control);
            assert!(
                !answer.cache_status().has("stored") && !answer.is_hit(),
                "{answer:?}"
            );
        }
        assert_eq!(origin.count(TARGET), 3, "{control}");
        edge.wait_for_fills();
        for kind in ["entries", "blobs"] {
            let stored = edge.metric(&format!("aquatint_memory_objects{{kind=\"{kind}\"}}"));
            assert_eq!(stored, 0.0, "{kind} with {control}");
        }
    }
}

/// Who may not share the answer may not share its variant either.
#[test]
fn a_private_image_of_one_client_is_not_anothers() {
    let origin = Origin::start();
    origin.set_with(TARGET, |asked, _| {
        let body = match asked.header("authorization") {
            Some("Basic ZXZl") => picture(),
            _ => another(),
        };
        Reply::of(body).header("cache-control", "private")
    });
    let edge = setup(&origin).start();
    for _ in 0..2 {
        let eves = edge.get_with(VARIANT, &[("Authorization", "Basic ZXZl")]);
        let bobs = edge.get_with(VARIANT, &[("Authorization", "Basic Ym9i")]);
        let sample = Image::sample(48, 32);
        assert!(eves.picture().still().distance(&sample.resized(24, 16)) < 7.0);
        assert!(bobs.picture().still().distance(&sample.turned(2).resized(24, 16)) < 7.0);
    }
}

#[test]
fn what_is_no_200_passes_untouched() {
    let origin = Origin::start();
    let picture = picture();
    for status in [404, 403, 410, 500] {
        let reply = Reply::of(picture.clone()).status(status);
        origin.set(TARGET, reply);
        let edge = setup(&origin).start();
        for _ in 0..2 {
            let answer = edge.get(VARIANT);
            answer.expect(status, &picture);
            assert_eq!(answer.said("content-type"), "image/png");
        }
        assert_eq!(edge.transforms("made") + edge.transforms("failed"), 0.0);
    }
}

#[test]
fn a_route_that_stores_nothing_transforms_all_the_same() {
    let origin = Origin::with(TARGET, Reply::fresh(picture()));
    let edge = setup(&origin).route("cache", "false").start();
    for _ in 0..2 {
        assert_eq!(edge.get(VARIANT).picture().size(), (24, 16));
    }
    assert_eq!(origin.count(TARGET), 2);
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"entries\"}"), 0.0);
}

#[test]
fn a_clients_no_cache_asks_for_the_source_and_encodes_nothing() {
    let (origin, edge, first) = stored();
    let answer = edge.get_with(VARIANT, &[("Cache-Control", "no-cache")]);
    answer.expect(200, &first.body);
    assert_eq!(answer.cache_status().forwarded(), Some("request"), "{answer:?}");
    assert_eq!(origin.count(TARGET), 2);
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn bytes_that_a_variant_saves_are_counted() {
    let noise = crate::support::picture(3, 96 * 96 * 3);
    let png = Kind::Png.encode(&Image::of_rgb(96, 96, &noise));
    let length = png.len();
    let origin = Origin::with(TARGET, Reply::fresh(png));
    let edge = setup(&origin).start();
    let answer = edge.get(VARIANT);
    let saved = edge.metric("aquatint_transform_saved_bytes_total");
    assert_eq!(saved, (length - answer.body.len()) as f64);
    assert!(edge.metric("aquatint_transform_stage_seconds_count{stage=\"encode\"}") >= 1.0);
}

#[test]
fn a_source_that_breaks_off_is_no_variant() {
    let body = picture();
    let origin = Origin::with(TARGET, Reply::fresh(body.clone()).cut_after(body.len() / 2));
    let edge = setup(&origin).start();
    let mut client = crate::support::Client::connect(edge.address());
    let broken = client.send_request("GET", VARIANT, &[]).try_answer_to("GET");
    assert!(broken.is_err() || broken.is_ok_and(|answer| answer.status >= 500));
    origin.set(TARGET, Reply::fresh(body));
    let answer = eventually("the origin is well again", || {
        Some(edge.get(VARIANT)).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.picture().size(), (24, 16));
}
