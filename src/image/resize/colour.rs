//! Colours as the source means them, brought to sRGB.
//!
//! Works on the small raster, where it costs little. Invariant: what comes out is RGB, whatever the profile is worth: one
//! that is broken or of other colours than the pixels counts for nothing, and inks without one are mixed as if they
//! were ideal. Profiles repeat and take up to 10 ms to build, so the last few ways to sRGB are kept; what comes out
//! does not depend on it.

mod profile;

use super::raster_of;
use crate::base::digest::Digest;
use crate::image::raster::{Layout, Raster};
use crate::image::{Colours, Probe};
use moxcms::{
    ColorProfile, DataColorSpace, Layout as Channels, RenderingIntent, Transform8BitExecutor,
    TransformOptions,
};
use parking_lot::Mutex;
use std::sync::Arc;

/// Ways kept; one of inks takes a few MB.
const KEPT_MAX: usize = 16;
/// Pixels that are brought over at once.
const BLOCK: usize = 1024;
/// How far a profile may move a colour and still be taken for sRGB's own, which every vendor rounds in another way.
const SAME_MAX: u8 = 1;

/// How the pixels of a source are brought over: found once, used for each frame.
pub(super) enum ToSrgb {
    Idle,
    Colours(Arc<Transform8BitExecutor>),
    Greys(Arc<Transform8BitExecutor>),
    Inks(Way),
}

impl ToSrgb {
    pub(super) fn of(probe: &Probe) -> ToSrgb {
        let through = |pixels| {
            let profile = probe.profile.as_deref();
            profile.map_or(Way::Idle, |profile| way(profile, pixels))
        };
        if probe.colours == Colours::Cmyk {
            return ToSrgb::Inks(through(Pixels::Cmyk));
        }
        if let Way::Through(transform) = through(Pixels::Rgb) {
            return ToSrgb::Colours(transform);
        }
        if probe.colours == Colours::Grey
            && let Way::Through(transform) = through(Pixels::Grey)
        {
            return ToSrgb::Greys(transform);
        }
        ToSrgb::Idle
    }

    pub(super) fn convert(&self, mut raster: Raster) -> Raster {
        match self {
            ToSrgb::Inks(way) if raster.layout == Layout::Cmyk => return inks_to_srgb(&raster, way),
            _ if raster.layout == Layout::Cmyk => return ideal_inks_to_srgb(&raster),
            ToSrgb::Colours(transform) => colours_to_srgb(&mut raster, &**transform),
            ToSrgb::Greys(transform) => greys_to_srgb(&mut raster, &**transform),
            ToSrgb::Idle | ToSrgb::Inks(_) => {}
        }
        raster
    }
}

/// What a profile has to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pixels {
    Rgb,
    Grey,
    Cmyk,
}

#[derive(Clone)]
pub(super) enum Way {
    /// Nothing to do, or no profile that could say what.
    Idle,
    Through(Arc<Transform8BitExecutor>),
}

/// The last used is the last.
static KEPT: Mutex<Vec<(Digest, Pixels, Way)>> = Mutex::new(Vec::new());

fn way(profile: &[u8], pixels: Pixels) -> Way {
    let digest = Digest::of(profile);
    if let Some(way) = kept(digest, pixels) {
        return way;
    }
    // Not under the lock: two that build the same cost less than all that wait for one.
    let way = build(profile, pixels).unwrap_or(Way::Idle);
    keep(digest, pixels, way.clone());
    way
}

fn kept(digest: Digest, pixels: Pixels) -> Option<Way> {
    let mut kept = KEPT.lock();
    let place = kept
        .iter()
        .position(|(of, from, _)| *of == digest && *from == pixels)?;
    let found = kept.remove(place);
    let way = found.2.clone();
    kept.push(found);
    Some(way)
}

fn keep(digest: Digest, pixels: Pixels, way: Way) {
    let mut kept = KEPT.lock();
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    kept.push((digest, pixels, way));
}

/// `None` when the profile is broken or of other pixels.
fn build(profile: &[u8], pixels: Pixels) -> Option<Way> {
    let profile = ColorProfile::new_from_slice(&profile::reduced(profile)?).ok()?;
    let (space, channels) = match pixels {
        Pixels::Rgb => (DataColorSpace::Rgb, Channels::Rgb),
        Pixels::Grey => (DataColorSpace::Gray, Channels::Gray),
        Pixels::Cmyk => (DataColorSpace::Cmyk, Channels::Rgba),
    };
    if profile.color_space != space {
        return None;
    }
    let srgb = ColorProfile::new_srgb();
    let transform = [RenderingIntent::Perceptual, RenderingIntent::RelativeColorimetric]
        .into_iter()
        .find_map(|intent| {
            let options = TransformOptions {
                rendering_intent: intent,
                ..TransformOptions::default()
            };
            profile
                .create_transform_8bit(channels, &srgb, Channels::Rgb, options)
                .ok()
        })?;
    let idle = pixels == Pixels::Rgb && moves_nothing(&*transform)?;
    Some(if idle { Way::Idle } else { Way::Through(transform) })
}

/// Whether colours from all over the cube, greys among them, come out as they went in.
fn moves_nothing(transform: &Transform8BitExecutor) -> Option<bool> {
    const STEPS: u8 = 15;
    let levels = || (0..=255).step_by(usize::from(255 / STEPS));
    let cube =
        levels().flat_map(|red| levels().flat_map(move |green| levels().map(move |blue| [red, green, blue])));
    let before: Vec<u8> = cube.collect::<Vec<[u8; 3]>>().into_flattened();
    let mut after = vec![0; before.len()];
    transform.transform(&before, &mut after).ok()?;
    let mut pairs = before.iter().zip(after);
    Some(pairs.all(|(before, after)| before.abs_diff(after) <= SAME_MAX))
}

fn colours_to_srgb(raster: &mut Raster, transform: &Transform8BitExecutor) {
    in_blocks(raster, 3, transform, |pixel, colour| {
        colour.copy_from_slice(&pixel[..3])
    });
}

/// Greys were made colours by the decoder: all channels are equal.
fn greys_to_srgb(raster: &mut Raster, transform: &Transform8BitExecutor) {
    in_blocks(raster, 1, transform, |pixel, grey| grey[0] = pixel[0]);
}

/// Transforms a raster in place; `take` gives the transform its samples of a pixel. Alpha stays.
fn in_blocks(
    raster: &mut Raster,
    samples: usize,
    transform: &Transform8BitExecutor,
    take: impl Fn(&[u8], &mut [u8]),
) {
    let channels = raster.layout.channels();
    let (mut from, mut to) = (vec![0; BLOCK * samples], vec![0; BLOCK * 3]);
    for block in raster.pixels.chunks_mut(BLOCK * channels) {
        let count = block.len() / channels;
        let (from, to) = (&mut from[..count * samples], &mut to[..count * 3]);
        for (pixel, from) in block.chunks_exact(channels).zip(from.chunks_exact_mut(samples)) {
            take(pixel, from);
        }
        if transform.transform(from, to).is_err() {
            return;
        }
        for (pixel, to) in block.chunks_exact_mut(channels).zip(to.as_chunks::<3>().0) {
            pixel[..3].copy_from_slice(to);
        }
    }
}

fn inks_to_srgb(raster: &Raster, way: &Way) -> Raster {
    let colours = match way {
        Way::Idle => None,
        Way::Through(transform) => profiled_inks(raster, &**transform),
    };
    match colours {
        Some(colours) => raster_of(raster.width, raster.height, Layout::Rgb, colours),
        None => ideal_inks_to_srgb(raster),
    }
}

fn profiled_inks(raster: &Raster, transform: &Transform8BitExecutor) -> Option<Vec<u8>> {
    let mut colours = vec![0; raster.pixels.len() / 4 * 3];
    let mut inks = vec![0; BLOCK * 4];
    for (block, colours) in raster.pixels.chunks(BLOCK * 4).zip(colours.chunks_mut(BLOCK * 3)) {
        let inks = &mut inks[..block.len()];
        // A profile's 255 is all ink, the raster's none.
        inks.iter_mut()
            .zip(block)
            .for_each(|(ink, paper)| *ink = 255 - paper);
        transform.transform(inks, colours).ok()?;
    }
    Some(colours)
}

/// Each ink takes its third of the light and no more.
fn ideal_inks_to_srgb(raster: &Raster) -> Raster {
    let (pixels, _) = raster.pixels.as_chunks::<4>();
    let mixed = pixels.iter().map(|&[cyan, magenta, yellow, black]| {
        [cyan, magenta, yellow].map(|paper| ((u16::from(paper) * u16::from(black) + 127) / 255) as u8)
    });
    let colours = mixed.collect::<Vec<[u8; 3]>>().into_flattened();
    raster_of(raster.width, raster.height, Layout::Rgb, colours)
}

#[cfg(test)]
mod tests;
