//! A picture in the shades of one colour.
//!
//! Each pixel keeps its lightness: shades run from black through the colour, which stands where it is itself in
//! lightness, to white. Those of black or white are greys.

use crate::image::raster::{Layout, Raster};
use crate::spec::Colour;

pub(super) fn mono(raster: &mut Raster, colour: Colour) {
    let shades = shades([colour.red, colour.green, colour.blue]);
    match raster.layout {
        Layout::Rgb => shade::<3>(&mut raster.pixels, &shades),
        Layout::Rgba | Layout::Cmyk => shade::<4>(&mut raster.pixels, &shades),
    }
}

fn shade<const CHANNELS: usize>(pixels: &mut [u8], shades: &[[u8; 3]; 256]) {
    let (pixels, _) = pixels.as_chunks_mut::<CHANNELS>();
    for pixel in pixels {
        let lightness = luma([pixel[0], pixel[1], pixel[2]]);
        pixel[..3].copy_from_slice(&shades[usize::from(lightness)]);
    }
}

/// How light a colour is, by the weights of ITU-R BT.709.
pub(super) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((54 * u32::from(red) + 183 * u32::from(green) + 19 * u32::from(blue) + 128) >> 8) as u8
}

/// The shade of each lightness.
fn shades(colour: [u8; 3]) -> [[u8; 3]; 256] {
    let own = f32::from(luma(colour));
    std::array::from_fn(|lightness| {
        let lightness = lightness as f32;
        colour.map(|channel| {
            let channel = f32::from(channel);
            let shade = if lightness <= own && own > 0.0 {
                channel * lightness / own
            } else {
                channel + (255.0 - channel) * (lightness - own) / (255.0 - own)
            };
            shade.round() as u8
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_of_black_and_of_white_are_greys() {
        for colour in [[0; 3], [255; 3]] {
            for (lightness, shade) in shades(colour).into_iter().enumerate() {
                assert_eq!(shade, [lightness as u8; 3], "{colour:?}");
            }
        }
    }

    #[test]
    fn shades_go_from_black_through_the_colour_to_white() {
        for colour in [[200, 30, 60], [0, 0, 255], [255, 255, 0], [0, 0, 1], [1, 2, 3]] {
            let shades = shades(colour);
            assert_eq!(shades[usize::from(luma(colour))], colour);
            assert_eq!(shades[255], [255; 3]);
            if luma(colour) > 0 {
                assert_eq!(shades[0], [0; 3]);
            }
        }
    }

    #[test]
    fn a_shade_is_as_light_as_what_it_stands_for() {
        for (lightness, shade) in shades([200, 30, 60]).into_iter().enumerate() {
            assert!(
                luma(shade).abs_diff(lightness as u8) <= 1,
                "{lightness} {shade:?}"
            );
        }
    }
}
