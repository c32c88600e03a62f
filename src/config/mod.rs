//! The configuration of a node: the modules' own `Config` types side by side, and what must hold between them.
//!
//! A module knows what its own values may be; only here is it known that a route names an origin, that
//! listeners do not collide and which files have to exist. Either a [`Config`] comes out in which all of that
//! holds, or every problem at once. Nothing is created, opened for writing or listened on.

mod agreement;
mod doubts;
mod log;
mod overrides;
mod read;
mod source;

pub use log::{Log, LogFilter, LogFormat};
pub use overrides::Overrides;
pub use source::{Source, differences};

use crate::base::problem::{Problem, Problems};
use crate::{cluster, edge, purge, serve, store, trace, upstream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub edge: edge::config::Config,
    pub admin: edge::config::Admin,
    pub store: store::config::Config,
    pub purge: purge::config::Config,
    pub cluster: cluster::config::Config,
    pub serve: serve::config::Config,
    pub log: Log,
    pub tracing: trace::config::Config,
    /// By name; a route says which one it asks.
    pub origins: BTreeMap<String, upstream::config::Config>,
    /// At least one.
    pub routes: Vec<serve::config::Route>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            edge: Default::default(),
            admin: Default::default(),
            store: Default::default(),
            purge: Default::default(),
            cluster: Default::default(),
            serve: Default::default(),
            log: Default::default(),
            tracing: Default::default(),
            origins: BTreeMap::new(),
            routes: vec![serve::config::Route::default()],
        }
    }
}

/// Why there is no configuration. Its display is one line for each problem, `SOURCE: KEY: VALUE: allowed ALLOWED`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot be read: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: std::io::Error },
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
}

/// One problem and where its value came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub written: Written,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    File(PathBuf),
    /// A flag of the command line, `--listen`.
    Flag(&'static str),
    /// Neither file nor flag said anything.
    Default,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::File(file) => file.display().fmt(f),
            Written::Flag(flag) => f.write_str(flag),
            Written::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Here, because a secret may have been written where a key or a name belongs.
        let Problem { key, value, allowed } = &self.problem;
        let [key, value, allowed] = [key, value, allowed].map(|text| read::without_secrets(text));
        write!(f, "{}: {key}: {value}: allowed {allowed}", self.written)
    }
}

/// Reads `file`, lets `overrides` win over it and proves the result.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    let text = file.map(text_of).transpose()?.unwrap_or_default();
    let read::Reading {
        mut config,
        problems: unreadable,
        doubts,
    } = read::read(&text);
    let mut problems = Problems::default();
    let flags = overrides.apply(&mut config, &mut problems);
    config.validate(&mut problems);
    agreement::check(&config, &doubts, &mut problems);

    let written = file.map_or(Written::Default, |file| Written::File(file.into()));
    let unreadable = unreadable.into_iter().map(|problem| Refusal {
        written: written.clone(),
        problem,
    });
    let invalid = problems.into_found().into_iter().map(|mut problem| {
        let flag = flags.iter().find(|flag| flag.key == problem.key);
        problem.key = doubts.as_written(&problem.key);
        Refusal {
            written: flag.map_or(written.clone(), |flag| Written::Flag(flag.flag)),
            problem,
        }
    });
    let sound = invalid.filter(|refusal| !doubts.about(&refusal.problem.key));
    let mut refusals: Vec<Refusal> = unreadable.chain(sound).collect();
    refusals.sort_by(|a, b| a.problem.key.cmp(&b.problem.key));
    if refusals.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Refused(refusals))
    }
}

impl Config {
    /// Asks every module whether its values can stand.
    fn validate(&self, problems: &mut Problems) {
        problems.below("edge", |p| self.edge.validate(p));
        problems.below("admin", |p| self.admin.validate(p));
        problems.below("store", |p| self.store.validate(p));
        problems.below("purge", |p| self.purge.validate(p));
        problems.below("cluster", |p| self.cluster.validate(p));
        problems.below("serve", |p| self.serve.validate(p));
        problems.below("log", |p| self.log.validate(p));
        problems.below("tracing", |p| self.tracing.validate(p));
        for (name, origin) in &self.origins {
            problems.below(format!("origins.{name}"), |p| origin.validate(p));
        }
        for (index, route) in self.routes.iter().enumerate() {
            problems.below(format!("routes[{index}]"), |p| route.validate(p));
        }
    }
}

fn text_of(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|cause| ConfigError::Unreadable {
        file: file.into(),
        cause,
    })
}

fn lines(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
