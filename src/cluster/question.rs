//! What one node asks another for a client, as an HTTP/2 request, and what comes back.
//!
//! The fields that only nodes say to each other are named here, written and read. Invariants: none of them comes from, or goes
//! to, a client or an origin ([`strip`]); whatever is read is what was written, or refused. It does not know how they travel.

use crate::base::digest::{Digest, Hex};
use crate::base::epoch::{Epoch, Incarnation, PurgeIndex};
use crate::http::reuse;
use crate::key::KeyName;
use crate::scope::{Kind, ScopeName, Tags};
use crate::store::Stamp;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::{Display, Formatter, Write};
use std::net::IpAddr;
use std::time::Duration;

/// What is to be done with a question: see [`Errand`].
pub const ERRAND: HeaderName = HeaderName::from_static("aquatint-errand");
/// The incarnation of the log that who asks follows, and the index up to which it is applied there: who answers has to be
/// as far, or refuses (421).
pub const LOG: HeaderName = HeaderName::from_static("aquatint-log");
/// The client's address.
pub const CLIENT: HeaderName = HeaderName::from_static("aquatint-client");
/// The name of the key that who asks has found, in hexadecimal.
pub const KEY: HeaderName = HeaderName::from_static("aquatint-key");
/// Of the protocol between nodes.
pub const PROTOCOL: HeaderName = HeaderName::from_static("aquatint-protocol");
/// In answers to a fill: epoch, and names of tags, in hexadecimal, after it.
pub const STAMP: HeaderName = HeaderName::from_static("aquatint-stamp");
/// In answers to a fill: it is older than a purge has told that the origin has, and may be shared but not stored.
pub const TOO_OLD: HeaderName = HeaderName::from_static("aquatint-too-old");
/// In answers to a fill: only the close of the origin's connection tells where the body ends. It may be shared but not stored.
pub const UNFRAMED: HeaderName = HeaderName::from_static("aquatint-unframed");
/// In answers to a fill: how old it is, in milliseconds.
pub const AGE: HeaderName = HeaderName::from_static("aquatint-age");
/// Why the origin's answer is not there; such an answer is the origin's failure, not the peer's.
pub const FAILURE: HeaderName = HeaderName::from_static("aquatint-failure");
/// Why the peer does not answer: the next is asked.
pub const REFUSED: HeaderName = HeaderName::from_static("aquatint-refused");
/// In answers to clients' requests: the key is hot, keep a copy.
pub const HOT: HeaderName = HeaderName::from_static("aquatint-hot");
/// In answers to a fill, or after the body of one that was still arriving: BLAKE3-256 of the whole body, in hexadecimal. It is
/// heeded with a whole 200.
pub const DIGEST: HeaderName = HeaderName::from_static("aquatint-digest");

/// The protocol that this release speaks. It understands the ones beside it too, so that a cluster can be brought to another
/// release node by node.
pub const PROTOCOL_VERSION: u32 = 1;

/// Tags of one answer, as many as a route may allow; one with more has no stamp, and is not stored by who asked.
const TAGS_MAX: usize = 10_000;

static FIELDS: [HeaderName; 13] = [
    ERRAND, LOG, CLIENT, KEY, PROTOCOL, STAMP, TOO_OLD, UNFRAMED, AGE, FAILURE, REFUSED, HOT, DIGEST,
];

/// What a node does for another. None of them is passed on to a third but a relay's miss, as a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Answer a client's request in my place.
    Relay,
    /// Give me the source that the request names, as it is stored, from the origin if need be.
    Fill,
    /// As a fill, but only what is there already (`Cache-Control: only-if-cached`).
    Look,
}

/// Where who asks is in the log of purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub incarnation: Incarnation,
    pub applied: PurgeIndex,
}

/// What a question says beside the request it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    pub errand: Errand,
    pub position: LogPosition,
    /// The client's address.
    pub client: IpAddr,
    pub key: KeyName,
}

/// Why a node does not answer another's question. Nothing is said of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the question is malformed")]
    Malformed,
    #[error("the question is of a protocol that is not spoken here")]
    Protocol,
    #[error("the nodes follow different logs of purges")]
    Incarnation,
    #[error("purges that the other knows have not arrived here")]
    Behind,
    #[error("the node takes no more questions")]
    Leaving,
    #[error("the request can not be served by the configuration here")]
    Unroutable,
    #[error("there is nothing here that may answer")]
    Absent,
    #[error("the node has no room for it")]
    Overloaded,
    #[error("what was to answer has gone meanwhile")]
    Gone,
}

/// How an origin failed, as one node tells another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the origin did not answer in time")]
    Late,
    #[error("the origin takes no more requests for now")]
    Busy,
    #[error("the origin could not be reached, or hung up")]
    Disconnected,
    #[error("the origin gave no usable answer")]
    Unusable,
}

impl Errand {
    pub const ALL: [Errand; 3] = [Errand::Relay, Errand::Fill, Errand::Look];

    pub fn word(self) -> &'static str {
        match self {
            Errand::Relay => "relay",
            Errand::Fill => "fill",
            Errand::Look => "look",
        }
    }

    /// Of a question, if it is one.
    pub fn of(headers: &HeaderMap) -> Option<Errand> {
        let word = only(headers, &ERRAND)?;
        Errand::ALL.into_iter().find(|errand| errand.word() == word)
    }
}

impl Refusal {
    pub const ALL: [Refusal; 9] = [
        Refusal::Malformed,
        Refusal::Protocol,
        Refusal::Incarnation,
        Refusal::Behind,
        Refusal::Leaving,
        Refusal::Unroutable,
        Refusal::Absent,
        Refusal::Overloaded,
        Refusal::Gone,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Protocol => "protocol",
            Refusal::Incarnation => "incarnation",
            Refusal::Behind => "behind",
            Refusal::Leaving => "leaving",
            Refusal::Unroutable => "unroutable",
            Refusal::Absent => "absent",
            Refusal::Overloaded => "overloaded",
            Refusal::Gone => "gone",
        }
    }

    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Malformed => StatusCode::BAD_REQUEST,
            Refusal::Protocol => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::Incarnation
            | Refusal::Behind
            | Refusal::Leaving
            | Refusal::Unroutable
            | Refusal::Gone => StatusCode::MISDIRECTED_REQUEST,
            Refusal::Absent => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Of an answer, if it is one; a word that only another release knows is a refusal all the same.
    pub fn of(headers: &HeaderMap) -> Option<Refusal> {
        let word = headers.get(REFUSED)?.as_bytes();
        let known = Refusal::ALL
            .into_iter()
            .find(|refusal| refusal.word().as_bytes() == word);
        Some(known.unwrap_or(Refusal::Unroutable))
    }

    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(REFUSED, HeaderValue::from_static(self.word()));
    }
}

impl Failure {
    pub const ALL: [Failure; 4] = [
        Failure::Late,
        Failure::Busy,
        Failure::Disconnected,
        Failure::Unusable,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Failure::Late => "late",
            Failure::Busy => "busy",
            Failure::Disconnected => "disconnected",
            Failure::Unusable => "unusable",
        }
    }

    /// As clients are told.
    pub fn status(self) -> StatusCode {
        match self {
            Failure::Late => StatusCode::GATEWAY_TIMEOUT,
            Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Disconnected | Failure::Unusable => StatusCode::BAD_GATEWAY,
        }
    }

    /// As far as stored responses that may stand in are concerned.
    pub fn kind(self) -> reuse::Failure {
        match self {
            Failure::Disconnected => reuse::Failure::Disconnected,
            Failure::Late | Failure::Busy | Failure::Unusable => reuse::Failure::Error,
        }
    }

    /// Of an answer, if it tells one; a word that only another release knows is a failure all the same.
    pub fn of(headers: &HeaderMap) -> Option<Failure> {
        let word = headers.get(FAILURE)?.as_bytes();
        let known = Failure::ALL
            .into_iter()
            .find(|failure| failure.word().as_bytes() == word);
        Some(known.unwrap_or(Failure::Unusable))
    }

    pub fn write(self, headers: &mut HeaderMap) {
        headers.insert(FAILURE, HeaderValue::from_static(self.word()));
    }
}

impl LogPosition {
    /// As [`LOG`] has it.
    pub fn parse(text: &str) -> Option<LogPosition> {
        let (incarnation, applied) = text.split_once(' ')?;
        Some(LogPosition {
            incarnation: Incarnation::from_bytes(from_hex(incarnation)?),
            applied: PurgeIndex::from_number(decimal(applied)?),
        })
    }
}

impl Display for LogPosition {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let LogPosition { incarnation, applied } = self;
        write!(f, "{} {applied}", Hex(incarnation.as_bytes()))
    }
}

impl Fields {
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(ERRAND, HeaderValue::from_static(self.errand.word()));
        headers.insert(PROTOCOL, HeaderValue::from(PROTOCOL_VERSION));
        insert(headers, LOG, &self.position);
        insert(headers, CLIENT, &self.client);
        insert(headers, KEY, &Hex(self.key.as_bytes()));
    }

    /// # Errors
    /// When a field is missing or malformed, or the protocol is not spoken here.
    pub fn read(headers: &HeaderMap) -> Result<Fields, Refusal> {
        let protocol = only(headers, &PROTOCOL).and_then(decimal);
        match protocol.ok_or(Refusal::Malformed)? {
            version if speaks(version) => Fields::parse(headers).ok_or(Refusal::Malformed),
            _ => Err(Refusal::Protocol),
        }
    }

    fn parse(headers: &HeaderMap) -> Option<Fields> {
        Some(Fields {
            errand: Errand::of(headers)?,
            position: LogPosition::parse(only(headers, &LOG)?)?,
            client: only(headers, &CLIENT)?.parse().ok()?,
            key: KeyName::from_bytes(from_hex(only(headers, &KEY)?)?),
        })
    }
}

/// Whether questions of this version are understood: of the own one, the one before, and the one after, which keeps to what
/// this one understands.
fn speaks(version: u64) -> bool {
    let own = u64::from(PROTOCOL_VERSION);
    version.abs_diff(own) <= 1
}

/// Takes out all that nodes alone say to each other.
pub fn strip(headers: &mut HeaderMap) {
    for name in &FIELDS {
        headers.remove(name);
    }
}

pub fn write_too_old(headers: &mut HeaderMap) {
    headers.insert(TOO_OLD, HeaderValue::from_static("1"));
}

/// Whatever is said in the field: it is said of nothing else.
pub fn is_too_old(headers: &HeaderMap) -> bool {
    headers.contains_key(TOO_OLD)
}

pub fn write_unframed(headers: &mut HeaderMap) {
    headers.insert(UNFRAMED, HeaderValue::from_static("1"));
}

/// Whatever is said in the field: it is said of nothing else.
pub fn is_unframed(headers: &HeaderMap) -> bool {
    headers.contains_key(UNFRAMED)
}

pub fn write_age(headers: &mut HeaderMap, age: Duration) {
    insert(headers, AGE, &age.as_millis());
}

/// How old an answer is that comes from a store.
pub fn age(headers: &HeaderMap) -> Option<Duration> {
    only(headers, &AGE).and_then(decimal).map(Duration::from_millis)
}

pub fn write_digest(headers: &mut HeaderMap, digest: &Digest) {
    insert(headers, DIGEST, digest);
}

/// Says by which purges an answer is known, unless it has more tags than can be said.
pub fn write_stamp(headers: &mut HeaderMap, stamp: &Stamp) {
    let names = stamp.tags.names();
    if names.len() > TAGS_MAX {
        return;
    }
    let mut text = stamp.epoch.number().to_string();
    for name in names {
        let written = write!(text, " {:x}", name.number());
        written.expect("writing to a string can not fail");
    }
    insert(headers, STAMP, &text);
}

/// By which purges an answer is known; `None` where it does not say, and may not be stored.
pub fn stamp(headers: &HeaderMap) -> Option<Stamp> {
    let mut words = only(headers, &STAMP)?.split(' ');
    let epoch = Epoch::from_number(decimal(words.next()?)?);
    let names: Vec<ScopeName> = words.take(TAGS_MAX + 1).map(tag_name).collect::<Option<_>>()?;
    let in_order = names.is_sorted_by(|a, b| a < b);
    (in_order && names.len() <= TAGS_MAX).then(|| Stamp {
        epoch,
        tags: Tags::from_names(names),
    })
}

fn tag_name(word: &str) -> Option<ScopeName> {
    let digits = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(word, 16).ok().filter(|_| digits)?;
    let name = ScopeName::from_number(number);
    (name.kind() == Some(Kind::Tag)).then_some(name)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &dyn Display) {
    let value = HeaderValue::try_from(value.to_string());
    headers.insert(name, value.expect("numbers and addresses are visible ASCII"));
}

/// The value of a field that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A number written in digits alone: no sign, no space.
fn decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::Scope;
    use proptest::prelude::*;

    fn fields() -> impl Strategy<Value = Fields> {
        let errand = prop::sample::select(Errand::ALL.to_vec());
        let parts = (
            errand,
            any::<[u8; 16]>(),
            any::<u64>(),
            any::<IpAddr>(),
            any::<[u8; 16]>(),
        );
        parts.prop_map(|(errand, incarnation, applied, client, key)| Fields {
            errand,
            position: LogPosition {
                incarnation: Incarnation::from_bytes(incarnation),
                applied: PurgeIndex::from_number(applied),
            },
            client,
            key: KeyName::from_bytes(key),
        })
    }

    fn stamps() -> impl Strategy<Value = Stamp> {
        (any::<u64>(), prop::collection::vec(any::<String>(), 0..40)).prop_map(|(epoch, tags)| {
            let mut names: Vec<_> = tags.iter().map(|tag| Scope::tag(tag).name()).collect();
            names.sort_unstable();
            names.dedup();
            Stamp {
                epoch: Epoch::from_number(epoch),
                tags: Tags::from_names(names),
            }
        })
    }

    fn written() -> HeaderMap {
        let mut headers = HeaderMap::new();
        Fields {
            errand: Errand::Fill,
            position: LogPosition {
                incarnation: Incarnation::from_bytes([7; 16]),
                applied: PurgeIndex::from_number(42),
            },
            client: [192, 0, 2, 1].into(),
            key: KeyName::from_bytes([9; 16]),
        }
        .write(&mut headers);
        headers
    }

    proptest! {
        #[test]
        fn what_is_asked_is_understood(fields in fields()) {
            let mut headers = HeaderMap::new();
            fields.write(&mut headers);
            prop_assert_eq!(Fields::read(&headers), Ok(fields));
            strip(&mut headers);
            prop_assert!(headers.is_empty());
        }

        #[test]
        fn what_is_answered_is_understood(given in stamps(), millis in any::<u64>()) {
            let mut headers = HeaderMap::new();
            write_stamp(&mut headers, &given);
            write_age(&mut headers, Duration::from_millis(millis));
            prop_assert_eq!(stamp(&headers), Some(given));
            prop_assert_eq!(age(&headers), Some(Duration::from_millis(millis)));
        }

        #[test]
        fn nothing_that_is_said_makes_reading_panic(value in prop::collection::vec(32u8..=126, 0..60)) {
            let mut headers = written();
            for name in &FIELDS {
                headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
                let _understood = (Fields::read(&headers), stamp(&headers), age(&headers));
            }
        }
    }

    #[test]
    fn a_question_without_one_of_its_fields_or_with_one_twice_is_malformed() {
        for name in [ERRAND, LOG, CLIENT, KEY, PROTOCOL] {
            let mut headers = written();
            let value = headers.remove(&name).unwrap();
            assert_eq!(Fields::read(&headers), Err(Refusal::Malformed), "{name}");
            headers.append(&name, value.clone());
            assert!(Fields::read(&headers).is_ok());
            headers.append(&name, value);
            assert_eq!(Fields::read(&headers), Err(Refusal::Malformed), "{name}");
        }
    }

    #[test]
    fn malformed_fields_are_refused() {
        for (name, value) in [
            (ERRAND, "Relay"),
            (LOG, "07070707070707070707070707070707"),
            (LOG, "07070707070707070707070707070707  42"),
            (LOG, "07070707070707070707070707070707 +42"),
            (LOG, "0707070707070707070707070707070 42"),
            (LOG, "0707070707070707070707070707070g 42"),
            (CLIENT, "192.0.2.1:80"),
            (KEY, ""),
            (PROTOCOL, "-1"),
        ] {
            let mut headers = written();
            headers.insert(&name, HeaderValue::from_static(value));
            assert_eq!(Fields::read(&headers), Err(Refusal::Malformed), "{name}: {value}");
        }
    }

    #[test]
    fn this_protocol_and_its_neighbours_are_spoken_and_no_other() {
        let of = |version: u32| {
            let mut headers = written();
            headers.insert(PROTOCOL, HeaderValue::from(version));
            Fields::read(&headers)
        };
        for spoken in [PROTOCOL_VERSION - 1, PROTOCOL_VERSION, PROTOCOL_VERSION + 1] {
            assert!(of(spoken).is_ok(), "{spoken}");
        }
        assert_eq!(of(PROTOCOL_VERSION + 2), Err(Refusal::Protocol));
    }

    #[test]
    fn a_stamp_that_is_malformed_is_none() {
        let tag = Scope::tag("sale").name().number();
        let host = Scope::host("a").name().number();
        for value in [
            "".to_owned(),
            "x".into(),
            "1 ".into(),
            "1 zz".into(),
            "1 +5".into(),
            format!("1 {tag:x} {tag:x}"),
            format!("1 {host:x}"),
        ] {
            let headers = HeaderMap::from_iter([(STAMP, HeaderValue::from_str(&value).unwrap())]);
            assert_eq!(stamp(&headers), None, "{value}");
        }
    }

    #[test]
    fn words_of_later_releases_are_refusals_and_failures_all_the_same() {
        let mut headers = HeaderMap::new();
        assert_eq!((Refusal::of(&headers), Failure::of(&headers)), (None, None));
        for refusal in Refusal::ALL {
            refusal.write(&mut headers);
            assert_eq!(Refusal::of(&headers), Some(refusal));
        }
        for failure in Failure::ALL {
            failure.write(&mut headers);
            assert_eq!(Failure::of(&headers), Some(failure));
        }
        headers.insert(REFUSED, HeaderValue::from_static("later"));
        headers.insert(FAILURE, HeaderValue::from_static("later"));
        assert!(Refusal::of(&headers).is_some() && Failure::of(&headers).is_some());
    }
}
