//! Connections of other nodes, from the socket to the proof that they belong to the cluster.
//!
//! Invariant: what comes out has shown a certificate of this cluster's nodes within the deadline; no more than so many are open,
//! and so many more that still have to prove it, of which the one that has waited longest goes when there are too many:
//! strangers who only wait can not keep nodes out. It does not know what is said over them.

use super::unproven::{Place, Unproven};
use crate::base::metrics::Metrics;
use crate::cluster::config::Config;
use crate::cluster::identity::{Bearer, Identity, Stranger};
use futures::stream::{self, Stream, StreamExt};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// After the system had no descriptor left, or the like.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets nodes of this cluster in.
pub(super) struct Gate {
    identity: Identity,
    acceptor: TlsAcceptor,
    unproven: Arc<Unproven>,
    permits: Arc<Semaphore>,
    deadline: Duration,
    metrics: Arc<Metrics>,
}

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no certificate came in time")]
    Late,
    #[error("too many others came after it that had to prove who they are, too")]
    Crowded,
    #[error("as many connections of nodes and programs as may be are open")]
    Full,
    #[error("the handshake failed: {0}")]
    Handshake(#[from] io::Error),
    #[error(transparent)]
    Stranger(#[from] Stranger),
}

impl Gate {
    pub(super) fn new(config: &Config, identity: &Identity, metrics: Arc<Metrics>) -> Self {
        Gate {
            acceptor: TlsAcceptor::from(identity.server()),
            identity: identity.clone(),
            unproven: Arc::new(Unproven::new(config.handshakes_max)),
            permits: Arc::new(Semaphore::new(config.connections_max)),
            deadline: config.handshake_deadline.get(),
            metrics,
        }
    }

    /// The socket closes when the stream is dropped.
    pub(super) fn open(
        self,
        socket: TcpListener,
    ) -> impl Stream<Item = Result<Connection, Infallible>> + Send {
        let gate = Arc::new(self);
        // One that goes for the newest is still there until it is looked at.
        let at_once = gate.unproven.places_max() + 1;
        let sockets = stream::unfold(socket, async |socket| Some((accept(&socket).await, socket)));
        sockets
            .map(move |accepted| gate.clone().admit(accepted))
            .buffer_unordered(at_once)
            .filter_map(async |admitted| admitted.map(Ok))
    }

    fn admit(self: Arc<Self>, socket: TcpStream) -> impl Future<Output = Option<Connection>> + Send {
        // It takes its place in the order in which it has come.
        let place = self.unproven.enter();
        async move {
            let from = socket.peer_addr().ok();
            match self.let_in(socket, from, place).await {
                Ok(connection) => Some(connection),
                Err(refused) => {
                    self.metrics.cluster_handshakes_failed.inc();
                    let from = from.map(tracing::field::display);
                    tracing::debug!(from, %refused, "a connection to the cluster listener was closed");
                    None
                }
            }
        }
    }

    async fn let_in(
        &self,
        socket: TcpStream,
        address: Option<SocketAddr>,
        place: Place,
    ) -> Result<Connection, Refused> {
        let (tls, bearer) = tokio::select! {
            proven = self.prove(socket) => proven?,
            () = place.taken() => return Err(Refused::Crowded),
        };
        let permit = self.permits.clone().try_acquire_owned();
        Ok(Connection {
            arrived: Arrived { bearer, address },
            tls,
            _permit: permit.map_err(|_| Refused::Full)?,
        })
    }

    async fn prove(&self, socket: TcpStream) -> Result<(TlsStream<TcpStream>, Bearer), Refused> {
        socket.set_nodelay(true)?;
        let handshake = timeout(self.deadline, self.acceptor.accept(socket)).await;
        let tls = handshake.map_err(|_| Refused::Late)??;
        let bearer = self.identity.admits(tls.get_ref().1.peer_certificates())?;
        Ok((tls, bearer))
    }
}

async fn accept(socket: &TcpListener) -> TcpStream {
    loop {
        match socket.accept().await {
            Ok((accepted, _)) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the cluster listener can not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Who is at the other end; goes with each request of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) bearer: Bearer,
    /// `None`: it went while it was let in.
    pub(super) address: Option<SocketAddr>,
}

/// A connection of a node of this cluster, or of a program that may use its cache.
pub(super) struct Connection {
    arrived: Arrived,
    tls: TlsStream<TcpStream>,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Arrived;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.arrived
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tls).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(context)
    }
}
