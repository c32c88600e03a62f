//! An answer's body, as it goes to another node: piece by piece, when there is room for the next.
//!
//! Invariant: a body that can not be finished ends in an error, which resets the stream: never in a clean end. What is under way
//! stays counted until its body has ended or the other has gone. It does not know HTTP/2.

use crate::base::metrics::Raised;
use crate::cluster::question;
use crate::edge::respond::Payload;
use crate::serve::body::{Body as Source, BodyError};
use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use std::collections::VecDeque;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::body::Body;

/// So much lies ready of each answer at most, beside what the other's windows let through.
const PIECE_BYTES: usize = 128 << 10;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error("the body ended early")]
    Early,
    #[error(transparent)]
    Source(#[from] BodyError),
}

/// For as long as this lives, a question is under way.
pub(super) struct UnderWay {
    pub(super) _token: TaskTrackerToken,
    pub(super) _raised: Raised,
}

/// What follows a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    Nothing,
    /// The whole body's digest, where it was not known before.
    Digest,
}

/// What is still to be sent.
struct Pieces<U> {
    steps: VecDeque<Step>,
    source: Source,
    /// The rest of what has been read.
    ready: Bytes,
    closing: Closing,
    _under_way: U,
}

enum Step {
    Bytes(Bytes),
    /// Of the source, `end` exclusive; [`u64::MAX`] where only the source knows its end.
    Range {
        start: u64,
        end: u64,
    },
}

/// What is under way for as long as the body is, goes with it.
pub(super) fn body_of<U: Send + 'static>(payload: Payload, closing: Closing, under_way: U) -> Body {
    let (source, steps) = match payload {
        Payload::None => return Body::empty(),
        Payload::Text(text) => (Source::Empty, VecDeque::from([Step::Bytes(text)])),
        Payload::Slice { body, start, end } => (body, VecDeque::from([Step::Range { start, end }])),
        Payload::Multipart { body, parts } => {
            let steps = parts.parts().iter().flat_map(|part| {
                let range = Step::Range {
                    start: *part.range.start(),
                    end: *part.range.end() + 1,
                };
                [Step::Bytes(part.preamble.clone()), range]
            });
            let last = Step::Bytes(parts.closing().clone());
            (body, steps.chain([last]).collect())
        }
    };
    let pieces = Pieces {
        steps,
        source,
        ready: Bytes::new(),
        closing,
        _under_way: under_way,
    };
    let frames = stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        match pieces.next().await {
            Ok(None) => pieces
                .trailers()
                .map(|trailers| (Ok(Frame::trailers(trailers)), None)),
            Ok(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(pieces))),
            Err(error) => {
                tracing::warn!(%error, "an answer to another node broke off");
                Some((Err(error), None))
            }
        }
    });
    Body::new(StreamBody::new(frames))
}

impl<U> Pieces<U> {
    async fn next(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        if self.ready.is_empty() {
            let Some(bytes) = self.read().await? else {
                return Ok(None);
            };
            self.ready = bytes;
        }
        let length = self.ready.len().min(PIECE_BYTES);
        Ok(Some(self.ready.split_to(length)))
    }

    fn trailers(&self) -> Option<HeaderMap> {
        let digest = match self.closing {
            Closing::Nothing => None,
            Closing::Digest => self.source.digest(),
        }?;
        let mut trailers = HeaderMap::new();
        question::write_digest(&mut trailers, &digest);
        Some(trailers)
    }

    /// The next bytes, never empty.
    async fn read(&mut self) -> Result<Option<Bytes>, BrokenOff> {
        while let Some(step) = self.steps.front_mut() {
            match step {
                Step::Bytes(bytes) if !bytes.is_empty() => return Ok(Some(std::mem::take(bytes))),
                Step::Range { start, end } if *start < *end => match self.source.read_at(*start, *end).await?
                {
                    Some(bytes) => {
                        *start += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    None if *end == u64::MAX => {}
                    None => return Err(BrokenOff::Early),
                },
                Step::Bytes(_) | Step::Range { .. } => {}
            }
            self.steps.pop_front();
        }
        Ok(None)
    }
}
