//! From a served source to the variant a request wishes for.
//!
//! 1. the variant is there: it answers, and the source's bytes are not touched;
//! 2. its stand-in is there: that answers, and the variant is made behind;
//! 3. making it failed a short while ago: not tried again;
//! 4. otherwise it is made, once for all who wait, on the bounded pool;
//! 5. what can not be made is answered as the route says: the source as it is, a placeholder, or an error.
//!
//! Invariant: every branch of that is in `Engine` here, what a source has to be before it in `source.rs`. A variant is served only in the place of a source that may be
//! served now: what is purged, stale or another's is decided before, and of the source alone. The one that is older than
//! its source (`on_overload: stale`) answers only whom the older source could still answer. It does not know pixels.

mod answer;
mod behind;
pub(crate) mod config;
pub(crate) mod foreseen;
mod last;
mod makings;
mod original;
mod pool;
mod shelf;
mod source;
mod watermarks;

pub(crate) use pool::Refusal;
pub(crate) use watermarks::{WatermarkError, Watermarks, check};

use super::Engine;
use super::body::{Body, BodyError};
use super::brief_memory::BriefMemory;
use super::invalidations::Era;
use super::rendition::Rendition;
use super::served::{Head, ServeError, Served};
use super::trip::Trip;
use super::validity::standing_of;
use crate::base::clock;
use crate::base::digest::Digest;
use crate::base::metrics::{Metrics, Outcome, Tier};
use crate::http::freshness::Lifetime;
use crate::http::reuse::{Failure, RequestControl};
use crate::image::ImageError;
use crate::key::{CacheKey, KeyName};
use crate::purge::table::Standing;
use crate::spec::config::OnOverload;
use crate::spec::{Policy, Wish};
use crate::store::{Entry, Store};
use crate::trace::{Stage, Trace};
use answer::refused;
use behind::Behind;
use config::Config;
use http::{HeaderName, StatusCode};
use last::LastMade;
use makings::{Ended, Makings, Order, is_lasting};
use original::Room;
use pool::Pool;
use shelf::{Found, Shelf, variant_key};
use source::{Source, Sourced, may_be_made_of};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// All that variants need: where they are kept, how they are made.
pub(crate) struct Variants {
    store: Store,
    shelf: Shelf,
    room: Room,
    pool: Pool,
    makings: Makings,
    behind: Behind,
    failures: BriefMemory<Refusal>,
    last: LastMade,
    tracker: TaskTracker,
    deadline: Duration,
    background_deadline: Duration,
    metrics: Arc<Metrics>,
}

/// What came of looking for a variant.
pub(super) enum Rendered {
    Served(Box<Served>),
    /// The source's bytes are no longer stored, though this entry, if any, says so: it has to be fetched again.
    SourceGone(Option<Arc<Entry>>),
}

/// What a request asks, as far as its rendering depends on it.
pub(super) struct Rendering<'a> {
    pub(super) url: &'a CacheKey,
    /// In which the source was looked for.
    pub(super) era: Era,
    pub(super) control: RequestControl,
    pub(super) rendition: &'a Rendition,
    pub(super) trace: &'a Trace,
}

impl Variants {
    pub(super) fn new(config: &Config, watermarks: &Watermarks, store: Store, metrics: Arc<Metrics>) -> Self {
        Variants {
            shelf: Shelf::new(store.clone()),
            room: Room::new(config.arrived_max.bytes()),
            pool: Pool::new(config, watermarks.by_name(), metrics.clone()),
            makings: Makings::default(),
            behind: Behind::new(config.avif.queue_max),
            failures: BriefMemory::new(config.failure_memory.get()),
            last: LastMade::new(),
            tracker: TaskTracker::new(),
            deadline: config.deadline.get(),
            background_deadline: config.avif.background_deadline.get(),
            store,
            metrics,
        }
    }

    pub(super) async fn drain(&self) {
        self.behind.close();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn remember(&self, key: &CacheKey, source: &Digest, refusal: &Refusal) {
        if !is_lasting(refusal) {
            return;
        }
        let name = match refusal {
            Refusal::Unfit(_) | Refusal::Image(ImageError::Corrupt { .. }) => source_name(source),
            _ => key.name(),
        };
        self.failures.remember(name, refusal.clone(), clock::now());
    }

    /// Why it could not be made a short while ago.
    fn failure(&self, key: &CacheKey, source: &Digest) -> Option<Refusal> {
        let now = clock::now();
        let of_source = self.failures.recall(&source_name(source), now);
        of_source.or_else(|| self.failures.recall(&key.name(), now))
    }

    fn order(&self, source: &Source, wish: Wish) -> Order {
        let original = source.original.clone();
        Order::within(self.deadline, source.digest, original, wish, source.keeping)
    }

    /// What has failed as AVIF a short while ago is made as what may stand in for it.
    fn feasible(&self, source: &Digest, wish: &Wish) -> Wish {
        let failed = |wish: &Wish| self.failure(&variant_key(source, &wish.spec), source).is_some();
        match &wish.stand_in {
            Some(stand_in) if failed(wish) => Wish {
                spec: stand_in.clone(),
                stand_in: None,
            },
            _ => wish.clone(),
        }
    }
}

fn source_name(source: &Digest) -> KeyName {
    KeyName::from_bytes(*source.as_bytes().first_chunk().expect("32 bytes hold 16"))
}

impl Engine {
    /// A stored source rendered, if memory holds what answers in one piece: the way of most requests.
    pub(super) fn rendered_from_memory(
        &self,
        trip: &Trip<'_>,
        source: Arc<Entry>,
        rendition: &Rendition,
    ) -> Option<Served> {
        let lines = |name: &HeaderName| source.headers.get_all(name).collect::<Vec<_>>();
        let wish = match &rendition.wish {
            Some(wish) if may_be_made_of(source.status, &wish.spec, lines) => wish,
            Some(wish) if wish.spec.tells_facts() => return None,
            _ => {
                let body = Body::in_memory(&self.store, &source.body)?;
                return Some(trip.stored(source, body, Tier::Memory).rendered(rendition));
            }
        };
        let key = variant_key(&source.body.digest, &wish.spec);
        let found = self.variants.shelf.in_memory(&key)?;
        let served = trip.stored(source, Body::Later, Tier::Memory);
        Some(self.with_variant(served, found, rendition))
    }

    /// What came around the cache, rendered.
    pub(super) async fn render_passed(
        &self,
        served: Served,
        rendering: &Rendering<'_>,
    ) -> Result<Served, ServeError> {
        match self.render(served, rendering).await? {
            Rendered::Served(served) => Ok(*served),
            // It was never stored.
            Rendered::SourceGone(_) => Err(BodyError::PartGone.into()),
        }
    }

    /// Renders a served source as the request wishes.
    ///
    /// # Errors
    /// When the variant can not be had and the route wants an error then, or the source's body breaks off.
    pub(super) async fn render(
        &self,
        served: Served,
        rendering: &Rendering<'_>,
    ) -> Result<Rendered, ServeError> {
        let rendition = rendering.rendition;
        let status = served.head.status();
        let lines = |name: &HeaderName| served.head.get_all(name);
        let (wish, policy) = match (&rendition.wish, served.route.transform.clone()) {
            (Some(wish), Some(policy)) if may_be_made_of(status, &wish.spec, lines) => (wish, policy),
            (Some(wish), _) if status == StatusCode::OK && wish.spec.tells_facts() => {
                return Err(ServeError::Variant(Refusal::Unfit(ImageError::Unrecognised)));
            }
            _ => return self.render_source(served, rendition).await,
        };
        let source = match self.source_of(served, &policy).await? {
            Sourced::Known(source) => source,
            Sourced::Refused(served, refusal) => {
                return refused(served, refusal, &policy, rendition).map(Rendered::of);
            }
            Sourced::Gone(entry) => return Ok(Rendered::SourceGone(Some(entry))),
        };
        if let Some(found) = self.find_variant(&source, wish).await {
            return Ok(Rendered::of(self.with_variant(source.served, found, rendition)));
        }
        self.render_anew(source, wish, &policy, rendering).await
    }

    /// The source as it is.
    async fn render_source(&self, mut served: Served, rendition: &Rendition) -> Result<Rendered, ServeError> {
        if let (Head::Stored(entry), Body::Later) = (&served.head, &served.body) {
            match Body::find(&self.store, Some(entry.name()), &entry.body, self.read_ahead).await {
                Some(found) => served = served.with_body(found),
                None => return Ok(Rendered::SourceGone(Some(entry.clone()))),
            }
        }
        Ok(Rendered::of(served.rendered(rendition)))
    }

    /// The variant itself, or what stands in for it while it is made.
    async fn find_variant(&self, source: &Source, wish: &Wish) -> Option<Found> {
        let Variants { shelf, .. } = &*self.variants;
        let key = variant_key(&source.digest, &wish.spec);
        if let Some(found) = shelf.find(&key, self.read_ahead).await {
            return Some(found);
        }
        let stand_in = variant_key(&source.digest, wish.stand_in.as_ref()?);
        let found = shelf.find(&stand_in, self.read_ahead).await?;
        if self.variants.failure(&key, &source.digest).is_none() {
            let order = self.variants.order(source, wish.clone());
            self.variants.make_behind(&key, &order);
        }
        Some(found)
    }

    async fn render_anew(
        &self,
        source: Source,
        wish: &Wish,
        policy: &Policy,
        rendering: &Rendering<'_>,
    ) -> Result<Rendered, ServeError> {
        let wanted = self.variants.feasible(&source.digest, wish);
        let mut transforming = rendering.trace.stage(Stage::Transform);
        let order = Order {
            trace: transforming.trace(),
            ..self.variants.order(&source, wanted)
        };
        let ended = self.variants.make(order).await;
        if let Ended::Refused(refusal) = &ended {
            transforming.fail(refusal);
        }
        drop(transforming);
        let found = match ended {
            Ended::Made(entry, bytes) => Some(Found {
                entry,
                body: Body::Whole(bytes),
                tier: Tier::Memory,
            }),
            Ended::Found(entry) => self.variants.shelf.take(entry, self.read_ahead).await,
            Ended::Unchanged(entry) => match self.body_of(&source).await {
                Some((body, tier)) => Some(Found { entry, body, tier }),
                None => return Ok(Rendered::SourceGone(source.entry())),
            },
            Ended::SourceGone => return Ok(Rendered::SourceGone(source.entry())),
            Ended::Refused(refusal) => {
                return self
                    .render_refused(source, wish, refusal, policy, rendering)
                    .await;
            }
        };
        let Some(found) = found else {
            return Ok(Rendered::SourceGone(None));
        };
        self.variants
            .last
            .remember(rendering, wish, &found.entry, &source.served);
        let served = self.with_variant(source.served, found, rendering.rendition);
        Ok(Rendered::of(served))
    }

    async fn render_refused(
        &self,
        source: Source,
        wish: &Wish,
        refusal: Refusal,
        policy: &Policy,
        rendering: &Rendering<'_>,
    ) -> Result<Rendered, ServeError> {
        let is_late = matches!(refusal, Refusal::Overloaded | Refusal::TimeIsUp);
        if is_late
            && policy.on_overload() == OnOverload::Stale
            && let Some(last) = self.last_variant(rendering, wish, &source.served).await
        {
            let served = self.with_last(source.served, last, rendering.rendition);
            return Ok(Rendered::of(served));
        }
        let Some(found) = self.body_of(&source).await else {
            return Ok(Rendered::SourceGone(source.entry()));
        };
        let served = source.served.with_body(found);
        refused(served, refusal, policy, rendering.rendition).map(Rendered::of)
    }

    /// What the URL's wish was made of before its source changed, while that may still stand in for this request.
    async fn last_variant(
        &self,
        rendering: &Rendering<'_>,
        wish: &Wish,
        source: &Served,
    ) -> Option<(Found, Lifetime)> {
        let last = self.variants.last.recall(rendering, wish, source)?;
        let is_current = self.fills.invalidations.era(&rendering.url.name()) == last.era;
        let is_valid = standing_of(&self.purges, rendering.url.text(), &last.stamp) == Standing::Valid;
        if !is_current
            || !is_valid
            || self.is_retired()
            || !last.lifetime.stands_in(clock::now(), Failure::Error)
        {
            return None;
        }
        let found = self.variants.shelf.find(&last.variant, self.read_ahead).await?;
        Some((found, last.lifetime))
    }

    fn with_last(&self, served: Served, last: (Found, Lifetime), rendition: &Rendition) -> Served {
        let (found, lifetime) = last;
        Served {
            outcome: Outcome::Stale,
            age: Some(lifetime.age(clock::now())),
            ..self.with_variant(served, found, &rendition.passing())
        }
    }

    fn with_variant(&self, served: Served, found: Found, rendition: &Rendition) -> Served {
        let Found { entry, body, tier } = found;
        if let Some(length) = served.head.length() {
            let saved = length.saturating_sub(entry.body.length);
            self.metrics.transform_saved_bytes.inc_by(saved);
        }
        served.replaced(entry, (body, tier)).rendered(rendition)
    }
}
