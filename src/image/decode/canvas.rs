//! The canvas of an animation: frames are laid on it, and what it then shows is a picture.

use super::length;
use crate::image::Probe;
use crate::image::raster::{Frame, Layout, Raster};

pub(super) struct Canvas {
    raster: Raster,
    /// What is to be done before the next frame.
    after: After,
    /// The canvas as it was before the last frame, while that matters.
    saved: Vec<u8>,
    /// How many frames are still to come.
    left: u32,
}

/// Part of a canvas, which may reach over its right and lower edges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// What becomes of a frame when the next one comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disposal {
    Keep,
    /// Its area becomes transparent.
    Clear,
    /// What was before is there again.
    Restore,
}

enum After {
    Nothing,
    Clear(Area),
    Restore,
}

impl Canvas {
    /// Transparent; black where the animation is said to be opaque.
    pub(super) fn new(probe: &Probe) -> Self {
        let layout = if probe.alpha { Layout::Rgba } else { Layout::Rgb };
        let (width, height) = (probe.width, probe.height);
        let pixels = vec![0; length(width, height, layout)];
        Canvas {
            raster: Raster {
                width,
                height,
                layout,
                pixels,
            },
            after: After::Nothing,
            saved: Vec::new(),
            left: probe.frames,
        }
    }

    /// Lays a frame on the canvas. `draw` is given each of its rows that lies on the canvas: the row's number in the
    /// frame, and the canvas's pixels from the frame's left edge on, as far as both reach.
    pub(super) fn lay(
        &mut self,
        area: Area,
        disposal: Disposal,
        mut draw: impl FnMut(usize, &mut [u8], Layout),
    ) {
        self.clean_up();
        self.after = match disposal {
            Disposal::Keep => After::Nothing,
            Disposal::Clear => After::Clear(area),
            Disposal::Restore => After::Restore,
        };
        if disposal == Disposal::Restore && self.left > 1 {
            self.saved.clone_from(&self.raster.pixels);
        }
        let layout = self.raster.layout;
        for (number, row) in self.rows(area).enumerate() {
            draw(number, row, layout);
        }
    }

    fn clean_up(&mut self) {
        match self.after {
            After::Nothing => {}
            After::Clear(area) => self.rows(area).for_each(|row| row.fill(0)),
            After::Restore => std::mem::swap(&mut self.raster.pixels, &mut self.saved),
        }
    }

    fn rows(&mut self, area: Area) -> impl Iterator<Item = &mut [u8]> {
        let channels = self.raster.layout.channels();
        let width = self.raster.width as usize;
        let left = (area.left as usize).min(width);
        let right = (left + area.width as usize).min(width);
        let rows = self.raster.pixels.chunks_exact_mut(width * channels);
        let rows = rows.skip(area.top as usize).take(area.height as usize);
        rows.map(move |row| &mut row[left * channels..right * channels])
    }

    /// What the canvas shows. The last one is the canvas itself.
    pub(super) fn frame(&mut self, delay: u32) -> Frame {
        self.left = self.left.saturating_sub(1);
        let (width, height, layout) = (self.raster.width, self.raster.height, self.raster.layout);
        let pixels = match self.left {
            0 => std::mem::take(&mut self.raster.pixels),
            _ => self.raster.pixels.clone(),
        };
        Frame {
            raster: Raster {
                width,
                height,
                layout,
                pixels,
            },
            delay,
        }
    }
}
