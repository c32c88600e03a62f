//! Who orders purges: a name, what it may purge, and how often.
//!
//! Invariant: one for each key and webhook of the configuration, made at start. It does not know how somebody proves to be
//! it.

use super::config::{Config, Permission};
use super::rate::Bucket;
use std::fmt;
use std::time::{Duration, Instant};

pub struct Caller {
    name: String,
    permissions: Vec<Permission>,
    orders: Bucket,
}

impl Caller {
    pub(crate) fn new(name: &str, permissions: &[Permission], config: &Config) -> Self {
        Caller {
            name: name.to_owned(),
            permissions: permissions.to_vec(),
            orders: Bucket::new(config.rate_max, config.burst_max),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first of what is needed that is not allowed.
    pub fn lacks(&self, mut needed: impl Iterator<Item = Permission>) -> Option<Permission> {
        needed.find(|needed| !self.has(*needed))
    }

    fn has(&self, needed: Permission) -> bool {
        let covers = |given: &Permission| given.covers(needed);
        self.permissions.iter().any(covers)
    }

    /// Whether it may use the API for operators.
    pub fn may_administer(&self) -> bool {
        self.has(Permission::Admin)
    }

    /// Whether it may use the cache over gRPC.
    pub fn may_use_cache(&self) -> bool {
        self.has(Permission::Cache)
    }

    /// Counts an order, or says how long it has to wait.
    ///
    /// # Errors
    /// When it comes too early; it is not counted then.
    pub fn take_turn(&self, now: Instant) -> Result<(), Duration> {
        self.orders.take(now)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [Permission; 4] = [
        Permission::Url,
        Permission::Tag,
        Permission::Prefix,
        Permission::All,
    ];

    fn lacks(permissions: &[Permission], needed: &[Permission]) -> Option<Permission> {
        let caller = Caller::new("shop", permissions, &Config::default());
        caller.lacks(needed.iter().copied())
    }

    #[test]
    fn who_may_purge_everything_may_not_administer_or_fill_and_the_other_way_round() {
        for other in [Permission::Admin, Permission::Cache] {
            assert_eq!(lacks(&EVERY, &[other]), Some(other));
            for needed in EVERY {
                assert_eq!(lacks(&[other], &[needed]), Some(needed));
            }
        }
        assert_eq!(
            lacks(&[Permission::Admin], &[Permission::Cache]),
            Some(Permission::Cache)
        );
    }

    #[test]
    fn a_permission_allows_itself_and_all_allows_each() {
        for given in EVERY {
            for needed in EVERY {
                let is_allowed = given == needed || given == Permission::All;
                let expected = (!is_allowed).then_some(needed);
                assert_eq!(lacks(&[given], &[needed]), expected, "{given:?}");
            }
        }
        assert_eq!(lacks(&EVERY[..2], &EVERY[..2]), None);
        assert_eq!(lacks(&EVERY[..2], &EVERY[1..3]), Some(Permission::Prefix));
    }
}
