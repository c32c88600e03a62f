//! The parameters: their names, and what each may be, in words.
//!
//! Invariant: a name is known here or it is not ours: every other parameter of a query is the source's own. It does
//! not know what values mean.

/// A parameter by what it says; several names may say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Width,
    Height,
    Fit,
    Dpr,
    Quality,
    Format,
    Auto,
    Gravity,
    Region,
    Rotation,
    Flip,
    Blur,
    Sharpen,
    Brightness,
    Contrast,
    Saturation,
    /// Cloudflare's three, where 1 changes nothing.
    BrightnessFactor,
    ContrastFactor,
    SaturationFactor,
    Background,
    Trim,
    Padding,
    Mono,
    Watermark,
    Blurhash,
    Thumbhash,
    Tiny,
    Dominant,
    Info,
    BytesMax,
    Preset,
    Download,
    /// Cloudflare's three that are taken where they ask for what is done anyway.
    Animation,
    Metadata,
    OnError,
}

impl Parameter {
    /// By its name in a query. This runs for every parameter of every request: as bytes the names become one tree of
    /// comparisons, as text a list of them.
    pub(super) fn in_query(name: &str) -> Option<Parameter> {
        Some(match name.as_bytes() {
            b"w" => Parameter::Width,
            b"h" => Parameter::Height,
            b"q" => Parameter::Quality,
            b"fm" | b"format" => Parameter::Format,
            b"dl" => Parameter::Download,
            b"bg" => Parameter::Background,
            b"mb" => Parameter::BytesMax,
            b"wm" => Parameter::Watermark,
            b"fit" => Parameter::Fit,
            b"dpr" => Parameter::Dpr,
            b"rot" => Parameter::Rotation,
            b"bri" => Parameter::Brightness,
            b"con" => Parameter::Contrast,
            b"sat" => Parameter::Saturation,
            b"pad" => Parameter::Padding,
            b"auto" => Parameter::Auto,
            b"crop" | b"gravity" => Parameter::Gravity,
            b"rect" => Parameter::Region,
            b"flip" => Parameter::Flip,
            b"blur" => Parameter::Blur,
            b"trim" => Parameter::Trim,
            b"mono" => Parameter::Mono,
            b"info" => Parameter::Info,
            b"lqip" => Parameter::Tiny,
            b"preset" => Parameter::Preset,
            b"sharpen" => Parameter::Sharpen,
            b"blurhash" => Parameter::Blurhash,
            b"dominant" => Parameter::Dominant,
            b"thumbhash" => Parameter::Thumbhash,
            _ => return None,
        })
    }

    /// By its name in the options of a path: a query's names, and Cloudflare's.
    pub(super) fn in_path(name: &str) -> Option<Parameter> {
        Some(match name {
            "width" => Parameter::Width,
            "height" => Parameter::Height,
            "quality" => Parameter::Quality,
            "brightness" => Parameter::BrightnessFactor,
            "contrast" => Parameter::ContrastFactor,
            "saturation" => Parameter::SaturationFactor,
            "rotate" => Parameter::Rotation,
            "background" => Parameter::Background,
            "anim" => Parameter::Animation,
            "metadata" => Parameter::Metadata,
            "onerror" => Parameter::OnError,
            name => return Parameter::in_query(name),
        })
    }

    /// Whether it can stand without a value.
    pub(super) fn is_flag(self) -> bool {
        use Parameter::*;
        matches!(
            self,
            Trim | Mono | Blurhash | Thumbhash | Tiny | Dominant | Info | Download
        )
    }

    /// What a value has to be.
    pub(super) fn allowed(self) -> &'static str {
        match self {
            Parameter::Width => "a whole number 1..8192 (pixels), or auto",
            Parameter::Height => "a whole number 1..8192 (pixels)",
            Parameter::Fit => "clip, contain, cover, crop, fill, scale, pad or scale-down",
            Parameter::Dpr => "a number 0.5..5",
            Parameter::Quality => "a whole number 1..100, or lossless",
            Parameter::Format => "auto, jpeg, jpg, png, webp, avif, gif or source",
            Parameter::Auto => "format, or format,compress",
            Parameter::Gravity => {
                "center, north, northeast, east, southeast, south, southwest, west, northwest, top, right, bottom, \
                 left, smart, or focal:x,y with x and y 0..1"
            }
            Parameter::Region => "x,y,width,height in whole pixels 0..65536, the last two at least 1",
            Parameter::Rotation => "0, 90, 180 or 270 (degrees clockwise)",
            Parameter::Flip => "h, v or hv",
            Parameter::Blur => "a number 0..250",
            Parameter::Sharpen => "a number 0..10",
            Parameter::Brightness | Parameter::Contrast | Parameter::Saturation => "a whole number -100..100",
            Parameter::BrightnessFactor | Parameter::ContrastFactor | Parameter::SaturationFactor => {
                "a number 0..2 (1 changes nothing)"
            }
            Parameter::Background => "RGB, RRGGBB or RRGGBBAA in hexadecimal, white, black or transparent",
            Parameter::Trim => "nothing, auto, or a whole number 1..100",
            Parameter::Padding => "a whole number 0..512 (pixels), or four: top,right,bottom,left",
            Parameter::Mono => "nothing, or RGB or RRGGBB in hexadecimal",
            Parameter::Watermark => "the name of a configured watermark",
            Parameter::Preset => "the name of a preset of this route",
            Parameter::Blurhash
            | Parameter::Thumbhash
            | Parameter::Tiny
            | Parameter::Dominant
            | Parameter::Info => "nothing, 1 or true (0 or false: not)",
            Parameter::BytesMax => "a whole number 1000..10000000 (bytes)",
            Parameter::Download => "nothing, or a file name in UTF-8",
            Parameter::Animation => "true (animations are kept)",
            Parameter::Metadata => "copyright or none (the route says whether copyright is kept)",
            Parameter::OnError => "redirect (the route says what is served on failure)",
        }
    }
}
