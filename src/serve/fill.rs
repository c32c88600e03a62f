//! Fills: from a key that is missing or stale to a stored entry.
//!
//! 1. ask the origin ([`super::ask`]), conditionally where something stored may be confirmed or completed;
//! 2. a 304: the entry is renewed, its blob stays;
//! 3. otherwise decide the response's fate by its header and let the readers have it;
//! 4. push the body to the readers while it arrives;
//! 5. store blob and entry ([`super::commit`]), then let the flight land: the commit point. A body that is not whole
//!    is never stored.
//!
//! A fill belongs to nobody: it finishes though its client leaves. Knows nothing of clients.

use super::ask::Reply;
use super::asking::Questions;
use super::board::Landing;
use super::failure::FlightFailure;
use super::fills::Fills;
use super::flight::{Audience, BUDGET_UNIT, EntrySource, Retention};
use super::head::{Alternate, Fate, FlightHead, date, strip_cookies};
use super::indexes::Note;
use super::invalidations::Era;
use super::minimum::shorten;
use super::neighbours::Asks;
use super::route::Route;
use super::served::Part;
use super::source::Source;
use super::trip::Extent;
use crate::base::clock;
use crate::base::digest::Hasher;
use crate::base::epoch::Epoch;
use crate::cluster::question;
use crate::http::alternates::{Alternates, Known};
use crate::http::freshness::{Exchange, Lifetime, Verdict, Versioned, unshared};
use crate::http::header_block::HeaderBlock;
use crate::http::vary::Vary;
use crate::key::CacheKey;
use crate::store::{Body as StoredBody, Entry, EntryKind, Stamp};
use crate::upstream::{OriginRequest, OriginResponse};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tokio::time::timeout_at;

/// One fill, with all it needs.
pub(crate) struct Fill {
    pub(crate) landing: Landing,
    pub(crate) fills: Arc<Fills>,
    pub(crate) route: Arc<Route>,
    pub(crate) asks: Asks,
    /// Who has begun it.
    pub(crate) client: IpAddr,
    /// The URL's own key.
    pub(crate) url: CacheKey,
    /// Under which the answer is to be stored, as far as is known before it is there.
    pub(crate) key: CacheKey,
    /// In which the origin is asked.
    pub(crate) era: Era,
    /// Known before the origin is asked.
    pub(crate) epoch: Epoch,
    pub(crate) versioned: Versioned,
    /// For the whole or the range, unconditionally.
    pub(crate) request: OriginRequest,
    /// As the client sent them: what may be stored depends on what was asked.
    pub(crate) request_headers: HeaderMap,
    pub(crate) previous: Previous,
    pub(crate) extent: Extent,
    /// Whether the origin's word is wanted, though a fresh entry may be there.
    pub(crate) must_ask: bool,
    /// Whether a purge was found to have overtaken it.
    pub(crate) overtaken: AtomicBool,
    /// As the trace of who asked first tells them.
    pub(crate) questions: Questions,
}

/// What is stored already.
#[derive(Clone)]
pub(crate) enum Previous {
    Nothing,
    /// What the origin may confirm: this entry, or another alternate of its URL.
    Entry(Arc<Entry>, Option<Alternates>),
    /// Not the alternate that is wanted, but others that may turn out to be the same.
    Alternates(Alternates),
    /// What may be completed.
    Part(Part),
}

/// A response whose header is there.
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) length: Option<u64>,
    pub(super) exchange: Exchange,
    pub(super) stamp: Stamp,
    pub(super) source: Source,
}

/// A body that came whole.
pub(super) struct Received {
    pub(super) body: StoredBody,
    pub(super) chunks: Vec<Bytes>,
}

impl Fill {
    pub(super) async fn run(&self) -> Result<(), FlightFailure> {
        let deadline = clock::monotonic() + self.fills.deadline();
        if let Some(entry) = self.stored_meanwhile() {
            self.landing.land_on(entry, EntrySource::StoredMeanwhile);
            return Ok(());
        }
        if self.extent == Extent::Header {
            let response = timeout_at(deadline.into(), self.fetch(self.request.clone())).await;
            let response = response.map_err(|_| FlightFailure::Deadline)??;
            return self.take_header(response, deadline).await;
        }
        let reply = timeout_at(deadline.into(), self.ask()).await;
        match reply.map_err(|_| FlightFailure::Deadline)?? {
            Reply::Confirmed(entry, source) => {
                self.landing.land_on(entry, source);
                Ok(())
            }
            Reply::Response(response) => self.take(*response, deadline).await,
            Reply::Rest(incoming) => {
                let fate = self.fate_of_rest(&incoming);
                self.receive(*incoming, fate, deadline).await
            }
        }
    }

    /// Between look-up and take-off another flight may have landed: asking again would double its request.
    fn stored_meanwhile(&self) -> Option<Arc<Entry>> {
        let entry = self.fills.store.entry(&self.key).filter(|_| !self.must_ask)?;
        self.serves(&entry).then_some(entry)
    }

    /// Whether an entry answers by itself, whole.
    pub(super) fn serves(&self, entry: &Entry) -> bool {
        entry.kind() == EntryKind::Whole
            && entry.lifetime.is_fresh(clock::now())
            && self.fills.is_valid(entry)
            && self.fills.store.holds_body(&entry.body)
    }

    /// A response that replaces what is stored.
    async fn take(&self, response: OriginResponse, deadline: Instant) -> Result<(), FlightFailure> {
        let fate = self.fate(&response);
        self.forget_replaced(fate, response.status);
        self.receive_response(response, fate, deadline).await
    }

    pub(super) async fn receive_response(
        &self,
        response: OriginResponse,
        fate: Fate,
        deadline: Instant,
    ) -> Result<(), FlightFailure> {
        if let Fate::Private(_) = fate {
            self.landing.close_boarding();
        }
        let OriginResponse {
            status,
            headers,
            length,
            body,
            exchange,
        } = response;
        let incoming = Incoming {
            status,
            length: if status == StatusCode::NO_CONTENT {
                Some(0)
            } else {
                length
            },
            exchange,
            stamp: self.stamp_or_untagged(&headers),
            headers,
            source: Source::of(body),
        };
        self.receive(incoming, fate, deadline).await
    }

    /// What the origin has replaced must not come back, not even when it fails. A response that finds fault with the
    /// request, or answers one client alone, replaces nothing that is still fresh.
    fn forget_replaced(&self, fate: Fate, status: StatusCode) {
        let replaces = match status.as_u16() {
            404 | 410 | 451 => true,
            code => code < 400 && !fate.is_for_one(),
        };
        let previous_serves = match &self.previous {
            Previous::Entry(entry, _) => entry.lifetime.is_fresh(clock::now()) && self.fills.is_valid(entry),
            Previous::Nothing | Previous::Alternates(_) | Previous::Part(_) => false,
        };
        if !fate.lies_in_response() || previous_serves && !replaces {
            return;
        }
        if let Fate::Private(_) = fate {
            self.fills.pass_memory.remember(self.key.name(), (), clock::now());
        }
        if !status.is_server_error() && self.extent == Extent::Whole {
            self.fills.store.remove(&self.key);
        }
    }

    async fn receive(
        &self,
        mut incoming: Incoming,
        fate: Fate,
        deadline: Instant,
    ) -> Result<(), FlightFailure> {
        let retention = match fate {
            Fate::Private(_) => Retention::Window(self.fills.pass_window),
            Fate::Stored(_) | Fate::Shared(_) => Retention::Whole,
        };
        let flight = &self.landing.flight;
        let head = self.head(&mut incoming, fate);
        // A reader of an empty body is done with its header: what comes before the end comes before that.
        let head = if incoming.length == Some(0) {
            Some(head)
        } else {
            flight.open(head, retention);
            None
        };
        let received = self.receive_body(&mut incoming, retention, deadline).await;
        let received = self.questions.ended_with(received)?;
        let digest = received.as_ref().map(|received| received.body.digest);
        if let (Fate::Stored(lifetime), Some(received)) = (fate, received) {
            self.commit(&incoming, lifetime, received).await;
        }
        self.landing.close_boarding();
        if let Some(head) = head {
            flight.open(head, retention);
        }
        flight.complete(digest);
        Ok(())
    }

    /// Takes from the headers what is not stored with them, and tells the readers.
    fn head(&self, incoming: &mut Incoming, fate: Fate) -> FlightHead {
        let policy = &self.route.policy;
        let headers = &mut incoming.headers;
        date(headers, incoming.exchange);
        // Both are said anew with every answer from the store; what is not stored keeps its age.
        headers.remove(header::CONTENT_LENGTH);
        if let Fate::Stored(_) = fate {
            headers.remove(header::AGE);
        }
        let mut unshared_headers = HeaderMap::new();
        if !matches!(fate, Fate::Private(_)) {
            for name in unshared(headers, policy) {
                let lines: Vec<_> = headers.get_all(&name).iter().cloned().collect();
                lines.into_iter().for_each(|line| {
                    unshared_headers.append(&name, line);
                });
                headers.remove(&name);
            }
            strip_cookies(headers, policy);
        }
        self.route.tags.strip(headers);
        question::strip(headers);
        if fate.is_too_old() {
            shorten(headers);
        }
        let alternate = self.alternate(headers);
        if let (Fate::Stored(lifetime), Some(alternate)) = (fate, &alternate) {
            // Who waits for another alternate finds by it where to wait instead.
            self.note(alternate, lifetime, None);
        }
        FlightHead {
            status: incoming.status,
            headers: HeaderBlock::pack(headers),
            unshared: HeaderBlock::pack(&unshared_headers),
            length: incoming.length,
            fate,
            stamp: incoming.stamp.clone(),
            alternate,
        }
    }

    /// Whether a stored response may stay under new headers, and until when; takes from the headers what is not stored
    /// with them.
    pub(super) fn judged(&self, headers: &mut HeaderMap, status: StatusCode, exchange: Exchange) -> Verdict {
        date(headers, exchange);
        let verdict = self.judge(status, headers, exchange);
        let policy = &self.route.policy;
        for name in unshared(headers, policy) {
            headers.remove(name);
        }
        strip_cookies(headers, policy);
        self.route.tags.strip(headers);
        question::strip(headers);
        verdict
    }

    /// What the request selects, where a response with these headers varies.
    pub(super) fn alternate(&self, headers: &HeaderMap) -> Option<Alternate> {
        let policy = &self.route.policy.vary;
        match Vary::of(headers, policy) {
            Vary::By(fields) => Some(Alternate {
                selection: fields.select(&self.request_headers, policy),
                fields,
            }),
            Vary::Nothing | Vary::Everything => None,
        }
    }

    /// Writes the URL's index, with an alternate that has been stored or without.
    pub(super) fn note(&self, alternate: &Alternate, lifetime: Lifetime, known: Option<Known>) -> Alternates {
        let note = Note {
            url: &self.url,
            fields: &alternate.fields,
            lifetime,
            epoch: self.epoch,
            known,
        };
        self.fills.indexes.note(&self.fills, note, |index| {
            self.store(&self.url, index, |store, index| {
                store.put_entry(&self.url, index);
            });
        })
    }

    /// Pushes the body to its readers, all but the chunk that makes it whole; `None` when it was not kept whole.
    async fn receive_body(
        &self,
        incoming: &mut Incoming,
        mut retention: Retention,
        deadline: Instant,
    ) -> Result<Option<Received>, FlightFailure> {
        let flight = &self.landing.flight;
        let mut hasher = Hasher::default();
        let mut length: u64 = 0;
        while let Some(chunk) = next_chunk(&mut incoming.source, retention, deadline).await? {
            length += chunk.len() as u64;
            hasher.update(&chunk);
            if retention == Retention::Whole && !self.keeps(length) {
                retention = Retention::Window(self.fills.pass_window);
                self.landing.close_boarding();
                flight.keep_window(self.fills.pass_window);
            }
            match incoming.length {
                Some(whole) if length >= whole => flight.withhold(chunk),
                _ => flight.push(chunk),
            }
            if flight.room(self.fills.pass_patience).await == Audience::Gone {
                return Err(FlightFailure::Abandoned);
            }
        }
        let digest = hasher.finish();
        Ok((retention == Retention::Whole).then(|| Received {
            body: StoredBody { digest, length },
            chunks: flight.chunks(),
        }))
    }

    /// Whether a body that has grown to `length` is still kept whole: within the route's limit and the memory
    /// all fills share.
    fn keeps(&self, length: u64) -> bool {
        if length > self.route.object_bytes_max {
            self.fills.pass_memory.remember(self.key.name(), (), clock::now());
            return false;
        }
        let flight = &self.landing.flight;
        let units = length.div_ceil(BUDGET_UNIT) - flight.reserved();
        match self.fills.budget.clone().try_acquire_many_owned(units as u32) {
            Ok(permit) => {
                flight.reserve(permit);
                true
            }
            Err(_) => false,
        }
    }
}

/// A body that is kept whole has to arrive in time; one that is passed through goes at its reader's pace.
async fn next_chunk(
    source: &mut Source,
    retention: Retention,
    deadline: Instant,
) -> Result<Option<Bytes>, FlightFailure> {
    let next = source.next();
    match retention {
        Retention::Whole => timeout_at(deadline.into(), next)
            .await
            .map_err(|_| FlightFailure::Deadline)?,
        Retention::Window(_) => next.await,
    }
}
