//! What a viewer sees of a file: every frame as a whole picture, whatever the format.
//!
//! The format is read off the first bytes, so that a wrong media type is seen. A file that can not be decoded fails its
//! test.

use super::{CLEAR, Image, Kind};
use gif::DisposalMethod;
use std::io::Cursor;

/// A decoded file.
pub(crate) struct Shown {
    pub(crate) kind: Kind,
    pub(crate) frames: Vec<Image>,
    /// In milliseconds; empty for a still.
    pub(crate) delays: Vec<u32>,
}

impl Shown {
    pub(crate) fn size(&self) -> (u32, u32) {
        self.frames[0].size()
    }

    /// The only picture there is.
    #[track_caller]
    pub(crate) fn still(&self) -> &Image {
        assert_eq!(self.frames.len(), 1, "a still has one frame");
        &self.frames[0]
    }
}

/// Fails the test where the bytes are no picture.
#[track_caller]
pub(crate) fn shown(bytes: &[u8]) -> Shown {
    let still = |kind, image| Shown {
        kind,
        frames: vec![image],
        delays: Vec::new(),
    };
    match kind_of(bytes) {
        Some(Kind::Jpeg) => still(Kind::Jpeg, jpeg(bytes)),
        Some(Kind::Png) => still(Kind::Png, png(bytes)),
        Some(Kind::Gif) => gif(bytes),
        Some(Kind::Webp) => webp(bytes),
        Some(Kind::Avif) => still(Kind::Avif, avif(bytes)),
        kind => panic!(
            "no edge makes this, {kind:?}: {:?}",
            &bytes[..bytes.len().min(16)]
        ),
    }
}

fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let at = |from: usize, magic: &[u8]| bytes.get(from..).is_some_and(|rest| rest.starts_with(magic));
    let kinds = [
        (at(0, b"\xFF\xD8\xFF"), Kind::Jpeg),
        (at(0, b"\x89PNG\r\n\x1A\n"), Kind::Png),
        (at(0, b"GIF8"), Kind::Gif),
        (at(0, b"RIFF") && at(8, b"WEBP"), Kind::Webp),
        (at(4, b"ftypavif"), Kind::Avif),
        (at(0, b"BM"), Kind::Bmp),
        (at(0, b"II*\0") || at(0, b"MM\0*"), Kind::Tiff),
    ];
    kinds.into_iter().find_map(|(is, kind)| is.then_some(kind))
}

fn jpeg(bytes: &[u8]) -> Image {
    let image = turbojpeg::decompress(bytes, turbojpeg::PixelFormat::RGB).unwrap();
    assert_eq!(image.pitch, image.width * 3);
    Image::of_rgb(image.width as u32, image.height as u32, &image.pixels)
}

fn png(bytes: &[u8]) -> Image {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let (width, height) = (info.width, info.height);
    match info.color_type {
        png::ColorType::Rgba => Image::of_rgba(width, height, &pixels),
        png::ColorType::Rgb => Image::of_rgb(width, height, &pixels),
        png::ColorType::GrayscaleAlpha => {
            let (pixels, _) = pixels.as_chunks::<2>();
            let grey = |x, y| pixels[(y * width + x) as usize];
            Image::drawn(width, height, |x, y| {
                let [grey, alpha] = grey(x, y);
                [grey, grey, grey, alpha]
            })
        }
        _ => Image::drawn(width, height, |x, y| {
            let grey = pixels[(y * width + x) as usize];
            [grey, grey, grey, 255]
        }),
    }
}

fn gif(bytes: &[u8]) -> Shown {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(Cursor::new(bytes)).unwrap();
    let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
    let mut canvas = Image::plain(width, height, CLEAR);
    let (mut frames, mut delays) = (Vec::new(), Vec::new());
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        let before = canvas.clone();
        let (left, top) = (u32::from(frame.left), u32::from(frame.top));
        let part = Image::of_rgba(frame.width.into(), frame.height.into(), &frame.buffer);
        canvas = part.laid_on(&canvas, left, top);
        frames.push(canvas.clone());
        delays.push(u32::from(frame.delay) * 10);
        canvas = match frame.dispose {
            DisposalMethod::Previous => before,
            DisposalMethod::Background => Image::drawn(width, height, |x, y| {
                let is_there = x.wrapping_sub(left) < part.width && y.wrapping_sub(top) < part.height;
                if is_there { CLEAR } else { canvas.pixel(x, y) }
            }),
            DisposalMethod::Any | DisposalMethod::Keep => canvas,
        };
    }
    if frames.len() == 1 {
        delays.clear();
    }
    Shown {
        kind: Kind::Gif,
        frames,
        delays,
    }
}

fn webp(bytes: &[u8]) -> Shown {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).unwrap();
    let (width, height) = decoder.dimensions();
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    let has_alpha = decoder.has_alpha();
    let image = |pixels: &[u8]| match has_alpha {
        true => Image::of_rgba(width, height, pixels),
        false => Image::of_rgb(width, height, pixels),
    };
    let (mut frames, mut delays) = (Vec::new(), Vec::new());
    if decoder.is_animated() {
        for _ in 0..decoder.num_frames() {
            delays.push(decoder.read_frame(&mut pixels).unwrap());
            frames.push(image(&pixels));
        }
    } else {
        decoder.read_image(&mut pixels).unwrap();
        frames.push(image(&pixels));
    }
    Shown {
        kind: Kind::Webp,
        frames,
        delays,
    }
}

fn avif(bytes: &[u8]) -> Image {
    let pixels = libavif::decode_rgb(bytes).unwrap();
    Image::of_rgba(pixels.width(), pixels.height(), pixels.as_slice())
}
