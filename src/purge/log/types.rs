//! The types that openraft works with, and how they are written down.
//!
//! Invariant: a purge's index is its entry's place in the raft's log, which counts from 0, and 1. It does not know redb.

use crate::base::epoch::PurgeIndex;
use crate::purge::order::Batch;
use crate::purge::state::Outcome;
use openraft::BasicNode;
use std::io::Cursor;

openraft::declare_raft_types!(
    /// What the log carries, and between whom.
    pub(super) Types:
        D = Batch,
        R = Vec<Outcome>,
        NodeId = NodeId,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

pub(super) type NodeId = u64;
pub(super) type Raft = openraft::Raft<Types>;
pub(super) type Entry = openraft::Entry<Types>;
pub(super) type LogId = openraft::LogId<NodeId>;
pub(super) type Vote = openraft::Vote<NodeId>;
pub(super) type StoredMembership = openraft::StoredMembership<NodeId, BasicNode>;
pub(super) type SnapshotMeta = openraft::SnapshotMeta<NodeId, BasicNode>;
pub(super) type StorageError = openraft::StorageError<NodeId>;

/// The only voter of a cluster of one.
pub(super) const ALONE: NodeId = 1;

/// The purge index of an entry of the log.
pub(super) fn purge_index(id: &LogId) -> PurgeIndex {
    PurgeIndex::from_number(id.index + 1)
}
