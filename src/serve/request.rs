//! A request as the engine is asked it.
//!
//! Invariant: it has been admitted: one host, a path in origin-form. It does not know sessions.

use crate::base::clock::Timestamp;
use crate::key::Scheme;
use crate::trace::Trace;
use http::{HeaderMap, HeaderValue, Method, Version};
use std::net::IpAddr;

/// The facts of a request that its answer may depend on.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    pub(crate) scheme: Scheme,
    /// With its port, as the client sent it.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: IpAddr,
    /// By which logs of every hop know it.
    pub(crate) id: &'a HeaderValue,
    pub(crate) trace: &'a Trace,
    pub(crate) received_at: Timestamp,
}

impl Request<'_> {
    /// Whether it may be answered from the cache.
    pub(crate) fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}
