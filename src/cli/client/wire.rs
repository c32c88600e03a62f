//! Requests and the headers of answers as they are on the wire.
//!
//! Invariant: an answer is looked for from the first byte that is written on: who refuses a request early, and hangs up on its
//! body, is heard. It does not know deadlines.

use super::{Admin, Connection, Method, Request, Sent};
use bytes::{Buf, BytesMut};
use std::io;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Of an answer's header.
const HEADER_BYTES_MAX: usize = 64 << 10;
const LINES_MAX: usize = 64;

/// An answer's header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) is_ndjson: bool,
    pub(super) retry_after_s: Option<u64>,
    closes: bool,
}

impl Head {
    pub(super) fn keeps_connection(&self) -> bool {
        !self.closes && (self.is_chunked || self.length.is_some())
    }
}

pub(super) fn malformed(wrong: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, wrong)
}

/// As it is written, body and all.
pub(super) fn request(admin: &Admin, authorization: Option<&str>, request: &Request<'_>) -> Vec<u8> {
    let Admin { host, port } = admin;
    let Request {
        method,
        path,
        headers,
        body,
        ..
    } = request;
    let method = match method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if *method == *"POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let authorization = authorization.map(|authorization| ("Authorization", authorization));
    for (name, value) in headers.iter().copied().chain(authorization) {
        head += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Connection {
    /// Writes `bytes` and reads the header of the answer, which may come before they are written.
    pub(super) async fn exchange(&mut self, bytes: &[u8], sent: &mut Sent) -> io::Result<Head> {
        let Connection { stream, arrived } = self;
        let (mut reader, mut writer) = stream.split();
        let mut reading = pin!(read_head(&mut reader, arrived));
        let writing = writer.write_all(bytes);
        let mut unwritten = tokio::select! {
            biased;
            head = &mut reading => return head,
            written = writing => match written {
                Ok(()) => {
                    *sent = Sent::Whole;
                    None
                }
                Err(error) => Some(error),
            },
        };
        // What was answered before it hung up is still there to be read.
        reading.await.map_err(|error| unwritten.take().unwrap_or(error))
    }
}

async fn read_head(reader: &mut (impl AsyncRead + Unpin), arrived: &mut BytesMut) -> io::Result<Head> {
    loop {
        match parse(arrived)? {
            // Interim responses say nothing yet.
            Some((head, length)) => {
                arrived.advance(length);
                if head.status >= 200 {
                    return Ok(head);
                }
            }
            None if arrived.len() > HEADER_BYTES_MAX => {
                return Err(malformed("its answer has no end of a header"));
            }
            None => {
                if reader.read_buf(arrived).await? == 0 {
                    return Err(malformed("its answer is not whole"));
                }
            }
        }
    }
}

/// The header at the beginning of `bytes`, and its length; `None`: it has not come whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let parsed = response
        .parse(bytes)
        .map_err(|_| malformed("its answer is no HTTP"))?;
    let httparse::Status::Complete(end) = parsed else {
        return Ok(None);
    };
    let line = |name: &str| {
        let line = response
            .headers
            .iter()
            .find(|line| line.name.eq_ignore_ascii_case(name));
        line.and_then(|line| str::from_utf8(line.value).ok())
    };
    let says =
        |name: &str, word: &str| line(name).is_some_and(|value| value.to_ascii_lowercase().contains(word));
    let length = match line("content-length").map(str::parse) {
        Some(Ok(length)) => Some(length),
        Some(Err(_)) => return Err(malformed("its answer has no length that can be read")),
        None => None,
    };
    let head = Head {
        status: response.code.unwrap_or_default(),
        length,
        is_chunked: says("transfer-encoding", "chunked"),
        is_ndjson: says("content-type", "application/x-ndjson"),
        retry_after_s: line("retry-after").and_then(|value| value.parse().ok()),
        closes: says("connection", "close") || response.version == Some(0),
    };
    Ok(Some((head, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nRetry-After: 2\r\n\r\nyes";
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!(
            (head.status, head.length, head.retry_after_s),
            (200, Some(3), Some(2))
        );
        assert!(head.keeps_connection());
        assert_eq!(&text[length..], b"yes");
        for end in 0..length {
            assert_eq!(parse(&text[..end]).unwrap(), None, "{end}");
        }
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }

    #[test]
    fn a_connection_whose_end_is_the_answers_is_not_kept() {
        for (text, kept) in [
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                false,
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ] {
            let (head, _) = parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(head.keeps_connection(), kept, "{text}");
        }
    }
}
