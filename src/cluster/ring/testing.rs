//! Rings that are made up, for tests of the ring and of what stands on it.

use super::{Ring, Wanted};
use crate::cluster::config::Role;
use crate::cluster::member::{Generation, Member, NodeId, State};
use crate::key::KeyName;
use std::sync::Arc;

/// What the ring goes by.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Node<'a> {
    pub(in crate::cluster) id: String,
    pub(in crate::cluster) weight: u32,
    pub(in crate::cluster) zone: &'a str,
    pub(in crate::cluster) pool: &'a str,
}

impl Node<'_> {
    pub(in crate::cluster) fn named(id: &str) -> Self {
        Node {
            id: id.to_owned(),
            weight: 100,
            zone: "",
            pool: "default",
        }
    }

    pub(in crate::cluster) fn member(&self) -> Arc<Member> {
        Arc::new(Member {
            id: NodeId::new(&self.id),
            generation: Generation(1),
            address: ([127, 0, 0, 1], 1).into(),
            zone: self.zone.into(),
            pool: self.pool.into(),
            weight: self.weight,
            roles: [Role::Cache].into(),
            state: State::Up,
            load: 0,
            version: "".into(),
        })
    }
}

pub(in crate::cluster) fn ring_of<'a>(nodes: impl IntoIterator<Item = Node<'a>>) -> Ring {
    Ring::new(nodes.into_iter().map(|node| node.member()).collect())
}

pub(in crate::cluster) fn wanted(key: &str) -> Wanted<'static> {
    Wanted {
        key: KeyName::of(key),
        pool: "default",
        zone: "",
    }
}
