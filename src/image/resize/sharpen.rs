//! Unsharp mask: what differs from its surroundings is made to differ more.
//!
//! Works on lightness alone, so that no edge gets a coloured fringe; the surroundings are a Gaussian of deviation 1.
//! Invariant: an even area does not change, nor does alpha; what is transparent does not count as surroundings. One
//! pass over the rows, with the sums of five of them at hand.

use super::mono::luma;
use crate::image::raster::{Layout, Raster};

/// Binomial: a Gaussian of deviation 1, in 16ths.
const WEIGHTS: [i32; 5] = [1, 4, 6, 4, 1];
const REACH: usize = 2;
/// What the alphas around a pixel add up to where each is 1.
const OPAQUE: i32 = 256;

/// `strength` is in tenths: at 10 a difference is doubled.
pub(super) fn sharpen(raster: &mut Raster, strength: u8) {
    if strength == 0 {
        return;
    }
    let width = raster.width as usize;
    match raster.layout {
        Layout::Rgb => sharpen_pixels::<3>(raster.pixels.as_chunks_mut().0, width, strength),
        Layout::Rgba | Layout::Cmyk => sharpen_pixels::<4>(raster.pixels.as_chunks_mut().0, width, strength),
    }
}

fn sharpen_pixels<const CHANNELS: usize>(pixels: &mut [[u8; CHANNELS]], width: usize, strength: u8) {
    let height = pixels.len() / width;
    let mut lumas = Rows::new(width);
    // What is opaque all weighs the same.
    let mut alphas = (CHANNELS == 4).then(|| Rows::new(width));
    let add = |row: usize, pixels: &[[u8; CHANNELS]], lumas: &mut Rows, alphas: &mut Option<Rows>| {
        let pixels = &pixels[row * width..][..width];
        lumas.add(row, pixels.iter().map(weighed_luma));
        if let Some(alphas) = alphas {
            alphas.add(row, pixels.iter().map(alpha));
        }
    };
    for row in 0..REACH.min(height) {
        add(row, pixels, &mut lumas, &mut alphas);
    }
    for row in 0..height {
        // Rows behind the sums are sharp already, those ahead are as they were.
        if row + REACH < height {
            add(row + REACH, pixels, &mut lumas, &mut alphas);
        }
        let around = lumas.add_up(row, height - 1);
        let pixels = &mut pixels[row * width..][..width];
        match &mut alphas {
            None => around
                .iter()
                .zip(pixels)
                .for_each(|(&lumas, pixel)| apply(pixel, lumas, OPAQUE, strength)),
            Some(alphas) => {
                let weights = alphas.add_up(row, height - 1);
                let around = around.iter().zip(weights).zip(pixels);
                around.for_each(|((&lumas, &alphas), pixel)| apply(pixel, lumas, alphas, strength));
            }
        }
    }
}

/// The horizontal sums of the rows around one, and the sums of all of them.
struct Rows {
    around: [Vec<i32>; WEIGHTS.len()],
    /// A row with what lies beyond its ends, which is as they are.
    padded: Vec<i32>,
    sums: Vec<i32>,
}

impl Rows {
    fn new(width: usize) -> Rows {
        Rows {
            around: std::array::from_fn(|_| vec![0; width]),
            padded: vec![0; width + 2 * REACH],
            sums: vec![0; width],
        }
    }

    fn add(&mut self, row: usize, values: impl Iterator<Item = i32>) {
        let width = self.sums.len();
        self.padded[REACH..]
            .iter_mut()
            .zip(values)
            .for_each(|(place, value)| *place = value);
        let (first, last) = (self.padded[REACH], self.padded[width + REACH - 1]);
        self.padded[..REACH].fill(first);
        self.padded[width + REACH..].fill(last);
        let steps = std::array::from_fn(|step| &self.padded[step..][..width]);
        add_weighed(steps, &mut self.around[row % WEIGHTS.len()]);
    }

    fn add_up(&mut self, row: usize, last: usize) -> &[i32] {
        let steps = std::array::from_fn(|step| {
            let row = (row + step).saturating_sub(REACH).min(last);
            &self.around[row % WEIGHTS.len()][..]
        });
        add_weighed(steps, &mut self.sums);
        &self.sums
    }
}

fn add_weighed([one, two, three, four, five]: [&[i32]; WEIGHTS.len()], sums: &mut [i32]) {
    let [outer, inner, middle, ..] = WEIGHTS;
    let columns = one.iter().zip(two).zip(three).zip(four).zip(five);
    for (sum, ((((one, two), three), four), five)) in sums.iter_mut().zip(columns) {
        *sum = outer * (one + five) + inner * (two + four) + middle * three;
    }
}

fn alpha<const CHANNELS: usize>(pixel: &[u8; CHANNELS]) -> i32 {
    if CHANNELS == 4 {
        i32::from(pixel[CHANNELS - 1])
    } else {
        1
    }
}

fn weighed_luma<const CHANNELS: usize>(pixel: &[u8; CHANNELS]) -> i32 {
    i32::from(luma([pixel[0], pixel[1], pixel[2]])) * alpha(pixel)
}

/// `lumas` and `alphas` are those around the pixel.
fn apply<const CHANNELS: usize>(pixel: &mut [u8; CHANNELS], lumas: i32, alphas: i32, strength: u8) {
    let own = i32::from(luma([pixel[0], pixel[1], pixel[2]]));
    // In floating point: divisions of integers can not be done several at once. Where all is transparent, so is this.
    let difference = own as f32 - lumas as f32 / alphas.max(1) as f32;
    let added = difference * (f32::from(strength) / 10.0);
    for channel in &mut pixel[..3] {
        *channel = (f32::from(*channel) + added + 0.5) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::super::raster_of;
    use super::*;

    /// Dark on the left, light on the right.
    fn edge(layout: Layout) -> Raster {
        let value = |at: u32| {
            if at % 16 < 8 {
                [100, 80, 60, 255]
            } else {
                [160, 140, 120, 255]
            }
        };
        let pixels = (0..16 * 9).flat_map(|at| value(at).into_iter().take(layout.channels()));
        raster_of(16, 9, layout, pixels.collect())
    }

    #[test]
    fn an_edge_becomes_steeper_and_even_areas_stay() {
        for layout in [Layout::Rgb, Layout::Rgba] {
            let (before, mut after) = (edge(layout), edge(layout));
            sharpen(&mut after, 10);
            let row = |raster: &Raster, x: usize| raster.pixels[(4 * 16 + x) * layout.channels()];
            assert!(row(&after, 7) < row(&before, 7) && row(&after, 8) > row(&before, 8));
            for x in [0, 1, 2, 13, 14, 15] {
                assert_eq!(row(&after, x), row(&before, x), "{x}");
            }
        }
    }

    #[test]
    fn an_edge_gets_no_coloured_fringe() {
        let mut raster = edge(Layout::Rgb);
        sharpen(&mut raster, 20);
        for pixel in raster.pixels.chunks_exact(3) {
            assert_eq!((pixel[0] - pixel[1], pixel[1] - pixel[2]), (20, 20), "{pixel:?}");
        }
    }

    #[test]
    fn all_rows_are_sharpened_by_what_was_there_before() {
        let mut raster = edge(Layout::Rgb);
        sharpen(&mut raster, 30);
        let rows: Vec<&[u8]> = raster.pixels.chunks_exact(16 * 3).collect();
        assert!(rows.iter().all(|row| *row == rows[0]));
        let turn = crate::spec::Turn {
            mirrored: false,
            quarters: 1,
        };
        let mut turned = super::super::orient::orient(edge(Layout::Rgb), turn);
        sharpen(&mut turned, 30);
        assert_eq!(super::super::orient::orient(raster, turn), turned);
    }

    #[test]
    fn a_picture_of_any_size_can_be_sharpened() {
        for (width, height) in [(1, 1), (1, 2), (2, 1), (3, 3), (1, 9), (9, 1)] {
            let mut raster = raster_of(
                width,
                height,
                Layout::Rgb,
                vec![77; (width * height * 3) as usize],
            );
            sharpen(&mut raster, 255);
            assert!(raster.pixels.iter().all(|&value| value == 77));
        }
    }

    #[test]
    fn what_is_transparent_is_no_surroundings() {
        let mut raster = edge(Layout::Rgba);
        for (at, pixel) in raster.pixels.chunks_exact_mut(4).enumerate() {
            pixel[3] = if at % 16 < 8 { 0 } else { 255 };
        }
        let before = raster.clone();
        sharpen(&mut raster, 10);
        let seen = |raster: &Raster| -> Vec<[u8; 4]> {
            let (pixels, _) = raster.pixels.as_chunks::<4>();
            pixels.iter().copied().filter(|pixel| pixel[3] > 0).collect()
        };
        assert_eq!(seen(&raster), seen(&before));
    }
}
