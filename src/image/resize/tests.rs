//! From a raster and a spec to the picture, over all steps.

use super::*;
use crate::base::digest::Digest;
use crate::image::decode::Eighths;
use crate::image::geometry::tests::probe;
use crate::image::geometry::turn::{all_turns, turned};
use crate::image::geometry::{plan, scale};
use crate::image::{Limits, Watermark};
use crate::spec::{Fit, Padding, Region, Size, Turn};
use std::collections::HashMap;
use std::sync::Arc;

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255; 3];

struct Scene {
    watermarks: HashMap<String, Arc<Watermark>>,
    limits: Limits,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            watermarks: HashMap::new(),
            limits: Limits::default(),
        }
    }

    fn finished(
        &self,
        raster: Raster,
        probe: &Probe,
        spec: &Spec,
        opaque: bool,
    ) -> Result<Raster, ImageError> {
        let context = Context {
            limits: &self.limits,
            digest: Digest::of(b""),
            avif_pixels_max: None,
            watermarks: &self.watermarks,
        };
        let plan = plan(probe, spec, &self.limits, Eighths(8), &raster)?;
        let transparency = if opaque {
            Transparency::None
        } else {
            Transparency::Shown
        };
        let finish = Finish::new(&plan, probe, spec, &context, transparency)?;
        let raster = finish.frame(resize(raster, &plan)?)?;
        assert_eq!((raster.width, raster.height), plan.size());
        assert_eq!(
            raster.pixels.len(),
            raster.width as usize * raster.height as usize * raster.layout.channels()
        );
        Ok(raster)
    }
}

/// Red, green, blue and white, row by row, each a quarter of the picture.
fn quarters(width: u32, height: u32) -> Raster {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = places.flat_map(|(x, y)| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => WHITE,
    });
    let pixels = pixels.collect();
    raster_of(width, height, Layout::Rgb, pixels)
}

fn pixel(raster: &Raster, x: u32, y: u32) -> [u8; 3] {
    let at = (y as usize * raster.width as usize + x as usize) * raster.layout.channels();
    [raster.pixels[at], raster.pixels[at + 1], raster.pixels[at + 2]]
}

/// The colours of the corners, clockwise from the upper left.
fn corners(raster: &Raster) -> [[u8; 3]; 4] {
    let (right, bottom) = (raster.width - 1, raster.height - 1);
    [
        pixel(raster, 0, 0),
        pixel(raster, right, 0),
        pixel(raster, right, bottom),
        pixel(raster, 0, bottom),
    ]
}

/// What a turn makes of corners that are told clockwise.
fn corners_turned(corners: [[u8; 3]; 4], turn: Turn) -> [[u8; 3]; 4] {
    let [a, b, c, d] = corners;
    let mut turned = if turn.mirrored { [b, a, d, c] } else { corners };
    turned.rotate_right(turn.quarters.into());
    turned
}

fn sized(width: u32, height: u32, fit: Fit) -> Spec {
    Spec {
        size: Some(Size {
            width: Some(width),
            height: Some(height),
            fit,
            enlarge: false,
        }),
        ..Spec::default()
    }
}

#[test]
fn the_source_s_turn_and_the_spec_s_put_each_corner_in_its_place() {
    let scene = Scene::new();
    for of_source in all_turns() {
        for of_spec in all_turns() {
            let upright = corners_turned([RED, GREEN, WHITE, BLUE], of_source);
            let expected = corners_turned(upright, of_spec);
            for size in [None, sized(12, 12, Fit::Within).size] {
                let spec = Spec {
                    turn: of_spec,
                    size,
                    ..Spec::default()
                };
                let source = quarters(24, 16);
                let picture = scene
                    .finished(source, &probe(24, 16, of_source), &spec, true)
                    .unwrap();
                assert_eq!(corners(&picture), expected, "{of_source:?} {of_spec:?} {size:?}");
                let sides = if size.is_some() { (12, 8) } else { (24, 16) };
                let sides = turned(turned(sides, of_source), of_spec);
                assert_eq!(
                    (picture.width, picture.height),
                    sides,
                    "{of_source:?} {of_spec:?}"
                );
            }
        }
    }
}

#[test]
fn a_region_is_the_same_however_the_source_lies() {
    let scene = Scene::new();
    for of_source in all_turns() {
        let upright = corners_turned([RED, GREEN, WHITE, BLUE], of_source);
        let (width, height) = turned((24, 16), of_source);
        let upper_right = Spec {
            region: Some(Region {
                left: width / 2,
                top: 0,
                width: width / 2,
                height: height / 2,
            }),
            ..Spec::default()
        };
        let picture = scene.finished(quarters(24, 16), &probe(24, 16, of_source), &upper_right, true);
        let picture = picture.unwrap();
        assert!(
            picture.pixels.chunks_exact(3).all(|pixel| pixel == upright[1]),
            "{of_source:?}"
        );
    }
}

#[test]
fn a_spec_that_asks_for_nothing_copies_nothing() {
    let raster = quarters(24, 16);
    let (expected, pixels) = (raster.clone(), raster.pixels.as_ptr());
    let picture = Scene::new().finished(raster, &probe(24, 16, Turn::default()), &Spec::default(), true);
    let picture = picture.unwrap();
    assert_eq!(picture.pixels.as_ptr(), pixels);
    assert_eq!(picture, expected);
}

#[test]
fn padding_is_background_white_or_transparent() {
    let spec = Spec {
        padding: Padding {
            left: 4,
            ..Padding::default()
        },
        ..Spec::default()
    };
    let probe = probe(24, 16, Turn::default());
    let scene = Scene::new();
    let on_white = scene.finished(quarters(24, 16), &probe, &spec, true).unwrap();
    assert_eq!(
        (on_white.layout, pixel(&on_white, 0, 0), pixel(&on_white, 4, 0)),
        (Layout::Rgb, WHITE, RED)
    );
    let on_nothing = scene.finished(quarters(24, 16), &probe, &spec, false).unwrap();
    assert_eq!((on_nothing.layout, on_nothing.pixels[3]), (Layout::Rgba, 0));
    let background = Some(colour_of(GREEN));
    let spec = Spec { background, ..spec };
    let on_green = scene.finished(quarters(24, 16), &probe, &spec, false).unwrap();
    assert_eq!((on_green.layout, pixel(&on_green, 0, 0)), (Layout::Rgb, GREEN));
}

#[test]
fn what_a_format_can_not_show_through_lies_on_white() {
    let clear = raster_of(2, 1, Layout::Rgba, vec![255, 0, 0, 0, 255, 0, 0, 255]);
    let probe = Probe {
        alpha: true,
        ..probe(2, 1, Turn::default())
    };
    let scene = Scene::new();
    let flat = scene
        .finished(clear.clone(), &probe, &Spec::default(), true)
        .unwrap();
    assert_eq!(
        (flat.layout, flat.pixels),
        (Layout::Rgb, vec![255, 255, 255, 255, 0, 0])
    );
    let background = Some(Colour {
        alpha: 0,
        ..colour_of(GREEN)
    });
    let spec = Spec {
        background,
        ..Spec::default()
    };
    let flat = scene.finished(clear.clone(), &probe, &spec, true).unwrap();
    assert_eq!(
        (flat.layout, flat.pixels),
        (Layout::Rgb, vec![255, 255, 255, 255, 0, 0])
    );
    assert_eq!(
        scene
            .finished(clear.clone(), &probe, &Spec::default(), false)
            .unwrap(),
        clear
    );
}

#[test]
fn alpha_without_use_is_dropped_from_stills_and_kept_alike_in_animations() {
    let opaque = raster_of(2, 1, Layout::Rgba, vec![9, 8, 7, 255, 6, 5, 4, 255]);
    let still = Probe {
        alpha: true,
        ..probe(2, 1, Turn::default())
    };
    let moving = Probe {
        frames: 2,
        ..still.clone()
    };
    let scene = Scene::new();
    let picture = scene
        .finished(opaque.clone(), &still, &Spec::default(), false)
        .unwrap();
    assert_eq!(
        (picture.layout, picture.pixels),
        (Layout::Rgb, vec![9, 8, 7, 6, 5, 4])
    );
    assert_eq!(
        scene
            .finished(opaque.clone(), &moving, &Spec::default(), false)
            .unwrap(),
        opaque
    );
    let flat = scene.finished(opaque, &moving, &Spec::default(), true).unwrap();
    assert_eq!(flat.layout, Layout::Rgb);
}

#[test]
fn a_watermark_nobody_knows_is_an_error() {
    let watermark = || {
        Some(crate::spec::Watermark {
            name: "logo".to_owned(),
            digest: Digest::of(b""),
        })
    };
    let spec = Spec {
        watermark: watermark(),
        ..Spec::default()
    };
    let probe = probe(24, 16, Turn::default());
    let mut scene = Scene::new();
    let unknown = scene.finished(quarters(24, 16), &probe, &spec, true);
    assert_eq!(unknown.unwrap_err(), ImageError::NoWatermark);
    let logo = Watermark {
        raster: raster_of(4, 4, Layout::Rgb, [1, 2, 3].repeat(16)),
        place: (0, 0),
        opacity: 100,
        width: 50,
        margin: 0,
    };
    scene.watermarks.insert("logo".to_owned(), Arc::new(logo));
    let marked = scene.finished(quarters(24, 16), &probe, &spec, true).unwrap();
    assert_eq!((pixel(&marked, 3, 3), pixel(&marked, 4, 4)), ([1, 2, 3], RED));
}

#[test]
fn a_watermark_is_neither_blurred_nor_coloured() {
    let mut scene = Scene::new();
    let logo = Watermark {
        raster: raster_of(4, 4, Layout::Rgb, RED.repeat(16)),
        place: (100, 100),
        opacity: 100,
        width: 50,
        margin: 0,
    };
    scene.watermarks.insert("logo".to_owned(), Arc::new(logo));
    let spec = Spec {
        mono: Some(colour_of([0; 3])),
        blur: 20,
        brightness: 20,
        watermark: Some(crate::spec::Watermark {
            name: "logo".to_owned(),
            digest: Digest::of(b""),
        }),
        ..Spec::default()
    };
    let marked = scene
        .finished(quarters(24, 16), &probe(24, 16, Turn::default()), &spec, true)
        .unwrap();
    assert_eq!(pixel(&marked, 23, 15), RED);
    let [red, green, blue] = pixel(&marked, 0, 0);
    assert!(red == green && green == blue);
}

/// A ramp, decoded to `eighths` by an ideal decoder: each pixel is the mean of what it covers of the source.
fn decoded_ramp(width: u32, eighths: Eighths) -> Raster {
    let covers = 8.0 / f64::from(eighths.0);
    let side = (width * u32::from(eighths.0)).div_ceil(8);
    let value = |x: u32| (f64::from(x) + 0.5) * covers / f64::from(width) * 200.0;
    let row: Vec<u8> = (0..side).flat_map(|x| [value(x).round() as u8; 3]).collect();
    raster_of(side, 4, Layout::Rgb, row.repeat(4))
}

#[test]
fn a_scaled_decode_gives_the_picture_that_a_whole_one_gives() {
    for width in [2725u32, 2726, 2728, 1001, 999] {
        let spec = sized(100, 100, Fit::Scale);
        let probe = probe(width, 32, Turn::default());
        let spec = Spec {
            size: spec.size.map(|size| Size {
                height: Some(1),
                ..size
            }),
            ..spec
        };
        let eighths = scale(&probe, &spec, &Limits::default());
        assert_ne!(eighths, Eighths(8));
        let first = decoded_ramp(width, eighths);
        let plan = plan(&probe, &spec, &Limits::default(), eighths, &first).unwrap();
        let picture = resize(first, &plan).unwrap();
        for x in 5..95 {
            let expected = (f64::from(x) + 0.5) * 2.0;
            let value = f64::from(pixel(&picture, x, 0)[0]);
            assert!((value - expected).abs() <= 1.0, "{width} {x}: {value} {expected}");
        }
    }
}
