//! What changes from one frame of an animation to the next.
//!
//! Invariant: drawing the steps' areas one over the other, each in place of what was there, gives the frames.

use crate::image::raster::{Frame, Layout, Raster};

/// A rectangle of a frame, within it and never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A frame that is written: only `area` of `raster` differs from the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) raster: &'a Raster,
    pub(crate) area: Area,
    /// In milliseconds.
    pub(crate) delay: u32,
}

impl Area {
    pub(crate) fn whole(raster: &Raster) -> Self {
        Area {
            left: 0,
            top: 0,
            width: raster.width,
            height: raster.height,
        }
    }

    /// That part of a picture.
    pub(crate) fn of(&self, raster: &Raster) -> Raster {
        let channels = raster.layout.channels();
        let (start, length) = (self.left as usize * channels, self.width as usize * channels);
        let rows = raster.pixels.chunks_exact(raster.width as usize * channels);
        let rows = rows.skip(self.top as usize).take(self.height as usize);
        let mut pixels = Vec::with_capacity(length * self.height as usize);
        rows.for_each(|row| pixels.extend_from_slice(&row[start..start + length]));
        Raster {
            width: self.width,
            height: self.height,
            layout: raster.layout,
            pixels,
        }
    }

    /// The smallest area that holds both.
    pub(crate) fn with(self, other: Area) -> Self {
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        let right = (self.left + self.width).max(other.left + other.width);
        let bottom = (self.top + self.height).max(other.top + other.height);
        Area {
            left,
            top,
            width: right - left,
            height: bottom - top,
        }
    }

    /// With its upper left corner moved out onto multiples of `grid`.
    fn on_grid(self, grid: u32) -> Self {
        let (left, top) = (self.left / grid * grid, self.top / grid * grid);
        Area {
            left,
            top,
            width: self.width + (self.left - left),
            height: self.height + (self.top - top),
        }
    }
}

/// The first frame is whole. One that changes nothing only makes the one before it stay longer.
pub(crate) fn steps(frames: &[Frame], grid: u32) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::with_capacity(frames.len());
    for Frame { raster, delay } in frames {
        let area = match steps.last() {
            Some(last) => changed(last.raster, raster),
            None => Some(Area::whole(raster)),
        };
        match (area, steps.last_mut()) {
            (None, Some(last)) => last.delay = last.delay.saturating_add(*delay),
            (area, _) => steps.push(Step {
                raster,
                area: area.unwrap_or(Area::whole(raster)).on_grid(grid),
                delay: *delay,
            }),
        }
    }
    steps
}

/// The smallest rectangle outside of which two pictures of one size and layout are the same.
fn changed(before: &Raster, after: &Raster) -> Option<Area> {
    let channels = after.layout.channels();
    let stride = after.width as usize * channels;
    let rows = before
        .pixels
        .chunks_exact(stride)
        .zip(after.pixels.chunks_exact(stride));
    let (mut first, mut last, mut left, mut right) = (None, 0, usize::MAX, 0);
    for (y, (before, after)) in rows.enumerate().filter(|(_, (before, after))| before != after) {
        let mut differing = (0..stride).filter(|&at| before[at] != after[at]);
        let start = differing.next().unwrap_or(0);
        let end = differing.next_back().unwrap_or(start);
        first = first.or(Some(y));
        last = y;
        left = left.min(start / channels);
        right = right.max(end / channels);
    }
    let top = first?;
    Some(Area {
        left: left as u32,
        top: top as u32,
        width: (right - left + 1) as u32,
        height: (last - top + 1) as u32,
    })
}

/// The smallest rectangle with all pixels whose alpha falls below `alpha_min` from one picture to the next.
pub(crate) fn vanishing(before: &Raster, after: &Raster, alpha_min: u8) -> Option<Area> {
    if after.layout != Layout::Rgba {
        return None;
    }
    let (before, _) = before.pixels.as_chunks::<4>();
    let (pixels, _) = after.pixels.as_chunks::<4>();
    let vanish = |at: &usize| before[*at][3] >= alpha_min && pixels[*at][3] < alpha_min;
    let width = after.width as usize;
    let pixel = |at: usize| Area {
        left: (at % width) as u32,
        top: (at / width) as u32,
        width: 1,
        height: 1,
    };
    let places = (0..before.len().min(pixels.len())).filter(vanish);
    places.map(pixel).reduce(Area::with)
}
