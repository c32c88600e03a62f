//! What a caller gets for a purge: where it stands in the log, and which nodes have applied it.
//!
//! Invariant: `applied` is said only when the guarantee holds: no request that starts from then on is answered with what
//! the purge covers. It does not know HTTP.

use super::order::PurgeId;
use crate::base::clock::Timestamp;
use crate::base::epoch::PurgeIndex;
use serde::{Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    pub purge_id: PurgeId,
    /// `None` while it is not known to be committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<PurgeIndex>,
    /// Wall time of it: when it was handed to the log.
    #[serde(serialize_with = "date", skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Timestamp>,
    /// Nodes that have applied it.
    pub nodes: Vec<Applied>,
    /// Nodes that may serve nothing until they have applied it.
    pub fenced: Vec<String>,
    pub state: State,
    /// Whether it was carried out for an earlier request of the same key or id.
    pub duplicate: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Applied {
    pub id: String,
    /// `None`: before the node's process began.
    #[serde(serialize_with = "date")]
    pub applied_at: Option<Timestamp>,
    /// From `committed_at` until it was applied there.
    pub lag_ms: Option<u64>,
}

impl Receipt {
    /// Of an order that is not known to be in the log.
    pub(super) fn unsettled(purge_id: PurgeId, state: State) -> Self {
        Receipt {
            purge_id,
            index: None,
            committed_at: None,
            nodes: Vec::new(),
            fenced: Vec::new(),
            state,
            duplicate: false,
        }
    }
}

impl Applied {
    pub(super) fn new(id: &str, applied_at: Option<Timestamp>, committed_at: Timestamp) -> Self {
        let lag = applied_at.map(|at| at.since(committed_at));
        Applied {
            id: id.to_owned(),
            applied_at,
            lag_ms: lag.map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The guarantee holds.
    Applied,
    /// It is not known to be committed, and may yet be; or it is, and a node may still serve what it covers.
    Pending,
    /// The log did not take it: it is not acknowledged, though it may yet take effect.
    Failed,
}

/// RFC 3339, in milliseconds.
#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn date<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(&humantime::format_rfc3339_millis(at.as_system_time())),
        None => serializer.serialize_none(),
    }
}
