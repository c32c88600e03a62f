//! What other nodes ask of this one about copies, as the engine answers it.
//!
//! Invariant: as in [`super::receive`]; where a key belongs is said by this node's own routes. It does not know how it was asked.

use super::{Copies, Home, Receiver, Refusal};
use crate::cluster::node_client::Offered;
use crate::key::{CacheKey, KeyName};
use crate::serve::Engine;
use crate::serve::route::Route;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Home {
    pub(crate) fn by(url: KeyName, route: &Route) -> Self {
        Home {
            url,
            pool: route.pool.clone(),
        }
    }
}

impl Engine {
    /// Where a key belongs; `None` where no route covers it.
    pub(crate) fn home(&self, key: &CacheKey) -> Option<Home> {
        let path = key.path_and_query().split('?').next().unwrap_or_default();
        let routes = self.routes.load();
        let route = routes.find(key.host(), path)?;
        Some(Home::by(key.url_name(), route))
    }

    pub(crate) fn copies(&self) -> &Copies {
        &self.fills.copies
    }

    /// # Errors
    /// When nothing is wanted of what is offered, and why.
    pub(crate) async fn offered(&self, entry: &Bytes) -> Result<Offered, Refusal> {
        let receiver = self.receiver()?;
        receiver.offered(entry, |key| self.home(key)).await
    }

    /// Takes a copy's parts as they come.
    ///
    /// # Errors
    /// On a node alone.
    pub(crate) fn receiver(&self) -> Result<Receiver<'_>, Refusal> {
        let shared = self.fills.copies.shared().ok_or(Refusal::NotOurs)?;
        Ok(Receiver {
            shared,
            invalidations: &self.fills.invalidations,
        })
    }

    /// What an unsafe request has changed, as another node tells it.
    pub(crate) fn invalidated(&self, key_texts: &[String]) {
        for key in key_texts.iter().filter_map(|text| CacheKey::of_url(text)) {
            self.invalidate(&key);
        }
    }

    /// As [`Engine::hand_over`], behind, until [`Copies::end_hand_over`].
    pub(crate) fn begin_hand_over(self: &Arc<Self>, deadline: Duration) {
        let engine = self.clone();
        let giving = async move {
            let copies = &engine.fills.copies;
            copies.hand_over(|key| engine.home(key), deadline).await;
        };
        self.fills.copies.hand_over_behind(giving);
    }

    /// Gives what is here to those who own it without this node; what was begun behind ends.
    pub(crate) async fn hand_over(&self, deadline: Duration) {
        let copies = &self.fills.copies;
        copies.end_hand_over();
        copies.hand_over(|key| self.home(key), deadline).await;
    }
}
