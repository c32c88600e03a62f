//! Pictures without colour.

use crate::image::raster::Raster;

/// Whether red, green and blue are the same in every pixel.
pub(crate) fn is_grey(raster: &Raster) -> bool {
    let mut pixels = raster.pixels.chunks_exact(raster.layout.channels());
    pixels.all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
}
