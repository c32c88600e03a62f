//! How much memory a making takes at most: an estimate from above, in bytes, of files that are what their headers say.
//!
//! The numbers of bytes for each pixel were measured (peak resident memory, each codec by itself) and rounded up.

use super::{Colours, Kind, Probe};
use crate::image::decode::Eighths;
use crate::image::encode::{Target, full_colour};
use crate::image::pipeline::{Extent, target};
use crate::image::{Limits, geometry, placeholder, watermark};
use crate::spec::{Output, Picture, Quality, Spec};

/// Tables, stacks and what allocators keep.
const BASE: u64 = 2 << 20;

/// Of a resized picture: itself, as it was before it was turned, and copies of the steps after.
const STEPS: u64 = 16;

/// Between the two directions of resizing: a row of the result's width for each row of the source.
const RESIZING: u64 = 4;

/// Width and height.
type Sides = (u64, u64);

impl Probe {
    /// The most memory that making `spec` of this source takes, in bytes, beside the source's own.
    pub fn memory_max(&self, spec: &Spec, limits: &Limits) -> u64 {
        let spec = placeholder::rendered(spec);
        let scale = geometry::scale(self, &spec, limits);
        let decoded = self.scaled(scale);
        let made = geometry::size_max(self, &spec, limits);
        let made = (u64::from(made.0), u64::from(made.1));
        let result = made.0 * made.1;
        // It is turned afterwards.
        let lies_across = (self.turn.quarters + spec.turn.quarters) % 2 == 1;
        let across = if lies_across { made.1 } else { made.0 };
        let resizing = across * decoded.1 * RESIZING;
        let making = resizing + result * STEPS + self.encoding(&spec, result) + marking(&spec, made);
        let raster = decoded.0 * decoded.1 * self.channels();
        let profile = self
            .profile
            .as_ref()
            .map_or(0, |profile| 4 * profile.len() as u64);
        // A still's decoder is gone when its raster is resized, an animation's is not.
        let working = match self.frames {
            1 => self.decoding().max(making),
            _ => self.decoding() + making,
        };
        BASE + profile + raster + self.kept(&spec, result) + working
    }

    /// The frames before the one that is worked on: all are kept until they are encoded, and beside them smaller ones
    /// where the file is not to be larger than asked.
    fn kept(&self, spec: &Spec, result: u64) -> u64 {
        let Output::Picture(picture) = spec.output else {
            return 0;
        };
        let extent = Extent::of(target(self, spec, picture.format));
        let frames = result * 4 * u64::from(extent.frames(self) - 1);
        match picture.bytes_max {
            // Three quarters of each side.
            Some(_) => frames + frames.div_ceil(16) * 9,
            None => frames,
        }
    }

    fn scaled(&self, Eighths(eighths): Eighths) -> Sides {
        let side = |side: u32| (u64::from(side) * u64::from(eighths)).div_ceil(8);
        (side(self.width), side(self.height))
    }

    fn channels(&self) -> u64 {
        if self.alpha || self.colours == Colours::Cmyk {
            4
        } else {
            3
        }
    }

    /// What a decoder holds beside the raster it fills.
    fn decoding(&self) -> u64 {
        let rows = 256 * u64::from(self.width) + self.working_bytes;
        let wide = if self.depth > 8 { 2 } else { 1 };
        let still = self.frames == 1;
        rows + match self.kind {
            Kind::Jpeg if self.progressive => self.coefficients(),
            Kind::Jpeg => 0,
            // Grey is decoded before it becomes RGB.
            Kind::Png if self.colours == Colours::Grey => self.pixels() * 2,
            Kind::Png => 0,
            // The indices; then the canvas, and the canvas before.
            Kind::Gif => self.pixels() * if still { 1 } else { 9 },
            // Planes, or a lossless picture, and alpha; then the canvas, and the raster of a frame.
            Kind::Webp => self.pixels() * if still { 8 } else { 16 },
            // Planes in several buffers, those of alpha too, and RGBA of them.
            Kind::Avif => self.pixels() * wide * if self.alpha { 34 } else { 18 },
            Kind::Bmp => self.pixels(),
            // What it is unpacked to, once in the decoder and once outside.
            Kind::Tiff => (16 << 20) + self.pixels() * 8 * wide,
        }
    }

    /// Of a JPEG in several passes: 2 bytes for each sample, in blocks of up to 32 pixels a side, none subsampled.
    fn coefficients(&self) -> u64 {
        let components = match self.colours {
            Colours::Grey => 1,
            Colours::Cmyk => 4,
            Colours::Rgb | Colours::Palette => 3,
        };
        let [width, height] = [self.width, self.height].map(|side| u64::from(side).next_multiple_of(32));
        width * height * components * 2
    }

    /// What an encoder holds beside the picture of `pixels`.
    fn encoding(&self, spec: &Spec, pixels: u64) -> u64 {
        let Output::Picture(picture) = spec.output else {
            return pixels * 12;
        };
        match target(self, spec, picture.format) {
            // WebP may stand in for it.
            Target::Avif => self.avif(picture, pixels).max(webp(picture, pixels)),
            Target::Webp => webp(picture, pixels),
            Target::Jpeg | Target::Png | Target::Gif => pixels * 8,
        }
    }

    fn avif(&self, picture: Picture, pixels: u64) -> u64 {
        let colour = if full_colour(picture.quality) { 32 } else { 20 };
        (16 << 20) + pixels * if self.alpha { colour + 20 } else { colour }
    }
}

fn webp(picture: Picture, pixels: u64) -> u64 {
    match picture.quality {
        Quality::Lossy(_) => pixels * 12,
        Quality::Lossless => pixels * 32,
    }
}

/// A watermark in the picture's size at most, and half of the way there.
fn marking(spec: &Spec, (width, height): Sides) -> u64 {
    match spec.watermark {
        Some(_) => width * (height + u64::from(watermark::SIDE_MAX)) * 4,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Fit, Format, Moving, Region, Size};

    fn still(kind: Kind, width: u32, height: u32) -> Probe {
        Probe::still(kind, width, height, &Limits::default()).unwrap()
    }

    fn picture(format: Format, quality: Quality) -> Spec {
        Spec {
            output: Output::Picture(Picture {
                format,
                quality,
                ..Picture::default()
            }),
            ..Spec::default()
        }
    }

    fn most(probe: &Probe, spec: &Spec) -> u64 {
        probe.memory_max(spec, &Limits::default())
    }

    const USUAL: Quality = Quality::Lossy(80);

    #[test]
    fn no_result_is_larger_than_a_variant_may_be() {
        let photo = still(Kind::Jpeg, 8_000, 6_000);
        for format in [Format::Avif, Format::Webp, Format::Jpeg] {
            assert!(most(&photo, &picture(format, USUAL)) < 1 << 30, "{format:?}");
        }
    }

    #[test]
    fn what_is_written_without_motion_is_counted_once() {
        let moving = Probe {
            frames: 50,
            ..still(Kind::Gif, 1_000, 1_000)
        };
        let (jpeg, gif) = (picture(Format::Jpeg, USUAL), picture(Format::Gif, USUAL));
        assert!(most(&moving, &gif) > most(&moving, &jpeg) + 49 * 4_000_000 - 20_000_000);
        assert!(most(&moving, &jpeg) < 100_000_000);
        let hash = Spec {
            output: Output::Blurhash,
            ..Spec::default()
        };
        assert!(most(&moving, &hash) < 30_000_000);
    }

    #[test]
    fn frames_that_are_made_smaller_lie_beside_the_first() {
        let moving = Probe {
            frames: 100,
            alpha: true,
            ..still(Kind::Gif, 700, 700)
        };
        let whole = picture(Format::Webp, USUAL);
        let Output::Picture(as_asked) = whole.output else {
            unreachable!();
        };
        let capped = Spec {
            output: Output::Picture(Picture {
                bytes_max: Some(1),
                ..as_asked
            }),
            ..whole.clone()
        };
        let frames = 99 * 700 * 700 * 4;
        assert_eq!(most(&moving, &capped) - most(&moving, &whole), frames / 16 * 9);
    }

    #[test]
    fn what_stands_in_for_an_avif_is_counted_too() {
        let photo = still(Kind::Png, 4_000, 4_000);
        let lossless = |format| most(&photo, &picture(format, Quality::Lossless));
        assert!(lossless(Format::AvifOr(Moving::Webp)) >= lossless(Format::Webp));
    }

    #[test]
    fn of_a_region_at_the_edge_only_what_lies_in_the_picture_counts() {
        let photo = still(Kind::Jpeg, 10_000, 5_000);
        let edge = |width| Spec {
            region: Some(Region {
                left: 9_000,
                top: 0,
                width,
                height: 5_000,
            }),
            size: Some(Size {
                width: Some(900),
                height: None,
                fit: Fit::Within,
                enlarge: false,
            }),
            ..Spec::default()
        };
        assert_eq!(most(&photo, &edge(10_000)), most(&photo, &edge(1_000)));
    }

    #[test]
    fn a_watermark_has_its_share() {
        let photo = still(Kind::Jpeg, 400, 300);
        let marked = Spec {
            watermark: Some(crate::spec::Watermark {
                name: "logo".to_owned(),
                digest: crate::base::digest::Digest::of(b""),
            }),
            ..Spec::default()
        };
        assert!(most(&photo, &marked) >= most(&photo, &Spec::default()) + 400 * (300 + 4_096) * 4);
    }
}
