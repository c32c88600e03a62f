//! Sockets: bound first, then handed to pingora.
//!
//! Invariant: an address that can not be had is an error before anything is served, and the port the system
//! chose for port 0 is known; a certificate changes whole or not at all. Knows nothing of what is served.

use super::config::Tls;
use crate::base::clock::Timestamp;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::{Fds, ListenFds, ShutdownWatch};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// TLS records of one answer go out in one system call. Clear text needs no such buffer: [`Front`] joins header
/// and body without one.
///
/// [`Front`]: super::connection::Front
const TLS_WRITE_BUFFER_BYTES: usize = 72 << 10;

/// Requests are small; what does not fit is read in turns.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Why a listener can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("can not listen on {address}: {cause}; nothing is served")]
    Bind { address: SocketAddr, cause: io::Error },
    #[error("a socket can not be listened on: {0}; nothing is served")]
    Socket(io::Error),
    #[error("the certificate {certificate} and key {key} can not be used: {cause}")]
    Certificate {
        certificate: String,
        key: String,
        cause: CertificateError,
    },
    #[error("TLS can not be set up: {0}; nothing is served")]
    Tls(String),
}

/// Why certificates or a key can not be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("no certificates: {0}")]
    Chain(String),
    #[error("no private key: {0}")]
    Key(String),
    #[error("the key is not the certificate's: {0}")]
    Pair(String),
}

/// An open socket, and how connections to it speak.
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
    tls: Option<TlsSettings>,
}

/// Binds a socket of one's own.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|cause| ListenError::Bind { address, cause })
}

impl Listener {
    pub(crate) fn clear(socket: TcpListener) -> Result<Listener, ListenError> {
        let known = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
        Ok(Listener {
            address: known.map_err(ListenError::Socket)?,
            socket,
            tls: None,
        })
    }

    pub(crate) fn tls(socket: TcpListener, certificate: &Arc<Certificate>) -> Result<Listener, ListenError> {
        let tls = tls_settings(certificate.clone()).map_err(ListenError::Tls)?;
        Ok(Listener {
            tls: Some(tls),
            ..Listener::clear(socket)?
        })
    }

    /// The same socket once more, to be handed to another process.
    pub(crate) fn socket(&self) -> Result<OwnedFd, ListenError> {
        let socket = self.socket.try_clone().map_err(ListenError::Socket)?;
        Ok(socket.into())
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// As a person would type it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }
}

/// One certificate for all names. Connections that begin get the newest.
#[derive(Debug)]
pub(crate) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    pub(crate) fn load(config: &Tls) -> Result<Certificate, ListenError> {
        Ok(Certificate(ArcSwap::from_pointee(Certificate::read(config)?)))
    }

    /// What the files hold now, to be put in force later.
    pub(crate) fn read(config: &Tls) -> Result<CertifiedKey, ListenError> {
        certified_key(config).map_err(|cause| ListenError::Certificate {
            certificate: config.certificate.display().to_string(),
            key: config.key.display().to_string(),
            cause,
        })
    }

    pub(crate) fn put_in_force(&self, certified: CertifiedKey) {
        self.0.store(Arc::new(certified));
    }

    /// When the one in force, or an issuer in its chain, ends to be valid; `None` where one can not be understood.
    pub(crate) fn not_after(&self) -> Option<Timestamp> {
        let ends = self
            .0
            .load()
            .cert
            .iter()
            .map(not_after)
            .collect::<Option<Vec<_>>>();
        ends?.into_iter().min()
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// Loads certificate and key here, because pingora would panic over a pair that does not match.
///
/// # Errors
/// When one can not be read as PEM, or they do not belong together.
pub(crate) fn certified_key(config: &Tls) -> Result<CertifiedKey, CertificateError> {
    let chain = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|error| CertificateError::Key(error.to_string()))?;
    let provider = rustls::crypto::ring::default_provider();
    let signing = provider.key_provider.load_private_key(key);
    let signing = signing.map_err(|error| CertificateError::Key(error.to_string()))?;
    let certified = CertifiedKey::new(chain, signing);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(error)) => Err(CertificateError::Pair(format!("{error:?}"))),
        Err(error) => Err(CertificateError::Chain(error.to_string())),
    }
}

/// The certificates of a PEM file that has at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(CertificateError::Chain("the file has none in PEM".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(CertificateError::Chain(error.to_string())),
    }
}

/// Proves that a PEM file holds certificates that can be trusted, each of them.
pub(crate) fn check_roots(file: &Path) -> Result<(), CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
    }
    Ok(())
}

fn tls_settings(certificate: Arc<Certificate>) -> Result<TlsSettings, String> {
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
    settings.set_cert_resolver(certificate);
    settings.enable_h2();
    Ok(settings)
}

/// Serves `app` on `listener` until `shutdown` says so.
pub(crate) async fn serve<A>(app: A, listener: Listener, shutdown: ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    let address = listener.address.to_string();
    let write_buffer = match listener.tls {
        Some(_) => TLS_WRITE_BUFFER_BYTES,
        None => 0,
    };
    let buffers = L4BufferSettings::new(READ_BUFFER_BYTES, write_buffer);
    let mut config = ListenerConfig::tcp(address.clone()).l4_buffer(buffers);
    if let Some(tls) = listener.tls {
        config = config.tls(tls);
    }
    let mut service = Service::new(String::new(), app);
    service.add_listener(config);
    let mut sockets = Fds::new();
    sockets.add(address, listener.socket.into_raw_fd());
    let sockets: ListenFds = Arc::new(Mutex::new(sockets));
    service.start_service(Some(sockets), shutdown, 1).await;
}
