//! How long each stage of an exchange may take.
//!
//! Invariant: no await on an origin runs outside [`Deadlines::within`], and only what runs inside counts towards the
//! whole: a reader that pauses between two parts of a body costs the origin nothing. It knows neither sockets nor
//! files.

use super::config::Config;
use super::error::{OriginError, Stage};
use crate::base::clock;
use std::time::{Duration, Instant};

/// The deadlines of one exchange.
#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    connect: Duration,
    first_byte: Duration,
    read: Duration,
    /// Of the total deadline.
    left: Duration,
}

/// Takes the time that it lives off what is left, also when the wait is cancelled.
struct Waiting<'a> {
    left: &'a mut Duration,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        *self.left = self
            .left
            .saturating_sub(clock::monotonic().saturating_duration_since(self.since));
    }
}

impl Deadlines {
    pub(super) fn start(config: &Config) -> Self {
        Deadlines {
            connect: config.connect_deadline.get(),
            first_byte: config.first_byte_deadline.get(),
            read: config.read_deadline.get(),
            left: config.total_deadline.get(),
        }
    }

    /// Runs `work` for as long as `stage` may take, and never beyond what is left of the whole exchange.
    pub(super) async fn within<T>(
        &mut self,
        stage: Stage,
        work: impl Future<Output = T>,
    ) -> Result<T, OriginError> {
        let (stage, budget) = self.budget(stage);
        let _waiting = Waiting {
            left: &mut self.left,
            since: clock::monotonic(),
        };
        tokio::time::timeout(budget, work)
            .await
            .map_err(|_| OriginError::Timeout { stage })
    }

    /// What is left for `stage`, and which deadline that is.
    fn budget(&self, stage: Stage) -> (Stage, Duration) {
        let left = self.left;
        let own = match stage {
            Stage::Connect => self.connect,
            Stage::FirstByte => self.first_byte,
            Stage::Read | Stage::Write => self.read,
            Stage::Total => left,
        };
        if left < own {
            (Stage::Total, left)
        } else {
            (stage, own)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Span;

    fn deadlines() -> Deadlines {
        Deadlines::start(&Config {
            connect_deadline: Span::secs(3),
            total_deadline: Span::secs(10),
            ..Config::default()
        })
    }

    #[test]
    fn the_whole_exchange_bounds_each_of_its_stages() {
        let mut deadlines = deadlines();
        let budget = deadlines.budget(Stage::Connect);
        assert_eq!(budget, (Stage::Connect, Duration::from_secs(3)));
        deadlines.left = Duration::from_secs(2);
        let budget = deadlines.budget(Stage::Connect);
        assert_eq!(budget, (Stage::Total, Duration::from_secs(2)));
        deadlines.left = Duration::ZERO;
        assert_eq!(deadlines.budget(Stage::Read), (Stage::Total, Duration::ZERO));
    }

    #[tokio::test]
    async fn only_waiting_counts_towards_the_whole_also_when_it_is_cancelled() {
        const WAIT: Duration = Duration::from_millis(20);
        let mut deadlines = deadlines();
        let whole = deadlines.left;
        let waited = deadlines.within(Stage::Read, tokio::time::sleep(WAIT)).await;
        assert!(waited.is_ok());
        let once = deadlines.left;
        assert!(once <= whole - WAIT, "{once:?}");
        tokio::time::sleep(WAIT).await;
        assert_eq!(deadlines.left, once);
        let forever = deadlines.within(Stage::Read, std::future::pending::<()>());
        assert!(tokio::time::timeout(WAIT, forever).await.is_err());
        assert!(deadlines.left <= once - WAIT, "{:?}", deadlines.left);
    }
}
