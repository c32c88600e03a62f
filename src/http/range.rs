//! Byte ranges: reading `Range`, and writing one part or several (RFC 9110 section 14).
//!
//! Invariant: ranges that come out lie within the length, do not touch each other, and are at most as many as were
//! allowed, so that an answer is never longer than the whole plus its preambles. It does not know bodies.

use super::field::decimal;
use bytes::Bytes;
use http::HeaderValue;
use std::ops::RangeInclusive;

/// What a `Range` asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Nothing that could be understood: the whole (RFC 9110 section 14.2).
    Whole,
    /// At least one, in the order asked for.
    Some(Vec<RangeInclusive<u64>>),
    /// 416.
    Unsatisfiable,
}

/// One `range-spec`.
enum Spec {
    /// Up to the end, or to a last position.
    From(u64, Option<u64>),
    /// So many last bytes.
    Suffix(u64),
}

/// Reads `value` for a representation of `length` bytes. Another unit, a malformed set and more than `ranges_max`
/// specs are ignored; ranges that overlap or touch become one, at the place of the first.
pub fn parse(value: &HeaderValue, length: u64, ranges_max: usize) -> Ranges {
    let Some(specs) = specs(value.as_bytes(), ranges_max) else {
        return Ranges::Whole;
    };
    if length == 0 && specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) {
        // Satisfiable by section 14.1.2, but no Content-Range can name the last bytes of nothing.
        return Ranges::Whole;
    }
    let mut ranges = Vec::with_capacity(specs.len());
    for range in specs.iter().filter_map(|spec| spec.within(length)) {
        add(&mut ranges, range);
    }
    match ranges.is_empty() {
        true => Ranges::Unsatisfiable,
        false => Ranges::Some(ranges),
    }
}

/// Whether `value` is well-formed and asks for one range of bytes.
pub fn is_one_range(value: &HeaderValue) -> bool {
    specs(value.as_bytes(), 1).is_some_and(|specs| specs.len() == 1)
}

/// `Content-Range` of one part.
pub fn content_range(range: &RangeInclusive<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", range.start(), range.end());
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits and signs are a value")
}

/// `Content-Range` of a 416.
pub fn content_range_unsatisfied(length: u64) -> HeaderValue {
    let text = format!("bytes */{length}");
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("digits and signs are a value")
}

/// How many bytes a range holds.
fn bytes_in(range: &RangeInclusive<u64>) -> u64 {
    range.end() - range.start() + 1
}

/// `None`: the field is to be ignored.
fn specs(value: &[u8], ranges_max: usize) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut specs = Vec::new();
    let members = set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    for member in members.filter(|member| !member.is_empty()) {
        if specs.len() == ranges_max {
            return None;
        }
        specs.push(Spec::parse(member)?);
    }
    (!specs.is_empty()).then_some(specs)
}

impl Spec {
    fn parse(text: &[u8]) -> Option<Self> {
        let dash = text.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&text[..dash], &text[dash + 1..]);
        if first.is_empty() {
            return Some(Spec::Suffix(decimal(last)?));
        }
        let first = decimal(first)?;
        if last.is_empty() {
            return Some(Spec::From(first, None));
        }
        let last = decimal(last)?;
        (first <= last).then_some(Spec::From(first, Some(last)))
    }

    /// `None`: unsatisfiable.
    fn within(&self, length: u64) -> Option<RangeInclusive<u64>> {
        let end = length.checked_sub(1)?;
        match *self {
            Spec::From(first, last) => (first <= end).then(|| first..=last.unwrap_or(end).min(end)),
            Spec::Suffix(bytes) => (bytes > 0).then(|| length.saturating_sub(bytes)..=end),
        }
    }
}

/// Joins `range` with every range it touches; they are few, because specs are. One pass is enough: ranges that are
/// there already do not touch each other, so that growing by one reaches none that was passed.
fn add(ranges: &mut Vec<RangeInclusive<u64>>, range: RangeInclusive<u64>) {
    let (mut start, mut end) = range.into_inner();
    let mut place = ranges.len();
    let mut at = 0;
    while at < ranges.len() {
        let (other_start, other_end) = (*ranges[at].start(), *ranges[at].end());
        if start <= other_end.saturating_add(1) && other_start <= end.saturating_add(1) {
            (start, end) = (start.min(other_start), end.max(other_end));
            ranges.remove(at);
            place = place.min(at);
        } else {
            at += 1;
        }
    }
    ranges.insert(place.min(ranges.len()), start..=end);
}

/// The representation that parts are taken from.
#[derive(Clone, Copy, Debug)]
pub struct Representation<'a> {
    pub length: u64,
    pub content_type: Option<&'a HeaderValue>,
}

/// A `multipart/byteranges` body, all but the bytes of its ranges (RFC 9110 section 14.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multipart {
    boundary: String,
    parts: Vec<Part>,
    closing: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Goes before the range's bytes.
    pub preamble: Bytes,
    pub range: RangeInclusive<u64>,
}

impl Multipart {
    /// `seed` becomes the boundary: unpredictable to who wrote the body, it can not occur in it.
    pub fn new(ranges: &[RangeInclusive<u64>], whole: &Representation<'_>, seed: u128) -> Self {
        let boundary = format!("{seed:032x}");
        let part = |(position, range): (usize, &RangeInclusive<u64>)| Part {
            preamble: preamble(position, &boundary, range, whole),
            range: range.clone(),
        };
        Multipart {
            parts: ranges.iter().enumerate().map(part).collect(),
            closing: format!("\r\n--{boundary}--\r\n").into(),
            boundary,
        }
    }

    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("hexadecimal digits are a value")
    }

    /// Of the whole body, with the bytes of the ranges.
    pub fn content_length(&self) -> u64 {
        let parts = self.parts.iter();
        let length: u64 = parts
            .map(|part| part.preamble.len() as u64 + bytes_in(&part.range))
            .sum();
        length + self.closing.len() as u64
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Goes after the last part.
    pub fn closing(&self) -> &Bytes {
        &self.closing
    }
}

/// The line break before a boundary belongs to it, and the first needs none (RFC 2046 section 5.1.1).
fn preamble(
    position: usize,
    boundary: &str,
    range: &RangeInclusive<u64>,
    whole: &Representation<'_>,
) -> Bytes {
    let mut text = Vec::with_capacity(160);
    if position > 0 {
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
    if let Some(content_type) = whole.content_type {
        text.extend_from_slice(b"Content-Type: ");
        text.extend_from_slice(content_type.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"Content-Range: ");
    text.extend_from_slice(content_range(range, whole.length).as_bytes());
    text.extend_from_slice(b"\r\n\r\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, length: u64) -> Ranges {
        parse(&HeaderValue::from_str(text).unwrap(), length, 8)
    }

    fn some<const N: usize>(ranges: [RangeInclusive<u64>; N]) -> Ranges {
        Ranges::Some(ranges.to_vec())
    }

    /// RFC 9110 section 14.1.2, and section 14.1 for the case of the unit.
    #[test]
    fn one_range_is_cut_to_the_length() {
        assert_eq!(read("bytes=0-0", 100), some([0..=0]));
        assert_eq!(read("BYTES=10-19", 100), some([10..=19]));
        assert_eq!(read("bytes=90-", 100), some([90..=99]));
        assert_eq!(read("bytes=90-1000", 100), some([90..=99]));
        assert_eq!(read("bytes=0-", 100), some([0..=99]));
        assert_eq!(read("bytes=99-99999999999999999999999", 100), some([99..=99]));
    }

    /// RFC 9110 section 14.1.2.
    #[test]
    fn a_suffix_is_the_last_bytes_and_at_most_all() {
        assert_eq!(read("bytes=-10", 100), some([90..=99]));
        assert_eq!(read("bytes=-1000", 100), some([0..=99]));
        assert_eq!(read("bytes=-99999999999999999999999", 100), some([0..=99]));
    }

    /// RFC 9110 sections 14.1.1 and 14.1.2.
    #[test]
    fn ranges_beyond_the_end_are_unsatisfiable_unless_another_is_not() {
        for text in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=18446744073709551616-",
            "bytes=200-,-0",
        ] {
            assert_eq!(read(text, 100), Ranges::Unsatisfiable, "{text}");
        }
        assert_eq!(read("bytes=100-,-0,5-5", 100), some([5..=5]));
    }

    /// RFC 9110 section 14.1.2.
    #[test]
    fn of_an_empty_body_a_suffix_is_all_and_a_position_is_none() {
        assert_eq!(read("bytes=-5", 0), Ranges::Whole);
        assert_eq!(read("bytes=-0", 0), Ranges::Unsatisfiable);
        assert_eq!(read("bytes=0-", 0), Ranges::Unsatisfiable);
    }

    /// RFC 9110 sections 14.1.1 and 14.2.
    #[test]
    fn what_is_malformed_or_another_unit_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-",
            "bytes=1",
            "bytes=2-1",
            "bytes=1-2-3",
            "bytes=0-1,x",
            "bytes=0 - 1",
            "bytes =0-1",
            "bytes=+1-2",
            "bytes=--1",
            "items=0-1",
            "bytes:0-1",
            "bytes=0-1;2-3",
            "bytes=0x1-2",
        ] {
            assert_eq!(read(text, 100), Ranges::Whole, "{text}");
        }
    }

    /// RFC 9110 section 5.6.1.2.
    #[test]
    fn spaces_and_empty_members_of_the_list_are_passed_over() {
        assert_eq!(read("bytes= 0-1 ,, \t5-6,", 100), some([0..=1, 5..=6]));
    }

    #[test]
    fn more_ranges_than_allowed_are_ignored() {
        let nine = "bytes=0-0,10-10,20-20,30-30,40-40,50-50,60-60,70-70,80-80";
        assert_eq!(read(nine, 100), Ranges::Whole);
        assert!(matches!(read(&nine[..nine.len() - 6], 100), Ranges::Some(ranges) if ranges.len() == 8));
        assert_eq!(
            parse(&HeaderValue::from_static("bytes=0-0"), 100, 0),
            Ranges::Whole
        );
    }

    /// RFC 9110 section 15.3.7.2.
    #[test]
    fn ranges_that_overlap_or_touch_become_one_at_the_place_of_the_first() {
        assert_eq!(read("bytes=0-9,10-19", 100), some([0..=19]));
        assert_eq!(read("bytes=50-59,0-9,5-20", 100), some([50..=59, 0..=20]));
        assert_eq!(read("bytes=40-49,20-29,0-9,10-39", 100), some([0..=49]));
        assert_eq!(read("bytes=0-,0-,0-,-100", 100), some([0..=99]));
    }

    /// RFC 9110 section 15.3.7.2.
    #[test]
    fn ranges_apart_keep_the_order_they_were_asked_in() {
        assert_eq!(read("bytes=50-59,0-9", 100), some([50..=59, 0..=9]));
    }

    /// RFC 9110 section 14.4.
    #[test]
    fn content_ranges_are_written_as_the_rfc_shows_them() {
        assert_eq!(content_range(&(42..=1233), 1234), "bytes 42-1233/1234");
        assert_eq!(content_range_unsatisfied(1234), "bytes */1234");
    }

    fn body_of(multipart: &Multipart, whole: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for part in multipart.parts() {
            body.extend_from_slice(&part.preamble);
            body.extend_from_slice(&whole[*part.range.start() as usize..=*part.range.end() as usize]);
        }
        body.extend_from_slice(multipart.closing());
        body
    }

    /// RFC 9110 sections 14.6 and 15.3.7.2.
    #[test]
    fn a_multipart_body_is_framed_as_the_rfc_shows_it() {
        let content_type = HeaderValue::from_static("image/png");
        let whole = Representation {
            length: 10,
            content_type: Some(&content_type),
        };
        let multipart = Multipart::new(&[0..=1, 8..=9], &whole, 0xa9);
        let boundary = "000000000000000000000000000000a9";
        let expected = format!(
            "--{boundary}\r\nContent-Type: image/png\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\nContent-Type: image/png\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(
            String::from_utf8(body_of(&multipart, b"0123456789")).unwrap(),
            expected
        );
        assert_eq!(multipart.content_length(), expected.len() as u64);
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        assert_eq!(multipart.content_type(), content_type);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic_and_ranges_stay_within_the_length_and_apart(
            set in prop_oneof!["[0-9,-]{0,60}", "[ -~\t]{0,60}", "([0-9]{0,21}-[0-9]{0,21},){0,9}"],
            length in prop_oneof![0u64..200, any::<u64>()],
            ranges_max in 0usize..10,
        ) {
            let value = HeaderValue::from_str(&format!("bytes={set}")).unwrap();
            if let Ranges::Some(mut ranges) = parse(&value, length, ranges_max) {
                prop_assert!(!ranges.is_empty() && ranges.len() <= ranges_max);
                prop_assert!(ranges.iter().all(|range| range.start() <= range.end() && *range.end() < length));
                ranges.sort_by_key(|range| *range.start());
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
            }
        }

        /// RFC 9110 section 14.1.2.
        #[test]
        fn exactly_the_bytes_asked_for_are_covered(
            asked in prop::collection::vec((0u64..50, 0u64..20), 1..8),
            length in 1u64..60,
        ) {
            let set: Vec<_> = asked.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let covers = |position| asked.iter().any(|(first, more)| (*first..=first + more).contains(&position));
            match read(&format!("bytes={}", set.join(",")), length) {
                Ranges::Some(ranges) => for position in 0..length {
                    prop_assert_eq!(ranges.iter().any(|range| range.contains(&position)), covers(position));
                },
                Ranges::Unsatisfiable => prop_assert!(!(0..length).any(covers)),
                Ranges::Whole => prop_assert!(false, "a set of few valid ranges is not ignored"),
            }
        }

        /// RFC 9110 section 8.6.
        #[test]
        fn a_multipart_body_is_as_long_as_announced(
            starts in prop::collection::vec((0u64..900, 0u64..100), 1..8), seed in any::<u128>(),
        ) {
            let ranges: Vec<_> = starts.iter().map(|(start, more)| *start..=start + more).collect();
            let whole = Representation { length: 1000, content_type: None };
            let multipart = Multipart::new(&ranges, &whole, seed);
            prop_assert_eq!(body_of(&multipart, &[b'x'; 1000]).len() as u64, multipart.content_length());
            prop_assert_eq!(Multipart::new(&ranges, &whole, seed), multipart);
        }
    }
}
