//! The eight ways to lay a picture down, as a group, and where they put a box.
//!
//! A [`Turn`] mirrors left to right first and then turns clockwise by quarters. Invariant: whatever is done here with
//! turns is what would be done by laying the picture down once for each of them.

use super::CropBox;
use crate::spec::Turn;

/// Width and height.
pub(in crate::image) type Sides = (f64, f64);

/// `first`, and after that `second`, as one.
pub(in crate::image) fn then(first: Turn, second: Turn) -> Turn {
    // A mirror after a turn is a turn the other way after a mirror.
    let first_quarters = if second.mirrored {
        4 - first.quarters % 4
    } else {
        first.quarters % 4
    };
    Turn {
        mirrored: first.mirrored != second.mirrored,
        quarters: (first_quarters + second.quarters % 4) % 4,
    }
}

/// What takes `turn` back.
pub(in crate::image) fn inverse(turn: Turn) -> Turn {
    let quarters = turn.quarters % 4;
    Turn {
        mirrored: turn.mirrored,
        // A mirrored turn is a reflection, and as such its own inverse.
        quarters: if turn.mirrored {
            quarters
        } else {
            (4 - quarters) % 4
        },
    }
}

/// Whether width and height change places.
pub(in crate::image) fn swaps(turn: Turn) -> bool {
    turn.quarters % 2 == 1
}

/// The sides of a picture after `turn`.
pub(in crate::image) fn turned<T>(sides: (T, T), turn: Turn) -> (T, T) {
    if swaps(turn) { (sides.1, sides.0) } else { sides }
}

/// Where a box in a picture of these sides lies after `turn`.
pub(super) fn turned_box(of: CropBox, sides: Sides, turn: Turn) -> CropBox {
    let mut turned = of;
    let (mut width, mut height) = sides;
    if turn.mirrored {
        turned.left = width - turned.left - turned.width;
    }
    for _ in 0..turn.quarters % 4 {
        turned = CropBox {
            left: height - turned.top - turned.height,
            top: turned.left,
            width: turned.height,
            height: turned.width,
        };
        (width, height) = (height, width);
    }
    turned
}

#[cfg(test)]
pub(in crate::image) fn all_turns() -> impl Iterator<Item = Turn> + Clone {
    (0..8).map(|number| Turn {
        mirrored: number >= 4,
        quarters: number % 4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: Sides = (7.0, 5.0);
    /// A box that looks different after every turn.
    const PROBE: CropBox = CropBox {
        left: 1.0,
        top: 0.0,
        width: 3.0,
        height: 1.0,
    };

    #[test]
    fn a_clockwise_quarter_brings_the_lower_left_corner_up() {
        let corner = CropBox {
            left: 0.0,
            top: 4.0,
            width: 1.0,
            height: 1.0,
        };
        let quarter = Turn {
            mirrored: false,
            quarters: 1,
        };
        let turned = turned_box(corner, SIDES, quarter);
        assert_eq!((turned.left, turned.top), (0.0, 0.0));
    }

    #[test]
    fn a_mirror_comes_before_the_quarters() {
        let corner = CropBox {
            left: 6.0,
            top: 4.0,
            width: 1.0,
            height: 1.0,
        };
        let turn = Turn {
            mirrored: true,
            quarters: 1,
        };
        let turned = turned_box(corner, SIDES, turn);
        assert_eq!((turned.left, turned.top), (0.0, 0.0));
    }

    #[test]
    fn the_eight_turns_lie_eight_ways() {
        let mut seen = Vec::new();
        for turn in all_turns() {
            let place = turned_box(PROBE, SIDES, turn);
            assert!(!seen.contains(&place), "{turn:?}");
            seen.push(place);
        }
    }

    #[test]
    fn two_turns_as_one_put_a_box_where_both_put_it() {
        for first in all_turns() {
            for second in all_turns() {
                let stepwise = turned_box(turned_box(PROBE, SIDES, first), turned(SIDES, first), second);
                let both = then(first, second);
                assert!(both.quarters < 4);
                assert_eq!(turned_box(PROBE, SIDES, both), stepwise, "{first:?} {second:?}");
            }
        }
    }

    #[test]
    fn an_inverse_takes_its_turn_back_from_either_side() {
        for turn in all_turns() {
            assert_eq!(then(turn, inverse(turn)), Turn::default(), "{turn:?}");
            assert_eq!(then(inverse(turn), turn), Turn::default(), "{turn:?}");
        }
    }

    #[test]
    fn three_turns_may_be_joined_in_either_order() {
        for (a, b, c) in
            all_turns().flat_map(|a| all_turns().flat_map(move |b| all_turns().map(move |c| (a, b, c))))
        {
            assert_eq!(then(then(a, b), c), then(a, then(b, c)));
        }
    }
}
