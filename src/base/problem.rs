//! What is wrong with a configuration: every problem at once, each with its key, value and what is allowed.
//!
//! Modules validate their own `Config` into a [`Problems`]; only the top knows the file's name.

use std::fmt::Display;
use std::ops::RangeInclusive;

/// One value that can not stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, `routes[0].ttl.default`.
    pub key: String,
    pub value: String,
    /// What would be accepted, in words or as `low..high`.
    pub allowed: String,
}

/// Problems found so far, below the key they are being looked for.
#[derive(Debug, Default)]
pub struct Problems {
    below: String,
    found: Vec<Problem>,
}

impl Problems {
    /// Looks for problems below `key`: an index (`[0]`) attaches without a dot.
    pub fn below(&mut self, key: impl Display, look: impl FnOnce(&mut Self)) {
        let length = self.below.len();
        self.below = self.path(&key.to_string());
        look(self);
        self.below.truncate(length);
    }

    /// Refuses `value` at `key`.
    pub fn refuse(&mut self, key: &str, value: impl Display, allowed: impl Into<String>) {
        let key = self.path(key);
        self.found.push(Problem {
            key,
            value: value.to_string(),
            allowed: allowed.into(),
        });
    }

    /// Refuses `value` unless it lies in `allowed`.
    pub fn check<T: Display + PartialOrd>(&mut self, key: &str, value: T, allowed: RangeInclusive<T>) {
        if !allowed.contains(&value) {
            self.refuse(key, value, format!("{}..{}", allowed.start(), allowed.end()));
        }
    }

    pub fn into_found(self) -> Vec<Problem> {
        self.found
    }

    fn path(&self, key: &str) -> String {
        if self.below.is_empty() || key.starts_with('[') {
            format!("{}{key}", self.below)
        } else if key.is_empty() {
            self.below.clone()
        } else {
            format!("{}.{key}", self.below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_whole_path_and_the_allowed_range() {
        let mut problems = Problems::default();
        problems.below("routes", |p| p.below("[1]", |p| p.check("retries", 9, 0..=3)));
        let found = problems.into_found();
        assert_eq!(
            found,
            [Problem {
                key: "routes[1].retries".into(),
                value: "9".into(),
                allowed: "0..3".into()
            }]
        );
    }
}
