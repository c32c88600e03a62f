//! What stands where a picture will be: a few bytes that tell its colours.
//!
//! Invariant: each looks at a small rendering of the picture, whatever size the spec asks for, so that its cost is
//! that of the smallest decoding. It does not know how the texts are shown.

use super::encode::{Notice, Settings, Target, encode};
use super::pipeline::{Extent, Source, render};
use super::raster::Raster;
use super::{ImageError, Variant, Watch, info};
use crate::spec::{Fit, Output, Padding, Quality, Size, Spec};
use std::borrow::Cow;
use std::collections::BTreeMap;

const TEXT: &str = "text/plain; charset=utf-8";
/// Longer sides, in pixels: what the averages of a few waves can be read off.
const HASHED_SIDE: u32 = 64;
/// What thumbhash takes at most is 100.
const THUMBHASH_SIDE: u32 = 96;
const TINY_SIDE: u32 = 32;
const TINY_QUALITY: Quality = Quality::Lossy(30);
/// Below, a pixel is too transparent for its colour to be seen.
const SEEN_ALPHA_MIN: u8 = 16;

/// # Errors
/// When the picture can not be made. The same for the next ones.
pub(crate) fn blurhash(
    source: Source<'_>,
    spec: &Spec,
    watch: &mut dyn Watch,
) -> Result<Variant, ImageError> {
    let picture = small(source, spec, watch)?;
    let (width, height) = (picture.width, picture.height);
    let (across, down) = components(width, height);
    let hash = ::blurhash::encode(across, down, width, height, &on_white(&picture));
    let hash = hash.map_err(|cause| ImageError::Encode {
        format: "blurhash",
        cause: cause.to_string(),
    })?;
    Ok(text(source, hash))
}

pub(crate) fn thumbhash(
    source: Source<'_>,
    spec: &Spec,
    watch: &mut dyn Watch,
) -> Result<Variant, ImageError> {
    let picture = small(source, spec, watch)?;
    let (width, height) = (picture.width as usize, picture.height as usize);
    let hash = ::thumbhash::rgba_to_thumb_hash(width, height, &picture.pixels);
    Ok(text(source, base64(&hash)))
}

pub(crate) fn dominant(
    source: Source<'_>,
    spec: &Spec,
    watch: &mut dyn Watch,
) -> Result<Variant, ImageError> {
    Ok(text(source, dominant_colour(source, spec, watch)?))
}

/// As `#rrggbb`.
pub(crate) fn dominant_colour(
    source: Source<'_>,
    spec: &Spec,
    watch: &mut dyn Watch,
) -> Result<String, ImageError> {
    let picture = small(source, spec, watch)?;
    let [red, green, blue] = most_frequent(&picture);
    Ok(format!("#{red:02x}{green:02x}{blue:02x}"))
}

pub(crate) fn tiny(source: Source<'_>, spec: &Spec, watch: &mut dyn Watch) -> Result<Variant, ImageError> {
    let sequence = render(source, &rendered(spec), Target::Webp, Extent::First, watch)?;
    let settings = Settings {
        target: Target::Webp,
        quality: TINY_QUALITY,
        bytes_max: None,
        notice: Notice::default(),
    };
    encode(&sequence, &settings, watch)
}

fn text(source: Source<'_>, text: String) -> Variant {
    let (width, height) = info::upright(source.probe);
    Variant {
        bytes: text.into_bytes(),
        media_type: TEXT,
        width,
        height,
    }
}

/// RGBA.
fn small(source: Source<'_>, spec: &Spec, watch: &mut dyn Watch) -> Result<Raster, ImageError> {
    let sequence = render(source, &rendered(spec), Target::Webp, Extent::First, watch)?;
    Ok(sequence.into_first_rgba())
}

/// The spec of the picture that is looked at, which for a picture is its own.
pub(super) fn rendered(spec: &Spec) -> Cow<'_, Spec> {
    let side = match spec.output {
        Output::Picture(_) => return Cow::Borrowed(spec),
        Output::Info | Output::Blurhash | Output::Dominant => HASHED_SIDE,
        Output::Thumbhash => THUMBHASH_SIDE,
        Output::Tiny => TINY_SIDE,
    };
    Cow::Owned(shrunk(spec, side))
}

/// The same part of the picture, in the same shape, at the size of a placeholder. What is measured in pixels of the
/// result (blur, sharpening, padding) and what is laid over it would be out of scale.
fn shrunk(spec: &Spec, side: u32) -> Spec {
    Spec {
        size: Some(shrunk_size(spec.size, side)),
        blur: 0,
        sharpen: 0,
        padding: Padding::default(),
        watermark: None,
        ..spec.clone()
    }
}

fn shrunk_size(size: Option<Size>, side: u32) -> Size {
    let (width, height, fit) = match size {
        Some(Size {
            width: Some(width),
            height: Some(height),
            fit,
            ..
        }) if fit != Fit::Within => (width.max(1), height.max(1), fit),
        _ => (side, side, Fit::Within),
    };
    let longer = width.max(height);
    let scaled =
        |length: u32| (u64::from(length) * u64::from(side.min(longer)) / u64::from(longer)).max(1) as u32;
    Size {
        width: Some(scaled(width)),
        height: Some(scaled(height)),
        fit,
        enlarge: false,
    }
}

/// More waves along the longer side.
fn components(width: u32, height: u32) -> (u32, u32) {
    if width >= height { (4, 3) } else { (3, 4) }
}

/// Blurhash knows no transparency.
fn on_white(picture: &Raster) -> Vec<u8> {
    let pixels = picture.pixels.as_chunks::<4>().0.iter();
    pixels
        .flat_map(|&[red, green, blue, alpha]| {
            let over = |colour: u8| {
                let (colour, alpha) = (u32::from(colour), u32::from(alpha));
                ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
            };
            [over(red), over(green), over(blue), u8::MAX]
        })
        .collect()
}

/// The mean of the pixels in the fullest of 16 x 16 x 16 boxes of colours; black where nothing is to be seen.
fn most_frequent(picture: &Raster) -> [u8; 3] {
    let mut boxes: BTreeMap<[u8; 3], Weighed> = BTreeMap::new();
    for &[red, green, blue, alpha] in picture.pixels.as_chunks::<4>().0 {
        if alpha >= SEEN_ALPHA_MIN {
            let colour = [red, green, blue];
            boxes
                .entry(colour.map(|channel| channel >> 4))
                .or_default()
                .add(colour, alpha);
        }
    }
    let fullest = boxes
        .into_values()
        .reduce(|a, b| if b.weight > a.weight { b } else { a });
    fullest.unwrap_or_default().mean()
}

/// Colours, each as heavy as it is opaque.
#[derive(Clone, Copy, Debug, Default)]
struct Weighed {
    weight: u64,
    sums: [u64; 3],
}

impl Weighed {
    fn add(&mut self, colour: [u8; 3], alpha: u8) {
        self.weight += u64::from(alpha);
        for (sum, channel) in self.sums.iter_mut().zip(colour) {
            *sum += u64::from(channel) * u64::from(alpha);
        }
    }

    fn mean(self) -> [u8; 3] {
        self.sums.map(|sum| (sum / self.weight.max(1)) as u8)
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= group.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::raster::Layout;
    use crate::spec::Gravity;
    use proptest::prelude::*;

    fn picture(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Raster {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Raster {
            width,
            height,
            layout: Layout::Rgba,
            pixels: places.flat_map(|(x, y)| pixel(x, y)).collect(),
        }
    }

    #[test]
    fn the_dominant_colour_is_that_of_most_that_is_seen() {
        let flag = picture(10, 10, |x, _| match x {
            0..4 => [250, 10, 10, 255],
            4..6 => [10, 10, 250, 255],
            _ => [0, 255, 0, 8],
        });
        assert_eq!(most_frequent(&flag), [250, 10, 10]);
        let veiled = picture(
            10,
            10,
            |x, _| if x < 6 { [0, 255, 0, 100] } else { [7, 7, 7, 255] },
        );
        assert_eq!(most_frequent(&veiled), [7, 7, 7]);
        assert_eq!(most_frequent(&picture(3, 3, |_, _| [9, 9, 9, 0])), [0, 0, 0]);
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        let examples = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, expected) in examples.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn what_is_transparent_is_white() {
        let pixels = on_white(&picture(1, 3, |_, y| [0, 100, 200, [0, 128, 255][y as usize]]));
        assert_eq!(pixels, [255, 255, 255, 255, 127, 177, 227, 255, 0, 100, 200, 255]);
    }

    #[test]
    fn a_placeholder_is_the_same_part_of_the_picture() {
        let cover = Size {
            width: Some(1600),
            height: Some(400),
            fit: Fit::Cover(Gravity::Smart),
            enlarge: true,
        };
        let expected = Size {
            width: Some(32),
            height: Some(8),
            enlarge: false,
            ..cover
        };
        assert_eq!(shrunk_size(Some(cover), 32), expected);
        let whole = shrunk_size(
            Some(Size {
                height: None,
                ..cover
            }),
            32,
        );
        assert_eq!(
            (whole.width, whole.height, whole.fit),
            (Some(32), Some(32), Fit::Within)
        );
        assert_eq!(shrunk_size(None, 32), whole);
    }

    #[test]
    fn what_is_measured_in_pixels_is_left_out() {
        let spec = Spec {
            blur: 30,
            sharpen: 5,
            padding: Padding {
                top: 9,
                ..Padding::default()
            },
            brightness: 20,
            trim: Some(10),
            ..Spec::default()
        };
        let small = shrunk(&spec, 32);
        assert_eq!(
            (small.blur, small.sharpen, small.padding),
            (0, 0, Padding::default())
        );
        assert_eq!((small.brightness, small.trim), (20, Some(10)));
    }

    proptest! {
        #[test]
        fn a_placeholder_is_never_longer_than_its_side(width in 0u32..=u32::MAX, height in 0u32..=u32::MAX, side in 1u32..100) {
            let size = Size { width: Some(width), height: Some(height), fit: Fit::Scale, enlarge: true };
            let small = shrunk_size(Some(size), side);
            let range = 1..=side;
            prop_assert!(range.contains(&small.width.unwrap()) && range.contains(&small.height.unwrap()));
        }
    }
}
