//! Entity tags and their two comparisons (RFC 9110 section 8.8.3).
//!
//! Invariant: a malformed tag equals none, not even itself. It does not know preconditions.

use http::HeaderValue;

/// `"abc"` or `W/"abc"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    strength: Strength,
    /// Between the quotes.
    opaque: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strength {
    Strong,
    Weak,
}

impl<'a> EntityTag<'a> {
    pub fn parse(value: &'a HeaderValue) -> Option<Self> {
        match split_first(value.as_bytes().trim_ascii())? {
            (tag, []) => Some(tag),
            _ => None,
        }
    }

    /// What an unset variable leaves between the quotes.
    pub fn is_empty(&self) -> bool {
        self.opaque.is_empty()
    }

    pub fn is_weak(&self) -> bool {
        self.strength == Strength::Weak
    }

    /// For a range, of which the bytes count.
    pub fn is_strongly(&self, other: &EntityTag<'_>) -> bool {
        self.strength == Strength::Strong && self == other
    }

    /// For a whole, of which the meaning counts.
    pub fn is_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }
}

/// The tags of one line of a list, up to the first malformed one: beyond it no quote can be trusted.
pub(super) fn tags(line: &[u8]) -> impl Iterator<Item = EntityTag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| !b", \t".contains(byte))?;
        let (tag, after) = split_first(&rest[start..])?;
        rest = after.trim_ascii_start();
        let separated = rest.is_empty() || rest.starts_with(b",");
        separated.then_some(tag).or_else(|| {
            rest = &[];
            None
        })
    })
}

/// A backslash within the quotes is itself: entity tags have no escapes.
fn split_first(text: &[u8]) -> Option<(EntityTag<'_>, &[u8])> {
    let (strength, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (Strength::Weak, quoted),
        None => (Strength::Strong, text),
    };
    let inner = quoted.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    let (opaque, rest) = (&inner[..end], &inner[end + 1..]);
    let valid = opaque.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    valid.then_some((EntityTag { strength, opaque }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    /// RFC 9110 section 8.8.3.2.
    #[test]
    fn the_comparisons_agree_with_the_table_of_the_rfc() {
        let table = [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
        ];
        for (left, right, strongly, weakly) in table {
            let (left, right) = (value(left), value(right));
            let (left, right) = (
                EntityTag::parse(&left).unwrap(),
                EntityTag::parse(&right).unwrap(),
            );
            assert_eq!(left.is_strongly(&right), strongly, "{left:?} {right:?}");
            assert_eq!(left.is_weakly(&right), weakly, "{left:?} {right:?}");
        }
    }

    /// RFC 9110 section 8.8.3.
    #[test]
    fn what_is_not_quoted_or_goes_on_after_the_quote_is_no_tag() {
        for text in [
            "abc",
            "\"abc",
            "abc\"",
            "w/\"abc\"",
            "\"a\" \"b\"",
            "\"a b\"",
            "*",
            "",
        ] {
            assert_eq!(EntityTag::parse(&value(text)), None, "{text}");
        }
    }

    /// RFC 9110 section 8.8.3.
    #[test]
    fn commas_and_backslashes_within_the_quotes_belong_to_the_tag() {
        let found: Vec<_> = tags(br#" , "a,b", W/"c\" ,,"d""#).map(|tag| tag.opaque).collect();
        assert_eq!(found, [&b"a,b"[..], b"c\\", b"d"]);
    }

    #[test]
    fn reading_a_list_ends_at_the_first_malformed_tag() {
        let found: Vec<_> = tags(br#""a", b, "c""#).map(|tag| tag.opaque).collect();
        assert_eq!(found, [b"a"]);
        assert_eq!(tags(br#""a"b, "c""#).count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_a_list_panic_or_endless(line in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(tags(&line).count() <= line.len());
        }
    }
}
