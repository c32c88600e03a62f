//! Lays a picture on a larger canvas.

use super::over::rgba;
use super::raster_of;
use crate::image::geometry::Canvas;
use crate::image::raster::Raster;
use crate::spec::Colour;

/// The picture has been laid over the background already. Without a background the canvas is transparent.
pub(super) fn lay(raster: Raster, canvas: Canvas, background: Option<Colour>) -> Raster {
    let opaque = background.is_some_and(|colour| colour.alpha == 255);
    let raster = if opaque { raster } else { raster.into_rgba() };
    let channels = raster.layout.channels();
    let colour = background.map_or([0; 4], rgba);
    let pixels = canvas.width as usize * canvas.height as usize;
    let mut laid = raster_of(
        canvas.width,
        canvas.height,
        raster.layout,
        colour[..channels].repeat(pixels),
    );
    blit(&raster, &mut laid, (canvas.left, canvas.top));
    laid
}

/// Copies as much as there is room for.
fn blit(from: &Raster, to: &mut Raster, (left, top): (u32, u32)) {
    let channels = from.layout.channels();
    let (from_stride, to_stride) = (from.width as usize * channels, to.width as usize * channels);
    let start = left as usize * channels;
    let length = from_stride.min(to_stride.saturating_sub(start));
    let rows = to.pixels.chunks_exact_mut(to_stride).skip(top as usize);
    for (to, from) in rows.zip(from.pixels.chunks_exact(from_stride)) {
        to[start..start + length].copy_from_slice(&from[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::raster::Layout;

    const CANVAS: Canvas = Canvas {
        width: 3,
        height: 3,
        left: 2,
        top: 1,
    };
    const BLUE: Colour = Colour {
        red: 0,
        green: 0,
        blue: 255,
        alpha: 255,
    };

    fn dot() -> Raster {
        raster_of(1, 1, Layout::Rgb, vec![9, 8, 7])
    }

    #[test]
    fn the_rest_of_the_canvas_is_background() {
        let laid = lay(dot(), CANVAS, Some(BLUE));
        let mut expected = [0, 0, 255].repeat(9);
        expected[5 * 3..6 * 3].copy_from_slice(&[9, 8, 7]);
        assert_eq!(laid, raster_of(3, 3, Layout::Rgb, expected));
    }

    #[test]
    fn without_a_background_it_is_transparent() {
        let laid = lay(dot(), CANVAS, None);
        let mut expected = vec![0; 36];
        expected[5 * 4..6 * 4].copy_from_slice(&[9, 8, 7, 255]);
        assert_eq!(laid, raster_of(3, 3, Layout::Rgba, expected));
    }

    #[test]
    fn half_a_background_is_half_there() {
        let laid = lay(dot(), CANVAS, Some(Colour { alpha: 100, ..BLUE }));
        assert_eq!(laid.pixels[..4], [0, 0, 255, 100]);
        assert_eq!(laid.pixels[5 * 4..6 * 4], [9, 8, 7, 255]);
    }
}
