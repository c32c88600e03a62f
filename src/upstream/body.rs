//! The body of an HTTP response, held against what its header promised.
//!
//! Invariant: the end is reported only when the whole body came; a body that ended any other way yields an error.
//! The connection goes back to the pool after that end alone. It knows neither metrics nor the concurrency cap.

use super::connect::Link;
use super::deadline::Deadlines;
use super::error::{OriginError, Stage};
use super::fault;
use super::pick::Attempt;
use super::response::{Content, Head, Persistence};
use super::trailers;
use crate::base::breaker::Verdict;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::http::client::HttpSession;

/// A body on its way.
pub(super) struct HttpBody {
    link: Option<Link>,
    attempt: Attempt,
    deadlines: Deadlines,
    expected: Option<u64>,
    received: u64,
    persistence: Persistence,
    request: RequestSent,
    trailers: Option<Box<HeaderMap>>,
    /// Larger trailers are dropped.
    trailer_bytes_max: u64,
}

/// How much of the request went out before its answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestSent {
    Whole,
    /// The rest of its body is still owed, so the connection can carry nothing else.
    InPart,
}

/// A response's header has been read over `link`.
pub(super) struct Answered {
    pub(super) link: Link,
    pub(super) attempt: Attempt,
    pub(super) deadlines: Deadlines,
    pub(super) request: RequestSent,
    pub(super) trailer_bytes_max: u64,
}

impl HttpBody {
    /// The body that follows `head`; none where none follows, and then the connection is free already.
    pub(super) async fn after(head: &Head, answered: Answered) -> Option<Self> {
        let Answered {
            link,
            mut attempt,
            deadlines,
            request,
            trailer_bytes_max,
        } = answered;
        attempt.settle(Verdict::Answered);
        let mut body = HttpBody {
            link: Some(link),
            attempt,
            deadlines,
            expected: head.length,
            received: 0,
            persistence: head.persistence,
            request,
            trailers: None,
            trailer_bytes_max,
        };
        if head.content == Content::Follows {
            return Some(body);
        }
        body.finish().await;
        None
    }

    /// The next bytes, never empty, or the end of a body that came whole.
    ///
    /// After an error there is nothing more to be had.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        match self.read().await {
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                Ok(Some(bytes))
            }
            Ok(None) => {
                self.check_whole()?;
                self.read_trailers().await?;
                self.finish().await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
        .inspect_err(|error| self.give_up(error))
    }

    async fn read(&mut self) -> Result<Option<Bytes>, OriginError> {
        let Some(link) = self.link.as_mut() else {
            return Ok(None);
        };
        loop {
            let read = self
                .deadlines
                .within(Stage::Read, link.session().read_response_body())
                .await?;
            match read {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(read) => return Ok(read),
                Err(error) => return Err(fault::reading_body(&error, self.expected, self.received)),
            }
        }
    }

    /// What may go on to a client of the fields that came after the body.
    pub(super) fn take_trailers(&mut self) -> Option<Box<HeaderMap>> {
        self.trailers.take()
    }

    /// A stream that breaks here did not end, though all of the body seems to be there.
    async fn read_trailers(&mut self) -> Result<(), OriginError> {
        let Some(HttpSession::H2(stream)) = self.link.as_mut().map(Link::session) else {
            return Ok(());
        };
        let read = self.deadlines.within(Stage::Read, stream.read_trailers()).await?;
        let read = read.map_err(|error| fault::reading_body(&error, self.expected, self.received))?;
        self.trailers = read.map(|read| Box::new(trailers::passable(read, self.trailer_bytes_max)));
        Ok(())
    }

    /// Called at what looks like the end.
    fn check_whole(&mut self) -> Result<(), OriginError> {
        let Some(expected) = self.expected else {
            return Ok(());
        };
        if self.received != expected {
            return Err(OriginError::Truncated {
                expected: Some(expected),
                received: self.received,
            });
        }
        if self.came_with_more() {
            return Err(OriginError::malformed("more bytes than its Content-Length"));
        }
        Ok(())
    }

    /// Whether the origin sent bytes beyond Content-Length, as far as they have arrived.
    ///
    /// pingora reports them only by not keeping a connection that the header would let it keep.
    fn came_with_more(&mut self) -> bool {
        let Some(link) = self.link.as_mut() else {
            return false;
        };
        let HttpSession::H1(session) = link.session() else {
            return false;
        };
        session.respect_keepalive();
        self.persistence == Persistence::Keep && !session.will_keepalive()
    }

    async fn finish(&mut self) {
        self.attempt.settle(Verdict::Finished);
        let link = self.link.take();
        if let (Some(link), RequestSent::Whole) = (link, self.request) {
            // A connection that can not even be given back in time is dropped.
            let _late = self.deadlines.within(Stage::Read, link.release()).await;
        }
    }

    fn give_up(&mut self, error: &OriginError) {
        self.link = None;
        if error.blames_address() {
            self.attempt.settle(Verdict::Failed);
        }
    }
}
