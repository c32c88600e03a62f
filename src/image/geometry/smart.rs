//! Where the most is to be seen: edges, skin and strong colours, on a coarse grid.
//!
//! Deterministic, and its cost is that of a few hundred thousand samples whatever the raster's size. Invariant: the box
//! that comes out lies within the part it was to be placed in. It does not know faces.

use super::CropBox;
use super::turn::Sides;
use crate::image::raster::{Layout, Raster};

/// Of the grid's longer side.
const CELLS: f64 = 96.0;
/// A cell's colour is the mean of so many samples along each axis.
const SAMPLES: u32 = 4;

/// How much each thing draws the eye.
const EDGE_WEIGHT: f32 = 0.8;
const SKIN_WEIGHT: f32 = 1.8;
const SATURATION_WEIGHT: f32 = 0.3;

/// The direction of skin in RGB, whatever its shade: a unit vector.
const SKIN: [f32; 3] = [0.7308, 0.5341, 0.4250];
/// How near a colour has to be to skin's direction, and how dark it may be, to count.
const SKIN_NEARNESS_MIN: f32 = 0.8;
const SKIN_LUMA_MIN: f32 = 0.2;
/// Below this saturation counts for nothing; so it does where there is next to no light, or nothing but light.
const SATURATION_MIN: f32 = 0.4;
const SATURATION_LUMA: std::ops::RangeInclusive<f32> = 0.05..=0.9;

/// How much less counts what lies at the edge of the box than what lies in its middle.
const EDGE_LOSS: f64 = 0.5;

/// Places a box of the sides `used` in `part` where it holds the most; all in the raster's pixels.
pub(super) fn place(raster: &Raster, part: CropBox, used: Sides) -> CropBox {
    let grid = Grid::sampled(raster, part);
    let scores = grid.scores();
    let columns = (0..grid.width).map(|x| (0..grid.height).map(|y| scores[y * grid.width + x]).sum());
    let rows = scores.chunks_exact(grid.width).map(|row| row.iter().sum());
    CropBox {
        left: part.left + offset(&columns.collect::<Vec<f32>>(), part.width, used.0),
        top: part.top + offset(&rows.collect::<Vec<f32>>(), part.height, used.1),
        width: used.0,
        height: used.1,
    }
}

/// Where along an axis a window of `used` out of `whole` weighs most; in the middle where it is all the same.
fn offset(profile: &[f32], whole: f64, used: f64) -> f64 {
    let room = (whole - used).max(0.0);
    let cell = whole / profile.len() as f64;
    let steps = (room / cell).ceil();
    if steps == 0.0 {
        return room / 2.0;
    }
    let from_middle = |step: u32| (f64::from(step) - steps / 2.0).abs();
    let mut nearest: Vec<u32> = (0..=steps as u32).collect();
    nearest.sort_by(|one, other| from_middle(*one).total_cmp(&from_middle(*other)));
    let mut best = (0.0, room / 2.0);
    for step in nearest {
        let start = room * f64::from(step) / steps;
        let weight = weight(profile, start / cell, used / cell);
        // What is better by a rounding error is not better.
        if weight > best.0 * (1.0 + 1e-6) {
            best = (weight, start);
        }
    }
    best.1
}

/// What a window holds, in cells; its middle counts most.
fn weight(profile: &[f32], start: f64, length: f64) -> f64 {
    let (middle, end) = (start + length / 2.0, start + length);
    let cells = profile.iter().enumerate();
    cells
        .map(|(cell, &score)| {
            let cell = cell as f64;
            let inside = (end.min(cell + 1.0) - start.max(cell)).max(0.0);
            let away = (cell + 0.5 - middle) / (length / 2.0);
            f64::from(score) * inside * (1.0 - EDGE_LOSS * (away * away).min(1.0))
        })
        .sum()
}

/// A cell's colour, 0..=1, with transparency as black.
type Cell = [f32; 3];

struct Grid {
    width: usize,
    height: usize,
    cells: Vec<Cell>,
}

impl Grid {
    fn sampled(raster: &Raster, part: CropBox) -> Grid {
        let cell = (part.width.max(part.height) / CELLS).max(1.0);
        let width = (part.width / cell).round().max(1.0) as u32;
        let height = (part.height / cell).round().max(1.0) as u32;
        let columns = positions(part.left, part.width, width, raster.width);
        let rows = positions(part.top, part.height, height, raster.height);
        let per_cell = SAMPLES as usize;
        let mut cells = Vec::with_capacity((width * height) as usize);
        for rows in rows.chunks_exact(per_cell) {
            for columns in columns.chunks_exact(per_cell) {
                cells.push(mean(raster, columns, rows));
            }
        }
        Grid {
            width: width as usize,
            height: height as usize,
            cells,
        }
    }

    fn scores(&self) -> Vec<f32> {
        let lumas: Vec<f32> = self.cells.iter().map(luma).collect();
        let cells = self.cells.iter().zip(&lumas).enumerate();
        cells
            .map(|(at, (cell, &luma))| {
                EDGE_WEIGHT * self.edge(&lumas, at)
                    + SKIN_WEIGHT * skin(cell, luma)
                    + SATURATION_WEIGHT * saturation(cell, luma)
            })
            .collect()
    }

    /// How far a cell's luma lies from that of its neighbours; 0 along the grid's own edges.
    fn edge(&self, lumas: &[f32], at: usize) -> f32 {
        let (x, y) = (at % self.width, at / self.width);
        if x == 0 || y == 0 || x + 1 == self.width || y + 1 == self.height {
            return 0.0;
        }
        let around = lumas[at - 1] + lumas[at + 1] + lumas[at - self.width] + lumas[at + self.width];
        (4.0 * lumas[at] - around).abs().min(1.0)
    }
}

/// The middles of `SAMPLES` equal pieces of each of `cells` cells.
fn positions(start: f64, length: f64, cells: u32, side: u32) -> Vec<u32> {
    let count = cells * SAMPLES;
    let step = length / f64::from(count);
    let pieces = (0..count).map(|piece| start + (f64::from(piece) + 0.5) * step);
    pieces.map(|position| (position as u32).min(side - 1)).collect()
}

fn mean(raster: &Raster, columns: &[u32], rows: &[u32]) -> Cell {
    let channels = raster.layout.channels();
    let mut sums = [0u32; 3];
    for &row in rows {
        let start = row as usize * raster.width as usize;
        for &column in columns {
            let at = (start + column as usize) * channels;
            let colour = colour(&raster.pixels[at..at + channels], raster.layout);
            for (sum, channel) in sums.iter_mut().zip(colour) {
                *sum += channel;
            }
        }
    }
    let count = 255 * (columns.len() * rows.len()) as u32;
    sums.map(|sum| sum as f32 / count as f32)
}

/// Good enough to tell colours apart: ink without its profile.
fn colour(pixel: &[u8], layout: Layout) -> [u32; 3] {
    let colour = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    match layout {
        Layout::Rgb => colour,
        Layout::Rgba | Layout::Cmyk => colour.map(|channel| channel * u32::from(pixel[3]) / 255),
    }
}

fn luma(cell: &Cell) -> f32 {
    0.2126 * cell[0] + 0.7152 * cell[1] + 0.0722 * cell[2]
}

/// 0..=1.
fn skin(cell: &Cell, luma: f32) -> f32 {
    let length = cell.iter().map(|channel| channel * channel).sum::<f32>().sqrt();
    if luma < SKIN_LUMA_MIN || length == 0.0 {
        return 0.0;
    }
    let away = cell
        .iter()
        .zip(SKIN)
        .map(|(channel, skin)| (channel / length - skin).powi(2));
    let nearness = 1.0 - away.sum::<f32>().sqrt();
    ((nearness - SKIN_NEARNESS_MIN) / (1.0 - SKIN_NEARNESS_MIN)).max(0.0)
}

/// That of HSL, 0..=1.
fn saturation(cell: &Cell, luma: f32) -> f32 {
    let most = cell.iter().copied().fold(0.0, f32::max);
    let least = cell.iter().copied().fold(1.0, f32::min);
    if most <= least || !SATURATION_LUMA.contains(&luma) {
        return 0.0;
    }
    let saturation = (most - least) / (1.0 - (most + least - 1.0).abs()).max(f32::EPSILON);
    ((saturation - SATURATION_MIN) / (1.0 - SATURATION_MIN)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Grey, with a chequered patch of 16 by 16 whose upper left corner lies there.
    fn patched(width: u32, height: u32, patch: (u32, u32)) -> Raster {
        let mut pixels = vec![128; (width * height * 3) as usize];
        for y in 0..16 {
            for x in 0..16 {
                let at = (((patch.1 + y) * width + patch.0 + x) * 3) as usize;
                let value = if (x / 2 + y / 2) % 2 == 0 {
                    [255, 160, 120]
                } else {
                    [40, 10, 10]
                };
                pixels[at..at + 3].copy_from_slice(&value);
            }
        }
        Raster {
            width,
            height,
            layout: Layout::Rgb,
            pixels,
        }
    }

    fn whole(raster: &Raster) -> CropBox {
        CropBox {
            left: 0.0,
            top: 0.0,
            width: f64::from(raster.width),
            height: f64::from(raster.height),
        }
    }

    #[test]
    fn the_box_holds_what_there_is_to_see() {
        for left in [0, 20, 60, 140, 184] {
            let raster = patched(200, 64, (left, 24));
            let place = place(&raster, whole(&raster), (64.0, 64.0));
            assert!(place.left <= f64::from(left), "{left} {place:?}");
            assert!(
                place.left + place.width >= f64::from(left + 16),
                "{left} {place:?}"
            );
        }
    }

    #[test]
    fn it_is_brought_to_the_middle_where_there_is_room() {
        let raster = patched(64, 200, (24, 92));
        let place = place(&raster, whole(&raster), (64.0, 64.0));
        assert!((place.top + 32.0 - 100.0).abs() <= 4.0, "{place:?}");
    }

    #[test]
    fn where_all_is_the_same_the_middle_is_kept() {
        let mut raster = patched(200, 64, (0, 0));
        raster.pixels.fill(90);
        let place = place(&raster, whole(&raster), (64.0, 64.0));
        assert!((place.left - 68.0).abs() <= 2.0, "{place:?}");
    }

    #[test]
    fn what_is_transparent_is_not_seen() {
        let seen = patched(200, 64, (150, 20));
        let hidden = patched(200, 64, (10, 20));
        let pixels = seen
            .pixels
            .chunks_exact(3)
            .zip(hidden.pixels.chunks_exact(3))
            .enumerate();
        let pixels = pixels.flat_map(|(at, (seen, hidden))| match at % 200 {
            0..100 => [hidden[0], hidden[1], hidden[2], 0],
            _ => [seen[0], seen[1], seen[2], 255],
        });
        let raster = Raster {
            layout: Layout::Rgba,
            pixels: pixels.collect(),
            ..seen
        };
        assert!(place(&raster, whole(&raster), (64.0, 64.0)).left > 100.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_box_lies_within_its_part(
            sides in (1u32..80, 1u32..80),
            part in (0.0..1.0f64, 0.0..1.0f64, 0.01..1.0f64, 0.01..1.0f64),
            used in (0.01..=1.0f64, 0.01..=1.0f64),
        ) {
            let raster = Raster {
                width: sides.0,
                height: sides.1,
                layout: Layout::Cmyk,
                pixels: (0..sides.0 * sides.1 * 4).map(|at| (at * 37 % 251) as u8).collect(),
            };
            let (width, height) = (f64::from(sides.0), f64::from(sides.1));
            let (left, top) = (width * part.0, height * part.1);
            let part = CropBox { left, top, width: (width - left) * part.2, height: (height - top) * part.3 };
            let used = (part.width * used.0, part.height * used.1);
            let place = place(&raster, part, used);
            prop_assert!(place.left >= part.left && place.top >= part.top);
            prop_assert!(place.left + used.0 <= part.left + part.width + 1e-6);
            prop_assert!(place.top + used.1 <= part.top + part.height + 1e-6);
        }
    }
}
