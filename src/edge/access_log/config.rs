//! Where requests are logged, what of them is shown, and what the log may hold.

use crate::base::problem::Problems;
use crate::base::units::ByteSize;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// `off`, `stdout` or a file's path.
    pub to: String,
    pub format: Format,
    /// The share of requests, from 0 to 1, that are written; those that failed (5xx) always are.
    pub sample: f64,
    pub query: ShownQuery,
    /// What may wait to be written; beyond it lines are dropped and counted.
    pub buffer: ByteSize,
    /// Those who may follow the live log at once.
    pub followers_max: usize,
    /// What may wait for one of them; what it misses beyond that, it is told.
    pub follower_buffer: ByteSize,
    /// Names in each list of what is busiest; 0 keeps none.
    pub top_entries: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One object a line.
    Json,
    /// The combined log format, and further fields behind it.
    Text,
}

/// Which query parameters are shown with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownQuery {
    /// Those that this edge gives a meaning; of others the names.
    Known,
    /// The query as it came, secrets with it.
    All,
    /// No query at all.
    None,
}

impl Default for AccessLog {
    fn default() -> Self {
        AccessLog {
            to: "stdout".into(),
            format: Format::Json,
            sample: 1.0,
            query: ShownQuery::Known,
            buffer: ByteSize::mib(8),
            followers_max: 16,
            follower_buffer: ByteSize::mib(1),
            top_entries: 1000,
        }
    }
}

impl AccessLog {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        problems.check("sample", self.sample, 0.0..=1.0);
        let buffers = ByteSize::kib(64)..=ByteSize::gib(1);
        problems.check("buffer", self.buffer, buffers.clone());
        problems.check("follower_buffer", self.follower_buffer, buffers);
        problems.check("followers_max", self.followers_max, 0..=1000);
        problems.check("top_entries", self.top_entries, 0..=100_000);
    }
}
