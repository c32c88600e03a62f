//! Pictures of few colours.

use crate::image::raster::{Layout, Raster};

/// What an index of one byte can name.
const COLOURS_MAX: usize = 256;
/// Slots of the table by which colours are found; a power of two, well above their number.
const SLOTS: usize = 1024;

/// A picture as indices into its colours.
///
/// Invariant: at most 256 colours, those that are not opaque first; every index names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Palette {
    /// Red, green, blue and alpha.
    pub(crate) colours: Vec<[u8; 4]>,
    pub(crate) indices: Vec<u8>,
}

/// `None` where there are more colours than a palette can hold: found out within the first few rows of a photo.
pub(crate) fn exact(raster: &Raster) -> Option<Palette> {
    let mut colours = colours_of(raster)?;
    colours.sort_unstable_by_key(|colour| (colour[3] == u8::MAX, *colour));
    let mut table = Table::new();
    for colour in &colours {
        table.index_of(*colour);
    }
    let indices = pixels(raster)
        .map(|colour| table.index_of(colour) as u8)
        .collect();
    Some(Palette { colours, indices })
}

fn colours_of(raster: &Raster) -> Option<Vec<[u8; 4]>> {
    let mut table = Table::new();
    for colour in pixels(raster) {
        if table.index_of(colour) >= COLOURS_MAX {
            return None;
        }
    }
    Some(table.colours)
}

pub(crate) fn pixels(raster: &Raster) -> impl Iterator<Item = [u8; 4]> {
    let opaque = raster.layout != Layout::Rgba;
    let pixels = raster.pixels.chunks_exact(raster.layout.channels());
    pixels.map(move |pixel| match *pixel {
        [red, green, blue, alpha] if !opaque => [red, green, blue, alpha],
        [red, green, blue, ..] => [red, green, blue, u8::MAX],
        _ => [0; 4],
    })
}

/// Colours by their number, in the order they came.
struct Table {
    colours: Vec<[u8; 4]>,
    slots: [Option<u16>; SLOTS],
}

impl Table {
    fn new() -> Self {
        Table {
            colours: Vec::with_capacity(COLOURS_MAX + 1),
            slots: [None; SLOTS],
        }
    }

    /// A colour that is not known yet gets the next number, the last of which is [`COLOURS_MAX`].
    fn index_of(&mut self, colour: [u8; 4]) -> usize {
        // Fibonacci hashing: the upper bits of the product depend on all of the colour's.
        let hash = u32::from_le_bytes(colour).wrapping_mul(0x9e37_79b1);
        let mut slot = (hash >> 22) as usize;
        while let Some(index) = self.slots[slot] {
            if self.colours[usize::from(index)] == colour {
                return usize::from(index);
            }
            slot = (slot + 1) % SLOTS;
        }
        let index = self.colours.len();
        if index <= COLOURS_MAX {
            self.slots[slot] = Some(index as u16);
            self.colours.push(colour);
        }
        index
    }
}
