//! What went wrong with a question that was sent, and whether it speaks against the peer.
//!
//! Invariant: a peer that resets one stream lives: most likely an origin has cut a body short that the peer was passing on. So
//! does one that lets a question wait and answers others meanwhile. It does not know what is done about it.

use super::PeerError;
use crate::base::breaker::Verdict;
use std::error::Error;

pub(super) struct Fault {
    pub(super) error: PeerError,
    /// What the breaker hears.
    pub(super) verdict: Verdict,
}

impl Fault {
    /// Before the answer's header came.
    pub(super) fn of_answer(error: &hyper::Error) -> Self {
        match is_reset_by_peer(error) {
            true => Fault::reset(error),
            false => PeerError::Unreachable(told(error)).into(),
        }
    }

    /// Within the answer's body.
    pub(super) fn of_body(error: &hyper::Error) -> Self {
        match is_reset_by_peer(error) {
            true => Fault::reset(error),
            false => PeerError::BrokenOff(told(error)).into(),
        }
    }

    /// In vain, while the peer has answered others: it waits for an origin, of whose slowness the peer's breaker knows nothing.
    /// That it answers pings says too little: its connection may live on when nothing behind it does.
    pub(super) fn waited() -> Self {
        Fault {
            error: PeerError::Deadline,
            verdict: Verdict::Abandoned,
        }
    }

    fn reset(error: &hyper::Error) -> Self {
        Fault {
            error: PeerError::BrokenOff(told(error)),
            verdict: Verdict::Answered,
        }
    }
}

impl From<PeerError> for Fault {
    fn from(error: PeerError) -> Self {
        let verdict = Verdict::Failed;
        Fault { error, verdict }
    }
}

/// As a server ends the answer that it can not finish; one that takes no more streams refuses them.
fn is_reset_by_peer(error: &hyper::Error) -> bool {
    let mut causes = causes(error).filter_map(|cause| cause.downcast_ref::<h2::Error>());
    causes.any(|cause| {
        cause.is_reset() && cause.is_remote() && cause.reason() == Some(h2::Reason::INTERNAL_ERROR)
    })
}

/// An error with what brought it about.
pub(super) fn told(error: &(dyn Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| {
        (*cause).source()
    })
}
