//! How an edge begins to serve, once all that it needs is open.
//!
//! Invariant: all is wired before the first socket is listened on. It does not know how it ends.

use super::Running;
use crate::app::Start;
use crate::app::alarm::{Alarm, Lasts};
use crate::app::joined::{Joined, Membership};
use crate::app::prepared::{Origins, Prepared};
use crate::app::reload::{Probed, Reloader};
use crate::app::sockets::{ClusterSockets, Sockets};
use crate::base::metrics::Metrics;
use crate::cluster;
use crate::cluster::identity::Identity;
use crate::config::Config;
use crate::edge;
use crate::edge::access_log::AccessLog;
use crate::edge::admin::{Admin, Nodes, Process};
use crate::edge::connection::Front;
use crate::edge::listen::{self, Certificate, Listener};
use crate::edge::peers::{self, PeerServer};
use crate::edge::purging::Orderer;
use crate::edge::server::Edge;
use crate::edge::settings::Settings;
use crate::purge::Purges;
use crate::serve::route::Routes;
use crate::serve::variants::Watermarks;
use crate::serve::{Engine, Neighbours};
use crate::store::Store;
use crate::trace::Tracer;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// What outlives a process, or belongs to the cluster, as it is open now.
pub(in crate::app) struct Opened {
    /// `None`: this node is alone.
    pub(in crate::app) joined: Option<Joined>,
    pub(in crate::app) store: Store,
    pub(in crate::app) purges: Purges,
    pub(in crate::app) metrics: Arc<Metrics>,
}

/// What an edge says of its requests.
struct Records {
    log: Arc<AccessLog>,
    tracer: Tracer,
}

/// From here on requests are answered.
pub(in crate::app) fn start(start: Start, prepared: Prepared, opened: Opened) -> (Running, Arc<Reloader>) {
    let Prepared {
        origins,
        watermarks,
        routes,
        log,
        tracer,
        identity,
        mut sockets,
    } = prepared;
    let engine = build_engine(&start.config, routes, &watermarks, &opened);
    let mut running = Running::new(&start.config, engine, opened, Records { log, tracer });
    running.sockets = std::mem::take(&mut sockets.to_hand);
    let config = start.config.clone();
    let certificate = sockets.certificate.clone();
    let reloader = Arc::new(running.reloader(start, origins, &watermarks, certificate));
    running.listen(&config, sockets, identity.as_ref(), &reloader);
    watch_log(&running.alarm, &running.purges);
    running.watch_gossip();
    reloader.count_in_force();
    running.metrics.ready.set(1);
    (running, reloader)
}

fn build_engine(config: &Config, routes: Routes, watermarks: &Watermarks, opened: &Opened) -> Arc<Engine> {
    let Opened {
        joined,
        store,
        purges,
        metrics,
    } = opened;
    let engine = Engine::new(
        &config.serve,
        routes,
        store.clone(),
        purges.clone(),
        watermarks,
        &config.edge.name,
        metrics.clone(),
    );
    Arc::new(match joined {
        None => engine,
        Some(joined) => {
            let neighbours = Neighbours::new(joined.cluster.clone(), purges.clone(), &joined.config);
            engine.in_cluster(neighbours, joined.copies(store, purges, metrics))
        }
    })
}

/// Without its log an edge can not keep its promise.
fn watch_log(alarm: &Alarm, purges: &Purges) {
    let purges = purges.clone();
    alarm.watch("the log of purges", Lasts::ForEver, async move {
        purges.ended().await;
    });
}

impl Running {
    /// One that listens on nothing yet.
    fn new(config: &Config, engine: Arc<Engine>, opened: Opened, records: Records) -> Self {
        let Opened {
            joined,
            store,
            purges,
            metrics,
        } = opened;
        let Records { log, tracer } = records;
        let orderer = Orderer::new(&config.purge, purges.clone(), engine.clone(), metrics.clone());
        let orderer = orderer.traced_by(tracer.clone());
        let settings = Settings::new(&config.edge, Arc::new(orderer));
        let deadline = config.edge.drain_deadline.get();
        Running {
            alarm: Alarm::default(),
            membership: joined.map(|joined| Arc::new(Membership { joined, deadline })),
            lifecycle: Arc::default(),
            engine,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            store,
            purges,
            log,
            tracer,
            metrics,
            sockets: Vec::new(),
            requests: TaskTracker::new(),
            connections: TaskTracker::new(),
            answers: TaskTracker::new(),
            stop_edge: watch::Sender::new(false),
            stop_admin: watch::Sender::new(false),
            stop_peers: watch::Sender::new(false),
        }
    }

    fn reloader(
        &self,
        start: Start,
        origins: Origins,
        watermarks: &Watermarks,
        certificate: Option<Arc<Certificate>>,
    ) -> Reloader {
        Reloader {
            in_force: tokio::sync::Mutex::new(Probed::new(&start.config, origins, &self.alarm)),
            source: start.source,
            filter: start.filter,
            engine: self.engine.clone(),
            settings: self.settings.clone(),
            certificate,
            log: self.log.clone(),
            tracer: self.tracer.clone(),
            purges: self.purges.clone(),
            watermarks: watermarks.digests(),
            alarm: self.alarm.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// The admin listener last: who hears that it answers may ask all others.
    fn listen(
        &self,
        config: &Config,
        sockets: Sockets,
        identity: Option<&Identity>,
        reloader: &Arc<Reloader>,
    ) {
        for listener in sockets.edge {
            self.serve_edge(listener, &config.edge);
        }
        if let (Some(sockets), Some(identity)) = (sockets.cluster, identity) {
            self.serve_peers(sockets, identity, &config.cluster);
        }
        if let Some(membership) = &self.membership {
            membership
                .joined
                .serve(self.requests.clone(), self.purges.clone());
            membership.joined.watch_name(self.purges.clone());
        }
        self.serve_admin(sockets.admin, &config.admin, reloader.clone());
    }

    fn serve_edge(&self, listener: Listener, config: &edge::config::Config) {
        let edge = Edge::new(
            config,
            self.engine.clone(),
            self.settings.clone(),
            self.log.clone(),
            self.metrics.clone(),
            self.tracer.clone(),
            self.requests.clone(),
        );
        let front = Front::new(edge, config, self.connections.clone(), self.metrics.clone());
        let part = format!("the listener on {}", listener.url());
        let serving = listen::serve(front, listener, self.stop_edge.subscribe());
        self.alarm.watch(part, Lasts::ForEver, serving);
    }

    fn serve_peers(&self, sockets: ClusterSockets, identity: &Identity, config: &cluster::config::Config) {
        let process = peers::Process {
            engine: self.engine.clone(),
            purges: self.purges.clone(),
            settings: self.settings.clone(),
            lifecycle: self.lifecycle.clone(),
            metrics: self.metrics.clone(),
            tracer: self.tracer.clone(),
            requests: self.requests.clone(),
        };
        let part = format!("the cluster listener on {}", sockets.address);
        let server = PeerServer::new(config, identity, process);
        let serving = server.serve(sockets.listener, self.stop_peers.subscribe());
        self.alarm.watch(part, Lasts::ForEver, serving);
    }

    /// Alone it would own what others own too.
    fn watch_gossip(&self) {
        let Some(membership) = self.membership.clone() else {
            return;
        };
        self.alarm
            .watch("the gossip of the cluster", Lasts::ForEver, async move {
                membership.joined.cluster.ended().await;
            });
    }

    fn nodes(&self) -> Option<Nodes> {
        let membership = self.membership.clone()?;
        Some(Nodes {
            cluster: membership.joined.cluster.clone(),
            config: membership.joined.config.clone(),
            hand_over_deadline: membership.deadline,
        })
    }

    fn serve_admin(&self, listener: Listener, config: &edge::config::Admin, reload: Arc<Reloader>) {
        let process = Process {
            metrics: self.metrics.clone(),
            store: self.store.clone(),
            lifecycle: self.lifecycle.clone(),
            settings: self.settings.clone(),
            engine: self.engine.clone(),
            log: self.log.clone(),
            reload,
            nodes: self.nodes(),
            answers: self.answers.clone(),
        };
        let admin = Admin::new(config, process);
        let part = format!("the listener on {}", listener.url());
        let serving = listen::serve(admin, listener, self.stop_admin.subscribe());
        self.alarm.watch(part, Lasts::ForEver, serving);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_log_of_purges_that_ends_is_a_failure() {
        let config = crate::purge::config::Config::default();
        let purges = Purges::open(&config, None, "node", Arc::new(Metrics::new())).await;
        let (purges, alarm) = (purges.unwrap(), Alarm::default());
        watch_log(&alarm, &purges);
        purges.close().await;
        let part = timeout(Duration::from_secs(30), alarm.raised()).await;
        assert_eq!(part.unwrap(), "the log of purges");
    }
}
