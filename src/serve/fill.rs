//! Fills: from a key that is missing or stale to a stored entry.
//!
//! 1. ask the origin, conditionally when a previous entry has validators;
//! 2. 304: the previous entry's metadata is renewed, its blob stays;
//! 3. otherwise decide the response's fate by its header and let the readers have it;
//! 4. push the body to the readers while it arrives;
//! 5. store blob and entry, then let the flight land: the commit point. A body that is not whole is never
//!    stored.
//!
//! A fill belongs to nobody: it finishes though its client leaves. Knows nothing of clients.

use super::board::Landing;
use super::config::Config;
use super::flight::{Audience, BUDGET_UNIT, EntrySource, Fate, FlightFailure, FlightHead, Retention};
use super::pass_memory::PassMemory;
use super::route::Route;
use super::served::{Head, StoredValidators};
use crate::base::clock;
use crate::base::digest::Hasher;
use crate::http::conditional::{Confirms, Validators, ask_if_changed, confirms, updated_by_304};
use crate::http::freshness::{Exchange, Facts, Freshness, Lifetime, Refusal, Verdict, Versioned, judge};
use crate::http::header_block::HeaderBlock;
use crate::key::CacheKey;
use crate::store::{Body as StoredBody, Entry, PART_BYTES, Store};
use crate::upstream::{Framing, OriginBody, OriginError, OriginRequest, OriginResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;

/// All fills of the edge: their limits, and a way to wait for them.
pub(crate) struct Fills {
    tracker: TaskTracker,
    limits: Arc<Limits>,
}

struct Limits {
    /// Memory that bodies of fills may hold together, in [`BUDGET_UNIT`].
    budget: Arc<Semaphore>,
    deadline: Duration,
    pass_window: u64,
    pass_patience: Duration,
}

/// One fill, with all it needs.
pub(crate) struct Fill {
    pub(crate) landing: Landing,
    pub(crate) store: Store,
    pub(crate) pass_memory: Arc<PassMemory>,
    pub(crate) route: Arc<Route>,
    pub(crate) key: CacheKey,
    pub(crate) versioned: Versioned,
    pub(crate) request: OriginRequest,
    /// As the client sent them: what may be stored depends on what was asked.
    pub(crate) request_headers: HeaderMap,
    pub(crate) previous: Option<Arc<Entry>>,
}

impl Fills {
    pub(crate) fn new(config: &Config) -> Self {
        let units = (config.fill_bytes_max.bytes() / BUDGET_UNIT) as usize;
        let limits = Limits {
            budget: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            deadline: config.fill_deadline.get(),
            pass_window: config.pass_window.bytes(),
            pass_patience: config.pass_patience.get(),
        };
        Fills {
            tracker: TaskTracker::new(),
            limits: Arc::new(limits),
        }
    }

    /// Runs a fill to its end, whoever leaves meanwhile.
    pub(crate) fn start(&self, fill: Fill) {
        let limits = self.limits.clone();
        self.tracker.spawn(async move {
            if let Err(failure) = fill.run(&limits).await {
                tracing::debug!(key = fill.key.text(), %failure, "fill failed");
                fill.landing.fail(failure);
            }
        });
    }

    pub(crate) async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Fill {
    async fn run(&self, limits: &Limits) -> Result<(), FlightFailure> {
        let deadline = clock::monotonic() + limits.deadline;
        if let Some(entry) = self.stored_meanwhile() {
            self.landing.land_on(entry, EntrySource::StoredMeanwhile);
            return Ok(());
        }
        let response = timeout_at(
            deadline.into(),
            self.route.origin.fetch(self.conditional_request()),
        )
        .await
        .map_err(|_| FlightFailure::Deadline)??;
        if response.status == StatusCode::NOT_MODIFIED {
            return self.renew(&response);
        }
        let fate = self.fate(&response);
        if fate.lies_in_response() {
            if let Fate::Private(_) = fate {
                self.pass_memory.remember(self.key.name(), clock::now());
            }
            if !response.status.is_server_error() {
                // What the origin has replaced must not come back, not even when it fails.
                self.store.remove(&self.key);
            }
        }
        if let Fate::Private(_) = fate {
            self.landing.close_boarding();
        }
        self.receive(response, fate, deadline, limits).await
    }

    /// Between look-up and take-off another flight may have landed: asking again would double its request.
    fn stored_meanwhile(&self) -> Option<Arc<Entry>> {
        let entry = self.store.entry(&self.key)?;
        (entry.lifetime.freshness(clock::now()) == Freshness::Fresh && self.store.holds_body(&entry.body))
            .then_some(entry)
    }

    fn conditional_request(&self) -> OriginRequest {
        let mut request = self.request.clone();
        if let Some(previous) = &self.previous {
            let validators = StoredValidators::of(&Head::Stored(previous.clone()));
            ask_if_changed(&mut request.headers, &validators.as_ref());
        }
        request
    }

    /// A 304: only the entry is written again.
    fn renew(&self, response: &OriginResponse) -> Result<(), FlightFailure> {
        let Some(previous) = &self.previous else {
            return Err(OriginError::Malformed {
                reason: "a 304 to an unconditional request".into(),
            }
            .into());
        };
        let stored = previous.headers.to_map();
        if confirms(&Validators::of(&stored), &response.headers) == Confirms::No {
            // It speaks of another version than ours: the next request asks for the whole.
            self.store.remove(&self.key);
            let reason = "a 304 for another version than the one it was asked about".into();
            return Err(OriginError::Malformed { reason }.into());
        }
        let mut headers = updated_by_304(&stored, &response.headers);
        date(&mut headers, response.exchange);
        match self.judge(previous.status, &headers, response.exchange) {
            Verdict::Store(lifetime) => {
                let entry = previous.refreshed(HeaderBlock::pack(&headers), lifetime);
                let entry = self.store.put_entry(&self.key, entry);
                self.landing.land_on(entry, EntrySource::Confirmed);
            }
            // Of what was asked with credentials nothing follows for others.
            Verdict::Refuse(Refusal::Authorization) => {
                self.landing.land_on(previous.clone(), EntrySource::Confirmed);
            }
            // The origin now forbids what it once allowed: this answer is still confirmed, the next is not.
            Verdict::Refuse(_) => {
                self.store.remove(&self.key);
                self.landing.land_on(previous.clone(), EntrySource::Confirmed);
            }
        }
        Ok(())
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap, exchange: Exchange) -> Verdict {
        let facts = Facts {
            status,
            headers,
            request_headers: &self.request_headers,
            exchange,
            versioned: self.versioned,
        };
        judge(&facts, &self.route.lifetime)
    }

    fn fate(&self, response: &OriginResponse) -> Fate {
        let lifetime = match self.judge(response.status, &response.headers, response.exchange) {
            Verdict::Store(lifetime) => lifetime,
            Verdict::Refuse(refusal @ (Refusal::Status | Refusal::NoFreshness)) => {
                return Fate::Shared(refusal.name());
            }
            Verdict::Refuse(refusal) => return Fate::Private(refusal.name()),
        };
        if response.status.is_success() && !self.route.stores_type(response.headers.get(header::CONTENT_TYPE))
        {
            return Fate::Private("content-type");
        }
        if response
            .length
            .is_some_and(|length| length > self.route.object_bytes_max)
        {
            return Fate::Private("too-large");
        }
        if response.body.framing() == Framing::UntilClose {
            // Its end can not be told from a connection that died.
            return Fate::Shared("unframed");
        }
        if response.status.is_server_error() && self.previous_may_stand_in() {
            return Fate::Shared("stale-if-error");
        }
        Fate::Stored(lifetime)
    }

    /// An error must not replace an image that may still be served in its place.
    fn previous_may_stand_in(&self) -> bool {
        let now = clock::now();
        self.previous
            .as_ref()
            .is_some_and(|previous| now < previous.lifetime.error_until)
    }

    async fn receive(
        &self,
        response: OriginResponse,
        fate: Fate,
        deadline: Instant,
        limits: &Limits,
    ) -> Result<(), FlightFailure> {
        let OriginResponse {
            status,
            mut headers,
            length,
            body,
            exchange,
        } = response;
        date(&mut headers, exchange);
        // Both are said anew with every answer.
        headers.remove(header::AGE);
        headers.remove(header::CONTENT_LENGTH);
        let length = if status == StatusCode::NO_CONTENT {
            Some(0)
        } else {
            length
        };
        let headers = HeaderBlock::pack(&headers);
        let flight = &self.landing.flight;
        let retention = match fate {
            Fate::Private(_) => Retention::Window(limits.pass_window),
            Fate::Stored(_) | Fate::Shared(_) => Retention::Whole,
        };
        let head = FlightHead {
            status,
            headers: headers.clone(),
            length,
            fate,
        };
        // A reader of an empty body is done with its header: what comes before the end comes before that.
        let head = if length == Some(0) {
            Some(head)
        } else {
            flight.open(head, retention);
            None
        };
        let whole = self
            .receive_body(body, length, retention, deadline, limits)
            .await?;
        if let (Fate::Stored(lifetime), Some(body)) = (fate, whole) {
            self.commit(status, headers, lifetime, body);
        }
        self.landing.close_boarding();
        if let Some(head) = head {
            flight.open(head, retention);
        }
        flight.complete();
        Ok(())
    }

    /// Pushes the body to its readers, all but the chunk that makes it whole; `None` when it was not kept whole.
    async fn receive_body(
        &self,
        mut body: OriginBody,
        declared: Option<u64>,
        mut retention: Retention,
        deadline: Instant,
        limits: &Limits,
    ) -> Result<Option<StoredBody>, FlightFailure> {
        let flight = &self.landing.flight;
        let mut hasher = Hasher::default();
        let mut length: u64 = 0;
        while let Some(chunk) = next_chunk(&mut body, retention, deadline).await? {
            length += chunk.len() as u64;
            hasher.update(&chunk);
            if retention == Retention::Whole && !self.keeps(length, limits) {
                retention = Retention::Window(limits.pass_window);
                self.landing.close_boarding();
                flight.keep_window(limits.pass_window);
            }
            match declared {
                Some(whole) if length >= whole => flight.withhold(chunk),
                _ => flight.push(chunk),
            }
            if flight.room(limits.pass_patience).await == Audience::Gone {
                return Err(FlightFailure::Abandoned);
            }
        }
        let digest = hasher.finish();
        Ok((retention == Retention::Whole).then_some(StoredBody { digest, length }))
    }

    /// Whether a body that has grown to `length` is still kept whole: within the route's limit and the memory
    /// all fills share.
    fn keeps(&self, length: u64, limits: &Limits) -> bool {
        if length > self.route.object_bytes_max {
            self.pass_memory.remember(self.key.name(), clock::now());
            return false;
        }
        let flight = &self.landing.flight;
        let units = length.div_ceil(BUDGET_UNIT) - flight.reserved();
        match limits.budget.clone().try_acquire_many_owned(units as u32) {
            Ok(permit) => {
                flight.reserve(permit);
                true
            }
            Err(_) => false,
        }
    }

    fn commit(&self, status: StatusCode, headers: HeaderBlock, lifetime: Lifetime, body: StoredBody) {
        let entry = Entry::new(&self.key, status, headers, lifetime, body);
        let put = || self.store.put(&self.key, entry, &self.landing.flight.chunks());
        if body.length > PART_BYTES as u64 {
            // Copies the whole body: its connections must not wait for that.
            tokio::task::block_in_place(put);
        } else {
            put();
        }
    }
}

/// RFC 9110 section 6.6.1: who has a clock records when a response came that does not say.
fn date(headers: &mut HeaderMap, exchange: Exchange) {
    if !headers.contains_key(header::DATE) {
        let date = httpdate::fmt_http_date(exchange.received_at.as_system_time());
        headers.insert(
            header::DATE,
            HeaderValue::try_from(date).expect("a date is visible ASCII"),
        );
    }
}

/// A body that is kept whole has to arrive in time; one that is passed through goes at its reader's pace.
async fn next_chunk(
    body: &mut OriginBody,
    retention: Retention,
    deadline: Instant,
) -> Result<Option<Bytes>, FlightFailure> {
    let next = body.next();
    match retention {
        Retention::Whole => timeout_at(deadline.into(), next)
            .await
            .map_err(|_| FlightFailure::Deadline)?,
        Retention::Window(_) => next.await,
    }
    .map_err(FlightFailure::from)
}
