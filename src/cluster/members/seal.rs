//! Datagrams of gossip as they travel: a header in the clear, and a message sealed with XChaCha20-Poly1305 under a key that
//! derives from the cluster's secret.
//!
//! ```text
//! "AQ" | format | newest | nonce: 24 bytes | message | tag: 16 bytes
//! ```
//!
//! *format* is what the message is written in, *newest* the newest format that its sender reads. Both are authenticated. A node
//! reads its own newest format and the one before, so that two adjacent releases understand each other, and writes to each
//! other node in the newest that both read. To one that it has not heard it writes in either, by chance: one of them is read.
//!
//! Invariant: what is opened was sealed by somebody with the secret. Nonces are random: 192 bits do not repeat, whatever
//! restarts. A datagram that was recorded and is sent again opens once more; what a heartbeat or a version says twice changes
//! nothing. It does not know what messages mean.

use crate::cluster::secret::ClusterSecret;
use chacha20poly1305::aead::{AeadCore, AeadInPlace, KeyInit, OsRng};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

/// The newest format this release writes.
const NEWEST: u8 = 1;

const CONTEXT: &str = "aquatint 2026 gossip between the nodes of a cluster";
const MAGIC: [u8; 2] = *b"AQ";
const HEADER_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// By how much a datagram is longer than its message.
const OVERHEAD_BYTES: usize = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Format(pub(super) u8);

/// Why a datagram is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is none of ours.
    Malformed,
    /// Of a format that is not read here.
    Version,
    /// Sealed with another secret, or changed on its way.
    Unsealed,
}

pub(super) struct Opened<'a> {
    pub(super) message: &'a [u8],
    /// What its sender reads.
    pub(super) newest: Format,
}

pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
    newest: Format,
}

impl Sealer {
    pub(super) fn new(secret: &ClusterSecret) -> Self {
        Self::of_release(secret, Format(NEWEST))
    }

    /// As the release whose newest format is this one.
    pub(super) fn of_release(secret: &ClusterSecret, newest: Format) -> Self {
        Sealer {
            cipher: XChaCha20Poly1305::new(&secret.key(CONTEXT).into()),
            newest,
        }
    }

    fn oldest(&self) -> Format {
        Format(self.newest.0.saturating_sub(1))
    }

    /// For a node that reads up to `newest`; `None`: nothing is known of it.
    pub(super) fn seal(&self, message: &[u8], newest: Option<Format>) -> Option<Vec<u8>> {
        let nonce = XChaCha20Poly1305::generate_nonce(&mut OsRng);
        let format = match newest {
            Some(newest) => newest.clamp(self.oldest(), self.newest),
            None if nonce[0] & 1 == 0 => self.oldest(),
            None => self.newest,
        };
        let header = [MAGIC[0], MAGIC[1], format.0, self.newest.0];
        let mut datagram = Vec::with_capacity(message.len() + OVERHEAD_BYTES);
        datagram.extend_from_slice(&header);
        datagram.extend_from_slice(&nonce);
        datagram.extend_from_slice(message);
        let sealed = &mut datagram[HEADER_BYTES + NONCE_BYTES..];
        // It refuses messages of many gigabytes alone.
        let tag = self
            .cipher
            .encrypt_in_place_detached(&nonce, &header, sealed)
            .ok()?;
        datagram.extend_from_slice(&tag);
        Some(datagram)
    }

    /// In place. What can be refused by its header is, before anything is computed.
    pub(super) fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<Opened<'a>, Refused> {
        if datagram.len() < OVERHEAD_BYTES || datagram[..2] != MAGIC {
            return Err(Refused::Malformed);
        }
        let (header, sealed) = datagram.split_at_mut(HEADER_BYTES);
        let (format, newest) = (Format(header[2]), Format(header[3]));
        if !(self.oldest()..=self.newest).contains(&format) {
            return Err(Refused::Version);
        }
        let (nonce, sealed) = sealed.split_at_mut(NONCE_BYTES);
        let (message, tag) = sealed.split_at_mut(sealed.len() - TAG_BYTES);
        let (nonce, tag) = (XNonce::from_slice(nonce), Tag::from_slice(tag));
        let opened = self.cipher.decrypt_in_place_detached(nonce, header, message, tag);
        opened.map_err(|_| Refused::Unsealed)?;
        Ok(Opened { message, newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret() -> ClusterSecret {
        ClusterSecret::parse(ClusterSecret::unused().unwrap().expose()).unwrap()
    }

    fn opened(sealer: &Sealer, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
        let mut datagram = datagram.to_vec();
        sealer.open(&mut datagram).map(|opened| opened.message.to_vec())
    }

    #[test]
    fn nonces_are_not_used_again_after_a_restart() {
        let secret = secret();
        let datagrams: std::collections::BTreeSet<Vec<u8>> = (0..100)
            .filter_map(|_| Sealer::new(&secret).seal(b"the same", Some(Format(NEWEST))))
            .map(|datagram| datagram[HEADER_BYTES..HEADER_BYTES + NONCE_BYTES].to_vec())
            .collect();
        assert_eq!(datagrams.len(), 100);
    }

    #[test]
    fn adjacent_releases_understand_each_other_and_others_do_not() {
        let secret = secret();
        let release = |newest| Sealer::of_release(&secret, Format(newest));
        let this = release(5);
        for (newest, understood) in [(3, false), (4, true), (5, true), (6, true), (7, false)] {
            let other = release(newest);
            for (from, to) in [(&this, &other), (&other, &this)] {
                let known = from.seal(b"message", Some(to.newest)).unwrap();
                let expected = if understood {
                    Ok(b"message".to_vec())
                } else {
                    Err(Refused::Version)
                };
                assert_eq!(opened(to, &known), expected, "{newest}");
                // One that is not known yet is written to in either.
                let tries = (0..64).filter_map(|_| from.seal(b"message", None));
                assert_eq!(
                    tries.map(|try_| opened(to, &try_)).any(|tried| tried.is_ok()),
                    understood
                );
            }
        }
    }

    #[test]
    fn what_a_sender_reads_comes_with_its_message() {
        let secret = secret();
        let [old, new] = [4, 5].map(|newest| Sealer::of_release(&secret, Format(newest)));
        let mut datagram = new.seal(b"", Some(Format(4))).unwrap();
        assert_eq!(
            old.open(&mut datagram).ok().map(|opened| opened.newest),
            Some(Format(5))
        );
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_with_the_same_secret_alone(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let secret_of_one = secret();
            let (one, same, other) =
                (Sealer::new(&secret_of_one), Sealer::new(&secret_of_one), Sealer::new(&secret()));
            let datagram = one.seal(&message, None).unwrap();
            prop_assert_eq!(datagram.len(), message.len() + OVERHEAD_BYTES);
            prop_assert_eq!(opened(&same, &datagram), Ok(message));
            prop_assert_eq!(opened(&other, &datagram), Err(Refused::Unsealed));
        }

        #[test]
        fn what_was_changed_or_cut_is_refused(
            message in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<proptest::sample::Index>(),
            bit in 0u8..8,
        ) {
            let sealer = Sealer::new(&secret());
            let datagram = sealer.seal(&message, None).unwrap();
            let mut changed = datagram.clone();
            changed[at.index(datagram.len())] ^= 1 << bit;
            prop_assert!(opened(&sealer, &changed).is_err());
            prop_assert!(opened(&sealer, &datagram[..at.index(datagram.len())]).is_err());
        }

        #[test]
        fn junk_is_refused(mut junk in proptest::collection::vec(any::<u8>(), 0..200), begins_as_ours in any::<bool>()) {
            if begins_as_ours && junk.len() >= HEADER_BYTES {
                junk[..HEADER_BYTES].copy_from_slice(&[MAGIC[0], MAGIC[1], NEWEST, NEWEST]);
            }
            prop_assert!(opened(&Sealer::new(&secret()), &junk).is_err());
        }
    }
}
