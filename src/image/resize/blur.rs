//! Gaussian blur, at a cost that does not grow with it: three boxes in a row along each axis.
//!
//! The boxes' edge pixels count by fractions, so that any deviation is met. Invariant: colours are weighed by their
//! alpha, and beyond its edges the picture goes on as it ends. Work goes on in strips, so that it needs little memory
//! beside the raster.

use super::resample::{premultiply, unpremultiply};
use crate::image::ImageError;
use crate::image::raster::{Layout, Raster};

/// So many rows are blurred at once along themselves; so many bytes of a row at once across.
const ROWS: usize = 16;
const BYTES: usize = 64;
const PASSES: usize = 3;

/// `sigma` is in pixels.
///
/// # Errors
/// When the raster is not what it says it is.
pub(super) fn blur(raster: &mut Raster, sigma: f32) -> Result<(), ImageError> {
    if sigma <= 0.0 {
        return Ok(());
    }
    let weighed = raster.layout == Layout::Rgba;
    if weighed {
        premultiply(raster)?;
    }
    let kernel = Kernel::of(sigma);
    let channels = raster.layout.channels();
    let stride = raster.width as usize * channels;
    for rows in raster.pixels.chunks_mut(ROWS * stride) {
        along(rows, stride, channels, kernel);
    }
    for from in (0..stride).step_by(BYTES) {
        across(
            &mut raster.pixels,
            stride,
            from..(from + BYTES).min(stride),
            kernel,
        );
    }
    if weighed {
        unpremultiply(raster)?;
    }
    Ok(())
}

/// Blurs rows along themselves.
fn along(rows: &mut [u8], stride: usize, channels: usize, kernel: Kernel) {
    let lanes = rows.len() / stride * channels;
    let mut strip = Strip::new(lanes, stride / channels);
    for (row, pixels) in rows.chunks_exact(stride).enumerate() {
        let places = strip.values.chunks_exact_mut(lanes);
        for (place, pixel) in places.zip(pixels.chunks_exact(channels)) {
            let place = &mut place[row * channels..][..channels];
            place
                .iter_mut()
                .zip(pixel)
                .for_each(|(value, &channel)| *value = f32::from(channel));
        }
    }
    strip.blur(kernel);
    for (row, pixels) in rows.chunks_exact_mut(stride).enumerate() {
        let places = strip.values.chunks_exact(lanes);
        for (place, pixel) in places.zip(pixels.chunks_exact_mut(channels)) {
            let place = &place[row * channels..][..channels];
            pixel
                .iter_mut()
                .zip(place)
                .for_each(|(channel, &value)| *channel = nearest(value));
        }
    }
}

/// Blurs some columns of bytes from row to row.
fn across(pixels: &mut [u8], stride: usize, columns: std::ops::Range<usize>, kernel: Kernel) {
    let lanes = columns.len();
    let mut strip = Strip::new(lanes, pixels.len() / stride);
    for (place, row) in strip
        .values
        .chunks_exact_mut(lanes)
        .zip(pixels.chunks_exact(stride))
    {
        let row = &row[columns.clone()];
        place
            .iter_mut()
            .zip(row)
            .for_each(|(value, &byte)| *value = f32::from(byte));
    }
    strip.blur(kernel);
    for (place, row) in strip
        .values
        .chunks_exact(lanes)
        .zip(pixels.chunks_exact_mut(stride))
    {
        let row = &mut row[columns.clone()];
        row.iter_mut()
            .zip(place)
            .for_each(|(byte, &value)| *byte = nearest(value));
    }
}

fn nearest(value: f32) -> u8 {
    (value + 0.5) as u8
}

/// A box: whole weight up to `radius` pixels to each side, and `edge` for the next one.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    radius: usize,
    edge: f32,
    scale: f32,
}

impl Kernel {
    /// Whose variance is a third of `sigma`'s: variances add up.
    fn of(sigma: f32) -> Kernel {
        let variance = sigma * sigma / PASSES as f32;
        let radius = (((12.0 * variance + 1.0).sqrt() - 1.0) / 2.0).floor();
        let whole = 2.0 * radius + 1.0;
        // Solves: the sum of the squared distances, by weight, over the weights, is the variance.
        let edge = whole * (3.0 * variance - radius * (radius + 1.0))
            / (6.0 * ((radius + 1.0) * (radius + 1.0) - variance));
        let edge = edge.clamp(0.0, 1.0);
        Kernel {
            radius: radius as usize,
            edge,
            scale: 1.0 / (whole + 2.0 * edge),
        }
    }
}

/// Places, each with a value for every lane; lanes have nothing to do with each other.
struct Strip {
    lanes: usize,
    values: Vec<f32>,
    other: Vec<f32>,
}

impl Strip {
    fn new(lanes: usize, places: usize) -> Strip {
        Strip {
            lanes,
            values: vec![0.0; lanes * places],
            other: vec![0.0; lanes * places],
        }
    }

    fn blur(&mut self, kernel: Kernel) {
        for _ in 0..PASSES {
            box_blur(&self.values, &mut self.other, self.lanes, kernel);
            std::mem::swap(&mut self.values, &mut self.other);
        }
    }
}

fn box_blur(from: &[f32], to: &mut [f32], lanes: usize, kernel: Kernel) {
    let last = from.len() / lanes - 1;
    let at = |place: usize| &from[place.min(last) * lanes..][..lanes];
    let mut sums = first_sums(at, last, kernel.radius);
    for (place, to) in to.chunks_exact_mut(lanes).enumerate() {
        let beyond = at(place + kernel.radius + 1);
        let before = at(place.saturating_sub(kernel.radius + 1));
        let leaving = at(place.saturating_sub(kernel.radius));
        let edges = before.iter().zip(beyond).zip(leaving);
        for ((to, sum), ((before, beyond), leaving)) in to.iter_mut().zip(&mut sums).zip(edges) {
            *to = (*sum + (before + beyond) * kernel.edge) * kernel.scale;
            *sum += beyond - leaving;
        }
    }
}

/// Of the box around the first place. Beyond its ends the strip goes on as it ends.
fn first_sums<'a>(at: impl Fn(usize) -> &'a [f32], last: usize, radius: usize) -> Vec<f32> {
    let repeated = radius.saturating_sub(last) as f32;
    let ends = at(0).iter().zip(at(last));
    let mut sums: Vec<f32> = ends
        .map(|(first, last)| first * (radius as f32 + 1.0) + last * repeated)
        .collect();
    for place in 1..=radius.min(last) {
        sums.iter_mut()
            .zip(at(place))
            .for_each(|(sum, value)| *sum += value);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::raster_of;
    use super::*;
    use proptest::prelude::*;

    fn mean(raster: &Raster) -> f64 {
        raster.pixels.iter().copied().map(f64::from).sum::<f64>() / raster.pixels.len() as f64
    }

    /// A white square in the middle of black.
    fn square(side: u32, inner: std::ops::Range<u32>) -> Raster {
        let inside = |at: u32| inner.contains(&(at % side)) && inner.contains(&(at / side));
        let pixels = (0..side * side).flat_map(|at| [if inside(at) { 255 } else { 0 }; 3]);
        raster_of(side, side, Layout::Rgb, pixels.collect())
    }

    #[test]
    fn a_blur_keeps_the_mean() {
        for sigma in [0.3, 1.0, 2.5, 6.0] {
            let mut raster = square(80, 30..50);
            let before = mean(&raster);
            blur(&mut raster, sigma).unwrap();
            assert!(
                (mean(&raster) - before).abs() < 0.25,
                "{sigma}: {before} {}",
                mean(&raster)
            );
        }
    }

    #[test]
    fn a_line_becomes_as_wide_as_the_deviation_says() {
        for sigma in [0.5, 1.0, 3.0, 7.5] {
            let mut strip = Strip::new(1, 101);
            strip.values[50] = 1.0;
            strip.blur(Kernel::of(sigma));
            let away = |place: usize| (place as f32 - 50.0).powi(2);
            let values = strip.values.iter().enumerate();
            let variance: f32 = values.map(|(place, value)| value * away(place)).sum();
            assert!(
                (variance.sqrt() / sigma - 1.0).abs() < 0.01,
                "{sigma}: {}",
                variance.sqrt()
            );
        }
    }

    #[test]
    fn both_axes_are_blurred_alike() {
        let mut raster = square(40, 10..30);
        blur(&mut raster, 3.3).unwrap();
        let at = |x: usize, y: usize| raster.pixels[(y * 40 + x) * 3];
        for (x, y) in (0..40).flat_map(|x| (0..40).map(move |y| (x, y))) {
            assert!(at(x, y).abs_diff(at(y, x)) <= 1, "{x} {y}");
            assert!(at(x, y).abs_diff(at(39 - x, y)) <= 1, "{x} {y}");
        }
    }

    #[test]
    fn nothing_is_blurred_by_nothing() {
        let mut raster = square(20, 5..9);
        let before = raster.clone();
        blur(&mut raster, 0.0).unwrap();
        assert_eq!(raster, before);
    }

    #[test]
    fn what_is_transparent_bleeds_nothing() {
        let pixels = (0..32 * 8).flat_map(|at| {
            if at % 32 < 16 {
                [255, 0, 0, 0]
            } else {
                [0, 0, 255, 255]
            }
        });
        let mut raster = raster_of(32, 8, Layout::Rgba, pixels.collect());
        blur(&mut raster, 2.0).unwrap();
        for pixel in raster.pixels.chunks_exact(4).filter(|pixel| pixel[3] > 0) {
            assert_eq!((pixel[0], pixel[1]), (0, 0), "{pixel:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_colour_stays_that_colour(
            sides in (1u32..40, 1u32..40),
            colour: [u8; 3],
            sigma in prop_oneof![0.1f32..20.0, Just(6553.5)],
        ) {
            let pixels = colour.repeat((sides.0 * sides.1) as usize);
            let mut raster = raster_of(sides.0, sides.1, Layout::Rgb, pixels);
            let before = raster.clone();
            blur(&mut raster, sigma).unwrap();
            prop_assert_eq!(raster, before);
        }

        #[test]
        fn a_blur_makes_nothing_lighter_or_darker_than_it_was(
            width in 1u32..30,
            values in proptest::collection::vec(20u8..200, 30 * 7),
            sigma in 0.1f32..30.0,
        ) {
            let values = values.into_iter().take(width as usize * 7);
            let mut raster = raster_of(width, 7, Layout::Rgb, values.flat_map(|value| [value; 3]).collect());
            let (least, most) = (*raster.pixels.iter().min().unwrap(), *raster.pixels.iter().max().unwrap());
            blur(&mut raster, sigma).unwrap();
            prop_assert!(raster.pixels.iter().all(|value| (least..=most).contains(value)));
        }
    }
}
