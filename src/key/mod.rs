//! URLs and keys: from what a request names to the one text that stands for it.
//!
//! Invariant: the origin is asked for exactly what the key's text says, so that two requests that could differ at
//! the origin never share a key. Normalising a normalised URL changes nothing. It does not know requests,
//! routes or the store.

mod encoding;
mod host;
mod path;
mod query;

pub use query::{Keep, Order, QueryPolicy, Versioned};

use crate::base::digest::{Digest, Hex};
use std::borrow::Cow;
use std::fmt::{self, Write};

const VARIANT: &str = "variant://";

/// BLAKE3-128 of a key's text, the same on every node. A fast hash without a key would let an attacker choose
/// two URLs of one name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName([u8; 16]);

/// The canonical text of a URL, `http://shop.example/a/b.jpg?v=3`, and its name. The key of an alternate has, after a
/// space, what tells it from other alternates of its URL.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheKey {
    name: KeyName,
    text: String,
    host_start: usize,
    path_start: usize,
    url_end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// What a request names. Neither part holds the `?` between path and query.
#[derive(Clone, Copy, Debug)]
pub struct RequestUrl<'a> {
    pub scheme: Scheme,
    /// `Host` or `:authority`, with a port or without.
    pub host: &'a str,
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// What a request asks for, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub key: CacheKey,
    pub versioned: Versioned,
}

/// Why a URL names nothing; the request is refused as a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the host is neither a name nor an address; the request is refused")]
    Host,
    #[error("the port is no number from 1 to 65535; the request is refused")]
    Port,
    #[error("the path does not start with a slash; the request is refused")]
    RelativePath,
    #[error("the path climbs above its root; the request is refused")]
    AboveRoot,
    #[error("the URL holds a control character; the request is refused")]
    Control,
    #[error("the URL holds a space or a #; the request is refused")]
    Delimiter,
    #[error("the path holds a backslash; the request is refused")]
    Backslash,
    #[error("a % in the URL is not followed by two hexadecimal digits; the request is refused")]
    PercentEncoding,
}

/// Normalises a URL (RFC 3986 section 6.2.2 and 6.2.3) and leaves out what the policy does not keep.
pub fn target(url: &RequestUrl<'_>, policy: &QueryPolicy) -> Result<Target, UrlError> {
    let query = url.query.unwrap_or_default();
    let prefix = url.scheme.prefix();
    let capacity = prefix.len() + url.host.len() + url.path.len() + 1 + query.len();
    let mut text = String::with_capacity(capacity);
    text.push_str(prefix);
    host::push(&mut text, url.host, url.scheme)?;
    let path_start = text.len();
    text.push_str(&normalise_path(url.path)?);
    let versioned = query::push(&mut text, query, policy)?;
    let key = CacheKey {
        name: KeyName::of(&text),
        url_end: text.len(),
        text,
        host_start: prefix.len(),
        path_start,
    };
    Ok(Target { key, versioned })
}

/// The path as it goes into the key, for what has to be decided by it before there is a key. Allocates only where
/// something is to be normalised, and changes nothing that is normal.
pub fn normalise_path(path: &str) -> Result<Cow<'_, str>, UrlError> {
    path::normalise(path)
}

/// What of a key's text may stand in a log: parameters may be secrets.
pub fn without_query(text: &str) -> &str {
    text.split('?').next().unwrap_or(text)
}

impl Target {
    /// What the origin is asked for: nothing beside the key reaches it.
    pub fn path_and_query(&self) -> &str {
        self.key.path_and_query()
    }
}

impl CacheKey {
    pub fn name(&self) -> KeyName {
        self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The normalised host, with its port unless that is the scheme's own.
    pub fn host(&self) -> &str {
        &self.text[self.host_start..self.path_start]
    }

    pub fn path_and_query(&self) -> &str {
        &self.text[self.path_start..self.url_end]
    }

    pub fn scheme(&self) -> Scheme {
        Scheme::of_text(&self.text)
    }

    /// The URL without what tells alternates apart.
    pub fn url(&self) -> &str {
        &self.text[..self.url_end]
    }

    /// The key of one alternate of this URL, which `distinction` tells from the others. No URL holds a space, so that
    /// no alternate has the key of another URL.
    pub fn alternate(&self, distinction: impl fmt::Display) -> CacheKey {
        let text = format!("{} {distinction}", self.url());
        CacheKey {
            name: KeyName::of(&text),
            text,
            ..*self
        }
    }

    /// The key of what is made of a source's bytes, `variant://<digest>/<spec>`: whatever URLs have these bytes. No URL
    /// begins so.
    pub fn variant(source: &Digest, spec: impl fmt::Display) -> CacheKey {
        let mut text = String::with_capacity(256);
        text.push_str(VARIANT);
        write!(text, "{source}").expect("a string takes all");
        let path_start = text.len();
        write!(text, "/{spec}").expect("a string takes all");
        CacheKey {
            name: KeyName::of(&text),
            url_end: text.len(),
            text,
            host_start: VARIANT.len(),
            path_start,
        }
    }

    /// From the text of [`CacheKey::variant`].
    pub fn of_variant(text: &str) -> CacheKey {
        let after = text.get(VARIANT.len()..).unwrap_or_default();
        CacheKey {
            name: KeyName::of(text),
            text: text.to_owned(),
            host_start: VARIANT.len().min(text.len()),
            path_start: VARIANT.len().min(text.len()) + after.find('/').unwrap_or(after.len()),
            url_end: text.len(),
        }
    }

    /// From the text of a URL's key, alternate or not, as another node tells it. `None` where no URL's key has it.
    pub fn of_url(text: &str) -> Option<CacheKey> {
        let mut schemes = [Scheme::Http, Scheme::Https].into_iter();
        let host_start =
            schemes.find_map(|scheme| text.starts_with(scheme.prefix()).then(|| scheme.prefix().len()))?;
        let path_start = host_start + text[host_start..].find('/')?;
        let url_end = text.find(' ').unwrap_or(text.len());
        let is_none = path_start == host_start
            || url_end < path_start
            || text.bytes().any(|byte| byte.is_ascii_control());
        (!is_none).then(|| CacheKey {
            name: KeyName::of(text),
            text: text.to_owned(),
            host_start,
            path_start,
            url_end,
        })
    }

    /// Of its URL, without what tells alternates apart.
    pub fn url_name(&self) -> KeyName {
        match self.url_end == self.text.len() {
            true => self.name,
            false => KeyName::of(self.url()),
        }
    }

    /// The name of something that belongs to this key, alternate or not, and has no entry of its own.
    pub fn name_of(&self, belonging: impl fmt::Display) -> KeyName {
        KeyName::of(&format!("{} {belonging}", self.text))
    }

    /// The key of another path and query of the same scheme and host.
    ///
    /// # Errors
    /// As [`target`].
    pub fn sibling(&self, path_and_query: &str, policy: &QueryPolicy) -> Result<CacheKey, UrlError> {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        let url = RequestUrl {
            scheme: self.scheme(),
            host: self.host(),
            path,
            query,
        };
        Ok(target(&url, policy)?.key)
    }
}

impl KeyName {
    /// Of a key's text.
    pub fn of(text: &str) -> Self {
        let hash = blake3::hash(text.as_bytes());
        KeyName(*hash.as_bytes().first_chunk().expect("32 bytes hold 16"))
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        KeyName(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Scheme {
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Scheme::Http => "http://",
            Scheme::Https => "https://",
        }
    }

    fn of_text(text: &str) -> Self {
        if text.starts_with(Scheme::Https.prefix()) {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl std::hash::Hash for CacheKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url<'a>(host: &'a str, path: &'a str, query: Option<&'a str>) -> RequestUrl<'a> {
        RequestUrl {
            scheme: Scheme::Http,
            host,
            path,
            query,
        }
    }

    fn key(url: &RequestUrl<'_>) -> CacheKey {
        target(url, &QueryPolicy::default()).unwrap().key
    }

    #[test]
    fn a_key_is_read_from_its_text_and_from_no_other() {
        let url = key(&url("shop.example", "/a/b.jpg", Some("v=3")));
        for key in [url.clone(), url.alternate("00ff-12")] {
            let read = CacheKey::of_url(key.text()).unwrap();
            assert!(read == key, "{key:?}");
            assert_eq!(
                (read.host(), read.path_and_query()),
                (key.host(), key.path_and_query())
            );
            assert_eq!(read.url_name(), url.name());
        }
        for text in [
            "",
            "http://",
            "http:///a",
            "http://h",
            "http://h h/a",
            "ftp://h/a",
            "http://h/\n",
            "variant://00/w_1",
        ] {
            assert!(CacheKey::of_url(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_text_reads_as_the_url_and_has_the_same_name_on_every_node() {
        let key = key(&url("shop.example", "/a/b.jpg", Some("v=3")));
        assert_eq!(key.text(), "http://shop.example/a/b.jpg?v=3");
        assert_eq!(key.host(), "shop.example");
        assert_eq!(key.path_and_query(), "/a/b.jpg?v=3");
        let hash = blake3::hash(key.text().as_bytes());
        assert_eq!(key.name().as_bytes(), &hash.as_bytes()[..16]);
    }

    #[test]
    fn spellings_of_one_url_have_one_key() {
        let plain = key(&url("shop.example", "/a/b~c.jpg", None));
        for (host, path, query) in [
            ("SHOP.example", "/a/b~c.jpg", None),
            ("shop.example:80", "/a/b~c.jpg", None),
            ("shop.example:", "/a/b~c.jpg", Some("")),
            ("shop.example", "/%61/b%7ec.jpg", None),
            ("shop.example", "/x/../a/./b~c.jpg", Some("&&")),
            ("shop.example", "/a/%2E%2e/%2e/a/b~c.jpg", None),
        ] {
            assert_eq!(key(&url(host, path, query)), plain, "{host} {path} {query:?}");
        }
    }

    #[test]
    fn an_alternate_has_a_name_of_its_own_and_the_url_of_the_others() {
        let plain = key(&url("shop.example", "/a/b.jpg", Some("v=3")));
        let alternate = plain.alternate(format_args!("{} {}", 7, "en"));
        assert_eq!(alternate.text(), "http://shop.example/a/b.jpg?v=3 7 en");
        assert_eq!(alternate.name(), KeyName::of(alternate.text()));
        assert_ne!(alternate, plain);
        assert_eq!(plain.url(), plain.text());
        assert_eq!(alternate.url(), plain.text());
        assert_eq!(alternate.host(), "shop.example");
        assert_eq!(alternate.path_and_query(), "/a/b.jpg?v=3");
        assert_eq!(alternate.alternate("x"), plain.alternate("x"));
    }

    #[test]
    fn a_sibling_has_the_scheme_and_host_of_the_url_it_is_named_by() {
        let https = RequestUrl {
            scheme: Scheme::Https,
            ..url("shop.example:8443", "/a/b.jpg", Some("v=3"))
        };
        let asked = key(&https);
        let policy = QueryPolicy::default();
        for (path_and_query, text) in [
            ("/a/b.jpg?v=3", "https://shop.example:8443/a/b.jpg?v=3"),
            ("/%63?y?z", "https://shop.example:8443/c?y?z"),
            ("/c?", "https://shop.example:8443/c"),
            ("/", "https://shop.example:8443/"),
        ] {
            let sibling = asked.sibling(path_and_query, &policy).unwrap();
            assert_eq!(sibling.text(), text);
            assert_eq!(asked.alternate("x").sibling(path_and_query, &policy), Ok(sibling));
        }
        for (scheme, host) in [(Scheme::Http, "[2001:db8::1]"), (Scheme::Https, "a:80")] {
            let asked = key(&RequestUrl {
                scheme,
                ..url(host, "/a", Some("v=3"))
            });
            assert_eq!(asked.sibling("/a?v=3", &policy), Ok(asked));
        }
    }

    #[test]
    fn a_sibling_keeps_of_its_query_what_the_policy_keeps_and_is_refused_as_a_url_is() {
        let asked = key(&url("a", "/", None));
        let policy = QueryPolicy {
            keep: Keep::None,
            ..QueryPolicy::default()
        };
        assert_eq!(asked.sibling("/c?x", &policy), asked.sibling("/c", &policy));
        for (path_and_query, error) in [
            ("", UrlError::RelativePath),
            ("?x", UrlError::RelativePath),
            ("/..", UrlError::AboveRoot),
            ("/a b", UrlError::Delimiter),
            ("/%zz", UrlError::PercentEncoding),
        ] {
            assert_eq!(
                asked.sibling(path_and_query, &policy),
                Err(error),
                "{path_and_query}"
            );
        }
    }

    #[test]
    fn schemes_hosts_and_ports_are_apart() {
        let http = url("shop.example", "/a", None);
        let https = RequestUrl {
            scheme: Scheme::Https,
            ..http
        };
        let texts = [
            http,
            https,
            url("shop.example:8080", "/a", None),
            url("shop.example.", "/a", None),
        ]
        .map(|url| key(&url).text().to_owned());
        let expected = [
            "http://shop.example/a",
            "https://shop.example/a",
            "http://shop.example:8080/a",
            "http://shop.example./a",
        ];
        assert_eq!(texts, expected);
    }

    fn any_query_policy() -> impl Strategy<Value = QueryPolicy> {
        let names = || prop::collection::vec("[a-e]", 0..3);
        let keep = prop_oneof![
            Just(Keep::All),
            Just(Keep::None),
            names().prop_map(Keep::Include),
            names().prop_map(Keep::Exclude),
        ];
        let order = prop_oneof![Just(Order::Sorted), Just(Order::AsGiven)];
        (keep, order, prop::option::of("[a-e]")).prop_map(|(keep, order, version_parameter)| QueryPolicy {
            keep,
            order,
            version_parameter,
        })
    }

    /// Paths that mean something more often than chance would make them.
    const PATH: &str = "/([a-c]|\\.|/|%2[eEfF]|%[46][1-3]|%C3|[|{ü]|//|\\.\\.){0,12}";
    const QUERY: &str = "([a-e]|[a-e]=|=|&|%2[06bB]|%[46][1-3]|\\+|[|\\[ü?/]){0,16}";
    const HOST: &str = "([a-cA-C0-9]{1,3}\\.){0,2}[a-cA-C]{1,3}(:(80|443|8080)?)?";

    fn split(text: &str) -> (&str, Option<&str>) {
        text.split_once('?')
            .map_or((text, None), |(path, query)| (path, Some(query)))
    }

    proptest! {
        #[test]
        fn no_url_makes_normalising_panic(
            host in ".{0,20}", path in ".{0,40}", query in prop::option::of(".{0,40}"), policy in any_query_policy(),
        ) {
            if let Ok(target) = target(&url(&host, &path, query.as_deref()), &policy) {
                prop_assert!(target.key.text().bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }

        #[test]
        fn normalising_a_normalised_url_changes_nothing(
            host in HOST, path in PATH, query in prop::option::of(QUERY), policy in any_query_policy(),
        ) {
            if let Ok(once) = target(&url(&host, &path, query.as_deref()), &policy) {
                let (path, query) = split(once.path_and_query());
                let twice = target(&url(once.key.host(), path, query), &policy);
                prop_assert_eq!(twice, Ok(once));
            }
        }

        #[test]
        fn a_normalised_path_is_the_keys_and_is_borrowed_from_then_on(path in prop_oneof![PATH, ".{0,20}"]) {
            let normal = normalise_path(&path);
            let made = target(&url("a", &path, None), &QueryPolicy::default());
            prop_assert_eq!(made.as_ref().map(Target::path_and_query), normal.as_deref());
            if let Ok(normal) = &normal {
                let again = normalise_path(normal);
                prop_assert!(matches!(again, Ok(Cow::Borrowed(same)) if same == normal));
                prop_assert_eq!(target(&url("a", normal, None), &QueryPolicy::default()), made);
            }
        }

        #[test]
        fn a_text_names_one_scheme_host_and_target(
            hosts in [HOST, HOST], paths in [PATH, PATH], queries in prop::array::uniform2(prop::option::of(QUERY)),
            secure in prop::array::uniform2(any::<bool>()), policy in any_query_policy(),
        ) {
            let made = |at: usize| {
                let scheme = if secure[at] { Scheme::Https } else { Scheme::Http };
                let url = RequestUrl { scheme, ..url(&hosts[at], &paths[at], queries[at].as_deref()) };
                let key = target(&url, &policy).ok()?.key;
                Some((scheme.name(), key.host().to_owned(), key.path_and_query().to_owned(), key))
            };
            if let (Some(one), Some(other)) = (made(0), made(1)) {
                let same_request = (one.0, &one.1, &one.2) == (other.0, &other.1, &other.2);
                prop_assert_eq!(same_request, one.3.text() == other.3.text());
                prop_assert_eq!(same_request, one.3.name() == other.3.name());
            }
        }

        #[test]
        fn no_alternate_has_the_key_of_a_url_or_of_another_alternate(
            paths in [PATH, PATH], queries in prop::array::uniform2(prop::option::of(QUERY)),
            distinctions in prop::array::uniform2("[ -~]{0,4}"), policy in any_query_policy(),
        ) {
            let made = |at: usize| Some(target(&url("a", &paths[at], queries[at].as_deref()), &policy).ok()?.key);
            if let (Some(one), Some(other)) = (made(0), made(1)) {
                let alternates = [one.alternate(&distinctions[0]), other.alternate(&distinctions[1])];
                prop_assert!(alternates.iter().all(|alternate| *alternate != one && *alternate != other));
                let same = one == other && distinctions[0] == distinctions[1];
                prop_assert_eq!(alternates[0].text() == alternates[1].text(), same);
                prop_assert_eq!(one.sibling(other.path_and_query(), &policy), Ok(other));
            }
        }

        #[test]
        fn urls_without_a_special_byte_are_told_apart(
            one in "/[a-z0-9/]{0,6}", other in "/[a-z0-9/]{0,6}", query in "[a-z]{0,3}(=[a-z]{0,2})?",
        ) {
            let queried = key(&url("a", &one, Some(&query)));
            prop_assert_eq!(queried == key(&url("a", &other, Some(&query))), one == other);
            prop_assert_eq!(queried == key(&url("a", &one, None)), query.is_empty());
        }

        #[test]
        fn what_is_left_has_no_dot_segment_and_no_encoded_unreserved_byte(path in PATH) {
            if let Ok(target) = target(&url("a", &path, None), &QueryPolicy::default()) {
                let normal = target.path_and_query();
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!normal.contains("%61") && !normal.contains("%2E") && !normal.contains("%2e"));
            }
        }
    }
}
