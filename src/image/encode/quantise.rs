//! Pictures of many colours brought to 256, by Wu's method: boxes of colours, cut where that saves the most variance.
//!
//! Invariant: what is transparent stays so, what is opaque too. Colours in one cell of the histogram come out as one.

use super::palette::{Palette, pixels};
use crate::image::raster::Raster;
use quantette::PaletteSize;
use quantette::color_map::IndexedColorMap;
use quantette::deps::palette::Srgb;
use quantette::wu::{BinnerU8x3, WuU8x3};

const TRANSPARENT: [u8; 4] = [0; 4];

type Histogram = WuU8x3<Srgb<u8>, 32, 64, 32>;

/// Each pixel has to be opaque, or `[0, 0, 0, 0]`.
pub(crate) fn quantise(raster: &Raster) -> Palette {
    let sees_through = pixels(raster).any(|pixel| pixel == TRANSPARENT);
    let (mut colours, most) = match sees_through {
        true => (vec![TRANSPARENT], PaletteSize::from_u8_clamped(u8::MAX)),
        false => (Vec::new(), PaletteSize::MAX),
    };
    let opaque: Vec<Srgb<u8>> = pixels(raster)
        .filter(|pixel| *pixel != TRANSPARENT)
        .map(|[red, green, blue, _]| Srgb::new(red, green, blue))
        .collect();
    let first = colours.len() as u8;
    let mut nearest = Vec::new();
    if let Ok(histogram) = Histogram::run_slice(&opaque, BinnerU8x3::new()) {
        let map = histogram.color_map(most);
        let learnt = map.palette().iter();
        colours.extend(learnt.map(|colour| [colour.red, colour.green, colour.blue, u8::MAX]));
        nearest = map.map_to_indices(&opaque);
    }
    let mut nearest = nearest.into_iter().map(|index: u8| first + index);
    let index_of = |pixel| match pixel {
        TRANSPARENT => 0,
        _ => nearest.next().unwrap_or(first),
    };
    Palette {
        indices: pixels(raster).map(index_of).collect(),
        colours,
    }
}
