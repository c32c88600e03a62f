//! What is known of a URL whose responses vary: by which fields, and which alternates are stored.
//!
//! It is kept as a header block under the URL's own key; the alternates have keys of their own, made of the URL, the
//! series and the selection. Invariant: forgetting this index makes its alternates unreachable, because a new index
//! has a new series. It does not know keys or the store.
//!
//! The block has one line of the fields, one of the series, and one for each alternate: the selection's digits and,
//! after a space, the entity tag if there is one.

use super::conditional::is_same_tag;
use super::header_block::HeaderBlock;
use super::vary::{self, Fields, Selection, VaryPolicy};
use crate::base::digest::Digest;
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// So many alternates are remembered for their tags; one that is forgotten is still found by who selects it.
pub const KNOWN_MAX: usize = 16;

/// Only within an index, which its entry's kind tells from a response that might bring such fields.
const SERIES: HeaderName = HeaderName::from_static("x-aquatint-alternates");

const ALTERNATE: HeaderName = HeaderName::from_static("x-aquatint-alternate");

/// The index of a URL's alternates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternates {
    fields: Fields,
    series: u64,
    /// Newest first, at most [`KNOWN_MAX`], each selection once.
    known: Vec<Known>,
}

/// An alternate that was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub selection: Selection,
    pub etag: Option<HeaderValue>,
}

impl Alternates {
    /// An index without alternates; `series` has to be one that no earlier index of this URL had.
    pub fn new(fields: Fields, series: u64) -> Self {
        Alternates {
            fields,
            series,
            known: Vec::new(),
        }
    }

    /// `None` where the block is no index.
    pub fn from_block(block: &HeaderBlock) -> Option<Self> {
        let mut lines = block.iter();
        let fields = Fields::parse(&lines.next().and_then(of(&header::VARY))?)?;
        let series = series(&lines.next().and_then(of(&SERIES))?)?;
        let known: Option<Vec<Known>> = lines.map(|line| Known::parse(&of(&ALTERNATE)(line)?)).collect();
        let mut alternates = Alternates::new(fields, series);
        alternates.known = known.filter(|known| are_apart(known))?;
        Some(alternates)
    }

    pub fn to_block(&self) -> HeaderBlock {
        let mut lines = HeaderMap::with_capacity(3);
        lines.insert(header::VARY, self.fields.to_value());
        lines.insert(SERIES, self.series.into());
        for known in &self.known {
            lines.append(ALTERNATE, known.to_value());
        }
        HeaderBlock::pack(&lines)
    }

    /// Only what a hit needs: the selection of `request` and the series, without reading the alternates. `None` where
    /// the block is no index, or the route bypasses one of its fields by now.
    pub fn select_in(
        block: &HeaderBlock,
        request: &HeaderMap,
        policy: &VaryPolicy,
    ) -> Option<(u64, Selection)> {
        let series = series(&block.get(&SERIES)?)?;
        let fields = block.get(&header::VARY)?;
        Some((series, vary::select_by_stored(&fields, request, policy)?))
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    pub fn series(&self) -> u64 {
        self.series
    }

    pub fn known(&self) -> &[Known] {
        &self.known
    }

    /// With one more alternate, or a newer one in its place; of too many the oldest is forgotten.
    #[must_use]
    pub fn with(mut self, known: Known) -> Self {
        self.known.retain(|other| other.selection != known.selection);
        self.known.insert(0, known);
        self.known.truncate(KNOWN_MAX);
        self
    }

    /// The alternate that a 304 with this `ETag` speaks of: the newest one whose tag is the same, strongly unless the
    /// 304's is weak (RFC 9111 section 4.3.4).
    pub fn tagged(&self, etag: &HeaderValue) -> Option<&Known> {
        let is_meant = |known: &&Known| {
            known
                .etag
                .as_ref()
                .is_some_and(|stored| is_same_tag(etag, stored))
        };
        self.known.iter().find(is_meant)
    }
}

fn of(name: &HeaderName) -> impl Fn((HeaderName, HeaderValue)) -> Option<HeaderValue> {
    move |(found, value)| (found == *name).then_some(value)
}

fn series(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits_only)
}

fn are_apart(known: &[Known]) -> bool {
    let is_new =
        |(at, one): (usize, &Known)| known[..at].iter().all(|other| other.selection != one.selection);
    known.len() <= KNOWN_MAX && known.iter().enumerate().all(is_new)
}

impl Known {
    fn parse(value: &HeaderValue) -> Option<Self> {
        let (digits, rest) = value.as_bytes().split_at_checked(DIGITS)?;
        let etag = match rest {
            [] => None,
            [b' ', etag @ ..] => Some(HeaderValue::from_bytes(etag).ok()?),
            _ => return None,
        };
        let selection = Selection::from_digest(Digest::from_bytes(bytes_of(digits)?));
        Some(Known { selection, etag })
    }

    fn to_value(&self) -> HeaderValue {
        let mut text = self.selection.to_string().into_bytes();
        if let Some(etag) = &self.etag {
            text.push(b' ');
            text.extend_from_slice(etag.as_bytes());
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("digits, a space and a value are a value")
    }
}

/// Of a selection, two for each byte.
const DIGITS: usize = 64;

fn bytes_of(digits: &[u8]) -> Option<[u8; DIGITS / 2]> {
    let mut bytes = [0; DIGITS / 2];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::vary::Vary;
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_bytes(text.as_bytes()).unwrap()
    }

    fn fields(names: &str) -> Fields {
        let mut response = HeaderMap::new();
        response.insert(header::VARY, value(names));
        match Vary::of(&response, &VaryPolicy::default()) {
            Vary::By(fields) => fields,
            other => panic!("{names}: {other:?}"),
        }
    }

    fn selection(seed: u8) -> Selection {
        Selection::from_digest(Digest::of(&[seed]))
    }

    fn known(seed: u8, etag: &str) -> Known {
        Known {
            selection: selection(seed),
            etag: Some(value(etag)),
        }
    }

    fn index() -> Alternates {
        Alternates::new(fields("foo, accept-language"), 7)
    }

    fn block(lines: &[(HeaderName, &str)]) -> HeaderBlock {
        let mut headers = HeaderMap::new();
        for (name, text) in lines {
            headers.append(name, value(text));
        }
        HeaderBlock::pack(&headers)
    }

    #[test]
    fn a_newer_alternate_takes_the_place_of_the_one_with_its_selection_and_comes_first() {
        let index = index()
            .with(known(1, "\"a\""))
            .with(known(2, "\"b\""))
            .with(known(1, "\"c\""));
        assert_eq!(index.known(), [known(1, "\"c\""), known(2, "\"b\"")]);
    }

    #[test]
    fn of_too_many_alternates_the_oldest_is_forgotten() {
        let index = (0..=KNOWN_MAX as u8).fold(index(), |index, seed| index.with(known(seed, "\"a\"")));
        assert_eq!(index.known().len(), KNOWN_MAX);
        assert_eq!(index.known()[0].selection, selection(KNOWN_MAX as u8));
        assert_eq!(index.known()[KNOWN_MAX - 1].selection, selection(1));
    }

    #[test]
    fn a_304_speaks_of_the_newest_alternate_with_its_tag_by_rfc_9111_section_4_3_4() {
        let tags = ["\"a\"", "W/\"b\"", "\"c\"", "\"c\"", "junk"];
        let index = (0..)
            .zip(tags)
            .fold(index(), |index, (seed, etag)| index.with(known(seed, etag)));
        let untagged = Known {
            selection: selection(9),
            etag: None,
        };
        let index = index.with(untagged);
        for (etag, expected) in [
            ("\"a\"", Some(0)),
            ("W/\"a\"", Some(0)),
            ("W/\"b\"", Some(1)),
            ("\"b\"", None),
            ("\"c\"", Some(3)),
            ("junk", Some(4)),
            ("\"d\"", None),
            ("*", None),
            ("", None),
        ] {
            let found = index.tagged(&value(etag)).map(|known| known.selection);
            assert_eq!(found, expected.map(selection), "{etag}");
        }
    }

    #[test]
    fn a_hit_reads_the_same_from_the_block_as_from_the_index() {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT_LANGUAGE, value("en"));
        let policy = VaryPolicy::default();
        let expected = (7, index().fields().select(&request, &policy));
        let block = index().with(known(1, "\"a\"")).to_block();
        assert_eq!(Alternates::select_in(&block, &request, &policy), Some(expected));
    }

    #[test]
    fn what_is_no_index_is_none() {
        let digits = selection(1).to_string();
        let tagged = format!("{digits} \"a\"");
        let whole = [(header::VARY, "foo"), (SERIES, "7"), (ALTERNATE, tagged.as_str())];
        assert!(Alternates::from_block(&block(&whole)).is_some());
        let shorter = &digits[1..];
        let upper = digits.to_uppercase();
        for lines in [
            &[][..],
            &[(header::VARY, "foo")],
            &[(SERIES, "7")],
            &[(header::VARY, "*"), (SERIES, "7")],
            &[(header::VARY, "foo, bar"), (SERIES, "7")],
            &[(header::VARY, "foo"), (SERIES, "-7")],
            &[(header::VARY, "foo"), (SERIES, "+7")],
            &[(header::VARY, "foo"), (SERIES, "")],
            &[(header::VARY, "foo"), (SERIES, "18446744073709551616")],
            &[(header::VARY, "foo"), (header::VARY, "foo"), (SERIES, "7")],
            &[(header::VARY, "foo"), (SERIES, "7"), (SERIES, "7")],
            &[(header::VARY, "foo"), (SERIES, "7"), (header::ETAG, "\"a\"")],
            &[(header::VARY, "foo"), (SERIES, "7"), (ALTERNATE, shorter)],
            &[(header::VARY, "foo"), (SERIES, "7"), (ALTERNATE, &upper)],
            &[
                (header::VARY, "foo"),
                (SERIES, "7"),
                (ALTERNATE, &format!("{digits}x")),
            ],
            &[
                (header::VARY, "foo"),
                (SERIES, "7"),
                (ALTERNATE, &digits),
                (ALTERNATE, &tagged),
            ],
        ] {
            assert_eq!(Alternates::from_block(&block(lines)), None, "{lines:?}");
        }
    }

    #[test]
    fn a_stored_response_selects_nothing() {
        let response = block(&[(header::VARY, "foo"), (header::ETAG, "\"a\"")]);
        let selected = Alternates::select_in(&response, &HeaderMap::new(), &VaryPolicy::default());
        assert_eq!(selected, None);
    }

    fn any_known() -> impl Strategy<Value = Known> {
        let byte = any::<u8>().prop_filter("a value's", |byte| *byte >= b' ' && *byte != 0x7f);
        let etag =
            prop::collection::vec(byte, 0..20).prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
        (any::<u8>(), prop::option::of(etag)).prop_map(|(seed, etag)| Known {
            selection: selection(seed),
            etag,
        })
    }

    proptest! {
        #[test]
        fn an_index_comes_back_from_its_block(
            // No field of such a name has a meaning of its own.
            names in prop::collection::hash_set("z[b-z]{1,7}", 1..5),
            series in any::<u64>(),
            alternates in prop::collection::vec(any_known(), 0..20),
        ) {
            let names: Vec<_> = names.into_iter().collect();
            let index = alternates.into_iter().fold(Alternates::new(fields(&names.join(",")), series), Alternates::with);
            prop_assert_eq!(Alternates::from_block(&index.to_block()), Some(index));
        }

        #[test]
        fn no_block_makes_reading_panic(
            vary in "[ -~]{0,20}", series in "[0-9+-]{0,22}", line in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(header::VARY, value(&vary));
            headers.insert(SERIES, value(&series));
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                headers.append(ALTERNATE, line);
            }
            let block = HeaderBlock::pack(&headers);
            let index = Alternates::from_block(&block);
            let selected = Alternates::select_in(&block, &HeaderMap::new(), &VaryPolicy::default());
            prop_assert!(index.is_none() || selected.is_some());
        }
    }
}
