//! Clusters as their users see them: lists of operations over real processes of the real binary.
//!
//! 1. A test is a list of [`operation`]s, read from top to bottom; [`cluster`] carries them out.
//! 2. [`origin`] counts what it is asked for, and stamps each answer with its object and version; whoever asks
//!    ([`load`]) checks every byte, and that no answer is older than what a purge had acknowledged before it was asked for.
//! 3. Between the nodes lies a [`network`] that can be cut, in one direction too: forwarders in this process ([`proxy`]), or
//!    network namespaces ([`spaces`]).
//!
//! A test knows the command line, the configuration, the wire and the metrics, and nothing of the code.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy knows only functions marked as tests"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a run tells what was done, and a failed one shows the nodes' logs"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "the parts of the edge's own tests, of which some are needed here"
)]
#[path = "../edge/support/mod.rs"]
mod support;

#[path = "../purge/random.rs"]
#[allow(dead_code, reason = "part of the checker of purges")]
mod random;
#[path = "../purge/wire.rs"]
#[allow(dead_code, reason = "part of the checker of purges")]
mod wire;

mod bench;
mod chaos;
mod cluster;
mod failing;
mod harness;
mod load;
mod network;
mod operating;
mod operation;
mod origin;
mod owning;
mod parted;
mod placing;
mod programs;
mod proving;
mod proxy;
mod purging;
mod spaces;
mod strangers;
mod turn;
