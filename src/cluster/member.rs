//! One node, as the others know it.
//!
//! Invariant: what is told here serves routing alone; what is stale is never decided by it. It does not know how it is told.

use super::config::Role;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A node's name: one in the whole cluster, the same after a restart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

/// One life of a node: grows with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// What gossip says of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: NodeId,
    pub generation: Generation,
    /// Of its cluster listener.
    pub address: SocketAddr,
    pub zone: Arc<str>,
    pub pool: Arc<str>,
    /// As it is now: less than its own while it comes.
    pub weight: u32,
    pub roles: BTreeSet<Role>,
    pub state: State,
    /// Requests of clients and peers under way there, when it last told.
    pub load: u32,
    pub version: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It takes part.
    Up,
    /// It answers, and owns nothing any more.
    Draining,
    /// Silent for too long.
    Down,
    /// It said that it goes.
    Left,
}

impl NodeId {
    pub fn new(text: &str) -> Self {
        NodeId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Member {
    /// Whether keys may be given to it.
    pub fn owns(&self) -> bool {
        self.state == State::Up && self.weight > 0 && self.roles.contains(&Role::Cache)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
