//! What waits to be pushed to other owners.
//!
//! Invariant: bounded in bytes; what does not fit is dropped and counted, and nobody waits for room. A key waits once: what is
//! stored when its turn comes is what is sent. It does not know whose a key is.

use super::network::Home;
use crate::base::metrics::{Metrics, PushResult};
use crate::key::{CacheKey, KeyName};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// What one copy takes beside its body; it bounds the queue's length by its bytes.
pub(super) const COPY_BYTES_MIN: u64 = 1024;

pub(super) struct Queue {
    sender: mpsc::Sender<Waiting>,
    backlog: Arc<Backlog>,
}

/// A copy that is to be pushed.
pub(super) struct Waiting {
    pub(super) home: Home,
    pub(super) key: CacheKey,
    held: Held,
}

struct Backlog {
    bytes: AtomicU64,
    bytes_max: u64,
    names: Mutex<HashSet<KeyName>>,
    metrics: Arc<Metrics>,
}

/// Bytes of the queue, given back when this goes.
struct Held {
    backlog: Arc<Backlog>,
    bytes: u64,
}

/// A queue for bodies of `bytes_max` bytes.
pub(super) fn queue(bytes_max: u64, metrics: Arc<Metrics>) -> (Queue, mpsc::Receiver<Waiting>) {
    let most = usize::try_from(bytes_max / COPY_BYTES_MIN).unwrap_or(usize::MAX);
    let (sender, receiver) = mpsc::channel(most.clamp(1, tokio::sync::Semaphore::MAX_PERMITS));
    let backlog = Arc::new(Backlog {
        bytes: AtomicU64::new(0),
        bytes_max,
        names: Mutex::default(),
        metrics,
    });
    (Queue { sender, backlog }, receiver)
}

impl Queue {
    /// Never waits.
    pub(super) fn offer(&self, home: Home, key: CacheKey, body_bytes: u64) {
        let (backlog, name) = (&self.backlog, key.name());
        if !backlog.names.lock().insert(name) {
            return;
        }
        let held = Held::take(backlog, body_bytes.saturating_add(COPY_BYTES_MIN));
        let offered = held.map(|held| self.sender.try_send(Waiting { home, key, held }));
        if !matches!(offered, Some(Ok(()))) {
            backlog.names.lock().remove(&name);
            backlog.metrics.cluster_pushes[PushResult::Dropped].inc();
        }
    }
}

impl Waiting {
    /// Its turn has come: what is stored from now on waits anew.
    pub(super) fn begin(&self) {
        self.held.backlog.names.lock().remove(&self.key.name());
    }
}

impl Held {
    fn take(backlog: &Arc<Backlog>, bytes: u64) -> Option<Self> {
        let room = |held: u64| held.checked_add(bytes).filter(|held| *held <= backlog.bytes_max);
        let taken = backlog
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.ok()?;
        backlog.metrics.cluster_push_queue_bytes.add(bytes.cast_signed());
        Some(Held {
            backlog: Arc::clone(backlog),
            bytes,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.backlog
            .metrics
            .cluster_push_queue_bytes
            .sub(self.bytes.cast_signed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(key: &CacheKey) -> Home {
        Home {
            url: key.url_name(),
            pool: "default".into(),
        }
    }

    fn key(number: usize) -> CacheKey {
        CacheKey::of_url(&format!("http://h/{number}")).unwrap()
    }

    #[test]
    fn what_the_queue_can_not_hold_is_dropped_and_counted_and_room_comes_back() {
        let metrics = Arc::new(Metrics::new());
        let (queue, mut waiting) = queue(10 * COPY_BYTES_MIN, metrics.clone());
        (0..8).for_each(|number| queue.offer(home(&key(number)), key(number), COPY_BYTES_MIN));
        assert_eq!(metrics.cluster_pushes[PushResult::Dropped].get(), 3);
        assert_eq!(metrics.cluster_push_queue_bytes.get(), 10 * COPY_BYTES_MIN as i64);
        drop(waiting.try_recv().unwrap());
        queue.offer(home(&key(9)), key(9), COPY_BYTES_MIN);
        assert_eq!(metrics.cluster_pushes[PushResult::Dropped].get(), 3);
        queue.offer(home(&key(10)), key(10), u64::MAX);
        assert_eq!(metrics.cluster_pushes[PushResult::Dropped].get(), 4);
        while let Ok(waiting) = waiting.try_recv() {
            drop(waiting);
        }
        assert_eq!(metrics.cluster_push_queue_bytes.get(), 0);
    }

    #[test]
    fn a_key_waits_once_until_its_turn_comes() {
        let (queue, mut waiting) = queue(1 << 20, Arc::new(Metrics::new()));
        (0..3).for_each(|_| queue.offer(home(&key(1)), key(1), 10));
        waiting.try_recv().unwrap().begin();
        assert!(waiting.try_recv().is_err());
        queue.offer(home(&key(1)), key(1), 10);
        assert!(waiting.try_recv().is_ok());
    }
}
