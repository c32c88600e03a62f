//! AVIF by libaom: one thread; colour in half the resolution but for the highest qualities.
//!
//! It can hold no copyright notice: the safe wrapper of libavif has no way to hand one over.

use super::{Target, jpeg};
use crate::image::ImageError;
use crate::image::raster::Raster;
use crate::spec::Quality;
use libavif::{Encoder, RgbPixels, YuvFormat};

pub(crate) fn write(raster: &Raster, quality: Quality) -> Result<Vec<u8>, ImageError> {
    let pixels = RgbPixels::new(raster.width, raster.height, &raster.pixels);
    let pixels = pixels.map_err(|cause| Target::Avif.error(cause))?;
    let image = pixels.to_image(if full_colour(quality) {
        YuvFormat::Yuv444
    } else {
        YuvFormat::Yuv420
    });
    let data = encoder(quality).encode(&image);
    let data = data.map_err(|cause| Target::Avif.error(cause))?;
    Ok(data.to_vec())
}

/// As a JPEG of that quality has it.
pub(crate) fn full_colour(quality: Quality) -> bool {
    match quality {
        Quality::Lossy(quality) => quality >= jpeg::FULL_COLOUR_QUALITY_MIN,
        Quality::Lossless => true,
    }
}

fn encoder(quality: Quality) -> Encoder {
    let mut encoder = Encoder::new();
    let (colour, alpha) = scale(quality);
    encoder
        .set_max_threads(1)
        .set_quality(colour)
        .set_alpha_quality(alpha);
    encoder.set_speed(8);
    encoder
}

/// For colour and alpha. JPEG's 80 looks like libavif's 60; edges of alpha are seen sooner than those of colour.
fn scale(quality: Quality) -> (u8, u8) {
    match quality {
        Quality::Lossy(quality) => {
            let quality = quality.clamp(2, 100);
            (quality / 2 + quality / 4, quality)
        }
        Quality::Lossless => (100, 100),
    }
}
