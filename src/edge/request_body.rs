//! The body of a request that is passed through, as it arrives from the client.
//!
//! Invariant: no more bytes leave than the limit allows. Knows nothing of origins.

use crate::upstream::{BodyGone, RequestBody};
use bytes::Bytes;
use http::header;
use pingora_core::protocols::http::ServerSession;

pub(crate) struct SessionBody<'a> {
    session: &'a mut ServerSession,
    bytes_max: u64,
    bytes: u64,
    expects_continue: bool,
}

impl<'a> SessionBody<'a> {
    pub(crate) fn new(session: &'a mut ServerSession, bytes_max: u64) -> Self {
        let expects_continue = session
            .get_header_bytes(header::EXPECT)
            .eq_ignore_ascii_case(b"100-continue");
        SessionBody {
            session,
            bytes_max,
            bytes: 0,
            expects_continue,
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
        if std::mem::take(&mut self.expects_continue) {
            self.session
                .write_continue_response()
                .await
                .map_err(|_| BodyGone)?;
        }
        let chunk = self.session.read_request_body().await.map_err(|_| BodyGone)?;
        self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.exceeded() { Err(BodyGone) } else { Ok(chunk) }
    }
}
