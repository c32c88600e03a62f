//! An origin that still answers with what was purged, though the purge told what it has at least: it is asked again.
//!
//! Invariant: an answer that is below what the purge told is not stored, and clients are told to ask for it again soon. It
//! does not know readers.

use super::failure::FlightFailure;
use super::fill::{Fill, Previous};
use crate::base::clock;
use crate::cluster::question;
use crate::http::entity_tag::EntityTag;
use crate::purge::order::Minimum;
use crate::upstream::{OriginRequest, OriginResponse};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::time::Duration;

/// The first pause before the origin is asked again; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(50);

/// How long an origin that is behind is not waited for again.
pub(super) const BEHIND: Duration = Duration::from_secs(10);

/// What clients are told of an answer that is too old.
static BRIEF: HeaderValue = HeaderValue::from_static("max-age=1");

impl Fill {
    /// Asks the origin, and again for as long as it answers with what is too old and there is patience left. Another node that
    /// answers with such has had the patience.
    pub(super) async fn fetch(&self, request: OriginRequest) -> Result<OriginResponse, FlightFailure> {
        let patience_ends = clock::monotonic() + self.patience();
        let mut pause = PAUSE;
        loop {
            let response = self.fetch_once(request.clone()).await?;
            let is_last = question::is_too_old(&response.headers);
            if is_last || !self.is_too_old(response.status, &response.headers) {
                return Ok(response);
            }
            self.fills.metrics.answers_below_minimum.inc();
            if clock::monotonic() + pause > patience_ends {
                self.fills.behind.remember(self.url.name(), (), clock::now());
                return Ok(response);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// None is left for an origin that was behind a moment ago.
    fn patience(&self) -> Duration {
        match self.fills.behind.recall(&self.url.name(), clock::now()) {
            Some(()) => Duration::ZERO,
            None => self.fills.purges.minimum_patience(),
        }
    }

    /// What a purge has told that the origin has at least. An entity tag is asked for until it has come: tags have no order,
    /// and what the origin has after it is newer.
    pub(super) fn minimum(&self) -> Option<Minimum> {
        let minimum = self.fills.purges.minimum(self.url.text(), clock::now());
        minimum.filter(|minimum| !matches!(minimum, Minimum::EntityTag(_)) || !self.has_come())
    }

    /// Whether what is stored was asked for since the purge, and so was what it told.
    fn has_come(&self) -> bool {
        match &self.previous {
            Previous::Entry(entry, _) => self.fills.is_valid(entry),
            Previous::Nothing | Previous::Alternates(_) | Previous::Part(_) => false,
        }
    }

    /// Whether an answer is below what the purge told. An error says nothing of versions.
    ///
    /// Another node's word holds whatever is known here. Its stamp fences what is stored against purges that have not come yet,
    /// but a minimum may also be forgotten here, taken for outlived by a clock that is ahead, or seem reached by an entry of
    /// before: then the stamp would let the answer be stored as valid.
    pub(super) fn is_too_old(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        if question::is_too_old(headers) {
            return true;
        }
        let says_version = status.is_success() || status == StatusCode::NOT_MODIFIED;
        says_version && self.minimum().is_some_and(|minimum| !reaches(headers, &minimum))
    }
}

/// An answer that does not tell its version is taken for an old one.
fn reaches(headers: &HeaderMap, minimum: &Minimum) -> bool {
    match minimum {
        Minimum::EntityTag(least) => {
            let tag = headers.get(header::ETAG).and_then(EntityTag::parse);
            let least = HeaderValue::from_str(least).ok();
            let least = least.as_ref().and_then(EntityTag::parse);
            tag.zip(least).is_some_and(|(tag, least)| tag.is_weakly(&least))
        }
        Minimum::Version { header, at_least } => {
            let version = headers.get(header).and_then(|value| value.to_str().ok());
            let version = version.and_then(|text| text.trim().parse::<u64>().ok());
            version.is_some_and(|version| version >= *at_least)
        }
    }
}

/// Lets neither browsers nor caches on the way keep an answer that is too old.
pub(super) fn shorten(headers: &mut HeaderMap) {
    for name in ["expires", "surrogate-control", "cdn-cache-control"] {
        headers.remove(name);
    }
    headers.insert(header::CACHE_CONTROL, BRIEF.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            header::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn an_answer_reaches_a_version_by_its_number_or_its_tag_and_not_in_silence() {
        let version = Minimum::Version {
            header: "x-version".into(),
            at_least: 7,
        };
        for (value, reached) in [("7", true), ("10", true), ("6", false), ("x", false)] {
            assert_eq!(
                reaches(&headers("x-version", value), &version),
                reached,
                "{value}"
            );
        }
        let tag = Minimum::EntityTag("\"v7\"".into());
        for (value, reached) in [("\"v7\"", true), ("W/\"v7\"", true), ("\"v6\"", false)] {
            assert_eq!(reaches(&headers("etag", value), &tag), reached, "{value}");
        }
        assert!(!reaches(&HeaderMap::new(), &version) && !reaches(&HeaderMap::new(), &tag));
    }
}
