//! A spec as text: what variants are named by.
//!
//! Invariant: injective: two specs that differ have texts that differ, also such as no policy would make. A part that
//! is as in [`Spec::default`] is left out, but for the output. It does not know URLs; the text is for names and logs.

use super::{
    Colour, Fit, Format, Gravity, Moving, Output, Padding, Picture, Quality, Size, Spec, Turn, Watermark,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::{self, Display, Formatter};

/// A watermark's name may be any text; its end must be seen.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Each part ends with a comma; the output comes last and ends the text.
impl Display for Spec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(region) = &self.region {
            let super::Region {
                left,
                top,
                width,
                height,
            } = region;
            write!(f, "rect={left}:{top}:{width}:{height},")?;
        }
        if let Some(tolerance) = self.trim {
            write!(f, "trim={tolerance},")?;
        }
        if self.turn != Turn::default() {
            let mirrored = if self.turn.mirrored { "m" } else { "" };
            write!(f, "turn={mirrored}{},", self.turn.quarters)?;
        }
        if let Some(size) = &self.size {
            write!(f, "{size},")?;
        }
        self.write_adjustments(f)?;
        if self.padding != Padding::default() {
            let Padding {
                top,
                right,
                bottom,
                left,
            } = self.padding;
            write!(f, "pad={top}:{right}:{bottom}:{left},")?;
        }
        if let Some(colour) = &self.background {
            write!(f, "bg={colour},")?;
        }
        if let Some(watermark) = &self.watermark {
            write!(f, "{watermark},")?;
        }
        self.output.fmt(f)
    }
}

impl Spec {
    fn write_adjustments(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let numbers = [
            ("bri", i32::from(self.brightness)),
            ("con", i32::from(self.contrast)),
            ("sat", i32::from(self.saturation)),
            ("blur", i32::from(self.blur)),
            ("sharpen", i32::from(self.sharpen)),
        ];
        for (name, number) in numbers.iter().filter(|(_, number)| *number != 0) {
            write!(f, "{name}={number},")?;
        }
        match &self.mono {
            Some(colour) => write!(f, "mono={colour},"),
            None => Ok(()),
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(width) = self.width {
            write!(f, "w={width},")?;
        }
        if let Some(height) = self.height {
            write!(f, "h={height},")?;
        }
        write!(f, "fit={}", self.fit)?;
        f.write_str(if self.enlarge { ",enlarge" } else { "" })
    }
}

impl Display for Fit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fit::Within => f.write_str("within"),
            Fit::Cover(Gravity::Focal(x, y)) => write!(f, "cover:{x}:{y}"),
            Fit::Cover(Gravity::Smart) => f.write_str("cover:smart"),
            Fit::Pad => f.write_str("pad"),
            Fit::Scale => f.write_str("scale"),
        }
    }
}

impl Display for Colour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Colour {
            red,
            green,
            blue,
            alpha,
        } = self;
        write!(f, "{red:02x}{green:02x}{blue:02x}{alpha:02x}")
    }
}

impl Display for Watermark {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = utf8_percent_encode(&self.name, ENCODED);
        write!(f, "wm={name}:{}", self.digest)
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Output::Picture(picture) => picture.fmt(f),
            Output::Info => f.write_str("info"),
            Output::Blurhash => f.write_str("blurhash"),
            Output::Thumbhash => f.write_str("thumbhash"),
            Output::Tiny => f.write_str("lqip"),
            Output::Dominant => f.write_str("dominant"),
        }
    }
}

impl Display for Picture {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.quality {
            quality if quality == Quality::default() => {}
            Quality::Lossy(quality) => write!(f, "q={quality},")?,
            Quality::Lossless => f.write_str("q=lossless,")?,
        }
        if let Some(bytes) = self.bytes_max {
            write!(f, "mb={bytes},")?;
        }
        f.write_str(if self.copyright { "copyright," } else { "" })?;
        write!(f, "fm={}", self.format)
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Source => "source",
            Format::Legacy => "legacy",
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::Webp => "webp",
            Format::Avif => "avif",
            Format::AvifOr(Moving::Webp) => "avif-or-webp",
            Format::AvifOr(Moving::Legacy) => "avif-or-legacy",
            Format::Gif => "gif",
        })
    }
}
