//! Pictures that are laid over others, read from their files.
//!
//! It does not know where the files lie, nor how they are laid over a picture.

use super::raster::Layout;
use super::resize::into_watermark;
use super::{ImageError, Kind, Limits, Watermark, decode, probe};

/// How a watermark is laid over a picture: the fields of [`Watermark`] that are not its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatermarkSettings {
    pub place: (u8, u8),
    pub opacity: u8,
    pub width: u8,
    pub margin: u8,
}

/// Of a watermark's file.
pub(super) const SIDE_MAX: u32 = 4_096;

impl Watermark {
    /// # Errors
    /// When the bytes are no PNG, WebP or JPEG, are broken, break a limit, or are CMYK.
    pub fn open(bytes: &[u8], limits: &Limits, settings: WatermarkSettings) -> Result<Self, ImageError> {
        let probe = probe(bytes, limits)?;
        if !matches!(probe.kind, Kind::Png | Kind::Webp | Kind::Jpeg) {
            return Err(ImageError::Unsupported {
                what: "a watermark that is no PNG, WebP or JPEG",
            });
        }
        // All of it is kept for as long as the server runs.
        let side = probe.width.max(probe.height).into();
        ImageError::within("the watermark's longer side", side, SIDE_MAX.into())?;
        let frame = decode::open(bytes, &probe, decode::Eighths(8), limits)?.next();
        let frame = frame.unwrap_or(Err(ImageError::Unsupported {
            what: "a watermark without a picture",
        }))?;
        if frame.raster.layout == Layout::Cmyk {
            return Err(ImageError::Unsupported {
                what: "a CMYK watermark",
            });
        }
        let WatermarkSettings {
            place,
            opacity,
            width,
            margin,
        } = settings;
        Ok(Watermark {
            raster: into_watermark(frame.raster, &probe)?,
            place,
            opacity,
            width,
            margin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::samples;

    const SETTINGS: WatermarkSettings = WatermarkSettings {
        place: (0, 0),
        opacity: 100,
        width: 100,
        margin: 0,
    };

    fn opened(bytes: &[u8]) -> Watermark {
        Watermark::open(bytes, &Limits::default(), SETTINGS).unwrap()
    }

    #[test]
    fn a_watermark_lies_as_it_is_meant_to_be_seen() {
        let jpeg = samples::jpeg(&samples::picture(32, 16));
        let (lying, turned) = (opened(&jpeg), opened(&samples::with_jpeg_exif(&jpeg, 6)));
        assert_eq!((turned.raster.width, turned.raster.height), (16, 32));
        // A quarter to the right: the lower left corner comes to the upper left one.
        let corner = 15 * 32 * 4;
        assert_eq!(turned.raster.pixels[..4], lying.raster.pixels[corner..corner + 4]);
    }

    #[test]
    fn a_watermark_s_colours_are_brought_to_srgb() {
        let jpeg = samples::jpeg(&samples::picture(32, 16));
        let wide = samples::with_jpeg_profile(&jpeg, &samples::profile(), 60_000);
        assert!(samples::difference(&opened(&jpeg).raster, &opened(&wide).raster) > 1.0);
    }

    #[test]
    fn a_watermark_has_its_own_limit() {
        let png = samples::png(&samples::picture(4_097, 1));
        let refused = Watermark::open(&png, &Limits::default(), SETTINGS);
        assert!(matches!(
            refused.err(),
            Some(ImageError::Limit {
                value: 4_097,
                max: 4_096,
                ..
            })
        ));
    }

    #[test]
    fn colours_are_kept_as_much_as_there_is_of_them() {
        let kept = opened(&samples::png(&samples::transparent(32, 16)));
        let (pixels, _) = kept.raster.pixels.as_chunks::<4>();
        assert!(
            pixels
                .iter()
                .all(|pixel| pixel[..3].iter().all(|colour| *colour <= pixel[3]))
        );
    }
}
