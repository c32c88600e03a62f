//! Stored parts of a representation: which requests they answer and how they are combined (RFC 9111 sections 3.3
//! and 3.4, RFC 9110 section 15.3.7).
//!
//! Invariant: bytes of two representations are never joined. It does not know bodies.

use super::conditional::Validators;
use super::field::{decimal, only};
use super::range::{self, Ranges};
use http::{HeaderMap, HeaderValue, header};
use std::ops::RangeInclusive;

/// Of a request that a run can answer: several ranges are a multipart answer, which only a whole gives.
const RANGES_MAX: usize = 1;

/// One run of bytes of a representation whose whole length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub first: u64,
    /// Inclusive.
    pub last: u64,
    /// Of the whole representation.
    pub length: u64,
}

/// Two runs of one representation as one: the stored one's bytes, from `skip` of the fresh one on where that comes
/// after, or the fresh one's bytes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// All bytes of the stored run, then those of the fresh one from its byte `skip` on.
    StoredThenFresh { skip: u64, run: Run },
    /// All bytes of the fresh run, then those of the stored one from its byte `skip` on.
    FreshThenStored { skip: u64, run: Run },
    /// The fresh run covers the stored one.
    FreshAlone,
    /// The stored run covers the fresh one.
    StoredAlone,
}

impl Run {
    /// The one range of a 206, where `Content-Range` is valid, tells the whole length, and `body_length` is the
    /// number of bytes it announces.
    pub fn of(headers: &HeaderMap, body_length: u64) -> Option<Run> {
        let run = Run::parse(only(headers, header::CONTENT_RANGE)?.as_bytes())?;
        let announced = run.last - run.first + 1;
        (announced == body_length && !is_multipart(headers)).then_some(run)
    }

    /// `bytes first-last/length` (RFC 9110 section 14.4).
    fn parse(value: &[u8]) -> Option<Run> {
        let (unit, rest) = value.split_at_checked(b"bytes ".len())?;
        let (range, length) = halves(rest, b'/')?;
        let (first, last) = halves(range, b'-')?;
        let run = Run {
            first: decimal(first)?,
            last: decimal(last)?,
            length: decimal(length)?,
        };
        // A number that saturated is another one than was written.
        let valid = run.first <= run.last && run.last < run.length && run.length < u64::MAX;
        (valid && unit.eq_ignore_ascii_case(b"bytes ")).then_some(run)
    }

    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.reaches_the_end()
    }

    fn reaches_the_end(&self) -> bool {
        self.last.checked_add(1) == Some(self.length)
    }

    /// What a `Range` with one range asks for, if this run holds all of it; in bytes of the representation.
    pub fn answers(&self, range: &HeaderValue) -> Option<RangeInclusive<u64>> {
        let Ranges::Some(ranges) = range::parse(range, self.length, RANGES_MAX) else {
            return None;
        };
        let asked = ranges.into_iter().next()?;
        (self.first <= *asked.start() && *asked.end() <= self.last).then_some(asked)
    }

    /// The one range to ask the origin for so that this run becomes whole: `None` where none is missing, or two are.
    pub fn missing(&self) -> Option<RangeInclusive<u64>> {
        match (self.first, self.reaches_the_end()) {
            (0, false) => Some(self.last + 1..=self.length - 1),
            (1.., true) => Some(0..=self.first - 1),
            _ => None,
        }
    }

    /// `None` where a gap is between them or they are of representations of different lengths.
    pub fn join(&self, fresh: &Run) -> Option<Joined> {
        if self.length != fresh.length {
            return None;
        }
        if fresh.covers(self) {
            return Some(Joined::FreshAlone);
        }
        if self.covers(fresh) {
            return Some(Joined::StoredAlone);
        }
        if self.first < fresh.first {
            let (skip, run) = self.extended(fresh)?;
            Some(Joined::StoredThenFresh { skip, run })
        } else {
            let (skip, run) = fresh.extended(self)?;
            Some(Joined::FreshThenStored { skip, run })
        }
    }

    fn covers(&self, other: &Run) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// With the bytes of `later`, which begins and ends after this one, and how many of them are here already.
    fn extended(&self, later: &Run) -> Option<(u64, Run)> {
        let skip = self.last.checked_add(1)?.checked_sub(later.first)?;
        let run = Run {
            last: later.last,
            ..*self
        };
        Some((skip, run))
    }
}

fn halves(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Its parts have a `Content-Range` each; what the message itself has is not of its body (RFC 9110 section 15.3.7.2).
fn is_multipart(headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"multipart/byteranges";
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    types.any(|line| {
        let start = line.as_bytes().get(..TYPE.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
    })
}

/// Whether two responses are parts of the same representation: both carry the same strong validator (RFC 9110
/// section 15.3.7.3). A date is heard only where neither has a tag.
pub fn same_representation(stored: &Validators<'_>, fresh: &Validators<'_>) -> bool {
    if stored.etag.is_some() || fresh.etag.is_some() {
        let tags = stored.tag().zip(fresh.tag());
        return tags.is_some_and(|(stored, fresh)| stored.is_strongly(&fresh));
    }
    let dates = stored.strong_date().zip(fresh.strong_date());
    dates.is_some_and(|(stored, fresh)| stored == fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn map(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn read(content_range: &str, body_length: u64) -> Option<Run> {
        Run::of(&map(&[(header::CONTENT_RANGE, content_range)]), body_length)
    }

    fn run(range: RangeInclusive<u64>, length: u64) -> Run {
        Run {
            first: *range.start(),
            last: *range.end(),
            length,
        }
    }

    fn answers(run: Run, range: &str) -> Option<RangeInclusive<u64>> {
        run.answers(&HeaderValue::from_str(range).unwrap())
    }

    #[test]
    fn a_content_range_is_read_by_rfc_9110_section_14_4() {
        assert_eq!(read("bytes 0-4/10", 5), Some(run(0..=4, 10)));
        assert_eq!(read("Bytes 9-9/10", 1), Some(run(9..=9, 10)));
        for text in [
            "bytes 0-4/*",
            "bytes */10",
            "bytes 4-0/10",
            "bytes 0-4/4",
            "bytes 0-10/10",
            "bytes=0-4/10",
            "bytes  0-4/10",
            "bytes 0 - 4/10",
            "bytes 0-4/10 ",
            "bytes 0-4/10, bytes 5-9/10",
            "bytes -4/10",
            "bytes 0-4",
            "bytes 0-4/",
            "bytes +0-4/10",
            "items 0-4/10",
            "bytes 0-4/99999999999999999999999",
            "0-4/10",
            "",
        ] {
            assert_eq!(read(text, 5), None, "{text}");
        }
    }

    /// RFC 9110 section 14.4.
    #[test]
    fn a_body_of_another_length_than_announced_is_no_run() {
        for length in [0, 4, 6, 10] {
            assert_eq!(read("bytes 0-4/10", length), None, "{length}");
        }
    }

    #[test]
    fn a_run_has_one_content_range_and_no_parts_by_rfc_9110_section_15_3_7_2() {
        let line = (header::CONTENT_RANGE, "bytes 0-4/10");
        assert_eq!(Run::of(&HeaderMap::new(), 5), None);
        assert_eq!(Run::of(&map(&[line.clone(), line.clone()]), 5), None);
        let multipart = (header::CONTENT_TYPE, "Multipart/ByteRanges; boundary=x");
        assert_eq!(Run::of(&map(&[line.clone(), multipart]), 5), None);
        let image = (header::CONTENT_TYPE, "image/png");
        assert!(Run::of(&map(&[line, image]), 5).is_some());
    }

    #[test]
    fn a_run_answers_what_it_holds_all_of_by_rfc_9111_section_3_3() {
        let tail = run(4..=9, 10);
        for (range, expected) in [
            ("bytes=4-9", Some(4..=9)),
            ("bytes=6-8", Some(6..=8)),
            ("bytes=6-", Some(6..=9)),
            ("bytes=6-1000", Some(6..=9)),
            ("bytes=-1", Some(9..=9)),
            ("bytes=-6", Some(4..=9)),
            ("bytes=-7", None),
            ("bytes=-1000", None),
            ("bytes=3-9", None),
            ("bytes=0-", None),
            ("bytes=0-0", None),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=4-5,7-8", None),
            ("bytes=x", None),
            ("items=4-9", None),
            ("", None),
        ] {
            assert_eq!(answers(tail, range), expected, "{range}");
        }
        let head = run(0..=4, 10);
        assert_eq!(answers(head, "bytes=0-4"), Some(0..=4));
        assert_eq!(answers(head, "bytes=0-"), None);
        assert_eq!(answers(head, "bytes=-5"), None);
    }

    #[test]
    fn one_range_is_missing_of_a_run_at_either_end_by_rfc_9111_section_3_3() {
        assert_eq!(run(0..=4, 10).missing(), Some(5..=9));
        assert_eq!(run(5..=9, 10).missing(), Some(0..=4));
        assert_eq!(run(1..=8, 10).missing(), None);
        assert_eq!(run(0..=9, 10).missing(), None);
        assert!(run(0..=9, 10).is_whole());
        assert!(!run(0..=8, 10).is_whole() && !run(1..=9, 10).is_whole());
    }

    #[test]
    fn runs_that_touch_or_overlap_are_joined_by_rfc_9111_section_3_4() {
        let stored = run(3..=5, 10);
        for (fresh, expected) in [
            (
                6..=8,
                Some(Joined::StoredThenFresh {
                    skip: 0,
                    run: run(3..=8, 10),
                }),
            ),
            (
                4..=8,
                Some(Joined::StoredThenFresh {
                    skip: 2,
                    run: run(3..=8, 10),
                }),
            ),
            (
                0..=2,
                Some(Joined::FreshThenStored {
                    skip: 0,
                    run: run(0..=5, 10),
                }),
            ),
            (
                0..=4,
                Some(Joined::FreshThenStored {
                    skip: 2,
                    run: run(0..=5, 10),
                }),
            ),
            (3..=5, Some(Joined::FreshAlone)),
            (0..=9, Some(Joined::FreshAlone)),
            (4..=4, Some(Joined::StoredAlone)),
            (3..=4, Some(Joined::StoredAlone)),
        ] {
            assert_eq!(stored.join(&run(fresh.clone(), 10)), expected, "{fresh:?}");
        }
    }

    /// RFC 9111 section 3.4, RFC 9110 section 15.3.7.3.
    #[test]
    fn a_gap_is_never_bridged_and_lengths_are_never_mixed() {
        let stored = run(3..=5, 10);
        assert_eq!(stored.join(&run(7..=9, 10)), None);
        assert_eq!(stored.join(&run(0..=1, 10)), None);
        assert_eq!(stored.join(&run(6..=8, 11)), None);
    }

    fn same(stored: &[(HeaderName, &str)], fresh: &[(HeaderName, &str)]) -> bool {
        same_representation(&Validators::of(&map(stored)), &Validators::of(&map(fresh)))
    }

    #[test]
    fn only_the_same_strong_tag_makes_parts_of_one_by_rfc_9110_section_15_3_7_3() {
        for (stored, fresh, expected) in [
            ("\"a\"", "\"a\"", true),
            ("\"a\"", "\"b\"", false),
            ("W/\"a\"", "W/\"a\"", false),
            ("\"a\"", "W/\"a\"", false),
            ("W/\"a\"", "\"a\"", false),
            ("junk", "junk", false),
        ] {
            let dated = [(header::LAST_MODIFIED, MODIFIED), (header::DATE, LATER)];
            let with = |etag| [&[(header::ETAG, etag)][..], &dated].concat();
            assert_eq!(same(&with(stored), &with(fresh)), expected, "{stored} {fresh}");
            assert!(!same(&with(stored), &dated) && !same(&dated, &with(fresh)));
        }
    }

    #[test]
    fn a_date_makes_parts_of_one_where_it_is_strong_by_rfc_9110_section_8_8_2_2() {
        let strong = [(header::LAST_MODIFIED, MODIFIED), (header::DATE, LATER)];
        let at_once = [(header::LAST_MODIFIED, MODIFIED), (header::DATE, MODIFIED)];
        let undated = [(header::LAST_MODIFIED, MODIFIED)];
        let other = [
            (header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:30 GMT"),
            (header::DATE, LATER),
        ];
        assert!(same(&strong, &strong));
        for weak in [&at_once[..], &undated, &other, &[]] {
            assert!(!same(&strong, weak) && !same(weak, &strong), "{weak:?}");
        }
        assert!(!same(&[], &[]));
    }

    const LENGTH: u64 = 12;

    fn any_run() -> impl Strategy<Value = Run> {
        (0..LENGTH, 0..LENGTH).prop_map(|(one, other)| run(one.min(other)..=one.max(other), LENGTH))
    }

    /// The representation's bytes that a run holds; the others are unknown.
    fn bytes_of(run: &Run) -> Vec<Option<u8>> {
        let held = run.first..=run.last;
        (0..run.length)
            .map(|at| held.contains(&at).then_some(at as u8))
            .collect()
    }

    fn body_of(run: &Run) -> Vec<u8> {
        (run.first..=run.last).map(|at| at as u8).collect()
    }

    proptest! {
        /// RFC 9111 section 3.4, RFC 9110 section 15.3.7.3.
        #[test]
        fn joining_neither_invents_nor_loses_bytes(stored in any_run(), fresh in any_run()) {
            let known: Vec<_> = bytes_of(&stored).into_iter().zip(bytes_of(&fresh)).map(|(one, other)| one.or(other)).collect();
            let of_joined = |before: &Run, after: &Run, skip: u64| {
                [body_of(before), body_of(after)[skip as usize..].to_vec()].concat()
            };
            let (joined, body) = match stored.join(&fresh) {
                Some(Joined::StoredThenFresh { skip, run }) => (run, of_joined(&stored, &fresh, skip)),
                Some(Joined::FreshThenStored { skip, run }) => (run, of_joined(&fresh, &stored, skip)),
                Some(Joined::FreshAlone) => (fresh, body_of(&fresh)),
                Some(Joined::StoredAlone) => (stored, body_of(&stored)),
                None => {
                    let between = known.iter().skip_while(|byte| byte.is_none());
                    prop_assert!(between.skip_while(|byte| byte.is_some()).any(Option::is_some), "there is a gap");
                    return Ok(());
                }
            };
            prop_assert_eq!(bytes_of(&joined), known);
            prop_assert_eq!(body_of(&joined), body);
        }

        /// RFC 9111 sections 3.3 and 3.4.
        #[test]
        fn what_is_missing_makes_a_run_whole(stored in any_run()) {
            match stored.missing() {
                Some(range) => {
                    let whole = match stored.join(&run(range, LENGTH)) {
                        Some(Joined::StoredThenFresh { skip: 0, run } | Joined::FreshThenStored { skip: 0, run }) => run,
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    };
                    prop_assert!(whole.is_whole());
                }
                None => prop_assert!(stored.is_whole() || stored.first > 0 && stored.last < LENGTH - 1),
            }
        }

        /// RFC 9111 section 3.3.
        #[test]
        fn an_answer_lies_within_the_run_and_is_what_the_whole_would_give(
            held in any_run(), set in prop_oneof!["[0-9]{0,2}-[0-9]{0,2}", "[0-9,-]{0,8}"],
        ) {
            let value = HeaderValue::from_str(&format!("bytes={set}")).unwrap();
            if let Some(answer) = held.answers(&value) {
                prop_assert!(held.first <= *answer.start() && *answer.end() <= held.last);
                prop_assert_eq!(Some(answer), run(0..=LENGTH - 1, LENGTH).answers(&value));
            }
        }

        #[test]
        fn no_bytes_make_reading_panic(
            line in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "bytes [0-9]{1,22}-[0-9]{1,22}/[0-9]{1,22}".prop_map(String::into_bytes),
            ],
            range in prop::collection::vec(any::<u8>(), 0..20),
            body_length in any::<u64>(),
        ) {
            let (Ok(line), Ok(range)) = (HeaderValue::from_bytes(&line), HeaderValue::from_bytes(&range)) else {
                return Ok(());
            };
            let parsed = Run::parse(line.as_bytes());
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, line);
            prop_assert!(Run::of(&headers, body_length).is_none() || parsed.is_some());
            if let Some(run) = parsed {
                run.missing();
                run.answers(&range);
                prop_assert_eq!(run.join(&run), Some(Joined::FreshAlone));
            }
        }
    }
}
