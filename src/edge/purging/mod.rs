//! Orders of purges, from what a caller sent to the receipt it gets.
//!
//! 1. who asks: by a key, before anything of the body is read, or by a webhook's signature over the whole of it;
//! 2. what is asked: the order is understood as a whole or refused as a whole;
//! 3. whether its caller may, and what it covers by the routes;
//! 4. the log carries it out, and the receipt is the answer.
//!
//! Invariant: whoever can not prove to be known costs a look at headers, or for a webhook the hash of a body within the
//! limits; nothing of a request on this path reaches an origin. It does not know sessions beyond [`session`].

mod body;
mod clients;
mod method;
mod once;
mod refusal;
mod response;
mod scopes;
mod session;
mod signed;
#[cfg(test)]
pub(in crate::edge) mod tests;

pub(in crate::edge) use body::is_json;
pub(crate) use method::{Entrance, entrance};
pub(crate) use response::Response;
pub(crate) use scopes::Places;

use crate::base::clock;
use crate::base::metrics::{Label, Metrics, PurgeResult, PurgeWay};
use crate::purge::caller::Caller;
use crate::purge::config::Config;
use crate::purge::keys::Keys;
use crate::purge::order::{Mode, Order, PurgeId};
use crate::purge::receipt::{Receipt, State};
use crate::purge::request::{PurgeRequest, Purpose, Reach};
use crate::purge::{OrderError, Purges};
use crate::scope::{Kind, Scope};
use crate::serve::purging::Estimate;
use crate::trace::{Stage, Trace, Tracer, attribute};
use crate::upstream::RequestBody;
use body::{BodyLimits, Sender};
use http::{HeaderMap, StatusCode, header};
use once::Once;
use refusal::Refusal;
use signed::{Signed, Verifier};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// Takes orders of purges in.
pub(crate) struct Orderer {
    purges: Purges,
    places: Arc<dyn Places>,
    keys: Keys,
    verifier: Verifier,
    bodies: BodyLimits,
    /// A permit for each dry run that may be under way: each looks at all that memory knows.
    dry_runs: Arc<Semaphore>,
    scopes_max: usize,
    metrics: Arc<Metrics>,
    /// Of orders to the API: those that come to the edge listener belong to a trace already.
    tracer: Tracer,
}

/// Whose key a request shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credential<'a> {
    /// It shows none.
    Absent,
    /// Nobody's.
    Unknown,
    Known(&'a Caller),
}

/// What came of an order.
#[derive(Debug)]
pub(crate) enum Done {
    Receipt(Receipt),
    /// Nothing was purged.
    DryRun {
        estimate: Estimate,
        scopes: usize,
    },
}

/// Why an order is not carried out, in the words of HTTP.
#[derive(Debug)]
pub(in crate::edge) struct Refused {
    pub(in crate::edge) status: StatusCode,
    pub(in crate::edge) message: String,
}

/// An order whose caller is known.
struct Asked<'a> {
    caller: &'a Caller,
    way: PurgeWay,
    request: PurgeRequest,
    once: Option<Once>,
    trace: &'a Trace,
}

impl<'a> Asked<'a> {
    /// By a caller that has one.
    fn with_key(
        caller: &'a Caller,
        way: PurgeWay,
        headers: &HeaderMap,
        request: PurgeRequest,
        trace: &'a Trace,
    ) -> Result<Self, Refusal> {
        Ok(Asked {
            caller,
            way,
            request,
            once: Once::of_headers(headers, caller)?,
            trace,
        })
    }
}

impl Orderer {
    pub(crate) fn new(
        config: &Config,
        purges: Purges,
        places: Arc<dyn Places>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Orderer {
            places,
            keys: Keys::new(config),
            verifier: Verifier::new(config, purges.clone()),
            purges,
            bodies: BodyLimits::new(config),
            dry_runs: Arc::new(Semaphore::new(config.dry_runs_max)),
            scopes_max: config.order_scopes_max,
            metrics,
            tracer: Tracer::default(),
        }
    }

    /// Whose key a request shows, for whatever.
    pub(crate) fn credential(&self, headers: &HeaderMap) -> Credential<'_> {
        if !headers.contains_key(header::AUTHORIZATION) {
            return Credential::Absent;
        }
        match bearer(headers).and_then(|key| self.keys.find(key)) {
            Some(caller) => Credential::Known(caller),
            None => Credential::Unknown,
        }
    }

    /// Records a share of the API's orders.
    pub(crate) fn traced_by(self, tracer: Tracer) -> Self {
        Orderer { tracer, ..self }
    }

    /// Sets the gauges of the purge path.
    pub(crate) fn observe(&self) {
        self.purges.observe();
    }

    /// A call of the API.
    async fn call(
        &self,
        headers: &HeaderMap,
        body: &mut impl RequestBody,
        trace: &Trace,
    ) -> Result<Done, Refusal> {
        let done = self.call_uncounted(headers, body, trace).await;
        self.counted(PurgeWay::Api, done)
    }

    async fn call_uncounted(
        &self,
        headers: &HeaderMap,
        body: &mut impl RequestBody,
        trace: &Trace,
    ) -> Result<Done, Refusal> {
        let caller = self.caller(headers)?;
        take_turn(caller)?;
        self.bodies.check_header(headers, body)?;
        let body = self.bodies.read(body).await?;
        let request = PurgeRequest::of_body(&body)?;
        let asked = Asked::with_key(caller, PurgeWay::Api, headers, request, trace)?;
        self.carry_out(asked).await
    }

    /// A signed webhook.
    async fn deliver(
        &self,
        sender: Sender<'_>,
        body: &mut impl RequestBody,
        trace: &Trace,
    ) -> Result<Done, Refusal> {
        let done = self.deliver_uncounted(sender, body, trace).await;
        self.counted(PurgeWay::Webhook, done)
    }

    async fn deliver_uncounted(
        &self,
        sender: Sender<'_>,
        body: &mut impl RequestBody,
        trace: &Trace,
    ) -> Result<Done, Refusal> {
        let attempt = self.verifier.attempt(sender.headers)?;
        self.bodies.check_header(sender.headers, body)?;
        let body = self.bodies.read_of_unknown(sender, body).await?;
        let Signed {
            caller,
            request,
            once,
        } = self.verifier.open(attempt, body).await?;
        self.carry_out(Asked {
            caller: &caller,
            way: PurgeWay::Webhook,
            request,
            once: Some(once),
            trace,
        })
        .await
    }

    /// The method `PURGE` of a URL.
    async fn purge(&self, headers: &HeaderMap, url: &str, trace: &Trace) -> Result<Done, Refusal> {
        let done = self.purge_uncounted(headers, url, trace).await;
        self.counted(PurgeWay::Method, done)
    }

    async fn purge_uncounted(&self, headers: &HeaderMap, url: &str, trace: &Trace) -> Result<Done, Refusal> {
        let caller = self.caller(headers)?;
        take_turn(caller)?;
        let request = PurgeRequest::of_url(url, reach(headers)?, mode(headers)?)?;
        let asked = Asked::with_key(caller, PurgeWay::Method, headers, request, trace)?;
        self.carry_out(asked).await
    }

    /// One URL as it is written, for a program that has a key.
    pub(in crate::edge) async fn purge_exact(&self, headers: &HeaderMap, url: &str) -> Result<Done, Refused> {
        let done = self.purge_exact_uncounted(headers, url).await;
        self.counted(PurgeWay::Api, done).map_err(|refusal| Refused {
            status: refusal.kind().0,
            message: refusal.to_string(),
        })
    }

    async fn purge_exact_uncounted(&self, headers: &HeaderMap, url: &str) -> Result<Done, Refusal> {
        let caller = self.caller(headers)?;
        take_turn(caller)?;
        let request = PurgeRequest::of_url(url, Reach::Exact, Mode::Hard)?;
        let trace = Trace::default();
        let asked = Asked::with_key(caller, PurgeWay::Api, headers, request, &trace)?;
        self.carry_out(asked).await
    }

    /// What came of a purge; for whoever has a key.
    async fn receipt(&self, headers: &HeaderMap, id: &str) -> Result<Done, Refusal> {
        self.caller(headers)?;
        let id = PurgeId::parse(id).ok_or(Refusal::UnknownPurge)?;
        let known = self.purges.receipt(&id).await?;
        known.map(Done::Receipt).ok_or(Refusal::UnknownPurge)
    }

    fn caller(&self, headers: &HeaderMap) -> Result<&Caller, Refusal> {
        if self.keys.is_empty() {
            return Err(Refusal::NoKeys);
        }
        let key = bearer(headers).ok_or(Refusal::NoKeyGiven)?;
        self.keys.find(key).map(AsRef::as_ref).ok_or(Refusal::UnknownKey)
    }

    async fn carry_out(&self, asked: Asked<'_>) -> Result<Done, Refusal> {
        let Asked {
            caller,
            way,
            request,
            once,
            trace,
        } = asked;
        let mut ordering = trace.stage(Stage::PurgeOrder);
        ordering.word(attribute::WAY, way.name());
        if let Some(permission) = caller.lacks(request.needs()) {
            return Err(Refusal::NotAllowed(permission));
        }
        let scopes = self.scopes(&request)?;
        ordering.number(attribute::SCOPES, scopes.len() as u64);
        if request.purpose == Purpose::DryRun {
            return self.estimate(scopes).await;
        }
        let (mode, minimum) = (request.mode, request.minimum);
        let order = Order {
            once: once.map(|once| once.key(&scopes, mode, minimum.as_ref())),
            scopes,
            mode,
            minimum,
            way,
            by: caller.name().to_owned(),
        };
        let told = Told::of(&order);
        let receipt = {
            let _commit = ordering.trace().stage(Stage::Commit);
            self.purges.submit(order).await?
        };
        told.tell(&receipt);
        Ok(Done::Receipt(receipt))
    }

    fn scopes(&self, request: &PurgeRequest) -> Result<Vec<Scope>, Refusal> {
        let targets = &request.targets;
        if targets.len() > self.scopes_max {
            return Err(Refusal::TooManyScopes {
                count: targets.len(),
                allowed: self.scopes_max,
            });
        }
        Ok(scopes::resolve(targets, &*self.places)?)
    }

    async fn estimate(&self, scopes: Vec<Scope>) -> Result<Done, Refusal> {
        let turn = self.dry_runs.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Refusal::DryRuns)?;
        let (places, count) = (self.places.clone(), scopes.len());
        // The counting goes on when its caller has gone: so long it holds its turn.
        let counting = spawn_blocking(move || {
            let estimate = places.estimate(&scopes);
            drop(turn);
            estimate
        });
        let estimate = counting.await.map_err(unfinished)?;
        Ok(Done::DryRun {
            estimate,
            scopes: count,
        })
    }

    /// The log counts what it has been given, when it comes to its end.
    fn counted(&self, way: PurgeWay, done: Result<Done, Refusal>) -> Result<Done, Refusal> {
        let counts_as = match &done {
            Ok(Done::Receipt(receipt)) if receipt.state == State::Pending => Some(PurgeResult::Pending),
            Ok(_) => None,
            Err(refusal) => {
                refusal.tell();
                refusal.counts_as()
            }
        };
        if let Some(result) = counts_as {
            self.metrics.purge_orders[(way, result)].inc();
        }
        done
    }
}

impl From<OrderError> for Refusal {
    fn from(error: OrderError) -> Self {
        Refusal::Order(error)
    }
}

/// Of work on another thread: the process ends, or it panicked, which goes on here.
fn unfinished(error: JoinError) -> Refusal {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Refusal::Order(OrderError::Stopping),
    }
}

fn take_turn(caller: &Caller) -> Result<(), Refusal> {
    caller.take_turn(clock::monotonic()).map_err(Refusal::Limited)
}

/// RFC 6750 section 2.1; with two of them, neither is believed.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let text = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let (scheme, key) = text.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| key.trim_matches(' '))
}

fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    Ok(match is_on(headers, "fastly-soft-purge")? {
        true => Mode::Soft,
        false => Mode::Hard,
    })
}

fn reach(headers: &HeaderMap) -> Result<Reach, Refusal> {
    Ok(match is_on(headers, "aquatint-exact")? {
        true => Reach::Exact,
        false => Reach::Every,
    })
}

/// Whatever does not say no says yes: who sends such a header means it. Lines may have been joined on the way.
fn is_on(headers: &HeaderMap, name: &'static str) -> Result<bool, Refusal> {
    let lines = headers.get_all(name).iter();
    let values = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut said = values.map(|value| {
        let value = value.trim_ascii();
        !(value.is_empty() || value == b"0" || value.eq_ignore_ascii_case(b"false"))
    });
    let first = said.next().unwrap_or(false);
    match said.all(|other| other == first) {
        true => Ok(first),
        false => Err(Refusal::Contradiction(name)),
    }
}

/// What the operator is told of an order: neither what it names nor by which key.
struct Told {
    way: PurgeWay,
    by: String,
    mode: Mode,
    by_kind: [usize; Kind::ALL.len()],
}

impl Told {
    fn of(order: &Order) -> Self {
        let mut by_kind = [0; Kind::ALL.len()];
        let kinds = order.scopes.iter().map(Scope::kind);
        kinds.for_each(|kind| by_kind[kind as usize] += 1);
        Told {
            way: order.way,
            by: order.by.clone(),
            mode: order.mode,
            by_kind,
        }
    }

    fn count(&self, kind: Kind) -> usize {
        self.by_kind[kind as usize]
    }

    fn tell(&self, receipt: &Receipt) {
        tracing::info!(
            purge = %receipt.purge_id,
            index = receipt.index.map(|index| index.number()),
            way = self.way.name(),
            by = self.by,
            mode = ?self.mode,
            duplicate = receipt.duplicate,
            urls = self.count(Kind::Url) + self.count(Kind::Exact),
            prefixes = self.count(Kind::Prefix),
            tags = self.count(Kind::Tag),
            hosts = self.count(Kind::Host),
            everything = self.count(Kind::All) > 0,
            "a purge was ordered"
        );
    }
}
