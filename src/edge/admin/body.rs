//! The body of a request to the API.
//!
//! Invariant: no more is held than the limit, and it arrives whole within the deadline or not at all. It does not know what
//! it says.

use super::refusal::Refusal;
use crate::edge::purging::is_json;
use crate::edge::request_body::SessionBody;
use crate::upstream::RequestBody;
use bytes::BytesMut;
use pingora_core::protocols::http::ServerSession;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// Reads a value that is written in JSON.
pub(super) async fn read<T: DeserializeOwned>(
    session: &mut ServerSession,
    bytes_max: u64,
    deadline: Duration,
) -> Result<T, Refusal> {
    if !is_json(&session.req_header().headers) {
        return Err(Refusal::MediaType);
    }
    let body = timeout(deadline, whole(session, bytes_max, deadline)).await;
    let body = body.map_err(|_| Refusal::BodyLate)??;
    serde_json::from_slice(&body).map_err(Refusal::Json)
}

/// As [`read`]; a request that has no body says nothing.
pub(super) async fn read_or_default<T: DeserializeOwned + Default>(
    session: &mut ServerSession,
    bytes_max: u64,
    deadline: Duration,
) -> Result<T, Refusal> {
    match session.is_body_empty() {
        true => Ok(T::default()),
        false => read(session, bytes_max, deadline).await,
    }
}

async fn whole(
    session: &mut ServerSession,
    bytes_max: u64,
    write_deadline: Duration,
) -> Result<BytesMut, Refusal> {
    let mut body = SessionBody::new(session, bytes_max, write_deadline);
    if body.declares_too_much() {
        return Err(Refusal::BodyTooLarge(bytes_max));
    }
    let mut bytes = BytesMut::new();
    loop {
        match (&mut body).next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(_) if body.exceeded() => return Err(Refusal::BodyTooLarge(bytes_max)),
            Err(_) => return Err(Refusal::BodyGone),
        }
    }
}
