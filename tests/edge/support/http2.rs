//! An HTTP/2 client: clear text by prior knowledge, or inside TLS by ALPN.

use super::client::{HOST, Headers};
use super::{Answer, Certificate, PATIENCE};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use std::future::Future;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// One connection, and the runtime that drives it.
pub(crate) struct Http2 {
    requests: SendRequest<Bytes>,
    runtime: Runtime,
    scheme: &'static str,
}

impl Http2 {
    pub(crate) fn connect(address: SocketAddr) -> Http2 {
        let runtime = runtime();
        let requests = runtime.block_on(in_time(async {
            shake_hands(TcpStream::connect(address).await.unwrap()).await
        }));
        Http2 {
            requests,
            runtime,
            scheme: "http",
        }
    }

    pub(crate) fn connect_tls(address: SocketAddr, certificate: &Certificate) -> Http2 {
        let runtime = runtime();
        let connector = tokio_rustls::TlsConnector::from(certificate.client_config(&[b"h2"]));
        let requests = runtime.block_on(in_time(async {
            let socket = TcpStream::connect(address).await.unwrap();
            let session = connector
                .connect(Certificate::server_name(), socket)
                .await
                .unwrap();
            assert_eq!(
                session.get_ref().1.alpn_protocol(),
                Some(&b"h2"[..]),
                "HTTP/2 not negotiated"
            );
            shake_hands(session).await
        }));
        Http2 {
            requests,
            runtime,
            scheme: "https",
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[]).unwrap()
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: Headers) -> Result<Answer, h2::Error> {
        let response = self.send(method, path, headers)?;
        self.runtime.block_on(in_time(whole(response)))
    }

    /// All at once on this connection, answers in the order of `paths`.
    pub(crate) fn get_all(&mut self, paths: &[String]) -> Vec<Answer> {
        let sent: Vec<_> = paths
            .iter()
            .map(|path| self.send("GET", path, &[]).unwrap())
            .collect();
        let answers = sent.into_iter().map(whole);
        let answers = self.runtime.block_on(in_time(futures::future::join_all(answers)));
        answers.into_iter().map(Result::unwrap).collect()
    }

    fn send(&mut self, method: &str, path: &str, headers: Headers) -> Result<ResponseFuture, h2::Error> {
        let uri = format!("{}://{HOST}{path}", self.scheme);
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri)
            .version(http::Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        self.runtime.block_on(in_time(async {
            let mut requests = self.requests.clone().ready().await?;
            let (response, _) = requests.send_request(request, true)?;
            Ok(response)
        }))
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn shake_hands<T>(transport: T) -> SendRequest<Bytes>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let (requests, connection) = builder.handshake(transport).await.unwrap();
    tokio::spawn(connection);
    requests
}

async fn whole(response: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    Ok(Answer {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body,
    })
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("HTTP/2 within the patience")
}
