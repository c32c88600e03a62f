//! Pages for machines: metrics, liveness, readiness.
//!
//! Invariant: each says what it is, and none is to be stored. Whoever reaches the listener may read them.

use super::Admin;
use crate::base::metrics::Format;
use crate::edge::lifecycle::Phase;
use crate::edge::purging::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_http::RequestHeader;

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
    pub(super) fn page(&self, asked: &RequestHeader) -> Response {
        if !matches!(asked.method, Method::GET | Method::HEAD) {
            let mut refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
            refusal
                .headers
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match asked.uri.path() {
            "/metrics" => self.metrics_page(Format::of(&accepted(&asked.headers))),
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.lifecycle.phase() {
                Phase::Serving => text(StatusCode::OK, "ready\n"),
                Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "try /metrics, /livez, /readyz or /api/v1/stat\n",
            ),
        }
    }

    fn metrics_page(&self, format: Format) -> Response {
        self.observe();
        let body = Bytes::from(self.metrics.render(format));
        let mut answer = page(StatusCode::OK, format.content_type(), body);
        answer
            .headers
            .insert(header::VARY, HeaderValue::from_static("Accept"));
        answer
    }
}

fn accepted(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::ACCEPT).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}
