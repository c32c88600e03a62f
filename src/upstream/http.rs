//! An origin that speaks HTTP.
//!
//! One exchange, in order: pick an address whose breaker admits, take a connection, send the request, read up to the
//! final header, judge it, hand out the body. Invariant: a request is sent a second time only when a pooled
//! connection died before any byte of a response, it had no body and its method is idempotent; a request that was
//! never sent may go to another address. It knows nothing of caching.

use super::body::{Answered, HttpBody, RequestSent};
use super::config::Config;
use super::connect::{Address, DialError, Dialer, Link, Reuse};
use super::deadline::Deadlines;
use super::error::{OpenError, OriginError};
use super::fault;
use super::pick::{Attempt, Balancer, Probe};
use super::place::{self, Place};
use super::request::{self, Envelope, Framing, Trailers};
use super::response::{self, AwaitError, Head, Hearing};
use super::send::{Broken, Sending};
use super::{Bodiless, OriginRequest, RequestBody, observe_since};
use crate::base::breaker::Verdict;
use crate::base::clock;
use crate::base::metrics::{AddressState, ConnectionKind, Family, IntGauge, Label, OriginMetrics};
use crate::http::freshness::{Exchange, InitialAge};
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct HttpOrigin {
    config: Config,
    base_path: String,
    dialer: Arc<Dialer>,
    addresses: Vec<Address>,
    balancer: Balancer,
    metrics: Arc<OriginMetrics>,
}

/// A judged header and the body that follows it, if any.
pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Option<HttpBody>,
    pub(super) exchange: Exchange,
    pub(super) sent_at: Instant,
}

/// Why an attempt gave no answer, by what may be done about it.
enum Failure {
    /// The address can not be reached: another may be asked.
    Unsent(OriginError),
    /// A pooled connection was dead: the request may be sent again where nothing forbids it.
    Stale {
        error: OriginError,
        generation: u64,
    },
    Final(OriginError),
}

impl HttpOrigin {
    pub(super) fn open(name: &str, config: &Config, metrics: Arc<OriginMetrics>) -> Result<Self, OpenError> {
        let Place {
            transport,
            base_path,
            sites,
        } = place::of(config)?;
        let label = |site: &place::Site| format!("{name} ({})", site.authority(transport)).into();
        let weights = sites.iter().map(|site| (label(site), site.weight));
        let addresses = sites.iter().map(|site| Address::new(site, config, transport));
        Ok(HttpOrigin {
            balancer: Balancer::new(weights, &config.breaker, &config.health),
            addresses: addresses.collect::<Result<_, _>>()?,
            dialer: Arc::new(Dialer::open(config, transport)?),
            config: config.clone(),
            base_path,
            metrics,
        })
    }

    pub(super) async fn ask<B: RequestBody>(
        &self,
        request: &OriginRequest,
        mut body: B,
    ) -> Result<Answer, OriginError> {
        let mut deadlines = Deadlines::start(&self.config);
        let framing = if body.is_absent() {
            Framing::Absent
        } else {
            Framing::of_body(&request.headers)?
        };
        let repeatable = framing == Framing::Absent && request.method.is_idempotent();
        let mut unreachable = Vec::new();
        let mut last = OriginError::BreakerOpen;
        for _ in 0..=self.config.retries {
            let Some(attempt) = self.balancer.pick(clock::monotonic(), &unreachable) else {
                return Err(last);
            };
            let position = attempt.position;
            let sending = self.sending(request, framing, &mut deadlines);
            last = match self.attempt(attempt, sending, &mut body).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unsent(error)) => {
                    unreachable.push(position);
                    error
                }
                Err(Failure::Stale { error, generation }) => {
                    self.addresses[position].retire(generation);
                    if !repeatable {
                        return Err(error);
                    }
                    error
                }
            };
        }
        Err(last)
    }

    fn sending<'a>(
        &self,
        request: &'a OriginRequest,
        framing: Framing,
        deadlines: &'a mut Deadlines,
    ) -> Sending<'a> {
        Sending {
            request,
            framing,
            deadlines,
            hearing: Hearing::new(self.config.header_bytes_max.bytes()),
            expect_wait: self.config.expect_wait.get(),
            last_sent_at: clock::monotonic(),
        }
    }

    async fn attempt<B: RequestBody>(
        &self,
        mut attempt: Attempt,
        mut sending: Sending<'_>,
        body: &mut B,
    ) -> Result<Answer, Failure> {
        let tried = self
            .exchange(&self.addresses[attempt.position], &mut sending, body)
            .await;
        if !matches!(tried, Err(Failure::Unsent(_))) {
            self.metrics.requests.inc();
        }
        let Exchanged {
            link,
            head,
            request,
            exchange,
            sent_at,
        } = tried.inspect_err(|failure| match failure {
            Failure::Unsent(error) | Failure::Final(error) if error.blames_address() => {
                attempt.settle(Verdict::Failed);
            }
            _ => {}
        })?;
        observe_since(sending.last_sent_at, &self.metrics.first_byte);
        let answered = Answered {
            link,
            attempt,
            deadlines: sending.deadlines.clone(),
            request,
            trailer_bytes_max: self.config.header_bytes_max.bytes(),
        };
        let body = HttpBody::after(&head, answered).await;
        Ok(Answer {
            head,
            body,
            exchange,
            sent_at,
        })
    }

    async fn exchange<B: RequestBody>(
        &self,
        address: &Address,
        sending: &mut Sending<'_>,
        body: &mut B,
    ) -> Result<Exchanged, Failure> {
        let generation = address.generation();
        let mut link = self
            .dialer
            .dial(address, sending.deadlines)
            .await
            .map_err(|error| match error {
                DialError::Failed(error) => Failure::Unsent(error),
                DialError::Stale(error) => Failure::Stale { error, generation },
            })?;
        self.metrics.connections[kind_of(link.reuse)].inc();
        let host = request::host(&self.config.host, &address.authority, &sending.request.host);
        let (requested_at, sent_at) = (clock::now(), clock::monotonic());
        let envelope = Envelope {
            request: sending.request,
            base_path: &self.base_path,
            host: host.map_err(Failure::Final)?,
            trailers: if body.takes_trailers() {
                Trailers::Passed
            } else {
                Trailers::Discarded
            },
        };
        let limit = self.config.header_bytes_max.bytes();
        body.connected(super::Connected {
            authority: address.authority.to_str().unwrap_or_default(),
            reuse: link.reuse,
        });
        let sent = sending.send(&mut link, envelope, body).await;
        let request = sent.map_err(|broken| broken.into_failure(&mut link, generation, limit))?;
        let head =
            response::examine(link.session(), &sending.request.method, limit).map_err(Failure::Final)?;
        let exchange = Exchange {
            requested_at,
            received_at: clock::now(),
            initial_age: InitialAge::ByHeader,
        };
        Ok(Exchanged {
            link,
            head,
            request,
            exchange,
            sent_at,
        })
    }

    /// Says how many of the addresses are in which state.
    pub(super) fn observe(&self, gauges: &Family<AddressState, IntGauge>) {
        let states = self.balancer.states();
        for state in AddressState::ALL {
            let count = states.iter().filter(|of_address| *of_address == state).count();
            gauges[*state].set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Asks the address at `position` for the health check's path.
    async fn probe(&self, position: usize, path: &str) -> Probe {
        let request = OriginRequest {
            method: Method::GET,
            path_and_query: path.to_string(),
            host: self.addresses[position]
                .authority
                .to_str()
                .unwrap_or_default()
                .to_string(),
            headers: HeaderMap::new(),
        };
        let mut deadlines = Deadlines::start(&self.config);
        let mut sending = self.sending(&request, Framing::Absent, &mut deadlines);
        let answer = self
            .exchange(&self.addresses[position], &mut sending, &mut Bodiless)
            .await;
        match answer {
            Ok(answer) if answer.head.status.is_success() || answer.head.status.is_redirection() => {
                Probe::Passed
            }
            _ => Probe::Failed,
        }
    }

    /// Probes every address, for ever; ends at once when no path is configured.
    pub(super) async fn run_health(&self) {
        let Some(path) = &self.config.health.path else {
            return;
        };
        loop {
            let probes = (0..self.addresses.len()).map(|position| async move {
                let probe = self.probe(position, path).await;
                self.balancer.probed(position, probe);
            });
            futures::future::join_all(probes).await;
            tokio::time::sleep(self.config.health.interval.get()).await;
        }
    }
}

/// What came of one exchange that was answered.
struct Exchanged {
    link: Link,
    head: Head,
    request: RequestSent,
    exchange: Exchange,
    sent_at: Instant,
}

fn kind_of(reuse: Reuse) -> ConnectionKind {
    match reuse {
        Reuse::Fresh => ConnectionKind::New,
        Reuse::Pooled => ConnectionKind::Reused,
    }
}

impl Broken {
    fn into_failure(self, link: &mut Link, generation: u64, limit: u64) -> Failure {
        // A 1xx is an answer: the origin has seen the request.
        let unanswered = link.reuse == Reuse::Pooled && link.session().response_header().is_none();
        let (error, stale) = match self {
            Broken::Sending(error) => (fault::sending(&error), fault::died_unanswered(&error)),
            Broken::Awaiting(AwaitError::Broken(error)) => (
                fault::awaiting_header(&error, limit),
                fault::died_unanswered(&error),
            ),
            Broken::Awaiting(absurd) => (absurd.into_origin_error(limit), false),
            Broken::Otherwise(error) => (error, false),
        };
        if unanswered && stale {
            Failure::Stale { error, generation }
        } else {
            Failure::Final(error)
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod attempt_tests;
