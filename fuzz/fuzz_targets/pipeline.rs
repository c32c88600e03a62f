//! Any bytes as a source under any query: a variant or an error. The query is the first line.
#![no_main]

use aquatint::base::digest::Digest;
use aquatint::base::units::ByteSize;
use aquatint::image::{Context, ImageError, Limits, Stage, Watch, make, probe};
use aquatint::spec::config::{Invalid, Transform};
use aquatint::spec::{Policy, take};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::LazyLock;

const STAGES_MAX: u32 = 200;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let transform = Transform {
        invalid: Invalid::Drop,
        defaults: "w=64".to_owned(),
        sizes: Vec::new(),
        ..Transform::default()
    };
    Policy::compile(&transform, &HashMap::new())
});

/// Small enough for many runs a second.
static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    source_bytes: ByteSize::kib(256),
    pixels: 1 << 20,
    side: 4_096,
    frames: 16,
    animation_pixels: 1 << 20,
    output_side: 512,
    ..Limits::default()
});

struct Patience(u32);

impl Watch for Patience {
    fn done(&mut self, _stage: Stage) -> Result<(), ImageError> {
        self.0 = self.0.checked_sub(1).ok_or(ImageError::TimeIsUp)?;
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (query, source) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end..]);
    let source = source.strip_prefix(b"\n").unwrap_or(source);
    let Ok(taken) = take(&POLICY, None, Some(&query), &HeaderMap::new()) else {
        return;
    };
    let (Some(wish), Ok(probe)) = (taken.wish, probe(source, &LIMITS)) else {
        return;
    };
    let watermarks = HashMap::new();
    let context = Context {
        limits: &LIMITS,
        digest: Digest::of(source),
        avif_pixels_max: None,
        watermarks: &watermarks,
    };
    drop(make(source, &probe, &wish.spec, &context, &mut Patience(STAGES_MAX)));
});
