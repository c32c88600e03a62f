//! Parameters in the text of a query, or of a path's options.
//!
//! Invariant: what is not a parameter of ours comes out of a query byte by byte as it went in, in its order. It does
//! not know what a route makes of what it asks for.

use super::ask::Ask;
use super::config::Invalid;
use super::parameter::Parameter;
use super::{SpecError, Watermark};
use crate::base::digest::Digest;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

const OPTIONS: &str = "one of w, h, fit, dpr, q, fm, auto, crop, rect, rot, flip, blur, sharpen, bri, con, sat, bg, trim, \
                       pad, mono, wm, mb, preset, dl, info, blurhash, thumbhash, lqip and dominant";
const ONLY_PRESETS: &str = "only preset=NAME and dl on this route";

/// What names in values stand for.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    presets: &'a HashMap<String, Arc<Ask>>,
    /// `None`: any name is one; a configuration is checked before the node's watermarks are known.
    watermarks: Option<&'a HashMap<String, Digest>>,
}

/// Reads one layer: a query, the options of a path, a preset, the defaults.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub names: Names<'a>,
    pub invalid: Invalid,
    pub presets_only: bool,
}

/// A parameter as it was sent.
#[derive(Clone, Copy)]
struct Pair<'a> {
    name: &'a str,
    value: &'a str,
}

/// A query taken apart.
pub(super) struct Read {
    pub ask: Ask,
    /// The source's own; `None` where nothing is left.
    pub rest: Option<String>,
}

impl<'a> Names<'a> {
    pub(super) fn new(
        presets: &'a HashMap<String, Arc<Ask>>,
        watermarks: &'a HashMap<String, Digest>,
    ) -> Self {
        let watermarks = Some(watermarks);
        Names { presets, watermarks }
    }

    pub(super) fn of_configuration(presets: &'a HashMap<String, Arc<Ask>>) -> Self {
        Names {
            presets,
            watermarks: None,
        }
    }

    pub(super) fn preset(self, name: &str) -> Option<Arc<Ask>> {
        self.presets.get(name).cloned()
    }

    pub(super) fn watermark(self, name: &str) -> Option<Watermark> {
        let digest = match self.watermarks {
            Some(watermarks) => *watermarks.get(name)?,
            None => Digest::from_bytes([0; 32]),
        };
        Some(Watermark {
            name: name.to_owned(),
            digest,
        })
    }
}

impl<'a> Reader<'a> {
    /// Every wrong value is an error.
    pub(super) fn strict(names: Names<'a>) -> Self {
        Reader {
            names,
            invalid: Invalid::Refuse,
            presets_only: false,
        }
    }

    /// No wrong value is one.
    pub(super) fn lenient(names: Names<'a>) -> Self {
        Reader {
            invalid: Invalid::Drop,
            ..Reader::strict(names)
        }
    }

    pub(super) fn query(self, query: &str) -> Result<Read, SpecError> {
        let mut ask = Ask::default();
        let mut rest: Option<String> = None;
        for piece in query.split('&') {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            if let Some(parameter) = Parameter::in_query(name) {
                let spaced = match value.contains('+') {
                    true => Cow::Owned(value.replace('+', " ")),
                    false => Cow::Borrowed(value),
                };
                let text = decoded(&spaced);
                self.set(&mut ask, parameter, Pair { name, value }, text)?;
            } else if let Some(rest) = &mut rest {
                rest.push('&');
                rest.push_str(piece);
            } else {
                rest = Some(piece.to_owned());
            }
        }
        let rest = rest.filter(|rest| !rest.is_empty());
        Ok(Read { ask, rest })
    }

    pub(super) fn options(self, options: &str) -> Result<Ask, SpecError> {
        let mut ask = Ask::default();
        for (name, value) in pairs(options) {
            match Parameter::in_path(name) {
                Some(parameter) => self.set(&mut ask, parameter, Pair { name, value }, decoded(value))?,
                None => self.refuse(Pair { name, value }, OPTIONS)?,
            }
        }
        Ok(ask)
    }

    fn set(
        self,
        ask: &mut Ask,
        parameter: Parameter,
        pair: Pair<'_>,
        text: Option<Cow<'_, str>>,
    ) -> Result<(), SpecError> {
        if self.presets_only && !matches!(parameter, Parameter::Preset | Parameter::Download) {
            return self.refuse(pair, ONLY_PRESETS);
        }
        let set = text.and_then(|text| ask.set(parameter, &text, self.names));
        set.map_or_else(|| self.refuse(pair, parameter.allowed()), Ok)
    }

    fn refuse(self, pair: Pair<'_>, allowed: &str) -> Result<(), SpecError> {
        match self.invalid {
            Invalid::Refuse => Err(SpecError::value(pair.name, pair.value, allowed)),
            Invalid::Drop => Ok(()),
        }
    }
}

/// `None` where the bytes are no text.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(value).decode_utf8().ok()
}

/// Whether a query holds a parameter of ours. This runs for every request, so that a plain one costs no more.
pub(super) fn has_parameters(query: &str) -> bool {
    query.split('&').any(|piece| {
        let end = piece.bytes().position(|byte| byte == b'=');
        Parameter::in_query(&piece[..end.unwrap_or(piece.len())]).is_some()
    })
}

/// `w=300,rect=1,2,3,4,info` as names and values: a piece that is neither a pair nor a flag continues the value before
/// it.
fn pairs(options: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(options).filter(|options| !options.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let end = end_of_pair(text);
        rest = text.get(end + 1..);
        let pair = &text[..end];
        Some(pair.split_once('=').unwrap_or((pair, "")))
    })
}

fn end_of_pair(text: &str) -> usize {
    let commas = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b',')
        .map(|(at, _)| at);
    // A flag has no value that could go on.
    let mut commas = commas.filter(|comma| {
        let next = text[comma + 1..].split(',').next().unwrap_or_default();
        let is_flag = Parameter::in_path(next).is_some_and(Parameter::is_flag);
        next.contains('=') || is_flag || !text[..*comma].contains('=')
    });
    commas.next().unwrap_or(text.len())
}
