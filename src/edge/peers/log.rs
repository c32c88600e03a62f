//! The gRPC service `Log`: other nodes follow the log that this one keeps, and pass orders on to it.
//!
//! Invariant: only nodes get here, by the listener's mutual TLS; what they say is checked all the same. It does not know what a
//! purge does.

use super::log_words::{self, Malformed};
use crate::base::units::ByteSize;
use crate::purge::order::Order;
use crate::purge::{MadeSnapshot, NotFollowed, OrderError, Purges};
use crate::wire;
use crate::wire::log_server::{Log, LogServer};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// Of one part of a snapshot.
const PART_BYTES: usize = 1 << 20;

pub(super) struct LogService(Purges);

impl LogService {
    pub(super) fn server(purges: Purges, message_bytes_max: ByteSize) -> LogServer<Self> {
        let bytes_max = message_bytes_max.as_usize();
        let server = LogServer::new(LogService(purges));
        server
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max)
    }

    /// An order is passed on once: who keeps no log passes nothing on.
    fn check_followed(&self) -> Result<(), Status> {
        match self.0.is_followed() {
            true => Ok(()),
            false => Err(unfollowed(NotFollowed::NotKept)),
        }
    }
}

/// Who takes no part for as long as one may take gets no more of it, so that it does not hold the memory.
async fn send_parts(
    mut snapshot: MadeSnapshot,
    incarnation: Bytes,
    parts: mpsc::Sender<Result<wire::SnapshotChunk, Status>>,
) {
    while !snapshot.bytes.is_empty() {
        let length = snapshot.bytes.len().min(PART_BYTES);
        let chunk = wire::SnapshotChunk {
            incarnation: incarnation.clone(),
            chunk: snapshot.bytes.split_to(length),
        };
        let taken = parts.send_timeout(Ok(chunk), snapshot.part_deadline).await;
        if let Err(error) = taken {
            tracing::debug!(%error, "a follower does not take its snapshot");
            return;
        }
    }
}

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unfollowed(error: NotFollowed) -> Status {
    match error {
        NotFollowed::NotKept => Status::failed_precondition(error.to_string()),
        NotFollowed::Closed | NotFollowed::Contested | NotFollowed::Log(_) => {
            Status::unavailable(error.to_string())
        }
    }
}

#[tonic::async_trait]
impl Log for LogService {
    type SnapshotStream = BoxStream<'static, Result<wire::SnapshotChunk, Status>>;

    async fn fetch(
        &self,
        request: Request<wire::FetchRequest>,
    ) -> Result<Response<wire::FetchResponse>, Status> {
        let fetch = request.into_inner().try_into().map_err(malformed)?;
        let fetched = self.0.fetch(&fetch).await.map_err(unfollowed)?;
        Ok(Response::new(fetched.into()))
    }

    async fn snapshot(
        &self,
        _request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let snapshot = self.0.snapshot().await.map_err(unfollowed)?;
        let incarnation = Bytes::copy_from_slice(self.0.incarnation().as_bytes());
        let (parts, sent) = mpsc::channel(1);
        tokio::spawn(send_parts(snapshot, incarnation, parts));
        let sent = stream::unfold(sent, async |mut sent| Some((sent.recv().await?, sent)));
        Ok(Response::new(sent.boxed()))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseResponse>, Status> {
        let request = request.into_inner();
        let holder = log_words::holder(&request.node, &request.process).map_err(malformed)?;
        self.0.release(&holder).map_err(unfollowed)?;
        Ok(Response::new(wire::ReleaseResponse {}))
    }

    async fn submit(
        &self,
        request: Request<wire::SubmitRequest>,
    ) -> Result<Response<wire::SubmitResponse>, Status> {
        self.check_followed()?;
        let order: Order = request.into_inner().try_into().map_err(malformed)?;
        if order.scopes.is_empty() || order.scopes.len() > self.0.order_scopes_max() {
            return Err(malformed(Malformed("scopes")));
        }
        Ok(Response::new(log_words::answer(self.0.submit(order).await)))
    }

    async fn receipt(
        &self,
        request: Request<wire::ReceiptRequest>,
    ) -> Result<Response<wire::ReceiptResponse>, Status> {
        self.check_followed()?;
        let id = log_words::purge_id(&request.into_inner().purge_id).map_err(malformed)?;
        let known = self.0.receipt(&id).await;
        let known = known.map_err(|error: OrderError| Status::unavailable(error.to_string()))?;
        Ok(Response::new(wire::ReceiptResponse {
            receipt: known.map(Into::into),
        }))
    }
}
