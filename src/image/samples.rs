//! Pictures for tests, made by code: the same bytes in each run.

use super::raster::{Layout, Raster};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use image::ImageEncoder;
use std::borrow::Cow;
use std::io::{Cursor, Write};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

/// Red grows to the right and green downwards, so that each place has its own colour; a blue square in the upper left
/// and a white bar at the right, so that each way to lay it down can be told from the others.
pub(crate) fn picture(width: u32, height: u32) -> Raster {
    let colour = move |x: u32, y: u32| {
        if x * 8 >= width && x * 8 < 3 * width && y * 8 >= height && y * 8 < 3 * height {
            return [20, 20, 240];
        }
        if x * 8 >= 7 * width && y * 2 < height {
            return [255; 3];
        }
        [(x * 255 / width) as u8, (y * 255 / height) as u8, 64]
    };
    let places = (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)));
    let pixels = places.flat_map(|(x, y)| colour(x, y)).collect();
    Raster {
        width,
        height,
        layout: Layout::Rgb,
        pixels,
    }
}

/// [`picture`], transparent at the left and opaque at the right.
pub(crate) fn transparent(width: u32, height: u32) -> Raster {
    let opaque = picture(width, height);
    let alpha = |i: usize| (i as u32 % width * 255 / (width - 1).max(1)) as u8;
    let pixels = opaque.pixels.chunks_exact(3).enumerate();
    let pixels = pixels
        .flat_map(|(i, pixel)| [pixel[0], pixel[1], pixel[2], alpha(i)])
        .collect();
    Raster {
        layout: Layout::Rgba,
        pixels,
        ..opaque
    }
}

/// [`picture`] in inks, 255 being none; the black grows to the right.
pub(crate) fn inked(width: u32, height: u32) -> Raster {
    Raster {
        layout: Layout::Cmyk,
        ..transparent(width, height)
    }
}

/// The mean difference of two rasters' values, at most 255.
pub(crate) fn difference(one: &Raster, other: &Raster) -> f64 {
    assert_eq!(
        (one.width, one.height, one.layout),
        (other.width, other.height, other.layout)
    );
    let differences = one
        .pixels
        .iter()
        .zip(&other.pixels)
        .map(|(one, other)| f64::from(one.abs_diff(*other)));
    differences.sum::<f64>() / one.pixels.len() as f64
}

/// A colour profile that is not sRGB's.
pub(crate) fn profile() -> Vec<u8> {
    moxcms::ColorProfile::new_display_p3().encode().unwrap()
}

/// As it stands in a PNG or WebP; JPEG has `Exif\0\0` before it.
pub(crate) fn exif(orientation: u16) -> Vec<u8> {
    let mut exif = b"MM\0*\0\0\0\x08\0\x03".to_vec();
    exif.extend([1, 18, 0, 3, 0, 0, 0, 1]);
    exif.extend(orientation.to_be_bytes());
    exif.extend([0, 0]);
    exif.extend(*b"\x01\x3b\0\x02\0\0\0\x05\0\0\0\x32");
    exif.extend(*b"\x82\x98\0\x02\0\0\0\x09\0\0\0\x37");
    exif.extend([0; 4]);
    exif.extend(*b"Anna\0(c) Anna\0");
    exif
}

pub(crate) fn jpeg(raster: &Raster) -> Vec<u8> {
    jpeg_with(raster, |_| ())
}

/// 4:2:0 unless `set` says otherwise.
pub(crate) fn jpeg_with(raster: &Raster, set: impl FnOnce(&mut Compressor)) -> Vec<u8> {
    let format = match raster.layout {
        Layout::Rgb => PixelFormat::RGB,
        Layout::Rgba => PixelFormat::RGBA,
        Layout::Cmyk => PixelFormat::CMYK,
    };
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(90).unwrap();
    compressor.set_subsamp(Subsamp::Sub2x2).unwrap();
    set(&mut compressor);
    let (width, height) = (raster.width as usize, raster.height as usize);
    let pitch = width * format.size();
    let image = Image {
        pixels: raster.pixels.as_slice(),
        width,
        pitch,
        height,
        format,
    };
    compressor.compress_to_vec(image).unwrap()
}

/// Puts a segment after a JPEG's first marker.
pub(crate) fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    let (start, rest) = jpeg.split_at(2);
    [start, &[0xff, marker], &length, content, rest].concat()
}

pub(crate) fn with_jpeg_exif(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    with_segment(jpeg, 0xe1, &[b"Exif\0\0", exif(orientation).as_slice()].concat())
}

/// In pieces of `length`.
pub(crate) fn with_jpeg_profile(jpeg: &[u8], profile: &[u8], length: usize) -> Vec<u8> {
    let count = profile.len().div_ceil(length) as u8;
    let pieces = (1..=count)
        .zip(profile.chunks(length))
        .map(|(number, piece)| [b"ICC_PROFILE\0".as_slice(), &[number, count], piece].concat());
    // The last one first, which no reader may be troubled by.
    pieces.fold(jpeg.to_vec(), |jpeg, piece| with_segment(&jpeg, 0xe2, &piece))
}

/// RGB or RGBA as it is.
pub(crate) fn png(raster: &Raster) -> Vec<u8> {
    let colours = if raster.layout == Layout::Rgba { 6 } else { 2 };
    let header = PngHeader {
        width: raster.width,
        height: raster.height,
        depth: 8,
        colours,
        interlaced: false,
    };
    let rows = raster
        .pixels
        .chunks_exact(raster.width as usize * raster.layout.channels());
    let filtered: Vec<u8> = rows.flat_map(|row| [&[0], row].concat()).collect();
    png_of(header, &[], &filtered)
}

#[derive(Clone, Copy)]
pub(crate) struct PngHeader {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) depth: u8,
    /// The colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
    pub(crate) colours: u8,
    pub(crate) interlaced: bool,
}

/// Of any kind: `chunks` stand before the pixels, `filtered` are the rows with their filters.
pub(crate) fn png_of(header: PngHeader, chunks: &[([u8; 4], Vec<u8>)], filtered: &[u8]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let sides = [header.width.to_be_bytes(), header.height.to_be_bytes()].concat();
    let kind = [header.depth, header.colours, 0, 0, header.interlaced.into()];
    push_png_chunk(&mut png, b"IHDR", &[sides.as_slice(), &kind].concat());
    for (kind, content) in chunks {
        push_png_chunk(&mut png, kind, content);
    }
    push_png_chunk(&mut png, b"IDAT", &deflated(filtered));
    push_png_chunk(&mut png, b"IEND", &[]);
    png
}

fn push_png_chunk(png: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(content);
    png.extend((content.len() as u32).to_be_bytes());
    png.extend(kind);
    png.extend(content);
    png.extend(sum.sum().to_be_bytes());
}

pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The content of a chunk `iCCP`.
pub(crate) fn png_profile(profile: &[u8]) -> Vec<u8> {
    [b"name\0\0".as_slice(), &deflated(profile)].concat()
}

/// [`png`] of an RGB raster by Adam7.
pub(crate) fn interlaced_png(raster: &Raster) -> Vec<u8> {
    let passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let mut filtered = Vec::new();
    for (left, top, across, down) in passes {
        let columns: Vec<u32> = (left..raster.width).step_by(across).collect();
        for y in (top..raster.height).step_by(down).filter(|_| !columns.is_empty()) {
            filtered.push(0);
            let at = |x: &u32| (y * raster.width + x) as usize * 3;
            filtered.extend(columns.iter().flat_map(|x| &raster.pixels[at(x)..at(x) + 3]));
        }
    }
    let header = PngHeader {
        width: raster.width,
        height: raster.height,
        depth: 8,
        colours: 2,
        interlaced: true,
    };
    png_of(header, &[], &filtered)
}

/// A frame of a GIF, all of one colour of [`PALETTE`].
#[derive(Clone, Copy)]
pub(crate) struct GifFrame {
    pub(crate) left: u16,
    pub(crate) top: u16,
    pub(crate) width: u16,
    pub(crate) height: u16,
    pub(crate) index: u8,
    pub(crate) transparent: Option<u8>,
    pub(crate) dispose: gif::DisposalMethod,
    /// In hundredths of a second.
    pub(crate) delay: u16,
}

/// Black, red, green, blue.
pub(crate) const PALETTE: [u8; 12] = [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255];

/// One that fills a canvas.
pub(crate) fn gif_frame(width: u16, height: u16, index: u8) -> GifFrame {
    let dispose = gif::DisposalMethod::Keep;
    GifFrame {
        left: 0,
        top: 0,
        width,
        height,
        index,
        transparent: None,
        dispose,
        delay: 5,
    }
}

pub(crate) fn gif(width: u16, height: u16, frames: &[GifFrame], repeat: Option<gif::Repeat>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &PALETTE).unwrap();
    if let Some(repeat) = repeat {
        encoder.set_repeat(repeat).unwrap();
    }
    for frame in frames {
        let pixels = vec![frame.index; usize::from(frame.width) * usize::from(frame.height)];
        let frame = gif::Frame {
            left: frame.left,
            top: frame.top,
            width: frame.width,
            height: frame.height,
            transparent: frame.transparent,
            dispose: frame.dispose,
            delay: frame.delay,
            buffer: Cow::Owned(pixels),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).unwrap();
    }
    drop(encoder);
    bytes
}

/// A GIF of one picture, in the colours that its encoder finds.
pub(crate) fn gif_of(raster: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = (raster.width as u16, raster.height as u16);
    let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).unwrap();
    encoder
        .write_frame(&gif::Frame::from_rgb(width, height, &raster.pixels))
        .unwrap();
    drop(encoder);
    bytes
}

pub(crate) fn webp(raster: &Raster) -> Vec<u8> {
    webp_encoder(raster).encode(90.0).to_vec()
}

pub(crate) fn lossless_webp(raster: &Raster) -> Vec<u8> {
    webp_encoder(raster).encode_lossless().to_vec()
}

fn webp_encoder(raster: &Raster) -> webp::Encoder<'_> {
    match raster.layout {
        Layout::Rgba => webp::Encoder::from_rgba(&raster.pixels, raster.width, raster.height),
        _ => webp::Encoder::from_rgb(&raster.pixels, raster.width, raster.height),
    }
}

/// A frame of an animated WebP: a coded still, and where it lies.
#[derive(Clone)]
pub(crate) struct WebpFrame {
    /// Both even.
    pub(crate) left: u32,
    pub(crate) top: u32,
    pub(crate) picture: Raster,
    pub(crate) delay: u32,
    pub(crate) blend: bool,
    pub(crate) dispose: bool,
}

/// With lossless frames, put together here so that each field is what it is asked to be.
pub(crate) fn animated_webp(width: u32, height: u32, loops: u16, frames: &[WebpFrame]) -> Vec<u8> {
    let three = |number: u32| number.to_le_bytes()[..3].to_vec();
    let mut chunks = vec![
        (
            *b"VP8X",
            [vec![0x12, 0, 0, 0], three(width - 1), three(height - 1)].concat(),
        ),
        (*b"ANIM", [vec![0; 4], loops.to_le_bytes().to_vec()].concat()),
    ];
    for frame in frames {
        let flags = u8::from(!frame.blend) * 2 + u8::from(frame.dispose);
        let sides = [frame.picture.width - 1, frame.picture.height - 1]
            .map(three)
            .concat();
        let place = [frame.left / 2, frame.top / 2].map(three).concat();
        // Without the file's header its chunks are left.
        let coded = lossless_webp(&frame.picture)[12..].to_vec();
        chunks.push((
            *b"ANMF",
            [place, sides, three(frame.delay), vec![flags], coded].concat(),
        ));
    }
    webp_of(&chunks)
}

pub(crate) fn webp_of(chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    for (kind, content) in chunks {
        file.extend(kind);
        file.extend((content.len() as u32).to_le_bytes());
        file.extend(content);
        file.resize(file.len().next_multiple_of(2), 0);
    }
    let length = file.len() as u32 - 8;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

/// A still with metadata: its own chunks after a header that tells of them.
pub(crate) fn webp_with(raster: &Raster, metadata: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let sides = [raster.width - 1, raster.height - 1]
        .map(|side| side.to_le_bytes()[..3].to_vec())
        .concat();
    let mut chunks = vec![(*b"VP8X", [vec![0x28, 0, 0, 0], sides].concat())];
    let coded = webp(raster);
    chunks.push((*b"VP8 ", coded[20..].to_vec()));
    chunks.extend_from_slice(metadata);
    webp_of(&chunks)
}

/// At most 64 x 64: the encoder is slow where it is not optimised.
pub(crate) fn avif(raster: &Raster) -> Vec<u8> {
    let pixels = libavif::RgbPixels::new(raster.width, raster.height, &raster.pixels).unwrap();
    let image = pixels.to_image(libavif::YuvFormat::Yuv444);
    let mut encoder = libavif::Encoder::new();
    encoder
        .set_quality(80)
        .set_alpha_quality(90)
        .set_speed(10)
        .set_max_threads(1);
    encoder.encode(&image).unwrap().to_vec()
}

/// Its boxes alone, with `properties` beside its size; `data` is what its bitstream is.
pub(crate) fn avif_of(sides: (u32, u32), properties: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    avif_of_items(sides, properties, &[(*b"av01", data.to_vec())])
}

/// A grid of one column, of `sides` by itself; each tile is a bitstream.
pub(crate) fn avif_grid(sides: (u32, u32), own: (u16, u16), tiles: &[Vec<u8>]) -> Vec<u8> {
    let [width, height] = [own.0.to_be_bytes(), own.1.to_be_bytes()];
    let grid = [&[0, 0, tiles.len() as u8 - 1, 0], width.as_slice(), &height].concat();
    let tiles = tiles.iter().map(|tile| (*b"av01", tile.clone()));
    let items: Vec<([u8; 4], Vec<u8>)> = std::iter::once((*b"grid", grid)).chain(tiles).collect();
    avif_of_items(sides, &[], &items)
}

/// The first item is the picture.
fn avif_of_items(
    (width, height): (u32, u32),
    properties: &[Vec<u8>],
    items: &[([u8; 4], Vec<u8>)],
) -> Vec<u8> {
    let size = [0, width, height].map(u32::to_be_bytes).concat();
    let own = [vec![section(b"ispe", &size)], properties.to_vec()].concat();
    let count = own.len() as u8;
    let numbers: Vec<u8> = (1..=count).collect();
    let association = [b"\0\0\0\0\0\0\0\x01\0\x01".as_slice(), &[count], &numbers].concat();
    let properties = [section(b"ipco", &own.concat()), section(b"ipma", &association)].concat();
    let mut infos = [vec![0; 4], (items.len() as u16).to_be_bytes().to_vec()].concat();
    // Offsets and lengths of 4 bytes; each item in one piece of `idat`.
    let mut places = [
        b"\x01\0\0\0\x44\0".to_vec(),
        (items.len() as u16).to_be_bytes().to_vec(),
    ]
    .concat();
    let mut data = Vec::new();
    for (id, (kind, content)) in (1u16..).zip(items) {
        let id = id.to_be_bytes();
        infos.extend(section(
            b"infe",
            &[b"\x02\0\0\0", id.as_slice(), &[0, 0], kind, &[0]].concat(),
        ));
        let place = [data.len() as u32, content.len() as u32]
            .map(u32::to_be_bytes)
            .concat();
        places.extend([&id, b"\0\x01\0\0\0\x01".as_slice(), &place].concat());
        data.extend_from_slice(content);
    }
    let meta = [
        vec![0; 4],
        section(b"pitm", b"\0\0\0\0\0\x01"),
        section(b"iinf", &infos),
        section(b"iloc", &places),
        section(b"iprp", &properties),
        section(b"idat", &data),
    ];
    [
        section(b"ftyp", b"avif\0\0\0\0avifmif1"),
        section(b"meta", &meta.concat()),
    ]
    .concat()
}

/// A box of an ISO base media file.
pub(crate) fn section(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [
        &(content.len() as u32 + 8).to_be_bytes(),
        kind.as_slice(),
        content,
    ]
    .concat()
}

/// An AV1 bitstream that has nothing but the header of a still of 8 bits and 4:2:0.
pub(crate) fn av1_header(width: u32, height: u32, matrix: u8) -> Vec<u8> {
    av1_header_of(width, height, [2, 2, matrix])
}

/// Its colours are told by numbers: primaries, transfer and matrix.
pub(crate) fn av1_header_of(width: u32, height: u32, [primaries, transfer, matrix]: [u8; 3]) -> Vec<u8> {
    let sides = format!("1111{:04b}{:016b}{:016b}", 15, width - 1, height - 1);
    let colours = format!("001{primaries:08b}{transfer:08b}{matrix:08b}0000");
    let mut bits = format!("00011{:05b}{sides}000000{colours}01", 0);
    bits.extend(std::iter::repeat_n('0', 8 - bits.len() % 8));
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
    let content: Vec<u8> = bytes.collect();
    [&[0x0a, content.len() as u8], content.as_slice()].concat()
}

pub(crate) fn bmp(raster: &Raster) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::bmp::BmpEncoder::new(&mut bytes);
    encoder
        .write_image(&raster.pixels, raster.width, raster.height, colour_type(raster))
        .unwrap();
    bytes
}

pub(crate) fn tiff(raster: &Raster) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let encoder = image::codecs::tiff::TiffEncoder::new(&mut bytes);
    encoder
        .write_image(&raster.pixels, raster.width, raster.height, colour_type(raster))
        .unwrap();
    bytes.into_inner()
}

fn colour_type(raster: &Raster) -> image::ExtendedColorType {
    match raster.layout {
        Layout::Rgba => image::ExtendedColorType::Rgba8,
        _ => image::ExtendedColorType::Rgb8,
    }
}

/// One small picture of every format, by name.
pub(crate) fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let (opaque, clear) = (picture(40, 24), transparent(40, 24));
    let frames: Vec<GifFrame> = (0..3).map(|index| gif_frame(16, 8, index)).collect();
    let webp_frame = WebpFrame {
        left: 0,
        top: 0,
        picture: transparent(16, 8),
        delay: 40,
        blend: true,
        dispose: true,
    };
    vec![
        ("jpeg", jpeg(&opaque)),
        (
            "progressive jpeg",
            jpeg_with(&opaque, |jpeg| jpeg.set_progressive(true).unwrap()),
        ),
        (
            "arithmetic jpeg",
            jpeg_with(&opaque, |jpeg| jpeg.set_arithmetic(true).unwrap()),
        ),
        (
            "jpeg with metadata",
            with_jpeg_profile(&with_jpeg_exif(&jpeg(&opaque), 6), &profile(), 200),
        ),
        ("cmyk jpeg", jpeg(&inked(40, 24))),
        ("png", png(&opaque)),
        ("transparent png", png(&clear)),
        ("interlaced png", interlaced_png(&opaque)),
        ("gif", gif_of(&opaque)),
        ("animated gif", gif(16, 8, &frames, Some(gif::Repeat::Infinite))),
        ("webp", webp(&opaque)),
        ("transparent webp", webp(&clear)),
        ("lossless webp", lossless_webp(&clear)),
        (
            "animated webp",
            animated_webp(16, 8, 0, &[webp_frame.clone(), webp_frame]),
        ),
        ("avif", avif(&opaque)),
        ("transparent avif", avif(&clear)),
        ("bmp", bmp(&opaque)),
        ("tiff", tiff(&opaque)),
    ]
}

/// Where the data of [`tiff_of`] begin.
pub(crate) const TIFF_DATA: u32 = 8;

/// Types of a TIFF's values.
pub(crate) const SHORT: u16 = 3;
pub(crate) const LONG: u16 = 4;

/// A TIFF of these fields, of type and values each, in the order in which they are given.
pub(crate) fn tiff_of(fields: &[(u16, u16, Vec<u32>)], data: &[u8]) -> Vec<u8> {
    let mut file = [b"II*\0\0\0\0\0".as_slice(), data].concat();
    let mut directory = (fields.len() as u16).to_le_bytes().to_vec();
    for (tag, kind, values) in fields {
        let unit = if *kind == SHORT { 2 } else { 4 };
        let mut bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes()[..unit].to_vec())
            .collect();
        directory.extend(tag.to_le_bytes());
        directory.extend(kind.to_le_bytes());
        directory.extend((values.len() as u32).to_le_bytes());
        if bytes.len() > 4 {
            let at = file.len() as u32;
            file.extend(bytes);
            bytes = at.to_le_bytes().to_vec();
        }
        bytes.resize(4, 0);
        directory.extend(bytes);
    }
    let at = file.len() as u32;
    file[4..8].copy_from_slice(&at.to_le_bytes());
    [file, directory, vec![0; 4]].concat()
}

/// The fields of an RGB picture in one strip; `alpha` is what its fourth sample means.
pub(crate) fn tiff_fields((width, height): (u32, u32), alpha: Option<u32>) -> Vec<(u16, u16, Vec<u32>)> {
    let samples = if alpha.is_some() { 4 } else { 3 };
    let mut fields = vec![
        (256, LONG, vec![width]),
        (257, LONG, vec![height]),
        (258, SHORT, vec![8; samples as usize]),
        (259, SHORT, vec![1]),
        (262, SHORT, vec![2]),
        (273, LONG, vec![TIFF_DATA]),
        (277, SHORT, vec![samples]),
        (278, LONG, vec![height]),
        (279, LONG, vec![width * height * samples]),
    ];
    fields.extend(alpha.map(|meaning| (338, SHORT, vec![meaning])));
    fields
}

/// Puts boxes at the end of an AVIF's `meta`, which has to be its last box.
pub(crate) fn with_meta(avif: &[u8], boxes: &[Vec<u8>]) -> Vec<u8> {
    let at = avif.windows(4).position(|window| window == b"meta").unwrap();
    let meta = [&avif[at + 4..], boxes.concat().as_slice()].concat();
    [&avif[..at - 4], section(b"meta", &meta).as_slice()].concat()
}

/// Writes bits, the lowest first.
#[derive(Default)]
struct LowBits(Vec<bool>);

impl LowBits {
    fn put(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }

    /// A code of one symbol.
    fn put_symbol(&mut self, symbol: u32) {
        self.put(0b101, 3);
        self.put(symbol, 8);
    }

    /// A code of 11 symbols of up to 10 bits, for which a decoder makes a table of 1,024 entries: 6 of the lengths
    /// take 3 bits and 4 take 4, of which there are then none left.
    fn put_long_code(&mut self) {
        self.put(0, 1);
        let lengths = [0, 0, 0, 3, 3, 3, 3, 3, 0, 3, 4, 4, 4, 4];
        self.put(lengths.len() as u32 - 4, 4);
        lengths.iter().for_each(|length| self.put(*length, 3));
        // 11 symbols have a length, which is told by 4 bits.
        self.put(0b0011, 4);
        self.put(9, 4);
        for length in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10u32] {
            let (code, bits) = if length <= 6 {
                (length - 1, 3)
            } else {
                (length + 5, 4)
            };
            self.put(code.reverse_bits() >> (32 - bits), bits);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = self.0.chunks(8);
        bytes
            .map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect()
    }
}

/// A lossless WebP of 8 x 8 pixels with codes for so many groups of pixels, of which one is used.
pub(crate) fn webp_of_groups(groups: u32) -> Vec<u8> {
    let mut bits = LowBits::default();
    bits.put(0x2f, 8);
    bits.put(7, 14);
    bits.put(7, 14);
    bits.put(0, 4);
    // Neither transforms nor a cache of colours, but groups by blocks of 32 pixels a side.
    bits.put(0b100, 3);
    bits.put(3, 3);
    bits.put(0, 1);
    let last = groups - 1;
    for symbol in [last & 255, last >> 8, 0, 255, 0] {
        bits.put_symbol(symbol);
    }
    for _ in 0..groups * 5 {
        bits.put_long_code();
    }
    // The pixels are of the shortest code.
    bits.0.extend([false; 4 * 64 + 8]);
    webp_of(&[(*b"VP8L", bits.bytes())])
}
