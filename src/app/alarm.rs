//! The parts of an edge that have to go on for as long as it serves, and what tells when one does not.
//!
//! Invariant: the first part that fails is told, however long after it somebody asks. It does not know what a part does.

use std::sync::{Arc, OnceLock};
use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;

/// Cheap to clone and share.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Inner>);

#[derive(Default)]
struct Inner {
    raised: CancellationToken,
    part: OnceLock<String>,
}

/// Whether a part may come to an end of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    ForEver,
    /// Where it has nothing to do.
    AsLongAsItHasWork,
}

impl Alarm {
    /// Runs a part, and raises the alarm when it ends as it should not. Whoever ends it by the handle raises none.
    pub(super) fn watch(
        &self,
        part: impl Into<String>,
        lasts: Lasts,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> AbortHandle {
        let (part, alarm) = (part.into(), self.clone());
        let working = tokio::spawn(work);
        let handle = working.abort_handle();
        tokio::spawn(async move {
            match working.await {
                Ok(()) if lasts == Lasts::AsLongAsItHasWork => {}
                Ok(()) => alarm.raise(part),
                Err(error) if error.is_cancelled() => {}
                Err(error) => alarm.raise(told(&part, &error)),
            }
        });
        handle
    }

    fn raise(&self, part: String) {
        // The first failure may have brought the others about.
        self.0.part.get_or_init(|| part);
        self.0.raised.cancel();
    }

    /// Which part has failed, once one has.
    pub(super) async fn raised(&self) -> String {
        self.0.raised.cancelled().await;
        self.0.part.get().cloned().unwrap_or_default()
    }
}

fn told(part: &str, error: &JoinError) -> String {
    format!("{part} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::time::Duration;
    use tokio::time::timeout;

    async fn part_of(alarm: &Alarm) -> String {
        timeout(Duration::from_secs(30), alarm.raised()).await.unwrap()
    }

    #[tokio::test]
    async fn a_part_that_ends_is_told_even_when_others_go_on() {
        let alarm = Alarm::default();
        alarm.watch("one", Lasts::ForEver, pending());
        alarm.watch("another", Lasts::ForEver, ready(()));
        assert_eq!(part_of(&alarm).await, "another");
    }

    #[tokio::test]
    async fn a_part_that_panics_is_told_with_its_panic() {
        for lasts in [Lasts::ForEver, Lasts::AsLongAsItHasWork] {
            let alarm = Alarm::default();
            alarm.watch("one", lasts, async { panic!("broken") });
            assert!(part_of(&alarm).await.starts_with("one (task "));
        }
    }

    #[tokio::test]
    async fn a_part_without_work_and_one_that_was_ended_are_no_failures() {
        let alarm = Alarm::default();
        alarm.watch("idle", Lasts::AsLongAsItHasWork, ready(()));
        alarm.watch("removed", Lasts::ForEver, pending()).abort();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        alarm.watch("last", Lasts::ForEver, async {
            ended.await.ok();
        });
        end.send(()).unwrap();
        // Of the first two nothing was told before the last.
        assert_eq!(part_of(&alarm).await, "last");
    }
}
