//! JPEG through libjpeg-turbo, which scales while it decodes.

use super::{Eighths, differs, length};
use crate::image::probe::jpeg::head;
use crate::image::raster::{Layout, Raster};
use crate::image::{Colours, ImageError, Limits, Probe};
use turbojpeg::{Decompressor, Image, PixelFormat, ScalingFactor};

/// The decoder counts every warning as an error: of data that end early, it only warns.
pub(super) fn decode(
    bytes: &[u8],
    probe: &Probe,
    Eighths(eighths): Eighths,
    limits: &Limits,
) -> Result<Raster, ImageError> {
    let head = head(bytes)?;
    let cmyk = probe.colours == Colours::Cmyk;
    let (layout, format) = if cmyk {
        (Layout::Cmyk, PixelFormat::CMYK)
    } else {
        (Layout::Rgb, PixelFormat::RGB)
    };
    let scale = ScalingFactor::new(eighths.into(), 8);
    let mut raster = blank(probe, scale, layout)?;
    let mut decoder = Decompressor::new().map_err(corrupt)?;
    decoder.set_scan_limit(limits.jpeg_scans).map_err(corrupt)?;
    decoder.set_scaling_factor(scale).map_err(corrupt)?;
    let header = decoder.read_header(bytes).map_err(corrupt)?;
    if (header.width, header.height) != (probe.width as usize, probe.height as usize) {
        return Err(differs(probe));
    }
    let output = Image {
        width: raster.width as usize,
        height: raster.height as usize,
        pitch: raster.width as usize * layout.channels(),
        pixels: raster.pixels.as_mut_slice(),
        format,
    };
    decoder.decompress(bytes, output).map_err(corrupt)?;
    if cmyk && !head.adobe {
        raster.pixels.iter_mut().for_each(|value| *value = 255 - *value);
    }
    Ok(raster)
}

fn corrupt(error: turbojpeg::Error) -> ImageError {
    ImageError::corrupt("JPEG", error)
}

/// A raster of the scaled size, whose memory the system has made 0 already.
fn blank(probe: &Probe, scale: ScalingFactor, layout: Layout) -> Result<Raster, ImageError> {
    if !Decompressor::supported_scaling_factors().contains(&scale) {
        return Err(ImageError::Unsupported {
            what: "decoding a JPEG to this part of its size",
        });
    }
    let [width, height] = [probe.width, probe.height].map(|side| scale.scale(side as usize) as u32);
    let pixels = vec![0; length(width, height, layout)];
    Ok(Raster {
        width,
        height,
        layout,
        pixels,
    })
}
