//! TIFF: the fields of its first page, the only one that is used.
//!
//! The decoder allocates by its fields before it can be told a limit. So all that it reads are looked at here, and a
//! directory that could be read in two ways is refused.

use super::directory::{Directory, tag};
use super::{Colours, Kind, Probe, profile};
use crate::image::{ImageError, Limits};

/// Grey or RGB, and alpha.
const SAMPLES_MAX: u32 = 4;
const BITS_MAX: u32 = 16;

/// Of a field that is no table.
const VALUES_MAX: u32 = 16;

/// Strips or tiles: as many as the longest side has rows, in as many planes as there are samples.
const CHUNKS_MAX: u32 = 65_536;

/// A tile may be larger than the picture that is cut from it, but no larger than this.
const TILE_SIDE: u32 = 1_024;

/// None, CCITT group 4, LZW, deflate by both its numbers, PackBits: what is unpacked row by row. A JPEG in a TIFF has
/// a size of its own.
const COMPRESSIONS: [u32; 6] = [1, 4, 5, 8, 32_946, 32_773];

/// The fields of one number, or of one for each sample, that the decoder reads.
const NUMBERS: [u16; 14] = [
    tag::WIDTH,
    tag::HEIGHT,
    tag::BITS,
    tag::COMPRESSION,
    tag::PHOTOMETRIC,
    tag::SAMPLES,
    tag::ROWS_PER_STRIP,
    tag::PLANAR,
    tag::PREDICTOR,
    tag::TILE_WIDTH,
    tag::TILE_HEIGHT,
    tag::EXTRA_SAMPLES,
    tag::SAMPLE_FORMAT,
    tag::SUBSAMPLING,
];

const TABLES: [u16; 4] = [
    tag::STRIP_OFFSETS,
    tag::STRIP_BYTE_COUNTS,
    tag::TILE_OFFSETS,
    tag::TILE_BYTE_COUNTS,
];

/// What a sample beyond the colours is: their share, by which they have been multiplied already.
const ASSOCIATED_ALPHA: u32 = 1;

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let cut = || corrupt("its directory is cut off");
    let directory = Directory::first(bytes).ok_or_else(cut)?;
    let width = directory.number(tag::WIDTH).ok_or_else(cut)?;
    let height = directory.number(tag::HEIGHT).ok_or_else(cut)?;
    let mut probe = Probe::still(Kind::Tiff, width, height, limits)?;
    check_fields(directory)?;
    check_tiles(directory, &probe)?;
    probe.colours = colours(directory)?;
    probe.depth = depth(directory)?;
    probe.alpha = alpha(directory, probe.colours);
    probe.take_directory(directory);
    if let Some(bytes) = directory.bytes(tag::PROFILE) {
        limits.profile(bytes.len())?;
        probe.profile = profile::checked(bytes.to_vec());
    }
    Ok(probe)
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Tiff.name(), cause)
}

/// Whether its colours have been multiplied by its alpha.
pub(in crate::image) fn is_premultiplied(bytes: &[u8]) -> bool {
    let extra = Directory::first(bytes).and_then(|directory| directory.number(tag::EXTRA_SAMPLES));
    extra == Some(ASSOCIATED_ALPHA)
}

fn check_fields(directory: Directory<'_>) -> Result<(), ImageError> {
    if !directory.is_plain() {
        return Err(corrupt("its directory is cut off, or a field is there twice"));
    }
    let known = |tag: u16| !directory.has(tag) || directory.number(tag).is_some();
    if !NUMBERS.into_iter().chain(TABLES).all(known) {
        return Err(corrupt("a field has no number"));
    }
    for tag in NUMBERS {
        let what = "the number of values of a TIFF's field";
        ImageError::within(what, directory.count(tag).into(), VALUES_MAX.into())?;
    }
    for tag in TABLES {
        let what = "the number of strips or tiles of a TIFF";
        ImageError::within(what, directory.count(tag).into(), CHUNKS_MAX.into())?;
    }
    let compression = directory.number(tag::COMPRESSION).unwrap_or(1);
    if !COMPRESSIONS.contains(&compression) {
        return Err(ImageError::Unsupported {
            what: "a TIFF of this compression",
        });
    }
    Ok(())
}

/// The decoder holds a row of a tile, and reads past what lies outside the picture.
fn check_tiles(directory: Directory<'_>, probe: &Probe) -> Result<(), ImageError> {
    for (tag, side) in [(tag::TILE_WIDTH, probe.width), (tag::TILE_HEIGHT, probe.height)] {
        let what = "the side of a TIFF's tile";
        let tile = directory.number(tag).unwrap_or_default();
        ImageError::within(what, tile.into(), side.max(TILE_SIDE).into())?;
    }
    Ok(())
}

fn depth(directory: Directory<'_>) -> Result<u8, ImageError> {
    let bits = directory.number(tag::BITS).unwrap_or(1);
    let samples = directory.number(tag::SAMPLES).unwrap_or(1);
    if bits > BITS_MAX || samples > SAMPLES_MAX {
        return Err(ImageError::Unsupported {
            what: "a TIFF of more than 16 bits or 4 samples",
        });
    }
    Ok(bits as u8)
}

/// What is beyond the colours is alpha, unless it is said to be something else.
fn alpha(directory: Directory<'_>, colours: Colours) -> bool {
    let known = directory
        .number(tag::EXTRA_SAMPLES)
        .is_none_or(|meaning| meaning != 0);
    let colours = if colours == Colours::Grey { 1 } else { 3 };
    known
        && directory
            .number(tag::SAMPLES)
            .is_some_and(|samples| samples > colours)
}

fn colours(directory: Directory<'_>) -> Result<Colours, ImageError> {
    // 1 are whole numbers, which they are where nothing is said.
    if directory
        .number(tag::SAMPLE_FORMAT)
        .is_some_and(|format| format != 1)
    {
        return Err(ImageError::Unsupported {
            what: "a TIFF of other than whole numbers",
        });
    }
    match directory.number(tag::PHOTOMETRIC) {
        Some(0 | 1) => Ok(Colours::Grey),
        Some(2) => Ok(Colours::Rgb),
        _ => Err(ImageError::Unsupported {
            what: "a TIFF that is neither grey nor RGB",
        }),
    }
}
