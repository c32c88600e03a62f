//! Connections to one HTTP origin: dialled, pooled, given back.
//!
//! Invariant: a connection returns to the pool only through [`Link::release`], after a response that ended cleanly;
//! a [`Link`] that is dropped closes its connection, or resets its stream. Each origin has its own connector, because
//! the trusted roots belong to the connector. It knows nothing of requests.

use super::config::{Config, HttpVersion};
use super::deadline::Deadlines;
use super::error::{OpenError, OriginError, Stage};
use super::fault;
use super::place::{self, Site, Transport};
use super::resolve::Name;
use futures::FutureExt;
use http::HeaderValue;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::tls::{RootCertStore, load_ca_file_into_store, load_platform_certs_incl_env_into_store};
use pingora_core::upstreams::peer::{ALPN, HttpPeer, PeerOptions};
use pingora_core::{BError, ErrorType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Requests at once on one HTTP/2 connection, unless the origin allows fewer.
const STREAMS_MAX: usize = 100;
/// How often an HTTP/2 connection proves that it is alive; a silent one would swallow every new request.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A file of roots that holds none, for an origin in clear text: reading the system's costs start-up time and may fail.
const NO_ROOTS: &str = "/dev/null";

/// Makes and keeps connections.
pub(super) struct Dialer {
    connector: Connector,
    options: PeerOptions,
    transport: Transport,
    connect_deadline: Duration,
    idle_lifetime: Duration,
    idle_max: usize,
}

/// One address of the origin, as it is dialled.
pub(super) struct Address {
    pub(super) authority: HeaderValue,
    name: Name,
    server_name: String,
    /// Part of the pool's key: counting it up leaves every connection pooled so far behind.
    generation: AtomicU64,
    /// Which of the name's socket addresses answered last.
    preferred: AtomicUsize,
}

/// A connection, or a stream of one, that carries one exchange.
pub(super) struct Link {
    session: Option<HttpSession>,
    peer: Box<HttpPeer>,
    dialer: Arc<Dialer>,
    pub(super) reuse: Reuse,
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    Fresh,
    Pooled,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum DialError {
    Failed(OriginError),
    /// A pooled HTTP/2 connection had died before a stream could be opened.
    Stale(OriginError),
}

impl Dialer {
    pub(super) fn open(config: &Config, transport: Transport) -> Result<Self, OpenError> {
        let mut options = ConnectorOptions::new(config.idle_connections_max);
        options.ca_file = match transport {
            Transport::Clear => Some(NO_ROOTS.into()),
            Transport::Tls => config.tls.ca.as_ref().map(|path| path.display().to_string()),
        };
        if transport == Transport::Tls {
            check_roots(options.ca_file.as_deref())?;
        }
        Ok(Dialer {
            connector: Connector::new(Some(options)),
            options: peer_options(config.http, transport),
            transport,
            connect_deadline: config.connect_deadline.get(),
            idle_lifetime: config.idle_connection_lifetime.get(),
            idle_max: config.idle_connections_max,
        })
    }

    /// A connection to `address`, pooled or new.
    pub(super) async fn dial(
        self: &Arc<Self>,
        address: &Address,
        deadlines: &mut Deadlines,
    ) -> Result<Link, DialError> {
        let dialled = deadlines.within(Stage::Connect, self.dial_any(address)).await;
        dialled.unwrap_or_else(|timeout| Err(DialError::Failed(timeout)))
    }

    /// Tries the name's socket addresses one after the other, beginning with the one that answered last.
    async fn dial_any(self: &Arc<Self>, address: &Address) -> Result<Link, DialError> {
        let sockets = address.name.resolve().await.map_err(DialError::Failed)?;
        let preferred = address.preferred.load(Ordering::Relaxed);
        let budget = self.connect_deadline / u32::try_from(sockets.len()).unwrap_or(u32::MAX);
        let mut failure = None;
        for turn in 0..sockets.len() {
            let index = (preferred + turn) % sockets.len();
            match self.dial_one(sockets[index], address, budget).await {
                Ok(link) => {
                    address.preferred.store(index, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(error) if is_stale_stream(&error) => {
                    return Err(DialError::Stale(fault::sending(&error)));
                }
                Err(error) => failure = Some(fault::connecting(&error)),
            }
        }
        Err(DialError::Failed(
            failure.expect("a name resolves to at least one address"),
        ))
    }

    async fn dial_one(
        self: &Arc<Self>,
        socket: SocketAddr,
        address: &Address,
        budget: Duration,
    ) -> Result<Link, BError> {
        let tls = self.transport == Transport::Tls;
        let mut peer = Box::new(HttpPeer::new(socket, tls, address.server_name.clone()));
        peer.options = self.options.clone();
        peer.options.total_connection_timeout = Some(budget);
        peer.group_key = address.generation.load(Ordering::Relaxed);
        let (session, pooled) = self.connector.get_http_session(&*peer).await?;
        let reuse = if pooled { Reuse::Pooled } else { Reuse::Fresh };
        Ok(Link {
            session: Some(session),
            peer,
            dialer: self.clone(),
            reuse,
        })
    }
}

impl Address {
    pub(super) fn new(site: &Site, config: &Config, transport: Transport) -> Result<Self, OpenError> {
        let server_name = config
            .tls
            .server_name
            .clone()
            .unwrap_or_else(|| site.host.clone());
        // pingora verifies nothing when the name is empty.
        if transport == Transport::Tls && !place::is_server_name(&server_name) {
            return Err(OpenError::ServerName { value: server_name });
        }
        let authority = site.authority(transport);
        let refused = |_| OpenError::Address {
            value: authority.clone(),
            wanted: "host:port",
        };
        Ok(Address {
            authority: HeaderValue::from_str(&authority).map_err(refused)?,
            name: Name::new(&site.host, site.port),
            server_name,
            generation: AtomicU64::new(0),
            preferred: AtomicUsize::new(0),
        })
    }

    /// The pool's generation a request starts with.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Leaves the connections of `generation` behind: one of them was found dead, so an origin that was restarted
    /// costs each request at most one of them.
    pub(super) fn retire(&self, generation: u64) {
        let next = generation.wrapping_add(1);
        let won = self
            .generation
            .compare_exchange(generation, next, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            tracing::debug!(authority = ?self.authority, "a pooled connection was dead: its pool is left behind");
        }
    }
}

#[cfg(test)]
impl Address {
    /// An address whose name has been found at `sockets`.
    pub(super) fn found_at(sockets: &[SocketAddr]) -> Self {
        Address {
            authority: HeaderValue::from_static("found.example"),
            name: Name::found_at(sockets),
            server_name: String::new(),
            generation: AtomicU64::new(0),
            preferred: AtomicUsize::new(0),
        }
    }
}

impl Link {
    pub(super) fn session(&mut self) -> &mut HttpSession {
        self.session
            .as_mut()
            .expect("only release and drop take the session")
    }

    /// Gives the connection back after a response that ended cleanly.
    pub(super) async fn release(mut self) {
        if self.dialer.idle_max == 0 {
            // The pool would keep the last one it is given all the same.
            return;
        }
        if let Some(session) = self.session.take() {
            let idle = Some(self.dialer.idle_lifetime);
            self.dialer
                .connector
                .release_http_session(session, &*self.peer, idle)
                .await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(HttpSession::H2(stream)) = self.session.take() else {
            return;
        };
        // Resets the stream and gives its connection back, which others may be using: without a waiting point for
        // HTTP/2. Outside a runtime the connection is gone anyway.
        if tokio::runtime::Handle::try_current().is_ok() {
            let idle = Some(self.dialer.idle_lifetime);
            let released =
                self.dialer
                    .connector
                    .release_http_session(HttpSession::H2(stream), &*self.peer, idle);
            released.now_or_never();
        }
    }
}

fn peer_options(version: HttpVersion, transport: Transport) -> PeerOptions {
    let mut options = PeerOptions::new();
    options.alpn = match (version, transport) {
        (HttpVersion::Http2, _) => ALPN::H2,
        (HttpVersion::Auto, Transport::Tls) => ALPN::H2H1,
        (HttpVersion::Auto, Transport::Clear) | (HttpVersion::Http1, _) => ALPN::H1,
    };
    options.max_h2_streams = STREAMS_MAX;
    options.h2_ping_interval = Some(PING_INTERVAL);
    options
}

/// The connector would panic on roots that can not be read, and trust nobody on empty ones.
fn check_roots(ca_file: Option<&str>) -> Result<(), OpenError> {
    let mut roots = RootCertStore::empty();
    let loaded = match ca_file {
        Some(path) => load_ca_file_into_store(path, &mut roots),
        None => load_platform_certs_incl_env_into_store(&mut roots),
    };
    let reason = match loaded {
        Err(error) => error.to_string(),
        Ok(()) if roots.is_empty() => "no certificate in it".into(),
        Ok(()) => return Ok(()),
    };
    Err(OpenError::Roots {
        from: ca_file.unwrap_or("the system").into(),
        reason,
    })
}

/// No stream could be opened on a pooled HTTP/2 connection: nothing was sent.
fn is_stale_stream(error: &BError) -> bool {
    *error.etype() == ErrorType::H2Error
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
