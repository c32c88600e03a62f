//! The body of a peer's answer on its way.
//!
//! Invariant: its end is told only when as many bytes have come as its header has said, and with them the digest that was said,
//! if any; an error never turns into a clean end.
//! No more is taken from the network than is asked for, but for what the windows allow. It does not know what the bytes are.

use super::PeerError;
use super::fault::Fault;
use super::peer::Turn;
use crate::base::breaker::Verdict;
use crate::base::digest::Hasher;
use crate::base::metrics::{QuestionErrand, QuestionResult};
use crate::cluster::question;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
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
    /// `None` where the digest is not looked at.
    check: Option<Check>,
    failed: Option<PeerError>,
    read_deadline: Duration,
}

/// What a body's bytes come to, against what is said of them.
struct Check {
    hasher: Hasher,
    /// `None`: by a node of the release before, or not yet.
    said: Option<HeaderValue>,
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
        let check = Check::of(&answer, method, turn.errand());
        answer.map(|incoming| PeerBody {
            incoming,
            turn: Some(turn),
            left,
            check,
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
                .map_err(|_| self.late())?;
            let Some(frame) = frame else {
                self.is_whole()?;
                return Ok(None);
            };
            let frame = frame.map_err(|error| Fault::of_body(&error))?;
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.check.iter_mut().for_each(|check| check.hear(&trailers));
                    continue;
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(self.count(bytes)?));
            }
        }
    }

    fn late(&self) -> Fault {
        let turn = self.turn.as_ref();
        turn.map_or_else(|| PeerError::Deadline.into(), Turn::late)
    }

    fn is_whole(&self) -> Result<(), PeerError> {
        if let Some(left) = self.left.filter(|left| *left > 0) {
            return Err(PeerError::BrokenOff(format!("{left} bytes are missing")));
        }
        match &self.check {
            Some(check) if !check.holds() => {
                self.turn.iter().for_each(Turn::count_corrupt);
                Err(PeerError::BrokenOff(
                    "its bytes have another digest than was said".into(),
                ))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, bytes: Bytes) -> Result<Bytes, PeerError> {
        if let Some(left) = &mut self.left {
            let more = left.checked_sub(bytes.len() as u64);
            *left = more.ok_or_else(|| PeerError::BrokenOff("it is longer than was said".into()))?;
        }
        if let Some(check) = &mut self.check {
            check.hasher.update(&bytes);
        }
        Ok(bytes)
    }
}

impl Check {
    /// Of whole images for this node's store: what is passed on to a client is as its own node reads it.
    fn of(answer: &Response<Incoming>, method: &Method, errand: QuestionErrand) -> Option<Check> {
        let is_whole = *method == Method::GET && answer.status() == StatusCode::OK;
        (is_whole && errand != QuestionErrand::Relay).then(|| Check {
            hasher: Hasher::default(),
            said: answer.headers().get(question::DIGEST).cloned(),
        })
    }

    fn hear(&mut self, trailers: &HeaderMap) {
        if let Some(said) = trailers.get(question::DIGEST) {
            self.said = Some(said.clone());
        }
    }

    fn holds(&self) -> bool {
        let digest = || self.hasher.finish().to_string();
        self.said
            .as_ref()
            .is_none_or(|said| said.as_bytes() == digest().as_bytes())
    }
}

/// RFC 9110 section 6.4.1.
fn has_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
