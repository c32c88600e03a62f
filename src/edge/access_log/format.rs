//! A line as it is written: as JSON, or close to the combined log format.
//!
//! Invariant: whatever was sent, a request is one line, and that of JSON is one valid object. It is handed what may be shown.

use super::config::Format;
use super::shown::Shown;
use super::text::{self, Dates};
use crate::base::metrics::Label;
use http::Version;
use std::time::Duration;

/// Where there is nothing to say in text.
const NOTHING: &[u8] = b"-";

/// Appends a line with its end.
pub(super) fn push(to: &mut Vec<u8>, format: Format, dates: &mut Dates, shown: &Shown<'_>) {
    match format {
        Format::Json => push_json(to, dates, shown),
        Format::Text => push_text(to, dates, shown),
    }
}

/// A field that has no value is left out.
pub(super) fn push_json(to: &mut Vec<u8>, dates: &mut Dates, shown: &Shown<'_>) {
    let line = shown.line;
    to.extend_from_slice(b"{\"time\":\"");
    dates.push_rfc3339(to, line.time);
    to.push(b'"');
    if let Some(client) = line.client {
        to.extend_from_slice(b",\"client\":\"");
        text::address(to, client);
        to.push(b'"');
    }
    string(to, ",\"method\":\"", line.method);
    string(to, ",\"host\":\"", shown.host);
    string(to, ",\"path\":\"", shown.path);
    string(to, ",\"query\":\"", shown.query);
    string(to, ",\"protocol\":\"", protocol(line.version));
    number(to, ",\"status\":", line.status.into());
    number(to, ",\"bytes\":", line.bytes);
    number(to, ",\"duration_us\":", micros(line.duration));
    optional(to, ",\"first_byte_us\":", line.first_byte.map(micros));
    string(to, ",\"outcome\":\"", line.outcome.name().as_bytes());
    optional(to, ",\"age\":", line.age.map(|age| age.as_secs()));
    string(to, ",\"route\":\"", line.route);
    optional(to, ",\"origin_time_us\":", line.origin_time.map(micros));
    string(to, ",\"request_id\":\"", line.request_id);
    string(to, ",\"referrer\":\"", shown.referrer);
    string(to, ",\"user_agent\":\"", line.user_agent);
    if let Some(trace_id) = &line.trace_id {
        to.extend_from_slice(b",\"trace_id\":\"");
        text::hexadecimal(to, trace_id);
        to.push(b'"');
    }
    to.extend_from_slice(b"}\n");
}

fn string(to: &mut Vec<u8>, opening: &str, value: &[u8]) {
    if !value.is_empty() {
        to.extend_from_slice(opening.as_bytes());
        text::json(to, value);
        to.push(b'"');
    }
}

fn number(to: &mut Vec<u8>, opening: &str, value: u64) {
    to.extend_from_slice(opening.as_bytes());
    text::decimal(to, value);
}

fn optional(to: &mut Vec<u8>, opening: &str, value: Option<u64>) {
    if let Some(value) = value {
        number(to, opening, value);
    }
}

/// The combined log format, then host, outcome, route, age, times and ids.
fn push_text(to: &mut Vec<u8>, dates: &mut Dates, shown: &Shown<'_>) {
    let line = shown.line;
    match line.client {
        Some(client) => text::address(to, client),
        None => to.extend_from_slice(NOTHING),
    }
    to.extend_from_slice(b" - - [");
    dates.push_common(to, line.time);
    to.extend_from_slice(b"] \"");
    request_line(to, shown);
    to.extend_from_slice(b"\" ");
    text::decimal(to, line.status.into());
    to.push(b' ');
    text::decimal(to, line.bytes);
    quoted(to, shown.referrer);
    quoted(to, line.user_agent);
    quoted(to, shown.host);
    to.push(b' ');
    to.extend_from_slice(line.outcome.name().as_bytes());
    quoted(to, line.route);
    figure(to, line.age.map(|age| age.as_secs()));
    figure(to, Some(micros(line.duration)));
    figure(to, line.first_byte.map(micros));
    figure(to, line.origin_time.map(micros));
    quoted(to, line.request_id);
    to.push(b' ');
    match &line.trace_id {
        Some(trace_id) => text::hexadecimal(to, trace_id),
        None => to.extend_from_slice(NOTHING),
    }
    to.push(b'\n');
}

/// A request that never came whole has none.
fn request_line(to: &mut Vec<u8>, shown: &Shown<'_>) {
    if shown.line.method.is_empty() {
        return to.extend_from_slice(NOTHING);
    }
    text::quoted(to, shown.line.method);
    to.push(b' ');
    text::quoted(to, shown.path);
    if !shown.query.is_empty() {
        to.push(b'?');
        text::quoted(to, shown.query);
    }
    to.push(b' ');
    to.extend_from_slice(protocol(shown.line.version));
}

fn quoted(to: &mut Vec<u8>, value: &[u8]) {
    to.extend_from_slice(b" \"");
    text::quoted(to, if value.is_empty() { NOTHING } else { value });
    to.push(b'"');
}

fn figure(to: &mut Vec<u8>, value: Option<u64>) {
    to.push(b' ');
    match value {
        Some(value) => text::decimal(to, value),
        None => to.extend_from_slice(NOTHING),
    }
}

fn protocol(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2",
        _ => b"HTTP/1.1",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::config::ShownQuery;
    use super::super::line::Line;
    use super::super::line::tests::line;
    use super::*;

    fn formatted(format: Format, line: &Line<'_>) -> String {
        let (mut text, mut query) = (Vec::new(), Vec::new());
        let shown = Shown::of(line, ShownQuery::Known, &mut query);
        push(&mut text, format, &mut Dates::default(), &shown);
        String::from_utf8(text).unwrap()
    }

    fn full() -> Line<'static> {
        Line {
            origin_time: Some(Duration::from_micros(5)),
            trace_id: Some([0xab; 16]),
            version: Version::HTTP_2,
            ..line(b"/a.jpg?w=300&token=s3cret")
        }
    }

    #[test]
    fn a_line_tells_the_request_as_json() {
        assert_eq!(
            formatted(Format::Json, &full()),
            "{\"time\":\"2023-11-14T22:13:20.042Z\",\"client\":\"127.0.0.1\",\"method\":\"GET\",\
             \"host\":\"shop.example\",\"path\":\"/a.jpg\",\"query\":\"w=300&token=*\",\"protocol\":\"HTTP/2\",\
             \"status\":200,\"bytes\":1024,\"duration_us\":17,\"first_byte_us\":11,\"outcome\":\"hit_memory\",\"age\":60,\
             \"route\":\"*/\",\"origin_time_us\":5,\"request_id\":\"0123\",\"referrer\":\"https://shop.example/shoes\",\
             \"user_agent\":\"agent/1.0\",\"trace_id\":\"abababababababababababababababab\"}\n"
        );
    }

    #[test]
    fn a_line_tells_the_request_as_text() {
        assert_eq!(
            formatted(Format::Text, &full()),
            "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a.jpg?w=300&token=* HTTP/2\" 200 1024 \
             \"https://shop.example/shoes\" \"agent/1.0\" \"shop.example\" hit_memory \"*/\" 60 17 11 5 \"0123\" \
             abababababababababababababababab\n"
        );
    }

    /// A request whose header never came whole.
    fn unread() -> Line<'static> {
        Line {
            client: None,
            method: b"",
            host: b"",
            referrer: b"",
            user_agent: b"",
            route: b"",
            first_byte: None,
            age: None,
            ..line(b"")
        }
    }

    #[test]
    fn what_there_is_not_is_left_out_or_a_dash() {
        assert_eq!(
            formatted(Format::Json, &unread()),
            "{\"time\":\"2023-11-14T22:13:20.042Z\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":1024,\
             \"duration_us\":17,\"outcome\":\"hit_memory\",\"request_id\":\"0123\"}\n"
        );
        assert_eq!(
            formatted(Format::Text, &unread()),
            "- - - [14/Nov/2023:22:13:20 +0000] \"-\" 200 1024 \"-\" \"-\" \"-\" hit_memory \"-\" - 17 - - \"0123\" -\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_can_not_forge_a_line(bytes: Vec<u8>) {
            let hostile = Line {
                method: &bytes,
                host: &bytes,
                referrer: &bytes,
                user_agent: &bytes,
                request_id: &bytes,
                ..line(&bytes)
            };
            for format in [Format::Json, Format::Text] {
                let text = formatted(format, &hostile);
                proptest::prop_assert_eq!(text.lines().count(), 1);
                proptest::prop_assert!(text.bytes().all(|byte| matches!(byte, b'\n' | 0x20..0x7f)));
            }
            let object: serde_json::Value = serde_json::from_str(&formatted(Format::Json, &hostile)).unwrap();
            proptest::prop_assert_eq!(&object["request_id"].as_str().unwrap_or("").chars().count(), &bytes.len());
        }
    }
}
