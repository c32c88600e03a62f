//! Files with anything wrong in them: a picture or an error, never a panic, and no more than the limits allow.
//!
//! The short form of `make fuzz`, on any toolchain. `AQUATINT_MUTATIONS` says how many of each file are tried.

use super::{Context, ImageError, Limits, Made, Stage, Watch, make, probe, samples};
use crate::base::digest::Digest;
use crate::base::units::ByteSize;
use crate::spec::config::Transform;
use crate::spec::{Policy, Spec, take};
use http::HeaderMap;
use std::collections::HashMap;

const MUTATIONS: u64 = 300;
const STAGES_MAX: u32 = 500;
const SIDE_MAX: u32 = 256;

/// Between them they go through every step of the pipeline.
const QUERIES: [&str; 10] = [
    "info",
    "w=24&fm=jpeg",
    "w=31&h=17&fit=cover&crop=smart&fm=webp",
    "w=64&h=64&fit=pad&bg=f0f&fm=gif",
    "trim=20&rot=90&fm=png",
    "rect=8,8,16,16&w=16&sharpen=2&blur=1.5&fm=source",
    "flip=hv&bri=20&con=-30&sat=50&mono=abc&pad=4&fm=png",
    "w=40&mb=1000&fm=webp",
    "thumbhash",
    "lqip",
];

/// Small numbers without a pattern, the same for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..start + self.below(length - start).min(64)
    }
}

/// So many stages and no more: what would go on for ever is found out.
struct Patience(u32);

impl Watch for Patience {
    fn done(&mut self, _stage: Stage) -> Result<(), ImageError> {
        self.0 = self.0.checked_sub(1).ok_or(ImageError::TimeIsUp)?;
        Ok(())
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    const TELLING: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(8) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = TELLING[numbers.below(TELLING.len())],
            2 => bytes[at] = numbers.next() as u8,
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(numbers.range(bytes.len()))),
            5 => {
                let copied = bytes[numbers.range(bytes.len())].to_vec();
                bytes.splice(at..at, copied);
            }
            6 => {
                let foreign = other[numbers.range(other.len())].to_vec();
                bytes.splice(at..at, foreign);
            }
            _ => {
                // A length or a side, in either order of bytes.
                let end = bytes.len().min(at + 1 + numbers.below(4));
                bytes[at..end].fill(TELLING[numbers.below(TELLING.len())]);
            }
        }
    }
}

fn specs() -> Vec<Spec> {
    let transform = Transform {
        sizes: Vec::new(),
        ..Transform::default()
    };
    let policy = Policy::compile(&transform, &HashMap::new());
    let wish = |query| take(&policy, None, Some(query), &HeaderMap::new()).unwrap().wish;
    QUERIES.iter().map(|query| wish(query).unwrap().spec).collect()
}

fn limits() -> Limits {
    Limits {
        source_bytes: ByteSize::kib(64),
        pixels: 65_536,
        side: 4_096,
        frames: 20,
        animation_pixels: 65_536,
        output_side: SIDE_MAX,
        ..Limits::default()
    }
}

fn try_making(bytes: &[u8], spec: &Spec, limits: &Limits) {
    let watermarks = HashMap::new();
    let context = Context {
        limits,
        digest: Digest::of(bytes),
        avif_pixels_max: None,
        watermarks: &watermarks,
    };
    let Ok(probe) = probe(bytes, limits) else {
        return;
    };
    assert!(u64::from(probe.width) * u64::from(probe.height) <= limits.pixels);
    let made = make(bytes, &probe, spec, &context, &mut Patience(STAGES_MAX));
    if let Ok(Made::Variant(variant)) = made {
        assert!(!variant.bytes.is_empty());
        assert!(variant.width.max(variant.height) <= limits.side.max(SIDE_MAX));
    }
}

#[test]
fn a_file_with_anything_wrong_in_it_is_a_picture_or_an_error() {
    let mutations = std::env::var("AQUATINT_MUTATIONS").map_or(MUTATIONS, |number| number.parse().unwrap());
    let (files, specs, limits) = (samples::one_of_each(), specs(), limits());
    for (number, (name, file)) in files.iter().enumerate() {
        for seed in 0..mutations {
            let mut numbers = Numbers((number as u64) << 32 | seed);
            let mut bytes = file.clone();
            let other = &files[numbers.below(files.len())].1;
            mutate(&mut bytes, other, &mut numbers);
            let spec = &specs[numbers.below(specs.len())];
            // What the test says where it fails: that is all it takes to do it again.
            eprintln!("{name}, mutation {seed}: {spec}");
            try_making(&bytes, spec, &limits);
        }
    }
}
