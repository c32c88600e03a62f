//! BMP: its two headers.

use super::view::View;
use super::{Colours, Kind, Probe};
use crate::image::{ImageError, Limits};
use image::ImageDecoder;
use image::codecs::bmp::BmpDecoder;
use std::io::Cursor;

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let (width, height, bits) = header(View(bytes)).ok_or_else(|| corrupt("its header is cut off"))?;
    let mut probe = Probe::still(Kind::Bmp, width, height, limits)?;
    if bits <= 8 {
        probe.colours = Colours::Palette;
    }
    // The decoder reads headers and palette alone here. There are too many ways to say that there is alpha.
    let decoder = BmpDecoder::new(Cursor::new(bytes)).map_err(|error| match error {
        image::ImageError::Unsupported(_) => ImageError::Unsupported {
            what: "this kind of BMP",
        },
        error => ImageError::corrupt(Kind::Bmp.name(), error),
    })?;
    probe.alpha = decoder.color_type().has_alpha();
    Ok(probe)
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Bmp.name(), cause)
}

/// Width, height and bits of a pixel. The height is below 0 where the rows are stored top down.
fn header(view: View<'_>) -> Option<(u32, u32, u16)> {
    if view.le32(14)? == 12 {
        return Some((view.le16(18)?.into(), view.le16(20)?.into(), view.le16(24)?));
    }
    let height = view.le32(22)?.cast_signed().unsigned_abs();
    Some((view.le32(18)?, height, view.le16(28)?))
}
