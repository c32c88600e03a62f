//! PNG: its chunks. An animated one is taken for its default picture.

use super::codes::Codes;
use super::metadata::notice;
use super::view::View;
use super::{Colours, Kind, Probe, profile};
use crate::image::{ImageError, Limits};
use flate2::read::ZlibDecoder;
use std::io::Read;

/// Chunks beyond are not looked at for metadata.
const CHUNKS_MAX: usize = 65_536;

/// Of the bytes of an `eXIf`: what it is read to, which grows by doubling, and what is kept.
const EXIF_COPIES: u64 = 3;

/// Of a chunk: length, kind and checksum.
const FRAMING: usize = 12;

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let header = View(bytes)
        .slice(8, FRAMING + 13)
        .ok_or_else(|| corrupt("its header is cut off"))?;
    let mut probe = header_of(View(header), limits)?;
    let mut found = Found::default();
    let mut at = 8;
    for _ in 0..CHUNKS_MAX {
        let Some((kind, content)) = chunk(bytes, at) else {
            break;
        };
        at += FRAMING + content.len();
        if kind == b"IEND" {
            break;
        }
        found.take(kind, content, &mut probe);
    }
    if !found.data {
        return Err(corrupt("it has no pixels"));
    }
    if let Some(packed) = found.profile {
        probe.profile = unpacked(packed, limits)?.and_then(profile::checked);
    }
    // They come before a profile.
    if let Some(codes) = found.codes {
        probe.profile = codes.profile()?;
    }
    if let Some(exif) = found.exif {
        probe.take_exif(exif);
    }
    Ok(probe)
}

/// Of each kind of chunk the first counts: many, each inflated, would be much work for a small file.
#[derive(Default)]
struct Found<'a> {
    data: bool,
    codes: Option<Codes>,
    profile: Option<&'a [u8]>,
    exif: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    fn take(&mut self, kind: &[u8], content: &'a [u8], probe: &mut Probe) {
        match kind {
            b"IDAT" => self.data = true,
            b"tRNS" if !self.data => probe.alpha = true,
            b"cICP" if !self.data => self.codes = self.codes.or_else(|| codes_of(content)),
            b"iCCP" if !self.data => self.profile = self.profile.or(Some(content)),
            b"eXIf" => {
                self.exif = self.exif.or(Some(content));
                // The decoder can not pass it over, and keeps a copy.
                probe.working_bytes += EXIF_COPIES * content.len() as u64;
            }
            b"tEXt" => probe.take_text(content),
            _ => {}
        }
    }
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Png.name(), cause)
}

fn header_of(header: View<'_>, limits: &Limits) -> Result<Probe, ImageError> {
    let cut = || corrupt("its first chunk is no header");
    if header.slice(0, 8) != Some(b"\0\0\0\x0dIHDR") {
        return Err(cut());
    }
    let width = header.be32(8).ok_or_else(cut)?;
    let height = header.be32(12).ok_or_else(cut)?;
    let mut probe = Probe::still(Kind::Png, width, height, limits)?;
    let [depth, colours, _, _, interlace] = header.array(16).ok_or_else(cut)?;
    probe.depth = depth;
    probe.colours = match colours {
        0 | 4 => Colours::Grey,
        2 | 6 => Colours::Rgb,
        3 => Colours::Palette,
        _ => return Err(corrupt("its colour type is unknown")),
    };
    probe.alpha = matches!(colours, 4 | 6);
    probe.progressive = interlace == 1;
    Ok(probe)
}

fn chunk(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let view = View(bytes);
    let length = view.be32(at)? as usize;
    let kind = view.slice(at + 4, 4)?;
    let content = view.slice(at + 8, length)?;
    Some((kind, content))
}

/// Of a chunk `cICP`. Of other than RGB, as the matrix says, there are none in a PNG.
fn codes_of(content: &[u8]) -> Option<Codes> {
    match *content {
        [primaries, transfer, 0, full_range @ 0..=1] => Some(Codes {
            primaries: primaries.into(),
            transfer: transfer.into(),
            matrix: 0,
            full_range: full_range == 1,
        }),
        _ => None,
    }
}

/// The profile after its name and its method of compression; `None` where it is broken.
///
/// # Errors
/// When it is larger than the limit: then no more than that has been inflated.
fn unpacked(content: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, ImageError> {
    let name = content.iter().take(80).position(|byte| *byte == 0);
    let Some([0, packed @ ..]) = name.and_then(|end| content.get(end + 1..)) else {
        return Ok(None);
    };
    let mut profile = Vec::new();
    let enough = limits.profile_bytes.bytes().saturating_add(1);
    let read = ZlibDecoder::new(packed).take(enough).read_to_end(&mut profile);
    limits.profile(profile.len())?;
    Ok(read.is_ok().then_some(profile))
}

impl Probe {
    /// A keyword, 0, and the text.
    fn take_text(&mut self, content: &[u8]) {
        if let Some(text) = content.strip_prefix(b"Copyright\0") {
            self.copyright = self.copyright.take().or_else(|| notice(text));
        } else if let Some(text) = content.strip_prefix(b"Author\0") {
            self.artist = self.artist.take().or_else(|| notice(text));
        }
    }
}
