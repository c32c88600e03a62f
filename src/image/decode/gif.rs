//! GIF, frame by frame.

use super::canvas::{Area, Canvas, Disposal};
use super::{Frames, differs};
use crate::image::raster::{Frame, Layout};
use crate::image::{ImageError, Probe};
use gif::{ColorOutput, DecodeOptions, Decoder, DecodingError, DisposalMethod, MemoryLimit};
use std::num::NonZeroU64;

/// Delays below the first count as the second, in milliseconds: so do browsers.
const DELAY_MIN: u32 = 20;
const DELAY_INSTEAD: u32 = 100;

pub(super) fn open<'a>(bytes: &'a [u8], probe: &'a Probe) -> Result<Frames<'a>, ImageError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // No frame is larger than the canvas.
    let bytes_max = NonZeroU64::new(probe.pixels()).ok_or_else(|| differs(probe))?;
    options.set_memory_limit(MemoryLimit::Bytes(bytes_max));
    let mut decoder = options.read_info(bytes).map_err(corrupt)?;
    if (decoder.width(), decoder.height()) != (probe.width as u16, probe.height as u16) {
        return Err(differs(probe));
    }
    let mut canvas = Canvas::new(probe);
    let mut indices = Vec::new();
    Ok(Box::new(std::iter::from_fn(move || {
        next(&mut decoder, &mut canvas, &mut indices, probe).transpose()
    })))
}

fn corrupt(error: DecodingError) -> ImageError {
    ImageError::corrupt("GIF", error)
}

fn next(
    decoder: &mut Decoder<&[u8]>,
    canvas: &mut Canvas,
    indices: &mut Vec<u8>,
    probe: &Probe,
) -> Result<Option<Frame>, ImageError> {
    let Some(frame) = decoder.next_frame_info().map_err(corrupt)? else {
        return Ok(None);
    };
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    if width == 0 || height == 0 || width > probe.width || height > probe.height {
        return Err(differs(probe));
    }
    let area = Area {
        left: frame.left.into(),
        top: frame.top.into(),
        width,
        height,
    };
    let (disposal, delay, transparent) = (disposal(frame.dispose), delay(frame.delay), frame.transparent);
    indices.resize(width as usize * height as usize, 0);
    decoder.read_into_buffer(indices).map_err(corrupt)?;
    let palette = decoder.palette().map_err(corrupt)?;
    canvas.lay(area, disposal, |number, row, layout| {
        paint(
            row,
            &indices[number * width as usize..],
            Palette {
                colours: palette,
                transparent,
            },
            layout,
        );
    });
    Ok(Some(canvas.frame(delay)))
}

fn disposal(method: DisposalMethod) -> Disposal {
    match method {
        DisposalMethod::Any | DisposalMethod::Keep => Disposal::Keep,
        DisposalMethod::Background => Disposal::Clear,
        DisposalMethod::Previous => Disposal::Restore,
    }
}

/// Milliseconds of hundredths.
fn delay(hundredths: u16) -> u32 {
    match u32::from(hundredths) * 10 {
        delay if delay < DELAY_MIN => DELAY_INSTEAD,
        delay => delay,
    }
}

#[derive(Clone, Copy)]
struct Palette<'a> {
    colours: &'a [u8],
    transparent: Option<u8>,
}

fn paint(row: &mut [u8], indices: &[u8], palette: Palette<'_>, layout: Layout) {
    for (pixel, index) in row.chunks_exact_mut(layout.channels()).zip(indices) {
        if palette.transparent == Some(*index) {
            continue;
        }
        // A colour that is not in the palette is black.
        let at = usize::from(*index) * 3;
        let colour = palette.colours.get(at..at + 3).unwrap_or(&[0; 3]);
        pixel[..3].copy_from_slice(colour);
        if let Some(alpha) = pixel.get_mut(3) {
            *alpha = 255;
        }
    }
}
