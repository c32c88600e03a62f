//! The normal form of a request header that a response varies by, as bytes that are hashed.
//!
//! RFC 9111 section 4.1 lets values match that are made equal by white space, by joining lines, or by what the field's
//! own definition calls equal. Invariant: the bytes added for two values are equal only if one of these makes the
//! values equal; each piece goes in with its length, and each form with a mark. It does not know what varies.

use crate::base::digest::Hasher;
use crate::http::field;
use http::header::{self, HeaderMap, HeaderName};
use std::ops::Range;

/// Lists of choices with weights, whose members have no order but that of their weights (RFC 9110 section 12.5).
static WEIGHTED: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_CHARSET, header::ACCEPT_LANGUAGE];

/// Fields with one value, in which a comma separates nothing (RFC 9110 sections 4.2, 10.1.2, 10.1.3, 10.1.5 and 11.6.2;
/// RFC 6454 section 7).
static SINGLE: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::FROM,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    header::USER_AGENT,
];

/// In thousandths; a choice without a weight has it (RFC 9110 section 12.4.2).
const QUALITY_MAX: u16 = 1000;

const ABSENT: u8 = 0;
const BYTES: u8 = 1;
const MEMBERS: u8 = 2;
const CHOICES: u8 = 3;

/// Goes before each member, and [`END`] after the last one.
const MEMBER: u8 = 1;
const END: u8 = 0;

const SEPARATOR: &[u8] = b", ";

/// Adds what the value means: white space around members and empty members are left out, and all lines are one list.
pub(super) fn add_meaning(hasher: &mut Hasher, request: &HeaderMap, name: &str) {
    if !request.contains_key(name) {
        return hasher.update(&[ABSENT]);
    }
    if SINGLE.iter().any(|single| single.as_str() == name) {
        return add_bytes(hasher, request, name);
    }
    match is_weighted(name).then(|| Choices::of(request, name)).flatten() {
        Some(choices) => choices.add(hasher),
        None => add_members(hasher, request, name),
    }
}

/// Adds the value as it came, its lines joined as one.
pub(super) fn add_bytes(hasher: &mut Hasher, request: &HeaderMap, name: &str) {
    let lines = request.get_all(name);
    let length: usize = lines.iter().map(|line| line.len() + SEPARATOR.len()).sum();
    let Some(length) = length.checked_sub(SEPARATOR.len()) else {
        return hasher.update(&[ABSENT]);
    };
    hasher.update(&[BYTES]);
    hasher.update(&(length as u64).to_le_bytes());
    for (position, line) in lines.iter().enumerate() {
        hasher.update(if position == 0 { b"" } else { SEPARATOR });
        hasher.update(line.as_bytes());
    }
}

/// Says its length first, so that no two sequences of pieces are the same bytes.
pub(super) fn add_framed(hasher: &mut Hasher, piece: &[u8]) {
    hasher.update(&(piece.len() as u64).to_le_bytes());
    hasher.update(piece);
}

fn is_weighted(name: &str) -> bool {
    WEIGHTED.iter().any(|weighted| weighted.as_str() == name)
}

/// Of a field of which no more is known than that it may be a list: order and case may mean something.
fn add_members(hasher: &mut Hasher, request: &HeaderMap, name: &str) {
    hasher.update(&[MEMBERS]);
    for member in field::list(request, name) {
        hasher.update(&[MEMBER]);
        add_framed(hasher, member);
    }
    hasher.update(&[END]);
}

/// The choices of a weighted list in their normal spelling.
#[derive(Default)]
struct Choices {
    /// All names, one after the other.
    names: Vec<u8>,
    /// A weight, and where its name is.
    found: Vec<(u16, Range<usize>)>,
}

impl Choices {
    /// By falling weight, then by name. `None` where a member is malformed: what it means to the origin is unknown.
    fn of(request: &HeaderMap, name: &str) -> Option<Self> {
        let mut choices = Choices::default();
        for member in field::list(request, name) {
            choices.push(member)?;
        }
        choices.sort();
        Some(choices)
    }

    /// A choice's name and the names of its parameters have no case; values may have one. The weight is the last
    /// parameter.
    fn push(&mut self, member: &[u8]) -> Option<()> {
        let start = self.names.len();
        let mut parts = parts(member);
        self.push_lower_case(parts.next()?)?;
        let mut weight = None;
        for part in parts {
            let (name, value) = parameter(part).filter(|_| weight.is_none())?;
            match name.eq_ignore_ascii_case(b"q") {
                true => weight = Some(thousandths(value)?),
                false => self.push_parameter(name, value)?,
            }
        }
        let weight = weight.unwrap_or(QUALITY_MAX);
        self.found.push((weight, start..self.names.len()));
        Some(())
    }

    fn push_parameter(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        self.names.push(b';');
        self.push_lower_case(name)?;
        self.names.push(b'=');
        self.names.extend_from_slice(value);
        Some(())
    }

    fn push_lower_case(&mut self, name: &[u8]) -> Option<()> {
        self.names.extend(name.iter().map(u8::to_ascii_lowercase));
        (!name.is_empty() && !name.contains(&b'"')).then_some(())
    }

    fn sort(&mut self) {
        let names = &self.names;
        self.found
            .sort_unstable_by(|(weight, name), (other, other_name)| {
                let by_name = || names[name.clone()].cmp(&names[other_name.clone()]);
                other.cmp(weight).then_with(by_name)
            });
    }

    fn add(&self, hasher: &mut Hasher) {
        hasher.update(&[CHOICES]);
        for (weight, name) in &self.found {
            hasher.update(&[MEMBER]);
            hasher.update(&weight.to_le_bytes());
            add_framed(hasher, &self.names[name.clone()]);
        }
        hasher.update(&[END]);
    }
}

/// What semicolons separate, trimmed.
fn parts(member: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    let is_separator = move |byte: &u8| {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        *byte == b';' && !quoted
    };
    member.split(is_separator).map(<[u8]>::trim_ascii)
}

/// No white space may stand around the `=`.
fn parameter(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = part.iter().position(|&byte| byte == b'=')?;
    let (name, value) = (&part[..equals], &part[equals + 1..]);
    let touches = name == name.trim_ascii() && value == value.trim_ascii();
    touches.then_some((name, value))
}

/// A `qvalue`: 0, 1, or up to three digits between them (RFC 9110 section 12.4.2).
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digits = std::iter::once(whole).chain(fraction);
    if !digits.clone().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.chain(b"000").take(4);
    let weight = padded.fold(0, |weight, digit| weight * 10 + u16::from(digit - b'0'));
    (weight <= QUALITY_MAX).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_at_most_three_digits_and_is_at_most_one_by_rfc_9110_section_12_4_2() {
        for (text, expected) in [
            ("1", 1000),
            ("1.", 1000),
            ("1.000", 1000),
            ("0", 0),
            ("0.5", 500),
            ("0.05", 50),
            ("0.999", 999),
        ] {
            assert_eq!(thousandths(text.as_bytes()), Some(expected), "{text}");
        }
        for junk in ["", "2", "1.001", "0.1234", ".5", "0,5", "-1", "0.5 ", "x", "1.0x"] {
            assert_eq!(thousandths(junk.as_bytes()), None, "{junk}");
        }
    }

    /// RFC 9110 sections 5.6.4 and 5.6.6.
    #[test]
    fn a_semicolon_in_a_quoted_string_separates_nothing() {
        let found: Vec<_> = parts(br#"a ; b="x;\";y" ;q=1"#).collect();
        assert_eq!(found, [&b"a"[..], br#"b="x;\";y""#, b"q=1"]);
    }
}
