//! How a picture gets into its box: what of it is used, to what size that is brought, on what canvas it lies.
//!
//! Sides go in as fractions and come out whole. Invariant: a side that comes out is at least 1, no side is larger than
//! the box asks for, and nothing grows unless it may. It does not know turns, pixels or limits of the configuration.

use super::turn::Sides;
use crate::image::Limits;
use crate::spec::{Fit, Gravity, Size};

/// A picture's way into its box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fitted {
    /// The size of the part that is used.
    pub(super) used: Sides,
    /// What decides where that part lies.
    pub(super) gravity: Gravity,
    /// What it is brought to.
    pub(super) size: Sides,
    /// What that lies in the middle of.
    pub(super) canvas: Sides,
}

/// Brings a picture of the sides `whole` into `size`. Sides that come out are whole numbers, as yet without limit.
pub(super) fn fit(whole: Sides, size: Option<Size>) -> Fitted {
    let Some(size) = size else {
        return scaled(whole, (1.0, 1.0));
    };
    let (width, height) = (size.width.map(side), size.height.map(side));
    let factor_max = if size.enlarge { f64::INFINITY } else { 1.0 };
    match (width, height) {
        (None, None) => scaled(whole, (1.0, 1.0)),
        (Some(width), None) => scaled(whole, both((width / whole.0).min(factor_max))),
        (None, Some(height)) => scaled(whole, both((height / whole.1).min(factor_max))),
        (Some(width), Some(height)) => fit_box(whole, (width, height), size.fit, factor_max),
    }
}

fn fit_box(whole: Sides, target: Sides, fit: Fit, factor_max: f64) -> Fitted {
    let factors = (target.0 / whole.0, target.1 / whole.1);
    let inside = both(factors.0.min(factors.1).min(factor_max));
    match fit {
        Fit::Within => scaled(whole, inside),
        Fit::Cover(gravity) => cover(whole, target, gravity, factor_max),
        Fit::Pad => Fitted {
            canvas: target,
            ..scaled(whole, inside)
        },
        Fit::Scale => {
            let beyond = (factors.0.max(factors.1) / factor_max).max(1.0);
            scaled(whole, (factors.0 / beyond, factors.1 / beyond))
        }
    }
}

/// The largest part of the target's shape. Where it would have to grow and may not, it is cut out as it is, on whole
/// pixels: that way nothing of it is blurred.
fn cover(whole: Sides, target: Sides, gravity: Gravity, factor_max: f64) -> Fitted {
    let factor = (target.0 / whole.0).max(target.1 / whole.1);
    let part = (target.0 / factor, target.1 / factor);
    let (used, size) = if factor <= factor_max {
        ((part.0.min(whole.0), part.1.min(whole.1)), target)
    } else {
        let cut = (rounded(part.0), rounded(part.1));
        ((cut.0.min(whole.0), cut.1.min(whole.1)), cut)
    };
    Fitted {
        used,
        gravity,
        size,
        canvas: size,
    }
}

fn scaled(whole: Sides, factors: Sides) -> Fitted {
    let size = (rounded(whole.0 * factors.0), rounded(whole.1 * factors.1));
    Fitted {
        used: whole,
        gravity: Gravity::CENTER,
        size,
        canvas: size,
    }
}

impl Fitted {
    /// The same picture, so small that its canvas has no longer side and no more pixels than the limits say.
    pub(super) fn at_most(self, limits: &Limits) -> Fitted {
        let (width, height) = self.canvas;
        let by_side = side(limits.output_side) / width.max(height);
        let by_pixels = (limits.output_pixels as f64 / (width * height)).sqrt();
        let factor = by_side.min(by_pixels);
        if factor >= 1.0 {
            return self;
        }
        let size = (rounded(self.size.0 * factor), rounded(self.size.1 * factor));
        let canvas = (rounded(self.canvas.0 * factor), rounded(self.canvas.1 * factor));
        Fitted { size, canvas, ..self }
    }
}

fn both(factor: f64) -> Sides {
    (factor, factor)
}

fn side(side: u32) -> f64 {
    f64::from(side.max(1))
}

fn rounded(side: f64) -> f64 {
    side.round().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(
        width: impl Into<Option<u32>>,
        height: impl Into<Option<u32>>,
        fit: Fit,
        enlarge: bool,
    ) -> Option<Size> {
        Some(Size {
            width: width.into(),
            height: height.into(),
            fit,
            enlarge,
        })
    }

    const COVER: Fit = Fit::Cover(Gravity::CENTER);

    #[test]
    fn without_a_size_a_picture_stays_as_it_is() {
        assert_eq!(fit((640.0, 480.0), None).size, (640.0, 480.0));
        assert_eq!(
            fit((640.0, 480.0), size(None, None, COVER, true)).size,
            (640.0, 480.0)
        );
    }

    #[test]
    fn one_side_brings_the_other_along_rounded_to_nearest() {
        for way in [Fit::Within, COVER, Fit::Pad, Fit::Scale] {
            let narrow = fit((640.0, 427.0), size(320, None, way, false));
            assert_eq!(
                (narrow.used, narrow.size, narrow.canvas),
                ((640.0, 427.0), (320.0, 214.0), (320.0, 214.0))
            );
            assert_eq!(
                fit((640.0, 480.0), size(None, 100, way, false)).size,
                (133.0, 100.0)
            );
            assert_eq!(
                fit((640.0, 480.0), size(1280, None, way, false)).size,
                (640.0, 480.0)
            );
            assert_eq!(
                fit((640.0, 480.0), size(1280, None, way, true)).size,
                (1280.0, 960.0)
            );
        }
    }

    #[test]
    fn no_side_becomes_nothing() {
        assert_eq!(
            fit((10_000.0, 1.0), size(10, None, Fit::Within, false)).size,
            (10.0, 1.0)
        );
        assert_eq!(
            fit((10_000.0, 1.0), size(0, 0, Fit::Scale, false)).size,
            (1.0, 1.0)
        );
    }

    #[test]
    fn within_keeps_the_whole_inside_the_box() {
        assert_eq!(
            fit((640.0, 480.0), size(320, 320, Fit::Within, false)).size,
            (320.0, 240.0)
        );
        assert_eq!(
            fit((640.0, 480.0), size(1000, 1000, Fit::Within, false)).size,
            (640.0, 480.0)
        );
        assert_eq!(
            fit((640.0, 480.0), size(1000, 1000, Fit::Within, true)).size,
            (1000.0, 750.0)
        );
    }

    #[test]
    fn cover_fills_the_box_and_uses_a_part_of_its_shape() {
        let square = fit((640.0, 480.0), size(100, 100, COVER, false));
        assert_eq!((square.used, square.size), ((480.0, 480.0), (100.0, 100.0)));
    }

    #[test]
    fn cover_of_too_small_a_picture_is_the_largest_part_of_the_shape() {
        let wide = fit((300.0, 400.0), size(800, 400, COVER, false));
        assert_eq!((wide.used, wide.size), ((300.0, 150.0), (300.0, 150.0)));
        let enlarged = fit((300.0, 400.0), size(800, 400, COVER, true));
        assert_eq!((enlarged.used, enlarged.size), ((300.0, 150.0), (800.0, 400.0)));
    }

    #[test]
    fn pad_lies_on_a_canvas_of_the_box() {
        let small = fit((100.0, 50.0), size(200, 200, Fit::Pad, false));
        assert_eq!((small.size, small.canvas), ((100.0, 50.0), (200.0, 200.0)));
        let large = fit((400.0, 200.0), size(200, 200, Fit::Pad, false));
        assert_eq!((large.size, large.canvas), ((200.0, 100.0), (200.0, 200.0)));
    }

    #[test]
    fn scale_shrinks_its_box_rather_than_enlarging() {
        assert_eq!(
            fit((400.0, 200.0), size(100, 100, Fit::Scale, false)).size,
            (100.0, 100.0)
        );
        assert_eq!(
            fit((400.0, 200.0), size(400, 400, Fit::Scale, false)).size,
            (200.0, 200.0)
        );
        assert_eq!(
            fit((400.0, 200.0), size(400, 400, Fit::Scale, true)).size,
            (400.0, 400.0)
        );
    }

    #[test]
    fn a_limit_shrinks_picture_and_canvas_alike() {
        let padded = fit((400.0, 400.0), size(8000, 4000, Fit::Pad, true)).at_most(&Limits {
            output_side: 1_000,
            ..Limits::default()
        });
        assert_eq!((padded.size, padded.canvas), ((500.0, 500.0), (1000.0, 500.0)));
    }

    fn any_fit() -> impl Strategy<Value = Fit> {
        prop_oneof![Just(Fit::Within), Just(COVER), Just(Fit::Pad), Just(Fit::Scale)]
    }

    proptest! {
        #[test]
        fn sides_keep_to_box_limit_and_source(
            whole in (1u32..16_384, 1u32..16_384),
            width in proptest::option::of(1u32..10_000),
            height in proptest::option::of(1u32..10_000),
            way in any_fit(),
            enlarge: bool,
        ) {
            let whole = (f64::from(whole.0), f64::from(whole.1));
            let fitted = fit(whole, size(width, height, way, enlarge)).at_most(&Limits {
                output_side: 4_096,
                ..Limits::default()
            });
            let (size, canvas, used) = (fitted.size, fitted.canvas, fitted.used);
            prop_assert!(size.0 >= 1.0 && size.1 >= 1.0);
            prop_assert!(size.0 <= canvas.0 && size.1 <= canvas.1);
            prop_assert!(canvas.0 <= 4096.0 && canvas.1 <= 4096.0);
            prop_assert!(canvas.0.fract() == 0.0 && size.0.fract() == 0.0);
            prop_assert!(used.0 > 0.0 && used.0 <= whole.0 && used.1 > 0.0 && used.1 <= whole.1);
            if !enlarge {
                prop_assert!(size.0 <= whole.0 && size.1 <= whole.1);
            }
            if let (Some(width), Some(height)) = (width, height) {
                prop_assert!(canvas.0 <= f64::from(width) && canvas.1 <= f64::from(height));
            }
        }

        #[test]
        fn a_picture_keeps_its_shape_within_rounding(
            whole in (1u32..16_384, 1u32..16_384),
            target in (1u32..4_096, 1u32..4_096),
            way in prop_oneof![Just(Fit::Within), Just(COVER), Just(Fit::Pad)],
            enlarge: bool,
        ) {
            let whole = (f64::from(whole.0), f64::from(whole.1));
            let fitted = fit(whole, size(target.0, target.1, way, enlarge));
            // The factors that round to the side that came out; a side of 1 may have been less.
            let factors = |used: f64, size: f64| {
                let least = if size == 1.0 { 0.0 } else { (size - 0.5) / used };
                (least, (size + 0.5) / used)
            };
            let along = factors(fitted.used.0, fitted.size.0);
            let across = factors(fitted.used.1, fitted.size.1);
            prop_assert!(along.0.max(across.0) <= along.1.min(across.1) + 1e-9, "{fitted:?}");
        }
    }
}
