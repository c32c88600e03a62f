//! `GET /api/v1/top` and `GET /api/v1/log`: what is busiest, and what is answered as it is answered.
//!
//! Invariant: a stream ends when its client leaves, stands still, or the edge stops, and with it what was held for it. It
//! does not know how requests are counted or filtered.

use super::query::{Query, wrong};
use super::refusal::Refusal;
use crate::edge::access_log::{AccessLog, Filter, Follower, Top, TopBy};
use http::{HeaderValue, StatusCode, header};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;
use std::time::Duration;
use tokio::time::timeout;

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// Rows where nobody says how many.
const TOP_LIMIT: usize = 10;

pub(super) fn top(log: &AccessLog, query: Option<&str>, limit_max: usize) -> Result<Top, Refusal> {
    let query = Query::read(query, Some(&["by", "limit"]))?;
    let limit = query.count("limit", TOP_LIMIT, limit_max)?;
    let by = query.get("by").unwrap_or("path");
    let group = TopBy::ALL.into_iter().find(|group| group.name() == by);
    let by = group.ok_or_else(|| wrong("by", "one of path, miss, bytes, referrer and client".to_owned()))?;
    Ok(log.top(by, limit))
}

pub(super) fn follow(log: &AccessLog, query: Option<&str>) -> Result<Follower, Refusal> {
    let query = Query::read(query, None)?;
    let filter = Filter::parse(query.pairs()).map_err(|error| wrong("filter", error.to_string()))?;
    log.follow(filter).ok_or(Refusal::Busy(
        "as many readers of the log as edge.access_log.followers_max allows",
    ))
}

/// Sends lines until one of both sides ends. The connection is of no further use.
pub(super) async fn send(
    session: &mut ServerSession,
    mut lines: Follower,
    deadline: Duration,
    shutdown: &ShutdownWatch,
) {
    let mut shutdown = shutdown.clone();
    session.set_keepalive(None);
    if write_header(session, deadline).await.is_none() {
        return;
    }
    loop {
        let next = tokio::select! {
            // What has been logged goes out before the end.
            biased;
            next = lines.next() => next,
            // A client has nothing more to say: whatever comes is its leaving.
            _ = session.read_body_or_idle(true) => return,
            _ = shutdown.wait_for(|stopping| *stopping) => None,
        };
        let end = next.is_none();
        let write = session.write_response_body(next.unwrap_or_default(), end);
        match timeout(deadline, write).await {
            Ok(Ok(())) if !end => {}
            _ => return,
        }
    }
}

async fn write_header(session: &mut ServerSession, deadline: Duration) -> Option<()> {
    let mut header = ResponseHeader::build_no_case(StatusCode::OK, Some(4)).ok()?;
    for (name, value) in [
        (header::CONTENT_TYPE, NDJSON),
        (header::CACHE_CONTROL, NO_STORE),
        (header::TRANSFER_ENCODING, CHUNKED),
    ] {
        header.insert_header(name, value).ok()?;
    }
    let write = session.write_response_header(Box::new(header));
    timeout(deadline, write).await.ok()?.ok()
}
