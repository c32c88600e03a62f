//! Lays a raster down another way.
//!
//! Every pixel is moved once. What keeps its sides is moved in place; what changes them is moved in tiles, because a
//! column is as many cache lines as it is high.

use crate::image::geometry::turn::{swaps, turned};
use crate::image::raster::{Layout, Raster};
use crate::spec::Turn;

/// Of a tile, in pixels: two tiles of four channels fill half of a small first-level cache.
const TILE: usize = 32;

pub(super) fn orient(raster: Raster, turn: Turn) -> Raster {
    match raster.layout {
        Layout::Rgb => orient_pixels::<3>(raster, turn),
        Layout::Rgba | Layout::Cmyk => orient_pixels::<4>(raster, turn),
    }
}

fn orient_pixels<const CHANNELS: usize>(mut raster: Raster, turn: Turn) -> Raster {
    let (width, height) = (raster.width as usize, raster.height as usize);
    let (pixels, _) = raster.pixels.as_chunks_mut::<CHANNELS>();
    match (turn.mirrored, turn.quarters % 4) {
        (false, 0) => return raster,
        (true, 0) => pixels.chunks_exact_mut(width).for_each(<[_]>::reverse),
        (false, 2) => pixels.reverse(),
        (true, 2) => upside_down(pixels, width),
        _ => raster.pixels = transposed(pixels, width, height, turn).into_flattened(),
    }
    let (width, height) = turned((raster.width, raster.height), turn);
    Raster {
        width,
        height,
        ..raster
    }
}

fn upside_down<P>(pixels: &mut [P], width: usize) {
    let rows = pixels.len() / width;
    let (upper, lower) = pixels.split_at_mut(rows / 2 * width);
    let lower = lower.chunks_exact_mut(width).rev();
    for (upper, lower) in upper.chunks_exact_mut(width).zip(lower) {
        upper.swap_with_slice(lower);
    }
}

/// For turns that change the sides: a row of the result is a column of the source.
fn transposed<const CHANNELS: usize>(
    pixels: &[[u8; CHANNELS]],
    width: usize,
    height: usize,
    turn: Turn,
) -> Vec<[u8; CHANNELS]> {
    debug_assert!(swaps(turn));
    // Clockwise, the result's first column is the source's last row; and its first row the source's first column,
    // unless that was mirrored. Counterclockwise both are the other way round.
    let clockwise = turn.quarters % 4 == 1;
    let (from_last_row, from_last_column) = (clockwise, clockwise == turn.mirrored);
    let mut result = vec![[0; CHANNELS]; pixels.len()];
    for tile_top in (0..width).step_by(TILE) {
        for tile_left in (0..height).step_by(TILE) {
            for row in tile_top..(tile_top + TILE).min(width) {
                let column_before = if from_last_column { width - 1 - row } else { row };
                for column in tile_left..(tile_left + TILE).min(height) {
                    let row_before = if from_last_row {
                        height - 1 - column
                    } else {
                        column
                    };
                    result[row * height + column] = pixels[row_before * width + column_before];
                }
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::raster_of;
    use super::*;
    use crate::image::geometry::turn::{all_turns, then};

    /// Every pixel differs from every other.
    fn numbered(width: u32, height: u32, layout: Layout) -> Raster {
        let pixels = (0..width * height).flat_map(|number| {
            let bytes = number.to_be_bytes();
            let pixel = [bytes[3], bytes[2], 7, bytes[3]];
            pixel.into_iter().take(layout.channels())
        });
        let pixels = pixels.collect();
        raster_of(width, height, layout, pixels)
    }

    /// One mirror and one quarter at a time, pixel by pixel.
    fn slowly(raster: &Raster, turn: Turn) -> Raster {
        let mut raster = raster.clone();
        let channels = raster.layout.channels();
        if turn.mirrored {
            for row in raster.pixels.chunks_mut(raster.width as usize * channels) {
                let pixels: Vec<Vec<u8>> = row.chunks(channels).rev().map(<[u8]>::to_vec).collect();
                row.copy_from_slice(&pixels.concat());
            }
        }
        for _ in 0..turn.quarters {
            let (width, height) = (raster.width as usize, raster.height as usize);
            let mut pixels = Vec::new();
            for row in 0..width {
                for column in 0..height {
                    let at = ((height - 1 - column) * width + row) * channels;
                    pixels.extend_from_slice(&raster.pixels[at..at + channels]);
                }
            }
            raster = raster_of(raster.height, raster.width, raster.layout, pixels);
        }
        raster
    }

    #[test]
    fn each_turn_moves_each_pixel_where_it_belongs() {
        for layout in [Layout::Rgb, Layout::Rgba, Layout::Cmyk] {
            for (width, height) in [(1, 1), (1, 5), (5, 1), (2, 3), (33, 65), (64, 31)] {
                let raster = numbered(width, height, layout);
                for turn in all_turns() {
                    let turned = orient(raster.clone(), turn);
                    assert_eq!(
                        turned,
                        slowly(&raster, turn),
                        "{width}x{height} {layout:?} {turn:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn two_turns_are_one() {
        let raster = numbered(5, 3, Layout::Rgb);
        for first in all_turns() {
            for second in all_turns() {
                let both = orient(raster.clone(), then(first, second));
                let stepwise = orient(orient(raster.clone(), first), second);
                assert_eq!(both, stepwise, "{first:?} {second:?}");
            }
        }
    }
}
