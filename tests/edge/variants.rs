//! Pictures in every size and format: each is decoded and compared with what it should be.
//!
//! Distances are of 255. Differently turned, mirrored or cut samples lie 20 and more apart (the first test holds that),
//! encoders leave 6 at most.

use crate::support::image::{
    Image, Kind, Pixel, WHITE, animated_gif, animated_webp, jpeg_with, lossless_webp, png_chunk, shown,
    turning, with_orientation, with_segment,
};
use crate::support::{Answer, Client, Edge, Origin, Reply, Setup};

/// Both sides are whole blocks of every codec.
const SIZE: (u32, u32) = (48, 32);
const TOLERANCE: f64 = 7.0;
const BACKGROUND: Pixel = [16, 32, 160, 255];

/// Every size to the pixel.
const EXACT: &str = "sizes: []";

fn sample() -> Image {
    Image::sample(SIZE.0, SIZE.1)
}

/// A file of an origin, and what a viewer sees of it.
struct Source {
    target: String,
    kind: Kind,
    seen: Image,
}

/// An origin with a picture in every format that is read, with transparency where the format has it.
fn gallery() -> (Origin, Vec<Source>) {
    let (plain, clear) = (sample(), sample().see_through());
    let origin = Origin::start();
    let mut files: Vec<(Kind, &Image, Vec<u8>)> = Vec::new();
    files.extend(Kind::ALL.map(|kind| (kind, &plain, kind.encode(&plain))));
    let with_alpha = [Kind::Png, Kind::Gif, Kind::Avif, Kind::Tiff];
    files.extend(with_alpha.map(|kind| (kind, &clear, kind.encode(&clear))));
    files.push((Kind::Webp, &clear, lossless_webp(&clear)));
    let lying = jpeg_with(&plain.turned(3), |_| ());
    files.push((Kind::Jpeg, &plain, with_orientation(&lying, 6)));
    let sources = files
        .into_iter()
        .enumerate()
        .map(|(number, (kind, seen, bytes))| {
            let target = format!("/{number}.{}", kind.name());
            let reply = Reply::image(kind, bytes).header("etag", "\"source\"");
            origin.set(&target, reply);
            Source {
                target,
                kind,
                seen: seen.clone(),
            }
        });
    let sources = sources.collect();
    (origin, sources)
}

/// Parameters, and what they make of a picture.
type Operation = (&'static str, fn(&Image) -> Image);

const OPERATIONS: [Operation; 10] = [
    ("w=24", |seen| seen.resized(24, 16)),
    ("h=24", |seen| seen.resized(36, 24)),
    ("w=16&h=16&fit=cover&gravity=west", |seen| {
        seen.cropped(0, 0, 32, 32).resized(16, 16)
    }),
    ("w=24&h=8&fit=crop&crop=south", |seen| {
        seen.cropped(0, 16, 48, 16).resized(24, 8)
    }),
    ("rot=90", |seen| seen.turned(1)),
    ("flip=h&w=24", |seen| seen.mirrored().resized(24, 16)),
    ("rect=24,0,24,16", |seen| seen.cropped(24, 0, 24, 16)),
    ("blur=3", |seen| seen.blurred(3.0)),
    ("w=36&h=36&fit=pad&bg=1020a0", |seen| {
        let canvas = Image::plain(36, 36, BACKGROUND);
        seen.resized(36, 24).laid_on(&canvas, 0, 6)
    }),
    ("pad=4&bg=1020a0", |seen| {
        let canvas = Image::plain(56, 40, BACKGROUND);
        seen.laid_on(&canvas, 4, 4)
    }),
];

/// What comes out where the source's own format is asked for: BMP and TIFF are read only.
fn own_format(source: &Source, parameters: &str) -> Kind {
    let is_opaque = source.seen.is_opaque() || parameters.contains("bg=");
    match source.kind {
        Kind::Bmp | Kind::Tiff if is_opaque => Kind::Jpeg,
        Kind::Bmp | Kind::Tiff => Kind::Png,
        kind => kind,
    }
}

/// A picture as a format can hold it.
fn as_held(kind: Kind, picture: &Image) -> Image {
    match kind {
        Kind::Jpeg => picture.over(WHITE),
        Kind::Gif => Image::drawn(picture.width, picture.height, |x, y| {
            let [red, green, blue, alpha] = picture.pixel(x, y);
            [red, green, blue, if alpha < 128 { 0 } else { 255 }]
        }),
        _ => picture.clone(),
    }
}

#[track_caller]
fn expect_picture(answer: &Answer, kind: Kind, expected: &Image, what: &str) {
    let picture = answer.picture();
    assert_eq!(picture.kind, kind, "{what}");
    let (found, expected) = (picture.still(), as_held(kind, expected));
    assert_eq!(found.size(), expected.size(), "{what}");
    let distance = found.distance(&expected);
    assert!(
        distance < TOLERANCE,
        "{what} is off by {distance:.1}: {found:?} in place of {expected:?}"
    );
    if expected.is_opaque() {
        assert!(found.is_opaque(), "{what} has become transparent");
    }
}

fn expect_all(format: &str, kind_of: impl Fn(&Source, &str) -> Kind) {
    let (origin, sources) = gallery();
    let edge = Setup::transforming(&origin, EXACT).start();
    let mut client = Client::connect(edge.address());
    for source in &sources {
        for (parameters, operation) in OPERATIONS {
            let target = format!("{}?{parameters}&fm={format}", source.target);
            let answer = client.get(&target);
            expect_picture(
                &answer,
                kind_of(source, parameters),
                &operation(&source.seen),
                &target,
            );
            assert_ne!(answer.strong_tag(), "\"source\"", "{target}");
        }
        assert_eq!(origin.count(&source.target), 1, "{}", source.target);
    }
}

#[test]
fn the_samples_can_be_told_apart_and_the_codecs_of_the_tests_keep_them() {
    let sample = Image::sample(32, 32);
    let others = [
        sample.turned(1),
        sample.turned(2),
        sample.turned(3),
        sample.mirrored(),
        sample.mirrored().turned(1),
        sample.mirrored().turned(2),
        sample.mirrored().turned(3),
        sample.see_through(),
        sample.cropped(0, 0, 16, 16).resized(32, 32),
    ];
    for other in &others {
        assert!(sample.distance(other) > 20.0, "{}", sample.distance(other));
    }
    for kind in [Kind::Jpeg, Kind::Png, Kind::Gif, Kind::Webp, Kind::Avif] {
        for picture in [sample.clone(), sample.see_through()] {
            let expected = if kind == Kind::Jpeg {
                picture.over([0, 0, 0, 255])
            } else {
                picture.clone()
            };
            let decoded = shown(&kind.encode(&picture));
            let distance = decoded.still().distance(&expected);
            assert!(distance < 3.0, "{kind:?} is off by {distance}");
        }
    }
    let frames = turning(32, &[40, 80, 120]);
    for file in [animated_gif(&frames), animated_webp(&frames)] {
        let moving = shown(&file);
        assert_eq!(moving.delays, [40, 80, 120]);
        for (shown, (drawn, _)) in moving.frames.iter().zip(&frames) {
            assert!(shown.distance(drawn) < 3.0, "{:?}", moving.kind);
        }
    }
}

#[test]
fn every_source_becomes_the_jpeg_asked_for() {
    expect_all("jpeg", |_, _| Kind::Jpeg);
}

#[test]
fn every_source_becomes_the_png_asked_for() {
    expect_all("png", |_, _| Kind::Png);
}

#[test]
fn every_source_becomes_the_webp_asked_for() {
    expect_all("webp", |_, _| Kind::Webp);
}

#[test]
fn every_source_becomes_the_avif_asked_for() {
    expect_all("avif", |_, _| Kind::Avif);
}

#[test]
fn every_source_becomes_the_gif_asked_for() {
    expect_all("gif", |_, _| Kind::Gif);
}

#[test]
fn every_source_keeps_its_format_where_none_is_asked_for() {
    expect_all("source", own_format);
}

#[test]
fn brightness_contrast_saturation_and_mono_change_colours_and_nothing_else() {
    let (origin, sources) = gallery();
    let edge = Setup::transforming(&origin, EXACT).start();
    let mut client = Client::connect(edge.address());
    for source in sources.iter().filter(|source| source.seen.is_opaque()) {
        let mut picture = |parameters: &str| {
            let answer = client.get(&format!("{}?{parameters}&fm=png", source.target));
            let picture = answer.picture();
            assert_eq!(picture.size(), SIZE, "{}?{parameters}", source.target);
            picture.still().clone()
        };
        let (plain, brighter, darker) = (picture("w=48"), picture("bri=30"), picture("bri=-30"));
        assert!(
            brighter.brightness() > plain.brightness() + 10.0,
            "{:?}",
            source.kind
        );
        assert!(
            darker.brightness() < plain.brightness() - 10.0,
            "{:?}",
            source.kind
        );
        assert!(
            spread(&picture("con=50")) > spread(&plain) + 5.0,
            "{:?}",
            source.kind
        );
        assert!(
            spread(&picture("con=-50")) < spread(&plain) - 5.0,
            "{:?}",
            source.kind
        );
        assert!(
            chroma(&picture("sat=50")) > chroma(&plain) + 5.0,
            "{:?}",
            source.kind
        );
        assert!(chroma(&picture("sat=-100")) < 3.0, "{:?}", source.kind);
        assert!(chroma(&picture("mono")) < 3.0, "{:?}", source.kind);
        assert!(spread(&picture("mono")) > 5.0, "{:?}", source.kind);
    }
}

/// How far channels lie from their mean.
fn spread(image: &Image) -> f64 {
    let mean = image.brightness();
    let apart = image
        .rgb()
        .iter()
        .map(|channel| (f64::from(*channel) - mean).abs())
        .sum::<f64>();
    apart / image.rgb().len() as f64
}

/// How far the channels of a pixel lie apart.
fn chroma(image: &Image) -> f64 {
    let apart = image.pixels.iter().map(|[red, green, blue, _]| {
        let channels = [*red, *green, *blue];
        let range = channels.iter().max().unwrap() - channels.iter().min().unwrap();
        f64::from(range)
    });
    apart.sum::<f64>() / image.pixels.len() as f64
}

/// An edge before one image, every size to the pixel.
fn before(kind: Kind, bytes: Vec<u8>) -> (Origin, Edge) {
    let origin = Origin::with("/a", Reply::image(kind, bytes));
    let edge = Setup::transforming(&origin, EXACT).start();
    (origin, edge)
}

#[test]
fn a_picture_is_upright_whatever_its_orientation_says() {
    let upright = sample();
    // EXIF 2.32, 4.6.4 A: how the stored picture lies.
    let lying = [
        (1, upright.clone()),
        (2, upright.mirrored()),
        (3, upright.turned(2)),
        (4, upright.mirrored().turned(2)),
        (5, upright.mirrored().turned(3)),
        (6, upright.turned(3)),
        (7, upright.mirrored().turned(1)),
        (8, upright.turned(1)),
    ];
    let origin = Origin::start();
    for (orientation, stored) in &lying {
        let jpeg = with_orientation(&jpeg_with(stored, |_| ()), *orientation);
        origin.set(&format!("/{orientation}.jpg"), Reply::image(Kind::Jpeg, jpeg));
    }
    let edge = Setup::transforming(&origin, EXACT).start();
    for (orientation, _) in &lying {
        for (parameters, operation) in OPERATIONS {
            let target = format!("/{orientation}.jpg?{parameters}&fm=png");
            expect_picture(&edge.get(&target), Kind::Png, &operation(&upright), &target);
        }
    }
}

#[test]
fn a_jpeg_of_any_coding_is_read() {
    let sample = sample();
    let codings: [(&str, Vec<u8>); 4] = [
        (
            "progressive",
            jpeg_with(&sample, |c| c.set_progressive(true).unwrap()),
        ),
        (
            "arithmetic",
            jpeg_with(&sample, |c| c.set_arithmetic(true).unwrap()),
        ),
        (
            "with few colours",
            jpeg_with(&sample, |c| c.set_subsamp(turbojpeg::Subsamp::Sub2x2).unwrap()),
        ),
        (
            "in RGB",
            jpeg_with(&sample, |c| c.set_colorspace(turbojpeg::Colorspace::RGB).unwrap()),
        ),
    ];
    for (name, bytes) in codings {
        let (_origin, edge) = before(Kind::Jpeg, bytes);
        let answer = edge.get("/a?w=24&fm=png");
        expect_picture(&answer, Kind::Png, &sample.resized(24, 16), name);
    }
    let (_origin, edge) = before(
        Kind::Jpeg,
        jpeg_with(&sample, |c| c.set_subsamp(turbojpeg::Subsamp::Gray).unwrap()),
    );
    let grey = edge.get("/a?w=24&fm=png").picture();
    assert!(chroma(grey.still()) < 3.0 && spread(grey.still()) > 5.0);
}

#[test]
fn a_jpeg_of_printers_inks_is_seen_in_its_colours() {
    // Adobe's way: 255 is no ink, so that the three inks of a picture without black are its colours.
    let sample = sample();
    let inks: Vec<u8> = sample.pixels.iter().flatten().copied().collect();
    let image = turbojpeg::Image {
        pixels: inks.as_slice(),
        width: SIZE.0 as usize,
        pitch: SIZE.0 as usize * 4,
        height: SIZE.1 as usize,
        format: turbojpeg::PixelFormat::CMYK,
    };
    for space in [turbojpeg::Colorspace::CMYK, turbojpeg::Colorspace::YCCK] {
        let mut compressor = turbojpeg::Compressor::new().unwrap();
        compressor.set_quality(95).unwrap();
        compressor.set_subsamp(turbojpeg::Subsamp::None).unwrap();
        compressor.set_colorspace(space).unwrap();
        let (_origin, edge) = before(Kind::Jpeg, compressor.compress_to_vec(image).unwrap());
        for format in [Kind::Png, Kind::Webp, Kind::Jpeg] {
            let answer = edge.get(&format!("/a?w=24&fm={}", format.name()));
            expect_picture(&answer, format, &sample.resized(24, 16), "CMYK");
        }
    }
}

/// A PNG of one layout, in rows as the format has them.
fn png_of(colour: png::ColorType, depth: png::BitDepth, rows: &[u8], palette: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rows).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn a_png_of_any_depth_is_read() {
    use png::{BitDepth, ColorType};
    let sample = sample();
    let deep: Vec<u8> = sample
        .rgb()
        .iter()
        .flat_map(|channel| [*channel, *channel])
        .collect();
    let deep = png_of(ColorType::Rgb, BitDepth::Sixteen, &deep, None);
    // One colour for each quadrant, two bits for each pixel.
    let corner = |x, y| sample.pixel(x * SIZE.0 / 2 + 12, y * SIZE.1 / 2 + 8);
    let corners = [corner(0, 0), corner(1, 0), corner(0, 1), corner(1, 1)];
    let palette: Vec<u8> = corners.iter().flat_map(|pixel| pixel[..3].to_vec()).collect();
    let indices = |y: u32| {
        (0..12u32).map(move |byte| {
            [0b0000_0000, 0b0101_0101, 0b1010_1010, 0b1111_1111]
                [usize::from(byte >= 6) + 2 * usize::from(y >= 16)]
        })
    };
    let rows: Vec<u8> = (0..SIZE.1).flat_map(indices).collect();
    let few = png_of(ColorType::Indexed, BitDepth::Two, &rows, Some(&palette));
    for (name, bytes) in [("16 bits", deep), ("palette", few)] {
        let (_origin, edge) = before(Kind::Png, bytes);
        for format in [Kind::Png, Kind::Webp] {
            let answer = edge.get(&format!("/a?w=24&fm={}", format.name()));
            expect_picture(&answer, format, &sample.resized(24, 16), name);
        }
    }
    let grey: Vec<u8> = sample.pixels.iter().flat_map(|pixel| [pixel[1], 128]).collect();
    let (_origin, edge) = before(
        Kind::Png,
        png_of(ColorType::GrayscaleAlpha, BitDepth::Eight, &grey, None),
    );
    let expected = Image::drawn(24, 16, |x, y| {
        let grey = sample.resized(24, 16).pixel(x, y)[1];
        [grey, grey, grey, 128]
    });
    expect_picture(
        &edge.get("/a?w=24&fm=webp"),
        Kind::Webp,
        &expected,
        "grey with alpha",
    );
}

const DELAYS: [u32; 4] = [40, 80, 120, 200];

#[test]
fn an_animation_keeps_its_frames_and_their_times() {
    let frames = turning(48, &DELAYS);
    let files = [
        (Kind::Gif, animated_gif(&frames)),
        (Kind::Webp, animated_webp(&frames)),
    ];
    for (kind, file) in files {
        let (_origin, edge) = before(kind, file);
        for (format, expected) in [("gif", Kind::Gif), ("webp", Kind::Webp), ("source", kind)] {
            let moving = edge.get(&format!("/a?w=24&rot=90&fm={format}")).picture();
            assert_eq!((moving.kind, moving.size()), (expected, (24, 24)), "{kind:?}");
            assert_eq!(moving.delays, DELAYS, "{kind:?} as {format}");
            for (shown, (drawn, _)) in moving.frames.iter().zip(&frames) {
                let distance = shown.distance(&drawn.turned(1).resized(24, 24));
                assert!(distance < TOLERANCE, "{kind:?} as {format} is off by {distance}");
            }
        }
    }
}

#[test]
fn a_format_that_can_not_move_shows_an_animations_first_frame() {
    let frames = turning(48, &DELAYS);
    let (_origin, edge) = before(Kind::Gif, animated_gif(&frames));
    for kind in [Kind::Jpeg, Kind::Png, Kind::Avif] {
        let answer = edge.get(&format!("/a?w=24&fm={}", kind.name()));
        expect_picture(&answer, kind, &frames[0].0.resized(24, 24), kind.name());
    }
}

#[test]
fn nothing_is_enlarged_unless_the_route_allows_it() {
    let origin = Origin::with("/a", Reply::image(Kind::Png, Kind::Png.encode(&sample())));
    let edge = Setup::transforming(&origin, EXACT).start();
    for parameters in [
        "w=96",
        "h=640",
        "w=96&h=64&fit=cover",
        "w=96&h=64&fit=contain",
        "w=24&dpr=4",
    ] {
        let answer = edge.get(&format!("/a?{parameters}&fm=webp"));
        expect_picture(&answer, Kind::Webp, &sample(), parameters);
    }
    // The largest part of the box's shape.
    let square = edge.get("/a?w=96&h=96&fit=cover&gravity=east&fm=webp");
    expect_picture(&square, Kind::Webp, &sample().cropped(16, 0, 32, 32), "a square");
    let edge = Setup::transforming(&origin, &format!("{EXACT}, enlarge: true")).start();
    let enlarged = edge.get("/a?w=96&h=64&fit=cover&fm=webp");
    expect_picture(&enlarged, Kind::Webp, &sample().resized(96, 64), "enlarged");
}

#[test]
fn each_fit_fills_its_box_in_its_own_way() {
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&sample()));
    let sample = sample();
    let whole = sample.resized(24, 16);
    let padded = whole.laid_on(&Image::plain(24, 24, [0; 4]), 0, 4);
    let middle = sample.cropped(8, 0, 32, 32).resized(24, 24);
    for (fit, expected) in [
        ("clip", &whole),
        ("contain", &whole),
        ("scale-down", &whole),
        ("cover", &middle),
        ("crop", &middle),
        ("fill", &padded),
        ("pad", &padded),
        ("scale", &sample.resized(24, 24)),
    ] {
        let answer = edge.get(&format!("/a?w=24&h=24&fit={fit}&fm=png"));
        expect_picture(&answer, Kind::Png, expected, fit);
    }
}

#[test]
fn what_is_cut_off_lies_away_from_the_gravity() {
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&sample()));
    for (gravity, left) in [
        ("west", 0),
        ("northwest", 0),
        ("focal:0,0.5", 0),
        ("center", 8),
        ("north", 8),
        ("focal:0.5,0.5", 8),
        ("east", 16),
        ("southeast", 16),
        ("focal:1,1", 16),
    ] {
        let answer = edge.get(&format!("/a?w=24&h=24&fit=cover&gravity={gravity}&fm=png"));
        let expected = sample().cropped(left, 0, 32, 32).resized(24, 24);
        expect_picture(&answer, Kind::Png, &expected, gravity);
    }
}

#[test]
fn smart_gravity_keeps_what_is_to_be_seen() {
    // A flat field, and a chessboard at its right end.
    let picture = Image::drawn(96, 32, |x, y| {
        let is_dark = x >= 64 && (x / 4 + y / 4) % 2 == 0;
        if is_dark {
            [20, 20, 20, 255]
        } else {
            [200, 200, 200, 255]
        }
    });
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&picture));
    let answer = edge.get("/a?w=32&h=32&fit=cover&gravity=smart&fm=png");
    let distance = answer.picture().still().distance(&picture.cropped(64, 0, 32, 32));
    assert!(distance < 25.0, "off by {distance}");
}

#[test]
fn trimming_cuts_off_a_border_of_one_colour() {
    let framed = sample().laid_on(&Image::plain(72, 56, WHITE), 12, 8);
    let files = [
        (Kind::Png, Kind::Png.encode(&framed)),
        (Kind::Jpeg, Kind::Jpeg.encode(&framed)),
        (Kind::Webp, lossless_webp(&framed)),
    ];
    for (kind, bytes) in files {
        let (_origin, edge) = before(kind, bytes);
        let answer = edge.get("/a?trim&fm=png");
        expect_picture(&answer, Kind::Png, &sample(), kind.name());
        let smaller = edge.get("/a?trim=20&w=24&fm=png");
        expect_picture(&smaller, Kind::Png, &sample().resized(24, 16), kind.name());
    }
}

#[test]
fn the_steps_have_one_order_whatever_the_parameters_order() {
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&sample()));
    // The region is the source's, turned before it is sized; the padding is the result's.
    let expected = sample().cropped(0, 0, 24, 32).turned(1).resized(16, 12);
    let expected = expected.laid_on(&Image::plain(20, 16, BACKGROUND), 2, 2);
    let parts = ["rect=0,0,24,32", "rot=90", "w=16", "pad=2", "bg=1020a0", "fm=png"];
    let forth = edge.get(&format!("/a?{}", parts.join("&")));
    expect_picture(&forth, Kind::Png, &expected, "forth");
    let back: Vec<_> = parts.into_iter().rev().collect();
    let back = edge.get(&format!("/a?{}", back.join("&")));
    assert_eq!(back.strong_tag(), forth.strong_tag());
    assert_eq!(edge.transforms("made"), 1.0);
}

#[test]
fn a_background_is_behind_what_is_transparent() {
    let clear = sample().see_through();
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&clear));
    for kind in [Kind::Jpeg, Kind::Png, Kind::Webp, Kind::Avif, Kind::Gif] {
        let answer = edge.get(&format!("/a?w=24&bg=1020a0&fm={}", kind.name()));
        expect_picture(
            &answer,
            kind,
            &clear.over(BACKGROUND).resized(24, 16),
            kind.name(),
        );
    }
}

#[test]
fn lossless_is_to_the_pixel() {
    let clear = sample().see_through();
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&clear));
    for format in ["png", "webp"] {
        let answer = edge.get(&format!("/a?flip=h&q=lossless&fm={format}"));
        // The colour of what can not be seen is nobody's business.
        assert!(
            answer.picture().still().over(WHITE) == clear.mirrored().over(WHITE),
            "{format}"
        );
    }
}

/// Every pixel another: what no encoder makes small.
fn noise(side: u32) -> Image {
    let bytes = crate::support::picture(4711, (side * side * 4) as usize);
    let mut noise = Image::of_rgba(side, side, &bytes);
    noise.pixels.iter_mut().for_each(|pixel| pixel[3] = 255);
    noise
}

#[test]
fn a_better_quality_costs_bytes() {
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&noise(64)));
    for format in ["jpeg", "webp", "avif"] {
        let length = |quality| edge.get(&format!("/a?q={quality}&fm={format}")).body.len();
        let lengths = [40, 60, 80].map(length);
        assert!(
            lengths.is_sorted() && lengths[0] < lengths[2],
            "{format}: {lengths:?}"
        );
    }
}

#[test]
fn a_variant_has_no_more_bytes_than_it_may() {
    let (_origin, edge) = before(Kind::Png, Kind::Png.encode(&noise(96)));
    for format in ["jpeg", "webp", "png"] {
        let free = edge.get(&format!("/a?q=90&fm={format}"));
        assert!(free.body.len() > 2000, "{format}: {free:?}");
        let bound = edge.get(&format!("/a?q=90&mb=2000&fm={format}"));
        bound.picture();
        assert!(bound.body.len() <= 2000, "{format}: {bound:?}");
    }
}

#[test]
fn a_watermark_lies_where_the_configuration_puts_it() {
    let origin = Origin::with("/a", Reply::image(Kind::Png, Kind::Png.encode(&sample())));
    let setup = Setup::transforming(&origin, EXACT);
    let file = setup.directory().join("mark.png");
    std::fs::write(&file, Kind::Png.encode(&Image::plain(64, 64, [0, 0, 0, 255]))).unwrap();
    let file = file.display();
    let mark = format!("{{mark: {{file: '{file}', place: [100, 0], opacity: 100, width: 25, margin: 0}}}}");
    let edge = setup.serve("watermarks", mark).start();
    let answer = edge.get("/a?wm=mark&fm=png");
    let expected = Image::plain(12, 12, [0, 0, 0, 255]).laid_on(&sample(), 36, 0);
    expect_picture(&answer, Kind::Png, &expected, "marked");
    assert_ne!(edge.get("/a?fm=png&flip=h").strong_tag(), answer.strong_tag());
}

#[test]
fn an_edge_whose_watermark_can_not_be_read_does_not_start() {
    let origin = Origin::start();
    let setup = Setup::transforming(&origin, EXACT);
    let setup = setup.serve("watermarks", "{mark: {file: /nowhere/mark.png}}");
    let mut edge = setup.spawn();
    assert!(!edge.wait_for_exit().success());
    let (_, said) = edge.whole_output();
    assert!(said.contains("/nowhere/mark.png"), "{said}");
}

/// EXIF with one entry: the copyright notice, tag 0x8298.
fn with_copyright(jpeg: &[u8], notice: &str) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x98\x82\x02\0".to_vec();
    exif.extend((notice.len() as u32 + 1).to_le_bytes());
    exif.extend(26u32.to_le_bytes());
    exif.extend([0; 4]);
    exif.extend(notice.as_bytes());
    exif.push(0);
    with_segment(jpeg, 0xE1, &exif)
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn metadata_is_dropped_and_copyright_kept_where_the_route_says_so() {
    const NOTICE: &str = "Eve Exemplary 2025";
    let jpeg = with_copyright(&jpeg_with(&sample(), |_| ()), NOTICE);
    let jpeg = with_segment(&jpeg, 0xFE, b"a comment about a secret place");
    let origin = Origin::with("/a", Reply::image(Kind::Jpeg, jpeg));
    let edge = Setup::transforming(&origin, EXACT).start();
    for format in ["jpeg", "png", "webp", "avif", "gif", "source"] {
        let answer = edge.get(&format!("/a?w=24&fm={format}"));
        answer.picture();
        assert!(!contains(&answer.body, NOTICE), "{format}");
        assert!(!contains(&answer.body, "secret"), "{format}");
    }
    let edge = Setup::transforming(&origin, &format!("{EXACT}, keep_copyright: true")).start();
    for format in ["jpeg", "webp", "png"] {
        let answer = edge.get(&format!("/a?w=24&fm={format}"));
        answer.picture();
        assert!(contains(&answer.body, NOTICE), "{format}");
        assert!(!contains(&answer.body, "secret"), "{format}");
    }
}

#[test]
fn the_first_bytes_say_what_a_picture_is_not_its_media_type() {
    let origin = Origin::start();
    for kind in [Kind::Jpeg, Kind::Png, Kind::Gif, Kind::Webp] {
        let bytes = kind.encode(&sample());
        origin.set(
            "/a",
            Reply::fresh(bytes).header("content-type", "image/x-unheard-of"),
        );
        let edge = Setup::transforming(&origin, EXACT).start();
        let answer = edge.get("/a?w=24");
        expect_picture(&answer, kind, &sample().resized(24, 16), kind.name());
    }
}

#[test]
fn a_png_may_hold_chunks_nobody_knows() {
    let png = Kind::Png.encode(&sample());
    // Behind the signature and the first chunk.
    let (header, rest) = png.split_at(33);
    let png = [header, &png_chunk(b"teSt", b"what is this"), rest].concat();
    let (_origin, edge) = before(Kind::Png, png);
    let answer = edge.get("/a?w=24");
    expect_picture(
        &answer,
        Kind::Png,
        &sample().resized(24, 16),
        "with a chunk of its own",
    );
    assert!(!contains(&answer.body, "what is this"));
}
