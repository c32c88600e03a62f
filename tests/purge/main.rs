//! The checker of the guarantee: after a purge is acknowledged, no request that starts later is answered with an older
//! version.
//!
//! 1. [`origin`] holds a growing version of each URL of the [`world`], and stamps it into every answer ([`stamp`]); it is
//!    slow, before and after it has looked which version it is.
//! 2. [`writer`] changes a version, then purges ([`order`]), and notes what the receipt acknowledges.
//! 3. [`reader`] notes what is acknowledged, then reads: an answer with a lower version is a violation.
//! 4. [`run`] puts them around nodes, and kills and restarts these meanwhile.
//!
//! [`edge`] does that with the real binary ([`node`]), [`holes`] with one whose guarantee is broken on purpose. [`fake`] holds caches that are known to be wrong or right: the checker is tried on them first. Everything is drawn from a
//! seed, which is printed. A test knows the command line, the configuration and the wire, and nothing of the code.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stdout, reason = "a run tells what was done")]

mod edge;
mod fake;
mod history;
mod holes;
mod node;
mod order;
mod origin;
mod random;
mod reader;
mod run;
mod stamp;
mod tally;
mod wire;
mod world;
mod writer;
