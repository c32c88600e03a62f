//! Reading the configuration again while the edge serves, as far as the API knows of it.
//!
//! Invariant: all of it or nothing; a refusal has changed nothing. It does not know what a configuration is.

use async_trait::async_trait;
use serde::Serialize;

/// Reads the configuration again.
#[async_trait]
pub(crate) trait Reload: Send + Sync {
    /// Puts what the configuration says now into force.
    ///
    /// # Errors
    /// When it can not stand; what was in force stays so.
    async fn reload(&self) -> Result<ReloadReport, ReloadRefused>;
}

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ReloadReport {
    /// One line for each thing.
    pub(crate) changed: Vec<String>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReloadRefused {
    /// All that is wrong.
    #[error("the configuration can not stand; nothing was changed")]
    Problems(Vec<String>),
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of an edge whose configuration never stands.
    pub(in crate::edge::admin) struct NoReload;

    #[async_trait]
    impl Reload for NoReload {
        async fn reload(&self) -> Result<ReloadReport, ReloadRefused> {
            Err(ReloadRefused::Problems(Vec::new()))
        }
    }
}
