//! What programs may do over gRPC, and how much of it.
//!
//! Invariant: no call is without a deadline. It does not know what is called.

use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};

/// Calls of other programs, over gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// At once; more are refused.
    pub under_way_max: usize,
    /// How long one may take, whatever its caller allows.
    pub deadline: Span,
    /// Programs that watch purges at once.
    pub watchers_max: usize,
    /// Of one message, such as a chunk of a body that is put.
    pub message_bytes_max: ByteSize,
}

impl Default for Calls {
    fn default() -> Self {
        Calls {
            under_way_max: 256,
            deadline: Span::secs(120),
            watchers_max: 64,
            message_bytes_max: ByteSize::mib(4),
        }
    }
}

impl Calls {
    pub(super) fn validate(&self, problems: &mut Problems) {
        problems.check("under_way_max", self.under_way_max, 1..=100_000);
        problems.check("deadline", self.deadline, Span::millis(100)..=Span::days(1));
        problems.check("watchers_max", self.watchers_max, 1..=100_000);
        let message = ByteSize::kib(64)..=ByteSize::mib(256);
        problems.check("message_bytes_max", self.message_bytes_max, message);
    }
}
