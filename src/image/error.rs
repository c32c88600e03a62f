//! Why no variant can be made of some bytes.
//!
//! Invariant: says what is wrong with the bytes, or which limit they break; never what to answer.

use std::fmt::Display;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("the bytes are of no image format that is known")]
    Unrecognised,
    #[error("an SVG is no raster image; it is passed on as it is")]
    Vector,
    #[error("{what} is {value}, more than the limit of {max}")]
    Limit {
        what: &'static str,
        value: u64,
        max: u64,
    },
    #[error("the {format} can not be decoded: {cause}")]
    Corrupt { format: &'static str, cause: String },
    #[error("{what} is not supported")]
    Unsupported { what: &'static str },
    #[error("the picture can not be written as {format}: {cause}")]
    Encode { format: &'static str, cause: String },
    #[error("making the variant took longer than it may")]
    TimeIsUp,
    #[error("the spec names a watermark that is not there")]
    NoWatermark,
}

impl ImageError {
    pub(super) fn corrupt(format: &'static str, cause: impl Display) -> Self {
        let cause = cause.to_string();
        ImageError::Corrupt { format, cause }
    }

    /// # Errors
    /// [`ImageError::Limit`], where `value` is more than `max`.
    pub(super) fn within(what: &'static str, value: u64, max: u64) -> Result<(), Self> {
        if value > max {
            return Err(ImageError::Limit { what, value, max });
        }
        Ok(())
    }
}
