//! Copies between nodes of one process.

use super::network::Home;
use super::receive::Refusal;
use super::scripted::{Node, Way, Wire, home, member};
use super::{Copies, Keeping};
use crate::base::clock::{self, Timestamp};
use crate::base::epoch::{Epoch, Incarnation};
use crate::base::metrics::{HotCopyResult, Metrics, PurgeWay, PushResult};
use crate::base::units::{ByteSize, Span};
use crate::cluster::config::Config;
use crate::cluster::hot::Temperature;
use crate::cluster::node_client::Offered;
use crate::http::header_block::HeaderBlock;
use crate::http::lifetime::Lifetime;
use crate::key::CacheKey;
use crate::purge::Purges;
use crate::purge::order::{Mode, Order};
use crate::scope::Scope;
use crate::store::{Body, Entry, Stamp};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

const OWNERS: [&str; 2] = ["one", "two"];

async fn purges() -> Purges {
    let metrics = Arc::new(Metrics::new());
    Purges::open(&Default::default(), None, "test", metrics)
        .await
        .unwrap()
}

/// Reports and pushes happen when they are asked for.
fn quiet() -> Config {
    Config {
        report_interval: Span::days(1),
        ..Config::default()
    }
}

struct Two {
    purges: Purges,
    wire: Arc<Wire>,
    one: Arc<Node>,
    two: Arc<Node>,
}

impl Two {
    async fn new() -> Self {
        let (purges, wire, config) = (purges().await, Arc::new(Wire::default()), quiet());
        Two {
            one: wire.node("one", &OWNERS, &purges, &config).await,
            two: wire.node("two", &OWNERS, &purges, &config).await,
            purges,
            wire,
        }
    }

    /// Stored at the first, and its push waited for.
    async fn push(&self, key: &CacheKey) -> Option<PushResult> {
        self.one.shared.push(&member("two"), key).await
    }

    fn refusals(&self) -> Vec<Refusal> {
        std::mem::take(&mut self.wire.refusals.lock())
    }

    async fn purge_all(&self) {
        let order = Order {
            scopes: vec![Scope::All],
            mode: Mode::Hard,
            minimum: None,
            once: None,
            way: PurgeWay::Api,
            by: "test".into(),
        };
        self.purges.submit(order).await.unwrap();
    }
}

fn key(number: usize) -> CacheKey {
    CacheKey::of_url(&format!("http://shop.example/{number}.jpg")).unwrap()
}

fn body(number: usize, length: usize) -> Bytes {
    (0..length)
        .map(|at| (at * 31 + number) as u8)
        .collect::<Vec<u8>>()
        .into()
}

fn entry(key: &CacheKey, body: &[u8], purges: &Purges) -> Entry {
    let headers = HeaderBlock::pack(&HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        "image/jpeg".parse().unwrap(),
    )]));
    let born_at = clock::now().minus(Duration::from_secs(60));
    let lifetime = Lifetime::without_stale(born_at, born_at.plus(Duration::from_secs(600)));
    let stamp = Stamp {
        epoch: purges.epoch(),
        ..Stamp::default()
    };
    Entry::new(key, StatusCode::OK, headers, lifetime, Body::of(body), stamp)
}

fn put(node: &Node, key: &CacheKey, entry: Entry, body: Bytes) -> Arc<Entry> {
    node.shared.store.put(key, entry, &[body])
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + PATIENCE;
    while !is_so() {
        assert!(clock::monotonic() < deadline, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_stores_comes_to_the_other_owner_as_old_as_it_is() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 3 << 20));
    let sent = put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    two.one.copies.stored(&home(&key), &key, bytes.len() as u64);
    until("the copy is there", || two.two.shared.store.entry(&key).is_some()).await;
    let copy = two.two.shared.store.entry(&key).unwrap();
    assert_eq!(
        (copy.body, &copy.stamp, &copy.headers),
        (sent.body, &sent.stamp, &sent.headers)
    );
    assert!(copy.lifetime.born_at <= sent.lifetime.born_at);
    assert!(copy.lifetime.fresh_until <= sent.lifetime.fresh_until);
    let parts: Vec<_> = copy
        .body
        .parts()
        .map(|id| two.two.shared.store.part(&id).unwrap())
        .collect();
    assert_eq!(parts.concat(), bytes);
    until("it is counted", || {
        two.one.metrics.cluster_pushes[PushResult::Stored].get() == 1
    })
    .await;
    assert_eq!(two.one.metrics.cluster_push_queue_bytes.get(), 0);
}

#[tokio::test]
async fn who_is_not_the_primary_pushes_nothing() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 100));
    put(&two.two, &key, entry(&key, &bytes, &two.purges), bytes);
    two.two.copies.stored(&home(&key), &key, 100);
    assert_eq!(two.two.metrics.cluster_push_queue_bytes.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_spoilt_on_the_way_is_not_stored() {
    let two = Two::new().await;
    for (number, way, refusal) in [
        (1, Way::Truncated, Refusal::Length),
        (2, Way::Garbled, Refusal::Digest),
        (3, Way::Extended, Refusal::Length),
        (4, Way::Cut, Refusal::NoBody),
        (5, Way::Crumbled, Refusal::Chunks),
    ] {
        *two.wire.way.lock() = way;
        let (key, bytes) = (key(number), body(number, 5000));
        let sent = put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes);
        assert_eq!(two.push(&key).await, Some(PushResult::Refused), "{way:?}");
        assert_eq!(two.refusals(), [refusal]);
        assert!(two.two.shared.store.entry(&key).is_none());
        assert!(!two.two.shared.store.holds_body(&sent.body));
    }
    assert_eq!(
        two.two.shared.arriving.available_permits() as u64 * 1024,
        64 << 20
    );
}

#[tokio::test]
async fn a_renewed_entry_travels_without_the_body_that_is_there() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 5000));
    let first = put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes);
    assert_eq!(two.push(&key).await, Some(PushResult::Stored));
    let lifetime = Lifetime::without_stale(clock::now(), clock::now().plus(Duration::from_secs(600)));
    let renewed = first.refreshed(first.headers.clone(), lifetime, first.stamp.clone());
    two.one.shared.store.put_entry(&key, renewed);
    // Whatever came of a body would be refused.
    *two.wire.way.lock() = Way::Cut;
    assert_eq!(two.push(&key).await, Some(PushResult::Stored));
    let copy = two.two.shared.store.entry(&key).unwrap();
    assert!(copy.lifetime.born_at > first.lifetime.born_at);
    assert_eq!(two.refusals(), []);
}

#[tokio::test]
async fn what_is_as_new_as_what_is_there_is_not_wanted() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 100));
    put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    for node in [&two.one, &two.two] {
        put(node, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    }
    assert_eq!(two.push(&key).await, Some(PushResult::Refused));
    assert_eq!(two.refusals(), [Refusal::NotNewer]);
    let other = body(2, 100);
    let newer = entry(&key, &other, &two.purges);
    let lifetime = Lifetime::without_stale(clock::now(), newer.lifetime.fresh_until);
    let newer = newer.refreshed(newer.headers.clone(), lifetime, newer.stamp.clone());
    let newer = put(&two.two, &key, newer, other);
    assert_eq!(two.push(&key).await, Some(PushResult::Refused));
    assert!(Arc::ptr_eq(&two.two.shared.store.entry(&key).unwrap(), &newer));
}

#[tokio::test]
async fn what_a_purge_covers_is_not_stored_even_if_it_comes_between_offer_and_push() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 100));
    let sent = put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    let life = two.purges.incarnation();
    let travelling = || sent.to_travel(&life, clock::now());
    let receiver = two.two.receiver();
    let Offered::Whole(ticket) = receiver
        .offered(&travelling(), |key| Some(home(key)))
        .await
        .unwrap()
    else {
        panic!("it is wanted whole");
    };
    two.purge_all().await;
    let mut arriving = receiver.begin(&travelling(), &ticket.0).unwrap();
    receiver.take(&mut arriving, bytes).unwrap();
    assert_eq!(receiver.finish(arriving).await, Err(Refusal::Purged));
    assert_eq!(two.push(&key).await, Some(PushResult::Refused));
    assert_eq!(two.refusals(), [Refusal::Purged]);
    assert!(two.two.shared.store.entry(&key).is_none());
}

#[tokio::test]
async fn what_was_purged_here_gives_way_to_a_copy_of_after_the_purge() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 100));
    put(&two.two, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    two.purge_all().await;
    put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes);
    assert_eq!(two.push(&key).await, Some(PushResult::Stored));
    assert_eq!(
        two.two.shared.store.entry(&key).unwrap().stamp.epoch,
        two.purges.epoch()
    );
}

#[tokio::test]
async fn an_invalidation_between_offer_and_push_wins() {
    let two = Two::new().await;
    let (key, bytes) = (key(1), body(1, 100));
    let sent = put(&two.one, &key, entry(&key, &bytes, &two.purges), bytes.clone());
    let bytes_sent = sent.to_travel(&two.purges.incarnation(), clock::now());
    let receiver = two.two.receiver();
    let Offered::Whole(ticket) = receiver
        .offered(&bytes_sent, |key| Some(home(key)))
        .await
        .unwrap()
    else {
        panic!("it is wanted whole");
    };
    two.two.invalidations.begin_era(&key.url_name());
    let mut arriving = receiver.begin(&bytes_sent, &ticket.0).unwrap();
    receiver.take(&mut arriving, bytes).unwrap();
    assert_eq!(receiver.finish(arriving).await, Err(Refusal::Invalidated));
    assert!(two.two.shared.store.entry(&key).is_none());
}

#[tokio::test]
async fn another_log_and_an_epoch_ahead_and_a_strange_key_are_refused() {
    let two = Two::new().await;
    let (key, receiver) = (key(1), two.two.receiver());
    let plain = entry(&key, b"", &two.purges);
    let refused =
        async |bytes: &Bytes, here: Option<Home>| receiver.offered(bytes, |_| here).await.unwrap_err();
    let (life, other) = (two.purges.incarnation(), Incarnation::from_bytes([9; 16]));
    let at = |life: &Incarnation| plain.to_travel(life, clock::now());
    assert_eq!(refused(&at(&other), Some(home(&key))).await, Refusal::Incarnation);
    assert_eq!(refused(&at(&life), None).await, Refusal::NotOurs);
    let stamp = Stamp {
        epoch: Epoch::from_number(two.purges.epoch().number() + 1),
        ..Stamp::default()
    };
    let ahead = plain.refreshed(plain.headers.clone(), plain.lifetime, stamp);
    let ahead = ahead.to_travel(&life, clock::now());
    assert_eq!(refused(&ahead, Some(home(&key))).await, Refusal::EpochAhead);
    let variant = CacheKey::of_variant("variant://00/w_1");
    let variant = entry(&variant, b"", &two.purges).to_travel(&life, clock::now());
    assert_eq!(refused(&variant, Some(home(&key))).await, Refusal::Key);
    assert!(matches!(
        refused(&Bytes::from_static(b"x"), None).await,
        Refusal::Travel(_)
    ));
}

#[tokio::test]
async fn an_epoch_that_is_reached_soon_is_waited_for() {
    let two = Two::new().await;
    let key = key(1);
    let plain = entry(&key, b"", &two.purges);
    let stamp = Stamp {
        epoch: Epoch::from_number(two.purges.epoch().number() + 1),
        ..Stamp::default()
    };
    let ahead = plain.refreshed(plain.headers.clone(), plain.lifetime, stamp);
    let ahead = ahead.to_travel(&two.purges.incarnation(), clock::now());
    let receiver = two.two.receiver();
    let offered = receiver.offered(&ahead, |key| Some(home(key)));
    let (offered, ()) = tokio::join!(offered, two.purge_all());
    assert!(offered.is_ok(), "{offered:?}");
}

#[tokio::test]
async fn a_ticket_of_the_future_or_of_nobody_makes_no_copy_younger() {
    let two = Two::new().await;
    let key = key(1);
    let sent = entry(&key, b"", &two.purges);
    let bytes = sent.to_travel(&two.purges.incarnation(), clock::now());
    let receiver = two.two.receiver();
    for ticket in [&b""[..], b"short", &[0; 17]] {
        let refusal = receiver.begin(&bytes, &Bytes::copy_from_slice(ticket)).err();
        assert_eq!(refusal, Some(Refusal::Ticket));
    }
    let mut future = u64::MAX.to_le_bytes().to_vec();
    future.extend(two.two.invalidations.era(&key.url_name()).number().to_le_bytes());
    let arriving = receiver.begin(&bytes, &future.into()).unwrap();
    receiver.finish(arriving).await.unwrap();
    let copy = two.two.shared.store.entry(&key).unwrap();
    assert!(copy.lifetime.age(clock::now()) >= Duration::from_secs(60));
    assert!(copy.lifetime.fresh_until > Timestamp::ZERO);
}

#[tokio::test]
async fn hits_on_copies_are_counted_at_the_edge_and_summed_at_the_owner() {
    let (purges, wire) = (purges().await, Arc::new(Wire::default()));
    let config = Config {
        hot_rate: 10,
        ..quiet()
    };
    let owner = wire.node("one", &["one"], &purges, &config).await;
    let edges = [
        wire.node("two", &["one"], &purges, &config).await,
        wire.node("three", &["one"], &purges, &config).await,
    ];
    let (key, cold) = (key(1), key(2));
    for edge in &edges {
        assert!(!edge.copies.is_hot(&key.name()));
        assert_eq!(edge.copies.keeping(&home(&key)), Keeping::Memory);
        edge.copies.heard_hot(&home(&key));
        assert!(edge.copies.is_hot(&key.name()));
        (0..100).for_each(|_| edge.copies.note_hit(&key.name()));
        edge.copies.note_hit(&cold.name());
        edge.shared.report().await;
        assert_eq!(edge.metrics.cluster_reported_hits.get(), 100);
    }
    assert_eq!(owner.copies.keeping(&home(&key)), Keeping::Everywhere);
    assert!(matches!(
        owner.shared.heat.temperature(key.name()),
        Temperature::Hot(_)
    ));
    assert_eq!(owner.shared.heat.temperature(cold.name()), Temperature::Cold);
    wire.nodes.lock().clear();
    (0..7).for_each(|_| edges[0].copies.note_hit(&key.name()));
    edges[0].shared.report().await;
    assert_eq!(edges[0].metrics.cluster_reported_hits.get(), 100);
    wire.nodes.lock().insert(member("one").id.clone(), owner);
    edges[0].shared.report().await;
    assert_eq!(edges[0].metrics.cluster_reported_hits.get(), 107);
}

#[tokio::test]
async fn what_has_changed_is_told_to_every_other_owner_once() {
    let two = Two::new().await;
    let changed = [key(1), key(2)].map(|key| (home(&key), key));
    two.one.copies.changed(changed.to_vec()).await;
    let texts = [1, 2].map(|number| key(number).text().to_owned()).to_vec();
    assert_eq!(*two.wire.invalidated.lock(), [(member("two").id.clone(), texts)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_gives_what_it_has_the_hottest_first_and_no_more_than_it_may() {
    let (purges, wire) = (purges().await, Arc::new(Wire::default()));
    let config = Config {
        handover_bytes_max: ByteSize::kib(100),
        hot_rate: 1,
        ..quiet()
    };
    let leaving = wire.node("one", &OWNERS, &purges, &config).await;
    let heir = wire.node("two", &OWNERS, &purges, &config).await;
    for number in 0..20 {
        let (key, bytes) = (key(number), body(number, 10_000));
        put(&leaving, &key, entry(&key, &bytes, &purges), bytes);
    }
    let foreign = key(99);
    let copy = entry(&foreign, b"", &purges);
    copy.keep_in_memory_alone();
    leaving.shared.store.put(&foreign, copy, &[]);
    (0..100).for_each(|_| leaving.copies.note_hit(&key(17).name()));
    leaving.copies.hand_over(|key| Some(home(key)), PATIENCE).await;
    assert!(heir.shared.store.entry(&key(17)).is_some());
    assert!(heir.shared.store.entry(&foreign).is_none());
    let given = (0..20).filter(|number| heir.shared.store.entry(&key(*number)).is_some());
    assert_eq!(given.count(), 9);
    assert_eq!(leaving.metrics.cluster_handed_over.get(), 9);
}

#[tokio::test]
async fn what_is_given_away_behind_ends_when_the_node_stays_and_when_it_stops() {
    let two = Two::new().await;
    let giving = || {
        let (held, gone) = oneshot::channel::<()>();
        two.one.copies.hand_over_behind(async move {
            let _held = held;
            std::future::pending().await
        });
        gone
    };
    let ended = async |gone: oneshot::Receiver<()>| timeout(PATIENCE, gone).await.expect("it ends").is_err();
    let gone = giving();
    two.one.copies.end_hand_over();
    assert!(ended(gone).await);
    let gone = giving();
    let again = giving();
    assert!(ended(gone).await, "one at a time");
    two.one.copies.close().await;
    assert!(ended(again).await);
}

#[tokio::test]
async fn only_what_becomes_of_hot_keys_of_other_nodes_counts_as_hot_copies() {
    let two = Two::new().await;
    let counted = |result| two.two.metrics.cluster_hot_copies[result].get();
    two.two.copies.filled(&key(1).name(), HotCopyResult::Stored);
    two.two.copies.heard_hot(&home(&key(1)));
    assert_eq!(counted(HotCopyResult::Stored), 0);
    two.two.copies.filled(&key(1).name(), HotCopyResult::Failed);
    two.two.copies.filled(&key(1).name(), HotCopyResult::Stored);
    assert_eq!(counted(HotCopyResult::Stored), 1);
    assert_eq!(counted(HotCopyResult::Failed), 1);
}

#[tokio::test]
async fn a_node_alone_does_nothing_of_it() {
    let (copies, key) = (Copies::none(), key(1));
    copies.stored(&home(&key), &key, 1);
    copies.heard_hot(&home(&key));
    copies.note_hit(&key.name());
    assert!(!copies.is_hot(&key.name()));
    assert_eq!(copies.note_request(&key.name()), Temperature::Cold);
    assert_eq!(copies.keeping(&home(&key)), Keeping::Everywhere);
    copies.changed(vec![(home(&key), key)]).await;
    copies.hand_over(|key| Some(home(key)), PATIENCE).await;
    copies.close().await;
}
