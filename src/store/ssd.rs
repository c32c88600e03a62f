//! One opening of the SSD tier: two foyer block engines, entries and blobs, on threads of their own.
//!
//! foyer is used as a lossy byte store: it may forget what it took and may bring back what was removed, and
//! its writer can die in silence. Its own memory tier holds nothing. Invariants: only the writer task enqueues
//! values, or recovery would skip what was written out of order (removals come from any task: they take a value
//! out of foyer's index and write nothing); what is read is proven before it is returned, and a read that is
//! late is given up; files stay open until the last read or write on these threads is over, since foyer's I/O
//! holds bare descriptors. It does not know the memory tier, nor when it is opened again.

use super::codec::{self, CodecError, StoredPart};
use super::directory::{Directory, DirectoryError, Geometry, Prepared, Region};
use super::entry::{Entry, Generation, PartId};
use super::name_hasher::NameHashBuilder;
use super::stored::StoredEntry;
use super::threads::Threads;
use super::under_way::{Removed, UnderWay};
use crate::base::epoch::Incarnation;
use crate::base::metrics::{Kind, Metrics};
use crate::key::KeyName;
use foyer::{
    Age, BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder,
    HybridCachePolicy, Load, PsyncIoEngineConfig, RecoverMode, Spawner, StorageKey, StorageValue,
};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;

const BLOB_INDEX_BYTES: usize = 16 << 10;
const RECLAIMERS: usize = 2;
const CLEAN_BLOCKS: usize = 2;

const PAGE_BYTES: usize = 4096;

/// What foyer writes before a value.
const RECORD_HEADER_BYTES: usize = 36 + 36;

/// A foyer cache and the memory that its writer may use.
struct Shape {
    name: &'static str,
    /// foyer drops what does not fit into this buffer: more must never be in flight.
    buffer_bytes: usize,
}

const ENTRIES: Shape = Shape {
    name: "entries",
    buffer_bytes: 8 << 20,
};

const BLOBS: Shape = Shape {
    name: "blobs",
    buffer_bytes: 32 << 20,
};

/// How much may be enqueued between two waits, by the space it takes on disk.
pub(super) const ENTRIES_IN_FLIGHT_BYTES_MAX: usize = ENTRIES.buffer_bytes - (1 << 20);
pub(super) const BLOBS_IN_FLIGHT_BYTES_MAX: usize = BLOBS.buffer_bytes - (2 << 20);

type Tier<K, V> = HybridCache<K, V, NameHashBuilder>;

pub(super) struct Ssd {
    entries: Tier<KeyName, StoredEntry>,
    blobs: Tier<PartId, StoredPart>,
    threads: Mutex<Option<Threads>>,
    handle: Handle,
    directory: Arc<Directory>,
    generation: Generation,
    incarnation: Incarnation,
    geometry: Geometry,
    read_deadline: Duration,
    entries_bytes: AtomicU64,
    blobs_bytes: AtomicU64,
    entries_under_way: UnderWay<KeyName>,
    blobs_under_way: UnderWay<PartId>,
}

/// How a tier is opened.
pub(super) struct Opening {
    pub(super) directory: Arc<Directory>,
    pub(super) geometry: Geometry,
    pub(super) generation: Generation,
    pub(super) incarnation: Incarnation,
    pub(super) read_deadline: Duration,
}

/// What was read, and whether its block is about to be overwritten.
#[derive(Debug)]
pub(super) struct Loaded<V> {
    pub(super) value: V,
    pub(super) rescue: Rescue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    Needless,
    /// It is lost soon unless it is written again.
    Due,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SsdError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("threads for the SSD tier can not be started: {0}")]
    Threads(#[from] std::io::Error),
    #[error("the block files can not be opened: {0}")]
    Engine(foyer::Error),
    #[error("a read failed, it counts as a miss: {0}")]
    Read(foyer::Error),
    #[error("a read did not end within {0:?}, it counts as a miss")]
    Late(Duration),
    #[error(transparent)]
    Corrupt(#[from] CodecError),
    #[error("a thread of the SSD tier panicked or was stopped; what it did counts as failed")]
    Thread,
}

impl SsdError {
    /// Whether the object read is lost for good, rather than its disk slow or its tier ending.
    pub(super) fn is_of_the_object(&self) -> bool {
        matches!(self, SsdError::Read(_) | SsdError::Corrupt(_))
    }
}

impl Ssd {
    /// Reserves all space, then recovers what earlier openings wrote.
    pub(super) async fn open(opening: Opening) -> Result<Self, SsdError> {
        let Opening {
            directory,
            geometry,
            generation,
            incarnation,
            read_deadline,
        } = opening;
        let (threads, handle) = Threads::start()?;
        let opened = handle
            .spawn({
                let (directory, geometry) = (Arc::clone(&directory), geometry.clone());
                async move { open_both(&directory, &geometry).await }
            })
            .await;
        let (prepared, entries, blobs) = opened.unwrap_or(Err(SsdError::Thread))?;
        Ok(Ssd {
            entries,
            blobs,
            threads: Mutex::new(Some(threads)),
            handle,
            directory,
            generation,
            incarnation,
            geometry,
            read_deadline,
            entries_bytes: AtomicU64::new(prepared.entries),
            blobs_bytes: AtomicU64::new(prepared.blobs),
            entries_under_way: UnderWay::default(),
            blobs_under_way: UnderWay::default(),
        })
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// May say yes for a name that only shares its hash, and for what is still being written.
    pub(super) fn may_contain_entry(&self, name: KeyName) -> bool {
        self.entries.storage().may_contains(&name)
    }

    pub(super) fn may_contain_part(&self, id: &PartId) -> bool {
        self.blobs.storage().may_contains(id)
    }

    pub(super) async fn load_entry(&self, name: KeyName) -> Result<Option<Loaded<Entry>>, SsdError> {
        let (entries, incarnation) = (self.entries.clone(), self.incarnation);
        self.read(async move {
            let Some(Loaded { value, rescue }) = load(&entries, &name).await? else {
                return Ok(None);
            };
            let value = codec::decode_entry(&value.0, &incarnation)?;
            Ok(Some(Loaded { value, rescue }))
        })
        .await
    }

    pub(super) async fn load_part(&self, id: PartId) -> Result<Option<Loaded<Box<[u8]>>>, SsdError> {
        let blobs = self.blobs.clone();
        self.read(async move {
            let Some(Loaded { value, rescue }) = load(&blobs, &id).await? else {
                return Ok(None);
            };
            let value = match value {
                StoredPart::Read(part) => part.verified(&id)?,
                StoredPart::Whole(bytes) | StoredPart::Piece(bytes) => bytes[..].into(),
            };
            Ok(Some(Loaded { value, rescue }))
        })
        .await
    }

    /// For the writer task alone; written at some time before [`Ssd::wait_for_entries`] returns. An entry that was
    /// withdrawn is not: false.
    pub(super) fn enqueue_entry(&self, name: KeyName, entry: &Entry) -> bool {
        let stored = StoredEntry(codec::encode_entry(entry, &self.incarnation));
        let bytes = bytes_on_disk(stored.0.len());
        let is_wanted = || !entry.is_withdrawn();
        let enqueued = self.entries_under_way.enqueue_if(name, is_wanted, || {
            self.entries.storage_writer(name).force().insert(stored);
        });
        if enqueued {
            self.entries_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        enqueued
    }

    /// For the writer task alone; written at some time before [`Ssd::wait_for_parts`] returns.
    pub(super) fn enqueue_part(&self, id: PartId, part: StoredPart) {
        self.blobs_bytes
            .fetch_add(bytes_on_disk(part.encoded_bytes_max()), Ordering::Relaxed);
        self.blobs_under_way.enqueue(id, || {
            self.blobs.storage_writer(id).force().insert(part);
        });
    }

    /// What was removed since it was enqueued.
    pub(super) async fn wait_for_entries(&self) -> Removed<KeyName> {
        self.entries.storage().wait().await;
        self.entries_under_way.land()
    }

    /// What was removed since it was enqueued.
    pub(super) async fn wait_for_parts(&self) -> Removed<PartId> {
        self.blobs.storage().wait().await;
        self.blobs_under_way.land()
    }

    pub(super) fn remove_entry(&self, name: KeyName) {
        self.entries_under_way
            .remove(&name, || self.entries.storage().delete(&name));
    }

    pub(super) fn remove_part(&self, id: PartId) {
        self.blobs_under_way
            .remove(&id, || self.blobs.storage().delete(&id));
    }

    /// The space of blocks in use: whole blocks of what was found at the opening, and since then the pages that
    /// were written, up to the capacity, beyond which a write overwrites.
    pub(super) fn observe(&self, metrics: &Metrics) {
        let Geometry { entries, blobs } = self.geometry;
        let kinds = [
            (Kind::Entries, entries, &self.entries_bytes),
            (Kind::Blobs, blobs, &self.blobs_bytes),
        ];
        for (kind, region, bytes) in kinds {
            let bytes = bytes.load(Ordering::Relaxed).min(region.capacity);
            metrics.ssd_bytes[kind].set(bytes.cast_signed());
        }
    }

    /// Writes what is under way to the disk.
    pub(super) async fn flush(&self) -> Result<(), SsdError> {
        let (entries, blobs) = (self.entries.clone(), self.blobs.clone());
        self.run(async move {
            blobs.close().await.map_err(SsdError::Engine)?;
            entries.close().await.map_err(SsdError::Engine)
        })
        .await
    }

    /// Stops the tier's threads and returns when no I/O is left; reads are misses from now on.
    pub(super) async fn retire(&self) {
        let threads = self.threads.lock().take();
        if let Some(threads) = threads {
            threads.stop(self.used_by_threads()).await;
        }
    }

    fn used_by_threads(&self) -> impl Send + use<> {
        (
            self.entries.clone(),
            self.blobs.clone(),
            Arc::clone(&self.directory),
        )
    }

    /// A read that is late goes on by itself: the disk has it and can not be told to stop.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SsdError>> + Send + 'static,
    ) -> Result<T, SsdError> {
        let late = |_| Err(SsdError::Late(self.read_deadline));
        tokio::time::timeout(self.read_deadline, self.run(work))
            .await
            .unwrap_or_else(late)
    }

    /// A caller that leaves does not cut the work short, and a panic stays within the tier.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SsdError>> + Send + 'static,
    ) -> Result<T, SsdError> {
        self.handle.spawn(work).await.unwrap_or(Err(SsdError::Thread))
    }
}

#[cfg(test)]
impl Ssd {
    /// A disk that answers nothing, until the result is dropped.
    pub(super) fn stall(&self) -> Vec<std::sync::mpsc::SyncSender<()>> {
        let stall_one = |_| {
            let (release, released) = std::sync::mpsc::sync_channel(0);
            // What is waited for is the sender's end.
            self.handle.spawn_blocking(move || _ = released.recv());
            release
        };
        (0..super::threads::IO_THREADS_MAX).map(stall_one).collect()
    }
}

impl Drop for Ssd {
    /// What the threads use lives until they are gone; so does the lock of the directory.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.get_mut().take() {
            threads.stop_before(self.used_by_threads());
        }
    }
}

/// The pages that a value takes.
pub(super) fn bytes_on_disk(value_bytes: usize) -> u64 {
    (value_bytes + RECORD_HEADER_BYTES).next_multiple_of(PAGE_BYTES) as u64
}

type Opened = (Prepared, Tier<KeyName, StoredEntry>, Tier<PartId, StoredPart>);

async fn open_both(directory: &Arc<Directory>, geometry: &Geometry) -> Result<Opened, SsdError> {
    let reserving = tokio::task::spawn_blocking({
        let (directory, geometry) = (Arc::clone(directory), geometry.clone());
        move || directory.prepare(&geometry)
    });
    let prepared = reserving.await.map_err(|_| SsdError::Thread)??;
    let entries = open_one(ENTRIES, &directory.entries(), geometry.entries).await?;
    let blobs = open_one(BLOBS, &directory.blobs(), geometry.blobs).await?;
    Ok((prepared, entries, blobs))
}

async fn open_one<K, V>(shape: Shape, directory: &Path, region: Region) -> Result<Tier<K, V>, SsdError>
where
    K: StorageKey,
    V: StorageValue,
{
    let capacity = usize::try_from(region.capacity).expect("space was found for it");
    let block = usize::try_from(region.block).expect("a block is at most 1 GiB");
    let device = FsDeviceBuilder::new(directory).with_capacity(capacity).build();
    let engine = BlockEngineConfig::new(device.map_err(SsdError::Engine)?)
        .with_block_size(block)
        .with_blob_index_size(BLOB_INDEX_BYTES)
        .with_flushers(1)
        .with_reclaimers(RECLAIMERS)
        .with_clean_block_threshold(CLEAN_BLOCKS)
        .with_buffer_pool_size(shape.buffer_bytes)
        .with_submit_queue_size_threshold(2 * shape.buffer_bytes);
    HybridCacheBuilder::new()
        .with_name(shape.name)
        .with_policy(HybridCachePolicy::WriteOnInsertion)
        .with_flush_on_close(false)
        .memory(1)
        .with_shards(1)
        .with_hash_builder(NameHashBuilder::default())
        .with_filter(|_, _| false)
        .storage()
        .with_io_engine_config(PsyncIoEngineConfig::new())
        .with_engine_config(engine)
        .with_recover_mode(RecoverMode::Quiet)
        .with_spawner(Spawner::current())
        .build()
        .await
        .map_err(SsdError::Engine)
}

async fn load<K, V>(tier: &Tier<K, V>, name: &K) -> Result<Option<Loaded<V>>, SsdError>
where
    K: StorageKey,
    V: StorageValue + Clone,
{
    match tier.storage().load(name).await.map_err(SsdError::Read)? {
        Load::Entry { value, populated, .. } => Ok(Some(Loaded {
            value,
            rescue: Rescue::of(populated.age),
        })),
        Load::Piece { piece, .. } => Ok(Some(Loaded {
            value: piece.value().clone(),
            rescue: Rescue::Needless,
        })),
        Load::Throttled | Load::Miss => Ok(None),
    }
}

impl Rescue {
    fn of(age: Age) -> Self {
        match age {
            Age::Old => Rescue::Due,
            Age::Fresh | Age::Young => Rescue::Needless,
        }
    }
}
