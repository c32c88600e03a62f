//! All that is listened on: bound here, or inherited from the process before.
//!
//! Invariant: an inherited socket serves what the configuration says of the same listener at the same address; one that it
//! does not speak of is closed. It does not know what is served.

use super::handover::{Handed, Inherited, Place};
use crate::config::Config;
use crate::edge::listen::{Certificate, ListenError, Listener, bind};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

pub(super) struct Sockets {
    pub(super) edge: Vec<Listener>,
    pub(super) admin: Listener,
    /// Of the listener with TLS.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// The same sockets, for the process after this one.
    pub(super) to_hand: Vec<Handed>,
}

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
        Ok(Sockets {
            edge,
            admin,
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
        out.flush()
    }
}

fn socket(inherited: &mut Inherited, place: &Place, address: SocketAddr) -> Result<TcpListener, ListenError> {
    inherited.take(place).map_or_else(|| bind(address), Ok)
}
