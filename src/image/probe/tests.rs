//! What is told of bytes, and which are refused.

use super::*;
use crate::base::units::ByteSize;
use crate::image::raster::Raster;
use crate::image::samples::{self, GifFrame, PngHeader, WebpFrame};
use crate::spec::{Fit, Size, Spec};

fn probed(bytes: &[u8]) -> Result<Probe, ImageError> {
    probe(bytes, &Limits::default())
}

fn plain(kind: Kind, width: u32, height: u32) -> Probe {
    Probe::still(kind, width, height, &Limits::default()).unwrap()
}

fn grey_png(width: u32, height: u32) -> Vec<u8> {
    let header = PngHeader {
        width,
        height,
        depth: 8,
        colours: 0,
        interlaced: false,
    };
    samples::png_of(header, &[], &[0, 0])
}

/// Overwrites `bytes` at the first place after `pattern`.
fn put_after(bytes: &mut [u8], pattern: &[u8], skipped: usize, new: &[u8]) {
    let at = bytes
        .windows(pattern.len())
        .position(|window| window == pattern)
        .unwrap();
    let at = at + pattern.len() + skipped;
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn opaque() -> Raster {
    samples::picture(40, 24)
}

#[test]
fn each_format_is_told_by_its_bytes_with_its_size_and_alpha() {
    let clear = samples::transparent(40, 24);
    for (bytes, kind, alpha) in [
        (samples::jpeg(&opaque()), Kind::Jpeg, false),
        (samples::png(&opaque()), Kind::Png, false),
        (samples::png(&clear), Kind::Png, true),
        (samples::webp(&opaque()), Kind::Webp, false),
        (samples::webp(&clear), Kind::Webp, true),
        (samples::lossless_webp(&opaque()), Kind::Webp, false),
        (samples::lossless_webp(&clear), Kind::Webp, true),
        (samples::avif(&opaque()), Kind::Avif, false),
        (samples::avif(&clear), Kind::Avif, true),
        (samples::bmp(&opaque()), Kind::Bmp, false),
        (samples::tiff(&opaque()), Kind::Tiff, false),
        (samples::tiff(&clear), Kind::Tiff, true),
    ] {
        let found = probed(&bytes).unwrap();
        let expected = Probe {
            alpha,
            working_bytes: found.working_bytes,
            ..plain(kind, 40, 24)
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn what_a_jpeg_is_stands_before_its_first_scan() {
    let progressive = samples::jpeg_with(&opaque(), |jpeg| jpeg.set_progressive(true).unwrap());
    let grey = samples::jpeg_with(&opaque(), |jpeg| {
        jpeg.set_subsamp(turbojpeg::Subsamp::Gray).unwrap()
    });
    let inked = samples::jpeg(&samples::inked(40, 24));
    assert!(probed(&progressive).unwrap().progressive);
    assert_eq!(probed(&grey).unwrap().colours, Colours::Grey);
    assert_eq!(probed(&inked).unwrap().colours, Colours::Cmyk);
    for (process, depth, components) in [(0xc3, 8, 3), (0xc0, 12, 3), (0xc0, 8, 2)] {
        let mut jpeg = samples::jpeg(&opaque());
        put_after(&mut jpeg, b"\xff\xc0\0\x11", 0, &[depth]);
        put_after(&mut jpeg, b"\xff\xc0\0\x11", 5, &[components]);
        let at = jpeg.windows(2).position(|window| window == b"\xff\xc0").unwrap();
        jpeg[at + 1] = process;
        assert!(matches!(probed(&jpeg), Err(ImageError::Unsupported { .. })));
    }
}

#[test]
fn kinds_of_png_are_told_by_its_header() {
    for (depth, colours, chunks, told, alpha) in [
        (16, 2, vec![], Colours::Rgb, false),
        (8, 4, vec![], Colours::Grey, true),
        (1, 0, vec![], Colours::Grey, false),
        (8, 0, vec![(*b"tRNS", vec![0, 7])], Colours::Grey, true),
        (4, 3, vec![(*b"PLTE", vec![1, 2, 3])], Colours::Palette, false),
        (
            4,
            3,
            vec![(*b"PLTE", vec![1, 2, 3]), (*b"tRNS", vec![9])],
            Colours::Palette,
            true,
        ),
    ] {
        let header = PngHeader {
            width: 1,
            height: 1,
            depth,
            colours,
            interlaced: true,
        };
        let expected = Probe {
            depth,
            colours: told,
            alpha,
            progressive: true,
            ..plain(Kind::Png, 1, 1)
        };
        assert_eq!(probed(&samples::png_of(header, &chunks, &[0; 9])), Ok(expected));
    }
}

#[test]
fn orientation_and_notices_are_read_wherever_a_format_has_them() {
    let turn = metadata::turn_of(7);
    let exif = samples::exif(7);
    let png = |chunks: &[_]| {
        let header = PngHeader {
            width: 1,
            height: 1,
            depth: 8,
            colours: 0,
            interlaced: false,
        };
        samples::png_of(header, chunks, &[0, 0])
    };
    for bytes in [
        samples::with_jpeg_exif(&samples::jpeg(&opaque()), 7),
        png(&[(*b"eXIf", exif.clone())]),
        samples::webp_with(&opaque(), &[(*b"EXIF", exif.clone())]),
        samples::webp_with(&opaque(), &[(*b"EXIF", [b"Exif\0\0".as_slice(), &exif].concat())]),
    ] {
        let probe = probed(&bytes).unwrap();
        assert_eq!((probe.turn, probe.copyright.as_deref()), (turn, Some("(c) Anna")));
        assert_eq!(probe.artist.as_deref(), Some("Anna"));
    }
    let text = probed(&png(&[(*b"tEXt", b"Copyright\0(c) Ben".to_vec())])).unwrap();
    assert_eq!(
        (text.turn, text.copyright.as_deref()),
        (Turn::default(), Some("(c) Ben"))
    );
}

#[test]
fn metadata_that_is_broken_is_none() {
    let exif = samples::exif(6);
    for length in 0..exif.len() {
        for (at, value) in [(4, 0xff), (7, 0xff), (8, 0xff), (14, 0xff), (18, 0xff)] {
            let mut broken = exif[..length].to_vec();
            if let Some(byte) = broken.get_mut(at) {
                *byte = value;
            }
            let jpeg = samples::with_segment(
                &samples::jpeg(&opaque()),
                0xe1,
                &[b"Exif\0\0".as_slice(), &broken].concat(),
            );
            assert!(probed(&jpeg).is_ok());
        }
    }
}

#[test]
fn a_profile_is_joined_and_inflated() {
    let profile = samples::profile();
    let header = PngHeader {
        width: 1,
        height: 1,
        depth: 8,
        colours: 0,
        interlaced: false,
    };
    for bytes in [
        samples::with_jpeg_profile(&samples::jpeg(&opaque()), &profile, 100),
        samples::with_jpeg_profile(&samples::jpeg(&opaque()), &profile, 60_000),
        samples::png_of(header, &[(*b"iCCP", samples::png_profile(&profile))], &[0, 0]),
        samples::webp_with(&opaque(), &[(*b"ICCP", profile.clone())]),
    ] {
        assert_eq!(probed(&bytes).unwrap().profile.as_ref(), Some(&profile));
    }
}

#[test]
fn a_profile_that_is_none_or_lacks_a_piece_is_left_out() {
    let jpeg = samples::jpeg(&opaque());
    let piece = |number, count, bytes: &[u8]| [b"ICC_PROFILE\0".as_slice(), &[number, count], bytes].concat();
    let profile = samples::profile();
    let header = PngHeader {
        width: 1,
        height: 1,
        depth: 8,
        colours: 0,
        interlaced: false,
    };
    for bytes in [
        samples::with_segment(&jpeg, 0xe2, &piece(1, 2, &profile)),
        samples::with_segment(&jpeg, 0xe2, &piece(0, 1, &profile)),
        samples::with_segment(
            &samples::with_segment(&jpeg, 0xe2, &piece(1, 2, &profile)),
            0xe2,
            &piece(1, 2, b""),
        ),
        samples::with_segment(&jpeg, 0xe2, &piece(1, 1, &[b'x'; 200])),
        samples::with_segment(&jpeg, 0xe2, &piece(1, 1, &profile[..130])),
        samples::png_of(
            header,
            &[(*b"iCCP", b"name\0\0nothing deflated".to_vec())],
            &[0, 0],
        ),
        samples::png_of(header, &[(*b"iCCP", b"name".to_vec())], &[0, 0]),
    ] {
        assert_eq!(probed(&bytes).unwrap().profile, None);
    }
}

#[test]
fn a_huge_profile_is_refused_and_not_inflated() {
    let limits = Limits {
        profile_bytes: ByteSize::kib(64),
        ..Limits::default()
    };
    let refused = |value| {
        let what = "the colour profile's size in bytes";
        Err(ImageError::Limit {
            what,
            value,
            max: 64 << 10,
        })
    };
    let header = PngHeader {
        width: 1,
        height: 1,
        depth: 8,
        colours: 0,
        interlaced: false,
    };
    let bomb = samples::png_of(
        header,
        &[(*b"iCCP", samples::png_profile(&vec![0; 32 << 20]))],
        &[0, 0],
    );
    assert_eq!(probe(&bomb, &limits), refused((64 << 10) + 1));
    let pieces = samples::with_jpeg_profile(&samples::jpeg(&opaque()), &[0; 100_000], 1_000);
    assert_eq!(probe(&pieces, &limits), refused(100_000));
    let webp = samples::webp_with(&opaque(), &[(*b"ICCP", vec![0; 100_000])]);
    assert_eq!(probe(&webp, &limits), refused(100_000));
}

#[test]
fn frames_and_loops_of_a_gif_are_counted() {
    let frames: Vec<GifFrame> = (0..3).map(|index| samples::gif_frame(8, 4, index)).collect();
    let expected = Probe {
        colours: Colours::Palette,
        frames: 3,
        ..plain(Kind::Gif, 8, 4)
    };
    for (repeat, loops) in [
        (None, 1),
        (Some(::gif::Repeat::Infinite), 0),
        (Some(::gif::Repeat::Finite(2)), 3),
    ] {
        let bytes = samples::gif(8, 4, &frames, repeat);
        assert_eq!(
            probed(&bytes),
            Ok(Probe {
                loops,
                ..expected.clone()
            })
        );
    }
}

#[test]
fn a_gif_has_alpha_where_its_canvas_may_show_through() {
    use ::gif::DisposalMethod::{Background, Previous};
    let whole = samples::gif_frame(8, 4, 1);
    let part = GifFrame { width: 4, ..whole };
    let clear = GifFrame {
        transparent: Some(2),
        ..whole
    };
    for (frames, alpha) in [
        (vec![whole, part, clear], false),
        (vec![part, whole], true),
        (vec![clear, whole], true),
        (
            vec![
                whole,
                GifFrame {
                    dispose: Background,
                    ..part
                },
                whole,
            ],
            true,
        ),
        (
            vec![
                whole,
                GifFrame {
                    dispose: Previous,
                    ..part
                },
                whole,
            ],
            false,
        ),
        (
            vec![
                GifFrame {
                    dispose: Previous,
                    ..whole
                },
                part,
            ],
            true,
        ),
    ] {
        assert_eq!(probed(&samples::gif(8, 4, &frames, None)).unwrap().alpha, alpha);
    }
}

#[test]
fn frames_and_loops_of_a_webp_are_counted() {
    let picture = samples::transparent(8, 4);
    let frame = WebpFrame {
        left: 0,
        top: 0,
        picture,
        delay: 40,
        blend: true,
        dispose: false,
    };
    let bytes = samples::animated_webp(8, 4, 5, &[frame.clone(), frame.clone()]);
    let found = probed(&bytes).unwrap();
    assert_eq!((found.width, found.height, found.alpha), (8, 4, true));
    assert_eq!((found.frames, found.loops), (2, 5));
    let outside = WebpFrame { left: 2, ..frame };
    let bytes = samples::animated_webp(8, 4, 5, &[outside]);
    assert_eq!(
        probed(&bytes),
        Err(ImageError::corrupt("WebP", "a frame lies outside the canvas"))
    );
}

#[test]
fn an_avif_is_turned_by_its_boxes() {
    let header = samples::av1_header(40, 24, 1);
    let turned = |properties: &[Vec<u8>]| {
        probed(&samples::avif_of((40, 24), properties, &header))
            .unwrap()
            .turn
    };
    let rotation = |quarters| samples::section(b"irot", &[quarters]);
    let mirror = |axis| samples::section(b"imir", &[axis]);
    assert_eq!(turned(&[]), Turn::default());
    assert_eq!(
        turned(&[rotation(1)]),
        Turn {
            mirrored: false,
            quarters: 3
        }
    );
    assert_eq!(
        turned(&[rotation(3)]),
        Turn {
            mirrored: false,
            quarters: 1
        }
    );
    assert_eq!(
        turned(&[mirror(1)]),
        Turn {
            mirrored: true,
            quarters: 0
        }
    );
    assert_eq!(
        turned(&[mirror(0)]),
        Turn {
            mirrored: true,
            quarters: 2
        }
    );
    // A quarter anticlockwise, then left and right swapped: that is EXIF's 7.
    assert_eq!(turned(&[rotation(1), mirror(1)]), metadata::turn_of(7));
    assert_eq!(turned(&[rotation(1), mirror(0)]), metadata::turn_of(5));
}

#[test]
fn an_avif_whose_colours_the_decoder_does_not_convert_is_refused() {
    let of = |matrix, properties: &[Vec<u8>]| {
        probed(&samples::avif_of(
            (40, 24),
            properties,
            &samples::av1_header(40, 24, matrix),
        ))
    };
    let refused = Err(ImageError::Unsupported {
        what: "an AVIF of these matrix coefficients",
    });
    let boxed = |matrix, range| {
        samples::section(
            b"colr",
            &[b"nclx\0\x01\0\x0d\0".as_slice(), &[matrix, range]].concat(),
        )
    };
    for matrix in [0, 3, 8, 10, 11, 13, 14, 15, 255] {
        assert_eq!(of(matrix, &[]), refused, "{matrix}");
        assert_eq!(of(1, &[boxed(matrix, 0)]), refused, "{matrix}");
    }
    for matrix in [1, 2, 4, 5, 6, 7, 9, 12] {
        assert_eq!(of(matrix, &[]), Ok(plain(Kind::Avif, 40, 24)));
    }
    // What the boxes say comes first.
    assert_eq!(of(14, &[boxed(6, 0)]), Ok(plain(Kind::Avif, 40, 24)));
    assert_eq!(of(1, &[boxed(8, 0x80)]), Ok(plain(Kind::Avif, 40, 24)));
}

#[test]
fn a_bitstream_larger_than_its_picture_is_refused() {
    let of = |width, height| {
        probed(&samples::avif_of(
            (40, 24),
            &[],
            &samples::av1_header(width, height, 1),
        ))
    };
    let refused = Err(ImageError::corrupt(
        "AVIF",
        "a bitstream is larger than the picture",
    ));
    assert_eq!(of(40, 24), Ok(plain(Kind::Avif, 40, 24)));
    assert_eq!(of(16_384, 24), refused);
    assert_eq!(of(40, 25), refused);
    // Whichever of its headers says so.
    let two = [samples::av1_header(40, 24, 1), samples::av1_header(9_999, 24, 1)].concat();
    assert!(probed(&samples::avif_of((40, 24), &[], &two)).is_err());
}

#[test]
fn the_tiles_of_a_grid_are_no_more_than_its_picture_needs() {
    let tile = |side| samples::av1_header(side, side, 1);
    let of = |own, tiles: &[Vec<u8>]| probed(&samples::avif_grid((500, 900), own, tiles));
    let refused = |cause| Err(ImageError::corrupt("AVIF", cause));
    let found = of((500, 900), &[tile(512), tile(512)]).unwrap();
    assert_eq!((found.width, found.height), (500, 900));
    assert_eq!(
        of((500, 901), &[tile(512), tile(512)]),
        refused("a grid is larger than the picture")
    );
    assert_eq!(
        of((500, 900), &[tile(1_025)]),
        refused("a bitstream is larger than the picture")
    );
    let many = vec![tile(1_024); 20];
    assert_eq!(
        of((500, 900), &many),
        refused("its tiles are more than the picture")
    );
}

#[test]
fn frames_of_a_still_bitstream_are_counted() {
    let many = [samples::av1_header(40, 24, 1), b"\x32\x01\0".repeat(1_000)].concat();
    let what = "the number of frames of an AVIF's item";
    let refused = Err(ImageError::Limit {
        what,
        value: 1_000,
        max: 16,
    });
    assert_eq!(probed(&samples::avif_of((40, 24), &[], &many)), refused);
}

#[test]
fn sizes_are_refused_by_the_header_alone() {
    let pixels = |value| ImageError::Limit {
        what: "the source's number of pixels",
        value,
        max: 50_000_000,
    };
    let side = |value| ImageError::Limit {
        what: "the source's longer side",
        value,
        max: 16_384,
    };
    assert_eq!(probed(&grey_png(65_536, 65_536)), Err(side(65_536)));
    assert_eq!(probed(&grey_png(16_384, 16_384)), Err(pixels(268_435_456)));
    assert_eq!(probed(&grey_png(u32::MAX, u32::MAX)), Err(side(u32::MAX.into())));

    let mut jpeg = samples::jpeg(&opaque());
    put_after(&mut jpeg, b"\xff\xc0\0\x11\x08", 0, &[0x41, 0x10, 0x41, 0x10]);
    assert_eq!(probed(&jpeg), Err(side(0x4110)));
    put_after(&mut jpeg, b"\xff\xc0\0\x11\x08", 0, &[0x3f, 0xff, 0x3f, 0xff]);
    assert_eq!(probed(&jpeg), Err(pixels(16_383 * 16_383)));

    let mut avif = samples::avif(&opaque());
    put_after(
        &mut avif,
        b"ispe\0\0\0\0",
        0,
        &[0, 0, 0x42, 0x68, 0, 0, 0x42, 0x68],
    );
    assert_eq!(probed(&avif), Err(side(17_000)));

    let mut webp = samples::webp_with(&opaque(), &[]);
    put_after(&mut webp, b"VP8X", 8, &[0xff; 6]);
    assert_eq!(probed(&webp), Err(side(1 << 24)));

    let mut gif = samples::gif_of(&opaque());
    gif[6..10].copy_from_slice(&[0xff; 4]);
    assert_eq!(probed(&gif), Err(side(65_535)));

    let mut bmp = samples::bmp(&opaque());
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80]);
    assert_eq!(probed(&bmp), Err(side(1 << 31)));
}

#[test]
fn a_side_of_0_is_no_picture() {
    let mut jpeg = samples::jpeg(&opaque());
    put_after(&mut jpeg, b"\xff\xc0\0\x11\x08", 0, &[0, 0]);
    let mut gif = samples::gif_of(&opaque());
    gif[6..8].copy_from_slice(&[0, 0]);
    for (bytes, format) in [(jpeg, "JPEG"), (gif, "GIF"), (grey_png(0, 7), "PNG")] {
        assert_eq!(probed(&bytes), Err(ImageError::corrupt(format, "a side is 0")));
    }
}

#[test]
fn too_many_frames_are_counted_no_further_than_the_limit() {
    let frames = vec![samples::gif_frame(1, 1, 1); 5_000];
    let what = "the animation's number of frames";
    let refused = Err(ImageError::Limit {
        what,
        value: 101,
        max: 100,
    });
    assert_eq!(probed(&samples::gif(1, 1, &frames, None)), refused);
    // What comes after is not looked at.
    let mut cut = samples::gif(1, 1, &frames, None);
    cut.truncate(cut.len() / 2);
    assert_eq!(probed(&cut), refused);
    let picture = samples::picture(1, 1);
    let frame = WebpFrame {
        left: 0,
        top: 0,
        picture,
        delay: 1,
        blend: false,
        dispose: false,
    };
    assert_eq!(
        probed(&samples::animated_webp(1, 1, 0, &vec![frame; 300])),
        refused
    );

    let limits = Limits {
        animation_pixels: 100,
        ..Limits::default()
    };
    let frames = vec![samples::gif_frame(8, 4, 1); 9];
    let what = "the number of pixels of all frames";
    let bytes = samples::gif(8, 4, &frames, None);
    assert_eq!(
        probe(&bytes, &limits),
        Err(ImageError::Limit {
            what,
            value: 128,
            max: 100
        })
    );
}

#[test]
fn a_frame_larger_than_its_canvas_is_refused() {
    let bytes = samples::gif(8, 4, &[samples::gif_frame(9, 4, 1)], None);
    assert_eq!(
        probed(&bytes),
        Err(ImageError::corrupt("GIF", "a frame is larger than the canvas"))
    );
}

#[test]
fn scans_are_counted_no_further_than_the_limit() {
    let mut jpeg = samples::jpeg_with(&opaque(), |jpeg| jpeg.set_progressive(true).unwrap());
    assert!(probed(&jpeg).is_ok());
    jpeg.truncate(jpeg.len() - 2);
    for _ in 0..500 {
        jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x55, 0xff, 0, 0x55]);
    }
    jpeg.extend([0xff, 0xd9]);
    let what = "the JPEG's number of scans";
    assert_eq!(
        probed(&jpeg),
        Err(ImageError::Limit {
            what,
            value: 65,
            max: 64
        })
    );
}

#[test]
fn a_jpeg_of_nothing_but_segments_is_refused() {
    let jpeg = [b"\xff\xd8".as_slice(), &b"\xff\xfe\0\x02".repeat(100_000)].concat();
    let what = "the number of segments before the JPEG's first scan";
    assert_eq!(
        probed(&jpeg),
        Err(ImageError::Limit {
            what,
            value: 4_097,
            max: 4_096
        })
    );
}

#[test]
fn a_file_that_is_too_large_is_not_looked_at() {
    let limits = Limits {
        source_bytes: ByteSize::kib(1),
        ..Limits::default()
    };
    let what = "the source's size in bytes";
    assert_eq!(
        probe(&[0; 1_025], &limits),
        Err(ImageError::Limit {
            what,
            value: 1_025,
            max: 1_024
        })
    );
}

#[test]
fn what_else_is_in_a_file_does_not_make_it_an_image() {
    let script = b"GIF89a/*\x01\0\0\0\0*/=1;alert(document.cookie);//".as_slice();
    assert!(matches!(
        probed(script),
        Err(ImageError::Corrupt { format: "GIF", .. })
    ));
    assert_eq!(probed(b""), Err(ImageError::Unrecognised));
    assert_eq!(
        probed(b"PK\x03\x04 and then \xff\xd8\xff"),
        Err(ImageError::Unrecognised)
    );
}

#[test]
fn memory_is_estimated_from_what_is_made_and_what_is_decoded() {
    let limits = Limits {
        output_side: 16_383,
        output_pixels: u64::MAX,
        ..Limits::default()
    };
    let photo = Probe::still(Kind::Jpeg, 4_000, 3_000, &limits).unwrap();
    let sized = |width, height, fit, enlarge| Spec {
        size: Some(Size {
            width,
            height,
            fit,
            enlarge,
        }),
        ..Spec::default()
    };
    let small = sized(Some(800), None, Fit::Within, false);
    let whole = photo.memory_max(&Spec::default(), &limits);
    assert!(photo.memory_max(&small, &limits) < whole);
    let progressive = Probe {
        progressive: true,
        ..photo.clone()
    };
    assert!(progressive.memory_max(&small, &limits) >= 4_000 * 3_000 * 6);
    // A smaller picture is not made larger unless that is asked for.
    let wide = sized(Some(16_000), None, Fit::Within, false);
    assert_eq!(photo.memory_max(&wide, &limits), whole);
    assert!(photo.memory_max(&sized(Some(16_000), None, Fit::Within, true), &limits) > 16_000 * 12_000 * 16);
    assert!(
        photo.memory_max(&sized(Some(9_000), Some(9_000), Fit::Pad, false), &limits) > 9_000 * 9_000 * 16
    );
    let many = Probe {
        frames: 50,
        ..Probe::still(Kind::Gif, 1_000, 1_000, &limits).unwrap()
    };
    assert!(many.memory_max(&Spec::default(), &limits) > 50 * 4_000_000);
}

#[test]
fn the_estimate_of_memory_does_not_overflow() {
    let limits = Limits {
        side: u32::MAX,
        pixels: u64::MAX,
        output_side: 16_383,
        output_pixels: u64::MAX,
        ..Limits::default()
    };
    let largest = Probe::still(Kind::Avif, 16_384, 16_384, &limits).unwrap();
    let spec = Spec {
        size: Some(Size {
            width: Some(u32::MAX),
            height: Some(u32::MAX),
            fit: Fit::Pad,
            enlarge: true,
        }),
        ..Spec::default()
    };
    assert!(largest.memory_max(&spec, &limits) > 1 << 33);
}

#[test]
fn a_grid_is_transparent_where_its_tiles_are() {
    let tile = samples::av1_header(64, 64, 1);
    let grid = samples::avif_grid((64, 64), (64, 64), &[tile.clone(), tile]);
    assert!(!probed(&grid).unwrap().alpha);
    // The second of its items is the picture's tile, the third that tile's transparency.
    let name = b"\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0";
    let size = [0u32, 64, 64].map(u32::to_be_bytes).concat();
    let all = [samples::section(b"ispe", &size), samples::section(b"auxC", name)].concat();
    let properties = [
        samples::section(b"ipco", &all),
        samples::section(b"ipma", b"\0\0\0\0\0\0\0\x01\0\x03\x01\x02"),
    ];
    let references = [
        vec![0; 4],
        samples::section(b"dimg", &[0, 1, 0, 1, 0, 2]),
        samples::section(b"auxl", &[0, 3, 0, 1, 0, 2]),
    ];
    let boxes = [
        samples::section(b"iprp", &properties.concat()),
        samples::section(b"iref", &references.concat()),
    ];
    assert!(probed(&samples::with_meta(&grid, &boxes)).unwrap().alpha);
}

/// The boxes and chunks that say what colours are: an AVIF's, its bitstream's, and a PNG's.
fn coloured(primaries: u8, transfer: u8) -> [Vec<u8>; 3] {
    let content = [b"nclx\0".as_slice(), &[primaries, 0, transfer, 0, 1, 0x80]].concat();
    let boxed = samples::section(b"colr", &content);
    let coded = samples::av1_header_of(40, 24, [primaries, transfer, 1]);
    let header = PngHeader {
        width: 1,
        height: 1,
        depth: 8,
        colours: 2,
        interlaced: false,
    };
    let chunk = (*b"cICP", vec![primaries, transfer, 0, 1]);
    [
        samples::avif_of((40, 24), &[boxed], &samples::av1_header(40, 24, 1)),
        samples::avif_of((40, 24), &[], &coded),
        samples::png_of(header, &[chunk], &[0; 4]),
    ]
}

#[test]
fn colours_that_are_told_by_numbers_have_a_profile() {
    let p3 = moxcms::ColorProfile::new_display_p3();
    for file in coloured(12, 13) {
        let profile = probed(&file).unwrap().profile.unwrap();
        let found = moxcms::ColorProfile::new_from_slice(&profile).unwrap();
        let near = |one: f64, other: f64| (one - other).abs() < 0.002;
        assert!(near(found.red_colorant.x, p3.red_colorant.x));
        assert!(near(found.green_colorant.y, p3.green_colorant.y));
        assert!(near(found.blue_colorant.z, p3.blue_colorant.z));
    }
    for (primaries, transfer) in [(1, 13), (2, 2), (1, 1), (2, 6), (0, 13), (255, 13), (12, 255)] {
        for file in coloured(primaries, transfer) {
            assert_eq!(probed(&file).unwrap().profile, None, "{primaries}, {transfer}");
        }
    }
    for transfer in [16, 18] {
        let refused = Err(ImageError::Unsupported {
            what: "a picture of high dynamic range",
        });
        for file in coloured(9, transfer) {
            assert_eq!(probed(&file), refused);
        }
    }
}

#[test]
fn the_numbers_of_a_png_come_before_its_profile() {
    let header = PngHeader {
        width: 1,
        height: 1,
        depth: 8,
        colours: 2,
        interlaced: false,
    };
    let profile = (*b"iCCP", samples::png_profile(&samples::profile()));
    let numbers = (*b"cICP", vec![1, 13, 0, 1]);
    for chunks in [[profile.clone(), numbers.clone()], [numbers, profile]] {
        let file = samples::png_of(header, &chunks, &[0; 4]);
        assert_eq!(probed(&file).unwrap().profile, None);
    }
}
