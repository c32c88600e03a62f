//! Limits and places of the cache.

use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the memory tier chooses what to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eviction {
    Lru,
    Lfu,
    Fifo,
    S3fifo,
    Sieve,
}

/// What is worth an SSD write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Everything that is stored.
    Always,
    /// What is asked for a second time: an image seen once never costs a write.
    SecondHit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Memory for bodies.
    pub memory: ByteSize,
    /// Memory for entries: headers, times, digests.
    pub entry_memory: ByteSize,
    pub eviction: Eviction,
    /// Independent parts of the memory tier, each with its own lock.
    pub shards: usize,
    /// Where the SSD tier lives; without it the cache is memory alone.
    pub directory: Option<PathBuf>,
    /// SSD space for bodies, reserved at start.
    pub ssd: ByteSize,
    /// SSD space for entries, reserved at start; each takes 4 KiB.
    pub entry_ssd: ByteSize,
    pub admission: Admission,
    /// Bytes that may wait for the SSD writer; beyond it, writes are dropped and counted.
    pub write_queue_bytes_max: ByteSize,
    /// How often the SSD's health is checked, and a failed one tried again.
    pub ssd_check_interval: Span,
    /// A read of the SSD that takes longer is a miss and counts against the SSD's health.
    pub ssd_read_deadline: Span,
    /// How long closing may take to write out what is queued; what is not written by then is lost.
    pub close_deadline: Span,
    /// How often expired entries are sampled and removed.
    pub expiry_interval: Span,
    /// How long an entry past all use is kept all the same: the origin may confirm it without sending it again.
    pub keep_expired: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            memory: ByteSize::mib(512),
            entry_memory: ByteSize::mib(128),
            eviction: Eviction::S3fifo,
            shards: 16,
            directory: None,
            ssd: ByteSize::gib(10),
            entry_ssd: ByteSize::gib(1),
            admission: Admission::SecondHit,
            write_queue_bytes_max: ByteSize::mib(64),
            ssd_check_interval: Span::secs(10),
            ssd_read_deadline: Span::secs(2),
            close_deadline: Span::secs(30),
            expiry_interval: Span::secs(1),
            keep_expired: Span::secs(600),
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        problems.check("memory", self.memory, ByteSize::mib(8)..=ByteSize::gib(1 << 14));
        problems.check(
            "entry_memory",
            self.entry_memory,
            ByteSize::mib(1)..=ByteSize::gib(1 << 14),
        );
        problems.check("shards", self.shards, 1..=1024);
        problems.check("ssd", self.ssd, ByteSize::mib(256)..=ByteSize::gib(1 << 20));
        problems.check(
            "entry_ssd",
            self.entry_ssd,
            ByteSize::mib(256)..=ByteSize::gib(1 << 20),
        );
        problems.check(
            "write_queue_bytes_max",
            self.write_queue_bytes_max,
            ByteSize::mib(4)..=ByteSize::gib(16),
        );
        problems.check(
            "ssd_check_interval",
            self.ssd_check_interval,
            Span::millis(100)..=Span::days(1),
        );
        problems.check(
            "ssd_read_deadline",
            self.ssd_read_deadline,
            Span::millis(10)..=Span::secs(60),
        );
        problems.check(
            "close_deadline",
            self.close_deadline,
            Span::millis(100)..=Span::secs(3600),
        );
        problems.check(
            "expiry_interval",
            self.expiry_interval,
            Span::millis(10)..=Span::days(1),
        );
        problems.check("keep_expired", self.keep_expired, Span::secs(0)..=Span::days(365));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Config) -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        let found = problems.into_found().into_iter();
        found.map(|problem| problem.key).collect()
    }

    #[test]
    fn a_read_deadline_lies_between_ten_milliseconds_and_a_minute() {
        for (deadline, keys) in [
            (Span::millis(9), vec!["ssd_read_deadline"]),
            (Span::millis(10), vec![]),
            (Span::secs(60), vec![]),
            (Span::millis(60_001), vec!["ssd_read_deadline"]),
        ] {
            let config = Config {
                ssd_read_deadline: deadline,
                ..Config::default()
            };
            assert_eq!(refused(&config), keys, "{deadline}");
        }
    }
}
