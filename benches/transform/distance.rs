//! How far two pictures lie apart to the eye: structural dissimilarity, `1 / SSIM - 1`; 0 is none.
//!
//! SSIM (Wang and others, 2004) over five scales with the weights of MS-SSIM (Wang and others, 2003), taken as a
//! weighted mean, in CIE L*a*b*: a pixel is a vector there, and the products of the formula are dot products, so that
//! colour counts as lightness does. Scales are halved in linear light. What is transparent is laid on black and on
//! white, and the two results are averaged. Its figures are its own: comparable with each other, with no other tool's.

use crate::reference::Picture;

const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// A scale with a shorter side than this says nothing.
const SIDE_MIN: usize = 8;
/// (0.01 L)^2 and (0.03 L)^2, where L*, the range of lightness, is 100.
const C1: f32 = 1.0;
const C2: f32 = 9.0;
/// The window's standard deviation, in pixels, and how far it reaches.
const SIGMA: f32 = 1.5;
const REACH: usize = 5;

type Vector = [f32; 3];

struct Plane<T> {
    width: usize,
    height: usize,
    values: Vec<T>,
}

pub(crate) fn dissimilarity(reference: &Picture, other: &Picture) -> f64 {
    assert_eq!(
        (reference.width, reference.height),
        (other.width, other.height),
        "pictures of one size"
    );
    let opaque = |picture: &Picture| picture.pixels.iter().all(|pixel| pixel[3] == 1.0);
    let backgrounds: &[f32] = if opaque(reference) && opaque(other) {
        &[0.0]
    } else {
        &[0.0, 1.0]
    };
    let on = |background: &f32| between(linear(reference, *background), linear(other, *background));
    backgrounds.iter().map(on).sum::<f64>() / backgrounds.len() as f64
}

fn between(mut one: Plane<Vector>, mut other: Plane<Vector>) -> f64 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for weight in WEIGHTS {
        if weights > 0.0 && one.width.min(one.height) < SIDE_MIN {
            break;
        }
        sum += weight * similarity(&lab(&one), &lab(&other));
        weights += weight;
        (one, other) = (halved(&one), halved(&other));
    }
    weights / sum - 1.0
}

/// The mean of SSIM over all pixels.
fn similarity(one: &Plane<Vector>, other: &Plane<Vector>) -> f64 {
    let moments = Plane {
        width: one.width,
        height: one.height,
        values: one.values.iter().zip(&other.values).map(moments).collect(),
    };
    let smooth = blurred(&moments);
    smooth
        .values
        .iter()
        .map(|moments| f64::from(ssim(moments)))
        .sum::<f64>()
        / smooth.values.len() as f64
}

/// Of a pair of pixels: both, their squares, and their product.
type Moments = [f32; 9];

fn moments((x, y): (&Vector, &Vector)) -> Moments {
    let [a, b, c] = *x;
    let [d, e, f] = *y;
    [a, b, c, d, e, f, dot(x, x), dot(y, y), dot(x, y)]
}

fn dot(x: &Vector, y: &Vector) -> f32 {
    x[0] * y[0] + x[1] * y[1] + x[2] * y[2]
}

fn ssim(&[a, b, c, d, e, f, xx, yy, xy]: &Moments) -> f32 {
    let (x, y) = ([a, b, c], [d, e, f]);
    let (mean_x, mean_y, mean_xy) = (dot(&x, &x), dot(&y, &y), dot(&x, &y));
    let luminance = (2.0 * mean_xy + C1) / (mean_x + mean_y + C1);
    let structure = (2.0 * (xy - mean_xy) + C2) / (xx - mean_x + yy - mean_y + C2);
    luminance * structure
}

/// By a Gaussian; what lies beyond an edge is as the edge.
fn blurred(plane: &Plane<Moments>) -> Plane<Moments> {
    let weights = window();
    let Plane { width, height, .. } = *plane;
    let across = |at: usize, step: usize| {
        let (row, x) = (at / width * width, at % width);
        plane.values[row + beside(x, step, width)]
    };
    let wide: Vec<Moments> = (0..plane.values.len())
        .map(|at| weighted(&weights, |step| across(at, step)))
        .collect();
    let down = |at: usize, step: usize| wide[beside(at / width, step, height) * width + at % width];
    let values = (0..wide.len()).map(|at| weighted(&weights, |step| down(at, step)));
    Plane {
        width,
        height,
        values: values.collect(),
    }
}

fn beside(at: usize, step: usize, length: usize) -> usize {
    (at + step).saturating_sub(REACH).min(length - 1)
}

fn weighted(weights: &[f32; 2 * REACH + 1], value: impl Fn(usize) -> Moments) -> Moments {
    let mut sum = [0.0; 9];
    for (step, weight) in weights.iter().enumerate() {
        for (sum, value) in sum.iter_mut().zip(value(step)) {
            *sum += value * weight;
        }
    }
    sum
}

fn window() -> [f32; 2 * REACH + 1] {
    let bell = |step: usize| (-(step as f32 - REACH as f32).powi(2) / (2.0 * SIGMA * SIGMA)).exp();
    let sum: f32 = (0..=2 * REACH).map(bell).sum();
    std::array::from_fn(|step| bell(step) / sum)
}

/// Linear light, on a grey background of sRGB.
fn linear(picture: &Picture, background: f32) -> Plane<Vector> {
    let on = |[red, green, blue, alpha]: &[f32; 4]| {
        [red, green, blue].map(|channel| light(channel + background * (1.0 - alpha)))
    };
    Plane {
        width: picture.width,
        height: picture.height,
        values: picture.pixels.iter().map(on).collect(),
    }
}

/// IEC 61966-2-1.
fn light(srgb: f32) -> f32 {
    if srgb <= 0.040_45 {
        srgb / 12.92
    } else {
        ((srgb + 0.055) / 1.055).powf(2.4)
    }
}

fn halved(plane: &Plane<Vector>) -> Plane<Vector> {
    let (width, height) = (plane.width / 2, plane.height / 2);
    let mean = |x: usize, y: usize| {
        let at = |right: usize, below: usize| plane.values[(2 * y + below) * plane.width + 2 * x + right];
        let four = [at(0, 0), at(1, 0), at(0, 1), at(1, 1)];
        std::array::from_fn(|channel| four.iter().map(|value| value[channel]).sum::<f32>() / 4.0)
    };
    let values = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    Plane {
        width,
        height,
        values: values.map(|(x, y)| mean(x, y)).collect(),
    }
}

/// CIE 15, for the white of D65.
fn lab(plane: &Plane<Vector>) -> Plane<Vector> {
    let to_lab = |&[red, green, blue]: &Vector| {
        let x = bend((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505);
        let y = bend(0.2126 * red + 0.7152 * green + 0.0722 * blue);
        let z = bend((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    };
    Plane {
        width: plane.width,
        height: plane.height,
        values: plane.values.iter().map(to_lab).collect(),
    }
}

fn bend(light: f32) -> f32 {
    const KNEE: f32 = 6.0 / 29.0;
    if light > KNEE * KNEE * KNEE {
        light.cbrt()
    } else {
        light / (3.0 * KNEE * KNEE) + 4.0 / 29.0
    }
}
