//! What profiles do to pixels, and what they can not do.

use super::*;
use crate::image::geometry::tests::probe;
use crate::spec::Turn;
use moxcms::{LutDataType, LutStore, LutType, LutWarehouse, Matrix3d, ProfileClass, ToneReprCurve};
use proptest::prelude::*;

fn with_profile(profile: Option<Vec<u8>>, colours: Colours) -> Probe {
    Probe {
        profile,
        colours,
        ..probe(1, 1, Turn::default())
    }
}

fn to_srgb(raster: Raster, probe: &Probe) -> Raster {
    ToSrgb::of(probe).convert(raster)
}

fn pixel(layout: Layout, pixel: &[u8]) -> Raster {
    raster_of(1, 1, layout, pixel.to_vec())
}

fn through(profile: &ColorProfile, colours: Colours, raster: Raster) -> Vec<u8> {
    to_srgb(raster, &with_profile(Some(profile.encode().unwrap()), colours)).pixels
}

/// Inks to Lab: two steps along each axis, and all that shines is lightness. More of an ink is darker.
fn ink_profile() -> ColorProfile {
    let identity: Vec<u16> = (0..=255).map(|value| value * 257).collect();
    let corners = (0..16u16).flat_map(|inks| [65_280 - inks.count_ones() as u16 * 12_800, 32_768, 32_768]);
    let table = LutDataType {
        num_input_channels: 4,
        num_output_channels: 3,
        num_clut_grid_points: 2,
        matrix: Matrix3d::IDENTITY,
        num_input_table_entries: 256,
        num_output_table_entries: 256,
        input_table: LutStore::Store16(identity.repeat(4)),
        clut_table: LutStore::Store16(corners.collect()),
        output_table: LutStore::Store16(identity.repeat(3)),
        lut_type: LutType::Lut16,
    };
    let mut profile = ColorProfile::default();
    profile.color_space = DataColorSpace::Cmyk;
    profile.pcs = DataColorSpace::Lab;
    profile.profile_class = ProfileClass::OutputDevice;
    profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(table));
    profile.white_point = ColorProfile::new_srgb().white_point;
    profile
}

#[test]
fn a_wider_gamut_s_red_is_redder_than_srgb_has_it() {
    let display_p3 = ColorProfile::new_display_p3();
    let red = through(&display_p3, Colours::Rgb, pixel(Layout::Rgb, &[200, 60, 50]));
    assert!(red[0] > 210 && red[1] < 60, "{red:?}");
    let grey = through(&display_p3, Colours::Rgb, pixel(Layout::Rgb, &[120; 3]));
    assert!(grey.iter().all(|value| value.abs_diff(120) <= 1), "{grey:?}");
}

#[test]
fn alpha_stays_what_it_is() {
    let profile = ColorProfile::new_display_p3();
    let opaque = through(&profile, Colours::Rgb, pixel(Layout::Rgb, &[200, 60, 50]));
    let half = through(&profile, Colours::Rgb, pixel(Layout::Rgba, &[200, 60, 50, 99]));
    assert_eq!((&half[..3], half[3]), (&opaque[..], 99));
}

#[test]
fn srgb_s_own_profile_is_no_work() {
    let profile = ColorProfile::new_srgb().encode().unwrap();
    assert!(matches!(build(&profile, Pixels::Rgb), Some(Way::Idle)));
}

#[test]
fn srgb_with_another_curve_is_not_srgb() {
    let mut profile = ColorProfile::new_srgb();
    let gamma = Some(ToneReprCurve::Parametric(vec![1.8]));
    (profile.red_trc, profile.green_trc, profile.blue_trc) = (gamma.clone(), gamma.clone(), gamma);
    profile.cicp = None;
    let grey = through(&profile, Colours::Rgb, pixel(Layout::Rgb, &[100; 3]));
    assert!(grey[0] > 110, "{grey:?}");
}

#[test]
fn greys_go_by_a_profile_of_greys() {
    let profile = ColorProfile::new_gray_with_gamma(1.0);
    let grey = through(&profile, Colours::Grey, pixel(Layout::Rgb, &[55; 3]));
    assert!(grey.iter().all(|value| value.abs_diff(128) <= 2), "{grey:?}");
    let half = through(&profile, Colours::Grey, pixel(Layout::Rgba, &[55, 55, 55, 9]));
    assert_eq!((&half[..3], half[3]), (&grey[..], 9));
    let colour = through(&profile, Colours::Rgb, pixel(Layout::Rgb, &[55, 9, 200]));
    assert_eq!(colour, [55, 9, 200], "it says nothing of colours");
}

#[test]
fn inks_without_a_profile_are_ideal() {
    let mixed = |inks: [u8; 4]| to_srgb(pixel(Layout::Cmyk, &inks), &with_profile(None, Colours::Cmyk));
    assert_eq!(mixed([255; 4]), pixel(Layout::Rgb, &[255; 3]));
    assert_eq!(mixed([0, 255, 255, 255]), pixel(Layout::Rgb, &[0, 255, 255]));
    assert_eq!(mixed([200, 100, 50, 128]), pixel(Layout::Rgb, &[100, 50, 25]));
}

#[test]
fn inks_go_by_their_profile() {
    let profile = ink_profile();
    let paper = through(&profile, Colours::Cmyk, pixel(Layout::Cmyk, &[255; 4]));
    assert!(paper.iter().all(|&value| value >= 250), "{paper:?}");
    let one = through(&profile, Colours::Cmyk, pixel(Layout::Cmyk, &[0, 255, 255, 255]));
    let two = through(&profile, Colours::Cmyk, pixel(Layout::Cmyk, &[0, 0, 255, 255]));
    assert!(
        one[0].abs_diff(one[2]) <= 2,
        "this profile's inks are all grey: {one:?}"
    );
    assert!(paper[1] > one[1] && one[1] > two[1], "{paper:?} {one:?} {two:?}");
}

#[test]
fn a_raster_of_many_blocks_is_brought_over_whole() {
    let count = BLOCK as u32 * 2 + 7;
    let colour = [200, 60, 50];
    let raster = raster_of(count, 1, Layout::Rgb, colour.repeat(count as usize));
    let profile = ColorProfile::new_display_p3();
    let one = through(&profile, Colours::Rgb, pixel(Layout::Rgb, &colour));
    assert_eq!(
        through(&profile, Colours::Rgb, raster),
        one.repeat(count as usize)
    );
    let inks = raster_of(count, 1, Layout::Cmyk, [9, 99, 199, 255].repeat(count as usize));
    let one = through(
        &ink_profile(),
        Colours::Cmyk,
        pixel(Layout::Cmyk, &[9, 99, 199, 255]),
    );
    assert_eq!(
        through(&ink_profile(), Colours::Cmyk, inks),
        one.repeat(count as usize)
    );
}

#[test]
fn a_profile_of_other_colours_counts_for_nothing() {
    let raster = pixel(Layout::Rgb, &[200, 60, 50]);
    assert_eq!(
        through(&ink_profile(), Colours::Rgb, raster.clone()),
        raster.pixels
    );
    let inks = pixel(Layout::Cmyk, &[200, 100, 50, 255]);
    assert_eq!(
        through(&ColorProfile::new_display_p3(), Colours::Cmyk, inks),
        [200, 100, 50]
    );
}

#[test]
fn no_more_ways_are_kept_than_may_be() {
    for number in 0..2 * KEPT_MAX as u8 {
        way(&[number], Pixels::Rgb);
    }
    assert!(KEPT.lock().len() <= KEPT_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_broken_profile_breaks_nothing(
        ink: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let whole = if ink { ink_profile() } else { ColorProfile::new_display_p3() };
        let mut bytes = whole.encode().unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        for (layout, colours) in [(Layout::Rgb, Colours::Rgb), (Layout::Rgb, Colours::Grey), (Layout::Cmyk, Colours::Cmyk)] {
            let raster = raster_of(2, 1, layout, [9, 99, 199, 255, 0, 128, 7, 1][..2 * layout.channels()].to_vec());
            let srgb = to_srgb(raster, &with_profile(Some(bytes.clone()), colours));
            prop_assert_eq!((srgb.layout, srgb.pixels.len()), (Layout::Rgb, 6));
        }
    }
}
