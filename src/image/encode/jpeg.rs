//! JPEG by libjpeg-turbo: baseline, Huffman tables made for the picture. Progressive files are 2% to 4% smaller and take
//! twice as long, here and wherever they are shown.
//!
//! It does not know transparency: what is under it was decided before, and an alpha channel is not looked at.

use super::{Notice, Target, grey, notice};
use crate::image::ImageError;
use crate::image::raster::{Layout, Raster};
use crate::spec::Quality;
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// From here on the colour that is lost by halving its resolution is seen before what quantisation takes.
pub(super) const FULL_COLOUR_QUALITY_MIN: u8 = 90;

pub(crate) fn write(raster: &Raster, quality: Quality, notice: &Notice) -> Result<Vec<u8>, ImageError> {
    let bytes = compress(raster, quality).map_err(|cause| Target::Jpeg.error(cause))?;
    Ok(notice::into_jpeg(bytes, notice))
}

fn compress(raster: &Raster, quality: Quality) -> turbojpeg::Result<Vec<u8>> {
    let quality = match quality {
        Quality::Lossy(quality) => quality.clamp(1, 100),
        Quality::Lossless => 100,
    };
    let mut compressor = Compressor::new()?;
    compressor.set_quality(i32::from(quality))?;
    compressor.set_subsamp(sampling(raster, quality))?;
    compressor.set_optimize(true)?;
    compressor.compress_to_vec(Image {
        pixels: &raster.pixels,
        width: raster.width as usize,
        pitch: raster.width as usize * raster.layout.channels(),
        height: raster.height as usize,
        format: match raster.layout {
            Layout::Rgb => PixelFormat::RGB,
            Layout::Rgba | Layout::Cmyk => PixelFormat::RGBX,
        },
    })
}

fn sampling(raster: &Raster, quality: u8) -> Subsamp {
    if grey::is_grey(raster) {
        Subsamp::Gray
    } else if quality >= FULL_COLOUR_QUALITY_MIN {
        Subsamp::None
    } else {
        Subsamp::Sub2x2
    }
}
