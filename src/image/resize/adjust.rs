//! Brightness, contrast and saturation, in one pass.
//!
//! Brightness moves all values by a part of the whole range; contrast spreads them around its middle; saturation moves
//! colours away from the grey that is as light. Invariant: 0 changes nothing, and alpha is never touched.

use super::mono::luma;
use crate::image::raster::{Layout, Raster};
use crate::spec::Spec;

/// Saturation's factor is in parts of this.
const ONE: i32 = 256;

pub(super) fn adjust(raster: &mut Raster, spec: &Spec) {
    if spec.brightness == 0 && spec.contrast == 0 && spec.saturation == 0 {
        return;
    }
    let tones = tones(spec.brightness, spec.contrast);
    let factor = ONE + i32::from(spec.saturation.clamp(-100, 100)) * ONE / 100;
    match raster.layout {
        Layout::Rgb => adjust_pixels::<3>(&mut raster.pixels, &tones, factor),
        Layout::Rgba | Layout::Cmyk => adjust_pixels::<4>(&mut raster.pixels, &tones, factor),
    }
}

fn adjust_pixels<const CHANNELS: usize>(pixels: &mut [u8], tones: &[u8; 256], factor: i32) {
    let (pixels, _) = pixels.as_chunks_mut::<CHANNELS>();
    for pixel in pixels {
        let toned = [pixel[0], pixel[1], pixel[2]].map(|value| tones[usize::from(value)]);
        let adjusted = if factor == ONE {
            toned
        } else {
            saturated(toned, factor)
        };
        pixel[..3].copy_from_slice(&adjusted);
    }
}

fn saturated(colour: [u8; 3], factor: i32) -> [u8; 3] {
    let grey = i32::from(luma(colour));
    colour.map(|value| {
        // Shifted and not divided: rounded alike on both sides of 0.
        let away = ((i32::from(value) - grey) * factor + ONE / 2) >> ONE.trailing_zeros();
        (grey + away).clamp(0, 255) as u8
    })
}

/// What each value becomes.
fn tones(brightness: i8, contrast: i8) -> [u8; 256] {
    let offset = f32::from(brightness) / 100.0 * 255.0;
    // From flat, over unchanged, to four times as steep.
    let factor = (1.0 + f32::from(contrast.max(-100)) / 100.0).powi(2);
    std::array::from_fn(|value| ((value as f32 - 127.5) * factor + 127.5 + offset).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::super::raster_of;
    use super::*;
    use proptest::prelude::*;

    fn adjusted(colour: [u8; 3], brightness: i8, contrast: i8, saturation: i8) -> [u8; 3] {
        let mut raster = raster_of(1, 1, Layout::Rgb, colour.to_vec());
        let spec = Spec {
            brightness,
            contrast,
            saturation,
            ..Spec::default()
        };
        adjust(&mut raster, &spec);
        [raster.pixels[0], raster.pixels[1], raster.pixels[2]]
    }

    #[test]
    fn brightness_goes_from_black_to_white() {
        assert_eq!(adjusted([10, 100, 200], -100, 0, 0), [0; 3]);
        assert_eq!(adjusted([10, 100, 200], 100, 0, 0), [255; 3]);
        assert_eq!(adjusted([100; 3], 10, 0, 0), [126; 3]);
    }

    #[test]
    fn contrast_goes_from_flat_to_steep_and_leaves_the_middle() {
        assert_eq!(adjusted([10, 100, 200], 0, -100, 0), [128; 3]);
        assert_eq!(adjusted([10, 100, 200], 0, 100, 0), [0, 18, 255]);
        assert_eq!(adjusted([127, 127, 128], 0, 50, 0), [126, 126, 129]);
    }

    #[test]
    fn without_saturation_all_is_grey() {
        assert_eq!(adjusted([255, 0, 0], 0, 0, -100), [54; 3]);
        assert_eq!(adjusted([100, 110, 120], 0, 0, 100)[1], 111);
        assert_eq!(adjusted([77; 3], 0, 0, 100), [77; 3]);
    }

    #[test]
    fn the_least_an_i8_holds_is_no_less_than_the_least_there_is() {
        assert_eq!(
            adjusted([9, 99, 199], 0, i8::MIN, i8::MIN),
            adjusted([9, 99, 199], 0, -100, -100)
        );
    }

    proptest! {
        #[test]
        fn more_of_one_only_moves_colours_one_way(colour: [u8; 3], less in -100i8..100) {
            let (dark, light) = (adjusted(colour, less, 0, 0), adjusted(colour, less + 1, 0, 0));
            prop_assert!(dark.iter().zip(light).all(|(dark, light)| *dark <= light));
            let spread = |colour: [u8; 3]| colour.iter().max().unwrap() - colour.iter().min().unwrap();
            let (pale, strong) = (adjusted(colour, 0, 0, less), adjusted(colour, 0, 0, less + 1));
            prop_assert!(spread(pale) <= spread(strong).saturating_add(1));
        }

        #[test]
        fn what_changes_nothing_changes_nothing(colour: [u8; 3]) {
            prop_assert_eq!(saturated(colour, ONE), colour);
            prop_assert_eq!(colour.map(|value| tones(0, 0)[usize::from(value)]), colour);
        }
    }
}
