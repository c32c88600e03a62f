//! How long each stage of an exchange may take.
//!
//! Invariant: no await on an origin runs outside [`Deadlines::within_stretch`], and only what runs inside counts
//! towards the whole: a reader that pauses between two parts of a body costs the origin nothing. It knows neither
//! sockets nor files.

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

/// One stage that is waited for in several parts: what is left for all of them together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    stage: Stage,
    left: Duration,
}

/// Takes the time that it lives off what is left, also when the wait is cancelled.
struct Waiting<'a> {
    left: [&'a mut Duration; 2],
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = clock::monotonic().saturating_duration_since(self.since);
        for left in &mut self.left {
            **left = left.saturating_sub(waited);
        }
    }
}

impl Stretch {
    /// `left` for all parts together, where that is less than what the stage itself may take.
    pub(super) fn at_most(mut self, left: Duration) -> Self {
        self.left = self.left.min(left);
        self
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
        let mut stretch = self.stretch(stage);
        self.within_stretch(&mut stretch, work).await
    }

    /// All that `stage` may take, to be waited for in parts with [`Deadlines::within_stretch`].
    pub(super) fn stretch(&self, stage: Stage) -> Stretch {
        let left = match stage {
            Stage::Connect => self.connect,
            Stage::FirstByte => self.first_byte,
            Stage::Read | Stage::Write => self.read,
            Stage::Total => self.left,
        };
        Stretch { stage, left }
    }

    /// Runs `work` for as long as `stretch` has left; only the time within counts.
    pub(super) async fn within_stretch<T>(
        &mut self,
        stretch: &mut Stretch,
        work: impl Future<Output = T>,
    ) -> Result<T, OriginError> {
        let (stage, budget) = self.budget(*stretch);
        let _waiting = Waiting {
            left: [&mut self.left, &mut stretch.left],
            since: clock::monotonic(),
        };
        tokio::time::timeout(budget, work)
            .await
            .map_err(|_| OriginError::Timeout { stage })
    }

    /// What is left for a stretch, and which deadline that is.
    fn budget(&self, stretch: Stretch) -> (Stage, Duration) {
        if self.left < stretch.left {
            (Stage::Total, self.left)
        } else {
            (stretch.stage, stretch.left)
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
        let connecting = deadlines.stretch(Stage::Connect);
        let budget = deadlines.budget(connecting);
        assert_eq!(budget, (Stage::Connect, Duration::from_secs(3)));
        deadlines.left = Duration::from_secs(2);
        let budget = deadlines.budget(connecting);
        assert_eq!(budget, (Stage::Total, Duration::from_secs(2)));
        deadlines.left = Duration::ZERO;
        let reading = deadlines.stretch(Stage::Read);
        assert_eq!(deadlines.budget(reading), (Stage::Total, Duration::ZERO));
    }

    #[tokio::test]
    async fn the_parts_of_a_stage_share_its_deadline() {
        const WAIT: Duration = Duration::from_millis(20);
        let mut deadlines = deadlines();
        let mut stretch = deadlines.stretch(Stage::FirstByte).at_most(WAIT);
        let waited = deadlines.within_stretch(&mut stretch, tokio::time::sleep(WAIT / 4));
        assert!(waited.await.is_ok());
        assert!(stretch.left <= WAIT - WAIT / 4, "{stretch:?}");
        let late = deadlines.within_stretch(&mut stretch, std::future::pending::<()>());
        let stage = Stage::FirstByte;
        assert!(matches!(late.await, Err(OriginError::Timeout { stage: late }) if late == stage));
        assert_eq!(stretch.left, Duration::ZERO);
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
