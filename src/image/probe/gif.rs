//! GIF: its blocks, of which no picture is decoded.

use super::view::View;
use super::{Colours, Kind, Probe};
use crate::image::{ImageError, Limits};

/// What a block tells.
enum Block {
    Control {
        disposal: u8,
        transparent: bool,
    },
    Loops(u16),
    Picture(Area),
    /// Comments, text and the like.
    Other,
}

/// Where a frame lies on the canvas.
#[derive(Clone, Copy)]
struct Area {
    left: u16,
    top: u16,
    width: u16,
    height: u16,
}

/// What has been seen of the frames.
#[derive(Default)]
struct Seen {
    frames: u32,
    /// Whether the canvas may show through somewhere.
    alpha: bool,
    disposal: u8,
    transparent: bool,
}

pub(super) fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    let view = View(bytes);
    let [width, height] = [view.le16(6), view.le16(8)].map(|side| side.map(u32::from).unwrap_or_default());
    let mut probe = Probe::still(Kind::Gif, width, height, limits)?;
    probe.colours = Colours::Palette;
    let mut seen = Seen::default();
    let mut at = 13 + view.byte(10).map_or(0, colour_table);
    while let Some((block, end)) =
        block(bytes, at).ok_or_else(|| corrupt("it is cut off or no GIF further on"))?
    {
        at = end;
        match block {
            Block::Control {
                disposal,
                transparent,
            } => (seen.disposal, seen.transparent) = (disposal, transparent),
            // Shown once, and then this often again.
            Block::Loops(again) => probe.loops = if again == 0 { 0 } else { u32::from(again) + 1 },
            Block::Picture(area) => {
                seen.picture(area, &probe)?;
                limits.animation(seen.frames, probe.pixels())?;
            }
            Block::Other => {}
        }
    }
    if seen.frames == 0 {
        return Err(corrupt("it has no picture"));
    }
    probe.frames = seen.frames;
    probe.alpha = seen.alpha;
    Ok(probe)
}

fn corrupt(cause: &'static str) -> ImageError {
    ImageError::corrupt(Kind::Gif.name(), cause)
}

impl Seen {
    /// After an opaque first frame that fills the canvas, only disposing of frames can make it transparent.
    fn picture(&mut self, area: Area, canvas: &Probe) -> Result<(), ImageError> {
        let (width, height) = (u32::from(area.width), u32::from(area.height));
        if width == 0 || height == 0 {
            return Err(corrupt("a side of a frame is 0"));
        }
        // The memory of a frame is that of the canvas then.
        if width > canvas.width || height > canvas.height {
            return Err(corrupt("a frame is larger than the canvas"));
        }
        let fills = (area.left, area.top) == (0, 0) && (width, height) == (canvas.width, canvas.height);
        let first = self.frames == 0;
        self.alpha |= first && (self.transparent || !fills || self.disposal == 3);
        self.alpha |= self.disposal == 2;
        self.frames += 1;
        (self.disposal, self.transparent) = (0, false);
        Ok(())
    }
}

/// The block at `at` and where it ends; nothing at the trailer. `None` where the bytes end or are no block.
fn block(bytes: &[u8], at: usize) -> Option<Option<(Block, usize)>> {
    let view = View(bytes);
    match view.byte(at)? {
        0x3b => Some(None),
        0x2c => {
            let [left, top, width, height] = [
                view.le16(at + 1)?,
                view.le16(at + 3)?,
                view.le16(at + 5)?,
                view.le16(at + 7)?,
            ];
            // After a table of colours of its own there is the smallest code's size.
            let data = at + 10 + colour_table(view.byte(at + 9)?) + 1;
            Some(Some((
                Block::Picture(Area {
                    left,
                    top,
                    width,
                    height,
                }),
                end_of(bytes, data)?,
            )))
        }
        0x21 => Some(Some((extension(view, at)?, end_of(bytes, at + 2)?))),
        _ => None,
    }
}

fn extension(view: View<'_>, at: usize) -> Option<Block> {
    match (view.byte(at + 1)?, view.byte(at + 2)?) {
        (0xf9, 4) => {
            let flags = view.byte(at + 3)?;
            Some(Block::Control {
                disposal: (flags >> 2) & 7,
                transparent: flags & 1 == 1,
            })
        }
        (0xff, 11) if view.slice(at + 3, 11)? == b"NETSCAPE2.0" && view.slice(at + 14, 2)? == [3, 1] => {
            view.le16(at + 16).map(Block::Loops)
        }
        _ => Some(Block::Other),
    }
}

/// The length of a table of colours, by the flags that announce it.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Where the sub-blocks that begin at `at` end.
fn end_of(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}
