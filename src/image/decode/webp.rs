//! WebP, still and frame by frame.
//!
//! Each picture is given to the decoder as a file of its own. Frames are laid on our canvas and not on the decoder's:
//! that does not dispose of frames as it should.

use super::canvas::{Area, Canvas, Disposal};
use super::{Frames, differs, length, still};
use crate::image::probe::webp::{AnimationFrame, Chunk, Coding, Content, Picture, content, next_chunk};
use crate::image::raster::{Frame, Layout, Raster};
use crate::image::{ImageError, Probe};
use image_webp::WebPDecoder;
use std::io::Cursor;

pub(super) fn open<'a>(bytes: &'a [u8], probe: &'a Probe) -> Result<Frames<'a>, ImageError> {
    match content(bytes)? {
        Content::Still(picture) => still(move || whole(picture, probe)),
        Content::Animation(mut chunks) => {
            let mut canvas = Canvas::new(probe);
            Ok(Box::new(std::iter::from_fn(move || {
                next(&mut chunks, &mut canvas, probe).transpose()
            })))
        }
    }
}

fn whole(picture: Picture<'_>, probe: &Probe) -> Result<Raster, ImageError> {
    if (picture.width, picture.height) != (probe.width, probe.height) {
        return Err(differs(probe));
    }
    decode(picture, probe)
}

fn next(chunks: &mut &[u8], canvas: &mut Canvas, probe: &Probe) -> Result<Option<Frame>, ImageError> {
    while let Some(Chunk { kind, content }) = next_chunk(chunks)? {
        if &kind == b"ANMF" {
            let frame = AnimationFrame::of(content)?;
            lay(&frame, canvas, probe)?;
            return Ok(Some(canvas.frame(frame.delay)));
        }
    }
    Ok(None)
}

fn lay(frame: &AnimationFrame<'_>, canvas: &mut Canvas, probe: &Probe) -> Result<(), ImageError> {
    let Picture { width, height, .. } = frame.picture;
    if u64::from(width) * u64::from(height) > probe.pixels() {
        return Err(differs(probe));
    }
    let raster = decode(frame.picture, probe)?;
    let area = Area {
        left: frame.left,
        top: frame.top,
        width,
        height,
    };
    let disposal = if frame.dispose {
        Disposal::Clear
    } else {
        Disposal::Keep
    };
    let channels = raster.layout.channels();
    canvas.lay(area, disposal, |number, row, layout| {
        let from = &raster.pixels[number * width as usize * channels..];
        let pixels = row
            .chunks_exact_mut(layout.channels())
            .zip(from.chunks_exact(channels));
        pixels.for_each(|(below, above)| lay_pixel(below, above, frame.blend));
    });
    Ok(())
}

/// Lays one pixel over another, or puts it in its place; either may be without alpha.
fn lay_pixel(below: &mut [u8], above: &[u8], blend: bool) {
    let opacity = above.get(3).copied().unwrap_or(255);
    if !blend || opacity == 255 {
        below[..3].copy_from_slice(&above[..3]);
        if let Some(alpha) = below.get_mut(3) {
            *alpha = opacity;
        }
    } else if opacity > 0 {
        blend_pixel(below, above, opacity.into());
    }
}

/// Source over destination, with straight alpha.
fn blend_pixel(below: &mut [u8], above: &[u8], opacity: u32) {
    let shown_below = u32::from(below.get(3).copied().unwrap_or(255)) * (255 - opacity);
    let whole = opacity * 255 + shown_below;
    for (below, above) in below.iter_mut().zip(above).take(3) {
        let sum = u32::from(*above) * opacity * 255 + u32::from(*below) * shown_below;
        *below = ((sum + whole / 2) / whole) as u8;
    }
    if let Some(alpha) = below.get_mut(3) {
        *alpha = ((whole + 127) / 255) as u8;
    }
}

fn corrupt(error: image_webp::DecodingError) -> ImageError {
    ImageError::corrupt("WebP", error)
}

fn decode(picture: Picture<'_>, probe: &Probe) -> Result<Raster, ImageError> {
    let (width, height) = (picture.width, picture.height);
    let file = as_file(picture);
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(corrupt)?;
    let layout = if picture.alpha() {
        Layout::Rgba
    } else {
        Layout::Rgb
    };
    decoder.set_memory_limit(length(width, height, Layout::Rgba));
    if decoder.dimensions() != (width, height) || decoder.has_alpha() != picture.alpha() {
        return Err(differs(probe));
    }
    let mut pixels = vec![0; length(width, height, layout)];
    decoder.read_image(&mut pixels).map_err(corrupt)?;
    Ok(Raster {
        width,
        height,
        layout,
        pixels,
    })
}

/// The file that holds nothing but this picture.
fn as_file(picture: Picture<'_>) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    match picture.coding {
        Coding::Lossless { data, .. } => push_chunk(&mut file, b"VP8L", data),
        Coding::Lossy { data, alpha: None } => push_chunk(&mut file, b"VP8 ", data),
        Coding::Lossy {
            data,
            alpha: Some(alpha),
        } => {
            // The flag of alpha, and the sides less one.
            let mut header = vec![0x10, 0, 0, 0];
            header.extend_from_slice(&(picture.width - 1).to_le_bytes()[..3]);
            header.extend_from_slice(&(picture.height - 1).to_le_bytes()[..3]);
            push_chunk(&mut file, b"VP8X", &header);
            push_chunk(&mut file, b"ALPH", alpha);
            push_chunk(&mut file, b"VP8 ", data);
        }
    }
    let length = file.len() as u32 - 8;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    file
}

fn push_chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    file.reserve(content.len() + 9);
    file.extend_from_slice(kind);
    file.extend_from_slice(&(content.len() as u32).to_le_bytes());
    file.extend_from_slice(content);
    if content.len() % 2 == 1 {
        file.push(0);
    }
}
