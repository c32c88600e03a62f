//! Every format there and back, and what is broken in any way.

use super::*;
use crate::image::probe;
use crate::image::samples::{self, GifFrame, PngHeader, WebpFrame, difference};
use turbojpeg::Subsamp;

const WHOLE: Eighths = Eighths(8);

/// The frames as far as the first error, which is the error of all.
fn frames_at(bytes: &[u8], scale: Eighths) -> Result<Vec<Frame>, ImageError> {
    let limits = Limits::default();
    let probe = probe(bytes, &limits)?;
    let mut frames = open(bytes, &probe, scale, &limits)?;
    let decoded = frames.by_ref().collect::<Result<Vec<Frame>, ImageError>>()?;
    assert_eq!(decoded.len(), probe.frames as usize);
    assert!(frames.next().is_none());
    for Frame { raster, .. } in &decoded {
        assert_eq!(
            raster.pixels.len(),
            length(raster.width, raster.height, raster.layout)
        );
        assert_eq!(raster.layout == Layout::Rgba, probe.alpha);
    }
    Ok(decoded)
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    frames_at(bytes, WHOLE).unwrap()
}

fn raster(bytes: &[u8]) -> Raster {
    frames(bytes).remove(0).raster
}

/// `(x, y)` of a raster.
fn pixel(raster: &Raster, x: u32, y: u32) -> &[u8] {
    let channels = raster.layout.channels();
    let at = (y * raster.width + x) as usize * channels;
    &raster.pixels[at..at + channels]
}

fn header(depth: u8, colours: u8) -> PngHeader {
    PngHeader {
        width: 2,
        height: 1,
        depth,
        colours,
        interlaced: false,
    }
}

#[test]
fn every_format_comes_out_as_the_picture_that_went_in() {
    let (opaque, clear) = (samples::picture(40, 24), samples::transparent(40, 24));
    for (bytes, original, most) in [
        (samples::jpeg(&opaque), &opaque, 8.0),
        (
            samples::jpeg_with(&opaque, |jpeg| jpeg.set_progressive(true).unwrap()),
            &opaque,
            8.0,
        ),
        (
            samples::jpeg_with(&opaque, |jpeg| jpeg.set_arithmetic(true).unwrap()),
            &opaque,
            8.0,
        ),
        (samples::png(&opaque), &opaque, 0.0),
        (samples::png(&clear), &clear, 0.0),
        (samples::interlaced_png(&opaque), &opaque, 0.0),
        (samples::gif_of(&opaque), &opaque, 8.0),
        (samples::webp(&opaque), &opaque, 8.0),
        (samples::lossless_webp(&opaque), &opaque, 0.0),
        (samples::avif(&opaque), &opaque, 8.0),
        (samples::avif(&clear), &clear, 8.0),
        (samples::bmp(&opaque), &opaque, 0.0),
        (samples::bmp(&clear), &clear, 0.0),
        (samples::tiff(&opaque), &opaque, 0.0),
        (samples::tiff(&clear), &clear, 0.0),
    ] {
        let kind = probe(&bytes, &Limits::default()).unwrap().kind;
        let found = difference(&raster(&bytes), original);
        assert!(found <= most, "{kind:?}: {found}");
    }
}

#[test]
fn the_alpha_of_a_webp_is_exact() {
    let clear = samples::transparent(40, 24);
    for bytes in [samples::webp(&clear), samples::lossless_webp(&clear)] {
        let decoded = raster(&bytes);
        let alpha = |raster: &Raster| {
            raster
                .pixels
                .iter()
                .skip(3)
                .step_by(4)
                .copied()
                .collect::<Vec<u8>>()
        };
        assert_eq!(alpha(&decoded), alpha(&clear));
    }
}

#[test]
fn a_jpeg_is_decoded_to_any_number_of_eighths() {
    let whole = samples::picture(43, 25);
    let bytes = samples::jpeg(&whole);
    for eighths in 1..=8 {
        let scaled = frames_at(&bytes, Eighths(eighths)).unwrap().remove(0).raster;
        let side = |side: u32| (side * u32::from(eighths)).div_ceil(8);
        assert_eq!((scaled.width, scaled.height), (side(43), side(25)));
        // The white bar is still at the right, at the top.
        assert!(
            pixel(&scaled, scaled.width - 1, 0)
                .iter()
                .all(|value| *value > 200)
        );
    }
    for eighths in [0, 17, 255] {
        assert!(matches!(
            frames_at(&bytes, Eighths(eighths)),
            Err(ImageError::Unsupported { .. })
        ));
    }
    let png = samples::png(&whole);
    assert!(matches!(
        frames_at(&png, Eighths(4)),
        Err(ImageError::Unsupported { .. })
    ));
}

#[test]
fn a_grey_jpeg_becomes_rgb() {
    let bytes = samples::jpeg_with(&samples::picture(40, 24), |jpeg| {
        jpeg.set_subsamp(Subsamp::Gray).unwrap()
    });
    let decoded = raster(&bytes);
    assert!(
        decoded
            .pixels
            .chunks_exact(3)
            .all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
    );
}

#[test]
fn of_inks_255_is_none_whether_adobe_wrote_them_or_not() {
    let original = samples::inked(40, 24);
    let with_adobe = samples::jpeg(&original);
    let decoded = raster(&with_adobe);
    assert!(difference(&decoded, &original) < 8.0);
    // Without the marker that says so, values are not inverted.
    let at = with_adobe
        .windows(5)
        .position(|window| window == b"Adobe")
        .unwrap();
    let mut without = with_adobe;
    let transform = without[at + 11];
    without[at..at + 5].copy_from_slice(b"Other");
    if transform == 0 {
        let inverted: Vec<u8> = raster(&without).pixels.iter().map(|value| 255 - value).collect();
        assert_eq!(inverted, decoded.pixels);
    }
}

#[test]
fn every_kind_of_png_becomes_8_bits_without_palette() {
    let palette = (*b"PLTE", vec![10, 20, 30, 40, 50, 60]);
    for (header, chunks, rows, layout, pixels) in [
        (
            header(8, 0),
            vec![],
            vec![0, 7, 9],
            Layout::Rgb,
            vec![7, 7, 7, 9, 9, 9],
        ),
        (
            header(1, 0),
            vec![],
            vec![0, 0x40],
            Layout::Rgb,
            vec![0, 0, 0, 255, 255, 255],
        ),
        (
            header(16, 0),
            vec![],
            vec![0, 7, 1, 9, 2],
            Layout::Rgb,
            vec![7, 7, 7, 9, 9, 9],
        ),
        (
            header(8, 4),
            vec![],
            vec![0, 7, 1, 9, 2],
            Layout::Rgba,
            vec![7, 7, 7, 1, 9, 9, 9, 2],
        ),
        (
            header(8, 0),
            vec![(*b"tRNS", vec![0, 9])],
            vec![0, 7, 9],
            Layout::Rgba,
            vec![7, 7, 7, 255, 9, 9, 9, 0],
        ),
        (
            header(1, 3),
            vec![palette.clone()],
            vec![0, 0x40],
            Layout::Rgb,
            vec![10, 20, 30, 40, 50, 60],
        ),
        (
            header(8, 3),
            vec![palette.clone(), (*b"tRNS", vec![5])],
            vec![0, 1, 0],
            Layout::Rgba,
            vec![40, 50, 60, 255, 10, 20, 30, 5],
        ),
        (
            header(16, 6),
            vec![],
            [vec![0], (0..16).collect()].concat(),
            Layout::Rgba,
            vec![0, 2, 4, 6, 8, 10, 12, 14],
        ),
    ] {
        let decoded = raster(&samples::png_of(header, &chunks, &rows));
        assert_eq!((decoded.layout, decoded.pixels), (layout, pixels));
    }
}

#[test]
fn frames_of_a_gif_are_laid_over_each_other_and_disposed_of() {
    use ::gif::DisposalMethod::{Background, Keep, Previous};
    let whole = samples::gif_frame(4, 2, 1);
    let left = GifFrame {
        width: 2,
        index: 2,
        ..whole
    };
    let right = GifFrame {
        left: 2,
        width: 2,
        index: 3,
        ..whole
    };
    let hole = GifFrame {
        transparent: Some(3),
        ..right
    };
    let over_the_edge = GifFrame {
        left: 3,
        top: 1,
        ..left
    };
    let (red, green, blue, none) = ([255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [0; 4]);
    for (dispose, second, expected) in [
        (Keep, right, [green, blue]),
        (Background, right, [none, blue]),
        (Previous, right, [red, blue]),
        (Background, hole, [none, red]),
    ] {
        let bytes = samples::gif(4, 2, &[whole, GifFrame { dispose, ..left }, second], None);
        let frames = frames(&bytes);
        let colours = |raster: &Raster| [0, 2].map(|x| [pixel(raster, x, 1), &[255]].concat()[..4].to_vec());
        assert_eq!(colours(&frames[1].raster), [green, red]);
        assert_eq!(colours(&frames[2].raster), expected);
    }
    let clipped = raster(&samples::gif(4, 2, &[over_the_edge], None));
    let shown: Vec<&[u8]> = clipped.pixels.chunks_exact(4).collect();
    assert_eq!(shown, [none, none, none, none, none, none, none, green]);
}

#[test]
fn short_delays_of_a_gif_count_as_in_browsers() {
    let frames_of = [0, 1, 2, 5, 300].map(|delay| GifFrame {
        delay,
        ..samples::gif_frame(4, 2, 1)
    });
    let delays: Vec<u32> = frames(&samples::gif(4, 2, &frames_of, None))
        .iter()
        .map(|frame| frame.delay)
        .collect();
    assert_eq!(delays, [100, 100, 20, 50, 3_000]);
}

fn webp_frame(rgba: [u8; 4], width: u32) -> WebpFrame {
    let pixels = rgba.repeat(width as usize * 2);
    let picture = Raster {
        width,
        height: 2,
        layout: Layout::Rgba,
        pixels,
    };
    WebpFrame {
        left: 0,
        top: 0,
        picture,
        delay: 40,
        blend: true,
        dispose: false,
    }
}

#[test]
fn frames_of_a_webp_are_blended_and_disposed_of() {
    let red = webp_frame([255, 0, 0, 255], 4);
    let glass = WebpFrame {
        left: 2,
        ..webp_frame([0, 0, 255, 128], 2)
    };
    let put = WebpFrame {
        blend: false,
        ..glass.clone()
    };
    let gone = WebpFrame {
        dispose: true,
        ..glass.clone()
    };
    let bytes = samples::animated_webp(4, 2, 0, &[red, glass.clone(), put, gone, glass]);
    let frames = frames(&bytes);
    let right: Vec<&[u8]> = frames.iter().map(|frame| pixel(&frame.raster, 3, 1)).collect();
    assert_eq!(
        right[..3],
        [[255, 0, 0, 255], [127, 0, 128, 255], [0, 0, 255, 128]]
    );
    assert_eq!(right[3], [0, 0, 255, 192]);
    // Over what the one before has left: nothing.
    assert_eq!(right[4], [0, 0, 255, 128]);
    assert!(
        frames
            .iter()
            .all(|frame| pixel(&frame.raster, 1, 1) == [255, 0, 0, 255] && frame.delay == 40)
    );
}

#[test]
fn a_sequence_of_avif_is_taken_for_its_still() {
    let mut bytes = samples::avif(&samples::picture(40, 24));
    let whole = raster(&bytes);
    bytes[8..12].copy_from_slice(b"avis");
    assert_eq!(raster(&bytes), whole);
}

#[test]
fn data_that_end_early_are_corrupt_in_every_format() {
    for (name, bytes) in samples::one_of_each() {
        for sixteenth in 0..16 {
            let cut = &bytes[..bytes.len() * sixteenth / 16];
            let found = frames_at(cut, WHOLE);
            // What has lost its beginning is not known for what it was.
            let expected = matches!(found, Err(ImageError::Corrupt { .. } | ImageError::Unrecognised));
            assert!(expected, "{name} at {sixteenth}/16: {found:?}");
            assert!(
                sixteenth == 0 || found != Err(ImageError::Unrecognised),
                "{name} at {sixteenth}/16"
            );
        }
    }
}

#[test]
fn what_follows_a_picture_does_not_matter() {
    for (name, bytes) in samples::one_of_each() {
        // Boxes that are none end a file of boxes.
        if name.contains("avif") {
            continue;
        }
        let polyglot = [bytes.as_slice(), b"PK\x03\x04 an archive"].concat();
        assert_eq!(frames(&polyglot), frames(&bytes), "{name}");
    }
}

#[test]
fn pixels_that_are_not_what_the_headers_said_are_corrupt() {
    let limits = Limits::default();
    for (name, bytes) in samples::one_of_each() {
        let told = probe(&bytes, &limits).unwrap();
        for wrong in [
            Probe {
                width: told.width + 1,
                ..told.clone()
            },
            Probe {
                height: told.height - 1,
                ..told.clone()
            },
        ] {
            let frames = open(&bytes, &wrong, WHOLE, &limits);
            let found = frames.and_then(|frames| frames.collect::<Result<Vec<Frame>, ImageError>>());
            if !name.contains("animated webp") {
                assert!(
                    matches!(found, Err(ImageError::Corrupt { .. })),
                    "{name}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn an_animation_has_as_many_frames_as_were_counted() {
    let limits = Limits::default();
    let bytes = samples::gif(4, 2, &[samples::gif_frame(4, 2, 1); 3], None);
    let told = probe(&bytes, &limits).unwrap();
    for frames in [1, 2, 4, 9] {
        let wrong = Probe {
            frames,
            ..told.clone()
        };
        let found: Vec<_> = open(&bytes, &wrong, WHOLE, &limits).unwrap().collect();
        assert!(found.len() <= frames as usize + 1);
        assert_eq!(found.last(), Some(&Err(differs(&told))));
    }
    let few = Limits { frames: 2, ..limits };
    assert!(matches!(
        open(&bytes, &told, WHOLE, &few).err(),
        Some(ImageError::Limit { .. })
    ));
}

#[test]
fn the_decoder_of_jpeg_has_a_limit_of_scans_of_its_own() {
    let limits = Limits::default();
    let bytes = samples::jpeg_with(&samples::picture(40, 24), |jpeg| {
        jpeg.set_progressive(true).unwrap()
    });
    let told = probe(&bytes, &limits).unwrap();
    let few = Limits {
        jpeg_scans: 2,
        ..limits
    };
    let found = open(&bytes, &told, WHOLE, &few).unwrap().next();
    assert!(
        matches!(found, Some(Err(ImageError::Corrupt { format: "JPEG", cause })) if cause.contains("scans"))
    );
}

/// A small generator of numbers (xorshift), so that a failure can be made again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

#[test]
fn no_change_of_bytes_makes_anything_panic() {
    let rounds = std::env::var("AQUATINT_MUTATIONS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(60);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let small = Limits {
        pixels: 1 << 20,
        animation_pixels: 1 << 20,
        ..Limits::default()
    };
    for (_, bytes) in samples::one_of_each() {
        for _ in 0..rounds {
            let mut broken = bytes.clone();
            for _ in 0..1 + random.below(6) {
                let at = random.below(broken.len());
                broken[at] = match random.below(3) {
                    0 => broken[at] ^ (1 << random.below(8)),
                    1 => [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                    _ => random.below(256) as u8,
                };
            }
            let Ok(told) = probe(&broken, &small) else {
                continue;
            };
            let Ok(frames) = open(&broken, &told, WHOLE, &small) else {
                continue;
            };
            let count = frames.filter(Result::is_ok).count();
            assert!(count <= told.frames as usize);
        }
    }
}

#[test]
fn a_tiff_of_one_long_strip_is_decoded() {
    let bytes = vec![7; 2_400 * 2_400 * 3];
    let fields = samples::tiff_fields((2_400, 2_400), None);
    assert_eq!(raster(&samples::tiff_of(&fields, &bytes)).pixels, bytes);
}

#[test]
fn a_tiff_of_tiles_larger_than_itself_is_decoded() {
    let mut fields = samples::tiff_fields((2, 1), None);
    fields.retain(|(tag, _, _)| ![273, 278, 279].contains(tag));
    fields.extend([322, 323].map(|tag| (tag, samples::LONG, vec![16])));
    fields.push((324, samples::LONG, vec![samples::TIFF_DATA]));
    fields.push((325, samples::LONG, vec![16 * 16 * 3]));
    let tile: Vec<u8> = (0..=255).cycle().take(16 * 16 * 3).collect();
    assert_eq!(raster(&samples::tiff_of(&fields, &tile)).pixels, tile[..6]);
}

#[test]
fn a_tiff_that_takes_too_much_memory_is_not_said_to_be_broken() {
    let mut fields = samples::tiff_fields((1, 1), None);
    fields.retain(|(tag, _, _)| *tag != 279);
    fields.push((279, samples::LONG, vec![64 << 20]));
    let found = frames_at(&samples::tiff_of(&fields, &[0; 3]), WHOLE);
    assert!(matches!(found, Err(ImageError::Unsupported { .. })), "{found:?}");
}

#[test]
fn colours_of_a_tiff_that_were_multiplied_by_alpha_are_divided_by_it() {
    let stored = [128, 0, 64, 128, 9, 9, 9, 0];
    let decoded = |meaning| {
        let fields = samples::tiff_fields((2, 1), Some(meaning));
        raster(&samples::tiff_of(&fields, &stored)).pixels
    };
    assert_eq!(decoded(1), [255, 0, 128, 128, 9, 9, 9, 0]);
    assert_eq!(decoded(2), stored);
}

#[test]
fn a_png_may_have_much_metadata() {
    let header = header(8, 0);
    let exif = [samples::exif(1), vec![0; 3 << 20]].concat();
    let bytes = samples::png_of(header, &[(*b"eXIf", exif)], &[0, 7, 9]);
    assert_eq!(raster(&bytes).pixels, [7, 7, 7, 9, 9, 9]);
}

#[test]
fn a_webp_of_more_codes_than_it_uses_is_decoded() {
    assert_eq!(raster(&samples::webp_of_groups(20)).pixels.len(), 8 * 8 * 3);
}
