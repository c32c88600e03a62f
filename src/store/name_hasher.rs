//! Hashing of names that are hashes already.
//!
//! BLAKE3 spreads key names and digests evenly: their first eight bytes are their hash, the same on every run,
//! as the SSD's index needs it. Only [`KeyName`](crate::key::KeyName) and [`PartId`](super::PartId) may be
//! hashed by it, and [`ShortName`].

use crate::key::KeyName;
use equivalent::Equivalent;
use std::hash::{BuildHasherDefault, Hash, Hasher};

pub(super) type NameHashBuilder = BuildHasherDefault<NameHasher>;

#[derive(Debug, Default)]
pub(super) struct NameHasher(u64);

/// The first half of a name, which is its hash: enough to find it again, at half the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShortName([u8; 8]);

impl From<KeyName> for ShortName {
    fn from(name: KeyName) -> Self {
        ShortName(*name.as_bytes().first_chunk().expect("16 bytes hold 8"))
    }
}

impl Hash for ShortName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl Equivalent<KeyName> for ShortName {
    fn equivalent(&self, name: &KeyName) -> bool {
        *self == ShortName::from(*name)
    }
}

/// 2^64 divided by the golden ratio: it spreads the few indices of one digest's parts.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for NameHasher {
    fn write(&mut self, name: &[u8]) {
        let prefix = name.first_chunk().expect("names are 8, 16 or 32 bytes");
        self.0 ^= u64::from_le_bytes(*prefix);
    }

    fn write_u32(&mut self, index: u32) {
        self.0 ^= u64::from(index).wrapping_mul(SPREAD);
    }

    /// The length of an array, which is the same for all names of a type.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::store::PartId;
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    #[test]
    fn a_short_name_hashes_like_its_name() {
        let name = KeyName::from_bytes(*b"a name, 16 bytes");
        let builder = NameHashBuilder::default();
        assert_eq!(builder.hash_one(ShortName::from(name)), builder.hash_one(name));
        assert!(ShortName::from(name).equivalent(&name));
    }

    #[test]
    fn the_parts_of_a_body_have_different_hashes() {
        let digest = Digest::of(b"body");
        let hashes: HashSet<u64> = (0..10_000)
            .map(|index| NameHashBuilder::default().hash_one(PartId { digest, index }))
            .collect();
        assert_eq!(hashes.len(), 10_000);
    }
}
