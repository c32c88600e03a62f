//! Pictures that can be told apart, what is done to them, and how far two of them lie apart to the eye.
//!
//! Every operation is written the plain way, pixel by pixel: a test compares what the edge made with what is made
//! here. Pixels are RGBA with straight alpha. It does not know the edge.

mod decode;
mod encode;

pub(crate) use decode::{Shown, shown};
pub(crate) use encode::{
    Kind, animated_gif, animated_webp, jpeg_with, lossless_webp, png_chunk, with_orientation, with_segment,
};

pub(crate) type Pixel = [u8; 4];

pub(crate) const WHITE: Pixel = [255; 4];
const BLACK: Pixel = [0, 0, 0, 255];
const CLEAR: Pixel = [0; 4];

/// Top left, top right, bottom left, bottom right: red, green, blue, yellow.
const QUADRANTS: [[u8; 3]; 4] = [[200, 70, 50], [60, 170, 80], [50, 80, 190], [215, 195, 70]];

/// How many levels a quadrant's colour rises from its picture's left edge to the right one, and from top to bottom.
const SLOPE: u32 = 30;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) pixels: Vec<Pixel>,
}

/// Pictures and how long each is shown, in milliseconds.
pub(crate) type Animation = Vec<(Image, u32)>;

impl Image {
    pub(crate) fn drawn(width: u32, height: u32, pixel: impl Fn(u32, u32) -> Pixel) -> Image {
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Image {
            width,
            height,
            pixels: rows.map(|(x, y)| pixel(x, y)).collect(),
        }
    }

    pub(crate) fn plain(width: u32, height: u32, colour: Pixel) -> Image {
        Image::drawn(width, height, |_, _| colour)
    }

    /// Four quadrants of four colours over a gradient: however it is turned, mirrored or cut, it looks another.
    pub(crate) fn sample(width: u32, height: u32) -> Image {
        Image::drawn(width, height, |x, y| {
            let quadrant = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
            let rise = (x * SLOPE / width + y * SLOPE / height) as u8;
            let [red, green, blue] = QUADRANTS[quadrant].map(|channel| channel - SLOPE as u8 + rise);
            [red, green, blue, 255]
        })
    }

    /// The same with its bottom right quadrant transparent.
    pub(crate) fn see_through(&self) -> Image {
        Image::drawn(self.width, self.height, |x, y| {
            let is_clear = x >= self.width / 2 && y >= self.height / 2;
            if is_clear { CLEAR } else { self.pixel(x, y) }
        })
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub(crate) fn pixel(&self, x: u32, y: u32) -> Pixel {
        self.pixels[(y * self.width + x) as usize]
    }

    pub(crate) fn is_opaque(&self) -> bool {
        self.pixels.iter().all(|[.., alpha]| *alpha == 255)
    }

    /// Row by row, four bytes for each pixel.
    pub(crate) fn rgba(&self) -> Vec<u8> {
        self.pixels.as_flattened().to_vec()
    }

    /// The same without alpha.
    pub(crate) fn rgb(&self) -> Vec<u8> {
        self.pixels
            .iter()
            .flat_map(|[red, green, blue, _]| [*red, *green, *blue])
            .collect()
    }

    pub(crate) fn of_rgba(width: u32, height: u32, bytes: &[u8]) -> Image {
        let (pixels, rest) = bytes.as_chunks::<4>();
        assert!(rest.is_empty() && pixels.len() == (width * height) as usize);
        Image {
            width,
            height,
            pixels: pixels.to_vec(),
        }
    }

    pub(crate) fn of_rgb(width: u32, height: u32, bytes: &[u8]) -> Image {
        let (pixels, rest) = bytes.as_chunks::<3>();
        assert!(rest.is_empty() && pixels.len() == (width * height) as usize);
        let pixels = pixels.iter().map(|[red, green, blue]| [*red, *green, *blue, 255]);
        Image {
            width,
            height,
            pixels: pixels.collect(),
        }
    }

    pub(crate) fn cropped(&self, left: u32, top: u32, width: u32, height: u32) -> Image {
        Image::drawn(width, height, |x, y| self.pixel(left + x, top + y))
    }

    /// Mirrored left to right.
    pub(crate) fn mirrored(&self) -> Image {
        Image::drawn(self.width, self.height, |x, y| self.pixel(self.width - 1 - x, y))
    }

    /// Clockwise, by so many quarters.
    pub(crate) fn turned(&self, quarters: u8) -> Image {
        (0..quarters).fold(self.clone(), |image, _| {
            Image::drawn(image.height, image.width, |x, y| {
                image.pixel(y, image.height - 1 - x)
            })
        })
    }

    /// Each new pixel is the mean of those it covers, in parts where it covers parts.
    pub(crate) fn resized(&self, width: u32, height: u32) -> Image {
        Image::drawn(width, height, |x, y| {
            let (across, down) = (covered(x, width, self.width), covered(y, height, self.height));
            let parts = down.iter().flat_map(|(y, part)| {
                across
                    .iter()
                    .map(move |(x, other)| (self.pixel(*x, *y), part * other))
            });
            mean(parts)
        })
    }

    /// In front of a colour.
    pub(crate) fn over(&self, behind: Pixel) -> Image {
        Image::drawn(self.width, self.height, |x, y| blend(self.pixel(x, y), behind))
    }

    /// On a canvas of one colour.
    pub(crate) fn laid_on(&self, canvas: &Image, left: u32, top: u32) -> Image {
        Image::drawn(canvas.width, canvas.height, |x, y| {
            let (x_here, y_here) = (x.wrapping_sub(left), y.wrapping_sub(top));
            if x_here < self.width && y_here < self.height {
                blend(self.pixel(x_here, y_here), canvas.pixel(x, y))
            } else {
                canvas.pixel(x, y)
            }
        })
    }

    /// By a Gaussian of that standard deviation, in pixels.
    pub(crate) fn blurred(&self, sigma: f64) -> Image {
        let reach = (sigma * 3.0).ceil() as i64;
        let weights = (-reach..=reach).map(|at| (-((at * at) as f64) / (2.0 * sigma * sigma)).exp());
        let weights: Vec<f64> = weights.collect();
        self.weighted(&weights, (1, 0)).weighted(&weights, (0, 1))
    }

    /// Each pixel the mean of itself and its neighbours in one direction; the edges go on outside.
    fn weighted(&self, weights: &[f64], (right, down): (i64, i64)) -> Image {
        let reach = weights.len() as i64 / 2;
        let at = |from: u32, by: i64, side: u32| (i64::from(from) + by).clamp(0, i64::from(side) - 1) as u32;
        Image::drawn(self.width, self.height, |x, y| {
            let neighbours = weights.iter().zip(-reach..).map(|(weight, by)| {
                let pixel = self.pixel(at(x, by * right, self.width), at(y, by * down, self.height));
                (pixel, *weight)
            });
            mean(neighbours)
        })
    }

    /// The mean of all channels in front of black, 0..=255.
    pub(crate) fn brightness(&self) -> f64 {
        let sum: u64 = self
            .over(BLACK)
            .rgb()
            .iter()
            .map(|channel| u64::from(*channel))
            .sum();
        sum as f64 / (self.pixels.len() * 3) as f64
    }

    /// How far the colours of two pictures of one size lie apart on average, of 255, where a pixel more or less at an
    /// edge and the grain of an encoder do not count. In front of black and of white: transparency counts.
    pub(crate) fn distance(&self, other: &Image) -> f64 {
        assert_eq!(self.size(), other.size());
        let apart = |behind| {
            let (one, two) = (
                self.over(behind).softened().rgb(),
                other.over(behind).softened().rgb(),
            );
            let sum: u64 = one.iter().zip(&two).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            sum as f64 / one.len() as f64
        };
        apart(BLACK).max(apart(WHITE))
    }

    fn softened(&self) -> Image {
        self.weighted(&[1.0; 5], (1, 0)).weighted(&[1.0; 5], (0, 1))
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let middle = |x: u32, y: u32| self.pixel(self.width * x / 4, self.height * y / 4);
        let quadrants = [middle(1, 1), middle(3, 1), middle(1, 3), middle(3, 3)];
        write!(f, "{} x {}, quadrants {quadrants:?}", self.width, self.height)
    }
}

/// A turning picture: each frame is the last one turned by a quarter. Delays are tens of milliseconds, as GIFs have them.
pub(crate) fn turning(side: u32, delays: &[u32]) -> Animation {
    let frames = delays.iter().zip((0..4).cycle());
    frames
        .map(|(delay, quarters)| (Image::sample(side, side).turned(quarters), *delay))
        .collect()
}

/// Which of the old pixels a new one covers along one side, and how much of each.
fn covered(at: u32, side: u32, old_side: u32) -> Vec<(u32, f64)> {
    let scale = f64::from(old_side) / f64::from(side);
    let (start, end) = (f64::from(at) * scale, f64::from(at + 1) * scale);
    let pixels = start as u32..(end.ceil() as u32).min(old_side);
    pixels
        .map(|pixel| {
            let part = end.min(f64::from(pixel + 1)) - start.max(f64::from(pixel));
            (pixel, part)
        })
        .collect()
}

/// By weight; the colour of what is transparent does not count.
fn mean(pixels: impl Iterator<Item = (Pixel, f64)>) -> Pixel {
    let (mut colour, mut alpha, mut weight) = ([0.0; 3], 0.0, 0.0);
    for (pixel, part) in pixels {
        let seen = f64::from(pixel[3]) * part;
        colour
            .iter_mut()
            .zip(pixel)
            .for_each(|(sum, channel)| *sum += f64::from(channel) * seen);
        alpha += seen;
        weight += part;
    }
    if alpha == 0.0 {
        return CLEAR;
    }
    let [red, green, blue] = colour.map(|sum| (sum / alpha).round() as u8);
    [red, green, blue, (alpha / weight).round() as u8]
}

fn blend(front: Pixel, behind: Pixel) -> Pixel {
    let [seen, left] = [front[3], behind[3]].map(|alpha| f64::from(alpha) / 255.0);
    let [red, green, blue, _] = mean([(front, 1.0), (behind, 1.0 - seen)].into_iter());
    let alpha = seen + left * (1.0 - seen);
    [red, green, blue, (alpha * 255.0).round() as u8]
}
