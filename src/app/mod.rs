//! The only place that builds and wires: start, serve, reload, hand over, drain, stop.
//!
//! Start: first all that needs nothing of the disk's cache (`prepared`), then the log of purges, the cache and what serves;
//! only when all stand is anything served. Stop (`running`): not ready, wait for the balancer to turn away, refuse new
//! connections, let requests and fills end, close the cache, then the log. Every step of stopping has a deadline, and a
//! second signal ends them all. A part that ends while it should serve stops the whole: a process that looks alive and
//! answers nobody is worse than none.

mod alarm;
mod handover;
mod joined;
mod prepared;
mod reload;
mod running;
mod signals;
mod sockets;

use crate::base::metrics::Metrics;
use crate::cluster::identity::IdentityError;
use crate::cluster::members::MembersError;
use crate::config::{Config, LogFilter, Source};
use crate::edge::listen::ListenError;
use crate::purge::Purges;
use crate::purge::log::{LogError, Place};
use crate::serve::route::UnknownOrigin;
use crate::serve::variants::WatermarkError;
use crate::store::{Store, StoreError};
use crate::trace::TracerError;
use crate::upstream::OpenError;
pub use handover::HandOverError;
use handover::{Binary, Inherited, Predecessor};
use joined::Joined;
use prepared::Prepared;
use reload::Reloader;
use running::{NotHanded, Opened, Running, close_purges, close_store, flush_deadline};
use rustix::process::{Signal, kill_process};
use sd_notify::NotifyState;
use signals::{Signals, Told};
use std::io;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Why an edge can not start, or ended without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the access log {path:?} can not be opened: {cause}")]
    AccessLog { path: String, cause: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Purges(#[from] LogError),
    #[error("origin {name:?}: {cause}")]
    Origin { name: String, cause: OpenError },
    #[error(transparent)]
    Route(#[from] UnknownOrigin),
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Tracer(#[from] TracerError),
    #[error("the system refuses what a server needs: {0}; nothing is served")]
    System(#[from] io::Error),
    #[error("{part} ended while it should serve; the edge has stopped")]
    Part { part: String },
    #[error("told to stop a second time: what was under way is cut off")]
    ToldTwice,
    #[error("the place of another process can not be taken: {0}")]
    TakeOver(HandOverError),
    #[error(
        "cache and log were handed over, and the other process did not take them up: {0}; the edge has stopped"
    )]
    HandOver(HandOverError),
}

/// What an edge is started with.
pub struct Start {
    pub config: Config,
    /// Where `config` came from, to be read again.
    pub source: Source,
    pub filter: LogFilter,
}

/// Runs one edge until SIGTERM or SIGINT, or until it has handed over to another process.
///
/// # Errors
/// When something it needs can not be had (then no port was opened for long enough to serve), when a part of it
/// fails while it serves, or when it is told to stop a second time before it has stopped.
pub fn serve(start: Start) -> Result<(), AppError> {
    let runtime = runtime(start.config.edge.threads)?;
    let stopped = runtime.block_on(run(start));
    runtime.shutdown_background();
    stopped
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.thread_name("edge").enable_all().build()
}

/// How serving came to its end.
enum Ended {
    Told,
    HandedOver,
    Failed(AppError),
}

async fn run(start: Start) -> Result<(), AppError> {
    let binary = Binary::of_this_process()?;
    let mut signals = Signals::listen()?;
    let (mut running, reloader) = tokio::select! {
        opened = open(start) => opened?,
        () = signals.stop() => return Ok(()),
    };
    notify(&[NotifyState::Ready]);
    let ended = serve_until_told(&mut signals, &running, &reloader, &binary).await;
    if let Ended::Failed(failure) = &ended {
        tracing::error!(%failure, "stopping");
    }
    let config = reloader.edge_config().await;
    let is_handed_over = matches!(ended, Ended::HandedOver);
    let stop = async {
        match ended {
            Ended::HandedOver => {
                running.leave(&config).await;
                Ok(())
            }
            Ended::Told => {
                notify(&[NotifyState::Stopping]);
                running.stop(&config).await;
                Ok(())
            }
            Ended::Failed(failure) => {
                running.stop(&config).await;
                Err(failure)
            }
        }
    };
    let told_twice = async {
        if is_handed_over {
            // It ends by itself; whoever stops the service tells the other process too.
            signals.stop().await;
        }
        signals.stop().await;
    };
    tokio::select! {
        stopped = stop => stopped,
        () = told_twice => Err(AppError::ToldTwice),
    }
}

async fn serve_until_told(
    signals: &mut Signals,
    running: &Running,
    reloader: &Arc<Reloader>,
    binary: &Binary,
) -> Ended {
    if signals.take_missed_reload() {
        drop(reloader.reload().await);
    }
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            part = running.alarm.raised() => return Ended::Failed(AppError::Part { part }),
        };
        match told {
            Told::Stop => return Ended::Told,
            // Either way it says itself what came of it.
            Told::Reload => drop(reloader.reload().await),
            Told::HandOver => {
                let held = reloader.hold().await;
                let deadline = held.edge().handover_deadline.get();
                let handed = tokio::select! {
                    handed = running.hand_over(binary, deadline) => handed,
                    () = signals.stop() => {
                        // Cache and log may have been given away already.
                        running.retire();
                        return Ended::Told;
                    }
                };
                match handed {
                    Ok(successor) => {
                        held.for_good();
                        if signals.take_missed_reload() {
                            // It may have read its configuration, and opened its log, before.
                            kill_process(successor, Signal::HUP).ok();
                        }
                        return Ended::HandedOver;
                    }
                    Err(NotHanded::StillServing(error)) => {
                        tracing::error!(%error, "not handed over: this process goes on as before");
                    }
                    Err(NotHanded::Lost(error)) => return Ended::Failed(AppError::HandOver(error)),
                }
                drop(held);
                if signals.take_missed_reload() {
                    drop(reloader.reload().await);
                }
            }
        }
    }
}

/// Everything up to the moment in which requests are answered.
async fn open(start: Start) -> Result<(Running, Arc<Reloader>), AppError> {
    let metrics = Arc::new(Metrics::new());
    let (mut predecessor, inherited) = match Predecessor::find().map_err(AppError::TakeOver)? {
        Some((predecessor, inherited)) => (Some(predecessor), inherited),
        None => (None, Inherited::default()),
    };
    let prepared = Prepared::new(&start.config, inherited, &metrics)?;
    if let Some(predecessor) = &mut predecessor {
        predecessor.release().await.map_err(AppError::TakeOver)?;
    }
    let config = &start.config;
    let joined = Joined::join(config, &prepared, predecessor.is_some(), &metrics).await?;
    let purges = open_purges(config, joined.as_ref(), &metrics).await?;
    let store = match Store::open(&config.store, purges.incarnation(), metrics.clone()).await {
        Ok(store) => store,
        Err(error) => {
            close_purges(&purges, flush_deadline(&config.edge)).await;
            return Err(error.into());
        }
    };
    // Who has started it may have heard enough already.
    if let Err(error) = prepared.sockets.announce() {
        tracing::warn!(%error, "nobody can be told where the edge listens");
    }
    if let Some(predecessor) = predecessor
        && let Err(error) = predecessor.retire().await
    {
        close_store(&store, flush_deadline(&config.edge)).await;
        close_purges(&purges, flush_deadline(&config.edge)).await;
        return Err(AppError::TakeOver(error));
    }
    let opened = Opened {
        joined,
        store,
        purges,
        metrics,
    };
    Ok(running::start(start, prepared, opened))
}

/// The log lies beside what it speaks of, unless it is told to lie elsewhere.
async fn open_purges(
    config: &Config,
    joined: Option<&Joined>,
    metrics: &Arc<Metrics>,
) -> Result<Purges, LogError> {
    let witness = config.store.directory.clone();
    let beside = witness.as_ref().map(|cache| cache.join("purges"));
    let directory = config.purge.directory.clone().or(beside);
    let cache = witness.clone();
    let place = directory.map(|directory| Place { directory, witness });
    match joined {
        None => Purges::open(&config.purge, place, &config.edge.name, metrics.clone()).await,
        Some(joined) => {
            joined
                .open_purges(&config.purge, place, cache.as_deref(), metrics)
                .await
        }
    }
}

/// Tells the service manager, where one has started this process.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can not be told");
    }
}
