//! How far the log was agreed on, noted beside it.
//!
//! Invariant: what is noted was on disk in the log before. So a log that ends earlier has lost its end, by damage that
//! looks like a crash, or is an older copy. A note that is missing or torn says nothing. It does not know where it is kept.

/// Bytes of a note.
pub(in crate::purge) const BYTES: usize = 32;

/// The place of an entry that was agreed on, in the log of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::purge) struct Mark {
    pub(in crate::purge) incarnation: [u8; 16],
    pub(in crate::purge) index: u64,
}

impl Mark {
    pub(in crate::purge) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&self.incarnation);
        bytes[16..24].copy_from_slice(&self.index.to_le_bytes());
        let sum = blake3::hash(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.as_bytes()[..8]);
        bytes
    }

    /// `None`: it was not written whole.
    pub(in crate::purge) fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let mark = Mark {
            incarnation: *bytes.first_chunk()?,
            index: u64::from_le_bytes(*bytes[16..].first_chunk()?),
        };
        (mark.to_bytes() == *bytes).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_was_not_written_whole_says_nothing() {
        let mark = Mark {
            incarnation: [7; 16],
            index: 300,
        };
        let bytes = mark.to_bytes();
        assert_eq!(Mark::from_bytes(&bytes), Some(mark));
        assert_eq!(Mark::from_bytes(&[0; BYTES]), None);
        for at in 0..BYTES {
            let mut torn = bytes;
            torn[at] ^= 1;
            assert_eq!(Mark::from_bytes(&torn), None, "{at}");
        }
    }
}
