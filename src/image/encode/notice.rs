//! The copyright notice and the artist, as a minimal EXIF block.
//!
//! Invariant: what is written holds nothing but these two, and fits into one segment of a JPEG.

use exif::experimental::Writer;
use exif::{Field, In, Tag, Value};
use std::io::Cursor;

/// Of each of the two, in bytes.
const TEXT_MAX: usize = 4_096;

/// What is kept of a source's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) copyright: Option<String>,
    pub(crate) artist: Option<String>,
}

impl Notice {
    /// A TIFF structure, as EXIF has it; `None` where there is nothing to say.
    pub(crate) fn exif(&self) -> Option<Vec<u8>> {
        let texts = [(Tag::Artist, &self.artist), (Tag::Copyright, &self.copyright)];
        let fields: Vec<Field> = texts
            .into_iter()
            .filter_map(|(tag, text)| field(tag, text.as_deref()?))
            .collect();
        if fields.is_empty() {
            return None;
        }
        let mut writer = Writer::new();
        for field in &fields {
            writer.push_field(field);
        }
        let mut block = Cursor::new(Vec::new());
        writer.write(&mut block, true).ok()?;
        Some(block.into_inner())
    }

    /// For formats that know only a text.
    pub(crate) fn text(&self) -> Option<String> {
        let texts = [&self.artist, &self.copyright].map(|text| clean(text.as_deref().unwrap_or_default()));
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        texts.reduce(|artist, copyright| format!("{artist}\n{copyright}"))
    }
}

/// Behind the JFIF segment, which has to stay the first.
pub(crate) fn into_jpeg(file: Vec<u8>, notice: &Notice) -> Vec<u8> {
    const NAME: &[u8] = b"Exif\0\0";
    let Some(exif) = notice.exif() else {
        return file;
    };
    let Ok(length) = u16::try_from(2 + NAME.len() + exif.len()) else {
        return file;
    };
    let at = behind_jfif(&file);
    let segment = [&[0xff, 0xe1], &length.to_be_bytes()[..], NAME, &exif].concat();
    [&file[..at], &segment, &file[at..]].concat()
}

fn behind_jfif(file: &[u8]) -> usize {
    match file {
        [0xff, 0xd8, 0xff, 0xe0, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (4 + length).min(file.len())
        }
        _ => 2.min(file.len()),
    }
}

fn field(tag: Tag, text: &str) -> Option<Field> {
    let text = clean(text);
    (!text.is_empty()).then(|| Field {
        tag,
        ifd_num: In::PRIMARY,
        value: Value::Ascii(vec![text.into_bytes()]),
    })
}

/// A zero would end the text.
fn clean(text: &str) -> String {
    let text = text.replace('\0', " ");
    let text = text.trim();
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}
