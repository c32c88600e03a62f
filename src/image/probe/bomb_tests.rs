//! Small files that would have a decoder, or the probe itself, take much memory or time.

use super::*;
use crate::image::samples::{self, LONG, SHORT};
use crate::spec::Spec;

fn probed(bytes: &[u8]) -> Result<Probe, ImageError> {
    probe(bytes, &Limits::default())
}

fn memory(bytes: &[u8]) -> u64 {
    probed(bytes)
        .unwrap()
        .memory_max(&Spec::default(), &Limits::default())
}

/// Of 1 x 1 pixel, in one tile of these sides.
fn tiled(width: u32, height: u32) -> Vec<(u16, u16, Vec<u32>)> {
    let mut fields = samples::tiff_fields((1, 1), None);
    fields.retain(|(tag, _, _)| ![273, 278, 279].contains(tag));
    fields.extend([
        (322, LONG, vec![width]),
        (323, LONG, vec![height]),
        (324, LONG, vec![samples::TIFF_DATA]),
        (325, LONG, vec![3]),
    ]);
    fields
}

fn changed(tag: u16, kind: u16, values: Vec<u32>) -> Vec<u8> {
    let mut fields = samples::tiff_fields((1, 1), None);
    fields.retain(|(known, _, _)| *known != tag);
    fields.push((tag, kind, values));
    samples::tiff_of(&fields, &[0; 3])
}

#[test]
fn a_tile_of_a_tiff_is_not_much_larger_than_its_picture() {
    assert!(probed(&samples::tiff_of(&tiled(1_024, 1_024), &[0; 3])).is_ok());
    for (width, height) in [(60_000_000, 1), (1_025, 16), (16, 1_025), (16, u32::MAX)] {
        let what = "the side of a TIFF's tile";
        let refused = Err(ImageError::Limit {
            what,
            value: width.max(height).into(),
            max: 1_024,
        });
        let file = samples::tiff_of(&tiled(width, height), &[0; 3]);
        assert_eq!(probed(&file), refused);
    }
}

#[test]
fn a_tiff_of_more_than_a_picture_needs_is_refused() {
    assert!(probed(&changed(259, SHORT, vec![5])).is_ok());
    for (tag, values) in [
        (277, vec![5]),
        (258, vec![32; 3]),
        (258, vec![65_535]),
        // A JPEG, whose size is its own.
        (259, vec![7]),
        (259, vec![6]),
    ] {
        let found = probed(&changed(tag, SHORT, values));
        assert!(
            matches!(found, Err(ImageError::Unsupported { .. })),
            "{tag}: {found:?}"
        );
    }
    for tag in [258, 262, 284, 317, 338, 339, 530] {
        let found = probed(&changed(tag, SHORT, vec![1; 17]));
        assert!(
            matches!(found, Err(ImageError::Limit { max: 16, .. })),
            "{tag}: {found:?}"
        );
    }
    for tag in [273, 279, 324, 325] {
        let found = probed(&changed(tag, SHORT, vec![8; 65_537]));
        assert!(
            matches!(found, Err(ImageError::Limit { max: 65_536, .. })),
            "{tag}: {found:?}"
        );
    }
}

#[test]
fn a_tiff_that_can_be_read_in_two_ways_is_refused() {
    let mut twice = tiled(16, 16);
    twice.push((322, LONG, vec![60_000_000]));
    let corrupt = |file: &[u8]| matches!(probed(file), Err(ImageError::Corrupt { .. }));
    assert!(corrupt(&samples::tiff_of(&twice, &[0; 3])));
    // A number of 8 bytes, which is no type of this TIFF's.
    assert!(corrupt(&changed(322, 16, vec![60_000_000])));
    let many: Vec<_> = (1_000..2_025).map(|tag| (tag, SHORT, vec![0])).collect();
    let fields = [samples::tiff_fields((1, 1), None), many].concat();
    assert!(corrupt(&samples::tiff_of(&fields, &[0; 3])));
}

fn avif() -> Vec<u8> {
    samples::avif_of((40, 24), &[], &samples::av1_header(40, 24, 1))
}

fn broken(avif: &[u8]) -> bool {
    probed(avif) == Err(ImageError::corrupt("AVIF", "its boxes are broken or cut off"))
}

#[test]
fn references_of_an_avif_are_bounded_all_together() {
    let to: Vec<u8> = [0, 1].repeat(1_000);
    let section = samples::section(b"auxl", &[&[0, 7, 0x03, 0xe8], to.as_slice()].concat());
    let with = |count| {
        let references = [vec![0; 4], section.repeat(count)].concat();
        samples::with_meta(&avif(), &[samples::section(b"iref", &references)])
    };
    assert!(probed(&with(1)).is_ok());
    assert!(broken(&with(2)));
}

#[test]
fn associations_of_an_avif_are_bounded_all_together() {
    let item = [&[0, 9, 255], [0; 255].as_slice()].concat();
    let associations = [&[0, 0, 0, 0, 0, 0, 0, 8], item.repeat(8).as_slice()].concat();
    let section = samples::section(b"ipma", &associations);
    let with = |count| {
        let properties = samples::section(b"iprp", &section.repeat(count));
        samples::with_meta(&avif(), &[properties])
    };
    assert!(probed(&with(2)).is_ok());
    assert!(broken(&with(3)));
}

#[test]
fn pieces_of_an_avif_are_bounded_all_together() {
    // Numbers of no length, so that a piece takes no byte.
    let item = [0, 9, 0, 0, 0x03, 0xe8];
    let with = |count: u8| {
        let items = [
            &[0, 0, 0, 0, 0, 0, 0, count],
            item.repeat(count.into()).as_slice(),
        ]
        .concat();
        samples::with_meta(&avif(), &[samples::section(b"iloc", &items)])
    };
    assert!(!broken(&with(1)));
    assert!(broken(&with(2)));
}

#[test]
fn layers_of_an_avif_are_no_more_than_a_picture() {
    let layered = |frames| {
        let stream = [samples::av1_header(5_000, 5_000, 1), b"\x32\x01\0".repeat(frames)].concat();
        samples::avif_of((5_000, 5_000), &[], &stream)
    };
    assert!(probed(&layered(3)).is_ok());
    assert_eq!(
        probed(&layered(4)),
        Err(ImageError::Limit {
            what: "the number of pixels of an AVIF's layers",
            value: 75_000_000,
            max: 50_000_000
        })
    );
    assert!(memory(&layered(3)) > 3 * 25_000_000 * 18);
}

#[test]
fn tiles_of_an_avif_count_by_their_own_size() {
    let tile = samples::av1_header(1_024, 1_024, 1);
    let grid = samples::avif_grid((64, 64), (64, 64), &[tile.clone(), tile]);
    assert!(memory(&grid) > 2 * 1_024 * 1_024 * 18);
}

#[test]
fn the_tables_of_a_lossless_webp_count_by_the_bytes_that_make_them() {
    // 5 tables of 1,024 numbers of 4 bytes.
    let groups = 300;
    let tables = u64::from(groups) * 5 * 1_024 * 4;
    let bomb = samples::webp_of_groups(groups);
    assert!(bomb.len() < 20_000);
    assert!(memory(&bomb) > tables);
    let (_, coded) = bomb.split_at(12);
    let place = [0, 0, 0, 0, 0, 0, 7, 0, 0, 7, 0, 0, 1, 0, 0, 0];
    let moving = samples::webp_of(&[
        (*b"VP8X", vec![2, 0, 0, 0, 7, 0, 0, 7, 0, 0]),
        (*b"ANIM", vec![0; 6]),
        (*b"ANMF", [place.as_slice(), coded].concat()),
    ]);
    assert!(memory(&moving) > tables);
    // Transparency too is a lossless picture, unless it is not packed.
    let lossy = |alpha: u8| {
        let coded = samples::webp(&samples::picture(8, 8))[20..].to_vec();
        samples::webp_of(&[
            (*b"VP8X", vec![0x10, 0, 0, 0, 7, 0, 0, 7, 0, 0]),
            (*b"ALPH", [vec![alpha], vec![0; 10_000]].concat()),
            (*b"VP8 ", coded),
        ])
    };
    assert!(memory(&lossy(1)) > memory(&lossy(0)) + 3_000_000);
}

#[test]
fn an_honest_lossless_webp_of_some_hundred_kilobytes_stays_far_below_the_limit() {
    let picture = webp::Picture {
        coding: webp::Coding::Lossless {
            data: &[0; 800_000],
            alpha: true,
        },
        width: 1_000,
        height: 1_000,
    };
    assert!(picture.tables() < 1 << 29);
}
