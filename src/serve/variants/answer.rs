//! What is answered in a variant's place, and how a source's answer becomes a variant's.
//!
//! Invariant: what only helps out is kept by no cache on the way. It does not know how variants are made.

use super::Rendered;
use super::pool::Refusal;
use super::shelf::{entry_of, variant_key};
use crate::base::digest::Digest;
use crate::base::metrics::Tier;
use crate::image::ImageError;
use crate::serve::body::Body;
use crate::serve::rendition::Rendition;
use crate::serve::served::{Head, ServeError, Served};
use crate::spec::config::{OnFailure, OnOverload};
use crate::spec::{Policy, Spec};
use crate::store::Entry;
use bytes::Bytes;
use std::sync::Arc;

/// A GIF of one transparent pixel.
const PLACEHOLDER: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// What is answered where no variant can be had. `served` is the source as it is.
///
/// # Errors
/// Where the route wants one.
pub(super) fn refused(
    served: Served,
    refusal: Refusal,
    policy: &Policy,
    rendition: &Rendition,
) -> Result<Served, ServeError> {
    let wish = rendition.wish.as_ref();
    let is_picture = !wish.is_some_and(|wish| wish.spec.tells_facts());
    match refusal {
        Refusal::Overloaded | Refusal::TimeIsUp => match policy.on_overload() {
            OnOverload::Original | OnOverload::Stale if is_picture => {
                Ok(served.rendered(&rendition.passing()))
            }
            OnOverload::Original | OnOverload::Stale | OnOverload::Error => {
                Err(ServeError::Overloaded(refusal))
            }
        },
        // Nobody who asks for facts can do anything with a picture.
        _ if !is_picture => Err(ServeError::Variant(refusal)),
        // It fits every size as it is.
        Refusal::Unfit(ImageError::Vector) => Ok(served.rendered(rendition)),
        Refusal::Unfit(_) | Refusal::Image(_) | Refusal::Panicked => match policy.on_failure() {
            OnFailure::Original => Ok(served.rendered(rendition)),
            OnFailure::Placeholder => Ok(placeholder(served).rendered(&rendition.passing())),
            OnFailure::Error => Err(ServeError::Variant(refusal)),
        },
    }
}

fn placeholder(served: Served) -> Served {
    let key = variant_key(&Digest::of(PLACEHOLDER), &Spec::default());
    let bytes = Bytes::from_static(PLACEHOLDER);
    let variant = Arc::new(entry_of(&key, "image/gif", &bytes));
    served.replaced(variant, (Body::Whole(bytes), Tier::Memory))
}

impl Served {
    /// With other bytes in place of the source's.
    pub(super) fn replaced(self, variant: Arc<Entry>, found: (Body, Tier)) -> Served {
        let served = self.with_body(found);
        Served {
            head: Head::Variant {
                source: Box::new(served.head),
                variant,
            },
            ..served
        }
    }

    /// With a body that was looked for after the header.
    pub(super) fn with_body(self, (body, tier): (Body, Tier)) -> Served {
        Served {
            outcome: self.outcome.read_from(tier),
            body,
            ..self
        }
    }

    /// The same, where the first bytes of a body that can be read only once have been read.
    pub(super) fn begun(self, before: Bytes) -> Served {
        let rest = Box::new(self.body);
        Served {
            body: Body::Begun { before, rest },
            ..self
        }
    }
}

impl Rendered {
    pub(super) fn of(served: Served) -> Self {
        Rendered::Served(Box::new(served))
    }
}
