//! The cluster as this node sees it at one moment.
//!
//! Invariant: it never changes; another is put in its place. It does not know where it comes from.

use super::load::Loads;
use super::member::{Member, NodeId};
use super::ring::Ring;
use std::sync::Arc;

pub struct View {
    /// Counts up with each change.
    pub version: u64,
    /// This node.
    pub own: NodeId,
    /// All that are known, this node too, by id.
    pub members: Vec<Arc<Member>>,
    /// Of those that own keys.
    pub ring: Ring,
    /// Of those too.
    pub loads: Loads,
}

impl View {
    pub fn new(version: u64, own: NodeId, members: &[Arc<Member>]) -> Self {
        let ring = Ring::new(members.to_vec());
        View {
            version,
            own,
            members: members.to_vec(),
            loads: Loads::new(&ring),
            ring,
        }
    }

    /// With what members are now; what is under way to them stays counted.
    #[must_use]
    pub fn after(before: &View, members: &[Arc<Member>]) -> Self {
        let ring = Ring::new(members.to_vec());
        View {
            version: before.version + 1,
            own: before.own.clone(),
            members: members.to_vec(),
            loads: before.loads.renewed(&ring),
            ring,
        }
    }

    /// The one with this id.
    pub fn member(&self, id: &NodeId) -> Option<&Arc<Member>> {
        let at = self.members.binary_search_by(|member| member.id.cmp(id));
        at.ok().map(|at| &self.members[at])
    }
}
