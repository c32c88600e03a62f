//! The connection to a collector: OTLP over HTTP, on the thread of whoever exports.
//!
//! Invariant: an exchange takes its deadline at most, follows no redirection and reads a bounded answer. It does not know
//! what it carries.

use super::TracerError;
use async_trait::async_trait;
use http::Uri;
use http::uri::Scheme;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Of an answer, which says at most why spans were refused.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

const USER_AGENT: &str = concat!("aquatint/", env!("CARGO_PKG_VERSION"));

/// Why a URL names no collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEndpoint {
    NoUrl,
    /// Whose password must not be shown.
    NamesUser,
}

impl NoEndpoint {
    /// What may be shown of the URL.
    pub(super) fn shown(self, url: &str) -> &str {
        match self {
            NoEndpoint::NoUrl => url,
            NoEndpoint::NamesUser => "a URL with a user in it",
        }
    }
}

pub(super) fn endpoint(url: &str) -> Result<Uri, NoEndpoint> {
    if url.contains('@') {
        return Err(NoEndpoint::NamesUser);
    }
    let uri: Uri = url.parse().map_err(|_| NoEndpoint::NoUrl)?;
    let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme());
    match is_http && uri.host().is_some_and(|host| !host.is_empty()) {
        true => Ok(uri),
        false => Err(NoEndpoint::NoUrl),
    }
}

#[derive(Debug)]
pub(super) struct Collector(Agent);

impl Collector {
    /// # Errors
    /// When the collector speaks TLS and the system's trusted certificates can not be read.
    pub(super) fn new(endpoint: &Uri, deadline: Duration) -> Result<Self, TracerError> {
        let tls = match endpoint.scheme() == Some(&Scheme::HTTPS) {
            true => Some(tls(trusted_by_the_system()?)),
            false => None,
        };
        Ok(Collector::with(tls, deadline))
    }

    fn with(tls: Option<TlsConfig>, deadline: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(deadline))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(USER_AGENT)
            .tls_config(tls.unwrap_or_default());
        Collector(Agent::new_with_config(config.build()))
    }
}

fn trusted_by_the_system() -> Result<Vec<Certificate<'static>>, TracerError> {
    let roots = rustls_native_certs::load_native_certs().map_err(TracerError::Roots)?;
    let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
    Ok(roots.collect())
}

fn tls(roots: Vec<Certificate<'static>>) -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(provider)
        .build()
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks, as the thread that exports is there for.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(parts, &body[..]))?;
        let (parts, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(parts, bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Answers each connection's first request; its URL, and its certificate.
    fn listening() -> (String, CertificateDer<'static>) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = key.cert.der().clone();
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], private)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = Arc::new(config);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, socket);
                let mut asked = Vec::new();
                let mut piece = [0; 1024];
                // Whoever does not trust the certificate sends nothing.
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    asked.extend_from_slice(&piece[..length]);
                    if asked.ends_with(b"the body") {
                        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\ntaken";
                        stream.write_all(answer).unwrap();
                    }
                }
            }
        });
        (format!("https://localhost:{port}/v1/traces"), certificate)
    }

    fn post(url: &str, trusted: Vec<Certificate<'static>>) -> Result<Response<Bytes>, HttpError> {
        let collector = Collector::with(Some(tls(trusted)), PATIENCE);
        let request = Request::post(url).body(Bytes::from_static(b"the body"))?;
        let sent = collector.send_bytes(request).now_or_never();
        sent.expect("a client that blocks is never pending")
    }

    #[test]
    fn a_collector_is_asked_over_tls_if_its_certificate_is_trusted() {
        let (url, certificate) = listening();
        let answer = post(&url, vec![Certificate::from_der(&certificate).to_owned()]).unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (202, &b"taken"[..])
        );
        let (_, another) = listening();
        for trusted in [vec![Certificate::from_der(&another).to_owned()], Vec::new()] {
            assert!(post(&url, trusted).is_err());
        }
    }
}
