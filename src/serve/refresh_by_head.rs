//! A stale entry that a HEAD is asked for: the origin's header may update it (RFC 9111 section 4.3.5).
//!
//! Invariant: only a header that speaks of the stored body renews its entry; the body is never touched. It does not know
//! readers.

use super::failure::FlightFailure;
use super::fill::{Fill, Previous};
use super::head::Fate;
use crate::http::conditional::{HeadUpdate, updated_by_head};
use crate::http::freshness::{Refusal, Verdict};
use crate::http::header_block::HeaderBlock;
use crate::http::vary::Vary;
use crate::store::Entry;
use crate::upstream::OriginResponse;
use http::StatusCode;
use std::sync::Arc;
use std::time::Instant;

/// What a response to HEAD makes of a stored entry.
enum Update {
    None,
    Stale,
    Renewed(Entry),
}

impl Fill {
    pub(super) async fn take_header(
        &self,
        response: OriginResponse,
        deadline: Instant,
    ) -> Result<(), FlightFailure> {
        if let Previous::Entry(entry, _) = &self.previous {
            self.update(entry, &response);
        }
        let fate = match self.fate(&response) {
            Fate::Stored(_) => Fate::Shared("head"),
            fate => fate,
        };
        self.receive_response(response, fate, deadline).await
    }

    fn update(&self, entry: &Arc<Entry>, response: &OriginResponse) {
        match self.updated(entry, response) {
            Update::None => {}
            Update::Stale => self.fills.store.remove_if_same(entry),
            Update::Renewed(renewed) => {
                self.store(&self.key, renewed, |store, renewed| {
                    store.renew_entry(&self.key, renewed);
                });
            }
        }
    }

    fn updated(&self, entry: &Entry, response: &OriginResponse) -> Update {
        let is_too_old = self.is_too_old(response.status, &response.headers);
        // A header may be alike where the body is another: it revives nothing.
        if response.status != StatusCode::OK || is_too_old || !self.fills.is_valid(entry) {
            return Update::None;
        }
        let stored = entry.headers.to_map();
        let HeadUpdate::Same(mut headers) = updated_by_head(&stored, entry.body.length, &response.headers)
        else {
            return self.unless_for_one(Update::Stale);
        };
        let vary = &self.route.policy.vary;
        if Vary::of(&headers, vary) != Vary::of(&stored, vary) {
            return self.unless_for_one(Update::Stale);
        }
        match self.judged(&mut headers, entry.status, response.exchange) {
            Verdict::Store(lifetime) => match self.stamp_of_renewed(&entry.stamp, &response.headers) {
                Ok(stamp) => Update::Renewed(entry.refreshed(HeaderBlock::pack(&headers), lifetime, stamp)),
                Err(_) => Update::Stale,
            },
            Verdict::Refuse(Refusal::Authorization) => Update::None,
            Verdict::Refuse(_) => Update::Stale,
        }
    }

    /// Of what was asked with credentials nothing follows for others.
    fn unless_for_one(&self, update: Update) -> Update {
        match self.request_headers.contains_key(http::header::AUTHORIZATION) {
            true => Update::None,
            false => update,
        }
    }
}
