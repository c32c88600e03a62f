//! GIF, still or moving: a palette for each frame, transparency all or nothing.
//!
//! The quality asked for changes nothing here.

use super::animation::{Area, Step, steps, vanishing};
use super::palette::{self, Palette};
use super::quantise::quantise;
use super::{Notice, Sequence, Target};
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Stage, Watch};
use ::gif::{DisposalMethod, Encoder, EncodingError, Extension, Frame, Repeat};
use std::borrow::Cow;

/// Alpha from here on is opaque.
const OPAQUE_MIN: u8 = 128;

pub(crate) fn write(
    sequence: &Sequence,
    notice: &Notice,
    watch: &mut dyn Watch,
) -> Result<Vec<u8>, ImageError> {
    let fail = |cause: EncodingError| Target::Gif.error(cause);
    let (width, height) = sequence.size();
    let (width, height) = (short(width)?, short(height)?);
    let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(fail)?;
    if sequence.moves() {
        encoder.set_repeat(repeat(sequence.loops)).map_err(fail)?;
    }
    if let Some(text) = notice.text() {
        let comment = Extension::Comment.into();
        encoder
            .write_raw_extension(comment, &[text.as_bytes()])
            .map_err(fail)?;
    }
    for drawing in drawings(steps(&sequence.frames, 1)) {
        encoder.write_frame(&frame(&drawing)?).map_err(fail)?;
        watch.done(Stage::Encode)?;
    }
    encoder.into_inner().map_err(fail)
}

/// The format counts how often an animation is shown again. Shown once is what a file is without that number.
fn repeat(loops: u32) -> Repeat {
    match loops {
        0 => Repeat::Infinite,
        loops => Repeat::Finite(u16::try_from(loops - 1).unwrap_or(u16::MAX)),
    }
}

/// A step, and what becomes of its area when its time is over.
struct Drawing<'a> {
    step: Step<'a>,
    dispose: DisposalMethod,
}

/// A transparent pixel leaves what is under it. So that it is seen through where something was seen before, the step
/// before it draws that too and takes all of its area away with it; what the area had beside is drawn again.
fn drawings(mut steps: Vec<Step<'_>>) -> Vec<Drawing<'_>> {
    let mut drawings = Vec::with_capacity(steps.len());
    let mut taken_away: Option<Area> = None;
    for at in 0..steps.len() {
        let next = steps.get(at + 1).map(|next| next.raster);
        let vanishing = next.and_then(|next| vanishing(steps[at].raster, next, OPAQUE_MIN));
        let step = &mut steps[at];
        let others = taken_away.into_iter().chain(vanishing);
        step.area = others.fold(step.area, Area::with);
        taken_away = vanishing.map(|_| step.area);
        drawings.push(Drawing {
            step: *step,
            dispose: match vanishing {
                Some(_) => DisposalMethod::Background,
                None => DisposalMethod::Keep,
            },
        });
    }
    drawings
}

fn frame(Drawing { step, dispose }: &Drawing<'_>) -> Result<Frame<'static>, ImageError> {
    Ok(Frame {
        delay: u16::try_from(step.delay.saturating_add(5) / 10).unwrap_or(u16::MAX),
        dispose: *dispose,
        left: short(step.area.left)?,
        top: short(step.area.top)?,
        ..quantised(step.area.of(step.raster))?
    })
}

fn quantised(raster: Raster) -> Result<Frame<'static>, ImageError> {
    let raster = with_sharp_alpha(raster);
    let (width, height) = (short(raster.width)?, short(raster.height)?);
    let Palette { colours, indices } = palette::exact(&raster).unwrap_or_else(|| quantise(&raster));
    let transparent = colours.iter().position(|colour| colour[3] == 0);
    Ok(Frame {
        width,
        height,
        transparent: transparent.map(|at| at as u8),
        palette: Some(
            colours
                .iter()
                .flat_map(|&[red, green, blue, _]| [red, green, blue])
                .collect(),
        ),
        buffer: Cow::Owned(indices),
        ..Frame::default()
    })
}

/// Each pixel opaque, or the one colour that is transparent.
fn with_sharp_alpha(mut raster: Raster) -> Raster {
    if raster.layout == Layout::Rgba {
        for pixel in raster.pixels.as_chunks_mut::<4>().0 {
            *pixel = match *pixel {
                [red, green, blue, alpha] if alpha >= OPAQUE_MIN => [red, green, blue, u8::MAX],
                _ => [0; 4],
            };
        }
    }
    raster
}

fn short(side: u32) -> Result<u16, ImageError> {
    u16::try_from(side).map_err(|cause| Target::Gif.error(cause))
}
