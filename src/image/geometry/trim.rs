//! Where a picture's border of one colour ends.
//!
//! Invariant: what is left lies within the window and is not empty; a window that is all border stays whole. It does
//! not know sources and their coordinates: it works on the raster's own pixels, as the source lies.

use crate::image::raster::{Layout, Raster};
use std::ops::Range;

/// Whole pixels of a raster; neither range is empty, and both lie within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) columns: Range<u32>,
    pub(super) rows: Range<u32>,
}

/// Cuts off what is no further than `tolerance` from `border`, in steps of 8 bits of each channel, transparency
/// included. What is transparent has no colour.
pub(super) fn trim(raster: &Raster, window: Window, border: Colour, tolerance: u8) -> Window {
    let row_differs =
        |&row: &u32| first_other(raster, row, window.columns.clone(), border, tolerance).is_some();
    let Some(top) = window.rows.clone().find(row_differs) else {
        return window;
    };
    let bottom = window
        .rows
        .clone()
        .rfind(row_differs)
        .map_or(window.rows.end, |row| row + 1);
    let (mut left, mut right) = (window.columns.end, window.columns.start);
    for row in top..bottom {
        let before = window.columns.start..left;
        left = first_other(raster, row, before, border, tolerance).unwrap_or(left);
        let after = right..window.columns.end;
        right = last_other(raster, row, after, border, tolerance).map_or(right, |column| column + 1);
    }
    Window {
        columns: left..right,
        rows: top..bottom,
    }
}

/// A pixel's channels, premultiplied where there is alpha; of three channels the fourth is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour([u8; 4]);

impl Colour {
    pub(super) fn at(raster: &Raster, column: u32, row: u32) -> Colour {
        let at = (row as usize * raster.width as usize + column as usize) * raster.layout.channels();
        let pixel = &raster.pixels[at..at + raster.layout.channels()];
        let mut channels = [0; 4];
        channels[..pixel.len()].copy_from_slice(pixel);
        match raster.layout {
            Layout::Rgba => Colour(premultiplied(channels)),
            Layout::Rgb | Layout::Cmyk => Colour(channels),
        }
    }

    fn is_near<const CHANNELS: usize>(self, pixel: [u8; CHANNELS], tolerance: u8) -> bool {
        // All channels are looked at, so that there is nothing to guess about which of them decides.
        let pairs = pixel.iter().zip(self.0);
        pairs.fold(true, |near, (&one, other)| {
            near & (one.abs_diff(other) <= tolerance)
        })
    }
}

fn premultiplied([red, green, blue, alpha]: [u8; 4]) -> [u8; 4] {
    let part = |channel: u8| (u16::from(channel) * u16::from(alpha) / 255) as u8;
    [part(red), part(green), part(blue), alpha]
}

fn first_other(raster: &Raster, row: u32, columns: Range<u32>, border: Colour, tolerance: u8) -> Option<u32> {
    let start = columns.start;
    let found = other(raster, row, columns, border, tolerance, End::First)?;
    Some(start + found as u32)
}

fn last_other(raster: &Raster, row: u32, columns: Range<u32>, border: Colour, tolerance: u8) -> Option<u32> {
    let start = columns.start;
    let found = other(raster, row, columns, border, tolerance, End::Last)?;
    Some(start + found as u32)
}

/// Which of several pixels is looked for.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// Counted from where the columns begin.
fn other(
    raster: &Raster,
    row: u32,
    columns: Range<u32>,
    border: Colour,
    tolerance: u8,
    end: End,
) -> Option<usize> {
    let channels = raster.layout.channels();
    let start = row as usize * raster.width as usize;
    let range = (start + columns.start as usize) * channels..(start + columns.end as usize) * channels;
    let pixels = raster.pixels.get(range)?;
    match raster.layout {
        Layout::Rgb => end.of(pixels.as_chunks::<3>().0, |&pixel| {
            !border.is_near(pixel, tolerance)
        }),
        Layout::Cmyk => end.of(pixels.as_chunks::<4>().0, |&pixel| {
            !border.is_near(pixel, tolerance)
        }),
        Layout::Rgba => end.of(pixels.as_chunks::<4>().0, |&pixel| {
            !border.is_near(premultiplied(pixel), tolerance)
        }),
    }
}

impl End {
    fn of<P>(self, pixels: &[P], differs: impl FnMut(&P) -> bool) -> Option<usize> {
        match self {
            End::First => pixels.iter().position(differs),
            End::Last => pixels.iter().rposition(differs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// White, with these pixels black.
    fn dotted(width: u32, height: u32, dots: &[(u32, u32)]) -> Raster {
        let mut pixels = vec![255; (width * height * 3) as usize];
        for &(x, y) in dots {
            let at = ((y * width + x) * 3) as usize;
            pixels[at..at + 3].fill(0);
        }
        Raster {
            width,
            height,
            layout: Layout::Rgb,
            pixels,
        }
    }

    fn whole(raster: &Raster) -> Window {
        Window {
            columns: 0..raster.width,
            rows: 0..raster.height,
        }
    }

    fn trimmed(raster: &Raster, tolerance: u8) -> Window {
        trim(raster, whole(raster), Colour::at(raster, 0, 0), tolerance)
    }

    #[test]
    fn a_picture_that_is_all_border_stays_whole() {
        let raster = dotted(9, 7, &[]);
        assert_eq!(trimmed(&raster, 10), whole(&raster));
    }

    #[test]
    fn a_single_dot_is_what_is_left() {
        let window = trimmed(&dotted(9, 7, &[(4, 2)]), 10);
        assert_eq!((window.columns, window.rows), (4..5, 2..3));
    }

    #[test]
    fn what_is_near_the_border_is_border() {
        let mut raster = dotted(9, 7, &[(4, 2)]);
        raster.pixels[3] = 246;
        assert_eq!(trimmed(&raster, 10).rows, 2..3);
        assert_eq!(trimmed(&raster, 5).rows, 0..3);
    }

    #[test]
    fn what_is_transparent_has_no_colour() {
        let mut pixels = [200, 10, 10, 0, 10, 200, 10, 0, 10, 10, 200, 0].repeat(3);
        pixels[4 * 4 + 3] = 255;
        let raster = Raster {
            width: 3,
            height: 3,
            layout: Layout::Rgba,
            pixels,
        };
        let window = trimmed(&raster, 1);
        assert_eq!((window.columns, window.rows), (1..2, 1..2));
    }

    #[test]
    fn only_the_window_counts() {
        let raster = dotted(9, 7, &[(0, 0), (4, 2)]);
        let window = Window {
            columns: 1..9,
            rows: 1..7,
        };
        let left = trim(&raster, window, Colour::at(&raster, 1, 1), 10);
        assert_eq!((left.columns, left.rows), (4..5, 2..3));
    }

    proptest! {
        #[test]
        fn nothing_but_border_is_cut_off(dots in proptest::collection::vec((1u32..12, 1u32..10), 1..6)) {
            let window = trimmed(&dotted(12, 10, &dots), 10);
            let (xs, ys): (Vec<u32>, Vec<u32>) = dots.into_iter().unzip();
            prop_assert_eq!(window.columns, *xs.iter().min().unwrap()..xs.iter().max().unwrap() + 1);
            prop_assert_eq!(window.rows, *ys.iter().min().unwrap()..ys.iter().max().unwrap() + 1);
        }
    }
}
