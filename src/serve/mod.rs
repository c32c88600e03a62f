//! The request path: from a request's facts to a `Served` answer.
//!
//! 1. find the route, derive the key;
//! 2. look the entry up, memory first, then SSD;
//! 3. fresh: answer. Stale within its window: answer, refresh once behind;
//! 4. otherwise one flight for each key asks the origin, and everybody who waits reads from it while it
//!    arrives;
//! 5. the complete body is stored. What may not be shared goes straight through.
//!
//! Invariant: every branch of that path is in `Engine::serve` and the functions it calls here; the other
//! files are its leaves. Knows nothing of connections, and of HTTP only what `http/` decides.

mod board;
pub(crate) mod body;
pub mod config;
mod fill;
mod flight;
mod pass_memory;
pub mod route;
pub(crate) mod served;
mod trip;

use crate::base::clock::Timestamp;
use crate::base::metrics::{Metrics, Outcome};
use crate::http::cache_status::{CacheStatus, Collapsed, Stored, Why};
use crate::http::freshness::Freshness;
use crate::key::{self, CacheKey, RequestUrl, Scheme, target};
use crate::store::{Entry, Store};
use crate::upstream::RequestBody;
use board::{Flights, Joined};
use body::Body;
use fill::{Fill, Fills};
pub(crate) use flight::FlightFailure;
use flight::{EntrySource, Fate, FlightHead, Landed, Ticket};
use http::{HeaderMap, Method, StatusCode, Version};
use pass_memory::PassMemory;
use route::{Caching, Routes, Versioning};
use served::PassedHead;
pub(crate) use served::{Answer, Head, Pass, ServeError, Served};
use std::net::IpAddr;
use std::sync::Arc;
use trip::Trip;

/// Below this path the edge speaks for itself.
const RESERVED: &str = "/.aquatint/";

/// The facts of a request that its answer may depend on.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    pub(crate) version: Version,
    pub(crate) scheme: Scheme,
    /// With its port, as the client sent it.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: IpAddr,
    pub(crate) received_at: Timestamp,
}

/// The request path of one edge.
pub(crate) struct Engine {
    routes: Routes,
    store: Store,
    flights: Arc<Flights>,
    pass_memory: Arc<PassMemory>,
    fills: Fills,
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

/// Whether a request started its flight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Leader,
    Follower,
}

impl Engine {
    pub(crate) fn new(
        config: &config::Config,
        routes: Routes,
        store: Store,
        name: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        Engine {
            routes,
            flights: Arc::new(Flights::new(metrics.clone())),
            pass_memory: Arc::new(PassMemory::new(config.pass_memory.get())),
            fills: Fills::new(config),
            read_ahead: config.read_ahead,
            name: name.to_owned(),
            store,
            metrics,
        }
    }

    /// Answers a request from the cache or, through one shared flight, from its origin.
    ///
    /// # Errors
    /// When no route covers the request, its URL is malformed, or the origin fails and nothing stored may
    /// stand in.
    pub(crate) async fn serve(&self, request: &Request<'_>) -> Result<Answer, ServeError> {
        let trip = self.set_out(request)?;
        if !matches!(*request.method, Method::GET | Method::HEAD) {
            return Ok(Answer::Pass(trip.pass_order(&self.name, Why::Method)));
        }
        if trip.route.caching == Caching::Off {
            return Ok(Answer::Pass(trip.pass_order(&self.name, Why::Bypass)));
        }
        match self.serve_from_memory(&trip) {
            Some(answer) => Ok(answer),
            // Boxed, so that a hit does not carry the size of everything else.
            None => Box::pin(self.serve_otherwise(&trip)).await,
        }
    }

    /// Route and key are found by one and the same path: no spelling chooses another route's policy.
    fn set_out<'a>(&'a self, request: &'a Request<'a>) -> Result<Trip<'a>, ServeError> {
        let path = key::normalise_path(request.path)?;
        if path.starts_with(RESERVED) {
            return Err(ServeError::Reserved);
        }
        let route = self.routes.find(request.host, &path).ok_or(ServeError::NoRoute)?;
        let Request {
            scheme, host, query, ..
        } = *request;
        let target = target(
            &RequestUrl {
                scheme,
                host,
                path: &path,
                query,
            },
            &route.query,
        )?;
        Ok(Trip {
            request,
            route,
            path,
            target,
            now: request.received_at,
        })
    }

    /// The way of most requests: fresh, and small enough to be one piece, in memory.
    fn serve_from_memory(&self, trip: &Trip<'_>) -> Option<Answer> {
        let entry = self.store.entry(&trip.target.key)?;
        if entry.lifetime.freshness(trip.now) != Freshness::Fresh {
            return None;
        }
        let body = Body::in_memory(&self.store, &entry.body)?;
        Some(trip.stored(Outcome::Hit, entry, body))
    }

    async fn serve_otherwise(&self, trip: &Trip<'_>) -> Result<Answer, ServeError> {
        let Some((entry, body)) = self.look_up(&trip.target.key).await else {
            return self.serve_miss(trip).await;
        };
        match entry.lifetime.freshness(trip.now) {
            Freshness::Fresh => Ok(trip.stored(Outcome::Hit, entry, body)),
            Freshness::StaleWhileRevalidate => {
                self.refresh_behind(trip, &entry);
                Ok(trip.stored(Outcome::Stale, entry, body))
            }
            Freshness::StaleIfError | Freshness::Expired => self.serve_stale(trip, entry, body).await,
        }
    }

    /// Sends a passed request, with its body where it has one, and answers with the origin's response.
    pub(crate) async fn pass(
        &self,
        pass: Pass,
        body: Option<impl RequestBody>,
    ) -> Result<Served, ServeError> {
        let response = match body {
            Some(body) => pass.route.origin.exchange(pass.request, body).await?,
            None => pass.route.origin.fetch(pass.request).await?,
        };
        Ok(Served {
            outcome: Outcome::Pass,
            cache_status: forwarded(pass.why, Some(response.status)),
            age: None,
            head: Head::Passed(PassedHead {
                status: response.status,
                headers: response.headers,
                length: response.length,
            }),
            body: Body::Origin(response.body),
            route: pass.route,
            versioning: Versioning::Plain,
        })
    }

    /// Waits until no fill is under way.
    pub(crate) async fn drain(&self) {
        self.fills.drain().await;
    }

    /// The entry and its body; an entry without its body is none.
    async fn look_up(&self, key: &CacheKey) -> Option<(Arc<Entry>, Body)> {
        let entry = match self.store.entry(key) {
            Some(entry) => entry,
            None => self.store.load_entry(key).await?,
        };
        let body = Body::stored(&self.store, key, &entry.body, self.read_ahead).await?;
        Some((entry, body))
    }

    async fn serve_miss(&self, trip: &Trip<'_>) -> Result<Answer, ServeError> {
        if self.pass_memory.holds(&trip.target.key.name(), trip.now) {
            return Ok(Answer::Pass(trip.pass_order(&self.name, Why::UriMiss)));
        }
        let boarded = self.fly(trip, None);
        match self.landed(&boarded).await {
            Landed::Head(head) => self.serve_flight(trip, Why::UriMiss, head, boarded),
            Landed::Entry(entry, _) => self.serve_landed_entry(trip, Outcome::Hit, entry).await,
            Landed::Failed(failure) => Err(failure.into()),
        }
    }

    /// The stored entry is past its freshness: the origin decides, and if it fails, the entry's window for
    /// errors does.
    async fn serve_stale(
        &self,
        trip: &Trip<'_>,
        entry: Arc<Entry>,
        body: Body,
    ) -> Result<Answer, ServeError> {
        if self.pass_memory.holds(&trip.target.key.name(), trip.now) {
            return Ok(Answer::Pass(trip.pass_order(&self.name, Why::Stale)));
        }
        let boarded = self.fly(trip, Some(&entry));
        let usable = entry.lifetime.freshness(trip.now) == Freshness::StaleIfError;
        match self.landed(&boarded).await {
            // Others may have replaced the body since it was looked up here.
            Landed::Entry(confirmed, EntrySource::Confirmed) if confirmed.body == entry.body => {
                Ok(trip.stored(Outcome::Revalidated, confirmed, body))
            }
            Landed::Entry(entry, EntrySource::Confirmed) => {
                self.serve_landed_entry(trip, Outcome::Revalidated, entry).await
            }
            Landed::Entry(entry, EntrySource::StoredMeanwhile) => {
                self.serve_landed_entry(trip, Outcome::Hit, entry).await
            }
            Landed::Head(head) if usable && failed_at_origin(head.status) => {
                Ok(trip.stored(Outcome::Stale, entry, body))
            }
            Landed::Failed(_) if usable => Ok(trip.stored(Outcome::Stale, entry, body)),
            Landed::Head(head) => self.serve_flight(trip, Why::Stale, head, boarded),
            Landed::Failed(failure) => Err(failure.into()),
        }
    }

    async fn landed(&self, boarded: &Boarded) -> Landed {
        if boarded.role == Role::Follower {
            self.metrics.coalesced_requests.inc();
        }
        boarded.ticket.landed().await
    }

    /// Answers from a flight whose header is there.
    fn serve_flight(
        &self,
        trip: &Trip<'_>,
        why: Why,
        head: Arc<FlightHead>,
        boarded: Boarded,
    ) -> Result<Answer, ServeError> {
        let (outcome, collapsed) = match (boarded.role, head.fate) {
            (Role::Follower, Fate::Private(_)) => return Ok(Answer::Pass(trip.pass_order(&self.name, why))),
            // It would be read from its start to reach the range.
            (Role::Leader, Fate::Private(_)) if trip.asks_for_range() => {
                return Ok(Answer::Pass(trip.pass_order(&self.name, why)));
            }
            (Role::Follower, _) => (Outcome::Coalesced, Collapsed::Yes),
            (Role::Leader, _) => (Outcome::Miss, Collapsed::No),
        };
        let (stored, lifetime, detail) = match head.fate {
            Fate::Stored(lifetime) => (Stored::Yes, Some(lifetime), None),
            Fate::Shared(detail) | Fate::Private(detail) => (Stored::No, None, Some(detail)),
        };
        let ttl = lifetime.map(|lifetime| lifetime.ttl(trip.now));
        let status = Some(head.status.as_u16());
        Ok(Answer::Served(Served {
            outcome,
            cache_status: CacheStatus::Forward {
                why,
                status,
                stored,
                collapsed,
                ttl,
                detail,
            },
            age: lifetime.map(|lifetime| lifetime.age(trip.now)),
            versioning: trip.versioning(lifetime),
            head: Head::Flight(head),
            body: Body::Flight(boarded.ticket),
            route: trip.route.clone(),
        }))
    }

    async fn serve_landed_entry(
        &self,
        trip: &Trip<'_>,
        outcome: Outcome,
        entry: Arc<Entry>,
    ) -> Result<Answer, ServeError> {
        match Body::stored(&self.store, &trip.target.key, &entry.body, self.read_ahead).await {
            Some(body) => Ok(trip.stored(outcome, entry, body)),
            None => self.serve_anew(trip).await,
        }
    }

    /// The entry stands, but its body has been evicted: the origin is asked for the whole.
    async fn serve_anew(&self, trip: &Trip<'_>) -> Result<Answer, ServeError> {
        self.store.remove(&trip.target.key);
        let boarded = self.fly(trip, None);
        match self.landed(&boarded).await {
            Landed::Head(head) => self.serve_flight(trip, Why::UriMiss, head, boarded),
            Landed::Entry(..) => Ok(Answer::Pass(trip.pass_order(&self.name, Why::UriMiss))),
            Landed::Failed(failure) => Err(failure.into()),
        }
    }

    /// Refreshes an entry that is being served stale, once, without waiting for it.
    fn refresh_behind(&self, trip: &Trip<'_>, entry: &Arc<Entry>) {
        drop(self.fly(trip, Some(entry)));
    }

    /// Boards the flight of this key, starting it where none is under way.
    fn fly(&self, trip: &Trip<'_>, previous: Option<&Arc<Entry>>) -> Boarded {
        match self.flights.join(trip.flight_name()) {
            Joined::Follower(ticket) => Boarded {
                role: Role::Follower,
                ticket,
            },
            Joined::Leader(ticket, landing) => {
                self.fills.start(Fill {
                    landing,
                    store: self.store.clone(),
                    pass_memory: self.pass_memory.clone(),
                    route: trip.route.clone(),
                    request: trip.fill_request(&self.name),
                    request_headers: trip.request.headers.clone(),
                    versioned: trip.versioned(),
                    key: trip.target.key.clone(),
                    previous: previous.cloned(),
                });
                Boarded {
                    role: Role::Leader,
                    ticket,
                }
            }
        }
    }
}

/// A request that went past the cache.
fn forwarded(why: Why, status: Option<StatusCode>) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: status.map(|status| status.as_u16()),
        stored: Stored::No,
        collapsed: Collapsed::No,
        ttl: None,
        detail: None,
    }
}

/// RFC 5861 section 4: the statuses in whose place a stale response may be served.
fn failed_at_origin(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
