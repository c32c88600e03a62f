//! The pictures that may be laid over variants, read once at the start.
//!
//! Invariant: a watermark's digest is of its file and its settings, so that another picture makes other variants. It
//! does not know when it is used.

use super::config;
use crate::base::digest::{Digest, Hasher};
use crate::image::{ImageError, Limits, Watermark, WatermarkSettings};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// By name, with the digest each has in specs.
#[derive(Default)]
pub(crate) struct Watermarks(HashMap<String, (Arc<Watermark>, Digest)>);

/// A configured watermark can not be used.
#[derive(Debug, thiserror::Error)]
#[error("the watermark {name:?} is of no use: {cause}; nothing is served")]
pub struct WatermarkError {
    name: String,
    cause: FileError,
}

/// What is wrong with a watermark's file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{} can not be read: {cause}", file.display())]
    Unreadable { file: PathBuf, cause: io::Error },
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Watermarks {
    /// # Errors
    /// When a file can not be read, or is no picture within the limits.
    pub(crate) fn open(
        configs: &BTreeMap<String, config::Watermark>,
        limits: &Limits,
    ) -> Result<Self, WatermarkError> {
        let opened = configs.iter().map(|(name, config)| {
            let name = name.clone();
            match open(config, limits) {
                Ok(watermark) => Ok((name, watermark)),
                Err(cause) => Err(WatermarkError { name, cause }),
            }
        });
        Ok(Watermarks(opened.collect::<Result<_, _>>()?))
    }

    pub(super) fn by_name(&self) -> HashMap<String, Arc<Watermark>> {
        let named = self.0.iter();
        named
            .map(|(name, (watermark, _))| (name.clone(), watermark.clone()))
            .collect()
    }

    pub(crate) fn digests(&self) -> HashMap<String, Digest> {
        self.0
            .iter()
            .map(|(name, (_, digest))| (name.clone(), *digest))
            .collect()
    }
}

/// Whether a watermark can be used.
///
/// # Errors
/// When its file can not be read, or is no picture within the limits.
pub(crate) fn check(config: &config::Watermark, limits: &Limits) -> Result<(), FileError> {
    open(config, limits).map(drop)
}

fn open(config: &config::Watermark, limits: &Limits) -> Result<(Arc<Watermark>, Digest), FileError> {
    let bytes = std::fs::read(&config.file).map_err(|cause| FileError::Unreadable {
        file: config.file.clone(),
        cause,
    })?;
    let settings = WatermarkSettings {
        place: config.place,
        opacity: config.opacity,
        width: config.width,
        margin: config.margin,
    };
    let mut hasher = Hasher::default();
    hasher.update(&[
        settings.place.0,
        settings.place.1,
        settings.opacity,
        settings.width,
        settings.margin,
    ]);
    hasher.update(&bytes);
    let watermark = Watermark::open(&bytes, limits, settings)?;
    Ok((Arc::new(watermark), hasher.finish()))
}
