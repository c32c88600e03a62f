//! Origins for tests: each says, byte by byte if need be, what a test makes it say.
//!
//! Real sockets on port 0. They count what they see, so that a test can tell how often it was asked.

use super::config::Config;
use super::{Origin, OriginError, OriginRequest, OriginResponse};
use crate::base::metrics::Metrics;
use crate::base::units::Span;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Scripted {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// One connection, as the origin sees it.
pub(super) struct Visitor<S = TcpStream> {
    stream: S,
    requests: Arc<AtomicUsize>,
    unread: Vec<u8>,
}

impl Scripted {
    /// Runs `script` for each connection, with the connection's number from 0.
    pub(super) async fn start<F, T>(script: F) -> Self
    where
        F: Fn(Visitor, usize) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (accepted, seen) = (connections.clone(), requests.clone());
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = accepted.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(Visitor::new(stream, &seen), number));
            }
        });
        Scripted {
            address,
            connections,
            requests,
            task,
        }
    }

    /// Answers each request on a connection with the same bytes, and keeps it open.
    pub(super) async fn saying(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |mut visitor, _| {
            let answer = answer.clone();
            async move {
                while visitor.request().await.is_some() {
                    visitor.say((*answer).as_ref()).await;
                }
            }
        })
        .await
    }

    /// Answers one request on each connection, then closes it.
    pub(super) async fn saying_once(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::start(move |mut visitor, _| {
            let answer = answer.clone();
            async move {
                visitor.request().await;
                visitor.say((*answer).as_ref()).await;
            }
        })
        .await
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn config(&self) -> Config {
        Config {
            url: Some(format!("http://{}", self.address)),
            ..patient()
        }
    }

    pub(super) fn origin(&self) -> Origin {
        open(&self.config())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visitor<S> {
    pub(super) fn new(stream: S, requests: &Arc<AtomicUsize>) -> Self {
        Visitor {
            stream,
            requests: requests.clone(),
            unread: Vec::new(),
        }
    }

    /// The bare connection, and where requests on it are counted.
    pub(super) fn into_parts(self) -> (S, Arc<AtomicUsize>) {
        (self.stream, self.requests)
    }

    /// The next request's header, or none when the edge has gone.
    pub(super) async fn request(&mut self) -> Option<String> {
        let header = self.until(b"\r\n\r\n").await?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        Some(header)
    }

    /// Everything up to and including `mark`.
    pub(super) async fn until(&mut self, mark: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.unread.windows(mark.len()).position(|window| window == mark) {
                let head: Vec<u8> = self.unread.drain(..at + mark.len()).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // The edge may have had enough, which is what some tests are about.
        let _gone = self.stream.write_all(bytes.as_ref()).await;
        let _gone = self.stream.flush().await;
    }

    /// Waits until the edge closes the connection.
    pub(super) async fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        let _reset = self.stream.read_to_end(&mut rest).await;
    }
}

impl Visitor {
    /// Closes the connection so that the edge sees a reset.
    pub(super) fn reset(self) {
        // A zero linger discards what is unsent and makes closing a reset.
        self.stream.set_zero_linger().unwrap();
    }
}

/// A configuration whose deadlines no healthy test reaches.
pub(super) fn patient() -> Config {
    Config {
        connect_deadline: Span::secs(30),
        first_byte_deadline: Span::secs(30),
        expect_wait: Span::secs(30),
        read_deadline: Span::secs(30),
        total_deadline: Span::secs(60),
        ..Config::default()
    }
}

pub(super) fn open(config: &Config) -> Origin {
    Origin::open("test", config, &Metrics::new()).unwrap()
}

pub(super) fn get(path_and_query: &str) -> OriginRequest {
    asking(Method::GET, path_and_query)
}

pub(super) fn asking(method: Method, path_and_query: &str) -> OriginRequest {
    OriginRequest {
        method,
        path_and_query: path_and_query.into(),
        host: "shop.example".into(),
        headers: HeaderMap::new(),
    }
}

/// The whole body.
pub(super) async fn whole(response: OriginResponse) -> Result<Bytes, OriginError> {
    let mut body = response.body;
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await? {
        assert!(!part.is_empty(), "no part is empty");
        bytes.extend_from_slice(&part);
    }
    assert_eq!(body.next().await.unwrap(), None, "the end stays the end");
    Ok(bytes.into())
}

/// What a fetch of `/` ends in.
pub(super) async fn fetched(origin: &Origin) -> Result<Bytes, OriginError> {
    whole(origin.fetch(get("/")).await?).await
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, holds).await.is_ok(), "{what}");
}

/// A certificate for `name` that vouches for itself, as PEM and as a server's keys.
pub(super) struct Certificate {
    pub(super) pem: String,
    pub(super) server: rustls::ServerConfig,
}

impl Certificate {
    pub(super) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_string()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        Certificate {
            pem: made.cert.pem(),
            server,
        }
    }

    /// Writes the certificate where a configuration can name it.
    pub(super) fn write(&self, directory: &tempfile::TempDir) -> PathBuf {
        let path = directory.path().join("ca.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }
}
