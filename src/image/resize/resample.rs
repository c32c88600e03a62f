//! Crops and resizes in one step, with a Lanczos filter.
//!
//! Invariant: colours are weighed by their alpha, so that what is transparent tints nothing beside it. The crop is in
//! fractions of a pixel; the filter may look at what lies beside it.

use super::raster_of;
use crate::image::ImageError;
use crate::image::geometry::CropBox;
use crate::image::raster::{Layout, Raster};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// # Errors
/// When the crop does not lie within the raster.
pub(super) fn resample(
    mut raster: Raster,
    crop: CropBox,
    (width, height): (u32, u32),
) -> Result<Raster, ImageError> {
    let whole = (raster.width, raster.height) == (width, height);
    if whole && crop == whole_of(&raster) {
        return Ok(raster);
    }
    if let Some(cut) = cut(&raster, crop, (width, height)) {
        return Ok(cut);
    }
    let transparent = !raster.is_opaque();
    if transparent {
        // In place: the resizer would make a copy of the source's size for it.
        premultiply(&mut raster)?;
    }
    let mut small = convolve(&raster, crop, (width, height))?;
    drop(raster);
    if transparent {
        unpremultiply(&mut small)?;
    }
    Ok(small)
}

pub(super) fn whole_of(raster: &Raster) -> CropBox {
    CropBox {
        left: 0.0,
        top: 0.0,
        width: f64::from(raster.width),
        height: f64::from(raster.height),
    }
}

/// The crop as it is, where it lies on whole pixels of the raster and keeps its size: no bit of it changes.
fn cut(raster: &Raster, crop: CropBox, (width, height): (u32, u32)) -> Option<Raster> {
    let (left, top) = (crop.left as u32, crop.top as u32);
    let keeps_size = crop.width == f64::from(width) && crop.height == f64::from(height);
    let on_pixels = crop.left == f64::from(left) && crop.top == f64::from(top);
    let (right, bottom) = (left.checked_add(width)?, top.checked_add(height)?);
    if !keeps_size || !on_pixels || right > raster.width || bottom > raster.height {
        return None;
    }
    let channels = raster.layout.channels();
    let (start, end) = (left as usize * channels, right as usize * channels);
    let mut pixels = Vec::with_capacity((end - start) * height as usize);
    let rows = raster.pixels.chunks_exact(raster.width as usize * channels);
    let rows = rows.skip(top as usize).take(height as usize);
    rows.for_each(|row| pixels.extend_from_slice(&row[start..end]));
    Some(raster_of(width, height, raster.layout, pixels))
}

/// Resizes each channel for itself.
pub(super) fn convolve(
    raster: &Raster,
    crop: CropBox,
    (width, height): (u32, u32),
) -> Result<Raster, ImageError> {
    if !(crop.left >= 0.0 && crop.top >= 0.0 && crop.width > 0.0 && crop.height > 0.0) {
        return Err(misfit("the crop is empty or begins before the raster"));
    }
    let kind = pixel_type(raster.layout);
    let from = ImageRef::new(raster.width, raster.height, &raster.pixels, kind).map_err(misfit)?;
    let mut to = Image::new(width, height, kind);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(crop.left, crop.top, crop.width, crop.height)
        .use_alpha(false);
    Resizer::new().resize(&from, &mut to, &options).map_err(misfit)?;
    Ok(raster_of(width, height, raster.layout, to.into_vec()))
}

/// Colours as much as there is of them.
pub(super) fn premultiply(raster: &mut Raster) -> Result<(), ImageError> {
    let mut image = view(raster)?;
    MulDiv::new().multiply_alpha_inplace(&mut image).map_err(misfit)
}

pub(super) fn unpremultiply(raster: &mut Raster) -> Result<(), ImageError> {
    let mut image = view(raster)?;
    MulDiv::new().divide_alpha_inplace(&mut image).map_err(misfit)
}

fn view(raster: &mut Raster) -> Result<Image<'_>, ImageError> {
    let kind = pixel_type(raster.layout);
    Image::from_slice_u8(raster.width, raster.height, &mut raster.pixels, kind).map_err(misfit)
}

fn pixel_type(layout: Layout) -> PixelType {
    match layout {
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba | Layout::Cmyk => PixelType::U8x4,
    }
}

/// Frames are planned by the first: one that has another size is broken.
fn misfit(cause: impl std::fmt::Display) -> ImageError {
    ImageError::Corrupt {
        format: "frame",
        cause: format!("it does not have the size of the first ({cause})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crop(left: f64, top: f64, width: f64, height: f64) -> CropBox {
        CropBox {
            left,
            top,
            width,
            height,
        }
    }

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> Raster {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| [value(x, y); 3]).collect();
        raster_of(width, height, Layout::Rgb, pixels)
    }

    #[test]
    fn what_changes_nothing_copies_nothing() {
        let raster = grey(20, 10, |x, y| (x * y) as u8);
        let (before, pixels) = (raster.clone(), raster.pixels.as_ptr());
        let after = resample(raster, crop(0.0, 0.0, 20.0, 10.0), (20, 10)).unwrap();
        assert_eq!(after.pixels.as_ptr(), pixels);
        assert_eq!(after, before);
    }

    #[test]
    fn a_crop_on_whole_pixels_keeps_them() {
        let raster = grey(20, 10, |x, y| (x * 10 + y) as u8);
        let part = resample(raster, crop(3.0, 2.0, 5.0, 4.0), (5, 4)).unwrap();
        assert_eq!(part, grey(5, 4, |x, y| ((x + 3) * 10 + y + 2) as u8));
    }

    #[test]
    fn a_gradient_stays_a_gradient() {
        let raster = grey(240, 8, |x, _| x as u8);
        for width in [80, 120, 480] {
            let resized = resample(raster.clone(), crop(0.0, 0.0, 240.0, 8.0), (width, 8)).unwrap();
            let factor = 240.0 / f64::from(width);
            let row = resized.pixels.chunks_exact(3).take(width as usize).enumerate();
            for (x, pixel) in row.filter(|(x, _)| (10..width as usize - 10).contains(x)) {
                let expected = (x as f64 + 0.5) * factor - 0.5;
                assert!(
                    (f64::from(pixel[0]) - expected).abs() <= 1.0,
                    "{x} of {width}: {pixel:?} {expected}"
                );
            }
        }
    }

    /// A raster decoded to an eighth: of its last column only a part is source.
    #[test]
    fn a_raster_that_was_rounded_up_is_not_shifted() {
        let (sides, true_width) = (341, 340.6);
        let raster = grey(sides, 8, |x, _| (x * 180 / sides) as u8);
        let scale = 180.0 / f64::from(sides);
        let resized = resample(raster, crop(0.0, 0.0, true_width, 8.0), (100, 8)).unwrap();
        for (x, pixel) in resized.pixels.chunks_exact(3).take(95).enumerate().skip(5) {
            let expected = ((x as f64 + 0.5) * true_width / 100.0 - 0.5) * scale;
            assert!(
                (f64::from(pixel[0]) + 0.25 - expected).abs() <= 1.0,
                "{x}: {pixel:?} {expected}"
            );
        }
    }

    #[test]
    fn what_is_transparent_tints_nothing_beside_it() {
        let pixels = (0..64 * 16).flat_map(|at| {
            if at % 64 < 32 {
                [255, 0, 0, 0]
            } else {
                [0, 0, 255, 255]
            }
        });
        let raster = raster_of(64, 16, Layout::Rgba, pixels.collect());
        for width in [17, 32, 100] {
            let resized = resample(raster.clone(), crop(0.0, 0.0, 64.0, 16.0), (width, 16)).unwrap();
            for pixel in resized.pixels.chunks_exact(4).filter(|pixel| pixel[3] > 0) {
                assert_eq!((pixel[0], pixel[1]), (0, 0), "{pixel:?}");
            }
        }
    }

    #[test]
    fn what_is_cut_out_on_whole_pixels_stays_as_it_is() {
        let pixels = (0..20 * 10).flat_map(|at| [200, 100, at as u8, (at % 20) as u8]);
        let raster = raster_of(20, 10, Layout::Rgba, pixels.collect());
        let cut = resample(raster.clone(), crop(2.0, 3.0, 15.0, 6.0), (15, 6)).unwrap();
        let expected = (3..9).flat_map(|y| &raster.pixels[(y * 20 + 2) * 4..(y * 20 + 17) * 4]);
        assert!(cut.pixels.iter().eq(expected));
        assert_eq!((cut.width, cut.height), (15, 6));
    }

    #[test]
    fn ink_is_no_alpha() {
        let raster = raster_of(8, 8, Layout::Cmyk, [200, 100, 50, 0].repeat(64));
        let resized = resample(raster, crop(0.0, 0.0, 8.0, 8.0), (3, 3)).unwrap();
        assert_eq!(resized.pixels, [200, 100, 50, 0].repeat(9));
    }

    #[test]
    fn a_crop_beyond_the_raster_is_an_error() {
        let raster = grey(8, 8, |_, _| 0);
        for beyond in [
            crop(0.0, 0.0, 9.0, 8.0),
            crop(4.0, 0.0, 5.0, 8.0),
            crop(-1.0, 0.0, 4.0, 8.0),
            crop(0.0, 0.0, 0.0, 8.0),
            crop(f64::NAN, 0.0, 4.0, 8.0),
        ] {
            assert!(resample(raster.clone(), beyond, (4, 4)).is_err(), "{beyond:?}");
        }
    }
}
