//! The small texts of which lines are made: numbers, addresses, dates, and bytes that have to be escaped.
//!
//! By hand: the writer formats every request there is. It does not know which line they are in.

use crate::base::clock::Timestamp;
use std::io::Write;
use std::net::IpAddr;

/// The last second's dates, so that one is formatted once a second.
#[derive(Default)]
pub(super) struct Dates {
    second: u64,
    /// `2023-11-14T22:13:20`
    rfc3339: String,
    /// `14/Nov/2023:22:13:20 +0000`
    common: String,
}

impl Dates {
    /// RFC 3339 with milliseconds, in UTC.
    pub(super) fn push_rfc3339(&mut self, to: &mut Vec<u8>, time: Timestamp) {
        self.tell(time);
        to.extend_from_slice(self.rfc3339.as_bytes());
        to.push(b'.');
        three_digits(to, time.as_millis() % 1000);
        to.push(b'Z');
    }

    /// As the common log format has it, in UTC.
    pub(super) fn push_common(&mut self, to: &mut Vec<u8>, time: Timestamp) {
        self.tell(time);
        to.extend_from_slice(self.common.as_bytes());
    }

    fn tell(&mut self, time: Timestamp) {
        if time.as_secs() == self.second && !self.common.is_empty() {
            return;
        }
        self.second = time.as_secs();
        let time = time.as_system_time();
        let text = humantime::format_rfc3339_seconds(time).to_string();
        self.rfc3339 = text.trim_end_matches('Z').to_owned();
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        let text = httpdate::fmt_http_date(time);
        let mut parts = text.split(' ').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        self.common = format!("{}/{}/{}:{} +0000", part(), part(), part(), part());
    }
}

/// IPv6 is left to the library: its text has rules of its own (RFC 5952).
pub(super) fn address(to: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    to.push(b'.');
                }
                decimal(to, octet.into());
            }
        }
        IpAddr::V6(address) => write!(to, "{address}").expect("writing to memory can not fail"),
    }
}

pub(super) fn decimal(to: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(number);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(&digits[start..]);
}

/// Of a number below 1000.
fn three_digits(to: &mut Vec<u8>, number: u64) {
    to.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]);
}

/// The last one.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

pub(super) fn hexadecimal(to: &mut Vec<u8>, bytes: &[u8]) {
    bytes.iter().for_each(|byte| to.extend_from_slice(&hex(*byte)));
}

/// The inside of a JSON string. Bytes beyond ASCII are told as the code points of Latin-1: a log must stay valid JSON
/// whatever was sent.
pub(super) fn json(to: &mut Vec<u8>, value: &[u8]) {
    escaped(to, value, b"\\u00");
}

/// The inside of a quoted field of the combined log format.
pub(super) fn quoted(to: &mut Vec<u8>, value: &[u8]) {
    escaped(to, value, b"\\x");
}

fn escaped(to: &mut Vec<u8>, value: &[u8], escape: &[u8]) {
    // To the end in any case: without a way out before, many bytes are compared at once.
    if value.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        return to.extend_from_slice(value);
    }
    for byte in value {
        match byte {
            b'"' | b'\\' => to.extend_from_slice(&[b'\\', *byte]),
            plain if is_plain(*plain) => to.push(*plain),
            _ => {
                to.extend_from_slice(escape);
                to.extend_from_slice(&hex(*byte));
            }
        }
    }
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn hex(byte: u8) -> [u8; 2] {
    let digits = b"0123456789abcdef";
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_their_second() {
        let (mut dates, mut text) = (Dates::default(), Vec::new());
        for millis in [0, 784_111_777_007, 784_111_777_999, 784_111_778_000] {
            dates.push_rfc3339(&mut text, Timestamp::from_millis(millis));
            text.push(b' ');
            dates.push_common(&mut text, Timestamp::from_millis(millis));
            text.push(b'\n');
        }
        let expected = "1970-01-01T00:00:00.000Z 01/Jan/1970:00:00:00 +0000\n\
                        1994-11-06T08:49:37.007Z 06/Nov/1994:08:49:37 +0000\n\
                        1994-11-06T08:49:37.999Z 06/Nov/1994:08:49:37 +0000\n\
                        1994-11-06T08:49:38.000Z 06/Nov/1994:08:49:38 +0000\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    proptest::proptest! {
        #[test]
        fn numbers_and_addresses_read_as_the_library_writes_them(number: u64, octets: [u8; 4], segments: [u16; 8]) {
            let mut told = Vec::new();
            decimal(&mut told, number);
            told.push(b' ');
            three_digits(&mut told, number % 1000);
            for ip in [IpAddr::from(octets), IpAddr::from(segments)] {
                told.push(b' ');
                address(&mut told, ip);
            }
            told.push(b' ');
            hexadecimal(&mut told, &number.to_be_bytes());
            let (v4, v6) = (IpAddr::from(octets), IpAddr::from(segments));
            let expected = format!("{number} {:03} {v4} {v6} {number:016x}", number % 1000);
            proptest::prop_assert_eq!(String::from_utf8(told).unwrap(), expected);
        }

        #[test]
        fn any_bytes_are_the_inside_of_a_json_string(bytes: Vec<u8>) {
            let mut text = vec![b'"'];
            json(&mut text, &bytes);
            text.push(b'"');
            let latin1: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&text).unwrap(), latin1);
        }
    }
}
