//! Which variant a URL's wish led to last, so that it may stand in when its source has changed and nothing new can be
//! made at once.
//!
//! Invariant: what was invalidated or purged since, or is past its source's stale windows, is not served from here: whoever
//! recalls it compares era, stamp and lifetime. Nor is it served to a request that wants better than what is stored, or that another
//! alternate may be for. It does not know why a new one can not be made.

use super::Rendering;
use crate::base::clock;
use crate::http::freshness::Lifetime;
use crate::http::reuse::RequestControl;
use crate::key::{CacheKey, KeyName};
use crate::serve::brief_memory::BriefMemory;
use crate::serve::invalidations::Era;
use crate::serve::served::Served;
use crate::spec::Wish;
use crate::store::{Entry, Stamp};
use http::header::VARY;
use std::time::Duration;

/// Stale windows end it sooner.
const LASTING: Duration = Duration::from_secs(86_400);

pub(super) struct LastMade(BriefMemory<Last>);

#[derive(Clone)]
pub(super) struct Last {
    pub(super) variant: CacheKey,
    /// Of its source.
    pub(super) lifetime: Lifetime,
    pub(super) era: Era,
    pub(super) stamp: Stamp,
}

impl LastMade {
    pub(super) fn new() -> Self {
        LastMade(BriefMemory::new(LASTING))
    }

    pub(super) fn remember(&self, rendering: &Rendering<'_>, wish: &Wish, variant: &Entry, source: &Served) {
        let (Some(lifetime), Some(stamp)) = (source.head.lifetime(), source.head.stamp()) else {
            return;
        };
        if !is_for_all(source) {
            return;
        }
        let last = Last {
            variant: CacheKey::of_variant(&variant.key_text),
            lifetime,
            era: rendering.era,
            stamp: stamp.clone(),
        };
        self.0.remember(name(rendering, wish), last, clock::now());
    }

    /// For a request that takes what is stored as it is, and a source that still is everybody's.
    pub(super) fn recall(&self, rendering: &Rendering<'_>, wish: &Wish, source: &Served) -> Option<Last> {
        let RequestControl {
            no_cache,
            max_age,
            min_fresh,
            ..
        } = rendering.control;
        if no_cache || max_age.is_some() || min_fresh.is_some() || !is_for_all(source) {
            return None;
        }
        self.0.recall(&name(rendering, wish), clock::now())
    }
}

/// Stored, and the only response of its URL: which alternate an older variant was made of is not known here.
fn is_for_all(source: &Served) -> bool {
    source.head.is_stored() && source.head.get(&VARY).is_none()
}

fn name(rendering: &Rendering<'_>, wish: &Wish) -> KeyName {
    rendering.url.name_of(&wish.spec)
}
