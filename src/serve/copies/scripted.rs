//! A cluster in one process, for tests: nodes that push to each other without a network, and can be told to go wrong.
//!
//! Invariant: what is said to a node goes through the same doors as over the network.

use super::network::{Home, Network, Owners};
use super::receive::{Receiver, Refusal};
use super::{Copies, Shared};
use crate::base::metrics::Metrics;
use crate::cluster::config::{Config, Role};
use crate::cluster::member::{Generation, Member, NodeId, State};
use crate::cluster::node_client::{Offered, Parcel, Pushed, TellError};
use crate::key::{CacheKey, KeyName};
use crate::purge::Purges;
use crate::serve::invalidations::Invalidations;
use crate::store::Store;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What happens to bodies on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    #[default]
    Sound,
    /// The last byte does not arrive.
    Truncated,
    /// The first byte is another.
    Garbled,
    /// It arrives byte by byte.
    Crumbled,
    /// More arrives than was sent.
    Extended,
    /// Nothing does.
    Cut,
}

/// A node, as it receives.
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) copies: Copies,
    pub(super) invalidations: Invalidations,
    pub(super) metrics: Arc<Metrics>,
}

/// All that is said between nodes.
#[derive(Default)]
pub(super) struct Wire {
    pub(super) nodes: Mutex<HashMap<NodeId, Arc<Node>>>,
    pub(super) way: Mutex<Way>,
    pub(super) refusals: Mutex<Vec<Refusal>>,
    pub(super) invalidated: Mutex<Vec<(NodeId, Vec<String>)>>,
}

/// One node's view: everybody owns everything, in the order of `owners`.
pub(super) struct Scripted {
    pub(super) own: NodeId,
    pub(super) owners: Vec<Arc<Member>>,
    pub(super) wire: Arc<Wire>,
}

pub(super) fn member(name: &str) -> Arc<Member> {
    Arc::new(Member {
        id: NodeId::new(name),
        generation: Generation(1),
        address: ([127, 0, 0, 1], 1).into(),
        zone: "".into(),
        pool: "default".into(),
        weight: 100,
        roles: [Role::Cache].into(),
        state: State::Up,
        load: 0,
        version: "1".into(),
    })
}

pub(super) fn home(key: &CacheKey) -> Home {
    Home {
        url: key.url_name(),
        pool: "default".into(),
    }
}

impl Wire {
    /// A node that is `name` among `owners`.
    pub(super) async fn node(
        self: &Arc<Self>,
        name: &str,
        owners: &[&str],
        purges: &Purges,
        config: &Config,
    ) -> Arc<Node> {
        let network = Scripted {
            own: NodeId::new(name),
            owners: owners.iter().map(|name| member(name)).collect(),
            wire: self.clone(),
        };
        let metrics = Arc::new(Metrics::new());
        let (life, cache) = (purges.incarnation(), Default::default());
        let store = Store::open(&cache, life, metrics.clone()).await.unwrap();
        let copies = Copies::start(config, Arc::new(network), store, purges.clone(), metrics.clone());
        let node = Arc::new(Node {
            shared: copies.shared().unwrap().clone(),
            copies,
            invalidations: Invalidations::new(),
            metrics,
        });
        self.nodes.lock().insert(NodeId::new(name), node.clone());
        node
    }

    fn to(&self, member: &Member) -> Result<Arc<Node>, TellError> {
        let nodes = self.nodes.lock();
        nodes.get(&member.id).cloned().ok_or(TellError::Deadline)
    }

    fn refuse(&self, refusal: Refusal) {
        self.refusals.lock().push(refusal);
    }

    fn spoilt(&self, body: Vec<Bytes>) -> Vec<Bytes> {
        let mut bytes = body.concat();
        match *self.way.lock() {
            Way::Sound => return body,
            Way::Truncated => drop(bytes.pop()),
            Way::Garbled => bytes[0] ^= 1,
            Way::Extended => bytes.push(0),
            Way::Crumbled => return bytes.chunks(1).map(Bytes::copy_from_slice).collect(),
            Way::Cut => return Vec::new(),
        }
        vec![bytes.into()]
    }
}

impl Node {
    pub(super) fn receiver(&self) -> Receiver<'_> {
        Receiver {
            shared: &self.shared,
            invalidations: &self.invalidations,
        }
    }

    async fn take(&self, parcel: Parcel, wire: &Wire) -> Result<(), Refusal> {
        let receiver = self.receiver();
        let mut arriving = receiver.begin(&parcel.entry, &parcel.ticket.0)?;
        for chunk in wire.spoilt(parcel.body.collect().await) {
            receiver.take(&mut arriving, chunk)?;
        }
        receiver.finish(arriving).await
    }
}

#[async_trait]
impl Network for Scripted {
    fn owners(&self, _home: &Home) -> Owners {
        let others = self.owners.iter().filter(|owner| owner.id != self.own);
        Owners {
            own: self.own.clone(),
            primary: self.owners.first().cloned(),
            owners: self.owners.clone(),
            heirs: others.cloned().collect(),
            is_next: false,
        }
    }

    async fn offer(&self, to: &Member, entry: Bytes) -> Result<Offered, TellError> {
        let node = self.wire.to(to)?;
        let offered = node.receiver().offered(&entry, |key| Some(home(key))).await;
        Ok(offered.unwrap_or_else(|refusal| {
            self.wire.refuse(refusal);
            Offered::Unwanted
        }))
    }

    async fn push(&self, to: &Member, parcel: Parcel) -> Result<Pushed, TellError> {
        let node = self.wire.to(to)?;
        match node.take(parcel, &self.wire).await {
            Ok(()) => Ok(Pushed::Stored),
            Err(refusal) => {
                self.wire.refuse(refusal);
                Ok(Pushed::Refused)
            }
        }
    }

    async fn report(&self, to: &Member, hits: &[(KeyName, u64)]) -> Result<(), TellError> {
        let node = self.wire.to(to)?;
        node.copies.reported(hits.iter().copied());
        Ok(())
    }

    async fn invalidate(&self, to: &Member, keys: Vec<String>) -> Result<(), TellError> {
        self.wire.invalidated.lock().push((to.id.clone(), keys));
        Ok(())
    }
}
