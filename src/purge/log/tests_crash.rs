//! Power losses at every sync point, full and failing disks: nothing that was acknowledged is lost.

use super::machine::Applied;
use super::raft::Log;
use super::running::{Setup, raft_config};
use super::tests::{batch, keeping, purge};
use super::tests_disk::{Disk, Left, Mood};
use super::*;
use crate::base::clock::Timestamp;
use crate::base::epoch::Epoch;
use crate::base::metrics::Metrics;
use crate::purge::config::Config;
use crate::purge::order::{Mode, OnceKey, Purge, Recall};
use crate::purge::state::State;
use crate::purge::table::{Standing, Subject, Tables};
use crate::scope::{Scope, Tags};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// So few that scopes overflow into buckets.
const SCOPES_MAX: usize = 10;

struct Opened {
    log: Log,
    tables: Arc<Tables>,
    applied: Arc<Mutex<Applied>>,
    metrics: Arc<Metrics>,
}

impl Opened {
    async fn on(disk: &Disk) -> Result<Self, LogError> {
        let config = Config {
            snapshot_entries: 5,
            ..Config::default()
        };
        let tables = Arc::new(Tables::new(SCOPES_MAX, 1000));
        let applied = Arc::new(Mutex::new(Applied::new(State::new(tables.clone(), keeping()))));
        let metrics = Arc::new(Metrics::new());
        let setup = Setup {
            medium: Arc::new(disk.clone()),
            config: Arc::new(raft_config(&config)),
            applied: applied.clone(),
            pending_bytes_max: 1 << 20,
            metrics: metrics.clone(),
        };
        let log = Log::open(setup, Path::new("disk")).await?;
        Ok(Opened {
            log,
            tables,
            applied,
            metrics,
        })
    }

    /// Whether what was asked for just before that purge is not served.
    fn refuses(&self, number: usize, index: PurgeIndex) -> bool {
        let standing = self.tables.standing(&Subject {
            key_text: &format!("http://h/{number}"),
            tags: &Tags::default(),
            epoch: Epoch::from_number(index.number() - 1),
        });
        standing == Standing::Hard
    }

    fn state(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.applied.lock().snapshot()).unwrap()
    }
}

/// What was appended, and what is known of it.
#[derive(Default)]
struct Story {
    acknowledged: Vec<(Batch, Vec<Settled>)>,
    /// The one whose end was not told.
    unknown: Option<Batch>,
}

impl Story {
    /// Purges until the disk is off.
    async fn happens_on(disk: &Disk) -> Self {
        let mut story = Story::default();
        let Ok(opened) = Opened::on(disk).await else {
            return story;
        };
        for number in 0..17 {
            let batch = work(number);
            match opened.log.append(batch.clone()).await {
                Ok(outcomes) => story.acknowledged.push((batch, settled(&outcomes))),
                Err(_) => {
                    story.unknown = Some(batch);
                    break;
                }
            }
        }
        opened.log.close().await;
        story
    }

    /// What the whole story leads to, with the purge of which nothing is known if it is there.
    fn replayed(&self, opened: &Opened) -> Vec<u8> {
        let mut state = State::new(Arc::new(Tables::new(SCOPES_MAX, 1000)), keeping());
        for (batch, settled) in &self.acknowledged {
            state.apply(settled[0].index, batch);
        }
        if let Some(batch) = &self.unknown
            && let Some(settled) = opened.log.settled(&batch.purges[0].id)
        {
            state.apply(settled.index, batch);
        }
        state.pass_over(opened.tables.applied());
        postcard::to_stdvec(&state.snapshot()).unwrap()
    }

    async fn is_whole_on(&self, disk: &Disk, what: &str) {
        let opened = Opened::on(disk).await;
        let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        for (number, (_, settled)) in self.acknowledged.iter().enumerate() {
            assert!(
                opened.refuses(number, settled[0].index),
                "{what}: purge {number} is lost"
            );
        }
        assert_eq!(opened.state(), self.replayed(&opened), "{what}");
        let before = opened.tables.applied();
        let later = opened.log.append(batch(vec![purge("/later")])).await.unwrap();
        assert!(settled(&later)[0].index > before, "{what}");
        opened.log.close().await;
    }
}

/// Purges of several kinds, at times of their own.
fn work(number: u64) -> Batch {
    let tagged = Purge {
        scopes: vec![
            Scope::tag(&format!("t{}", number % 3)),
            Scope::prefix("h", &format!("/p/{number}")),
        ],
        mode: Mode::Soft,
        once: Some(OnceKey {
            name: format!("caller {}", number / 2),
            request: [1; 16],
            sent_at_s: number,
        }),
        ..purge("/")
    };
    Batch {
        at: Timestamp::from_secs(1_000_000 + number * 86_400 * 2),
        wall: Timestamp::from_secs(1_000_000 + number * 86_400 * 2),
        recall: Recall::of(&Config::default()),
        purges: vec![purge(&format!("/{number}")), tagged],
    }
}

fn settled(outcomes: &[Outcome]) -> Vec<Settled> {
    let applied = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Applied(settled) => Some(*settled),
        Outcome::Repeated { .. } | Outcome::Conflict(_) => None,
    });
    applied.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_at_any_sync_loses_no_acknowledged_purge() {
    let whole = Disk::default();
    let story = Story::happens_on(&whole).await;
    assert_eq!(story.acknowledged.len(), 17);
    story.is_whole_on(&whole, "closed in order").await;
    // Snapshots come when they come: a run may have a few syncs more or less.
    for sync in 1..=whole.syncs() + 5 {
        let disk = Disk::default();
        disk.set(Mood::PowerLossAt(sync));
        let story = Story::happens_on(&disk).await;
        for left in [
            Left::None,
            Left::All,
            Left::Some(sync),
            Left::Some(sync << 32),
            Left::Some(!sync),
        ] {
            let what = format!("power lost at sync {sync}, leaving {left:?}");
            let image = disk.after_power_loss(left);
            // Also while that very loss is being repaired.
            image.set(Mood::PowerLossAt(1 + sync % 7));
            drop(Opened::on(&image).await);
            let image = image.after_power_loss(left);
            story.is_whole_on(&image, &what).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_purges_until_there_is_space_again() {
    let disk = Disk::default();
    let opened = Opened::on(&disk).await.unwrap();
    let first = settled(&opened.log.append(work(0)).await.unwrap())[0];
    disk.set(Mood::Full);
    let refused = work(1);
    let error = opened.log.append(refused.clone()).await.unwrap_err();
    assert!(matches!(error, LogError::Full), "{error}");
    assert_eq!(opened.log.settled(&refused.purges[0].id), None);
    timeout(PATIENCE, down(&opened)).await.unwrap();
    let error = opened.log.append(work(2)).await.unwrap_err();
    assert!(matches!(error, LogError::Full), "{error}");
    opened.log.barrier().await.unwrap_err();
    assert!(opened.refuses(0, first.index));
    disk.set(Mood::Well);
    let second = timeout(PATIENCE, works_again(&opened, 3)).await.unwrap();
    assert!(second.index > first.index);
    assert_eq!(opened.metrics.purge_log_up.get(), 1);
    assert_eq!(opened.log.barrier().await.unwrap(), second.index);
    let state = opened.state();
    opened.log.close().await;
    let again = Opened::on(&disk).await.unwrap();
    assert_eq!(again.state(), state);
}

#[tokio::test]
async fn a_failed_sync_acknowledges_nothing_and_the_log_works_again() {
    let disk = Disk::default();
    let opened = Opened::on(&disk).await.unwrap();
    disk.set(Mood::Failing);
    let error = opened.log.append(work(0)).await.unwrap_err();
    assert!(matches!(error, LogError::Write(_)), "{error}");
    timeout(PATIENCE, down(&opened)).await.unwrap();
    disk.set(Mood::Well);
    timeout(PATIENCE, works_again(&opened, 1)).await.unwrap();
    let state = opened.state();
    opened.log.close().await;
    assert_eq!(Opened::on(&disk).await.unwrap().state(), state);
}

#[tokio::test]
async fn what_came_of_a_purge_is_told_while_a_snapshot_is_taken() {
    let opened = Opened::on(&Disk::default()).await.unwrap();
    let settled = settled(&opened.log.append(work(0)).await.unwrap());
    let taking = opened.applied.lock();
    assert_eq!(opened.log.settled(&settled[0].id), Some(settled[0]));
    drop(taking);
    opened.log.close().await;
}

#[tokio::test]
async fn a_log_that_has_failed_can_be_closed() {
    let disk = Disk::default();
    let opened = Opened::on(&disk).await.unwrap();
    disk.set(Mood::Full);
    opened.log.append(work(0)).await.unwrap_err();
    timeout(PATIENCE, opened.log.close()).await.unwrap();
    timeout(PATIENCE, opened.log.ended()).await.unwrap();
    let error = opened.log.append(work(1)).await.unwrap_err();
    assert!(matches!(error, LogError::Closed), "{error}");
}

async fn down(opened: &Opened) {
    while opened.metrics.purge_log_up.get() == 1 {
        tokio::task::yield_now().await;
    }
}

async fn works_again(opened: &Opened, number: u64) -> Settled {
    loop {
        if let Ok(outcomes) = opened.log.append(work(number)).await {
            return settled(&outcomes)[0];
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
