//! Where a configuration comes from, so that it can be read again; and in what two of them differ.
//!
//! It does not know what may change while an edge serves.

use super::{Config, ConfigError, Overrides, load};
use serde_json::Value;
use std::path::PathBuf;

#[derive(Clone, Debug, Default)]
pub struct Source {
    pub file: Option<PathBuf>,
    pub overrides: Overrides,
}

impl Source {
    /// Reads and proves it.
    ///
    /// # Errors
    /// When the file can not be read, or anything in it can not stand.
    pub fn load(&self) -> Result<Config, ConfigError> {
        load(self.file.as_deref(), &self.overrides)
    }
}

/// The keys whose values differ, in order; a list is one value.
pub fn differences(one: &Config, other: &Config) -> Vec<String> {
    let value = |config| serde_json::to_value(config).expect("a configuration is plain data");
    let mut keys = Vec::new();
    compare("", &value(one), &value(other), &mut keys);
    // Secrets are not written out.
    let webhooks = "purge.webhooks";
    if one.purge.webhooks != other.purge.webhooks && !keys.iter().any(|key| key.starts_with(webhooks)) {
        keys.push(webhooks.to_owned());
    }
    let secret = "cluster.secret";
    if one.cluster.secret != other.cluster.secret && !keys.iter().any(|key| key == secret) {
        keys.push(secret.to_owned());
    }
    keys
}

fn compare(key: &str, one: &Value, other: &Value, keys: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let below = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                let of =
                    |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                compare(&below, &of(one), &of(other), keys);
            }
        }
        (one, other) if one != other => keys.push(key.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::base::units::Span;
    use crate::upstream;

    #[test]
    fn a_configuration_differs_from_itself_in_nothing() {
        assert!(differences(&Config::default(), &Config::default()).is_empty());
    }

    #[test]
    fn another_secret_is_a_difference_though_neither_is_shown() {
        let with = |text: &str| {
            let mut config = Config::default();
            config.cluster.secret = Some(Secret::new(text.to_owned()));
            config
        };
        assert_eq!(differences(&with("a"), &with("b")), ["cluster.secret"]);
        assert_eq!(differences(&with("a"), &Config::default()), ["cluster.secret"]);
        assert!(differences(&with("a"), &with("a")).is_empty());
    }

    #[test]
    fn differences_are_named_by_their_keys_and_a_list_is_one_value() {
        let mut other = Config::default();
        other.edge.drain_delay = Span::secs(1);
        other.routes[0].path = "/images".into();
        other
            .origins
            .insert("shop".into(), upstream::config::Config::default());
        let expected = ["edge.drain_delay", "origins.shop", "routes"];
        assert_eq!(differences(&Config::default(), &other), expected);
    }
}
