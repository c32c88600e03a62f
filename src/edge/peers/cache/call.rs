//! One call under way: how long it may take, and under which settings it is answered.
//!
//! Invariant: it holds its place until it ends, and ends by its deadline. It does not know what is asked.

use crate::base::clock;
use crate::edge::settings::Settings;
use http::HeaderMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// More digits are no timeout.
const DIGITS_MAX: usize = 8;

pub(super) struct Call {
    pub(super) settings: Arc<Settings>,
    /// `None`: as long as it likes.
    deadline: Option<Instant>,
    _place: OwnedSemaphorePermit,
    /// Who stops waits for it.
    _token: Option<TaskTrackerToken>,
}

impl Call {
    /// It takes as long as its caller says, and no longer than `limit`.
    pub(super) fn begin(
        headers: &HeaderMap,
        place: OwnedSemaphorePermit,
        token: TaskTrackerToken,
        settings: Arc<Settings>,
        limit: Duration,
    ) -> Self {
        let timeout = asked_for(headers).map_or(limit, |asked| asked.min(limit));
        Call {
            settings,
            deadline: Some(clock::monotonic() + timeout),
            _place: place,
            _token: Some(token),
        }
    }

    /// Whose end its caller decides alone; nobody who stops waits for it.
    pub(super) fn unending(self, headers: &HeaderMap) -> Self {
        let deadline = asked_for(headers).map(|asked| clock::monotonic() + asked);
        Call {
            deadline,
            _token: None,
            ..self
        }
    }

    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let Some(deadline) = self.deadline else {
            return work.await;
        };
        let late = |_| Status::deadline_exceeded("the call took longer than it may");
        timeout_at(deadline.into(), work).await.map_err(late)?
    }
}

/// As gRPC over HTTP/2 writes it: up to 8 digits and a unit. What is none is taken for none.
fn asked_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number =
        (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = digits.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_timeout_is_digits_and_a_unit_and_all_else_is_none() {
        let asked = |text: &str| {
            let line = (
                http::HeaderName::from_static(GRPC_TIMEOUT),
                HeaderValue::from_str(text).unwrap(),
            );
            asked_for(&HeaderMap::from_iter([line]))
        };
        assert_eq!(asked("250m"), Some(Duration::from_millis(250)));
        assert_eq!(asked("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(asked("0S"), Some(Duration::ZERO));
        for wrong in ["", "S", "1", "1x", "-1S", "+1S", "1.5S", "999999999S", " 1S"] {
            assert_eq!(asked(wrong), None, "{wrong:?}");
        }
        assert_eq!(asked_for(&HeaderMap::new()), None);
    }
}
