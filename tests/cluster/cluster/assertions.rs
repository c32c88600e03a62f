//! What has to be so in a cluster, and how long is waited for it.

use super::{Cluster, metric, name, told};
use crate::operation::{Expected, Fetches};
use crate::support::{PATIENCE, eventually};
use aquatint::base::clock::monotonic;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

impl Cluster {
    #[track_caller]
    pub(super) fn assert_members(&self, at: &[usize], alive: &[usize]) {
        for node in at {
            let edge = self.edge(*node);
            let names: BTreeSet<_> = alive.iter().map(|node| name(*node)).collect();
            eventually(&format!("node {node} knows {alive:?} as alive"), || {
                let told = told(edge, "/api/v1/cluster")?;
                let members = told["members"].as_array()?.iter();
                let up = members.filter(|member| member["state"] == "up");
                let up: BTreeSet<_> = up.filter_map(|member| member["node"].as_str()).collect();
                up.into_iter().eq(&names).then_some(())
            });
        }
    }

    #[track_caller]
    pub(super) fn assert_fetches(&self, expected: &Fetches) {
        let fetches = self.origin.fetches();
        let all: u64 = fetches.iter().sum();
        let asked = || {
            let some = fetches.iter().enumerate().filter(|(_, count)| **count > 0);
            some.map(|(object, count)| format!("{object}: {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let holds = match expected {
            Fetches::Each(objects, count) => fetches[objects.clone()].iter().all(|found| found == count),
            Fetches::EachAtMost(most) => fetches.iter().all(|found| found <= most),
            Fetches::AtMost(most) => all <= *most,
        };
        assert!(
            holds,
            "{expected:?} does not hold; {all} fetches in all: {}",
            asked()
        );
    }

    #[track_caller]
    pub(super) fn assert_purges(&self, least: u64) {
        let purged = self.purged;
        assert!(purged >= least, "only {purged} purges were acknowledged");
    }

    #[track_caller]
    pub(super) fn assert_metric(&self, at: &[usize], selector: &str, expected: Expected) {
        let mut last = 0.0;
        let until = monotonic() + PATIENCE;
        while monotonic() < until {
            let values = at.iter().filter_map(|node| metric(self.edge(*node), selector));
            last = values.sum();
            if expected.suits(last) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{selector} at {at:?} is {last}, not {expected:?}");
    }

    #[track_caller]
    pub(super) fn assert_busiest(&self, nodes: &[usize], times: f64) {
        let answered = nodes.iter().map(|node| {
            let before = self.answered.get(node).copied().unwrap_or(0.0);
            self.answered_by(*node) - before
        });
        let answered: Vec<f64> = answered.collect();
        let mean = answered.iter().sum::<f64>() / answered.len() as f64;
        let busiest = answered.iter().copied().fold(0.0, f64::max);
        println!(
            "        answered {answered:?}: the busiest {:.2} times the mean",
            busiest / mean
        );
        assert!(
            busiest <= times * mean,
            "{answered:?}, more than {times} times the mean"
        );
    }

    #[track_caller]
    pub(super) fn assert_says(&self, node: usize, text: &str) {
        let edge = self.edge(node);
        eventually(&format!("node {node} says {text:?}"), || {
            edge.stderr().contains(text).then_some(())
        });
    }
}
