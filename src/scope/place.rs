//! Where a stored response is at home: the host, path and query of its URL, read from its key's text.
//!
//! Invariant: every scope that covers a URL by its host, path or query is named here. It does not know tags.

use super::{Kind, ScopeName};

/// A URL's place. The host has no port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    host: &'a str,
    path_and_query: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    /// From the text of a key, `http://shop.example:8080/a/b.jpg?v=3`, with what tells alternates apart or without.
    /// `None` where it is no URL's: what is made of bytes has no place.
    pub fn of(key_text: &'a str) -> Option<Self> {
        let (scheme, rest) = key_text.split_once("://")?;
        if !matches!(scheme, "http" | "https") {
            return None;
        }
        let (host, path_and_query) = rest.split_at(rest.find('/')?);
        let path_and_query = match path_and_query.split_once(' ') {
            Some((url, _)) => url,
            None => path_and_query,
        };
        Some(Place {
            host: without_port(host).trim_end_matches('.'),
            path_and_query,
            path: path_and_query.split('?').next().unwrap_or(path_and_query),
        })
    }

    pub fn url(&self) -> ScopeName {
        ScopeName::of(Kind::Url, self.host, self.path)
    }

    pub fn exact(&self) -> ScopeName {
        ScopeName::of(Kind::Exact, self.host, self.path_and_query)
    }

    pub fn host(&self) -> ScopeName {
        ScopeName::of(Kind::Host, self.host, "")
    }

    /// The prefixes that cover it, the host's root first, of at most `depth` segments.
    pub fn prefixes(&self, depth: usize) -> impl Iterator<Item = ScopeName> + '_ {
        let slashes = self.path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        let ends = slashes.map(|(at, _)| at).chain([self.path.len()]);
        let mut hasher = ScopeName::hasher(self.host);
        let mut hashed = 0;
        // Each goes on from the one before: a path of many segments costs no more than its length.
        ends.take(depth.saturating_add(1)).map(move |end| {
            hasher.update(&self.path.as_bytes()[hashed..end]);
            hashed = end;
            ScopeName::from_hash(Kind::Prefix, &hasher.finalize())
        })
    }
}

/// How many segments a prefix has.
pub(super) fn depth(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// A host as scopes name it: lower-case, without a port or the root's dot.
pub(super) fn host_name(host: &str) -> String {
    without_port(host).trim_end_matches('.').to_ascii_lowercase()
}

/// An IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::*;

    #[test]
    fn a_url_is_at_its_host_path_and_query_whatever_its_scheme_port_or_alternate() {
        for text in [
            "http://shop.example/a/b.jpg?v=3",
            "https://shop.example:8443/a/b.jpg?v=3",
            "http://shop.example/a/b.jpg?v=3 0123-4567",
            "http://shop.example./a/b.jpg?v=3",
        ] {
            let place = Place::of(text).unwrap();
            assert_eq!(place.url(), Scope::url("shop.example", "/a/b.jpg").name());
            assert_eq!(place.exact(), Scope::exact("shop.example", "/a/b.jpg?v=3").name());
            assert_eq!(place.host(), Scope::host("shop.example").name());
        }
        assert_eq!(
            Place::of("http://[2001:db8::1]:81/a").unwrap().host(),
            Scope::host("[2001:db8::1]").name()
        );
        assert_eq!(Place::of("variant://00ff/w_1"), None);
    }

    #[test]
    fn prefixes_are_whole_segments() {
        let place = Place::of("http://h/a/b/c.jpg?d=/e").unwrap();
        let named = |path| Scope::prefix("h", path).name();
        let all: Vec<_> = place.prefixes(usize::MAX).collect();
        assert_eq!(all, ["", "/a", "/a/b", "/a/b/c.jpg"].map(named));
        assert_eq!(place.prefixes(1).collect::<Vec<_>>(), ["", "/a"].map(named));
        assert!(!all.contains(&named("/a/b/c")));
        let directory: Vec<_> = Place::of("http://h/a/").unwrap().prefixes(9).collect();
        assert!(directory.contains(&named("/a")));
    }

    #[test]
    fn a_prefix_reaches_as_deep_as_it_has_segments() {
        for path in ["", "/a", "/a/b"] {
            let text = format!("http://h{path}/x");
            let names: Vec<_> = Place::of(&text).unwrap().prefixes(depth(path)).collect();
            assert_eq!(names.last(), Some(&Scope::prefix("h", path).name()), "{path}");
        }
    }
}
