//! The pool that makes variants: a few at a time, in bounded memory, behind a bounded queue.
//!
//! Invariant: a making holds its place and its memory until its thread has let go of them, though whoever waits for it
//! has been told that time is up; a making that panics costs no more than itself. It does not know the cache.

use super::config::Config;
use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::metrics::{Metrics, Raised, TransformStage};
use crate::image::{self, Context, ImageError, Kind, Limits, Made, Stage, Watch, Watermark};
use crate::spec::{Output, Picture, Spec};
use crate::trace::{self, Trace};
use bytes::Bytes;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

/// Granularity of the memory budget: a semaphore counts in 32 bits.
const UNIT: u64 = 1024;

/// How long a making that nobody waits for waits before it looks for memory again.
const BEHIND_AGAIN: Duration = Duration::from_millis(50);

/// How much one more AVIF tells of how long the next will take: an eighth.
const RATE_SHARE: u64 = 8;

/// Why nothing was made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Others kept it from being made.
    #[error("the variant was not made: this edge is making as many as it may")]
    Overloaded,
    /// It had the time to itself, and that was not enough.
    #[error("the variant was not made in time")]
    TimeIsUp,
    /// By its header alone: nothing at all is made of it.
    #[error("nothing is made of this source: {0}")]
    Unfit(ImageError),
    #[error(transparent)]
    Image(ImageError),
    #[error("a codec panicked; nothing was made of the source")]
    Panicked,
}

/// Something to be made.
pub(super) struct Job {
    pub(super) bytes: Bytes,
    pub(super) digest: Digest,
    pub(super) spec: Spec,
    /// Whether WebP may take the place of an AVIF beyond the budget.
    pub(super) stands_in: bool,
    pub(super) patience: Patience,
    pub(super) ordered: Instant,
    pub(super) deadline: Instant,
    pub(super) trace: Trace,
}

/// Who waits for a making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    OfClients,
    /// It takes no memory that clients wait for.
    OfNobody,
}

/// What came of it, and of what.
pub(super) struct Finished {
    pub(super) made: Made,
    pub(super) source: Kind,
}

pub(super) struct Pool {
    workers: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    memory_units: u32,
    waiting: AtomicUsize,
    queue_max: usize,
    shared: Arc<Shared>,
}

/// What the makings' threads need.
struct Shared {
    limits: Limits,
    watermarks: HashMap<String, Arc<Watermark>>,
    avif_pixels_max: u64,
    avif_time_max: Duration,
    /// Nanoseconds that a pixel of an AVIF took of late; 0 before the first.
    avif_pixel_nanos: AtomicU64,
    metrics: Arc<Metrics>,
}

/// All that a making holds until its thread has ended.
struct Held {
    _worker: Worker,
    _memory: OwnedSemaphorePermit,
    _bytes: Raised,
}

/// One that works, for as long as its thread does.
pub(super) struct Worker {
    _worker: OwnedSemaphorePermit,
    _running: Raised,
}

impl Pool {
    pub(super) fn new(
        config: &Config,
        watermarks: HashMap<String, Arc<Watermark>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let workers = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let memory_units = u32::try_from(config.memory_max.bytes() / UNIT).unwrap_or(u32::MAX);
        let memory_units = memory_units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Pool {
            workers: Arc::new(Semaphore::new(workers)),
            memory: Arc::new(Semaphore::new(memory_units as usize)),
            memory_units,
            waiting: AtomicUsize::new(0),
            queue_max: config.queue_max,
            shared: Arc::new(Shared {
                limits: config.limits.clone(),
                watermarks,
                avif_pixels_max: config.avif.pixels_max,
                avif_time_max: config.avif.time_max.get(),
                avif_pixel_nanos: AtomicU64::new(0),
                metrics,
            }),
        }
    }

    pub(super) fn source_bytes_max(&self) -> u64 {
        self.shared.limits.source_bytes.bytes()
    }

    /// Waits for a worker, unless too many wait already.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Worker, Refusal> {
        let metrics = &self.shared.metrics;
        let worker = match self.workers.clone().try_acquire_owned() {
            Ok(worker) => worker,
            Err(_) => {
                let _waiting = Waiting::begin(self)?;
                let began = clock::monotonic();
                let worker = timeout_at(deadline.into(), self.workers.clone().acquire_owned()).await;
                let waited = clock::monotonic() - began;
                metrics.transform_stages[TransformStage::Queue].observe(waited.as_secs_f64());
                worker
                    .map_err(|_| Refusal::Overloaded)?
                    .map_err(|_| Refusal::Overloaded)?
            }
        };
        Ok(self.beside(worker))
    }

    /// One beside the usual ones, that somebody else has waited for.
    pub(super) fn beside(&self, worker: OwnedSemaphorePermit) -> Worker {
        Worker {
            _worker: worker,
            _running: Raised::by(&self.shared.metrics.transforms_running, 1),
        }
    }

    /// Makes what the job says. Past its deadline nobody waits for it any more.
    pub(super) async fn run(&self, worker: Worker, job: Job) -> Result<Finished, Refusal> {
        let (ordered, deadline) = (job.ordered, job.deadline);
        let (probe, held) = timeout_at(deadline.into(), self.admit(worker, &job))
            .await
            .map_err(|_| Refusal::Overloaded)??;
        let waited = clock::monotonic() - ordered;
        let made = timeout_at(deadline.into(), self.make(probe, held, job)).await;
        match made.unwrap_or(Err(Refusal::TimeIsUp)) {
            Err(Refusal::TimeIsUp) if waited * 2 > deadline - ordered => Err(Refusal::Overloaded),
            made => made,
        }
    }

    /// Looks at what the source is, and waits for the memory that making it takes.
    async fn admit(&self, worker: Worker, job: &Job) -> Result<(image::Probe, Held), Refusal> {
        let (bytes, shared) = (job.bytes.clone(), self.shared.clone());
        let probing = on_a_thread(worker, move || image::probe(&bytes, &shared.limits));
        let (probe, worker) = probing.await.map_err(Refusal::of_source)?;
        let needed =
            (probe.memory_max(&job.spec, &self.shared.limits) + job.bytes.len() as u64).div_ceil(UNIT);
        let units = u32::try_from(needed).unwrap_or(u32::MAX);
        if units > self.memory_units {
            return Err(Refusal::Image(ImageError::Limit {
                what: "the memory a variant takes, in KiB",
                value: needed,
                max: self.memory_units.into(),
            }));
        }
        let memory = self.memory_for(units, job.patience).await;
        let held = Held {
            _worker: worker,
            _memory: memory.map_err(|_| Refusal::Overloaded)?,
            _bytes: Raised::by(
                &self.shared.metrics.transform_bytes,
                i64::from(units) * UNIT as i64,
            ),
        };
        Ok((probe, held))
    }

    async fn memory_for(&self, units: u32, patience: Patience) -> Result<OwnedSemaphorePermit, AcquireError> {
        if patience == Patience::OfNobody {
            // In no queue: whoever comes in between goes first.
            loop {
                match self.memory.clone().try_acquire_many_owned(units) {
                    Ok(memory) => return Ok(memory),
                    Err(_) => tokio::time::sleep(BEHIND_AGAIN).await,
                }
            }
        }
        self.memory.clone().acquire_many_owned(units).await
    }

    async fn make(&self, probe: image::Probe, held: Held, job: Job) -> Result<Finished, Refusal> {
        let source = probe.kind;
        let shared = self.shared.clone();
        let (made, _held) = on_a_thread(held, move || shared.make(&probe, &job)).await?;
        Ok(Finished { made, source })
    }
}

/// Runs `work` on a thread that may block, which holds `held` for as long as it does.
async fn on_a_thread<T, H>(
    held: H,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<(T, H), Refusal>
where
    T: Send + 'static,
    H: Send + 'static,
{
    let working = tokio::task::spawn_blocking(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        (result, held)
    });
    match working.await {
        Ok((Ok(Ok(value)), held)) => Ok((value, held)),
        Ok((Ok(Err(error)), _)) => Err(Refusal::of_image(error)),
        Ok((Err(_), _)) | Err(_) => Err(Refusal::Panicked),
    }
}

impl Refusal {
    fn of_image(error: ImageError) -> Self {
        match error {
            ImageError::TimeIsUp => Refusal::TimeIsUp,
            error => Refusal::Image(error),
        }
    }

    fn of_source(self) -> Self {
        match self {
            Refusal::Image(error) => Refusal::Unfit(error),
            refusal => refusal,
        }
    }
}

impl Shared {
    fn make(&self, probe: &image::Probe, job: &Job) -> Result<Made, ImageError> {
        let context = Context {
            limits: &self.limits,
            digest: job.digest,
            avif_pixels_max: job.stands_in.then(|| self.avif_pixels_now()),
            watermarks: &self.watermarks,
        };
        let mut watch = StopWatch::start(job.deadline);
        let made = image::make(&job.bytes, probe, &job.spec, &context, &mut watch);
        watch.tell(&self.metrics);
        watch.tell_trace(&job.trace);
        if let Ok(Made::Variant(variant)) = &made
            && variant.media_type == Kind::Avif.media_type()
            && is_encoded_once(&job.spec)
        {
            self.learn(
                watch.of(Stage::Encode),
                u64::from(variant.width) * u64::from(variant.height),
            );
        }
        made
    }

    /// What can be made in the time there is, by what the last ones took.
    fn avif_pixels_now(&self) -> u64 {
        let nanos = self.avif_pixel_nanos.load(Ordering::Relaxed);
        let in_time = u64::try_from(self.avif_time_max.as_nanos()).unwrap_or(u64::MAX);
        in_time
            .checked_div(nanos)
            .unwrap_or(u64::MAX)
            .min(self.avif_pixels_max)
    }

    fn learn(&self, took: Duration, pixels: u64) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / pixels.max(1);
        let known = self.avif_pixel_nanos.load(Ordering::Relaxed);
        let mean = match known {
            0 => nanos,
            known => known - known / RATE_SHARE + nanos / RATE_SHARE,
        };
        self.avif_pixel_nanos.store(mean.max(1), Ordering::Relaxed);
    }
}

/// Rather than again and again, until it is small enough.
fn is_encoded_once(spec: &Spec) -> bool {
    matches!(spec.output, Output::Picture(Picture { bytes_max: None, .. }))
}

/// Counts a making that waits for a worker.
struct Waiting<'a> {
    pool: &'a Pool,
    _queue: Raised,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a Pool) -> Result<Self, Refusal> {
        let admitted = pool
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |waiting| {
                (waiting < pool.queue_max).then_some(waiting + 1)
            });
        admitted.map_err(|_| Refusal::Overloaded)?;
        Ok(Waiting {
            pool,
            _queue: Raised::by(&pool.shared.metrics.transforms_waiting, 1),
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long each stage took, and when time is up.
struct StopWatch {
    deadline: Instant,
    began: Instant,
    last: Instant,
    stages: [Duration; 4],
}

impl StopWatch {
    fn start(deadline: Instant) -> Self {
        let began = clock::monotonic();
        StopWatch {
            deadline,
            began,
            last: began,
            stages: [Duration::ZERO; 4],
        }
    }

    fn of(&self, stage: Stage) -> Duration {
        self.stages[stage as usize]
    }

    fn tell(&self, metrics: &Metrics) {
        for (stage, label) in [
            (Stage::Decode, TransformStage::Decode),
            (Stage::Resize, TransformStage::Resize),
            (Stage::Adjust, TransformStage::Adjust),
            (Stage::Encode, TransformStage::Encode),
        ] {
            metrics.transform_stages[label].observe(self.of(stage).as_secs_f64());
        }
    }

    /// One after the other, each as long as it took in all: an animation's frames go through all of them in turn.
    fn tell_trace(&self, trace: &Trace) {
        let mut began = self.began;
        for (stage, told) in [
            (Stage::Decode, trace::Stage::Decode),
            (Stage::Resize, trace::Stage::Resize),
            (Stage::Adjust, trace::Stage::Adjust),
            (Stage::Encode, trace::Stage::Encode),
        ] {
            let took = self.of(stage);
            if !took.is_zero() {
                trace.past(told, began, took);
            }
            began += took;
        }
    }
}

impl Watch for StopWatch {
    fn done(&mut self, stage: Stage) -> Result<(), ImageError> {
        let now = clock::monotonic();
        self.stages[stage as usize] += now - self.last;
        self.last = now;
        if now > self.deadline {
            return Err(ImageError::TimeIsUp);
        }
        Ok(())
    }
}
