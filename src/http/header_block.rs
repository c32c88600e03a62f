//! Response headers as one compact allocation: a million stored objects each hold one.
//!
//! Layout, line after line: one byte, the code of a well-known name, or 0 and the name's length and lower-case
//! bytes; then the value's length and bytes. Where the first byte's high bit is set, the value is a frequent one
//! and a byte of its code stands for it. Lengths are LEB128. Invariant: a block that exists is whole and
//! holds only valid names and values, whatever bytes it was offered. It does not know what a field means.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::ops::Range;

/// The code that is followed by a name.
const LITERAL: u8 = 0;

/// Marks a value given by its code.
const CODED_VALUE: u8 = 0x80;

/// A length takes at most so many bytes: more is no header.
const LENGTH_BYTES_MAX: usize = 5;

/// Well-known names; a code is the position plus one. Blocks are on disk: append only, never reorder.
static NAMES: [HeaderName; 72] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CACHE_STATUS,
    header::CDN_CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFERRER_POLICY,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
    HeaderName::from_static("accept-ch"),
    HeaderName::from_static("cache-tag"),
    HeaderName::from_static("cf-cache-status"),
    HeaderName::from_static("cf-ray"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("edge-cache-tag"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("x-amz-id-2"),
    HeaderName::from_static("x-amz-request-id"),
    HeaderName::from_static("x-amz-server-side-encryption"),
    HeaderName::from_static("x-amz-version-id"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("x-cache-hits"),
    HeaderName::from_static("x-goog-generation"),
    HeaderName::from_static("x-goog-hash"),
    HeaderName::from_static("x-goog-metageneration"),
    HeaderName::from_static("x-goog-storage-class"),
    HeaderName::from_static("x-guploader-uploadid"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-robots-tag"),
    HeaderName::from_static("x-served-by"),
    HeaderName::from_static("x-timer"),
    HeaderName::from_static("x-varnish"),
];

/// Frequent values; a code is the position. They cost neither room nor a reference count. Append only, never
/// reorder.
static VALUES: [HeaderValue; 20] = [
    HeaderValue::from_static("image/jpeg"),
    HeaderValue::from_static("image/png"),
    HeaderValue::from_static("image/webp"),
    HeaderValue::from_static("image/avif"),
    HeaderValue::from_static("image/gif"),
    HeaderValue::from_static("image/svg+xml"),
    HeaderValue::from_static("image/x-icon"),
    HeaderValue::from_static("bytes"),
    HeaderValue::from_static("nosniff"),
    HeaderValue::from_static("*"),
    HeaderValue::from_static("Accept-Encoding"),
    HeaderValue::from_static("inline"),
    HeaderValue::from_static("cross-origin"),
    HeaderValue::from_static("1.1 aquatint"),
    HeaderValue::from_static("max-age=3600"),
    HeaderValue::from_static("max-age=86400"),
    HeaderValue::from_static("max-age=31536000"),
    HeaderValue::from_static("public, max-age=31536000"),
    HeaderValue::from_static("public, max-age=31536000, immutable"),
    HeaderValue::from_static("max-age=31536000, immutable"),
];

/// The fields of a response in their order; values share the block's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock(Bytes);

/// Why bytes are no block; nothing of them is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderBlockError {
    #[error("the header block ends within a line; it is discarded")]
    Truncated,
    #[error("code {0} of the header block stands for no name or value; the block is discarded")]
    UnknownCode(u8),
    #[error("a name in the header block is not a lower-case token; the block is discarded")]
    Name,
    #[error("a value in the header block holds control characters; the block is discarded")]
    Value,
    #[error("a length in the header block is beyond any header; the block is discarded")]
    Length,
}

impl HeaderBlock {
    /// Takes all lines in the map's order; lines of one name stay together in theirs.
    pub fn pack(headers: &HeaderMap) -> Self {
        let mut packed = Vec::with_capacity(headers.iter().map(packed_bytes_max).sum());
        for (name, value) in headers {
            push_line(&mut packed, name, value);
        }
        packed.shrink_to_fit();
        HeaderBlock(packed.into())
    }

    /// Takes bytes of any descent: every line is checked.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, HeaderBlockError> {
        let mut cursor = Cursor::new(&bytes);
        while !cursor.is_at_end() {
            let line = cursor.line()?;
            line.name.validate()?;
            line.value.validate(&bytes)?;
        }
        Ok(HeaderBlock(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn iter(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.lines()
            .map(|line| (line.name.to_header_name(), self.value(line.value)))
    }

    /// The first value of `name`.
    pub fn get(&self, name: &HeaderName) -> Option<HeaderValue> {
        let line = self.lines().find(|line| line.name.is(name))?;
        Some(self.value(line.value))
    }

    /// All values of `name`, in their order.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = HeaderValue> {
        let lines = self.lines().filter(|line| line.name.is(name));
        lines.map(|line| self.value(line.value))
    }

    pub fn to_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(self.lines().count());
        for (name, value) in self.iter() {
            headers.append(name, value);
        }
        headers
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut cursor = Cursor::new(&self.0);
        std::iter::from_fn(move || (!cursor.is_at_end()).then(|| cursor.line().expect(CHECKED)))
    }

    fn value(&self, value: Value) -> HeaderValue {
        match value {
            Value::Known(known) => known.clone(),
            Value::At(range) => HeaderValue::from_maybe_shared(self.0.slice(range)).expect(CHECKED),
        }
    }
}

const CHECKED: &str = "a block is packed from valid headers or was checked when it was taken";

struct Line<'a> {
    name: Name<'a>,
    value: Value,
}

enum Name<'a> {
    Known(&'static HeaderName),
    Literal(&'a [u8]),
}

enum Value {
    Known(&'static HeaderValue),
    /// Where it is in the block.
    At(Range<usize>),
}

impl Value {
    fn validate(&self, block: &[u8]) -> Result<(), HeaderBlockError> {
        match self {
            Value::At(range) if !block[range.clone()].iter().all(|&byte| is_value_byte(byte)) => {
                Err(HeaderBlockError::Value)
            }
            _ => Ok(()),
        }
    }
}

impl Name<'_> {
    fn is(&self, name: &HeaderName) -> bool {
        match self {
            Name::Known(known) => *known == name,
            Name::Literal(bytes) => *bytes == name.as_str().as_bytes(),
        }
    }

    fn to_header_name(&self) -> HeaderName {
        match self {
            Name::Known(known) => (*known).clone(),
            Name::Literal(bytes) => HeaderName::from_lowercase(bytes).expect(CHECKED),
        }
    }

    fn validate(&self) -> Result<(), HeaderBlockError> {
        match self {
            Name::Known(_) => Ok(()),
            Name::Literal(bytes) => match HeaderName::from_lowercase(bytes) {
                Ok(_) => Ok(()),
                Err(_) => Err(HeaderBlockError::Name),
            },
        }
    }
}

/// Reads lines; the only place that knows the layout besides the two `push` functions.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    #[inline]
    fn line(&mut self) -> Result<Line<'a>, HeaderBlockError> {
        let first = self.byte()?;
        let name = match first & !CODED_VALUE {
            LITERAL => Name::Literal(&self.bytes[self.text()?]),
            code => Name::Known(known_name(code)?),
        };
        let value = match first & CODED_VALUE {
            0 => Value::At(self.text()?),
            _ => Value::Known(known_value(self.byte()?)?),
        };
        Ok(Line { name, value })
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, HeaderBlockError> {
        let byte = *self.bytes.get(self.at).ok_or(HeaderBlockError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn text(&mut self) -> Result<Range<usize>, HeaderBlockError> {
        let length = self.length()?;
        if length > self.bytes.len() - self.at {
            return Err(HeaderBlockError::Truncated);
        }
        let start = self.at;
        self.at += length;
        Ok(start..self.at)
    }

    /// Nearly all lengths take one byte.
    #[inline]
    fn length(&mut self) -> Result<usize, HeaderBlockError> {
        match self.byte()? {
            short @ ..0x80 => Ok(usize::from(short)),
            low => self.long_length(low),
        }
    }

    #[cold]
    fn long_length(&mut self, low: u8) -> Result<usize, HeaderBlockError> {
        let mut length = usize::from(low & 0x7f);
        for group in 1..LENGTH_BYTES_MAX {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                return Ok(length);
            }
        }
        Err(HeaderBlockError::Length)
    }
}

fn known_name(code: u8) -> Result<&'static HeaderName, HeaderBlockError> {
    NAMES
        .get(usize::from(code) - 1)
        .ok_or(HeaderBlockError::UnknownCode(code))
}

fn known_value(code: u8) -> Result<&'static HeaderValue, HeaderBlockError> {
    VALUES
        .get(usize::from(code))
        .ok_or(HeaderBlockError::UnknownCode(code))
}

fn push_line(packed: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let value_code = VALUES.iter().position(|known| known == value);
    let mark = value_code.map_or(0, |_| CODED_VALUE);
    match NAMES.iter().position(|known| known == name) {
        Some(position) => packed.push((position as u8 + 1) | mark),
        None => {
            packed.push(LITERAL | mark);
            push_text(packed, name.as_str().as_bytes());
        }
    }
    match value_code {
        Some(code) => packed.push(code as u8),
        None => push_text(packed, value.as_bytes()),
    }
}

fn push_text(packed: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        packed.push(length as u8 | 0x80);
        length >>= 7;
    }
    packed.push(length as u8);
    packed.extend_from_slice(text);
}

fn packed_bytes_max((name, value): (&HeaderName, &HeaderValue)) -> usize {
    1 + 2 * LENGTH_BYTES_MAX + name.as_str().len() + value.len()
}

/// What [`HeaderValue`] takes.
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn taken(bytes: &'static [u8]) -> Result<HeaderBlock, HeaderBlockError> {
        HeaderBlock::from_bytes(Bytes::from_static(bytes))
    }

    #[test]
    fn a_well_known_name_takes_one_byte() {
        let block = HeaderBlock::pack(&headers(&[("content-type", b"image/tiff")]));
        assert_eq!(block.as_bytes(), b"\x15\x0aimage/tiff");
    }

    #[test]
    fn a_frequent_value_takes_one_byte_under_any_name() {
        let map = headers(&[("content-type", b"image/webp"), ("x-own", b"bytes")]);
        let block = HeaderBlock::pack(&map);
        assert_eq!(block.as_bytes(), b"\x95\x02\x80\x05x-own\x07");
        assert_eq!(block.to_map(), map);
    }

    #[test]
    fn codes_that_are_on_disk_keep_their_names() {
        let fixed = [
            (1, "accept-ranges"),
            (21, "content-type"),
            (40, "x-xss-protection"),
            (41, "accept-ch"),
            (72, "x-varnish"),
        ];
        for (code, name) in fixed {
            assert_eq!(known_name(code).unwrap(), name);
        }
        for (code, value) in [
            (0, "image/jpeg"),
            (7, "bytes"),
            (19, "max-age=31536000, immutable"),
        ] {
            assert_eq!(known_value(code).unwrap(), value);
        }
    }

    #[test]
    fn codes_are_unique_and_those_of_names_leave_the_high_bit_free() {
        assert!(NAMES.len() < usize::from(CODED_VALUE));

        for (position, name) in NAMES.iter().enumerate() {
            assert_eq!(
                NAMES.iter().position(|other| other == name),
                Some(position),
                "{name}"
            );
        }
    }

    #[test]
    fn all_lines_of_a_name_come_back_in_their_order() {
        let map = headers(&[
            ("link", b"<a>"),
            ("x-own", b"1"),
            ("link", b"<b>"),
            ("x-own", b"2"),
        ]);
        let block = HeaderBlock::pack(&map);
        let unpacked = block.to_map();
        let links: Vec<_> = unpacked.get_all("link").iter().collect();
        assert_eq!(links, ["<a>", "<b>"]);
        assert_eq!(block.get(&header::LINK).unwrap(), "<a>");
        assert_eq!(block.get(&HeaderName::from_static("x-own")).unwrap(), "1");
        assert_eq!(block.get(&header::ETAG), None);
    }

    #[test]
    fn a_well_known_name_written_out_by_an_earlier_table_is_still_found() {
        let block = taken(b"\x00\x04etag\x03\"a\"").unwrap();
        assert_eq!(block.get(&header::ETAG).unwrap(), "\"a\"");
    }

    #[test]
    fn values_share_the_bytes_of_the_block() {
        let block = HeaderBlock::pack(&headers(&[("etag", b"\"0123456789\"")]));
        let value = block.get(&header::ETAG).unwrap();
        let within = block.as_bytes().as_ptr_range();
        assert!(within.contains(&value.as_bytes().as_ptr()));
    }

    #[test]
    fn a_value_longer_than_one_length_byte_survives() {
        let long = vec![b'v'; 70_000];
        let block = HeaderBlock::pack(&headers(&[("via", &long), ("age", b"1")]));
        let block = HeaderBlock::from_bytes(Bytes::copy_from_slice(block.as_bytes())).unwrap();
        assert_eq!(block.get(&header::VIA).unwrap().as_bytes(), long);
        assert_eq!(block.get(&header::AGE).unwrap(), "1");
    }

    #[test]
    fn bytes_that_are_no_block_are_refused_by_their_fault() {
        let cases: [(&'static [u8], HeaderBlockError); 11] = [
            (b"\x15", HeaderBlockError::Truncated),
            (b"\x15\x05imag", HeaderBlockError::Truncated),
            (b"\x00\x04eta", HeaderBlockError::Truncated),
            (b"\x7f\x01a", HeaderBlockError::UnknownCode(127)),
            (b"\x95\xc8", HeaderBlockError::UnknownCode(200)),
            (b"\x95", HeaderBlockError::Truncated),
            (b"\x00\x04ETag\x01a", HeaderBlockError::Name),
            (b"\x00\x00\x01a", HeaderBlockError::Name),
            (b"\x00\x03a:b\x01a", HeaderBlockError::Name),
            (b"\x15\x03a\r\n", HeaderBlockError::Value),
            (b"\x15\xff\xff\xff\xff\xff\x01", HeaderBlockError::Length),
        ];
        for (bytes, error) in cases {
            assert_eq!(taken(bytes), Err(error), "{bytes:?}");
        }
        assert_eq!(taken(b"").unwrap().iter().count(), 0);
    }

    /// Names with a code and without, each also several times.
    fn any_headers() -> impl Strategy<Value = HeaderMap> {
        let own = "[a-z0-9!#$%&'*+.^_`|~-]{1,40}".prop_map(|name| name.parse().unwrap());
        let name = prop_oneof![prop::sample::select(&NAMES[..]), own];
        let bytes = prop::collection::vec(any::<u8>().prop_filter("valid", |&b| is_value_byte(b)), 0..200);
        let own = bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
        let value = prop_oneof![prop::sample::select(&VALUES[..]), own];
        prop::collection::vec((name, value), 0..20).prop_map(|lines| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(name, value);
            }
            headers
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(headers in any_headers()) {
            let block = HeaderBlock::pack(&headers);
            let read = HeaderBlock::from_bytes(Bytes::copy_from_slice(block.as_bytes())).unwrap();
            prop_assert_eq!(&read, &block);
            prop_assert_eq!(read.to_map(), headers);
        }

        #[test]
        fn hostile_bytes_are_refused_or_can_be_read_whole(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(block) = HeaderBlock::from_bytes(bytes.into()) {
                prop_assert_eq!(block.iter().count(), block.lines().count());
                block.to_map();
            }
        }

        #[test]
        fn a_damaged_block_is_refused_or_can_be_read_whole(
            headers in any_headers(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            kept in any::<prop::sample::Index>(),
        ) {
            let mut bytes = HeaderBlock::pack(&headers).as_bytes().to_vec();
            prop_assume!(!bytes.is_empty());
            let position = at.index(bytes.len());
            bytes[position] = byte;
            bytes.truncate(kept.index(bytes.len() + 1));
            if let Ok(block) = HeaderBlock::from_bytes(bytes.into()) {
                block.to_map();
            }
        }
    }
}
