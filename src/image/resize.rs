//! From a decoded raster to the picture's pixels: the steps between decoding and encoding.
//!
//! Invariant: a step whose parameter is off costs nothing, and what a frame becomes depends on nothing of it but its
//! pixels, so that all frames of an animation come out alike. It does not know where a plan came from.

mod adjust;
mod blur;
mod canvas;
mod colour;
mod mono;
mod orient;
mod over;
mod resample;
mod sharpen;
mod watermark;

use super::geometry::{Canvas, Plan};
use super::raster::{Layout, Raster};
use super::{Context, ImageError, Probe};
use crate::spec::{Colour, Spec};
use colour::ToSrgb;
use watermark::Mark;

/// Crops and resizes, in one step, then lays the raster upright. A plan that changes nothing copies nothing.
///
/// # Errors
/// When the plan does not fit the raster.
pub(super) fn resize(raster: Raster, plan: &Plan) -> Result<Raster, ImageError> {
    let resampled = resample::resample(raster, plan.crop, (plan.width, plan.height))?;
    Ok(orient::orient(resampled, plan.turn))
}

/// Whether the format that is written shows what is behind a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transparency {
    Shown,
    /// The result must be [`Layout::Rgb`].
    None,
}

/// All that happens to a small, upright raster: to sRGB by the source's profile, adjustments, blur, sharpen,
/// background, canvas, watermark. What does not depend on the pixels is worked out once for all frames.
pub(super) struct Finish<'a> {
    spec: &'a Spec,
    to_srgb: ToSrgb,
    background: Option<Colour>,
    canvas: Option<Canvas>,
    mark: Option<Mark>,
    frames: Frames,
}

/// Whether a result has alpha only where it needs it, or as all others of one animation have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frames {
    AsTheyCome,
    WithAlpha,
}

impl<'a> Finish<'a> {
    /// # Errors
    /// When the watermark is unknown. A broken profile counts for nothing.
    pub(super) fn new(
        plan: &Plan,
        probe: &Probe,
        spec: &'a Spec,
        context: &Context<'_>,
        transparency: Transparency,
    ) -> Result<Self, ImageError> {
        let background = background(spec.background, transparency);
        let shows_through = background.is_none_or(|colour| colour.alpha < 255);
        let mark = match &spec.watermark {
            Some(watermark) => Some(mark(&watermark.name, context, plan.size())?),
            None => None,
        };
        Ok(Finish {
            spec,
            to_srgb: ToSrgb::of(probe),
            background,
            canvas: plan.canvas,
            mark,
            frames: if probe.frames > 1 && probe.alpha && shows_through {
                Frames::WithAlpha
            } else {
                Frames::AsTheyCome
            },
        })
    }

    /// # Errors
    /// When the raster is not what it says it is.
    pub(super) fn frame(&self, raster: Raster) -> Result<Raster, ImageError> {
        let mut raster = self.to_srgb.convert(raster.without_idle_alpha());
        adjust::adjust(&mut raster, self.spec);
        if let Some(colour) = self.spec.mono {
            mono::mono(&mut raster, colour);
        }
        blur::blur(&mut raster, f32::from(self.spec.blur) / 10.0)?;
        sharpen::sharpen(&mut raster, self.spec.sharpen);
        let mut raster = over::flatten(raster, self.background);
        if let Some(canvas) = self.canvas {
            raster = canvas::lay(raster, canvas, self.background);
        }
        if let Some(mark) = &self.mark {
            mark.lay(&mut raster);
        }
        Ok(match self.frames {
            Frames::WithAlpha => raster.into_rgba(),
            Frames::AsTheyCome => raster,
        })
    }
}

fn mark(name: &str, context: &Context<'_>, size: (u32, u32)) -> Result<Mark, ImageError> {
    let watermark = context.watermarks.get(name).ok_or(ImageError::NoWatermark)?;
    Mark::of(watermark, size)
}

/// A decoded picture as a watermark keeps it: upright, in sRGB, and with colours multiplied by their alpha, so that no
/// making needs a copy of its own.
///
/// # Errors
/// When the raster is not what it says it is.
pub(super) fn into_watermark(raster: Raster, probe: &Probe) -> Result<Raster, ImageError> {
    let upright = orient::orient(ToSrgb::of(probe).convert(raster), probe.turn);
    let mut raster = upright.into_rgba();
    resample::premultiply(&mut raster)?;
    Ok(raster)
}

/// The whole of a raster in another size; the raster is kept.
///
/// # Errors
/// When the raster is not what it says it is.
pub(super) fn resized(raster: &Raster, size: (u32, u32)) -> Result<Raster, ImageError> {
    if raster.is_opaque() {
        return resample::convolve(raster, resample::whole_of(raster), size);
    }
    resample::resample(raster.clone(), resample::whole_of(raster), size)
}

/// What is behind the picture; opaque where the format asks for it.
fn background(asked: Option<Colour>, transparency: Transparency) -> Option<Colour> {
    const WHITE: [u8; 3] = [255; 3];
    let Some(colour) = asked else {
        return (transparency == Transparency::None).then_some(colour_of(WHITE));
    };
    if transparency == Transparency::Shown || colour.alpha == 255 {
        return Some(colour);
    }
    let [red, green, blue] = over::over_opaque([colour.red, colour.green, colour.blue, colour.alpha], WHITE);
    Some(colour_of([red, green, blue]))
}

fn colour_of([red, green, blue]: [u8; 3]) -> Colour {
    Colour {
        red,
        green,
        blue,
        alpha: 255,
    }
}

fn raster_of(width: u32, height: u32, layout: Layout, pixels: Vec<u8>) -> Raster {
    debug_assert_eq!(pixels.len(), width as usize * height as usize * layout.channels());
    Raster {
        width,
        height,
        layout,
        pixels,
    }
}

#[cfg(test)]
mod tests;
