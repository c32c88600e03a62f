//! A colour profile reduced to what a way to sRGB is built of.
//!
//! A profile is a stranger's: its table may name one tag tens of thousands of times, or texts that all share the same
//! megabyte, and a reader that takes in each of them runs out of time or memory. Invariant: what comes out names each
//! tag at most once, and no texts. It does not know what tags mean.

/// Of the header; the number of tags follows.
const HEADER: usize = 128;
const TABLE: usize = HEADER + 4;
/// Of an entry of the table: its signature, then offset and size.
const ENTRY: usize = 12;

/// Primaries, curves and tables from the device's colours to the profile's; what their white is.
const NEEDED: [&[u8; 4]; 12] = [
    b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"wtpt", b"chad", b"cicp", b"A2B0",
    b"A2B1",
];

/// `None` when there are fewer bytes than the table says.
pub(super) fn reduced(profile: &[u8]) -> Option<Vec<u8>> {
    let count = u32::from_be_bytes(*profile.get(HEADER..TABLE)?.first_chunk()?);
    let length = usize::try_from(count).ok()?.checked_mul(ENTRY)?;
    let table = profile.get(TABLE..)?.get(..length)?;
    let mut reduced = profile.to_vec();
    let mut kept = Vec::new();
    for needed in NEEDED {
        kept.extend(table.chunks_exact(ENTRY).find(|entry| entry.starts_with(needed)));
    }
    let written = u32::try_from(kept.len()).ok()?;
    reduced[HEADER..TABLE].copy_from_slice(&written.to_be_bytes());
    // What was behind in the table stays where it was, and is named by nothing; the tags' own places do not change.
    for (place, entry) in reduced[TABLE..].chunks_exact_mut(ENTRY).zip(kept) {
        place.copy_from_slice(entry);
    }
    Some(reduced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(tags: &[&[u8; 4]]) -> Vec<u8> {
        let mut bytes = vec![7; HEADER];
        bytes.extend((tags.len() as u32).to_be_bytes());
        for (number, tag) in tags.iter().enumerate() {
            bytes.extend(*tag);
            bytes.extend((number as u64).to_be_bytes());
        }
        bytes.extend(b"the tags' own bytes");
        bytes
    }

    #[test]
    fn each_tag_is_named_once_and_texts_never() {
        let reduced = reduced(&profile(&[
            b"desc", b"wtpt", b"A2B0", b"A2B0", b"cprt", b"rTRC", b"wtpt",
        ]))
        .unwrap();
        assert_eq!(reduced[HEADER..TABLE], [0, 0, 0, 3]);
        let entries: Vec<(&[u8], u8)> = reduced[TABLE..]
            .chunks_exact(ENTRY)
            .take(3)
            .map(|entry| (&entry[..4], entry[11]))
            .collect();
        assert_eq!(entries, [(&b"rTRC"[..], 5), (b"wtpt", 1), (b"A2B0", 2)]);
        assert!(reduced.ends_with(b"the tags' own bytes"));
    }

    #[test]
    fn a_table_that_is_cut_off_is_no_table() {
        let whole = profile(&[b"wtpt", b"A2B0"]);
        for length in 0..TABLE + 2 * ENTRY {
            assert_eq!(reduced(&whole[..length]), None, "{length}");
        }
        let mut boasting = whole;
        boasting[HEADER..TABLE].fill(255);
        assert_eq!(reduced(&boasting), None);
    }
}
