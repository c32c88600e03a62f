//! The body of a request that is passed through, as it arrives from the client.
//!
//! Invariant: no more bytes leave than the limit allows; a client that waits for a 100 is sent one when its body is
//! first asked for, and no other client is sent any. Knows nothing of origins.

use super::guard::expects_continue;
use super::interim;
use crate::base::metrics::RouteMetrics;
use crate::upstream::{BodyGone, Interim, RequestBody};
use bytes::Bytes;
use http::header;
use pingora_core::protocols::http::ServerSession;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct SessionBody<'a> {
    absent: bool,
    session: &'a mut ServerSession,
    bytes_max: u64,
    bytes: u64,
    write_deadline: Duration,
    awaited: bool,
    /// The client takes no more interim responses.
    deaf: bool,
    /// `None`: of an order of a purge.
    counted_for: Option<Arc<RouteMetrics>>,
}

impl<'a> SessionBody<'a> {
    pub(crate) fn new(session: &'a mut ServerSession, bytes_max: u64, write_deadline: Duration) -> Self {
        let header = session.req_header();
        SessionBody {
            awaited: expects_continue(header.version, &header.headers),
            absent: session.is_body_empty(),
            session,
            bytes_max,
            bytes: 0,
            write_deadline,
            deaf: false,
            counted_for: None,
        }
    }

    /// Its bytes are counted for a route.
    pub(crate) fn counted_for(self, route: Arc<RouteMetrics>) -> Self {
        SessionBody {
            counted_for: Some(route),
            ..self
        }
    }

    /// Whether the header announces more than the limit.
    pub(crate) fn declares_too_much(&self) -> bool {
        let declared = self.session.get_header(header::CONTENT_LENGTH);
        let declared = declared
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<u64>().ok());
        declared.is_some_and(|length| length > self.bytes_max)
    }

    /// Whether more came than the limit.
    pub(crate) fn exceeded(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

impl RequestBody for &mut SessionBody<'_> {
    fn is_absent(&self) -> bool {
        self.absent
    }

    async fn interim(&mut self, interim: Interim) {
        if !self.deaf {
            let written = interim::write(self.session, &interim, self.write_deadline).await;
            self.deaf = written.is_err();
        }
    }

    /// HTTP/2 alone: pingora's HTTP/1.1 server writes none.
    fn takes_trailers(&self) -> bool {
        self.session.is_http2()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyGone> {
        let next = self.read().await;
        if next.is_err() {
            // Where the body ends is lost, and with it where another request would begin.
            self.session.set_keepalive(None);
        }
        next
    }
}

impl SessionBody<'_> {
    async fn read(&mut self) -> Result<Option<Bytes>, BodyGone> {
        if std::mem::take(&mut self.awaited) {
            // Not pingora's own: that one says nothing once another interim response has been sent.
            let asked = interim::write_continue(self.session, self.write_deadline).await;
            self.deaf |= asked.is_err();
        }
        if self.deaf {
            return Err(BodyGone);
        }
        let chunk = self.session.read_request_body().await.map_err(|_| BodyGone)?;
        let length = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        self.bytes += length;
        if let Some(route) = &self.counted_for {
            route.request_body_bytes.inc_by(length);
        }
        if self.exceeded() { Err(BodyGone) } else { Ok(chunk) }
    }
}
