//! Any bytes: what they are is told within the limits, or refused.
#![no_main]

use aquatint::image::{Limits, probe};
use aquatint::spec::Spec;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

fuzz_target!(|bytes: &[u8]| {
    if let Ok(probe) = probe(bytes, &LIMITS) {
        assert!(u64::from(probe.width) * u64::from(probe.height) <= LIMITS.pixels);
        assert!(probe.width.max(probe.height) <= LIMITS.side);
        assert!(probe.frames <= LIMITS.frames);
        probe.memory_max(&Spec::default(), &LIMITS);
    }
});
