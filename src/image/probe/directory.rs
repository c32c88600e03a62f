//! Directories of TIFF, which EXIF is made of too: numbered fields.
//!
//! Only the first directory is read. Its fields are found when they are asked for, so that nothing is allocated.

use super::view::View;

/// Of these many fields the first is looked for.
const FIELDS_MAX: usize = 1_024;
const FIELD: usize = 12;

/// Tags of TIFF 6.0 and of the ICC's technical note.
pub(super) mod tag {
    pub(in super::super) const WIDTH: u16 = 256;
    pub(in super::super) const HEIGHT: u16 = 257;
    pub(in super::super) const BITS: u16 = 258;
    pub(in super::super) const COMPRESSION: u16 = 259;
    pub(in super::super) const PHOTOMETRIC: u16 = 262;
    pub(in super::super) const STRIP_OFFSETS: u16 = 273;
    pub(in super::super) const ORIENTATION: u16 = 274;
    pub(in super::super) const SAMPLES: u16 = 277;
    pub(in super::super) const ROWS_PER_STRIP: u16 = 278;
    pub(in super::super) const STRIP_BYTE_COUNTS: u16 = 279;
    pub(in super::super) const PLANAR: u16 = 284;
    pub(in super::super) const ARTIST: u16 = 315;
    pub(in super::super) const PREDICTOR: u16 = 317;
    pub(in super::super) const TILE_WIDTH: u16 = 322;
    pub(in super::super) const TILE_HEIGHT: u16 = 323;
    pub(in super::super) const TILE_OFFSETS: u16 = 324;
    pub(in super::super) const TILE_BYTE_COUNTS: u16 = 325;
    pub(in super::super) const EXTRA_SAMPLES: u16 = 338;
    pub(in super::super) const SAMPLE_FORMAT: u16 = 339;
    pub(in super::super) const SUBSAMPLING: u16 = 530;
    pub(in super::super) const COPYRIGHT: u16 = 33_432;
    pub(in super::super) const PROFILE: u16 = 34_675;
}

#[derive(Clone, Copy)]
pub(super) struct Directory<'a> {
    all: View<'a>,
    big_endian: bool,
    fields: &'a [u8],
    /// Whether it has no other fields than these.
    whole: bool,
}

impl<'a> Directory<'a> {
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let mut directory = Directory {
            all: View(bytes),
            big_endian: bytes.starts_with(b"MM\0*"),
            fields: &[],
            whole: false,
        };
        if !directory.big_endian && !bytes.starts_with(b"II*\0") {
            return None;
        }
        let at = directory.u32(directory.all, 4)? as usize;
        let count = usize::from(directory.u16(directory.all, at)?);
        let from = at.checked_add(2)?;
        // A directory that is cut off has the fields that are there.
        let room = bytes.len().saturating_sub(from) / FIELD;
        let known = count.min(FIELDS_MAX).min(room);
        directory.fields = directory.all.slice(from, known * FIELD)?;
        directory.whole = known == count;
        Some(directory)
    }

    /// Whether there is but one way to read it: all its fields are here, and each once.
    pub(super) fn is_plain(&self) -> bool {
        let mut tags: Vec<Option<u16>> = self.all_fields().map(|field| self.u16(field, 0)).collect();
        tags.sort_unstable();
        self.whole && tags.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// How many values a field has; 0 where there is no such field.
    pub(super) fn count(&self, tag: u16) -> u32 {
        self.field(tag)
            .and_then(|field| self.u32(field, 4))
            .unwrap_or_default()
    }

    pub(super) fn has(&self, tag: u16) -> bool {
        self.field(tag).is_some()
    }

    /// The field's first number.
    pub(super) fn number(&self, tag: u16) -> Option<u32> {
        let (kind, values) = self.values(tag)?;
        match kind {
            1 => values.byte(0).map(u32::from),
            3 => self.u16(values, 0).map(u32::from),
            4 => self.u32(values, 0),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.values(tag).map(|(_, values)| values.0)
    }

    fn all_fields(&self) -> impl Iterator<Item = View<'a>> {
        self.fields.chunks_exact(FIELD).map(View)
    }

    fn field(&self, tag: u16) -> Option<View<'a>> {
        self.all_fields().find(|field| self.u16(*field, 0) == Some(tag))
    }

    /// Its type, and its values where they are: in the field when they fit into it.
    fn values(&self, tag: u16) -> Option<(u16, View<'a>)> {
        let field = self.field(tag)?;
        let kind = self.u16(field, 2)?;
        let unit = match kind {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 => 4,
            5 | 10 | 12 => 8,
            _ => return None,
        };
        let length = (self.u32(field, 4)? as usize).checked_mul(unit)?;
        let values = if length <= 4 {
            field.slice(8, length)
        } else {
            self.all.slice(self.u32(field, 8)? as usize, length)
        };
        values.map(|values| (kind, View(values)))
    }

    fn u16(&self, view: View<'_>, at: usize) -> Option<u16> {
        if self.big_endian {
            view.be16(at)
        } else {
            view.le16(at)
        }
    }

    fn u32(&self, view: View<'_>, at: usize) -> Option<u32> {
        if self.big_endian {
            view.be32(at)
        } else {
            view.le32(at)
        }
    }
}
