//! WebP by libwebp, lossy or lossless, still or moving.
//!
//! The frames of an animation are encoded one by one and put into their container here: libwebp's own animation
//! encoder keeps all of them, and can be asked for nothing in between.

use super::animation::{Step, steps};
use super::riff::{self, Placed};
use super::{Notice, Sequence, Target};
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Stage, Watch};
use crate::spec::Quality;
use ::webp::{Encoder, PixelLayout, WebPConfig};

/// Of lossless files libwebp's quality is how hard it tries; its usual 75 takes half as long again for 1% fewer bytes.
const LOSSLESS_EFFORT: f32 = 20.0;
/// Edges of alpha are seen sooner than those of colour: whole from 80 on, fewer levels below.
const ALPHA_QUALITY_MORE: u8 = 20;
/// A frame's place is stored in halves.
const GRID: u32 = 2;

pub(crate) fn still(raster: &Raster, quality: Quality, notice: &Notice) -> Result<Vec<u8>, ImageError> {
    let file = compress(raster, &config(quality)?)?;
    match notice.exif() {
        Some(exif) => riff::with_exif(&file, (raster.width, raster.height), raster.layout, &exif),
        None => Ok(file),
    }
}

pub(crate) fn animation(
    sequence: &Sequence,
    quality: Quality,
    notice: &Notice,
    watch: &mut dyn Watch,
) -> Result<Vec<u8>, ImageError> {
    let config = config(quality)?;
    let mut file = riff::Animation::new(sequence.size(), sequence.frames[0].raster.layout, sequence.loops);
    for Step { raster, area, delay } in steps(&sequence.frames, GRID) {
        let frame = compress(&area.of(raster), &config)?;
        file.push(Placed { area, delay }, &frame)?;
        watch.done(Stage::Encode)?;
    }
    Ok(file.finish(notice.exif().as_deref()))
}

fn compress(raster: &Raster, config: &WebPConfig) -> Result<Vec<u8>, ImageError> {
    let layout = match raster.layout {
        Layout::Rgb => PixelLayout::Rgb,
        Layout::Rgba | Layout::Cmyk => PixelLayout::Rgba,
    };
    let encoder = Encoder::new(&raster.pixels, layout, raster.width, raster.height);
    let file = encoder.encode_advanced(config);
    let file = file.map_err(|cause| Target::Webp.error(format!("{cause:?}")))?;
    Ok(file.to_vec())
}

fn config(quality: Quality) -> Result<WebPConfig, ImageError> {
    let config = WebPConfig::new();
    let mut config = config.map_err(|()| Target::Webp.error("libwebp is of another version"))?;
    config.method = 4;
    // Filters for the alpha plane cost a tenth of the time, trying all of them twice that of the rest; neither saves.
    config.alpha_filtering = 0;
    match quality {
        Quality::Lossy(quality) => {
            let quality = quality.min(100);
            config.quality = f32::from(quality);
            config.alpha_quality = i32::from(quality.saturating_add(ALPHA_QUALITY_MORE).min(100));
        }
        Quality::Lossless => {
            config.lossless = 1;
            config.quality = LOSSLESS_EFFORT;
        }
    }
    Ok(config)
}
