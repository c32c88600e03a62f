//! WebP: its chunks, and those within the frames of an animation.

use super::view::View;
use super::{Kind, Probe, profile};
use crate::image::{ImageError, Limits};

/// Chunks that are no frames; beyond, a file is refused.
const CHUNKS_MAX: usize = 4_096;

/// What the decoder's tables take of memory for each byte of a lossless picture, at most. A code of 11 symbols is said
/// in 11 bytes and has a table of 4,096; 6 symbols of more than 10 bits are said in 3 bits and take 32 bytes each.
const TABLES_TIMES: u64 = 520;

/// Of as many groups of codes as can be numbered, each of 5 tables, and of all symbols they can have.
const TABLES_MAX: u64 = 65_536 * (5 * 4_096 + 32 * (280 + 2_048 + 3 * 256 + 40));

/// A coded picture.
#[derive(Clone, Copy)]
pub(in crate::image) struct Picture<'a> {
    pub(in crate::image) coding: Coding<'a>,
    pub(in crate::image) width: u32,
    pub(in crate::image) height: u32,
}

#[derive(Clone, Copy)]
pub(in crate::image) enum Coding<'a> {
    /// The contents of the chunks `VP8 ` and, where it has transparency, `ALPH`.
    Lossy { data: &'a [u8], alpha: Option<&'a [u8]> },
    /// The content of the chunk `VP8L`.
    Lossless { data: &'a [u8], alpha: bool },
}

/// A picture of an animation.
#[derive(Clone, Copy)]
pub(in crate::image) struct AnimationFrame<'a> {
    pub(in crate::image) left: u32,
    pub(in crate::image) top: u32,
    pub(in crate::image) picture: Picture<'a>,
    /// In milliseconds.
    pub(in crate::image) delay: u32,
    /// Laid over what is there, rather than put in its place.
    pub(in crate::image) blend: bool,
    /// Whether its area becomes transparent after it.
    pub(in crate::image) dispose: bool,
}

/// What the chunks of a file are.
pub(in crate::image) enum Content<'a> {
    Still(Picture<'a>),
    /// The chunks in which the frames are, and the canvas's sides.
    Animation(&'a [u8]),
}

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let chunks = chunks(bytes)?;
    let Some(extended) = extended(chunks)? else {
        let picture = picture(chunks)?;
        let mut probe = Probe::still(Kind::Webp, picture.width, picture.height, limits)?;
        probe.alpha = picture.alpha();
        probe.working_bytes = picture.tables();
        return Ok(probe);
    };
    let mut probe = Probe::still(Kind::Webp, extended.width, extended.height, limits)?;
    if extended.animated {
        count_frames(&mut probe, chunks, limits)?;
    } else {
        let picture = picture(chunks)?;
        if (picture.width, picture.height) != (probe.width, probe.height) {
            return Err(corrupt("its picture has another size than it says"));
        }
        probe.alpha = picture.alpha();
        probe.working_bytes = picture.tables();
    }
    take_metadata(&mut probe, chunks, limits)?;
    Ok(probe)
}

/// # Errors
/// When the bytes end before the file does, or it has no picture.
pub(in crate::image) fn content(bytes: &[u8]) -> Result<Content<'_>, ImageError> {
    let chunks = chunks(bytes)?;
    match extended(chunks)? {
        Some(extended) if extended.animated => Ok(Content::Animation(chunks)),
        _ => picture(chunks).map(Content::Still),
    }
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Webp.name(), cause)
}

/// The content of the file, without what may follow it.
fn chunks(bytes: &[u8]) -> Result<&[u8], ImageError> {
    let length = View(bytes).le32(4).unwrap_or_default() as usize;
    let end = length.checked_add(8).filter(|end| *end <= bytes.len());
    end.and_then(|end| bytes.get(12..end))
        .ok_or_else(|| corrupt("it is cut off"))
}

#[derive(Clone, Copy)]
pub(in crate::image) struct Chunk<'a> {
    pub(in crate::image) kind: [u8; 4],
    pub(in crate::image) content: &'a [u8],
}

/// The first chunk of `rest`, which becomes what follows it.
pub(in crate::image) fn next_chunk<'a>(rest: &mut &'a [u8]) -> Result<Option<Chunk<'a>>, ImageError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let cut = || corrupt("a chunk is cut off");
    let view = View(rest);
    let kind = view.array(0).ok_or_else(cut)?;
    let length = view.le32(4).ok_or_else(cut)? as usize;
    let content = view.slice(8, length).ok_or_else(cut)?;
    // Chunks are of even length; the last one's filling byte is missing in some files.
    let end = length.checked_add(8 + length % 2).ok_or_else(cut)?;
    *rest = rest.get(end..).unwrap_or_default();
    Ok(Some(Chunk { kind, content }))
}

struct Extended {
    animated: bool,
    width: u32,
    height: u32,
}

fn extended(mut chunks: &[u8]) -> Result<Option<Extended>, ImageError> {
    let Some(Chunk { kind, content }) = next_chunk(&mut chunks)? else {
        return Err(corrupt("it is empty"));
    };
    if &kind != b"VP8X" {
        return Ok(None);
    }
    let view = View(content);
    let read = || {
        Some(Extended {
            animated: view.byte(0)? & 2 != 0,
            width: view.le24(4)? + 1,
            height: view.le24(7)? + 1,
        })
    };
    read().map(Some).ok_or_else(|| corrupt("its header is cut off"))
}

/// The first picture among `chunks`.
fn picture(mut chunks: &[u8]) -> Result<Picture<'_>, ImageError> {
    let mut alpha = None;
    for _ in 0..CHUNKS_MAX {
        match next_chunk(&mut chunks)? {
            None => break,
            Some(Chunk { kind, content }) => match &kind {
                b"ALPH" => alpha = Some(content),
                b"VP8 " => return lossy(content, alpha),
                b"VP8L" => return lossless(content),
                _ => {}
            },
        }
    }
    Err(corrupt("a picture is missing"))
}

/// RFC 6386, section 9.1: of a key frame.
fn lossy<'a>(data: &'a [u8], alpha: Option<&'a [u8]>) -> Result<Picture<'a>, ImageError> {
    let view = View(data);
    let head = view
        .slice(0, 6)
        .filter(|head| head[0] & 1 == 0 && head[3..] == [0x9d, 0x01, 0x2a]);
    let sides = head.and_then(|_| Some((view.le16(6)? & 0x3fff, view.le16(8)? & 0x3fff)));
    let (width, height) = sides.ok_or_else(|| corrupt("its lossy picture has no header"))?;
    Ok(Picture {
        coding: Coding::Lossy { data, alpha },
        width: width.into(),
        height: height.into(),
    })
}

fn lossless(data: &[u8]) -> Result<Picture<'_>, ImageError> {
    let view = View(data);
    let head = view
        .le32(1)
        .filter(|head| view.byte(0) == Some(0x2f) && head >> 29 == 0);
    let head = head.ok_or_else(|| corrupt("its lossless picture has no header"))?;
    Ok(Picture {
        coding: Coding::Lossless {
            data,
            alpha: (head >> 28) & 1 == 1,
        },
        width: (head & 0x3fff) + 1,
        height: ((head >> 14) & 0x3fff) + 1,
    })
}

impl Picture<'_> {
    pub(in crate::image) fn alpha(&self) -> bool {
        match self.coding {
            Coding::Lossy { alpha, .. } => alpha.is_some(),
            Coding::Lossless { alpha, .. } => alpha,
        }
    }

    /// Bytes that the decoder's tables of codes take at most.
    pub(super) fn tables(&self) -> u64 {
        let lossless = match self.coding {
            Coding::Lossless { data, .. } => data.len(),
            // Transparency is packed as a lossless picture, or not at all.
            Coding::Lossy {
                alpha: Some(data), ..
            } if data.first().is_some_and(|head| head & 3 == 1) => data.len(),
            Coding::Lossy { .. } => 0,
        };
        TABLES_MAX.min(TABLES_TIMES * lossless as u64)
    }
}

impl<'a> AnimationFrame<'a> {
    /// Of the content of a chunk `ANMF`.
    pub(in crate::image) fn of(content: &'a [u8]) -> Result<Self, ImageError> {
        let cut = || corrupt("a frame's header is cut off");
        let view = View(content);
        let number = |at| view.le24(at).ok_or_else(cut);
        let flags = view.byte(15).ok_or_else(cut)?;
        let frame = AnimationFrame {
            left: number(0)? * 2,
            top: number(3)? * 2,
            picture: picture(&content[16..])?,
            delay: number(12)?,
            blend: flags & 2 == 0,
            dispose: flags & 1 == 1,
        };
        if (frame.picture.width, frame.picture.height) != (number(6)? + 1, number(9)? + 1) {
            return Err(corrupt("a frame's picture has another size than it says"));
        }
        Ok(frame)
    }

    fn fills(&self, canvas: &Probe) -> bool {
        let Picture { width, height, .. } = self.picture;
        (self.left, self.top, width, height) == (0, 0, canvas.width, canvas.height)
    }
}

fn count_frames(probe: &mut Probe, mut chunks: &[u8], limits: &Limits) -> Result<(), ImageError> {
    probe.frames = 0;
    probe.loops = 0;
    while let Some(Chunk { kind, content }) = next_chunk(&mut chunks)? {
        if &kind == b"ANIM" {
            probe.loops = View(content).le16(4).unwrap_or_default().into();
        }
        if &kind != b"ANMF" {
            continue;
        }
        let frame = AnimationFrame::of(content)?;
        let Picture { width, height, .. } = frame.picture;
        if frame.left + width > probe.width || frame.top + height > probe.height {
            return Err(corrupt("a frame lies outside the canvas"));
        }
        probe.working_bytes = probe.working_bytes.max(frame.picture.tables());
        let first = probe.frames == 0;
        probe.alpha |=
            frame.dispose || frame.picture.alpha() && (first || !frame.blend) || first && !frame.fills(probe);
        probe.frames += 1;
        limits.animation(probe.frames, probe.pixels())?;
    }
    if probe.frames == 0 {
        return Err(corrupt("it has no frame"));
    }
    Ok(())
}

fn take_metadata(probe: &mut Probe, mut chunks: &[u8], limits: &Limits) -> Result<(), ImageError> {
    while let Some(Chunk { kind, content }) = next_chunk(&mut chunks)? {
        match &kind {
            b"ICCP" => {
                limits.profile(content.len())?;
                probe.profile = profile::checked(content.to_vec());
            }
            b"EXIF" => probe.take_exif(content),
            _ => {}
        }
    }
    Ok(())
}
