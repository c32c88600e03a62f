//! What nodes tell each other about what they keep: the asking side of the `Node` service.
//!
//! Invariant: no call is without a deadline, and what comes back is checked before it is used. It does not know what an entry
//! is, nor when to tell of one.

use super::member::Member;
use super::peers::Peers;
use crate::key::KeyName;
use crate::wire::node_client::NodeClient;
use crate::wire::offer_response::Wanted;
use crate::wire::push_request::{Open, Part};
use crate::wire::report_request::Hits;
use crate::wire::{InvalidateRequest, OfferRequest, PushRequest, ReportRequest};
use bytes::Bytes;
use futures::stream::{BoxStream, Stream, StreamExt, once};
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A ticket that is longer is none of ours.
const TICKET_BYTES_MAX: usize = 64;

/// Why another node was not told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TellError {
    #[error("the peer did not take it: {0}")]
    Refused(String),
    #[error("the peer did not answer in time")]
    Deadline,
}

/// What a node wants of what it was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It has it, or may not take it.
    Unwanted,
    /// It has the body.
    Entry(Ticket),
    Whole(Ticket),
}

/// What the receiver wants to be told again with a push. Only it can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket(pub Bytes);

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Stored,
    Refused,
}

/// An entry, and its body where the receiver wants that.
pub struct Parcel {
    pub entry: Bytes,
    pub ticket: Ticket,
    /// The body is whole if the receiver finds it so: who can not read on just ends.
    pub body: BoxStream<'static, Bytes>,
}

/// A type of its own: the compiler can not tell that a call with a boxed one may change threads.
struct Messages(BoxStream<'static, PushRequest>);

impl Peers {
    /// # Errors
    /// When no usable answer came.
    pub async fn offer(&self, to: &Member, entry: Bytes, deadline: Duration) -> Result<Offered, TellError> {
        let mut client = self.node_client(to);
        let answer = within(deadline, client.offer(OfferRequest { entry })).await?;
        let wanted = answer.wanted();
        let ticket = answer.ticket;
        match wanted {
            Wanted::Nothing => Ok(Offered::Unwanted),
            _ if ticket.len() > TICKET_BYTES_MAX => Err(TellError::Refused("its ticket is too long".into())),
            Wanted::Entry => Ok(Offered::Entry(Ticket(ticket))),
            Wanted::Whole => Ok(Offered::Whole(Ticket(ticket))),
        }
    }

    /// # Errors
    /// When no usable answer came.
    pub async fn push(&self, to: &Member, parcel: Parcel, deadline: Duration) -> Result<Pushed, TellError> {
        let mut client = self.node_client(to);
        let answer = within(deadline, client.push(parcel.into_messages())).await?;
        Ok(if answer.stored {
            Pushed::Stored
        } else {
            Pushed::Refused
        })
    }

    /// # Errors
    /// When it may not have arrived.
    pub async fn report(
        &self,
        to: &Member,
        hits: &[(KeyName, u64)],
        deadline: Duration,
    ) -> Result<(), TellError> {
        let mut client = self.node_client(to);
        let hits = hits.iter().map(|(name, count)| Hits {
            name: Bytes::copy_from_slice(name.as_bytes()),
            count: *count,
        });
        let request = ReportRequest { hits: hits.collect() };
        within(deadline, client.report(request)).await.map(|_| ())
    }

    /// # Errors
    /// When it may not have arrived.
    pub async fn invalidate(
        &self,
        to: &Member,
        keys: Vec<String>,
        deadline: Duration,
    ) -> Result<(), TellError> {
        let mut client = self.node_client(to);
        let told = within(deadline, client.invalidate(InvalidateRequest { keys }));
        told.await.map(|_| ())
    }

    fn node_client(&self, to: &Member) -> NodeClient<Channel> {
        NodeClient::new(self.channel(to))
    }
}

impl Parcel {
    fn into_messages(self) -> Messages {
        let open = Part::Open(Open {
            entry: self.entry,
            ticket: self.ticket.0,
        });
        let parts = once(ready(open)).chain(self.body.map(Part::Chunk));
        Messages(parts.map(|part| PushRequest { part: Some(part) }).boxed())
    }
}

impl Stream for Messages {
    type Item = PushRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<PushRequest>> {
        self.0.as_mut().poll_next(context)
    }
}

async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, TellError> {
    match timeout(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(TellError::Refused(status.message().to_owned())),
        Err(_) => Err(TellError::Deadline),
    }
}
