//! Files as origins have them, of every format that is read.
//!
//! Made by the codecs' own encoders where these can say what a test needs, by hand where not. It does not know what
//! becomes of them.

use super::{Animation, Image};
use gif::{Frame, Repeat};
use image::ExtendedColorType;
use image::codecs::bmp::BmpEncoder;
use turbojpeg::{Compressor, PixelFormat, Subsamp};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Avif,
    Bmp,
    Tiff,
}

impl Kind {
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Jpeg,
        Kind::Png,
        Kind::Gif,
        Kind::Webp,
        Kind::Avif,
        Kind::Bmp,
        Kind::Tiff,
    ];

    /// As `fm` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Jpeg => "jpeg",
            Kind::Png => "png",
            Kind::Gif => "gif",
            Kind::Webp => "webp",
            Kind::Avif => "avif",
            Kind::Bmp => "bmp",
            Kind::Tiff => "tiff",
        }
    }

    pub(crate) fn media_type(self) -> String {
        format!("image/{}", self.name())
    }

    pub(crate) fn encode(self, image: &Image) -> Vec<u8> {
        let (width, height) = image.size();
        match self {
            Kind::Jpeg => jpeg_with(image, |_| ()),
            Kind::Png => png(image),
            Kind::Gif => animated_gif(&[(image.clone(), 0)]),
            Kind::Webp if image.is_opaque() => webp::Encoder::from_rgb(&image.rgb(), width, height)
                .encode(90.0)
                .to_vec(),
            Kind::Webp => webp::Encoder::from_rgba(&image.rgba(), width, height)
                .encode(90.0)
                .to_vec(),
            Kind::Avif => avif(image),
            Kind::Bmp => bmp(image),
            Kind::Tiff => tiff(image),
        }
    }
}

/// Of quality 92 with whole chroma, unless `set` says something else.
pub(crate) fn jpeg_with(image: &Image, set: impl Fn(&mut Compressor)) -> Vec<u8> {
    let pixels = image.rgb();
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(92).unwrap();
    compressor.set_subsamp(Subsamp::None).unwrap();
    set(&mut compressor);
    let image = turbojpeg::Image {
        pixels: pixels.as_slice(),
        width: image.width as usize,
        pitch: image.width as usize * 3,
        height: image.height as usize,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).unwrap()
}

fn png(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width, image.height);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels = match image.is_opaque() {
        true => (png::ColorType::Rgb, image.rgb()),
        false => (png::ColorType::Rgba, image.rgba()),
    };
    encoder.set_color(pixels.0);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&pixels.1).unwrap();
    writer.finish().unwrap();
    bytes
}

fn avif(image: &Image) -> Vec<u8> {
    let pixels = if image.is_opaque() {
        image.rgb()
    } else {
        image.rgba()
    };
    let pixels = libavif::RgbPixels::new(image.width, image.height, &pixels).unwrap();
    let yuv = pixels.to_image(libavif::YuvFormat::Yuv444);
    let mut encoder = libavif::Encoder::new();
    encoder.set_quality(90).set_alpha_quality(90).set_speed(10);
    encoder.encode(&yuv).unwrap().to_vec()
}

fn bmp(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = image.size();
    BmpEncoder::new(&mut bytes)
        .encode(&image.rgb(), width, height, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

/// One strip without compression, by hand: the encoder at hand does not say that a fourth sample is alpha.
fn tiff(image: &Image) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let (samples, pixels) = match image.is_opaque() {
        true => (3, image.rgb()),
        false => (4, image.rgba()),
    };
    let (header, directory) = (8, 2 + 10 * 12 + 4);
    let depths = header + directory;
    let strip = depths + 8;
    // Tag, type, count, value: sides, depths, no compression, RGB, strip, samples, rows, length, straight alpha.
    let mut fields = vec![
        (256, LONG, 1, image.width),
        (257, LONG, 1, image.height),
        (258, SHORT, samples, depths),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 2),
        (273, LONG, 1, strip),
        (277, SHORT, 1, samples),
        (278, LONG, 1, image.height),
        (279, LONG, 1, pixels.len() as u32),
    ];
    if samples == 4 {
        fields.push((338, SHORT, 1, 2));
    }
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((fields.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in fields {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(kind));
        bytes.extend(u32::to_le_bytes(count));
        bytes.extend(u32::to_le_bytes(value));
    }
    bytes.resize(depths as usize, 0);
    bytes.extend([8, 0].repeat(4));
    bytes.extend(pixels);
    bytes
}

/// Shown for ever; one frame is a still.
pub(crate) fn animated_gif(frames: &[(Image, u32)]) -> Vec<u8> {
    let (width, height) = frames[0].0.size();
    let (width, height) = (width as u16, height as u16);
    let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[]).unwrap();
    if frames.len() > 1 {
        encoder.set_repeat(Repeat::Infinite).unwrap();
    }
    for (image, delay) in frames {
        let mut frame = Frame::from_rgba_speed(width, height, &mut image.rgba(), 10);
        frame.delay = (delay / 10) as u16;
        frame.dispose = gif::DisposalMethod::Background;
        encoder.write_frame(&frame).unwrap();
    }
    encoder.into_inner().unwrap()
}

pub(crate) fn lossless_webp(image: &Image) -> Vec<u8> {
    let pixels = image.rgba();
    let encoder = webp::Encoder::from_rgba(&pixels, image.width, image.height);
    encoder.encode_lossless().to_vec()
}

/// Lossless frames, shown for ever; libwebp's own animation encoder does not let delays be said exactly.
pub(crate) fn animated_webp(frames: &Animation) -> Vec<u8> {
    let (width, height) = frames[0].0.size();
    let size = [three(width - 1), three(height - 1)].concat();
    let (moves, alpha) = (0x02, 0x10);
    let mut chunks = chunk(b"VP8X", &[&[moves | alpha, 0, 0, 0], &size[..]].concat());
    chunks.extend(chunk(b"ANIM", &[0; 6]));
    for (image, delay) in frames {
        let still = lossless_webp(image);
        let (at_origin, do_not_blend) = ([0; 6], [0x02]);
        let frame = [&at_origin[..], &size, &three(*delay), &do_not_blend, &still[12..]].concat();
        chunks.extend(chunk(b"ANMF", &frame));
    }
    chunk(b"RIFF", &[b"WEBP", chunks.as_slice()].concat())
}

/// RIFF: four letters, length, data, and a byte where the length is odd.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = [name, &(data.len() as u32).to_le_bytes()[..], data].concat();
    chunk.resize(chunk.len().next_multiple_of(2), 0);
    chunk
}

fn three(number: u32) -> [u8; 3] {
    let [low, middle, high, _] = number.to_le_bytes();
    [low, middle, high]
}

/// The JPEG with an EXIF orientation, 1..=8.
pub(crate) fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    // TIFF, little endian; one directory of one entry: tag 0x0112, one SHORT.
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    with_segment(jpeg, 0xE1, &exif)
}

/// The JPEG with one more segment, right after its start.
pub(crate) fn with_segment(jpeg: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], &[0xFF, marker], &length, data, &jpeg[2..]].concat()
}

/// A chunk of a PNG, with its checksum.
pub(crate) fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let checked = [name, data].concat();
    let checksum = !checked.iter().fold(!0u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())
        })
    });
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &checked, &checksum.to_be_bytes()].concat()
}
