//! For tests: a log in memory that does as it is told.

use super::config::Config;
use super::log::{InvalidationLog, LogError};
use super::order::{Batch, Newcomers, PurgeId};
use super::orders::Orders;
use super::remembered::{Known, Settled};
use super::state::{Keeping, Outcome, State};
use super::table::Tables;
use super::voter::LocalVoter;
use super::{Open, Purges, Role};
use crate::base::clock::Timestamp;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::Metrics;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::sync::Arc;

/// What becomes of what is appended from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Commits,
    IsFull,
    Fails,
    NeverEnds,
}

pub(crate) struct ScriptedLog {
    state: Mutex<(State, Vec<Batch>)>,
    script: Mutex<Script>,
}

impl ScriptedLog {
    /// Purges on such a log, and the log.
    pub(crate) fn purges(config: &Config, metrics: Arc<Metrics>) -> (Purges, Arc<ScriptedLog>) {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let keeping = Keeping {
            object_life: config.object_life.get(),
        };
        let state = State::new(tables.clone(), keeping);
        let recent = state.recent();
        let log = Arc::new(ScriptedLog {
            state: Mutex::new((state, Vec::new())),
            script: Mutex::new(Script::Commits),
        });
        let orders = Orders::start(config, "here", log.clone(), None, metrics.clone());
        let open = Open {
            minimum_life: config.minimum_life.get(),
            minimum_patience: config.minimum_patience.get(),
            order_scopes_max: config.order_scopes_max,
            tables,
            recent,
            role: Role::Votes(Box::new(LocalVoter::unfollowed(log.clone(), orders))),
            metrics,
        };
        (Purges(Arc::new(open)), log)
    }

    pub(crate) fn set(&self, script: Script) {
        *self.script.lock() = script;
    }

    /// The log's entries.
    pub(crate) fn entries(&self) -> Vec<Batch> {
        self.state.lock().1.clone()
    }
}

#[async_trait]
impl InvalidationLog for ScriptedLog {
    fn incarnation(&self) -> Incarnation {
        Incarnation::from_bytes([1; 16])
    }

    async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, LogError> {
        let script = *self.script.lock();
        match script {
            Script::Commits => {}
            Script::IsFull => return Err(LogError::Full),
            Script::Fails => return Err(LogError::Write("the disk is gone".into())),
            Script::NeverEnds => std::future::pending().await,
        }
        let (state, entries) = &mut *self.state.lock();
        entries.push(batch.clone());
        Ok(state.apply(PurgeIndex::from_number(entries.len() as u64), &batch))
    }

    async fn barrier(&self) -> Result<PurgeIndex, LogError> {
        Ok(PurgeIndex::from_number(self.state.lock().1.len() as u64))
    }

    async fn snapshot(&self) -> Result<Vec<u8>, LogError> {
        Ok(postcard::to_stdvec(&self.state.lock().0.snapshot()).expect("memory takes it"))
    }

    async fn surplus(&self, newcomers: Newcomers) -> Result<Vec<usize>, LogError> {
        Ok(self.state.lock().0.surplus(&newcomers))
    }

    fn told(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn settled(&self, id: &PurgeId) -> Option<Settled> {
        self.state.lock().0.ends().settled(id)
    }

    fn replayed(&self, name: &str, sent_at_s: u64) -> Option<Arc<Known>> {
        self.state.lock().0.ends().replayed(name, sent_at_s)
    }

    async fn ended(&self) {
        std::future::pending().await
    }

    async fn close(&self) {}
}
