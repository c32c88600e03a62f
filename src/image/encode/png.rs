//! PNG in the leanest of its layouts that holds every pixel: palette, grey, RGB, RGBA.

use super::palette::{self, Palette};
use super::{Notice, Target, grey};
use crate::image::ImageError;
use crate::image::raster::{Layout, Raster};
use ::png::chunk::ChunkType;
use ::png::{BitDepth, ColorType, DeflateCompression, Encoder, EncodingError, Filter};

const EXIF: ChunkType = ChunkType(*b"eXIf");

pub(crate) fn write(raster: &Raster, notice: &Notice) -> Result<Vec<u8>, ImageError> {
    let mut file = Vec::new();
    let written = layout(raster).write(&mut file, (raster.width, raster.height), notice);
    written.map_err(|cause| Target::Png.error(cause))?;
    Ok(file)
}

/// The pixels as they are stored.
enum Stored<'a> {
    Palette(Palette),
    Grey(Vec<u8>),
    Whole(&'a Raster),
}

fn layout(raster: &Raster) -> Stored<'_> {
    let palette = palette::exact(raster);
    match palette {
        // From here on a byte of grey is no longer than an index, and needs no palette.
        Some(palette) if palette.colours.len() <= 16 || !is_plain_grey(raster) => Stored::Palette(palette),
        _ if is_plain_grey(raster) => Stored::Grey(raster.pixels.iter().step_by(3).copied().collect()),
        _ => Stored::Whole(raster),
    }
}

fn is_plain_grey(raster: &Raster) -> bool {
    raster.layout == Layout::Rgb && grey::is_grey(raster)
}

impl Stored<'_> {
    fn write(
        &self,
        file: &mut Vec<u8>,
        (width, height): (u32, u32),
        notice: &Notice,
    ) -> Result<(), EncodingError> {
        let mut encoder = Encoder::new(file, width, height);
        encoder.set_deflate_compression(self.compression());
        let depth = self.depth();
        encoder.set_depth(depth);
        encoder.set_color(self.colour_type());
        if let Stored::Palette(palette) = self {
            // Neighbouring indices are not alike as neighbouring colours are.
            encoder.set_filter(Filter::NoFilter);
            encoder.set_palette(palette_of(palette));
            encoder.set_trns(alphas_of(palette));
        }
        let mut writer = encoder.write_header()?;
        if let Some(exif) = notice.exif() {
            writer.write_chunk(EXIF, &exif)?;
        }
        match self {
            Stored::Palette(palette) => {
                writer.write_image_data(&packed(&palette.indices, width as usize, depth))
            }
            Stored::Grey(pixels) => writer.write_image_data(pixels),
            Stored::Whole(raster) => writer.write_image_data(&raster.pixels),
        }?;
        writer.finish()
    }

    /// Of a photo level 3 takes a third of the time of the usual 6 for 3% more bytes. Of indices repetitions are all
    /// there is to find, and there is little to search.
    fn compression(&self) -> DeflateCompression {
        DeflateCompression::Level(match self {
            Stored::Palette(_) => 6,
            Stored::Grey(_) | Stored::Whole(_) => 3,
        })
    }

    fn colour_type(&self) -> ColorType {
        match self {
            Stored::Palette(_) => ColorType::Indexed,
            Stored::Grey(_) => ColorType::Grayscale,
            Stored::Whole(raster) if raster.layout == Layout::Rgb => ColorType::Rgb,
            Stored::Whole(_) => ColorType::Rgba,
        }
    }

    fn depth(&self) -> BitDepth {
        match self {
            Stored::Palette(palette) => match palette.colours.len() {
                0..=2 => BitDepth::One,
                3..=4 => BitDepth::Two,
                5..=16 => BitDepth::Four,
                _ => BitDepth::Eight,
            },
            Stored::Grey(_) | Stored::Whole(_) => BitDepth::Eight,
        }
    }
}

fn palette_of(palette: &Palette) -> Vec<u8> {
    palette
        .colours
        .iter()
        .flat_map(|&[red, green, blue, _]| [red, green, blue])
        .collect()
}

/// Only of the first colours, which are those that are not opaque; none at all where all are.
fn alphas_of(palette: &Palette) -> Vec<u8> {
    let alphas = palette.colours.iter().map(|colour| colour[3]);
    alphas.take_while(|alpha| *alpha != u8::MAX).collect()
}

/// Several indices in a byte, the first in its upper bits; each row begins with a new byte.
fn packed(indices: &[u8], width: usize, depth: BitDepth) -> Vec<u8> {
    let bits = depth as usize;
    let pack = |indices: &[u8]| {
        let shifts = (0..8 / bits).map(|at| 8 - bits * (at + 1));
        indices
            .iter()
            .zip(shifts)
            .fold(0, |byte, (index, shift)| byte | (index << shift))
    };
    let rows = indices.chunks_exact(width);
    rows.flat_map(|row| row.chunks(8 / bits)).map(pack).collect()
}
