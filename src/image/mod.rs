//! Pictures: from a source's bytes and a spec to a variant's bytes. The only home of codecs.
//!
//! Pure: the same bytes, spec and [`ENCODER`] give the same variant on all nodes of one architecture; no input or output, no clock (the
//! caller's [`Watch`] has one). Invariant: whatever the bytes are, what is allocated is bounded by the
//! limits, nothing panics or aborts, and an error says what is wrong with them; [`Probe::memory_max`] is an estimate
//! from above for files that are what their headers say. It does not know URLs, caches or HTTP.
//!
//! 1. [`probe`]: what is it, by its first bytes and headers alone; within the limits?
//! 2. [`make`]: decode, crop and resize, orient, colour, adjust, encode (`pipeline.rs` is the list).

pub mod config;
mod decode;
mod encode;
mod error;
mod geometry;
mod info;
#[cfg(test)]
mod mutation_tests;
mod pipeline;
mod placeholder;
mod probe;
mod raster;
mod resize;
#[cfg(test)]
pub(crate) mod samples;
mod watermark;

pub use config::Limits;
pub use error::ImageError;
pub use pipeline::make;
pub use probe::{Colours, Kind, Probe, probe};
pub use raster::Raster;
pub use watermark::WatermarkSettings;

use crate::base::digest::Digest;
use std::collections::HashMap;
use std::sync::Arc;

/// Part of every variant's name: another encoder or other settings make other bytes, and a new number here.
pub const ENCODER: &str = "1";

/// A step of the making, as its duration is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Decode,
    Resize,
    Adjust,
    Encode,
}

/// Told after each stage of a still, and of each frame of an animation; ends the making where its time is up.
pub trait Watch {
    /// # Errors
    /// [`ImageError::TimeIsUp`].
    fn done(&mut self, stage: Stage) -> Result<(), ImageError>;
}

/// What a making depends on beside bytes and spec.
pub struct Context<'a> {
    pub limits: &'a Limits,
    /// Of the source's bytes, for [`crate::spec::Output::Info`].
    pub digest: Digest,
    /// In place of an AVIF of more pixels than this, WebP is made: [`Made::StandIn`].
    pub avif_pixels_max: Option<u64>,
    pub watermarks: &'a HashMap<String, Arc<Watermark>>,
}

/// A picture to be laid over others, and where.
pub struct Watermark {
    /// Upright, in sRGB, colours multiplied by their alpha.
    pub raster: Raster,
    /// Its middle, in hundredths of the room it has: `(100, 100)` is the lower right corner.
    pub place: (u8, u8),
    /// 0..=100.
    pub opacity: u8,
    /// Its width in hundredths of the picture's; it is never enlarged.
    pub width: u8,
    /// Between it and the picture's edge, in hundredths of the picture's shorter side.
    pub margin: u8,
}

/// What came of it.
#[derive(Debug)]
pub enum Made {
    Variant(Variant),
    /// The source already is what was asked for.
    Unchanged,
    /// The WebP of an AVIF that would have more pixels than the budget.
    StandIn(Variant),
}

#[derive(Debug)]
pub struct Variant {
    pub bytes: Vec<u8>,
    pub media_type: &'static str,
    /// Of the picture; of the source for what is no picture.
    pub width: u32,
    pub height: u32,
}

impl Kind {
    pub const fn media_type(self) -> &'static str {
        match self {
            Kind::Jpeg => "image/jpeg",
            Kind::Png => "image/png",
            Kind::Gif => "image/gif",
            Kind::Webp => "image/webp",
            Kind::Avif => "image/avif",
            Kind::Bmp => "image/bmp",
            Kind::Tiff => "image/tiff",
        }
    }
}
