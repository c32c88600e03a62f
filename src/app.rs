//! The only place that builds and wires: start, serve, drain, stop.
//!
//! Start: the log of purges, cache, logs, origins, sockets; only when all stand is anything served. Stop: not ready, wait for
//! the balancer to turn away, refuse new connections, let requests and fills end, close the cache, then the log.
//! Every step of stopping has a deadline, and a second signal ends them all. A part that ends while it should
//! serve stops the whole: a process that looks alive and answers nobody is worse than none.

use crate::base::clock;
use crate::base::metrics::Metrics;
use crate::config::Config;
use crate::edge;
use crate::edge::access_log::AccessLog;
use crate::edge::admin::Admin;
use crate::edge::connection::Front;
use crate::edge::lifecycle::Lifecycle;
use crate::edge::listen::{self, ListenError, Listener};
use crate::edge::purging::Orderer;
use crate::edge::server::Edge;
use crate::purge::Purges;
use crate::purge::log::LogError;
use crate::serve::Engine;
use crate::serve::route::{Routes, UnknownOrigin};
use crate::serve::variants::{WatermarkError, Watermarks};
use crate::store::{Store, StoreError};
use crate::upstream::{OpenError, Origin};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// What the cache and the log have at least to write out what waits, however short the drain deadline is.
const FLUSH_DEADLINE_MIN: Duration = Duration::from_secs(1);

/// Why an edge can not start, or ended without having been told to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the access log {path:?} can not be opened: {cause}; nothing is served")]
    AccessLog { path: String, cause: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Purges(#[from] LogError),
    #[error("origin {name:?}: {cause}; nothing is served")]
    Origin { name: String, cause: OpenError },
    #[error(transparent)]
    Route(#[from] UnknownOrigin),
    #[error(transparent)]
    Watermark(#[from] WatermarkError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the system refuses what a server needs: {0}; nothing is served")]
    System(#[from] io::Error),
    #[error("{part} ended while it should serve; the edge has stopped")]
    Part { part: String },
    #[error("told to stop a second time: what was under way is cut off")]
    ToldTwice,
}

/// Runs one edge until SIGTERM or SIGINT.
///
/// # Errors
/// When something it needs can not be had (then no port was opened for long enough to serve), when a part of it
/// fails while it serves, or when it is told to stop a second time before it has stopped.
pub fn serve(config: Config) -> Result<(), AppError> {
    let runtime = runtime(config.edge.threads)?;
    let stopped = runtime.block_on(run(config));
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

async fn run(config: Config) -> Result<(), AppError> {
    let metrics = Arc::new(Metrics::new());
    let mut signals = Signals::listen()?;
    let purges = open_purges(&config, &metrics).await?;
    let store = match Store::open(&config.store, purges.incarnation(), metrics.clone()).await {
        Ok(store) => store,
        Err(error) => {
            close_purges(&purges, flush_deadline(&config.edge)).await;
            return Err(error.into());
        }
    };
    let mut running = match start(&config, store.clone(), purges.clone(), metrics) {
        Ok(running) => running,
        Err(error) => {
            close_store(&store, flush_deadline(&config.edge)).await;
            close_purges(&purges, flush_deadline(&config.edge)).await;
            return Err(error);
        }
    };
    let served = tokio::select! {
        () = signals.received() => Ok(()),
        failure = running.parts.failed() => Err(failure),
    };
    if let Err(failure) = &served {
        tracing::error!(%failure, "stopping");
    }
    tokio::select! {
        () = running.stop(&config.edge) => served,
        () = signals.received() => Err(AppError::ToldTwice),
    }
}

/// SIGXFSZ on Linux: a file would grow beyond the limit that the process was given.
const FILE_TOO_LARGE: i32 = 25;

/// Either of the signals that ask a process to end, and one that must not: a write that is refused is an error like any.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    _file_too_large: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// An edge that serves.
struct Running {
    parts: Parts,
    lifecycle: Arc<Lifecycle>,
    engine: Arc<Engine>,
    orderer: Arc<Orderer>,
    store: Store,
    purges: Purges,
    log: Arc<AccessLog>,
    requests: TaskTracker,
    stop_edge: watch::Sender<bool>,
    stop_admin: watch::Sender<bool>,
}

fn start(config: &Config, store: Store, purges: Purges, metrics: Arc<Metrics>) -> Result<Running, AppError> {
    let origins = open_origins(config, &metrics)?;
    let watermarks = Watermarks::open(&config.serve.watermarks, &config.serve.transform.limits)?;
    let routes = Routes::compile(&config.routes, &origins, &watermarks.digests())?;
    let log = Arc::new(open_log(config, &metrics)?);
    let name = &config.edge.name;
    let engine = Engine::new(
        &config.serve,
        routes,
        store.clone(),
        purges.clone(),
        &watermarks,
        name,
        metrics.clone(),
    );
    let engine = Arc::new(engine);
    let orderer = Orderer::new(&config.purge, purges.clone(), engine.clone(), metrics.clone());
    let sockets = Sockets::open(config)?;
    sockets.announce()?;
    let mut running = Running {
        parts: Parts::default(),
        lifecycle: Arc::default(),
        engine,
        orderer: Arc::new(orderer),
        store,
        purges,
        log,
        requests: TaskTracker::new(),
        stop_edge: watch::Sender::new(false),
        stop_admin: watch::Sender::new(false),
    };
    running.serve(sockets, config, &metrics);
    running.parts.add_purges(running.purges.clone());
    for origin in origins.into_values() {
        running
            .parts
            .probes
            .spawn(async move { origin.run_health().await });
    }
    Ok(running)
}

impl Running {
    fn serve(&mut self, sockets: Sockets, config: &Config, metrics: &Arc<Metrics>) {
        for listener in sockets.edge {
            let edge = Edge::new(
                &config.edge,
                self.engine.clone(),
                self.orderer.clone(),
                self.log.clone(),
                metrics.clone(),
                self.requests.clone(),
            );
            let front = Front::new(edge, &config.edge, metrics.clone());
            let (url, stopping) = (listener.url(), self.stop_edge.subscribe());
            self.parts
                .add_listener(url, listen::serve(front, listener, stopping));
        }
        let admin = Admin {
            deadline: config.admin.deadline.get(),
            metrics: metrics.clone(),
            store: self.store.clone(),
            lifecycle: self.lifecycle.clone(),
            orderer: self.orderer.clone(),
        };
        let (url, stopping) = (sockets.admin.url(), self.stop_admin.subscribe());
        self.parts
            .add_listener(url, listen::serve(admin, sockets.admin, stopping));
    }

    async fn stop(&self, config: &edge::config::Config) {
        tracing::info!("stopping: not ready from here on");
        self.lifecycle.drain();
        tokio::time::sleep(config.drain_delay.get()).await;
        self.stop_edge.send_replace(true);
        self.requests.close();
        let (began, deadline) = (clock::monotonic(), config.drain_deadline.get());
        self.drain_within(deadline).await;
        close_store(&self.store, flush_deadline(config)).await;
        close_purges(&self.purges, flush_deadline(config)).await;
        // Connections that were idle may have asked meanwhile.
        self.drain_within(deadline.saturating_sub(clock::monotonic() - began))
            .await;
        self.stop_admin.send_replace(true);
        self.log.close(flush_deadline(config)).await;
    }

    async fn drain_within(&self, deadline: Duration) {
        let quiet = until_quiet(&self.requests, || self.engine.drain());
        if timeout(deadline, quiet).await.is_err() {
            tracing::warn!(
                requests = self.requests.len(),
                "the drain deadline has passed; what is left is cut off"
            );
        }
    }
}

/// Returns once neither a request nor a fill is under way: a request may begin while fills end.
async fn until_quiet(requests: &TaskTracker, fills: impl AsyncFn()) {
    loop {
        requests.wait().await;
        fills().await;
        if requests.is_empty() {
            return;
        }
    }
}

fn flush_deadline(config: &edge::config::Config) -> Duration {
    config.drain_deadline.get().max(FLUSH_DEADLINE_MIN)
}

/// The log lies beside what it speaks of, unless it is told to lie elsewhere.
async fn open_purges(config: &Config, metrics: &Arc<Metrics>) -> Result<Purges, LogError> {
    let beside = config.store.directory.as_ref().map(|cache| cache.join("purges"));
    let directory = config.purge.directory.clone().or(beside);
    let node = &config.edge.name;
    Purges::open(&config.purge, directory.as_deref(), node, metrics.clone()).await
}

async fn close_store(store: &Store, deadline: Duration) {
    if timeout(deadline, store.close()).await.is_err() {
        tracing::warn!("the cache was not closed in time; what waited for the SSD is lost");
    }
}

async fn close_purges(purges: &Purges, deadline: Duration) {
    if timeout(deadline, purges.close()).await.is_err() {
        tracing::warn!("the log of purges was not closed in time; nothing acknowledged is lost");
    }
}

/// What runs for as long as the edge serves.
#[derive(Default)]
struct Parts {
    /// Each returns where it listened.
    listeners: JoinSet<String>,
    /// An origin without probes ends its own at once.
    probes: JoinSet<()>,
    /// Who carries purges out.
    purges: JoinSet<()>,
}

impl Parts {
    fn add_listener(&mut self, url: String, serving: impl Future<Output = ()> + Send + 'static) {
        self.listeners.spawn(async move {
            serving.await;
            url
        });
    }

    fn add_purges(&mut self, purges: Purges) {
        self.purges.spawn(async move { purges.ended().await });
    }

    /// Returns when a part has failed.
    async fn failed(&mut self) -> AppError {
        let part = loop {
            tokio::select! {
                Some(ended) = self.listeners.join_next() => match ended {
                    Ok(url) => break format!("the listener on {url}"),
                    Err(error) => break told("a listener", &error),
                },
                Some(ended) = self.probes.join_next() => if let Err(error) = ended {
                    break told("an origin's health probe", &error);
                },
                Some(_) = self.purges.join_next() => break "the log of purges".to_owned(),
                else => std::future::pending().await,
            }
        };
        AppError::Part { part }
    }
}

fn told(part: &str, error: &JoinError) -> String {
    format!("{part} ({error})")
}

fn open_log(config: &Config, metrics: &Arc<Metrics>) -> Result<AccessLog, AppError> {
    let log = &config.edge.access_log;
    AccessLog::open(log, metrics.clone()).map_err(|cause| AppError::AccessLog {
        path: log.to.clone(),
        cause,
    })
}

fn open_origins(config: &Config, metrics: &Arc<Metrics>) -> Result<HashMap<String, Arc<Origin>>, AppError> {
    let open = |(name, origin): (&String, _)| match Origin::open(name, origin, metrics.clone()) {
        Ok(origin) => Ok((name.clone(), Arc::new(origin))),
        Err(cause) => Err(AppError::Origin {
            name: name.clone(),
            cause,
        }),
    };
    config.origins.iter().map(open).collect()
}

/// All that is listened on.
struct Sockets {
    edge: Vec<Listener>,
    admin: Listener,
}

impl Sockets {
    fn open(config: &Config) -> Result<Self, ListenError> {
        let mut edge = vec![Listener::clear(config.edge.listen)?];
        if let Some(tls) = &config.edge.tls {
            edge.push(Listener::tls(tls)?);
        }
        let admin = Listener::clear(config.admin.listen)?;
        Ok(Sockets { edge, admin })
    }

    /// Says where the edge listens, for people and for what starts it on port 0.
    fn announce(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for listener in &self.edge {
            writeln!(out, "edge listening on {}", listener.url())?;
        }
        writeln!(out, "admin listening on {}", self.admin.url())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn failure_of(parts: &mut Parts) -> String {
        let failed = timeout(Duration::from_secs(30), parts.failed()).await;
        failed.unwrap().to_string()
    }

    #[tokio::test]
    async fn a_listener_that_ends_is_a_failure_even_when_others_go_on() {
        let mut parts = Parts::default();
        parts.add_listener("http://a:1".into(), pending());
        parts.add_listener("http://a:2".into(), ready(()));
        let expected = "the listener on http://a:2 ended while it should serve; the edge has stopped";
        assert_eq!(failure_of(&mut parts).await, expected);
    }

    #[tokio::test]
    async fn a_part_that_panics_is_a_failure() {
        let mut parts = Parts::default();
        parts.add_listener("http://a:1".into(), async { panic!("broken") });
        assert!(failure_of(&mut parts).await.starts_with("a listener (task "));
        let mut parts = Parts::default();
        parts.add_listener("http://a:1".into(), pending());
        parts.probes.spawn(async { panic!("broken") });
        assert!(failure_of(&mut parts).await.contains("health probe"));
    }

    #[tokio::test]
    async fn a_log_of_purges_that_ends_is_a_failure() {
        let config = crate::purge::config::Config::default();
        let purges = Purges::open(&config, None, "node", Arc::new(Metrics::new())).await;
        let purges = purges.unwrap();
        let mut parts = Parts::default();
        parts.add_listener("http://a:1".into(), pending());
        parts.add_purges(purges.clone());
        {
            let mut failed = std::pin::pin!(parts.failed());
            tokio::select! {
                biased;
                failure = &mut failed => panic!("{failure}"),
                () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
            }
        }
        purges.close().await;
        let expected = "the log of purges ended while it should serve; the edge has stopped";
        assert_eq!(failure_of(&mut parts).await, expected);
    }

    #[tokio::test]
    async fn probes_that_have_nothing_to_do_are_none() {
        let mut parts = Parts::default();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        parts.add_listener("http://a:1".into(), async {
            ended.await.ok();
        });
        parts.probes.spawn(ready(()));
        parts.probes.spawn(ready(()));
        {
            let mut failed = std::pin::pin!(parts.failed());
            // The probes' ends are taken before the listener's can be.
            tokio::select! {
                biased;
                failure = &mut failed => panic!("{failure}"),
                () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
            }
            drop(end);
            let failure = timeout(Duration::from_secs(30), failed).await.unwrap();
            assert!(failure.to_string().contains("http://a:1"), "{failure}");
        }
        assert!(parts.probes.is_empty());
    }

    #[tokio::test]
    async fn a_request_that_begins_while_fills_end_is_waited_for() {
        let requests = TaskTracker::new();
        requests.close();
        let (rounds, answered) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let fills = async || {
            if rounds.fetch_add(1, Ordering::Relaxed) == 0 {
                let answered = answered.clone();
                requests.spawn(async move {
                    tokio::task::yield_now().await;
                    answered.fetch_add(1, Ordering::Relaxed);
                });
            }
        };
        let quiet = timeout(Duration::from_secs(30), until_quiet(&requests, fills));
        quiet.await.unwrap();
        assert_eq!(answered.load(Ordering::Relaxed), 1);
    }
}
