//! Where a node that knows nobody asks: the addresses of the configuration, and what its names stand for now.
//!
//! Invariant: a name that stands for nothing, or takes long to resolve, holds up nobody. It does not know who answers.

use super::rarely::Rarely;
use crate::base::clock;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Addresses that are asked at once; a name may stand for many.
const ADDRESSES_MAX: usize = 64;
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Seeds {
    texts: Vec<String>,
    own: SocketAddr,
    nobody: Rarely,
}

impl Seeds {
    pub(super) fn new(texts: &[String], own: SocketAddr) -> Self {
        Seeds {
            texts: texts.to_vec(),
            own,
            nobody: Rarely::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// All of them but this node, resolved anew.
    pub(super) async fn addresses(&mut self) -> BTreeSet<SocketAddr> {
        let resolved = futures::future::join_all(self.texts.iter().map(|text| resolve(text))).await;
        if resolved.iter().all(Vec::is_empty)
            && !self.is_empty()
            && self.nobody.happened(clock::monotonic()).is_some()
        {
            let seeds = self.texts.join(", ");
            tracing::warn!(seeds, "no seed has an address; they are resolved again");
        }
        let others = resolved
            .into_iter()
            .flatten()
            .filter(|address| *address != self.own);
        others.take(ADDRESSES_MAX).collect()
    }
}

async fn resolve(text: &str) -> Vec<SocketAddr> {
    match timeout(RESOLVE_DEADLINE, lookup_host(text)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_that_stand_for_nothing_leave_the_others_and_this_node_is_none_of_them() {
        let texts = ["nobody.invalid:1", "127.0.0.1:7", "127.0.0.1:8"].map(String::from);
        let mut seeds = Seeds::new(&texts, "127.0.0.1:8".parse().unwrap());
        let found: Vec<_> = seeds.addresses().await.into_iter().collect();
        assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
        let mut nobody = Seeds::new(&texts[..1], "127.0.0.1:8".parse().unwrap());
        assert!(nobody.addresses().await.is_empty());
    }
}
