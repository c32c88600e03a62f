//! Passes: requests that go to the origin as they are, and what their answers mean for what is stored.
//!
//! Invariant: what an unsafe request has changed is invalid before its client hears of its success. It does not know
//! sessions.

use super::Engine;
use super::asking::Asking;
use super::body::Body;
use super::copies::Home;
use super::route::{Route, Versioning};
use super::served::{Head, Pass, PassedHead, ServeError, Served, Unserved};
use super::variants::Rendering;
use crate::base::clock;
use crate::base::metrics::Outcome;
use crate::cluster::question;
use crate::http::cache_status::{CacheStatus, Collapsed, Stored, Why};
use crate::http::invalidation::{Asked, invalidates, named_targets};
use crate::http::reuse::RequestControl;
use crate::key::{CacheKey, normalise_path};
use crate::upstream::{OriginResponse, RequestBody};
use http::Method;
use std::sync::Arc;

/// What an answer's effect depends on, beside the answer.
struct Effect {
    method: Method,
    path_and_query: String,
}

impl Engine {
    /// Sends a passed request, with its body where it has one, and answers with the origin's response.
    ///
    /// # Errors
    /// When the origin gives no usable response.
    pub(crate) async fn pass(&self, pass: Pass, body: impl RequestBody) -> Result<Served, Unserved> {
        let route = pass.route.clone();
        self.pass_on(pass, body).await.map_err(|error| error.on(&route))
    }

    async fn pass_on(&self, pass: Pass, body: impl RequestBody) -> Result<Served, ServeError> {
        let Pass {
            mut request,
            why,
            key,
            route,
            rendition,
            trace,
        } = pass;
        let effect = Effect {
            method: request.method.clone(),
            path_and_query: request.path_and_query.clone(),
        };
        let era = self.fills.invalidations.era(&key.name());
        let began = clock::monotonic();
        let mut asking = Asking::begin(&trace, &route.origin, &mut request, body);
        let response = route.origin.exchange(request, &mut asking).await;
        drop(asking.answered(&response));
        let response = response?;
        let waited = clock::monotonic() - began;
        let changed = self.invalidate_changed(&key, &effect, &response);
        self.fills.copies.changed(changed).await;
        let mut response = response;
        route.tags.strip(&mut response.headers);
        question::strip(&mut response.headers);
        let served = Served {
            origin_time: Some(waited),
            ..passed(why, response, route)
        };
        match rendition {
            None => Ok(served),
            Some(rendition) => {
                let rendering = Rendering {
                    url: &key,
                    era,
                    control: RequestControl::default(),
                    rendition: &rendition,
                    trace: &trace,
                };
                self.render_passed(served, &rendering).await
            }
        }
    }

    /// What is no longer stored here, to be told to other nodes.
    fn invalidate_changed(
        &self,
        url: &CacheKey,
        effect: &Effect,
        response: &OriginResponse,
    ) -> Vec<(Home, CacheKey)> {
        if !invalidates(&effect.method, response.status) {
            return Vec::new();
        }
        self.invalidate(url);
        let mut changed = vec![url.clone()];
        let asked = Asked {
            scheme: url.scheme().name(),
            authority: url.host(),
            path_and_query: &effect.path_and_query,
        };
        let routes = self.routes.load();
        for target in named_targets(&asked, &response.headers) {
            let path = normalise_path(target.split('?').next().unwrap_or_default());
            let Some(route) = path.ok().and_then(|path| routes.find(url.host(), &path)) else {
                continue;
            };
            if let Ok(key) = url.sibling(&target, &route.query) {
                self.invalidate(&key);
                changed.push(key);
            }
        }
        let home = |key: CacheKey| self.home(&key).map(|home| (home, key));
        changed.into_iter().filter_map(home).collect()
    }

    /// The era first: a fill that has not noticed it by then is noticed by the removal.
    pub(super) fn invalidate(&self, url: &CacheKey) {
        self.fills.invalidations.begin_era(&url.name());
        self.store.remove(url);
    }
}

fn passed(why: Why, response: OriginResponse, route: Arc<Route>) -> Served {
    let OriginResponse {
        status,
        headers,
        length,
        body,
        ..
    } = response;
    Served {
        outcome: Outcome::Bypass,
        cache_status: CacheStatus::Forward {
            why,
            status: Some(status.as_u16()),
            stored: Stored::No,
            collapsed: Collapsed::No,
            ttl: None,
            detail: None,
        },
        age: None,
        origin_time: None,
        head: Head::Passed(PassedHead {
            status,
            headers,
            length,
        }),
        body: Body::Origin(body),
        route,
        versioning: Versioning::Plain,
        rendition: None,
    }
}
