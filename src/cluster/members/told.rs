//! What a node says of itself, as it is gossiped: two values in JSON, one that stays for its life and one that changes.
//!
//! Invariant: what another node says is checked before it is believed. Fields that are not known are left alone, and roles
//! too: the next release may say more. It does not know who is alive.

use crate::cluster::config::{Config, Role, WEIGHT_MAX, is_name};
use crate::cluster::member::{NodeId, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The keys of the two values.
pub(super) const ABOUT: &str = "about";
pub(super) const NOW: &str = "now";

/// Neither value is longer.
const BYTES_MAX: usize = 1024;

/// What stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    #[serde(default)]
    pub(super) zone: String,
    pub(super) pool: String,
    roles: Vec<String>,
    pub(super) version: String,
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Now {
    pub(super) state: Said,
    pub(super) weight: u32,
    #[serde(default)]
    pub(super) load: u32,
}

/// Nobody says that it is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    Up,
    Draining,
    Left,
}

impl About {
    pub(super) fn of(config: &Config, node: &NodeId) -> Self {
        let roles = config.roles_of(node.as_str()).into_iter();
        About {
            zone: config.zone.clone(),
            pool: config.pool.clone(),
            roles: roles.map(|role| role.name().to_owned()).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    pub(super) fn written(&self) -> String {
        serde_json::to_string(self).expect("plain data has a JSON form")
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let about: About = read(text)?;
        let zone_stands = about.zone.is_empty() || is_name(&about.zone);
        (zone_stands && is_name(&about.pool) && is_version(&about.version)).then_some(about)
    }

    pub(super) fn roles(&self) -> BTreeSet<Role> {
        self.roles.iter().filter_map(|name| Role::named(name)).collect()
    }
}

impl Now {
    pub(super) fn written(self) -> String {
        serde_json::to_string(&self).expect("plain data has a JSON form")
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        read(text).filter(|now: &Now| now.weight <= WEIGHT_MAX)
    }
}

impl From<Said> for State {
    fn from(said: Said) -> State {
        match said {
            Said::Up => State::Up,
            Said::Draining => State::Draining,
            Said::Left => State::Left,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    (text.len() <= BYTES_MAX)
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// A version may carry what was built in, after a `+`.
fn is_version(text: &str) -> bool {
    is_name(&text.replace('+', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_again() {
        let config = Config {
            voters: vec!["a".into()],
            ..Config::default()
        };
        let about = About::of(&config, &NodeId::new("b"));
        assert_eq!(About::read(&about.written()), Some(about.clone()));
        assert_eq!(about.roles(), BTreeSet::from(Role::CHOSEN));
        let voter = About::of(&config, &NodeId::new("a"));
        assert_eq!(voter.roles(), BTreeSet::from(Role::ALL));
        let now = Now {
            state: Said::Draining,
            weight: 70,
            load: 3,
        };
        assert_eq!(Now::read(&now.written()), Some(now));
    }

    #[test]
    fn what_a_later_release_says_more_is_left_alone() {
        let text = r#"{"pool":"default","roles":["edge","librarian"],"version":"0.9.0","shelf":7}"#;
        let about = About::read(text).unwrap();
        assert_eq!(about.roles(), BTreeSet::from([Role::Edge]));
        assert!(Now::read(r#"{"state":"up","weight":5,"mood":"good"}"#).is_some());
    }

    #[test]
    fn what_can_not_be_is_not_believed() {
        for text in [
            r#"{"state":"up","weight":10001}"#,
            r#"{"state":"down","weight":1}"#,
            r#"{"state":"up","weight":-1}"#,
            "",
        ] {
            assert_eq!(Now::read(text), None, "{text}");
        }
        let long = "z".repeat(65);
        for text in [
            format!(r#"{{"zone":"{long}","pool":"a","roles":[],"version":"1"}}"#),
            r#"{"zone":"a b","pool":"a","roles":[],"version":"1"}"#.into(),
            r#"{"pool":"","roles":[],"version":"1"}"#.into(),
            format!(
                r#"{{"pool":"a","roles":[],"version":"1","x":"{}"}}"#,
                "x".repeat(BYTES_MAX)
            ),
        ] {
            assert_eq!(About::read(&text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_refused(text in "\\PC{0,200}") {
            About::read(&text);
            Now::read(&text);
        }
    }
}
