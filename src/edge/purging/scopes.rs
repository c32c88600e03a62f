//! From what a caller names to what a purge covers: by the routes, all of it or nothing.
//!
//! Invariant: an order with one target that leads nowhere is refused, with that target named, so that nobody believes
//! something purged that is not. It does not know who asks.

use crate::purge::request::Target;
use crate::scope::Scope;
use crate::serve::Engine;
use crate::serve::purging::{Estimate, Reach, ScopeError};
use std::collections::HashSet;
use std::fmt;

/// Targets of which a refusal says what is wrong with them.
const TOLD_MAX: usize = 5;

/// Characters of such a target shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Where URLs lead, and what is stored there.
pub(crate) trait Places: Send + Sync {
    /// What a target covers.
    fn scope(&self, target: &Target) -> Result<Scope, ScopeError>;

    /// What a purge would hit. Blocking.
    fn estimate(&self, scopes: &[Scope]) -> Estimate;
}

impl Places for Engine {
    fn scope(&self, target: &Target) -> Result<Scope, ScopeError> {
        match target {
            Target::Url(url) => self.purge_scope(url, Reach::Every),
            Target::Exact(url) => self.purge_scope(url, Reach::Exact),
            Target::Prefix(prefix) => self.prefix_scope(prefix),
            Target::Host(host) => self.host_scope(host),
            Target::Tag(tag) => Ok(Scope::tag(tag)),
            Target::Everything => Ok(Scope::All),
        }
    }

    fn estimate(&self, scopes: &[Scope]) -> Estimate {
        Engine::estimate(self, scopes)
    }
}

/// Targets that lead nowhere.
#[derive(Debug)]
pub(crate) struct Unresolved {
    /// The first of them.
    told: Vec<(String, ScopeError)>,
    count: usize,
    pub(super) gravity: Gravity,
}

/// The worst of what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    /// It is a URL, and none of this edge's.
    Foreign,
    /// It is more than is understood.
    Unsupported,
    /// It is no URL.
    Malformed,
}

impl Gravity {
    fn of(error: &ScopeError) -> Self {
        match error {
            ScopeError::Malformed(_) | ScopeError::Url(_) => Gravity::Malformed,
            ScopeError::Wildcard => Gravity::Unsupported,
            ScopeError::NoRoute | ScopeError::Reserved => Gravity::Foreign,
        }
    }
}

/// What the targets cover, each scope once.
pub(super) fn resolve(targets: &[Target], places: &dyn Places) -> Result<Vec<Scope>, Unresolved> {
    let (mut scopes, mut seen) = (Vec::with_capacity(targets.len()), HashSet::new());
    let mut unresolved: Option<Unresolved> = None;
    for target in targets {
        match places.scope(target) {
            Ok(scope) if seen.insert(scope.name()) => scopes.push(scope),
            Ok(_) => {}
            Err(error) => unresolved = Some(Unresolved::with(unresolved, target, error)),
        }
    }
    match unresolved {
        Some(unresolved) => Err(unresolved),
        None => Ok(scopes),
    }
}

impl Unresolved {
    fn with(before: Option<Self>, target: &Target, error: ScopeError) -> Self {
        let gravity = Gravity::of(&error);
        let mut all = before.unwrap_or(Unresolved {
            told: Vec::new(),
            count: 0,
            gravity,
        });
        all.count += 1;
        all.gravity = all.gravity.max(gravity);
        if all.told.len() < TOLD_MAX {
            let shown = target.text().chars().take(SHOWN_CHARS_MAX).collect();
            all.told.push((shown, error));
        }
        all
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (target, error) in &self.told {
            write!(f, "{target:?}: {error}; ")?;
        }
        if self.count > self.told.len() {
            write!(f, "and {} more; ", self.count - self.told.len())?;
        }
        f.write_str("nothing was purged")
    }
}
