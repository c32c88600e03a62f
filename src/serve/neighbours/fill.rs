//! A fill asks the key's primary in the origin's place: its answer is taken as an origin's, of the age and the stamp it says.
//!
//! Invariant: a node that answers a fill asks nobody but the origin, save what the owner of before still has; what the origin
//! refused to the primary is not asked of it again. It does not know what becomes of the answer.

use super::{Asks, Neighbours};
use crate::base::clock::{self, Timestamp};
use crate::base::metrics::{FillFrom, KeyClass};
use crate::cluster::load::Underway;
use crate::cluster::peers::{PeerBody, PeerError};
use crate::cluster::question::{self, Errand, Failure};
use crate::http::freshness::{Exchange, InitialAge};
use crate::http::reuse::RequestControl;
use crate::serve::failure::FlightFailure;
use crate::serve::fill::Fill;
use crate::upstream::{Elsewhere, Framing, OriginBody, OriginError, OriginRequest, OriginResponse};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::time::timeout;

/// Of an answer whose tags are not told: it may not be stored.
const UNSTAMPED: HeaderValue = HeaderValue::from_static("none");

/// What a peer's answer to a fill comes to.
enum Understood {
    Answer(Box<OriginResponse>),
    /// It has asked the origin, in vain.
    OriginFailed(OriginError),
}

impl Fill {
    /// What another node answers in the origin's place; `None` where the origin is to be asked.
    pub(in crate::serve) async fn fetch_from_peer(
        &self,
        request: &OriginRequest,
    ) -> Option<Result<OriginResponse, FlightFailure>> {
        let neighbours = self.fills.neighbours.as_ref()?;
        let (errand, from) = match self.asks {
            Asks::Origin => return None,
            Asks::OwnerBefore => (Errand::Look, FillFrom::PreviousOwner),
            Asks::Primary => (Errand::Fill, FillFrom::Peer),
        };
        let question = self.question_to_peer(neighbours, request, errand)?;
        for member in neighbours.in_the_origins_place(&self.url, &self.route, self.asks) {
            let began = clock::now();
            let asked = neighbours.cluster.peers().ask(&member, question.clone());
            let answer = match errand {
                Errand::Look => timeout(neighbours.look_deadline, asked)
                    .await
                    .unwrap_or(Err(PeerError::Deadline)),
                Errand::Fill | Errand::Relay => asked.await,
            };
            match answer {
                Ok(answer) => match understand(answer, began) {
                    Understood::Answer(response) => {
                        self.count_as_from(from);
                        return Some(Ok(*response));
                    }
                    Understood::OriginFailed(error) => return Some(Err(error.into())),
                },
                // It lives, and waits for the origin: so would the next.
                Err(PeerError::Deadline) if errand == Errand::Fill => {
                    return Some(Err(told(Failure::Late).into()));
                }
                // The next would have the origin cut another body short.
                Err(PeerError::BrokenOff(_)) if errand == Errand::Fill => {
                    return Some(Err(told(Failure::Disconnected).into()));
                }
                Err(error) => neighbours.tell(&member, &error),
            }
        }
        None
    }

    /// In a cluster.
    pub(in crate::serve) fn count_as_from(&self, from: FillFrom) {
        if let Some(neighbours) = &self.fills.neighbours {
            let is_hot = || self.fills.copies.is_hot(&self.url.name());
            let class = match neighbours.owns(&self.url, &self.route) {
                true => KeyClass::Owned,
                false if is_hot() => KeyClass::Hot,
                false => KeyClass::Foreign,
            };
            self.fills.metrics.cluster_fills[(from, class)].inc();
        }
    }

    fn question_to_peer(
        &self,
        neighbours: &Neighbours,
        request: &OriginRequest,
        errand: Errand,
    ) -> Option<Request<()>> {
        let mut headers = request.headers.clone();
        keep_demands(&mut headers);
        neighbours.address(&mut headers, errand, self.client, self.url.name());
        let url = format!(
            "{}://{}{}",
            self.url.scheme().name(),
            request.host,
            request.path_and_query
        );
        let mut question = Request::builder()
            .method(request.method.clone())
            .uri(url)
            .body(())
            .ok()?;
        *question.headers_mut() = headers;
        Some(question)
    }
}

/// Unlike an origin, a node obeys what a request says to caches, and what one client puts up with is not for all who wait.
fn keep_demands(headers: &mut HeaderMap) {
    let demands = RequestControl::of(headers).demands();
    headers.remove(header::PRAGMA);
    headers.remove(header::CACHE_CONTROL);
    headers.extend(demands.map(|demands| (header::CACHE_CONTROL, demands)));
}

fn told(failure: Failure) -> OriginError {
    OriginError::ToldByPeer {
        status: failure.status(),
        kind: failure.kind(),
        reason: failure.to_string().into(),
    }
}

fn understand(answer: Response<PeerBody>, began: Timestamp) -> Understood {
    let (parts, body) = answer.into_parts();
    let mut headers = parts.headers;
    if let Some(failure) = Failure::of(&headers) {
        return Understood::OriginFailed(told(failure));
    }
    if !headers.contains_key(question::STAMP) {
        headers.insert(question::STAMP, UNSTAMPED);
    }
    let framing = match question::is_unframed(&headers) {
        true => Framing::UntilClose,
        false => Framing::Framed,
    };
    let from_peer = FromPeer {
        body,
        _under_way: None,
    };
    Understood::Answer(Box::new(OriginResponse {
        status: parts.status,
        length: length(&headers),
        exchange: as_of_the_origin(&mut headers, began),
        headers,
        body: OriginBody::from_elsewhere(from_peer, framing),
    }))
}

/// As if the origin had been asked here when it was asked there: the clocks of neither need agree with this one.
fn as_of_the_origin(headers: &mut HeaderMap, began: Timestamp) -> Exchange {
    let age = question::age(headers);
    if age.is_some() {
        headers.remove(header::AGE);
    }
    let at = began.minus(age.unwrap_or_default());
    Exchange {
        requested_at: at,
        received_at: at,
        initial_age: match age {
            Some(_) => InitialAge::Told,
            None => InitialAge::ByHeader,
        },
    }
}

pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A peer's body, in an origin's place.
pub(super) struct FromPeer {
    body: PeerBody,
    /// Where it counts as load of the peer's.
    _under_way: Option<Underway>,
}

impl FromPeer {
    pub(super) fn counted(body: PeerBody, under_way: Underway) -> Self {
        FromPeer {
            body,
            _under_way: Some(under_way),
        }
    }
}

impl Elsewhere for FromPeer {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OriginError>> {
        let next = self.body.next();
        next.map(|next| {
            next.map_err(|error| OriginError::Reset {
                reason: error.to_string().into(),
            })
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::freshness::{CachePolicy, Facts, Heuristic, Lifetime, Verdict, Versioned, judge};
    use http::StatusCode;
    use proptest::prelude::*;
    use std::time::Duration;

    const THERE: Timestamp = Timestamp::from_secs(1_700_000_000);

    /// Of a minute each.
    const LIFETIMES: [&str; 3] = ["max-age", "expires", "last-modified"];

    fn date(at: Timestamp) -> HeaderValue {
        HeaderValue::try_from(httpdate::fmt_http_date(at.as_system_time())).unwrap()
    }

    /// As a node judges it whose clock says `here`, of what another answers whose clock, and its origin's, says [`THERE`].
    fn judged(here: Timestamp, age: Duration, lifetime: &str) -> Lifetime {
        let sent_at = THERE.minus(age);
        let mut headers = HeaderMap::from_iter([(header::DATE, date(sent_at))]);
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let (name, value) = match lifetime {
            "max-age" => (header::CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
            "expires" => (header::EXPIRES, date(sent_at.plus(minutes(1)))),
            _ => (header::LAST_MODIFIED, date(sent_at.minus(minutes(10)))),
        };
        headers.insert(name, value);
        question::write_age(&mut headers, age);
        headers.insert(header::AGE, HeaderValue::from(age.as_secs() + 1));
        let exchange = as_of_the_origin(&mut headers, here);
        let policy = CachePolicy {
            heuristic: Heuristic {
                percent: 10,
                max: minutes(60),
            },
            ..CachePolicy::default()
        };
        let facts = Facts {
            status: StatusCode::OK,
            headers: &headers,
            request_headers: &HeaderMap::new(),
            exchange,
            versioned: Versioned::No,
        };
        match judge(&facts, &policy) {
            Verdict::Store(lifetime) => lifetime,
            Verdict::Refuse(refusal) => panic!("{refusal:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_fill_is_as_old_and_as_fresh_as_was_said_by_clocks_far_ahead_and_far_behind(
            here_s in 1_000_000u64..3_000_000_000,
            age_s in 0u64..50,
            age_ms in 0u64..1000,
            lifetime in prop::sample::select(LIFETIMES.to_vec()),
        ) {
            let age = Duration::from_millis(age_s * 1000 + age_ms);
            for here in [Timestamp::from_secs(here_s), THERE] {
                let judged = judged(here, age, lifetime);
                prop_assert_eq!(judged.age(here), age, "{}", lifetime);
                let fresh_for = judged.fresh_until.since(judged.born_at).as_secs();
                prop_assert!((59..=61).contains(&fresh_for), "{} {}", lifetime, fresh_for);
            }
        }
    }
}
