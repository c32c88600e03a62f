//! Sends a request and waits for the header of its answer.
//!
//! Invariant: once a final header has come, nothing more is sent. It judges neither the header nor whether the request
//! may be sent again.

use super::body::RequestSent;
use super::connect::Link;
use super::deadline::Deadlines;
use super::error::{OriginError, Stage};
use super::fault;
use super::request::{Envelope, Framing, Protocol};
use super::response::{self, AwaitError};
use super::{OriginRequest, RequestBody};
use bytes::Bytes;
use pingora_core::protocols::http::client::HttpSession;

/// One request on its way out.
pub(super) struct Sending<'a> {
    pub(super) request: &'a OriginRequest,
    pub(super) framing: Framing,
    pub(super) deadlines: &'a mut Deadlines,
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
        body: &mut Option<B>,
    ) -> Result<RequestSent, Broken> {
        let session = link.session();
        let protocol = match session {
            HttpSession::H2(_) => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let framing = self.framing;
        let header = envelope.seal(framing, protocol).map_err(Broken::Otherwise)?;
        let sent = async {
            match &mut *session {
                HttpSession::H2(stream) => stream.write_request_header(header, framing == Framing::Absent),
                session => session.write_request_header(header).await,
            }
        };
        self.within(Stage::Write, sent).await?.map_err(Broken::Sending)?;
        if let Some(body) = body
            && self.pump(session, body).await? == RequestSent::InPart
        {
            return Ok(RequestSent::InPart);
        }
        self.within(Stage::FirstByte, response::await_final(session))
            .await?
            .map_err(Broken::Awaiting)?;
        Ok(RequestSent::Whole)
    }

    /// Sends the body until it ends or, earlier, a final header has been read.
    async fn pump<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<RequestSent, Broken> {
        let mut promise = Promise::of(self.framing);
        loop {
            let part = match self.next_part(session, body).await? {
                Heard::Answer => return Ok(RequestSent::InPart),
                Heard::Part(part) => part,
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
            match written {
                Ok(Ok(())) if more == More::Ends => return Ok(RequestSent::Whole),
                Ok(Ok(())) => {}
                // An origin that has answered need not read on: what stopped the body may be its answer.
                Ok(Err(error)) => return self.answer_after(session, fault::sending(&error)).await,
                Err(timeout) => return self.answer_after(session, timeout).await,
            }
        }
    }

    /// Whatever comes first: the origin's answer or more of the client's body.
    async fn next_part<B: RequestBody>(
        &mut self,
        session: &mut HttpSession,
        body: &mut B,
    ) -> Result<Heard, Broken> {
        let heard = async {
            tokio::select! {
                biased;
                answered = response::await_final(session) => {
                    answered.map(|()| Heard::Answer).map_err(Broken::Awaiting)
                }
                part = body.next() => {
                    part.map(Heard::Part).map_err(|_| Broken::Otherwise(OriginError::RequestBody))
                }
            }
        };
        // Only the whole exchange bounds this: how long a client may take is for its own side to say.
        self.within(Stage::Total, heard).await?
    }

    /// Looks for the answer of an origin that stopped taking the body, before reporting that it stopped.
    async fn answer_after(
        &mut self,
        session: &mut HttpSession,
        stopped: OriginError,
    ) -> Result<RequestSent, Broken> {
        match self
            .within(Stage::FirstByte, response::await_final(session))
            .await
        {
            Ok(Ok(())) => Ok(RequestSent::InPart),
            _ => Err(Broken::Otherwise(stopped)),
        }
    }

    async fn within<T>(&mut self, stage: Stage, work: impl Future<Output = T>) -> Result<T, Broken> {
        self.deadlines
            .within(stage, work)
            .await
            .map_err(Broken::Otherwise)
    }
}

/// What an exchange hears of next while its request's body is being sent.
enum Heard {
    /// The header of a final response.
    Answer,
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
