//! Percent-encoding in its one normal form (RFC 3986 sections 2.3 and 6.2.2).
//!
//! Invariant: unreserved bytes stand for themselves, every other encoded byte keeps its encoding with upper-case
//! digits, and a raw byte that no URL may hold is encoded or refused. It does not know segments or parameters.

use super::UrlError;
use std::borrow::Cow;

/// A part of a URL with a grammar of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Path,
    Query,
}

/// What a raw byte of a component needs. Zero: nothing.
pub(super) type Need = u8;
const ENCODE: Need = 1;
const PERCENT: Need = 2;
const REFUSE: Need = 4;

static PATH: [Need; 256] = needs(b"!$&'()*+,;=:@/-._~");
static QUERY: [Need; 256] = needs(b"!$&'()*+,;=:@/-._~?");

const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";

const fn needs(plain: &[u8]) -> [Need; 256] {
    let mut needs = [ENCODE; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte <= b' ' as usize || byte == 0x7f || byte == b'#' as usize {
            needs[byte] = REFUSE;
        } else if (byte as u8).is_ascii_alphanumeric() {
            needs[byte] = 0;
        }
        byte += 1;
    }
    needs[b'%' as usize] = PERCENT;
    let mut at = 0;
    while at < plain.len() {
        needs[plain[at] as usize] = 0;
        at += 1;
    }
    needs
}

impl Component {
    #[inline]
    pub(super) fn need(self, byte: u8) -> Need {
        match self {
            Component::Path => PATH[usize::from(byte)],
            Component::Query => QUERY[usize::from(byte)],
        }
    }
}

/// Borrows where nothing is to be done: the ordinary case.
pub(super) fn normalise(text: &str, component: Component) -> Result<Cow<'_, str>, UrlError> {
    let needs = text.bytes().fold(0, |needs, byte| needs | component.need(byte));
    if needs == 0 || is_normal(text, component) {
        return Ok(Cow::Borrowed(text));
    }
    let mut normal = String::with_capacity(text.len() + 16);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match component.need(byte) {
            0 => normal.push(char::from(byte)),
            PERCENT => push_encoded(&mut normal, decoded(&mut bytes)?, component)?,
            REFUSE => return Err(refusal(byte)),
            _ if byte == b'\\' && component == Component::Path => return Err(UrlError::Backslash),
            _ => push_triplet(&mut normal, byte),
        }
    }
    Ok(Cow::Owned(normal))
}

/// Also where bytes are encoded, if each has to be and is in upper case.
fn is_normal(text: &str, component: Component) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let normal = match component.need(byte) {
            0 => true,
            PERCENT => is_normal_triplet(&mut bytes, component),
            _ => false,
        };
        if !normal {
            return false;
        }
    }
    true
}

fn is_normal_triplet(bytes: &mut std::str::Bytes<'_>, component: Component) -> bool {
    let is_upper = bytes.clone().take(2).all(|digit| !digit.is_ascii_lowercase());
    let stands = decoded(bytes).and_then(|byte| form(byte, component));
    is_upper && stands == Ok(Form::Encoded)
}

fn refusal(byte: u8) -> UrlError {
    match byte {
        b' ' | b'#' => UrlError::Delimiter,
        _ => UrlError::Control,
    }
}

/// The byte that the two digits after a `%` stand for.
fn decoded(digits: &mut impl Iterator<Item = u8>) -> Result<u8, UrlError> {
    let mut digit = || {
        let digit = char::from(digits.next()?).to_digit(16)?;
        Some(digit as u8)
    };
    match (digit(), digit()) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(UrlError::PercentEncoding),
    }
}

/// How a byte that came encoded is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Encoded,
}

/// A path with an encoded control character or backslash is an attack on what unpacks it; in a query a line
/// break may be text.
fn form(byte: u8, component: Component) -> Result<Form, UrlError> {
    match byte {
        0 => Err(UrlError::Control),
        1..=0x1f | 0x7f if component == Component::Path => Err(UrlError::Control),
        b'\\' if component == Component::Path => Err(UrlError::Backslash),
        byte if is_unreserved(byte) => Ok(Form::Plain),
        _ => Ok(Form::Encoded),
    }
}

fn push_encoded(normal: &mut String, byte: u8, component: Component) -> Result<(), UrlError> {
    match form(byte, component)? {
        Form::Plain => normal.push(char::from(byte)),
        Form::Encoded => push_triplet(normal, byte),
    }
    Ok(())
}

fn push_triplet(normal: &mut String, byte: u8) {
    normal.push('%');
    normal.push(char::from(UPPER_HEX[usize::from(byte >> 4)]));
    normal.push(char::from(UPPER_HEX[usize::from(byte & 15)]));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
