//! The way to other voters. There is none yet: a cluster of one talks to nobody.
//!
//! Invariant: whom it is asked to reach is unreachable, and said to be so. It does not know the log.

use super::types::{NodeId, Types};
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

/// Leads to every peer there is.
pub(super) struct Network;

/// Leads to one peer.
pub(super) struct Peer {
    id: NodeId,
}

#[derive(Debug, thiserror::Error)]
#[error("this node knows no way to voter {0}")]
struct NoWay(NodeId);

type Failed<E = RaftError<NodeId>> = RPCError<NodeId, BasicNode, E>;

impl Peer {
    fn unreachable<E: std::error::Error>(&self) -> Failed<E> {
        RPCError::Unreachable(Unreachable::new(&NoWay(self.id)))
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _node: &BasicNode) -> Peer {
        Peer { id: target }
    }
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failed> {
        Err(self.unreachable())
    }

    async fn install_snapshot(
        &mut self,
        _request: InstallSnapshotRequest<Types>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, Failed<RaftError<NodeId, InstallSnapshotError>>> {
        Err(self.unreachable())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failed> {
        Err(self.unreachable())
    }
}
