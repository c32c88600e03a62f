//! Parts of an image as they are asked of the origin, stored, served and completed (RFC 9111 sections 3.3 and 3.4, RFC
//! 9110 section 15.3.7).

use crate::support::origin::Asked;
use crate::support::{Answer, Client, Edge, Gate, Origin, Reply, Setup, eventually, picture};

const TARGET: &str = "/a.png";
const LENGTH: usize = 100;
const ETAG: &str = "\"v1\"";

/// One image that can be asked for in parts.
#[derive(Clone)]
struct Parted {
    whole: Vec<u8>,
    /// A validator: its name and value.
    validator: (&'static str, &'static str),
    heeds_if_range: bool,
}

impl Parted {
    fn new(seed: u64, etag: &'static str) -> Parted {
        Parted::of_length(LENGTH, seed, etag)
    }

    fn of_length(length: usize, seed: u64, etag: &'static str) -> Parted {
        Parted {
            whole: picture(seed, length),
            validator: ("etag", etag),
            heeds_if_range: true,
        }
    }

    fn put_on(&self, origin: &Origin) {
        let parted = self.clone();
        origin.set_with(TARGET, move |asked, _| parted.reply(asked));
    }

    fn reply(&self, asked: &Asked) -> Reply {
        let (name, value) = self.validator;
        let wanted = asked
            .header("if-range")
            .is_none_or(|tag| tag == value || !self.heeds_if_range);
        match asked.header("range").filter(|_| wanted) {
            Some(range) => {
                let (first, last) = bounds(range, self.whole.len());
                self.part(first, last)
            }
            None => Reply::fresh(self.whole.clone()).header(name, value),
        }
    }

    fn part(&self, first: usize, last: usize) -> Reply {
        let (name, value) = self.validator;
        Reply::fresh(&self.whole[first..=last])
            .status(206)
            .header(name, value)
            .header(
                "content-range",
                &format!("bytes {first}-{last}/{}", self.whole.len()),
            )
    }
}

/// First and last byte of a `Range` with one range, of an image of that length.
fn bounds(range: &str, length: usize) -> (usize, usize) {
    let spec = range.strip_prefix("bytes=").unwrap();
    match spec.split_once('-').unwrap() {
        ("", suffix) => (length - suffix.parse::<usize>().unwrap(), length - 1),
        (first, "") => (first.parse().unwrap(), length - 1),
        (first, last) => (first.parse().unwrap(), last.parse().unwrap()),
    }
}

/// An edge that asks the origin for the range a client asked for.
fn forwarding(image: &Parted) -> (Origin, Edge) {
    let origin = Origin::start();
    image.put_on(&origin);
    let edge = Setup::of(&origin).route("ranges", "forward").start();
    (origin, edge)
}

#[track_caller]
fn range(edge: &Edge, range: &str) -> Answer {
    edge.get_with(TARGET, &[("Range", range)])
}

#[test]
fn a_range_reaches_the_origin_and_is_stored() {
    let image = Parted::new(1, ETAG);
    let (origin, edge) = forwarding(&image);
    let answer = range(&edge, "bytes=10-19");
    answer.expect(206, &image.whole[10..20]);
    assert_eq!(origin.last(TARGET).header("range"), Some("bytes=10-19"));
    let hit = range(&edge, "bytes=10-19");
    hit.expect(206, &image.whole[10..20]);
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!(hit.said("content-range"), "bytes 10-19/100");
    assert_eq!(hit.said("etag"), ETAG);
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn a_range_within_a_stored_part_is_served_from_it() {
    let image = Parted::new(2, ETAG);
    let (origin, edge) = forwarding(&image);
    range(&edge, "bytes=-50").expect(206, &image.whole[50..]);
    for (asked, first, last) in [
        ("bytes=60-69", 60, 69),
        ("bytes=90-", 90, 99),
        ("bytes=-1", 99, 99),
        ("bytes=50-500", 50, 99),
    ] {
        let answer = range(&edge, asked);
        answer.expect(206, &image.whole[first..=last]);
        assert!(answer.is_hit(), "{asked}: {answer:?}");
        assert_eq!(
            answer.said("content-range"),
            format!("bytes {first}-{last}/{LENGTH}")
        );
    }
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn a_range_that_is_not_stored_is_asked_of_the_origin() {
    let image = Parted::new(3, ETAG);
    let (origin, edge) = forwarding(&image);
    range(&edge, "bytes=0-19").expect(206, &image.whole[..20]);
    for (asked, first, last) in [("bytes=60-69", 60, 69), ("bytes=10-29", 10, 29)] {
        let answer = range(&edge, asked);
        answer.expect(206, &image.whole[first..=last]);
        assert!(!answer.is_hit(), "{asked}: {answer:?}");
    }
    assert_eq!(origin.count(TARGET), 3);
}

#[test]
fn adjoining_parts_become_one() {
    let image = Parted::new(4, ETAG);
    let (origin, edge) = forwarding(&image);
    range(&edge, "bytes=20-39").expect(206, &image.whole[20..40]);
    range(&edge, "bytes=40-59").expect(206, &image.whole[40..60]);
    let hit = range(&edge, "bytes=30-49");
    hit.expect(206, &image.whole[30..50]);
    assert!(hit.is_hit(), "{hit:?}");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn a_gap_between_parts_is_never_bridged() {
    let image = Parted::new(5, ETAG);
    let (_origin, edge) = forwarding(&image);
    range(&edge, "bytes=0-9").expect(206, &image.whole[..10]);
    range(&edge, "bytes=20-29").expect(206, &image.whole[20..30]);
    range(&edge, "bytes=5-24").expect(206, &image.whole[5..25]);
    edge.get(TARGET).expect(200, &image.whole);
}

#[test]
fn the_whole_is_asked_for_by_its_missing_rest_alone() {
    for (stored, missing) in [("bytes=0-49", (50, 99)), ("bytes=-50", (0, 49))] {
        let image = Parted::new(6, ETAG);
        let (origin, edge) = forwarding(&image);
        assert_eq!(range(&edge, stored).status, 206);
        let answer = edge.get(TARGET);
        answer.expect(200, &image.whole);
        assert_eq!(answer.cache_status().forwarded(), Some("partial"), "{answer:?}");
        let asked = origin.last(TARGET);
        let asked_range = asked.header("range").map(|range| bounds(range, LENGTH));
        assert_eq!(asked_range, Some(missing), "{asked:?}");
        assert_eq!(asked.header("if-range"), Some(ETAG));
        assert!(!answer.has("content-range"), "the whole is no part: {answer:?}");
        edge.get(TARGET).expect_hit(&image.whole);
        assert_eq!(origin.count(TARGET), 2);
    }
}

#[test]
fn an_image_that_changed_in_between_is_fetched_whole() {
    let (old, new) = (Parted::new(7, ETAG), Parted::new(8, "\"v2\""));
    let (origin, edge) = forwarding(&old);
    range(&edge, "bytes=0-49").expect(206, &old.whole[..50]);
    new.put_on(&origin);
    edge.get(TARGET).expect(200, &new.whole);
    edge.get(TARGET).expect_hit(&new.whole);
}

#[test]
fn bytes_of_two_images_are_never_mixed_though_the_origin_ignores_if_range() {
    let mut new = Parted::new(10, "\"v2\"");
    new.heeds_if_range = false;
    let old = Parted::new(9, ETAG);
    let (origin, edge) = forwarding(&old);
    range(&edge, "bytes=0-49").expect(206, &old.whole[..50]);
    new.put_on(&origin);
    for _ in 0..2 {
        let answer = edge.get(TARGET);
        assert!(answer.status != 200 || answer.body == new.whole, "{answer:?}");
    }
    edge.get(TARGET).expect(200, &new.whole);
}

/// RFC 9111 section 3.4 and RFC 9110 section 13.1.5: a weak validator does not say that bytes are the same.
#[test]
fn without_a_strong_validator_nothing_is_joined() {
    for validator in [("etag", "W/\"v1\""), ("x-none", "1")] {
        let (mut old, mut new) = (Parted::new(11, ETAG), Parted::new(12, ETAG));
        (old.validator, new.validator) = (validator, validator);
        let (origin, edge) = forwarding(&old);
        range(&edge, "bytes=0-49").expect(206, &old.whole[..50]);
        new.put_on(&origin);
        edge.get(TARGET).expect(200, &new.whole);
        assert!(!origin.last(TARGET).has("range"), "{validator:?}");
    }
}

#[test]
fn a_content_range_that_lies_is_not_stored() {
    let image = Parted::new(13, ETAG);
    let lies = [
        "bytes 10-20/100",
        "bytes 10-18/100",
        "bytes 19-10/100",
        "bytes 10-19/15",
        "items 10-19/100",
        "nonsense",
    ];
    for lie in lies {
        let (origin, edge) = forwarding(&image);
        origin.set(TARGET, image.part(10, 19).header("content-range", lie));
        range(&edge, "bytes=10-19");
        image.put_on(&origin);
        let answer = range(&edge, "bytes=10-19");
        answer.expect(206, &image.whole[10..20]);
        assert!(!answer.is_hit(), "{lie}: {answer:?}");
        edge.get(TARGET).expect(200, &image.whole);
    }
}

#[test]
fn a_part_that_was_cut_short_is_not_stored() {
    let image = Parted::new(14, ETAG);
    let (origin, edge) = forwarding(&image);
    origin.set(TARGET, image.part(0, 49).cut_after(20));
    let mut client = Client::connect(edge.address());
    client.send_request("GET", TARGET, &[("Range", "bytes=0-49")]);
    if let Ok(answer) = client.try_answer_to("GET") {
        assert_eq!(answer.status, 502, "it looks whole: {answer:?}");
    }
    edge.wait_for_fills();
    image.put_on(&origin);
    let answer = range(&edge, "bytes=0-49");
    answer.expect(206, &image.whole[..50]);
    assert!(!answer.is_hit(), "{answer:?}");
}

#[test]
fn a_part_is_stored_only_where_the_whole_might_be() {
    for control in ["no-store", "private", "max-age=0"] {
        let image = Parted::new(15, ETAG);
        let (origin, edge) = forwarding(&image);
        origin.set(TARGET, image.part(0, 49).header("cache-control", control));
        for _ in 0..2 {
            let answer = range(&edge, "bytes=0-49");
            answer.expect(206, &image.whole[..50]);
            assert!(!answer.is_hit(), "{control}: {answer:?}");
        }
        assert_eq!(origin.count(TARGET), 2, "{control}");
    }
}

#[test]
fn a_whole_that_came_in_place_of_a_range_is_stored_and_the_range_served() {
    let body = picture(16, LENGTH);
    let origin = Origin::with(TARGET, Reply::fresh(body.clone()).header("etag", ETAG));
    let edge = Setup::of(&origin).route("ranges", "forward").start();
    range(&edge, "bytes=10-19").expect(206, &body[10..20]);
    edge.wait_for_fills();
    edge.get(TARGET).expect_hit(&body);
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn by_default_a_range_fetches_the_whole_which_answers_everything_after() {
    let image = Parted::new(17, ETAG);
    let origin = Origin::start();
    image.put_on(&origin);
    let edge = Edge::before(&origin);
    range(&edge, "bytes=10-19").expect(206, &image.whole[10..20]);
    assert!(!origin.last(TARGET).has("range"));
    edge.wait_for_fills();
    edge.get(TARGET).expect_hit(&image.whole);
    assert!(range(&edge, "bytes=-7").is_hit());
    assert_eq!(origin.count(TARGET), 1);
}

#[test]
fn parts_that_are_too_large_together_are_not_joined() {
    let image = Parted::of_length(1500, 18, ETAG);
    let origin = Origin::start();
    image.put_on(&origin);
    let edge = Setup::of(&origin)
        .route("ranges", "forward")
        .route("object_bytes_max", "1KiB")
        .start();
    range(&edge, "bytes=0-799").expect(206, &image.whole[..800]);
    range(&edge, "bytes=800-1499").expect(206, &image.whole[800..]);
    let across = range(&edge, "bytes=700-899");
    across.expect(206, &image.whole[700..900]);
    assert!(!across.is_hit(), "{across:?}");
    for _ in 0..2 {
        let answer = edge.get(TARGET);
        answer.expect_fetched(&image.whole);
        assert!(!answer.cache_status().has("stored"), "{answer:?}");
        edge.wait_for_fills();
    }
    for (asked, first, last) in [("bytes=0-799", 0, 799), ("bytes=800-1499", 800, 1499)] {
        range(&edge, asked).expect(206, &image.whole[first..=last]);
    }
}

#[test]
fn a_small_part_behind_a_gap_does_not_replace_a_larger_one() {
    let image = Parted::new(19, ETAG);
    let (origin, edge) = forwarding(&image);
    range(&edge, "bytes=0-49").expect(206, &image.whole[..50]);
    range(&edge, "bytes=80-89").expect(206, &image.whole[80..90]);
    edge.wait_for_fills();
    let larger = range(&edge, "bytes=0-49");
    larger.expect(206, &image.whole[..50]);
    assert!(larger.is_hit(), "{larger:?}");
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn a_part_that_comes_after_the_whole_does_not_replace_it() {
    let (gate, image) = (Gate::closed(), Parted::new(20, ETAG));
    let (origin, edge) = forwarding(&image);
    let (held, parted) = (gate.clone(), image.clone());
    origin.set_with(TARGET, move |asked, _| {
        let reply = parted.reply(asked);
        if asked.has("range") {
            reply.body_held_by(&held, 5)
        } else {
            reply
        }
    });
    let mut client = Client::connect(edge.address());
    client.send_request("GET", TARGET, &[("Range", "bytes=10-19")]);
    gate.wait_for_held(1);
    edge.get(TARGET).expect(200, &image.whole);
    edge.get(TARGET).expect_hit(&image.whole);
    gate.open();
    client.answer().expect(206, &image.whole[10..20]);
    edge.wait_for_fills();
    edge.get(TARGET).expect_hit(&image.whole);
    assert_eq!(origin.count(TARGET), 2);
}

#[test]
fn what_has_just_come_is_worth_more_than_a_larger_part_that_is_stale() {
    let image = Parted::new(21, ETAG);
    let (origin, edge) = forwarding(&image);
    origin.set(TARGET, image.part(0, 49).header("cache-control", "max-age=1"));
    range(&edge, "bytes=0-49").expect(206, &image.whole[..50]);
    image.put_on(&origin);
    eventually("the part is stale", || {
        (!range(&edge, "bytes=10-19").is_hit()).then_some(())
    });
    edge.wait_for_fills();
    let hit = range(&edge, "bytes=10-19");
    hit.expect(206, &image.whole[10..20]);
    assert!(hit.is_hit(), "{hit:?}");
}
