//! Files that may have only so many bytes: first the quality is lowered, then the size.
//!
//! Invariant: of the qualities that were tried, the highest whose file fits is taken; what does not fit at the lowest
//! quality and the smallest size comes as that.

use super::{Sequence, Settings, Target, write};
use crate::image::raster::Frame;
use crate::image::resize::resized;
use crate::image::{ImageError, Watch};
use crate::spec::Quality;

/// Below, a smaller picture looks better than a coarser one.
const QUALITY_MIN: u8 = 30;
/// From one quality that is tried to the next.
const QUALITY_STEP: u8 = 5;
/// A smaller picture's longer side is no shorter than this.
const SIDE_MIN: u32 = 16;

/// The file, and the size of its picture.
type Written = (Vec<u8>, (u32, u32));

/// # Errors
/// As those of writing, and when time is up, which is asked for between the tries.
pub(crate) fn fit(
    sequence: &Sequence,
    settings: &Settings,
    bytes_max: u32,
    watch: &mut dyn Watch,
) -> Result<Written, ImageError> {
    let ladder = ladder(settings);
    let mut attempt = |sequence: &Sequence, quality| {
        let settings = Settings {
            quality,
            ..settings.clone()
        };
        write(sequence, &settings, watch)
    };
    let mut size = sequence.size();
    let mut best = best_of(&ladder, bytes_max, |quality| attempt(sequence, quality))?;
    while let Some(smaller) = size_for(size, best.len() as u64, bytes_max) {
        size = smaller;
        let sequence = sequence.resized(size)?;
        best = best_of(&ladder, bytes_max, |quality| attempt(&sequence, quality))?;
    }
    Ok((best, size))
}

/// The qualities to be tried, lowest first.
fn ladder(settings: &Settings) -> Vec<Quality> {
    let heeds_quality = !matches!(settings.target, Target::Png | Target::Gif);
    match settings.quality {
        Quality::Lossy(asked) if heeds_quality && asked > QUALITY_MIN => {
            let below = (QUALITY_MIN..asked).step_by(QUALITY_STEP.into());
            below.chain([asked]).map(Quality::Lossy).collect()
        }
        quality => vec![quality],
    }
}

/// The file of the highest quality that fits; that of the lowest where none does. What was asked for is tried first,
/// then the ladder is halved again and again.
fn best_of(
    ladder: &[Quality],
    bytes_max: u32,
    mut attempt: impl FnMut(Quality) -> Result<Vec<u8>, ImageError>,
) -> Result<Vec<u8>, ImageError> {
    let fits = |file: &Vec<u8>| file.len() <= bytes_max as usize;
    let (asked, mut between) = ladder.split_last().expect("a ladder has a step");
    let mut best = attempt(*asked)?;
    if fits(&best) {
        return Ok(best);
    }
    let mut found = false;
    while !between.is_empty() {
        let middle = between.len() / 2;
        let file = attempt(between[middle])?;
        let does = fits(&file);
        if does || !found {
            best = file;
        }
        found |= does;
        between = if does {
            &between[middle + 1..]
        } else {
            &between[..middle]
        };
    }
    Ok(best)
}

/// The next size to be tried; `None` where the file fits, or its picture is as small as may be. Bytes become fewer more
/// slowly than pixels do, so that sizes may be left out at which pixels alone would still be too many.
fn size_for(size: (u32, u32), bytes: u64, bytes_max: u32) -> Option<(u32, u32)> {
    let sizes = std::iter::successors(smaller(size), |size| smaller(*size));
    let estimates = std::iter::successors(Some(bytes), |bytes| Some(bytes * 9 / 16)).skip(1);
    let mut last = None;
    for (size, estimate) in sizes.zip(estimates).filter(|_| bytes > u64::from(bytes_max)) {
        last = Some(size);
        if estimate <= u64::from(bytes_max) {
            break;
        }
    }
    last
}

/// Three quarters of each side.
fn smaller((width, height): (u32, u32)) -> Option<(u32, u32)> {
    let less = |side: u32| (side - side.div_ceil(4)).max(1);
    let smaller = (less(width), less(height));
    (width.max(height) > SIDE_MIN).then_some(smaller)
}

impl Sequence {
    fn resized(&self, size: (u32, u32)) -> Result<Sequence, ImageError> {
        let frames = self.frames.iter().map(|frame| {
            Ok(Frame {
                raster: resized(&frame.raster, size)?,
                delay: frame.delay,
            })
        });
        let frames = frames.collect::<Result<Vec<Frame>, ImageError>>()?;
        Sequence::new(frames, self.loops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::encode::Notice;
    use proptest::prelude::*;

    fn settings(target: Target, quality: Quality) -> Settings {
        Settings {
            target,
            quality,
            bytes_max: None,
            notice: Notice::default(),
        }
    }

    /// A file of ten bytes for each point of quality.
    fn file(quality: Quality) -> Vec<u8> {
        match quality {
            Quality::Lossy(quality) => vec![quality; usize::from(quality) * 10],
            Quality::Lossless => vec![0; 2_000],
        }
    }

    proptest! {
        #[test]
        fn the_best_quality_that_fits_is_taken(asked in 1u8..=100, bytes_max in 0u32..1_200) {
            let ladder = ladder(&settings(Target::Jpeg, Quality::Lossy(asked)));
            let mut tries = 0;
            let best = best_of(&ladder, bytes_max, |quality| {
                tries += 1;
                Ok(file(quality))
            });
            let fitting = ladder.iter().rfind(|quality| file(**quality).len() <= bytes_max as usize);
            prop_assert_eq!(best.unwrap(), file(*fitting.unwrap_or(&ladder[0])));
            prop_assert!(tries <= 6, "{} tries", tries);
        }

        #[test]
        fn shrinking_ends(width in 1u32..=65_535, height in 1u32..=65_535) {
            let sizes = std::iter::successors(Some((width, height)), |size| smaller(*size));
            let sizes: Vec<_> = sizes.take(40).collect();
            prop_assert!(sizes.len() < 40);
            prop_assert!(sizes.iter().all(|(width, height)| *width > 0 && *height > 0));
            prop_assert!(sizes.is_sorted_by(|a, b| a.0 >= b.0 && a.1 >= b.1 && a != b));
        }
    }

    #[test]
    fn sizes_that_can_not_do_are_left_out() {
        assert_eq!(size_for((1_600, 1_600), 1_000, 1_000), None);
        assert_eq!(size_for((1_600, 1_600), 1_001, 1_000), Some((1_200, 1_200)));
        assert_eq!(size_for((1_600, 1_600), 2_000, 1_000), Some((900, 900)));
        assert_eq!(size_for((1_600, 1_600), 1_000_000, 1).map(smaller), Some(None));
        assert_eq!(size_for((16, 16), 1_000, 1), None);
    }

    #[test]
    fn what_knows_no_quality_is_tried_once() {
        for (target, quality) in [
            (Target::Png, Quality::Lossy(80)),
            (Target::Gif, Quality::Lossy(80)),
            (Target::Webp, Quality::Lossless),
        ] {
            assert_eq!(ladder(&settings(target, quality)), [quality]);
        }
    }

    #[test]
    fn a_quality_below_the_lowest_is_never_raised() {
        let asked = Quality::Lossy(12);
        assert_eq!(ladder(&settings(Target::Webp, asked)), [asked]);
    }
}
