//! Specs: what is to be made of a source, as one canonical value.
//!
//! Invariant: two requests that ask for the same picture have equal specs, and a spec's text ([`std::fmt::Display`])
//! names exactly one picture of a source: it holds everything a variant's bytes depend on beside the source's bytes
//! and the encoder. What a client can mint is bounded by its route's [`Policy`]. It does not know pixels, nor where
//! sources come from.

mod ask;
mod canonical;
pub mod config;
mod download;
mod error;
mod ladder;
mod negotiate;
mod parameter;
mod policy;
mod read;
mod take;
mod text;
mod value;

#[cfg(test)]
mod header_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

pub use error::SpecError;
pub use policy::Policy;
pub use take::{Alias, Taken, alias, rest, take};

use crate::base::digest::Digest;
use http::HeaderValue;

/// A canonical transform. Its steps have one order, whatever the order of the parameters: region, trim, turn, size,
/// adjustments, blur, sharpen, padding, background, watermark, output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spec {
    /// What of the source is used, in pixels of the source as it is meant to be seen (upright).
    pub region: Option<Region>,
    /// Borders of one colour are cut off: how far a border's colours may lie apart, 1..=100.
    pub trim: Option<u8>,
    /// Applied after the source's own orientation, before the size is looked at.
    pub turn: Turn,
    pub size: Option<Size>,
    /// -100..=100; 0 changes nothing. The same for the next two.
    pub brightness: i8,
    pub contrast: i8,
    pub saturation: i8,
    /// Shades of one colour; grey where it is black.
    pub mono: Option<Colour>,
    /// Standard deviation in tenths of a pixel of the result; 0 is none.
    pub blur: u16,
    /// Strength in tenths; 0 is none.
    pub sharpen: u8,
    /// In pixels of the result, around it.
    pub padding: Padding,
    /// Behind what is transparent, padded or filled; `None`: transparent where the format can, else white.
    pub background: Option<Colour>,
    pub watermark: Option<Watermark>,
    pub output: Output,
}

/// A rectangle of pixels. Where it reaches over the picture's edge, that part of it counts which does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

/// One of the eight ways to lay a picture down: mirrored left to right or not, then turned clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turn {
    pub mirrored: bool,
    /// In quarters, 0..=3.
    pub quarters: u8,
}

/// The box a picture is brought to, in pixels of the result; at least one side is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fit: Fit,
    /// Whether a picture smaller than the box is enlarged.
    pub enlarge: bool,
}

/// How a picture that has another shape than its box gets into it. With one side given all are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Inside the box, whole.
    Within,
    /// Fills the box; what is too much is cut off, away from the gravity. Where the picture is too small, the
    /// largest part of the box's shape.
    Cover(Gravity),
    /// Inside the box, whole, and the rest of the box is background.
    Pad,
    /// Fills the box, out of shape.
    Scale,
}

/// What stays in the picture when something is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gravity {
    /// The point of the picture, in hundredths of its width and height from the top left, that stays as near to the
    /// middle as can be: `(50, 50)` is the centre, `(50, 0)` north.
    Focal(u8, u8),
    /// Where the most is to be seen.
    Smart,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    pub top: u16,
    pub right: u16,
    pub bottom: u16,
    pub left: u16,
}

/// sRGB with straight alpha; 255 is opaque.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour {
    pub red: u8,
    pub green: u8,
    pub blue: u8,
    pub alpha: u8,
}

/// A picture of the configuration's that is laid over the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watermark {
    pub name: String,
    /// Of its file and settings: another picture under the same name makes another spec.
    pub digest: Digest,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    Picture(Picture),
    /// The facts of the source, as JSON; the spec has nothing else then.
    Info,
    /// <https://blurha.sh>, as text.
    Blurhash,
    /// <https://evanw.github.io/thumbhash/>, in base64, as text.
    Thumbhash,
    /// A picture of a few hundred bytes.
    Tiny,
    /// The most frequent colour, as `#rrggbb`, as text.
    Dominant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Picture {
    pub format: Format,
    pub quality: Quality,
    /// The quality, then the size, are lowered until the file is no larger.
    pub bytes_max: Option<u32>,
    /// Whether the source's copyright notice and artist are kept; all other metadata is dropped.
    pub copyright: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// The source's own; of a source that can not be written (BMP, TIFF), what [`Format::Legacy`] is.
    Source,
    /// What every client shows: JPEG, PNG where there is transparency, GIF where there is movement. A source that
    /// is one of these stays what it is.
    Legacy,
    Jpeg,
    Png,
    Webp,
    /// Of what moves the first frame: an AVIF here is a still.
    Avif,
    /// AVIF of a still, and of what moves what can hold that: so nobody loses a movement who did not ask to.
    AvifOr(Moving),
    Gif,
}

/// What an animation is written as where its stills are AVIF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moving {
    Webp,
    Legacy,
}

/// On JPEG's scale, 1..=100, for all formats; each encoder maps it to its own so that equal numbers look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    Lossy(u8),
    /// Where the format can (WebP, PNG); else the best it has.
    Lossless,
}

/// What a URL asks to be made of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub spec: Spec,
    /// What may be served in its place while the spec's own is still to be made: WebP for a negotiated AVIF.
    pub stand_in: Option<Spec>,
}

/// Which request headers had a say in the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    pub accept: bool,
    pub dpr: bool,
    pub width: bool,
    pub save_data: bool,
}

/// That the answer is to be saved as a file, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download(pub HeaderValue);

/// Whether a query's parameter of that name is a transform's, and never the source's own.
pub fn is_parameter(name: &str) -> bool {
    parameter::Parameter::in_query(name).is_some()
}

impl Spec {
    /// Whether what comes out is no picture.
    pub fn tells_facts(&self) -> bool {
        !matches!(self.output, Output::Picture(_) | Output::Tiny)
    }

    /// Whether nothing but the format may change.
    pub fn changes_only_format(&self) -> bool {
        let Output::Picture(picture) = self.output else {
            return false;
        };
        let bare = Spec {
            output: Output::Picture(Picture {
                format: picture.format,
                ..Picture::default()
            }),
            ..Spec::default()
        };
        *self == bare
    }
}

impl Default for Quality {
    fn default() -> Self {
        Quality::Lossy(80)
    }
}

impl Default for Picture {
    fn default() -> Self {
        Picture {
            format: Format::Source,
            quality: Quality::default(),
            bytes_max: None,
            copyright: false,
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Output::Picture(Picture::default())
    }
}

impl Gravity {
    pub const CENTER: Gravity = Gravity::Focal(50, 50);
}
