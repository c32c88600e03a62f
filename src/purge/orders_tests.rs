//! Orders before a log that takes entries when the test lets it.

use super::*;
use crate::base::epoch::{Incarnation, PurgeIndex};
use crate::base::units::Span;
use crate::purge::order::{Mode, OnceKey};
use crate::purge::remembered::Known;
use crate::purge::state::{Keeping, State as Applied};
use crate::purge::table::Tables;
use async_trait::async_trait;
use tokio::sync::Semaphore;

const PATIENCE: Duration = Duration::from_secs(30);

/// Takes one entry for each permit.
struct HeldLog {
    permits: Semaphore,
    inner: Mutex<Inner>,
}

struct Inner {
    applied: Applied,
    /// How many purges each entry had.
    entries: Vec<usize>,
    /// What the next entry fails of.
    failure: Option<LogError>,
    /// Whether it panics.
    is_broken: bool,
}

impl HeldLog {
    fn new() -> Arc<Self> {
        let keeping = Keeping {
            object_life: Duration::from_secs(1000),
        };
        Arc::new(HeldLog {
            permits: Semaphore::new(0),
            inner: Mutex::new(Inner {
                applied: Applied::new(Arc::new(Tables::new(1000, 1000)), keeping),
                entries: Vec::new(),
                failure: None,
                is_broken: false,
            }),
        })
    }

    fn entries(&self) -> Vec<usize> {
        self.inner.lock().entries.clone()
    }
}

#[async_trait]
impl InvalidationLog for HeldLog {
    fn incarnation(&self) -> Incarnation {
        Incarnation::from_bytes([0; 16])
    }

    async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, LogError> {
        self.permits.acquire().await.unwrap().forget();
        let mut inner = self.inner.lock();
        assert!(!inner.is_broken, "a log that panics");
        if let Some(failure) = inner.failure.take() {
            return Err(failure);
        }
        inner.entries.push(batch.purges.len());
        let index = PurgeIndex::from_number(2 + inner.entries.len() as u64);
        Ok(inner.applied.apply(index, &batch))
    }

    async fn barrier(&self) -> Result<PurgeIndex, LogError> {
        Err(LogError::Closed)
    }

    async fn snapshot(&self) -> Result<Vec<u8>, LogError> {
        Ok(postcard::to_stdvec(&self.inner.lock().applied.snapshot()).unwrap())
    }

    async fn surplus(&self, newcomers: Newcomers) -> Result<Vec<usize>, LogError> {
        Ok(self.inner.lock().applied.surplus(&newcomers))
    }

    fn told(&self) -> Timestamp {
        Timestamp::ZERO
    }

    fn settled(&self, id: &PurgeId) -> Option<Settled> {
        self.inner.lock().applied.ends().settled(id)
    }

    fn replayed(&self, name: &str, sent_at_s: u64) -> Option<Arc<Known>> {
        self.inner.lock().applied.ends().replayed(name, sent_at_s)
    }

    async fn ended(&self) {
        std::future::pending().await
    }

    async fn close(&self) {}
}

struct Desk {
    log: Arc<HeldLog>,
    orders: Arc<Orders>,
    metrics: Arc<Metrics>,
}

impl Desk {
    fn new(config: &Config) -> Self {
        let log = HeldLog::new();
        let metrics = Arc::new(Metrics::new());
        let orders = Orders::start(config, "node", log.clone(), None, metrics.clone());
        Desk {
            log,
            orders: Arc::new(orders),
            metrics,
        }
    }

    /// Gives an order, and returns when it waits.
    async fn give(&self, order: Order) -> JoinHandle<Result<Receipt, OrderError>> {
        let before = self.waiting();
        let orders = self.orders.clone();
        let given = tokio::spawn(async move { orders.submit(order).await });
        self.until(|desk| desk.waiting() > before).await;
        given
    }

    fn waiting(&self) -> usize {
        self.orders.shared.unsettled.lock().pending.len()
    }

    /// Whether the writer has all that was given.
    fn has_taken_all(&self) -> bool {
        let queue = self.orders.queue.lock();
        queue
            .as_ref()
            .is_some_and(|queue| queue.capacity() == queue.max_capacity())
    }

    fn lets_through(&self, entries: usize) {
        self.log.permits.add_permits(entries);
    }

    async fn until(&self, holds: impl Fn(&Desk) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap();
    }
}

fn order(scopes: usize) -> Order {
    Order {
        scopes: (0..scopes)
            .map(|number| Scope::url("h", &format!("/{number}")))
            .collect(),
        mode: Mode::Hard,
        minimum: None,
        once: None,
        way: PurgeWay::Api,
        by: "someone".to_owned(),
    }
}

fn once(name: &str, request: u8, sent_at_s: u64) -> Order {
    Order {
        once: Some(OnceKey {
            name: name.to_owned(),
            request: [request; 16],
            sent_at_s,
        }),
        ..order(1)
    }
}

#[tokio::test]
async fn orders_that_wait_while_one_entry_is_written_become_the_next() {
    let desk = Desk::new(&Config::default());
    let mut given = vec![desk.give(order(1)).await];
    desk.until(Desk::has_taken_all).await;
    for _ in 0..9 {
        given.push(desk.give(order(2)).await);
    }
    desk.lets_through(2);
    let mut indexes = Vec::new();
    for order in given {
        let receipt = order.await.unwrap().unwrap();
        assert_eq!((receipt.state, receipt.duplicate), (State::Applied, false));
        assert_eq!(desk.orders.receipt(&receipt.purge_id), Some(receipt.clone()));
        indexes.push(receipt.index.unwrap().number());
    }
    assert_eq!(desk.log.entries(), [1, 9]);
    assert_eq!(indexes[..2], [3, 4]);
    assert_eq!(desk.metrics.purges[(PurgeScope::Url, PurgeWay::Api)].get(), 19);
}

#[tokio::test]
async fn entries_have_no_more_scopes_than_they_may_unless_one_order_has() {
    let desk = Desk::new(&Config::default());
    let mut given = vec![desk.give(order(1)).await];
    desk.until(Desk::has_taken_all).await;
    let most = Config::default().order_scopes_max;
    for scopes in [most - 1, 1, 1, most + 1, 1] {
        given.push(desk.give(order(scopes)).await);
    }
    desk.lets_through(10);
    for order in given {
        order.await.unwrap().unwrap();
    }
    assert_eq!(desk.log.entries(), [1, 2, 1, 1, 1]);
}

#[tokio::test]
async fn an_order_that_nobody_waits_for_is_carried_out_all_the_same() {
    let desk = Desk::new(&Config::default());
    let given = desk.give(order(1)).await;
    given.abort();
    assert!(given.await.unwrap_err().is_cancelled());
    desk.lets_through(1);
    desk.until(|desk| desk.waiting() == 0).await;
    assert_eq!(desk.log.entries(), [1]);
}

#[tokio::test]
async fn an_order_whose_commit_takes_too_long_is_pending_and_applied_later() {
    let config = Config {
        deadline: Span::millis(1),
        ..Config::default()
    };
    let desk = Desk::new(&config);
    let receipt = desk.orders.submit(order(1)).await.unwrap();
    assert_eq!((receipt.state, receipt.index), (State::Pending, None));
    assert_eq!(desk.orders.receipt(&receipt.purge_id), Some(receipt.clone()));
    desk.lets_through(1);
    desk.until(|desk| desk.waiting() == 0).await;
    let receipt = desk.orders.receipt(&receipt.purge_id).unwrap();
    assert_eq!(receipt.state, State::Applied);
    assert_eq!(desk.orders.receipt(&PurgeId::unused()), None);
}

#[tokio::test]
async fn a_pending_order_that_the_log_refuses_is_told_to_have_failed() {
    let config = Config {
        deadline: Span::millis(1),
        ..Config::default()
    };
    let desk = Desk::new(&config);
    desk.log.inner.lock().failure = Some(LogError::Full);
    let pending = desk.orders.submit(order(1)).await.unwrap();
    desk.lets_through(1);
    desk.until(|desk| desk.waiting() == 0).await;
    let failed = desk.orders.receipt(&pending.purge_id).unwrap();
    assert_eq!((failed.state, failed.index), (State::Failed, None));
}

#[tokio::test]
async fn more_orders_than_may_wait_are_refused_and_leave_no_trace() {
    let config = Config {
        queue_max: 1,
        ..Config::default()
    };
    let desk = Desk::new(&config);
    let mut given = vec![desk.give(order(1)).await];
    desk.until(Desk::has_taken_all).await;
    given.push(desk.give(order(1)).await);
    let refused = desk.orders.submit(order(1)).await.unwrap_err();
    assert!(matches!(refused, OrderError::Busy), "{refused}");
    assert_eq!(desk.waiting(), 2);
    desk.lets_through(2);
    for order in given {
        order.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_the_log_refuses_is_acknowledged_to_nobody() {
    let desk = Desk::new(&Config::default());
    desk.log.inner.lock().failure = Some(LogError::Full);
    let given = desk.give(order(1)).await;
    desk.lets_through(2);
    let error = given.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, OrderError::Log(cause) if matches!(**cause, LogError::Full)),
        "{error}"
    );
    assert_eq!(desk.waiting(), 0);
    assert_eq!(
        desk.metrics.purge_orders[(PurgeWay::Api, PurgeResult::Failed)].get(),
        1
    );
    assert_eq!(desk.metrics.purges[(PurgeScope::Url, PurgeWay::Api)].get(), 0);
    desk.orders.submit(order(1)).await.unwrap();
}

#[tokio::test]
async fn a_repeated_order_is_told_what_came_of_the_first() {
    let desk = Desk::new(&Config::default());
    desk.lets_through(10);
    let first = desk.orders.submit(once("a", 1, 0)).await.unwrap();
    let again = desk.orders.submit(once("a", 1, 0)).await.unwrap();
    assert!(again.duplicate);
    assert_eq!((again.purge_id, again.index), (first.purge_id, first.index));
    let other = desk.orders.submit(once("a", 2, 0)).await.unwrap_err();
    assert!(matches!(other, OrderError::Conflict(id) if id == first.purge_id));
    let results = [PurgeResult::Applied, PurgeResult::Duplicate, PurgeResult::Refused];
    let counted = results.map(|result| desk.metrics.purge_orders[(PurgeWay::Api, result)].get());
    assert_eq!(counted, [1, 1, 1]);
}

#[tokio::test]
async fn the_same_attempt_again_is_a_replay_and_a_later_one_is_not() {
    let desk = Desk::new(&Config::default());
    desk.lets_through(10);
    desk.orders.submit(once("a", 1, 1000)).await.unwrap();
    for sent_at_s in [999, 1000] {
        let replayed = desk.orders.submit(once("a", 1, sent_at_s)).await.unwrap_err();
        assert!(matches!(replayed, OrderError::Replayed(_)), "{replayed}");
    }
    let conflict = desk.orders.submit(once("a", 2, 1000)).await.unwrap_err();
    assert!(matches!(conflict, OrderError::Conflict(_)), "{conflict}");
    assert_eq!(desk.log.entries(), [1], "a replay is none of the log's business");
    assert!(desk.orders.submit(once("a", 1, 1001)).await.unwrap().duplicate);
}

#[tokio::test]
async fn a_retry_of_a_pending_order_is_told_what_came_of_the_first() {
    let config = Config {
        deadline: Span::millis(1),
        ..Config::default()
    };
    let desk = Desk::new(&config);
    let first = desk.orders.submit(once("a", 1, 0)).await.unwrap();
    let retry = desk.orders.submit(once("a", 1, 0)).await.unwrap();
    let other = desk.orders.submit(once("a", 2, 0)).await.unwrap();
    for receipt in [&first, &retry, &other] {
        assert_eq!(receipt.state, State::Pending);
    }
    desk.lets_through(2);
    desk.until(|desk| desk.waiting() == 0).await;
    let found = |receipt: &Receipt| desk.orders.receipt(&receipt.purge_id).unwrap();
    assert_eq!(found(&first).state, State::Applied);
    let duplicate = Receipt {
        duplicate: true,
        ..found(&first)
    };
    assert_eq!(found(&retry), duplicate);
    assert_eq!(found(&other).state, State::Failed);
}

#[tokio::test]
async fn ends_that_nobody_waited_for_are_no_more_than_may_wait() {
    let mut unsettled = Unsettled::default();
    let ids: Vec<_> = (0..5).map(|_| PurgeId::unused()).collect();
    for id in &ids {
        unsettled.note(*id, End::Failed, 3);
    }
    let known = ids.iter().map(|id| unsettled.end(id).is_some());
    assert_eq!(known.collect::<Vec<_>>(), [false, false, true, true, true]);
}

#[tokio::test]
async fn a_writer_that_ends_is_noticed_and_its_orders_may_have_taken_effect() {
    let desk = Desk::new(&Config::default());
    desk.log.inner.lock().is_broken = true;
    let given = desk.give(order(1)).await;
    desk.lets_through(1);
    let error = given.await.unwrap().unwrap_err();
    assert!(matches!(error, OrderError::Lost), "{error}");
    timeout(PATIENCE, desk.orders.ended()).await.unwrap();
    assert_eq!(desk.waiting(), 0);
    let late = desk.orders.submit(order(1)).await.unwrap_err();
    assert!(matches!(late, OrderError::Stopping), "{late}");
}

#[tokio::test]
async fn a_signed_request_that_can_not_be_remembered_is_refused_and_others_are_not() {
    let config = Config {
        remembered_max: 1,
        ..Config::default()
    };
    let desk = Desk::new(&config);
    desk.lets_through(10);
    let sent_at_s = clock::now().as_secs();
    desk.orders.submit(once("key", 1, 0)).await.unwrap();
    let first = desk.orders.submit(once("a", 1, sent_at_s)).await.unwrap();
    let refused = desk.orders.submit(once("b", 1, sent_at_s)).await.unwrap_err();
    assert!(matches!(refused, OrderError::TooManyRemembered), "{refused}");
    assert_eq!(desk.log.entries(), [1, 1]);
    let again = desk.orders.submit(once("a", 1, sent_at_s + 1)).await.unwrap();
    assert_eq!((again.purge_id, again.duplicate), (first.purge_id, true));
    desk.orders.submit(once("other key", 1, 0)).await.unwrap();
    desk.orders.submit(order(1)).await.unwrap();
}

#[tokio::test]
async fn closing_lets_waiting_orders_come_to_their_end() {
    let desk = Desk::new(&Config::default());
    let given = [desk.give(order(1)).await, desk.give(order(1)).await];
    let orders = desk.orders.clone();
    let closing = tokio::spawn(async move { orders.close().await });
    desk.until(|desk| desk.orders.queue.lock().is_none()).await;
    let late = desk.orders.submit(order(1)).await.unwrap_err();
    assert!(matches!(late, OrderError::Stopping), "{late}");
    desk.lets_through(2);
    timeout(PATIENCE, closing).await.unwrap().unwrap();
    for order in given {
        assert_eq!(order.await.unwrap().unwrap().state, State::Applied);
    }
}
