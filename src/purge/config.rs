//! How purges are kept, and who may order them.

use super::keys::KeyHash;
use super::webhook;
use crate::base::problem::Problems;
use crate::base::secret::Secret;
use crate::base::units::{ByteSize, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Each costs a signature of whatever anybody sends.
const WEBHOOKS_MAX: usize = 16;
const SECRETS_MAX: usize = 4;

/// Scopes that are told to who watches, where nobody says otherwise.
pub(super) const WATCHED_SCOPES_MAX: usize = 100_000;

/// Each is compared with the key of every order.
const KEYS_MAX: usize = 1000;

const CALLER_NAME_BYTES_MAX: usize = 64;

/// Each is a few tens of bytes of every snapshot of the log.
const SCOPES_MAX: usize = 10_000_000;

/// The tests of the faults wait until something is forgotten.
const OBJECT_LIFE_MIN: Span = match cfg!(feature = "holes") {
    true => Span::secs(1),
    false => Span::secs(3600),
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Of the log. By default `purges` in the cache's own directory; without either it is in memory, and ends with the
    /// process as all that is cached does.
    pub directory: Option<PathBuf>,
    /// How long an answer to an order waits for its commit; after that it says `pending`.
    pub deadline: Span,
    /// Orders that may wait for the log; beyond it they are refused.
    pub queue_max: usize,
    /// Entries of the log between two snapshots.
    pub snapshot_entries: u64,
    /// Scopes of each kind with a place of their own in the tables; more share buckets.
    pub scopes_max: usize,
    /// After so long without its origin's word, nothing is served.
    pub object_life: Span,
    /// `min_version`s that are known; where there are more the oldest are forgotten.
    pub minimums_max: usize,
    /// How long an answer older than a purge's `min_version` is refused.
    pub minimum_life: Span,
    /// How long a fill goes on asking for an answer that is not older.
    pub minimum_patience: Span,
    /// How long requests are known again by their id or idempotency key.
    pub once_life: Span,
    /// Purges that are remembered to be asked about, as many again to be known by their idempotency key, and as many by their
    /// webhook's id. The last are not forgotten while a signature on them could be believed again; beyond it they are refused.
    pub remembered_max: usize,
    /// Body of an order: 10,000 URLs of 200 bytes.
    pub body_bytes_max: ByteSize,
    /// How long a whole body may take to arrive.
    pub body_deadline: Span,
    /// Bodies of webhooks that arrive, together; beyond it they are refused, because nobody knows yet who sends them. Twice
    /// one body at least; one address may take a quarter.
    pub bodies_bytes_max: ByteSize,
    /// Bodies of webhooks that are verified at once, beside a small one: anybody may send one, and each costs a hash for each
    /// secret. Others wait as long as a body may take.
    pub verifications_max: usize,
    /// Dry runs at once: each looks at all that memory knows.
    pub dry_runs_max: usize,
    /// Scopes of one order.
    pub order_scopes_max: usize,
    /// Scopes of the latest entries of the log that are told to who watches; what is older is gone for them.
    pub watched_scopes_max: usize,
    /// Processes of other nodes that may hold a lease; further ones serve nothing that is stored.
    pub followers_max: usize,
    /// Entries that the voter keeps in memory for those who follow; who is further behind takes a snapshot.
    pub feed_bytes_max: ByteSize,
    /// Snapshots that are made for followers, or sent to them, at once: each is a copy of all there is.
    pub snapshots_max: usize,
    /// A snapshot that a follower takes: more than what the limits of the log let it come to.
    pub snapshot_bytes_max: ByteSize,
    /// From one part of a snapshot to the next, for who sends it and who takes it; the first has to be made.
    pub snapshot_deadline: Span,
    /// What a voter that lives takes to answer a follower, beside what it waits for.
    pub voter_deadline: Span,
    /// How long a follower's start waits for the voter, where it is noted which log the cache belongs to.
    pub start_patience: Span,
    /// Orders each key may give in a second, and at once.
    pub rate_max: u32,
    pub burst_max: u32,
    /// How old a webhook's timestamp may be, or how far ahead.
    pub webhook_tolerance: Span,
    pub keys: BTreeMap<String, Key>,
    pub webhooks: BTreeMap<String, Webhook>,
}

/// Who may order what over the API and by `PURGE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// As `aquatint key` prints it.
    pub hash: KeyHash,
    pub scopes: Vec<Permission>,
}

/// Who may order what by a signed webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Several, so that one can take the place of another.
    pub secrets: Vec<Secret>,
    pub scopes: Vec<Permission>,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Permission {
    #[serde(rename = "purge:url")]
    Url,
    #[serde(rename = "purge:tag")]
    Tag,
    /// A prefix or a host.
    #[serde(rename = "purge:prefix")]
    Prefix,
    /// Everything, and each of the others that purge.
    #[serde(rename = "purge:all")]
    All,
    /// The API for operators, and no purge.
    #[serde(rename = "admin")]
    Admin,
    /// To read and fill the cache over gRPC, and no purge.
    #[serde(rename = "cache")]
    Cache,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            directory: None,
            deadline: Span::secs(10),
            queue_max: 4096,
            snapshot_entries: 10_000,
            scopes_max: 1_000_000,
            object_life: Span::days(30),
            minimums_max: 100_000,
            minimum_life: Span::secs(3600),
            minimum_patience: Span::secs(2),
            once_life: Span::days(1),
            remembered_max: 400_000,
            body_bytes_max: ByteSize::mib(2),
            body_deadline: Span::secs(10),
            bodies_bytes_max: ByteSize::mib(64),
            verifications_max: 1,
            dry_runs_max: 1,
            order_scopes_max: 10_000,
            watched_scopes_max: WATCHED_SCOPES_MAX,
            followers_max: 4096,
            feed_bytes_max: ByteSize::mib(16),
            snapshots_max: 2,
            snapshot_bytes_max: ByteSize::gib(1),
            snapshot_deadline: Span::secs(60),
            voter_deadline: Span::secs(2),
            start_patience: Span::secs(3),
            rate_max: 500,
            burst_max: 1000,
            webhook_tolerance: Span::secs(300),
            keys: BTreeMap::new(),
            webhooks: BTreeMap::new(),
        }
    }
}

impl Config {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        self.validate_keeping(problems);
        self.validate_following(problems);
        self.validate_orders(problems);
        self.validate_callers(problems);
    }

    fn validate_keeping(&self, problems: &mut Problems) {
        let brief = Span::millis(100)..=Span::days(1);
        problems.check("deadline", self.deadline, brief);
        problems.check("queue_max", self.queue_max, 1..=1_000_000);
        problems.check("snapshot_entries", self.snapshot_entries, 1..=100_000_000);
        problems.check("minimums_max", self.minimums_max, 1..=10_000_000);
        problems.check("scopes_max", self.scopes_max, 1024..=SCOPES_MAX);
        let life = OBJECT_LIFE_MIN..=Span::days(3650);
        problems.check("object_life", self.object_life, life);
        let instant = Span::secs(0)..=Span::days(365);
        problems.check("minimum_life", self.minimum_life, instant);
        problems.check(
            "minimum_patience",
            self.minimum_patience,
            Span::secs(0)..=Span::secs(60),
        );
        problems.check("remembered_max", self.remembered_max, 1..=10_000_000);
        // A webhook that is forgotten while it is still believed could be replayed.
        let believed = Span(self.webhook_tolerance.get().saturating_mul(2));
        problems.check("once_life", self.once_life, believed..=Span::days(365));
    }

    fn validate_following(&self, problems: &mut Problems) {
        problems.check("followers_max", self.followers_max, 1..=100_000);
        let feed = ByteSize::kib(64)..=ByteSize::gib(16);
        problems.check("feed_bytes_max", self.feed_bytes_max, feed);
        problems.check("snapshots_max", self.snapshots_max, 1..=64);
        let snapshot = ByteSize::mib(1)..=ByteSize::gib(64);
        problems.check("snapshot_bytes_max", self.snapshot_bytes_max, snapshot);
        let deadline = Span::millis(100)..=Span::secs(600);
        problems.check("snapshot_deadline", self.snapshot_deadline, deadline.clone());
        problems.check("voter_deadline", self.voter_deadline, deadline.clone());
        problems.check("start_patience", self.start_patience, deadline);
    }

    fn validate_orders(&self, problems: &mut Problems) {
        let body = ByteSize::kib(1)..=ByteSize::mib(64);
        problems.check("body_bytes_max", self.body_bytes_max, body);
        // A quarter of the room is for small bodies, and a whole one of any length has to find place beside it.
        let bodies = ByteSize(self.body_bytes_max.bytes().saturating_mul(2))..=ByteSize::gib(64);
        problems.check("bodies_bytes_max", self.bodies_bytes_max, bodies);
        let deadline = Span::millis(100)..=Span::secs(3600);
        problems.check("body_deadline", self.body_deadline, deadline);
        problems.check("verifications_max", self.verifications_max, 1..=64);
        problems.check("dry_runs_max", self.dry_runs_max, 1..=64);
        problems.check("order_scopes_max", self.order_scopes_max, 1..=1_000_000);
        let watched = self.order_scopes_max..=10_000_000;
        problems.check("watched_scopes_max", self.watched_scopes_max, watched);
        problems.check("rate_max", self.rate_max, 1..=1_000_000);
        problems.check("burst_max", self.burst_max, 1..=1_000_000);
        let tolerance = Span::secs(1)..=Span::secs(3600);
        problems.check("webhook_tolerance", self.webhook_tolerance, tolerance);
    }

    fn validate_callers(&self, problems: &mut Problems) {
        problems.check("keys", self.keys.len(), 0..=KEYS_MAX);
        problems.check("webhooks", self.webhooks.len(), 0..=WEBHOOKS_MAX);
        let mut hashes = BTreeSet::new();
        for (name, key) in &self.keys {
            problems.below(format!("keys.{name}"), |p| {
                validate_caller(name, &key.scopes, p);
                if !hashes.insert(key.hash.to_string()) {
                    p.refuse("hash", key.hash, "the hash of a key of its own");
                }
            });
        }
        let mut secrets = BTreeSet::new();
        for (name, webhook) in &self.webhooks {
            problems.below(format!("webhooks.{name}"), |p| {
                validate_caller(name, &webhook.scopes, p);
                let foreign = webhook.scopes.iter().find(|scope| !scope.is_of_purges());
                if let Some(foreign) = foreign {
                    p.refuse(
                        "scopes",
                        foreign.name(),
                        "what a webhook can order: a scope of purges",
                    );
                }
                p.check("secrets", webhook.secrets.len(), 1..=SECRETS_MAX);
                for (at, secret) in webhook.secrets.iter().enumerate() {
                    validate_secret(&format!("secrets[{at}]"), secret, &mut secrets, p);
                }
            });
        }
    }
}

fn validate_caller(name: &str, scopes: &[Permission], problems: &mut Problems) {
    if !is_callers_name(name) {
        problems.refuse("", name, "a name of 1 to 64 letters, digits, -, . and _");
    }
    if scopes.is_empty() {
        problems.refuse(
            "scopes",
            "[]",
            "at least one of purge:url, purge:tag, purge:prefix, purge:all and, for keys, admin and cache",
        );
    }
}

fn validate_secret<'a>(key: &str, secret: &'a Secret, seen: &mut BTreeSet<&'a str>, problems: &mut Problems) {
    if !webhook::is_sound(secret) {
        let allowed = "whsec_ and the base64 of 24 to 64 bytes, as `aquatint key --webhook` prints it";
        problems.refuse(key, "(not shown)", allowed);
    } else if !seen.insert(secret.expose()) {
        problems.refuse(key, "(not shown)", "a secret of its own");
    }
}

impl Permission {
    pub const ALL: [Permission; 6] = [
        Permission::Url,
        Permission::Tag,
        Permission::Prefix,
        Permission::All,
        Permission::Admin,
        Permission::Cache,
    ];

    /// Whether who has this has `needed`.
    pub fn covers(self, needed: Permission) -> bool {
        self == needed || (self == Permission::All && needed.is_of_purges())
    }

    /// Whether it is one of orders.
    pub fn is_of_purges(self) -> bool {
        !matches!(self, Permission::Admin | Permission::Cache)
    }

    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Permission::Url => "purge:url",
            Permission::Tag => "purge:tag",
            Permission::Prefix => "purge:prefix",
            Permission::All => "purge:all",
            Permission::Admin => "admin",
            Permission::Cache => "cache",
        }
    }
}

/// Whether a caller may have this name.
pub fn is_callers_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=CALLER_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and values that are refused.
    fn refused(config: &Config) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        let found = problems.into_found().into_iter();
        found.map(|problem| (problem.key, problem.value)).collect()
    }

    fn key(text: &str, scopes: &[Permission]) -> Key {
        Key {
            hash: KeyHash::of(text),
            scopes: scopes.to_vec(),
        }
    }

    #[test]
    fn the_defaults_can_stand() {
        assert_eq!(refused(&Config::default()), []);
    }

    #[test]
    fn a_table_whose_snapshot_is_huge_and_no_turns_at_all_are_refused() {
        let config = Config {
            scopes_max: 10_000_001,
            body_deadline: Span::millis(99),
            verifications_max: 0,
            dry_runs_max: 0,
            ..Config::default()
        };
        let keys: Vec<_> = refused(&config).into_iter().map(|(key, _)| key).collect();
        let expected = ["scopes_max", "body_deadline", "verifications_max", "dry_runs_max"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn there_is_room_for_small_bodies_beside_the_largest() {
        let mut config = Config {
            bodies_bytes_max: ByteSize::mib(3),
            ..Config::default()
        };
        let keys = |config: &Config| {
            refused(config)
                .into_iter()
                .map(|(key, _)| key)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(&config), ["bodies_bytes_max"]);
        config.bodies_bytes_max = ByteSize::mib(4);
        assert!(keys(&config).is_empty());
    }

    #[test]
    fn a_webhook_is_remembered_for_as_long_as_it_is_believed() {
        let mut config = Config {
            once_life: Span::secs(599),
            ..Config::default()
        };
        assert_eq!(refused(&config), [("once_life".into(), "9m 59s".into())]);
        config.once_life = Span::secs(600);
        assert_eq!(refused(&config), []);
    }

    #[test]
    fn callers_have_names_permissions_and_keys_of_their_own() {
        let mut config = Config::default();
        for (name, given) in [
            ("a/b", key("1", &[Permission::Url])),
            ("idle", key("2", &[])),
            ("shop", key("3", &[Permission::Url])),
            ("twin", key("3", &[Permission::Url])),
        ] {
            config.keys.insert(name.into(), given);
        }
        let keys: Vec<_> = refused(&config).into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["keys.a/b", "keys.idle.scopes", "keys.twin.hash"]);
    }

    #[test]
    fn a_secret_that_can_not_stand_is_named_and_not_shown() {
        let mut config = Config::default();
        let sound = webhook::unused_secret().unwrap();
        let webhook = |secrets: &[&Secret]| Webhook {
            secrets: secrets.iter().copied().cloned().collect(),
            scopes: vec![Permission::Url],
        };
        let weak = Secret::new("hunter2".into());
        config.webhooks.insert("cms".into(), webhook(&[&weak, &sound]));
        config.webhooks.insert("none".into(), webhook(&[]));
        config.webhooks.insert("twin".into(), webhook(&[&sound]));
        let found = refused(&config);
        let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "webhooks.cms.secrets[0]",
                "webhooks.none.secrets",
                "webhooks.twin.secrets[0]"
            ]
        );
        assert!(!format!("{found:?}{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_permission_is_written_as_it_is_read() {
        for permission in Permission::ALL {
            let written = serde_json::to_value(permission).unwrap();
            assert_eq!(written, permission.name());
        }
    }
}
