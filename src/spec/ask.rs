//! What parameters ask for, before a route's policy has looked at it.
//!
//! Invariant: each field is what one layer (query, path, preset, defaults) said, or `None` where it was silent; the
//! order of differently named parameters leaves no trace. It does not know ladders, steps or request headers.

use super::parameter::Parameter;
use super::read::Names;
use super::{Colour, Download, Format, Gravity, Padding, Quality, Region, Watermark, value};
use std::sync::Arc;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub width: Option<Width>,
    pub height: Option<u32>,
    pub fit: Option<FitWord>,
    /// In hundredths.
    pub dpr: Option<u32>,
    pub quality: Option<Quality>,
    pub format: Option<FormatWord>,
    pub gravity: Option<Gravity>,
    pub region: Option<Region>,
    /// In quarters.
    pub rotation: Option<u8>,
    pub flip: Option<Flip>,
    /// In hundredths, as is the next one.
    pub blur: Option<u32>,
    pub sharpen: Option<u32>,
    pub brightness: Option<i8>,
    pub contrast: Option<i8>,
    pub saturation: Option<i8>,
    pub background: Option<Colour>,
    /// `Some(None)` takes back what a lower layer asked for; the same for the other doubled ones.
    pub trim: Option<Option<u8>>,
    pub padding: Option<Padding>,
    pub mono: Option<Option<Colour>>,
    pub watermark: Option<Watermark>,
    pub outputs: Outputs,
    pub bytes_max: Option<u32>,
    pub preset: Option<Arc<Ask>>,
    pub download: Option<Option<Download>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Pixels(u32),
    /// As wide as the client says it will be shown.
    Auto,
}

/// The field's words for fits; some mean the same until a route enlarges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FitWord {
    Clip,
    Contain,
    Cover,
    Crop,
    Pad,
    Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormatWord {
    /// What the client likes best.
    Auto,
    Fixed(Format),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flip {
    Horizontal,
    Vertical,
    Both,
}

/// Outputs that are no pictures, asked for and taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outputs {
    on: u8,
    off: u8,
}

/// One bit each; where several are asked for, the lowest is made.
pub(super) const INFO: u8 = 1;
pub(super) const BLURHASH: u8 = 2;
pub(super) const THUMBHASH: u8 = 4;
pub(super) const DOMINANT: u8 = 8;
pub(super) const TINY: u8 = 16;

impl Outputs {
    fn set(&mut self, output: u8, wanted: bool) {
        let (to, from) = match wanted {
            true => (&mut self.on, &mut self.off),
            false => (&mut self.off, &mut self.on),
        };
        *to |= output;
        *from &= !output;
    }

    /// A layer that asks for one wins over what lower ones ask for.
    fn over(self, lower: Outputs) -> Outputs {
        let on = if self.on == 0 {
            lower.on & !self.off
        } else {
            self.on
        };
        Outputs { on, off: self.off }
    }

    /// The one to be made.
    pub(super) fn first(self) -> Option<u8> {
        (self.on != 0).then(|| 1 << self.on.trailing_zeros())
    }
}

impl Ask {
    /// Sets what a parameter says; `None`, and no change, where it can not have that value. Of the same parameter
    /// twice the last wins.
    pub(super) fn set(&mut self, parameter: Parameter, text: &str, names: Names<'_>) -> Option<()> {
        match parameter {
            Parameter::Width => self.width = Some(width(text)?),
            Parameter::Height => self.height = Some(value::whole(text, 1..=8_192)?),
            Parameter::Fit => self.fit = Some(fit(text)?),
            Parameter::Dpr => self.dpr = Some(hundredths(text, 50..=500)?),
            Parameter::Quality => self.quality = Some(value::quality(text)?),
            Parameter::Format => self.set_format(text)?,
            Parameter::Auto => self.set_auto(text)?,
            Parameter::Gravity => self.gravity = Some(value::gravity(text)?),
            Parameter::Region => self.region = Some(value::region(text)?),
            Parameter::Rotation => self.rotation = Some(value::rotation(text)?),
            Parameter::Flip => self.flip = Some(flip(text)?),
            Parameter::Blur => self.blur = Some(hundredths(text, 0..=25_000)?),
            Parameter::Sharpen => self.sharpen = Some(hundredths(text, 0..=1_000)?),
            Parameter::Brightness => self.brightness = Some(value::percent(text)?),
            Parameter::Contrast => self.contrast = Some(value::percent(text)?),
            Parameter::Saturation => self.saturation = Some(value::percent(text)?),
            Parameter::BrightnessFactor => self.brightness = Some(value::factor(text)?),
            Parameter::ContrastFactor => self.contrast = Some(value::factor(text)?),
            Parameter::SaturationFactor => self.saturation = Some(value::factor(text)?),
            Parameter::Background => self.background = Some(value::colour(text)?),
            Parameter::Trim => self.trim = Some(trim(text)?),
            Parameter::Padding => self.padding = Some(value::padding(text)?),
            Parameter::Mono => self.mono = Some(mono(text)?),
            Parameter::Watermark => self.watermark = Some(names.watermark(text)?),
            Parameter::Blurhash => self.outputs.set(BLURHASH, value::flag(text)?),
            Parameter::Thumbhash => self.outputs.set(THUMBHASH, value::flag(text)?),
            Parameter::Tiny => self.outputs.set(TINY, value::flag(text)?),
            Parameter::Dominant => self.outputs.set(DOMINANT, value::flag(text)?),
            Parameter::Info => self.outputs.set(INFO, value::flag(text)?),
            Parameter::BytesMax => self.bytes_max = Some(value::whole(text, 1_000..=10_000_000)?),
            Parameter::Preset => self.preset = Some(names.preset(text)?),
            Parameter::Download => self.download = Some(download(text)),
            Parameter::Animation => return (text == "true").then_some(()),
            Parameter::Metadata => return matches!(text, "copyright" | "none").then_some(()),
            Parameter::OnError => return (text == "redirect").then_some(()),
        }
        Some(())
    }

    fn set_format(&mut self, text: &str) -> Option<()> {
        let format = match text {
            "auto" => FormatWord::Auto,
            "jpeg" | "jpg" | "baseline-jpeg" => FormatWord::Fixed(Format::Jpeg),
            "png" => FormatWord::Fixed(Format::Png),
            "webp" => FormatWord::Fixed(Format::Webp),
            "avif" => FormatWord::Fixed(Format::Avif),
            "gif" => FormatWord::Fixed(Format::Gif),
            "source" => FormatWord::Fixed(Format::Source),
            _ => return None,
        };
        self.format = Some(format);
        Some(())
    }

    /// `compress` asks for what is done anyway.
    fn set_auto(&mut self, text: &str) -> Option<()> {
        let mut words = text.split(',');
        if !words.all(|word| matches!(word, "format" | "compress")) {
            return None;
        }
        if text.contains("format") {
            self.format = Some(FormatWord::Auto);
        }
        Some(())
    }

    /// What this layer is silent about is as the lower one says.
    pub(super) fn over(mut self, lower: &Ask) -> Ask {
        under(&mut self.width, &lower.width);
        under(&mut self.height, &lower.height);
        under(&mut self.fit, &lower.fit);
        under(&mut self.dpr, &lower.dpr);
        under(&mut self.quality, &lower.quality);
        under(&mut self.format, &lower.format);
        under(&mut self.gravity, &lower.gravity);
        under(&mut self.region, &lower.region);
        under(&mut self.rotation, &lower.rotation);
        under(&mut self.flip, &lower.flip);
        under(&mut self.blur, &lower.blur);
        under(&mut self.sharpen, &lower.sharpen);
        under(&mut self.brightness, &lower.brightness);
        under(&mut self.contrast, &lower.contrast);
        under(&mut self.saturation, &lower.saturation);
        under(&mut self.background, &lower.background);
        under(&mut self.trim, &lower.trim);
        under(&mut self.padding, &lower.padding);
        under(&mut self.mono, &lower.mono);
        under(&mut self.watermark, &lower.watermark);
        under(&mut self.bytes_max, &lower.bytes_max);
        under(&mut self.preset, &lower.preset);
        under(&mut self.download, &lower.download);
        self.outputs = self.outputs.over(lower.outputs);
        self
    }
}

fn under<T: Clone>(upper: &mut Option<T>, lower: &Option<T>) {
    if upper.is_none() {
        upper.clone_from(lower);
    }
}

fn hundredths(text: &str, allowed: std::ops::RangeInclusive<i64>) -> Option<u32> {
    u32::try_from(value::hundredths(text, allowed)?).ok()
}

fn width(text: &str) -> Option<Width> {
    match text {
        "auto" => Some(Width::Auto),
        _ => value::whole(text, 1..=8_192).map(Width::Pixels),
    }
}

fn fit(text: &str) -> Option<FitWord> {
    Some(match text {
        "clip" | "scale-down" => FitWord::Clip,
        "contain" => FitWord::Contain,
        "cover" => FitWord::Cover,
        "crop" => FitWord::Crop,
        "fill" | "pad" => FitWord::Pad,
        "scale" => FitWord::Scale,
        _ => return None,
    })
}

fn flip(text: &str) -> Option<Flip> {
    Some(match text {
        "h" => Flip::Horizontal,
        "v" => Flip::Vertical,
        "hv" | "vh" => Flip::Both,
        _ => return None,
    })
}

fn trim(text: &str) -> Option<Option<u8>> {
    match text {
        "" | "auto" | "true" => Some(Some(10)),
        "0" | "false" => Some(None),
        _ => u8::try_from(value::whole(text, 1..=100)?).ok().map(Some),
    }
}

fn mono(text: &str) -> Option<Option<Colour>> {
    if let Some(wanted) = value::flag(text) {
        let grey = value::colour("black").filter(|_| wanted);
        return Some(grey);
    }
    let colour = value::colour(text).filter(|colour| colour.alpha == 255)?;
    Some(Some(colour))
}

fn download(text: &str) -> Option<Download> {
    match value::flag(text) {
        Some(true) => Some(Download::without_name()),
        Some(false) => None,
        None => Some(Download::named(text)),
    }
}
