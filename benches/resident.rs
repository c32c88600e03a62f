//! Resident memory beyond bodies: a million objects of 1 KiB, each with its own key, headers and body.
//!
//! Prints bytes per object from `/proc/self/statm` beside the most that the design allows. With an argument:
//! that many objects. Not criterion: it measures memory, once.

use aquatint::base::clock;
use aquatint::base::epoch::Incarnation;
use aquatint::base::metrics::{Kind, Label, Metrics};
use aquatint::base::units::ByteSize;
use aquatint::http::freshness::Lifetime;
use aquatint::http::header_block::HeaderBlock;
use aquatint::key::{CacheKey, QueryPolicy, RequestUrl, Scheme, target};
use aquatint::store::config::Config;
use aquatint::store::{Body, Entry, Stamp, Store};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const BODY_BYTES: usize = 1024;
const BYTES_PER_OBJECT_MAX: u32 = 700;
const OBJECTS: u64 = 1_000_000;

/// The server's own: what an object takes depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime starts").block_on(measure());
}

#[expect(clippy::print_stdout, reason = "its result is what it prints")]
async fn measure() {
    let objects = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(OBJECTS);
    let config = Config {
        memory: ByteSize::gib(8),
        entry_memory: ByteSize::gib(4),
        ..Config::default()
    };
    let metrics = Arc::new(Metrics::new());
    let store = Store::open(&config, Incarnation::from_bytes([0; 16]), Arc::clone(&metrics))
        .await
        .expect("nothing is locked");
    let before = resident_bytes();
    for number in 0..objects {
        put(&store, number);
    }
    let put_beyond = beyond_bodies(before, objects);
    let start = clock::monotonic();
    for number in 0..objects {
        let entry = store.entry(&key(number)).expect("all fit");
        assert_eq!(entry.headers.iter().count(), 8);
        assert_eq!(
            store.part(&entry.body.part(0)).expect("all fit").len(),
            BODY_BYTES
        );
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / objects as f64;
    let hit_beyond = beyond_bodies(before, objects);
    let hot = hot_nanoseconds(&store);
    store.observe();
    println!("objects: {objects} of {BODY_BYTES} bytes");
    println!(
        "resident beyond bodies: {put_beyond:.0} bytes per object, {hit_beyond:.0} after each was hit once; \
         allowed: {BYTES_PER_OBJECT_MAX}"
    );
    println!("a hit, its key and all its headers included: {nanoseconds:.0} ns");
    println!("entry() and part() of a hot object: {hot:.0} ns");
    for kind in Kind::ALL {
        let counted = metrics.memory_bytes[*kind].get() as f64 / objects as f64;
        println!("counted for {}: {counted:.0} bytes per object", kind.name());
    }
}

fn hot_nanoseconds(store: &Store) -> f64 {
    const LOOK_UPS: usize = 3_000_000;
    let keys: Vec<CacheKey> = (0..100).map(key).collect();
    let start = clock::monotonic();
    for key in keys.iter().cycle().take(LOOK_UPS) {
        let entry = store.entry(key).expect("all fit");
        black_box(store.part(&entry.body.part(0)));
    }
    start.elapsed().as_nanos() as f64 / LOOK_UPS as f64
}

fn put(store: &Store, number: u64) {
    let mut body = vec![0; BODY_BYTES];
    body[..8].copy_from_slice(&number.to_le_bytes());
    let now = clock::now();
    let lifetime = Lifetime::without_stale(now, now.plus(Duration::from_secs(3600)));
    let key = key(number);
    let headers = HeaderBlock::pack(&headers(number));
    let entry = Entry::new(
        &key,
        StatusCode::OK,
        headers,
        lifetime,
        Body::of(&body),
        Stamp::default(),
    );
    store.put(&key, entry, &[Bytes::from(body)]);
}

fn key(number: u64) -> CacheKey {
    let path = format!("/media/catalogue/products/{number}/front.jpg");
    let url = RequestUrl {
        scheme: Scheme::Https,
        host: "images.shop.example",
        path: &path,
        query: None,
    };
    target(&url, &QueryPolicy::default()).expect("a good URL").key
}

/// What nginx sends with a static file.
fn headers(number: u64) -> HeaderMap {
    let etag = format!("\"6853f0a1-{number:x}\"");
    let mut headers = HeaderMap::new();
    headers.insert(header::SERVER, HeaderValue::from_static("nginx/1.26.3"));
    headers.insert(
        header::DATE,
        HeaderValue::from_static("Thu, 19 Jun 2025 11:13:05 GMT"),
    );
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1024"));
    headers.insert(
        header::LAST_MODIFIED,
        HeaderValue::from_static("Thu, 19 Jun 2025 11:13:05 GMT"),
    );
    headers.insert(header::ETAG, HeaderValue::from_str(&etag).expect("a valid tag"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=3600"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers
}

fn beyond_bodies(before: u64, objects: u64) -> f64 {
    let grown = resident_bytes().saturating_sub(before);
    grown as f64 / objects as f64 - BODY_BYTES as f64
}

/// Pages of 4 KiB.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm
        .split_whitespace()
        .nth(1)
        .expect("the resident set is second");
    pages.parse::<u64>().expect("a number") * 4096
}
