//! Signed webhooks (Standard Webhooks): whether what came was sent, of late, by who may order purges.
//!
//! An attempt says its id, its time and its signatures in headers; a signature is an HMAC-SHA256 of `id.time.body`.
//! Invariant: what is verified was signed with a secret of its source in exactly these bytes. The same id later on is the
//! log's to recognise. It does not know what is ordered.

use super::caller::Caller;
use super::config::Config;
use super::keys::{NoRandom, random_digits};
use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use http::HeaderMap;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};
use std::sync::Arc;
use std::time::Duration;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Of a decoded secret, as the specification asks.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

const ID_BYTES_MAX: usize = 255;

/// Signatures that an attempt may offer, while one secret takes the place of another.
const SIGNATURES_MAX: usize = 16;

/// Why a webhook is not taken for what it says; nothing was purged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    #[error(
        "no webhook is configured: name one under purge.webhooks, `aquatint key --webhook` makes its secret"
    )]
    NotConfigured,
    #[error("the header {0} is missing")]
    Missing(&'static str),
    #[error("the header {name} is not {wanted}")]
    Malformed {
        name: &'static str,
        wanted: &'static str,
    },
    #[error("the timestamp is {by_s} s old, more than is tolerated: sign each attempt anew")]
    Expired { id: String, by_s: u64 },
    #[error("the timestamp is {by_s} s ahead of this edge's clock, more than is tolerated")]
    Ahead { id: String, by_s: u64 },
    #[error("no signature is one of a configured secret")]
    Signature,
}

/// The webhooks that may order purges.
pub struct Webhooks {
    sources: Vec<Source>,
    tolerance: Duration,
}

struct Source {
    secrets: Vec<standardwebhooks::Webhook>,
    caller: Arc<Caller>,
}

/// What an attempt says of itself; nothing of it is proven.
#[derive(Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: String,
    pub sent_at_s: u64,
    /// In base64.
    signatures: Vec<String>,
}

/// A secret that nobody has yet.
///
/// # Errors
/// When the system has no random numbers.
pub fn unused_secret() -> Result<Secret, NoRandom> {
    // Hexadecimal digits are base64, of 48 bytes that hold 256 bits of chance.
    random_digits().map(|digits| Secret::new(format!("{SECRET_PREFIX}{digits}")))
}

/// Whether a secret is what the specification asks for.
pub(super) fn is_sound(secret: &Secret) -> bool {
    let Some(encoded) = secret.expose().strip_prefix(SECRET_PREFIX) else {
        return false;
    };
    let bytes = encoded.trim_end_matches('=').len() * 3 / 4;
    SECRET_BYTES.contains(&bytes) && opened(secret).is_some()
}

fn opened(secret: &Secret) -> Option<standardwebhooks::Webhook> {
    standardwebhooks::Webhook::new(secret.expose()).ok()
}

/// As a sender signs an attempt.
#[cfg(test)]
pub(crate) fn sign(secret: &Secret, id: &str, sent_at_s: u64, body: &[u8]) -> String {
    let webhook = opened(secret).expect("the secret is sound");
    let sent_at = i64::try_from(sent_at_s).expect("it is before the end of time");
    webhook.sign(id, sent_at, body).expect("the body is text")
}

impl Webhooks {
    pub fn new(config: &Config) -> Self {
        let sources = config.webhooks.iter().map(|(name, webhook)| Source {
            secrets: webhook.secrets.iter().filter_map(opened).collect(),
            caller: Arc::new(Caller::new(name, &webhook.scopes, config)),
        });
        Webhooks {
            sources: sources.collect(),
            tolerance: config.webhook_tolerance.get(),
        }
    }

    /// What an attempt says of itself, before its body is read.
    ///
    /// # Errors
    /// When no body could make it good.
    pub fn attempt(&self, headers: &HeaderMap, now: Timestamp) -> Result<Attempt, WebhookError> {
        if self.sources.is_empty() {
            return Err(WebhookError::NotConfigured);
        }
        let attempt = Attempt {
            id: id(headers)?,
            sent_at_s: sent_at_s(headers)?,
            signatures: signatures(headers)?,
        };
        let sent_at = Timestamp::from_secs(attempt.sent_at_s);
        let (age, lead) = (now.since(sent_at), sent_at.since(now));
        let id = || attempt.id.clone();
        if age > self.tolerance {
            let by_s = age.as_secs();
            return Err(WebhookError::Expired { id: id(), by_s });
        }
        if lead > self.tolerance {
            let by_s = lead.as_secs();
            return Err(WebhookError::Ahead { id: id(), by_s });
        }
        Ok(attempt)
    }

    /// Who sent it. That costs a copy and a hash of the body for each secret, one after the other.
    ///
    /// # Errors
    /// When nobody did whom this edge knows.
    pub fn verify(&self, attempt: &Attempt, body: &[u8]) -> Result<&Arc<Caller>, WebhookError> {
        let is_of = |source: &&Source| {
            source
                .secrets
                .iter()
                .any(|secret| attempt.is_signed_with(secret, body))
        };
        let source = self.sources.iter().find(is_of);
        source.map(|source| &source.caller).ok_or(WebhookError::Signature)
    }
}

impl Attempt {
    fn is_signed_with(&self, secret: &standardwebhooks::Webhook, body: &[u8]) -> bool {
        let signed = i64::try_from(self.sent_at_s)
            .ok()
            .and_then(|sent_at| secret.sign(&self.id, sent_at, body).ok());
        let expected = signed.as_deref().and_then(|signed| signed.split_once(','));
        // Hashes, because two of them are compared in constant time.
        let hash = |signature: &str| blake3::hash(signature.as_bytes());
        expected.is_some_and(|(_, expected)| {
            let expected = hash(expected);
            self.signatures.iter().any(|given| hash(given) == expected)
        })
    }
}

/// A full stop separates what is signed: with one in it, an id could take over what follows it.
fn id(headers: &HeaderMap) -> Result<String, WebhookError> {
    let text = one(headers, HEADER_WEBHOOK_ID)?;
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
    if is_visible && (1..=ID_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(WebhookError::Malformed {
        name: HEADER_WEBHOOK_ID,
        wanted: "1 to 255 visible characters without a full stop",
    })
}

/// In the one spelling that is signed.
fn sent_at_s(headers: &HeaderMap) -> Result<u64, WebhookError> {
    let text = one(headers, HEADER_WEBHOOK_TIMESTAMP)?;
    let seconds = text
        .parse::<u32>()
        .ok()
        .filter(|seconds| seconds.to_string() == text);
    seconds.map(u64::from).ok_or(WebhookError::Malformed {
        name: HEADER_WEBHOOK_TIMESTAMP,
        wanted: "a number of seconds since 1970",
    })
}

/// Those of the version that is known here; others may stand beside them.
fn signatures(headers: &HeaderMap) -> Result<Vec<String>, WebhookError> {
    let text = one(headers, HEADER_WEBHOOK_SIGNATURE)?;
    let known = text
        .split(' ')
        .filter_map(|signature| signature.strip_prefix("v1,"));
    let signatures: Vec<_> = known.map(str::to_owned).collect();
    if (1..=SIGNATURES_MAX).contains(&signatures.len()) {
        return Ok(signatures);
    }
    Err(WebhookError::Malformed {
        name: HEADER_WEBHOOK_SIGNATURE,
        wanted: "v1, and a signature, or a few of them with spaces between",
    })
}

fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, WebhookError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(WebhookError::Missing(name))?;
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.ok_or(WebhookError::Malformed {
        name,
        wanted: "one line of visible characters",
    })
}

#[cfg(test)]
mod tests;
