//! What an edge needs of the world beside its cache: sockets, origins, routes, pictures, the access log.
//!
//! Invariant: preparing touches neither the cache nor the log of purges, so that another process may have both. It does not
//! know how they are served.

use super::AppError;
use super::handover::Inherited;
use super::sockets::Sockets;
use crate::base::metrics::Metrics;
use crate::cluster::identity::{Identity, IdentityError};
use crate::cluster::member::NodeId;
use crate::config::Config;
use crate::edge::access_log::AccessLog;
use crate::serve::route::Routes;
use crate::serve::variants::Watermarks;
use crate::trace::Tracer;
use crate::upstream::Origin;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) type Origins = HashMap<String, Arc<Origin>>;

pub(super) struct Prepared {
    pub(super) origins: Origins,
    pub(super) watermarks: Watermarks,
    pub(super) routes: Routes,
    pub(super) log: Arc<AccessLog>,
    pub(super) tracer: Tracer,
    /// `None`: this node is alone.
    pub(super) identity: Option<Identity>,
    pub(super) sockets: Sockets,
}

impl Prepared {
    pub(super) fn new(
        config: &Config,
        inherited: Inherited,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, AppError> {
        let open = |(name, _): (&String, _)| Ok((name.clone(), open_origin(config, name, metrics)?));
        let origins = config
            .origins
            .iter()
            .map(open)
            .collect::<Result<Origins, AppError>>()?;
        let watermarks = Watermarks::open(&config.serve.watermarks, &config.serve.transform.limits)?;
        let routes = Routes::compile(&config.routes, &origins, &watermarks.digests(), metrics)?;
        let log = Arc::new(open_log(config, metrics)?);
        let tracer = Tracer::open(&config.tracing, metrics.clone())?;
        let identity = config.cluster.listen.map(|_| open_identity(config));
        let identity = identity.transpose()?;
        let sockets = Sockets::open(config, inherited)?;
        Ok(Prepared {
            origins,
            watermarks,
            routes,
            log,
            tracer,
            identity,
            sockets,
        })
    }
}

pub(super) fn open_origin(
    config: &Config,
    name: &str,
    metrics: &Arc<Metrics>,
) -> Result<Arc<Origin>, AppError> {
    let opened = Origin::open(name, &config.origins[name], metrics);
    opened.map(Arc::new).map_err(|cause| AppError::Origin {
        name: name.to_owned(),
        cause,
    })
}

fn open_identity(config: &Config) -> Result<Identity, IdentityError> {
    let node = config.cluster.node.as_deref().unwrap_or(&config.edge.name);
    Identity::open(&config.cluster, &NodeId::new(node))
}

fn open_log(config: &Config, metrics: &Arc<Metrics>) -> Result<AccessLog, AppError> {
    let log = &config.edge.access_log;
    AccessLog::open(log, metrics.clone()).map_err(|cause| AppError::AccessLog {
        path: log.to.clone(),
        cause,
    })
}
