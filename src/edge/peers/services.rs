//! The gRPC services of the cluster listener.
//!
//! Invariant: all that is offered is listed here. It does not know what the services do.

use super::Process;
use super::cache::CacheService;
use super::log::LogService;
use super::node::NodeService;
use crate::cluster::config::Config;
use tonic::service::Routes;

/// Each service is one `add_service`.
pub(super) fn of(config: &Config, process: &Process) -> Routes {
    Routes::default()
        .add_service(CacheService::server(process, &config.calls))
        .add_service(NodeService::server(process, config))
        .add_service(LogService::server(
            process.purges.clone(),
            config.log_message_bytes_max,
        ))
}
