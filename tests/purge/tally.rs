//! How much was done, by kind: a run that found nothing wrong proves something only if much happened.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;

/// Counts by a group's and a count's name.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tally {
    pub(crate) fn add(&self, group: &'static str, name: &str) {
        self.add_many(group, name, 1);
    }

    pub(crate) fn add_many(&self, group: &'static str, name: &str, count: u64) {
        let mut counts = self.0.lock();
        let key = (group, name.to_owned());
        *counts.entry(key).or_default() += count;
    }

    /// Of one group, all names that begin so.
    pub(crate) fn count(&self, group: &str, beginning: &str) -> u64 {
        let counts = self.0.lock();
        let meant = counts
            .iter()
            .filter(|((of, name), _)| *of == group && name.starts_with(beginning));
        meant.map(|(_, count)| count).sum()
    }

    /// Of one group, all names that hold this.
    pub(crate) fn with(&self, group: &str, part: &str) -> u64 {
        let counts = self.0.lock();
        let meant = counts
            .iter()
            .filter(|((of, name), _)| *of == group && name.contains(part));
        meant.map(|(_, count)| count).sum()
    }

    /// # Panics
    /// When less was done: the run proved nothing.
    #[track_caller]
    pub(crate) fn expect(&self, group: &str, beginning: &str, at_least: u64) {
        let count = self.count(group, beginning);
        assert!(
            count >= at_least,
            "only {count} of {group} {beginning:?}, {at_least} are needed to prove anything\n{self}"
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock();
        let mut last = "";
        for ((group, name), count) in counts.iter() {
            if *group != last {
                writeln!(f, "{group}:")?;
                last = group;
            }
            writeln!(f, "  {count:>9} {name}")?;
        }
        Ok(())
    }
}
