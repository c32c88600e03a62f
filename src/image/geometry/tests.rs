//! What plans hold, for sources, specs and turns of all kinds.

use super::turn::all_turns;
use super::*;
use crate::image::raster::Layout;
use crate::image::{Colours, Kind};
use crate::spec::{Fit, Output, Picture, Size};
use proptest::prelude::*;

pub(in crate::image) fn probe(width: u32, height: u32, turn: Turn) -> Probe {
    Probe {
        kind: Kind::Jpeg,
        width,
        height,
        turn,
        frames: 1,
        loops: 0,
        alpha: false,
        colours: Colours::Rgb,
        depth: 8,
        progressive: false,
        working_bytes: 0,
        profile: None,
        copyright: None,
        artist: None,
    }
}

fn blank(width: u32, height: u32, scale: Eighths) -> Raster {
    let side = |side: u32| (side * u32::from(scale.0)).div_ceil(8);
    Raster {
        width: side(width),
        height: side(height),
        layout: Layout::Rgb,
        pixels: vec![0; (side(width) * side(height) * 3) as usize],
    }
}

fn sized(width: impl Into<Option<u32>>, height: impl Into<Option<u32>>, fit: Fit) -> Spec {
    Spec {
        size: Some(Size {
            width: width.into(),
            height: height.into(),
            fit,
            enlarge: false,
        }),
        ..Spec::default()
    }
}

fn planned(probe: &Probe, spec: &Spec) -> Plan {
    let scale = scale(probe, spec, &Limits::default());
    let first = blank(probe.width, probe.height, scale);
    plan(probe, spec, &Limits::default(), scale, &first).unwrap()
}

const UPRIGHT: Turn = Turn {
    mirrored: false,
    quarters: 0,
};
const QUARTER: Turn = Turn {
    mirrored: false,
    quarters: 1,
};

fn scale_of(width: u32, target: u32) -> u8 {
    scale(
        &probe(width, width / 2, UPRIGHT),
        &sized(target, None, Fit::Within),
        &Limits::default(),
    )
    .0
}

#[test]
fn a_jpeg_is_decoded_to_the_smallest_scale_that_leaves_work_to_the_resize() {
    assert_eq!(scale_of(640, 640), 8);
    assert_eq!(scale_of(640, 400), 8);
    assert_eq!(scale_of(640, 320), 8, "2 by the decoder alone");
    assert_eq!(scale_of(640, 200), 4);
    assert_eq!(scale_of(640, 150), 4, "4 and a little by the decoder alone");
    assert_eq!(scale_of(640, 120), 2);
    assert_eq!(scale_of(6400, 790), 2, "8 and a little by the decoder alone");
    assert_eq!(scale_of(6400, 700), 1);
    assert_eq!(scale_of(6400, 100), 1);
}

#[test]
fn only_jpegs_are_decoded_to_less() {
    let png = Probe {
        kind: Kind::Png,
        ..probe(6400, 6400, UPRIGHT)
    };
    assert_eq!(
        scale(&png, &sized(100, None, Fit::Within), &Limits::default()),
        Eighths(8)
    );
}

#[test]
fn the_scale_follows_the_axis_that_shrinks_least() {
    let source = probe(6400, 6400, UPRIGHT);
    assert_eq!(
        scale(&source, &sized(100, 6400, Fit::Scale), &Limits::default()),
        Eighths(8)
    );
    assert_eq!(
        scale(&source, &sized(1000, 1000, Fit::Scale), &Limits::default()),
        Eighths(2)
    );
}

#[test]
fn the_scale_looks_at_the_picture_as_it_is_turned() {
    let lying = probe(6400, 800, QUARTER);
    assert_eq!(
        scale(&lying, &sized(None, 640, Fit::Within), &Limits::default()),
        Eighths(1)
    );
    assert_eq!(
        scale(&lying, &sized(640, None, Fit::Within), &Limits::default()),
        Eighths(8)
    );
}

#[test]
fn the_scale_looks_only_at_what_is_used() {
    let spec = Spec {
        region: Some(Region {
            left: 100,
            top: 100,
            width: 300,
            height: 300,
        }),
        ..sized(100, None, Fit::Within)
    };
    assert_eq!(
        scale(&probe(6400, 6400, UPRIGHT), &spec, &Limits::default()),
        Eighths(4)
    );
}

#[test]
fn before_a_trim_all_is_decoded() {
    let spec = Spec {
        trim: Some(10),
        ..sized(100, None, Fit::Within)
    };
    assert_eq!(
        scale(&probe(6400, 6400, UPRIGHT), &spec, &Limits::default()),
        Eighths(8)
    );
}

#[test]
fn a_source_larger_than_any_variant_is_decoded_to_less() {
    let spec = Spec::default();
    assert_eq!(
        scale(&probe(16_000, 100, UPRIGHT), &spec, &Limits::default()),
        Eighths(8)
    );
    assert_eq!(
        scale(&probe(16_000, 16_000, UPRIGHT), &spec, &Limits::default()),
        Eighths(4)
    );
}

#[test]
fn the_crop_of_a_scaled_raster_ends_where_the_source_does() {
    let plan = planned(&probe(2725, 1817, UPRIGHT), &sized(100, None, Fit::Within));
    assert_eq!((plan.crop.width, plan.crop.height), (340.625, 227.125));
}

#[test]
fn a_larger_picture_than_the_limit_is_made_as_large_as_may_be() {
    let huge = Spec {
        size: Some(Size {
            width: Some(8192),
            height: None,
            fit: Fit::Within,
            enlarge: true,
        }),
        ..Spec::default()
    };
    assert_eq!(planned(&probe(64, 32, UPRIGHT), &huge).size(), (5793, 2896));
    let whole = |width, height| planned(&probe(width, height, UPRIGHT), &Spec::default()).size();
    assert_eq!(whole(8_000, 8_000), (4_096, 4_096));
    // Long, and not large.
    assert_eq!(whole(800, 16_000), (800, 16_000));
}

#[test]
fn padding_beyond_the_limit_is_an_error() {
    let spec = Spec {
        padding: Padding {
            right: 16_383,
            ..Padding::default()
        },
        ..Spec::default()
    };
    let source = probe(64, 64, UPRIGHT);
    let first = blank(64, 64, Eighths(8));
    let error = plan(&source, &spec, &Limits::default(), Eighths(8), &first).unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::Limit {
                value: 16_447,
                max: 16_383,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn padding_is_counted_in_pixels_of_the_result() {
    let spec = Spec {
        padding: Padding {
            top: 1,
            right: 2,
            bottom: 3,
            left: 4,
        },
        ..sized(100, 100, Fit::Pad)
    };
    let plan = planned(&probe(200, 100, UPRIGHT), &spec);
    let canvas = Canvas {
        width: 106,
        height: 104,
        left: 4,
        top: 26,
    };
    assert_eq!((plan.canvas, plan.size()), (Some(canvas), (106, 104)));
}

#[test]
fn of_a_region_that_part_counts_which_lies_in_the_picture() {
    let over_the_edge = Spec {
        region: Some(Region {
            left: 50,
            top: 10,
            width: u32::MAX,
            height: 20,
        }),
        ..Spec::default()
    };
    let plan = planned(&probe(64, 64, UPRIGHT), &over_the_edge);
    let crop = CropBox {
        left: 50.0,
        top: 10.0,
        width: 14.0,
        height: 20.0,
    };
    assert_eq!((plan.crop, plan.size()), (crop, (14, 20)));
}

#[test]
fn a_region_beside_the_picture_is_an_error() {
    let beside = Spec {
        region: Some(Region {
            left: 64,
            top: 0,
            width: 10,
            height: 10,
        }),
        ..Spec::default()
    };
    let first = blank(64, 64, Eighths(8));
    assert!(
        plan(
            &probe(64, 64, UPRIGHT),
            &beside,
            &Limits::default(),
            Eighths(8),
            &first
        )
        .is_err()
    );
    assert_eq!(
        scale(&probe(64, 64, UPRIGHT), &beside, &Limits::default()),
        Eighths(8)
    );
}

#[test]
fn a_region_is_meant_in_the_upright_source() {
    let spec = Spec {
        region: Some(Region {
            left: 0,
            top: 0,
            width: 10,
            height: 20,
        }),
        ..Spec::default()
    };
    // A clockwise quarter brings the lower left corner to the upper left.
    let plan = planned(&probe(64, 32, QUARTER), &spec);
    let crop = CropBox {
        left: 0.0,
        top: 22.0,
        width: 20.0,
        height: 10.0,
    };
    assert_eq!((plan.crop, plan.size()), (crop, (10, 20)));
}

#[test]
fn the_focal_point_is_kept_as_near_to_the_middle_as_can_be() {
    let left_of = |x, y| {
        let spec = sized(50, 100, Fit::Cover(Gravity::Focal(x, y)));
        planned(&probe(400, 200, UPRIGHT), &spec).crop.left
    };
    assert_eq!(left_of(0, 50), 0.0);
    assert_eq!(left_of(25, 50), 50.0);
    assert_eq!(left_of(50, 0), 150.0);
    assert_eq!(left_of(100, 100), 300.0);
    assert_eq!(left_of(255, 255), 300.0);
}

#[test]
fn the_focal_point_is_one_of_the_picture_as_it_is_turned() {
    let spec = Spec {
        turn: QUARTER,
        ..sized(100, 50, Fit::Cover(Gravity::Focal(50, 0)))
    };
    // The picture is 200 by 400; what is on top of it lies left in the source.
    let plan = planned(&probe(400, 200, UPRIGHT), &spec);
    assert_eq!((plan.crop.left, plan.crop.width), (0.0, 100.0));
    assert_eq!((plan.width, plan.height, plan.size()), (50, 100, (100, 50)));
}

#[test]
fn what_keeps_its_size_is_cut_out_on_whole_pixels() {
    let plan = planned(
        &probe(401, 200, UPRIGHT),
        &sized(900, 900, Fit::Cover(Gravity::CENTER)),
    );
    assert_eq!((plan.crop.left, plan.crop.width, plan.width), (100.0, 200.0, 200));
}

/// White, with a black block there.
fn with_block(width: u32, height: u32, block: Region) -> Raster {
    let mut raster = blank(width, height, Eighths(8));
    let inside = |x: u32, y: u32| {
        (block.left..block.left + block.width).contains(&x)
            && (block.top..block.top + block.height).contains(&y)
    };
    for (at, pixel) in raster.pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = (at as u32 % width, at as u32 / width);
        pixel.fill(if inside(x, y) { 0 } else { 255 });
    }
    raster
}

#[test]
fn a_trim_leaves_the_block_however_the_picture_lies() {
    let block = Region {
        left: 7,
        top: 3,
        width: 10,
        height: 5,
    };
    let first = with_block(32, 16, block);
    let spec = Spec {
        trim: Some(10),
        ..Spec::default()
    };
    for turn in all_turns() {
        let plan = plan(
            &probe(32, 16, turn),
            &spec,
            &Limits::default(),
            Eighths(8),
            &first,
        )
        .unwrap();
        let crop = CropBox {
            left: 7.0,
            top: 3.0,
            width: 10.0,
            height: 5.0,
        };
        assert_eq!(plan.crop, crop, "{turn:?}");
        assert_eq!(plan.size(), turned((10, 5), turn), "{turn:?}");
    }
}

#[test]
fn a_trim_takes_its_colour_from_the_upper_left_of_the_region() {
    let first = with_block(
        32,
        16,
        Region {
            left: 0,
            top: 0,
            width: 16,
            height: 16,
        },
    );
    for (turn, left) in [
        (UPRIGHT, 16.0),
        (
            Turn {
                mirrored: true,
                ..UPRIGHT
            },
            0.0,
        ),
    ] {
        let spec = Spec {
            trim: Some(10),
            ..Spec::default()
        };
        let plan = plan(
            &probe(32, 16, turn),
            &spec,
            &Limits::default(),
            Eighths(8),
            &first,
        )
        .unwrap();
        assert_eq!((plan.crop.left, plan.crop.width), (left, 16.0), "{turn:?}");
    }
}

#[test]
fn a_smart_crop_holds_the_block_however_the_picture_lies() {
    let block = Region {
        left: 180,
        top: 20,
        width: 14,
        height: 14,
    };
    let first = with_block(240, 64, block);
    for turn in all_turns() {
        let spec = sized(32, 32, Fit::Cover(Gravity::Smart));
        let plan = plan(
            &probe(240, 64, turn),
            &spec,
            &Limits::default(),
            Eighths(8),
            &first,
        )
        .unwrap();
        assert!(plan.crop.left <= 180.0, "{turn:?} {plan:?}");
        assert!(plan.crop.left + plan.crop.width >= 194.0, "{turn:?} {plan:?}");
    }
}

#[test]
fn a_raster_smaller_than_its_header_says_is_never_left() {
    let spec = Spec {
        region: Some(Region {
            left: 50,
            top: 0,
            width: 10,
            height: 10,
        }),
        ..Spec::default()
    };
    let first = blank(32, 32, Eighths(8));
    for trim in [None, Some(10)] {
        let spec = Spec { trim, ..spec.clone() };
        assert!(
            plan(
                &probe(64, 64, UPRIGHT),
                &spec,
                &Limits::default(),
                Eighths(8),
                &first
            )
            .is_err()
        );
    }
}

fn any_turn() -> impl Strategy<Value = Turn> {
    (any::<bool>(), 0u8..4).prop_map(|(mirrored, quarters)| Turn { mirrored, quarters })
}

fn any_fit() -> impl Strategy<Value = Fit> {
    prop_oneof![
        Just(Fit::Within),
        (0u8..=100, 0u8..=100).prop_map(|(x, y)| Fit::Cover(Gravity::Focal(x, y))),
        Just(Fit::Cover(Gravity::Smart)),
        Just(Fit::Pad),
        Just(Fit::Scale),
    ]
}

fn any_size() -> impl Strategy<Value = Size> {
    let side = || proptest::option::of(1u32..300);
    (side(), side(), any_fit(), any::<bool>()).prop_map(|(width, height, fit, enlarge)| Size {
        width,
        height,
        fit,
        enlarge,
    })
}

fn any_region() -> impl Strategy<Value = Region> {
    (0u32..100, 0u32..100, 1u32..400, 1u32..400).prop_map(|(left, top, width, height)| Region {
        left,
        top,
        width,
        height,
    })
}

fn any_spec() -> impl Strategy<Value = Spec> {
    (
        proptest::option::of(any_region()),
        proptest::option::of(1u8..=100),
        any_turn(),
        proptest::option::of(any_size()),
        prop_oneof![
            Just(Output::Picture(Picture::default())),
            Just(Output::Tiny),
            Just(Output::Info)
        ],
    )
        .prop_map(|(region, trim, turn, size, output)| Spec {
            region,
            trim,
            turn,
            size,
            output,
            ..Spec::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_plan_lies_within_its_raster_and_its_limits(
        sides in (1u32..300, 1u32..300),
        turn in any_turn(),
        spec in any_spec(),
    ) {
        let limits = Limits { output_side: 256, ..Limits::default() };
        let probe = probe(sides.0, sides.1, turn);
        let scale = scale(&probe, &spec, &limits);
        let first = blank(sides.0, sides.1, scale);
        if let Ok(plan) = plan(&probe, &spec, &limits, scale, &first) {
            let most = size_max(&probe, &spec, &limits);
            prop_assert!(plan.size().0 <= most.0 && plan.size().1 <= most.1, "{most:?}");
            let crop = plan.crop;
            prop_assert!(crop.left >= 0.0 && crop.top >= 0.0 && crop.width > 0.0 && crop.height > 0.0);
            prop_assert!(crop.left + crop.width <= f64::from(first.width));
            prop_assert!(crop.top + crop.height <= f64::from(first.height));
            let (width, height) = plan.size();
            prop_assert!(width >= 1 && height >= 1 && width <= 256 && height <= 256);
            let (inner_width, inner_height) = turned((plan.width, plan.height), plan.turn);
            let canvas = plan.canvas.unwrap_or(Canvas { width, height, left: 0, top: 0 });
            prop_assert!(canvas.left + inner_width <= width && canvas.top + inner_height <= height);
        } else {
            let region = spec.region.expect("only a region can be beside the picture");
            let upright = turned(sides, turn);
            prop_assert!(region.left >= upright.0 || region.top >= upright.1);
        }
    }

    #[test]
    fn the_raster_never_has_less_than_the_picture_needs(
        sides in (1u32..2000, 1u32..2000),
        turn in any_turn(),
        size in any_size(),
    ) {
        let spec = Spec { size: Some(size), ..Spec::default() };
        let scale = scale(&probe(sides.0, sides.1, turn), &spec, &Limits::default());
        let plan = planned(&probe(sides.0, sides.1, turn), &spec);
        let (width, height) = (f64::from(plan.width), f64::from(plan.height));
        if scale != Eighths(8) {
            prop_assert!(plan.crop.width >= width * 1.1, "{scale:?} {plan:?}");
            prop_assert!(plan.crop.height >= height * 1.1, "{scale:?} {plan:?}");
        } else if !size.enlarge {
            prop_assert!(plan.crop.width >= width && plan.crop.height >= height);
        }
    }

    #[test]
    fn one_plan_comes_of_one_picture_however_the_source_lies(
        sides in (1u32..300, 1u32..300),
        turn in any_turn(),
        size in any_size(),
    ) {
        let spec = Spec { size: Some(size), ..Spec::default() };
        let upright = turned(sides, turn);
        let one = planned(&probe(sides.0, sides.1, turn), &spec);
        let other = planned(&probe(upright.0, upright.1, UPRIGHT), &spec);
        prop_assert_eq!(one.size(), other.size());
        prop_assert_eq!(one.canvas, other.canvas);
    }
}
