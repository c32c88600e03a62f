//! How a request wants its answer rendered: which variant of the source, and what its header says beside.
//!
//! Invariant: a plain request for a source as it is has no rendition, and pays nothing for those that have one. It
//! does not know pixels.

use super::served::Served;
use crate::spec::{Download, Negotiated, Taken, Wish};
use http::header::{self, CACHE_CONTROL, CONTENT_DISPOSITION, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;

/// What a URL's transform parameters, and the request headers that had a say, ask for.
#[derive(Clone, Debug)]
pub(crate) struct Rendition {
    /// `None`: the source as it is.
    pub(super) wish: Option<Arc<Wish>>,
    negotiated: Negotiated,
    download: Option<Download>,
    durability: Durability,
}

/// What caches on the way heed before `Cache-Control`, or beside it.
static FOR_CACHES: [HeaderName; 3] = [
    HeaderName::from_static("cdn-cache-control"),
    HeaderName::from_static("surrogate-control"),
    header::EXPIRES,
];

/// Whether the answer is what the URL stands for, or only helps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    Lasting,
    /// The next request may get a better one: no cache on the way may keep it.
    Passing,
}

impl Rendition {
    /// `None` where the request is for the source as it is, and no header had a say.
    pub(super) fn of(taken: Taken<'_>) -> Option<Box<Rendition>> {
        let Taken {
            wish,
            negotiated,
            download,
            ..
        } = taken;
        let is_plain = wish.is_none() && download.is_none() && negotiated == Negotiated::default();
        (!is_plain).then(|| {
            Box::new(Rendition {
                wish: wish.map(Arc::new),
                negotiated,
                download,
                durability: Durability::Lasting,
            })
        })
    }

    /// The same for an answer that only helps out.
    pub(super) fn passing(&self) -> Rendition {
        Rendition {
            durability: Durability::Passing,
            ..self.clone()
        }
    }

    /// Lets the header say what the rendition depends on, and is for. An error's page is not what was to be saved.
    pub(crate) fn sign(&self, status: StatusCode, headers: &mut HeaderMap) {
        if let Some(fields) = self.negotiated.vary() {
            headers.append(VARY, fields);
        }
        let is_wanted = status.is_success() || status == StatusCode::NOT_MODIFIED;
        if let Some(Download(disposition)) = self.download.as_ref().filter(|_| is_wanted) {
            headers.insert(CONTENT_DISPOSITION, disposition.clone());
        }
        if self.durability == Durability::Passing {
            FOR_CACHES.iter().for_each(|name| drop(headers.remove(name)));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

impl Served {
    pub(super) fn rendered(self, rendition: &Rendition) -> Served {
        Served {
            rendition: Some(Box::new(rendition.clone())),
            ..self
        }
    }
}
