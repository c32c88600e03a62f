//! Threads of an opening of the SSD tier: apart from those of requests, and ended when the tier says so.
//!
//! Invariant: they are waited for by a thread of its own, since an asynchronous task may not wait; what they use
//! is dropped after them. They do not know what runs on them.

use std::io;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// Threads that encode, decode and verify.
const WORKER_THREADS: usize = 2;

/// Reads and writes of the disk at one time.
pub(super) const IO_THREADS_MAX: usize = 16;

/// The threads of one opening; dropped, they stop in the background.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    pub(super) fn start() -> io::Result<(Self, Handle)> {
        let runtime = Builder::new_multi_thread()
            .thread_name("ssd")
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(IO_THREADS_MAX)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok((Threads(Some(runtime)), handle))
    }

    /// Drops `used` when the last read and write is over, whoever waits for it, and returns then.
    pub(super) async fn stop(self, used: impl Send + 'static) {
        let (stopped, stopping) = oneshot::channel::<()>();
        self.stop_before((used, stopped));
        // The sender is dropped, never used.
        _ = stopping.await;
    }

    /// Drops `used` when the last read and write is over.
    pub(super) fn stop_before(mut self, used: impl Send + 'static) {
        let runtime = self.0.take();
        std::thread::spawn(move || {
            drop(runtime);
            drop(used);
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            Threads(Some(runtime)).stop_before(());
        }
    }
}
