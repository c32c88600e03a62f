//! What a fill asks the origin, and what the answer says of what is stored.
//!
//! 1. with the validators of what is stored, or for the rest of a stored part;
//! 2. where the answer fits nothing that is stored, once more, without conditions.
//!
//! Invariant: an entry is renewed only by a 304 that speaks of it, never one that was purged, and a part is completed only by
//! bytes of the same representation. It does not know readers.

use super::asking::Crowd;
use super::body::Body;
use super::failure::FlightFailure;
use super::fill::{Fill, Incoming, Previous};
use super::flight::EntrySource;
use super::indexes::alternate_key;
use super::look_up::load;
use super::served::{Head, Part, StoredValidators};
use super::source::{Piece, Source};
use super::trip::Extent;
use super::validity::standing;
use crate::base::metrics::FillFrom;
use crate::cluster::question;
use crate::http::alternates::Alternates;
use crate::http::conditional::{Confirms, Validators, ask_if_changed, confirms, updated_by_304};
use crate::http::entity_tag::EntityTag;
use crate::http::freshness::{Refusal, Verdict};
use crate::http::header_block::HeaderBlock;
use crate::http::partial::{Joined, Run, same_representation};
use crate::http::vary::Vary;
use crate::key::CacheKey;
use crate::purge::table::Standing;
use crate::store::{Entry, EntryKind};
use crate::upstream::{OriginError, OriginRequest, OriginResponse};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::Arc;

/// An entry whose headers 304s have let grow to more lines is fetched anew.
const LINES_MAX: usize = 256;

/// What the origin's answer comes to.
pub(super) enum Reply {
    /// A stored entry, renewed.
    Confirmed(Arc<Entry>, EntrySource),
    /// A response by itself.
    Response(Box<OriginResponse>),
    /// The rest of a stored part, together with it.
    Rest(Box<Incoming>),
}

/// An answer, or the response that fits nothing.
enum Fit {
    Yes(Reply),
    No,
}

impl Fill {
    pub(super) async fn ask(&self) -> Result<Reply, FlightFailure> {
        let response = self.fetch(self.question()).await?;
        if let Fit::Yes(reply) = self.understand(response).await {
            return Ok(reply);
        }
        let response = self.fetch(self.request.clone()).await?;
        if response.status == StatusCode::NOT_MODIFIED {
            let reason = "a 304 to an unconditional request".into();
            return Err(OriginError::Malformed { reason }.into());
        }
        Ok(Reply::Response(Box::new(response)))
    }

    pub(super) async fn fetch_once(
        &self,
        mut request: OriginRequest,
    ) -> Result<OriginResponse, FlightFailure> {
        if let Some(answer) = self.fetch_from_peer(&request).await {
            return answer;
        }
        self.count_as_from(FillFrom::Origin);
        let origin = &self.route.origin;
        let crowd = Crowd(self.landing.flight.clone());
        let mut asking = self.questions.begin(origin, &mut request, crowd);
        let answer = origin.exchange(request, &mut asking).await;
        self.questions.answered(asking, &answer);
        let mut response = answer?;
        // No origin speaks as a node does.
        question::strip(&mut response.headers);
        Ok(response)
    }

    fn question(&self) -> OriginRequest {
        let mut request = self.request.clone();
        match &self.previous {
            // What is stored may be confirmed by an origin that is behind.
            _ if self.minimum().is_some() => {}
            Previous::Nothing => {}
            Previous::Entry(entry, index) => {
                let validators = StoredValidators::of(&Head::Stored(entry.clone()));
                let others = index.as_ref().map(|index| others(index, Some(entry)));
                let others = others.unwrap_or_default();
                ask_if_changed(&mut request.headers, &validators.as_ref(), &others);
            }
            Previous::Alternates(index) => {
                ask_if_changed(&mut request.headers, &Validators::default(), &others(index, None));
            }
            Previous::Part(part) if self.extent == Extent::Whole => ask_for_rest(&mut request.headers, part),
            Previous::Part(_) => {}
        }
        request
    }

    async fn understand(&self, response: OriginResponse) -> Fit {
        let is_too_old = question::is_too_old(&response.headers);
        match (response.status, &self.previous) {
            (StatusCode::NOT_MODIFIED, _) if is_too_old || self.minimum().is_some() => Fit::No,
            (StatusCode::NOT_MODIFIED, _) => match self.confirmed(&response.headers).await {
                Some((key, entry)) => self.renew(&key, &entry, &response),
                None => Fit::No,
            },
            (StatusCode::PARTIAL_CONTENT, Previous::Part(part)) if self.extent == Extent::Whole => {
                match is_too_old {
                    true => Fit::No,
                    false => self.complete(part, response).await,
                }
            }
            _ => Fit::Yes(Reply::Response(Box::new(response))),
        }
    }

    /// The stored entry that a 304 speaks of, whose body is still there. One that names none by its tag can only speak
    /// of one (RFC 9111 section 4.3.3).
    async fn confirmed(&self, response_304: &HeaderMap) -> Option<(CacheKey, Arc<Entry>)> {
        let (entry, index) = match &self.previous {
            Previous::Entry(entry, index) => (Some(entry), index.as_ref()),
            Previous::Alternates(index) => (None, Some(index)),
            Previous::Nothing | Previous::Part(_) => return None,
        };
        let tag = response_304.get(header::ETAG);
        let others = index.map(|index| others(index, entry)).unwrap_or_default();
        if let Some(entry) = entry.filter(|_| tag.is_some() || others.is_empty()) {
            let stored = entry.headers.to_map();
            if confirms(&Validators::of(&stored), response_304) == Confirms::Yes {
                return Some((self.key.clone(), entry.clone()));
            }
        }
        let known = match (tag, &others[..]) {
            (Some(tag), _) => index?.tagged(tag)?,
            (None, [only]) if entry.is_none() => index?.tagged(only)?,
            (None, _) => return None,
        };
        let key = alternate_key(&self.url, index?.series(), known.selection);
        let entry = load(&self.fills.store, &key).await?;
        // Another may have been stored there since the index was read.
        let is_meant = entry.kind() == EntryKind::Whole
            && entry.headers.get(&header::ETAG) == known.etag
            && confirms(&Validators::of(&entry.headers.to_map()), response_304) == Confirms::Yes;
        (is_meant && self.fills.store.holds_body(&entry.body)).then_some((key, entry))
    }

    /// A 304: only the entry is written again; where it is another alternate's, this one has the same body from now on.
    fn renew(&self, key: &CacheKey, entry: &Arc<Entry>, response: &OriginResponse) -> Fit {
        let stored = entry.headers.to_map();
        let mut headers = updated_by_304(&stored, &response.headers);
        let vary = &self.route.policy.vary;
        // It may have been purged since it was looked up.
        let is_purged = standing(&self.fills.purges, entry) == Standing::Hard;
        if is_purged || Vary::of(&headers, vary) != Vary::of(&stored, vary) || headers.len() > LINES_MAX {
            return Fit::No;
        }
        let Ok(stamp) = self.stamp_of_renewed(&entry.stamp, &response.headers) else {
            return Fit::No;
        };
        match self.judged(&mut headers, entry.status, response.exchange) {
            Verdict::Store(lifetime) => {
                let headers = HeaderBlock::pack(&headers);
                let renewed = self.put_renewed(key, entry, headers, lifetime, &stamp);
                Fit::Yes(Reply::Confirmed(renewed, EntrySource::Confirmed))
            }
            Verdict::Refuse(refusal) => {
                // Of what was asked with credentials nothing follows for others; else the origin now forbids what it
                // once allowed, and only the one who asked still has its word.
                if refusal != Refusal::Authorization {
                    self.fills.store.remove(key);
                }
                let confirmed = entry.refreshed(entry.headers.clone(), entry.lifetime, stamp);
                Fit::Yes(Reply::Confirmed(
                    Arc::new(confirmed),
                    EntrySource::ConfirmedForOne,
                ))
            }
        }
    }

    /// A 206 to the question for the rest of a stored part.
    async fn complete(&self, part: &Part, response: OriginResponse) -> Fit {
        let store = &self.fills.store;
        let stored = part.entry.headers.to_map();
        let fresh = response
            .length
            .and_then(|length| Run::of(&response.headers, length));
        let joined = fresh.and_then(|fresh| part.run.join(&fresh));
        if !same_representation(&Validators::of(&stored), &Validators::of(&response.headers)) {
            return Fit::No;
        }
        let Some(body) = Body::stored(store, Some(self.key.name()), &part.entry.body, 1).await else {
            return Fit::No;
        };
        let piece = Piece::new(body, part.entry.body.length);
        let source = Source::of(response.body);
        let source = match joined {
            Some(Joined::StoredThenFresh { skip: 0, run }) if run.is_whole() => source.preceded_by(piece),
            Some(Joined::FreshThenStored { skip: 0, run }) if run.is_whole() => source.followed_by(piece),
            _ => return Fit::No,
        };
        let Ok(stamp) = self.stamp(&response.headers) else {
            return Fit::No;
        };
        let mut headers = updated_by_304(&stored, &response.headers);
        headers.remove(header::CONTENT_RANGE);
        Fit::Yes(Reply::Rest(Box::new(Incoming {
            status: StatusCode::OK,
            headers,
            length: Some(part.run.length),
            exchange: response.exchange,
            stamp: stamp.joined(&part.entry.stamp),
            source,
        })))
    }
}

/// The tags of the alternates that are not `entry`; none where it has a date alone, which a list of tags would silence.
fn others(index: &Alternates, entry: Option<&Arc<Entry>>) -> Vec<HeaderValue> {
    let own = entry.map(|entry| entry.headers.get(&header::ETAG));
    if own == Some(None) {
        return Vec::new();
    }
    let tags = index.known().iter().filter_map(|known| known.etag.clone());
    let is_other = |tag: &HeaderValue| own.as_ref() != Some(&Some(tag.clone()));
    tags.filter(|tag| EntityTag::parse(tag).is_some() && is_other(tag))
        .collect()
}

/// Only bytes of the same representation are of use: `If-Range` makes the origin send all where it has changed.
fn ask_for_rest(headers: &mut HeaderMap, part: &Part) {
    let block = &part.entry.headers;
    let validator = block
        .get(&header::ETAG)
        .or_else(|| block.get(&header::LAST_MODIFIED));
    let (Some(missing), Some(validator)) = (part.run.missing(), validator) else {
        return;
    };
    let stored = block.to_map();
    let validators = Validators::of(&stored);
    let is_strong = same_representation(&validators, &validators);
    if is_strong {
        let to_the_end = missing.end() + 1 == part.run.length;
        let range = match to_the_end {
            true => format!("bytes={}-", missing.start()),
            false => format!("bytes={}-{}", missing.start(), missing.end()),
        };
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(header::RANGE, range);
            headers.insert(header::IF_RANGE, validator);
        }
    }
}
