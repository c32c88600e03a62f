//! What a purge covers, and by which names an entry is found covered.
//!
//! A scope's name is a hash of 61 bits and its kind: tables hold names alone. Two scopes of one name purge each other's
//! images, which costs requests to the origin and never a wrong answer. Invariants: every spelling of one scope has one
//! name, the same on every node; neither scheme nor port tells URLs apart here, because a purge that covers too little
//! serves what is gone. It does not know purges, nor what is stored.

mod place;
mod tags;

pub use place::Place;
pub use tags::{TagError, TagLimits, Tags, names_tags, tag_headers};

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a purge covers. Hosts have no port, paths are normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// A path with every query: all variants, formats, alternates and version strings.
    Url {
        host: String,
        path: String,
    },
    /// One path and query, with all its variants, formats and alternates.
    Exact {
        host: String,
        path_and_query: String,
    },
    /// A path and all paths below it, segment by segment: `/a` covers `/a/b` and not `/ab`.
    Prefix {
        host: String,
        path: String,
    },
    /// Responses that the origin marked with it.
    Tag(String),
    Host(String),
    All,
}

/// The kind of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Url,
    Exact,
    Prefix,
    Tag,
    Host,
    All,
}

/// A scope's name: 61 bits of BLAKE3 of its text, above the kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScopeName(u64);

impl Scope {
    /// Of a host with or without its port, and a path.
    pub fn url(host: &str, path: &str) -> Self {
        Scope::Url {
            host: place::host_name(host),
            path: path.to_owned(),
        }
    }

    pub fn exact(host: &str, path_and_query: &str) -> Self {
        Scope::Exact {
            host: place::host_name(host),
            path_and_query: path_and_query.to_owned(),
        }
    }

    /// `path` with or without a slash at its end.
    pub fn prefix(host: &str, path: &str) -> Self {
        Scope::Prefix {
            host: place::host_name(host),
            path: path.trim_end_matches('/').to_owned(),
        }
    }

    pub fn host(host: &str) -> Self {
        Scope::Host(place::host_name(host))
    }

    /// Tags differ in more than their case, and in more than the spaces and tabs around them.
    pub fn tag(tag: &str) -> Self {
        Scope::Tag(tag.trim_ascii().to_ascii_lowercase())
    }

    pub fn kind(&self) -> Kind {
        match self {
            Scope::Url { .. } => Kind::Url,
            Scope::Exact { .. } => Kind::Exact,
            Scope::Prefix { .. } => Kind::Prefix,
            Scope::Tag(_) => Kind::Tag,
            Scope::Host(_) => Kind::Host,
            Scope::All => Kind::All,
        }
    }

    /// How many segments of a path have to be looked at to find it; none but for a prefix.
    pub fn depth(&self) -> usize {
        match self {
            Scope::Prefix { path, .. } => place::depth(path),
            _ => 0,
        }
    }

    pub fn name(&self) -> ScopeName {
        match self {
            Scope::Url { host, path } => ScopeName::of(Kind::Url, host, path),
            Scope::Exact { host, path_and_query } => ScopeName::of(Kind::Exact, host, path_and_query),
            Scope::Prefix { host, path } => ScopeName::of(Kind::Prefix, host, path),
            Scope::Tag(tag) => ScopeName::of(Kind::Tag, "", tag),
            Scope::Host(host) => ScopeName::of(Kind::Host, host, ""),
            Scope::All => ScopeName::of(Kind::All, "", ""),
        }
    }
}

impl ScopeName {
    const KIND_BITS: u32 = 3;

    /// No host holds a zero byte, so that no other pair has the same text.
    fn of(kind: Kind, host: &str, rest: &str) -> Self {
        let mut hasher = ScopeName::hasher(host);
        hasher.update(rest.as_bytes());
        ScopeName::from_hash(kind, &hasher.finalize())
    }

    fn hasher(host: &str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(host.as_bytes());
        hasher.update(&[0]);
        hasher
    }

    fn from_hash(kind: Kind, hash: &blake3::Hash) -> Self {
        let number = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes hold 8"));
        ScopeName(number << Self::KIND_BITS | kind as u64)
    }

    /// As it is stored; what [`ScopeName::number`] gave.
    pub const fn from_number(number: u64) -> Self {
        ScopeName(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    /// `None`: no scope has this name.
    pub fn kind(self) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u64 == self.0 & 7)
    }
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Url,
        Kind::Exact,
        Kind::Prefix,
        Kind::Tag,
        Kind::Host,
        Kind::All,
    ];
}

impl fmt::Debug for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{:016x}", self.kind(), self.0 >> Self::KIND_BITS)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Url { host, path } => write!(f, "url {host}{path}"),
            Scope::Exact { host, path_and_query } => write!(f, "exact url {host}{path_and_query}"),
            Scope::Prefix { host, path } => write!(f, "prefix {host}{path}/"),
            Scope::Tag(tag) => write!(f, "tag {tag}"),
            Scope::Host(host) => write!(f, "host {host}"),
            Scope::All => f.write_str("everything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_scope_have_one_name() {
        assert_eq!(Scope::tag("Summer-Sale").name(), Scope::tag("SUMMER-sale").name());
        assert_eq!(
            Scope::url("Shop.Example:8443", "/a").name(),
            Scope::url("shop.example", "/a").name()
        );
        assert_eq!(
            Scope::prefix("shop.example", "/a/").name(),
            Scope::prefix("shop.example.", "/a").name()
        );
    }

    #[test]
    fn scopes_of_other_kinds_or_places_have_other_names() {
        let scopes = [
            Scope::url("a", "/b"),
            Scope::url("a", "/b/"),
            Scope::exact("a", "/b"),
            Scope::exact("a", "/b?c"),
            Scope::prefix("a", "/b"),
            Scope::prefix("a", ""),
            Scope::host("a"),
            Scope::tag("a"),
            Scope::All,
        ];
        let names: std::collections::HashSet<_> = scopes.iter().map(Scope::name).collect();
        assert_eq!(names.len(), scopes.len());
        for scope in scopes {
            assert_eq!(scope.name().kind(), Some(scope.kind()), "{scope}");
        }
    }

    /// A name is part of snapshots, and compared between nodes.
    #[test]
    fn names_stay_what_they_are() {
        assert_eq!(Scope::All.name().number() & 7, 5);
        assert_eq!(
            Scope::tag("sale").name().number() >> 3,
            u64::from_le_bytes(blake3::hash(b"\0sale").as_bytes()[..8].try_into().unwrap()) << 3 >> 3
        );
    }
}
