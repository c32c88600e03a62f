//! Routes: which origin answers for a host and path, and by which policy.

mod heuristic;
mod tags;

pub use heuristic::Heuristic;
pub use tags::{TagHeaders, Tags};

use super::variants::config as variants;
use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use crate::cluster::config::is_name;
use crate::http::hop::stays_out_of_fills;
use crate::spec::config::Transform;
use http::HeaderName;
use http::header::ACCEPT_ENCODING;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// Limits of the request path that hold for all routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bodies that fills under way may hold in memory together; a fill beyond it is passed through, not stored.
    pub fill_bytes_max: ByteSize,
    /// How long a fill may take, from its start to the origin's last byte.
    pub fill_deadline: Span,
    /// What a body that is passed through, not stored, may hold in memory.
    pub pass_window: ByteSize,
    /// How long one reader of such a body may stand still while others wait for it.
    pub pass_patience: Span,
    /// How long a response that may not be shared makes its URL bypass the queue of waiters.
    pub pass_memory: Span,
    /// Hits that are compared with their origins at once; see `audit` of a route.
    pub audits_max: usize,
    /// Parts of a large body that are read ahead of the client.
    pub read_ahead: usize,
    pub transform: variants::Config,
    /// By the name that `wm` gives.
    pub watermarks: BTreeMap<String, variants::Watermark>,
}

/// One route. The longest path prefix of the most precise host wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// `shop.example`, `*.shop.example`, `[2001:db8::1]`, or `*` for any host; without a port.
    pub host: String,
    /// A prefix of whole segments: `/images` covers `/images/a.jpg`, not `/images2`.
    pub path: String,
    /// A name under `origins`.
    pub origin: String,
    /// Of the nodes that own its keys, as `cluster.pool` says of each.
    pub pool: String,
    /// Off: everything is passed through.
    pub cache: bool,
    pub ttl: Ttl,
    pub vary: Vary,
    /// Response fields that speak to this cache before `Cache-Control` does, first come first (RFC 9213).
    pub targeted_fields: Vec<String>,
    pub set_cookie: SetCookie,
    pub request_directives: RequestDirectives,
    pub ranges: Ranges,
    pub query: Query,
    /// The query parameter that names a version: `?v=3` is another image than `?v=2` and neither ever changes.
    pub version_parameter: Option<String>,
    /// Bodies larger than this are passed through, not stored.
    pub object_bytes_max: ByteSize,
    /// Media types to store, `image/*` for a family, `*` for any.
    pub content_types: Vec<String>,
    pub tags: Tags,
    /// The share of hits, from 0 to 1, that are compared with the origin behind the answer.
    pub audit: f64,
    pub transform: Transform,
}

/// How long what is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ttl {
    /// For a response that says nothing of its freshness; without it such a response is not stored.
    pub default: Option<Span>,
    /// Wins over what the origin says, by status: `200: 1h`, `5xx: 0s`.
    pub by_status: BTreeMap<String, Span>,
    /// For a 404, 410 or 451 that says nothing of its freshness.
    pub negative: Span,
    /// For a versioned URL.
    pub versioned: Span,
    /// What browsers are told; without it, what the origin says.
    pub browser: Option<Span>,
    /// Serve stale while one request refreshes, where the origin does not say.
    pub stale_while_revalidate: Span,
    /// Serve stale when the origin fails, where the origin does not say.
    pub stale_if_error: Span,
    /// Serve stale when the origin can not be reached, where the response does not forbid it.
    pub stale_on_disconnect: Span,
    pub heuristic: Heuristic,
}

/// What request headers mean that a response varies by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vary {
    /// For headers not listed.
    pub default: Treatment,
    pub by_header: BTreeMap<String, Treatment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// Spellings of one meaning are one alternate.
    Normalize,
    /// Each spelling is an alternate.
    Passthrough,
    /// What varies by it is not stored.
    Bypass,
}

/// What becomes of a response that sets a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetCookie {
    Refuse,
    Strip,
    Store,
}

/// Whether clients may ask for fresher, or allow staler, than the cache would serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestDirectives {
    Honor,
    Ignore,
}

/// What a request for a range, that nothing stored answers, asks of the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ranges {
    /// The whole image, which is stored.
    Whole,
    /// The range, which is stored and completed later.
    Forward,
}

/// Which query parameters belong to a URL's identity; the others reach neither key nor origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    pub keep: Keep,
    /// Whether `?a=1&b=2` and `?b=2&a=1` are the same image.
    pub sort: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    All,
    None,
    /// Only these parameters.
    Include(Vec<String>),
    /// All but these parameters.
    Exclude(Vec<String>),
}

impl Default for Config {
    fn default() -> Self {
        Config {
            fill_bytes_max: ByteSize::mib(512),
            fill_deadline: Span::secs(300),
            pass_window: ByteSize::mib(1),
            pass_patience: Span::secs(5),
            pass_memory: Span::secs(60),
            read_ahead: 3,
            audits_max: 8,
            transform: variants::Config::default(),
            watermarks: BTreeMap::new(),
        }
    }
}

impl Default for Route {
    fn default() -> Self {
        Route {
            host: "*".into(),
            path: "/".into(),
            origin: "default".into(),
            pool: "default".into(),
            cache: true,
            ttl: Ttl::default(),
            vary: Vary::default(),
            targeted_fields: vec![
                "aquatint-cdn-cache-control".into(),
                "cdn-cache-control".into(),
                "surrogate-control".into(),
            ],
            set_cookie: SetCookie::Refuse,
            request_directives: RequestDirectives::Honor,
            ranges: Ranges::Whole,
            query: Query::default(),
            version_parameter: Some("v".into()),
            object_bytes_max: ByteSize::mib(64),
            content_types: vec!["image/*".into()],
            tags: Tags::default(),
            audit: 0.0,
            transform: Transform::default(),
        }
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Ttl {
            default: None,
            by_status: BTreeMap::new(),
            negative: Span::secs(10),
            versioned: Span::days(365),
            browser: None,
            stale_while_revalidate: Span::secs(0),
            stale_if_error: Span::secs(0),
            stale_on_disconnect: Span::secs(0),
            heuristic: Heuristic::default(),
        }
    }
}

impl Default for Vary {
    fn default() -> Self {
        Vary {
            default: Treatment::Normalize,
            by_header: [("user-agent".to_owned(), Treatment::Bypass)].into(),
        }
    }
}

impl Default for Query {
    fn default() -> Self {
        Query {
            keep: Keep::All,
            sort: true,
        }
    }
}

/// The longest any entry may be kept: the one the longest of human promises asks for, twice over.
const TTL_MAX: Span = Span::days(730);

const HOST_ALLOWED: &str = "a name without a port such as shop.example, *.shop.example for all below it, \
     an IPv6 address such as [2001:db8::1], or *";

const POOL_ALLOWED: &str = "a cluster.pool of some nodes: 1 to 64 letters, digits, -, . and _";

const FIELD_ALLOWED: &str =
    "the lower-case name of a request header that reaches the origin, such as accept-language";

const TARGET_ALLOWED: &str =
    "the name of a response header other than cache-control, such as cdn-cache-control";

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        problems.check(
            "fill_bytes_max",
            self.fill_bytes_max,
            ByteSize::mib(1)..=ByteSize::gib(1024),
        );
        problems.check(
            "fill_deadline",
            self.fill_deadline,
            Span::millis(100)..=Span::days(1),
        );
        problems.check(
            "pass_window",
            self.pass_window,
            ByteSize::kib(64)..=ByteSize::gib(1),
        );
        problems.check(
            "pass_patience",
            self.pass_patience,
            Span::millis(10)..=Span::days(1),
        );
        problems.check("pass_memory", self.pass_memory, Span::millis(0)..=Span::days(1));
        problems.check("read_ahead", self.read_ahead, 0..=16);
        problems.check("audits_max", self.audits_max, 1..=1024);
        problems.below("transform", |p| self.transform.validate(p));
        for (name, watermark) in &self.watermarks {
            problems.below(format!("watermarks.{name}"), |p| watermark.validate(p));
        }
    }
}

impl Route {
    pub fn validate(&self, problems: &mut Problems) {
        if !self.path.starts_with('/') {
            problems.refuse("path", &self.path, "a path that starts with /");
        } else if !is_path(&self.path) {
            let allowed = "a path without ?, #, spaces and dot segments: no request's matches it";
            problems.refuse("path", &self.path, allowed);
        }
        if !is_host(&self.host) {
            problems.refuse("host", &self.host, HOST_ALLOWED);
        }
        if !is_name(&self.pool) {
            problems.refuse("pool", &self.pool, POOL_ALLOWED);
        }
        problems.check("audit", self.audit, 0.0..=1.0);
        problems.below("tags", |p| self.tags.validate(p));
        for (index, media_range) in self.content_types.iter().enumerate() {
            if !is_media_range(media_range) {
                let allowed = "a media type such as image/png, a family such as image/*, or *";
                problems.refuse(&format!("content_types[{index}]"), media_range, allowed);
            }
        }
        problems.check(
            "object_bytes_max",
            self.object_bytes_max,
            ByteSize::kib(1)..=ByteSize::gib(4),
        );
        problems.below("ttl", |p| self.ttl.validate(p));
        problems.below("transform", |p| self.transform.validate(p));
        for name in self.vary.by_header.keys().filter(|name| !can_select(name)) {
            problems.refuse(&format!("vary.by_header.{name}"), name, FIELD_ALLOWED);
        }
        for (index, name) in self.targeted_fields.iter().enumerate() {
            if !is_field_name(name) || name.eq_ignore_ascii_case("cache-control") {
                problems.refuse(&format!("targeted_fields[{index}]"), name, TARGET_ALLOWED);
            }
        }
    }
}

/// Whether requests can match it: they are matched without their port, and never have an empty label.
fn is_host(pattern: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    if let Some(address) = pattern.strip_prefix('[') {
        let address = address.strip_suffix(']');
        return address.is_some_and(|address| {
            address
                .parse::<Ipv6Addr>()
                .is_ok_and(|ip| ip.to_string() == address)
        });
    }
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    // The root's dot is part of the name.
    let labels = name.strip_suffix('.').unwrap_or(name);
    let of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    labels
        .split('.')
        .all(|label| !label.is_empty() && label.bytes().all(of_label))
}

/// Whether it can be the beginning of a normalised path.
fn is_path(path: &str) -> bool {
    let visible = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\'));
    visible && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether stored responses can vary by it: what no origin is asked with selects nothing.
fn can_select(text: &str) -> bool {
    let name = HeaderName::from_lowercase(text.as_bytes()).ok();
    name.is_some_and(|name| name != "*" && name != ACCEPT_ENCODING && !stays_out_of_fills(&name))
}

fn is_field_name(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// `type/subtype`, `type/*`, `*/*` or `*`.
fn is_media_range(text: &str) -> bool {
    let is_token = |text: &str| {
        let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(of_token)
    };
    match text.split_once('/') {
        None => text == "*",
        Some(("*", subtype)) => subtype == "*",
        Some((kind, subtype)) => is_token(kind) && (subtype == "*" || is_token(subtype)),
    }
}

impl Ttl {
    fn validate(&self, problems: &mut Problems) {
        let allowed = Span::secs(0)..=TTL_MAX;
        for (key, span) in [
            ("default", self.default),
            ("negative", Some(self.negative)),
            ("versioned", Some(self.versioned)),
            ("browser", self.browser),
            ("stale_while_revalidate", Some(self.stale_while_revalidate)),
            ("stale_if_error", Some(self.stale_if_error)),
            ("stale_on_disconnect", Some(self.stale_on_disconnect)),
            ("heuristic.max", Some(self.heuristic.max)),
        ] {
            if let Some(span) = span {
                problems.check(key, span, allowed.clone());
            }
        }
        problems.check("heuristic.percent", self.heuristic.percent, 0..=100);
        for (status, span) in &self.by_status {
            if StatusPattern::parse(status).is_none() {
                problems.refuse(
                    &format!("by_status.{status}"),
                    status,
                    "a status such as 404, or a class such as 5xx",
                );
            }
            problems.check(&format!("by_status.{status}"), *span, allowed.clone());
        }
    }
}

/// `404` or `5xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    Exact(u16),
    /// The first digit.
    Class(u16),
}

impl StatusPattern {
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            return class
                .parse()
                .ok()
                .filter(|c| (2..=5).contains(c))
                .map(StatusPattern::Class);
        }
        text.parse()
            .ok()
            .filter(|s| (200..=599).contains(s))
            .map(StatusPattern::Exact)
    }

    pub fn covers(self, status: u16) -> bool {
        match self {
            StatusPattern::Exact(exact) => exact == status,
            StatusPattern::Class(class) => class == status / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(route: Route) -> Vec<String> {
        let mut problems = Problems::default();
        route.validate(&mut problems);
        let found = problems.into_found();
        found.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn a_pool_that_no_node_can_have_is_refused() {
        let refused = |pool: &str| {
            refused(Route {
                pool: pool.into(),
                ..Route::default()
            })
        };
        assert_eq!(refused("large-1.b_c"), [""; 0]);
        for pool in ["", "two words", "a/b", &"a".repeat(65)] {
            assert_eq!(refused(pool), ["pool"], "{pool}");
        }
    }

    #[test]
    fn a_host_that_no_request_has_is_refused() {
        let refused = |host: &str| {
            refused(Route {
                host: host.into(),
                ..Route::default()
            })
        };
        for host in [
            "*",
            "shop.example",
            "Shop.Example.",
            "*.shop.example",
            "localhost",
            "my_shop",
            "192.0.2.1",
            "[2001:db8::1]",
        ] {
            assert_eq!(refused(host), [""; 0], "{host}");
        }
        for host in [
            "",
            ".",
            "*.",
            "*.*.x",
            "*x",
            "a.*",
            "shop.example:8080",
            "*.shop.example:80",
            "a..b",
            ".a",
            "a b",
            "http://a",
            "a/b",
            "[::1]:80",
            "[::1",
            "[2001:db8::0:1]",
            "2001:db8::1",
        ] {
            assert_eq!(refused(host), ["host"], "{host}");
        }
    }

    #[test]
    fn a_path_that_no_request_has_is_refused() {
        for (path, problems) in [
            ("/", 0),
            ("/a/b.c", 0),
            ("/a%20b/", 0),
            ("a", 1),
            ("/a?b", 1),
            ("/a#b", 1),
            ("/a b", 1),
            ("/a/../b", 1),
            ("/./a", 1),
        ] {
            let path = path.to_owned();
            let route = Route {
                path: path.clone(),
                ..Route::default()
            };
            assert_eq!(refused(route).len(), problems, "{path}");
        }
    }

    #[test]
    fn a_header_that_can_not_select_an_alternate_is_refused() {
        let names = [
            "accept-language",
            "x-shop",
            "*",
            "Accept",
            "accept-encoding",
            "cookie",
            "range",
            "a b",
            "x_shop",
        ];
        let by_header = names.map(|name| (name.to_owned(), Treatment::Normalize));
        let vary = Vary {
            by_header: by_header.into(),
            ..Vary::default()
        };
        let refused = refused(Route {
            vary,
            ..Route::default()
        });
        let expected = [
            "*",
            "Accept",
            "a b",
            "accept-encoding",
            "cookie",
            "range",
            "x_shop",
        ];
        assert_eq!(refused, expected.map(|name| format!("vary.by_header.{name}")));
    }

    #[test]
    fn a_targeted_field_that_is_none_is_refused() {
        let targeted_fields = ["cdn-cache-control", "Cache-Control", "a b"]
            .map(String::from)
            .into();
        let route = Route {
            targeted_fields,
            ..Route::default()
        };
        assert_eq!(refused(route), ["targeted_fields[1]", "targeted_fields[2]"]);
    }

    #[test]
    fn a_media_type_that_no_response_has_is_refused() {
        let content_types = [
            "image/*",
            "*",
            "*/*",
            "image/svg+xml",
            "image",
            "image/",
            "/png",
            "*/png",
            "",
            "a/b/c",
            "im*/png",
        ];
        let route = Route {
            content_types: content_types.map(String::from).into(),
            ..Route::default()
        };
        let expected: Vec<_> = (4..content_types.len())
            .map(|index| format!("content_types[{index}]"))
            .collect();
        assert_eq!(refused(route), expected);
    }
}
