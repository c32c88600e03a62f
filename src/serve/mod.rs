//! The request path: from a request's facts to a `Served` answer.
//!
//! 1. find the route, derive the key;
//! 2. look the entry up, memory first, then SSD; where the URL's responses vary, by what the request selects; what a purge
//!    covers is not there, or has to be confirmed;
//! 3. fresh enough for this request: answer. Stale within its window: answer, refresh once behind;
//! 4. where the key is other nodes', or this one has no lease, one of them answers in this one's place;
//! 5. otherwise one flight for each key asks the origin, or the key's primary, and everybody who waits reads from it while it
//!    arrives;
//! 6. the complete body is stored. What may not be shared goes straight through;
//! 7. what a passed request changes at the origin makes what is stored invalid.
//!
//! Invariant: every branch of that path is in `Engine` here; the other files are its leaves. Knows nothing of
//! connections, and of HTTP only what `http/` decides.

mod ask;
mod asking;
mod assembly;
mod audit;
mod board;
pub(crate) mod body;
mod brief_memory;
mod catching_up;
mod commit;
pub mod config;
pub(crate) mod copies;
mod explain;
pub(crate) mod explanation;
mod failure;
mod fate;
mod fill;
mod fills;
mod flight;
mod flying;
mod head;
mod in_force;
mod indexes;
mod invalidations;
mod look_up;
mod minimum;
mod neighbours;
mod pass;
pub(crate) mod placing;
pub(crate) mod purging;
pub(crate) mod putting;
mod refresh_by_head;
mod rendition;
mod request;
pub mod route;
pub(crate) mod served;
mod source;
mod stamping;
mod step;
mod trip;
mod validity;
pub(crate) mod variants;
mod verdict;
mod way;

use crate::base::metrics::{Label, Metrics, Outcome, Tier};
use crate::http::cache_status::{Collapsed, Stored, Why};
use crate::http::reuse::{Failure, Reuse};
use crate::purge::Purges;
use crate::purge::table::Standing;
use crate::store::{Entry, EntryKind, Store};
use crate::trace::{Stage, attribute};
use crate::upstream::Interim;
use arc_swap::ArcSwap;
use audit::Audits;
use board::Flights;
use body::Body;
pub(crate) use failure::FlightFailure;
use fill::Previous;
use fills::Fills;
use flight::{EntrySource, Landed};
use flying::{Boarded, Look, Wanted};
use head::{Fate, FlightHead};
use http::StatusCode;
use indexes::selected_key;
use invalidations::Era;
use look_up::{Found, Held, Taking, Whole, look_up};
use neighbours::Lease;
pub(crate) use neighbours::Neighbours;
pub(crate) use request::{AskedBy, Request};
use route::{Caching, Routes};
use served::Role;
pub(crate) use served::{Answer, Head, Pass, ServeError, Served, Unserved};
use std::sync::Arc;
use step::Step;
use trip::{AskedOrigin, Extent, Trip};
use validity::{answers, standing};
use variants::{Rendered, Rendering, Variants};
use verdict::Verdict;

/// A look-up may have to be done again, because what it led to turned out to be for other requests; after so many, the
/// request goes through by itself.
const LOOKS_MAX: usize = 3;

/// Interim responses on their way to one client.
pub(crate) type Hints = tokio::sync::mpsc::UnboundedSender<Arc<Interim>>;

/// The request path of one edge.
pub(crate) struct Engine {
    routes: ArcSwap<Routes>,
    store: Store,
    flights: Arc<Flights>,
    fills: Arc<Fills>,
    variants: Arc<Variants>,
    purges: Purges,
    audits: Audits,
    metrics: Arc<Metrics>,
    read_ahead: usize,
    /// The name this edge carries in `Via`.
    name: String,
}

impl Engine {
    /// The way of most requests: a fresh answer from memory, or `None`.
    ///
    /// # Errors
    /// When no route covers the request, or its URL is malformed.
    pub(crate) fn serve_at_once(&self, request: &Request<'_>) -> Result<Option<Served>, Unserved> {
        let routes = self.routes.load();
        // The lease before the epoch: what is known without one may be less than what has been acknowledged.
        let may_serve = self.purges.may_serve();
        let trip = Trip::set_out(&routes, request, self.purges.epoch())?;
        if !request.reads() || routes.caching(trip.route) == Caching::Off || !may_serve {
            return Ok(None);
        }
        let mut looking = request.trace.stage(Stage::LookUp);
        let served = self.serve_from_memory(&trip);
        match &served {
            Some(_) => {
                self.fills.copies.note_hit(&trip.target.key.name());
                looking.word(attribute::TIER, Tier::Memory.name());
            }
            // The look-up that follows looks here too.
            None => looking.discard(),
        }
        Ok(served)
    }

    /// Answers a request from the cache or, through one shared flight, from its origin. Interim responses go to
    /// `hints` meanwhile.
    ///
    /// # Errors
    /// When no route covers the request, its URL is malformed, or the origin fails and nothing stored may
    /// stand in.
    pub(crate) async fn serve(&self, request: &Request<'_>, hints: &Hints) -> Result<Answer, Unserved> {
        let routes = self.routes.load_full();
        let lease = Lease::of(&self.purges);
        let trip = Trip::set_out(&routes, request, self.purges.epoch())?;
        let answer = match (request.reads(), routes.caching(trip.route)) {
            (false, _) => Ok(Answer::Pass(trip.pass_order(&self.name, Why::Method))),
            (true, Caching::Off) => Ok(self.pass_order(&trip, Why::Bypass)),
            (true, Caching::On) => match self.relayed(&trip, lease).await {
                Ok(Some(served)) => Ok(Answer::Served(served)),
                Ok(None) => match lease {
                    Lease::Held => self.serve_cached(&trip, hints).await,
                    // Of what others have purged nothing is known.
                    Lease::Lapsed => Ok(self.pass_order(&trip, Why::Bypass)),
                },
                Err(error) => Err(error),
            },
        };
        answer.map_err(|error| error.on(trip.route))
    }

    async fn serve_cached(&self, trip: &Trip<'_>, hints: &Hints) -> Result<Answer, ServeError> {
        self.fills.copies.note_request(&trip.target.key.name());
        let looks = std::iter::once(Look::First).chain(std::iter::repeat(Look::Again));
        for look in looks.take(LOOKS_MAX) {
            let era = self.era(trip);
            let Step::Answered(answer) = self.serve_found(trip, look, hints).await? else {
                continue;
            };
            if let Step::Answered(answer) = self.rendered(trip, era, *answer).await? {
                return Ok(*answer);
            }
        }
        Ok(self.pass_order(trip, Why::UriMiss))
    }

    /// Fresh, and small enough to be one piece, in memory.
    fn serve_from_memory(&self, trip: &Trip<'_>) -> Option<Served> {
        let url = &trip.target.key;
        let valid = |entry: &Arc<Entry>| standing(&self.purges, entry) == Standing::Valid;
        let mut entry = self.store.entry(url).filter(valid)?;
        if entry.kind() == EntryKind::Index {
            let key = selected_key(url, &entry, &trip.headers, &trip.route.policy.vary)?;
            entry = self.store.entry(&key).filter(valid)?;
        }
        if entry.kind() != EntryKind::Whole || entry.lifetime.reuse(trip.now, &trip.control) != Reuse::Serve {
            return None;
        }
        let audited = trip.route.audit.chooses().then(|| entry.clone());
        let served = match &trip.rendition {
            None => {
                let body = Body::in_memory(&self.store, &entry.body)?;
                trip.stored(entry, body, Tier::Memory)
            }
            Some(rendition) => self.rendered_from_memory(trip, entry, rendition)?,
        };
        if let Some(entry) = audited {
            self.audit(trip, entry);
        }
        Some(served)
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
            trace: trip.request.trace,
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

    async fn serve_found(&self, trip: &Trip<'_>, look: Look, hints: &Hints) -> Result<Step, ServeError> {
        let mut looking = trip.request.trace.stage(Stage::LookUp);
        let found = look_up(&Taking::new(&self.fills, self.read_ahead), &self.purges, trip).await;
        let tier = match &found.held {
            Held::Nothing => "none",
            Held::Whole(Whole { tier, .. }) | Held::Part(.., tier) => tier.name(),
        };
        looking.word(attribute::TIER, tier);
        drop(looking);
        let missing = found.why_missing();
        let Found { key, index, held } = found;
        let wanted = |key, why, previous| Wanted {
            why,
            look,
            key,
            previous,
            extent: trip.missing_extent(),
        };
        match held {
            Held::Whole(whole) => {
                let previous = Previous::Entry(whole.entry.clone(), index);
                self.serve_whole(trip, wanted(key, Why::Stale, previous), whole, hints)
                    .await
            }
            Held::Part(part, body, tier) if trip.is_answered_by(&part) => {
                Ok(Step::served(trip.part(part, body, tier)))
            }
            Held::Part(part, _, _) => {
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
        wanted: Wanted,
        whole: Whole,
        hints: &Hints,
    ) -> Result<Step, ServeError> {
        let wanted = |why, extent| Wanted {
            why,
            extent,
            ..wanted
        };
        let reuse = whole.entry.lifetime.reuse(trip.now, &trip.control);
        match Verdict::of(whole.standing, reuse) {
            Verdict::Serve => {
                if trip.route.audit.chooses() {
                    self.audit(trip, whole.entry.clone());
                }
                Ok(Step::served(trip.stored(whole.entry, whole.body, whole.tier)))
            }
            Verdict::ServeAndRefresh => {
                self.refresh_behind(trip, &wanted(Why::Stale, Extent::Whole));
                Ok(Step::served(trip.stored(whole.entry, whole.body, whole.tier)))
            }
            Verdict::Ask(why) => {
                let wanted = wanted(why, trip.stale_extent());
                self.serve_stale(trip, wanted, whole, hints).await
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
        let (landed, waited) = self.landed(&boarded, hints).await;
        let step = match landed {
            Landed::Head(head) => self.serve_flight(trip, wanted.why, head, boarded),
            Landed::Entry(entry, source) => {
                self.serve_landed(trip, &wanted, boarded.role, entry, source)
                    .await
            }
            Landed::Failed(failure) => return Err(failure.into()),
        };
        Ok(step.after(waited))
    }

    /// The stored entry may not answer by itself: the origin decides, and if it fails, the entry's windows do.
    async fn serve_stale(
        &self,
        trip: &Trip<'_>,
        wanted: Wanted,
        whole: Whole,
        hints: &Hints,
    ) -> Result<Step, ServeError> {
        if let Some(answer) = self.refuse_to_fly(trip, &wanted)? {
            return Ok(Step::answered(answer));
        }
        let Whole {
            entry,
            body,
            standing,
            ..
        } = whole;
        let stands_in = |failure| standing == Standing::Valid && entry.lifetime.stands_in(trip.now, failure);
        let is_fresh = standing == Standing::Valid && entry.lifetime.is_fresh(trip.now);
        let boarded = self.fly(trip, &wanted);
        let (landed, waited) = self.landed(&boarded, hints).await;
        let step = match landed {
            Landed::Entry(renewed, source) => {
                self.serve_landed(trip, &wanted, boarded.role, renewed, source)
                    .await
            }
            Landed::Head(head) if failure::is_at_origin(head.status) && stands_in(Failure::Error) => {
                Step::served(trip.stand_in(wanted.why, Some(head.status), entry, body))
            }
            // What is stored reached what the purge told, when it came.
            Landed::Head(head) if head.fate.is_too_old() && (is_fresh || stands_in(Failure::Error)) => {
                Step::served(trip.stand_in(wanted.why, Some(head.status), entry, body))
            }
            Landed::Failed(failure) if stands_in(failure.kind()) => {
                Step::served(trip.stand_in(wanted.why, None, entry, body))
            }
            Landed::Head(head) => self.serve_flight(trip, wanted.why, head, boarded),
            Landed::Failed(failure) => return Err(failure.into()),
        };
        Ok(step.after(waited))
    }

    /// Answers from a flight whose header is there.
    fn serve_flight(&self, trip: &Trip<'_>, why: Why, head: Arc<FlightHead>, boarded: Boarded) -> Step {
        let is_current = answers(&self.purges, &trip.target.key, &head.stamp, trip.epoch);
        if !is_current || !head.answers(&trip.headers, &trip.route.policy.vary) {
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
    ) -> Step {
        let is_for_others = match source {
            EntrySource::Confirmed => false,
            EntrySource::ConfirmedForOne => role == Role::Follower,
            EntrySource::StoredMeanwhile => entry.lifetime.reuse(trip.now, &trip.control) != Reuse::Serve,
        };
        if is_for_others || !answers(&self.purges, &wanted.key, &entry.stamp, trip.epoch) {
            return Step::LookAgain;
        }
        let name = Some(wanted.key.name());
        let Some((body, tier)) = Body::find(&self.store, name, &entry.body, self.read_ahead).await else {
            // The next look finds nothing, and asks for the whole.
            self.store.remove(&wanted.key);
            return Step::LookAgain;
        };
        let asked = |stored| AskedOrigin {
            why: wanted.why,
            role,
            stored,
        };
        Step::served(match source {
            EntrySource::Confirmed => trip.revalidated(asked(Stored::Yes), entry, body),
            EntrySource::ConfirmedForOne => trip.revalidated(asked(Stored::No), entry, body),
            EntrySource::StoredMeanwhile => trip.stored(entry, body, tier),
        })
    }

    fn era(&self, trip: &Trip<'_>) -> Era {
        self.fills.invalidations.era(&trip.target.key.name())
    }

    fn pass_order(&self, trip: &Trip<'_>, why: Why) -> Answer {
        Answer::Pass(trip.pass_order(&self.name, why))
    }
}
