//! By which purges a fill's answer will be known: its epoch and its tags.
//!
//! Another node's answer says its own: a copy is never younger than what it is a copy of.
//!
//! Invariant: an epoch is what was known before the origin was asked, and no tag that an origin named is left out: an answer
//! whose tags can not be kept has no stamp. It does not know what becomes of the answer.

use super::fill::Fill;
use crate::base::epoch::Epoch;
use crate::base::holes::{Hole, is_open};
use crate::cluster::question;
use crate::scope::{TagError, Tags};
use crate::store::Stamp;
use http::HeaderMap;

impl Fill {
    /// Of a response that comes now.
    pub(super) fn stamp(&self, headers: &HeaderMap) -> Result<Stamp, TagError> {
        if headers.contains_key(question::STAMP) {
            let told = question::stamp(headers).ok_or(TagError::Untold)?;
            return Ok(Stamp {
                // Who answers may know purges that are not known here, and of which what is stored here tells nothing.
                epoch: told.epoch.min(self.epoch),
                ..told
            });
        }
        let tags = match is_open(Hole::TagsIgnored) {
            true => Tags::default(),
            false => Tags::of(headers, &self.route.tags.limits)?,
        };
        Ok(Stamp {
            epoch: self.epoch_of_answer(),
            tags,
        })
    }

    /// As [`Fill::stamp`]; what has tags that can not be kept is for one client alone, and needs none.
    pub(super) fn stamp_or_untagged(&self, headers: &HeaderMap) -> Stamp {
        let untagged = |_| Stamp {
            epoch: self.epoch_of_answer(),
            tags: Tags::default(),
        };
        self.stamp(headers).unwrap_or_else(untagged)
    }

    /// Of what is stored, when the origin's word on it comes now. A 304 need not repeat the tags of what it confirms; one that
    /// names others each time adds to them, up to as many as one answer may have.
    pub(super) fn stamp_of_renewed(&self, stored: &Stamp, headers: &HeaderMap) -> Result<Stamp, TagError> {
        let named = self.stamp(headers)?;
        let tags = named.tags.joined(&stored.tags);
        let count_max = self.route.tags.limits.count;
        match tags.names().len() > count_max {
            true => Err(TagError::Count(count_max)),
            false => Ok(Stamp { tags, ..named }),
        }
    }

    fn epoch_of_answer(&self) -> Epoch {
        match is_open(Hole::EpochAfterRequest) {
            true => self.fills.purges.epoch(),
            false => self.epoch,
        }
    }
}
