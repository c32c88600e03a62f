//! The real binary in front of a real origin, over sockets: what a client, an origin and an operator can see.
//!
//! Every test starts its own edge on port 0 of the loopback, with its own origin and its own directories, so
//! that all may run at once. A test knows the command line, the configuration, the wire and the metrics; it
//! knows nothing of the code. Nothing waits for a time to pass and hopes: gates hold the origin where the
//! claim needs it, and conditions are waited for under a deadline.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; clippy knows only functions marked as tests"
)]
#![allow(clippy::print_stderr, reason = "a failed test shows the edge's logs")]

mod support;

mod admin_api;
mod bad_input;
mod bad_origins;
mod coalescing;
mod command;
mod commands;
mod conditional;
mod connections;
mod counting;
mod dates;
mod directives;
mod directory;
mod disconnected;
mod disk;
mod expect;
mod forwarding;
mod freshness;
mod handover;
mod harness;
mod head;
mod hits;
mod hostile_images;
mod interim;
mod invalidation;
mod large;
mod leaks;
mod live;
mod logging;
mod methods;
mod negotiation;
mod observing;
mod parameters;
mod partial;
mod protocols;
mod purging;
mod purging_ways;
mod ranges;
mod refusals;
mod reloading;
mod sharing;
mod stale;
mod stopping;
mod storing;
mod tracing;
mod trailers;
mod urls;
mod variant_content;
mod variant_pool;
mod variant_rules;
mod variants;
mod vary;
