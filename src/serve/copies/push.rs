//! One copy on its way to another owner.
//!
//! 1. it is offered: the other says whether it wants it, and whether with its body;
//! 2. it is read again, and written for the way: what has been renewed or removed meanwhile is not sent as it was;
//! 3. it is sent, with the body or without.
//!
//! Invariant: what was removed here before it was offered there is not sent. It does not know why it is sent.

use super::Shared;
use super::network::Home;
use crate::base::clock;
use crate::base::metrics::PushResult;
use crate::cluster::member::Member;
use crate::cluster::node_client::{Offered, Parcel, Pushed, TellError};
use crate::key::CacheKey;
use crate::store::{Body, Entry, Store, TRAVEL_BYTES_MAX};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::sync::Arc;

impl Shared {
    /// To every other owner.
    pub(super) async fn push_to_others(&self, home: &Home, key: &CacheKey) {
        for owner in self.network.owners(home).others() {
            self.push(owner, key).await;
        }
    }

    /// `None` when there is nothing to push any more.
    pub(super) async fn push(&self, to: &Member, key: &CacheKey) -> Option<PushResult> {
        let result = match self.try_push(to, key).await {
            Ok(Some(Pushed::Stored)) => PushResult::Stored,
            Ok(Some(Pushed::Refused)) => PushResult::Refused,
            Ok(None) => return None,
            Err(error) => {
                tracing::debug!(peer = to.id.as_str(), %error, "a copy was not pushed");
                PushResult::Failed
            }
        };
        self.metrics.cluster_pushes[result].inc();
        Some(result)
    }

    async fn try_push(&self, to: &Member, key: &CacheKey) -> Result<Option<Pushed>, TellError> {
        let Some((offered, bytes)) = self.to_travel(key).await else {
            return Ok(None);
        };
        let answer = self.network.offer(to, bytes).await?;
        let Some((entry, bytes)) = self.to_travel(key).await else {
            return Ok(None);
        };
        let (ticket, body) = match answer {
            Offered::Unwanted => return Ok(Some(Pushed::Refused)),
            Offered::Entry(ticket) if entry.body == offered.body => (ticket, stream::empty().boxed()),
            // It has got another body meanwhile, and waits anew.
            Offered::Entry(_) => return Ok(None),
            Offered::Whole(ticket) => (ticket, body(self.store.clone(), entry.body)),
        };
        let parcel = Parcel {
            entry: bytes,
            ticket,
            body,
        };
        self.network.push(to, parcel).await.map(Some)
    }

    /// What is stored, written for the way as of now.
    async fn to_travel(&self, key: &CacheKey) -> Option<(Arc<Entry>, Bytes)> {
        let (entry, _) = self.store.peek_entry(key).await?;
        let bytes = entry.to_travel(&self.purges.incarnation(), clock::now());
        (bytes.len() <= TRAVEL_BYTES_MAX).then_some((entry, bytes))
    }
}

/// Part after part, until one is gone: the receiver finds out what is missing.
fn body(store: Store, body: Body) -> BoxStream<'static, Bytes> {
    let parts = stream::iter(body.parts());
    let read = parts.then(move |id| {
        let store = store.clone();
        async move {
            match store.peek_part(&id) {
                Some(part) => Some(part),
                None => store.load_part(&id).await,
            }
        }
    });
    read.take_while(|part| std::future::ready(part.is_some()))
        .filter_map(std::future::ready)
        .boxed()
}
