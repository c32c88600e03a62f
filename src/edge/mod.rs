//! HTTP in and out: the listeners, what a request may look like, and how an answer is sent.
//!
//! Invariant: every request is answered once, from a `Served`, or its connection is
//! closed. With `upstream/` the only home of pingora.

pub(crate) mod access_log;
pub(crate) mod admin;
mod advice;
pub mod config;
pub(crate) mod connection;
mod date;
mod ended;
mod guard;
mod interim;
pub(crate) mod lifecycle;
pub mod listen;
pub(crate) mod peers;
pub(crate) mod purging;
mod request_body;
mod request_id;
mod respond;
mod send;
pub(crate) mod server;
pub(crate) mod settings;
mod unserved;
