//! Where each pixel of a variant comes from: pure arithmetic.
//!
//! A box goes through four spaces: the source as it lies (as it is stored), upright (after its own orientation: region
//! and trim are in this space), the picture (after the spec's turn: sizes are in this one), and the raster, which is
//! the source as it lies at `scale`. Invariant: a plan's crop lies within the raster, in fractions: a raster decoded to eighths
//! has its sides rounded up, and what it holds of the source ends before its edge. Boxes are scaled by the true
//! factor, never by the raster's sides; else all pixels shift. It does not know codecs.

mod fit;
mod smart;
mod trim;
pub(super) mod turn;

use super::decode::Eighths;
use super::raster::Raster;
use super::{ImageError, Limits, Probe};
use crate::spec::{Fit, Gravity, Padding, Region, Size, Spec, Turn};
use fit::{Fitted, fit};
use trim::{Colour, Window};
use turn::{Sides, inverse, then, turned, turned_box};

/// How to get from a decoded raster to the picture, in the order of the fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// In pixels of the decoded raster, in fractions: what of it is used.
    pub(super) crop: CropBox,
    /// What that is resized to, still as the source lies.
    pub(super) width: u32,
    pub(super) height: u32,
    /// From the source as it lies to the picture.
    pub(super) turn: Turn,
    /// The canvas the turned picture is laid on, where it does not fill it (`Fit::Pad`, padding).
    pub(super) canvas: Option<Canvas>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CropBox {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Its size, and where the picture's upper left corner lies on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Canvas {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) left: u32,
    pub(super) top: u32,
}

impl Plan {
    /// Of the finished picture.
    pub(super) fn size(&self) -> (u32, u32) {
        match self.canvas {
            Some(canvas) => (canvas.width, canvas.height),
            None => turned((self.width, self.height), self.turn),
        }
    }
}

/// To what part of its size the source can be decoded without the picture losing anything.
///
/// A scaled decode is a box filter; the last factor is left to a better one, and more of it where the first would have
/// done nearly all.
pub(super) fn scale(probe: &Probe, spec: &Spec, limits: &Limits) -> Eighths {
    // How much a trim leaves is seen only in the pixels.
    if probe.kind != super::Kind::Jpeg || spec.trim.is_some() {
        return Eighths(8);
    }
    let Ok(part) = region(upright(probe), spec.region) else {
        return Eighths(8);
    };
    let whole = turned((part.width, part.height), spec.turn);
    let fitted = fit(whole, spec.size).at_most(limits);
    let shrink = (fitted.used.0 / fitted.size.0).min(fitted.used.1 / fitted.size.1);
    let Some(factor) = [8, 4, 2].into_iter().find(|&factor| f64::from(factor) <= shrink) else {
        return Eighths(8);
    };
    let does_nearly_all = shrink.floor() == f64::from(factor);
    Eighths(8 / if does_nearly_all { factor / 2 } else { factor })
}

/// `first` is the first frame, decoded to `scale`: trimming and smart gravity look at it.
///
/// # Errors
/// When the picture would be larger than the limits, or nothing is left of the source.
pub(super) fn plan(
    probe: &Probe,
    spec: &Spec,
    limits: &Limits,
    scale: Eighths,
    first: &Raster,
) -> Result<Plan, ImageError> {
    let source = Source { probe, scale, first };
    let region = region(upright(probe), spec.region)?;
    let part = spec
        .trim
        .map_or(region, |tolerance| source.trimmed(region, tolerance));
    let turn = then(probe.turn, spec.turn);
    let whole = turned((part.width, part.height), spec.turn);
    let fitted = fit(whole, spec.size).at_most(limits);
    let layout = Laid::out(&fitted, spec.padding).within(limits)?;
    let part = turned_box(part, upright(probe), inverse(probe.turn));
    let crop = source.place(part, whole, turn, &fitted)?;
    let (width, height) = turned(layout.size, turn);
    Ok(Plan {
        crop,
        width: width as u32,
        height: height as u32,
        turn,
        canvas: layout.canvas(),
    })
}

/// The sides of the finished picture; of one that is trimmed, at most, since what a trim leaves is seen only in the
/// pixels. Nothing, where the plan will be an error.
pub(super) fn size_max(probe: &Probe, spec: &Spec, limits: &Limits) -> (u32, u32) {
    let Ok(part) = region(upright(probe), spec.region) else {
        return (0, 0);
    };
    let whole = turned((part.width, part.height), spec.turn);
    let (width, height) = match spec.trim {
        Some(_) => most_of_a_part(whole, spec.size),
        None => fit(whole, spec.size).at_most(limits).canvas,
    };
    let Padding {
        top,
        right,
        bottom,
        left,
    } = spec.padding;
    let side = |side: f64, before: u16, after: u16| {
        let padded = side + f64::from(before) + f64::from(after);
        (padded as u32).min(limits.output_side)
    };
    (side(width, left, right), side(height, top, bottom))
}

/// What a part of `whole`, of any shape, is brought to at most.
fn most_of_a_part(whole: Sides, size: Option<Size>) -> Sides {
    let Some(size) = size else {
        return whole;
    };
    let asked = |side: Option<u32>| side.map_or(f64::INFINITY, |side| f64::from(side.max(1)));
    let (width, height) = (asked(size.width), asked(size.height));
    if size.enlarge || size.fit == Fit::Pad {
        (width, height)
    } else {
        (width.min(whole.0), height.min(whole.1))
    }
}

/// The sides of the source, upright.
fn upright(probe: &Probe) -> Sides {
    let sides = (f64::from(probe.width.max(1)), f64::from(probe.height.max(1)));
    turned(sides, probe.turn)
}

/// What of a region lies in the picture; all of the picture where there is none.
fn region(sides: Sides, region: Option<Region>) -> Result<CropBox, ImageError> {
    let Some(region) = region else {
        return Ok(CropBox {
            left: 0.0,
            top: 0.0,
            width: sides.0,
            height: sides.1,
        });
    };
    let (left, top) = (f64::from(region.left), f64::from(region.top));
    let (right, bottom) = (left + f64::from(region.width), top + f64::from(region.height));
    let (width, height) = (right.min(sides.0) - left, bottom.min(sides.1) - top);
    if width < 1.0 || height < 1.0 {
        return Err(ImageError::Unsupported {
            what: "a region that holds nothing of the picture",
        });
    }
    Ok(CropBox {
        left,
        top,
        width,
        height,
    })
}

/// A picture on its canvas, in whole pixels of the result.
#[derive(Clone, Copy, Debug)]
struct Laid {
    size: Sides,
    canvas: Sides,
    corner: Sides,
}

impl Laid {
    fn out(fitted: &Fitted, padding: Padding) -> Laid {
        let [top, right, bottom, left] =
            [padding.top, padding.right, padding.bottom, padding.left].map(f64::from);
        let (canvas, size) = (fitted.canvas, fitted.size);
        Laid {
            size,
            canvas: (left + canvas.0 + right, top + canvas.1 + bottom),
            corner: (
                left + ((canvas.0 - size.0) / 2.0).floor(),
                top + ((canvas.1 - size.1) / 2.0).floor(),
            ),
        }
    }

    fn within(self, limits: &Limits) -> Result<Laid, ImageError> {
        let longer = self.canvas.0.max(self.canvas.1);
        if longer > f64::from(limits.output_side) {
            return Err(ImageError::Limit {
                what: "the longer side of the picture with its padding",
                value: longer as u64,
                max: limits.output_side.into(),
            });
        }
        Ok(self)
    }

    fn canvas(&self) -> Option<Canvas> {
        (self.canvas != self.size).then_some(Canvas {
            width: self.canvas.0 as u32,
            height: self.canvas.1 as u32,
            left: self.corner.0 as u32,
            top: self.corner.1 as u32,
        })
    }
}

/// The source and its first frame.
struct Source<'a> {
    probe: &'a Probe,
    scale: Eighths,
    first: &'a Raster,
}

impl Source<'_> {
    /// How many pixels of the raster a pixel of the source is wide.
    fn factor(&self) -> f64 {
        f64::from(self.scale.0) / 8.0
    }

    /// A region without its border; both upright.
    fn trimmed(&self, region: CropBox, tolerance: u8) -> CropBox {
        let as_it_lies = turned_box(region, upright(self.probe), inverse(self.probe.turn));
        let Some(window) = self.window(as_it_lies) else {
            return region;
        };
        let border = self.upper_left(&window);
        let kept = trim::trim(self.first, window.clone(), border, tolerance);
        if kept == window {
            return region;
        }
        let left = f64::from(kept.columns.start) / self.factor();
        let top = f64::from(kept.rows.start) / self.factor();
        let kept = CropBox {
            left,
            top,
            width: f64::from(kept.columns.end) / self.factor() - left,
            height: f64::from(kept.rows.end) / self.factor() - top,
        };
        let sides = (f64::from(self.probe.width), f64::from(self.probe.height));
        turned_box(common(kept, as_it_lies), sides, self.probe.turn)
    }

    /// The pixels of the raster that a box of the source lies on.
    fn window(&self, of: CropBox) -> Option<Window> {
        let of = scaled(of, self.factor());
        let end = |end: f64, side: u32| (end.ceil() as u32).min(side);
        let window = Window {
            columns: of.left as u32..end(of.left + of.width, self.first.width),
            rows: of.top as u32..end(of.top + of.height, self.first.height),
        };
        (!window.columns.is_empty() && !window.rows.is_empty()).then_some(window)
    }

    /// The colour of the corner that is the upper left one when the source is upright.
    fn upper_left(&self, window: &Window) -> Colour {
        let corner = CropBox {
            left: 0.0,
            top: 0.0,
            width: 1.0,
            height: 1.0,
        };
        let place = turned_box(corner, (2.0, 2.0), inverse(self.probe.turn));
        let at = |later: bool, range: &std::ops::Range<u32>| if later { range.end - 1 } else { range.start };
        let (column, row) = (
            at(place.left > 0.5, &window.columns),
            at(place.top > 0.5, &window.rows),
        );
        Colour::at(self.first, column, row)
    }

    /// Where in a part of the source, as it lies, that is found which the picture uses; in the raster's pixels.
    /// `whole` are the sides of that part after `turn`.
    fn place(&self, part: CropBox, whole: Sides, turn: Turn, fitted: &Fitted) -> Result<CropBox, ImageError> {
        let used = match fitted.gravity {
            Gravity::Focal(x, y) => {
                let offset = CropBox {
                    left: focal(whole.0, fitted.used.0, fitted.size.0, x),
                    top: focal(whole.1, fitted.used.1, fitted.size.1, y),
                    width: fitted.used.0,
                    height: fitted.used.1,
                };
                let place = turned_box(offset, whole, inverse(turn));
                CropBox {
                    left: part.left + place.left,
                    top: part.top + place.top,
                    ..place
                }
            }
            Gravity::Smart => self.smartly(part, turn, fitted),
        };
        let raster = CropBox {
            left: 0.0,
            top: 0.0,
            width: f64::from(self.first.width),
            height: f64::from(self.first.height),
        };
        let crop = common(scaled(used, self.factor()), raster);
        if crop.width <= 0.0 || crop.height <= 0.0 {
            return Err(ImageError::Corrupt {
                format: "image",
                cause: "it holds fewer pixels than its header says".to_owned(),
            });
        }
        Ok(crop)
    }

    fn smartly(&self, part: CropBox, turn: Turn, fitted: &Fitted) -> CropBox {
        let factor = self.factor();
        let (used, size) = (turned(fitted.used, turn), turned(fitted.size, turn));
        let place = smart::place(
            self.first,
            scaled(part, factor),
            (used.0 * factor, used.1 * factor),
        );
        let place = scaled(place, 1.0 / factor);
        CropBox {
            left: part.left + snapped(place.left - part.left, used.0, size.0),
            top: part.top + snapped(place.top - part.top, used.1, size.1),
            width: used.0,
            height: used.1,
        }
    }
}

/// Where a part of `used` out of `whole` begins, when that many hundredths of the whole are to be in its middle.
fn focal(whole: f64, used: f64, size: f64, hundredths: u8) -> f64 {
    let room = (whole - used).max(0.0);
    let begin = whole * f64::from(hundredths) / 100.0 - used / 2.0;
    snapped(begin.clamp(0.0, room), used, size)
}

/// What keeps its size is cut out on whole pixels, so that its pixels stay what they are.
fn snapped(begin: f64, used: f64, size: f64) -> f64 {
    if used == size { begin.floor() } else { begin }
}

fn scaled(of: CropBox, factor: f64) -> CropBox {
    CropBox {
        left: of.left * factor,
        top: of.top * factor,
        width: of.width * factor,
        height: of.height * factor,
    }
}

/// The part that lies in `bounds`, to the last bit: its right edge, added up again, lies in them too.
fn common(of: CropBox, bounds: CropBox) -> CropBox {
    let axis = |begin: f64, length: f64, from: f64, room: f64| {
        let start = begin.clamp(from, from + room);
        let end = (begin + length).min(from + room);
        let mut length = (end - start).max(0.0);
        while length > 0.0 && start + length > from + room {
            length = length.next_down();
        }
        (start, length)
    };
    let (left, width) = axis(of.left, of.width, bounds.left, bounds.width);
    let (top, height) = axis(of.top, of.height, bounds.top, bounds.height);
    CropBox {
        left,
        top,
        width,
        height,
    }
}

#[cfg(test)]
pub(super) mod tests;
