//! The node that keeps the log, as a follower reaches it over gRPC.
//!
//! Invariant: every call is dropped at its caller's deadline. It does not know leases.

use super::log_words::{self, Malformed};
use crate::base::units::ByteSize;
use crate::cluster::Cluster;
use crate::cluster::member::NodeId;
use crate::purge::follow::{Fetch, Fetched, SnapshotParts, Voter, VoterError};
use crate::purge::order::{Order, PurgeId};
use crate::purge::receipt::Receipt;
use crate::purge::{Holder, OrderError};
use crate::wire;
use crate::wire::log_client::LogClient;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// The voter, wherever it is at the moment.
pub(crate) struct RemoteVoter {
    id: NodeId,
    /// `None`: nobody knows where it is.
    channel: Box<dyn Fn() -> Option<Channel> + Send + Sync>,
    message_bytes_max: usize,
}

impl RemoteVoter {
    /// It is where gossip says.
    pub(crate) fn new(cluster: Cluster, id: NodeId, message_bytes_max: ByteSize) -> Self {
        let message_bytes_max = message_bytes_max.as_usize();
        let wanted = id.clone();
        let channel = Box::new(move || {
            let view = cluster.view();
            let member = view.members.iter().find(|member| member.id == wanted)?;
            Some(cluster.peers().channel(member))
        });
        RemoteVoter {
            id,
            channel,
            message_bytes_max,
        }
    }

    fn client(&self) -> Result<LogClient<Channel>, VoterError> {
        let channel = (self.channel)().ok_or_else(|| {
            VoterError::Unreachable(format!("no member of the cluster is known as {}", self.id))
        })?;
        Ok(LogClient::new(channel)
            .max_decoding_message_size(self.message_bytes_max)
            .max_encoding_message_size(self.message_bytes_max))
    }
}

fn failed(status: Status) -> VoterError {
    let text = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument => VoterError::Refused(text),
        _ => VoterError::Unreachable(text),
    }
}

fn malformed(error: Malformed) -> VoterError {
    VoterError::Malformed(error.to_string())
}

fn unordered(error: VoterError) -> OrderError {
    OrderError::Unreachable(error.to_string())
}

#[async_trait]
impl Voter for RemoteVoter {
    async fn fetch(&self, fetch: Fetch) -> Result<Fetched, VoterError> {
        let response = self.client()?.fetch(wire::FetchRequest::from(fetch)).await;
        response
            .map_err(failed)?
            .into_inner()
            .try_into()
            .map_err(malformed)
    }

    async fn snapshot(&self) -> Result<SnapshotParts, VoterError> {
        let response = self.client()?.snapshot(wire::SnapshotRequest {}).await;
        let mut parts = response.map_err(failed)?.into_inner();
        let first = parts.message().await.map_err(failed)?;
        let first = first.ok_or(VoterError::Malformed("a snapshot of nothing".to_owned()))?;
        let incarnation = log_words::incarnation(&first.incarnation).map_err(malformed)?;
        let rest =
            parts.map(|part| -> Result<Bytes, VoterError> { part.map(|part| part.chunk).map_err(failed) });
        Ok(SnapshotParts {
            incarnation,
            parts: futures::stream::iter([Ok(first.chunk)]).chain(rest).boxed(),
        })
    }

    async fn release(&self, holder: &Holder) -> Result<(), VoterError> {
        let request = wire::ReleaseRequest {
            node: holder.node.to_string(),
            process: Bytes::copy_from_slice(&holder.process),
        };
        self.client()?.release(request).await.map(drop).map_err(failed)
    }

    async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        let mut client = self.client().map_err(unordered)?;
        let response = client.submit(wire::SubmitRequest::from(order)).await;
        let response = response.map_err(|status| unordered(failed(status)))?;
        log_words::end(response.into_inner()).map_err(|error| unordered(malformed(error)))?
    }

    async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, VoterError> {
        let request = wire::ReceiptRequest {
            purge_id: Bytes::copy_from_slice(id.as_bytes()),
        };
        let response = self.client()?.receipt(request).await.map_err(failed)?;
        let receipt = response.into_inner().receipt.map(Receipt::try_from);
        receipt.transpose().map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::log::LogService;
    use super::*;
    use crate::base::metrics::{Metrics, PurgeWay};
    use crate::purge::config::Config;
    use crate::purge::follow::Settings;
    use crate::purge::order::Mode;
    use crate::purge::receipt::State;
    use crate::purge::{Following, Purges};
    use crate::scope::Scope;
    use std::sync::Arc;
    use std::time::Duration;
    use tonic::transport::server::TcpIncoming;
    use tonic::transport::{Endpoint, Server};

    const LEASE: Duration = Duration::from_secs(5);
    const MESSAGE_MAX: ByteSize = ByteSize::mib(4);

    async fn served(purges: &Purges) -> RemoteVoter {
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let service = LogService::server(purges.clone(), MESSAGE_MAX);
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(socket)));
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        RemoteVoter {
            id: NodeId::new("voter"),
            channel: Box::new(move || Some(channel.clone())),
            message_bytes_max: MESSAGE_MAX.as_usize(),
        }
    }

    async fn kept(following: Following) -> Purges {
        let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
        let kept = Purges::keep(&config, None, "voter", following, metrics).await;
        kept.unwrap()
    }

    fn order() -> Order {
        Order {
            scopes: vec![Scope::url("h", "/x")],
            mode: Mode::Hard,
            minimum: None,
            once: None,
            way: PurgeWay::Api,
            by: "test".to_owned(),
        }
    }

    fn without_times(receipt: &Receipt) -> Receipt {
        let mut receipt = receipt.clone();
        for applied in &mut receipt.nodes {
            (applied.applied_at, applied.lag_ms) = (None, None);
        }
        receipt
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_is_followed_over_the_network() {
        let voter = kept(Following::Others(LEASE)).await;
        let remote = served(&voter).await;
        let snapshot: Vec<Bytes> = {
            let parts = remote.snapshot().await.unwrap().parts;
            parts.map(Result::unwrap).collect().await
        };
        assert_eq!(snapshot.concat(), voter.snapshot().await.unwrap().bytes);
        let settings = Settings {
            lease: LEASE,
            cache: None,
        };
        let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
        let follower = Purges::follow(&config, settings, "a", Arc::new(remote), None, metrics);
        let follower = follower.await.unwrap();
        while !follower.may_serve() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let receipt = follower.submit(order()).await.unwrap();
        assert_eq!((receipt.state, receipt.nodes.len()), (State::Applied, 2));
        assert_eq!(Some(follower.highest("http://h/x")), receipt.index);
        let known = follower.receipt(&receipt.purge_id).await.unwrap();
        // Its times are told anew with each answer, by the clock at that moment.
        assert_eq!(known.as_ref().map(without_times), Some(without_times(&receipt)));
        follower.close().await;
        let receipt = voter.submit(order()).await.unwrap();
        assert_eq!((receipt.nodes.len(), receipt.fenced.len()), (1, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_to_be_followed_says_so() {
        let remote = served(&kept(Following::Nobody).await).await;
        assert!(matches!(remote.snapshot().await, Err(VoterError::Refused(_))));
        assert!(matches!(
            remote.submit(order()).await,
            Err(OrderError::Unreachable(_))
        ));
        let voter = kept(Following::Others(LEASE)).await;
        let remote = served(&voter).await;
        let nothing = Order {
            scopes: Vec::new(),
            ..order()
        };
        assert!(matches!(
            remote.submit(nothing).await,
            Err(OrderError::Unreachable(_))
        ));
        voter.close().await;
        assert!(matches!(remote.submit(order()).await, Err(OrderError::Stopping)));
    }
}
