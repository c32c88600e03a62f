//! Sockets: bound first, then handed to pingora.
//!
//! Invariant: an address that can not be had is an error before anything is served, and the port the system
//! chose for port 0 is known. Knows nothing of what is served.

use super::config::Tls;
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
use std::os::fd::IntoRawFd;
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
    #[error("the certificate {certificate} and key {key} can not be used: {cause}; nothing is served")]
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

impl Listener {
    pub(crate) fn clear(address: SocketAddr) -> Result<Listener, ListenError> {
        let bind = |address| {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            let bound = socket.local_addr()?;
            Ok(Listener {
                socket,
                address: bound,
                tls: None,
            })
        };
        bind(address).map_err(|cause| ListenError::Bind { address, cause })
    }

    pub(crate) fn tls(config: &Tls) -> Result<Listener, ListenError> {
        let certified = certified_key(config).map_err(|cause| ListenError::Certificate {
            certificate: config.certificate.display().to_string(),
            key: config.key.display().to_string(),
            cause,
        })?;
        let tls = tls_settings(certified).map_err(ListenError::Tls)?;
        Ok(Listener {
            tls: Some(tls),
            ..Listener::clear(config.listen)?
        })
    }

    fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// As a person would type it.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme(), self.address)
    }
}

/// One certificate for all names.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
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

fn tls_settings(certified: CertifiedKey) -> Result<TlsSettings, String> {
    let mut settings = TlsSettings::intermediate("", "").map_err(|error| error.to_string())?;
    settings.set_cert_resolver(Arc::new(OneCertificate(Arc::new(certified))));
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
