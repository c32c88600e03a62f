//! The log as its users see it: what was appended is there, also for the next process.

use super::directory::Directory;
use super::machine::Applied;
use super::raft::{Log, open};
use super::running::{Setup, raft_config};
use super::store::{ENTRIES, SNAPSHOT, builder};
use super::*;
use crate::base::clock::{self, Timestamp};
use crate::base::metrics::Metrics;
use crate::base::units::Span;
use crate::purge::config::Config;
use crate::purge::order::{Mode, OnceKey, Purge, Recall};
use crate::purge::state::{Keeping, State};
use crate::purge::table::{Contents, Tables};
use crate::scope::Scope;
use parking_lot::Mutex;
use redb::{ReadableDatabase, ReadableTableMetadata};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn keeping() -> Keeping {
    Keeping {
        object_life: Duration::from_secs(30 * 86_400),
    }
}

pub(super) fn purge(path: &str) -> Purge {
    Purge {
        id: PurgeId::unused(),
        scopes: vec![Scope::url("h", path)],
        mode: Mode::Hard,
        minimum: None,
        once: None,
    }
}

pub(super) fn batch(purges: Vec<Purge>) -> Batch {
    Batch {
        at: clock::now(),
        wall: clock::now(),
        recall: Recall::of(&Config::default()),
        purges,
    }
}

pub(super) fn without_witness(directory: &Path) -> Place {
    Place {
        directory: directory.into(),
        witness: None,
    }
}

pub(super) struct Opened {
    pub(super) log: Arc<dyn InvalidationLog>,
    pub(super) tables: Arc<Tables>,
    pub(super) metrics: Arc<Metrics>,
}

impl Opened {
    pub(super) async fn try_at(directory: Option<&Path>, config: &Config) -> Result<Self, LogError> {
        Self::try_in(directory.map(without_witness), config).await
    }

    pub(super) async fn try_in(place: Option<Place>, config: &Config) -> Result<Self, LogError> {
        let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
        let metrics = Arc::new(Metrics::new());
        let state = State::new(tables.clone(), keeping());
        let log = open(config, place, state, metrics.clone()).await?;
        Ok(Opened { log, tables, metrics })
    }

    pub(super) async fn at(directory: Option<&Path>) -> Self {
        Opened::try_at(directory, &Config::default()).await.unwrap()
    }

    pub(super) async fn purge(&self, path: &str) -> Settled {
        match self.log.append(batch(vec![purge(path)])).await.unwrap()[..] {
            [Outcome::Applied(settled)] => settled,
            ref other => panic!("not applied: {other:?}"),
        }
    }

    pub(super) fn highest(&self, path: &str) -> PurgeIndex {
        self.tables.highest(&format!("http://h{path}"))
    }
}

#[tokio::test]
async fn what_is_appended_is_applied_by_then() {
    let opened = Opened::at(None).await;
    let first = opened.purge("/a").await;
    let second = opened.purge("/b").await;
    assert!(first.index > PurgeIndex::NONE && second.index > first.index);
    assert_eq!(opened.highest("/a"), first.index);
    assert_eq!(opened.tables.applied(), second.index);
    assert_eq!(opened.log.barrier().await.unwrap(), second.index);
    assert_eq!(opened.log.settled(&first.id), Some(first));
    assert_eq!(opened.metrics.purge_log_up.get(), 1);
    opened.log.close().await;
}

#[tokio::test]
async fn the_next_process_knows_what_was_purged() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("a/purges");
    let before = Opened::at(Some(&directory)).await;
    let incarnation = before.log.incarnation();
    let mut settled = Vec::new();
    for number in 0..20 {
        settled.push(before.purge(&format!("/{number}")).await);
    }
    before.log.close().await;
    let after = Opened::at(Some(&directory)).await;
    assert_eq!(after.log.incarnation(), incarnation);
    for (number, settled) in settled.into_iter().enumerate() {
        assert_eq!(after.highest(&format!("/{number}")), settled.index);
        assert_eq!(after.log.settled(&settled.id), Some(settled));
    }
    let later = after.purge("/later").await;
    assert!(later.index > before.tables.applied());
    after.log.close().await;
}

/// Rows of a log that is not in use: entries, and parts of a snapshot.
fn rows(directory: &Path) -> (u64, u64) {
    let database = builder().open(directory.join("log.redb")).unwrap();
    let read = database.begin_read().unwrap();
    let entries = read.open_table(ENTRIES).unwrap().len().unwrap();
    (entries, read.open_table(SNAPSHOT).unwrap().len().unwrap())
}

/// Purges paths of their own until entries give way to a snapshot, and closes the log; what was applied.
async fn purge_until_a_snapshot(directory: &Path, config: &Config, pending_bytes_max: u64) -> Arc<Tables> {
    let tables = Arc::new(Tables::new(config.scopes_max, config.minimums_max));
    let setup = Setup {
        medium: Arc::new(Directory::take(&without_witness(directory)).unwrap()),
        config: Arc::new(raft_config(config)),
        applied: Arc::new(Mutex::new(Applied::new(State::new(tables.clone(), keeping())))),
        pending_bytes_max,
        metrics: Arc::new(Metrics::new()),
    };
    let log = Log::open(setup, directory).await.unwrap();
    let purging = async {
        let mut number = 0;
        while log.purged().is_none() {
            let scopes = (0..100).map(|path| Scope::url("h", &format!("/{number}/{path}")));
            let purge = Purge {
                scopes: scopes.collect(),
                ..purge("/")
            };
            log.append(batch(vec![purge])).await.unwrap();
            number += 1;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), purging)
        .await
        .unwrap();
    log.append(batch(vec![purge("/last")])).await.unwrap();
    log.close().await;
    tables
}

/// A request that was forgotten when it came again was a purge; it is one as well for who would have known it longer.
#[tokio::test]
async fn a_replay_under_another_configuration_loses_no_purge() {
    let place = tempfile::tempdir().unwrap();
    let opened = Opened::at(Some(place.path())).await;
    let life = Duration::from_secs(100);
    let asked_at = |seconds: u64| Batch {
        at: Timestamp::from_secs(1_000_000 + seconds),
        wall: Timestamp::from_secs(1_000_000 + seconds),
        recall: Recall {
            life,
            believed: life,
            count_max: 10,
        },
        purges: vec![Purge {
            once: Some(OnceKey {
                name: "caller".to_owned(),
                request: [1; 16],
                sent_at_s: 0,
            }),
            ..purge("/a")
        }],
    };
    opened.log.append(asked_at(0)).await.unwrap();
    let again = opened.log.append(asked_at(101)).await.unwrap();
    assert!(matches!(again[..], [Outcome::Applied(_)]), "{again:?}");
    let before = opened.highest("/a");
    opened.log.close().await;
    drop(opened);
    let longer = Config {
        once_life: Span::days(30),
        ..Config::default()
    };
    let opened = Opened::try_at(Some(place.path()), &longer).await.unwrap();
    assert_eq!(opened.highest("/a"), before);
    opened.log.close().await;
}

#[tokio::test]
async fn snapshots_take_the_place_of_entries_and_lead_to_the_same() {
    let place = tempfile::tempdir().unwrap();
    let config = Config {
        snapshot_entries: 10,
        ..Config::default()
    };
    let before = purge_until_a_snapshot(place.path(), &config, u64::MAX).await;
    let (entries, parts) = rows(place.path());
    assert!(
        entries < before.applied().number() && parts > 0,
        "{entries} entries, {parts} parts"
    );
    let after = Opened::try_at(Some(place.path()), &config).await.unwrap();
    let [mut after_contents, mut before] = [after.tables.contents(), before.contents()];
    [&mut after_contents, &mut before]
        .into_iter()
        .for_each(Contents::sort);
    assert!(after_contents == before, "the tables are others after a restart");
    after.log.close().await;
}

#[tokio::test]
async fn few_entries_of_many_scopes_make_a_snapshot_too() {
    let place = tempfile::tempdir().unwrap();
    let config = Config::default();
    let before = purge_until_a_snapshot(place.path(), &config, 10_000).await;
    assert!(before.applied().number() < config.snapshot_entries);
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_still_tells_what_it_knows() {
    let opened = Opened::at(None).await;
    let settled = opened.purge("/a").await;
    opened.log.close().await;
    opened.log.close().await;
    let refused = opened.log.append(batch(vec![purge("/b")])).await.unwrap_err();
    assert!(matches!(refused, LogError::Closed), "{refused}");
    assert!(matches!(
        opened.log.barrier().await.unwrap_err(),
        LogError::Closed
    ));
    assert_eq!(opened.log.settled(&settled.id), Some(settled));
    assert_eq!(opened.highest("/a"), settled.index);
}
