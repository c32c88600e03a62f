//! The URLs there are, which version of each the origin holds, and which was acknowledged last.
//!
//! Invariant: `acknowledged` is raised only by a receipt that says the purge is applied, to the version that the origin held
//! when that purge was submitted. What a purge covers is written out here once more, and owes nothing to the edge's
//! code. It does not know how anything is asked.

use crate::history::History;
use crate::random::mixed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const HOSTS: usize = 4;
const DIRECTORIES: usize = 6;
const SUBDIRECTORIES: usize = 4;
pub(crate) const TAGS: usize = 24;

/// A URL is read in some spans of this length and left alone in others, longer than an entry may live unasked for.
const SPAN: Duration = Duration::from_millis(700);

/// How long the origin says a response may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Long,
    /// Long, and then served stale while it is asked for again, or when the origin fails.
    LongThenStale,
    /// One second, and then as above.
    ShortThenStale,
    /// To be asked for each time.
    Revalidated,
}

/// How entity tags follow versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntityTags {
    OfVersion,
    /// One for all versions: the origin confirms what is not so. Only hard purges help, and only they acknowledge.
    Fixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagHeader {
    SurrogateKey,
    CacheTag,
}

#[derive(Debug)]
pub(crate) struct Url {
    pub(crate) number: usize,
    pub(crate) host: String,
    /// Of the path's directories.
    pub(crate) directory: usize,
    pub(crate) subdirectory: usize,
    pub(crate) path: String,
    /// With its query.
    pub(crate) target: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) entity_tags: EntityTags,
    /// Answers vary by `x-variant`.
    pub(crate) varies: bool,
    pub(crate) tags: Option<(TagHeader, [usize; 2])>,
    /// Of the bitmap.
    pub(crate) side: u32,
    /// Stands in the bitmap; URLs without one share equal bytes.
    pub(crate) owner: u32,
}

#[derive(Default)]
pub(crate) struct Versions {
    current: AtomicU64,
    acknowledged: AtomicU64,
    pub(crate) history: History,
}

pub(crate) struct World {
    pub(crate) urls: Vec<Url>,
    versions: Vec<Versions>,
    by_place: HashMap<(String, String), usize>,
    seed: u64,
}

/// What one purge covers, in the checker's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// By a URL's number: its path, with every query.
    Url(usize),
    Exact(usize),
    Prefix {
        host: usize,
        directory: usize,
        subdirectory: Option<usize>,
    },
    Tag(usize),
    Host(usize),
    All,
}

impl Url {
    /// Every kind of URL comes up again after a few, on every host and in every directory.
    fn numbered(number: usize) -> Url {
        // Every eighth is the one before with a query: other bytes at the same path.
        let (base, query) = match number % 8 {
            7 if number % 16 == 7 => (number - 1, "?k=1"),
            7 => (number - 1, "?v=1"),
            _ => (number, ""),
        };
        let (directory, subdirectory) = (base / HOSTS % DIRECTORIES, base / 7 % SUBDIRECTORIES);
        let forwarded = if base % 10 == 4 { "/forward" } else { "" };
        let path = format!("{forwarded}/d{directory}/e{subdirectory}/u{base}.bmp");
        let lifetime = match number % 5 {
            // A URL with a version is taken for immutable, whatever is said of it.
            1 if query.is_empty() => Lifetime::ShortThenStale,
            2 => Lifetime::LongThenStale,
            4 if number.is_multiple_of(3) => Lifetime::Revalidated,
            _ => Lifetime::Long,
        };
        let lies = number % 9 == 5 && forwarded.is_empty();
        let header = [TagHeader::SurrogateKey, TagHeader::CacheTag][number % 2];
        Url {
            number,
            host: host(base % HOSTS),
            directory,
            subdirectory,
            target: format!("{path}{query}"),
            path,
            lifetime,
            entity_tags: if lies {
                EntityTags::Fixed
            } else {
                EntityTags::OfVersion
            },
            varies: number % 6 == 3,
            tags: (!number.is_multiple_of(3)).then_some((header, [number % TAGS, number / 5 % TAGS])),
            side: if number % 97 == 20 { 640 } else { 16 },
            owner: if number.is_multiple_of(2) {
                number as u32 + 1
            } else {
                0
            },
        }
    }

    /// The entity tag of a version, of one alternate where they differ.
    pub(crate) fn entity_tag(&self, version: u64, alternate: &str) -> String {
        match self.entity_tags {
            EntityTags::OfVersion => format!("\"u{}-v{version}{alternate}\"", self.number),
            EntityTags::Fixed => format!("\"u{}{alternate}\"", self.number),
        }
    }
}

pub(crate) fn host(number: usize) -> String {
    format!("h{number}.shop.test")
}

pub(crate) fn tag(number: usize) -> String {
    format!("Tag-{number}")
}

impl Scope {
    fn covers(&self, url: &Url, urls: &[Url]) -> bool {
        match *self {
            Scope::Url(of) => url.path == urls[of].path && url.host == urls[of].host,
            Scope::Exact(of) => url.number == of,
            Scope::Prefix {
                host: of,
                directory,
                subdirectory,
            } => {
                url.host == host(of)
                    && !url.path.starts_with("/forward")
                    && url.directory == directory
                    && subdirectory.is_none_or(|of| url.subdirectory == of)
            }
            Scope::Tag(of) => url.tags.is_some_and(|(_, tags)| tags.contains(&of)),
            Scope::Host(of) => url.host == host(of),
            Scope::All => true,
        }
    }
}

impl World {
    pub(crate) fn new(urls: usize, seed: u64) -> World {
        let urls: Vec<_> = (0..urls).map(Url::numbered).collect();
        let places = urls
            .iter()
            .map(|url| ((url.host.clone(), url.target.clone()), url.number));
        World {
            by_place: places.collect(),
            versions: urls.iter().map(|_| Versions::default()).collect(),
            urls,
            seed,
        }
    }

    pub(crate) fn at(&self, host: &str, target: &str) -> Option<&Url> {
        let number = self.by_place.get(&(host.to_owned(), target.to_owned()))?;
        Some(&self.urls[*number])
    }

    pub(crate) fn history(&self, url: usize) -> &History {
        &self.versions[url].history
    }

    /// What the origin answers now; the first version is 1.
    pub(crate) fn current(&self, url: usize) -> u64 {
        self.versions[url].current.load(Ordering::SeqCst) + 1
    }

    pub(crate) fn acknowledged(&self, url: usize) -> u64 {
        self.versions[url].acknowledged.load(Ordering::SeqCst)
    }

    /// The origin has another image from here on.
    pub(crate) fn change(&self, url: usize) {
        self.versions[url].current.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn acknowledge(&self, url: usize, version: u64) {
        self.versions[url]
            .acknowledged
            .fetch_max(version, Ordering::SeqCst);
    }

    pub(crate) fn covered(&self, scopes: &[Scope]) -> Vec<usize> {
        let covered = self
            .urls
            .iter()
            .filter(|url| scopes.iter().any(|scope| scope.covers(url, &self.urls)));
        covered.map(|url| url.number).collect()
    }

    /// Whether a URL is read at all for the time being: what nobody asks for grows old, and leaves memory for the SSD.
    pub(crate) fn is_awake(&self, url: usize, since_start: Duration) -> bool {
        let span = since_start.as_millis() / SPAN.as_millis();
        mixed(self.seed ^ mixed(url as u64 + 1) ^ (span as u64) << 32).is_multiple_of(4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_covers_urls_and_none_but_all_covers_every() {
        let world = World::new(480, 1);
        let prefix = |subdirectory| Scope::Prefix {
            host: 1,
            directory: 2,
            subdirectory,
        };
        let scopes = [
            Scope::Url(6),
            Scope::Exact(6),
            prefix(None),
            prefix(Some(1)),
            Scope::Tag(5),
            Scope::Host(3),
        ];
        for scope in scopes {
            let covered = world.covered(std::slice::from_ref(&scope)).len();
            assert!((1..200).contains(&covered), "{scope:?} covers {covered}");
        }
        assert_eq!(world.covered(&[Scope::All]).len(), 480);
        assert_eq!(world.covered(&[Scope::Url(6)]), [6, 7]);
        assert_eq!(world.covered(&[Scope::Exact(6)]), [6]);
        assert_eq!(world.covered(&[Scope::Exact(1), Scope::Url(15)]), [1, 14, 15]);
    }

    #[test]
    fn urls_of_every_kind_are_there() {
        let world = World::new(480, 1);
        let some = |suits: fn(&Url) -> bool| world.urls.iter().filter(|url| suits(url)).count();
        assert!(some(|url| url.varies) > 20);
        assert!(
            some(|url| url.entity_tags == EntityTags::Fixed && url.lifetime != Lifetime::Revalidated) > 20
        );
        assert!(some(|url| url.side > 16) > 2);
        assert!(some(|url| url.lifetime == Lifetime::Revalidated) > 10);
        assert!(some(|url| url.path.starts_with("/forward")) > 20);
        assert_eq!(world.by_place.len(), 480, "no two have one place");
    }
}
