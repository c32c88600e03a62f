//! Lays a watermark over a picture.
//!
//! Invariant: it lies wholly within the picture, is never enlarged and keeps its shape. It does not know files.

use super::over::{over, over_opaque};
use super::resample::{convolve, unpremultiply, whole_of};
use crate::image::raster::{Layout, Raster};
use crate::image::{ImageError, Watermark};

/// A watermark in the size it has on pictures of one size.
pub(super) struct Mark {
    /// RGBA.
    raster: Raster,
    place: Place,
    /// 0..=100.
    opacity: u8,
}

impl Mark {
    /// # Errors
    /// When the watermark's raster is not what it says it is, or is CMYK.
    pub(super) fn of(watermark: &Watermark, picture: (u32, u32)) -> Result<Mark, ImageError> {
        let place = Place::of(watermark, picture);
        let size = (place.width, place.height);
        let mut raster = convolve(&watermark.raster, whole_of(&watermark.raster), size)?;
        match raster.layout {
            Layout::Rgb => raster = raster.into_rgba(),
            Layout::Rgba => unpremultiply(&mut raster)?,
            Layout::Cmyk => {
                return Err(ImageError::Unsupported {
                    what: "a CMYK watermark",
                });
            }
        }
        Ok(Mark {
            raster,
            place,
            opacity: watermark.opacity,
        })
    }

    pub(super) fn lay(&self, picture: &mut Raster) {
        match picture.layout {
            Layout::Rgb => self.blend::<3>(picture, |top, bottom| *bottom = over_opaque(top, *bottom)),
            Layout::Rgba | Layout::Cmyk => {
                self.blend::<4>(picture, |top, bottom| *bottom = over(top, *bottom))
            }
        }
    }

    fn blend<const CHANNELS: usize>(&self, picture: &mut Raster, lay: impl Fn([u8; 4], &mut [u8; CHANNELS])) {
        let (opacity, place) = (u16::from(self.opacity.min(100)), self.place);
        let stride = picture.width as usize;
        let (pixels, _) = picture.pixels.as_chunks_mut::<CHANNELS>();
        let (marks, _) = self.raster.pixels.as_chunks::<4>();
        let rows = pixels.chunks_exact_mut(stride).skip(place.top as usize);
        for (row, marks) in rows.zip(marks.chunks_exact(self.raster.width as usize)) {
            for (pixel, &[red, green, blue, alpha]) in row[place.left as usize..].iter_mut().zip(marks) {
                let alpha = (u16::from(alpha) * opacity + 50) / 100;
                lay([red, green, blue, alpha as u8], pixel);
            }
        }
    }
}

/// In pixels of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Place {
    fn of(watermark: &Watermark, (width, height): (u32, u32)) -> Place {
        let margin = u64::from(width.min(height)) * u64::from(watermark.margin.min(50)) / 100;
        let free = |side: u32| u64::from(side).saturating_sub(2 * margin).max(1);
        let (free_width, free_height) = (free(width), free(height));
        let own = (
            f64::from(watermark.raster.width),
            f64::from(watermark.raster.height),
        );
        let wanted = f64::from(width) * f64::from(watermark.width) / 100.0 / own.0;
        let room = (free_width as f64 / own.0).min(free_height as f64 / own.1);
        let factor = wanted.min(room).min(1.0);
        let side = |own: f64, free: u64| ((own * factor).round() as u64).clamp(1, free);
        let (mark_width, mark_height) = (side(own.0, free_width), side(own.1, free_height));
        let begin = |side: u32, free: u64, mark: u64, hundredths: u8| {
            // Half of what the margins leave of a side: where they leave nothing, the middle.
            let edge = (u64::from(side) - free) / 2;
            (edge + ((free - mark) * u64::from(hundredths.min(100)) + 50) / 100) as u32
        };
        Place {
            left: begin(width, free_width, mark_width, watermark.place.0),
            top: begin(height, free_height, mark_height, watermark.place.1),
            width: mark_width as u32,
            height: mark_height as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::raster_of;
    use super::*;
    use proptest::prelude::*;

    /// Red.
    fn watermark(width: u32, height: u32) -> Watermark {
        let pixels = [255, 0, 0, 255].repeat((width * height) as usize);
        Watermark {
            raster: raster_of(width, height, Layout::Rgba, pixels),
            place: (100, 100),
            opacity: 100,
            width: 25,
            margin: 10,
        }
    }

    fn lay(picture: &mut Raster, watermark: &Watermark) -> Result<(), ImageError> {
        Mark::of(watermark, (picture.width, picture.height))?.lay(picture);
        Ok(())
    }

    fn black(width: u32, height: u32, layout: Layout) -> Raster {
        let pixels = [0, 0, 0, 255][..layout.channels()].repeat((width * height) as usize);
        raster_of(width, height, layout, pixels)
    }

    /// The box of what is not black.
    fn marked(picture: &Raster) -> (u32, u32, u32, u32) {
        let pixels = picture.pixels.chunks_exact(picture.layout.channels()).enumerate();
        let places = pixels.filter(|(_, pixel)| pixel[0] > 0);
        let places = places.map(|(at, _)| (at as u32 % picture.width, at as u32 / picture.width));
        let (xs, ys): (Vec<u32>, Vec<u32>) = places.unzip();
        let (left, top) = (*xs.iter().min().unwrap(), *ys.iter().min().unwrap());
        (
            left,
            top,
            xs.iter().max().unwrap() + 1 - left,
            ys.iter().max().unwrap() + 1 - top,
        )
    }

    #[test]
    fn it_lies_where_it_is_placed_and_as_large_as_asked() {
        for layout in [Layout::Rgb, Layout::Rgba] {
            for (place, left, top) in [
                ((0, 0), 8, 8),
                ((100, 0), 67, 8),
                ((0, 100), 8, 62),
                ((100, 100), 67, 62),
                ((50, 50), 38, 35),
            ] {
                let mut picture = black(100, 80, layout);
                let watermark = Watermark {
                    place,
                    ..watermark(50, 20)
                };
                lay(&mut picture, &watermark).unwrap();
                assert_eq!(marked(&picture), (left, top, 25, 10), "{place:?}");
            }
        }
    }

    #[test]
    fn it_is_never_enlarged() {
        let mut picture = black(100, 80, Layout::Rgb);
        lay(&mut picture, &watermark(6, 4)).unwrap();
        assert_eq!(marked(&picture), (86, 68, 6, 4));
    }

    #[test]
    fn one_that_is_too_high_is_made_to_fit() {
        let mut picture = black(100, 20, Layout::Rgb);
        lay(&mut picture, &watermark(40, 80)).unwrap();
        assert_eq!(marked(&picture), (90, 2, 8, 16));
    }

    #[test]
    fn its_opacity_is_mixed_in() {
        let mut picture = black(100, 80, Layout::Rgb);
        let watermark = Watermark {
            opacity: 40,
            ..watermark(10, 10)
        };
        lay(&mut picture, &watermark).unwrap();
        assert_eq!(picture.pixels.iter().max(), Some(&102));
    }

    #[test]
    fn on_a_transparent_picture_it_is_all_there_is() {
        let mut picture = raster_of(40, 40, Layout::Rgba, vec![0; 6400]);
        lay(&mut picture, &watermark(10, 10)).unwrap();
        let (pixels, _) = picture.pixels.as_chunks::<4>();
        assert!(pixels.contains(&[255, 0, 0, 255]) && pixels.contains(&[0; 4]));
        assert!(pixels.iter().all(|pixel| pixel[3] == 0 || pixel[0] == 255));
    }

    proptest! {
        #[test]
        fn it_lies_within_the_picture(
            picture in (1u32..5000, 1u32..5000),
            mark in (1u32..30, 1u32..30),
            place: (u8, u8),
            width: u8,
            margin: u8,
        ) {
            let watermark = Watermark { place, width, margin, ..watermark(mark.0, mark.1) };
            let place = Place::of(&watermark, picture);
            prop_assert!(place.width >= 1 && place.width <= mark.0);
            prop_assert!(place.height >= 1 && place.height <= mark.1);
            prop_assert!(place.left + place.width <= picture.0);
            prop_assert!(place.top + place.height <= picture.1);
        }
    }
}
