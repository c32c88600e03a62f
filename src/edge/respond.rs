//! From a [`Served`] to the answer a client gets: status, headers, and which bytes of the body.
//!
//! Invariant: pure; preconditions first, then ranges (RFC 9110 section 13.2.2), and a range is only
//! answered from a body whose length is known. Knows nothing of sessions.

use super::advice::advise;
use super::peers::as_origin;
use crate::base::metrics::{Outcome, Rejection};
use crate::cluster::question;
use crate::http::cache_status::CacheStatus;
use crate::http::conditional::{Precondition, RangeApplies, evaluate, range_applies};
use crate::http::range::{
    Multipart, Ranges, Representation, content_range, content_range_unsatisfied, parse,
};
use crate::serve::body::Body;
use crate::serve::route::Route;
use crate::serve::{Head, Served};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The headers that make a request conditional or partial.
static PARTICULARS: [HeaderName; 5] = [
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
    header::IF_MATCH,
    header::IF_UNMODIFIED_SINCE,
];

/// What all answers of an edge have in common.
#[derive(Clone)]
pub(crate) struct Manner {
    audience: Audience,
    /// The edge's name in `Cache-Status`.
    pub(crate) name: String,
    pub(crate) via: HeaderValue,
    pub(crate) ranges_max: usize,
}

/// Who hears an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Client,
    /// Another node, which passes it on to its client as its own, and names itself in `Via`.
    Edge,
    /// Another node, which takes it as the origin's.
    Cache,
}

/// A request's facts that shape its answer.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// The answer to a request.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    pub(crate) outcome: Outcome,
    pub(crate) facts: Facts,
}

/// What metrics, log and trace tell of an answer beside what its client is sent.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    /// `None`: it was refused before its route was found.
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) age: Option<Duration>,
    /// How long it waited for its origin; `None` where it did not.
    pub(crate) origin_time: Option<Duration>,
    /// Why it was refused, with [`Outcome::Refused`] and never else.
    pub(crate) rejected: Option<Rejection>,
}

/// What follows the header.
pub(crate) enum Payload {
    None,
    /// Bytes of the body, `end` exclusive; [`u64::MAX`] where only the body knows its end.
    Slice {
        body: Body,
        start: u64,
        end: u64,
    },
    Multipart {
        body: Body,
        parts: Multipart,
    },
    Text(Bytes),
}

impl Facts {
    fn of(served: &Served) -> Self {
        Facts {
            route: Some(served.route.clone()),
            age: served.age,
            origin_time: served.origin_time,
            rejected: None,
        }
    }

    /// Of a request that was refused.
    pub(super) fn rejected(reason: Rejection) -> Self {
        Facts {
            rejected: Some(reason),
            ..Facts::default()
        }
    }
}

impl Asked<'_> {
    /// Whether anything but the whole, unconditionally, is asked for; most requests ask for that.
    fn is_particular(&self) -> bool {
        self.headers.keys().any(|name| PARTICULARS.contains(name))
    }
}

impl Payload {
    /// As [`Body::is_arriving`].
    pub(crate) fn is_arriving(&self) -> bool {
        match self {
            Payload::Slice { body, .. } | Payload::Multipart { body, .. } => body.is_arriving(),
            Payload::None | Payload::Text(_) => false,
        }
    }
}

impl Manner {
    pub(crate) fn new(name: &str, ranges_max: usize) -> Self {
        let via = HeaderValue::from_str(&format!("1.1 {name}")).expect("the name was validated");
        Manner {
            audience: Audience::Client,
            name: name.to_owned(),
            via,
            ranges_max,
        }
    }

    /// The same, for others to hear.
    pub(super) fn toward(&self, audience: Audience) -> Self {
        Manner {
            audience,
            ..self.clone()
        }
    }

    /// Shapes a served response to what this client asked of it.
    pub(crate) fn reply(&self, asked: &Asked<'_>, served: Served) -> Reply {
        if let Head::Passed(_) | Head::Relayed(_) = served.head {
            return self.passed(asked, served);
        }
        if !asked.is_particular() {
            let headers = self.headers(&served);
            return served.whole(asked, headers);
        }
        let validators = served.validators();
        let status = served.head.status();
        match evaluate(asked.method, asked.headers, status, &validators.as_ref()) {
            Precondition::Failed => return self.about(&served, StatusCode::PRECONDITION_FAILED),
            Precondition::NotModified => return self.not_modified(&served),
            Precondition::Proceed => {}
        }
        match served.ranges(asked, &validators, self.ranges_max) {
            Ranges::Whole => {
                let headers = self.headers(&served);
                served.whole(asked, headers)
            }
            Ranges::Unsatisfiable => self.unsatisfiable(&served),
            Ranges::Some(ranges) => {
                let headers = self.headers(&served);
                served.partial(headers, ranges)
            }
        }
    }

    fn not_modified(&self, served: &Served) -> Reply {
        let mut headers = self.headers(served);
        headers.remove(header::CONTENT_TYPE);
        Reply {
            status: StatusCode::NOT_MODIFIED,
            headers,
            payload: Payload::None,
            outcome: served.outcome,
            facts: Facts::of(served),
        }
    }

    fn unsatisfiable(&self, served: &Served) -> Reply {
        let mut reply = self.about(served, StatusCode::RANGE_NOT_SATISFIABLE);
        let length = served.head.length().unwrap_or(0);
        reply
            .headers
            .insert(header::CONTENT_RANGE, content_range_unsatisfied(length));
        reply
    }

    /// An answer to this request alone: it has nothing of the image's own, above all not its lifetime.
    fn about(&self, served: &Served, status: StatusCode) -> Reply {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        self.sign(&mut headers, &served.cache_status);
        Reply {
            status,
            headers,
            payload: Payload::None,
            outcome: served.outcome,
            facts: Facts::of(served),
        }
    }

    /// What every answer carries, but for one that is taken as the origin's.
    pub(super) fn sign(&self, headers: &mut HeaderMap, cache_status: &CacheStatus) {
        if self.audience == Audience::Cache {
            return;
        }
        headers.append(CACHE_STATUS, cache_status.render(&self.name));
        if self.audience == Audience::Client {
            headers.append(header::VIA, self.via.clone());
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    }

    fn headers(&self, served: &Served) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(16);
        served.head.copy_headers(&mut headers);
        if let Head::Relayed(_) = served.head {
            self.sign(&mut headers, &served.cache_status);
            return headers;
        }
        match self.audience {
            Audience::Client => {}
            Audience::Edge => question::strip(&mut headers),
            Audience::Cache => {
                as_origin(served, &mut headers);
                return headers;
            }
        }
        if let Some(value) = served.browser_cache_control() {
            headers.insert(header::CACHE_CONTROL, value);
        }
        if let Some(age) = served.age {
            headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
        }
        if let Some(rendition) = &served.rendition {
            rendition.sign(served.head.status(), &mut headers);
        }
        if let Some(policy) = &served.route.transform {
            advise(policy, &mut headers);
        }
        self.sign(&mut headers, &served.cache_status);
        headers
    }

    /// A response the origin shaped itself: conditions and ranges are answered already.
    fn passed(&self, asked: &Asked<'_>, served: Served) -> Reply {
        let facts = Facts::of(&served);
        let mut headers = self.headers(&served);
        let status = served.head.status();
        if status == StatusCode::NO_CONTENT {
            // RFC 9110 section 8.6.
            headers.remove(header::CONTENT_LENGTH);
        } else if let Some(length) = served.head.length() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let payload = if asked.method == Method::HEAD || bodiless(status) {
            Payload::None
        } else {
            Payload::Slice {
                body: served.body,
                start: 0,
                end: u64::MAX,
            }
        };
        Reply {
            status,
            headers,
            payload,
            outcome: served.outcome,
            facts,
        }
    }
}

fn bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

impl Served {
    /// The ranges to answer; `Whole` where ranges do not apply (RFC 9110 section 14.2).
    fn ranges(
        &self,
        asked: &Asked<'_>,
        validators: &crate::serve::served::StoredValidators,
        ranges_max: usize,
    ) -> Ranges {
        let Some(range) = asked.headers.get(header::RANGE) else {
            return Ranges::Whole;
        };
        let Some(length) = self.head.length() else {
            return Ranges::Whole;
        };
        if asked.method != Method::GET || self.head.status() != StatusCode::OK {
            return Ranges::Whole;
        }
        match range_applies(asked.headers, &validators.as_ref()) {
            RangeApplies::No => Ranges::Whole,
            RangeApplies::Yes => self.in_order(parse(range, length, ranges_max)),
        }
    }

    /// A body that still arrives may be held in a window only: several ranges of it are not promised.
    fn in_order(&self, ranges: Ranges) -> Ranges {
        let any_order = match self.head {
            Head::Stored(_) => true,
            Head::Variant { .. } => self.body.is_at_hand(),
            _ => false,
        };
        match ranges {
            Ranges::Some(several) if several.len() > 1 && !any_order => Ranges::Whole,
            ranges => ranges,
        }
    }

    fn whole(self, asked: &Asked<'_>, mut headers: HeaderMap) -> Reply {
        let facts = Facts::of(&self);
        let status = self.head.status();
        let length = self.head.length();
        if let Some(length) = length
            && !bodiless(status)
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if status == StatusCode::OK {
            headers.insert(header::ACCEPT_RANGES, BYTES);
        }
        let payload = if asked.method == Method::HEAD || bodiless(status) {
            Payload::None
        } else {
            Payload::Slice {
                body: self.body,
                start: 0,
                end: length.unwrap_or(u64::MAX),
            }
        };
        Reply {
            status,
            headers,
            payload,
            outcome: self.outcome,
            facts,
        }
    }

    fn partial(self, mut headers: HeaderMap, ranges: Vec<RangeInclusive<u64>>) -> Reply {
        let facts = Facts::of(&self);
        let length = self.head.length().unwrap_or(0);
        headers.insert(header::ACCEPT_RANGES, BYTES);
        let payload = match ranges.as_slice() {
            [range] => {
                let (start, end) = (*range.start(), *range.end() + 1);
                headers.insert(header::CONTENT_RANGE, content_range(range, length));
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
                Payload::Slice {
                    body: self.body,
                    start,
                    end,
                }
            }
            _ => {
                let whole = Representation {
                    length,
                    content_type: headers.get(header::CONTENT_TYPE),
                };
                let parts = Multipart::new(&ranges, &whole, unpredictable());
                headers.insert(header::CONTENT_TYPE, parts.content_type());
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(parts.content_length()));
                Payload::Multipart {
                    body: self.body,
                    parts,
                }
            }
        };
        Reply {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            payload,
            outcome: self.outcome,
            facts,
        }
    }
}

/// A boundary that who wrote the body can not have put into it.
fn unpredictable() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
