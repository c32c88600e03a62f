//! Gossip over a UDP socket, sealed.
//!
//! Invariant: a datagram that is none of ours costs one read, at most one pass over its bytes and one count; it is never
//! answered, and is told of once a minute at most. No failure to send is an error: the next round of gossip is.
//!
//! It does not know what is gossiped.

use super::rarely::Rarely;
use super::seal::{Format, Refused, Sealer};
use crate::base::clock;
use crate::base::metrics::{GossipDrop, Metrics};
use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// The most that UDP carries over IPv4.
const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Addresses of which it is known what they read.
const HEARD_MAX: usize = 4096;
/// Failures to receive in a row after which the socket counts as broken.
const FAILURES_MAX: u32 = 100;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);

/// The socket is taken once, by the gossip that it is for.
pub(super) struct Sealed(Mutex<Option<SealedSocket>>);

pub(super) struct SealedSocket {
    socket: UdpSocket,
    sealer: Sealer,
    metrics: Arc<Metrics>,
    heard: HashMap<SocketAddr, Format>,
    received: Box<[u8]>,
    message: Vec<u8>,
    /// To receive, in a row.
    failures: u32,
    dropped: Rarely,
    unsent: Rarely,
}

impl Sealed {
    pub(super) fn new(socket: UdpSocket, sealer: Sealer, metrics: Arc<Metrics>) -> Self {
        Sealed(Mutex::new(Some(SealedSocket {
            socket,
            sealer,
            metrics,
            heard: HashMap::new(),
            received: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
            message: Vec::new(),
            failures: 0,
            dropped: Rarely::default(),
            unsent: Rarely::default(),
        })))
    }
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.0.lock().take();
        let taken = || io::Error::other("the socket for gossip is in use");
        Ok(Box::new(socket.ok_or_else(taken)?))
    }
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.message.clear();
        message.serialize(&mut self.message);
        if let Some(datagram) = self.sealer.seal(&self.message, self.heard.get(&to).copied())
            && let Err(error) = self.socket.send_to(&datagram, to).await
            && let Some(times) = self.unsent.happened(clock::monotonic())
        {
            let bytes = datagram.len();
            tracing::warn!(%to, bytes, times, %error, "gossip can not be sent; it is tried again");
        }
        Ok(())
    }

    /// May be dropped at any await: nothing received is lost.
    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (length, from) = match self.socket.recv_from(&mut self.received).await {
                Ok(received) => received,
                Err(_) if self.failures < FAILURES_MAX => {
                    self.failures += 1;
                    tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.failures = 0;
            match self.open(length, from) {
                Ok(message) => return Ok((from, message)),
                Err(refused) => self.count(refused, from),
            }
        }
    }
}

impl SealedSocket {
    fn open(&mut self, length: usize, from: SocketAddr) -> Result<ChitchatMessage, Refused> {
        let opened = self.sealer.open(&mut self.received[..length])?;
        if self.heard.len() >= HEARD_MAX {
            self.heard.clear();
        }
        self.heard.insert(from, opened.newest);
        let mut message = opened.message;
        ChitchatMessage::deserialize(&mut message).map_err(|_| Refused::Malformed)
    }

    fn count(&mut self, refused: Refused, from: SocketAddr) {
        let reason = match refused {
            Refused::Malformed => GossipDrop::Malformed,
            Refused::Version => GossipDrop::Version,
            Refused::Unsealed => GossipDrop::Unsealed,
        };
        self.metrics.cluster_gossip_dropped[reason].inc();
        if let Some(times) = self.dropped.happened(clock::monotonic()) {
            tracing::warn!(%from, last = ?refused, times, "datagrams on the gossip port were dropped: they are not of this cluster, or the secret is not the same on all nodes");
        }
    }
}
