//! The facts of a source, as JSON.
//!
//! Invariant: width and height are those of the upright picture; everything but the dominant colour is the probe's.

use super::pipeline::Source;
use super::{Colours, ImageError, Kind, Probe, Variant, Watch, placeholder};
use crate::spec::{Spec, Turn};
use serde::Serialize;

pub(crate) const MEDIA_TYPE: &str = "application/json";

#[derive(Serialize)]
struct Info {
    width: u32,
    height: u32,
    format: &'static str,
    frames: u32,
    /// 0 is for ever; 1 for a still.
    loops: u32,
    animated: bool,
    /// As EXIF numbers them, 1..=8.
    orientation: u8,
    alpha: bool,
    colour_space: &'static str,
    depth: u8,
    has_profile: bool,
    bytes: usize,
    digest: String,
    dominant: String,
}

/// # Errors
/// When the source can not be decoded: its dominant colour is one of the facts.
pub(crate) fn make(source: Source<'_>, spec: &Spec, watch: &mut dyn Watch) -> Result<Variant, ImageError> {
    let dominant = placeholder::dominant_colour(source, spec, watch)?;
    let (width, height) = upright(source.probe);
    let facts = facts(source, dominant);
    let bytes = serde_json::to_vec(&facts).map_err(|cause| ImageError::Encode {
        format: "JSON",
        cause: cause.to_string(),
    })?;
    Ok(Variant {
        bytes,
        media_type: MEDIA_TYPE,
        width,
        height,
    })
}

/// Width and height of a source as it is meant to be seen.
pub(crate) fn upright(probe: &Probe) -> (u32, u32) {
    if probe.turn.quarters % 2 == 1 {
        (probe.height, probe.width)
    } else {
        (probe.width, probe.height)
    }
}

fn facts(source: Source<'_>, dominant: String) -> Info {
    let probe = source.probe;
    let (width, height) = upright(probe);
    Info {
        width,
        height,
        format: format(probe.kind),
        frames: probe.frames,
        loops: probe.loops,
        animated: probe.frames > 1,
        orientation: orientation(probe.turn),
        alpha: probe.alpha,
        colour_space: colour_space(probe.colours),
        depth: probe.depth,
        has_profile: probe.profile.is_some(),
        bytes: source.bytes.len(),
        digest: format!("blake3:{}", source.context.digest),
        dominant,
    }
}

const fn format(kind: Kind) -> &'static str {
    match kind {
        Kind::Jpeg => "jpeg",
        Kind::Png => "png",
        Kind::Gif => "gif",
        Kind::Webp => "webp",
        Kind::Avif => "avif",
        Kind::Bmp => "bmp",
        Kind::Tiff => "tiff",
    }
}

const fn colour_space(colours: Colours) -> &'static str {
    match colours {
        Colours::Grey => "grey",
        Colours::Rgb => "rgb",
        Colours::Palette => "palette",
        Colours::Cmyk => "cmyk",
    }
}

/// EXIF 2.32, 4.6.4 A, Orientation.
const fn orientation(turn: Turn) -> u8 {
    match (turn.mirrored, turn.quarters % 4) {
        (false, 0) => 1,
        (true, 0) => 2,
        (false, 2) => 3,
        (true, 2) => 4,
        (true, 3) => 5,
        (false, 1) => 6,
        (true, 1) => 7,
        (false, _) => 8,
        (true, _) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use crate::image::{Context, Limits};
    use std::collections::HashMap;

    fn probe(turn: Turn) -> Probe {
        Probe {
            kind: Kind::Webp,
            width: 40,
            height: 30,
            turn,
            frames: 3,
            loops: 0,
            alpha: true,
            colours: Colours::Rgb,
            depth: 8,
            progressive: false,
            working_bytes: 0,
            profile: Some(vec![1]),
            copyright: None,
            artist: None,
        }
    }

    #[test]
    fn the_facts_are_json() {
        let probe = probe(Turn {
            mirrored: false,
            quarters: 1,
        });
        let (limits, watermarks) = (Limits::default(), HashMap::new());
        let context = Context {
            limits: &limits,
            digest: Digest::from_bytes([0xab; 32]),
            avif_pixels_max: None,
            watermarks: &watermarks,
        };
        let source = Source {
            bytes: &[0; 17],
            probe: &probe,
            context: &context,
        };
        let written = serde_json::to_value(facts(source, "#102030".to_owned())).unwrap();
        let expected = serde_json::json!({
            "width": 30, "height": 40, "format": "webp", "frames": 3, "loops": 0, "animated": true,
            "orientation": 6, "alpha": true, "colour_space": "rgb", "depth": 8, "has_profile": true,
            "bytes": 17, "digest": format!("blake3:{}", "ab".repeat(32)), "dominant": "#102030",
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn each_way_to_lie_has_its_own_number() {
        let turns = [false, true]
            .into_iter()
            .flat_map(|mirrored| (0..4).map(move |quarters| Turn { mirrored, quarters }));
        let numbers: Vec<u8> = turns.map(orientation).collect();
        assert_eq!(numbers, [1, 6, 3, 8, 2, 7, 4, 5]);
    }
}
