//! How connections to peers are opened: TCP, TLS on both sides, HTTP/2.
//!
//! Invariant: a connection that is open leads to a node of this cluster. It does not know which.

use super::PeerError;
use super::fault::told;
use crate::cluster::config::{Config, Windows};
use crate::cluster::identity::Identity;
use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint};

/// Of bodies; headers come in as many as they need.
const FRAME_BYTES_MAX: u32 = 64 << 10;

/// Questions have no body.
pub(super) type Outgoing = Empty<Bytes>;

pub(super) type Sender = http2::SendRequest<Outgoing>;

pub(super) struct Dialer {
    tls: Arc<ClientConfig>,
    server_name: ServerName<'static>,
    connect_deadline: Duration,
    keepalive_interval: Duration,
    keepalive_deadline: Duration,
    header_bytes_max: u32,
    windows: Windows,
}

impl Dialer {
    pub(super) fn new(config: &Config, identity: &Identity) -> Self {
        Dialer {
            tls: identity.client(),
            server_name: identity.server_name(),
            connect_deadline: config.connect_deadline.get(),
            keepalive_interval: config.keepalive_interval.get(),
            keepalive_deadline: config.keepalive_deadline.get(),
            header_bytes_max: u32::try_from(config.header_bytes_max.bytes()).unwrap_or(u32::MAX),
            windows: config.windows_of_answers(),
        }
    }

    pub(super) async fn dial(&self, address: SocketAddr) -> Result<Sender, PeerError> {
        let opening = async {
            let io = TokioIo::new(self.secure(address).await.map_err(|error| told(&error))?);
            let handshake = self.http2().handshake(io);
            handshake.await.map_err(|error| told(&error))
        };
        let (sender, connection) = timeout(self.connect_deadline, opening)
            .await
            .map_err(|_| PeerError::Unreachable("no connection in time".into()))?
            .map_err(PeerError::Unreachable)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = told(&error), "a connection to a peer broke");
            }
        });
        Ok(sender)
    }

    /// For gRPC.
    pub(super) fn channel(self: &Arc<Self>, address: SocketAddr) -> Channel {
        let endpoint = Endpoint::from_shared(format!("https://{address}"));
        let endpoint = endpoint
            .expect("an address makes an authority")
            .initial_stream_window_size(self.windows.stream)
            .initial_connection_window_size(self.windows.connection)
            .http2_keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_deadline)
            .keep_alive_while_idle(true);
        let connector = Connector {
            dialer: self.clone(),
            address,
        };
        Channel::new(connector, endpoint)
    }

    async fn secure(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        TlsConnector::from(self.tls.clone())
            .connect(self.server_name.clone(), socket)
            .await
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.windows.stream)
            .initial_connection_window_size(self.windows.connection)
            .max_frame_size(FRAME_BYTES_MAX)
            .max_header_list_size(self.header_bytes_max)
            .keep_alive_interval(self.keepalive_interval)
            .keep_alive_timeout(self.keepalive_deadline)
            .keep_alive_while_idle(true);
        builder
    }
}

/// Opens connections for gRPC.
struct Connector {
    dialer: Arc<Dialer>,
    address: SocketAddr,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (dialer, address) = (self.dialer.clone(), self.address);
        Box::pin(async move {
            let opened = timeout(dialer.connect_deadline, dialer.secure(address)).await;
            opened
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map(TokioIo::new)
        })
    }
}
