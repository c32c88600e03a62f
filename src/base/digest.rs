//! Names of bytes: BLAKE3, the same on every node.
//!
//! Equal digests mean equal bytes, also against an attacker who chooses them; that is why blobs carry the
//! full 256 bits while a key's name, which is checked against the key's text, needs only 128.

use std::fmt;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// BLAKE3-256 of a body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Digest(blake3::hash(bytes).into())
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Digest(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// All of it.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

/// As much as tells digests in a log apart.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0[..8]))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    /// A digest's worth at a time: names are written for every request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bytes in self.0.chunks(32) {
            let mut digits = [0; 64];
            for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
                pair[0] = DIGITS[usize::from(byte >> 4)];
                pair[1] = DIGITS[usize::from(byte & 15)];
            }
            let digits = std::str::from_utf8(&digits[..2 * bytes.len()]).map_err(|_| fmt::Error)?;
            f.write_str(digits)?;
        }
        Ok(())
    }
}

/// A digest of bytes that arrive in pieces.
#[derive(Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_in_all_its_digits_and_logged_in_some() {
        let bytes: [u8; 32] = std::array::from_fn(|at| (at * 7) as u8);
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = Digest::from_bytes(bytes);
        assert_eq!(digest.to_string(), digits);
        assert_eq!(format!("{digest:?}"), digits[..16]);
    }

    #[test]
    fn any_number_of_bytes_has_two_digits_each() {
        for length in [0, 1, 31, 32, 33, 100] {
            assert_eq!(
                Hex(&vec![0xa5; length]).to_string(),
                "a5".repeat(length),
                "{length}"
            );
        }
    }
}
