//! Files to pixels, in full: sources for the reference, and what either side made. One decoder per format for all.

use std::borrow::Cow;
use std::io::Cursor;

/// One picture of a file, as it lies there.
pub(crate) struct Still {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Red, green, blue, straight alpha.
    pub(crate) rgba: Vec<u8>,
    /// How long it is shown, in milliseconds; 0 where it is the only one.
    pub(crate) delay: u32,
}

/// All pictures of a file, each the whole canvas.
pub(crate) fn decode(file: &[u8]) -> Vec<Still> {
    match file {
        [0xff, 0xd8, ..] => vec![jpeg(file)],
        [0x89, b'P', b'N', b'G', ..] => vec![png(file)],
        [b'G', b'I', b'F', ..] => gif(file),
        [b'R', b'I', b'F', b'F', ..] => webp(file),
        _ => vec![avif(file)],
    }
}

fn jpeg(file: &[u8]) -> Still {
    let image = turbojpeg::decompress(file, turbojpeg::PixelFormat::RGBA).expect("a good JPEG");
    Still {
        width: image.width as u32,
        height: image.height as u32,
        rgba: image.pixels,
        delay: 0,
    }
}

fn png(file: &[u8]) -> Still {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8() | png::Transformations::ALPHA);
    let mut reader = decoder.read_info().expect("a good PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits memory")];
    let info = reader.next_frame(&mut pixels).expect("a good PNG");
    pixels.truncate(info.buffer_size());
    let rgba = match info.color_type {
        png::ColorType::GrayscaleAlpha => pixels
            .chunks_exact(2)
            .flat_map(|p| [p[0], p[0], p[0], p[1]])
            .collect(),
        _ => pixels,
    };
    Still {
        width: info.width,
        height: info.height,
        rgba,
        delay: 0,
    }
}

fn avif(file: &[u8]) -> Still {
    let pixels = libavif::decode_rgb(file).expect("a good AVIF");
    Still {
        width: pixels.width(),
        height: pixels.height(),
        rgba: pixels.to_vec(),
        delay: 0,
    }
}

fn webp(file: &[u8]) -> Vec<Still> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).expect("a good WebP");
    let (width, height) = decoder.dimensions();
    let opaque = !decoder.has_alpha();
    let mut pixels = vec![0; decoder.output_buffer_size().expect("it fits memory")];
    let still = |pixels: &[u8], delay| Still {
        width,
        height,
        rgba: if opaque {
            with_alpha(pixels)
        } else {
            pixels.to_vec()
        },
        delay,
    };
    if !decoder.is_animated() {
        decoder.read_image(&mut pixels).expect("a good WebP");
        return vec![still(&pixels, 0)];
    }
    let frames = (0..decoder.num_frames()).map(|_| {
        let delay = decoder.read_frame(&mut pixels).expect("a good frame");
        still(&pixels, delay)
    });
    frames.collect()
}

fn with_alpha(rgb: &[u8]) -> Vec<u8> {
    rgb.chunks_exact(3)
        .flat_map(|p| [p[0], p[1], p[2], 255])
        .collect()
}

fn gif(file: &[u8]) -> Vec<Still> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(file).expect("a good GIF");
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let mut canvas = vec![0; width * height * 4];
    let mut stills = Vec::new();
    while let Some(frame) = decoder.read_next_frame().expect("a good frame") {
        let before = canvas.clone();
        draw(&mut canvas, width, frame, Paint::Over);
        stills.push(Still {
            width: width as u32,
            height: height as u32,
            rgba: canvas.clone(),
            delay: u32::from(frame.delay) * 10,
        });
        match frame.dispose {
            gif::DisposalMethod::Previous => canvas = before,
            gif::DisposalMethod::Background => draw(&mut canvas, width, frame, Paint::Nothing),
            gif::DisposalMethod::Any | gif::DisposalMethod::Keep => {}
        }
    }
    stills
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Paint {
    /// The frame's pixels, where they are not transparent.
    Over,
    /// Transparency, where the frame is.
    Nothing,
}

fn draw(canvas: &mut [u8], canvas_width: usize, frame: &gif::Frame<'_>, paint: Paint) {
    let pixels: Cow<'_, [u8]> = match paint {
        Paint::Over => Cow::Borrowed(&frame.buffer),
        Paint::Nothing => Cow::Owned(vec![0; frame.buffer.len()]),
    };
    let rows = pixels.chunks_exact(usize::from(frame.width) * 4);
    for (row, y) in rows.zip(usize::from(frame.top)..) {
        for (pixel, x) in row.chunks_exact(4).zip(usize::from(frame.left)..canvas_width) {
            let at = (y * canvas_width + x) * 4;
            if let Some(below) = canvas
                .get_mut(at..at + 4)
                .filter(|_| pixel[3] > 0 || paint == Paint::Nothing)
            {
                below.copy_from_slice(pixel);
            }
        }
    }
}
