//! One response as a client saw it, whatever protocol brought it.

use std::collections::BTreeMap;
use std::fmt;

/// Header names are in lower case, in the order they came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header that has to be there.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.header(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.header(name).is_some()
    }

    pub(crate) fn cache_status(&self) -> CacheStatus {
        CacheStatus::parse(self.said("cache-status"))
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.cache_status().is_hit()
    }

    /// Asserts status and bytes, and shows the header when they are wrong.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, body: &[u8]) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert!(
            self.body == body,
            "{} other bytes than the {} expected in {self:?}",
            self.body.len(),
            body.len()
        );
        self
    }

    #[track_caller]
    pub(crate) fn expect_hit(&self, body: &[u8]) -> &Self {
        self.expect(200, body);
        assert!(self.is_hit(), "no hit: {self:?}");
        self
    }

    /// Fetched, whatever the reason is said to be.
    #[track_caller]
    pub(crate) fn expect_fetched(&self, body: &[u8]) -> &Self {
        self.expect(200, body);
        assert!(self.cache_status().forwarded().is_some(), "not fetched: {self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn expect_miss(&self, body: &[u8]) -> &Self {
        self.expect(200, body);
        assert_eq!(
            self.cache_status().forwarded(),
            Some("uri-miss"),
            "no miss: {self:?}"
        );
        self
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())?;
        self.headers
            .iter()
            .try_for_each(|(name, value)| write!(f, "\n  {name}: {value}"))?;
        let start = &self.body[..self.body.len().min(120)];
        write!(f, "\n  {:?}", String::from_utf8_lossy(start))
    }
}

/// RFC 9211, one member: the cache's name and its parameters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    pub(crate) cache: String,
    parameters: BTreeMap<String, Option<String>>,
}

impl CacheStatus {
    fn parse(text: &str) -> CacheStatus {
        let mut parts = text.split(';').map(str::trim);
        let cache = parts.next().unwrap_or_default().to_owned();
        let parameters = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        });
        CacheStatus {
            cache,
            parameters: parameters.collect(),
        }
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.has("hit")
    }

    pub(crate) fn has(&self, parameter: &str) -> bool {
        self.parameters.contains_key(parameter)
    }

    pub(crate) fn forwarded(&self) -> Option<&str> {
        self.value("fwd")
    }

    pub(crate) fn value(&self, parameter: &str) -> Option<&str> {
        self.parameters.get(parameter)?.as_deref()
    }

    /// Seconds of freshness left; negative when stale.
    pub(crate) fn ttl(&self) -> i64 {
        let ttl = self.value("ttl").unwrap_or_else(|| panic!("no ttl in {self:?}"));
        ttl.parse().unwrap_or_else(|_| panic!("no number in {self:?}"))
    }

    /// Whether what was served was stored and no longer fresh, in either of the spellings RFC 9211 knows.
    pub(crate) fn is_stale(&self) -> bool {
        self.forwarded() == Some("stale") || self.is_hit() && self.ttl() < 0
    }
}
