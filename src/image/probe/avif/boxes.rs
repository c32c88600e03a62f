//! Boxes of ISO base media files, and those of HEIF (ISO/IEC 23008-12) that tell of items.

use crate::image::probe::view::View;

/// Of one kind on one level, of items, and of all references and pieces of data.
const COUNT_MAX: usize = 1_024;

/// Of all items together: a few each.
const ASSOCIATIONS_MAX: usize = 4_096;

/// A box: its kind and what is in it.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) kind: [u8; 4],
    pub(super) content: &'a [u8],
}

/// What the box `meta` says.
#[derive(Default)]
pub(super) struct Meta<'a> {
    pub(super) primary: u32,
    pub(super) items: Vec<Item>,
    pub(super) properties: Vec<Section<'a>>,
    /// An item and the number of one of its properties, from 1.
    pub(super) associations: Vec<(u32, usize)>,
    pub(super) references: Vec<Reference>,
    pub(super) locations: Vec<Location>,
    /// Data of items that are in `meta` itself.
    pub(super) data: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) id: u32,
    pub(super) kind: [u8; 4],
}

#[derive(Clone, Copy)]
pub(super) struct Reference {
    pub(super) kind: [u8; 4],
    pub(super) from: u32,
    pub(super) to: u32,
}

/// One of the pieces that an item's data are in.
#[derive(Clone, Copy)]
pub(super) struct Location {
    pub(super) item: u32,
    /// In the box `idat`, not in the file.
    pub(super) inside: bool,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The boxes that `bytes` are; `None` where they are cut off, or too many.
pub(super) fn sections(mut bytes: &[u8]) -> Option<Vec<Section<'_>>> {
    let mut sections = Vec::new();
    while !bytes.is_empty() {
        let view = View(bytes);
        let kind = view.array(4)?;
        let (header, length) = match view.be32(0)? {
            // To the end.
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(u64::from_be_bytes(view.array(8)?)).ok()?),
            length => (8, length as usize),
        };
        let content = bytes.get(header..length)?;
        bytes = &bytes[length..];
        sections.push(Section { kind, content });
        if sections.len() > COUNT_MAX {
            return None;
        }
    }
    Some(sections)
}

/// Reads numbers one after another.
struct Reader<'a> {
    view: View<'a>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of a box that begins with its version and flags, which are handed back.
    fn versioned(content: &'a [u8]) -> Option<(Self, u8, u32)> {
        let mut reader = Reader {
            view: View(content),
            at: 0,
        };
        let head = reader.number(4)? as u32;
        Some((reader, (head >> 24) as u8, head & 0xff_ffff))
    }

    /// Of `length` bytes, at most 8.
    fn number(&mut self, length: usize) -> Option<u64> {
        let bytes = self.view.slice(self.at, length)?;
        self.at += length;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    }

    fn id(&mut self, length: usize) -> Option<u32> {
        self.number(length)?.try_into().ok()
    }

    /// A number of things that follow.
    fn count(&mut self, length: usize) -> Option<usize> {
        let count = usize::try_from(self.number(length)?).ok()?;
        (count <= COUNT_MAX).then_some(count)
    }

    fn rest(&self) -> &'a [u8] {
        self.view.0.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Meta<'a> {
    pub(super) fn of(content: &'a [u8]) -> Option<Self> {
        let mut found = Meta::default();
        for section in sections(Reader::versioned(content)?.0.rest())? {
            let content = section.content;
            match &section.kind {
                b"pitm" => found.primary = primary(content)?,
                b"iinf" => found.items = items(content)?,
                b"iloc" => found.locations = locations(content)?,
                b"iref" => found.references = references(content)?,
                b"idat" => found.data = content,
                b"iprp" => found.take_properties(content)?,
                _ => {}
            }
        }
        Some(found)
    }

    /// By its number, from 1.
    pub(super) fn property(&self, number: usize) -> Option<Section<'a>> {
        self.properties.get(number.checked_sub(1)?).copied()
    }

    fn take_properties(&mut self, content: &'a [u8]) -> Option<()> {
        for section in sections(content)? {
            match &section.kind {
                b"ipco" => self.properties = sections(section.content)?,
                b"ipma" => associations(section.content, &mut self.associations)?,
                _ => {}
            }
        }
        Some(())
    }
}

fn primary(content: &[u8]) -> Option<u32> {
    let (mut reader, version, _) = Reader::versioned(content)?;
    reader.id(if version == 0 { 2 } else { 4 })
}

fn items(content: &[u8]) -> Option<Vec<Item>> {
    let (mut reader, version, _) = Reader::versioned(content)?;
    reader.count(if version == 0 { 2 } else { 4 })?;
    let entries = sections(reader.rest())?;
    entries
        .iter()
        .filter(|entry| &entry.kind == b"infe")
        .map(|entry| item(entry.content))
        .collect()
}

fn item(content: &[u8]) -> Option<Item> {
    let (mut reader, version, _) = Reader::versioned(content)?;
    let id = reader.id(if version < 3 { 2 } else { 4 })?;
    reader.number(2)?;
    // Before version 2 there were no kinds.
    let kind = if version < 2 {
        [0; 4]
    } else {
        View(reader.rest()).array(0)?
    };
    Some(Item { id, kind })
}

fn associations(content: &[u8], associations: &mut Vec<(u32, usize)>) -> Option<()> {
    let (mut reader, version, flags) = Reader::versioned(content)?;
    for _ in 0..reader.count(4)? {
        let item = reader.id(if version == 0 { 2 } else { 4 })?;
        for _ in 0..reader.number(1)? {
            // The first bit is whether the property is essential.
            let index = if flags & 1 == 1 {
                reader.number(2)? & 0x7fff
            } else {
                reader.number(1)? & 0x7f
            };
            associations.push((item, index as usize));
            bounded(associations, ASSOCIATIONS_MAX)?;
        }
    }
    Some(())
}

fn references(content: &[u8]) -> Option<Vec<Reference>> {
    let (reader, version, _) = Reader::versioned(content)?;
    let length = if version == 0 { 2 } else { 4 };
    let mut references = Vec::new();
    for section in sections(reader.rest())? {
        let mut reader = Reader {
            view: View(section.content),
            at: 0,
        };
        let from = reader.id(length)?;
        for _ in 0..reader.count(2)? {
            references.push(Reference {
                kind: section.kind,
                from,
                to: reader.id(length)?,
            });
            bounded(&references, COUNT_MAX)?;
        }
    }
    Some(references)
}

fn locations(content: &[u8]) -> Option<Vec<Location>> {
    let (mut reader, version, _) = Reader::versioned(content)?;
    let sizes = reader.number(2)? as usize;
    let size = |nibble: usize| Some(sizes >> (12 - 4 * nibble) & 15).filter(|size| matches!(size, 0 | 4 | 8));
    let (offset_size, length_size, base_size) = (size(0)?, size(1)?, size(2)?);
    let index_size = if version == 0 { 0 } else { size(3)? };
    let wide = if version < 2 { 2 } else { 4 };
    let mut locations = Vec::new();
    for _ in 0..reader.count(wide)? {
        let item = reader.id(wide)?;
        let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
        reader.number(2)?;
        let base = reader.number(base_size)?;
        for _ in 0..reader.count(2)? {
            reader.number(index_size)?;
            let offset = base.checked_add(reader.number(offset_size)?)?;
            let length = reader.number(length_size)?;
            locations.push(Location {
                item,
                inside: method == 1,
                offset,
                length,
            });
            bounded(&locations, COUNT_MAX)?;
        }
    }
    Some(locations)
}

/// Counts are read from the file, so what they make of it is bounded while it grows.
fn bounded<T>(found: &[T], max: usize) -> Option<()> {
    (found.len() <= max).then_some(())
}
