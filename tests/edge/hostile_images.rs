//! Files that are broken, lie, or are made to cost: a clear answer, in bounded time and memory, and the edge stays.

use crate::support::image::{Image, Kind, animated_gif, jpeg_with, png_chunk, turning, with_segment};
use crate::support::{Answer, Edge, Origin, Reply, Setup, picture};

const GOOD: &str = "/good.png";

fn sample() -> Image {
    Image::sample(48, 32)
}

struct Hostile {
    name: &'static str,
    media_type: &'static str,
    bytes: Vec<u8>,
}

fn hostile(name: &'static str, media_type: &'static str, bytes: Vec<u8>) -> Hostile {
    Hostile {
        name,
        media_type,
        bytes,
    }
}

/// Cut in the middle.
fn truncated() -> Vec<Hostile> {
    let names = [
        "half a JPEG",
        "half a PNG",
        "half a GIF",
        "half a WebP",
        "half an AVIF",
        "half a BMP",
        "half a TIFF",
    ];
    let types = [
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/webp",
        "image/avif",
        "image/bmp",
        "image/tiff",
    ];
    let files = Kind::ALL.map(|kind| {
        let mut file = kind.encode(&sample());
        file.truncate(file.len() / 2);
        file
    });
    let named = names.into_iter().zip(types).zip(files);
    named
        .map(|((name, media_type), file)| hostile(name, media_type, file))
        .collect()
}

/// All that can not be made anything of.
fn hopeless() -> Vec<Hostile> {
    let mut all = truncated();
    all.extend([
        hostile("nothing at all", "image/jpeg", Vec::new()),
        hostile("random bytes", "image/jpeg", picture(66, 10_000)),
        hostile(
            "a page",
            "image/png",
            b"<!doctype html><script>alert(1)</script>".to_vec(),
        ),
        hostile("a JPEG's start", "image/jpeg", b"\xFF\xD8\xFF\xE0".to_vec()),
        hostile("a GIF's start", "image/gif", b"GIF89a".to_vec()),
        hostile("a huge PNG", "image/png", png_header(65_536, 65_536)),
        hostile("a PNG without sides", "image/png", png_header(0, 0)),
        hostile("a JPEG of 280 megapixels", "image/jpeg", jpeg_of(20_000, 14_000)),
        hostile("a JPEG without height", "image/jpeg", jpeg_of(48, 0)),
        hostile("a GIF of many frames", "image/gif", long_gif(3000)),
        hostile("a huge GIF", "image/gif", huge_gif()),
        hostile("a huge AVIF", "image/avif", huge_avif()),
        hostile("a huge WebP", "image/webp", huge_webp()),
        hostile("a huge TIFF", "image/tiff", huge_tiff()),
        hostile("a TIFF that goes in circles", "image/tiff", circular_tiff()),
        hostile("a JPEG of many scans", "image/jpeg", jpeg_of_scans(200)),
        hostile("a page behind a GIF's first bytes", "image/gif", polyglot()),
    ]);
    all
}

/// Header and an IDAT of nothing.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = [&sides[..], &[8, 6, 0, 0, 0]].concat();
    let chunks = [
        png_chunk(b"IHDR", &header),
        png_chunk(b"IDAT", &[0x78, 0x9C, 0x03, 0, 0, 0, 0, 1]),
        png_chunk(b"IEND", &[]),
    ];
    [b"\x89PNG\r\n\x1A\n".to_vec(), chunks.concat()].concat()
}

/// Where a marker's segment starts.
fn marker_at(jpeg: &[u8], marker: u8) -> usize {
    let at = jpeg.windows(2).position(|pair| pair == [0xFF, marker]);
    at.expect("it has such a segment")
}

/// A small JPEG that says it is larger.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg_with(&sample(), |_| ());
    // Marker, length, depth, then height and width.
    let sides = marker_at(&jpeg, 0xC0) + 5;
    jpeg[sides..sides + 2].copy_from_slice(&height.to_be_bytes());
    jpeg[sides + 2..sides + 4].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// A progressive JPEG whose last scan comes again and again.
fn jpeg_of_scans(scans: usize) -> Vec<u8> {
    let jpeg = jpeg_with(&sample(), |compressor| compressor.set_progressive(true).unwrap());
    let last = jpeg.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let end = jpeg.len() - 2;
    [&jpeg[..end], &jpeg[last..end].repeat(scans), &jpeg[end..]].concat()
}

fn long_gif(frames: usize) -> Vec<u8> {
    let frame = (Image::plain(8, 8, [1, 2, 3, 255]), 10);
    animated_gif(&vec![frame; frames])
}

/// Its screen is as large as a GIF's can be.
fn huge_gif() -> Vec<u8> {
    let mut gif = animated_gif(&turning(8, &[10, 10]));
    gif[6..10].fill(0xFF);
    gif
}

/// A small AVIF whose container says it is larger.
fn huge_avif() -> Vec<u8> {
    let mut avif = Kind::Avif.encode(&sample());
    let sides = avif.windows(4).position(|name| name == b"ispe").unwrap() + 8;
    avif[sides..sides + 8].copy_from_slice(&[17_000u32.to_be_bytes(), 17_000u32.to_be_bytes()].concat());
    avif
}

/// An extended header that says it is as large as can be.
fn huge_webp() -> Vec<u8> {
    let still = crate::support::image::lossless_webp(&sample());
    let extended = [&b"VP8X\x0A\0\0\0\x10\0\0\0"[..], &[0xFF; 6], &still[12..]].concat();
    let length = (extended.len() as u32 + 4).to_le_bytes();
    [b"RIFF", &length[..], b"WEBP", &extended].concat()
}

/// Where a tag's value stands.
fn tiff_value_at(tiff: &[u8], tag: u16) -> usize {
    let field = tiff[10..]
        .chunks(12)
        .position(|field| field[..2] == tag.to_le_bytes());
    10 + field.unwrap() * 12 + 8
}

fn huge_tiff() -> Vec<u8> {
    let mut tiff = Kind::Tiff.encode(&sample());
    for tag in [256, 257] {
        let at = tiff_value_at(&tiff, tag);
        tiff[at..at + 4].copy_from_slice(&60_000u32.to_le_bytes());
    }
    tiff
}

/// Its first directory is also its next one, and its strip lies outside.
fn circular_tiff() -> Vec<u8> {
    let mut tiff = Kind::Tiff.encode(&sample());
    let fields = usize::from(u16::from_le_bytes([tiff[8], tiff[9]]));
    let next = 10 + fields * 12;
    tiff[next..next + 4].copy_from_slice(&8u32.to_le_bytes());
    let strip = tiff_value_at(&tiff, 273);
    tiff[strip..strip + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    tiff
}

fn polyglot() -> Vec<u8> {
    b"GIF89a/*\x00\x00\x00*/=1;alert(document.domain);<script>alert(1)</script>".to_vec()
}

/// An edge before all of these, and one good picture.
fn before(files: &[Hostile], route: &str) -> (Origin, Setup) {
    let origin = Origin::with(GOOD, Reply::fresh(Kind::Png.encode(&sample())));
    for (number, file) in files.iter().enumerate() {
        let reply = Reply::fresh(file.bytes.clone()).header("content-type", file.media_type);
        origin.set(&format!("/{number}"), reply);
    }
    let setup = Setup::transforming(&origin, &format!("sizes: [], {route}"));
    (origin, setup)
}

#[track_caller]
fn expect_well(edge: &Edge, after: &str) {
    let good = edge.get(&format!("{GOOD}?w=24&fm=webp"));
    assert_eq!(good.picture().size(), (24, 16), "after {after}");
}

/// What each of these is answered by a route.
fn expect_each(route: &str, expect: impl Fn(&Hostile, &Answer)) {
    let files = hopeless();
    let (_origin, setup) = before(&files, route);
    let edge = setup.start();
    for (number, file) in files.iter().enumerate() {
        let answer = edge.get(&format!("/{number}?w=24&fm=png"));
        expect(file, &answer);
        assert_eq!(answer.said("x-content-type-options"), "nosniff", "{}", file.name);
        expect_well(&edge, file.name);
    }
}

#[test]
fn what_can_not_be_decoded_is_passed_on_as_it_is() {
    expect_each("", |file, answer| {
        assert_eq!(answer.status, 200, "{}: {answer:?}", file.name);
        assert!(answer.body == file.bytes, "{}: {answer:?}", file.name);
        assert_eq!(answer.said("content-type"), file.media_type, "{}", file.name);
    });
}

#[test]
fn what_can_not_be_decoded_is_replaced_where_the_route_says_so() {
    expect_each("on_failure: placeholder", |file, answer| {
        assert_eq!(answer.status, 200, "{}: {answer:?}", file.name);
        assert_eq!(answer.picture().size(), (1, 1), "{}: {answer:?}", file.name);
        assert_eq!(answer.said("cache-control"), "no-store", "{}", file.name);
    });
}

#[test]
fn what_can_not_be_decoded_is_an_error_where_the_route_says_so() {
    expect_each("on_failure: error", |file, answer| {
        assert_eq!(answer.status, 422, "{}: {answer:?}", file.name);
        let text = String::from_utf8(answer.body.clone()).unwrap();
        assert!(
            text.len() < 500 && !text.trim().is_empty(),
            "{}: {text}",
            file.name
        );
    });
}

#[test]
fn a_failure_is_remembered_and_not_tried_again() {
    let files = hopeless();
    let (_origin, setup) = before(&files, "");
    let edge = setup.start();
    for (number, file) in files.iter().enumerate() {
        let before = edge.transforms("failed");
        for _ in 0..3 {
            edge.get(&format!("/{number}?w=24&fm=png"))
                .expect(200, &file.bytes);
        }
        let failed = edge.transforms("failed") - before;
        assert_eq!(failed, 1.0, "{}", file.name);
    }
}

#[test]
fn what_is_no_image_is_not_tried_in_another_size_either() {
    let (_origin, setup) = before(&[hostile("random bytes", "image/jpeg", picture(5, 5000))], "");
    let edge = setup.start();
    for width in 1..20 {
        edge.get(&format!("/0?w={width}&fm=png"));
    }
    assert_eq!(edge.transforms("failed"), 1.0);
}

#[test]
fn a_failure_is_remembered_for_as_long_as_the_configuration_says() {
    let (_origin, setup) = before(&[hostile("random bytes", "image/jpeg", picture(5, 5000))], "");
    let edge = setup.serve("transform", "{failure_memory: 0s}").start();
    for _ in 0..3 {
        edge.get("/0?w=24&fm=png");
    }
    assert_eq!(edge.transforms("failed"), 3.0);
}

/// In bytes, of a process: the most it has held so far.
fn peak_memory(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.unwrap().trim().trim_end_matches(" kB");
    kibibytes.parse::<u64>().unwrap() << 10
}

#[test]
fn no_bomb_takes_memory() {
    let files = hopeless();
    let (_origin, setup) = before(&files, "");
    let edge = setup.start();
    expect_well(&edge, "nothing");
    let before = peak_memory(&edge);
    for (number, file) in files.iter().enumerate() {
        edge.get(&format!("/{number}?w=24&fm=webp"));
        let taken = peak_memory(&edge) - before;
        assert!(taken < 64 << 20, "{} took {} MiB", file.name, taken >> 20);
    }
}

#[test]
fn a_profile_beyond_its_limit_costs_no_more_than_itself() {
    // Pieces of an ICC profile, each told its number and how many there are.
    let piece = |number: u8, of: u8| [b"ICC_PROFILE\0", &[number, of][..], &[7; 60_000]].concat();
    let pieces = 40;
    let jpeg = (1..=pieces)
        .rev()
        .fold(jpeg_with(&sample(), |_| ()), |jpeg, number| {
            with_segment(&jpeg, 0xE2, &piece(number, pieces))
        });
    let (_origin, setup) = before(&[hostile("a huge profile", "image/jpeg", jpeg.clone())], "");
    let edge = setup.start();
    let answer = edge.get("/0?w=24&fm=png");
    assert_eq!(answer.status, 200, "{answer:?}");
    let is_original = answer.body == jpeg;
    assert!(is_original || answer.picture().size() == (24, 16), "{answer:?}");
    assert!(is_original || answer.body.len() < 10_000, "{answer:?}");
    expect_well(&edge, "a huge profile");
}

#[test]
fn a_profile_of_nonsense_costs_no_picture() {
    let jpeg = with_segment(
        &jpeg_with(&sample(), |_| ()),
        0xE2,
        b"ICC_PROFILE\0\x01\x01what is this",
    );
    let (_origin, setup) = before(&[hostile("nonsense", "image/jpeg", jpeg)], "on_failure: error");
    let edge = setup.start();
    let answer = edge.get("/0?w=24&fm=png");
    assert!(answer.picture().still().distance(&sample().resized(24, 16)) < 7.0);
}

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><script>alert(1)</script>\
                   <image href=\"file:///etc/passwd\"/></svg>";

#[test]
fn an_svg_is_passed_on_and_may_do_nothing() {
    for route in ["", "on_failure: error", "on_failure: placeholder"] {
        let file = hostile("an SVG", "image/svg+xml", SVG.into());
        let (_origin, setup) = before(&[file], route);
        let edge = setup.start();
        for target in ["/0?w=24&fm=png", "/0?w=24&fm=auto", "/0", "/0?w=24&fm=png"] {
            let answer = edge.get(target);
            answer.expect(200, SVG.as_bytes());
            assert_eq!(answer.said("content-type"), "image/svg+xml");
            let policy = answer.said("content-security-policy");
            assert!(policy.contains("sandbox"), "{policy}");
            assert!(policy.contains("default-src 'none'"), "{policy}");
            assert!(!policy.contains("script-src"), "{policy}");
        }
    }
}

#[test]
fn an_svg_by_another_spelling_may_do_nothing_either() {
    let types = [
        "Image/SVG+XML",
        "image/svg+xml;charset=utf-8",
        "text/xml",
        "application/XML",
    ];
    let files = types.map(|media_type| hostile("an SVG", media_type, SVG.into()));
    let (_origin, setup) = before(&files, "");
    let edge = setup.start();
    for (number, media_type) in types.iter().enumerate() {
        let answer = edge.get(&format!("/{number}?w=24"));
        answer.expect(200, SVG.as_bytes());
        assert!(
            answer.said("content-security-policy").contains("sandbox"),
            "{media_type}"
        );
    }
}

/// What a browser runs is decided by the media type, which the first bytes do not change.
#[test]
fn an_svg_under_another_name_is_not_passed_on_as_one() {
    let file = hostile("an SVG", "image/png", SVG.into());
    let (_origin, setup) = before(&[file], "");
    let edge = setup.start();
    let answer = edge.get("/0?w=24");
    answer.expect(200, SVG.as_bytes());
    assert_eq!(answer.said("content-type"), "image/png");
    assert_eq!(answer.said("x-content-type-options"), "nosniff");
}

#[test]
fn every_byte_may_be_wrong() {
    // So many files of each kind, each with a few bytes changed; the seed is the file's number.
    const FILES: u64 = 12;
    let origin = Origin::start();
    let mut targets = Vec::new();
    for kind in Kind::ALL {
        let file = kind.encode(&sample());
        for number in 0..FILES {
            let mut changed = file.clone();
            for change in picture(number + 1, 24).chunks(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
                changed[at] = change[2];
            }
            let target = format!("/{}-{number}", kind.name());
            origin.set(&target, Reply::image(kind, changed.clone()));
            targets.push((target, changed));
        }
    }
    origin.set(GOOD, Reply::fresh(Kind::Png.encode(&sample())));
    let edge = Setup::transforming(&origin, "sizes: []").start();
    for (target, changed) in &targets {
        let answer = edge.get(&format!("{target}?w=24&fm=png"));
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert!(
            answer.body == *changed || answer.picture().size().0 > 0,
            "{target}"
        );
    }
    expect_well(&edge, "all of them");
    assert_eq!(edge.metric("aquatint_transforms_running"), 0.0);
}
