//! The ladder: which sizes a route makes.
//!
//! Invariant: a size that is on the ladder stays, every other goes up to the next step, or down to the last; a box
//! keeps its shape to within half a 96th of its longer side, and a square stays square. It does not know sources.

/// Where a ladder is empty: no side is longer.
pub(super) const SIDE_MAX: u32 = 4_096;

/// A box's shorter side is so many of these parts of its longer one, or one of [`SHAPES`] of it. 16:9, 3:2, 4:3, 8:5,
/// 2:1, 3:1 and 1:1 are whole parts.
const PARTS: u64 = 96;

/// Frequent shapes that are no whole number of parts: 5:4, 5:3, 5:2, 5:1, 7:3 (21:9), 7:5, 40:21 (1200x630).
const SHAPES: [(u64, u64); 7] = [(4, 5), (3, 5), (2, 5), (1, 5), (3, 7), (5, 7), (21, 40)];

/// Ascending; empty: every size up to [`SIDE_MAX`].
#[derive(Debug)]
pub(super) struct Ladder(Vec<u32>);

/// In hundredths of a pixel, so that a device's pixel ratio does not bend a box's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hundredths(pub u64);

impl Hundredths {
    pub(super) fn pixels(self) -> u32 {
        let pixels = (self.0 + 50) / 100;
        u32::try_from(pixels).unwrap_or(u32::MAX).max(1)
    }
}

impl Ladder {
    pub(super) fn new(steps: &[u32]) -> Ladder {
        let mut steps = steps.to_vec();
        steps.sort_unstable();
        steps.dedup();
        Ladder(steps)
    }

    /// Whether sizes are not snapped at all.
    pub(super) fn is_exact(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn side(&self, side: Hundredths) -> u32 {
        let side = side.pixels();
        let step = self.0.iter().find(|step| **step >= side).or(self.0.last());
        step.copied().unwrap_or(side.min(SIDE_MAX))
    }

    /// The longer side goes to a step, the shorter one follows it in the nearest allowed shape. Snapping each for
    /// itself would cut pictures to shapes that nobody asked for.
    pub(super) fn sides(&self, width: Hundredths, height: Hundredths) -> (u32, u32) {
        let (long, short) = (width.0.max(height.0).max(1), width.0.min(height.0));
        let side = self.side(Hundredths(long));
        let shape = match self.is_exact() {
            true => (short, long),
            false => nearest_shape(short, long),
        };
        let other = part(side, shape);
        if width.0 >= height.0 {
            (side, other)
        } else {
            (other, side)
        }
    }
}

/// `shape` of `side`, rounded half up.
fn part(side: u32, (numerator, denominator): (u64, u64)) -> u32 {
    let rounded = (2 * u64::from(side) * numerator + denominator) / (2 * denominator);
    u32::try_from(rounded).unwrap_or(side).max(1)
}

/// Of two as near the flatter one, so that snapping what was snapped changes nothing.
fn nearest_shape(short: u64, long: u64) -> (u64, u64) {
    let below = (short * PARTS / long).clamp(1, PARTS);
    let candidates = [(below, PARTS), ((below + 1).min(PARTS), PARTS)];
    let distance = |&(numerator, denominator): &(u64, u64)| {
        // Over the common denominator of all shapes: PARTS, 5, 7 and 40 divide 3360.
        let unit = 3_360 / denominator;
        let apart = (numerator * unit * long).abs_diff(short * 3_360);
        (apart, numerator * unit)
    };
    let all = candidates.into_iter().chain(SHAPES);
    all.min_by_key(distance).unwrap_or((PARTS, PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::config::Transform;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn default_ladder() -> Ladder {
        Ladder::new(&Transform::default().sizes)
    }

    fn pixels(pixels: u64) -> Hundredths {
        Hundredths(pixels * 100)
    }

    fn snapped(width: u64, height: u64) -> (u32, u32) {
        default_ladder().sides(pixels(width), pixels(height))
    }

    #[test]
    fn a_side_goes_up_to_the_next_step_and_ends_at_the_last() {
        let ladder = Ladder::new(&[400, 100, 200, 100]);
        for (side, step) in [
            (1, 100),
            (100, 100),
            (101, 200),
            (400, 400),
            (401, 400),
            (u64::MAX / 200, 400),
        ] {
            assert_eq!(ladder.side(pixels(side)), step, "{side}");
        }
        let exact = Ladder::new(&[]);
        assert_eq!(exact.side(pixels(333)), 333);
        assert_eq!(exact.side(pixels(9_999)), SIDE_MAX);
    }

    #[test]
    fn boxes_of_frequent_shapes_keep_them_exactly() {
        for (asked, made) in [
            ((300, 300), (320, 320)),
            ((300, 200), (320, 213)),
            ((800, 450), (800, 450)),
            ((450, 800), (450, 800)),
            ((1200, 630), (1280, 672)),
            ((1080, 1350), (1152, 1440)),
            ((320, 50), (320, 50)),
            ((8192, 4096), (4096, 2048)),
            ((4096, 1), (4096, 43)),
            ((1, 1), (64, 64)),
        ] {
            assert_eq!(snapped(asked.0, asked.1), made, "{asked:?}");
        }
    }

    #[test]
    fn an_empty_ladder_keeps_boxes_as_they_are_up_to_its_end() {
        let exact = Ladder::new(&[]);
        assert_eq!(exact.sides(pixels(333), pixels(217)), (333, 217));
        assert_eq!(exact.sides(pixels(8_192), pixels(3)), (4_096, 2));
        assert_eq!(exact.sides(Hundredths(1), pixels(4_096)), (1, 4_096));
    }

    #[test]
    fn all_boxes_of_all_sizes_are_few() {
        let mut boxes = HashSet::new();
        for width in (1..4_200).step_by(7) {
            for height in (1..4_200).step_by(7) {
                boxes.insert(snapped(width, height));
            }
        }
        let most = 20 * (2 * (PARTS as usize + SHAPES.len()) - 1);
        assert!(boxes.len() <= most, "{} of {most}", boxes.len());
    }

    proptest! {
        #[test]
        fn snapping_what_was_snapped_changes_nothing(
            width in 1u64..10_000, height in 1u64..10_000, steps in prop::collection::vec(1u32..5_000, 0..6),
        ) {
            let ladder = Ladder::new(&steps);
            let once = ladder.sides(pixels(width), pixels(height));
            let twice = ladder.sides(pixels(u64::from(once.0)), pixels(u64::from(once.1)));
            prop_assert_eq!(twice, once);
        }

        #[test]
        fn a_box_keeps_its_shape(width in 1u64..8_193, height in 1u64..8_193) {
            let (made_width, made_height) = snapped(width, height);
            let (long, short) = (width.max(height) as f64, width.min(height) as f64);
            let made_long = f64::from(made_width.max(made_height));
            let off = (short / long * made_long - f64::from(made_width.min(made_height))).abs();
            prop_assert!(off <= made_long / 96.0 + 0.5, "{width}x{height} became {made_width}x{made_height}");
            prop_assert_eq!(width.cmp(&height) as i8 * made_width.cmp(&made_height) as i8 >= 0, true);
        }
    }
}
