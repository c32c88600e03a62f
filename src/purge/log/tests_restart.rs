//! A raft that ends while the process goes on: the next one takes over, and nothing is applied twice.

use super::directory::Memory;
use super::machine::Applied;
use super::raft::Log;
use super::running::{Setup, raft_config};
use super::tests::{batch, keeping, purge};
use super::types::{Entry, LogId};
use super::*;
use crate::base::metrics::Metrics;
use crate::purge::config::Config;
use crate::purge::state::State;
use crate::purge::table::Tables;
use openraft::{CommittedLeaderId, EntryPayload};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn applied() -> Applied {
    let tables = Arc::new(Tables::new(1000, 1000));
    Applied::new(State::new(tables, keeping()))
}

async fn in_memory() -> Log {
    let setup = Setup {
        medium: Arc::new(Memory::new()),
        config: Arc::new(raft_config(&Config::default())),
        applied: Arc::new(Mutex::new(applied())),
        pending_bytes_max: u64::MAX,
        metrics: Arc::new(Metrics::new()),
    };
    Log::open(setup, Path::new("memory")).await.unwrap()
}

async fn appended(log: &Log, path: &str) -> Settled {
    loop {
        match log.append(batch(vec![purge(path)])).await.as_deref() {
            Ok([Outcome::Applied(settled)]) => return *settled,
            Ok(other) => panic!("not applied: {other:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test]
async fn a_log_in_memory_outlives_a_failure() {
    let log = in_memory().await;
    let (incarnation, first) = (log.incarnation(), appended(&log, "/a").await);
    log.running().unwrap().raft.shutdown().await.unwrap();
    let second = timeout(PATIENCE, appended(&log, "/b")).await.unwrap();
    assert!(second.index > first.index);
    assert_eq!(log.incarnation(), incarnation);
    assert_eq!(log.settled(&first.id), Some(first));
    assert!(timeout(Duration::ZERO, log.ended()).await.is_err());
    log.close().await;
    timeout(PATIENCE, log.ended()).await.unwrap();
}

#[test]
fn an_entry_is_applied_once_however_often_it_is_handed_over() {
    let mut applied = applied();
    let entry = |term, index, path: &str| Entry {
        log_id: LogId::new(CommittedLeaderId::new(term, 1), index),
        payload: EntryPayload::Normal(batch(vec![purge(path)])),
    };
    let (first, second) = (entry(1, 5, "/a"), entry(2, 6, "/b"));
    assert_eq!(applied.apply(first.clone()).len(), 1);
    assert_eq!(applied.apply(second.clone()).len(), 1);
    let state = postcard::to_stdvec(&applied.snapshot()).unwrap();
    for again in [first, second, entry(1, 7, "/of an earlier leader")] {
        assert_eq!(applied.apply(again), []);
        assert!(postcard::to_stdvec(&applied.snapshot()).unwrap() == state);
    }
}
