//! What a request for a variant would meet, without making it.
//!
//! Invariant: by the same names and memories as the real way, and nothing is taken, made or remembered. It does not know who
//! asks.

use super::shelf::variant_key;
use super::source::may_be_made_of;
use crate::base::metrics::{Label, Tier};
use crate::serve::Engine;
use crate::spec::{Spec, Wish};
use crate::store::Entry;
use http::HeaderName;
use serde::Serialize;

/// A variant as a request would find it.
#[derive(Debug, Serialize)]
pub(crate) struct Foreseen {
    /// Canonical.
    pub(crate) spec: String,
    pub(crate) stand_in: Option<String>,
    /// `None` where its source is not stored: a variant is named by its source's bytes.
    pub(crate) found: Option<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Finding {
    Stored {
        tier: &'static str,
    },
    /// What may stand in is there; the variant would be made behind.
    StandIn {
        tier: &'static str,
    },
    /// It would be made.
    Missing,
    /// Making it failed a short while ago, and would not be tried.
    Failed {
        why: String,
    },
    /// Nothing may be made of this source: it answers as it is.
    Unfit,
}

impl Foreseen {
    pub(in crate::serve) fn of(wish: &Wish) -> Self {
        Foreseen {
            spec: wish.spec.to_string(),
            stand_in: wish.stand_in.as_ref().map(Spec::to_string),
            found: None,
        }
    }
}

impl Engine {
    /// What a request that is answered from `source` would find.
    pub(in crate::serve) async fn foresee(&self, source: &Entry, wish: &Wish) -> Finding {
        let lines = |name: &HeaderName| source.headers.get_all(name).collect::<Vec<_>>();
        if !may_be_made_of(source.status, &wish.spec, lines) {
            return Finding::Unfit;
        }
        if let Some(tier) = self.tier_of(source, &wish.spec).await {
            return Finding::Stored { tier };
        }
        if let Some(spec) = &wish.stand_in
            && let Some(tier) = self.tier_of(source, spec).await
        {
            return Finding::StandIn { tier };
        }
        let digest = &source.body.digest;
        let feasible = self.variants.feasible(digest, wish);
        match self
            .variants
            .failure(&variant_key(digest, &feasible.spec), digest)
        {
            Some(refusal) => Finding::Failed {
                why: refusal.to_string(),
            },
            None => Finding::Missing,
        }
    }

    async fn tier_of(&self, source: &Entry, spec: &Spec) -> Option<&'static str> {
        let key = variant_key(&source.body.digest, spec);
        let (variant, _) = self.store.peek_entry(&key).await?;
        self.store.peek_body(&variant.body).map(Tier::name)
    }
}
