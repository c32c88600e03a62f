//! Purges of a cluster: what is ordered where, and what is read between.

use super::{Cluster, authorized};
use crate::load::{Client, HOST};
use crate::origin::target;
use crate::support::eventually;
use crate::support::purging::KEY;
use crate::wire::Connection;
use serde_json::{Value, json};
use std::ops::Range;

impl Cluster {
    pub(super) fn purge_and_read(&mut self, nodes: &[usize], objects: &Range<usize>) {
        let readers: Vec<_> = self.running();
        let mut client = Client::new(&self.directory);
        for (turn, object) in objects.clone().enumerate() {
            let at = nodes[turn % nodes.len()];
            self.purge(at, object);
            for node in &readers {
                client.ask(*node, object);
            }
        }
    }

    /// Says whether it was acknowledged.
    fn purge(&mut self, at: usize, object: usize) -> bool {
        let version = self.origin.change(object);
        let applied = self.order(at, object).is_some_and(|state| state == "applied");
        if applied {
            self.origin.acknowledge(object, version);
            self.purged += 1;
        }
        applied
    }

    /// What became of an order to purge an object; nothing where it was refused, or no answer came.
    pub(super) fn order(&self, node: usize, object: usize) -> Option<String> {
        let url = format!("http://{HOST}{}", target(object));
        let order = json!({"files": [url]}).to_string();
        let request = authorized("POST", "/api/v1/purge")
            .with("content-type", "application/json")
            .with_body(order);
        let mut connection = Connection::open(self.edge(node).admin_address()).ok()?;
        let answer = connection.ask(&request).ok()?;
        let receipt: Value = serde_json::from_slice(&answer.body).ok()?;
        receipt["state"].as_str().map(str::to_owned)
    }

    #[track_caller]
    pub(super) fn await_purges(&mut self, node: usize) {
        eventually("a purge is acknowledged", || self.purge(node, 0).then_some(()));
    }
}

/// [`KEY`] may do everything.
pub(super) fn keys() -> String {
    let hash = blake3::hash(KEY.as_bytes()).to_hex();
    format!("{{tests: {{hash: 'blake3:{hash}', scopes: ['admin', 'cache', 'purge:all']}}}}")
}
