//! Orders, receipts and what followers say, as the messages of the `Log` service.
//!
//! Invariant: what is read is whole and within its bounds, or refused; a refusal keeps its meaning on the way. It does not know
//! how messages travel.

use crate::base::clock::Timestamp;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::PurgeWay;
use crate::cluster::config::is_name;
use crate::purge::follow::{Fetch, Fetched, News};
use crate::purge::log::LogError;
use crate::purge::order::{Minimum, Mode, OnceKey, Order, PurgeId};
use crate::purge::receipt::{Applied, Receipt, State};
use crate::purge::{FedEntry, Grant, Holder, OrderError};
use crate::scope::Scope;
use crate::wire;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
#[path = "log_words_tests.rs"]
mod tests;

/// A part of a message is missing, or is none of what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or malformed")]
pub struct Malformed(pub(super) &'static str);

fn bytes16(bytes: &[u8], name: &'static str) -> Result<[u8; 16], Malformed> {
    bytes.try_into().map_err(|_| Malformed(name))
}

fn copied(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(super) fn holder(node: &str, process: &[u8]) -> Result<Holder, Malformed> {
    if !is_name(node) {
        return Err(Malformed("node"));
    }
    Ok(Holder {
        node: node.into(),
        process: bytes16(process, "process")?,
    })
}

pub(super) fn purge_id(bytes: &[u8]) -> Result<PurgeId, Malformed> {
    Ok(PurgeId::from_bytes(bytes16(bytes, "purge_id")?))
}

pub(super) fn incarnation(bytes: &[u8]) -> Result<Incarnation, Malformed> {
    Ok(Incarnation::from_bytes(bytes16(bytes, "incarnation")?))
}

impl From<Fetch> for wire::FetchRequest {
    fn from(fetch: Fetch) -> Self {
        let incarnation = fetch
            .incarnation
            .map(|incarnation| copied(incarnation.as_bytes()));
        wire::FetchRequest {
            node: fetch.holder.node.to_string(),
            process: copied(&fetch.holder.process),
            incarnation: incarnation.unwrap_or_default(),
            applied: fetch.applied.number(),
            patience_ms: fetch.patience.as_millis() as u64,
        }
    }
}

impl TryFrom<wire::FetchRequest> for Fetch {
    type Error = Malformed;

    fn try_from(request: wire::FetchRequest) -> Result<Self, Malformed> {
        let known = (!request.incarnation.is_empty()).then(|| incarnation(&request.incarnation));
        Ok(Fetch {
            holder: holder(&request.node, &request.process)?,
            incarnation: known.transpose()?,
            applied: PurgeIndex::from_number(request.applied),
            patience: Duration::from_millis(request.patience_ms),
        })
    }
}

impl From<Fetched> for wire::FetchResponse {
    fn from(fetched: Fetched) -> Self {
        use wire::fetch_response::News as Word;
        let (news, entries, grant) = match fetched.news {
            News::OtherLog => (Word::OtherLog, Vec::new(), None),
            News::SnapshotNeeded => (Word::SnapshotNeeded, Vec::new(), None),
            News::WentBack => (Word::WentBack, Vec::new(), None),
            News::Entries { entries, grant } => (Word::Entries, entries, grant),
        };
        let entries = entries.into_iter().map(|entry| wire::LogEntry {
            index: entry.index.number(),
            batch: entry.batch,
        });
        wire::FetchResponse {
            incarnation: copied(fetched.incarnation.as_bytes()),
            last: fetched.last.number(),
            news: news.into(),
            entries: entries.collect(),
            grant: grant.map(|grant| wire::Grant {
                // Never more than what the voter waits for.
                lease_ms: grant.lease.as_millis() as u64,
                barrier: grant.barrier.number(),
            }),
        }
    }
}

impl TryFrom<wire::FetchResponse> for Fetched {
    type Error = Malformed;

    fn try_from(response: wire::FetchResponse) -> Result<Self, Malformed> {
        use wire::fetch_response::News as Word;
        let word = Word::try_from(response.news).map_err(|_| Malformed("news"))?;
        let entries = response.entries.into_iter().map(|entry| FedEntry {
            index: PurgeIndex::from_number(entry.index),
            batch: entry.batch,
        });
        let grant = response.grant.map(|grant| Grant {
            lease: Duration::from_millis(grant.lease_ms),
            barrier: PurgeIndex::from_number(grant.barrier),
        });
        Ok(Fetched {
            incarnation: incarnation(&response.incarnation)?,
            last: PurgeIndex::from_number(response.last),
            news: match word {
                Word::OtherLog => News::OtherLog,
                Word::SnapshotNeeded => News::SnapshotNeeded,
                Word::WentBack => News::WentBack,
                Word::Entries => News::Entries {
                    entries: entries.collect(),
                    grant,
                },
            },
        })
    }
}

fn scope_word(scope: Scope) -> wire::Scope {
    use wire::scope::Kind;
    let (kind, host, text) = match scope {
        Scope::Url { host, path } => (Kind::Url, host, path),
        Scope::Exact { host, path_and_query } => (Kind::Exact, host, path_and_query),
        Scope::Prefix { host, path } => (Kind::Prefix, host, path),
        Scope::Tag(tag) => (Kind::Tag, String::new(), tag),
        Scope::Host(host) => (Kind::Host, host, String::new()),
        Scope::All => (Kind::All, String::new(), String::new()),
    };
    wire::Scope {
        kind: kind.into(),
        host,
        text,
    }
}

fn scope(word: wire::Scope) -> Result<Scope, Malformed> {
    use wire::scope::Kind;
    let wire::Scope { kind, host, text } = word;
    Ok(match Kind::try_from(kind).map_err(|_| Malformed("scope"))? {
        Kind::Url => Scope::Url { host, path: text },
        Kind::Exact => Scope::Exact {
            host,
            path_and_query: text,
        },
        Kind::Prefix => Scope::Prefix { host, path: text },
        Kind::Tag => Scope::Tag(text),
        Kind::Host => Scope::Host(host),
        Kind::All => Scope::All,
    })
}

impl From<Order> for wire::SubmitRequest {
    fn from(order: Order) -> Self {
        use wire::submit_request::{Once, Way};
        let way = match order.way {
            PurgeWay::Api => Way::Api,
            PurgeWay::Webhook => Way::Webhook,
            PurgeWay::Method => Way::Method,
        };
        wire::SubmitRequest {
            scopes: order.scopes.into_iter().map(scope_word).collect(),
            soft: order.mode == Mode::Soft,
            minimum: order.minimum.map(minimum_word),
            once: order.once.map(|once| Once {
                name: once.name,
                request: copied(&once.request),
                sent_at_s: once.sent_at_s,
            }),
            way: way.into(),
            by: order.by,
        }
    }
}

fn minimum_word(minimum: Minimum) -> wire::submit_request::Minimum {
    let (entity_tag, header, at_least) = match minimum {
        Minimum::EntityTag(entity_tag) => (entity_tag, String::new(), 0),
        Minimum::Version { header, at_least } => (String::new(), header, at_least),
    };
    wire::submit_request::Minimum {
        entity_tag,
        header,
        at_least,
    }
}

fn minimum(word: wire::submit_request::Minimum) -> Minimum {
    match word.entity_tag.is_empty() {
        false => Minimum::EntityTag(word.entity_tag),
        true => Minimum::Version {
            header: word.header,
            at_least: word.at_least,
        },
    }
}

impl TryFrom<wire::SubmitRequest> for Order {
    type Error = Malformed;

    fn try_from(request: wire::SubmitRequest) -> Result<Self, Malformed> {
        use wire::submit_request::Way;
        let once = request.once.map(|once| {
            Ok(OnceKey {
                name: once.name,
                request: bytes16(&once.request, "once")?,
                sent_at_s: once.sent_at_s,
            })
        });
        let scopes: Result<Vec<Scope>, Malformed> = request.scopes.into_iter().map(scope).collect();
        Ok(Order {
            scopes: scopes?,
            mode: match request.soft {
                true => Mode::Soft,
                false => Mode::Hard,
            },
            minimum: request.minimum.map(minimum),
            once: once.transpose()?,
            way: match Way::try_from(request.way).map_err(|_| Malformed("way"))? {
                Way::Api => PurgeWay::Api,
                Way::Webhook => PurgeWay::Webhook,
                Way::Method => PurgeWay::Method,
            },
            by: request.by,
        })
    }
}

impl From<Receipt> for wire::PurgeReceipt {
    fn from(receipt: Receipt) -> Self {
        use wire::purge_receipt::{Applied as AppliedWord, State as Word};
        let applied = receipt.nodes.into_iter().map(|applied| AppliedWord {
            node: applied.id,
            at_ms: applied.applied_at.map_or(0, Timestamp::as_millis),
            lag_ms: applied.lag_ms,
        });
        let state = match receipt.state {
            State::Applied => Word::Applied,
            State::Pending => Word::Pending,
            State::Failed => Word::Failed,
        };
        wire::PurgeReceipt {
            purge_id: copied(receipt.purge_id.as_bytes()),
            index: receipt.index.map_or(0, PurgeIndex::number),
            committed_at_ms: receipt.committed_at.map_or(0, Timestamp::as_millis),
            applied: applied.collect(),
            fenced: receipt.fenced,
            state: state.into(),
            duplicate: receipt.duplicate,
        }
    }
}

impl TryFrom<wire::PurgeReceipt> for Receipt {
    type Error = Malformed;

    fn try_from(receipt: wire::PurgeReceipt) -> Result<Self, Malformed> {
        use wire::purge_receipt::State as Word;
        let time = |millis: u64| (millis > 0).then(|| Timestamp::from_millis(millis));
        let nodes = receipt.applied.into_iter().map(|applied| Applied {
            id: applied.node,
            applied_at: time(applied.at_ms),
            lag_ms: applied.lag_ms,
        });
        Ok(Receipt {
            purge_id: purge_id(&receipt.purge_id)?,
            index: (receipt.index > 0).then(|| PurgeIndex::from_number(receipt.index)),
            committed_at: time(receipt.committed_at_ms),
            nodes: nodes.collect(),
            fenced: receipt.fenced,
            state: match Word::try_from(receipt.state).map_err(|_| Malformed("state"))? {
                Word::Applied => State::Applied,
                Word::Pending => State::Pending,
                Word::Failed => State::Failed,
            },
            duplicate: receipt.duplicate,
        })
    }
}

/// How an order ended, for the node that passed it on.
pub(super) fn answer(end: Result<Receipt, OrderError>) -> wire::SubmitResponse {
    match end {
        Ok(receipt) => wire::SubmitResponse {
            receipt: Some(receipt.into()),
            refusal: None,
        },
        Err(error) => refused(error),
    }
}

fn refused(error: OrderError) -> wire::SubmitResponse {
    use wire::refusal::Why;
    let (mut text, mut purge_id, mut receipt) = (String::new(), Bytes::new(), None);
    let why = match error {
        OrderError::Busy => Why::Busy,
        OrderError::Stopping => Why::Stopping,
        OrderError::Lost => Why::Lost,
        OrderError::Contested => Why::Contested,
        OrderError::TooManyRemembered => Why::TooManyRemembered,
        OrderError::Conflict(other) => {
            purge_id = copied(other.as_bytes());
            Why::Conflict
        }
        OrderError::Replayed(earlier) => {
            receipt = Some((*earlier).into());
            Why::Replayed
        }
        OrderError::Unreachable(cause) => {
            text = cause;
            Why::Failed
        }
        OrderError::Log(cause) => match &*cause {
            LogError::Full => Why::Full,
            LogError::Closed => Why::Closed,
            other => {
                text = log_text(other);
                Why::Failed
            }
        },
    };
    let refusal = wire::Refusal {
        why: why.into(),
        purge_id,
        text,
    };
    wire::SubmitResponse {
        receipt,
        refusal: Some(refusal),
    }
}

fn log_text(error: &LogError) -> String {
    match error {
        LogError::Write(cause) => cause.clone(),
        other => other.to_string(),
    }
}

/// What [`answer`] was told.
pub(super) fn end(response: wire::SubmitResponse) -> Result<Result<Receipt, OrderError>, Malformed> {
    use wire::refusal::Why;
    let receipt = response.receipt.map(Receipt::try_from).transpose()?;
    let Some(refusal) = response.refusal else {
        return receipt.map(Ok).ok_or(Malformed("receipt"));
    };
    let log = |error: LogError| OrderError::Log(Arc::new(error));
    let error = match Why::try_from(refusal.why).map_err(|_| Malformed("refusal"))? {
        Why::Busy => OrderError::Busy,
        Why::Stopping => OrderError::Stopping,
        Why::Lost => OrderError::Lost,
        Why::Contested => OrderError::Contested,
        Why::TooManyRemembered => OrderError::TooManyRemembered,
        Why::Conflict => OrderError::Conflict(purge_id(&refusal.purge_id)?),
        Why::Replayed => OrderError::Replayed(Box::new(receipt.ok_or(Malformed("receipt"))?)),
        Why::Full => log(LogError::Full),
        Why::Closed => log(LogError::Closed),
        Why::Failed => log(LogError::Write(refusal.text)),
    };
    Ok(Err(error))
}
