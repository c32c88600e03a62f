//! What may change while the listeners serve: limits, deadlines, and who may order purges.
//!
//! Invariant: a request is answered under one set of settings from its header to its end. It does not know where settings
//! come from.

use super::config::Config;
use super::guard::Guard;
use super::purging::Orderer;
use super::respond::{Audience, Manner};
use crate::cluster::question::Errand;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// The settings in force; what is under way ends under those it began with.
pub(crate) type InForce = Arc<ArcSwap<Settings>>;

pub(crate) struct Settings {
    pub(crate) orderer: Arc<Orderer>,
    pub(super) guard: Guard,
    /// For a request that has gained the fields of one hop.
    pub(super) guard_of_peers: Guard,
    pub(super) manner: Manner,
    manner_of_relays: Manner,
    manner_of_fills: Manner,
    pub(super) header_deadline: Duration,
    pub(super) read_deadline: Duration,
    pub(super) write_deadline: Duration,
    pub(super) keepalive_idle_secs: u64,
    pub(super) body_bytes_max: u64,
}

impl Settings {
    pub(crate) fn new(config: &Config, orderer: Arc<Orderer>) -> Self {
        let manner = Manner::new(&config.name, config.ranges_max);
        Settings {
            orderer,
            guard: Guard::new(config),
            guard_of_peers: Guard::of_peers(config),
            manner_of_relays: manner.toward(Audience::Edge),
            manner_of_fills: manner.toward(Audience::Cache),
            manner,
            header_deadline: config.header_deadline.get(),
            read_deadline: config.read_deadline.get(),
            write_deadline: config.write_deadline.get(),
            keepalive_idle_secs: config.keepalive_idle.get().as_secs(),
            body_bytes_max: config.body_bytes_max.bytes(),
        }
    }

    /// How another node is answered.
    pub(super) fn manner_for(&self, errand: Errand) -> &Manner {
        match errand {
            Errand::Relay => &self.manner_of_relays,
            Errand::Fill | Errand::Look => &self.manner_of_fills,
        }
    }
}
