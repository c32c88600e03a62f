//! PNG, to 8 bits and without palette.

use super::{differs, from_grey, from_grey_alpha};
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Probe};
use png::{ColorType, Decoder, DecodingError, Limits, Transformations};
use std::io::Cursor;

/// Beside the pixels: rows of at most 16-bit RGBA, and what is read of a chunk at once.
const CHUNKS_BYTES: usize = 1 << 20;
const ROW_PIXEL_BYTES: usize = 8;
const ROWS: usize = 8;

pub(super) fn decode(bytes: &[u8], probe: &Probe) -> Result<Raster, ImageError> {
    let rows = ROWS * ROW_PIXEL_BYTES * probe.width as usize;
    let metadata = usize::try_from(probe.working_bytes).map_err(|_| differs(probe))?;
    let bytes_max = CHUNKS_BYTES + rows + metadata;
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: bytes_max });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    // The pixels' memory is allocated below: not before the header has been held against the probe.
    let header = decoder.read_header_info().map_err(corrupt)?;
    if (header.width, header.height) != (probe.width, probe.height) {
        return Err(differs(probe));
    }
    let mut reader = decoder.read_info().map_err(corrupt)?;
    let length = reader.output_buffer_size().ok_or_else(|| differs(probe))?;
    let mut pixels = vec![0; length];
    let output = reader.next_frame(&mut pixels).map_err(corrupt)?;
    // A file without its end has been cut off, even if no pixel is missing.
    reader.finish().map_err(corrupt)?;
    if (output.width, output.height) != (probe.width, probe.height) {
        return Err(differs(probe));
    }
    let (layout, pixels) = match output.color_type {
        ColorType::Rgb => (Layout::Rgb, pixels),
        ColorType::Rgba => (Layout::Rgba, pixels),
        ColorType::Grayscale => (Layout::Rgb, from_grey(&pixels)),
        ColorType::GrayscaleAlpha => (Layout::Rgba, from_grey_alpha(&pixels)),
        ColorType::Indexed => return Err(differs(probe)),
    };
    Ok(Raster {
        width: probe.width,
        height: probe.height,
        layout,
        pixels,
    })
}

fn corrupt(error: DecodingError) -> ImageError {
    ImageError::corrupt("PNG", error)
}
