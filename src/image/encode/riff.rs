//! WebP's container: the chunks around what libwebp writes.
//!
//! <https://developers.google.com/speed/webp/docs/riff_container>. Invariant: the sizes written are those of what
//! follows. It does not know what is in a picture's chunks.

use super::Target;
use super::animation::Area;
use crate::image::ImageError;
use crate::image::raster::Layout;

const ANIMATED: u8 = 0x02;
const EXIF: u8 = 0x08;
const ALPHA: u8 = 0x10;
/// Of a frame: it takes the place of what was there, also where it is transparent.
const REPLACE: u8 = 0x02;
/// The largest number of 24 bits: a frame's time in milliseconds.
const TIME_MAX: u32 = (1 << 24) - 1;

/// Where a frame goes, and for how many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) area: Area,
    pub(crate) delay: u32,
}

/// A moving file in the making.
pub(crate) struct Animation {
    size: (u32, u32),
    flags: u8,
    chunks: Vec<u8>,
}

impl Animation {
    pub(crate) fn new(size: (u32, u32), layout: Layout, loops: u32) -> Self {
        let mut animation = Animation {
            size,
            flags: ANIMATED | alpha_flag(layout),
            chunks: Vec::new(),
        };
        // A transparent background, which browsers do not look at.
        let mut parameters = vec![0; 4];
        let loops = u16::try_from(loops).unwrap_or(u16::MAX);
        parameters.extend(loops.to_le_bytes());
        push_chunk(&mut animation.chunks, b"ANIM", &parameters);
        animation
    }

    /// # Errors
    /// When `file` is no still WebP.
    pub(crate) fn push(&mut self, placed: Placed, file: &[u8]) -> Result<(), ImageError> {
        let Placed { area, delay } = placed;
        let mut frame = Vec::with_capacity(file.len() + 16);
        let times = [
            area.left / 2,
            area.top / 2,
            area.width - 1,
            area.height - 1,
            delay.min(TIME_MAX),
        ];
        frame.extend(times.into_iter().flat_map(three_bytes));
        frame.push(REPLACE);
        push_picture(&mut frame, file)?;
        push_chunk(&mut self.chunks, b"ANMF", &frame);
        Ok(())
    }

    pub(crate) fn finish(self, exif: Option<&[u8]>) -> Vec<u8> {
        extended(self.size, self.flags, &self.chunks, exif)
    }
}

/// A still file with an EXIF block.
///
/// # Errors
/// When `file` is no still WebP.
pub(crate) fn with_exif(
    file: &[u8],
    size: (u32, u32),
    layout: Layout,
    exif: &[u8],
) -> Result<Vec<u8>, ImageError> {
    let mut chunks = Vec::with_capacity(file.len());
    push_picture(&mut chunks, file)?;
    Ok(extended(size, alpha_flag(layout), &chunks, Some(exif)))
}

fn alpha_flag(layout: Layout) -> u8 {
    if layout == Layout::Rgba { ALPHA } else { 0 }
}

/// A file of the extended kind: what it holds stands first.
fn extended((width, height): (u32, u32), flags: u8, chunks: &[u8], exif: Option<&[u8]>) -> Vec<u8> {
    let flags = if exif.is_some() { flags | EXIF } else { flags };
    let mut header = vec![flags, 0, 0, 0];
    header.extend(three_bytes(width - 1));
    header.extend(three_bytes(height - 1));
    let mut body = b"WEBP".to_vec();
    push_chunk(&mut body, b"VP8X", &header);
    body.extend(chunks);
    if let Some(exif) = exif {
        push_chunk(&mut body, b"EXIF", exif);
    }
    let mut file = Vec::with_capacity(body.len() + 8);
    push_chunk(&mut file, b"RIFF", &body);
    file
}

/// Copies the chunks that are the picture itself.
fn push_picture(into: &mut Vec<u8>, file: &[u8]) -> Result<(), ImageError> {
    let broken = || Target::Webp.error("libwebp wrote no WebP");
    let mut rest = file
        .strip_prefix(b"RIFF")
        .and_then(|file| file.get(8..))
        .ok_or_else(broken)?;
    while let Some((name, after)) = rest.split_first_chunk::<4>() {
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = after.get(..length).ok_or_else(broken)?;
        if matches!(name, b"ALPH" | b"VP8 " | b"VP8L") {
            push_chunk(into, name, data);
        }
        rest = after.get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}

/// A chunk of an odd length is followed by a byte that does not count.
fn push_chunk(into: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    into.extend(name);
    into.extend((data.len() as u32).to_le_bytes());
    into.extend(data);
    if data.len() % 2 == 1 {
        into.push(0);
    }
}

fn three_bytes(number: u32) -> [u8; 3] {
    let [low, middle, high, _] = number.to_le_bytes();
    [low, middle, high]
}
