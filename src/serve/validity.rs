//! Whether purges let what is stored be served.
//!
//! Invariant: whatever is found valid is not older than any purge that was acknowledged before the question. An entry that
//! was found so is looked for again only when there are later purges. It does not know freshness.

use crate::base::epoch::Epoch;
use crate::base::holes::{Hole, is_open};
use crate::key::CacheKey;
use crate::purge::Purges;
use crate::purge::table::{Standing, Subject};
use crate::store::{Entry, Stamp};

pub(super) fn standing(purges: &Purges, entry: &Entry) -> Standing {
    let applied = purges.applied();
    if entry.is_cleared_to(applied) {
        return Standing::Valid;
    }
    let standing = standing_of(purges, &entry.key_text, &entry.stamp);
    if standing == Standing::Valid {
        entry.clear_to(applied);
    }
    match standing {
        _ if is_open(Hole::NoHitCheck) => Standing::Valid,
        Standing::Hard if is_open(Hole::RenewPurged) || is_open(Hole::ServeStalePurged) => Standing::Soft,
        standing => standing,
    }
}

/// Of a response for the key of this text.
pub(super) fn standing_of(purges: &Purges, key_text: &str, stamp: &Stamp) -> Standing {
    purges.standing(&Subject {
        key_text,
        tags: &stamp.tags,
        epoch: stamp.epoch,
    })
}

/// Whether a response that was asked for under `stamp` may answer a request that began at `began`: what was asked for
/// later than that is as new as any purge the request's client can know of.
pub(super) fn answers(purges: &Purges, key: &CacheKey, stamp: &Stamp, began: Epoch) -> bool {
    stamp.epoch >= began
        || is_open(Hole::JoinAnyFlight)
        || standing_of(purges, key.text(), stamp) == Standing::Valid
}
