//! A request as the engine is asked it.
//!
//! Invariant: it has been admitted: one host, a path in origin-form. It does not know sessions.

use crate::base::clock::Timestamp;
use crate::cluster::question::Errand;
use crate::key::Scheme;
use crate::key::{CacheKey, KeyName};
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
    pub(crate) asked_by: AskedBy,
}

/// Who has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    Client,
    /// Another node: nothing is passed on to a third that it may have come from.
    Peer {
        errand: Errand,
        /// That it has found.
        key: KeyName,
    },
}

impl Request<'_> {
    /// Whether another node has come to another key for it: its routes are others, as while a change of them spreads.
    pub(crate) fn is_misdirected(&self, key: &CacheKey) -> bool {
        match self.asked_by {
            AskedBy::Client => false,
            AskedBy::Peer { key: found, .. } => found != key.name(),
        }
    }

    /// Whether another node asks for a source as it is stored.
    pub(crate) fn wants_source(&self) -> bool {
        matches!(
            self.asked_by,
            AskedBy::Peer {
                errand: Errand::Fill | Errand::Look,
                ..
            }
        )
    }

    /// Whether nobody is to be asked for it.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(
            self.asked_by,
            AskedBy::Peer {
                errand: Errand::Look,
                ..
            }
        )
    }

    /// Whether it may be answered from the cache.
    pub(crate) fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }
}
