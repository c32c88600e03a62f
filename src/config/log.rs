//! What the process says of itself on stderr, and how. The access log is the edge's, not this.

use crate::base::problem::Problems;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// What the libraries below tell of their ordinary work is not news to an operator; a disk that fails is told by the
/// store itself.
const DEFAULT_FILTER: &str =
    "info,foyer=error,foyer_storage=error,foyer_memory=error,pingora_core=warn,openraft=warn,chitchat=warn";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Directives as in `RUST_LOG`: `info`, or `warn,aquatint::store=debug`.
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes what the running process says of itself.
#[derive(Clone)]
pub struct LogFilter(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl LogFilter {
    pub fn new(set: impl Fn(EnvFilter) + Send + Sync + 'static) -> Self {
        LogFilter(Arc::new(set))
    }

    /// Puts directives in force that a configuration has been proven with.
    pub fn set(&self, directives: &str) {
        (self.0)(EnvFilter::new(directives));
    }
}

impl Default for Log {
    fn default() -> Self {
        Log {
            filter: DEFAULT_FILTER.into(),
            format: LogFormat::Text,
        }
    }
}

impl Log {
    pub(super) fn validate(&self, problems: &mut Problems) {
        if EnvFilter::try_new(&self.filter).is_err() {
            let allowed = "directives such as info or warn,aquatint::store=debug";
            problems.refuse("filter", &self.filter, allowed);
        }
    }
}
