//! The `Node` service: copies that other nodes push, hits that they report, changes that they tell.
//!
//! Invariant: a message of any content is an answer or a refusal, and what it may bring is limited before memory is taken for it.
//! It does not know what becomes of a copy.

use super::Process;
use crate::base::metrics::Metrics;
use crate::cluster::config::Config;
use crate::cluster::node_client::{Offered, Ticket};
use crate::key::KeyName;
use crate::serve::Engine;
use crate::serve::copies::{REPORT_KEYS_MAX, Refusal};
use crate::wire::node_server::{Node, NodeServer};
use crate::wire::offer_response::Wanted;
use crate::wire::push_request::Part;
use crate::wire::{
    InvalidateRequest, InvalidateResponse, OfferRequest, OfferResponse, PushRequest, PushResponse,
    ReportRequest, ReportResponse,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

pub(super) struct NodeService {
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    /// From one message of a push to the next.
    patience: Duration,
    push_deadline: Duration,
    changed_keys_max: usize,
}

impl NodeService {
    pub(super) fn server(process: &Process, config: &Config) -> NodeServer<NodeService> {
        let server = NodeServer::new(NodeService {
            engine: process.engine.clone(),
            metrics: process.metrics.clone(),
            patience: config.read_deadline.get(),
            push_deadline: config.push_deadline.get(),
            changed_keys_max: config.changed_keys_max,
        });
        server.max_decoding_message_size(config.push_message_bytes_max.as_usize())
    }

    /// Returns once the copy is stored.
    async fn take(&self, mut parts: Streaming<PushRequest>) -> Result<(), Status> {
        let Some(Part::Open(open)) = self.next(&mut parts).await? else {
            return Err(Status::invalid_argument("a push begins with its entry"));
        };
        let receiver = self.engine.receiver().map_err(|refusal| self.status(refusal))?;
        let mut arriving = receiver
            .begin(&open.entry, &open.ticket)
            .map_err(|refusal| self.status(refusal))?;
        while let Some(part) = self.next(&mut parts).await? {
            let Part::Chunk(chunk) = part else {
                return Err(Status::invalid_argument("a push has one entry"));
            };
            receiver
                .take(&mut arriving, chunk)
                .map_err(|refusal| self.status(refusal))?;
        }
        receiver
            .finish(arriving)
            .await
            .map_err(|refusal| self.status(refusal))
    }

    fn status(&self, refusal: Refusal) -> Status {
        match refusal {
            refusal if refusal.is_fault() => {
                self.metrics.cluster_corrupt_copies.inc();
                tracing::warn!(%refusal, "a copy was refused");
                Status::invalid_argument(refusal.to_string())
            }
            Refusal::Busy => Status::resource_exhausted(refusal.to_string()),
            refusal => Status::failed_precondition(refusal.to_string()),
        }
    }

    async fn next(&self, parts: &mut Streaming<PushRequest>) -> Result<Option<Part>, Status> {
        let next = timeout(self.patience, parts.message()).await;
        match next.map_err(|_| Status::deadline_exceeded("the push came too slowly"))?? {
            None => Ok(None),
            Some(PushRequest { part: Some(part) }) => Ok(Some(part)),
            Some(PushRequest { part: None }) => {
                Err(Status::invalid_argument("a part of the push is unknown"))
            }
        }
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn offer(&self, request: Request<OfferRequest>) -> Result<Response<OfferResponse>, Status> {
        let entry = request.into_inner().entry;
        let (wanted, Ticket(ticket)) = match self.engine.offered(&entry).await {
            Ok(Offered::Entry(ticket)) => (Wanted::Entry, ticket),
            Ok(Offered::Whole(ticket)) => (Wanted::Whole, ticket),
            Ok(Offered::Unwanted) => (Wanted::Nothing, Ticket(Bytes::new())),
            Err(refusal) if refusal.is_fault() => return Err(self.status(refusal)),
            Err(refusal) => {
                tracing::debug!(%refusal, "a copy is not wanted");
                (Wanted::Nothing, Ticket(Bytes::new()))
            }
        };
        Ok(Response::new(OfferResponse {
            wanted: wanted.into(),
            ticket,
        }))
    }

    async fn push(&self, request: Request<Streaming<PushRequest>>) -> Result<Response<PushResponse>, Status> {
        let taken = timeout(self.push_deadline, self.take(request.into_inner())).await;
        let taken = taken.unwrap_or_else(|_| Err(Status::deadline_exceeded("the push takes too long")));
        match taken {
            Ok(()) => Ok(Response::new(PushResponse { stored: true })),
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                Ok(Response::new(PushResponse { stored: false }))
            }
            Err(status) => Err(status),
        }
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let hits = request.into_inner().hits;
        if hits.len() > REPORT_KEYS_MAX {
            return Err(Status::invalid_argument("a report is of too many keys"));
        }
        let named = hits.iter().filter_map(|hits| {
            let name = hits.name[..].try_into().ok()?;
            Some((KeyName::from_bytes(name), hits.count))
        });
        self.engine.copies().reported(named);
        Ok(Response::new(ReportResponse {}))
    }

    async fn invalidate(
        &self,
        request: Request<InvalidateRequest>,
    ) -> Result<Response<InvalidateResponse>, Status> {
        let keys = request.into_inner().keys;
        if keys.len() > self.changed_keys_max {
            return Err(Status::invalid_argument("too many keys have changed at once"));
        }
        self.engine.invalidated(&keys);
        Ok(Response::new(InvalidateResponse {}))
    }
}
