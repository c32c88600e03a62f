//! A route's word on what may be made of its sources.
//!
//! Invariant: a configuration that validates compiles to a [`super::Policy`] in which every preset and every default
//! means what it says. It does not know which watermarks the node has.

use super::ask::Ask;
use super::read::{Names, Reader};
use crate::base::problem::Problems;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const PRESET_NAME_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transform {
    /// Off: parameters are the origin's own business, as any other part of a query.
    pub enabled: bool,
    /// What becomes of a parameter whose value it can not have.
    pub invalid: Invalid,
    /// Parameters that hold where a request says nothing else, `fm=auto&q=70`; also for requests without any.
    pub defaults: String,
    /// Parameters by a name: `avatar: w=96&h=96&fit=crop` for `?preset=avatar`.
    pub presets: BTreeMap<String, String>,
    /// Only `preset` and `dl` may be given.
    pub presets_only: bool,
    /// Sides of pictures; others are snapped up. Empty: every size, to the pixel.
    pub sizes: Vec<u32>,
    /// Others are snapped to the nearest. Empty: every quality.
    pub qualities: Vec<u8>,
    /// What `fm=auto` tries, first come first, before what every client shows.
    pub formats: Vec<ModernFormat>,
    /// Whether `Sec-CH-DPR`, `Sec-CH-Width` and `Save-Data` are asked for and followed.
    pub client_hints: bool,
    /// The most quality for who sends `Save-Data: on`.
    pub save_data_quality: u8,
    /// Whether a picture smaller than its box may be enlarged.
    pub enlarge: bool,
    /// Whether a source's copyright notice and artist are kept.
    pub keep_copyright: bool,
    /// A higher ratio counts as this one.
    pub dpr_max: f64,
    /// How many variants of one source are kept.
    pub variants_per_source: u32,
    pub on_failure: OnFailure,
    pub on_overload: OnOverload,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// The request is refused, with the parameter, its value and what is allowed.
    #[default]
    Refuse,
    /// It is as if it were not there.
    Drop,
}

/// A format that not every client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModernFormat {
    Avif,
    Webp,
}

/// What is served where a variant can not be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    #[default]
    Original,
    Placeholder,
    Error,
}

/// What is served where a variant would have to wait too long to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOverload {
    #[default]
    Original,
    /// An older variant of the same URL and spec where one is known, else the original.
    Stale,
    Error,
}

impl ModernFormat {
    fn name(self) -> &'static str {
        match self {
            ModernFormat::Avif => "avif",
            ModernFormat::Webp => "webp",
        }
    }
}

impl Default for Transform {
    fn default() -> Self {
        Transform {
            enabled: true,
            invalid: Invalid::default(),
            defaults: String::new(),
            presets: BTreeMap::new(),
            presets_only: false,
            sizes: vec![
                64, 96, 128, 160, 200, 256, 320, 400, 480, 640, 800, 960, 1080, 1280, 1440, 1600, 1920, 2560,
                3200, 4096,
            ],
            qualities: vec![40, 50, 60, 70, 80, 90],
            formats: vec![ModernFormat::Avif, ModernFormat::Webp],
            client_hints: false,
            save_data_quality: 50,
            enlarge: false,
            keep_copyright: false,
            dpr_max: 4.0,
            variants_per_source: 200,
            on_failure: OnFailure::default(),
            on_overload: OnOverload::default(),
        }
    }
}

impl Transform {
    pub fn validate(&self, problems: &mut Problems) {
        self.validate_parameters(problems);
        problems.below("sizes", |problems| {
            each(&self.sizes, |key, size| problems.check(key, *size, 1..=8_192));
        });
        problems.below("qualities", |problems| {
            each(&self.qualities, |key, quality| {
                problems.check(key, *quality, 1..=100)
            });
        });
        for (at, format) in self.formats.iter().enumerate() {
            if self.formats[..at].contains(format) {
                problems.refuse(&format!("formats[{at}]"), format.name(), "each format once");
            }
        }
        problems.check("save_data_quality", self.save_data_quality, 1..=100);
        problems.check("dpr_max", self.dpr_max, 1.0..=5.0);
        problems.check("variants_per_source", self.variants_per_source, 1..=1_000_000);
    }

    /// The watermarks that defaults and presets name, each with the key that does: whoever knows the node's own can
    /// check them.
    pub fn watermarks(&self) -> Vec<(String, String)> {
        let no_presets = HashMap::new();
        let reader = Reader::lenient(Names::of_configuration(&no_presets));
        let texts = std::iter::once(("defaults".to_owned(), &self.defaults));
        let presets = self
            .presets
            .iter()
            .map(|(name, text)| (format!("presets.{name}"), text));
        let named = texts.chain(presets).filter_map(|(key, text)| {
            let ask = reader.query(text).ok()?.ask;
            Some((key, ask.watermark?.name))
        });
        named.collect()
    }

    fn validate_parameters(&self, problems: &mut Problems) {
        let mut presets = HashMap::new();
        problems.below("presets", |problems| {
            for (name, text) in &self.presets {
                if !is_preset_name(name) {
                    problems.refuse(name, text, "a name of letters, digits, - and _, at most 64");
                }
                // A preset holds no other.
                let ask = validated(problems, name, text, &HashMap::new());
                presets.insert(name.clone(), Arc::new(ask));
            }
        });
        validated(problems, "defaults", &self.defaults, &presets);
    }
}

fn each<T>(values: &[T], mut check: impl FnMut(&str, &T)) {
    for (at, value) in values.iter().enumerate() {
        check(&format!("[{at}]"), value);
    }
}

fn is_preset_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=PRESET_NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

fn validated(problems: &mut Problems, key: &str, text: &str, presets: &HashMap<String, Arc<Ask>>) -> Ask {
    match Reader::strict(Names::of_configuration(presets)).query(text) {
        Ok(read) => {
            if let Some(unknown) = read.rest {
                problems.refuse(key, unknown, "parameters as in a query: w=300&h=200&fit=crop");
            }
            read.ask
        }
        Err(error) => {
            let super::SpecError::Value {
                parameter,
                value,
                allowed,
            } = error;
            problems.refuse(
                key,
                format!("{parameter}={value}"),
                format!("{parameter} is {allowed}"),
            );
            Ask::default()
        }
    }
}
