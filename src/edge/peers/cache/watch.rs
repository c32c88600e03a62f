//! `Watch`: purges as they are applied on this node.
//!
//! Invariant: none is left out: who has fallen too far behind is told so, and hears nothing more. It does not know who watches.

use super::call::Call;
use crate::base::epoch::PurgeIndex;
use crate::purge::Purges;
use crate::purge::recent::{TooFarBack, Watched};
use crate::wire::WatchResponse;
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::VecDeque;
use tokio::sync::watch::Receiver;
use tonic::Status;

struct Watching {
    purges: Purges,
    /// The next index that is to be told.
    next: PurgeIndex,
    ready: VecDeque<Watched>,
    latest: Receiver<PurgeIndex>,
    call: Call,
}

/// From an index on; 0 is what comes next.
pub(super) fn from(
    purges: Purges,
    from: PurgeIndex,
    call: Call,
) -> Result<BoxStream<'static, Result<WatchResponse, Status>>, Status> {
    let next = match from {
        PurgeIndex::NONE => after(purges.applied()),
        from => from,
    };
    let latest = purges.watch();
    let ready = purges.applied_since(next).map_err(too_far_back)?;
    let watching = Watching {
        ready: ready.into(),
        purges,
        next,
        latest,
        call,
    };
    let told = stream::unfold(Some(watching), async |watching| {
        let mut watching = watching?;
        match watching.next().await {
            Ok(None) => None,
            Ok(Some(entry)) => Some((Ok(told(&entry)), Some(watching))),
            Err(status) => Some((Err(status), None)),
        }
    });
    Ok(told.boxed())
}

impl Watching {
    async fn next(&mut self) -> Result<Option<Watched>, Status> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.next = after(entry.index);
                return Ok(Some(entry));
            }
            self.latest.borrow_and_update();
            self.ready = self.purges.applied_since(self.next).map_err(too_far_back)?.into();
            if !self.ready.is_empty() {
                continue;
            }
            let changed = async { Ok(self.latest.changed().await) };
            if self.call.within(changed).await?.is_err() {
                return Ok(None);
            }
        }
    }
}

fn after(index: PurgeIndex) -> PurgeIndex {
    PurgeIndex::from_number(index.number() + 1)
}

fn too_far_back(error: TooFarBack) -> Status {
    Status::out_of_range(error.to_string())
}

fn told(entry: &Watched) -> WatchResponse {
    WatchResponse {
        index: entry.index.number(),
        scopes: entry.scopes.iter().map(ToString::to_string).collect(),
    }
}
