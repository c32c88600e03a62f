//! AVIF through libavif.

use super::{differs, without_alpha};
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Probe};
use libavif::RgbPixels;
use std::borrow::Cow;

/// Turning and mirroring are left to the probe's turn: the decoder does neither.
pub(super) fn decode(bytes: &[u8], probe: &Probe) -> Result<Raster, ImageError> {
    let image = libavif::decode(&as_still(bytes)).map_err(|error| ImageError::corrupt("AVIF", error))?;
    if (image.width(), image.height()) != (probe.width, probe.height) {
        return Err(differs(probe));
    }
    let rgba = RgbPixels::from(&image);
    drop(image);
    let (layout, pixels) = if probe.alpha {
        (Layout::Rgba, rgba.to_vec())
    } else {
        (Layout::Rgb, without_alpha(&rgba))
    };
    Ok(Raster {
        width: probe.width,
        height: probe.height,
        layout,
        pixels,
    })
}

/// The decoder takes the still that was probed only where the major brand says so; else the first of a sequence.
fn as_still(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.get(8..12) == Some(b"avif") {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    if let Some(brand) = bytes.get_mut(8..12) {
        brand.copy_from_slice(b"avif");
    }
    Cow::Owned(bytes)
}
