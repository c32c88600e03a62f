//! Hits on hot copies, told to the owners of their keys.
//!
//! Invariant: a hit is told once; one that could not be told is told the next time, as long as its key is hot. It does not know
//! what was hit.

use super::Shared;
use crate::base::clock;
use crate::cluster::member::{Member, NodeId};
use crate::key::KeyName;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Keys in one report; more are not heeded.
pub(crate) const REPORT_KEYS_MAX: usize = 1024;

/// Each with its owner.
type Reports = HashMap<NodeId, (Arc<Member>, Vec<(KeyName, u64)>)>;

impl Shared {
    pub(super) async fn report_for_ever(&self, each: Duration) {
        let mut ticks = interval(each);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.report().await;
        }
    }

    pub(super) async fn report(&self) {
        let sends = self.reports().into_values().map(async |(owner, hits)| {
            for hits in hits.chunks(REPORT_KEYS_MAX) {
                self.report_to(&owner, hits).await;
            }
        });
        futures::future::join_all(sends).await;
    }

    fn reports(&self) -> Reports {
        let mut reports = Reports::new();
        for (home, hits) in self.hot.take_hits(clock::monotonic()) {
            let owners = self.network.owners(&home);
            match &owners.primary {
                _ if owners.is_primary() => {
                    self.heat.add(home.url, narrowed(hits));
                }
                Some(primary) => {
                    let report = reports.entry(primary.id.clone());
                    let (_, of_owner) = report.or_insert_with(|| (primary.clone(), Vec::new()));
                    of_owner.push((home.url, hits));
                }
                None => {}
            }
        }
        reports
    }

    async fn report_to(&self, owner: &Member, hits: &[(KeyName, u64)]) {
        match self.network.report(owner, hits).await {
            Ok(()) => {
                let told = hits.iter().map(|(_, hits)| hits).sum();
                self.metrics.cluster_reported_hits.inc_by(told);
            }
            Err(error) => {
                tracing::debug!(peer = owner.id.as_str(), %error, "hits on copies were not told");
                hits.iter().for_each(|(url, hits)| self.hot.give_back(url, *hits));
            }
        }
    }

    /// What another node tells.
    pub(super) fn reported(&self, hits: impl Iterator<Item = (KeyName, u64)>) {
        for (url, hits) in hits.take(REPORT_KEYS_MAX) {
            self.heat.add(url, narrowed(hits));
        }
    }
}

fn narrowed(hits: u64) -> u32 {
    u32::try_from(hits).unwrap_or(u32::MAX)
}
