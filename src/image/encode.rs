//! From pixels to bytes: one file for each format, metadata stripped.
//!
//! Invariant: equal pixels and settings give equal bytes; transparency is written only where a pixel has some. It
//! does not know where the pixels come from, nor what was asked for beside the settings.

mod animation;
mod avif;
mod budget;
mod gif;
mod grey;
mod jpeg;
mod notice;
mod palette;
mod png;
mod quantise;
mod riff;
mod webp;

pub(crate) use avif::full_colour;
pub(crate) use notice::Notice;

use super::raster::{Frame, Layout, Raster};
use super::{ImageError, Kind, Stage, Variant, Watch};
use crate::spec::Quality;

/// A format that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Jpeg,
    Png,
    Webp,
    Avif,
    Gif,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) quality: Quality,
    pub(crate) bytes_max: Option<u32>,
    /// Not written to an AVIF: its safe encoder has no way to.
    pub(crate) notice: Notice,
}

/// One picture, or the frames of an animation.
///
/// Invariant: at least one frame; all have the same size and the same layout, RGB or RGBA, and hold all their pixels.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    frames: Vec<Frame>,
    /// How often an animation is shown; 0 for ever.
    loops: u32,
}

/// Asks the watch after each picture that is encoded. Of an animation, a target that can not move holds the first frame.
///
/// # Errors
/// When a side is longer than the format can hold, the encoder fails, or time is up.
pub(crate) fn encode(
    sequence: &Sequence,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<Variant, ImageError> {
    let (bytes, (width, height)) = match settings.bytes_max {
        Some(max) => budget::fit(sequence, settings, max, watch)?,
        None => (write(sequence, settings, watch)?, sequence.size()),
    };
    Ok(Variant {
        bytes,
        media_type: settings.target.kind().media_type(),
        width,
        height,
    })
}

fn write(sequence: &Sequence, settings: &Settings, watch: &mut dyn Watch) -> Result<Vec<u8>, ImageError> {
    settings.target.check(sequence.size())?;
    let Settings { quality, notice, .. } = settings;
    let first = &sequence.frames[0].raster;
    let bytes = match settings.target {
        Target::Gif => return gif::write(sequence, notice, watch),
        Target::Webp if sequence.moves() => {
            return webp::animation(sequence, *quality, notice, watch);
        }
        Target::Webp => webp::still(first, *quality, notice)?,
        Target::Jpeg => jpeg::write(first, *quality, notice)?,
        Target::Png => png::write(first, notice)?,
        Target::Avif => avif::write(first, *quality)?,
    };
    watch.done(Stage::Encode)?;
    Ok(bytes)
}

impl Target {
    const fn kind(self) -> Kind {
        match self {
            Target::Jpeg => Kind::Jpeg,
            Target::Png => Kind::Png,
            Target::Webp => Kind::Webp,
            Target::Avif => Kind::Avif,
            Target::Gif => Kind::Gif,
        }
    }

    /// Whether it is written with all the frames of an animation.
    pub(crate) const fn moves(self) -> bool {
        matches!(self, Target::Webp | Target::Gif)
    }

    /// The longest side it can hold; JPEG's is libjpeg's, PNG's this crate's own: 2^31 - 1 is what it may be.
    const fn side_max(self) -> u32 {
        match self {
            Target::Jpeg => 65_500,
            Target::Webp => 16_383,
            Target::Avif => 65_536,
            Target::Png | Target::Gif => 65_535,
        }
    }

    fn check(self, (width, height): (u32, u32)) -> Result<(), ImageError> {
        let (side, max) = (width.max(height), self.side_max());
        if side > max {
            return Err(self.error(format!("a side of {side} is more than the {max} it can hold")));
        }
        Ok(())
    }

    fn error(self, cause: impl std::fmt::Display) -> ImageError {
        ImageError::Encode {
            format: self.kind().name(),
            cause: cause.to_string(),
        }
    }
}

impl Sequence {
    /// Transparency is dropped where no pixel of any frame has some.
    ///
    /// # Errors
    /// When there is no frame, frames differ in size, or are still CMYK.
    pub(crate) fn new(frames: Vec<Frame>, loops: u32) -> Result<Self, ImageError> {
        let unfit = |cause: &str| ImageError::Encode {
            format: "picture",
            cause: cause.to_owned(),
        };
        let size = frames.first().map(|frame| size_of(&frame.raster));
        let (width, height) = size.ok_or_else(|| unfit("it has no frame"))?;
        let rasters = || frames.iter().map(|frame| &frame.raster);
        if rasters().any(|raster| size_of(raster) != (width, height) || !is_whole(raster)) {
            return Err(unfit("its frames are not of one size"));
        }
        if rasters().any(|raster| raster.layout == Layout::Cmyk) {
            return Err(unfit("it is CMYK"));
        }
        // One layout for pictures that are shown one after another.
        let layout = if rasters().all(Raster::is_opaque) {
            Layout::Rgb
        } else {
            Layout::Rgba
        };
        let frames = frames.into_iter().map(|frame| Frame {
            raster: frame.raster.into_layout(layout),
            ..frame
        });
        Ok(Sequence {
            frames: frames.collect(),
            loops,
        })
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        size_of(&self.frames[0].raster)
    }

    /// Of one frame.
    pub(crate) fn pixels(&self) -> u64 {
        let (width, height) = self.size();
        u64::from(width) * u64::from(height)
    }

    pub(crate) fn into_first_rgba(mut self) -> Raster {
        self.frames.swap_remove(0).raster.into_rgba()
    }

    fn moves(&self) -> bool {
        self.frames.len() > 1
    }
}

fn size_of(raster: &Raster) -> (u32, u32) {
    (raster.width, raster.height)
}

fn is_whole(raster: &Raster) -> bool {
    let pixels = u64::from(raster.width) * u64::from(raster.height);
    let bytes = pixels.checked_mul(raster.layout.channels() as u64);
    raster.width > 0 && raster.height > 0 && bytes == Some(raster.pixels.len() as u64)
}

#[cfg(test)]
mod tests;
