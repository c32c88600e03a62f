//! The SSD tier as the store sees it: up or down, checked, dropped and opened again.
//!
//! A directory that is full, gone or failing costs the tier and nothing else. It comes up when an opening
//! succeeds; it goes down when its check fails: the writer writes a canary and reads it back, since foyer's
//! own writer can die and still report success. Each opening is a new generation. Invariants: an opening
//! begins only when no I/O of the one before is left; one line is logged for each change between up and down.

use super::config::Config;
use super::directory::{Directory, DirectoryError, Geometry};
use super::entry::Generation;
use super::ssd::{Opening, Ssd, SsdError};
use crate::base::epoch::Incarnation;
use crate::base::metrics::{Kind, Metrics};
use arc_swap::ArcSwapOption;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

/// So many failed reads between two checks are a failed disk.
const FAULTS_MAX: u32 = 16;

/// A canary that is not back by then counts as lost: the writer hangs in its I/O.
const CANARY_DEADLINE: Duration = Duration::from_secs(30);

/// Asks the writer to write a canary and read it back.
pub(super) type CanaryCall = oneshot::Sender<Canary>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Canary {
    Alive,
    Lost,
}

pub(super) struct Tier {
    place: Option<Place>,
    ssd: ArcSwapOption<Ssd>,
    /// That of `ssd`, or [`Generation::NONE`]: apart from it to be read fast.
    generation: AtomicU16,
    faults: AtomicU32,
    suspicion: Notify,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct Place {
    path: PathBuf,
    geometry: Geometry,
    incarnation: Incarnation,
    check_interval: Duration,
    read_deadline: Duration,
}

/// Held by whoever opens, checks or closes.
struct State {
    directory: Option<Arc<Directory>>,
    last: Generation,
    logged: Logged,
    closed: bool,
}

/// What the log says last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logged {
    Nothing,
    Up,
    Down,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error("what was written can not be read back")]
    CanaryLost,
    #[error("a write did not come back within {CANARY_DEADLINE:?}")]
    CanaryLate,
    #[error("{0} reads failed since the last check")]
    Reads(u32),
}

impl Tier {
    pub(super) fn new(config: &Config, incarnation: Incarnation, metrics: &Arc<Metrics>) -> Self {
        let place = config.directory.clone().map(|path| Place {
            path,
            geometry: Geometry::of(config),
            incarnation,
            check_interval: config.ssd_check_interval.get(),
            read_deadline: config.ssd_read_deadline.get(),
        });
        Tier {
            place,
            ssd: ArcSwapOption::empty(),
            generation: AtomicU16::new(Generation::NONE.number()),
            faults: AtomicU32::new(0),
            suspicion: Notify::new(),
            state: Mutex::new(State {
                directory: None,
                last: Generation::NONE,
                logged: Logged::Nothing,
                closed: false,
            }),
            metrics: Arc::clone(metrics),
        }
    }

    /// Whether there is a directory at all.
    pub(super) fn is_configured(&self) -> bool {
        self.place.is_some()
    }

    /// [`Generation::NONE`] while the tier is down.
    pub(super) fn generation(&self) -> Generation {
        Generation::from_number(self.generation.load(Ordering::Relaxed))
    }

    pub(super) fn current(&self) -> Option<Arc<Ssd>> {
        self.ssd.load_full()
    }

    /// A read failed. As many as a failed disk has are looked into without delay.
    pub(super) fn report_fault(&self, error: &SsdError) {
        self.metrics.ssd_errors.inc();
        if self.faults.fetch_add(1, Ordering::Relaxed) + 1 == FAULTS_MAX {
            self.suspicion.notify_one();
        }
        tracing::debug!(%error, "a read of the SSD tier failed");
    }

    /// A write was lost: the tier is checked without delay.
    pub(super) fn report_lost_write(&self) {
        self.metrics.ssd_errors.inc();
        self.suspicion.notify_one();
    }

    /// Opens the tier for the first time. Only a directory of another process is an error.
    pub(super) async fn start(&self) -> Result<(), DirectoryError> {
        let Some(place) = &self.place else {
            return Ok(());
        };
        self.metrics.ssd_capacity_bytes[Kind::Entries].set(place.geometry.entries.capacity.cast_signed());
        self.metrics.ssd_capacity_bytes[Kind::Blobs].set(place.geometry.blobs.capacity.cast_signed());
        let mut state = self.state.lock().await;
        match Directory::open(&place.path) {
            Ok(directory) => state.directory = Some(Arc::new(directory)),
            Err(locked @ DirectoryError::Locked { .. }) => return Err(locked),
            // Bringing the tier up meets it again and handles it.
            Err(_) => {}
        }
        self.bring_up(place, &mut state).await;
        Ok(())
    }

    /// Checks the tier, and opens it again when it is down, for as long as the store lives.
    pub(super) async fn keep(&self, canaries: mpsc::Sender<CanaryCall>) {
        let Some(place) = &self.place else {
            return;
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(place.check_interval) => {}
                () = self.suspicion.notified() => {}
            }
            self.check_or_open(place, &canaries).await;
        }
    }

    async fn check_or_open(&self, place: &Place, canaries: &mpsc::Sender<CanaryCall>) {
        let mut state = self.state.lock().await;
        if state.closed {
            return;
        }
        match self.current() {
            // Without its writer the tier would only go down again.
            None if canaries.is_closed() => {}
            None => self.bring_up(place, &mut state).await,
            Some(_) => {
                if let Err(error) = self.check(canaries).await {
                    self.metrics.ssd_errors.inc();
                    self.log_down(place, &mut state, &error);
                    self.take_down(&mut state).await;
                }
            }
        }
    }

    async fn check(&self, canaries: &mpsc::Sender<CanaryCall>) -> Result<(), CheckError> {
        let faults = self.faults.swap(0, Ordering::Relaxed);
        if faults >= FAULTS_MAX {
            return Err(CheckError::Reads(faults));
        }
        let (call, answer) = oneshot::channel();
        let asked = async {
            canaries.send(call).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(CANARY_DEADLINE, asked).await {
            Ok(Some(Canary::Alive)) => Ok(()),
            Ok(Some(Canary::Lost) | None) => Err(CheckError::CanaryLost),
            Err(_) => Err(CheckError::CanaryLate),
        }
    }

    async fn bring_up(&self, place: &Place, state: &mut State) {
        match self.open(place, state).await {
            Ok(ssd) => {
                self.log_up(place, state);
                self.install(ssd);
            }
            Err(error) => {
                self.metrics.ssd_errors.inc();
                self.log_down(place, state, &error);
            }
        }
    }

    async fn open(&self, place: &Place, state: &mut State) -> Result<Ssd, SsdError> {
        let directory = match &state.directory {
            Some(directory) => Arc::clone(directory),
            None => state
                .directory
                .insert(Arc::new(Directory::open(&place.path)?))
                .clone(),
        };
        state.last = state.last.next();
        Ssd::open(Opening {
            directory,
            geometry: place.geometry.clone(),
            generation: state.last,
            incarnation: place.incarnation,
            read_deadline: place.read_deadline,
        })
        .await
    }

    fn install(&self, ssd: Ssd) {
        let generation = ssd.generation();
        self.faults.store(0, Ordering::Relaxed);
        self.ssd.store(Some(Arc::new(ssd)));
        self.generation.store(generation.number(), Ordering::Relaxed);
        self.metrics.ssd_up.set(1);
    }

    /// Whoever cuts this short leaves the directory to the threads that still use it.
    async fn take_down(&self, state: &mut State) {
        let directory = state.directory.take();
        if let Some(ssd) = self.withdraw() {
            ssd.retire().await;
        }
        state.directory = directory;
    }

    fn withdraw(&self) -> Option<Arc<Ssd>> {
        self.generation
            .store(Generation::NONE.number(), Ordering::Relaxed);
        self.metrics.ssd_up.set(0);
        for kind in [Kind::Entries, Kind::Blobs] {
            self.metrics.ssd_bytes[kind].set(0);
        }
        self.ssd.swap(None)
    }

    /// Writes out what is enqueued, stops the threads and gives the directory up.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(ssd) = self.withdraw() {
            if let Err(error) = ssd.flush().await {
                tracing::error!(%error, "the SSD tier closed without writing everything");
            }
            ssd.retire().await;
        }
        if let Some(directory) = state.directory.take() {
            directory.unlock();
        }
    }

    /// Writes out what is enqueued and gives the directory up, and goes on reading. Nothing is written or removed any more:
    /// foyer refuses both once it is closed. What the next process overwrites is a miss, by its digest. `None`: the directory
    /// is still held.
    pub(super) async fn hand_over(&self) -> Option<()> {
        let mut state = self.state.lock().await;
        state.closed = true;
        self.generation
            .store(Generation::NONE.number(), Ordering::Relaxed);
        if let Some(ssd) = self.current()
            && let Err(error) = ssd.flush().await
        {
            tracing::error!(%error, "the SSD tier was handed over without everything written");
        }
        match state.directory.take() {
            Some(directory) => directory.unlock(),
            // Whoever took the tier down was cut short, and its threads have it still.
            None if self.is_configured() && self.was_opened(&state) => return None,
            None => {}
        }
        Some(())
    }

    fn was_opened(&self, state: &State) -> bool {
        state.last != Generation::NONE
    }

    fn log_up(&self, place: &Place, state: &mut State) {
        state.logged = Logged::Up;
        tracing::info!(directory = %place.path.display(), "the SSD tier is up");
    }

    fn log_down(&self, place: &Place, state: &mut State, cause: &dyn std::error::Error) {
        if state.logged == Logged::Down {
            return;
        }
        state.logged = Logged::Down;
        tracing::error!(directory = %place.path.display(), %cause, retry_interval = ?place.check_interval,
            "the SSD tier is down: the cache is memory alone until it can be opened again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::{ByteSize, Span};
    use std::sync::atomic::AtomicBool;

    /// A writer that says of each canary what `alive` says.
    fn answer(mut calls: mpsc::Receiver<CanaryCall>, alive: Arc<AtomicBool>) {
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let canary = match alive.load(Ordering::Relaxed) {
                    true => Canary::Alive,
                    false => Canary::Lost,
                };
                call.send(canary).unwrap();
            }
        });
    }

    async fn until(mut is_so: impl FnMut() -> bool) {
        let waiting = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lost_canary_takes_the_tier_down_and_a_new_generation_follows() {
        let place = tempfile::tempdir().unwrap();
        let config = Config {
            directory: Some(place.path().into()),
            ssd: ByteSize::mib(16),
            entry_ssd: ByteSize::mib(16),
            ssd_check_interval: Span::millis(10),
            ..Config::default()
        };
        let metrics = Arc::new(Metrics::new());
        let tier = Arc::new(Tier::new(&config, Incarnation::from_bytes([0; 16]), &metrics));
        tier.start().await.unwrap();
        let alive = Arc::new(AtomicBool::new(true));
        let (calls, receiver) = mpsc::channel(1);
        answer(receiver, Arc::clone(&alive));
        let keeping = tokio::spawn({
            let tier = Arc::clone(&tier);
            async move { tier.keep(calls).await }
        });

        let first = tier.generation();
        let lost = tier.current().unwrap();
        alive.store(false, Ordering::Relaxed);
        until(|| tier.generation() != first).await;
        alive.store(true, Ordering::Relaxed);
        until(|| ![first, Generation::NONE].contains(&tier.generation())).await;
        assert!(metrics.ssd_errors.get() >= 1);
        // Whoever still holds the lost opening can not read its files beside the next.
        let body = crate::store::entry::Body::of(b"x");
        assert!(lost.load_part(body.part(0)).await.is_err());

        tier.report_lost_write();
        keeping.abort();
        tier.close().await;
        assert_eq!(metrics.ssd_up.get(), 0);
        assert!(tier.current().is_none());
        Directory::open(place.path()).unwrap();
    }
}
