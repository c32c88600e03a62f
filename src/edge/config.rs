//! The listeners and what a client may ask of them.

pub use super::access_log::config::AccessLog;

use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Clear text: HTTP/1.1, and HTTP/2 by prior knowledge.
    pub listen: SocketAddr,
    pub tls: Option<Tls>,
    /// Worker threads; 0 is one for each core.
    pub threads: usize,
    /// Connections open at once on each listener; further ones are closed unanswered.
    pub connections_max: usize,
    /// Requests answered on one HTTP/1.1 connection before it is closed.
    pub keepalive_requests: u32,
    /// How long a connection may be idle.
    pub keepalive_idle: Span,
    /// Requests under way at once on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// From an HTTP/1.1 request's first byte to the end of its header.
    pub header_deadline: Span,
    /// How long a client may take to accept the next part of an answer.
    pub write_deadline: Span,
    /// How long a client may take to send the next part of a body.
    pub read_deadline: Span,
    pub url_bytes_max: ByteSize,
    pub header_bytes_max: ByteSize,
    pub headers_max: usize,
    /// Body of a request that is passed through.
    pub body_bytes_max: ByteSize,
    /// Ranges of one request; beyond it the whole body is sent.
    pub ranges_max: usize,
    /// After SIGTERM: how long the edge still answers as not ready, so that load balancers turn away.
    pub drain_delay: Span,
    /// How long requests and fills under way may take to end after that; closing the cache and the log may take as
    /// long again each, and one second at least.
    pub drain_deadline: Span,
    /// How long another process that is to take this one's place may take to start, and again to open the cache.
    pub handover_deadline: Span,
    /// The name this edge carries in `Via` and `Cache-Status`.
    pub name: String,
    pub access_log: AccessLog,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub listen: SocketAddr,
    /// PEM, the leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    pub listen: SocketAddr,
    /// How long a request may take to arrive, a connection's idle time with it, and how long its answer may take
    /// to be accepted.
    pub deadline: Span,
    /// Body of a request to the API, but for orders of purges.
    pub body_bytes_max: ByteSize,
    /// Images that the edge asks itself for at once (`/api/v1/warm`); beyond it they are answered 429.
    pub warm_max: usize,
    /// How long one of them may take.
    pub warm_deadline: Span,
    /// Rows that `/api/v1/top` answers at most.
    pub top_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            tls: None,
            threads: 0,
            connections_max: 50_000,
            keepalive_requests: 10_000,
            keepalive_idle: Span::secs(60),
            http2_streams_max: 128,
            header_deadline: Span::secs(10),
            write_deadline: Span::secs(30),
            read_deadline: Span::secs(30),
            url_bytes_max: ByteSize::kib(8),
            header_bytes_max: ByteSize::kib(32),
            headers_max: 100,
            body_bytes_max: ByteSize::mib(16),
            ranges_max: 16,
            drain_delay: Span::secs(0),
            drain_deadline: Span::secs(30),
            handover_deadline: Span::secs(300),
            name: "aquatint".into(),
            access_log: AccessLog::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            deadline: Span::secs(10),
            body_bytes_max: ByteSize::kib(64),
            warm_max: 16,
            warm_deadline: Span::secs(120),
            top_max: 1000,
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        problems.check("threads", self.threads, 0..=1024);
        problems.check("connections_max", self.connections_max, 1..=10_000_000);
        problems.check("keepalive_requests", self.keepalive_requests, 1..=u32::MAX);
        problems.check(
            "keepalive_idle",
            self.keepalive_idle,
            Span::secs(1)..=Span::days(1),
        );
        problems.check("http2_streams_max", self.http2_streams_max, 1..=10_000);
        for (key, span) in [
            ("header_deadline", self.header_deadline),
            ("write_deadline", self.write_deadline),
            ("read_deadline", self.read_deadline),
        ] {
            problems.check(key, span, Span::millis(100)..=Span::days(1));
        }
        problems.check("drain_delay", self.drain_delay, Span::secs(0)..=Span::days(1));
        problems.check(
            "drain_deadline",
            self.drain_deadline,
            Span::secs(0)..=Span::days(1),
        );
        problems.check(
            "handover_deadline",
            self.handover_deadline,
            Span::secs(1)..=Span::days(1),
        );
        problems.check(
            "url_bytes_max",
            self.url_bytes_max,
            ByteSize(64)..=ByteSize::kib(64),
        );
        problems.check(
            "header_bytes_max",
            self.header_bytes_max,
            ByteSize::kib(1)..=ByteSize::mib(1),
        );
        problems.check("headers_max", self.headers_max, 1..=256);
        problems.check(
            "body_bytes_max",
            self.body_bytes_max,
            ByteSize(0)..=ByteSize::gib(64),
        );
        problems.check("ranges_max", self.ranges_max, 1..=1000);
        problems.below("access_log", |p| self.access_log.validate(p));
        if !self
            .name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            || self.name.is_empty()
        {
            problems.refuse("name", &self.name, "letters, digits, -, . and _");
        }
    }
}

impl Admin {
    pub fn validate(&self, problems: &mut Problems) {
        let deadline = Span::millis(100)..=Span::days(1);
        problems.check("deadline", self.deadline, deadline.clone());
        let body = ByteSize::kib(1)..=ByteSize::mib(16);
        problems.check("body_bytes_max", self.body_bytes_max, body);
        problems.check("warm_max", self.warm_max, 1..=10_000);
        problems.check("warm_deadline", self.warm_deadline, deadline);
        problems.check("top_max", self.top_max, 1..=100_000);
    }
}
