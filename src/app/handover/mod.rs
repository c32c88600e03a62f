//! The hand-over of a running edge to a process that takes its place: its sockets, then its cache and its log of purges.
//!
//! Between the two, one word after the other over a pair of sockets, the successor's standard input:
//! 1. the predecessor sends its listening sockets;
//! 2. the successor has proven its configuration, and opened all that it can: `prepared`. Until here a failure costs nothing;
//! 3. the predecessor has written its cache out, closed the log, and acknowledges no purge any more: `yours`. It goes on
//!    answering, from memory and from origins;
//! 4. the successor has opened log and cache, and acknowledges nothing yet: `ready`;
//! 5. the predecessor stops accepting, and from here on begins no request with its cache: `retired`;
//! 6. the successor accepts connections, and purges.
//!
//! Invariant: log and cache have one owner, and what one process answers from its cache begins before the other can acknowledge
//! a purge. A predecessor that dies after `yours` leaves a successor that goes on. It does not know what either serves.

mod channel;
mod predecessor;
mod successor;

pub(super) use channel::{Handed, Inherited, Place};
pub(super) use predecessor::Predecessor;
pub(super) use successor::{Binary, Successor};

use crate::store::NotGivenUp;
use std::io;
use std::time::Duration;

/// Set for a successor: where its predecessor speaks to it.
const VARIABLE: &str = "AQUATINT_HANDOVER";
const STANDARD_INPUT: &str = "stdin";

/// Why a process does not take another's place.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    #[error("the process that is to take over can not be started: {0}")]
    Start(io::Error),
    #[error("the sockets can not be handed over: {0}")]
    Sockets(io::Error),
    #[error("the other process has ended, or given up; its own log says why")]
    Ended,
    #[error("the other process said {0:?}, which this one does not understand")]
    Misunderstood(String),
    #[error(transparent)]
    Cache(#[from] NotGivenUp),
    #[error("the log of purges has not been closed for {0:?}")]
    LogStuck(Duration),
    #[error("the other process has not answered for {0:?}")]
    Late(Duration),
}
