//! Copies: what is stored on one node and is to be on others, or is answered by others for a while.
//!
//! 1. what the primary of a key stores is pushed to the key's other owners ([`push`], [`receive`]);
//! 2. keys that their owners call hot are answered here for a while, and their hits told ([`hot`], [`report`]);
//! 3. what an unsafe request has changed is told to the owners before its client hears of it;
//! 4. a node that leaves gives what it has to those who own it next ([`hand_over`]).
//!
//! Invariant: a copy has the epoch, tags and age of its source, and is served by the same rule; no client waits for any of this
//! but for what its own unsafe request has changed, and then not for long. A node alone does nothing of it. It does not know
//! connections.

mod engine;
mod hand_over;
mod hot;
mod network;
mod push;
mod queue;
mod receive;
mod report;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use network::Network;
pub(crate) use network::{Home, InCluster};
pub(crate) use receive::{Receiver, Refusal};
pub(crate) use report::REPORT_KEYS_MAX;

use crate::base::clock;
use crate::base::metrics::{HotCopyResult, Metrics, Observer};
use crate::cluster::config::Config;
use crate::cluster::hot::{Heat, TICK, Temperature};
use crate::cluster::member::{Member, NodeId};
use crate::key::{CacheKey, KeyName};
use crate::purge::Purges;
use crate::store::Store;
use hot::{Counted, HotKeys};
use parking_lot::Mutex;
use queue::{Queue, Waiting};
use receive::ARRIVAL_UNIT;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// A cheap handle to the copies of this node; of a node alone there are none.
#[derive(Clone)]
pub(crate) struct Copies(Option<Arc<Open>>);

/// With its tasks, which end with it.
struct Open {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    /// What gives this node's keys away, while it drains.
    handing_over: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What the tasks need too.
struct Shared {
    network: Arc<dyn Network>,
    store: Store,
    purges: Purges,
    /// Of keys that are asked for here.
    heat: Heat,
    /// Of other nodes.
    hot: HotKeys,
    queue: Queue,
    pushes_max: usize,
    /// Memory for bodies that arrive, in [`ARRIVAL_UNIT`].
    arriving: Arc<Semaphore>,
    arriving_bytes_max: u64,
    handover_bytes_max: u64,
    log_patience: Duration,
    metrics: Arc<Metrics>,
}

/// Where what is stored may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    Everywhere,
    /// It is another node's: never to the SSD.
    Memory,
}

impl Copies {
    /// Of a node alone.
    pub(crate) fn none() -> Self {
        Copies(None)
    }

    /// Of a node in a cluster, on the current tokio runtime.
    pub(crate) fn start(
        config: &Config,
        network: Arc<dyn Network>,
        store: Store,
        purges: Purges,
        metrics: Arc<Metrics>,
    ) -> Self {
        let arriving_bytes_max = config.arriving_bytes_max.bytes();
        let arriving = (arriving_bytes_max.div_ceil(ARRIVAL_UNIT)).min(u32::MAX.into()) as usize;
        let (queue, waiting) = queue::queue(config.push_queue_bytes_max.bytes(), metrics.clone());
        let shared = Arc::new(Shared {
            network,
            store,
            purges,
            heat: Heat::new(config),
            hot: HotKeys::new(config, metrics.clone()),
            queue,
            pushes_max: config.pushes_max,
            arriving: Arc::new(Semaphore::new(arriving.min(Semaphore::MAX_PERMITS))),
            arriving_bytes_max,
            handover_bytes_max: config.handover_bytes_max.bytes(),
            log_patience: config.log_patience.get(),
            metrics,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(push_what_waits(shared.clone(), waiting));
        let (reporting, each) = (shared.clone(), config.report_interval.get());
        tasks.spawn(async move { reporting.report_for_ever(each).await });
        tasks.spawn(let_heat_fade(shared.clone()));
        let metrics = shared.metrics.clone();
        let open = Arc::new(Open {
            shared,
            tasks: Mutex::new(tasks),
            handing_over: Mutex::default(),
        });
        let observer = Arc::downgrade(&open);
        metrics.observed_by(observer);
        Copies(Some(open))
    }

    /// An entry has been stored under `key`, with a body of so many bytes: where this node is the key's primary, the other
    /// owners get it.
    pub(crate) fn stored(&self, home: &Home, key: &CacheKey, body_bytes: u64) {
        if let Some(shared) = self.shared()
            && shared.network.owners(home).is_primary()
        {
            shared.queue.offer(home.clone(), key.clone(), body_bytes);
        }
    }

    /// What may become of an entry that is stored here.
    pub(crate) fn keeping(&self, home: &Home) -> Keeping {
        match self.shared().map(|shared| shared.network.owners(home)) {
            Some(owners) if !owners.is_own() && owners.primary.is_some() => Keeping::Memory,
            _ => Keeping::Everywhere,
        }
    }

    /// The key's owner has called it hot, in answer to a request for it.
    pub(crate) fn heard_hot(&self, home: &Home) {
        if let Some(shared) = self.shared() {
            shared.hot.hear(home, clock::monotonic());
        }
    }

    /// A fill for a key has come to its end here; where it is another node's that is hot, it was to be a copy.
    pub(crate) fn filled(&self, url: &KeyName, result: HotCopyResult) {
        if let Some(shared) = self.shared() {
            shared.hot.tell(url, result);
        }
    }

    /// Whether a key of other nodes is to be answered here.
    pub(crate) fn is_hot(&self, url: &KeyName) -> bool {
        let shared = self.shared();
        shared.is_some_and(|shared| shared.hot.is_hot(url, clock::monotonic()))
    }

    /// Notes a request that was answered from memory here: a hit on a copy for its owner, any other for this node.
    pub(crate) fn note_hit(&self, url: &KeyName) {
        if let Some(shared) = self.shared()
            && shared.hot.count(url) == Counted::No
        {
            shared.heat.note(*url);
        }
    }

    /// Notes a request that is answered here and not from memory.
    pub(crate) fn note_request(&self, url: &KeyName) -> Temperature {
        let note = |shared: &Arc<Shared>| shared.heat.note(*url);
        self.shared().map_or(Temperature::Cold, note)
    }

    /// How hot a key is that is asked for here.
    pub(crate) fn temperature(&self, url: &KeyName) -> Temperature {
        let look = |shared: &Arc<Shared>| shared.heat.temperature(*url);
        self.shared().map_or(Temperature::Cold, look)
    }

    /// Tells the owners what is invalid from now on; returns when they know, or have not answered in time.
    pub(crate) async fn changed(&self, keys: Vec<(Home, CacheKey)>) {
        let Some(shared) = self.shared() else { return };
        let mut told: HashMap<NodeId, (Arc<Member>, Vec<String>)> = HashMap::new();
        for (home, key) in keys {
            let owners = shared.network.owners(&home);
            let distant = owners.primary.iter().filter(|_| !owners.is_primary());
            let distant = distant.filter(|primary| owners.owners.iter().all(|owner| owner.id != primary.id));
            for owner in owners.others().chain(distant) {
                let of_owner = told.entry(owner.id.clone());
                let (_, texts) = of_owner.or_insert_with(|| (owner.clone(), Vec::new()));
                texts.push(key.text().to_owned());
            }
        }
        let sends = told.into_values().map(async |(owner, texts)| {
            if let Err(error) = shared.network.invalidate(&owner, texts).await {
                tracing::warn!(peer = owner.id.as_str(), %error, "a peer was not told what has changed");
            }
        });
        futures::future::join_all(sends).await;
    }

    /// Hits on copies that another node tells.
    pub(crate) fn reported(&self, hits: impl Iterator<Item = (KeyName, u64)>) {
        if let Some(shared) = self.shared() {
            shared.reported(hits);
        }
    }

    /// Gives what is here to those who own it without this node, for as long as `deadline`.
    pub(crate) async fn hand_over(&self, place: impl Fn(&CacheKey) -> Option<Home>, deadline: Duration) {
        if let Some(shared) = self.shared()
            && timeout(deadline, shared.hand_over(place)).await.is_err()
        {
            tracing::info!("not all that is here was given to other nodes in time");
        }
    }

    /// Has `work` done behind, until it has come to its end or [`Copies::end_hand_over`] comes.
    pub(crate) fn hand_over_behind(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(open) = &self.0 {
            *open.handing_over.lock() = Some(AbortOnDropHandle::new(tokio::spawn(work)));
        }
    }

    /// Nothing more is given away behind.
    pub(crate) fn end_hand_over(&self) {
        if let Some(open) = &self.0 {
            open.handing_over.lock().take();
        }
    }

    /// Pushes and reports end; what waits is not sent.
    pub(crate) async fn close(&self) {
        self.end_hand_over();
        if let Some(open) = &self.0 {
            let mut tasks = std::mem::take(&mut *open.tasks.lock());
            tasks.shutdown().await;
        }
    }

    fn shared(&self) -> Option<&Arc<Shared>> {
        self.0.as_ref().map(|open| &open.shared)
    }
}

impl Observer for Open {
    fn observe(&self) {
        let hot = self.shared.heat.hottest().len();
        self.shared.metrics.cluster_hot_keys.set(hot as i64);
    }
}

async fn let_heat_fade(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        shared.heat.tick(clock::monotonic());
    }
}

async fn push_what_waits(shared: Arc<Shared>, mut queue: mpsc::Receiver<Waiting>) {
    let at_once = Arc::new(Semaphore::new(shared.pushes_max));
    let mut pushes = JoinSet::new();
    while let Some(waiting) = queue.recv().await {
        while pushes.try_join_next().is_some() {}
        let Ok(permit) = at_once.clone().acquire_owned().await else {
            return;
        };
        let shared = shared.clone();
        pushes.spawn(async move {
            waiting.begin();
            shared.push_to_others(&waiting.home, &waiting.key).await;
            drop(permit);
        });
    }
}
