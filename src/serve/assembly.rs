//! How the request path is put together, and comes to its end.
//!
//! Invariant: nothing is served before all of it is there. It does not know requests.

use super::audit::Audits;
use super::board::Flights;
use super::copies::Copies;
use super::fills::Fills;
use super::route::Routes;
use super::variants::{Variants, Watermarks};
use super::{Engine, Neighbours, config};
use crate::base::metrics::Metrics;
use crate::purge::Purges;
use crate::store::Store;
use arc_swap::ArcSwap;
use std::sync::Arc;

impl Engine {
    pub(crate) fn new(
        config: &config::Config,
        routes: Routes,
        store: Store,
        purges: Purges,
        watermarks: &Watermarks,
        name: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        let variants = Variants::new(&config.transform, watermarks, store.clone(), metrics.clone());
        Engine {
            routes: ArcSwap::from_pointee(routes),
            variants: Arc::new(variants),
            flights: Arc::new(Flights::new(metrics.clone())),
            fills: Arc::new(Fills::new(config, store.clone(), purges.clone(), metrics.clone())),
            purges,
            audits: Audits::new(config.audits_max, config.fill_deadline.get()),
            read_ahead: config.read_ahead,
            name: name.to_owned(),
            store,
            metrics,
        }
    }

    /// With other nodes, and with copies there and of theirs.
    #[must_use]
    pub(crate) fn in_cluster(mut self, neighbours: Neighbours, copies: Copies) -> Self {
        let fills = Arc::get_mut(&mut self.fills).expect("it is not shared before it serves");
        fills.neighbours = Some(neighbours);
        fills.copies = copies;
        self
    }

    pub(crate) fn purges(&self) -> &Purges {
        &self.purges
    }

    /// Waits until no fill is under way, and no variant is being made.
    pub(crate) async fn drain(&self) {
        self.fills.drain().await;
        self.variants.drain().await;
        self.audits.drain().await;
    }
}
