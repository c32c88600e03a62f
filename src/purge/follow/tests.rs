//! A voter and its followers in one process, with faults in what they say to each other.

use super::*;
use crate::base::clock;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::metrics::{Metrics, PurgeWay};
use crate::purge::config::Config;
use crate::purge::leases::Holder;
use crate::purge::log::Place;
use crate::purge::order::{Mode, OnceKey, Order, PurgeId};
use crate::purge::receipt::{Receipt, State};
use crate::purge::{Following, OrderError, Purges};
use crate::scope::Scope;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LEASE: Duration = Duration::from_millis(900);

const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of an answer on its way.
type Spoil = fn(&mut Fetched);

/// The way to the voter, whoever that is at the moment.
struct Wire {
    voter: Mutex<Option<Purges>>,
    is_cut: AtomicBool,
    /// Of the next answer that has news.
    spoil: Mutex<Option<Spoil>>,
    snapshots: AtomicUsize,
}

impl Wire {
    fn to(voter: &Purges) -> Arc<Self> {
        Arc::new(Wire {
            voter: Mutex::new(Some(voter.clone())),
            is_cut: AtomicBool::new(false),
            spoil: Mutex::new(None),
            snapshots: AtomicUsize::new(0),
        })
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    fn lead_to(&self, voter: &Purges) {
        *self.voter.lock() = Some(voter.clone());
    }

    fn voter(&self) -> Result<Purges, VoterError> {
        let cut = || VoterError::Unreachable("cut".to_owned());
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(cut()),
            false => self.voter.lock().clone().ok_or_else(cut),
        }
    }
}

fn refused(error: crate::purge::NotFollowed) -> VoterError {
    VoterError::Refused(error.to_string())
}

#[async_trait]
impl Voter for Arc<Wire> {
    async fn fetch(&self, fetch: Fetch) -> Result<Fetched, VoterError> {
        let fetched = self.voter()?.fetch(&fetch).await.map_err(refused);
        // An answer may be lost when the question was not.
        self.voter()?;
        let mut fetched = fetched?;
        if fetched.news != News::OtherLog
            && let Some(spoil) = self.spoil.lock().take()
        {
            spoil(&mut fetched);
        }
        Ok(fetched)
    }

    async fn snapshot(&self) -> Result<SnapshotParts, VoterError> {
        self.snapshots.fetch_add(1, Ordering::SeqCst);
        let voter = self.voter()?;
        let snapshot = voter.snapshot().await.map_err(refused)?;
        let parts: Vec<_> = snapshot
            .bytes
            .chunks(7)
            .map(|part| Ok(Bytes::copy_from_slice(part)))
            .collect();
        Ok(SnapshotParts {
            incarnation: voter.incarnation(),
            parts: futures::stream::iter(parts).boxed(),
        })
    }

    async fn release(&self, holder: &Holder) -> Result<(), VoterError> {
        self.voter()?.release(holder).map_err(refused)
    }

    async fn submit(&self, order: Order) -> Result<Receipt, OrderError> {
        let voter = self.voter();
        let voter = voter.map_err(|error| OrderError::Unreachable(error.to_string()))?;
        voter.submit(order).await
    }

    async fn receipt(&self, id: &PurgeId) -> Result<Option<Receipt>, VoterError> {
        Ok(self.voter()?.receipt(id).await.unwrap())
    }
}

async fn voter_in(place: Option<Place>) -> Purges {
    let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
    let kept = Purges::keep(&config, place, "voter", Following::Others(LEASE), metrics);
    kept.await.unwrap()
}

fn place(directory: &Path) -> Option<Place> {
    Some(Place {
        directory: directory.to_owned(),
        witness: None,
    })
}

async fn follower_in(node: &str, wire: &Arc<Wire>, cache: Option<&Path>) -> Purges {
    let settings = Settings {
        lease: LEASE,
        cache: cache.map(Path::to_owned),
    };
    let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
    let way = Arc::new(wire.clone());
    let following = Purges::follow(&config, settings, node, way, None, metrics);
    following.await.unwrap()
}

/// One that may serve.
async fn follower(node: &str, wire: &Arc<Wire>) -> Purges {
    let purges = follower_in(node, wire, None).await;
    until(|| purges.may_serve()).await;
    purges
}

async fn until(holds: impl Fn() -> bool) {
    let began = clock::monotonic();
    while !holds() {
        assert!(clock::monotonic() - began < PATIENCE, "it does not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn order(path: &str, once: Option<&str>) -> Order {
    Order {
        scopes: vec![Scope::url("h", path)],
        mode: Mode::Hard,
        minimum: None,
        once: once.map(|name| OnceKey {
            name: name.to_owned(),
            request: [1; 16],
            sent_at_s: 0,
        }),
        way: PurgeWay::Api,
        by: "test".to_owned(),
    }
}

/// Its index.
async fn purged(purges: &Purges, path: &str) -> PurgeIndex {
    let receipt = purges.submit(order(path, None)).await.unwrap();
    assert_eq!(receipt.state, State::Applied);
    receipt.index.unwrap()
}

fn highest(purges: &Purges, path: &str) -> PurgeIndex {
    purges.highest(&format!("http://h{path}"))
}

fn applied_at(receipt: &Receipt) -> Vec<&str> {
    receipt.nodes.iter().map(|applied| applied.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_that_is_acknowledged_is_in_the_tables_of_all_who_may_serve() {
    let voter = voter_in(None).await;
    let wires = [Wire::to(&voter), Wire::to(&voter)];
    let a = follower("a", &wires[0]).await;
    let b = follower("b", &wires[1]).await;
    assert_eq!(
        (a.incarnation(), b.incarnation()),
        (voter.incarnation(), voter.incarnation())
    );
    for orderer in [&voter, &a, &b] {
        let receipt = orderer.submit(order("/x", None)).await.unwrap();
        let index = receipt.index.unwrap();
        assert!(highest(&a, "/x") == index && highest(&b, "/x") == index);
        assert_eq!(applied_at(&receipt), ["voter", "a", "b"]);
        assert_eq!((receipt.state, receipt.fenced.len()), (State::Applied, 0));
    }
    b.close().await;
    assert!(!b.may_serve());
    let receipt = voter.submit(order("/y", None)).await.unwrap();
    assert_eq!(applied_at(&receipt), ["voter", "a"]);
    assert_eq!(receipt.fenced, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_serves_nothing_by_the_time_an_order_is_acknowledged() {
    let voter = voter_in(None).await;
    let wires = [Wire::to(&voter), Wire::to(&voter)];
    let a = follower("a", &wires[0]).await;
    let b = follower("b", &wires[1]).await;
    wires[1].cut(true);
    let receipt = voter.submit(order("/x", None)).await.unwrap();
    assert!(!b.may_serve() && a.may_serve());
    assert_eq!(applied_at(&receipt), ["voter", "a"]);
    assert_eq!(receipt.fenced, ["b"]);
    assert!(matches!(
        b.submit(order("/y", None)).await,
        Err(OrderError::Unreachable(_))
    ));
    wires[1].cut(false);
    until(|| b.may_serve()).await;
    assert_eq!(highest(&b, "/x"), receipt.index.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_starts_again_waits_for_leases_it_does_not_know_of() {
    let directory = tempfile::tempdir().unwrap();
    let voter = voter_in(place(directory.path())).await;
    let wire = Wire::to(&voter);
    let a = follower("a", &wire).await;
    let before = purged(&voter, "/x").await;
    wire.cut(true);
    voter.close().await;
    let voter = voter_in(place(directory.path())).await;
    let after = purged(&voter, "/x").await;
    assert!(!a.may_serve());
    wire.lead_to(&voter);
    wire.cut(false);
    until(|| a.may_serve()).await;
    assert!(highest(&a, "/x") == after && after > before);
    voter.close().await;
    // Not one that is alone, either.
    let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
    let alone = Purges::open(&config, place(directory.path()), "voter", metrics);
    let alone = alone.await.unwrap();
    assert!(matches!(
        alone.snapshot().await,
        Err(crate::purge::NotFollowed::NotKept)
    ));
    purged(&alone, "/x").await;
    assert!(!a.may_serve());
    alone.close().await;
    assert!(!directory.path().join("lease").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_too_far_behind_or_missed_something_takes_a_snapshot() {
    let voter = voter_in(None).await;
    let first = voter.submit(order("/x", Some("key"))).await.unwrap();
    let spoils: [Spoil; 2] = [
        |fetched| fetched.news = News::SnapshotNeeded,
        |fetched| {
            if let News::Entries { entries, .. } = &mut fetched.news {
                entries.remove(0);
            }
        },
    ];
    for spoil in spoils {
        let wire = Wire::to(&voter);
        *wire.spoil.lock() = Some(spoil);
        let a = follower("a", &wire).await;
        assert_eq!(wire.snapshots.load(Ordering::SeqCst), 1);
        assert_eq!(highest(&a, "/x"), first.index.unwrap());
        let next = purged(&voter, "/y").await;
        assert_eq!(highest(&a, "/y"), next);
        a.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_has_its_turn_until_it_is_sent() {
    let voter = voter_in(None).await;
    let crate::purge::Role::Votes(local) = &voter.0.role else {
        panic!("it keeps the log");
    };
    let turns = local.snapshots.available_permits();
    let made = voter.snapshot().await.unwrap();
    assert_eq!(local.snapshots.available_permits(), turns - 1);
    drop(made);
    assert_eq!(local.snapshots.available_permits(), turns);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_passed_on_is_carried_out_once() {
    let voter = voter_in(None).await;
    let wires = [Wire::to(&voter), Wire::to(&voter)];
    let a = follower("a", &wires[0]).await;
    let b = follower("b", &wires[1]).await;
    let first = a.submit(order("/x", Some("key"))).await.unwrap();
    let again = b.submit(order("/x", Some("key"))).await.unwrap();
    assert_eq!((first.purge_id, first.index), (again.purge_id, again.index));
    assert!(!first.duplicate && again.duplicate);
    let known = b.receipt(&first.purge_id).await.unwrap().unwrap();
    assert_eq!((known.index, known.state), (first.index, State::Applied));
    assert_eq!(b.receipt(&PurgeId::unused()).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_log_was_replaced_ends_and_its_next_life_belongs_to_the_new_one() {
    let cache = tempfile::tempdir().unwrap();
    let voter = voter_in(None).await;
    let wire = Wire::to(&voter);
    let a = follower_in("a", &wire, Some(cache.path())).await;
    until(|| a.may_serve()).await;
    let old = a.incarnation();
    let other = voter_in(None).await;
    wire.lead_to(&other);
    tokio::time::timeout(PATIENCE, a.ended()).await.unwrap();
    assert!(!a.may_serve());
    drop(a);
    wire.cut(true);
    let again = reopened(&wire, cache.path()).await;
    assert!(again.incarnation() == other.incarnation() && again.incarnation() != old);
    assert!(!again.may_serve());
    wire.cut(false);
    until(|| again.may_serve()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hands_over_may_serve_beside_its_successor_until_it_retires() {
    let cache = tempfile::tempdir().unwrap();
    let voter = voter_in(None).await;
    let wire = Wire::to(&voter);
    let old = follower_in("a", &wire, Some(cache.path())).await;
    old.hand_over().await;
    let new = follower_in("a", &wire, Some(cache.path())).await;
    until(|| old.may_serve() && new.may_serve()).await;
    let receipt = voter.submit(order("/x", None)).await.unwrap();
    let index = receipt.index.unwrap();
    assert!(highest(&old, "/x") == index && highest(&new, "/x") == index);
    assert_eq!(applied_at(&receipt), ["voter", "a"]);
    old.retire().await;
    assert!(!old.may_serve());
    let receipt = voter.submit(order("/y", None)).await.unwrap();
    assert_eq!(applied_at(&receipt), ["voter", "a"]);
    assert_eq!(receipt.fenced, [""; 0]);
    until(|| new.may_serve()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_waits_for_the_lease_of_a_process_that_has_handed_over_and_is_cut_off() {
    let cache = tempfile::tempdir().unwrap();
    let voter = voter_in(None).await;
    let wires = [Wire::to(&voter), Wire::to(&voter)];
    let old = follower_in("a", &wires[0], Some(cache.path())).await;
    old.hand_over().await;
    let new = follower_in("a", &wires[1], Some(cache.path())).await;
    until(|| old.may_serve() && new.may_serve()).await;
    wires[0].cut(true);
    let receipt = voter.submit(order("/x", None)).await.unwrap();
    assert!(!old.may_serve());
    assert_eq!(highest(&new, "/x"), receipt.index.unwrap());
}

/// As soon as the process before has let go of the cache.
async fn reopened(wire: &Arc<Wire>, cache: &Path) -> Purges {
    let settings = Settings {
        lease: LEASE,
        cache: Some(cache.to_owned()),
    };
    loop {
        let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
        let way = Arc::new(wire.clone());
        match Purges::follow(&config, settings.clone(), "a", way, None, metrics).await {
            Ok(purges) => return purges,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_log_went_back_ends() {
    let voter = voter_in(None).await;
    let wire = Wire::to(&voter);
    let a = follower("a", &wire).await;
    purged(&voter, "/x").await;
    *wire.spoil.lock() = Some(|fetched| fetched.last = PurgeIndex::from_number(1));
    purged(&voter, "/x").await;
    tokio::time::timeout(PATIENCE, a.ended()).await.unwrap();
    assert!(!a.may_serve());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_waits_for_nobody() {
    let (config, metrics) = (Config::default(), Arc::new(Metrics::new()));
    let alone = Purges::open(&config, None, "alone", metrics);
    let alone = alone.await.unwrap();
    let receipt = alone.submit(order("/x", None)).await.unwrap();
    assert_eq!(
        (applied_at(&receipt), receipt.state),
        (vec!["alone"], State::Applied)
    );
    assert!(alone.may_serve() && !alone.is_followed());
    let known: Option<Incarnation> = Some(alone.incarnation());
    let fetch = Fetch {
        holder: Holder {
            node: "a".into(),
            process: [1; 16],
        },
        incarnation: known,
        applied: PurgeIndex::NONE,
        patience: Duration::ZERO,
    };
    assert!(alone.fetch(&fetch).await.is_err());
}
