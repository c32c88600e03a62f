//! A route's policy on transforms, ready to be asked.
//!
//! Invariant: pure and immutable: the same URL and headers make the same wish. It does not know how wishes come true.

use super::ask::Ask;
use super::config::{Invalid, ModernFormat, OnFailure, OnOverload, Transform};
use super::ladder::Ladder;
use super::read::{Names, Reader};
use crate::base::digest::Digest;
use http::HeaderValue;
use std::collections::HashMap;
use std::sync::Arc;

static ACCEPT_CH: HeaderValue = HeaderValue::from_static("Sec-CH-DPR, Sec-CH-Width, Save-Data");

#[derive(Debug)]
pub struct Policy {
    invalid: Invalid,
    presets_only: bool,
    /// `None`: a request without parameters asks for nothing.
    defaults: Option<Ask>,
    presets: HashMap<String, Arc<Ask>>,
    watermarks: HashMap<String, Digest>,
    variants_per_source: u32,
    on_failure: OnFailure,
    on_overload: OnOverload,
    pub(super) ladder: Ladder,
    pub(super) qualities: Vec<u8>,
    pub(super) formats: Vec<ModernFormat>,
    pub(super) client_hints: bool,
    pub(super) save_data_quality: u8,
    pub(super) enlarge: bool,
    pub(super) keep_copyright: bool,
    /// In hundredths.
    pub(super) dpr_max: u32,
}

impl Policy {
    /// `watermarks`: the configured ones with their digests. What [`Transform::validate`] would refuse is left out.
    pub fn compile(config: &Transform, watermarks: &HashMap<String, Digest>) -> Policy {
        let none = HashMap::new();
        let read = |text: &str, presets| {
            let read = Reader::lenient(Names::new(presets, watermarks)).query(text);
            read.map(|read| read.ask).unwrap_or_default()
        };
        let presets = config.presets.iter();
        let presets = presets
            .map(|(name, text)| (name.clone(), Arc::new(read(text, &none))))
            .collect();
        let defaults = read(&config.defaults, &presets);
        Policy {
            invalid: config.invalid,
            presets_only: config.presets_only,
            defaults: (defaults != Ask::default()).then_some(defaults),
            presets,
            watermarks: watermarks.clone(),
            variants_per_source: config.variants_per_source,
            on_failure: config.on_failure,
            on_overload: config.on_overload,
            ladder: Ladder::new(&config.sizes),
            qualities: config.qualities.clone(),
            formats: config.formats.clone(),
            client_hints: config.client_hints,
            save_data_quality: config.save_data_quality,
            enlarge: config.enlarge,
            keep_copyright: config.keep_copyright,
            dpr_max: (config.dpr_max.clamp(1.0, 5.0) * 100.0) as u32,
        }
    }

    /// The client hints this route wants (RFC 8942 section 3.1), where it wants any.
    pub fn accept_ch(&self) -> Option<&HeaderValue> {
        self.client_hints.then_some(&ACCEPT_CH)
    }

    pub fn variants_per_source(&self) -> u32 {
        self.variants_per_source
    }

    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    pub fn on_overload(&self) -> OnOverload {
        self.on_overload
    }

    pub(super) fn has_defaults(&self) -> bool {
        self.defaults.is_some()
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            names: Names::new(&self.presets, &self.watermarks),
            invalid: self.invalid,
            presets_only: self.presets_only,
        }
    }

    /// A preset under what the request itself says, the route's defaults under both.
    pub(super) fn complete(&self, own: Ask) -> Ask {
        let own = self.minted(own);
        let defaults = self.defaults.as_ref();
        let preset = own.preset.clone().or_else(|| defaults?.preset.clone());
        let layers = [preset.as_deref(), defaults];
        layers.into_iter().flatten().fold(own, Ask::over)
    }
}
