//! Decoded pixels: 8 bits for each channel, rows without gaps.
//!
//! Invariant: `pixels` holds exactly `width * height` pixels of the layout, and neither side is 0.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raster {
    pub width: u32,
    pub height: u32,
    pub layout: Layout,
    pub pixels: Vec<u8>,
}

/// The channels of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Rgb,
    /// Straight alpha.
    Rgba,
    /// 255 is no ink: as JPEGs of Adobe have it. Becomes RGB with the colour step.
    Cmyk,
}

impl Layout {
    pub const fn channels(self) -> usize {
        match self {
            Layout::Rgb => 3,
            Layout::Rgba | Layout::Cmyk => 4,
        }
    }
}

impl Raster {
    /// Whether none of it shows what is behind.
    pub(super) fn is_opaque(&self) -> bool {
        // In blocks: what may end at each pixel can not look at several at once.
        const BLOCK: usize = 256;
        let (pixels, _) = self.pixels.as_chunks::<4>();
        let mut blocks = pixels.chunks(BLOCK);
        self.layout != Layout::Rgba
            || blocks.all(|block| block.iter().fold(255, |least, pixel| least & pixel[3]) == 255)
    }

    /// From RGB to RGBA or back; alpha is lost then.
    pub(super) fn into_layout(mut self, layout: Layout) -> Raster {
        match (self.layout, layout) {
            (Layout::Rgba, Layout::Rgb) => drop_fourths(&mut self.pixels),
            (Layout::Rgb, Layout::Rgba) => self.pixels = with_alpha(&self.pixels),
            _ => return self,
        }
        Raster { layout, ..self }
    }

    pub(super) fn into_rgba(self) -> Raster {
        self.into_layout(Layout::Rgba)
    }

    /// In three channels where all of it is opaque: fewer bytes to resize and to write.
    pub(super) fn without_idle_alpha(self) -> Raster {
        if self.layout == Layout::Rgba && self.is_opaque() {
            return self.into_layout(Layout::Rgb);
        }
        self
    }
}

/// In place: a raster may be as large as a source, and a second one beside it is in no estimate.
fn drop_fourths(pixels: &mut Vec<u8>) {
    // Blocks pass through a copy of their own, so that what is read and what is written never overlap.
    const BLOCK: usize = 256;
    let mut block = [[0; 4]; BLOCK];
    let count = pixels.len() / 4;
    for start in (0..count).step_by(BLOCK) {
        let length = BLOCK.min(count - start);
        let block = &mut block[..length];
        block
            .as_flattened_mut()
            .copy_from_slice(&pixels[start * 4..(start + length) * 4]);
        let (colours, _) = pixels[start * 3..(start + length) * 3].as_chunks_mut::<3>();
        for (colour, &[red, green, blue, _]) in colours.iter_mut().zip(&*block) {
            *colour = [red, green, blue];
        }
    }
    pixels.truncate(count * 3);
}

fn with_alpha(pixels: &[u8]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<3>();
    let pixels: Vec<[u8; 4]> = pixels
        .iter()
        .map(|&[red, green, blue]| [red, green, blue, u8::MAX])
        .collect();
    pixels.into_flattened()
}

/// One picture of an animation; a still is one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) raster: Raster,
    /// How long it is shown, in milliseconds.
    pub(super) delay: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_without_use_is_dropped_where_it_lies() {
        for width in [1, 255, 256, 257, 700] {
            let colours: Vec<[u8; 4]> = (0..width).map(|at| [at as u8, (at >> 8) as u8, 7, 255]).collect();
            let mut raster = Raster {
                width,
                height: 1,
                layout: Layout::Rgba,
                pixels: colours.as_flattened().to_vec(),
            };
            let place = raster.pixels.as_ptr();
            let opaque = raster.clone();
            let dropped = std::mem::replace(&mut raster, opaque.clone()).without_idle_alpha();
            assert_eq!((dropped.layout, dropped.pixels.as_ptr()), (Layout::Rgb, place));
            assert!(
                dropped
                    .pixels
                    .iter()
                    .eq(colours.iter().flat_map(|colour| &colour[..3]))
            );
            assert_eq!(dropped.into_rgba(), opaque);
            *raster.pixels.last_mut().unwrap() = 254;
            assert_eq!(raster.clone().without_idle_alpha(), raster);
        }
    }
}
