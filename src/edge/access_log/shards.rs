//! The buffers between the threads that answer and the writer.
//!
//! Invariant: nobody waits for the writer; a buffer that is full, or closed, refuses. Few threads share a buffer. Lines of
//! different threads within one interval of the writer may stand out of order.

use super::line::{self, Line};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const SHARDS: usize = 8;

pub(super) struct Shards {
    buffers: Vec<Mutex<Vec<u8>>>,
    /// Bytes one of them may hold.
    bytes_max: AtomicUsize,
    closing: AtomicBool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Kept,
    /// Its buffer is half full now: the writer should not wait any longer.
    HalfFull,
    Refused,
}

impl Shards {
    /// `bytes_max` is for all together.
    pub(super) fn new(bytes_max: usize) -> Self {
        let shards = Shards {
            buffers: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bytes_max: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        };
        shards.resize(bytes_max);
        shards
    }

    pub(super) fn resize(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max / SHARDS, Ordering::Relaxed);
    }

    pub(super) fn push(&self, line: &Line<'_>) -> Pushed {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let mut buffer = self.buffers[shard()].lock();
        let before = buffer.len();
        // Asked under the lock: the writer empties every buffer once more after it has seen the closing.
        if self.is_closing() || before >= bytes_max {
            return Pushed::Refused;
        }
        line::pack(&mut buffer, line);
        let half = bytes_max / 2;
        if before < half && buffer.len() >= half {
            Pushed::HalfFull
        } else {
            Pushed::Kept
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Hands over what each buffer holds, and takes the same memory back.
    pub(super) fn drain(&self, spare: &mut Vec<u8>, mut each: impl FnMut(&[u8])) {
        for buffer in &self.buffers {
            std::mem::swap(&mut *buffer.lock(), spare);
            if !spare.is_empty() {
                each(spare);
                spare.clear();
            }
        }
    }
}

/// Threads take turns at the shards, so that two workers rarely share one.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
    }
    SHARD.get()
}
