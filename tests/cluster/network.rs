//! What lies between the nodes, and can be cut: a node's addresses, and which way nothing passes.
//!
//! Invariant: what a cut holds back is silent, as on a network: no connection is refused or reset by it.

use crate::proxy::{Proxy, unused_middle};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const CLUSTER_PORT: u16 = 7946;

pub(crate) trait Network {
    /// Where the origin listens.
    fn origin_at(&self) -> Ipv4Addr;

    /// Makes room for a node.
    fn add(&mut self, node: usize);

    /// A process that stands for a node.
    fn started(&mut self, node: usize, process: u32);

    fn addresses(&self, node: usize) -> Addresses;

    /// What starts the node's process: the binary itself, or what runs it elsewhere.
    fn executable(&self, node: usize, binary: &Path) -> PathBuf;

    /// Nothing that one node sends to another arrives any more.
    fn cut(&mut self, from: usize, to: usize);

    fn heal(&mut self);

    /// Ends every connection between nodes, whatever it carries.
    fn break_connections(&mut self);

    /// How long everything between nodes takes; none at the start.
    fn delay(&mut self, by: Duration);
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// `edge.listen`
    pub(crate) clients: SocketAddr,
    /// `admin.listen`
    pub(crate) admin: SocketAddr,
    /// `cluster.listen`
    pub(crate) cluster: SocketAddr,
    /// `cluster.advertise`
    pub(crate) advertised: SocketAddr,
}

/// Forwarders in this process: they need no rights.
pub(crate) fn proxied() -> Box<dyn Network> {
    Box::new(Proxy::new())
}

/// Nothing lies between: for measurements, and not to be cut.
pub(crate) struct Direct([u8; 2]);

pub(crate) fn direct() -> Box<dyn Network> {
    Box::new(Direct(unused_middle()))
}

impl Network for Direct {
    fn origin_at(&self) -> Ipv4Addr {
        Ipv4Addr::LOCALHOST
    }

    fn add(&mut self, _: usize) {}

    fn started(&mut self, _: usize, _: u32) {}

    fn addresses(&self, node: usize) -> Addresses {
        let unused = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let [second, third] = self.0;
        let own = Ipv4Addr::new(127, second, third, node as u8);
        let cluster = SocketAddr::new(own.into(), CLUSTER_PORT);
        Addresses {
            clients: unused,
            admin: unused,
            cluster,
            advertised: cluster,
        }
    }

    fn executable(&self, _: usize, binary: &Path) -> PathBuf {
        binary.to_owned()
    }

    fn cut(&mut self, _: usize, _: usize) {
        unreachable!("what is measured is never cut");
    }

    fn heal(&mut self) {}

    fn delay(&mut self, _: Duration) {
        unreachable!("what is measured is never delayed");
    }

    fn break_connections(&mut self) {
        unreachable!("what is measured is never broken");
    }
}
