//! Names to socket addresses, without blocking the runtime.
//!
//! Invariant: one look-up of a name at a time; its answer is used for [`LIFETIME`], and for [`GRACE`] more while the
//! name service does not answer. An address given as a number is never looked up.

use super::error::OriginError;
use crate::base::clock;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer is used. The system's resolver tells no time to live.
const LIFETIME: Duration = Duration::from_secs(10);
/// How long beyond it an old answer is better than none.
const GRACE: Duration = Duration::from_secs(300);

/// A host and port, and where they were last found.
pub(super) struct Name {
    host: Arc<str>,
    port: u16,
    known: Known,
}

enum Known {
    Literal(Arc<[SocketAddr]>),
    Looked(Mutex<Option<Answer>>),
}

#[derive(Clone)]
struct Answer {
    addresses: Arc<[SocketAddr]>,
    at: Instant,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let known = match host.parse::<IpAddr>() {
            Ok(ip) => Known::Literal(Arc::new([SocketAddr::new(ip, port)])),
            Err(_) => Known::Looked(Mutex::new(None)),
        };
        Name {
            host: host.into(),
            port,
            known,
        }
    }

    /// At least one address.
    pub(super) async fn resolve(&self) -> Result<Arc<[SocketAddr]>, OriginError> {
        let slot = match &self.known {
            Known::Literal(addresses) => return Ok(addresses.clone()),
            Known::Looked(slot) => slot,
        };
        let mut slot = slot.lock().await;
        let now = clock::monotonic();
        if let Some(answer) = slot
            .as_ref()
            .filter(|answer| answer.is_younger_than(LIFETIME, now))
        {
            return Ok(answer.addresses.clone());
        }
        match self.look_up().await {
            Ok(addresses) => {
                *slot = Some(Answer {
                    addresses: addresses.clone(),
                    at: clock::monotonic(),
                });
                Ok(addresses)
            }
            Err(error) => slot
                .as_ref()
                .filter(|answer| answer.is_younger_than(LIFETIME + GRACE, now))
                .map(|answer| answer.addresses.clone())
                .ok_or(error),
        }
    }

    async fn look_up(&self) -> Result<Arc<[SocketAddr]>, OriginError> {
        let failed = |reason: String| OriginError::Resolve {
            name: self.host.clone(),
            reason: reason.into(),
        };
        let found = tokio::net::lookup_host((&*self.host, self.port)).await;
        let addresses: Arc<[SocketAddr]> = found.map_err(|error| failed(error.to_string()))?.collect();
        if addresses.is_empty() {
            return Err(failed("no address".into()));
        }
        Ok(addresses)
    }
}

#[cfg(test)]
impl Name {
    pub(super) fn found_at(sockets: &[SocketAddr]) -> Self {
        Name {
            host: "found.example".into(),
            port: 0,
            known: Known::Literal(sockets.into()),
        }
    }
}

impl Answer {
    fn is_younger_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < age
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(answer: &[SocketAddr], age: Duration) -> Option<Answer> {
        let at = clock::monotonic().checked_sub(age).unwrap();
        Some(Answer {
            addresses: answer.into(),
            at,
        })
    }

    fn looked_up(host: &str, answer: Option<Answer>) -> Name {
        Name {
            host: host.into(),
            port: 80,
            known: Known::Looked(Mutex::new(answer)),
        }
    }

    #[tokio::test]
    async fn a_number_needs_no_look_up() {
        let name = Name::new("::1", 81);
        assert_eq!(*name.resolve().await.unwrap(), ["[::1]:81".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_young_answer_is_used_without_asking_again() {
        let known = "192.0.2.1:80".parse().unwrap();
        let name = looked_up("no.such.name.invalid", aged(&[known], LIFETIME / 2));
        assert_eq!(*name.resolve().await.unwrap(), [known]);
    }

    #[tokio::test]
    async fn an_old_answer_outlives_a_name_service_that_fails() {
        let known = "192.0.2.1:80".parse().unwrap();
        let name = looked_up("no.such.name.invalid", aged(&[known], LIFETIME * 2));
        assert_eq!(*name.resolve().await.unwrap(), [known]);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_an_error() {
        let error = Name::new("no.such.name.invalid", 80).resolve().await.unwrap_err();
        assert!(matches!(error, OriginError::Resolve { .. }), "{error}");
    }
}
