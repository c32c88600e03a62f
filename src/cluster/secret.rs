//! The secret that all nodes of a cluster share.
//!
//! Invariant: it is 32 random bytes, is shown nowhere, and is used for nothing itself: each use has a key of its own, derived
//! from it. It does not know what the keys are for.

use super::config::Config;
use crate::base::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What secrets of clusters begin with.
pub const PREFIX: &str = "aqc_";

const BYTES: usize = 32;
/// Of 32 random bytes fewer than this many different ones are not seen.
const DIFFERENT_BYTES_MIN: usize = 16;
/// A file with a secret is shorter.
const FILE_BYTES_MAX: u64 = 4096;

#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; BYTES]);

/// Why there is no secret. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "the secret is not {PREFIX} and the base64url of {BYTES} random bytes, as `aquatint key --cluster` makes it"
    )]
    Unsound,
    #[error("the secret's file {} can not be read: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: io::Error },
    #[error("the system has no random numbers to give; nothing was made")]
    NoRandom,
}

impl ClusterSecret {
    /// The one that the configuration gives or names a file of.
    ///
    /// # Errors
    /// When it can not be read, or is none.
    pub fn of(config: &Config) -> Result<Option<Self>, SecretError> {
        match (&config.secret, &config.secret_file) {
            (Some(secret), _) => Self::parse(secret.expose()).map(Some),
            (None, Some(file)) => Self::in_file(file).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// # Errors
    /// When it can not be read, or is none.
    pub fn in_file(file: &Path) -> Result<Self, SecretError> {
        Self::parse(written_in(text_of(file)?.expose()))
    }

    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretError::Unsound)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| SecretError::Unsound)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| SecretError::Unsound)?;
        let different: std::collections::BTreeSet<u8> = bytes.into_iter().collect();
        match different.len() < DIFFERENT_BYTES_MIN {
            true => Err(SecretError::Unsound),
            false => Ok(ClusterSecret(bytes)),
        }
    }

    /// A new one, as it is written.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn unused() -> Result<Secret, SecretError> {
        let mut bytes = [0; BYTES];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| SecretError::NoRandom)?;
        Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// The key for one use, which `context` names, and no other.
    pub fn key(&self, context: &'static str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

/// A file may hold the secret alone, or all that `aquatint key --cluster` prints.
fn written_in(text: &str) -> &str {
    let found = text.split_whitespace().find(|word| word.starts_with(PREFIX));
    found.unwrap_or(text)
}

fn text_of(file: &Path) -> Result<Secret, SecretError> {
    let mut text = String::new();
    let read = File::open(file).and_then(|open| open.take(FILE_BYTES_MAX).read_to_string(&mut text));
    let unreadable = |cause| SecretError::Unreadable {
        file: file.into(),
        cause,
    };
    read.map_err(unreadable)?;
    Ok(Secret::new(text))
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unused_secret_is_sound_and_another_each_time() {
        let [one, other] = [(); 2].map(|()| ClusterSecret::unused().unwrap());
        assert!(ClusterSecret::parse(one.expose()).is_ok());
        assert_ne!(one, other);
    }

    #[test]
    fn what_is_short_weak_or_no_secret_is_refused_and_not_shown() {
        let encoded = |bytes: &[u8]| format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let sound: Vec<u8> = (0..32).collect();
        assert!(ClusterSecret::parse(&encoded(&sound)).is_ok());
        let long: Vec<u8> = (0..33).collect();
        for text in [
            encoded(&sound[..31]),
            encoded(&long),
            encoded(&[7; 32]),
            "aqc_".into(),
            "hunter2".into(),
            encoded(&sound).replace("aqc_", "aqk_"),
        ] {
            let error = ClusterSecret::parse(&text).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains(text.trim_start_matches("aqc_")) || text == "aqc_"
            );
        }
    }

    #[test]
    fn a_file_gives_the_same_secret_with_or_without_a_line_end() {
        let secret = ClusterSecret::unused().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        for end in ["", "\n"] {
            std::fs::write(&file, format!("{}{end}", secret.expose())).unwrap();
            let config = Config {
                secret_file: Some(file.clone()),
                ..Config::default()
            };
            let read = ClusterSecret::of(&config).unwrap().unwrap();
            assert_eq!(read, ClusterSecret::parse(secret.expose()).unwrap());
        }
    }

    #[test]
    fn keys_for_different_uses_differ_and_a_secret_is_not_shown() {
        let text = ClusterSecret::unused().unwrap();
        let secret = ClusterSecret::parse(text.expose()).unwrap();
        assert_ne!(secret.key("one use"), secret.key("another use"));
        assert_eq!(format!("{secret:?}"), "[secret]");
    }
}
