//! Makings under way: each variant is made once, however many wait for it.
//!
//! A making that has begun belongs to nobody: it goes on though its clients leave, and puts what it has made on the shelf
//! before anybody hears of it. One that still waits for a worker is given up when nobody waits for it any more.
//! Invariant: every making ends, and is forgotten then. It does not know clients.

use super::Variants;
use super::original::Original;
use super::pool::{Finished, Job, Patience, Refusal, Worker};
use super::shelf::{entry_of, variant_entry, variant_key};
use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::metrics::{TransformFormat, TransformResult};
use crate::image::{ImageError, Made};
use crate::key::{CacheKey, KeyName};
use crate::serve::served::Role;
use crate::spec::{Format, Output, Spec, Wish};
use crate::store::{Body as StoredBody, Entry};
use crate::trace::{Stage, Trace};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What is to be made of a source, and whether it may be kept.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) source: Digest,
    pub(super) original: Original,
    pub(super) wish: Wish,
    pub(super) keeping: Keeping,
    pub(super) patience: Patience,
    pub(super) ordered: Instant,
    pub(super) deadline: Instant,
    /// Of who ordered it first.
    pub(super) trace: Trace,
}

/// Whether a variant may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// With at most so many others of its source.
    AtMost(usize),
    /// Its source is not stored either.
    No,
}

/// How a making ended.
#[derive(Clone)]
pub(super) enum Ended {
    Made(Arc<Entry>, Bytes),
    /// It had been made before.
    Found(Arc<Entry>),
    /// The source is what was asked for.
    Unchanged(Arc<Entry>),
    /// The source's bytes are no longer stored.
    SourceGone,
    Refused(Refusal),
}

#[derive(Default)]
pub(super) struct Makings {
    under_way: Mutex<HashMap<KeyName, Making>>,
}

struct Making {
    ended: Ending,
    waiters: Arc<Waiters>,
}

/// `None` where it was given up: nobody waited for it, and it had not begun.
type Ending = Shared<BoxFuture<'static, Option<Ended>>>;

/// A request's place in front of a making.
struct Place {
    role: Role,
    ended: Ending,
    _waiter: Waiter,
}

/// How many wait for a making.
#[derive(Default)]
struct Waiters {
    number: AtomicUsize,
    left: Notify,
}

struct Waiter(Arc<Waiters>);

impl Variants {
    /// Makes what is ordered, or waits for the one who does.
    pub(super) async fn make(self: &Arc<Self>, order: Order) -> Ended {
        let key = variant_key(&order.source, &order.wish.spec);
        let mut has_retried = false;
        loop {
            if let Some(refusal) = self.failure(&key, &order.source) {
                return Ended::Refused(refusal);
            }
            let place = self.join(&key, &order);
            let may_retry = !has_retried && place.role == Role::Follower;
            match place.ended.await {
                // It was given up just before this request came.
                None => {}
                // The queue was full, or the time of the one who had begun it is up: tried once more in its own.
                Some(Ended::Refused(Refusal::Overloaded))
                    if may_retry && clock::monotonic() < order.deadline =>
                {
                    has_retried = true;
                }
                Some(ended) => return ended,
            }
        }
    }

    fn join(self: &Arc<Self>, key: &CacheKey, order: &Order) -> Place {
        let name = order.name(key);
        let mut under_way = self.makings.under_way.lock();
        if let Some(making) = under_way.get(&name) {
            self.metrics.transforms_joined.inc();
            return Place {
                role: Role::Follower,
                ended: making.ended.clone(),
                _waiter: Waiter::of(&making.waiters),
            };
        }
        let waiters = Arc::new(Waiters::default());
        let waiter = Waiter::of(&waiters);
        let (variants, key, order) = (self.clone(), key.clone(), order.clone());
        let awaited = waiters.clone();
        let running = self.tracker.spawn(async move {
            let _under_way = UnderWay {
                name,
                variants: &variants,
            };
            variants.make_now(&key, &order, &awaited).await
        });
        let ended = running
            .map(|ended| ended.unwrap_or(Some(Ended::Refused(Refusal::Panicked))))
            .boxed()
            .shared();
        let making = Making {
            ended: ended.clone(),
            waiters,
        };
        under_way.insert(name, making);
        Place {
            role: Role::Leader,
            ended,
            _waiter: waiter,
        }
    }

    /// `None` where it was given up.
    async fn make_now(self: &Arc<Self>, key: &CacheKey, order: &Order, waiters: &Waiters) -> Option<Ended> {
        // Between look-up and here another making of it, or of its stand-in, may have ended.
        if let Some(entry) = self.present(key, order) {
            return Some(Ended::Found(entry));
        }
        let queueing = order.trace.stage(Stage::Queue);
        let worker = tokio::select! {
            worker = self.pool.enter(order.deadline) => worker,
            () = waiters.none() => return None,
        };
        drop(queueing);
        Some(match worker {
            Ok(worker) => self.make_at(worker, key, order).await,
            Err(refusal) => self.refused(key, order, refusal),
        })
    }

    fn present(&self, key: &CacheKey, order: &Order) -> Option<Arc<Entry>> {
        let stand_in = || {
            let stand_in = order.wish.stand_in.as_ref()?;
            self.shelf.present(&variant_key(&order.source, stand_in))
        };
        self.shelf.present(key).or_else(stand_in)
    }

    async fn make_at(self: &Arc<Self>, worker: Worker, key: &CacheKey, order: &Order) -> Ended {
        let Some(bytes) = order.original.bytes(&self.store).await else {
            return Ended::SourceGone;
        };
        let length = bytes.len() as u64;
        let job = Job {
            bytes,
            digest: order.source,
            spec: order.wish.spec.clone(),
            stands_in: order.wish.stand_in.is_some(),
            patience: order.patience,
            ordered: order.ordered,
            deadline: order.deadline,
            trace: order.trace.clone(),
        };
        match self.pool.run(worker, job).await {
            Ok(finished) => self.finished(key, order, length, finished),
            Err(refusal) => self.refused(key, order, refusal),
        }
    }

    fn refused(&self, key: &CacheKey, order: &Order, refusal: Refusal) -> Ended {
        let result = match &refusal {
            Refusal::Overloaded => TransformResult::Refused,
            Refusal::TimeIsUp => TransformResult::TimedOut,
            Refusal::Unfit(_) | Refusal::Image(_) | Refusal::Panicked => TransformResult::Failed,
        };
        self.metrics.transforms[(format_of(&order.wish.spec), result)].inc();
        self.remember(key, &order.source, &refusal);
        Ended::Refused(refusal)
    }

    fn finished(self: &Arc<Self>, key: &CacheKey, order: &Order, length: u64, finished: Finished) -> Ended {
        let Finished { made, source } = finished;
        let (format, result, ended) = match made {
            Made::Variant(variant) => (
                format_of_type(variant.media_type),
                TransformResult::Made,
                self.put(key, order, variant.media_type, variant.bytes.into()),
            ),
            Made::Unchanged => (
                format_of_type(source.media_type()),
                TransformResult::Unchanged,
                self.unchanged(key, order, source.media_type(), length),
            ),
            Made::StandIn(variant) => {
                let stand_in = order.wish.stand_in.as_ref().unwrap_or(&order.wish.spec);
                let own = variant_key(&order.source, stand_in);
                let ended = self.put(&own, order, variant.media_type, variant.bytes.into());
                self.make_behind(key, order);
                (TransformFormat::Avif, TransformResult::StoodIn, ended)
            }
        };
        self.metrics.transforms[(format, result)].inc();
        ended
    }

    fn put(&self, key: &CacheKey, order: &Order, media_type: &'static str, bytes: Bytes) -> Ended {
        let entry = match order.keeping {
            Keeping::AtMost(most) => self.shelf.put(&order.source, key, media_type, &bytes, most),
            Keeping::No => Arc::new(entry_of(key, media_type, &bytes)),
        };
        Ended::Made(entry, bytes)
    }

    fn unchanged(&self, key: &CacheKey, order: &Order, media_type: &'static str, length: u64) -> Ended {
        let body = StoredBody {
            length,
            ..source_body(order)
        };
        Ended::Unchanged(match order.keeping {
            Keeping::AtMost(most) => self
                .shelf
                .put_unchanged(&order.source, key, media_type, body, most),
            Keeping::No => Arc::new(variant_entry(key, media_type, body)),
        })
    }

    /// Makes the AVIF for the next request, one after the other, while WebP answers. What is in no store is not.
    pub(super) fn make_behind(self: &Arc<Self>, key: &CacheKey, order: &Order) {
        if order.keeping == Keeping::No || !self.behind.begin(key.name()) {
            return;
        }
        let (variants, key) = (self.clone(), key.clone());
        let order = Order {
            // Stored by now: it need not be held for as long as this waits.
            original: Original::Stored(source_body(order)),
            ..order.clone()
        };
        self.tracker.spawn(async move {
            let _pending = Pending {
                name: key.name(),
                variants: &variants,
            };
            tokio::select! {
                () = variants.make_in_turn(&key, order) => {}
                () = variants.behind.closed() => {}
            }
        });
    }

    async fn make_in_turn(self: &Arc<Self>, key: &CacheKey, order: Order) {
        let Some(turn) = self.behind.turn().await else {
            return;
        };
        if self.shelf.present(key).is_some() {
            return;
        }
        let ordered = clock::monotonic();
        let order = Order {
            wish: Wish {
                stand_in: None,
                ..order.wish
            },
            patience: Patience::OfNobody,
            ordered,
            deadline: ordered + self.background_deadline,
            ..order
        };
        match self.make_at(self.pool.beside(turn), key, &order).await {
            // Not tried again by each request that its stand-in answers.
            Ended::SourceGone | Ended::Refused(Refusal::Overloaded) => {
                let why = Refusal::Overloaded;
                self.failures.remember(key.name(), why, clock::now());
            }
            Ended::Made(..) | Ended::Found(_) | Ended::Unchanged(_) | Ended::Refused(_) => {}
        }
    }
}

/// A making, forgotten however it ends.
struct UnderWay<'a> {
    name: KeyName,
    variants: &'a Variants,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.variants.makings.under_way.lock().remove(&self.name);
    }
}

/// One that is made behind.
struct Pending<'a> {
    name: KeyName,
    variants: &'a Variants,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.variants.behind.end(&self.name);
    }
}

impl Waiters {
    async fn none(&self) {
        while self.number.load(Ordering::Acquire) > 0 {
            self.left.notified().await;
        }
    }
}

impl Waiter {
    fn of(waiters: &Arc<Waiters>) -> Self {
        waiters.number.fetch_add(1, Ordering::AcqRel);
        Waiter(waiters.clone())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.0.number.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_one();
        }
    }
}

impl Order {
    pub(super) fn within(
        time: Duration,
        source: Digest,
        original: Original,
        wish: Wish,
        keeping: Keeping,
    ) -> Self {
        let ordered = clock::monotonic();
        Order {
            source,
            original,
            wish,
            keeping,
            patience: Patience::OfClients,
            ordered,
            deadline: ordered + time,
            trace: Trace::default(),
        }
    }

    /// What is kept is not made together with what is not.
    fn name(&self, key: &CacheKey) -> KeyName {
        match self.keeping {
            Keeping::AtMost(_) => key.name(),
            Keeping::No => key.name_of("not kept"),
        }
    }
}

fn source_body(order: &Order) -> StoredBody {
    StoredBody {
        digest: order.source,
        length: order.original.length(),
    }
}

/// Whether trying again would come to the same.
pub(super) fn is_lasting(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Overloaded | Refusal::Image(ImageError::NoWatermark) => false,
        Refusal::TimeIsUp | Refusal::Unfit(_) | Refusal::Image(_) | Refusal::Panicked => true,
    }
}

/// What was to be written, where nothing was.
fn format_of(spec: &Spec) -> TransformFormat {
    match spec.output {
        Output::Picture(picture) => match picture.format {
            Format::Source | Format::Legacy => TransformFormat::Source,
            Format::Jpeg => TransformFormat::Jpeg,
            Format::Png => TransformFormat::Png,
            Format::Webp => TransformFormat::Webp,
            Format::Avif | Format::AvifOr(_) => TransformFormat::Avif,
            Format::Gif => TransformFormat::Gif,
        },
        Output::Tiny => TransformFormat::Webp,
        Output::Info | Output::Blurhash | Output::Thumbhash | Output::Dominant => TransformFormat::Text,
    }
}

fn format_of_type(media_type: &str) -> TransformFormat {
    match media_type {
        "image/jpeg" => TransformFormat::Jpeg,
        "image/png" => TransformFormat::Png,
        "image/webp" => TransformFormat::Webp,
        "image/avif" => TransformFormat::Avif,
        "image/gif" => TransformFormat::Gif,
        _ => TransformFormat::Text,
    }
}
