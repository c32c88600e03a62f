//! What may not be kept for others: by the origin's word, or because it belongs to one client.

use crate::support::{Answer, Edge, Origin, Reply};

/// Two answers to the same request; the origin's are told apart by their number.
fn twice(headers: &[(&'static str, &'static str)], asked: &[(&str, &str)]) -> (Answer, Answer, usize) {
    let origin = Origin::start();
    let headers = headers.to_vec();
    origin.set_with("/a.png", move |_, nth| {
        let plain = Reply::fresh(format!("image {nth}"));
        headers
            .iter()
            .fold(plain, |reply, (name, value)| reply.header(name, value))
    });
    let edge = Edge::before(&origin);
    let (first, second) = (edge.get_with("/a.png", asked), edge.get_with("/a.png", asked));
    (first, second, origin.count("/a.png"))
}

#[track_caller]
fn is_not_stored(headers: &[(&'static str, &'static str)], asked: &[(&str, &str)]) {
    let (first, second, count) = twice(headers, asked);
    first.expect(200, b"image 1");
    second.expect(200, b"image 2");
    assert!(
        !first.cache_status().has("stored") && !second.is_hit(),
        "{first:?}\n{second:?}"
    );
    assert_eq!(count, 2);
}

#[track_caller]
fn is_stored(headers: &[(&'static str, &'static str)], asked: &[(&str, &str)]) {
    let (first, second, count) = twice(headers, asked);
    first.expect(200, b"image 1");
    second.expect_hit(b"image 1");
    assert_eq!(count, 1);
}

#[test]
fn no_store_and_private_are_not_kept_however_they_are_written() {
    for control in [
        "no-store",
        "max-age=60, no-store",
        "NO-STORE",
        "private",
        "max-age=60 , Private",
    ] {
        is_not_stored(&[("cache-control", control)], &[]);
    }
}

#[test]
fn an_authorized_answer_is_kept_only_where_the_origin_says_it_is_everyones() {
    let authorized = [("Authorization", "Basic YTpi")];
    is_not_stored(&[], &authorized);
    is_stored(&[("cache-control", "public, max-age=60")], &authorized);
    is_stored(&[("cache-control", "s-maxage=60")], &authorized);
}

#[test]
fn an_answer_that_sets_a_cookie_is_its_clients() {
    is_not_stored(&[("set-cookie", "session=1")], &[]);
}

#[test]
fn an_answer_that_varies_by_what_is_not_keyed_is_not_kept() {
    is_not_stored(&[("vary", "User-Agent")], &[]);
    is_not_stored(&[("vary", "*")], &[]);
    is_not_stored(&[("vary", "Accept-Encoding, Cookie")], &[]);
    is_stored(&[("vary", "Accept-Encoding")], &[]);
}

#[test]
fn the_reason_is_told_where_an_image_was_not_kept() {
    let (answer, ..) = twice(&[("cache-control", "no-store")], &[]);
    assert!(answer.cache_status().has("detail"), "{answer:?}");
}
