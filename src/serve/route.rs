//! Which route answers for a host and path: the compiled form of the `routes` of the configuration.
//!
//! Invariant: every request finds at most one route, the longest prefix of the most precise host. Knows nothing of
//! connections or of the cache.

use super::audit::Sampler;
use super::config::{self, StatusPattern, TagHeaders};
pub(crate) use super::config::{Ranges, RequestDirectives};
use crate::base::digest::Digest;
use crate::base::metrics::{Metrics, RouteMetrics};
use crate::http::freshness::{CachePolicy, Heuristic, SetCookie, StatusRange};
use crate::http::vary::{Treatment, VaryPolicy};
use crate::key::{Keep, Order, QueryPolicy, normalise_path};
use crate::scope::{TagLimits, tag_headers};
use crate::spec::Policy;
use crate::upstream::Origin;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What browsers are told of an image whose URL names its version.
static IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// One route, ready to serve.
pub(crate) struct Route {
    /// Host and path, as the configuration says them: what metrics and logs call it.
    pub(crate) name: String,
    pub(crate) metrics: Arc<RouteMetrics>,
    pub(crate) origin: Arc<Origin>,
    /// Of the nodes that own its keys.
    pub(crate) pool: Arc<str>,
    pub(crate) caching: Caching,
    pub(crate) policy: CachePolicy,
    pub(crate) request_directives: RequestDirectives,
    pub(crate) ranges: Ranges,
    pub(crate) query: QueryPolicy,
    pub(crate) object_bytes_max: u64,
    /// `None`: sources are served as they are, and their URLs' parameters are their own.
    pub(crate) transform: Option<Arc<Policy>>,
    pub(crate) tags: TagPolicy,
    pub(crate) audit: Sampler,
    content_types: Vec<MediaRange>,
    browser: Option<Duration>,
}

/// What becomes of the tags that an origin names.
pub(crate) struct TagPolicy {
    pub(crate) limits: TagLimits,
    to_clients: TagHeaders,
}

/// Whether a route stores anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    On,
    Off,
}

/// `image/png`, `image/*` or `*`.
enum MediaRange {
    Any,
    Family(String),
    Exact(String),
}

/// The routes of a host, each with its path prefix.
type ByPath = Vec<(String, Arc<Route>)>;

/// All routes, most precise first.
#[derive(Clone)]
pub(crate) struct Routes {
    by_host: Vec<(HostPattern, ByPath)>,
    /// Of all of them, whatever each says.
    caching: Caching,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    /// With its leading dot.
    Suffix(String),
    Any,
}

/// A route that names an origin which does not exist.
#[derive(Debug, thiserror::Error)]
#[error("route for {host}{path} names the origin {origin:?}, which is not configured; nothing is served")]
pub struct UnknownOrigin {
    host: String,
    path: String,
    origin: String,
}

impl Routes {
    pub(crate) fn compile(
        configs: &[config::Route],
        origins: &HashMap<String, Arc<Origin>>,
        watermarks: &HashMap<String, Digest>,
        metrics: &Metrics,
    ) -> Result<Routes, UnknownOrigin> {
        let mut by_host: Vec<(HostPattern, ByPath)> = Vec::new();
        for config in configs {
            let origin = origins.get(&config.origin).ok_or_else(|| UnknownOrigin {
                host: config.host.clone(),
                path: config.path.clone(),
                origin: config.origin.clone(),
            })?;
            let host = HostPattern::parse(&config.host);
            let path = normalise_path(&config.path).map_or(config.path.clone(), Cow::into_owned);
            let route = Route::compile(config, origin.clone(), watermarks, metrics);
            let route = (path, Arc::new(route));
            match by_host.iter_mut().find(|(known, _)| *known == host) {
                Some((_, routes)) => routes.push(route),
                None => by_host.push((host, vec![route])),
            }
        }
        by_host.sort_by_key(|(host, _)| std::cmp::Reverse(host.precision()));
        for (_, routes) in &mut by_host {
            routes.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        }
        Ok(Routes {
            by_host,
            caching: Caching::On,
        })
    }

    /// The same, of a cache that is no longer this process's.
    pub(crate) fn retired(&self) -> Routes {
        Routes {
            caching: Caching::Off,
            ..self.clone()
        }
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.caching == Caching::Off
    }

    pub(crate) fn caching(&self, route: &Route) -> Caching {
        match self.caching {
            Caching::On => route.caching,
            Caching::Off => Caching::Off,
        }
    }

    /// Whether any route is for a path, or one below it, of a host with or without its port.
    pub(crate) fn covers_below(&self, host: &str, path: &str) -> bool {
        let name = without_port(host);
        let of_host = self.by_host.iter().filter(|(pattern, _)| pattern.covers(name));
        let mut prefixes = of_host.flat_map(|(_, routes)| routes).map(|(prefix, _)| prefix);
        prefixes.any(|prefix| covers_path(prefix, path) || covers_path(path, prefix))
    }

    /// The route for a host, with or without its port, and a path.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<Route>> {
        let name = without_port(host);
        self.by_host
            .iter()
            .filter(|(pattern, _)| pattern.covers(name))
            .flat_map(|(_, routes)| routes)
            .find(|(prefix, _)| covers_path(prefix, path))
            .map(|(_, route)| route)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(suffix) => HostPattern::Suffix(suffix.to_ascii_lowercase()),
            None => HostPattern::Exact(text.to_ascii_lowercase()),
        }
    }

    fn precision(&self) -> usize {
        match self {
            HostPattern::Exact(_) => usize::MAX,
            HostPattern::Suffix(suffix) => suffix.len(),
            HostPattern::Any => 0,
        }
    }

    fn covers(&self, name: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(exact) => exact.eq_ignore_ascii_case(name),
            HostPattern::Suffix(suffix) => {
                let at = name.len().checked_sub(suffix.len());
                at.is_some_and(|at| at > 0 && name.as_bytes()[at..].eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

/// An IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn covers_path(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Route {
    pub(crate) fn compile(
        config: &config::Route,
        origin: Arc<Origin>,
        watermarks: &HashMap<String, Digest>,
        metrics: &Metrics,
    ) -> Self {
        let transform = &config.transform;
        let name = format!("{}{}", config.host, config.path);
        Route {
            metrics: metrics.of_route(&name),
            name,
            transform: transform
                .enabled
                .then(|| Arc::new(Policy::compile(transform, watermarks))),
            origin,
            pool: config.pool.as_str().into(),
            caching: if config.cache { Caching::On } else { Caching::Off },
            policy: cache_policy(config),
            request_directives: config.request_directives,
            ranges: config.ranges,
            query: QueryPolicy {
                keep: match &config.query.keep {
                    config::Keep::All => Keep::All,
                    config::Keep::None => Keep::None,
                    config::Keep::Include(names) => Keep::Include(names.clone()),
                    config::Keep::Exclude(names) => Keep::Exclude(names.clone()),
                },
                order: if config.query.sort {
                    Order::Sorted
                } else {
                    Order::AsGiven
                },
                version_parameter: config.version_parameter.clone(),
            },
            object_bytes_max: config.object_bytes_max.bytes(),
            audit: Sampler::new(config.audit),
            tags: TagPolicy {
                limits: TagLimits {
                    count: config.tags.count_max,
                    bytes: config.tags.bytes_max.as_usize(),
                },
                to_clients: config.tags.to_clients,
            },
            content_types: config
                .content_types
                .iter()
                .map(|t| MediaRange::parse(t))
                .collect(),
            browser: config.ttl.browser.map(|ttl| ttl.get()),
        }
    }

    /// The Cache-Control a client sees instead of the origin's, if any, for a success of this age.
    pub(crate) fn browser_cache_control(&self, versioning: Versioning, age: Duration) -> Option<HeaderValue> {
        match versioning {
            Versioning::Versioned => Some(IMMUTABLE.clone()),
            Versioning::Plain => self.browser.map(|ttl| browser_cache_control(ttl, age)),
        }
    }

    /// Whether a successful response of this media type may be stored.
    pub(crate) fn stores_type(&self, content_type: Option<&HeaderValue>) -> bool {
        let essence = content_type
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or("").trim())
            .unwrap_or("");
        self.content_types.iter().any(|range| range.covers(essence))
    }
}

impl TagPolicy {
    /// Takes from a response's headers what clients are not to see.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if self.to_clients == TagHeaders::Strip {
            tag_headers().iter().for_each(|name| drop(headers.remove(name)));
        }
    }
}

/// Whether a stored response is the immutable one of a versioned URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versioning {
    Versioned,
    Plain,
}

impl MediaRange {
    fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some("") | Some("*/") => MediaRange::Any,
            Some(family) => MediaRange::Family(family.to_ascii_lowercase()),
            None => MediaRange::Exact(text.to_ascii_lowercase()),
        }
    }

    fn covers(&self, essence: &str) -> bool {
        match self {
            MediaRange::Any => true,
            MediaRange::Exact(exact) => exact.eq_ignore_ascii_case(essence),
            MediaRange::Family(family) => essence
                .get(..family.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(family)),
        }
    }
}

/// A browser takes the `Age` it is told off what it may keep: what is promised counts from now.
fn browser_cache_control(ttl: Duration, age: Duration) -> HeaderValue {
    let text = match ttl.as_secs() {
        0 => "no-cache".to_owned(),
        seconds => format!("public, max-age={}", seconds + age.as_secs()),
    };
    HeaderValue::try_from(text).expect("digits and letters make a header value")
}

fn cache_policy(route: &config::Route) -> CachePolicy {
    let ttl = &route.ttl;
    let patterns = ttl
        .by_status
        .iter()
        .filter_map(|(text, span)| Some((StatusPattern::parse(text)?, span.get())));
    CachePolicy {
        default_ttl: ttl.default.map(|span| span.get()),
        by_status: patterns
            .map(|(pattern, span)| (status_range(pattern), span))
            .collect(),
        negative_ttl: ttl.negative.get(),
        versioned_ttl: ttl.versioned.get(),
        stale_while_revalidate: ttl.stale_while_revalidate.get(),
        stale_if_error: ttl.stale_if_error.get(),
        stale_on_disconnect: ttl.stale_on_disconnect.get(),
        heuristic: Heuristic {
            percent: ttl.heuristic.percent,
            max: ttl.heuristic.max.get(),
        },
        set_cookie: match route.set_cookie {
            config::SetCookie::Refuse => SetCookie::Refuse,
            config::SetCookie::Strip => SetCookie::Strip,
            config::SetCookie::Store => SetCookie::Store,
        },
        targets: field_names(&route.targeted_fields),
        vary: vary_policy(&route.vary),
    }
}

fn vary_policy(vary: &config::Vary) -> VaryPolicy {
    let by_header = vary
        .by_header
        .iter()
        .filter_map(|(name, means)| Some((HeaderName::from_bytes(name.as_bytes()).ok()?, treatment(*means))));
    VaryPolicy {
        default: treatment(vary.default),
        by_header: by_header.collect(),
    }
}

fn treatment(config: config::Treatment) -> Treatment {
    match config {
        config::Treatment::Normalize => Treatment::Normalize,
        config::Treatment::Passthrough => Treatment::Passthrough,
        config::Treatment::Bypass => Treatment::Bypass,
    }
}

/// Names that are none have been refused before.
fn field_names(names: &[String]) -> Vec<HeaderName> {
    let parsed = names.iter().map(|name| HeaderName::from_bytes(name.as_bytes()));
    parsed.filter_map(Result::ok).collect()
}

fn status_range(pattern: StatusPattern) -> StatusRange {
    match pattern {
        StatusPattern::Exact(status) => StatusRange(status, status),
        StatusPattern::Class(class) => StatusRange(class * 100, class * 100 + 99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::metrics::{Label, Outcome, StatusClass};

    fn origin() -> Arc<Origin> {
        let config = crate::upstream::config::Config {
            url: Some("http://127.0.0.1:9".into()),
            ..Default::default()
        };
        Arc::new(Origin::open("test", &config, &Metrics::new()).unwrap())
    }

    fn routes(places: &[(&str, &str)]) -> (Routes, Vec<Arc<Route>>) {
        let configs: Vec<config::Route> = places
            .iter()
            .map(|(host, path)| config::Route {
                host: (*host).into(),
                path: (*path).into(),
                ..Default::default()
            })
            .collect();
        let origins = HashMap::from([("default".to_owned(), origin())]);
        let routes = Routes::compile(&configs, &origins, &HashMap::new(), &Metrics::new()).unwrap();
        let in_order = routes
            .by_host
            .iter()
            .flat_map(|(_, r)| r)
            .map(|(_, r)| r.clone())
            .collect();
        (routes, in_order)
    }

    /// The values of every series that has this value of a label.
    fn values_of(metrics: &Metrics, label: &str, value: &str) -> Vec<f64> {
        let wanted = (label.to_owned(), value.to_owned());
        let samples = metrics.samples().into_iter();
        let samples = samples.filter(|sample| sample.labels.contains(&wanted));
        samples.map(|sample| sample.value).collect()
    }

    #[test]
    fn a_compiled_configuration_has_every_series_at_zero_and_takes_them_along() {
        let metrics = Metrics::new();
        let origin = crate::upstream::config::Config {
            url: Some("http://127.0.0.1:9".into()),
            concurrency_max: 0,
            ..Default::default()
        };
        let origin = Arc::new(Origin::open("shop", &origin, &metrics).unwrap());
        let origins = HashMap::from([("default".to_owned(), origin.clone())]);
        let configs = [("*", "/"), ("a.example", "/img")].map(|(host, path)| config::Route {
            host: host.into(),
            path: path.into(),
            ..Default::default()
        });
        let routes = Routes::compile(&configs, &origins, &HashMap::new(), &metrics).unwrap();
        let of_a_route = Outcome::ALL.len() * StatusClass::ALL.len() + Outcome::ALL.len() + 1;
        for route in ["*/", "a.example/img"] {
            assert_eq!(
                values_of(&metrics, "route", route),
                vec![0.0; of_a_route],
                "{route}"
            );
        }
        let of_the_origin = values_of(&metrics, "origin", "shop");
        assert!(of_the_origin.len() > 50, "{of_the_origin:?}");
        assert_eq!(of_the_origin.iter().sum::<f64>(), 1.0, "one address is up");
        let held = routes.find("a.example", "/img").unwrap().clone();
        drop((routes, origins, origin));
        assert!(values_of(&metrics, "route", "*/").is_empty());
        assert_eq!(values_of(&metrics, "route", "a.example/img").len(), of_a_route);
        assert!(!values_of(&metrics, "origin", "shop").is_empty());
        drop(held);
        assert!(values_of(&metrics, "route", "a.example/img").is_empty());
        assert!(values_of(&metrics, "origin", "shop").is_empty());
    }

    #[test]
    fn the_longest_prefix_of_the_most_precise_host_wins() {
        let (routes, order) = routes(&[
            ("*", "/"),
            ("*.shop.example", "/"),
            ("a.shop.example", "/"),
            ("a.shop.example", "/img"),
        ]);
        let found = |host, path| {
            let route = routes.find(host, path).unwrap();
            order.iter().position(|r| Arc::ptr_eq(r, route)).unwrap()
        };
        assert_eq!(found("a.shop.example", "/img/x"), 0);
        assert_eq!(found("A.SHOP.example:8080", "/imgs"), 1);
        assert_eq!(found("b.shop.example", "/img/x"), 2);
        assert_eq!(found("shop.example", "/img/x"), 3);
        assert_eq!(found("[::1]:80", "/"), 3);
    }

    #[test]
    fn a_prefix_covers_whole_segments_only() {
        assert!(covers_path("/images", "/images"));
        assert!(covers_path("/images/", "/images/a.jpg"));
        assert!(!covers_path("/images", "/images2/a.jpg"));
        assert!(covers_path("/", "/anything"));
    }

    #[test]
    fn a_host_without_a_route_finds_none() {
        let (routes, _) = routes(&[("shop.example", "/")]);
        assert!(routes.find("other.example", "/").is_none());
    }

    #[test]
    fn media_ranges_cover_families_and_ignore_parameters_and_case() {
        let route = Route::compile(
            &config::Route::default(),
            origin(),
            &HashMap::new(),
            &Metrics::new(),
        );
        assert!(route.stores_type(Some(&HeaderValue::from_static("Image/PNG; q=1"))));
        assert!(!route.stores_type(Some(&HeaderValue::from_static("text/html"))));
        assert!(!route.stores_type(None));
    }
}
