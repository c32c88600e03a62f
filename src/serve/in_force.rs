//! By which routes requests are served, as they change while the edge serves.
//!
//! Invariant: a request ends under the routes it began with. It does not know why they change.

use super::Engine;
use super::route::Routes;
use crate::base::holes::{Hole, is_open};
use std::sync::Arc;

impl Engine {
    /// From here on requests that begin are served by these routes.
    pub(crate) fn put_in_force(&self, routes: Routes) {
        let routes = Arc::new(routes);
        self.routes.rcu(|now| match now.is_retired() {
            // For good: what changes the routes may have been under way when the cache was given away.
            true => Arc::new(routes.retired()),
            false => routes.clone(),
        });
    }

    /// The cache and the log of purges are another process's from here on: of what it purges this one hears nothing, so that
    /// each request that begins is its origin's to answer.
    pub(crate) fn retire(&self) {
        if is_open(Hole::ServeRetired) {
            return;
        }
        self.routes.store(Arc::new(self.routes.load().retired()));
    }

    pub(super) fn is_retired(&self) -> bool {
        self.routes.load().is_retired()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::Metrics;
    use crate::purge::Purges;
    use crate::serve::config::Config;
    use crate::serve::variants::Watermarks;
    use crate::store::Store;
    use std::collections::HashMap;

    #[tokio::test]
    async fn what_has_retired_stays_so_whatever_comes_in_force() {
        let metrics = Arc::new(Metrics::new());
        let purges = Purges::open(&Default::default(), None, "test", metrics.clone()).await;
        let purges = purges.unwrap();
        let store = Store::open(&Default::default(), purges.incarnation(), metrics.clone()).await;
        let config = Config::default();
        let watermarks = Watermarks::open(&config.watermarks, &config.transform.limits).unwrap();
        let routes = || Routes::compile(&[], &HashMap::new(), &HashMap::new(), &metrics).unwrap();
        let store = store.unwrap();
        let engine = Engine::new(
            &config,
            routes(),
            store,
            purges,
            &watermarks,
            "test",
            metrics.clone(),
        );
        engine.put_in_force(routes());
        assert!(!engine.is_retired());
        engine.retire();
        engine.put_in_force(routes());
        assert!(engine.is_retired());
    }
}
