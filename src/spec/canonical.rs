//! From what is asked for to the one spec that stands for it, by a route's policy.
//!
//! Invariant: every value is brought to one of few steps and what changes nothing is left out, so that requests for
//! the same picture get the same spec; a canonical spec asked for again comes out as it is, but for what a client can
//! only ask for by a preset's name: the exact colours of a configuration. It does not know pixels.

use super::ask::{self, Ask, FitWord, Flip, FormatWord, Width};
use super::ladder::Hundredths;
use super::negotiate::{self, Accepted};
use super::{
    Colour, Fit, Format, Gravity, Moving, Negotiated, Output, Padding, Picture, Policy, Quality, Region,
    Size, Spec, Turn, Wish,
};
use http::HeaderMap;

/// Four bits of each channel, as three digits of a colour say: `0xRR` where both digits are one.
const CHANNEL_STEP: u8 = 17;
/// Edges of regions lie on multiples of so many pixels of the source, paddings of so many of the result; both to the
/// pixel where a route's sizes are.
const REGION_STEP: u32 = 8;
const PADDING_STEP: u32 = 4;
const PADDING_MAX: u32 = 2_048;
/// In hundredths of the picture.
const FOCAL_STEP: u32 = 5;
/// The longer side of the box that says a placeholder's shape.
const SHAPE_SIDE: u32 = 96;
/// In hundredths.
const BLUR_MAX: u32 = 25_000;

const WHITE: Colour = Colour {
    red: 255,
    green: 255,
    blue: 255,
    alpha: 255,
};

/// What a client's screen makes of the sizes asked for.
#[derive(Clone, Copy)]
struct Screen {
    width: Option<Hundredths>,
    height: Option<Hundredths>,
    /// In hundredths.
    dpr: u32,
}

impl Policy {
    pub(super) fn wish(&self, ask: &Ask, headers: &HeaderMap) -> (Option<Wish>, Negotiated) {
        let Some(output) = ask.outputs.first().map(output) else {
            return self.picture(ask, headers);
        };
        let wish = Wish {
            spec: self.facts(ask, output),
            stand_in: None,
        };
        (Some(wish), Negotiated::default())
    }

    fn picture(&self, ask: &Ask, headers: &HeaderMap) -> (Option<Wish>, Negotiated) {
        let mut negotiated = Negotiated::default();
        let screen = self.screen(ask, headers, &mut negotiated);
        let accepted = self.accepted(ask, headers, &mut negotiated);
        let format = match ask.format {
            Some(FormatWord::Auto) => accepted.best(&self.formats),
            Some(FormatWord::Fixed(format)) => format,
            None => Format::Source,
        };
        let mut picture = Picture {
            format,
            quality: self.quality(ask.quality, format),
            bytes_max: ask.bytes_max.map(bytes_step),
            copyright: false,
        };
        let mut spec = self.drawn(ask, screen);
        if format == Format::Jpeg {
            spec.background = spec.background.filter(|colour| *colour != WHITE);
        }
        spec.output = Output::Picture(picture);
        let is_source = spec == Spec::default();
        // What has a say depends on the URL alone: with a width the same URL may be a picture.
        if !is_source || negotiated.width {
            picture.quality = self.saving(picture, headers, &mut negotiated);
        }
        if is_source {
            return (None, negotiated);
        }
        picture.copyright = self.keep_copyright;
        spec.output = Output::Picture(picture);
        let has_stand_in = format == Format::AvifOr(Moving::Webp);
        let stand_in = has_stand_in.then(|| as_webp(&spec, picture));
        (Some(Wish { spec, stand_in }), negotiated)
    }

    /// All but the output.
    fn drawn(&self, ask: &Ask, screen: Screen) -> Spec {
        Spec {
            region: ask.region.map(|region| self.region(region)),
            trim: ask.trim.flatten().map(trim_step),
            turn: turn(ask),
            size: self.size(ask, screen),
            brightness: ask.brightness.map_or(0, percent_step),
            contrast: ask.contrast.map_or(0, percent_step),
            saturation: ask.saturation.map_or(0, percent_step),
            mono: ask.mono.flatten(),
            blur: blur_step(scaled(ask.blur.unwrap_or(0), screen.dpr)),
            sharpen: sharpen_step(ask.sharpen.unwrap_or(0)),
            padding: self.padding(ask.padding.unwrap_or_default(), screen.dpr),
            background: ask.background.filter(|colour| colour.alpha > 0),
            watermark: ask.watermark.clone(),
            output: Output::default(),
        }
    }

    /// What is no picture depends only on which part of the source is seen.
    fn facts(&self, ask: &Ask, output: Output) -> Spec {
        if output == Output::Info {
            return Spec {
                output,
                ..Spec::default()
            };
        }
        Spec {
            region: ask.region.map(|region| self.region(region)),
            trim: ask.trim.flatten().map(trim_step),
            turn: turn(ask),
            size: shape(ask),
            output,
            ..Spec::default()
        }
    }

    fn screen(&self, ask: &Ask, headers: &HeaderMap, negotiated: &mut Negotiated) -> Screen {
        let is_auto = ask.width == Some(Width::Auto);
        negotiated.width = self.client_hints && is_auto;
        let hinted = negotiated
            .width
            .then(|| negotiate::shown_width(headers))
            .flatten();
        let dpr = self.dpr(ask, headers, negotiated);
        let by_dpr = |side: u32| Hundredths(u64::from(side) * u64::from(dpr));
        let width = match ask.width {
            Some(Width::Pixels(width)) => Some(by_dpr(width)),
            // In pixels of the screen already.
            Some(Width::Auto) => hinted.map(|width| Hundredths(u64::from(width) * 100)),
            None => None,
        };
        let height = ask.height.map(by_dpr);
        let is_sized = width.is_some() || height.is_some();
        let dpr = if is_sized { dpr } else { 100 };
        Screen { width, height, dpr }
    }

    /// Asks the client only where the answer could change the picture, whatever its other hints say.
    fn dpr(&self, ask: &Ask, headers: &HeaderMap, negotiated: &mut Negotiated) -> u32 {
        let has_lengths =
            ask.blur.is_some_and(|blur| blur > 0) || ask.padding.is_some_and(|p| p != Padding::default());
        let matters = match ask.width {
            Some(Width::Pixels(_)) => true,
            Some(Width::Auto) => ask.height.is_some() || has_lengths,
            None => ask.height.is_some(),
        };
        negotiated.dpr = matters && self.client_hints && ask.dpr.is_none();
        let hinted = negotiated
            .dpr
            .then(|| negotiate::device_pixel_ratio(headers))
            .flatten();
        let dpr = ask.dpr.or(hinted).unwrap_or(100);
        dpr.min(self.dpr_max)
    }

    fn accepted(&self, ask: &Ask, headers: &HeaderMap, negotiated: &mut Negotiated) -> Accepted {
        negotiated.accept = ask.format == Some(FormatWord::Auto) && !self.formats.is_empty();
        if negotiated.accept {
            Accepted::read(headers)
        } else {
            Accepted::default()
        }
    }

    fn size(&self, ask: &Ask, screen: Screen) -> Option<Size> {
        let word = ask.fit.unwrap_or(FitWord::Clip);
        let size = |width, height, fit| Size {
            width,
            height,
            fit,
            enlarge: self.enlarge && !matches!(word, FitWord::Clip | FitWord::Crop),
        };
        match (screen.width, screen.height) {
            (None, None) => None,
            (Some(width), None) => Some(size(Some(self.ladder.side(width)), None, Fit::Within)),
            (None, Some(height)) => Some(size(None, Some(self.ladder.side(height)), Fit::Within)),
            (Some(width), Some(height)) => {
                let (width, height) = self.ladder.sides(width, height);
                Some(size(Some(width), Some(height), fit(word, ask.gravity)))
            }
        }
    }

    /// The nearest step, of two the better.
    fn quality(&self, asked: Option<Quality>, format: Format) -> Quality {
        let quality = match asked {
            // Neither format knows one.
            _ if matches!(format, Format::Png | Format::Gif) => return Quality::default(),
            Some(Quality::Lossy(quality)) => quality,
            Some(Quality::Lossless) => return Quality::Lossless,
            None => return Quality::default(),
        };
        let steps = self.qualities.iter().copied();
        let nearest = steps.min_by_key(|step| (step.abs_diff(quality), u8::MAX - step));
        Quality::Lossy(nearest.unwrap_or(quality))
    }

    /// Who wants to save data gets no more quality than the route says; what has to be lossless stays so.
    fn saving(&self, picture: Picture, headers: &HeaderMap, negotiated: &mut Negotiated) -> Quality {
        let Quality::Lossy(quality) = picture.quality else {
            return picture.quality;
        };
        let is_without_quality = matches!(picture.format, Format::Png | Format::Gif);
        negotiated.save_data = self.client_hints && !is_without_quality && quality > self.save_data_quality;
        if negotiated.save_data && negotiate::saves_data(headers) {
            return Quality::Lossy(self.save_data_quality);
        }
        picture.quality
    }

    /// What a client says itself, with its colours brought to steps; a configuration's are few as they are.
    pub(super) fn minted(&self, own: Ask) -> Ask {
        if self.ladder.is_exact() {
            return own;
        }
        Ask {
            background: own.background.map(colour_step),
            mono: own.mono.map(|mono| mono.map(colour_step)),
            ..own
        }
    }

    fn region(&self, region: Region) -> Region {
        if self.ladder.is_exact() {
            return region;
        }
        let edge = |at: u32| step(at, REGION_STEP);
        let (left, top) = (edge(region.left), edge(region.top));
        let length =
            |start: u32, from: u32, side: u32| (edge(from.saturating_add(side)) - start).max(REGION_STEP);
        Region {
            left,
            top,
            width: length(left, region.left, region.width),
            height: length(top, region.top, region.height),
        }
    }

    fn padding(&self, padding: Padding, dpr: u32) -> Padding {
        let side = |side: u16| {
            let pixels = step(scaled(u32::from(side) * 100, dpr), 100) / 100;
            let pixels = match pixels {
                0 => 0,
                _ if self.ladder.is_exact() => pixels,
                _ => step(pixels, PADDING_STEP).max(PADDING_STEP),
            };
            u16::try_from(pixels.min(PADDING_MAX)).unwrap_or(0)
        };
        Padding {
            top: side(padding.top),
            right: side(padding.right),
            bottom: side(padding.bottom),
            left: side(padding.left),
        }
    }
}

fn output(asked: u8) -> Output {
    match asked {
        ask::INFO => Output::Info,
        ask::BLURHASH => Output::Blurhash,
        ask::THUMBHASH => Output::Thumbhash,
        ask::DOMINANT => Output::Dominant,
        _ => Output::Tiny,
    }
}

fn as_webp(spec: &Spec, picture: Picture) -> Spec {
    Spec {
        output: Output::Picture(Picture {
            format: Format::Webp,
            ..picture
        }),
        ..spec.clone()
    }
}

/// Flipped first, then turned.
fn turn(ask: &Ask) -> Turn {
    let (mirrored, half) = match ask.flip {
        None => (false, 0),
        Some(Flip::Horizontal) => (true, 0),
        // Top to bottom is left to right and half a turn.
        Some(Flip::Vertical) => (true, 2),
        Some(Flip::Both) => (false, 2),
    };
    let quarters = (half + ask.rotation.unwrap_or(0)) % 4;
    Turn { mirrored, quarters }
}

fn fit(word: FitWord, gravity: Option<Gravity>) -> Fit {
    match word {
        FitWord::Clip | FitWord::Contain => Fit::Within,
        FitWord::Cover | FitWord::Crop => Fit::Cover(gravity.map_or(Gravity::CENTER, gravity_step)),
        FitWord::Pad => Fit::Pad,
        FitWord::Scale => Fit::Scale,
    }
}

/// Only a crop changes which part of a source is seen; its size does not matter then.
fn shape(ask: &Ask) -> Option<Size> {
    let (Some(Width::Pixels(width)), Some(height)) = (ask.width, ask.height) else {
        return None;
    };
    let fit @ Fit::Cover(_) = fit(ask.fit?, ask.gravity) else {
        return None;
    };
    let hundredths = |side| Hundredths(u64::from(side) * 100);
    let ladder = super::ladder::Ladder::new(&[SHAPE_SIDE]);
    let (width, height) = ladder.sides(hundredths(width), hundredths(height));
    Some(Size {
        width: Some(width),
        height: Some(height),
        fit,
        enlarge: false,
    })
}

fn scaled(length: u32, dpr: u32) -> u32 {
    (length.saturating_mul(dpr).saturating_add(50)) / 100
}

/// The nearest multiple, of two the larger.
fn step(number: u32, step: u32) -> u32 {
    number.saturating_add(step / 2) / step * step
}

fn colour_step(colour: Colour) -> Colour {
    // 255 is the last step: no sum is beyond it.
    let channel = |channel: u8| channel.saturating_add(CHANNEL_STEP / 2) / CHANNEL_STEP * CHANNEL_STEP;
    Colour {
        red: channel(colour.red),
        green: channel(colour.green),
        blue: channel(colour.blue),
        alpha: channel(colour.alpha),
    }
}

fn gravity_step(gravity: Gravity) -> Gravity {
    let part = |part: u8| u8::try_from(step(u32::from(part), FOCAL_STEP)).unwrap_or(100);
    match gravity {
        Gravity::Focal(x, y) => Gravity::Focal(part(x), part(y)),
        Gravity::Smart => Gravity::Smart,
    }
}

/// To fives, away from zero.
fn percent_step(percent: i8) -> i8 {
    let steps = (percent.unsigned_abs() + 2) / 5 * 5;
    i8::try_from(steps).unwrap_or(100) * percent.signum()
}

/// 1 to 5, then fives: a small tolerance is a matter of one or two.
fn trim_step(tolerance: u8) -> u8 {
    match tolerance {
        0..=5 => tolerance,
        _ => (tolerance + 2) / 5 * 5,
    }
}

/// From hundredths of a pixel to tenths: halves up to 10, then fives.
fn blur_step(blur: u32) -> u16 {
    let blur = match blur.min(BLUR_MAX) {
        fine @ 0..=1_000 => step(fine, 50),
        coarse => step(coarse, 500),
    };
    u16::try_from(blur / 10).unwrap_or(0)
}

/// From hundredths to tenths, in halves.
fn sharpen_step(sharpen: u32) -> u8 {
    u8::try_from(step(sharpen, 50) / 10).unwrap_or(100)
}

/// Down to 1, 2 or 5 times a power of ten: never more than was asked for.
fn bytes_step(bytes: u32) -> u32 {
    let power = 10_u32.pow(bytes.max(1).ilog10());
    match bytes / power {
        0..=1 => power,
        2..=4 => 2 * power,
        _ => 5 * power,
    }
}
