//! The memory tier: entries by key name, parts of bodies by digest.
//!
//! Each of the two is sharded, bounded in bytes and evicts by the configured algorithm; an object is weighed
//! with what it costs beyond its own bytes. Invariants: no object takes more than a quarter of its shard, so
//! that none can wipe it; what a slow read of the SSD brings never overwrites what was put, nor revives what
//! was removed, while it was under way. It does not know the SSD.

use super::config::{Config, Eviction};
use super::entry::{Entry, PART_BYTES, PartId};
use super::name_hasher::{NameHashBuilder, ShortName};
use crate::base::clock::Timestamp;
use crate::base::metrics::{Kind, Metrics};
use crate::key::KeyName;
use bytes::Bytes;
use foyer::{
    Cache, CacheBuilder, CacheEntry, Event, EventListener, EvictionConfig, FifoConfig, LfuConfig, LruConfig,
    S3FifoConfig, SieveConfig,
};
use parking_lot::Mutex;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

/// What an entry takes beside its key text and headers: measured by `benches/resident.rs`.
const ENTRY_OVERHEAD_BYTES: usize = 340;

/// What a part takes beside its bytes.
const PART_OVERHEAD_BYTES: usize = 180;

/// An object heavier than its shard divided by this is not kept.
const SHARD_FRACTION: usize = 4;

/// A shard of parts is large enough that every part is kept.
const PART_SHARD_BYTES_MIN: usize = 8 * PART_BYTES;

const ENTRY_SHARD_BYTES_MIN: usize = 1 << 20;

/// Locks that order changes of one key; a power of two.
const STRIPES: usize = 1024;

type Store<K, V> = Cache<K, V, NameHashBuilder>;

pub(super) struct Memory {
    entries: Store<KeyName, Arc<Entry>>,
    /// Boxes, and their holders as owners of [`Bytes`]: a count for each of its own would take 64 bytes more.
    parts: Store<PartId, Box<[u8]>>,
    stripes: Box<[Mutex<Changes>]>,
}

/// A part that lives on for whoever reads it, evicted or not.
struct HeldPart(CacheEntry<PartId, Box<[u8]>, NameHashBuilder>);

/// How often entries of a stripe were put or removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes(u64);

/// What a put found under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    New,
    Replaced,
}

/// What became of an entry that was renewed.
#[derive(Debug)]
pub(super) enum Renewal {
    Kept(Put),
    /// Another body was put meanwhile.
    Superseded(Arc<Entry>),
}

/// What became of an entry read from the SSD.
#[derive(Debug)]
pub(super) enum Revival {
    /// It is in memory now.
    Kept,
    /// Another was put meanwhile.
    Superseded(Arc<Entry>),
    /// It may have been removed meanwhile: it must not be served.
    Removed,
}

impl Memory {
    pub(super) fn new(config: &Config, metrics: &Arc<Metrics>) -> Self {
        let entries = Limits {
            capacity: config.entry_memory.as_usize(),
            shard_bytes_min: ENTRY_SHARD_BYTES_MIN,
        };
        let parts = Limits {
            capacity: config.memory.as_usize(),
            shard_bytes_min: PART_SHARD_BYTES_MIN,
        };
        Memory {
            entries: entries.build(config, weigh_entry, Evictions::new(Kind::Entries, metrics)),
            parts: parts.build(config, weigh_part, Evictions::new(Kind::Blobs, metrics)),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
        }
    }

    pub(super) fn entry(&self, name: KeyName) -> Option<Arc<Entry>> {
        self.entries.get(&name).map(|held| Arc::clone(held.value()))
    }

    pub(super) fn entry_of(&self, short: ShortName) -> Option<Arc<Entry>> {
        self.entries.get(&short).map(|held| Arc::clone(held.value()))
    }

    pub(super) fn part(&self, id: &PartId) -> Option<Bytes> {
        self.parts.get(id).map(|held| Bytes::from_owner(HeldPart(held)))
    }

    pub(super) fn contains_part(&self, id: &PartId) -> bool {
        self.parts.contains(id)
    }

    pub(super) fn remove_part(&self, id: &PartId) {
        self.parts.remove(id);
    }

    pub(super) fn put_part(&self, id: PartId, bytes: Box<[u8]>) -> Bytes {
        Bytes::from_owner(HeldPart(self.parts.insert(id, bytes)))
    }

    pub(super) fn put_entry(&self, name: KeyName, entry: Arc<Entry>) -> Put {
        let mut changes = self.stripe(name).lock();
        changes.count();
        let put = if self.entries.contains(&name) {
            Put::Replaced
        } else {
            Put::New
        };
        self.entries.insert(name, entry);
        put
    }

    /// Puts an entry unless one with another body is there.
    pub(super) fn renew_entry(&self, name: KeyName, entry: &Arc<Entry>) -> Renewal {
        let mut changes = self.stripe(name).lock();
        let put = match self.entry(name) {
            Some(present) if present.body != entry.body => return Renewal::Superseded(present),
            Some(_) => Put::Replaced,
            None => Put::New,
        };
        changes.count();
        self.entries.insert(name, Arc::clone(entry));
        Renewal::Kept(put)
    }

    /// To be taken before a read of the SSD and handed to [`Memory::revive`] after it.
    pub(super) fn changes(&self, name: KeyName) -> Changes {
        *self.stripe(name).lock()
    }

    /// Puts what was read from the SSD, unless its key may have changed since `before`.
    pub(super) fn revive(&self, name: KeyName, entry: &Arc<Entry>, before: Changes) -> Revival {
        let changes = self.stripe(name).lock();
        match self.entry(name) {
            Some(present) => Revival::Superseded(present),
            None if *changes != before => Revival::Removed,
            None => {
                self.entries.insert(name, Arc::clone(entry));
                Revival::Kept
            }
        }
    }

    pub(super) fn remove(&self, name: KeyName) -> Option<Arc<Entry>> {
        let mut changes = self.stripe(name).lock();
        changes.count();
        self.entries.remove(&name).map(|held| Arc::clone(held.value()))
    }

    /// Removes an entry that is past all use.
    pub(super) fn expire(&self, short: ShortName, now: Timestamp) -> Expiry {
        let Some(held) = self.entries.get(&short) else {
            return Expiry::Absent;
        };
        if held.value().lifetime.gone_at() > now {
            return Expiry::Alive;
        }
        let name = *held.key();
        let mut changes = self.stripe(name).lock();
        match self.entry(name) {
            Some(entry) if entry.lifetime.gone_at() <= now => {
                changes.count();
                self.entries.remove(&name);
                Expiry::Expired(name)
            }
            _ => Expiry::Alive,
        }
    }

    pub(super) fn observe(&self, metrics: &Metrics) {
        observe(&self.entries, Kind::Entries, metrics);
        observe(&self.parts, Kind::Blobs, metrics);
    }

    fn stripe(&self, name: KeyName) -> &Mutex<Changes> {
        let [.., a, b] = *name.as_bytes();
        &self.stripes[usize::from(u16::from_le_bytes([a, b])) % STRIPES]
    }
}

/// What the expiry sampler finds under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Absent,
    Alive,
    /// It is removed.
    Expired(KeyName),
}

impl AsRef<[u8]> for HeldPart {
    fn as_ref(&self) -> &[u8] {
        self.0.value()
    }
}

impl Changes {
    fn count(&mut self) {
        self.0 += 1;
    }
}

/// The size of one of the two caches, in bytes.
struct Limits {
    capacity: usize,
    shard_bytes_min: usize,
}

impl Limits {
    fn build<K, V>(
        &self,
        config: &Config,
        weigh: fn(&K, &V) -> usize,
        evictions: Evictions<K, V>,
    ) -> Store<K, V>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let shards = self.shards(config.shards);
        let weight_max = self.capacity / shards / SHARD_FRACTION;
        CacheBuilder::new(self.capacity)
            .with_shards(shards)
            .with_eviction_config(eviction(config.eviction))
            .with_hash_builder(NameHashBuilder::default())
            .with_weighter(weigh)
            .with_filter(move |name, value| weigh(name, value) <= weight_max)
            .with_event_listener(Arc::new(evictions))
            .build()
    }

    /// As many as asked for, while each stays large enough. An odd number: the remainder of a hash by it
    /// chooses the shard and the hash's low bits the place within, which must not be the same bits.
    fn shards(&self, wanted: usize) -> usize {
        let fitting = wanted.min(self.capacity / self.shard_bytes_min).max(1);
        if fitting.is_multiple_of(2) {
            fitting - 1
        } else {
            fitting
        }
    }
}

fn eviction(algorithm: Eviction) -> EvictionConfig {
    match algorithm {
        Eviction::Lru => LruConfig::default().into(),
        Eviction::Lfu => LfuConfig::default().into(),
        Eviction::Fifo => FifoConfig::default().into(),
        Eviction::S3fifo => S3FifoConfig::default().into(),
        Eviction::Sieve => SieveConfig.into(),
    }
}

fn weigh_entry(_: &KeyName, entry: &Arc<Entry>) -> usize {
    let tags = size_of_val(entry.stamp.tags.names());
    ENTRY_OVERHEAD_BYTES + tags + entry.key_text.len() + entry.headers.as_bytes().len()
}

#[expect(clippy::borrowed_box, reason = "the cache weighs what it stores")]
fn weigh_part(_: &PartId, bytes: &Box<[u8]>) -> usize {
    PART_OVERHEAD_BYTES + bytes.len()
}

/// Counts what has to make room.
struct Evictions<K, V> {
    kind: Kind,
    metrics: Arc<Metrics>,
    of: PhantomData<fn(K, V)>,
}

impl<K, V> Evictions<K, V> {
    fn new(kind: Kind, metrics: &Arc<Metrics>) -> Self {
        Evictions {
            kind,
            metrics: Arc::clone(metrics),
            of: PhantomData,
        }
    }
}

impl<K: 'static, V: 'static> EventListener for Evictions<K, V> {
    type Key = K;
    type Value = V;

    fn on_leave(&self, reason: Event, _: &K, _: &V) {
        if reason == Event::Evict {
            self.metrics.evictions[self.kind].inc();
        }
    }
}

fn observe<K, V>(cache: &Store<K, V>, kind: Kind, metrics: &Metrics)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    metrics.memory_bytes[kind].set(gauge(cache.usage()));
    metrics.memory_capacity_bytes[kind].set(gauge(cache.capacity()));
    metrics.memory_objects[kind].set(gauge(cache.entries()));
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::freshness::Lifetime;
    use crate::http::header_block::HeaderBlock;
    use crate::store::entry::{Body, Stamp};
    use http::StatusCode;

    const NAME: KeyName = KeyName::from_bytes(*b"a name, 16 bytes");

    fn memory() -> Memory {
        Memory::new(&Config::default(), &Arc::new(Metrics::new()))
    }

    fn entry(gone_at: Timestamp) -> Arc<Entry> {
        let lifetime = Lifetime::without_stale(Timestamp::ZERO, gone_at);
        let (status, headers) = (StatusCode::OK, HeaderBlock::default());
        Arc::new(Entry::from_parts(
            "key".into(),
            status,
            headers,
            lifetime,
            Body::of(b""),
            Stamp::default(),
        ))
    }

    #[test]
    fn a_put_wins_over_a_read_of_the_ssd_under_way() {
        let memory = memory();
        let (old, new) = (entry(Timestamp::ZERO), entry(Timestamp::ZERO));
        let before = memory.changes(NAME);
        memory.put_entry(NAME, Arc::clone(&new));
        let Revival::Superseded(present) = memory.revive(NAME, &old, before) else {
            panic!("the old entry came back");
        };
        assert!(Arc::ptr_eq(&present, &new));
        assert!(Arc::ptr_eq(&memory.entry(NAME).unwrap(), &new));
    }

    #[test]
    fn a_removal_wins_over_a_read_of_the_ssd_under_way() {
        let memory = memory();
        let before = memory.changes(NAME);
        memory.remove(NAME);
        assert!(matches!(
            memory.revive(NAME, &entry(Timestamp::ZERO), before),
            Revival::Removed
        ));
        assert!(memory.entry(NAME).is_none());
        let before = memory.changes(NAME);
        assert!(matches!(
            memory.revive(NAME, &entry(Timestamp::ZERO), before),
            Revival::Kept
        ));
    }

    #[test]
    fn an_entry_expires_when_it_is_past_all_use_and_not_before() {
        let memory = memory();
        memory.put_entry(NAME, entry(Timestamp::from_secs(10)));
        assert_eq!(
            memory.expire(NAME.into(), Timestamp::from_millis(9999)),
            Expiry::Alive
        );
        assert_eq!(
            memory.expire(NAME.into(), Timestamp::from_secs(10)),
            Expiry::Expired(NAME)
        );
        assert_eq!(
            memory.expire(NAME.into(), Timestamp::from_secs(10)),
            Expiry::Absent
        );
    }

    #[test]
    fn shards_are_odd_and_as_many_as_their_size_allows() {
        let shards = |capacity| {
            let limits = Limits {
                capacity,
                shard_bytes_min: PART_SHARD_BYTES_MIN,
            };
            limits.shards(16)
        };
        assert_eq!(shards(1 << 20), 1);
        assert_eq!(shards(16 << 20), 1);
        assert_eq!(shards(64 << 20), 7);
        assert_eq!(shards(1 << 30), 15);
    }
}
