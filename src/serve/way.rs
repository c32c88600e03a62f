//! Where a URL leads: to a route, to a source of it, and to what is to be made of that.
//!
//! Invariant: whoever writes an alias or leaves the parameters out gets to one and the same source. It does not know what
//! is stored.

use super::Request;
use super::route::{Route, Routes};
use super::served::ServeError;
use crate::spec::{self, Negotiated, Taken};
use std::borrow::Cow;
use std::sync::Arc;

/// Below this path the edge speaks for itself.
const RESERVED: &str = "/.aquatint/";

pub(super) fn is_reserved(path: &str) -> bool {
    path.starts_with(RESERVED)
}

/// Where a path leads: to a route, and to a source of it.
pub(super) struct Way<'a> {
    pub(super) route: &'a Arc<Route>,
    pub(super) path: Cow<'a, str>,
    /// The parameters that the path names, where it is the alias of another.
    pub(super) options: Option<String>,
}

/// What a URL is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Change,
}

impl<'a> Way<'a> {
    /// The path of an alias is its source's, where the source's route makes variants and the URL is only read.
    pub(super) fn find(
        routes: &'a Routes,
        host: &str,
        path: Cow<'a, str>,
        purpose: Purpose,
    ) -> Result<Self, ServeError> {
        if is_reserved(&path) {
            return Err(ServeError::Reserved);
        }
        let plain = || routes.find(host, &path).ok_or(ServeError::NoRoute);
        let alias = match spec::alias(&path) {
            _ if purpose == Purpose::Change => None,
            Ok(alias) => alias,
            Err(error) if plain()?.transform.is_some() => return Err(error.into()),
            Err(_) => None,
        };
        if let Some(alias) = alias
            && let Some(route) = routes.find(host, alias.source)
            && route.transform.is_some()
        {
            if is_reserved(alias.source) {
                return Err(ServeError::Reserved);
            }
            return Ok(Way {
                route,
                options: Some(alias.options.to_owned()),
                path: Cow::Owned(alias.source.to_owned()),
            });
        }
        Ok(Way {
            route: plain()?,
            path,
            options: None,
        })
    }
}

/// Takes the transform parameters out, where the route makes variants. A request that changes something is about the
/// source: it asks for no variant, whatever its parameters are.
pub(super) fn take<'a>(
    request: &Request<'a>,
    route: &Route,
    options: Option<&str>,
) -> Result<Taken<'a>, ServeError> {
    let plain = |query| Taken {
        query,
        wish: None,
        negotiated: Negotiated::default(),
        download: None,
    };
    match &route.transform {
        Some(policy) if request.reads() => Ok(spec::take(policy, options, request.query, request.headers)?),
        Some(policy) => Ok(plain(spec::rest(policy, request.query))),
        None => Ok(plain(request.query.map(Cow::Borrowed))),
    }
}
