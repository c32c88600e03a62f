//! The body of a peer's answer on its way.
//!
//! Invariant: its end is told only when as many bytes have come as its header has said; an error never turns into a clean end.
//! No more is taken from the network than is asked for, but for what the windows allow. It does not know what the bytes are.

use super::PeerError;
use super::fault::Fault;
use super::peer::Turn;
use crate::base::breaker::Verdict;
use crate::base::metrics::QuestionResult;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::timeout;

/// The body of a peer's answer on its way. Dropping it aborts the exchange.
pub struct PeerBody {
    incoming: Incoming,
    /// `None` once it has ended.
    turn: Option<Turn>,
    /// Bytes that are still to come, where that was said.
    left: Option<u64>,
    failed: Option<PeerError>,
    read_deadline: Duration,
}

impl PeerBody {
    /// The body that comes after `answer`'s header.
    pub(super) fn follow(
        answer: Response<Incoming>,
        method: &Method,
        mut turn: Turn,
        read_deadline: Duration,
    ) -> Response<PeerBody> {
        turn.end(QuestionResult::Answered);
        let left = match has_body(method, answer.status()) {
            true => length(answer.headers()),
            false => None,
        };
        answer.map(|incoming| PeerBody {
            incoming,
            turn: Some(turn),
            left,
            failed: None,
            read_deadline,
        })
    }

    /// The next bytes, never empty, or `None` at the end of a body that came whole. Cancelling the future loses nothing.
    ///
    /// # Errors
    /// When it broke off, or came too slowly.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        match self.read().await {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => {
                if let Some(mut turn) = self.turn.take() {
                    turn.settle(Verdict::Finished);
                }
                Ok(None)
            }
            Err(fault) => {
                let error = fault.error.clone();
                if let Some(mut turn) = self.turn.take() {
                    turn.fail(fault);
                }
                self.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = timeout(self.read_deadline, self.incoming.frame())
                .await
                .map_err(|_| PeerError::Deadline)?;
            let Some(frame) = frame else {
                return match self.left {
                    None | Some(0) => Ok(None),
                    Some(left) => Err(PeerError::BrokenOff(format!("{left} bytes are missing")).into()),
                };
            };
            let frame = frame.map_err(|error| Fault::of_body(&error))?;
            // Trailers say nothing that is needed here.
            let bytes = frame.into_data().unwrap_or_default();
            if !bytes.is_empty() {
                return Ok(Some(self.count(bytes)?));
            }
        }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, PeerError> {
        if let Some(left) = &mut self.left {
            let more = left.checked_sub(bytes.len() as u64);
            *left = more.ok_or_else(|| PeerError::BrokenOff("it is longer than was said".into()))?;
        }
        Ok(bytes)
    }
}

/// RFC 9110 section 6.4.1.
fn has_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
