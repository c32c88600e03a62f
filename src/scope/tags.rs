//! The tags by which an origin marks its responses: `Surrogate-Key`, separated by spaces, and `Cache-Tag`, separated by
//! commas.
//!
//! Invariant: all tags of a response are known, or it has none to be stored with: a tag that was left out would be purged
//! and served. Only names are kept. It does not know purges.

use super::{Scope, ScopeName};
use http::{HeaderMap, HeaderName};

static TAG_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("cache-tag"),
];

/// The names of a response's tags, in order. Most have none, which takes no room but a pointer's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::box_collection,
    reason = "a million entries have no tags, and a pointer's room for them"
)]
pub struct Tags(Option<Box<Vec<ScopeName>>>);

/// How much an origin may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagLimits {
    pub count: usize,
    /// Of one tag.
    pub bytes: usize,
}

/// Why a response's tags can not be kept; it is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("another node does not tell the tags of its answer; it is passed through, not stored")]
    Untold,
    #[error("the response has more than {0} tags; it is not stored")]
    Count(usize),
    #[error("a tag of the response has more than {0} bytes; it is not stored")]
    Length(usize),
    #[error("a tag of the response is no UTF-8, so that no order can name it; it is not stored")]
    Text,
}

/// The headers that name tags; for the edge alone unless a route forwards them.
pub fn tag_headers() -> &'static [HeaderName] {
    &TAG_HEADERS
}

pub fn names_tags(headers: &HeaderMap) -> bool {
    TAG_HEADERS.iter().any(|name| headers.contains_key(name))
}

impl Tags {
    /// The tags that a response's headers name.
    ///
    /// # Errors
    /// When there are more, or longer ones, than `limits` allow.
    pub fn of(headers: &HeaderMap, limits: &TagLimits) -> Result<Self, TagError> {
        let mut names = Vec::new();
        for (header, separator) in TAG_HEADERS.iter().zip([b' ', b',']) {
            for line in headers.get_all(header) {
                let pieces = line.as_bytes().split(|byte| *byte == separator || *byte == b'\t');
                for tag in pieces.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty()) {
                    if tag.len() > limits.bytes {
                        return Err(TagError::Length(limits.bytes));
                    }
                    let tag = std::str::from_utf8(tag).map_err(|_| TagError::Text)?;
                    names.push(Scope::tag(tag).name());
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        if names.len() > limits.count {
            return Err(TagError::Count(limits.count));
        }
        Ok(Tags::from_names(names))
    }

    /// Of what was stored; what [`Tags::names`] gave.
    pub fn from_names(mut names: Vec<ScopeName>) -> Self {
        names.shrink_to_fit();
        Tags((!names.is_empty()).then(|| Box::new(names)))
    }

    /// Those of both.
    #[must_use]
    pub fn joined(&self, other: &Tags) -> Self {
        let mut names = [self.names(), other.names()].concat();
        names.sort_unstable();
        names.dedup();
        Tags::from_names(names)
    }

    pub fn names(&self) -> &[ScopeName] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const LIMITS: TagLimits = TagLimits { count: 4, bytes: 8 };

    fn tags(lines: &[(&'static str, &str)]) -> Result<Tags, TagError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Tags::of(&headers, &LIMITS)
    }

    fn named(tags: &[&str]) -> Tags {
        let mut names: Vec<_> = tags.iter().map(|tag| Scope::tag(tag).name()).collect();
        names.sort_unstable();
        Tags::from_names(names)
    }

    #[test]
    fn both_headers_name_tags_each_in_its_own_way() {
        let found = tags(&[
            ("surrogate-key", "a  B"),
            ("surrogate-key", "c,d"),
            ("cache-tag", "b, x y ,"),
        ]);
        assert_eq!(found, Ok(named(&["a", "b", "c,d", "x y"])));
        assert_eq!(tags(&[]), Ok(Tags::default()));
    }

    #[test]
    fn a_response_with_too_many_or_too_long_tags_has_none_that_can_be_kept() {
        assert_eq!(tags(&[("surrogate-key", "a b c d e")]), Err(TagError::Count(4)));
        assert_eq!(tags(&[("surrogate-key", "a A a A a A")]), Ok(named(&["a"])));
        assert_eq!(tags(&[("cache-tag", "123456789")]), Err(TagError::Length(8)));
        let latin_1 = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        let headers = HeaderMap::from_iter([(TAG_HEADERS[0].clone(), latin_1)]);
        assert_eq!(Tags::of(&headers, &LIMITS), Err(TagError::Text));
    }

    #[test]
    fn tags_take_a_pointers_room_and_those_without_nothing_more() {
        assert_eq!(size_of::<Tags>(), 8);
    }
}
