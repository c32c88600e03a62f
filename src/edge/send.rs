//! Sends a [`Reply`] over a session.
//!
//! Invariant: a body that can not be finished breaks the connection or resets the stream, so that no client
//! that was told a length, or how the end is marked, takes a part for the whole (HTTP/1.0 knows no such mark);
//! no client holds a task longer than the write deadline for each chunk.
//! Knows nothing of how a reply came about.

use super::connection::Flow;
use super::date::Date;
use super::respond::{Payload, Reply};
use crate::base::clock;
use crate::http::range::Multipart;
use crate::serve::body::Body;
use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What fits into the write buffer together with its header.
const AT_ONCE_BYTES: u64 = 64 << 10;

/// Larger than the write buffer, so that it is not copied there; small enough for a slow client's deadline.
const PIECE_BYTES: usize = 256 << 10;

/// How an answer went out.
pub(crate) struct Sent {
    /// Of the body.
    pub(crate) bytes: u64,
    /// When the header had been handed to the system; `None` where it never was.
    pub(crate) header_at: Option<Instant>,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// The client left or stalled, or the body broke off: the connection is of no further use.
    Broken,
}

/// The session ended before the answer did.
struct Broken;

pub(crate) async fn send(session: &mut ServerSession, reply: Reply, write_deadline: Duration) -> Sent {
    let arriving = reply
        .payload
        .is_arriving()
        .then(|| session.stream().and_then(Flow::of).cloned())
        .flatten();
    if let Some(flow) = &arriving {
        flow.write_promptly();
    }
    let mut writer = Writer {
        session,
        write_deadline,
        bytes: 0,
        header_at: None,
    };
    let end = match writer.send(reply).await {
        Ok(()) => End::Whole,
        Err(Broken) => End::Broken,
    };
    if let Some(flow) = &arriving {
        flow.write_together();
    }
    Sent {
        bytes: writer.bytes,
        header_at: writer.header_at,
        end,
    }
}

struct Writer<'a> {
    session: &'a mut ServerSession,
    write_deadline: Duration,
    bytes: u64,
    header_at: Option<Instant>,
}

impl Writer<'_> {
    async fn send(&mut self, reply: Reply) -> Result<(), Broken> {
        let Reply {
            status,
            headers,
            payload,
            ..
        } = reply;
        match payload {
            Payload::None => self.at_once(status, headers, Bytes::new()).await,
            Payload::Text(text) => self.at_once(status, headers, text).await,
            Payload::Slice {
                body: Body::Whole(whole),
                start,
                end,
            } if end - start <= AT_ONCE_BYTES => {
                let end = usize::try_from(end).unwrap_or(usize::MAX).min(whole.len());
                let start = usize::try_from(start).unwrap_or(usize::MAX).min(end);
                self.at_once(status, headers, whole.slice(start..end)).await
            }
            // Boxed, so that small answers do not carry the size of large ones.
            payload => Box::pin(self.piecewise(status, headers, payload)).await,
        }
    }

    /// Header and body in one system call, under one deadline.
    async fn at_once(&mut self, status: StatusCode, headers: HeaderMap, body: Bytes) -> Result<(), Broken> {
        let length = body.len() as u64;
        self.keep_date(&headers);
        let session = &mut *self.session;
        let write = async {
            session.write_response_header(response(status, headers)).await?;
            session.write_response_body(body, true).await
        };
        within(self.write_deadline, write).await?;
        self.header_at = Some(clock::monotonic());
        self.bytes += length;
        Ok(())
    }

    async fn piecewise(
        &mut self,
        status: StatusCode,
        mut headers: HeaderMap,
        payload: Payload,
    ) -> Result<(), Broken> {
        if !headers.contains_key(header::CONTENT_LENGTH) {
            self.delimit(&mut headers);
        }
        self.keep_date(&headers);
        let header = self.session.write_response_header(response(status, headers));
        within(self.write_deadline, header).await?;
        self.header_at = Some(clock::monotonic());
        match payload {
            Payload::Slice { mut body, start, end } => {
                self.slice(&mut body, start, end).await?;
                if let Some(trailers) = self.trailers(&mut body) {
                    return self.end_with(trailers).await;
                }
            }
            Payload::Multipart { body, parts } => self.multipart(body, &parts).await?,
            Payload::Text(text) => self.write(text).await?,
            Payload::None => {}
        }
        within(
            self.write_deadline,
            self.session.write_response_body(Bytes::new(), true),
        )
        .await
    }

    /// RFC 9111 section 4: a cache does not date anew what it answers with; pingora would. What has no date, or one
    /// written in an obsolete form, gets pingora's.
    fn keep_date(&self, headers: &HeaderMap) {
        if let Some(flow) = self.session.stream().and_then(Flow::of) {
            flow.date_next(Date::of(headers));
        }
    }

    /// What follows the body of a passed response; HTTP/1.1's sessions can not send it.
    fn trailers(&self, body: &mut Body) -> Option<HeaderMap> {
        let Body::Origin(body) = body else { return None };
        let trailers = body.take_trailers();
        (!trailers.is_empty() && self.session.is_http2()).then_some(trailers)
    }

    /// Trailers end the stream.
    async fn end_with(&mut self, trailers: HeaderMap) -> Result<(), Broken> {
        within(
            self.write_deadline,
            self.session.write_response_trailers(trailers),
        )
        .await
    }

    /// A body of unknown length: HTTP/1.1 marks its end by chunks, HTTP/1.0 only by closing, HTTP/2 frames it.
    fn delimit(&self, headers: &mut HeaderMap) {
        if self.session.req_header().version == http::Version::HTTP_11 {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }

    /// Sends the body from `start` to `end`, or to its own end where that is unknown.
    async fn slice(&mut self, body: &mut Body, start: u64, end: u64) -> Result<(), Broken> {
        let mut offset = start;
        while offset < end {
            match body.read_at(offset, end).await {
                Ok(Some(chunk)) => {
                    offset += chunk.len() as u64;
                    self.write(chunk).await?;
                }
                Ok(None) if end == u64::MAX => return Ok(()),
                Ok(None) => return Err(self.broken("the body ended early")),
                Err(error) => return Err(self.broken(&error.to_string())),
            }
        }
        Ok(())
    }

    async fn multipart(&mut self, mut body: Body, parts: &Multipart) -> Result<(), Broken> {
        for part in parts.parts() {
            self.write(part.preamble.clone()).await?;
            self.slice(&mut body, *part.range.start(), part.range.end() + 1)
                .await?;
        }
        self.write(parts.closing().clone()).await
    }

    /// In pieces, each with its own deadline: a client may be slow, but not stall.
    async fn write(&mut self, mut chunk: Bytes) -> Result<(), Broken> {
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE_BYTES));
            let length = piece.len() as u64;
            within(
                self.write_deadline,
                self.session.write_response_body(piece, false),
            )
            .await?;
            self.bytes += length;
        }
        Ok(())
    }

    fn broken(&self, cause: &str) -> Broken {
        tracing::warn!(cause, sent = self.bytes, "an answer broke off");
        Broken
    }
}

fn response(status: StatusCode, headers: HeaderMap) -> Box<ResponseHeader> {
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Box::new(ResponseHeader::from(response.into_parts().0))
}

async fn within(
    deadline: Duration,
    write: impl Future<Output = pingora_core::Result<()>>,
) -> Result<(), Broken> {
    match timeout(deadline, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Broken),
    }
}
