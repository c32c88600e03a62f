//! From bytes to pixels.
//!
//! Invariant: what comes out is what the probe said, or an error: a picture of another size, one whose data end early
//! and an animation of another number of frames are all errors, never half a picture. It does not know colour spaces.

mod avif;
mod bitmap;
mod canvas;
mod gif;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use super::raster::{Frame, Layout, Raster};
use super::{ImageError, Kind, Limits, Probe};

/// To what part of its size a source is decoded, in eighths: 8 is the whole. Only JPEGs can be decoded to less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Eighths(pub(super) u8);

/// The frames of a source, one at a time, each of the whole canvas.
pub(super) type Frames<'a> = Box<dyn Iterator<Item = Result<Frame, ImageError>> + 'a>;

/// Pixels as the source has them: neither oriented nor brought to sRGB. A side of a scaled raster is
/// `ceil(side * scale / 8)`.
///
/// # Errors
/// When the bytes are broken, or turn out to be more than the probe said.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    probe: &'a Probe,
    scale: Eighths,
    limits: &'a Limits,
) -> Result<Frames<'a>, ImageError> {
    if probe.kind != Kind::Jpeg && scale != Eighths(8) {
        return Err(ImageError::Unsupported {
            what: "decoding other than a JPEG to less than its size",
        });
    }
    match probe.kind {
        Kind::Gif => counted(gif::open(bytes, probe)?, probe, limits),
        Kind::Webp => counted(webp::open(bytes, probe)?, probe, limits),
        Kind::Jpeg => still(move || jpeg::decode(bytes, probe, scale, limits)),
        Kind::Png => still(move || png::decode(bytes, probe)),
        Kind::Avif => still(move || avif::decode(bytes, probe)),
        Kind::Bmp | Kind::Tiff => still(move || bitmap::decode(bytes, probe)),
    }
}

fn still<'a>(decode: impl FnOnce() -> Result<Raster, ImageError> + 'a) -> Result<Frames<'a>, ImageError> {
    Ok(Box::new(std::iter::once_with(move || {
        Ok(Frame {
            raster: decode()?,
            delay: 0,
        })
    })))
}

/// Ends after the first error, and turns another number of frames than the probe's into one.
fn counted<'a>(mut frames: Frames<'a>, probe: &'a Probe, limits: &Limits) -> Result<Frames<'a>, ImageError> {
    limits.animation(probe.frames, probe.pixels())?;
    let mut left = Some(probe.frames);
    Ok(Box::new(std::iter::from_fn(move || {
        let count = left?;
        let frame = frames.next();
        left = match &frame {
            Some(Ok(_)) if count > 0 => Some(count - 1),
            _ => None,
        };
        match frame {
            None if count == 0 => None,
            None => Some(Err(differs(probe))),
            Some(Ok(_)) if count == 0 => Some(Err(differs(probe))),
            frame => frame,
        }
    })))
}

/// That the pixels are not what the headers said.
fn differs(probe: &Probe) -> ImageError {
    ImageError::corrupt(probe.kind.name(), "its pixels are not what its headers say")
}

/// The bytes of `width * height` pixels of one of the layouts.
fn length(width: u32, height: u32, layout: Layout) -> usize {
    width as usize * height as usize * layout.channels()
}

/// Grey, with as many values as pixels, to RGB.
fn from_grey(grey: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(grey.len() * 3);
    pixels.extend(grey.iter().flat_map(|value| [*value; 3]));
    pixels
}

/// Grey and alpha to RGBA.
fn from_grey_alpha(grey: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(grey.len() * 2);
    pixels.extend(
        grey.chunks_exact(2)
            .flat_map(|pair| [pair[0], pair[0], pair[0], pair[1]]),
    );
    pixels
}

/// RGBA to RGB.
fn without_alpha(rgba: &[u8]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(rgba.len() / 4 * 3);
    pixels.extend(
        rgba.chunks_exact(4)
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]),
    );
    pixels
}
