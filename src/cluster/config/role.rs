//! What a node is to the others.
//!
//! Invariant: who is voter all nodes say alike; the other roles each says of itself. It does not know what follows from a role.

use serde::{Deserialize, Serialize};

/// What a node does for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It answers clients.
    Edge,
    /// It may own keys.
    Cache,
    /// It keeps the log of purges: by what all say under `voters`, and no choice of its own.
    Voter,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Edge, Role::Cache, Role::Voter];

    /// Those that a node's own configuration gives it.
    pub const CHOSEN: [Role; 2] = [Role::Edge, Role::Cache];

    pub fn name(self) -> &'static str {
        match self {
            Role::Edge => "edge",
            Role::Cache => "cache",
            Role::Voter => "voter",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}
