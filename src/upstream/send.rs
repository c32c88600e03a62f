//! Sends a request and waits for the header of its answer.
//!
//! Invariant: once a final header has come, nothing more is sent; while the origin owes its answer to an expectation
//! (RFC 9110 section 10.1.1), no byte of the body is asked of the client. It judges neither the header nor whether the
//! request may be sent again.

use super::body::RequestSent;
use super::connect::Link;
use super::deadline::{Deadlines, Stretch};
use super::error::{OriginError, Stage};
use super::fault;
use super::request::{Envelope, Framing, Protocol};
use super::response::{AwaitError, Heard, Hearing};
use super::{OriginRequest, RequestBody};
use crate::base::clock;
use bytes::Bytes;
use http::header;
use pingora_core::protocols::http::client::HttpSession;
use std::time::{Duration, Instant};

/// One request on its way out.
pub(super) struct Sending<'a> {
    pub(super) request: &'a OriginRequest,
    pub(super) framing: Framing,
    pub(super) deadlines: &'a mut Deadlines,
    pub(super) hearing: Hearing,
    /// How long an origin that is asked for a 100 may take before the body is sent all the same.
    pub(super) expect_wait: Duration,
    /// When the last that was sent of it had been: its header, or a part of its body, which comes at the client's pace.
    pub(super) last_sent_at: Instant,
}

/// Why a request that had a connection was not answered.
pub(super) enum Broken {
    /// While its header was being sent.
    Sending(pingora_core::BError),
    /// While its answer was awaited, with nothing left to send.
    Awaiting(AwaitError),
    Otherwise(OriginError),
}

impl Sending<'_> {
    /// Sends the request and reads up to the final header.
    pub(super) async fn send<B: RequestBody>(
        &mut self,
        link: &mut Link,
        envelope: Envelope<'_>,
        body: &mut B,
    ) -> Result<RequestSent, Broken> {
        let session = link.session();
        let protocol = match session {
            HttpSession::H2(_) => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let framing = self.framing;
        let header = envelope.seal(framing, protocol).map_err(Broken::Otherwise)?;
        let expects = header.headers.contains_key(header::EXPECT);
        let sent = async {
            match &mut *session {
                HttpSession::H2(stream) => stream.write_request_header(header, framing == Framing::Absent),
                session => session.write_request_header(header).await,
            }
        };
        self.within(Stage::Write, sent).await?.map_err(Broken::Sending)?;
        self.last_sent_at = clock::monotonic();
        if expects && self.await_continue(session, body).await? == Wanted::No {
            return Ok(RequestSent::InPart);
        }
        if framing != Framing::Absent && self.pump(session, body).await? == RequestSent::InPart {
            return Ok(RequestSent::InPart);
        }
        self.await_final(session, body).await?;
        Ok(RequestSent::Whole)
    }

    /// Waits for the origin to ask for the body or to answer without it; not for long, because an origin that knows
    /// nothing of expectations says nothing.
    async fn await_continue<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<Wanted, Broken> {
        let mut stretch = self.deadlines.stretch(Stage::FirstByte).at_most(self.expect_wait);
        loop {
            match self.hear(session, &mut stretch).await {
                Ok(Heard::Continue) => return Ok(Wanted::Yes),
                Ok(Heard::Interim(interim)) => body.interim(interim).await,
                Ok(Heard::Final) => return Ok(Wanted::No),
                Err(Broken::Otherwise(OriginError::Timeout {
                    stage: Stage::FirstByte,
                })) => return Ok(Wanted::Yes),
                Err(broken) => return Err(broken),
            }
        }
    }

    /// Reads up to the final header. What is said before goes to the client, whose slowness is not the origin's.
    async fn await_final<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<(), Broken> {
        let mut stretch = self.deadlines.stretch(Stage::FirstByte);
        loop {
            match self.hear(session, &mut stretch).await? {
                Heard::Final => return Ok(()),
                Heard::Interim(interim) => body.interim(interim).await,
                Heard::Continue => {}
            }
        }
    }

    async fn hear(&mut self, session: &mut HttpSession, stretch: &mut Stretch) -> Result<Heard, Broken> {
        let heard = self.hearing.next(session);
        let heard = self.deadlines.within_stretch(stretch, heard).await;
        heard.map_err(Broken::Otherwise)?.map_err(Broken::Awaiting)
    }

    /// Sends the body until it ends or, earlier, a final header has been read.
    async fn pump<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<RequestSent, Broken> {
        let mut promise = Promise::of(self.framing);
        loop {
            let part = match self.next_event(session, body).await? {
                Event::Heard(Heard::Final) => return Ok(RequestSent::InPart),
                Event::Heard(Heard::Interim(interim)) => {
                    body.interim(interim).await;
                    continue;
                }
                Event::Heard(Heard::Continue) => continue,
                Event::Part(part) => part,
            };
            promise.keep(part.as_ref())?;
            let more = if part.is_none() || promise.is_kept() {
                More::Ends
            } else {
                More::Follows
            };
            let written = self
                .deadlines
                .within(Stage::Write, write(session, part, more))
                .await;
            self.last_sent_at = clock::monotonic();
            match written {
                Ok(Ok(())) if more == More::Ends => return Ok(RequestSent::Whole),
                Ok(Ok(())) => {}
                // An origin that has answered need not read on: what stopped the body may be its answer.
                Ok(Err(error)) => return self.answer_after(session, body, fault::sending(&error)).await,
                Err(timeout) => return self.answer_after(session, body, timeout).await,
            }
        }
    }

    /// Whatever comes first: word from the origin or more of the client's body.
    async fn next_event<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<Event, Broken> {
        let hearing = &mut self.hearing;
        let event = async {
            tokio::select! {
                biased;
                heard = hearing.next(session) => heard.map(Event::Heard).map_err(Broken::Awaiting),
                part = body.next() => {
                    part.map(Event::Part).map_err(|_| Broken::Otherwise(OriginError::RequestBody))
                }
            }
        };
        // Only the whole exchange bounds this: how long a client may take is for its own side to say.
        let event = self.deadlines.within(Stage::Total, event).await;
        event.map_err(Broken::Otherwise)?
    }

    /// Looks for the answer of an origin that stopped taking the body, before reporting that it stopped.
    async fn answer_after<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
        stopped: OriginError,
    ) -> Result<RequestSent, Broken> {
        match self.await_final(session, body).await {
            Ok(()) => Ok(RequestSent::InPart),
            Err(_) => Err(Broken::Otherwise(stopped)),
        }
    }

    async fn within<T>(&mut self, stage: Stage, work: impl Future<Output = T>) -> Result<T, Broken> {
        self.deadlines
            .within(stage, work)
            .await
            .map_err(Broken::Otherwise)
    }
}

/// Whether an origin that was asked wants the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Yes,
    /// It has answered without it.
    No,
}

/// What comes next while a request's body is being sent.
enum Event {
    Heard(Heard),
    /// A part of the body, or its end.
    Part(Option<Bytes>),
}

/// The length that the request's header gave its body, as far as it is still owed.
struct Promise(Option<u64>);

impl Promise {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Promise(Some(length)),
            Framing::Unknown | Framing::Absent => Promise(None),
        }
    }

    /// Nothing is owed any more: an origin that answers now has the whole request.
    fn is_kept(&self) -> bool {
        self.0 == Some(0)
    }

    /// Counts a part, or the end; a body of another length is not sent on.
    fn keep(&mut self, part: Option<&Bytes>) -> Result<(), Broken> {
        let Some(owed) = self.0 else { return Ok(()) };
        let kept = match part {
            Some(part) => owed.checked_sub(part.len() as u64),
            None => (owed == 0).then_some(0),
        };
        self.0 = Some(kept.ok_or(Broken::Otherwise(OriginError::RequestBody))?);
        Ok(())
    }
}

/// Whether a part of the body is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Follows,
    Ends,
}

/// Writes a part of the body and, after the last, its end.
async fn write(session: &mut HttpSession, part: Option<Bytes>, more: More) -> pingora_core::Result<()> {
    // In HTTP/1.1 an empty chunk would be the last.
    if let Some(part) = part.filter(|part| !part.is_empty()) {
        session.write_request_body(part, false).await?;
    }
    match more {
        More::Follows => Ok(()),
        More::Ends => session.finish_request_body().await,
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "interim_tests.rs"]
mod interim_tests;
