//! What an order to purge is about: the scopes that its URLs, prefixes and hosts mean by the routes, and how much of what is
//! known they cover.
//!
//! Invariant: every spelling of a URL that requests can use leads to the scope that covers what they store. It does not know
//! who orders.

use super::Engine;
use super::served::ServeError;
use super::way::{Purpose, Way, is_reserved};
use crate::key::{self, RequestUrl, Scheme, UrlError, normalise_path};
use crate::scope::{Place, Scope, ScopeName};
use crate::spec;
use crate::store::{Entry, EntryKind};
use std::borrow::Cow;
use std::collections::HashSet;

/// Segments of a prefix: each path that is looked up is looked at so deep.
const PREFIX_SEGMENTS_MAX: usize = 64;

/// How much of a URL a purge is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every query of its path, and so every version string.
    Every,
    Exact,
}

/// Why something names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScopeError {
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    #[error("it is malformed: {0}")]
    Url(#[from] UrlError),
    #[error("no route covers it: nothing of it can be stored here")]
    NoRoute,
    #[error("the edge speaks for itself there, and stores nothing of it")]
    Reserved,
    #[error("it has a wildcard that is no prefix: only a last /* is understood; purge by prefix or tag")]
    Wildcard,
}

/// How much a purge would hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Stored responses that memory knows.
    pub(crate) objects: u64,
    /// Of their bodies.
    pub(crate) bytes: u64,
}

impl Engine {
    /// The scope of a URL. A last `/*` is a prefix.
    ///
    /// # Errors
    /// When it is malformed, or no route covers it.
    pub(crate) fn purge_scope(&self, url: &str, reach: Reach) -> Result<Scope, ScopeError> {
        let parts = Parts::of(url)?;
        if !url.contains("://") {
            return Err(ScopeError::Malformed("it has no scheme, such as https://"));
        }
        if parts.is_prefix {
            return self.prefix_of(&parts);
        }
        let path = normalise_path(parts.path)?;
        let routes = self.routes.load();
        let way = Way::find(&routes, parts.host, path, Purpose::Read);
        let way = way.map_err(|error| unroutable(&error))?;
        let query = match &way.route.transform {
            Some(policy) => spec::rest(policy, parts.query),
            None => parts.query.map(Cow::Borrowed),
        };
        let source = RequestUrl {
            scheme: parts.scheme,
            host: parts.host,
            path: &way.path,
            query: query.as_deref(),
        };
        let key = key::target(&source, &way.route.query)?.key;
        let path_and_query = key.path_and_query();
        Ok(match reach {
            Reach::Exact => Scope::exact(key.host(), path_and_query),
            Reach::Every => Scope::url(key.host(), path_and_query.split('?').next().unwrap_or_default()),
        })
    }

    /// The scope of a host and path, with a scheme or without, and all below it.
    ///
    /// # Errors
    /// As [`Engine::purge_scope`].
    pub(crate) fn prefix_scope(&self, text: &str) -> Result<Scope, ScopeError> {
        self.prefix_of(&Parts::of(text)?)
    }

    /// The scope of a host.
    ///
    /// # Errors
    /// As [`Engine::purge_scope`].
    pub(crate) fn host_scope(&self, host: &str) -> Result<Scope, ScopeError> {
        let parts = Parts::of(host)?;
        if parts.path != "/" || parts.query.is_some() || parts.is_prefix || host.ends_with('/') {
            let reason = "a host has no path";
            return Err(ScopeError::Malformed(reason));
        }
        let key = self.key_below(&parts, "/")?;
        Ok(Scope::host(key.host()))
    }

    /// How much of what memory knows `scopes` cover. Looks at all of it: blocking.
    pub(crate) fn estimate(&self, scopes: &[Scope]) -> Estimate {
        let covering = Covering::of(scopes);
        let mut estimate = Estimate::default();
        self.store.each_in_memory(|entry| {
            if entry.kind() != EntryKind::Index && covering.covers(entry) {
                estimate.objects += 1;
                estimate.bytes += entry.body.length;
            }
        });
        estimate
    }

    fn prefix_of(&self, parts: &Parts<'_>) -> Result<Scope, ScopeError> {
        if parts.query.is_some() {
            let reason = "a prefix has no query";
            return Err(ScopeError::Malformed(reason));
        }
        let path = normalise_path(parts.path)?;
        let path = self.without_alias(parts.host, &path)?;
        if path.bytes().filter(|byte| *byte == b'/').count() > PREFIX_SEGMENTS_MAX {
            return Err(ScopeError::Malformed("a prefix has so many segments"));
        }
        let key = self.key_below(parts, path)?;
        Ok(Scope::prefix(key.host(), key.path_and_query()))
    }

    /// A key of this host, where any route covers it.
    fn key_below(&self, parts: &Parts<'_>, path: &str) -> Result<key::CacheKey, ScopeError> {
        let url = RequestUrl {
            scheme: parts.scheme,
            host: parts.host,
            path,
            query: None,
        };
        let key = key::target(&url, &key::QueryPolicy::default())?.key;
        if is_reserved(key.path_and_query()) {
            return Err(ScopeError::Reserved);
        }
        match self.routes.load().covers_below(key.host(), key.path_and_query()) {
            true => Ok(key),
            false => Err(ScopeError::NoRoute),
        }
    }

    /// What is made of sources is stored by theirs: below an alias lie the sources it names.
    fn without_alias<'a>(&self, host: &str, path: &'a str) -> Result<&'a str, ScopeError> {
        let makes_variants = |path: &str| {
            let routes = self.routes.load();
            let route = routes.find(host, path);
            route.is_some_and(|route| route.transform.is_some())
        };
        match spec::alias(path) {
            Ok(Some(alias)) if makes_variants(alias.source) => Ok(alias.source),
            Err(_) if makes_variants(path) => Err(ScopeError::Malformed("an alias names no source")),
            Ok(_) | Err(_) => Ok(path),
        }
    }
}

fn unroutable(error: &ServeError) -> ScopeError {
    match error {
        ServeError::Reserved => ScopeError::Reserved,
        _ => ScopeError::NoRoute,
    }
}

/// A URL as an order writes it.
struct Parts<'a> {
    scheme: Scheme,
    host: &'a str,
    /// Without the `*` of a prefix.
    path: &'a str,
    query: Option<&'a str>,
    is_prefix: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, ScopeError> {
        let malformed = |reason| Err(ScopeError::Malformed(reason));
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?']) => {
                return malformed("its scheme is not http or https");
            }
            _ => (Scheme::Https, text),
        };
        // A browser keeps it to itself.
        let rest = rest.split('#').next().unwrap_or_default();
        let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if host.is_empty() {
            return malformed("it names no host");
        }
        if host.contains('@') {
            return malformed("it names a user");
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let (path, is_prefix) = match path.strip_suffix("/*") {
            Some(above) if query.is_none() => (&path[..above.len() + 1], true),
            _ => (path, false),
        };
        if host.contains('*') || path.contains('*') || query.is_some_and(|query| query.contains('*')) {
            return Err(ScopeError::Wildcard);
        }
        Ok(Parts {
            scheme,
            host,
            path: if path.is_empty() { "/" } else { path },
            query,
            is_prefix,
        })
    }
}

/// Scopes by their names.
struct Covering {
    names: HashSet<ScopeName>,
    depth: usize,
}

impl Covering {
    fn of(scopes: &[Scope]) -> Self {
        Covering {
            names: scopes.iter().map(Scope::name).collect(),
            depth: scopes.iter().map(Scope::depth).max().unwrap_or_default(),
        }
    }

    /// What has no place is made of bytes, and never purged.
    fn covers(&self, entry: &Entry) -> bool {
        let Some(place) = Place::of(&entry.key_text) else {
            return false;
        };
        let has = |name: ScopeName| self.names.contains(&name);
        has(Scope::All.name())
            || has(place.url())
            || has(place.exact())
            || has(place.host())
            || place.prefixes(self.depth).any(has)
            || entry.stamp.tags.names().iter().copied().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_a_scheme_or_without() {
        for (text, host, path, query) in [
            ("https://shop.example/a?b#c", "shop.example", "/a", Some("b")),
            ("HTTP://shop.example:81", "shop.example:81", "/", None),
            ("shop.example/a/", "shop.example", "/a/", None),
            ("shop.example?a=http://b", "shop.example", "/", Some("a=http://b")),
        ] {
            let parts = Parts::of(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (parts.host, parts.path, parts.query),
                (host, path, query),
                "{text}"
            );
            assert!(!parts.is_prefix);
        }
    }

    #[test]
    fn only_a_last_segment_that_is_a_star_is_a_prefix() {
        let parts = Parts::of("https://shop.example/a/*").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((parts.path, parts.is_prefix), ("/a/", true));
        for text in [
            "https://h/*/a",
            "https://h/a*",
            "https://*.h/a",
            "https://h/a?*",
            "https://h/a/*?b",
        ] {
            assert!(matches!(Parts::of(text), Err(ScopeError::Wildcard)), "{text}");
        }
    }

    #[test]
    fn what_names_no_host_or_a_user_is_refused() {
        for text in ["", "/a", "ftp://h/a", "https://", "https://me@h/a", "?a"] {
            assert!(matches!(Parts::of(text), Err(ScopeError::Malformed(_))), "{text}");
        }
    }
}
