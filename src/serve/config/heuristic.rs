//! How long a response is fresh that says nothing of it (RFC 9111 section 4.2.2).

use crate::base::units::Span;
use serde::{Deserialize, Serialize};

/// The guess for a response that says nothing but when it was last changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heuristic {
    /// Of the time since it was last changed; 0 guesses nothing.
    pub percent: u32,
    pub max: Span,
}

impl Default for Heuristic {
    fn default() -> Self {
        Heuristic {
            percent: 10,
            max: Span::days(1),
        }
    }
}
