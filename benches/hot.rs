//! What every cache hit pays before its bytes: the key, the freshness check, the stored headers, Cache-Status,
//! and the look-ups of the entry and its body in memory.

use aquatint::base::clock::{self, Timestamp};
use aquatint::base::epoch::Incarnation;
use aquatint::base::metrics::Metrics;
use aquatint::http::cache_status::CacheStatus;
use aquatint::http::freshness::Lifetime;
use aquatint::http::header_block::HeaderBlock;
use aquatint::key::{QueryPolicy, RequestUrl, Scheme, target};
use aquatint::store::config::Config;
use aquatint::store::{Body, Entry, Stamp, Store};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

fn keys(criterion: &mut Criterion) {
    let policy = QueryPolicy {
        version_parameter: Some("v".into()),
        ..QueryPolicy::default()
    };
    let ordinary = RequestUrl {
        scheme: Scheme::Http,
        host: "shop.example",
        path: "/images/2024/red-shoes.jpg",
        query: Some("v=3"),
    };
    let unusual = RequestUrl {
        scheme: Scheme::Https,
        host: "Shop.Example:443",
        path: "/images/./2024/../2024/red%2dsh%c3%b6es.jpg",
        query: Some("w=300&v=3&%61=1"),
    };
    let bare = RequestUrl {
        query: None,
        ..ordinary
    };
    for (name, url) in [
        ("key/path only", bare),
        ("key/ordinary", ordinary),
        ("key/to be normalised", unusual),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| target(black_box(&url), black_box(&policy)));
        });
    }
}

/// Eight headers, as an image's origin sends them; half of the values are among the frequent ones.
const USUAL: [(&str, &str); 8] = [
    ("content-type", "image/jpeg"),
    ("content-length", "48213"),
    ("etag", "\"5f3e8a7b9c1d2e4f\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("cache-control", "public, max-age=31536000, immutable"),
    ("accept-ranges", "bytes"),
    ("x-content-type-options", "nosniff"),
];

/// Eight headers with no frequent value.
const RARE: [(&str, &str); 8] = [
    ("content-type", "image/tiff"),
    ("content-length", "48213"),
    ("etag", "\"5f3e8a7b9c1d2e4f\""),
    ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ("cache-control", "public, max-age=12345, stale-if-error=1"),
    ("content-language", "en-GB"),
    ("server", "origin"),
];

fn packed(lines: [(&'static str, &'static str); 8]) -> HeaderBlock {
    let headers: HeaderMap = lines
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    HeaderBlock::pack(&headers)
}

fn headers(criterion: &mut Criterion) {
    for (name, lines) in [
        ("header block/iterate 8", USUAL),
        ("header block/iterate 8 rare", RARE),
    ] {
        let block = packed(lines);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                for line in black_box(&block).iter() {
                    black_box(line);
                }
            });
        });
    }
    let block = packed(USUAL);
    criterion.bench_function("header block/get", |bencher| {
        bencher.iter(|| black_box(&block).get(black_box(&http::header::ETAG)));
    });
}

fn freshness(criterion: &mut Criterion) {
    let born_at = Timestamp::from_secs(784_111_777);
    let lifetime = Lifetime::without_stale(born_at, born_at.plus(Duration::from_secs(60)));
    let now = born_at.plus(Duration::from_secs(59));
    criterion.bench_function("freshness", |bencher| {
        bencher.iter(|| black_box(&lifetime).freshness(black_box(now)));
    });
}

fn cache_status(criterion: &mut Criterion) {
    let hit = CacheStatus::Hit { ttl: 31_535_999 };
    criterion.bench_function("cache status/hit", |bencher| {
        bencher.iter(|| black_box(&hit).render(black_box("aquatint")));
    });
}

/// One object of 1 KiB in a store of memory alone.
fn store(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let config = Config::default();
    let opening = Store::open(
        &config,
        Incarnation::from_bytes([0; 16]),
        Arc::new(Metrics::new()),
    );
    let store = runtime.block_on(opening).expect("nothing is locked");
    let url = RequestUrl {
        scheme: Scheme::Http,
        host: "shop.example",
        path: "/images/2024/red-shoes.jpg",
        query: None,
    };
    let key = target(&url, &QueryPolicy::default()).expect("a good URL").key;
    let bytes = Bytes::from_static(&[7; 1024]);
    let entry = Entry::new(
        &key,
        StatusCode::OK,
        packed(USUAL),
        an_hour(),
        Body::of(&bytes),
        Stamp::default(),
    );
    let part = store.put(&key, entry, &[bytes]).body.part(0);
    assert!(store.entry(&key).is_some() && store.part(&part).is_some());
    criterion.bench_function("store/entry", |bencher| {
        bencher.iter(|| store.entry(black_box(&key)));
    });
    criterion.bench_function("store/part", |bencher| {
        bencher.iter(|| store.part(black_box(&part)));
    });
}

fn an_hour() -> Lifetime {
    let now = clock::now();
    Lifetime::without_stale(now, now.plus(Duration::from_secs(3600)))
}

criterion_group!(hot, keys, headers, freshness, cache_status, store);
criterion_main!(hot);
