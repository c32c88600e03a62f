//! JPEG: its segments up to the first scan, and how many scans there are.

use super::{Colours, Kind, Probe, profile};
use crate::image::probe::view::View;
use crate::image::{ImageError, Limits};

/// Before the first scan; a camera's file has about twenty, and a profile up to 255.
const SEGMENTS_MAX: u32 = 4_096;

/// The second byte of markers (ITU-T T.81, table B.1).
mod marker {
    pub(super) const TEMPORARY: u8 = 0x01;
    pub(super) const RESTART_FIRST: u8 = 0xd0;
    pub(super) const RESTART_LAST: u8 = 0xd7;
    pub(super) const END: u8 = 0xd9;
    pub(super) const SCAN: u8 = 0xda;
    pub(super) const APP1: u8 = 0xe1;
    pub(super) const APP2: u8 = 0xe2;
    pub(super) const APP14: u8 = 0xee;
}

/// What stands before the first scan's data.
pub(in crate::image) struct Head<'a> {
    frame: FrameHeader,
    exif: Option<&'a [u8]>,
    profile: Vec<Piece<'a>>,
    /// Whether values of CMYK are stored inverted, so that 255 is no ink.
    pub(in crate::image) adobe: bool,
    several_scans: bool,
    /// Where the first scan's data begin.
    data: usize,
}

#[derive(Clone, Copy)]
struct FrameHeader {
    process: Process,
    precision: u8,
    width: u16,
    height: u16,
    components: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Sequential,
    Progressive,
}

/// One of the segments that a profile is cut into.
#[derive(Clone, Copy)]
struct Piece<'a> {
    /// From 1 to `count`.
    number: u8,
    count: u8,
    bytes: &'a [u8],
}

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let head = head(bytes)?;
    let frame = head.frame;
    let mut probe = Probe::still(Kind::Jpeg, frame.width.into(), frame.height.into(), limits)?;
    probe.colours = colours(frame)?;
    probe.depth = frame.precision;
    probe.progressive = frame.process == Process::Progressive || head.several_scans;
    if probe.progressive {
        let scans = scans(bytes, head.data, limits.jpeg_scans);
        ImageError::within(
            "the JPEG's number of scans",
            scans.into(),
            limits.jpeg_scans.into(),
        )?;
    }
    let length = head.profile.iter().map(|piece| piece.bytes.len()).sum();
    limits.profile(length)?;
    probe.profile = joined(&head.profile).and_then(profile::checked);
    if let Some(exif) = head.exif {
        probe.take_exif(exif);
    }
    Ok(probe)
}

/// # Errors
/// When the bytes end before the first scan, or are not made of segments.
pub(in crate::image) fn head(bytes: &[u8]) -> Result<Head<'_>, ImageError> {
    let mut frame = None;
    let mut exif = None;
    let mut profile = Vec::new();
    let mut adobe = false;
    let mut at = 2;
    for _ in 0..SEGMENTS_MAX {
        let (kind, content, end) = segment(bytes, at)?;
        at = end;
        match kind {
            0xc0..=0xcf if !matches!(kind, 0xc4 | 0xc8 | 0xcc) => frame = Some(frame_header(kind, content)?),
            marker::APP1 if content.starts_with(b"Exif\0\0") => exif = exif.or(Some(content)),
            marker::APP2 => profile.extend(piece(content)),
            marker::APP14 if content.starts_with(b"Adobe") => adobe = true,
            marker::SCAN => {
                let frame = frame.ok_or_else(|| corrupt("a scan stands before the frame's header"))?;
                let several_scans = content.first().is_some_and(|count| *count < frame.components);
                let data = end;
                return Ok(Head {
                    frame,
                    exif,
                    profile,
                    adobe,
                    several_scans,
                    data,
                });
            }
            _ => {}
        }
    }
    Err(ImageError::Limit {
        what: "the number of segments before the JPEG's first scan",
        value: u64::from(SEGMENTS_MAX) + 1,
        max: SEGMENTS_MAX.into(),
    })
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Jpeg.name(), cause)
}

/// The segment at `at`: its marker, its content and where it ends.
fn segment(bytes: &[u8], mut at: usize) -> Result<(u8, &[u8], usize), ImageError> {
    let view = View(bytes);
    let ended = || corrupt("it ends before its first scan");
    if view.byte(at).ok_or_else(ended)? != 0xff {
        return Err(corrupt("a marker is missing"));
    }
    // Any number of 0xff may stand before a marker.
    while view.byte(at).ok_or_else(ended)? == 0xff {
        at += 1;
    }
    let kind = view.byte(at).ok_or_else(ended)?;
    at += 1;
    if matches!(
        kind,
        marker::TEMPORARY | marker::RESTART_FIRST..=marker::RESTART_LAST
    ) {
        return Ok((kind, &[], at));
    }
    if kind == 0 || kind == marker::END {
        return Err(corrupt("it has no scan"));
    }
    let length = usize::from(view.be16(at).ok_or_else(ended)?);
    let content = view.slice(at, length).ok_or_else(ended)?;
    let content = content
        .get(2..)
        .ok_or_else(|| corrupt("a segment is shorter than its length"))?;
    Ok((kind, content, at + length))
}

fn frame_header(kind: u8, content: &[u8]) -> Result<FrameHeader, ImageError> {
    let process = match kind {
        0xc0 | 0xc1 | 0xc9 => Process::Sequential,
        0xc2 | 0xca => Process::Progressive,
        _ => {
            return Err(ImageError::Unsupported {
                what: "a lossless or hierarchical JPEG",
            });
        }
    };
    let view = View(content);
    let read = || {
        Some(FrameHeader {
            process,
            precision: view.byte(0)?,
            height: view.be16(1)?,
            width: view.be16(3)?,
            components: view.byte(5)?,
        })
    };
    read().ok_or_else(|| corrupt("its frame's header is cut off"))
}

fn colours(frame: FrameHeader) -> Result<Colours, ImageError> {
    if frame.precision != 8 {
        return Err(ImageError::Unsupported {
            what: "a JPEG of other than 8 bits",
        });
    }
    match frame.components {
        1 => Ok(Colours::Grey),
        3 => Ok(Colours::Rgb),
        4 => Ok(Colours::Cmyk),
        _ => Err(ImageError::Unsupported {
            what: "a JPEG of other than 1, 3 or 4 components",
        }),
    }
}

fn piece(content: &[u8]) -> Option<Piece<'_>> {
    match content.strip_prefix(b"ICC_PROFILE\0")? {
        [number, count, bytes @ ..] => Some(Piece {
            number: *number,
            count: *count,
            bytes,
        }),
        _ => None,
    }
}

/// The profile, if its pieces are all there and each once, in whatever order.
fn joined(pieces: &[Piece<'_>]) -> Option<Vec<u8>> {
    let mut pieces = pieces.to_vec();
    pieces.sort_by_key(|piece| piece.number);
    let count = pieces.len();
    let whole = (1..).zip(&pieces).all(|(number, piece): (usize, _)| {
        usize::from(piece.number) == number && usize::from(piece.count) == count
    });
    whole.then(|| pieces.iter().flat_map(|piece| piece.bytes).copied().collect())
}

/// How many scans there are, the first one's data beginning at `at`; counted as far as the first beyond `max`.
fn scans(bytes: &[u8], mut at: usize, max: u32) -> u32 {
    let view = View(bytes);
    let mut count = 1;
    while count <= max {
        let Some(found) = bytes.get(at..).and_then(first_marker) else {
            break;
        };
        at += found + 1;
        match view.byte(at) {
            // A 0xff of the data; a marker without content; a 0xff that fills.
            Some(0 | marker::TEMPORARY | marker::RESTART_FIRST..=marker::RESTART_LAST | 0xff) => {}
            None | Some(marker::END) => break,
            Some(kind) => {
                count += u32::from(kind == marker::SCAN);
                at += 1 + usize::from(view.be16(at + 1).unwrap_or_default());
            }
        }
    }
    count
}

/// Where the first 0xff is. In blocks, because looking whether one is in there is many times faster than where.
fn first_marker(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    for (i, block) in bytes.chunks(BLOCK).enumerate() {
        if block.contains(&0xff) {
            let within = block.iter().position(|byte| *byte == 0xff)?;
            return Some(i * BLOCK + within);
        }
    }
    None
}
