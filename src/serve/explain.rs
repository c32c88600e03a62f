//! What would be done with a request and why, without doing it.
//!
//! Invariant: every decision is the real path's own ([`Trip`], [`look_up`], [`Verdict`], [`Engine::refuse_to_fly`]), seen
//! through a [`Sight`] that takes nothing: no origin is asked, nothing is counted, brought into memory or made. That
//! memory's eviction takes a look for a use is all that is left behind. It does not know who asks.

use super::Engine;
use super::Request;
use super::body::Body;
use super::explanation::{Action, Explanation, Foretold, Purged, Seen, Stored, Varying};
use super::fill::Previous;
use super::flying::{Look, Wanted};
use super::look_up::{Found, Held, Sight, Whole, look_up};
use super::route::Caching;
use super::served::{Answer, ServeError};
use super::trip::{Extent, Trip};
use super::variants::foreseen::Foreseen;
use super::verdict::Verdict;
use crate::base::digest::Hex;
use crate::base::metrics::Tier;
use crate::http::cache_status::{CacheStatus, Collapsed, Stored as WillBeStored, Why};
use crate::http::reuse::Reuse;
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::store::{Body as StoredBody, Entry, Store};
use parking_lot::Mutex;
use std::sync::Arc;

/// Looks, and takes nothing.
struct Peeking<'a> {
    store: &'a Store,
    seen: Mutex<Option<Seen>>,
}

impl Sight for Peeking<'_> {
    async fn entry(&self, key: &CacheKey) -> Option<(Arc<Entry>, Tier)> {
        let (entry, tier) = self.store.peek_entry(key).await?;
        let standing = Standing::Valid;
        *self.seen.lock() = Some(Seen {
            entry: entry.clone(),
            tier,
            standing,
        });
        Some((entry, tier))
    }

    async fn body(&self, _: &CacheKey, body: &StoredBody) -> Option<(Body, Tier)> {
        self.store.peek_body(body).map(|tier| (Body::Later, tier))
    }

    fn purged(&self, _: &Arc<Entry>, standing: Standing) {
        if let Some(seen) = &mut *self.seen.lock() {
            seen.standing = standing;
        }
    }
}

impl Engine {
    /// What would be done with a request, and why.
    ///
    /// # Errors
    /// When no route covers it, or its URL is malformed: so it would be told.
    pub(crate) async fn explain(&self, request: &Request<'_>) -> Result<Explanation, ServeError> {
        let routes = self.routes.load_full();
        let trip = Trip::set_out(&routes, request, self.purges.epoch()).map_err(|unserved| unserved.error)?;
        let mut explanation = self.outline(&trip);
        if !request.reads() {
            explanation.answer = self.passing(Why::Method, "only GET and HEAD are answered from the cache");
        } else if routes.caching(trip.route) == Caching::Off {
            explanation.answer = self.passing(Why::Bypass, "the route does not cache");
        } else {
            self.look(&trip, &mut explanation).await;
        }
        Ok(explanation)
    }

    fn outline(&self, trip: &Trip<'_>) -> Explanation {
        let key = &trip.target.key;
        Explanation {
            url: key.url().to_owned(),
            method: trip.request.method.to_string(),
            route: trip.route.name.clone(),
            origin: trip.route.origin.name().to_owned(),
            node: self.name.clone(),
            owner: self.name.clone(),
            key: key.text().to_owned(),
            key_name: Hex(key.name().as_bytes()).to_string(),
            variant: trip.wish().map(Foreseen::of),
            vary: None,
            stored: None,
            purges: Purged {
                applied: self.purges.applied().number(),
                highest: self.purges.highest(key.text()).number(),
            },
            flight: false,
            answer: self.passing(Why::Bypass, ""),
        }
    }

    async fn look(&self, trip: &Trip<'_>, explanation: &mut Explanation) {
        let sight = Peeking {
            store: &self.store,
            seen: Mutex::default(),
        };
        let found = look_up(&sight, &self.purges, trip).await;
        let seen = sight.seen.into_inner();
        let is_purged = seen.as_ref().is_some_and(|seen| seen.standing == Standing::Hard);
        explanation.vary = found.index.as_ref().map(|index| Varying::of(index, &found.key));
        explanation.stored = seen.and_then(|seen| Stored::of(&seen, &self.store, trip.now));
        if let (Held::Whole(whole), Some(wish), Some(variant)) =
            (&found.held, trip.wish(), &mut explanation.variant)
        {
            variant.found = Some(self.foresee(&whole.entry, wish).await);
        }
        explanation.answer = match self.foretell(trip, found) {
            Prospect::Served(answer) => answer,
            Prospect::Asked(wanted, because) => {
                explanation.flight = self.is_boarding(trip, &wanted);
                let because = if is_purged {
                    "what is stored is purged"
                } else {
                    because
                };
                self.asking(trip, &wanted, explanation.flight, because)
            }
        };
    }

    /// As [`Engine::serve_found`], up to where the origin would be asked.
    fn foretell(&self, trip: &Trip<'_>, found: Found) -> Prospect {
        let missing = found.why_missing();
        let Found { key, index, held } = found;
        let wanted = |why, extent, previous| Wanted {
            why,
            look: Look::First,
            key,
            previous,
            extent,
        };
        match held {
            Held::Whole(whole) => {
                let reuse = whole.entry.lifetime.reuse(trip.now, &trip.control);
                let because = because(&whole, reuse);
                match Verdict::of(whole.standing, reuse) {
                    Verdict::Serve => Prospect::Served(self.serving(trip, whole, Action::Serve, because)),
                    Verdict::ServeAndRefresh => {
                        Prospect::Served(self.serving(trip, whole, Action::ServeAndRefresh, because))
                    }
                    Verdict::Ask(why) => {
                        let previous = Previous::Entry(whole.entry, index);
                        Prospect::Asked(wanted(why, trip.stale_extent(), previous), because)
                    }
                }
            }
            Held::Part(part, body, tier) if trip.is_answered_by(&part) => {
                let status = trip.part(part, body, tier).cache_status;
                let because = "the stored part holds the range that is asked for";
                Prospect::Served(self.answering(Action::Serve, &status, because))
            }
            Held::Part(part, ..) => {
                let wanted = wanted(Why::Partial, trip.missing_extent(), Previous::Part(part));
                Prospect::Asked(wanted, "only a part of it is stored")
            }
            Held::Nothing => {
                let previous = index.map_or(Previous::Nothing, Previous::Alternates);
                let because = match missing {
                    Why::VaryMiss => "no alternate is stored that the request selects",
                    _ => "nothing is stored",
                };
                Prospect::Asked(wanted(missing, trip.missing_extent(), previous), because)
            }
        }
    }

    fn serving(&self, trip: &Trip<'_>, whole: Whole, action: Action, because: &str) -> Foretold {
        let status = trip.stored(whole.entry, whole.body, whole.tier).cache_status;
        self.answering(action, &status, because)
    }

    /// What the stored can not answer.
    fn asking(&self, trip: &Trip<'_>, wanted: &Wanted, flight: bool, because: &str) -> Foretold {
        match self.refuse_to_fly(trip, wanted) {
            Err(error) => return refusing(&error),
            Ok(Some(Answer::Pass(pass))) => {
                let because = match trip.control.no_store {
                    true => "the request wants nothing of it stored",
                    false => "an answer a short while ago was for one client alone",
                };
                return self.passing(pass.why, because);
            }
            Ok(_) => {}
        }
        let (action, collapsed) = match &wanted.previous {
            _ if flight => (Action::Join, Collapsed::Yes),
            Previous::Entry(..) => (Action::Revalidate, Collapsed::No),
            _ if wanted.extent == Extent::Header => (Action::Revalidate, Collapsed::No),
            _ => (Action::Fetch, Collapsed::No),
        };
        self.answering(action, &forward(wanted.why, collapsed), because)
    }

    fn passing(&self, why: Why, because: &str) -> Foretold {
        self.answering(Action::Pass, &forward(why, Collapsed::No), because)
    }

    fn answering(&self, action: Action, status: &CacheStatus, because: &str) -> Foretold {
        let why = match status {
            CacheStatus::Forward { why, .. } => Some(why.name()),
            CacheStatus::Hit { .. } | CacheStatus::Local { .. } => None,
        };
        let rendered = status.render(&self.name);
        Foretold {
            action,
            why,
            cache_status: rendered.to_str().ok().map(str::to_owned),
            because: because.to_owned(),
        }
    }
}

/// How far the request comes without the origin.
enum Prospect {
    Served(Foretold),
    Asked(Wanted, &'static str),
}

fn refusing(error: &ServeError) -> Foretold {
    Foretold {
        action: Action::Refuse,
        why: None,
        cache_status: None,
        because: error.to_string(),
    }
}

/// What is known of it before the origin has answered.
fn forward(why: Why, collapsed: Collapsed) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: None,
        stored: WillBeStored::No,
        collapsed,
        ttl: None,
        detail: None,
    }
}

fn because(whole: &Whole, reuse: Reuse) -> &'static str {
    match (whole.standing, reuse) {
        (_, Reuse::Unwanted) => "what is stored is fresh, but the request wants the origin's word",
        (Standing::Soft | Standing::Hard, _) => {
            "what is stored is purged softly: the origin has to confirm it"
        }
        (Standing::Valid, Reuse::Serve) => "what is stored is fresh, or as stale as the request allows",
        (Standing::Valid, Reuse::ServeAndRefresh) => {
            "what is stored is stale, and may answer while it is refreshed"
        }
        (Standing::Valid, Reuse::Stale) => "what is stored is stale",
    }
}
