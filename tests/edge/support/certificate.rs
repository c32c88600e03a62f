//! A certificate made for one test, on disk for the edge and in memory for its clients.

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// P-256, for `localhost`, signed by itself.
#[derive(Clone)]
pub(crate) struct Certificate {
    directory: Arc<TempDir>,
    der: CertificateDer<'static>,
    key: Arc<rcgen::KeyPair>,
}

impl Certificate {
    pub(crate) fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let directory = Arc::new(TempDir::new().unwrap());
        let certificate = Certificate {
            directory,
            der: made.cert.der().clone(),
            key: Arc::new(made.signing_key),
        };
        std::fs::write(certificate.path(), made.cert.pem()).unwrap();
        std::fs::write(certificate.key_path(), certificate.key.serialize_pem()).unwrap();
        certificate
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    pub(crate) fn server_name() -> ServerName<'static> {
        ServerName::try_from("localhost").unwrap()
    }

    /// Trusts this certificate alone and offers these protocols.
    pub(crate) fn client_config(&self, protocols: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.into()
    }

    /// Shows this certificate and accepts these protocols.
    pub(crate) fn server_config(&self, protocols: &[&[u8]]) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(provider.into());
        let config = config
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let mut config = config.with_single_cert(vec![self.der.clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.into()
    }
}
