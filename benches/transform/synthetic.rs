//! Sources made in code: what makes work for codecs as a photo does (gradients, texture at every scale, hard edges,
//! a sensor's noise), the same bytes on every machine.

use std::borrow::Cow;

/// Red, green, blue and opacity, 0 to 1.
type Colour = [f32; 4];

/// A JPEG as cameras write it.
pub(crate) fn photo(width: u32, height: u32) -> Vec<u8> {
    let scene = Scene {
        width,
        height,
        shift: 0.0,
    };
    let rgba = scene.draw(|_, _| 1.0);
    let image = turbojpeg::Image {
        pixels: rgba.as_slice(),
        width: width as usize,
        pitch: width as usize * 4,
        height: height as usize,
        format: turbojpeg::PixelFormat::RGBA,
    };
    let jpeg = turbojpeg::compress(image, 90, turbojpeg::Subsamp::Sub2x2).expect("a picture of these sizes");
    jpeg.to_vec()
}

/// A PNG with a hole, soft at its edge.
pub(crate) fn alpha(width: u32, height: u32) -> Vec<u8> {
    let scene = Scene {
        width,
        height,
        shift: 0.3,
    };
    let rgba = scene.draw(|x, y| ((x - 0.5).hypot(y - 0.4) * 8.0 - 1.2).clamp(0.0, 1.0));
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a picture of these sizes");
    writer
        .write_image_data(&rgba)
        .expect("as many bytes as it has pixels");
    writer.finish().expect("nothing else is to be written");
    file
}

/// A GIF in which everything moves, in dithered colours.
pub(crate) fn animation(width: u16, height: u16, frames: u16) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder =
        gif::Encoder::new(&mut file, width, height, &palette()).expect("a palette of 256 or less");
    encoder
        .set_repeat(gif::Repeat::Infinite)
        .expect("memory can be written");
    for number in 0..frames {
        let scene = Scene {
            width: width.into(),
            height: height.into(),
            shift: f32::from(number) * 0.004,
        };
        let frame = gif::Frame {
            delay: 4,
            width,
            height,
            buffer: Cow::Owned(dithered(&scene)),
            ..gif::Frame::default()
        };
        encoder.write_frame(&frame).expect("memory can be written");
    }
    drop(encoder);
    file
}

/// What is drawn, in parts of the picture's width and height, moved to the left by `shift`.
struct Scene {
    width: u32,
    height: u32,
    shift: f32,
}

impl Scene {
    fn draw(&self, opacity: impl Fn(f32, f32) -> f32) -> Vec<u8> {
        let mut rgba = Vec::with_capacity(self.width as usize * self.height as usize * 4);
        for y in 0..self.height {
            for x in 0..self.width {
                let (across, down) = (x as f32 / self.width as f32, y as f32 / self.height as f32);
                let mut colour = self.colour(across, down);
                let noise = (random(x as i32, y as i32, 99) - 0.5) * 0.03;
                colour.iter_mut().for_each(|channel| *channel += noise);
                colour[3] = opacity(across, down);
                rgba.extend(colour.map(|channel| (channel.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
        }
        rgba
    }

    fn colour(&self, across: f32, down: f32) -> Colour {
        let x = across + self.shift;
        let grain = texture(x, down);
        // A fence: hard edges that get finer to the right.
        let bars = (x * x * 180.0).fract() < 0.3;
        if (0.72..0.8).contains(&down) && bars {
            return [0.15, 0.12, 0.1, 1.0];
        }
        for (middle, radius, tint) in BALLS {
            let away = (x - middle[0]).hypot(down - middle[1]) / radius;
            if away < 1.0 {
                let light = 1.0 - 0.6 * away * away + 0.15 * grain;
                return [tint[0] * light, tint[1] * light, tint[2] * light, 1.0];
            }
        }
        if down < 0.55 + 0.06 * (x * 9.0).sin() {
            let cloud = (grain * 1.4 - 0.6).clamp(0.0, 1.0);
            return [
                0.3 + 0.3 * down + 0.5 * cloud,
                0.5 + 0.2 * down + 0.35 * cloud,
                0.85 + 0.1 * cloud,
                1.0,
            ];
        }
        [
            0.2 + 0.5 * grain,
            0.3 + 0.4 * grain,
            0.1 + 0.3 * grain * down,
            1.0,
        ]
    }
}

const BALLS: [([f32; 2], f32, [f32; 3]); 4] = [
    ([0.3, 0.6], 0.12, [0.9, 0.2, 0.15]),
    ([0.55, 0.45], 0.2, [0.95, 0.8, 0.2]),
    ([0.85, 0.7], 0.1, [0.2, 0.3, 0.9]),
    ([0.1, 0.25], 0.07, [0.95, 0.95, 0.9]),
];

/// Noise of many wavelengths, each 0.7 times as strong as the one twice as long: 0 to 1.
fn texture(x: f32, y: f32) -> f32 {
    let octaves = (0..10).map(|octave| {
        let waves = 6.0 * (1 << octave) as f32;
        smooth(x * waves, y * waves, octave) * 0.7_f32.powi(octave)
    });
    octaves.sum::<f32>() * 0.31
}

/// Random values at whole numbers, and between them what lies between.
fn smooth(x: f32, y: f32, seed: i32) -> f32 {
    let (left, top) = (x.floor(), y.floor());
    let ease = |part: f32| part * part * (3.0 - 2.0 * part);
    let (across, down) = (ease(x - left), ease(y - top));
    let at = |right, below| random(left as i32 + right, top as i32 + below, seed);
    let upper = at(0, 0) + (at(1, 0) - at(0, 0)) * across;
    let lower = at(0, 1) + (at(1, 1) - at(0, 1)) * across;
    upper + (lower - upper) * down
}

/// 0 to 1, without a pattern. The mixing step is that of MurmurHash3.
fn random(x: i32, y: i32, seed: i32) -> f32 {
    let mut mixed = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77);
    mixed ^= (seed as u32).wrapping_mul(0xc2b2_ae3d);
    mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x85eb_ca6b);
    mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
    ((mixed ^ (mixed >> 16)) >> 8) as f32 / (1 << 24) as f32
}

/// Levels of red, green and blue.
const LEVELS: [u8; 3] = [6, 7, 6];

fn palette() -> Vec<u8> {
    let [red, green, blue] = LEVELS;
    let level = |at: u8, of: u8| (u16::from(at) * 255 / u16::from(of - 1)) as u8;
    let mut palette = Vec::new();
    for r in 0..red {
        for g in 0..green {
            palette.extend((0..blue).flat_map(|b| [level(r, red), level(g, green), level(b, blue)]));
        }
    }
    palette
}

/// Indexes of [`palette`], dithered by the thresholds of a Bayer matrix.
fn dithered(scene: &Scene) -> Vec<u8> {
    const BAYER: [[u8; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let mut indexes = Vec::with_capacity(scene.width as usize * scene.height as usize);
    for y in 0..scene.height {
        for x in 0..scene.width {
            let colour = scene.colour(x as f32 / scene.width as f32, y as f32 / scene.height as f32);
            let threshold = (f32::from(BAYER[y as usize % 4][x as usize % 4]) + 0.5) / 16.0;
            let step = |channel: usize| {
                let exact = colour[channel].clamp(0.0, 1.0) * f32::from(LEVELS[channel] - 1);
                ((exact + threshold) as u8).min(LEVELS[channel] - 1)
            };
            indexes.push((step(0) * LEVELS[1] + step(1)) * LEVELS[2] + step(2));
        }
    }
    indexes
}
