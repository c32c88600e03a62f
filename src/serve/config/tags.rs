//! What becomes of the tags by which origins mark their responses.

use crate::base::problem::Problems;
use crate::base::units::ByteSize;
use serde::{Deserialize, Serialize};

/// The tags by which an origin marks its responses for purges, in `Surrogate-Key` or `Cache-Tag`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tags {
    pub to_clients: TagHeaders,
    /// A response with more is passed through, not stored.
    pub count_max: usize,
    /// Of one tag; a response with a longer one is passed through, not stored.
    pub bytes_max: ByteSize,
}

/// What clients see of the headers that name tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagHeaders {
    Strip,
    Forward,
}

impl Default for Tags {
    fn default() -> Self {
        Tags {
            to_clients: TagHeaders::Strip,
            count_max: 256,
            bytes_max: ByteSize::kib(1),
        }
    }
}

impl Tags {
    pub(super) fn validate(&self, problems: &mut Problems) {
        problems.check("count_max", self.count_max, 1..=10_000);
        problems.check("bytes_max", self.bytes_max, ByteSize(1)..=ByteSize::kib(16));
    }
}
