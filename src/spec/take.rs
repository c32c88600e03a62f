//! From a URL to its source and what is to be made of it.
//!
//! Invariant: a request without parameters, on a route without defaults, costs one look at its query and no
//! allocation. It does not know keys: the query it leaves is as the client sent it.

use super::ask::Ask;
use super::config::Invalid;
use super::read::{Reader, has_parameters};
use super::{Download, Negotiated, Policy, SpecError, Wish};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

const PREFIX: &str = "/cdn-cgi/image/";
const SOURCE: &str = "a path of this host behind the options: /cdn-cgi/image/w=300/a.jpg";

/// `/cdn-cgi/image/<options>/<source>` taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias<'a> {
    pub options: &'a str,
    /// With its leading slash.
    pub source: &'a str,
}

/// A URL without its parameters, and what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<'a> {
    /// The source's own query.
    pub query: Option<Cow<'a, str>>,
    /// `None`: the source as it is.
    pub wish: Option<Wish>,
    pub negotiated: Negotiated,
    pub download: Option<Download>,
}

/// `None` where the path is none of the alias. `path` is normalised.
///
/// # Errors
/// Where the source is missing or a URL of its own: images of other hosts are not fetched for anybody who asks.
pub fn alias(path: &str) -> Result<Option<Alias<'_>>, SpecError> {
    let Some(rest) = path.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let (options, source) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if source.len() < 2 || is_absolute(&source[1..]) {
        return Err(SpecError::value("source", source, SOURCE));
    }
    Ok(Some(Alias { options, source }))
}

/// Takes a route's transform parameters out of a query, or an alias's options. What the query says wins over the
/// options, these over a preset, that over the route's defaults.
///
/// # Errors
/// Where a parameter's value is none it can have, and the route does not drop such.
pub fn take<'a>(
    policy: &Policy,
    options: Option<&str>,
    query: Option<&'a str>,
    headers: &HeaderMap,
) -> Result<Taken<'a>, SpecError> {
    let ours = query.filter(|query| has_parameters(query));
    if ours.is_none() && options.is_none() && !policy.has_defaults() {
        return Ok(untouched(query));
    }
    let reader = policy.reader();
    let (own, rest) = match ours {
        Some(query) => {
            let read = reader.query(query)?;
            (read.ask, read.rest.map(Cow::Owned))
        }
        None => (Ask::default(), query.map(Cow::Borrowed)),
    };
    let under = options.map(|options| reader.options(options)).transpose()?;
    let own = under.iter().fold(own, Ask::over);
    let ask = policy.complete(own);
    let (wish, negotiated) = policy.wish(&ask, headers);
    Ok(Taken {
        query: rest,
        wish,
        negotiated,
        download: ask.download.flatten(),
    })
}

/// A query without its transform parameters, whatever they say.
pub fn rest<'a>(policy: &Policy, query: Option<&'a str>) -> Option<Cow<'a, str>> {
    let query = query?;
    let reader = Reader {
        invalid: Invalid::Drop,
        ..policy.reader()
    };
    match reader.query(query) {
        Ok(read) if has_parameters(query) => read.rest.map(Cow::Owned),
        _ => Some(Cow::Borrowed(query)),
    }
}

fn untouched(query: Option<&str>) -> Taken<'_> {
    Taken {
        query: query.map(Cow::Borrowed),
        wish: None,
        negotiated: Negotiated::default(),
        download: None,
    }
}

/// `//host/..`, `http:..` and `https:..`, however they are encoded.
fn is_absolute(source: &str) -> bool {
    let first: Vec<u8> = percent_decode_str(source).take("https:".len()).collect();
    let begins = |with: &str| {
        first
            .get(..with.len())
            .is_some_and(|f| f.eq_ignore_ascii_case(with.as_bytes()))
    };
    ["/", "http:", "https:"].into_iter().any(begins)
}
