//! Parts of an image: from a stored one, and from one that has still to be fetched.

use crate::support::{Answer, Edge, Origin, Reply, Setup, picture, request};

const LENGTH: usize = 10_000;
const ETAG: &str = "\"v1\"";
const DATE: &str = "Tue, 01 Jul 2025 10:00:00 GMT";

/// An origin with one image of [`LENGTH`] bytes, and an edge that has it.
fn stored() -> (Origin, Edge, Vec<u8>) {
    let body = picture(30, LENGTH);
    let reply = Reply::fresh(body.clone())
        .header("etag", ETAG)
        .header("last-modified", DATE);
    let origin = Origin::with("/a.png", reply);
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(&body);
    (origin, edge, body)
}

fn range(edge: &Edge, range: &str) -> Answer {
    edge.get_with("/a.png", &[("Range", range)])
}

#[test]
fn a_single_range_is_those_bytes() {
    let (origin, edge, body) = stored();
    for (asked, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=9900-", 9900, 9999),
        ("bytes=-100", 9900, 9999),
        ("bytes=-20000", 0, 9999),
        ("bytes=9990-20000", 9990, 9999),
        ("bytes=0-18446744073709551615", 0, 9999),
    ] {
        let answer = range(&edge, asked);
        answer.expect(206, &body[from..=to]);
        assert_eq!(
            answer.said("content-range"),
            format!("bytes {from}-{to}/{LENGTH}"),
            "{asked}"
        );
        assert_eq!(answer.said("content-type"), "image/png");
        assert_eq!(answer.said("etag"), ETAG);
        assert!(answer.is_hit(), "{asked}: {answer:?}");
    }
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn several_ranges_are_the_parts_of_a_multipart_body() {
    let (_origin, edge, body) = stored();
    let answer = range(&edge, "bytes=0-9, 5000-5099, -10");
    assert_eq!(answer.status, 206, "{answer:?}");
    let boundary = answer
        .said("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let boundary = boundary.trim_matches('"').to_owned();
    let parts = multipart(&answer.body, &boundary);
    let expected = [(0, 9), (5000, 5099), (9990, 9999)];
    assert_eq!(parts.len(), expected.len());
    for ((header, bytes), (from, to)) in parts.iter().zip(expected) {
        assert!(*bytes == body[from..=to]);
        let header = header.to_ascii_lowercase();
        assert!(
            header.contains(&format!("content-range: bytes {from}-{to}/{LENGTH}")),
            "{header}"
        );
        assert!(header.contains("content-type: image/png"), "{header}");
    }
}

/// Header and bytes of each part, RFC 2046 5.1.1.
fn multipart(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let delimiter = format!("--{boundary}").into_bytes();
    let find = |from: usize, needle: &[u8]| {
        let found = body[from..]
            .windows(needle.len())
            .position(|window| window == needle);
        found.map(|position| from + position)
    };
    let mut parts = Vec::new();
    let mut at = find(0, &delimiter).unwrap() + delimiter.len();
    while !body[at..].starts_with(b"--") {
        let header_end = find(at, b"\r\n\r\n").unwrap();
        let next = find(header_end, &delimiter).unwrap();
        let header = String::from_utf8(body[at + 2..header_end].to_vec()).unwrap();
        parts.push((header, body[header_end + 4..next - 2].to_vec()));
        at = next + delimiter.len();
    }
    parts
}

#[test]
fn a_range_beyond_the_end_is_416_and_says_the_length() {
    let (_origin, edge, _) = stored();
    for asked in ["bytes=10000-", "bytes=20000-30000", "bytes=-0"] {
        let answer = range(&edge, asked);
        assert_eq!(answer.status, 416, "{asked}: {answer:?}");
        assert_eq!(
            answer.said("content-range"),
            format!("bytes */{LENGTH}"),
            "{asked}"
        );
    }
}

#[test]
fn a_range_that_makes_no_sense_is_ignored() {
    let (_origin, edge, body) = stored();
    for asked in [
        "bytes=5-2",
        "bytes=a-b",
        "bytes=",
        "bytes=-",
        "bytes=1",
        "lines=0-9",
        "bytes 0-9",
        "bytes=0x1-9",
        "bytes=+1-9",
        "bytes=99999999999999999999999-999999999999999999999999",
    ] {
        let answer = range(&edge, asked);
        // A number beyond every length may be read as beyond the end.
        if answer.status != 416 || !asked.contains("99999") {
            answer.expect(200, &body);
        }
    }
}

#[test]
fn more_ranges_than_allowed_are_answered_with_the_whole() {
    let body = picture(31, LENGTH);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Setup::of(&origin).edge("ranges_max", "3").start();
    edge.get("/a.png").expect_miss(&body);
    range(&edge, "bytes=0-0,10-10,20-20,30-30").expect(200, &body);
    assert_eq!(range(&edge, "bytes=0-0,10-10,20-20").status, 206);
}

#[test]
fn many_overlapping_ranges_never_make_an_answer_longer_than_the_image() {
    let (_origin, edge, body) = stored();
    let asked = format!("bytes={}", vec!["0-"; 16].join(","));
    let answer = range(&edge, &asked);
    assert!(answer.body.len() <= body.len() + 1000, "{answer:?}");
}

#[test]
fn a_range_on_a_miss_fetches_the_whole_once() {
    let body = picture(32, LENGTH);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    let answer = range(&edge, "bytes=100-199");
    answer.expect(206, &body[100..200]);
    assert!(!answer.is_hit());
    assert!(
        !origin.last("/a.png").has("range"),
        "a part must not be mistaken for the whole"
    );
    edge.wait_for_fills();
    edge.get("/a.png").expect_hit(&body);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn a_partial_response_nobody_asked_for_is_not_stored_as_the_whole() {
    let origin = Origin::start();
    let part = Reply::fresh("part")
        .status(206)
        .header("content-range", "bytes 0-3/100");
    origin.set("/a.png", part);
    let edge = Edge::before(&origin);
    edge.get("/a.png");
    origin.set("/a.png", Reply::fresh("the whole"));
    edge.get("/a.png").expect_miss(b"the whole");
}

#[test]
fn if_range_sends_the_part_only_of_the_same_image() {
    let (_origin, edge, body) = stored();
    let asked =
        |condition: &str| edge.get_with("/a.png", &[("Range", "bytes=0-99"), ("If-Range", condition)]);
    asked(ETAG).expect(206, &body[..100]);
    asked(DATE).expect(206, &body[..100]);
    asked("\"v0\"").expect(200, &body);
    asked("W/\"v1\"").expect(200, &body);
    asked("Tue, 01 Jul 2025 09:59:59 GMT").expect(200, &body);
    asked("nonsense").expect(200, &body);
}

#[test]
fn a_range_of_a_head_is_ignored() {
    let (_origin, edge, _) = stored();
    let head = request(edge.address(), "HEAD", "/a.png", &[("Range", "bytes=0-9")]);
    head.expect(200, b"");
    assert_eq!(head.said("content-length"), LENGTH.to_string());
}

#[test]
fn an_answer_that_can_be_ranged_says_so() {
    let (_origin, edge, _) = stored();
    assert_eq!(edge.get("/a.png").said("accept-ranges"), "bytes");
}
