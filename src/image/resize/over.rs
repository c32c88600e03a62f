//! One colour over another, and what follows from it: backgrounds.
//!
//! All colours have straight alpha. Invariant: what is opaque hides what is behind it, to the bit.

use super::raster_of;
use crate::image::raster::{Layout, Raster};
use crate::spec::Colour;

pub(super) type Rgba = [u8; 4];

/// `top` laid over `bottom`.
pub(super) fn over(top: Rgba, bottom: Rgba) -> Rgba {
    let (top_alpha, bottom_alpha) = (u32::from(top[3]), u32::from(bottom[3]));
    // Shares in 255ths of 255.
    let top_share = top_alpha * 255;
    let bottom_share = bottom_alpha * (255 - top_alpha);
    let share = top_share + bottom_share;
    if share == 0 {
        return [0; 4];
    }
    let mixed = |channel: usize| {
        let sum = u32::from(top[channel]) * top_share + u32::from(bottom[channel]) * bottom_share;
        ((sum + share / 2) / share) as u8
    };
    [mixed(0), mixed(1), mixed(2), ((share + 127) / 255) as u8]
}

/// The same where nothing shines through.
pub(super) fn over_opaque(top: Rgba, bottom: [u8; 3]) -> [u8; 3] {
    let alpha = u32::from(top[3]);
    let mixed = |channel: usize| {
        let sum = u32::from(top[channel]) * alpha + u32::from(bottom[channel]) * (255 - alpha);
        ((sum + 127) / 255) as u8
    };
    [mixed(0), mixed(1), mixed(2)]
}

/// Lays a raster over its background; opaque if that is.
pub(super) fn flatten(mut raster: Raster, background: Option<Colour>) -> Raster {
    let Some(background) = background else {
        return raster;
    };
    if raster.layout != Layout::Rgba {
        return raster;
    }
    let [red, green, blue, alpha] = rgba(background);
    let (pixels, _) = raster.pixels.as_chunks_mut::<4>();
    if alpha == 255 {
        let flat = pixels.iter().map(|&pixel| over_opaque(pixel, [red, green, blue]));
        let flat: Vec<[u8; 3]> = flat.collect();
        return raster_of(raster.width, raster.height, Layout::Rgb, flat.into_flattened());
    }
    for pixel in pixels {
        *pixel = over(*pixel, [red, green, blue, alpha]);
    }
    raster
}

pub(super) fn rgba(colour: Colour) -> Rgba {
    [colour.red, colour.green, colour.blue, colour.alpha]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GREEN: Colour = Colour {
        red: 0,
        green: 255,
        blue: 0,
        alpha: 255,
    };

    #[test]
    fn half_a_colour_lets_half_of_the_background_through() {
        let raster = raster_of(1, 1, Layout::Rgba, vec![255, 0, 0, 128]);
        let flat = flatten(raster.clone(), Some(GREEN));
        assert_eq!((flat.layout, flat.pixels), (Layout::Rgb, vec![128, 127, 0]));
        let half = Colour { alpha: 128, ..GREEN };
        let flat = flatten(raster.clone(), Some(half));
        assert_eq!((flat.layout, flat.pixels), (Layout::Rgba, vec![170, 85, 0, 192]));
        assert_eq!(flatten(raster.clone(), None), raster);
    }

    proptest! {
        #[test]
        fn what_is_opaque_hides_and_what_is_transparent_shows(one: [u8; 3], other: Rgba) {
            let opaque = [one[0], one[1], one[2], 255];
            let clear = [one[0], one[1], one[2], 0];
            prop_assert_eq!(over(opaque, other), opaque);
            prop_assert_eq!(over_opaque(opaque, [other[0], other[1], other[2]]), one);
            prop_assert_eq!(over_opaque(clear, one), one);
            if other[3] > 0 {
                prop_assert_eq!(over(clear, other), other);
            }
        }

        #[test]
        fn over_what_is_opaque_both_ways_agree(top: Rgba, bottom: [u8; 3]) {
            let opaque = [bottom[0], bottom[1], bottom[2], 255];
            let [red, green, blue, alpha] = over(top, opaque);
            prop_assert_eq!(([red, green, blue], alpha), (over_opaque(top, bottom), 255));
        }
    }
}
