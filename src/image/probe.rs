//! What some bytes are, by their headers alone.
//!
//! Invariant: the work is linear in the bytes and nothing is allocated that a limit does not bound; a [`Probe`]'s
//! numbers are within the limits it was made with, and are what the decoders hold the pixels against. It does not
//! decode a pixel.

mod avif;
mod bmp;
#[cfg(test)]
mod bomb_tests;
mod codes;
mod directory;
pub(super) mod gif;
pub(super) mod jpeg;
mod memory;
mod metadata;
mod png;
mod profile;
mod sniff;
#[cfg(test)]
mod tests;
pub(super) mod tiff;
mod view;
pub(super) mod webp;

use super::{ImageError, Limits};
use crate::spec::Turn;

/// The format of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Avif,
    Bmp,
    Tiff,
}

/// The channels a source has before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Grey,
    Rgb,
    Palette,
    Cmyk,
}

/// The facts of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub kind: Kind,
    /// As stored, before its orientation.
    pub width: u32,
    pub height: u32,
    /// How it has to be turned to be upright (EXIF, or an AVIF's `irot` and `imir`).
    pub turn: Turn,
    /// 1 for a still. Counted only as far as the limit.
    pub frames: u32,
    /// How often an animation is shown; 0 for ever.
    pub loops: u32,
    /// Whether it may hold transparent pixels.
    pub alpha: bool,
    pub colours: Colours,
    /// Bits of a channel.
    pub depth: u8,
    /// Decoded in several passes over the whole (a progressive JPEG, an interlaced PNG).
    pub progressive: bool,
    /// Memory that its decoder takes beyond what size and format let expect, in bytes.
    pub working_bytes: u64,
    /// Its ICC profile as it is used: decompressed, joined of its pieces.
    pub profile: Option<Vec<u8>>,
    /// Copyright notice and artist, where it has them.
    pub copyright: Option<String>,
    pub artist: Option<String>,
}

/// # Errors
/// When the bytes are no image that is known, are broken in their headers, or break a limit.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<Probe, ImageError> {
    limits.file(bytes)?;
    match sniff::kind(bytes)? {
        Kind::Jpeg => jpeg::probe(bytes, limits),
        Kind::Png => png::probe(bytes, limits),
        Kind::Gif => gif::probe(bytes, limits),
        Kind::Webp => webp::probe(bytes, limits),
        Kind::Avif => avif::probe(bytes, limits),
        Kind::Bmp => bmp::probe(bytes, limits),
        Kind::Tiff => tiff::probe(bytes, limits),
    }
}

impl Kind {
    /// As it is called in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Jpeg => "JPEG",
            Kind::Png => "PNG",
            Kind::Gif => "GIF",
            Kind::Webp => "WebP",
            Kind::Avif => "AVIF",
            Kind::Bmp => "BMP",
            Kind::Tiff => "TIFF",
        }
    }
}

impl Probe {
    /// An upright, opaque RGB picture of 8 bits without metadata, if the limits allow its size.
    pub(super) fn still(kind: Kind, width: u32, height: u32, limits: &Limits) -> Result<Probe, ImageError> {
        if width == 0 || height == 0 {
            return Err(ImageError::corrupt(kind.name(), "a side is 0"));
        }
        limits.picture(width, height)?;
        Ok(Probe {
            kind,
            width,
            height,
            turn: Turn::default(),
            frames: 1,
            loops: 1,
            alpha: false,
            colours: Colours::Rgb,
            depth: 8,
            progressive: false,
            working_bytes: 0,
            profile: None,
            copyright: None,
            artist: None,
        })
    }

    /// Of one frame.
    pub(super) fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}
