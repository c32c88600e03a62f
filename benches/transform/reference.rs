//! What a variant should look like: the source decoded in full, brought to sRGB, and resized by Lanczos with three
//! lobes, in floating point from end to end.
//!
//! In sRGB's own values, as both sides resize, and with colours weighted by their opacity.

use crate::decode::Still;
use aquatint::spec::Turn;
use std::f64::consts::PI;

/// Pixels of sRGB, 0 to 1, colours multiplied by their opacity.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[f32; 4]>,
}

/// What of a source's facts its pixels do not tell.
pub(crate) struct Facts {
    pub(crate) turn: Turn,
    pub(crate) profile: Option<Vec<u8>>,
}

pub(crate) fn picture(still: &Still) -> Picture {
    Picture {
        width: still.width as usize,
        height: still.height as usize,
        pixels: still.rgba.chunks_exact(4).map(pixel).collect(),
    }
}

fn pixel(rgba: &[u8]) -> [f32; 4] {
    let [red, green, blue, alpha] = [0, 1, 2, 3].map(|channel| f32::from(rgba[channel]) / 255.0);
    [red * alpha, green * alpha, blue * alpha, alpha]
}

/// `still` upright and in sRGB, in `width` and `height`.
pub(crate) fn resized(still: &Still, facts: &Facts, (width, height): (usize, usize)) -> Picture {
    let lies_turned = facts.turn.quarters % 2 == 1;
    let (across, down) = if lies_turned {
        (height, width)
    } else {
        (width, height)
    };
    let columns = taps(still.width as usize, across);
    let to_srgb = to_srgb(facts);
    let rows = still.rgba.chunks_exact(still.width as usize * 4);
    let narrow = rows.flat_map(|row| weigh(&to_srgb(row), &columns)).collect();
    let narrow = Picture {
        width: across,
        height: still.height as usize,
        pixels: narrow,
    };
    let on_its_side = transposed(&narrow);
    let rows_taps = taps(narrow.height, down);
    let rows = on_its_side.pixels.chunks_exact(narrow.height);
    let resized = Picture {
        width: down,
        height: across,
        pixels: rows.flat_map(|row| weigh(row, &rows_taps)).collect(),
    };
    let mut picture = transposed(&resized);
    clip(&mut picture);
    turned(picture, facts.turn)
}

/// For each pixel of the result, the first pixel of the source that counts, and the weights from there on.
type Taps = Vec<(usize, Vec<f32>)>;

fn taps(from: usize, to: usize) -> Taps {
    let step = from as f64 / to as f64;
    // Where it enlarges, the kernel is as wide as the source's pixels.
    let stretch = step.max(1.0);
    let around = |at: usize| {
        let middle = (at as f64 + 0.5) * step;
        let first = (middle - 3.0 * stretch).floor().max(0.0) as usize;
        let end = ((middle + 3.0 * stretch).ceil() as usize).min(from);
        let weight = |at: usize| lanczos((at as f64 + 0.5 - middle) / stretch);
        let sum: f64 = (first..end).map(weight).sum();
        (first, (first..end).map(|at| (weight(at) / sum) as f32).collect())
    };
    (0..to).map(around).collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
    if x.abs() < 3.0 {
        sinc(x) * sinc(x / 3.0)
    } else {
        0.0
    }
}

fn weigh(row: &[[f32; 4]], taps: &Taps) -> Vec<[f32; 4]> {
    let weighed = taps.iter().map(|(first, weights)| {
        let mut sum = [0.0; 4];
        for (pixel, weight) in row[*first..].iter().zip(weights) {
            for channel in 0..4 {
                sum[channel] += pixel[channel] * weight;
            }
        }
        sum
    });
    weighed.collect()
}

fn transposed(picture: &Picture) -> Picture {
    let columns = (0..picture.width).flat_map(|x| {
        let column = picture.pixels[x..].iter().step_by(picture.width);
        column.copied()
    });
    Picture {
        width: picture.height,
        height: picture.width,
        pixels: columns.collect(),
    }
}

/// The kernel's lobes overshoot what can be shown.
fn clip(picture: &mut Picture) {
    for [red, green, blue, alpha] in &mut picture.pixels {
        *alpha = alpha.clamp(0.0, 1.0);
        for channel in [red, green, blue] {
            *channel = channel.clamp(0.0, *alpha);
        }
    }
}

fn turned(mut picture: Picture, turn: Turn) -> Picture {
    if turn.mirrored {
        mirror(&mut picture);
    }
    for _ in 0..turn.quarters {
        picture = transposed(&picture);
        mirror(&mut picture);
    }
    picture
}

fn mirror(picture: &mut Picture) {
    let width = picture.width;
    picture.pixels.chunks_exact_mut(width).for_each(<[_]>::reverse);
}

/// From a row of bytes to pixels of sRGB.
fn to_srgb(facts: &Facts) -> impl Fn(&[u8]) -> Vec<[f32; 4]> {
    let profile = facts.profile.as_deref().map(|bytes| {
        let profile = moxcms::ColorProfile::new_from_slice(bytes).expect("a profile both sides can use");
        let options = moxcms::TransformOptions::default();
        let srgb = moxcms::ColorProfile::new_srgb();
        let transform =
            profile.create_transform_f32(moxcms::Layout::Rgba, &srgb, moxcms::Layout::Rgba, options);
        transform.expect("a profile of red, green and blue")
    });
    move |row| {
        let Some(transform) = &profile else {
            return row.chunks_exact(4).map(pixel).collect();
        };
        let row: Vec<f32> = row.iter().map(|byte| f32::from(*byte) / 255.0).collect();
        let mut srgb = vec![0.0; row.len()];
        transform.transform(&row, &mut srgb).expect("whole pixels");
        let channels = srgb.chunks_exact(4).zip(row.chunks_exact(4));
        let pixels =
            channels.map(|(srgb, row)| [srgb[0] * row[3], srgb[1] * row[3], srgb[2] * row[3], row[3]]);
        pixels.collect()
    }
}
