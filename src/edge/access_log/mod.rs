//! The access log: what became of each request, for files, for those who follow live, and for what is busiest.
//!
//! Invariant: a request never waits for the log. Threads that answer pack a line's bytes into a buffer that few of them
//! share; everything else (what may be shown of it, formatting, sampling, counting) is done by a thread of the log's own. A log
//! that can not keep up, can not be written or is closed loses lines and counts them.

pub(crate) mod config;
mod dice;
mod filter;
mod format;
mod line;
mod live;
mod output;
mod shards;
mod shown;
mod sketch;
#[cfg(test)]
mod tests;
mod text;
mod top;
mod writer;

pub(crate) use filter::Filter;
pub(crate) use line::{Line, Parameters, Transforms};
pub(crate) use output::Plan;
pub(crate) use top::{Top, TopBy};

use crate::base::clock;
use crate::base::metrics::Metrics;
use bytes::Bytes;
use live::{Followers, Queue};
use parking_lot::Mutex;
use shards::{Pushed, Shards};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use top::Tops;
use writer::Writer;

/// Bits of what lines are wanted for.
const WRITTEN: u8 = 1;
const FOLLOWED: u8 = 2;
const COUNTED: u8 = 4;

/// Where requests are logged.
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
    /// Told when the last line is written.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// What the writer and the others have in common.
struct Shared {
    shards: Shards,
    /// What the writer has to adopt.
    plan: Mutex<Option<Plan>>,
    followers: Mutex<Followers>,
    top: Mutex<Tops>,
    /// Bits; where there is none, no line is packed.
    wanted_for: AtomicU8,
    metrics: Arc<Metrics>,
}

/// Who follows the live log.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

impl AccessLog {
    /// Opens the log and starts its writer.
    ///
    /// # Errors
    /// When the file can not be opened for appending.
    pub(crate) fn open(config: &config::AccessLog, metrics: Arc<Metrics>) -> io::Result<AccessLog> {
        let plan = Plan::new(config)?;
        let shared = Arc::new(Shared {
            shards: Shards::new(config.buffer.as_usize()),
            plan: Mutex::new(None),
            followers: Mutex::new(Followers::new(config)),
            top: Mutex::new(Tops::new(config.top_entries, clock::monotonic())),
            wanted_for: AtomicU8::new(0),
            metrics,
        });
        shared.note_wishes(&plan);
        let writing = Writer::new(shared.clone(), plan);
        let (end, ended) = oneshot::channel();
        let writer = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || {
                writing.run();
                // Nobody waits any more when closing has given up.
                end.send(()).ok();
            })?;
        Ok(AccessLog {
            shared,
            writer: writer.thread().clone(),
            ended: Mutex::new(Some(ended)),
        })
    }

    /// Whether anybody wants lines at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.shared.is_wanted_for(WRITTEN | FOLLOWED | COUNTED)
    }

    /// Logs a request, or counts it as lost.
    pub(crate) fn record(&self, line: &Line<'_>) {
        match self.shared.shards.push(line) {
            Pushed::Kept => {}
            Pushed::HalfFull => self.writer.unpark(),
            Pushed::Refused if self.shared.is_wanted_for(WRITTEN | FOLLOWED) => {
                self.shared.metrics.access_log_drops.inc();
            }
            Pushed::Refused => {}
        }
    }

    /// Opens anew what is written to, as after the file was renamed, and holds to `config` from here on. What was logged
    /// shortly before may be written to either, and is written whole to one of them.
    ///
    /// # Errors
    /// When the file can not be opened for appending; then nothing has changed.
    pub(crate) fn reopen(&self, config: &config::AccessLog) -> io::Result<()> {
        self.adopt(Plan::new(config)?);
        Ok(())
    }

    /// As [`AccessLog::reopen`], with what is open already, so that nothing can fail.
    pub(crate) fn adopt(&self, plan: Plan) {
        self.shared.note_wishes(&plan);
        self.shared.shards.resize(plan.config.buffer.as_usize());
        self.shared.followers.lock().limit(&plan.config);
        self.shared.top.lock().resize(plan.config.top_entries);
        *self.shared.plan.lock() = Some(plan);
        self.writer.unpark();
    }

    /// Every request from here on that `filter` lets through; `None` where as many follow as may.
    pub(crate) fn follow(&self, filter: Filter) -> Option<Follower> {
        let mut followers = self.shared.followers.lock();
        let queue = followers.add(filter)?;
        self.shared.wanted_for.fetch_or(FOLLOWED, Ordering::Relaxed);
        drop(followers);
        Some(Follower {
            shared: self.shared.clone(),
            queue,
        })
    }

    /// The busiest of the last minutes.
    pub(crate) fn top(&self, by: TopBy, limit: usize) -> Top {
        self.shared.top.lock().top(by, limit, clock::monotonic())
    }

    /// Writes what is left and ends the writer; one that is stuck is left behind at the deadline.
    pub(crate) async fn close(&self, deadline: Duration) {
        let ended = self.ended.lock().take();
        let Some(ended) = ended else { return };
        self.shared.shards.close();
        self.writer.unpark();
        match timeout(deadline, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the access log's writer died; its last lines are lost"),
            Err(_) => tracing::warn!("the access log takes nothing any more; its last lines are lost"),
        }
    }
}

impl Shared {
    fn is_wanted_for(&self, any: u8) -> bool {
        self.wanted_for.load(Ordering::Relaxed) & any != 0
    }

    fn note_wishes(&self, plan: &Plan) {
        self.note(WRITTEN, plan.to.is_some());
        self.note(COUNTED, plan.config.top_entries > 0);
    }

    fn note(&self, wish: u8, is_there: bool) {
        if is_there {
            self.wanted_for.fetch_or(wish, Ordering::Relaxed);
        } else {
            self.wanted_for.fetch_and(!wish, Ordering::Relaxed);
        }
    }
}

impl Follower {
    /// The next lines, whole ones, each a JSON object; `None` when the log is closed. Lines that this follower was too slow
    /// for are told in one of their own, `{"missed":7}`.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.queue.next().await
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.shared.followers.lock();
        followers.remove(&self.queue);
        if followers.len() == 0 {
            self.shared.wanted_for.fetch_and(!FOLLOWED, Ordering::Relaxed);
        }
    }
}
