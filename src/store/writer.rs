//! The one task that writes to the SSD, and the queue before it.
//!
//! A batch is written in three steps: its parts, a wait until they are on disk, its entries and a wait for
//! those. So an entry is never there before its body, foyer's buffer never overflows, and recovery finds all
//! in order. Afterwards everything written must be known to foyer: that is how a dead writer is noticed.
//! Invariants: the queue is bounded in bytes; what does not fit is dropped and counted; writing twice what is
//! the same changes nothing. It does not know the memory tier, nor what is worth a write.

use super::codec::{self, StoredPart};
use super::entry::{Body, Entry, PartId, Stamp};
use super::ssd::{self, BLOBS_IN_FLIGHT_BYTES_MAX, ENTRIES_IN_FLIGHT_BYTES_MAX, Ssd};
use super::tier::{Canary, CanaryCall, Tier};
use super::waiting::Waiting;
use crate::base::clock;
use crate::base::metrics::{Drop as DropReason, Kind, Metrics};
use crate::http::freshness::Lifetime;
use crate::http::header_block::HeaderBlock;
use crate::key::KeyName;
use bytes::Bytes;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The least space of anything on the SSD: it bounds the queue's length by its bytes.
const ITEM_BYTES_MIN: u64 = 4096;

/// A batch takes no further job from here on.
const BATCH_BYTES: u64 = BLOBS_IN_FLIGHT_BYTES_MAX as u64;

/// No key has this name, and no body this digest.
const CANARY_NAME: KeyName = KeyName::from_bytes(*b"aquatint/canary/");
const CANARY_PART_INDEX: u32 = u32::MAX;

/// What is to be written together: parts, then the entry that names them.
#[derive(Default)]
pub(super) struct Job {
    parts: Vec<(PartId, StoredPart)>,
    entry: Option<(KeyName, Arc<Entry>)>,
}

/// The way to the writer, shared by all that put.
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    backlog: Arc<Backlog>,
    waiting: Arc<Waiting>,
    bytes_max: u64,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Taken,
    Dropped,
}

enum Message {
    Write(Job),
    /// Nothing follows.
    Stop,
}

/// Bytes between queue and disk.
#[derive(Default)]
struct Backlog(AtomicU64);

pub(super) struct Writer {
    messages: mpsc::Receiver<Message>,
    canaries: mpsc::Receiver<CanaryCall>,
    backlog: Arc<Backlog>,
    waiting: Arc<Waiting>,
    tier: Arc<Tier>,
    metrics: Arc<Metrics>,
}

impl Job {
    pub(super) fn add_part(&mut self, id: PartId, part: StoredPart) {
        self.parts.push((id, part));
    }

    pub(super) fn set_entry(&mut self, name: KeyName, entry: Arc<Entry>) {
        self.entry = Some((name, entry));
    }

    /// What it takes on disk.
    fn bytes(&self) -> u64 {
        let parts = self.parts.iter().map(|(_, part)| part_bytes(part)).sum::<u64>();
        parts + self.entry.as_ref().map_or(0, |(_, entry)| entry_bytes(entry))
    }

    fn items(&self) -> u64 {
        self.parts.len() as u64 + u64::from(self.entry.is_some())
    }
}

/// A queue for `bytes_max` bytes on disk and its writer, which also answers `canaries`.
pub(super) fn queue(
    tier: &Arc<Tier>,
    metrics: &Arc<Metrics>,
    bytes_max: u64,
    canaries: mpsc::Receiver<CanaryCall>,
) -> (Queue, Writer) {
    let messages_max = usize::try_from(bytes_max / ITEM_BYTES_MIN).unwrap_or(usize::MAX);
    let (sender, receiver) = mpsc::channel(messages_max.clamp(1, mpsc_capacity_max()));
    let backlog = Arc::new(Backlog::default());
    let waiting = Arc::new(Waiting::default());
    let writer = Writer {
        messages: receiver,
        canaries,
        backlog: Arc::clone(&backlog),
        waiting: Arc::clone(&waiting),
        tier: Arc::clone(tier),
        metrics: Arc::clone(metrics),
    };
    let queue = Queue {
        messages: sender,
        backlog,
        waiting,
        bytes_max,
        metrics: Arc::clone(metrics),
    };
    (queue, writer)
}

const fn mpsc_capacity_max() -> usize {
    tokio::sync::Semaphore::MAX_PERMITS
}

impl Queue {
    /// Never waits. A job larger than the whole queue is taken when the queue is empty.
    pub(super) fn offer(&self, job: Job) -> Offer {
        let (bytes, items) = (job.bytes(), job.items());
        if !self.backlog.reserve(bytes, self.bytes_max) {
            return self.refuse(items);
        }
        // Before it is sent: the writer strikes it off.
        if let Some((name, entry)) = &job.entry {
            self.waiting.add(*name, entry);
        }
        match self.messages.try_send(Message::Write(job)) {
            Ok(()) => Offer::Taken,
            Err(refused) => {
                if let TrySendError::Full(Message::Write(job)) | TrySendError::Closed(Message::Write(job)) =
                    refused
                {
                    self.waiting.strike(job.entry.as_ref());
                }
                self.backlog.release(bytes);
                self.refuse(items)
            }
        }
    }

    /// An entry of this name that still waits is not written.
    pub(super) fn withdraw(&self, name: KeyName) {
        self.waiting.withdraw(name);
    }

    fn refuse(&self, items: u64) -> Offer {
        self.metrics.ssd_drops[DropReason::QueueFull].inc_by(items);
        Offer::Dropped
    }

    /// The writer ends when it has written what is queued now.
    pub(super) async fn stop(&self) {
        // The writer is gone already: there is nothing to stop.
        _ = self.messages.send(Message::Stop).await;
    }

    pub(super) fn observe(&self) {
        self.metrics.ssd_queue_bytes.set(self.bytes().cast_signed());
    }

    /// What is queued or being written.
    pub(super) fn bytes(&self) -> u64 {
        self.backlog.0.load(Ordering::Relaxed)
    }
}

impl Backlog {
    fn reserve(&self, bytes: u64, bytes_max: u64) -> bool {
        let reserved = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            let fits = held == 0 || held.saturating_add(bytes) <= bytes_max;
            fits.then(|| held.saturating_add(bytes))
        });
        reserved.is_ok()
    }

    fn release(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Writer {
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(call) = self.canaries.recv() => self.answer(call).await,
                message = self.messages.recv() => match message {
                    Some(Message::Write(job)) => {
                        if let Flow::Stop = self.write_batch_from(job).await {
                            return;
                        }
                    }
                    Some(Message::Stop) | None => return,
                },
            }
        }
    }

    /// Takes along what else waits, up to the size of a batch.
    async fn write_batch_from(&mut self, first: Job) -> Flow {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let mut flow = Flow::Continue;
        while bytes < BATCH_BYTES {
            match self.messages.try_recv() {
                Ok(Message::Write(job)) => {
                    bytes += job.bytes();
                    batch.push(job);
                }
                Ok(Message::Stop) => {
                    flow = Flow::Stop;
                    break;
                }
                Err(_) => break,
            }
        }
        self.write(batch).await;
        self.backlog.release(bytes);
        flow
    }

    async fn write(&self, batch: Vec<Job>) {
        let Some(ssd) = self.tier.current() else {
            let items = batch.iter().map(Job::items).sum();
            batch
                .iter()
                .for_each(|job| self.waiting.strike(job.entry.as_ref()));
            self.metrics.ssd_drops[DropReason::Unavailable].inc_by(items);
            return;
        };
        let mut parts = Vec::new();
        let mut entries = Vec::new();
        for job in batch {
            parts.extend(job.parts);
            entries.extend(job.entry);
        }
        let mut lost = self.write_parts(&ssd, parts).await;
        lost += self.write_entries(&ssd, entries).await;
        if lost > 0 {
            self.tier.report_lost_write();
        }
    }

    /// How many are not there afterwards.
    async fn write_parts(&self, ssd: &Ssd, parts: Vec<(PartId, StoredPart)>) -> usize {
        let mut flight = Flight::new(BLOBS_IN_FLIGHT_BYTES_MAX as u64);
        let mut lost = 0;
        for (id, part) in parts {
            let bytes = part_bytes(&part);
            if flight.is_full_with(bytes) {
                lost += self.land_parts(ssd, &mut flight).await;
            }
            ssd.enqueue_part(id, part);
            flight.add(id, bytes);
        }
        lost + self.land_parts(ssd, &mut flight).await
    }

    async fn write_entries(&self, ssd: &Ssd, entries: Vec<(KeyName, Arc<Entry>)>) -> usize {
        let mut flight = Flight::new(ENTRIES_IN_FLIGHT_BYTES_MAX as u64);
        let mut lost = 0;
        for (name, entry) in entries {
            let bytes = entry_bytes(&entry);
            if flight.is_full_with(bytes) {
                lost += self.land_entries(ssd, &mut flight).await;
            }
            let enqueued = ssd.enqueue_entry(name, &entry);
            self.waiting.strike(Some(&(name, entry)));
            if enqueued {
                flight.add(name, bytes);
            }
        }
        lost + self.land_entries(ssd, &mut flight).await
    }

    async fn land_parts(&self, ssd: &Ssd, flight: &mut Flight<PartId>) -> usize {
        if flight.is_empty() {
            return 0;
        }
        let removed = ssd.wait_for_parts().await;
        self.count(flight, Kind::Blobs, |id| {
            Landing::of(ssd.may_contain_part(id), removed.contains(id))
        })
    }

    async fn land_entries(&self, ssd: &Ssd, flight: &mut Flight<KeyName>) -> usize {
        if flight.is_empty() {
            return 0;
        }
        let removed = ssd.wait_for_entries().await;
        self.count(flight, Kind::Entries, |name| {
            Landing::of(ssd.may_contain_entry(*name), removed.contains(name))
        })
    }

    fn count<K>(&self, flight: &mut Flight<K>, kind: Kind, landing: impl Fn(&K) -> Landing) -> usize {
        let mut lost = 0;
        for (name, bytes) in flight.land() {
            match landing(&name) {
                Landing::Written => {
                    self.metrics.ssd_writes[kind].inc();
                    self.metrics.ssd_written_bytes.inc_by(bytes);
                }
                Landing::Removed => {}
                Landing::Lost => lost += 1,
            }
        }
        lost
    }

    async fn answer(&self, call: CanaryCall) {
        let canary = match self.tier.current() {
            Some(ssd) => send_canary(&ssd).await,
            None => Canary::Lost,
        };
        // Whoever asked may have stopped waiting.
        _ = call.send(canary);
    }
}

/// What became of something enqueued.
enum Landing {
    Written,
    /// On request, while it was written.
    Removed,
    Lost,
}

impl Landing {
    fn of(is_there: bool, was_removed: bool) -> Self {
        match (is_there, was_removed) {
            (true, _) => Landing::Written,
            (false, true) => Landing::Removed,
            (false, false) => Landing::Lost,
        }
    }
}

enum Flow {
    Continue,
    Stop,
}

/// What is enqueued and not yet waited for.
struct Flight<K> {
    items: Vec<(K, u64)>,
    bytes: u64,
    bytes_max: u64,
}

impl<K> Flight<K> {
    fn new(bytes_max: u64) -> Self {
        Flight {
            items: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn is_full_with(&self, bytes: u64) -> bool {
        self.bytes + bytes > self.bytes_max
    }

    fn add(&mut self, name: K, bytes: u64) {
        self.items.push((name, bytes));
        self.bytes += bytes;
    }

    fn land(&mut self) -> impl Iterator<Item = (K, u64)> {
        self.bytes = 0;
        std::mem::take(&mut self.items).into_iter()
    }
}

/// Writes a part and an entry that were never written before, and reads both back.
async fn send_canary(ssd: &Ssd) -> Canary {
    let song = Bytes::copy_from_slice(&clock::now().as_millis().to_le_bytes());
    let body = Body::of(&song);
    let id = PartId {
        digest: body.digest,
        index: CANARY_PART_INDEX,
    };
    ssd.enqueue_part(id, StoredPart::Piece(song.clone()));
    ssd.enqueue_entry(CANARY_NAME, &canary_entry(body));
    ssd.wait_for_parts().await;
    ssd.wait_for_entries().await;
    let part = ssd.load_part(id).await.ok().flatten();
    let entry = ssd.load_entry(CANARY_NAME).await.ok().flatten();
    match (part, entry) {
        (Some(part), Some(entry)) if *part.value == *song && entry.value.body == body => Canary::Alive,
        _ => Canary::Lost,
    }
}

fn canary_entry(body: Body) -> Entry {
    let now = clock::now();
    let lifetime = Lifetime::without_stale(now, now);
    Entry::from_parts(
        "".into(),
        StatusCode::OK,
        HeaderBlock::default(),
        lifetime,
        body,
        Stamp::default(),
    )
}

fn part_bytes(part: &StoredPart) -> u64 {
    ssd::bytes_on_disk(part.encoded_bytes_max())
}

fn entry_bytes(entry: &Entry) -> u64 {
    ssd::bytes_on_disk(codec::entry_encoded_bytes(entry))
}
