//! The access log: one JSON object a line, written by a thread of its own.
//!
//! Invariant: a request never waits for the log. Lines are formatted into a small buffer that few threads
//! share; the writer takes the buffers away many times a second. A log that can not keep up, can not be written
//! or is closed loses lines and counts them. Lines of different threads within one interval of the writer may
//! stand out of order. Formatting is by hand: it is a part of every hit. Knows nothing of HTTP.

use super::config;
use crate::base::clock::Timestamp;
use crate::base::metrics::{Label, Metrics, Outcome};
use parking_lot::Mutex;
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a line waits for its writer, at most.
const INTERVAL: Duration = Duration::from_millis(100);

const SHARDS: usize = 8;

/// What a line takes beside the text that a client chose.
const LINE_BYTES: usize = 256;

/// Where requests are logged.
pub(crate) struct AccessLog {
    lines: Option<Arc<Lines>>,
    writer: Mutex<Option<Writer>>,
}

struct Writer {
    thread: Thread,
    /// Told when the last line is written.
    ended: oneshot::Receiver<()>,
}

/// Lines that could not be written, and why.
struct Lost {
    lines: u64,
    error: io::Error,
}

struct Lines {
    shards: Vec<Mutex<Buffer>>,
    /// Bytes one shard may hold.
    shard_bytes_max: usize,
    closing: AtomicBool,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The second that `second_text` says, so that a date is formatted once a second.
    second: u64,
    second_text: String,
}

/// One request, as the log tells it.
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) client: Option<IpAddr>,
    pub(crate) version: &'static str,
    pub(crate) method: &'a str,
    pub(crate) host: &'a str,
    pub(crate) target: &'a [u8],
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) outcome: Outcome,
    pub(crate) duration: Duration,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file can not be opened for appending.
    pub(crate) fn open(config: &config::AccessLog, metrics: Arc<Metrics>) -> io::Result<AccessLog> {
        let to = match config.to.as_str() {
            "off" => {
                return Ok(AccessLog {
                    lines: None,
                    writer: Mutex::new(None),
                });
            }
            // Not through the library's own buffer and lock: a reader that stands still would hold them for ever.
            "stdout" => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            path => OpenOptions::new().create(true).append(true).open(path)?,
        };
        let lines = Arc::new(Lines {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes_max: config.buffer.as_usize() / SHARDS,
            closing: AtomicBool::new(false),
            metrics,
        });
        let writing = lines.clone();
        let (end, ended) = oneshot::channel();
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                writing.write_to(to);
                // Nobody waits any more when closing has given up.
                end.send(()).ok();
            })?;
        let thread = writer.thread().clone();
        Ok(AccessLog {
            lines: Some(lines),
            writer: Mutex::new(Some(Writer { thread, ended })),
        })
    }

    /// Logs a request, or counts it as lost.
    pub(crate) fn record(&self, line: &Line<'_>) {
        if let Some(lines) = &self.lines {
            lines.record(line);
        }
    }

    /// Writes what is left and ends the writer; one that is stuck is left behind at the deadline.
    pub(crate) async fn close(&self, deadline: Duration) {
        let writer = self.writer.lock().take();
        let (Some(lines), Some(writer)) = (&self.lines, writer) else {
            return;
        };
        lines.closing.store(true, Ordering::Release);
        writer.thread.unpark();
        match timeout(deadline, writer.ended).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the access log's writer died; its last lines are lost"),
            Err(_) => tracing::warn!("the access log takes nothing any more; its last lines are lost"),
        }
    }
}

impl Lines {
    fn record(&self, line: &Line<'_>) {
        let mut buffer = self.shards[shard()].lock();
        // Asked under the lock: the writer empties every shard once more after it has seen the closing.
        let closed = self.closing.load(Ordering::Acquire);
        if closed || buffer.bytes.len() >= self.shard_bytes_max {
            drop(buffer);
            self.metrics.access_log_drops.inc();
            return;
        }
        buffer.push(line);
    }

    fn write_to(&self, mut to: impl Write) {
        let mut taken = Vec::new();
        let mut healthy = true;
        loop {
            let closing = self.closing.load(Ordering::Acquire);
            for shard in &self.shards {
                std::mem::swap(&mut shard.lock().bytes, &mut taken);
                if taken.is_empty() {
                    continue;
                }
                let written = write_lines(&mut to, &taken);
                if let Err(Lost { lines, error }) = &written {
                    self.metrics.access_log_drops.inc_by(*lines);
                    if healthy {
                        tracing::error!(%error, "the access log can not be written; its lines are lost");
                    }
                }
                healthy = written.is_ok();
                taken.clear();
            }
            if closing {
                return;
            }
            std::thread::park_timeout(INTERVAL);
        }
    }
}

fn write_lines(to: &mut impl Write, mut left: &[u8]) -> Result<(), Lost> {
    while !left.is_empty() {
        let error = match to.write(left) {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(written) => {
                left = &left[written..];
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        let lines = left.iter().filter(|byte| **byte == b'\n').count() as u64;
        return Err(Lost { lines, error });
    }
    Ok(())
}

/// Threads take turns at the shards, so that two workers rarely share one.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    SHARD.get()
}

impl Buffer {
    fn push(&mut self, line: &Line<'_>) {
        self.tell_second(line.time);
        let Buffer {
            bytes, second_text, ..
        } = self;
        bytes.reserve(LINE_BYTES + line.host.len() + line.target.len());
        bytes.extend_from_slice(b"{\"time\":\"");
        bytes.extend_from_slice(second_text.as_bytes());
        bytes.push(b'.');
        three_digits(bytes, line.time.as_millis() % 1000);
        bytes.extend_from_slice(b"Z\",\"client\":\"");
        if let Some(client) = line.client {
            address(bytes, client);
        }
        field(bytes, "\",\"version\":\"", line.version.as_bytes());
        field(bytes, "\",\"method\":\"", line.method.as_bytes());
        field(bytes, "\",\"host\":\"", line.host.as_bytes());
        field(bytes, "\",\"target\":\"", line.target);
        field(bytes, "\",\"outcome\":\"", line.outcome.name().as_bytes());
        bytes.extend_from_slice(b"\",\"status\":");
        decimal(bytes, line.status.into());
        bytes.extend_from_slice(b",\"bytes\":");
        decimal(bytes, line.bytes);
        bytes.extend_from_slice(b",\"duration_us\":");
        decimal(bytes, line.duration.as_micros().try_into().unwrap_or(u64::MAX));
        bytes.extend_from_slice(b"}\n");
    }

    fn tell_second(&mut self, time: Timestamp) {
        if time.as_secs() != self.second || self.second_text.is_empty() {
            let text = humantime::format_rfc3339_seconds(time.as_system_time()).to_string();
            self.second_text = text.trim_end_matches('Z').to_owned();
            self.second = time.as_secs();
        }
    }
}

/// Adds the end of the last field, the start of this one, and its value as the inside of a JSON string.
fn field(bytes: &mut Vec<u8>, opening: &str, value: &[u8]) {
    bytes.extend_from_slice(opening.as_bytes());
    if value
        .iter()
        .all(|byte| matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\'))
    {
        bytes.extend_from_slice(value);
    } else {
        value.iter().for_each(|byte| escape(bytes, *byte));
    }
}

/// IPv6 is left to the library: its text has rules of its own (RFC 5952).
fn address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (position, octet) in address.octets().into_iter().enumerate() {
                if position > 0 {
                    bytes.push(b'.');
                }
                decimal(bytes, octet.into());
            }
        }
        IpAddr::V6(address) => write!(bytes, "{address}").expect("writing to memory can not fail"),
    }
}

fn decimal(bytes: &mut Vec<u8>, mut number: u64) {
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
    bytes.extend_from_slice(&digits[start..]);
}

/// Of a number below 1000.
fn three_digits(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]);
}

/// The last one.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// Bytes beyond ASCII are told as the code points of Latin-1: a log must stay valid JSON whatever was sent.
fn escape(bytes: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => bytes.extend_from_slice(&[b'\\', byte]),
        0x20..0x7f => bytes.push(byte),
        _ => {
            let digits = b"0123456789abcdef";
            let hex = [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]];
            bytes.extend_from_slice(b"\\u00");
            bytes.extend_from_slice(&hex);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::ByteSize;

    fn line(target: &[u8]) -> Line<'_> {
        Line {
            time: Timestamp::from_millis(1_700_000_000_042),
            client: Some(IpAddr::from([127, 0, 0, 1])),
            version: "1.1",
            method: "GET",
            host: "shop.example",
            target,
            status: 200,
            bytes: 1024,
            outcome: Outcome::Hit,
            duration: Duration::from_micros(17),
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    fn opened(to: &std::path::Path, buffer: ByteSize) -> (AccessLog, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let config = config::AccessLog {
            to: to.display().to_string(),
            buffer,
        };
        (AccessLog::open(&config, metrics.clone()).unwrap(), metrics)
    }

    async fn logged(buffer: ByteSize, targets: &[&[u8]]) -> (String, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (log, metrics) = opened(file.path(), buffer);
        targets.iter().for_each(|target| log.record(&line(target)));
        log.close(PATIENCE).await;
        (
            std::fs::read_to_string(file.path()).unwrap(),
            metrics.access_log_drops.get(),
        )
    }

    #[tokio::test]
    async fn a_line_tells_the_request_as_json() {
        let (text, _) = logged(ByteSize::mib(1), &[b"/a.jpg?v=1"]).await;
        assert_eq!(
            text,
            "{\"time\":\"2023-11-14T22:13:20.042Z\",\"client\":\"127.0.0.1\",\"version\":\"1.1\",\"method\":\"GET\",\
             \"host\":\"shop.example\",\"target\":\"/a.jpg?v=1\",\"outcome\":\"hit\",\"status\":200,\
             \"bytes\":1024,\"duration_us\":17}\n"
        );
    }

    #[tokio::test]
    async fn hostile_bytes_can_not_forge_a_line() {
        let (text, _) = logged(ByteSize::mib(1), &[b"/\"}\n{\\\xff"]).await;
        assert!(text.contains(r#""target":"/\"}\u000a{\\\u00ff""#), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[tokio::test]
    async fn a_log_that_is_full_counts_what_it_loses() {
        let long = vec![b'a'; 4096];
        let targets: Vec<&[u8]> = (0..100_000).map(|_| long.as_slice()).collect();
        let (text, lost) = logged(ByteSize::kib(64), &targets).await;
        assert!(lost > 0);
        assert_eq!(text.lines().count() as u64 + lost, 100_000);
    }

    #[tokio::test]
    async fn lines_that_can_not_be_written_are_counted() {
        let (log, metrics) = opened("/dev/full".as_ref(), ByteSize::mib(1));
        (0..7).for_each(|_| log.record(&line(b"/a.jpg")));
        log.close(PATIENCE).await;
        assert_eq!(metrics.access_log_drops.get(), 7);
    }

    #[tokio::test]
    async fn lines_after_the_close_are_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (log, metrics) = opened(file.path(), ByteSize::mib(1));
        log.record(&line(b"/a.jpg"));
        log.close(PATIENCE).await;
        log.record(&line(b"/b.jpg"));
        assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 1);
        assert_eq!(metrics.access_log_drops.get(), 1);
    }

    #[test]
    fn what_was_written_before_a_failure_is_not_lost() {
        let mut paper = [0; 5];
        let lost = write_lines(&mut paper.as_mut_slice(), b"a\nb\ncde\nf\n").unwrap_err();
        assert_eq!((lost.lines, &paper), (2, b"a\nb\nc"));
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
            let (v4, v6) = (IpAddr::from(octets), IpAddr::from(segments));
            let expected = format!("{number} {:03} {v4} {v6}", number % 1000);
            proptest::prop_assert_eq!(String::from_utf8(told).unwrap(), expected);
        }
    }
}
