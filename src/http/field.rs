//! Reading field values: lists, seconds and dates.
//!
//! Invariant: anything malformed is `None` or no member, never a guess. It does not know what a field means.

use crate::base::clock::Timestamp;
use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};
use std::time::{Duration, SystemTime};

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// The greatest number of seconds anyone means; larger ones are read as this (RFC 9111 section 1.2.2).
const DELTA_SECONDS_MAX: u64 = 1 << 31;

/// Of the longest form, `Wednesday, 09-Nov-94 08:49:37 GMT`.
const DATE_LENGTH_MAX: usize = 33;

/// The members of a list over all lines of a field, trimmed, empty ones left out (RFC 9110 section 5.6.1).
pub(super) fn list(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| members(line.as_bytes()))
}

/// The members of one line; a comma within a quoted string does not separate.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = member_end(line);
        rest = line.get(end + 1..);
        Some(line[..end].trim_ascii())
    })
    .filter(|member| !member.is_empty())
}

fn member_end(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    line.len()
}

/// `delta-seconds` of RFC 9111 section 1.2.2: digits only.
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    decimal(text).map(capped_seconds)
}

pub(super) fn capped_seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(DELTA_SECONDS_MAX))
}

/// One or more digits; what exceeds 64 bits saturates.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(number)
}

/// An `HTTP-date` in any of its three forms (RFC 9110 section 5.6.7), in any case, as a cache should take it
/// (RFC 9111 section 4.2). The weekday tells nothing that the date does not: a wrong one is no reason to refuse it.
pub(super) fn date(value: &HeaderValue) -> Option<Timestamp> {
    let text = value.to_str().ok()?;
    if text.len() > DATE_LENGTH_MAX {
        return None;
    }
    let time = httpdate::parse_http_date(text).ok().or_else(|| {
        let text = in_usual_case(text);
        let strict = httpdate::parse_http_date(&text).ok();
        strict.or_else(|| with_right_weekday(&text))
    });
    Some(time?.into())
}

fn with_right_weekday(date: &str) -> Option<SystemTime> {
    let end = date.find(|letter: char| !letter.is_ascii_alphabetic())?;
    let (said, rest) = date.split_at(end);
    let names = WEEKDAYS.iter().map(|name| match said.len() {
        3 => &name[..3],
        _ => name,
    });
    let mut dates = names.map(|name| httpdate::parse_http_date(&[name, rest].concat()));
    dates.find_map(Result::ok)
}

/// Each word with one capital, but for `GMT`.
fn in_usual_case(date: &str) -> String {
    let mut within_word = false;
    let cased = date.chars().map(|letter| {
        let follows = std::mem::replace(&mut within_word, letter.is_ascii_alphabetic());
        match follows {
            true => letter.to_ascii_lowercase(),
            false => letter.to_ascii_uppercase(),
        }
    });
    let cased: String = cased.collect();
    match cased.strip_suffix("Gmt") {
        Some(rest) => format!("{rest}GMT"),
        None => cased,
    }
}

/// The date of a field that has one line and one value; several are no date at all.
pub(super) fn only_date(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Timestamp> {
    date(only(headers, name)?)
}

/// The one line of a field; `None` when there are none or several.
pub(super) fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &str) -> Vec<&str> {
        members(line.as_bytes())
            .map(|member| std::str::from_utf8(member).unwrap())
            .collect()
    }

    /// RFC 9110 sections 5.6.1.2 and 5.6.4.
    #[test]
    fn a_comma_in_a_quoted_string_separates_nothing() {
        assert_eq!(split(r#"a="x, \" y" , ,b,"#), [r#"a="x, \" y""#, "b"]);
    }

    #[test]
    fn an_unfinished_quote_reaches_to_the_end_of_its_line() {
        assert_eq!(split(r#"a, b="x, y"#), ["a", r#"b="x, y"#]);
    }

    /// RFC 9111 section 1.2.2.
    #[test]
    fn seconds_are_digits_only_and_saturate() {
        assert_eq!(delta_seconds(b"0060"), Some(Duration::from_secs(60)));
        let greatest = Some(Duration::from_secs(DELTA_SECONDS_MAX));
        assert_eq!(delta_seconds(b"99999999999999999999999"), greatest);
        for junk in ["", "-1", "+1", "1.5", "0x1", " 1", "1s"] {
            assert_eq!(delta_seconds(junk.as_bytes()), None, "{junk:?}");
        }
    }

    /// RFC 9110 section 5.6.7.
    #[test]
    fn all_three_forms_of_a_date_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(date(&value), Some(Timestamp::from_secs(784_111_777)), "{text}");
        }
    }

    /// RFC 9111 section 4.2 asks caches to read dates in any case.
    #[test]
    fn the_case_of_a_date_does_not_matter() {
        for text in [
            "SUN, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 NOV 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 gMT",
            "sunday, 06-nov-94 08:49:37 gmt",
            "SUN NOV  6 08:49:37 1994",
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(date(&value), Some(Timestamp::from_secs(784_111_777)), "{text}");
        }
    }

    #[test]
    fn a_wrong_weekday_does_not_spoil_a_date() {
        for text in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Tuesday, 06-Nov-94 08:49:37 GMT",
            "Thu Nov  6 08:49:37 1994",
        ] {
            let value = HeaderValue::from_static(text);
            assert_eq!(date(&value), Some(Timestamp::from_secs(784_111_777)), "{text}");
        }
        let no_day = HeaderValue::from_static("Xyz, 06 Nov 1994 08:49:37 GMT");
        assert!(date(&no_day).is_some(), "whatever stands for the weekday");
    }

    /// RFC 9111 sections 4.2 and 5.3: in doubt a date is none.
    #[test]
    fn what_is_nearly_a_date_is_none() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov  1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT and more than that",
            "0",
            "",
        ] {
            assert_eq!(date(&HeaderValue::from_static(text)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_a_date_panic(text in "[ -~]{0,40}") {
            date(&HeaderValue::try_from(text).unwrap());
        }

        #[test]
        fn members_are_disjoint_pieces_of_the_line(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let total: usize = members(&line).map(<[u8]>::len).sum();
            prop_assert!(total <= line.len());
        }
    }
}
