//! All that is listened on: bound here, or inherited from the process before.
//!
//! Invariant: an inherited socket serves what the configuration says of the same listener at the same address; one that it
//! does not speak of is closed. It does not know what is served.

use super::handover::{Handed, Inherited, Place};
use crate::config::Config;
use crate::edge::listen::{Certificate, ListenError, Listener, bind};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

pub(super) struct Sockets {
    pub(super) edge: Vec<Listener>,
    pub(super) admin: Listener,
    /// `None`: this node is alone.
    pub(super) cluster: Option<ClusterSockets>,
    /// Of the listener with TLS.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// The same sockets, for the process after this one.
    pub(super) to_hand: Vec<Handed>,
}

/// What nodes of a cluster speak to each other over, at one address.
pub(super) struct ClusterSockets {
    /// For questions and gRPC.
    pub(super) listener: TcpListener,
    pub(super) gossip: UdpSocket,
    pub(super) address: SocketAddr,
}

/// Where the system chooses the number for TCP, somebody else may have it for UDP: then another is tried.
const PORTS_TRIED: usize = 16;

impl Sockets {
    pub(super) fn open(config: &Config, mut inherited: Inherited) -> Result<Self, ListenError> {
        let mut to_hand = Vec::new();
        let mut note = |place, listener: Listener| {
            let socket = listener.socket()?;
            to_hand.push(Handed { place, socket });
            Ok::<Listener, ListenError>(listener)
        };
        let place = Place::Edge(config.edge.listen);
        let clear = Listener::clear(socket(&mut inherited, &place, config.edge.listen)?)?;
        let mut edge = vec![note(place, clear)?];
        let mut certificate = None;
        if let Some(tls) = &config.edge.tls {
            let place = Place::EdgeTls(tls.listen);
            let loaded = certificate.insert(Arc::new(Certificate::load(tls)?));
            let listener = Listener::tls(socket(&mut inherited, &place, tls.listen)?, loaded)?;
            edge.push(note(place, listener)?);
        }
        let place = Place::Admin(config.admin.listen);
        let admin = Listener::clear(socket(&mut inherited, &place, config.admin.listen)?)?;
        let admin = note(place, admin)?;
        let mut cluster = None;
        if let Some(address) = config.cluster.listen {
            let sockets = cluster.insert(ClusterSockets::open(address, &mut inherited)?);
            to_hand.extend(sockets.to_hand(address).map_err(ListenError::Socket)?);
        }
        Ok(Sockets {
            edge,
            admin,
            cluster,
            certificate,
            to_hand,
        })
    }

    /// Says where the edge listens, for people and for what starts it on port 0.
    pub(super) fn announce(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for listener in &self.edge {
            writeln!(out, "edge listening on {}", listener.url())?;
        }
        writeln!(out, "admin listening on {}", self.admin.url())?;
        if let Some(cluster) = &self.cluster {
            writeln!(out, "cluster listening on {}", cluster.address)?;
        }
        out.flush()
    }
}

impl ClusterSockets {
    fn open(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let (listener, gossip) = (Place::Cluster(address), Place::Gossip(address));
        if let (Some(listener), Some(gossip)) = (inherited.take(&listener), inherited.take(&gossip)) {
            return ClusterSockets::of(listener, gossip).map_err(ListenError::Socket);
        }
        let mut tries = 0..PORTS_TRIED;
        loop {
            let listener = bind(address)?;
            let bound = listener.local_addr().map_err(ListenError::Socket)?;
            match UdpSocket::bind(bound) {
                Ok(gossip) => return ClusterSockets::of(listener, gossip).map_err(ListenError::Socket),
                Err(_) if address.port() == 0 && tries.next().is_some() => {}
                Err(cause) => {
                    return Err(ListenError::Bind {
                        address: bound,
                        cause,
                    });
                }
            }
        }
    }

    fn of(listener: TcpListener, gossip: UdpSocket) -> io::Result<Self> {
        Ok(ClusterSockets {
            address: listener.local_addr()?,
            listener,
            gossip,
        })
    }

    /// Under the address that the configuration gives.
    fn to_hand(&self, address: SocketAddr) -> io::Result<[Handed; 2]> {
        let listener = Handed {
            place: Place::Cluster(address),
            socket: self.listener.try_clone()?.into(),
        };
        let gossip = Handed {
            place: Place::Gossip(address),
            socket: self.gossip.try_clone()?.into(),
        };
        Ok([listener, gossip])
    }
}

fn socket(inherited: &mut Inherited, place: &Place, address: SocketAddr) -> Result<TcpListener, ListenError> {
    inherited.take(place).map_or_else(|| bind(address), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_has_the_number_that_the_system_has_chosen_for_the_listener() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let opened = ClusterSockets::open(any, &mut Inherited::default()).unwrap();
        assert_ne!(opened.address.port(), 0);
        assert_eq!(opened.gossip.local_addr().unwrap(), opened.address);
        let handed = opened.to_hand(any).unwrap();
        assert_eq!(
            handed.map(|handed| handed.place),
            [Place::Cluster(any), Place::Gossip(any)]
        );
        let taken = ClusterSockets::open(opened.address, &mut Inherited::default());
        assert!(matches!(taken, Err(ListenError::Bind { .. })));
    }
}
