//! AVIF: its boxes, and the sequence headers of its items' bitstreams.
//!
//! The decoder allocates by what the bitstreams say, not by what the boxes say, and tells no one when it can not
//! convert the colours. So both are looked at here. Of a sequence (`avis`) the primary item is taken.

mod av1;
mod boxes;

use super::codes::Codes;
use super::{Colours, Kind, Probe, profile};
use crate::image::probe::view::View;
use crate::image::{ImageError, Limits};
use crate::spec::Turn;
use av1::{Sequence, Stream};
use boxes::{Location, Meta, Section, sections};
use std::borrow::Cow;
use std::collections::HashSet;

/// Tiles of a grid may be larger than the picture that is cut from them, but no larger than this.
const TILE_SIDE: u32 = 1_024;

/// A still is one frame; layers make a few.
const CODED_FRAMES_MAX: u32 = 16;

/// Of a pixel of 8 bits that the decoder makes beside the picture's own: its planes, and copies of them.
const PLANES: u64 = 18;

/// Frames of an item that the decoder keeps, as AV1 says.
const KEPT_FRAMES_MAX: u32 = 8;

/// What a grid says takes 8 or 12 bytes.
const GRID_BYTES_MAX: usize = 64;

/// What is coded: all items together.
#[derive(Default)]
struct Coded {
    sequences: Vec<Sequence>,
    /// Of the picture, or its first tile.
    own: Option<Sequence>,
    /// Of frames beyond each item's first.
    layered_pixels: u64,
    /// Of those that are kept until the item's last.
    kept_pixels: u64,
}

/// The item that is the picture, among all of the file.
struct Primary<'a> {
    file: &'a [u8],
    meta: Meta<'a>,
    /// Whether it is put together of tiles.
    grid: bool,
}

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let primary = Primary::of(bytes)?;
    let (width, height) = primary.size().ok_or_else(|| corrupt("its picture has no size"))?;
    let mut probe = Probe::still(Kind::Avif, width, height, limits)?;
    probe.profile = primary.profile(limits)?.and_then(profile::checked);
    probe.alpha = primary.alpha();
    let coded = primary.coded(&probe, limits)?;
    let sequences = &coded.sequences;
    if !sequences.iter().all(|sequence| primary.converts(sequence)) {
        return Err(ImageError::Unsupported {
            what: "an AVIF of these matrix coefficients",
        });
    }
    probe.depth = sequences.iter().map(|sequence| sequence.depth).max().unwrap_or(8);
    if sequences.iter().all(|sequence| sequence.monochrome) {
        probe.colours = Colours::Grey;
    }
    probe.working_bytes = coded.working_bytes(&probe);
    if probe.profile.is_none()
        && let Some(sequence) = &coded.own
    {
        probe.profile = primary.described(sequence).profile()?;
    }
    if let Some(exif) = primary.exif() {
        probe.take_exif(&exif);
    }
    // The boxes alone say how the picture is turned, whatever the EXIF says (MIAF, section 7.3.6.7).
    probe.turn = primary.turn();
    Ok(probe)
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Avif.name(), cause)
}

impl<'a> Primary<'a> {
    fn of(file: &'a [u8]) -> Result<Self, ImageError> {
        let broken = || corrupt("its boxes are broken or cut off");
        let sections = sections(file).ok_or_else(broken)?;
        let meta = sections.iter().find(|section| &section.kind == b"meta");
        let meta = meta.ok_or(ImageError::Unsupported {
            what: "an AVIF sequence without a still picture",
        })?;
        let meta = Meta::of(meta.content).ok_or_else(broken)?;
        let kind = meta
            .items
            .iter()
            .find(|item| item.id == meta.primary)
            .map(|item| item.kind);
        match kind {
            Some(kind) if matches!(&kind, b"av01" | b"grid") => {
                let grid = &kind == b"grid";
                Ok(Primary { file, meta, grid })
            }
            Some(_) => Err(ImageError::Unsupported {
                what: "an AVIF that is neither one picture nor a grid",
            }),
            None => Err(corrupt("its picture is missing")),
        }
    }

    fn properties(&self, item: u32) -> impl Iterator<Item = Section<'a>> {
        let associations = self.meta.associations.iter().filter(move |(of, _)| *of == item);
        associations.filter_map(|(_, number)| self.meta.property(*number))
    }

    /// The first property of one kind that the picture has.
    fn property(&self, kind: [u8; 4]) -> Option<&'a [u8]> {
        let mut properties = self.properties(self.meta.primary);
        properties
            .find(|property| property.kind == kind)
            .map(|property| property.content)
    }

    fn size(&self) -> Option<(u32, u32)> {
        let view = View(self.property(*b"ispe")?);
        Some((view.be32(4)?, view.be32(8)?))
    }

    /// First `irot`, in quarters anticlockwise, then `imir`: 0 swaps top and bottom, 1 left and right.
    fn turn(&self) -> Turn {
        let first = |kind| self.property(kind).and_then(|content| content.first().copied());
        let anticlockwise = first(*b"irot").unwrap_or_default() & 3;
        match first(*b"imir") {
            None => Turn {
                mirrored: false,
                quarters: (4 - anticlockwise) % 4,
            },
            // To turn, then to mirror, is to mirror, then to turn the other way.
            Some(axis) if axis & 1 == 1 => Turn {
                mirrored: true,
                quarters: anticlockwise,
            },
            Some(_) => Turn {
                mirrored: true,
                quarters: (anticlockwise + 2) % 4,
            },
        }
    }

    /// Whether something is the transparency of the picture, or of a tile of it.
    fn alpha(&self) -> bool {
        let names: [&[u8]; 2] = [
            b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha",
            b"urn:mpeg:hevc:2015:auxid:1",
        ];
        let is_alpha = |property: &Section<'_>| {
            let name = property.content.get(4..).unwrap_or_default();
            &property.kind == b"auxC" && names.iter().any(|known| name.starts_with(known))
        };
        let associations = self.meta.associations.iter();
        let transparencies: HashSet<u32> = associations
            .filter(|(_, number)| self.meta.property(*number).as_ref().is_some_and(is_alpha))
            .map(|(item, _)| *item)
            .collect();
        let mut pictures: HashSet<u32> = self.tiles().collect();
        pictures.insert(self.meta.primary);
        self.meta.references.iter().any(|reference| {
            &reference.kind == b"auxl"
                && pictures.contains(&reference.to)
                && transparencies.contains(&reference.from)
        })
    }

    fn tiles(&self) -> impl Iterator<Item = u32> {
        let references = self.meta.references.iter();
        let own = references.filter(|reference| reference.from == self.meta.primary);
        own.filter(|reference| &reference.kind == b"dimg")
            .map(|reference| reference.to)
    }

    fn colours(&self, kinds: &[&[u8]]) -> Option<&'a [u8]> {
        let properties = self
            .properties(self.meta.primary)
            .filter(|property| &property.kind == b"colr");
        let mut split = properties.filter_map(|property| property.content.split_at_checked(4));
        split
            .find(|(kind, _)| kinds.contains(kind))
            .map(|(_, content)| content)
    }

    fn profile(&self, limits: &Limits) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(profile) = self.colours(&[b"prof", b"rICC"]) else {
            return Ok(None);
        };
        limits.profile(profile.len())?;
        Ok(Some(profile.to_vec()))
    }

    /// What the colours mean. The boxes come before the bitstream.
    fn described(&self, sequence: &Sequence) -> Codes {
        let boxed = self.colours(&[b"nclx"]).and_then(|content| {
            let view = View(content);
            Some(Codes {
                primaries: view.be16(0)?,
                transfer: view.be16(2)?,
                matrix: view.be16(4)?,
                full_range: view.byte(6)? & 0x80 != 0,
            })
        });
        boxed.unwrap_or(sequence.codes)
    }

    /// Whether the decoder can make RGB of it. Identity needs whole colours, YCgCo the full range, and the others that
    /// are not named are not there at all.
    fn converts(&self, sequence: &Sequence) -> bool {
        let Codes {
            matrix, full_range, ..
        } = self.described(sequence);
        match matrix {
            _ if sequence.monochrome && matrix <= 2 => true,
            0 => !sequence.subsampled,
            8 => full_range,
            1 | 2 | 4..=7 | 9 | 12 => true,
            _ => false,
        }
    }

    /// One that is larger than the picture would make the decoder allocate more than its size lets expect.
    fn coded(&self, probe: &Probe, limits: &Limits) -> Result<Coded, ImageError> {
        let coded = self.headers()?;
        let tile = if self.grid { TILE_SIDE } else { 0 };
        let (width, height) = (probe.width.max(tile), probe.height.max(tile));
        let fits = |sequence: &Sequence| sequence.width <= width && sequence.height <= height;
        if !coded.sequences.iter().all(fits) {
            return Err(corrupt("a bitstream is larger than the picture"));
        }
        if self.grid {
            self.check_grids(probe, &coded.sequences)?;
        }
        let what = "the number of pixels of an AVIF's layers";
        ImageError::within(what, coded.layered_pixels, limits.pixels)?;
        Ok(coded)
    }

    /// Items do not share their data, and each frame takes its time: so the work is bounded.
    fn headers(&self) -> Result<Coded, ImageError> {
        let broken = || corrupt("a bitstream is broken or cut off");
        let mut coded = Coded::default();
        let mut left = self.file.len();
        let own = self.tiles().next().unwrap_or(self.meta.primary);
        for item in self.meta.items.iter().filter(|item| &item.kind == b"av01") {
            let data = self.data(item.id, self.file.len()).ok_or_else(broken)?;
            left = left
                .checked_sub(data.len())
                .ok_or_else(|| corrupt("its items share data"))?;
            let stream = Stream::of(&data).ok_or_else(broken)?;
            let what = "the number of frames of an AVIF's item";
            ImageError::within(what, stream.frames.into(), CODED_FRAMES_MAX.into())?;
            if item.id == own {
                coded.own = stream.sequences.first().copied();
            }
            coded.take(stream);
        }
        if coded.sequences.is_empty() {
            return Err(corrupt("no bitstream has a header"));
        }
        Ok(coded)
    }

    /// Grids say for themselves how large they are. All tiles are decoded before they are put together: those of the
    /// picture, of its transparency, and a thumbnail's.
    fn check_grids(&self, probe: &Probe, sequences: &[Sequence]) -> Result<(), ImageError> {
        for item in self.meta.items.iter().filter(|item| &item.kind == b"grid") {
            let data = self.data(item.id, GRID_BYTES_MAX);
            let size = data.and_then(|data| grid_size(View(&data)));
            let (width, height) = size.ok_or_else(|| corrupt("a grid is cut off"))?;
            if width > probe.width || height > probe.height {
                return Err(corrupt("a grid is larger than the picture"));
            }
        }
        let all: u64 = sequences.iter().map(Sequence::pixels).sum();
        let room = u64::from(probe.width + TILE_SIDE) * u64::from(probe.height + TILE_SIDE);
        if all > 3 * room {
            return Err(corrupt("its tiles are more than the picture"));
        }
        Ok(())
    }

    fn exif(&self) -> Option<Cow<'a, [u8]>> {
        let item = self.meta.items.iter().find(|item| &item.kind == b"Exif")?;
        let data = self.data(item.id, self.file.len())?;
        // Where the TIFF header begins after this number.
        let skipped = View(&data).be32(0)? as usize;
        let from = skipped.checked_add(4).filter(|from| *from <= data.len())?;
        Some(match data {
            Cow::Borrowed(data) => Cow::Borrowed(&data[from..]),
            Cow::Owned(data) => Cow::Owned(data[from..].to_vec()),
        })
    }

    /// Of an item, from wherever its pieces are; none where they are more than `length_max` together.
    fn data(&self, item: u32, length_max: usize) -> Option<Cow<'a, [u8]>> {
        let locations = self
            .meta
            .locations
            .iter()
            .filter(|location| location.item == item);
        let pieces: Vec<&[u8]> = locations
            .map(|location| self.piece(location))
            .collect::<Option<_>>()?;
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        match pieces[..] {
            [] => None,
            [piece] => Some(Cow::Borrowed(piece)),
            _ if length > length_max => None,
            _ => Some(Cow::Owned(pieces.concat())),
        }
    }

    fn piece(&self, location: &Location) -> Option<&'a [u8]> {
        let all = if location.inside {
            self.meta.data
        } else {
            self.file
        };
        let [offset, length] = [location.offset, location.length].map(usize::try_from);
        View(all).slice(offset.ok()?, length.ok()?)
    }
}

impl Coded {
    fn take(&mut self, stream: Stream) {
        let frame = stream.sequences.iter().map(Sequence::pixels).max();
        let frame = frame.unwrap_or_default();
        let layers = stream.frames.saturating_sub(1);
        self.layered_pixels += frame * u64::from(layers);
        self.kept_pixels += frame * u64::from(layers.min(KEPT_FRAMES_MAX));
        self.sequences.extend(stream.sequences);
    }

    /// Beyond one frame of the picture, and one of its transparency.
    fn working_bytes(&self, probe: &Probe) -> u64 {
        let all: u64 = self.sequences.iter().map(Sequence::pixels).sum();
        let own = probe.pixels() * if probe.alpha { 2 } else { 1 };
        let wide = if probe.depth > 8 { 2 } else { 1 };
        (all.saturating_sub(own) + self.kept_pixels) * PLANES * wide
    }
}

/// After version, flags, rows and columns: the sides, in 16 or 32 bits (ISO/IEC 23008-12, section 6.6.2.3).
fn grid_size(view: View<'_>) -> Option<(u32, u32)> {
    if view.byte(1)? & 1 == 1 {
        Some((view.be32(4)?, view.be32(8)?))
    } else {
        Some((view.be16(4)?.into(), view.be16(6)?.into()))
    }
}
