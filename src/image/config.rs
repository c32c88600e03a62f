//! What an image may cost.

use super::ImageError;
use crate::base::problem::Problems;
use crate::base::units::ByteSize;
use serde::{Deserialize, Serialize};

/// Sources beyond these limits are not decoded, variants beyond them not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Of a source's file.
    pub source_bytes: ByteSize,
    /// Of a source: width times height.
    pub pixels: u64,
    /// A source's longer side.
    pub side: u32,
    /// Of an animation.
    pub frames: u32,
    /// Of all frames of an animation together.
    pub animation_pixels: u64,
    /// A colour profile's.
    pub profile_bytes: ByteSize,
    /// A progressive JPEG's scans: each costs a pass over all its pixels.
    pub jpeg_scans: u32,
    /// A variant's longer side, and its pixels; what would be larger is made smaller. The side is what WebP can hold.
    pub output_side: u32,
    pub output_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            source_bytes: ByteSize::mib(32),
            pixels: 50_000_000,
            side: 16_384,
            frames: 100,
            animation_pixels: 50_000_000,
            profile_bytes: ByteSize::mib(1),
            jpeg_scans: 64,
            output_side: 16_383,
            output_pixels: 16_777_216,
        }
    }
}

impl Limits {
    pub fn validate(&self, problems: &mut Problems) {
        problems.check(
            "source_bytes",
            self.source_bytes,
            ByteSize::kib(1)..=ByteSize::gib(1),
        );
        problems.check("pixels", self.pixels, 1..=268_435_456);
        // An AVIF decoder is built with this side as its own limit.
        problems.check("side", self.side, 1..=16_384);
        problems.check("frames", self.frames, 1..=10_000);
        problems.check("animation_pixels", self.animation_pixels, 1..=1_000_000_000);
        problems.check(
            "profile_bytes",
            self.profile_bytes,
            ByteSize::kib(1)..=ByteSize::mib(16),
        );
        problems.check("jpeg_scans", self.jpeg_scans, 1..=1_000);
        // What WebP can hold.
        problems.check("output_side", self.output_side, 1..=16_383);
        problems.check("output_pixels", self.output_pixels, 1..=268_435_456);
    }

    /// # Errors
    /// [`ImageError::Limit`].
    pub(super) fn file(&self, bytes: &[u8]) -> Result<(), ImageError> {
        let max = self.source_bytes.bytes();
        ImageError::within("the source's size in bytes", bytes.len() as u64, max)
    }

    /// # Errors
    /// [`ImageError::Limit`].
    pub(super) fn picture(&self, width: u32, height: u32) -> Result<(), ImageError> {
        let side = u64::from(width.max(height));
        ImageError::within("the source's longer side", side, self.side.into())?;
        let pixels = u64::from(width) * u64::from(height);
        ImageError::within("the source's number of pixels", pixels, self.pixels)
    }

    /// `pixels` of one frame. A still passes: its pixels are for [`Limits::picture`] to judge.
    ///
    /// # Errors
    /// [`ImageError::Limit`].
    pub(super) fn animation(&self, frames: u32, pixels: u64) -> Result<(), ImageError> {
        if frames <= 1 {
            return Ok(());
        }
        ImageError::within(
            "the animation's number of frames",
            frames.into(),
            self.frames.into(),
        )?;
        let all = pixels.saturating_mul(frames.into());
        ImageError::within("the number of pixels of all frames", all, self.animation_pixels)
    }

    /// # Errors
    /// [`ImageError::Limit`].
    pub(super) fn profile(&self, bytes: usize) -> Result<(), ImageError> {
        let max = self.profile_bytes.bytes();
        ImageError::within("the colour profile's size in bytes", bytes as u64, max)
    }
}
