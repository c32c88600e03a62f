//! Where the source of a request lives among the nodes of a cluster: its key, and the pool its route asks for.
//!
//! Invariant: route and key are found as the real path finds them. It does not know which nodes there are.

use super::{Engine, Request, ServeError, Trip};
use crate::key::CacheKey;

/// What the owners of a source are chosen by.
pub(crate) struct Whereabouts {
    pub(crate) key: CacheKey,
    /// By name: host and path.
    pub(crate) route: String,
    pub(crate) pool: String,
}

impl Engine {
    /// What decides who owns the source of a request.
    ///
    /// # Errors
    /// When no route covers it, or its URL is malformed.
    pub(crate) fn whereabouts(&self, request: &Request<'_>) -> Result<Whereabouts, ServeError> {
        let routes = self.routes.load_full();
        let trip = Trip::set_out(&routes, request, self.purges.epoch()).map_err(|unserved| unserved.error)?;
        Ok(Whereabouts {
            key: trip.target.key.clone(),
            route: trip.route.name.clone(),
            pool: trip.route.pool.to_string(),
        })
    }
}
