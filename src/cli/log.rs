//! `aquatint log`: what a running edge answers, as it answers, until somebody has seen enough.
//!
//! Invariant: a line is printed whole or not at all. It does not know what a filter lets through; the edge does.

use super::CommandError;
use super::access::{Access, PATIENCE, refused, shown, text};
use super::client::{Method, Repeat, Request, Streaming};
use super::exit::Exit;
use bytes::BytesMut;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::Write;

/// Of one line of the edge's log.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Args, Debug)]
pub(super) struct Log {
    #[command(flatten)]
    access: Access,
    /// A status such as 404, or a class such as 5xx. Of one flag that is given several times any has to fit, of different
    /// ones all.
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// hit_memory, hit_ssd, stale, revalidated, miss, coalesced, bypass, refused, error or purge.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Vec<String>,
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// What the path begins with.
    #[arg(long, value_name = "PREFIX")]
    path: Vec<String>,
    /// A route's host and path, as the configuration says them.
    #[arg(long, value_name = "ROUTE")]
    route: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "IP")]
    client: Vec<String>,
    /// Only what took so long at least, such as 250ms.
    #[arg(long, value_name = "TIME")]
    min_duration: Option<String>,
}

pub(super) async fn run(log: &Log, output: &mut impl Write) -> Result<Exit, CommandError> {
    let Log { access, .. } = log;
    let path = log.target();
    let request = Request {
        method: Method::Get,
        path: &path,
        headers: Vec::new(),
        body: b"",
        repeat: Repeat::Harmless,
    };
    let mut client = access.client()?;
    let streaming = client.stream(&request, PATIENCE).await;
    let streaming = streaming.map_err(|failed| access.unanswered(failed))?;
    let admin = access.admin.to_string();
    match streaming.status {
        200 if streaming.is_ndjson => log.follow(streaming, output).await,
        status @ 100..400 => Err(CommandError::NoAdmin { admin, status }),
        status => {
            let cut_off = |cause| CommandError::CutOff { admin, cause };
            let answer = streaming.whole(PATIENCE).await.map_err(cut_off)?;
            let body = serde_json::from_slice(&answer.body).unwrap_or_default();
            Err(refused(status, &body))
        }
    }
}

impl Log {
    fn target(&self) -> String {
        let many = [
            ("status", &self.status),
            ("outcome", &self.outcome),
            ("method", &self.method),
            ("host", &self.host),
            ("path", &self.path),
            ("route", &self.route),
            ("client", &self.client),
        ];
        let pairs = many
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let pairs = pairs.chain(self.min_duration.iter().map(|value| ("min_duration", value)));
        let pairs =
            pairs.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        format!("/api/v1/log?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// To the end of the edge's log, which is its own: it stops.
    async fn follow(&self, mut streaming: Streaming, output: &mut impl Write) -> Result<Exit, CommandError> {
        let admin = || self.access.admin.to_string();
        let cut_off = |cause| CommandError::CutOff {
            admin: admin(),
            cause,
        };
        let mut arrived = BytesMut::new();
        while let Some(piece) = streaming.next().await.map_err(cut_off)? {
            arrived.extend_from_slice(&piece);
            while let Some(end) = arrived.iter().position(|byte| *byte == b'\n') {
                self.print(&arrived.split_to(end + 1), output)?;
            }
            if arrived.len() > LINE_BYTES_MAX {
                let cause = std::io::Error::other("a line of its log has no end");
                return Err(cut_off(cause));
            }
            output.flush()?;
        }
        Ok(Exit::Done)
    }

    fn print(&self, line: &[u8], output: &mut impl Write) -> std::io::Result<()> {
        match serde_json::from_slice::<Value>(line) {
            Ok(told) if !self.access.json => writeln!(output, "{}", for_people(&told)),
            _ if self.access.json => output.write_all(line),
            _ => writeln!(output, "{}", shown(String::from_utf8_lossy(line).trim_end())),
        }
    }
}

/// The time of day, what was asked, and what came of it.
fn for_people(told: &Value) -> String {
    if let Some(missed) = told["missed"].as_u64() {
        return format!("(this terminal was too slow for {missed} lines)");
    }
    let time = text(&told["time"]);
    let time = time
        .split_once('T')
        .map_or(time, |(_, of_day)| of_day.trim_end_matches('Z'));
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    let query = match text(&told["query"]) {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let line = format!(
        "{time} {status} {outcome:<11} {duration:>9} {bytes:>9} {client} {method} {host}{path}{query}",
        status = number("status"),
        outcome = text(&told["outcome"]),
        duration = duration(number("duration_us")),
        bytes = number("bytes"),
        client = text(&told["client"]),
        method = text(&told["method"]),
        host = text(&told["host"]),
        path = text(&told["path"]),
    );
    shown(&line)
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.2}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        log: Log,
    }

    #[test]
    fn every_filter_is_asked_for_by_its_name() {
        let line =
            "log --status 5xx --status 404 --outcome miss --path /a&b --min-duration 250ms --client ::1";
        let log = Line::parse_from(line.split(' ')).log;
        assert_eq!(
            log.target(),
            "/api/v1/log?status=5xx&status=404&outcome=miss&path=%2Fa%26b&client=%3A%3A1&min_duration=250ms"
        );
    }

    #[test]
    fn a_line_for_people_holds_what_was_asked_and_what_came_of_it() {
        let told = json!({
            "time": "2026-01-01T10:20:30.123Z", "client": "192.0.2.7", "method": "GET", "host": "shop.example",
            "path": "/a\u{7}.jpg", "query": "w=300", "status": 200, "bytes": 1024, "duration_us": 1500, "outcome": "miss",
        });
        let expected =
            "10:20:30.123 200 miss            1.5ms      1024 192.0.2.7 GET shop.example/a\u{fffd}.jpg?w=300";
        assert_eq!(for_people(&told), expected);
        assert_eq!(
            for_people(&json!({"missed": 7})),
            "(this terminal was too slow for 7 lines)"
        );
    }
}
