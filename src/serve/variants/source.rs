//! From a served source to one whose digest is known, so that its variants have names.
//!
//! Invariant: what is no picture by its own word, or may not be changed, is left alone; what is left alone can still be
//! served as it came. It does not know variants.

use super::Variants;
use super::makings::Keeping;
use super::original::{Collected, Original, at_length, collect};
use super::pool::Refusal;
use crate::base::digest::{Digest, Hasher};
use crate::base::metrics::Tier;
use crate::image::ImageError;
use crate::serve::Engine;
use crate::serve::body::{Body, BodyError};
use crate::serve::served::{Head, ServeError, Served};
use crate::spec::{Policy, Spec};
use crate::store::{Body as StoredBody, Entry};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;

/// A source whose digest is known.
pub(super) struct Source {
    /// Its body need not be there: it is that of [`Source::original`].
    pub(super) served: Served,
    pub(super) digest: Digest,
    pub(super) original: Original,
    pub(super) keeping: Keeping,
}

pub(super) enum Sourced {
    Known(Source),
    /// Nothing is made of it; it can be served as it is.
    Refused(Served, Refusal),
    /// Its entry's bytes are no longer stored.
    Gone(Arc<Entry>),
}

/// Whether something may be made of a response: a whole one, not kept from it by the origin (RFC 9111 section 5.2.2.6),
/// and not of another type by its own word. Facts change nothing.
pub(super) fn may_be_made_of<I>(status: StatusCode, spec: &Spec, lines: impl Fn(&HeaderName) -> I) -> bool
where
    I: IntoIterator<Item = HeaderValue>,
{
    let forbids = |control: HeaderValue| {
        let mut directives = control.as_bytes().split(|byte| *byte == b',');
        directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    };
    let may_be_picture = |media_type: HeaderValue| may_be_picture(media_type.as_bytes());
    status == StatusCode::OK
        && lines(&CONTENT_TYPE).into_iter().all(may_be_picture)
        && (spec.tells_facts() || !lines(&CACHE_CONTROL).into_iter().any(forbids))
}

/// Stores of files that know no types say that they know none.
fn may_be_picture(media_type: &[u8]) -> bool {
    const UNKNOWN: [&[u8]; 2] = [b"application/octet-stream", b"binary/octet-stream"];
    let begins = |with: &[u8]| {
        media_type
            .get(..with.len())
            .is_some_and(|first| first.eq_ignore_ascii_case(with))
    };
    begins(b"image/") || UNKNOWN.into_iter().any(begins)
}

impl Engine {
    /// Finds a source's digest: where it is not stored, by reading it.
    pub(super) async fn source_of(&self, served: Served, policy: &Policy) -> Result<Sourced, ServeError> {
        let keeping = Keeping::AtMost(policy.variants_per_source() as usize);
        let Head::Stored(entry) = &served.head else {
            return self.collected(served, keeping).await;
        };
        let entry = entry.clone();
        if entry.body.length > self.variants.pool.source_bytes_max() {
            return Ok(self.too_large(served, entry).await);
        }
        Ok(Sourced::Known(Source {
            digest: entry.body.digest,
            original: Original::Stored(entry.body),
            keeping,
            served,
        }))
    }

    /// A source that arrives, read to its end.
    async fn collected(&self, mut served: Served, keeping: Keeping) -> Result<Sourced, ServeError> {
        let Variants { pool, room, .. } = &*self.variants;
        let length = served.head.length();
        let collecting = collect(&mut served.body, length, pool.source_bytes_max(), room);
        let mut chunks = match collecting.await.map_err(broken)? {
            Collected::Whole(chunks) => chunks,
            Collected::TooLarge(before) => {
                let refusal = self.variants.too_large(served.head.length());
                return Ok(Sourced::Refused(served.begun(before), refusal));
            }
            Collected::NoRoom(before) => {
                return Ok(Sourced::Refused(served.begun(before), Refusal::Overloaded));
            }
        };
        let known = served.body.digest();
        // Its flight need not be held any longer.
        served.body = Body::Later;
        let has_room = chunks.settle(room);
        let stored = known.filter(|_| served.head.is_stored());
        if !has_room && stored.is_none() {
            served.body = Body::Whole(chunks.joined());
            return Ok(Sourced::Refused(served, Refusal::Overloaded));
        }
        let length = chunks.length();
        let digest = known.unwrap_or_else(|| digest_of(&chunks.joined()));
        Ok(Sourced::Known(Source {
            digest,
            original: match has_room {
                true => Original::Here(Arc::new(chunks)),
                false => Original::Stored(StoredBody { digest, length }),
            },
            keeping: if stored.is_some() { keeping } else { Keeping::No },
            served,
        }))
    }

    /// A stored source that nothing is made of, with its body.
    async fn too_large(&self, served: Served, entry: Arc<Entry>) -> Sourced {
        let refusal = self.variants.too_large(Some(entry.body.length));
        match Body::find(&self.store, Some(entry.name()), &entry.body, self.read_ahead).await {
            Some(found) => Sourced::Refused(served.with_body(found), refusal),
            None => Sourced::Gone(entry),
        }
    }

    /// The bytes of a source, to be served as they are.
    pub(super) async fn body_of(&self, source: &Source) -> Option<(Body, Tier)> {
        let stored = match &source.original {
            Original::Here(chunks) => return Some((Body::Whole(chunks.joined()), Tier::Memory)),
            Original::Stored(body) => body,
        };
        let name = source.entry().map(|entry| entry.name());
        Body::find(&self.store, name, stored, self.read_ahead).await
    }
}

impl Source {
    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        match &self.served.head {
            Head::Stored(entry) => Some(entry.clone()),
            _ => None,
        }
    }
}

impl Variants {
    fn too_large(&self, length: Option<u64>) -> Refusal {
        let max = self.pool.source_bytes_max();
        Refusal::Image(ImageError::Limit {
            what: "the source's length in bytes",
            value: length.unwrap_or(max + 1),
            max,
        })
    }
}

/// What breaks off while it is read is as if it had never come.
fn broken(error: BodyError) -> ServeError {
    match error {
        BodyError::Flight(failure) => failure.into(),
        BodyError::Origin(error) => error.into(),
        error => error.into(),
    }
}

fn digest_of(bytes: &Bytes) -> Digest {
    at_length(bytes.len(), || {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    })
}
