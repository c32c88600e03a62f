//! What making variants may cost this node.

use crate::base::problem::Problems;
use crate::base::units::{ByteSize, Span};
use crate::image;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Limits of the pool that makes variants, for all routes together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Variants made at a time; 0: as many as there are processors.
    pub workers: usize,
    /// Estimated memory of all makings under way; one that alone would need more is refused.
    pub memory_max: ByteSize,
    /// Sources that have just come, held to make variants of. Of one too many a variant is made from the store, or, where
    /// it is not stored, what the route's `on_overload` says.
    pub arrived_max: ByteSize,
    /// Makings that wait for a worker; beyond it a route's `on_overload` decides.
    pub queue_max: usize,
    /// How long a client waits for a variant, queueing included.
    pub deadline: Span,
    /// How long a source that could not be made something of is not tried again.
    pub failure_memory: Span,
    pub avif: Avif,
    pub limits: image::Limits,
}

/// When an AVIF is made behind, while WebP answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Avif {
    /// Larger variants are made behind.
    pub pixels_max: u64,
    /// Variants that are expected to take longer are made behind.
    pub time_max: Span,
    /// Those that wait to be made behind; one too many is not made until it is asked for again.
    pub queue_max: usize,
    /// How long one that is made behind may take.
    pub background_deadline: Span,
}

/// A picture that `wm=NAME` lays over variants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// A PNG, WebP or JPEG.
    pub file: PathBuf,
    /// Where its middle goes, in percent of the room there is, from the upper left corner.
    #[serde(default = "lower_right")]
    pub place: (u8, u8),
    /// In percent.
    #[serde(default = "half")]
    pub opacity: u8,
    /// In percent of the variant's width.
    #[serde(default = "quarter")]
    pub width: u8,
    /// Between it and the variant's edge, in percent of the shorter side.
    #[serde(default = "little")]
    pub margin: u8,
}

const fn lower_right() -> (u8, u8) {
    (100, 100)
}

const fn half() -> u8 {
    50
}

const fn quarter() -> u8 {
    25
}

const fn little() -> u8 {
    2
}

impl Default for Config {
    fn default() -> Self {
        Config {
            workers: 0,
            memory_max: ByteSize::mib(1024),
            arrived_max: ByteSize::mib(256),
            queue_max: 128,
            deadline: Span::secs(10),
            failure_memory: Span::secs(60),
            avif: Avif::default(),
            limits: image::Limits::default(),
        }
    }
}

impl Default for Avif {
    fn default() -> Self {
        Avif {
            pixels_max: 1_500_000,
            time_max: Span::millis(500),
            queue_max: 128,
            background_deadline: Span::secs(60),
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        problems.check("workers", self.workers, 0..=1024);
        problems.check(
            "memory_max",
            self.memory_max,
            ByteSize::mib(16)..=ByteSize::gib(1024),
        );
        problems.check(
            "arrived_max",
            self.arrived_max,
            ByteSize::kib(1)..=ByteSize::gib(1024),
        );
        problems.check("queue_max", self.queue_max, 0..=100_000);
        problems.check("deadline", self.deadline, Span::millis(10)..=Span::secs(600));
        problems.check(
            "failure_memory",
            self.failure_memory,
            Span::millis(0)..=Span::days(1),
        );
        problems.below("avif", |p| self.avif.validate(p));
        problems.below("limits", |p| self.limits.validate(p));
    }
}

impl Avif {
    fn validate(&self, problems: &mut Problems) {
        problems.check("pixels_max", self.pixels_max, 0..=1_000_000_000);
        problems.check("time_max", self.time_max, Span::millis(0)..=Span::secs(600));
        problems.check("queue_max", self.queue_max, 1..=100_000);
        problems.check(
            "background_deadline",
            self.background_deadline,
            Span::millis(10)..=Span::secs(3600),
        );
    }
}

impl Watermark {
    pub fn validate(&self, problems: &mut Problems) {
        for (key, percent) in [
            ("place[0]", self.place.0),
            ("place[1]", self.place.1),
            ("opacity", self.opacity),
            ("margin", self.margin),
        ] {
            problems.check(key, percent, 0..=100);
        }
        problems.check("width", self.width, 1..=100);
    }
}
