//! The admin listener: metrics, liveness and readiness, for operators and their machines.
//!
//! Invariant: it answers whatever the edge is doing, and changes nothing; a client that stands still, idle or not,
//! is hung up on. Knows nothing of requests.

use super::lifecycle::{Lifecycle, Phase};
use crate::base::metrics::Metrics;
use crate::store::Store;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode, header};
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
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

impl Page {
    fn text(status: StatusCode, text: &'static str) -> Self {
        Page {
            status,
            content_type: "text/plain; charset=utf-8",
            body: Bytes::from_static(text.as_bytes()),
        }
    }
}

impl Admin {
    fn page(&self, method: &Method, path: &str) -> Page {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Page::text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
        }
        match path {
            "/metrics" => self.metrics_page(),
            "/livez" => Page::text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.lifecycle.phase() {
                Phase::Serving => Page::text(StatusCode::OK, "ready\n"),
                Phase::Draining => Page::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            _ => Page::text(StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n"),
        }
    }

    fn metrics_page(&self) -> Page {
        self.store.observe();
        Page {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: Bytes::from(self.metrics.render()),
        }
    }
}

async fn send(session: &mut ServerSession, page: Page) -> pingora_core::Result<()> {
    let mut response = ResponseHeader::build_no_case(page.status, Some(5))?;
    response.insert_header(header::CONTENT_TYPE, page.content_type)?;
    response.insert_header(header::CONTENT_LENGTH, page.body.len())?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    if page.status == StatusCode::METHOD_NOT_ALLOWED {
        response.insert_header(header::ALLOW, "GET, HEAD")?;
    }
    let body = if session.req_header().method == Method::HEAD {
        Bytes::new()
    } else {
        page.body
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
        let header = session.req_header();
        let page = self.page(&header.method, header.uri.path());
        timeout(self.deadline, finish(session, page)).await.ok().flatten()
    }
}

async fn finish(mut session: ServerSession, page: Page) -> Option<ReusedHttpStream> {
    send(&mut session, page).await.ok()?;
    let settings = HttpPersistentSettings::for_session(&session);
    let stream = session.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(stream, settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::listen::{Listener, serve};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::watch;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Sends `request` and reads until the admin listener hangs up.
    async fn read_to_end(deadline: Duration, request: &str) -> String {
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(&Default::default(), metrics.clone()).await.unwrap();
        let admin = Admin {
            deadline,
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
