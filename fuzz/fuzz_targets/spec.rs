//! Any path, query and headers: taking the transform out never panics, and its canonical text stays within its bounds.
#![no_main]

use aquatint::spec::config::{Invalid, Transform};
use aquatint::spec::{Policy, alias, take};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Far more than the longest spec has.
const TEXT_MAX: usize = 1_024;

static POLICIES: LazyLock<[Policy; 2]> = LazyLock::new(|| {
    [Invalid::Refuse, Invalid::Drop].map(|invalid| {
        let transform = Transform {
            invalid,
            client_hints: true,
            presets: [("card".to_owned(), "w=300&fm=auto".to_owned())].into(),
            ..Transform::default()
        };
        Policy::compile(&transform, &HashMap::new())
    })
});

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let (path, query) = (lines.next().unwrap_or_default(), lines.next());
    let mut headers = HeaderMap::new();
    for (name, line) in ["accept", "sec-ch-dpr", "sec-ch-width", "save-data"].into_iter().zip(lines) {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.insert(name, value);
        }
    }
    let options = alias(path).ok().flatten().map(|alias| alias.options);
    for policy in POLICIES.iter() {
        if let Ok(taken) = take(policy, options, query, &headers)
            && let Some(wish) = taken.wish
        {
            assert!(wish.spec.to_string().len() < TEXT_MAX, "{}", wish.spec);
        }
    }
});
