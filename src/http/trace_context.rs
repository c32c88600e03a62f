//! By which a trace knows a request from hop to hop: `traceparent` and `tracestate` (W3C Trace Context, level 1).
//!
//! Invariant: what is passed on is what the sender could say and the specification allows, and never longer than a bound;
//! what is malformed goes as a whole. Neither field has a say in a key or an alternate. It does not know spans.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Of `traceparent` in version 00: `00-` trace id `-` span id `-` flags.
const BYTES: usize = 55;

/// The version that is written here, and the one that no sender may write.
const VERSION: u8 = 0;
const FORBIDDEN_VERSION: u8 = 0xff;

/// The one flag of version 00.
const SAMPLED: u8 = 1;

/// Members and bytes of `tracestate` that are passed on (sections 3.3.1.1 and 3.3.1.5). Where there are more bytes,
/// members longer than a bound of their own go first.
const STATE_MEMBERS_MAX: usize = 32;
const STATE_BYTES_MAX: usize = 512;
const STATE_MEMBER_BYTES_MAX: usize = 128;

/// Of a whole trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Of one step of a trace; never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// Whether the sender says that it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    Yes,
    No,
}

/// A sender's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: Sampled,
}

impl TraceId {
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(TraceId(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl SpanId {
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(SpanId(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TraceParent {
    /// Of a request: its one `traceparent`. With several, none is believed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next().filter(|_| lines.next().is_none())?;
        TraceParent::parse(line.as_bytes())
    }

    /// Of versions that are not known yet, what stands where version 00 has it (section 3.2.4).
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(BYTES)?;
        let [version] = hex(&known[..2])?;
        let ends_as_it_must = match version {
            VERSION => rest.is_empty(),
            FORBIDDEN_VERSION => false,
            _ => rest.is_empty() || rest[0] == b'-',
        };
        let is_divided = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !ends_as_it_must || !is_divided {
            return None;
        }
        let [flags] = hex(&known[53..])?;
        Some(TraceParent {
            trace: TraceId::new(hex(&known[3..35])?)?,
            span: SpanId::new(hex(&known[36..52])?)?,
            sampled: match flags & SAMPLED {
                0 => Sampled::No,
                _ => Sampled::Yes,
            },
        })
    }

    pub fn to_value(&self) -> HeaderValue {
        let flags = match self.sampled {
            Sampled::Yes => SAMPLED,
            Sampled::No => 0,
        };
        let text = format!("{VERSION:02x}-{}-{}-{flags:02x}", self.trace, self.span);
        HeaderValue::try_from(text).expect("hexadecimal digits and dashes make a header value")
    }

    /// Names this place to the next hop; the state goes on as it is.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.to_value());
    }
}

/// Leaves of a client's trace context what the next hop may hear.
pub fn pass_on(headers: &mut HeaderMap) {
    if TraceParent::of(headers).is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
        return;
    }
    match State::of(headers) {
        State::Fits => {}
        State::Malformed => drop(headers.remove(TRACESTATE)),
        State::Shortened(state) => drop(headers.insert(TRACESTATE, state)),
    }
}

/// What becomes of a request's `tracestate`.
enum State {
    /// Or there is none.
    Fits,
    Malformed,
    Shortened(HeaderValue),
}

impl State {
    fn of(headers: &HeaderMap) -> State {
        let lines = headers.get_all(TRACESTATE).iter();
        let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let members: Vec<&[u8]> = members
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
            .take(STATE_MEMBERS_MAX + 1)
            .collect();
        if members.len() > STATE_MEMBERS_MAX || !members.iter().all(|member| is_member(member)) {
            return State::Malformed;
        }
        // As they came: what stands between the members counts too.
        let lines: Vec<&[u8]> = headers
            .get_all(TRACESTATE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        match joined_length(&lines) > STATE_BYTES_MAX {
            true => State::shortened(members),
            false => State::Fits,
        }
    }

    fn shortened(mut members: Vec<&[u8]>) -> State {
        while joined_length(&members) > STATE_BYTES_MAX {
            // The newest stand first.
            match members
                .iter()
                .rposition(|member| member.len() > STATE_MEMBER_BYTES_MAX)
            {
                Some(long) => drop(members.remove(long)),
                None => drop(members.pop()),
            }
        }
        match HeaderValue::from_bytes(&members.join(&b',')) {
            Ok(state) if !members.is_empty() => State::Shortened(state),
            _ => State::Malformed,
        }
    }
}

/// Of a key, `=` and a value, in printable ASCII; whose it is does not matter here.
fn is_member(member: &[u8]) -> bool {
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let equals = member.iter().position(|byte| *byte == b'=');
    equals.is_some_and(|at| at > 0) && member.iter().all(is_printable)
}

fn joined_length(members: &[&[u8]]) -> usize {
    let bytes: usize = members.iter().map(|member| member.len()).sum();
    bytes + members.len().saturating_sub(1)
}

/// Of exactly `N` bytes, in lower case.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification's section 3.2.3.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn map(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn passed_on(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = map(lines);
        pass_on(&mut headers);
        headers
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let parent = TraceParent::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(parent.span.to_string(), "00f067aa0ba902b7");
        assert_eq!(parent.sampled, Sampled::Yes);
        assert_eq!(parent.to_value(), EXAMPLE);
    }

    #[test]
    fn what_the_specification_forbids_is_none() {
        for text in [
            "",
            "00",
            // Version ff; ids of zeros; upper case; no dash; too long for its version; not a digit.
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn of_a_version_to_come_its_beginning_is_read() {
        for text in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
        ] {
            let parent = TraceParent::parse(text.as_bytes()).unwrap();
            assert_eq!(parent.to_value(), EXAMPLE, "{text}");
        }
    }

    #[test]
    fn several_parents_are_none_and_take_the_state_with_them() {
        let twice = [
            (TRACEPARENT, EXAMPLE),
            (TRACEPARENT, EXAMPLE),
            (TRACESTATE, "a=b"),
        ];
        assert_eq!(TraceParent::of(&map(&twice)), None);
        assert!(passed_on(&twice).is_empty());
        assert!(passed_on(&[(TRACESTATE, "a=b")]).is_empty());
        assert!(passed_on(&[(TRACEPARENT, "nonsense"), (TRACESTATE, "a=b")]).is_empty());
    }

    #[test]
    fn a_state_that_fits_goes_on_as_it_came() {
        let lines = [
            (TRACEPARENT, EXAMPLE),
            (TRACESTATE, "rojo=00f067aa0ba902b7 ,congo=t61"),
            (TRACESTATE, ""),
            (TRACESTATE, "x@y=1"),
        ];
        assert_eq!(passed_on(&lines), map(&lines));
    }

    #[test]
    fn a_malformed_state_goes_and_the_parent_stays() {
        let many = vec!["a=b"; STATE_MEMBERS_MAX + 1].join(",");
        for state in ["novalue", "=b", "a=b,c", &many, "a=\tb"] {
            let left = passed_on(&[(TRACEPARENT, EXAMPLE), (TRACESTATE, state)]);
            assert_eq!(left, map(&[(TRACEPARENT, EXAMPLE)]), "{state}");
        }
    }

    /// Section 3.3.1.5: long members first, then from the end.
    #[test]
    fn a_long_state_loses_its_longest_members_first_and_then_its_oldest() {
        let long = format!("long={}", "x".repeat(STATE_MEMBER_BYTES_MAX));
        let short: Vec<String> = (0..5).map(|n| format!("k{n}={}", "y".repeat(94))).collect();
        let state = format!("{},{long},{}", short[0], short[1..].join(","));
        let left = passed_on(&[(TRACEPARENT, EXAMPLE), (TRACESTATE, &state)]);
        assert_eq!(left[TRACESTATE], short.join(","));
        let medium: Vec<String> = (0..6).map(|n| format!("k{n}={}", "y".repeat(110))).collect();
        let left = passed_on(&[(TRACEPARENT, EXAMPLE), (TRACESTATE, &medium.join(","))]);
        assert_eq!(left[TRACESTATE], medium[..4].join(","));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace: [u8; 16], span: [u8; 8], sampled: bool) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let parent = TraceParent {
                trace: TraceId::new(trace).unwrap(),
                span: SpanId::new(span).unwrap(),
                sampled: if sampled { Sampled::Yes } else { Sampled::No },
            };
            prop_assert_eq!(TraceParent::parse(parent.to_value().as_bytes()), Some(parent));
        }

        #[test]
        fn whatever_is_read_is_what_is_written_but_for_version_and_flags(text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}") {
            if let Some(parent) = TraceParent::parse(text.as_bytes()) {
                let written = parent.to_value();
                prop_assert_eq!(&written.as_bytes()[2..53], &text.as_bytes()[2..53]);
            }
        }

        #[test]
        fn no_bytes_make_it_panic_and_what_goes_on_is_bounded(
            parent in proptest::option::of(prop::collection::vec(prop_oneof![0x20..0x7fu8, 0x80..=0xffu8], 0..80)),
            states in prop::collection::vec(prop::collection::vec(0x20..0x7fu8, 0..700), 0..4),
        ) {
            let mut headers = map(&[(TRACEPARENT, EXAMPLE)]);
            if let Some(parent) = &parent {
                headers.insert(TRACEPARENT, HeaderValue::from_bytes(parent).unwrap());
            }
            for state in &states {
                headers.append(TRACESTATE, HeaderValue::from_bytes(state).unwrap());
            }
            pass_on(&mut headers);
            let valid = TraceParent::of(&headers).is_some();
            prop_assert_eq!(headers.contains_key(TRACEPARENT), valid);
            let lines: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
            prop_assert!(valid || lines.is_empty());
            prop_assert!(joined_length(&lines) <= STATE_BYTES_MAX);
        }
    }
}
