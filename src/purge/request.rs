//! An order of a purge as its caller writes it: JSON in the names of the CDNs that callers know, or one URL.
//!
//! Invariant: what is accepted says one thing. Fields that are unknown, that contradict each other or that would do
//! nothing are refused: a purge that silently does less than its caller meant is worse than none. It does not know which
//! URLs there are, nor who asks.

mod written;

use super::config::Permission;
use super::order::{Minimum, Mode};
use std::collections::BTreeSet;

/// Of one tag, as `routes[].tags.bytes_max` is by default: a response with a longer one is not stored.
const TAG_BYTES_MAX: usize = 1024;

/// Of a URL, a prefix or a host: a path as long as `edge.url_bytes_max` is by default, with a scheme and a host before it.
const URL_BYTES_MAX: usize = 8 * 1024 + 512;

/// What an order asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeRequest {
    /// In the caller's order, each once.
    pub targets: Vec<Target>,
    pub mode: Mode,
    pub minimum: Option<Minimum>,
    pub purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Purge,
    /// Only to tell what a purge would hit.
    DryRun,
}

/// What is to be purged, in the caller's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// With all variants, versions and queries.
    Url(String),
    /// This query of it alone.
    Exact(String),
    /// With a slash at its end where it was written as a wildcard.
    Prefix(String),
    Tag(String),
    Host(String),
    Everything,
}

/// How much of a URL a caller names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its path with every query.
    Every,
    /// Its path and query alone.
    Exact,
}

/// Why a text is no order; nothing was purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("{0}; nothing was purged")]
    Malformed(String),
    #[error("the order names nothing to purge; nothing was purged")]
    Empty,
    #[error("{field} {cause}; nothing was purged")]
    Field {
        field: &'static str,
        cause: &'static str,
    },
    #[error("{field} holds one of {length} bytes, more than {allowed}; nothing was purged")]
    TooLong {
        field: &'static str,
        length: usize,
        allowed: usize,
    },
    #[error(
        "{0:?} has a wildcard; only one at the end of a path, after a slash, is understood, as a prefix; nothing was purged"
    )]
    Wildcard(String),
    #[error("the event's type is {0:?}, where only \"purge\" is known; nothing was purged")]
    EventType(String),
}

impl PurgeRequest {
    /// From the body of a call of the API.
    ///
    /// # Errors
    /// When it is no order.
    pub fn of_body(body: &[u8]) -> Result<Self, RequestError> {
        written::order(body)?.understood()
    }

    /// From the body of a webhook.
    ///
    /// # Errors
    /// When it is no event that orders a purge.
    pub fn of_event(body: &[u8]) -> Result<Self, RequestError> {
        written::event(body)?.understood()
    }

    /// Of one URL.
    ///
    /// # Errors
    /// When it is a wildcard that is not understood.
    pub fn of_url(url: &str, reach: Reach, mode: Mode) -> Result<Self, RequestError> {
        Ok(PurgeRequest {
            targets: vec![Target::file(url, reach)?],
            mode,
            minimum: None,
            purpose: Purpose::Purge,
        })
    }

    /// What a caller has to be allowed to order it.
    pub fn needs(&self) -> impl Iterator<Item = Permission> {
        let needed: BTreeSet<_> = self.targets.iter().map(Target::needs).collect();
        needed.into_iter()
    }
}

impl Target {
    fn file(url: &str, reach: Reach) -> Result<Self, RequestError> {
        no_longer("files", url, URL_BYTES_MAX)?;
        match (without_wildcard(url)?, reach) {
            (Some(_), Reach::Exact) => Err(RequestError::Field {
                field: "exact",
                cause: "contradicts a wildcard",
            }),
            (Some(prefix), Reach::Every) => Ok(Target::Prefix(prefix.to_owned())),
            (None, Reach::Every) => Ok(Target::Url(url.to_owned())),
            (None, Reach::Exact) => Ok(Target::Exact(url.to_owned())),
        }
    }

    fn prefix(text: &str) -> Result<Self, RequestError> {
        no_longer("prefixes", text, URL_BYTES_MAX)?;
        let prefix = without_wildcard(text)?.unwrap_or(text);
        Ok(Target::Prefix(prefix.to_owned()))
    }

    /// A star in it is a star: tags have no order of which a wildcard could name a part.
    fn tag(text: &str) -> Result<Self, RequestError> {
        let tag = text.trim_ascii();
        if tag.is_empty() || tag.chars().any(char::is_control) {
            return Err(RequestError::Field {
                field: "tags",
                cause: "holds one that is empty or has control characters",
            });
        }
        no_longer("tags", tag, TAG_BYTES_MAX)?;
        Ok(Target::Tag(tag.to_owned()))
    }

    fn host(text: &str) -> Result<Self, RequestError> {
        no_longer("hosts", text, URL_BYTES_MAX)?;
        no_wildcard(text)?;
        Ok(Target::Host(text.to_owned()))
    }

    fn needs(&self) -> Permission {
        match self {
            Target::Url(_) | Target::Exact(_) => Permission::Url,
            Target::Tag(_) => Permission::Tag,
            Target::Prefix(_) | Target::Host(_) => Permission::Prefix,
            Target::Everything => Permission::All,
        }
    }

    /// Whether it names one query of a path, and means all.
    fn is_every_query_of_one(&self) -> bool {
        match self {
            Target::Url(url) => url.split('#').next().unwrap_or_default().contains('?'),
            _ => false,
        }
    }

    /// As its caller wrote it.
    pub fn text(&self) -> &str {
        match self {
            Target::Url(text)
            | Target::Exact(text)
            | Target::Prefix(text)
            | Target::Tag(text)
            | Target::Host(text) => text,
            Target::Everything => "everything",
        }
    }
}

/// The prefix that `/a/*` names, `/a/`; `None` of what has no wildcard.
fn without_wildcard(text: &str) -> Result<Option<&str>, RequestError> {
    let Some(prefix) = text.strip_suffix('*').filter(|prefix| prefix.ends_with('/')) else {
        return no_wildcard(text).map(|()| None);
    };
    // Of `https://*` no host would be left.
    if prefix.contains(['*', '?']) || prefix.ends_with("//") {
        return Err(RequestError::Wildcard(text.to_owned()));
    }
    Ok(Some(prefix))
}

fn no_longer(field: &'static str, text: &str, allowed: usize) -> Result<(), RequestError> {
    match text.len() {
        length if length > allowed => Err(RequestError::TooLong {
            field,
            length,
            allowed,
        }),
        _ => Ok(()),
    }
}

fn no_wildcard(text: &str) -> Result<(), RequestError> {
    match text.contains('*') {
        true => Err(RequestError::Wildcard(text.to_owned())),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
