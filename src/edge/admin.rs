//! The admin listener: metrics, liveness and readiness for operators and their machines, and the API of purges.
//!
//! Invariant: it answers whatever the edge is doing, and only who has a key changes anything; a client that stands still,
//! idle or not, is hung up on. Knows nothing of requests to the edge.

use super::lifecycle::{Lifecycle, Phase};
use super::purging::{Orderer, Response};
use crate::base::metrics::Metrics;
use crate::store::Store;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) struct Admin {
    /// For a request to arrive, and for its answer to be taken.
    pub(crate) deadline: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) store: Store,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) orderer: Arc<Orderer>,
}

/// Of a page that says what it is.
fn text(status: StatusCode, text: &'static str) -> Response {
    page(
        status,
        "text/plain; charset=utf-8",
        Bytes::from_static(text.as_bytes()),
    )
}

fn page(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Response {
        status,
        headers: HeaderMap::from_iter(headers),
        body,
    }
}

impl Admin {
    async fn answer(&self, session: &mut ServerSession) -> Response {
        if let Some(answer) = self.orderer.answer_api(session, self.deadline).await {
            return answer;
        }
        let header = session.req_header();
        self.page(&header.method, header.uri.path())
    }

    fn page(&self, method: &Method, path: &str) -> Response {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            refusal
                .headers
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match path {
            "/metrics" => self.metrics_page(),
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.lifecycle.phase() {
                Phase::Serving => text(StatusCode::OK, "ready\n"),
                Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "try /metrics, /livez, /readyz or /api/v1/purge\n",
            ),
        }
    }

    fn metrics_page(&self) -> Response {
        self.store.observe();
        self.orderer.observe();
        let body = Bytes::from(self.metrics.render());
        page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
    }
}

async fn send(session: &mut ServerSession, answer: Response) -> pingora_core::Result<()> {
    let mut response = ResponseHeader::build_no_case(answer.status, Some(6))?;
    for (name, value) in &answer.headers {
        response.insert_header(name, value)?;
    }
    response.insert_header(header::CONTENT_LENGTH, answer.body.len())?;
    let body = if session.req_header().method == Method::HEAD {
        Bytes::new()
    } else {
        answer.body
    };
    session.write_response_header(Box::new(response)).await?;
    session.write_response_body(body, true).await
}

#[async_trait]
impl HttpServerApp for Admin {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let mut shutdown = shutdown.clone();
        let arrived = tokio::select! {
            biased;
            arrived = timeout(self.deadline, session.read_request()) => arrived.ok()?,
            _ = shutdown.wait_for(|stopping| *stopping) => return None,
        };
        if !arrived.ok()? {
            return None;
        }
        let answer = self.answer(&mut session).await;
        timeout(self.deadline, finish(session, answer))
            .await
            .ok()
            .flatten()
    }
}

async fn finish(mut session: ServerSession, answer: Response) -> Option<ReusedHttpStream> {
    send(&mut session, answer).await.ok()?;
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::epoch::Incarnation;
    use crate::edge::listen::{Listener, serve};
    use crate::edge::purging::tests::world;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Sends `request` and reads until the admin listener hangs up.
    async fn read_to_end(deadline: Duration, request: &str) -> String {
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(
            &Default::default(),
            Incarnation::from_bytes([0; 16]),
            metrics.clone(),
        )
        .await
        .unwrap();
        let admin = Admin {
            deadline,
            orderer: Arc::new(world().orderer),
            metrics,
            store,
            lifecycle: Arc::default(),
        };
        let listener = Listener::clear(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.address;
        let stop = watch::Sender::new(false);
        let serving = tokio::spawn(serve(admin, listener, stop.subscribe()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = timeout(PATIENCE, client.read_to_string(&mut answer)).await;
        read.expect("it hangs up").unwrap();
        stop.send_replace(true);
        serving.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_client_that_stands_still_is_hung_up_on() {
        // Two of them are answered first, which has to happen within it.
        let deadline = Duration::from_secs(2);
        let (silent, broken_off, idle, upload) = tokio::join!(
            read_to_end(deadline, ""),
            read_to_end(deadline, "GET /livez HTTP/1.1\r\nHost: "),
            read_to_end(deadline, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"),
            read_to_end(
                deadline,
                "GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
            ),
        );
        assert_eq!((silent.as_str(), broken_off.as_str()), ("", ""));
        assert!(idle.starts_with("HTTP/1.1 200 "), "{idle}");
        assert!(upload.starts_with("HTTP/1.1 200 "), "{upload}");
    }

    #[tokio::test]
    async fn a_method_that_is_not_allowed_is_told_which_are() {
        let request = "POST /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let answer = read_to_end(PATIENCE, request).await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 405 "), "{answer}");
        assert!(answer.contains("\r\nallow: get, head\r\n"), "{answer}");
    }
}
