//! BMP and TIFF.

use super::{differs, from_grey, from_grey_alpha, without_alpha};
use crate::image::probe::tiff;
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Kind, Probe};
use image::codecs::bmp::BmpDecoder;
use image::codecs::tiff::TiffDecoder;
use image::{ColorType, ImageDecoder, Limits};
use std::io::Cursor;

/// Beside the pixels: rows of strips and tiles, and their tables. The decoder counts a strip's packed length too.
const INTERMEDIATE_BYTES: u64 = 16 << 20;

pub(super) fn decode(bytes: &[u8], probe: &Probe) -> Result<Raster, ImageError> {
    let reader = Cursor::new(bytes);
    let refused = |error| refused(error, probe);
    let (colours, pixels) = match probe.kind {
        Kind::Bmp => samples(BmpDecoder::new(reader).map_err(refused)?, bytes, probe)?,
        _ => samples(TiffDecoder::new(reader).map_err(refused)?, bytes, probe)?,
    };
    let mut raster = raster(colours, pixels, probe)?;
    if raster.layout == Layout::Rgba && probe.kind == Kind::Tiff && tiff::is_premultiplied(bytes) {
        unpremultiply(&mut raster.pixels);
    }
    Ok(raster)
}

fn refused(error: image::ImageError, probe: &Probe) -> ImageError {
    match error {
        image::ImageError::Unsupported(_) => ImageError::Unsupported {
            what: "this kind of BMP or TIFF",
        },
        image::ImageError::Limits(_) => ImageError::Unsupported {
            what: "a BMP or TIFF that takes more memory than its size lets expect",
        },
        error => ImageError::corrupt(probe.kind.name(), error),
    }
}

fn samples(
    mut decoder: impl ImageDecoder,
    bytes: &[u8],
    probe: &Probe,
) -> Result<(ColorType, Vec<u8>), ImageError> {
    if decoder.dimensions() != (probe.width, probe.height) {
        return Err(differs(probe));
    }
    let refused = |error| refused(error, probe);
    let colours = decoder.color_type();
    let length = probe.pixels() * u64::from(colours.bytes_per_pixel());
    let beside = INTERMEDIATE_BYTES.max(bytes.len() as u64);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(probe.width);
    limits.max_image_height = Some(probe.height);
    limits.max_alloc = Some(length.saturating_add(beside));
    decoder.set_limits(limits).map_err(refused)?;
    let mut pixels = vec![0; usize::try_from(length).map_err(|_| differs(probe))?];
    decoder.read_image(&mut pixels).map_err(refused)?;
    Ok((colours, pixels))
}

fn raster(colours: ColorType, mut pixels: Vec<u8>, probe: &Probe) -> Result<Raster, ImageError> {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    if matches!(colours, L16 | La16 | Rgb16 | Rgba16) {
        pixels = high_bytes(&pixels);
    }
    let (layout, pixels) = match colours {
        Rgb8 | Rgb16 => (Layout::Rgb, pixels),
        Rgba8 | Rgba16 if probe.alpha => (Layout::Rgba, pixels),
        Rgba8 | Rgba16 => (Layout::Rgb, without_alpha(&pixels)),
        L8 | L16 => (Layout::Rgb, from_grey(&pixels)),
        La8 | La16 if probe.alpha => (Layout::Rgba, from_grey_alpha(&pixels)),
        _ => {
            return Err(ImageError::Unsupported {
                what: "a TIFF of these colours",
            });
        }
    };
    Ok(Raster {
        width: probe.width,
        height: probe.height,
        layout,
        pixels,
    })
}

/// Divides the colours of RGBA by its alpha.
fn unpremultiply(rgba: &mut [u8]) {
    for [red, green, blue, alpha] in rgba.as_chunks_mut::<4>().0 {
        let alpha = u32::from(*alpha);
        if alpha == 0 {
            continue;
        }
        for colour in [red, green, blue] {
            *colour = ((u32::from(*colour) * 255 + alpha / 2) / alpha).min(255) as u8;
        }
    }
}

/// Of values of 16 bits, in this machine's order.
fn high_bytes(values: &[u8]) -> Vec<u8> {
    let values = values
        .chunks_exact(2)
        .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]));
    values.map(|value| (value >> 8) as u8).collect()
}
