//! What is used of a picture's metadata: which side is up, and whose it is.
//!
//! Metadata that is broken is none: it never keeps a picture from being shown.

use super::Probe;
use super::directory::{Directory, tag};
use crate::spec::Turn;

/// Characters of a notice.
const NOTICE_MAX: usize = 1_024;

impl Probe {
    /// `exif` may begin with the name that it has in some formats.
    pub(super) fn take_exif(&mut self, exif: &[u8]) {
        let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
        if let Some(directory) = Directory::first(exif) {
            self.take_directory(directory);
        }
    }

    pub(super) fn take_directory(&mut self, directory: Directory<'_>) {
        let orientation = directory.number(tag::ORIENTATION);
        self.turn = orientation.map(turn_of).unwrap_or_default();
        let notice_in = |tag| directory.bytes(tag).and_then(notice);
        self.copyright = notice_in(tag::COPYRIGHT).or(self.copyright.take());
        self.artist = notice_in(tag::ARTIST).or(self.artist.take());
    }
}

/// Of an EXIF orientation: what has to be done to the stored picture.
pub(super) fn turn_of(orientation: u32) -> Turn {
    let (mirrored, quarters) = match orientation {
        2 => (true, 0),
        3 => (false, 2),
        4 => (true, 2),
        5 => (true, 3),
        6 => (false, 1),
        7 => (true, 1),
        8 => (false, 3),
        _ => (false, 0),
    };
    Turn { mirrored, quarters }
}

/// A text as far as its first 0, without what would break a line or a header.
pub(super) fn notice(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    let bytes = &bytes[..bytes.len().min(4 * NOTICE_MAX)];
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // ISO 8859-1, which the older cameras write.
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let text: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(NOTICE_MAX)
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the pixel at `(x, y)` of a picture of `width` by `height` comes to lie.
    fn moved(turn: Turn, (mut x, mut y): (i32, i32), (mut width, mut height): (i32, i32)) -> (i32, i32) {
        if turn.mirrored {
            x = width - 1 - x;
        }
        for _ in 0..turn.quarters {
            (x, y) = (height - 1 - y, x);
            (width, height) = (height, width);
        }
        (x, y)
    }

    #[test]
    fn each_orientation_brings_row_0_and_column_0_where_exif_says() {
        let (right, bottom) = (2, 1);
        // EXIF 2.3, 4.6.4: where the stored row 0 and column 0 are seen; `(x, y)` of the stored corner then.
        let upright = [(0, 0), (right, 0), (right, bottom), (0, bottom)];
        let on_its_side = [(0, 0), (bottom, 0), (bottom, right), (0, right)];
        for (orientation, corner) in (1..).zip(upright.into_iter().chain(on_its_side)) {
            assert_eq!(
                moved(turn_of(orientation), (0, 0), (3, 2)),
                corner,
                "{orientation}"
            );
        }
        assert_eq!(moved(turn_of(5), (1, 0), (3, 2)), (0, 1));
        assert_eq!(moved(turn_of(2), (1, 0), (3, 2)), (1, 0));
        for nonsense in [0, 9, 65_535] {
            assert_eq!(turn_of(nonsense), Turn::default());
        }
    }

    #[test]
    fn a_notice_is_one_clean_line() {
        assert_eq!(notice(b" \xa9 Anna\r\nB\0Editor"), Some("\u{a9} AnnaB".into()));
        assert_eq!(notice("© Anna".as_bytes()), Some("© Anna".into()));
        assert_eq!(notice(b"  \0"), None);
        assert_eq!(notice(&[b'a'; 9_999]).map(|text| text.len()), Some(NOTICE_MAX));
    }
}
