//! The hybrid cache: entries and bodies in memory, and on an SSD what is asked for again.
//!
//! A look-up: memory, synchronous ([`Store::entry`], [`Store::part`]); when that misses, the SSD
//! ([`Store::load_entry`], [`Store::load_part`]), which brings what it finds into memory.
//!
//! A put: 1. the body's parts go to memory unless equal bytes are there; 2. then the entry, from which moment it
//! is served; 3. if it proves worth a write, parts and entry are queued for the one writer task. Worth a write
//! is what is asked for a second time: as a hit in memory, or as a put of what memory has lost since.
//!
//! Invariants: an entry's body may be missing (the caller treats that as a miss), but is never another body, cut
//! or corrupt. No failure of the SSD reaches a caller. The store does not judge freshness beyond removing what
//! is past all use, and it does not know origins, routes or purges. Only this module knows foyer.

mod admission;
mod closing;
mod codec;
pub mod config;
mod directory;
mod doorkeeper;
mod entry;
mod expiry;
mod memory;
mod name_hasher;
mod peek;
mod ssd;
mod stored;
mod threads;
mod tier;
mod travel;
mod under_way;
mod waiting;
mod writer;

pub use closing::NotGivenUp;
pub use entry::{Body, Entry, Kind as EntryKind, PART_BYTES, PartId, Stamp};
pub use travel::{Arrived, TRAVEL_BYTES_MAX, TravelError};

use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::epoch::Incarnation;
use crate::base::metrics::{Kind, Metrics, Tier as TierLabel};
use crate::key::{CacheKey, KeyName};
use bytes::Bytes;
use config::{Admission, Config};
use directory::DirectoryError;
use doorkeeper::Doorkeeper;
use entry::{Generation, into_parts};
use expiry::Names;
use memory::{Memory, Put, Renewal, Revival};
use parking_lot::Mutex;
use ssd::{Rescue, Ssd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tier::Tier;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use writer::Queue;

/// A body that would take more than this part of the SSD is not written.
const SSD_FRACTION: u64 = 8;

/// One name for the expiry sampler for so many bytes of entries: fewer bytes than any entry takes.
const ENTRY_BYTES_MIN: usize = 384;

/// A cheap handle to the cache.
#[derive(Clone)]
pub struct Store(Arc<Open>);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store's directory {} is used by another process; nothing in it was touched", .directory.display())]
    Locked { directory: PathBuf },
}

/// The store and its tasks, which end with it.
struct Open {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    close_deadline: Duration,
}

/// What the store's tasks need too.
struct Shared {
    memory: Memory,
    names: Names,
    tier: Arc<Tier>,
    queue: Queue,
    admission: Admission,
    /// Only with an SSD.
    doorkeeper: Option<Doorkeeper>,
    ssd_body_bytes_max: u64,
    accepting: AtomicBool,
    keep_expired: Duration,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens the cache on the current tokio runtime. A directory that can not be used for any other reason than
    /// being another process's is logged and tried again: the cache is memory alone until then. What was stored under
    /// another incarnation of the log of purges comes back as of no known epoch.
    pub async fn open(
        config: &Config,
        incarnation: Incarnation,
        metrics: Arc<Metrics>,
    ) -> Result<Store, StoreError> {
        let tier = Arc::new(Tier::new(config, incarnation, &metrics));
        if let Err(DirectoryError::Locked { directory }) = tier.start().await {
            return Err(StoreError::Locked { directory });
        }
        let (canary_calls, canaries) = mpsc::channel(1);
        let queue_bytes_max = config.write_queue_bytes_max.bytes();
        let (queue, writer) = writer::queue(&tier, &metrics, queue_bytes_max, canaries);
        let shared = Arc::new(Shared {
            memory: Memory::new(config, &metrics),
            names: Names::new(config.entry_memory.as_usize() / ENTRY_BYTES_MIN),
            queue,
            admission: config.admission,
            doorkeeper: tier.is_configured().then(Doorkeeper::new),
            ssd_body_bytes_max: config.ssd.bytes() / SSD_FRACTION,
            accepting: AtomicBool::new(true),
            keep_expired: config.keep_expired.get(),
            metrics,
            tier: Arc::clone(&tier),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(expiry::expire(Arc::clone(&shared), config.expiry_interval.get()));
        tasks.spawn(async move { tier.keep(canary_calls).await });
        let writer = tokio::spawn(writer.run());
        Ok(Store(Arc::new(Open {
            shared,
            tasks: Mutex::new(tasks),
            writer: Mutex::new(Some(writer)),
            close_deadline: config.close_deadline.get(),
        })))
    }

    /// The entry of `key` if memory holds it. Synchronous: the way of a hit.
    pub fn entry(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.0.shared.entry(key)
    }

    /// The entry of `key` if the SSD holds it.
    pub async fn load_entry(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let found = self.0.shared.load_entry(key).await;
        self.0.shared.count_load(Kind::Entries, found.is_some());
        found
    }

    /// A part of a body if memory holds it.
    pub fn part(&self, id: &PartId) -> Option<Bytes> {
        let part = self.0.shared.memory.part(id)?;
        self.0.shared.metrics.tier_hits[(TierLabel::Memory, Kind::Blobs)].inc();
        Some(part)
    }

    /// The same, not counted as a hit: for callers who only look whether it is there.
    pub fn peek_part(&self, id: &PartId) -> Option<Bytes> {
        self.0.shared.memory.part(id)
    }

    /// A part of a body if the SSD holds it, proven by its digest.
    pub async fn load_part(&self, id: &PartId) -> Option<Bytes> {
        let found = self.0.shared.load_part(*id).await;
        self.0.shared.count_load(Kind::Blobs, found.is_some());
        found
    }

    /// Whether every part of a body is in memory or, as far as its index tells, on the SSD.
    pub fn holds_body(&self, body: &Body) -> bool {
        let shared = &self.0.shared;
        let ssd = shared.tier.current();
        body.parts().all(|id| {
            shared.memory.contains_part(&id) || ssd.as_ref().is_some_and(|ssd| ssd.may_contain_part(&id))
        })
    }

    /// Stores a response. `body` is its whole body in chunks of any size, and `entry.body` its digest and length.
    /// From the return on, it is served.
    pub fn put(&self, key: &CacheKey, entry: Entry, body: &[Bytes]) -> Arc<Entry> {
        self.0.shared.put(key, entry, body)
    }

    /// Puts an entry in the place of one with the same body, and gives back what is stored then: where another has
    /// been put meanwhile, that.
    pub fn renew_entry(&self, key: &CacheKey, entry: Entry) -> Arc<Entry> {
        self.0.shared.renew_entry(key, entry)
    }

    /// Stores an entry whose body is stored already.
    pub fn put_entry(&self, key: &CacheKey, entry: Entry) -> Arc<Entry> {
        self.0.shared.put_entry(key, entry)
    }

    /// Forgets the entry of `key`; its body may be that of others and stays until it is evicted. What the SSD
    /// held may come back after a restart: what must not be served has to be recognised by its entry.
    pub fn remove(&self, key: &CacheKey) {
        self.0.shared.remove(key.name());
    }

    /// As [`Store::remove`], by the key's name.
    pub fn forget(&self, name: KeyName) {
        self.0.shared.remove(name);
    }

    /// Forgets an entry and, as far as memory knows the entry, a body of one part: for one that is hardly another's. Whose
    /// body it was too finds it gone. A larger one may be being read, and stays until it is evicted; so does one of the
    /// digest `spared`.
    pub fn discard(&self, name: KeyName, spared: &Digest) {
        self.0.shared.discard(name, spared);
    }

    /// Forgets `entry`, unless another has taken its place.
    pub fn remove_if_same(&self, entry: &Entry) {
        let (name, is_same) = (entry.name(), |present: Arc<Entry>| present.body == entry.body);
        if self.0.shared.memory.entry(name).is_none_or(is_same) {
            self.forget(name);
        }
    }

    /// Shows every entry that memory holds, as far as the expiry sampler knows its name. Not for a hot thread.
    pub fn each_in_memory(&self, mut show: impl FnMut(&Entry)) {
        let shared = &self.0.shared;
        for name in shared.names.all() {
            if let Some(entry) = shared.memory.entry_of(name) {
                show(&entry);
            }
        }
    }

    /// Sets the gauges. To be called before metrics are rendered.
    pub fn observe(&self) {
        let shared = &self.0.shared;
        shared.memory.observe(&shared.metrics);
        shared.queue.observe();
        if let Some(ssd) = shared.tier.current() {
            ssd.observe(&shared.metrics);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.get_mut() {
            writer.abort();
        }
    }
}

impl Shared {
    fn entry(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let entry = self.memory.entry(key.name())?;
        if *entry.key_text != *key.text() {
            return None;
        }
        self.metrics.tier_hits[(TierLabel::Memory, Kind::Entries)].inc();
        let generation = self.tier.generation();
        if !entry.is_written_in(generation) && generation != Generation::NONE {
            self.write(key.name(), &entry, |id| self.memory.part(id));
        }
        Some(entry)
    }

    /// The tier, to read entries of. Of one that is another process's by now nothing can be removed: an entry that was would
    /// come back.
    fn readable_ssd(&self) -> Option<Arc<Ssd>> {
        let accepting = self.accepting.load(Ordering::Relaxed);
        self.tier.current().filter(|_| accepting)
    }

    async fn load_entry(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        let name = key.name();
        let ssd = self.readable_ssd()?;
        let before = self.memory.changes(name);
        let loaded = match ssd.load_entry(name).await {
            Ok(loaded) => loaded?,
            Err(error) => {
                self.tier.report_fault(&error);
                if error.is_of_the_object() {
                    ssd.remove_entry(name);
                }
                return None;
            }
        };
        let entry = Arc::new(loaded.value);
        if *entry.key_text != *key.text() {
            return None;
        }
        if loaded.rescue == Rescue::Needless {
            entry.claim_for(ssd.generation());
        } else {
            self.write(name, &entry, |id| self.memory.part(id));
        }
        match self.memory.revive(name, &entry, before) {
            Revival::Kept => {
                self.names.add(name);
                Some(entry)
            }
            Revival::Superseded(present) => (*present.key_text == *key.text()).then_some(present),
            Revival::Removed => None,
        }
    }

    async fn load_part(&self, id: PartId) -> Option<Bytes> {
        let ssd = self.tier.current()?;
        match ssd.load_part(id).await {
            Ok(loaded) => {
                let loaded = loaded?;
                let bytes = self.memory.put_part(id, loaded.value);
                if loaded.rescue == Rescue::Due {
                    self.rescue(id, bytes.clone());
                }
                Some(bytes)
            }
            Err(error) => {
                self.tier.report_fault(&error);
                if error.is_of_the_object() {
                    ssd.remove_part(id);
                }
                None
            }
        }
    }

    fn put(&self, key: &CacheKey, entry: Entry, body: &[Bytes]) -> Arc<Entry> {
        let received: u64 = body.iter().map(|chunk| chunk.len() as u64).sum();
        if received != entry.body.length {
            tracing::error!(
                key = key.text(),
                received,
                length = entry.body.length,
                "a body is not as long as its entry says: it is not stored"
            );
            return Arc::new(entry);
        }
        let parts = self.put_body(&entry.body, body);
        let entry = self.insert(key.name(), entry);
        if self.is_worth_a_write_at_once(key.name()) {
            self.write(key.name(), &entry, |id| match parts.get(id.index as usize) {
                Some(part) => Some(part.clone()),
                None => self.memory.part(id),
            });
        }
        entry
    }

    fn renew_entry(&self, key: &CacheKey, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        match self.memory.renew_entry(key.name(), &entry) {
            Renewal::Superseded(present) => return present,
            Renewal::Kept(Put::New) => self.names.add(key.name()),
            Renewal::Kept(Put::Replaced) => {}
        }
        self.rewrite(key.name(), &entry);
        entry
    }

    fn put_entry(&self, key: &CacheKey, entry: Entry) -> Arc<Entry> {
        let entry = self.insert(key.name(), entry);
        self.rewrite(key.name(), &entry);
        entry
    }

    /// The parts that came into memory: none if equal bytes are there already.
    fn put_body(&self, body: &Body, chunks: &[Bytes]) -> Vec<Bytes> {
        let ssd = self.tier.current();
        let in_memory = body.parts().all(|id| self.memory.contains_part(&id));
        let is_on_ssd = |ssd: &Arc<Ssd>| body.parts().all(|id| ssd.may_contain_part(&id));
        if in_memory || ssd.as_ref().is_some_and(is_on_ssd) {
            self.metrics.dedup_saved_bytes.inc_by(body.length);
        }
        if in_memory {
            return Vec::new();
        }
        let parts = body.parts().zip(into_parts(chunks, body.length));
        parts.map(|(id, part)| self.memory.put_part(id, part)).collect()
    }

    fn insert(&self, name: KeyName, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        // In this order: a name that the sampler draws before its entry is there is weeded out for good.
        if self.memory.put_entry(name, Arc::clone(&entry)) == Put::New {
            self.names.add(name);
        }
        entry
    }

    fn remove(&self, name: KeyName) {
        let removed = self.memory.remove(name);
        if removed.is_some_and(|entry| entry.lifetime.gone_at() <= clock::now()) {
            self.metrics.expirations.inc();
        }
        // In this order: what the writer has not handed over by then, it will not.
        self.queue.withdraw(name);
        if let Some(ssd) = self.tier.current() {
            ssd.remove_entry(name);
        }
    }

    fn discard(&self, name: KeyName, spared: &Digest) {
        let entry = self.memory.entry(name);
        self.remove(name);
        let is_discarded = |body: &Body| body.digest != *spared && body.length <= PART_BYTES as u64;
        if let Some(body) = entry.map(|entry| entry.body).filter(is_discarded) {
            let id = body.part(0);
            self.memory.remove_part(&id);
            if let Some(ssd) = self.tier.current() {
                ssd.remove_part(id);
            }
        }
    }

    fn count_load(&self, kind: Kind, found: bool) {
        if found {
            self.metrics.tier_hits[(TierLabel::Ssd, kind)].inc();
        } else {
            self.metrics.misses[kind].inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Drop as DropReason;
    use crate::base::units::{ByteSize, Span};
    use crate::http::freshness::Lifetime;
    use crate::http::header_block::HeaderBlock;
    use crate::key::{QueryPolicy, RequestUrl, Scheme, target};
    use http::{HeaderMap, StatusCode};
    use std::collections::hash_map::RandomState;
    use std::fs::{File, OpenOptions};
    use std::hash::{BuildHasher, Hasher};
    use std::io::Write;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const DEADLINE: Duration = Duration::from_secs(30);

    const LIFE: Incarnation = Incarnation::from_bytes([1; 16]);

    fn small(directory: &Path) -> Config {
        Config {
            memory: ByteSize::mib(64),
            entry_memory: ByteSize::mib(8),
            directory: Some(directory.into()),
            ssd: ByteSize::mib(64),
            entry_ssd: ByteSize::mib(32),
            ssd_check_interval: Span::millis(100),
            ssd_read_deadline: Span::secs(30),
            expiry_interval: Span::days(1),
            ..Config::default()
        }
    }

    fn always(directory: &Path) -> Config {
        Config {
            admission: Admission::Always,
            ..small(directory)
        }
    }

    async fn open(config: &Config) -> (Store, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let store = Store::open(config, LIFE, Arc::clone(&metrics)).await.unwrap();
        (store, metrics)
    }

    /// After a crash: the threads of the store before may still be at work.
    async fn open_when_unlocked(config: &Config) -> (Store, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let deadline = clock::monotonic() + DEADLINE;
        loop {
            match Store::open(config, LIFE, Arc::clone(&metrics)).await {
                Ok(store) => return (store, metrics),
                Err(error) => assert!(clock::monotonic() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = clock::monotonic() + DEADLINE;
        while !is_so() {
            assert!(clock::monotonic() < deadline, "still not so: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until the writer has nothing left to do.
    async fn written(store: &Store, metrics: &Metrics) {
        until("the queue is empty", || {
            store.observe();
            metrics.ssd_queue_bytes.get() == 0
        })
        .await;
    }

    fn key(number: u64) -> CacheKey {
        let path = format!("/images/{number}.jpg");
        let url = RequestUrl {
            scheme: Scheme::Http,
            host: "shop.example",
            path: &path,
            query: None,
        };
        target(&url, &QueryPolicy::default()).unwrap().key
    }

    fn random(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        }
    }

    fn body(number: u64, length: usize) -> Bytes {
        let mut next = random(number + 1);
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes.into()
    }

    fn lifetime(fresh: Duration) -> Lifetime {
        Lifetime::without_stale(clock::now(), clock::now().plus(fresh))
    }

    fn headers(etag: &str) -> HeaderBlock {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "image/jpeg".parse().unwrap());
        headers.insert("etag", etag.parse().unwrap());
        HeaderBlock::pack(&headers)
    }

    fn entry(key: &CacheKey, body: &[u8]) -> Entry {
        let lifetime = lifetime(Duration::from_secs(3600));
        Entry::new(
            key,
            StatusCode::OK,
            headers("\"v1\""),
            lifetime,
            Body::of(body),
            Stamp::default(),
        )
    }

    fn put(store: &Store, number: u64, length: usize) -> Arc<Entry> {
        let body = body(number, length);
        store.put(&key(number), entry(&key(number), &body), &[body])
    }

    async fn loaded(store: &Store, entry: &Entry) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for id in entry.body.parts() {
            let part = match store.part(&id) {
                Some(part) => part,
                None => store.load_part(&id).await?,
            };
            bytes.extend_from_slice(&part);
        }
        Some(bytes)
    }

    async fn holds(store: &Store, number: u64, length: usize) -> bool {
        let Some(entry) = store.load_entry(&key(number)).await else {
            return false;
        };
        loaded(store, &entry)
            .await
            .is_some_and(|bytes| bytes == body(number, length))
    }

    fn block_files(directory: &Path) -> Vec<PathBuf> {
        let files = std::fs::read_dir(directory).into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn what_is_put_is_served_from_memory_without_an_ssd() {
        let (store, metrics) = open(&Config::default()).await;
        let put_entry = put(&store, 1, 3000);
        let entry = store.entry(&key(1)).unwrap();
        assert!(Arc::ptr_eq(&entry, &put_entry));
        assert_eq!(store.part(&entry.body.part(0)).unwrap(), body(1, 3000));
        assert!(store.entry(&key(2)).is_none());
        assert!(store.load_entry(&key(2)).await.is_none());
        store.remove(&key(1));
        assert!(store.entry(&key(1)).is_none());
        assert_eq!(metrics.tier_hits[(TierLabel::Memory, Kind::Entries)].get(), 1);
        assert_eq!(metrics.misses[Kind::Entries].get(), 1);
        assert_eq!(metrics.ssd_up.get(), 0);
    }

    #[tokio::test]
    async fn a_body_may_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        store.put(&key(1), entry(&key(1), b""), &[]);
        store.put(&key(2), entry(&key(2), b""), &[Bytes::new()]);
        written(&store, &metrics).await;
        store.close().await;
        let (store, _) = open(&always(directory.path())).await;
        assert!(holds(&store, 1, 0).await && holds(&store, 2, 0).await);
    }

    #[tokio::test]
    async fn a_body_shorter_than_its_entry_says_is_not_stored() {
        let (store, _) = open(&Config::default()).await;
        store.put(&key(1), entry(&key(1), b"whole"), &[Bytes::from_static(b"who")]);
        assert!(store.entry(&key(1)).is_none());
    }

    #[tokio::test]
    async fn two_keys_of_one_name_are_told_apart_by_their_text() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        let other = entry(&key(2), b"two");
        store.put(&key(1), other, &[Bytes::from_static(b"two")]);
        assert!(store.entry(&key(1)).is_none());
        written(&store, &metrics).await;
        assert!(store.load_entry(&key(1)).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_what_is_hit_in_memory_is_written_and_comes_back_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        // A check would add its canary's page to the bytes.
        let config = Config {
            ssd_check_interval: Span::days(1),
            ..small(directory.path())
        };
        let (store, metrics) = open(&config).await;
        assert_eq!(metrics.ssd_up.get(), 1);
        (1..=20).for_each(|number| _ = put(&store, number, 5000));
        assert_eq!(metrics.ssd_queue_bytes.get(), 0);
        (1..=10).for_each(|number| assert!(store.entry(&key(number)).is_some()));
        (1..=10).for_each(|number| assert!(store.entry(&key(number)).is_some()));
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 10);
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 10);
        store.observe();
        assert_eq!(metrics.ssd_bytes[Kind::Blobs].get(), 10 * 8192);
        store.close().await;

        let (store, metrics) = open(&small(directory.path())).await;
        for number in 1..=20 {
            assert!(store.entry(&key(number)).is_none());
            assert_eq!(holds(&store, number, 5000).await, number <= 10, "{number}");
        }
        assert!(store.entry(&key(1)).is_some());
        assert_eq!(metrics.tier_hits[(TierLabel::Ssd, Kind::Entries)].get(), 10);
        assert_eq!(metrics.misses[Kind::Entries].get(), 10);
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_written_survives_a_store_that_is_not_closed() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let (store, metrics) = open_when_unlocked(&always(directory.path())).await;
            for number in 0..round * 50 {
                assert!(holds(&store, number, 9000).await, "{number} in round {round}");
            }
            (0..50).for_each(|number| _ = put(&store, round * 50 + number, 9000));
            written(&store, &metrics).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_directory_is_used_by_one_store_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (first, _) = open(&small(directory.path())).await;
        let second = Store::open(&small(directory.path()), LIFE, Arc::new(Metrics::new())).await;
        let Err(StoreError::Locked { directory: locked }) = second else {
            panic!("two stores in one directory");
        };
        assert_eq!(locked, directory.path());
        first.close().await;
        open(&small(directory.path())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn closing_writes_all_that_was_queued() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = open(&always(directory.path())).await;
        (0..200).for_each(|number| _ = put(&store, number, 40_000));
        store.close().await;
        let (store, _) = open(&always(directory.path())).await;
        for number in 0..200 {
            assert!(holds(&store, number, 40_000).await, "{number}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_store_still_serves_from_memory_and_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        put(&store, 1, 100);
        store.close().await;
        put(&store, 2, 100);
        assert!(store.entry(&key(1)).is_some() && store.entry(&key(2)).is_some());
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 1);
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn more_than_the_disk_holds_leaves_memory_alone_and_reserves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            ssd: ByteSize::gib(1 << 30),
            ..always(directory.path())
        };
        let (store, metrics) = open(&config).await;
        put(&store, 1, 100);
        assert!(store.entry(&key(1)).is_some());
        assert!(store.load_entry(&key(2)).await.is_none());
        assert_eq!(metrics.ssd_up.get(), 0);
        assert!(metrics.ssd_errors.get() > 0);
        assert!(block_files(&directory.path().join("blobs")).is_empty());
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_directory_that_can_not_be_made_leaves_memory_alone_until_it_can() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("store");
        std::fs::write(&place, "a file").unwrap();
        let (store, metrics) = open(&small(&place)).await;
        assert_eq!(metrics.ssd_up.get(), 0);
        put(&store, 1, 100);
        assert!(store.entry(&key(1)).is_some());
        std::fs::remove_file(&place).unwrap();
        until("the tier is up", || metrics.ssd_up.get() == 1).await;
        assert!(store.entry(&key(1)).is_some());
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_filesystem_leaves_memory_alone_until_there_is_room() {
        let place = tempfile::tempdir().unwrap();
        let mount = |options: &str| {
            let arguments = ["-t", "tmpfs", "-o", options, "tmpfs"];
            let status = Command::new("mount").args(arguments).arg(place.path()).status();
            status.is_ok_and(|status| status.success())
        };
        if !mount("size=80m") {
            eprintln!("SKIPPED: mounting a tmpfs needs root");
            return;
        }
        let (store, metrics) = open(&always(place.path())).await;
        put(&store, 1, 100);
        assert!(store.entry(&key(1)).is_some());
        assert_eq!(metrics.ssd_up.get(), 0);
        assert!(mount("remount,size=200m"));
        until("the tier is up", || metrics.ssd_up.get() == 1).await;
        // Nothing that is written now needs room that is not reserved.
        let hog = File::create(place.path().join("hog")).unwrap();
        let zeros = vec![1; 1 << 20];
        while (&hog).write_all(&zeros).is_ok() {}
        (0..20).for_each(|number| _ = put(&store, number, 1 << 20));
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 20);
        store.close().await;
        drop((store, hog));
        assert!(
            Command::new("umount")
                .arg(place.path())
                .status()
                .unwrap()
                .success()
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_geometry_starts_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        put(&store, 1, 5000);
        written(&store, &metrics).await;
        store.close().await;
        let larger = Config {
            ssd: ByteSize::mib(96),
            ..always(directory.path())
        };
        let (store, metrics) = open(&larger).await;
        assert!(store.load_entry(&key(1)).await.is_none());
        put(&store, 2, 5000);
        written(&store, &metrics).await;
        store.close().await;
        let sizes = block_files(&directory.path().join("blobs"));
        let sizes: Vec<u64> = sizes.iter().map(|path| path.metadata().unwrap().size()).collect();
        assert_eq!(sizes, [12 << 20; 8]);
        let (store, _) = open(&larger).await;
        assert!(holds(&store, 2, 5000).await);
    }

    /// Overwrites a byte in about every 64 KiB of what was written.
    fn corrupt(directory: &Path, seed: u64) {
        let mut next = random(seed);
        for region in ["entries", "blobs"] {
            for path in block_files(&directory.join(region)) {
                let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
                let mut block = vec![0; file.metadata().unwrap().size() as usize];
                file.read_exact_at(&mut block, 0).unwrap();
                let used = block
                    .iter()
                    .rposition(|&byte| byte != 0)
                    .map_or(0, |last| last as u64 + 1);
                for _ in 0..used.div_ceil(64 << 10) {
                    file.write_all_at(&[next() as u8], next() % used).unwrap();
                }
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn corrupt_block_files_lose_objects_but_never_change_them() {
        let seed = RandomState::new().build_hasher().finish() | 1;
        println!("seed {seed}");
        for (round, corrupted_while_open) in [false, true, false, true].into_iter().enumerate() {
            let directory = tempfile::tempdir().unwrap();
            let (store, metrics) = open(&always(directory.path())).await;
            (0..300).for_each(|number| _ = put(&store, number, 30_000));
            put(&store, 300, 3 << 20);
            written(&store, &metrics).await;
            store.close().await;
            if !corrupted_while_open {
                corrupt(directory.path(), seed + 2 * round as u64);
            }
            let (store, _) = open(&always(directory.path())).await;
            if corrupted_while_open {
                corrupt(directory.path(), seed + 2 * round as u64);
            }
            let mut lost = 0;
            for number in 0..=300 {
                let length = if number == 300 { 3 << 20 } else { 30_000 };
                let Some(entry) = store.load_entry(&key(number)).await else {
                    lost += 1;
                    continue;
                };
                assert_eq!(entry.body, Body::of(&body(number, length)), "seed {seed}");
                assert_eq!(entry.headers, headers("\"v1\""), "seed {seed}");
                match loaded(&store, &entry).await {
                    Some(bytes) => assert_eq!(bytes, body(number, length), "seed {seed}"),
                    None => lost += 1,
                }
            }
            assert!(lost > 0, "nothing was corrupted, seed {seed}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn writing_round_and_round_never_yields_wrong_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            ssd: ByteSize::mib(32),
            memory: ByteSize::mib(8),
            entry_memory: ByteSize::mib(1),
            ..always(directory.path())
        };
        let (store, metrics) = open(&config).await;
        for number in 0..500 {
            put(&store, number, 200_000);
            written(&store, &metrics).await;
        }
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 500);
        assert_eq!(metrics.ssd_errors.get(), 0);
        store.observe();
        assert_eq!(metrics.ssd_bytes[Kind::Blobs].get(), 32 << 20);
        let mut found = 0;
        for number in 0..500 {
            let id = Body::of(&body(number, 200_000)).part(0);
            if let Some(bytes) = store.load_part(&id).await {
                assert_eq!(bytes, body(number, 200_000));
                found += 1;
            }
        }
        // Some blocks are being cleaned or filled; the rest is full.
        assert!((70..=165).contains(&found), "{found}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tier_whose_reads_fail_is_dropped_and_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&unchecked(directory.path())).await;
        (0..40).for_each(|number| _ = put(&store, number, 5000));
        written(&store, &metrics).await;
        let before = store.0.shared.tier.generation();
        for path in block_files(&directory.path().join("entries")) {
            File::create(path).unwrap();
        }
        for number in 0..40 {
            store.0.shared.memory.remove(key(number).name());
            assert!(store.load_entry(&key(number)).await.is_none());
        }
        assert!(metrics.ssd_errors.get() >= 16);
        until("the tier is down", || metrics.ssd_up.get() == 0).await;
        // As the next check's time would: a tier that is down is opened then.
        store.0.shared.tier.report_lost_write();
        until("another generation is up", || {
            let now = store.0.shared.tier.generation();
            now != before && now != Generation::NONE
        })
        .await;
        put(&store, 100, 5000);
        written(&store, &metrics).await;
        store.0.shared.memory.remove(key(100).name());
        assert!(holds(&store, 100, 5000).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_memory_lost_before_its_second_request_is_written_when_it_is_put_again() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&small(directory.path())).await;
        put(&store, 1, 5000);
        store.0.shared.memory.remove(key(1).name());
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 0);
        put(&store, 1, 5000);
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn equal_bodies_under_two_keys_are_stored_once() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        let body = body(1, 2_500_000);
        for number in 1..=3 {
            store.put(
                &key(number),
                entry(&key(number), &body),
                std::slice::from_ref(&body),
            );
            written(&store, &metrics).await;
        }
        assert_eq!(metrics.dedup_saved_bytes.get(), 5_000_000);
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 3);
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 3);
        store.observe();
        assert_eq!(metrics.memory_objects[Kind::Blobs].get(), 3);
        store.close().await;
        let (store, metrics) = open(&always(directory.path())).await;
        store.put(&key(4), entry(&key(4), &body), std::slice::from_ref(&body));
        written(&store, &metrics).await;
        assert_eq!(metrics.dedup_saved_bytes.get(), 2_500_000);
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_large_body_comes_back_part_by_part_whatever_its_chunks_were() {
        let directory = tempfile::tempdir().unwrap();
        let whole = body(1, (3 << 20) + 17);
        for chunk_bytes in [1000, PART_BYTES, PART_BYTES + 1, whole.len()] {
            let chunks: Vec<Bytes> = whole.chunks(chunk_bytes).map(Bytes::copy_from_slice).collect();
            let parts = into_parts(&chunks, whole.len() as u64);
            assert_eq!(
                parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
                [1 << 20, 1 << 20, 1 << 20, 17]
            );
            assert_eq!(parts.concat(), whole);
        }
        let (store, metrics) = open(&always(directory.path())).await;
        let stored = store.put(&key(1), entry(&key(1), &whole), std::slice::from_ref(&whole));
        assert_eq!(loaded(&store, &stored).await.unwrap(), whole);
        written(&store, &metrics).await;
        store.close().await;
        let (store, _) = open(&always(directory.path())).await;
        assert!(holds(&store, 1, whole.len()).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_that_would_fill_the_ssd_is_not_written_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        put(&store, 1, 9 << 20);
        written(&store, &metrics).await;
        assert!(store.entry(&key(1)).is_some());
        assert_eq!(metrics.ssd_drops[DropReason::TooLarge].get(), 1);
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 0);
    }

    #[tokio::test]
    async fn memory_keeps_to_its_limit_and_counts_what_it_evicts() {
        for eviction in [
            config::Eviction::Lru,
            config::Eviction::Lfu,
            config::Eviction::Fifo,
            config::Eviction::S3fifo,
            config::Eviction::Sieve,
        ] {
            let config = Config {
                memory: ByteSize::mib(8),
                eviction,
                ..Config::default()
            };
            let (store, metrics) = open(&config).await;
            (0..20).for_each(|number| _ = put(&store, number, 1 << 20));
            store.observe();
            assert!(metrics.memory_bytes[Kind::Blobs].get() <= 8 << 20, "{eviction:?}");
            let kept = metrics.memory_objects[Kind::Blobs].get();
            assert!((6..=8).contains(&kept), "{eviction:?} {kept}");
            assert_eq!(
                metrics.evictions[Kind::Blobs].get(),
                20 - kept as u64,
                "{eviction:?}"
            );
            assert_eq!(metrics.memory_objects[Kind::Entries].get(), 20);
        }
    }

    #[tokio::test]
    async fn an_entry_that_would_wipe_its_shard_is_not_kept() {
        let config = Config {
            entry_memory: ByteSize::mib(1),
            ..Config::default()
        };
        let (store, metrics) = open(&config).await;
        (0..100).for_each(|number| _ = put(&store, number, 10));
        let plain = entry(&key(100), b"");
        let large = plain.refreshed(headers(&"x".repeat(300_000)), plain.lifetime, Stamp::default());
        store.put(&key(100), large, &[]);
        assert!(store.entry(&key(100)).is_none());
        store.observe();
        assert_eq!(metrics.memory_objects[Kind::Entries].get(), 100);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn entries_past_all_use_are_removed_in_the_background() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            expiry_interval: Span::millis(10),
            keep_expired: Span::secs(0),
            ..always(directory.path())
        };
        let (store, metrics) = open(&config).await;
        for number in 0..1000 {
            let fresh = Duration::from_secs(if number < 300 { 3600 } else { 0 });
            let entry = entry(&key(number), b"");
            store.put(
                &key(number),
                entry.refreshed(entry.headers.clone(), lifetime(fresh), Stamp::default()),
                &[],
            );
        }
        until("all 700 are gone", || metrics.expirations.get() == 700).await;
        store.observe();
        assert_eq!(metrics.memory_objects[Kind::Entries].get(), 300);
        assert!((0..300).all(|number| store.entry(&key(number)).is_some()));
        written(&store, &metrics).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_sweep_during_a_put_does_not_lose_sight_of_the_entry() {
        let config = Config {
            expiry_interval: Span::days(1),
            keep_expired: Span::secs(0),
            ..Config::default()
        };
        let (store, metrics) = open(&config).await;
        let putting = AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while putting.load(Ordering::Relaxed) {
                    store.0.shared.sweep();
                }
            });
            for number in 0..50_000 {
                let entry = entry(&key(number), b"");
                let expired =
                    entry.refreshed(entry.headers.clone(), lifetime(Duration::ZERO), Stamp::default());
                store.put(&key(number), expired, &[]);
            }
            putting.store(false, Ordering::Relaxed);
        });
        until("nothing that expired is left", || {
            store.0.shared.sweep();
            metrics.expirations.get() == 50_000
        })
        .await;
    }

    #[tokio::test]
    async fn removing_an_expired_entry_counts_as_its_expiry_and_another_does_not() {
        let (store, metrics) = open(&Config::default()).await;
        put(&store, 1, 10);
        let expired =
            entry(&key(2), b"").refreshed(headers("\"v1\""), lifetime(Duration::ZERO), Stamp::default());
        store.put(&key(2), expired, &[]);
        store.remove(&key(1));
        assert_eq!(metrics.expirations.get(), 0);
        store.remove(&key(2));
        assert_eq!(metrics.expirations.get(), 1);
    }

    /// One thread: the writer takes nothing before this test waits.
    #[tokio::test(flavor = "current_thread")]
    async fn what_the_queue_can_not_hold_is_dropped_and_counted_and_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            write_queue_bytes_max: ByteSize::mib(1),
            ..always(directory.path())
        };
        let (store, metrics) = open(&config).await;
        (0..30).for_each(|number| _ = put(&store, number, 60_000));
        // Each takes 60 KiB for its body and 4 KiB for its entry.
        let queued = (1 << 20) / (64 << 10);
        assert_eq!(metrics.ssd_drops[DropReason::QueueFull].get(), 2 * (30 - queued));
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), queued);
        assert!(store.entry(&key(29)).is_some());
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), queued + 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_304_rewrites_the_entry_on_the_ssd_and_nothing_of_its_body() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&small(directory.path())).await;
        put(&store, 1, 5000);
        let held = store.entry(&key(1)).unwrap();
        written(&store, &metrics).await;
        let refreshed = held.refreshed(
            headers("\"v2\""),
            lifetime(Duration::from_secs(60)),
            Stamp::default(),
        );
        store.put_entry(&key(1), refreshed);
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Blobs].get(), 1);
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 2);
        store.close().await;
        let (store, _) = open(&small(directory.path())).await;
        let entry = store.load_entry(&key(1)).await.unwrap();
        assert_eq!(entry.headers, headers("\"v2\""));
        assert!(holds(&store, 1, 5000).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_removed_entry_is_not_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        put(&store, 1, 5000);
        written(&store, &metrics).await;
        store.remove(&key(1));
        assert!(store.entry(&key(1)).is_none());
        assert!(store.load_entry(&key(1)).await.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_entry_removed_while_its_write_waits_does_not_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&always(directory.path())).await;
        for number in 0..200 {
            put(&store, number, 5000);
            if number % 2 == 0 {
                store.remove(&key(number));
            }
        }
        written(&store, &metrics).await;
        for number in 0..200 {
            store.0.shared.memory.remove(key(number).name());
            let loaded = store.load_entry(&key(number)).await;
            assert_eq!(loaded.is_some(), number % 2 == 1, "{number}");
        }
    }

    #[tokio::test]
    async fn a_renewal_does_not_take_the_place_of_another_body() {
        let (store, _metrics) = open(&Config::default()).await;
        let old = entry(&key(1), b"old");
        put(&store, 1, 10);
        let present = store.entry(&key(1)).unwrap();
        let answered = store.renew_entry(
            &key(1),
            old.refreshed(headers("\"v2\""), old.lifetime, Stamp::default()),
        );
        assert!(Arc::ptr_eq(&answered, &present));
        let renewed = present.refreshed(headers("\"v2\""), present.lifetime, Stamp::default());
        assert_eq!(store.renew_entry(&key(1), renewed).headers, headers("\"v2\""));
    }

    /// Checked only on suspicion.
    fn unchecked(directory: &Path) -> Config {
        Config {
            ssd_check_interval: Span::days(1),
            ..always(directory)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn reads_of_a_stalled_disk_are_misses_in_time_and_take_the_tier_down() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            ssd_read_deadline: Span::millis(20),
            ..unchecked(directory.path())
        };
        let (store, metrics) = open(&config).await;
        let stored: Vec<_> = (0..16).map(|number| put(&store, number, 5000)).collect();
        written(&store, &metrics).await;
        let ssd = store.0.shared.tier.current().unwrap();
        let stall = ssd.stall();
        for (number, entry) in (0..).zip(&stored) {
            let reading = async {
                match number % 2 {
                    0 => store.load_entry(&key(number)).await.is_none(),
                    _ => store.load_part(&entry.body.part(0)).await.is_none(),
                }
            };
            assert!(tokio::time::timeout(DEADLINE, reading).await.expect("in time"));
            // What is late is not gone.
            assert!(ssd.may_contain_entry(key(number).name()) && ssd.may_contain_part(&entry.body.part(0)));
        }
        assert!(metrics.ssd_errors.get() >= 16);
        until("the tier is down", || metrics.ssd_up.get() == 0).await;
        drop(stall);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn closing_on_a_stalled_disk_ends_in_time_and_leaves_the_directory_locked_until_it_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            close_deadline: Span::millis(200),
            ..unchecked(directory.path())
        };
        let (store, _) = open(&config).await;
        let stall = store.0.shared.tier.current().unwrap().stall();
        put(&store, 1, 5000);
        let closing = tokio::time::timeout(DEADLINE, store.close());
        closing.await.expect("in time");
        assert!(store.0.shared.queue.bytes() > 0);
        drop(store);
        let second = Store::open(&config, LIFE, Arc::new(Metrics::new())).await;
        assert!(matches!(second, Err(StoreError::Locked { .. })));
        drop(stall);
        open_when_unlocked(&config).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn closing_while_a_stalled_tier_is_taken_down_leaves_the_directory_locked_until_it_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            ssd_read_deadline: Span::millis(10),
            ..unchecked(directory.path())
        };
        let (store, metrics) = open(&config).await;
        put(&store, 1, 5000);
        written(&store, &metrics).await;
        let stall = store.0.shared.tier.current().unwrap().stall();
        for _ in 0..16 {
            assert!(store.load_entry(&key(1)).await.is_none());
        }
        until("the tier is down", || metrics.ssd_up.get() == 0).await;
        let closing = tokio::time::timeout(DEADLINE, store.close());
        closing.await.expect("in time");
        drop(store);
        let second = Store::open(&config, LIFE, Arc::new(Metrics::new())).await;
        assert!(matches!(second, Err(StoreError::Locked { .. })));
        drop(stall);
        open_when_unlocked(&config).await;
    }

    #[tokio::test]
    async fn a_look_at_a_part_is_no_hit() {
        let (store, metrics) = open(&Config::default()).await;
        let id = put(&store, 1, 3000).body.part(0);
        assert_eq!(store.peek_part(&id).unwrap(), body(1, 3000));
        assert!(store.peek_part(&Body::of(b"another").part(0)).is_none());
        assert_eq!(metrics.tier_hits[(TierLabel::Memory, Kind::Blobs)].get(), 0);
        assert_eq!(store.part(&id).unwrap(), body(1, 3000));
        assert_eq!(metrics.tier_hits[(TierLabel::Memory, Kind::Blobs)].get(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_can_not_be_read_is_not_said_to_be_there_again() {
        let directory = tempfile::tempdir().unwrap();
        let config = unchecked(directory.path());
        let (store, metrics) = open(&config).await;
        let stored = put(&store, 1, 5000);
        written(&store, &metrics).await;
        store.close().await;
        let (store, _) = open(&config).await;
        for region in ["entries", "blobs"] {
            for path in block_files(&directory.path().join(region)) {
                File::create(path).unwrap();
            }
        }
        assert!(store.holds_body(&stored.body));
        assert!(store.load_part(&stored.body.part(0)).await.is_none());
        assert!(!store.holds_body(&stored.body));
        assert!(store.0.shared.is_on_ssd(key(1).name()));
        assert!(store.load_entry(&key(1)).await.is_none());
        assert!(!store.0.shared.is_on_ssd(key(1).name()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_removed_while_it_is_written_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let (store, metrics) = open(&unchecked(directory.path())).await;
        let ssd = store.0.shared.tier.current().unwrap();
        let stall = ssd.stall();
        for number in 0..2 {
            store.put(&key(number), entry(&key(number), b""), &[]);
        }
        // The second may have to wait for the first to be written.
        until("the first is enqueued", || ssd.may_contain_entry(key(0).name())).await;
        store.remove(&key(0));
        drop(stall);
        written(&store, &metrics).await;
        assert_eq!(metrics.ssd_writes[Kind::Entries].get(), 1);
        assert_eq!(metrics.ssd_errors.get(), 0);
    }
}
