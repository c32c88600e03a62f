//! The request path: from a request's facts to a `Served` answer.
//!
//! 1. find the route, derive the key;
//! 2. look the entry up, memory first, then SSD; where the URL's responses vary, by what the request selects;
//! 3. fresh enough for this request: answer. Stale within its window: answer, refresh once behind;
//! 4. otherwise one flight for each key asks the origin, and everybody who waits reads from it while it
//!    arrives;
//! 5. the complete body is stored. What may not be shared goes straight through;
//! 6. what a passed request changes at the origin makes what is stored invalid.
//!
//! Invariant: every branch of that path is in `Engine` here; the other files are its leaves. Knows nothing of
//! connections, and of HTTP only what `http/` decides.

mod ask;
mod board;
pub(crate) mod body;
mod brief_memory;
mod commit;
pub mod config;
mod failure;
mod fate;
mod fill;
mod flight;
mod head;
mod indexes;
mod invalidations;
mod look_up;
mod pass;
mod refresh_by_head;
mod rendition;
mod request;
pub mod route;
pub(crate) mod served;
mod source;
mod step;
mod trip;
pub(crate) mod variants;
mod way;

use crate::base::metrics::{Metrics, Outcome};
use crate::http::cache_status::{Collapsed, Stored, Why};
use crate::http::reuse::{Failure, Reuse};
use crate::key::CacheKey;
use crate::store::{Entry, EntryKind, Store};
use crate::upstream::Interim;
use board::{Flights, Joined};
use body::Body;
pub(crate) use failure::FlightFailure;
use fill::{Fill, Fills, Previous};
use flight::{EntrySource, Landed, Ticket};
use head::{Fate, FlightHead};
use http::StatusCode;
use indexes::selected_key;
use invalidations::Era;
use look_up::{Found, Held, look_up};
pub(crate) use request::Request;
use route::{Caching, Routes};
use served::Role;
pub(crate) use served::{Answer, Head, Pass, ServeError, Served};
use std::sync::Arc;
use step::Step;
use trip::{AskedOrigin, Extent, Trip};
use variants::{Rendered, Rendering, Variants, Watermarks};

/// A look-up may have to be done again, because what it led to turned out to be for other requests; after so many, the
/// request goes through by itself.
const LOOKS_MAX: usize = 3;

/// Interim responses on their way to one client.
pub(crate) type Hints = tokio::sync::mpsc::UnboundedSender<Arc<Interim>>;

/// The request path of one edge.
pub(crate) struct Engine {
    routes: Routes,
    store: Store,
    flights: Arc<Flights>,
    fills: Arc<Fills>,
    variants: Arc<Variants>,
    metrics: Arc<Metrics>,
    read_ahead: usize,
    /// The name this edge carries in `Via`.
    name: String,
}

/// A request's place on a flight.
struct Boarded {
    role: Role,
    ticket: Ticket,
}

/// What a request wants of the origin.
struct Wanted {
    why: Why,
    /// Under which the answer is to be stored, as far as is known.
    key: CacheKey,
    previous: Previous,
    extent: Extent,
}

impl Engine {
    pub(crate) fn new(
        config: &config::Config,
        routes: Routes,
        store: Store,
        watermarks: &Watermarks,
        name: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        let variants = Variants::new(&config.transform, watermarks, store.clone(), metrics.clone());
        Engine {
            routes,
            variants: Arc::new(variants),
            flights: Arc::new(Flights::new(metrics.clone())),
            fills: Arc::new(Fills::new(config, store.clone())),
            read_ahead: config.read_ahead,
            name: name.to_owned(),
            store,
            metrics,
        }
    }

    /// The way of most requests: a fresh answer from memory, or `None`.
    ///
    /// # Errors
    /// When no route covers the request, or its URL is malformed.
    pub(crate) fn serve_at_once(&self, request: &Request<'_>) -> Result<Option<Served>, ServeError> {
        let trip = Trip::set_out(&self.routes, request)?;
        if !request.reads() || trip.route.caching == Caching::Off {
            return Ok(None);
        }
        Ok(self.serve_from_memory(&trip))
    }

    /// Answers a request from the cache or, through one shared flight, from its origin. Interim responses go to
    /// `hints` meanwhile.
    ///
    /// # Errors
    /// When no route covers the request, its URL is malformed, or the origin fails and nothing stored may
    /// stand in.
    pub(crate) async fn serve(&self, request: &Request<'_>, hints: &Hints) -> Result<Answer, ServeError> {
        let trip = Trip::set_out(&self.routes, request)?;
        if !request.reads() {
            return Ok(Answer::Pass(trip.pass_order(&self.name, Why::Method)));
        }
        if trip.route.caching == Caching::Off {
            return Ok(self.pass_order(&trip, Why::Bypass));
        }
        for _ in 0..LOOKS_MAX {
            let era = self.era(&trip);
            let Step::Answered(answer) = self.serve_found(&trip, hints).await? else {
                continue;
            };
            if let Step::Answered(answer) = self.rendered(&trip, era, *answer).await? {
                return Ok(*answer);
            }
        }
        Ok(self.pass_order(&trip, Why::UriMiss))
    }

    /// Fresh, and small enough to be one piece, in memory.
    fn serve_from_memory(&self, trip: &Trip<'_>) -> Option<Served> {
        let url = &trip.target.key;
        let mut entry = self.store.entry(url)?;
        if entry.kind() == EntryKind::Index {
            let key = selected_key(url, &entry, &trip.headers, &trip.route.policy.vary)?;
            entry = self.store.entry(&key)?;
        }
        if entry.kind() != EntryKind::Whole || entry.lifetime.reuse(trip.now, &trip.control) != Reuse::Serve {
            return None;
        }
        match &trip.rendition {
            None => {
                let body = Body::in_memory(&self.store, &entry.body)?;
                Some(trip.stored(entry, body))
            }
            Some(rendition) => self.rendered_from_memory(trip, entry, rendition),
        }
    }

    /// Answers as the request wishes: with the variant it names, or what stands in for it.
    async fn rendered(&self, trip: &Trip<'_>, era: Era, answer: Answer) -> Result<Step, ServeError> {
        let (served, rendition) = match (answer, &trip.rendition) {
            (Answer::Served(served), Some(rendition)) => (served, rendition),
            (answer, _) => return Ok(Step::answered(answer)),
        };
        let rendering = Rendering {
            url: &trip.target.key,
            era,
            control: trip.control,
            rendition,
        };
        match self.render(served, &rendering).await? {
            Rendered::Served(served) => Ok(Step::served(*served)),
            Rendered::SourceGone(entry) => {
                // It may have been fetched again meanwhile.
                if let Some(entry) = entry.filter(|entry| !self.store.holds_body(&entry.body)) {
                    self.store.remove_if_same(&entry);
                }
                Ok(Step::LookAgain)
            }
        }
    }

    async fn serve_found(&self, trip: &Trip<'_>, hints: &Hints) -> Result<Step, ServeError> {
        let found = look_up(&self.store, trip, self.read_ahead).await;
        let missing = found.why_missing();
        let Found { key, index, held } = found;
        let wanted = |key, why, previous| Wanted {
            why,
            key,
            previous,
            extent: trip.missing_extent(),
        };
        match held {
            Held::Whole(entry, body) => {
                let previous = Previous::Entry(entry.clone(), index);
                self.serve_whole(trip, key, previous, entry, body, hints).await
            }
            Held::Part(part, body) if trip.is_answered_by(&part) => Ok(Step::served(trip.part(part, body))),
            Held::Part(part, _) => {
                let wanted = wanted(key, Why::Partial, Previous::Part(part));
                self.serve_missing(trip, wanted, hints).await
            }
            Held::Nothing => {
                let previous = index.map_or(Previous::Nothing, Previous::Alternates);
                self.serve_missing(trip, wanted(key, missing, previous), hints)
                    .await
            }
        }
    }

    async fn serve_whole(
        &self,
        trip: &Trip<'_>,
        key: CacheKey,
        previous: Previous,
        entry: Arc<Entry>,
        body: Body,
        hints: &Hints,
    ) -> Result<Step, ServeError> {
        let wanted = |why, extent| Wanted {
            why,
            key,
            previous,
            extent,
        };
        match entry.lifetime.reuse(trip.now, &trip.control) {
            Reuse::Serve => Ok(Step::served(trip.stored(entry, body))),
            Reuse::ServeAndRefresh => {
                self.refresh_behind(trip, &wanted(Why::Stale, Extent::Whole));
                Ok(Step::served(trip.stored(entry, body)))
            }
            Reuse::Stale => {
                let wanted = wanted(Why::Stale, trip.stale_extent());
                self.serve_stale(trip, wanted, entry, body, hints).await
            }
            Reuse::Unwanted => {
                let wanted = wanted(Why::Request, trip.stale_extent());
                self.serve_stale(trip, wanted, entry, body, hints).await
            }
        }
    }

    /// Nothing that is stored answers.
    async fn serve_missing(
        &self,
        trip: &Trip<'_>,
        wanted: Wanted,
        hints: &Hints,
    ) -> Result<Step, ServeError> {
        if let Some(answer) = self.refuse_to_fly(trip, &wanted)? {
            return Ok(Step::answered(answer));
        }
        let boarded = self.fly(trip, &wanted);
        match self.landed(&boarded, hints).await {
            Landed::Head(head) => Ok(self.serve_flight(trip, wanted.why, head, boarded)),
            Landed::Entry(entry, source) => {
                self.serve_landed(trip, &wanted, boarded.role, entry, source)
                    .await
            }
            Landed::Failed(failure) => Err(failure.into()),
        }
    }

    /// The stored entry may not answer by itself: the origin decides, and if it fails, the entry's windows do.
    async fn serve_stale(
        &self,
        trip: &Trip<'_>,
        wanted: Wanted,
        entry: Arc<Entry>,
        body: Body,
        hints: &Hints,
    ) -> Result<Step, ServeError> {
        if let Some(answer) = self.refuse_to_fly(trip, &wanted)? {
            return Ok(Step::answered(answer));
        }
        let stands_in = |failure| entry.lifetime.stands_in(trip.now, failure);
        let boarded = self.fly(trip, &wanted);
        match self.landed(&boarded, hints).await {
            Landed::Entry(renewed, source) => {
                self.serve_landed(trip, &wanted, boarded.role, renewed, source)
                    .await
            }
            Landed::Head(head) if failure::is_at_origin(head.status) && stands_in(Failure::Error) => Ok(
                Step::served(trip.stand_in(wanted.why, Some(head.status), entry, body)),
            ),
            Landed::Failed(failure) if stands_in(failure.kind()) => {
                Ok(Step::served(trip.stand_in(wanted.why, None, entry, body)))
            }
            Landed::Head(head) => Ok(self.serve_flight(trip, wanted.why, head, boarded)),
            Landed::Failed(failure) => Err(failure.into()),
        }
    }

    /// Without waiting for it, and without a word of a request that must leave no trace.
    fn refresh_behind(&self, trip: &Trip<'_>, wanted: &Wanted) {
        if !trip.control.no_store {
            drop(self.fly(trip, wanted));
        }
    }

    /// What a request may not share, or may not cause, needs no flight.
    fn refuse_to_fly(&self, trip: &Trip<'_>, wanted: &Wanted) -> Result<Option<Answer>, ServeError> {
        if trip.control.only_if_cached {
            return Err(ServeError::OnlyIfCached);
        }
        let is_private = self
            .fills
            .pass_memory
            .recall(&wanted.key.name(), trip.now)
            .is_some();
        if is_private || trip.control.no_store {
            return Ok(Some(self.pass_order(trip, wanted.why)));
        }
        Ok(None)
    }

    async fn landed(&self, boarded: &Boarded, hints: &Hints) -> Landed {
        match boarded.role {
            Role::Leader => boarded.ticket.landed(Some(hints)).await,
            Role::Follower => {
                self.metrics.coalesced_requests.inc();
                boarded.ticket.landed(None).await
            }
        }
    }

    /// Answers from a flight whose header is there.
    fn serve_flight(&self, trip: &Trip<'_>, why: Why, head: Arc<FlightHead>, boarded: Boarded) -> Step {
        if !head.answers(&trip.headers, &trip.route.policy.vary) {
            return Step::LookAgain;
        }
        let (outcome, collapsed) = match (boarded.role, head.fate) {
            (Role::Follower, Fate::Private(_)) => return Step::answered(self.pass_order(trip, why)),
            // It would be read from its start to reach the range.
            (Role::Leader, Fate::Private(_)) if trip.asks_for_range() && head.status == StatusCode::OK => {
                return Step::answered(self.pass_order(trip, why));
            }
            (Role::Follower, _) => (Outcome::Coalesced, Collapsed::Yes),
            (Role::Leader, _) => (Outcome::Miss, Collapsed::No),
        };
        Step::served(trip.of_flight(why, head, boarded, outcome, collapsed))
    }

    /// A flight ended with a stored entry: the origin confirmed it, or it was stored meanwhile.
    async fn serve_landed(
        &self,
        trip: &Trip<'_>,
        wanted: &Wanted,
        role: Role,
        entry: Arc<Entry>,
        source: EntrySource,
    ) -> Result<Step, ServeError> {
        let is_for_others = match source {
            EntrySource::Confirmed => false,
            EntrySource::ConfirmedForOne => role == Role::Follower,
            EntrySource::StoredMeanwhile => entry.lifetime.reuse(trip.now, &trip.control) != Reuse::Serve,
        };
        if is_for_others {
            return Ok(Step::LookAgain);
        }
        let Some(body) =
            Body::stored(&self.store, Some(wanted.key.name()), &entry.body, self.read_ahead).await
        else {
            // The next look finds nothing, and asks for the whole.
            self.store.remove(&wanted.key);
            return Ok(Step::LookAgain);
        };
        let asked = |stored| AskedOrigin {
            why: wanted.why,
            role,
            stored,
        };
        Ok(Step::served(match source {
            EntrySource::Confirmed => trip.revalidated(asked(Stored::Yes), entry, body),
            EntrySource::ConfirmedForOne => trip.revalidated(asked(Stored::No), entry, body),
            EntrySource::StoredMeanwhile => trip.stored(entry, body),
        }))
    }

    fn era(&self, trip: &Trip<'_>) -> Era {
        self.fills.invalidations.era(&trip.target.key.name())
    }

    fn pass_order(&self, trip: &Trip<'_>, why: Why) -> Answer {
        Answer::Pass(trip.pass_order(&self.name, why))
    }

    /// Waits until no fill is under way, and no variant is being made.
    pub(crate) async fn drain(&self) {
        self.fills.drain().await;
        self.variants.drain().await;
    }

    /// Boards the flight for what is wanted, starting it where none is under way.
    fn fly(&self, trip: &Trip<'_>, wanted: &Wanted) -> Boarded {
        let url = &trip.target.key;
        let era = self.era(trip);
        let name = trip.flight_name(&wanted.key, &wanted.extent);
        match self.flights.join(name, era) {
            Joined::Follower(ticket) => Boarded {
                role: Role::Follower,
                ticket,
            },
            Joined::Leader(ticket, landing) => {
                self.fills.start(Fill {
                    landing,
                    fills: self.fills.clone(),
                    route: trip.route.clone(),
                    url: url.clone(),
                    key: wanted.key.clone(),
                    era,
                    request: trip.fill_request(&self.name, &wanted.extent),
                    request_headers: trip.headers.clone().into_owned(),
                    versioned: trip.versioned(),
                    previous: wanted.previous.clone(),
                    extent: wanted.extent.clone(),
                    must_ask: wanted.why == Why::Request || trip.control.no_cache,
                });
                Boarded {
                    role: Role::Leader,
                    ticket,
                }
            }
        }
    }
}
