//! One request as the log is told of it, and its compact form between the thread that answered it and the writer.
//!
//! Invariant: what is packed is unpacked the same, but for texts beyond their limits, which are cut, and for times, which
//! are whole microseconds. Packing copies bytes and formats nothing: it is a part of every hit. It does not know what of
//! it may be shown.

use crate::base::clock::Timestamp;
use crate::base::metrics::{Label, Outcome};
use http::Version;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// What is kept of each text, in bytes.
const METHOD_BYTES_MAX: usize = 32;
const HOST_BYTES_MAX: usize = 264;
pub(super) const TARGET_BYTES_MAX: usize = 8 << 10;
const ROUTE_BYTES_MAX: usize = 512;
const REQUEST_ID_BYTES_MAX: usize = 128;
pub(super) const REFERRER_BYTES_MAX: usize = 1 << 10;
const USER_AGENT_BYTES_MAX: usize = 512;
const VERSION_PARAMETER_BYTES_MAX: usize = 64;

/// In the order in which they are packed.
const LIMITS: [usize; TEXTS] = [
    METHOD_BYTES_MAX,
    HOST_BYTES_MAX,
    TARGET_BYTES_MAX,
    ROUTE_BYTES_MAX,
    REQUEST_ID_BYTES_MAX,
    REFERRER_BYTES_MAX,
    USER_AGENT_BYTES_MAX,
    VERSION_PARAMETER_BYTES_MAX,
];

const TEXTS: usize = 8;

/// What precedes the texts: numbers, addresses, and how long each text is.
const HEAD_BYTES: usize = 3 * 8 + 3 * 4 + 2 + 4 + 2 * 16 + TEXTS * 2;

/// In place of microseconds and of seconds: there are none.
const NO_TIME: u32 = u32::MAX;

/// Bits of the byte that says what of the rest means something.
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const TRACED: u8 = 4;
const TRANSFORMED: u8 = 8;

/// One request. Texts are as the client sent them, and may hold secrets; where there is none they are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) client: Option<IpAddr>,
    pub(crate) version: Version,
    pub(crate) method: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) status: u16,
    /// Of the body, as sent.
    pub(crate) bytes: u64,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
    pub(crate) first_byte: Option<Duration>,
    /// In whole seconds.
    pub(crate) age: Option<Duration>,
    pub(crate) origin_time: Option<Duration>,
    pub(crate) route: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) referrer: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    /// Where the request is traced.
    pub(crate) trace_id: Option<[u8; 16]>,
    pub(crate) parameters: Parameters<'a>,
}

/// Which parameters of its query mean something to this edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters<'a> {
    pub(crate) transforms: Transforms,
    /// Empty where none names a version.
    pub(crate) version: &'a [u8],
}

/// Whether `w` and the like are transform parameters, or the source's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transforms {
    Taken,
    Left,
}

impl Parameters<'_> {
    /// Of a request whose route is not known.
    pub(crate) const NONE: Parameters<'static> = Parameters {
        transforms: Transforms::Left,
        version: b"",
    };
}

/// Appends a line's compact form.
pub(super) fn pack(to: &mut Vec<u8>, line: &Line<'_>) {
    let mut texts = [
        line.method,
        line.host,
        line.target,
        line.route,
        line.request_id,
        line.referrer,
        line.user_agent,
        line.parameters.version,
    ];
    let mut head = Head::default();
    head.put(line.time.as_millis().to_le_bytes());
    head.put(line.bytes.to_le_bytes());
    head.put(saturated(line.duration).to_le_bytes());
    head.put(micros(line.first_byte).to_le_bytes());
    head.put(micros(line.origin_time).to_le_bytes());
    let age = line.age.map_or(NO_TIME, |age| below(age.as_secs()));
    head.put(age.to_le_bytes());
    head.put(line.status.to_le_bytes());
    let (address_kind, address) = packed(line.client);
    let flags = address_kind
        | flag(line.trace_id.is_some(), TRACED)
        | flag(line.parameters.transforms == Transforms::Taken, TRANSFORMED);
    head.put([line.outcome.position() as u8, of_version(line.version), flags, 0]);
    head.put(address);
    head.put(line.trace_id.unwrap_or_default());
    let mut length = HEAD_BYTES;
    for (text, limit) in texts.iter_mut().zip(LIMITS) {
        *text = &text[..text.len().min(limit)];
        head.put((text.len() as u16).to_le_bytes());
        length += text.len();
    }
    to.reserve(length);
    to.extend_from_slice(&head.bytes);
    texts.iter().for_each(|text| to.extend_from_slice(text));
}

/// Takes the first line off; `None` where nothing is left.
pub(super) fn unpack<'a>(packed: &mut &'a [u8]) -> Option<Line<'a>> {
    let mut left = *packed;
    let time = Timestamp::from_millis(u64::from_le_bytes(take(&mut left)?));
    let bytes = u64::from_le_bytes(take(&mut left)?);
    let duration = Duration::from_micros(u64::from_le_bytes(take(&mut left)?));
    let [first_byte, origin_time, age] = [take(&mut left)?, take(&mut left)?, take(&mut left)?]
        .map(|number| Some(u32::from_le_bytes(number)).filter(|number| *number != NO_TIME));
    let status = u16::from_le_bytes(take(&mut left)?);
    let [outcome, version, flags, _] = take(&mut left)?;
    let address: [u8; 16] = take(&mut left)?;
    let trace_id = take(&mut left)?;
    let mut lengths = [0; TEXTS];
    for length in &mut lengths {
        *length = u16::from_le_bytes(take(&mut left)?);
    }
    let mut texts = [&[][..]; TEXTS];
    for (text, length) in texts.iter_mut().zip(lengths) {
        (*text, left) = left.split_at_checked(length.into())?;
    }
    *packed = left;
    let [
        method,
        host,
        target,
        route,
        request_id,
        referrer,
        user_agent,
        version_parameter,
    ] = texts;
    let micros = |number: u32| Duration::from_micros(number.into());
    let is_set = |bit| flags & bit != 0;
    Some(Line {
        time,
        client: unpacked(flags, address),
        version: to_version(version),
        method,
        host,
        target,
        status,
        bytes,
        outcome: Outcome::ALL[usize::from(outcome)],
        duration,
        first_byte: first_byte.map(micros),
        age: age.map(|secs| Duration::from_secs(secs.into())),
        origin_time: origin_time.map(micros),
        route,
        request_id,
        referrer,
        user_agent,
        trace_id: is_set(TRACED).then_some(trace_id),
        parameters: Parameters {
            transforms: if is_set(TRANSFORMED) {
                Transforms::Taken
            } else {
                Transforms::Left
            },
            version: version_parameter,
        },
    })
}

/// Filled from the front.
struct Head {
    bytes: [u8; HEAD_BYTES],
    filled: usize,
}

impl Default for Head {
    fn default() -> Self {
        Head {
            bytes: [0; HEAD_BYTES],
            filled: 0,
        }
    }
}

impl Head {
    #[inline(always)]
    fn put<const N: usize>(&mut self, part: [u8; N]) {
        self.bytes[self.filled..self.filled + N].copy_from_slice(&part);
        self.filled += N;
    }
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*first)
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn saturated(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn micros(time: Option<Duration>) -> u32 {
    time.map_or(NO_TIME, |time| below(saturated(time)))
}

/// What is longer than can be said, 71 minutes in microseconds, is said to be that long.
fn below(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(NO_TIME).min(NO_TIME - 1)
}

fn packed(client: Option<IpAddr>) -> (u8, [u8; 16]) {
    match client {
        None => (0, [0; 16]),
        Some(IpAddr::V6(address)) => (IPV6, address.octets()),
        Some(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            (IPV4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
    }
}

fn unpacked(flags: u8, octets: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = octets;
    match flags & (IPV4 | IPV6) {
        IPV4 => Some(Ipv4Addr::new(a, b, c, d).into()),
        IPV6 => Some(Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn of_version(version: Version) -> u8 {
    match version {
        Version::HTTP_10 => 0,
        Version::HTTP_2 => 2,
        _ => 1,
    }
}

fn to_version(number: u8) -> Version {
    match number {
        0 => Version::HTTP_10,
        2 => Version::HTTP_2,
        _ => Version::HTTP_11,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn line(target: &[u8]) -> Line<'_> {
        Line {
            time: Timestamp::from_millis(1_700_000_000_042),
            client: Some(IpAddr::from([127, 0, 0, 1])),
            version: Version::HTTP_11,
            method: b"GET",
            host: b"shop.example",
            target,
            status: 200,
            bytes: 1024,
            outcome: Outcome::HitMemory,
            duration: Duration::from_micros(17),
            first_byte: Some(Duration::from_micros(11)),
            age: Some(Duration::from_secs(60)),
            origin_time: None,
            route: b"*/",
            request_id: b"0123",
            referrer: b"https://shop.example/shoes",
            user_agent: b"agent/1.0",
            trace_id: None,
            parameters: Parameters {
                transforms: Transforms::Taken,
                version: b"v",
            },
        }
    }

    fn there_and_back(line: &Line<'_>) -> Vec<u8> {
        let mut packed = Vec::new();
        pack(&mut packed, line);
        packed
    }

    #[test]
    fn texts_beyond_their_limits_are_cut_and_the_next_line_is_found() {
        let long = vec![b'/'; 100_000];
        let sent = Line {
            method: &long,
            user_agent: &long,
            ..line(&long)
        };
        let mut packed = there_and_back(&sent);
        pack(&mut packed, &line(b"/next"));
        let mut left = packed.as_slice();
        let first = unpack(&mut left).unwrap();
        assert_eq!(first.target.len(), TARGET_BYTES_MAX);
        assert_eq!(first.user_agent.len(), USER_AGENT_BYTES_MAX);
        assert_eq!(unpack(&mut left), Some(line(b"/next")));
        assert_eq!(unpack(&mut left), None);
    }

    #[test]
    fn times_too_long_to_be_said_are_as_long_as_can_be_said() {
        let sent = Line {
            duration: Duration::MAX,
            first_byte: Some(Duration::MAX),
            age: Some(Duration::MAX),
            ..line(b"/")
        };
        let packed = there_and_back(&sent);
        let read = unpack(&mut packed.as_slice()).unwrap();
        assert_eq!(
            read.first_byte,
            Some(Duration::from_micros(u64::from(NO_TIME) - 1))
        );
        assert_eq!(read.age, Some(Duration::from_secs(u64::from(NO_TIME) - 1)));
        assert_eq!(read.duration, Duration::from_micros(u64::MAX));
    }

    fn time() -> impl Strategy<Value = Option<u32>> {
        prop::option::of(0..NO_TIME)
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_the_same(
            texts in prop::array::uniform8(prop::collection::vec(any::<u8>(), 0..32)),
            (time, bytes, duration, status) in any::<(u64, u64, u64, u16)>(),
            (first_byte, origin_time, age) in (time(), time(), time()),
            client in any::<Option<IpAddr>>(),
            trace_id in any::<Option<[u8; 16]>>(),
            (outcome, version, taken) in (0..Outcome::ALL.len(), 0u8..3, any::<bool>()),
        ) {
            let [method, host, target, route, request_id, referrer, user_agent, version_parameter] = &texts;
            let micros = |time: u32| Duration::from_micros(time.into());
            let sent = Line {
                time: Timestamp::from_millis(time),
                client,
                version: to_version(version),
                method,
                host,
                target,
                status,
                bytes,
                outcome: Outcome::ALL[outcome],
                duration: Duration::from_micros(duration),
                first_byte: first_byte.map(micros),
                age: age.map(|secs| Duration::from_secs(secs.into())),
                origin_time: origin_time.map(micros),
                route,
                request_id,
                referrer,
                user_agent,
                trace_id,
                parameters: Parameters {
                    transforms: if taken { Transforms::Taken } else { Transforms::Left },
                    version: version_parameter,
                },
            };
            let packed = there_and_back(&sent);
            let mut left = packed.as_slice();
            prop_assert_eq!(unpack(&mut left), Some(sent));
            prop_assert!(left.is_empty());
        }
    }
}
