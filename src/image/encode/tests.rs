//! Everything that is written, read again by decoders that share no code with the encoders where there are such.

use super::*;
use crate::image::raster::Layout::{Rgb, Rgba};
use std::io::Cursor;

const STILLS: [Target; 5] = [Target::Jpeg, Target::Png, Target::Webp, Target::Avif, Target::Gif];

/// A watch that has all the time, and counts.
struct Patient(usize);

impl Watch for Patient {
    fn done(&mut self, _: Stage) -> Result<(), ImageError> {
        self.0 += 1;
        Ok(())
    }
}

/// A watch with patience for so many pictures.
struct Impatient(usize);

impl Watch for Impatient {
    fn done(&mut self, _: Stage) -> Result<(), ImageError> {
        self.0 = self.0.checked_sub(1).ok_or(ImageError::TimeIsUp)?;
        Ok(())
    }
}

fn still(raster: Raster) -> Result<Sequence, ImageError> {
    Sequence::new(vec![Frame { raster, delay: 0 }], 0)
}

fn raster(width: u32, height: u32, layout: Layout, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Raster {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Raster {
        width,
        height,
        layout,
        pixels: places
            .flat_map(|(x, y)| pixel(x, y)[..layout.channels()].to_vec())
            .collect(),
    }
}

/// Soft colours with a little texture; transparent in its upper left where the layout has alpha.
fn photo(width: u32, height: u32, layout: Layout) -> Raster {
    raster(width, height, layout, |x, y| {
        let noise = (x * 7919 + y * 104_729) % 7;
        let alpha = if x + y < (width + height) / 3 { 0 } else { 255 };
        [
            (x * 3 + noise) as u8,
            (y * 3 + noise) as u8,
            (200 - x - y / 2) as u8,
            alpha,
        ]
    })
}

fn opaque(width: u32, height: u32) -> Raster {
    photo(width, height, Rgb).into_rgba()
}

fn settings(target: Target) -> Settings {
    Settings {
        target,
        quality: Quality::Lossy(80),
        bytes_max: None,
        notice: Notice::default(),
    }
}

fn written(raster: &Raster, settings: &Settings) -> Vec<u8> {
    let sequence = still(raster.clone()).unwrap();
    encode(&sequence, settings, &mut Patient(0)).unwrap().bytes
}

fn lossy(raster: &Raster, target: Target, quality: u8) -> Vec<u8> {
    let quality = Quality::Lossy(quality);
    written(
        raster,
        &Settings {
            quality,
            ..settings(target)
        },
    )
}

/// What a browser would see: always RGBA, and whether the file has an alpha channel.
fn read(target: Target, bytes: &[u8]) -> (Raster, bool) {
    let mut frames = read_all(target, bytes);
    let (raster, alpha) = (frames.frames.swap_remove(0).raster, frames.alpha);
    (raster, alpha)
}

struct Read {
    frames: Vec<Frame>,
    alpha: bool,
    loops: u32,
}

fn still_read(width: u32, height: u32, layout: Layout, pixels: Vec<u8>) -> Read {
    let raster = Raster {
        width,
        height,
        layout,
        pixels,
    }
    .into_rgba();
    Read {
        frames: vec![Frame { raster, delay: 0 }],
        alpha: layout == Rgba,
        loops: 0,
    }
}

fn read_all(target: Target, bytes: &[u8]) -> Read {
    match target {
        Target::Jpeg => {
            let image = turbojpeg::decompress(bytes, turbojpeg::PixelFormat::RGB).unwrap();
            still_read(image.width as u32, image.height as u32, Rgb, image.pixels)
        }
        Target::Png => read_png(bytes),
        Target::Webp => read_webp(bytes),
        Target::Avif => {
            let image = libavif::decode_rgb(bytes).unwrap();
            let mut read = still_read(image.width(), image.height(), Rgba, image.to_vec());
            read.alpha = bytes.windows(4).any(|name| name == b"auxC");
            read
        }
        Target::Gif => read_gif(bytes),
    }
}

fn read_png(bytes: &[u8]) -> Read {
    let mut decoder = ::png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(::png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let (layout, pixels) = match info.color_type {
        ::png::ColorType::Grayscale => (Rgb, pixels.iter().flat_map(|grey| [*grey; 3]).collect()),
        ::png::ColorType::Rgb => (Rgb, pixels),
        ::png::ColorType::Rgba => (Rgba, pixels),
        other => panic!("{other:?}"),
    };
    still_read(info.width, info.height, layout, pixels)
}

fn read_webp(bytes: &[u8]) -> Read {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).unwrap();
    let (width, height) = decoder.dimensions();
    let alpha = decoder.has_alpha();
    let layout = if alpha { Rgba } else { Rgb };
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    if !decoder.is_animated() {
        decoder.read_image(&mut pixels).unwrap();
        return still_read(width, height, layout, pixels);
    }
    let frames = (0..decoder.num_frames()).map(|_| {
        let delay = decoder.read_frame(&mut pixels).unwrap();
        let raster = Raster {
            width,
            height,
            layout,
            pixels: pixels.clone(),
        };
        Frame {
            raster: raster.into_rgba(),
            delay,
        }
    });
    let frames = frames.collect();
    let loops = match decoder.loop_count() {
        image_webp::LoopCount::Forever => 0,
        image_webp::LoopCount::Times(times) => u32::from(times.get()),
    };
    Read { frames, alpha, loops }
}

fn read_gif(bytes: &[u8]) -> Read {
    let mut options = ::gif::DecodeOptions::new();
    options.set_color_output(::gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).unwrap();
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let mut canvas = raster(width, height, Rgba, |_, _| [0; 4]);
    let (mut frames, mut alpha) = (Vec::new(), false);
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        alpha |= frame.transparent.is_some();
        for (at, pixel) in frame.buffer.chunks_exact(4).enumerate() {
            let (x, y) = (at % usize::from(frame.width), at / usize::from(frame.width));
            let (x, y) = (x + usize::from(frame.left), y + usize::from(frame.top));
            let at = (y * width as usize + x) * 4;
            if pixel[3] == 255 {
                canvas.pixels[at..at + 4].copy_from_slice(pixel);
            }
        }
        frames.push(Frame {
            raster: canvas.clone(),
            delay: u32::from(frame.delay) * 10,
        });
        if frame.dispose == ::gif::DisposalMethod::Background {
            for y in usize::from(frame.top)..usize::from(frame.top + frame.height) {
                let start = (y * width as usize + usize::from(frame.left)) * 4;
                canvas.pixels[start..start + usize::from(frame.width) * 4].fill(0);
            }
        }
    }
    let loops = match decoder.repeat() {
        ::gif::Repeat::Infinite => 0,
        ::gif::Repeat::Finite(again) => u32::from(again) + 1,
    };
    Read { frames, alpha, loops }
}

/// The mean difference of a channel, of what can be seen.
fn distance(one: &Raster, other: &Raster) -> f64 {
    assert_eq!(size_of(one), size_of(other));
    let seen = |pixel: &[u8; 4]| {
        let [red, green, blue, alpha] = pixel.map(f64::from);
        [
            red * alpha / 255.0,
            green * alpha / 255.0,
            blue * alpha / 255.0,
            alpha,
        ]
    };
    let (one, other) = (one.pixels.as_chunks::<4>().0, other.pixels.as_chunks::<4>().0);
    let differences = one.iter().zip(other).flat_map(|(one, other)| {
        let (one, other) = (seen(one), seen(other));
        (0..4).map(move |at| (one[at] - other[at]).abs())
    });
    differences.sum::<f64>() / (one.len() * 4) as f64
}

#[test]
fn every_format_holds_the_picture_that_was_given() {
    for target in STILLS {
        for (width, height) in [(64, 48), (1, 1), (33, 17), (7, 1), (1, 9)] {
            for (raster, alpha) in [
                (photo(width, height, Rgb), false),
                (photo(width, height, Rgba), true),
                (opaque(width, height), false),
            ] {
                let alpha = alpha && width > 9 && target != Target::Jpeg;
                if !alpha && raster.layout == Rgba && raster != opaque(width, height) {
                    continue;
                }
                let bytes = lossy(&raster, target, 90);
                let (read, has_alpha) = read(target, &bytes);
                let case = format!("{target:?} {width}x{height} {:?}", raster.layout);
                assert_eq!(size_of(&read), (width, height), "{case}");
                assert_eq!(has_alpha, alpha, "{case}");
                let distance = distance(&raster.into_rgba(), &read);
                let allowed = if target == Target::Png { 0.0 } else { 6.0 };
                assert!(distance <= allowed, "{case}: {distance}");
            }
        }
    }
}

#[test]
fn lossless_files_hold_every_pixel() {
    for target in [Target::Png, Target::Webp] {
        for raster in [photo(31, 20, Rgb), opaque(31, 20)] {
            let quality = Quality::Lossless;
            let bytes = written(
                &raster,
                &Settings {
                    quality,
                    ..settings(target)
                },
            );
            assert_eq!(read(target, &bytes).0, raster.into_rgba(), "{target:?}");
        }
    }
}

#[test]
fn a_higher_quality_takes_more_bytes_and_is_closer() {
    let picture = photo(64, 64, Rgb);
    for target in [Target::Jpeg, Target::Webp, Target::Avif] {
        let files: Vec<Vec<u8>> = [20, 50, 80, 95]
            .map(|quality| lossy(&picture, target, quality))
            .into();
        assert!(files.is_sorted_by_key(Vec::len), "{target:?}");
        let distances = files
            .iter()
            .map(|file| distance(&picture.clone().into_rgba(), &read(target, file).0));
        let distances: Vec<f64> = distances.collect();
        assert!(distances[0] > distances[3], "{target:?}: {distances:?}");
    }
}

#[test]
fn equal_pixels_give_equal_bytes() {
    for target in STILLS {
        let picture = photo(40, 30, Rgba);
        assert_eq!(
            lossy(&picture, target, 70),
            lossy(&picture, target, 70),
            "{target:?}"
        );
    }
}

#[test]
fn a_side_no_format_can_hold_is_an_error() {
    let long = raster(16_384, 1, Rgb, |_, _| [0; 4]);
    let sequence = still(long).unwrap();
    let result = encode(&sequence, &settings(Target::Webp), &mut Patient(0));
    assert!(
        matches!(result, Err(ImageError::Encode { format: "WebP", .. })),
        "{result:?}"
    );
    assert!(Target::Gif.check((65_536, 1)).is_err());
    assert!(Target::Jpeg.check((1, 65_501)).is_err());
    assert!(Target::Jpeg.check((1, 65_500)).is_ok());
}

#[test]
fn what_is_no_picture_is_an_error() {
    assert!(Sequence::new(Vec::new(), 0).is_err());
    assert!(still(raster(2, 2, Layout::Cmyk, |_, _| [0; 4])).is_err());
    let short = Raster {
        pixels: vec![0; 11],
        ..raster(2, 2, Rgb, |_, _| [0; 4])
    };
    assert!(still(short).is_err());
    let of_two_sizes = [1, 2].map(|width| Frame {
        raster: photo(width, 2, Rgb),
        delay: 0,
    });
    assert!(Sequence::new(of_two_sizes.into(), 0).is_err());
}

// ---- The leanest layout ----

fn png_layout(raster: &Raster) -> (::png::ColorType, ::png::BitDepth) {
    let bytes = lossy(raster, Target::Png, 80);
    let reader = ::png::Decoder::new(Cursor::new(&bytes)).read_info().unwrap();
    (reader.info().color_type, reader.info().bit_depth)
}

#[test]
fn a_png_takes_the_leanest_layout_that_holds_every_pixel() {
    use ::png::{BitDepth, ColorType};
    let few = |colours: u32| raster(37, 23, Rgb, move |x, y| [((x + y) % colours) as u8, 9, 200, 255]);
    assert_eq!(png_layout(&few(2)), (ColorType::Indexed, BitDepth::One));
    assert_eq!(png_layout(&few(4)), (ColorType::Indexed, BitDepth::Two));
    assert_eq!(png_layout(&few(16)), (ColorType::Indexed, BitDepth::Four));
    assert_eq!(png_layout(&few(50)), (ColorType::Indexed, BitDepth::Eight));
    let grey = raster(64, 64, Rgb, |x, y| [(x * 2 + y) as u8; 4]);
    assert_eq!(png_layout(&grey), (ColorType::Grayscale, BitDepth::Eight));
    assert_eq!(png_layout(&photo(64, 64, Rgb)), (ColorType::Rgb, BitDepth::Eight));
    assert_eq!(png_layout(&opaque(64, 64)), (ColorType::Rgb, BitDepth::Eight));
    assert_eq!(
        png_layout(&photo(64, 64, Rgba)),
        (ColorType::Rgba, BitDepth::Eight)
    );
    for colours in [1, 2, 3, 5, 16, 17, 37] {
        let picture = few(colours);
        let read = read(Target::Png, &lossy(&picture, Target::Png, 80)).0;
        assert_eq!(read, picture.into_rgba(), "{colours} colours");
    }
}

#[test]
fn a_palette_keeps_half_transparent_colours() {
    let picture = raster(20, 20, Rgba, |x, y| [x as u8 / 8, 7, 9, (y as u8 / 5) * 60 + 15]);
    let bytes = lossy(&picture, Target::Png, 80);
    assert_eq!(png_layout(&picture).0, ::png::ColorType::Indexed);
    assert_eq!(read(Target::Png, &bytes).0, picture);
}

#[test]
fn a_palette_holds_256_colours_and_not_one_more() {
    let of = |colours: u32| raster(colours, 2, Rgb, |x, _| [(x % 256) as u8, (x / 256) as u8, 1, 255]);
    assert_eq!(palette::exact(&of(256)).unwrap().colours.len(), 256);
    assert_eq!(palette::exact(&of(257)), None);
}

// ---- Animations ----

/// A bright square that walks over a photo.
fn walk(frames: u32, layout: Layout) -> Vec<Frame> {
    let ground = photo(40, 30, layout);
    let frames = (0..frames).map(|at| {
        let raster = raster(40, 30, layout, |x, y| {
            let pixel = (y as usize * 40 + x as usize) * layout.channels();
            let mut colour = [255; 4];
            colour[..layout.channels()].copy_from_slice(&ground.pixels[pixel..pixel + layout.channels()]);
            let inside = (3 + at * 7..8 + at * 7).contains(&x) && (5..11).contains(&y);
            if inside { [255, 255, 0, 255] } else { colour }
        });
        Frame {
            raster,
            delay: 40 + at * 10,
        }
    });
    frames.collect()
}

#[test]
fn an_animation_keeps_its_frames_delays_and_loops() {
    for target in [Target::Webp, Target::Gif] {
        for layout in [Rgb, Rgba] {
            for loops in [0, 1, 3] {
                let sequence = Sequence::new(walk(4, layout), loops).unwrap();
                let mut watch = Patient(0);
                let bytes = encode(&sequence, &settings(target), &mut watch).unwrap().bytes;
                let read = read_all(target, &bytes);
                let case = format!("{target:?} {layout:?} {loops}");
                assert_eq!(watch.0, 4, "{case}");
                assert_eq!(read.loops, loops, "{case}");
                assert_eq!(read.alpha, layout == Rgba, "{case}");
                let delays: Vec<u32> = read.frames.iter().map(|frame| frame.delay).collect();
                assert_eq!(delays, [40, 50, 60, 70], "{case}");
                for (written, read) in walk(4, layout).into_iter().zip(read.frames) {
                    let distance = distance(&written.raster.into_rgba(), &read.raster);
                    assert!(distance < 7.0, "{case}: {distance}");
                }
            }
        }
    }
}

#[test]
fn a_frame_that_changes_nothing_makes_the_one_before_it_longer() {
    let mut frames = walk(2, Rgb);
    frames.insert(1, frames[0].clone());
    let sequence = Sequence::new(frames, 0).unwrap();
    for target in [Target::Webp, Target::Gif] {
        let bytes = encode(&sequence, &settings(target), &mut Patient(0))
            .unwrap()
            .bytes;
        let delays: Vec<u32> = read_all(target, &bytes)
            .frames
            .iter()
            .map(|frame| frame.delay)
            .collect();
        assert_eq!(delays, [80, 50], "{target:?}");
    }
}

#[test]
fn only_what_changes_is_written_again() {
    let frames = walk(3, Rgb);
    let steps = animation::steps(&frames, 2);
    assert_eq!((steps[0].area.width, steps[0].area.height), (40, 30));
    let area = steps[1].area;
    // From 3 (on an even place: 2) to the end of the square's next place.
    assert_eq!((area.left, area.top, area.width, area.height), (2, 4, 13, 7));
}

#[test]
fn a_still_format_shows_the_first_frame() {
    let sequence = Sequence::new(walk(3, Rgb), 0).unwrap();
    for target in [Target::Jpeg, Target::Png, Target::Avif] {
        let bytes = encode(&sequence, &settings(target), &mut Patient(0))
            .unwrap()
            .bytes;
        let first = walk(1, Rgb).remove(0).raster.into_rgba();
        assert!(distance(&first, &read(target, &bytes).0) < 6.0, "{target:?}");
    }
}

#[test]
fn an_animation_is_given_up_between_two_frames() {
    let sequence = Sequence::new(walk(4, Rgb), 0).unwrap();
    for target in [Target::Webp, Target::Gif] {
        let result = encode(&sequence, &settings(target), &mut Impatient(2));
        assert_eq!(result.unwrap_err(), ImageError::TimeIsUp, "{target:?}");
    }
}

// ---- Metadata ----

fn noticed(target: Target) -> Settings {
    let notice = Notice {
        copyright: Some("© 2024 Ada\0".to_owned()),
        artist: Some("Ada".to_owned()),
    };
    Settings {
        notice,
        ..settings(target)
    }
}

/// The EXIF block of a file, by an independent reader.
fn texts_of(bytes: &[u8]) -> Vec<(exif::Tag, Vec<u8>)> {
    let Ok(exif) = exif::Reader::new().read_from_container(&mut Cursor::new(bytes)) else {
        return Vec::new();
    };
    let fields = exif.fields().map(|field| match &field.value {
        exif::Value::Ascii(texts) => (field.tag, texts.concat()),
        other => panic!("{other:?}"),
    });
    fields.collect()
}

#[test]
fn the_notice_is_kept_where_it_is_wanted_and_the_picture_is_the_same() {
    for target in [Target::Jpeg, Target::Png, Target::Webp] {
        for layout in [Rgb, Rgba] {
            let picture = photo(32, 32, layout);
            let (plain, noted) = (
                written(&picture, &settings(target)),
                written(&picture, &noticed(target)),
            );
            assert_eq!(texts_of(&plain), [], "{target:?}");
            let texts = [
                (exif::Tag::Artist, b"Ada".to_vec()),
                (exif::Tag::Copyright, "© 2024 Ada".as_bytes().to_vec()),
            ];
            assert_eq!(texts_of(&noted), texts, "{target:?}");
            assert_eq!(read(target, &noted).0, read(target, &plain).0, "{target:?}");
        }
    }
}

#[test]
fn an_animation_has_a_notice_too() {
    let sequence = Sequence::new(walk(2, Rgb), 0).unwrap();
    let webp = encode(&sequence, &noticed(Target::Webp), &mut Patient(0))
        .unwrap()
        .bytes;
    assert_eq!(texts_of(&webp).len(), 2);
    assert_eq!(read_all(Target::Webp, &webp).frames.len(), 2);
    let gif = encode(&sequence, &noticed(Target::Gif), &mut Patient(0))
        .unwrap()
        .bytes;
    let text = "Ada\n© 2024 Ada".as_bytes();
    assert!(gif.windows(text.len()).any(|bytes| bytes == text));
    assert_eq!(read_all(Target::Gif, &gif).frames.len(), 2);
}

#[test]
fn a_notice_of_any_length_fits() {
    for length in [0, 1, 3, 4, 70_000] {
        let notice = Notice {
            copyright: Some("ö".repeat(length)),
            artist: None,
        };
        for target in [Target::Jpeg, Target::Png, Target::Webp, Target::Gif] {
            let bytes = written(
                &photo(8, 8, Rgb),
                &Settings {
                    notice: notice.clone(),
                    ..settings(target)
                },
            );
            assert_eq!(size_of(&read(target, &bytes).0), (8, 8), "{target:?} {length}");
            assert!(bytes.len() < 8_000, "{target:?} {length}");
        }
    }
}

#[test]
fn nothing_but_the_picture_is_written() {
    let jpeg = written(&photo(32, 32, Rgb), &settings(Target::Jpeg));
    let markers: Vec<u8> = jpeg
        .windows(2)
        .filter(|pair| pair[0] == 0xff && pair[1] & 0xf0 == 0xe0)
        .map(|pair| pair[1])
        .collect();
    assert_eq!(markers, [0xe0], "only the JFIF segment");
    let webp = written(&photo(32, 32, Rgb), &settings(Target::Webp));
    assert_eq!(&webp[12..16], b"VP8 ");
}

// ---- Budgets ----

fn capped(target: Target, bytes_max: u32) -> Settings {
    Settings {
        bytes_max: Some(bytes_max),
        ..settings(target)
    }
}

#[test]
fn a_budget_lowers_the_quality_no_further_than_it_has_to() {
    let picture = photo(64, 64, Rgb);
    for target in [Target::Jpeg, Target::Webp] {
        let (low, high) = (
            lossy(&picture, target, 45).len(),
            lossy(&picture, target, 80).len(),
        );
        let max = (low + high) as u32 / 2;
        let bytes = written(&picture, &capped(target, max));
        assert!(bytes.len() <= max as usize, "{target:?}");
        assert!(bytes.len() >= low, "{target:?}");
        assert_eq!(size_of(&read(target, &bytes).0), (64, 64));
    }
}

#[test]
fn a_budget_that_is_kept_changes_nothing() {
    let picture = photo(64, 64, Rgb);
    for target in STILLS {
        let bytes = written(&picture, &settings(target));
        assert_eq!(
            written(&picture, &capped(target, bytes.len() as u32)),
            bytes,
            "{target:?}"
        );
    }
}

// ---- Many colours in few ----

#[test]
fn a_gif_of_many_colours_is_close_and_keeps_its_transparency() {
    for layout in [Rgb, Rgba] {
        let picture = raster(60, 60, layout, |x, y| {
            if x < 9 && y < 9 {
                [0; 4]
            } else {
                [(x * 4) as u8, (y * 4) as u8, (x * y / 16) as u8, 255]
            }
        });
        assert_eq!(palette::exact(&picture), None);
        let (read, alpha) = read(Target::Gif, &lossy(&picture, Target::Gif, 80));
        assert_eq!(alpha, layout == Rgba);
        let alphas = |raster: &Raster| {
            raster
                .pixels
                .iter()
                .skip(3)
                .step_by(4)
                .copied()
                .collect::<Vec<u8>>()
        };
        let picture = picture.into_rgba();
        assert_eq!(alphas(&read), alphas(&picture));
        assert!(distance(&picture, &read) < 5.0, "{}", distance(&picture, &read));
    }
}

#[test]
fn a_few_opaque_pixels_are_not_lost_among_the_transparent() {
    let picture = raster(200, 200, Rgba, |x, y| {
        if y == 150 {
            [x as u8, 255 - x as u8, 9, 255]
        } else if y == 3 {
            [9, x as u8, 3, 255]
        } else {
            [0; 4]
        }
    });
    assert_eq!(palette::exact(&picture), None);
    let (read, _) = read(Target::Gif, &lossy(&picture, Target::Gif, 80));
    assert!(distance(&picture, &read) < 0.1, "{}", distance(&picture, &read));
}

/// A ring that moves, and a square that comes and goes, each pixel opaque or transparent.
fn stickers(numbers: impl IntoIterator<Item = u32>) -> Vec<Frame> {
    let frames = numbers.into_iter().map(|at| {
        let pixel = |x: u32, y: u32| {
            let (across, down) = (x.abs_diff(10 + at * 3), y.abs_diff(14));
            let ring = (9..=25).contains(&(across * across + down * down));
            let square = at % 3 == 1 && x >= 48 && y >= 40;
            let still = x < 8 && y < 8;
            match (ring, square, still) {
                (true, ..) => [200, 30, 30, 255],
                (_, true, _) => [30, 200, 30, 255],
                (.., true) => [30, 30, 200, 255],
                _ => [0; 4],
            }
        };
        Frame {
            raster: raster(64, 48, Rgba, pixel),
            delay: 40,
        }
    });
    frames.collect()
}

fn gif_of(frames: Vec<Frame>) -> Vec<u8> {
    let sequence = Sequence::new(frames, 0).unwrap();
    encode(&sequence, &settings(Target::Gif), &mut Patient(0))
        .unwrap()
        .bytes
}

#[test]
fn a_transparent_animation_shows_each_frame_and_nothing_of_the_last() {
    for numbers in [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![4, 1, 4, 0, 8], vec![2]] {
        let frames = stickers(numbers);
        assert_eq!(read_all(Target::Gif, &gif_of(frames.clone())).frames, frames);
    }
}

#[test]
fn of_a_transparent_animation_only_what_changes_is_written_again() {
    // A square that grows, so that nothing ever vanishes.
    let frames = (1..20).map(|at| Frame {
        raster: raster(300, 300, Rgba, |x, y| {
            let noise = (x * 7 + y * 13) as u8 | 1;
            let square = x < at && y < at;
            let ground = (100..260).contains(&x) && (100..260).contains(&y);
            if square || ground {
                [noise, noise / 2, 9, 255]
            } else {
                [0; 4]
            }
        }),
        delay: 40,
    });
    let frames: Vec<Frame> = frames.collect();
    let (one, all) = (gif_of(frames[..1].to_vec()).len(), gif_of(frames.clone()).len());
    assert!(all < 3 * one, "{one} {all}");
    assert_eq!(read_all(Target::Gif, &gif_of(frames.clone())).frames, frames);
}

#[test]
fn at_the_highest_qualities_an_avif_has_colour_in_full() {
    let stripes = raster(32, 32, Rgb, |x, _| {
        if x % 2 == 0 {
            [255, 0, 0, 255]
        } else {
            [0, 0, 255, 255]
        }
    });
    let off = |quality| {
        let settings = Settings {
            quality,
            ..settings(Target::Avif)
        };
        let (read, _) = read(Target::Avif, &written(&stripes, &settings));
        distance(&stripes.clone().into_rgba(), &read)
    };
    assert!(off(Quality::Lossless) < 2.0 && off(Quality::Lossy(90)) < 10.0);
    assert!(off(Quality::Lossy(89)) > 20.0);
}
