//! Keys that may order purges: the configuration holds their hashes alone.
//!
//! Invariant: how long a look-up takes tells nothing of the keys. A plain hash is enough, because a key is 256 bits of
//! chance and no word of anybody's. It does not know what a key is shown in.

use super::caller::Caller;
use super::config::Config;
use crate::base::digest::Hex;
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a key's hash begins with in the configuration.
const HASH_PREFIX: &str = "blake3:";

/// What a key begins with, so that one that has leaked is recognised.
const KEY_PREFIX: &str = "aqk_";

/// `blake3:` and 64 hexadecimal digits. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash(blake3::Hash);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is given is not blake3: and 64 hexadecimal digits, as `aquatint key` prints them")]
pub struct NoKeyHash;

/// Everybody who may order purges by a key.
pub struct Keys(Vec<(KeyHash, Arc<Caller>)>);

/// A key that nobody has yet.
///
/// # Errors
/// When the system has no random numbers.
pub fn unused_key() -> Result<Secret, NoRandom> {
    random_digits().map(|digits| Secret::new(format!("{KEY_PREFIX}{digits}")))
}

/// The system gave no random numbers; nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers to give; nothing was made")]
pub struct NoRandom;

/// 256 bits of chance, as 64 hexadecimal digits.
pub(super) fn random_digits() -> Result<String, NoRandom> {
    let mut bytes = [0; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(Hex(&bytes).to_string())
}

impl KeyHash {
    pub fn of(key: &str) -> Self {
        KeyHash(blake3::hash(key.as_bytes()))
    }
}

impl Keys {
    pub fn new(config: &Config) -> Self {
        let callers = config.keys.iter().map(|(name, key)| {
            let caller = Caller::new(name, &key.scopes, config);
            (key.hash, Arc::new(caller))
        });
        Keys(callers.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has this key. All hashes are looked at, whichever it is.
    pub fn find(&self, key: &str) -> Option<&Arc<Caller>> {
        let hash = KeyHash::of(key);
        self.0.iter().fold(
            None,
            |found, (known, caller)| {
                if *known == hash { Some(caller) } else { found }
            },
        )
    }
}

impl TryFrom<String> for KeyHash {
    type Error = NoKeyHash;

    fn try_from(text: String) -> Result<Self, NoKeyHash> {
        let digits = text.strip_prefix(HASH_PREFIX).ok_or(NoKeyHash)?;
        blake3::Hash::from_hex(digits).map(KeyHash).map_err(|_| NoKeyHash)
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> String {
        hash.to_string()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH_PREFIX}{}", self.0.to_hex())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::config::{Key, Permission};

    fn keys(named: &[(&str, &str)]) -> Keys {
        let mut config = Config::default();
        for (name, key) in named {
            let key = Key {
                hash: KeyHash::of(key),
                scopes: vec![Permission::Url],
            };
            config.keys.insert((*name).to_owned(), key);
        }
        Keys::new(&config)
    }

    #[test]
    fn a_key_is_found_by_its_whole_text_alone() {
        let keys = keys(&[("shop", "aqk_1"), ("blog", "aqk_2")]);
        let name = |key| keys.find(key).map(|caller| caller.name());
        assert_eq!(name("aqk_1"), Some("shop"));
        assert_eq!(name("aqk_2"), Some("blog"));
        for wrong in ["", "aqk_", "aqk_12", "AQK_1", "blake3:1"] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_read_as_it_is_written_and_a_key_is_none() {
        let hash = KeyHash::of("aqk_1");
        assert_eq!(KeyHash::try_from(hash.to_string()), Ok(hash));
        for wrong in ["", "aqk_1", "blake3:", "blake3:12", &hash.to_string()[7..]] {
            assert_eq!(KeyHash::try_from(wrong.to_owned()), Err(NoKeyHash), "{wrong}");
        }
    }

    #[test]
    fn no_two_new_keys_are_equal() {
        let [one, other] = [unused_key(), unused_key()].map(Result::unwrap);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), KEY_PREFIX.len() + 64);
    }
}
