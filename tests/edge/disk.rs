//! The SSD tier: warm after a restart, right after a crash, and never in the way of an answer.

use crate::support::{Client, Origin, Reply, Setup, eventually, get, picture};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// So many images of various lengths, `/<prefix>-0.png` and on.
fn gallery(origin: &Origin, prefix: &str, images: u64) -> Vec<(String, Vec<u8>)> {
    let seed = prefix.bytes().fold(0, |seed, byte| seed * 131 + u64::from(byte)) << 16;
    let made = (0..images).map(|n| {
        let body = picture(seed + n, 1 + (n as usize * 7919) % 150_000);
        let target = format!("/{prefix}-{n}.png");
        origin.set(
            &target,
            Reply::fresh(body.clone()).header("etag", &format!("\"{n}\"")),
        );
        (target, body)
    });
    made.collect()
}

/// Complaint 18: 200 GB of cache were cold after a restart.
#[test]
fn a_restart_finds_everything_as_it_was() {
    let origin = Origin::start();
    let images = gallery(&origin, "warm", 40);
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    for (target, body) in &images {
        edge.get(target).expect_miss(body);
    }
    assert!(edge.terminate().success());
    let edge = setup.start();
    for (target, body) in &images {
        let hit = edge.get(target);
        hit.expect_hit(body);
        assert_eq!(hit.said("content-type"), "image/png");
        assert!(hit.has("etag"));
    }
    assert_eq!(origin.targets().len(), images.len());
    assert!(edge.metric("aquatint_tier_hits_total{tier=\"ssd\",kind=\"entries\"}") >= 40.0);
    assert!(edge.metric("aquatint_tier_hits_total{tier=\"ssd\",kind=\"blobs\"}") >= 40.0);
    // From here on they are in memory.
    edge.get(&images[0].0).expect_hit(&images[0].1);
    assert!(edge.metric("aquatint_tier_hits_total{tier=\"memory\"}") >= 1.0);
}

#[test]
fn an_image_asked_for_once_costs_no_write() {
    let origin = Origin::with("/once.png", Reply::fresh("once"));
    origin.set("/twice.png", Reply::fresh("twice"));
    let setup = Setup::of(&origin).with_ssd().store("admission", "second_hit");
    let edge = setup.start();
    edge.get("/once.png").expect_miss(b"once");
    edge.get("/twice.png").expect_miss(b"twice");
    edge.get("/twice.png").expect_hit(b"twice");
    edge.wait_for_ssd_writes(1.0);
    assert!(edge.terminate().success());
    let edge = setup.start();
    edge.get("/twice.png").expect_hit(b"twice");
    edge.get("/once.png").expect_miss(b"once");
}

#[test]
fn freshness_goes_on_across_a_restart() {
    let origin = Origin::with("/a.png", Reply::fresh("image").header("age", "3000"));
    origin.set(
        "/old.png",
        Reply::of("old")
            .header("cache-control", "max-age=1")
            .header("etag", "\"1\""),
    );
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/old.png").expect_miss(b"old");
    assert!(edge.terminate().success());
    let edge = setup.start();
    let hit = edge.get("/a.png");
    hit.expect_hit(b"image");
    assert!(hit.cache_status().ttl() <= 600, "{hit:?}");
    eventually("the old one is no longer fresh", || {
        let answer = edge.get("/old.png");
        answer.expect(200, b"old");
        (!answer.is_hit()).then_some(())
    });
}

#[test]
fn after_kill_9_under_load_what_was_written_is_served_byte_for_byte() {
    let origin = Origin::start();
    let (written, loaded) = (gallery(&origin, "written", 100), gallery(&origin, "loaded", 300));
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    for (target, body) in &written {
        edge.get(target).expect_miss(body);
    }
    edge.wait_for_ssd_writes(100.0);
    let killed = AtomicBool::new(false);
    let address = edge.address();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (loaded, killed) = (&loaded, &killed);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for (target, body) in loaded.iter().skip(worker).step_by(4) {
                    client.send_request_until_killed(target, body, killed);
                }
            });
        }
        edge.wait_for_metric("aquatint_ssd_writes_total{kind=\"blobs\"}", |writes| {
            writes >= 150.0
        });
        killed.store(true, Ordering::SeqCst);
        edge.kill9();
    });
    let asked = origin.targets().len();
    let edge = setup.start();
    for (target, body) in &written {
        edge.get(target).expect_hit(body);
    }
    assert_eq!(origin.targets().len(), asked, "what was written needs no origin");
    for (target, body) in &loaded {
        edge.get(target).expect(200, body);
    }
    assert!(!edge.stderr().contains("panicked"), "{}", edge.stderr());
}

impl Client {
    /// Asserts every whole answer; after the kill there need not be one.
    fn send_request_until_killed(&mut self, target: &str, body: &[u8], killed: &AtomicBool) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: images.example\r\n\r\n");
        let answer = self.try_send(request).and_then(|()| self.try_answer_to("GET"));
        match answer {
            Ok(answer) => {
                answer.expect(200, body);
            }
            Err(error) => assert!(killed.load(Ordering::SeqCst), "{target}: {error}"),
        }
    }
}

#[test]
fn crash_after_crash_never_serves_a_wrong_byte() {
    let origin = Origin::start();
    let setup = Setup::of(&origin).with_ssd();
    let mut images = Vec::new();
    for round in 0..4 {
        images.extend(gallery(&origin, &format!("crash-{round}"), 30));
        let edge = setup.start();
        for (target, body) in &images {
            edge.get(target).expect(200, body);
        }
        // Each round dies at another point of writing its 30 bodies and 30 entries.
        edge.wait_for_metric("aquatint_ssd_writes_total", |writes| {
            writes >= f64::from(round * 15)
        });
        edge.kill9();
    }
}

/// Complaint 19: the cache overran its disk, and requests failed.
#[test]
fn a_capacity_larger_than_the_disk_degrades_to_memory() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin).with_ssd().store("ssd", "1048576GiB");
    let edge = setup.start();
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
    edge.wait_for_metric("aquatint_ssd_up", |up| up == 0.0);
    assert!(edge.metric("aquatint_ssd_errors_total") >= 1.0);
    eventually("the reason is logged", || {
        (!edge.stderr().is_empty()).then_some(())
    });
    assert_eq!(get(edge.admin_address(), "/readyz").status, 200);
}

#[test]
fn the_ssd_never_outgrows_its_capacity() {
    let origin = Origin::start();
    let setup = Setup::of(&origin).with_ssd().store("memory", "8MiB");
    let edge = setup.start();
    let body = picture(50, 4 << 20);
    for n in 0..80u8 {
        let mut body = body.clone();
        body[0] = n;
        origin.set(&format!("/{n}.png"), Reply::fresh(body));
        assert_eq!(edge.get(&format!("/{n}.png")).status, 200);
        edge.wait_for_metric("aquatint_ssd_queue_bytes", |bytes| bytes < f64::from(16 << 20));
    }
    edge.wait_for_metric("aquatint_ssd_queue_bytes", |bytes| bytes == 0.0);
    let capacity = edge.metric("aquatint_ssd_capacity_bytes");
    assert!(edge.metric("aquatint_ssd_bytes") <= capacity);
    assert!(used_by(&setup.data_directory()) <= capacity as u64 + (64 << 20));
    let mut last = body.clone();
    last[0] = 79;
    edge.get("/79.png").expect(200, &last);
}

fn used_by(directory: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let used = entries.map(|entry| {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            used_by(&entry.path())
        } else {
            metadata.blocks() * 512
        }
    });
    used.sum()
}

/// Garbage in every file of the tier: a cold start, not a wrong byte.
#[test]
fn a_damaged_ssd_never_serves_a_wrong_byte() {
    let origin = Origin::start();
    let images = gallery(&origin, "damaged", 30);
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    for (target, body) in &images {
        edge.get(target).expect_miss(body);
    }
    edge.wait_for_ssd_writes(30.0);
    edge.kill9();
    for kind in ["entries", "blobs"] {
        damage(&setup.data_directory().join(kind));
    }
    let edge = setup.start();
    for (target, body) in &images {
        edge.get(target).expect(200, body);
        edge.get(target).expect_hit(body);
    }
}

/// Overwrites 16 bytes in every 8 KiB of the files' first 32 MiB; the lengths stay.
fn damage(directory: &std::path::Path) {
    use std::os::unix::fs::FileExt;
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            damage(&entry.path());
            continue;
        }
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(entry.path())
            .unwrap();
        for offset in (5000..metadata.len().min(32 << 20)).step_by(8 << 10) {
            file.write_all_at(&[0xA5; 16], offset).unwrap();
        }
    }
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin).with_ssd();
    let first = setup.start();
    first.get("/a.png").expect_miss(b"image");
    let mut second = setup.spawn();
    assert!(!second.wait_for_exit().success());
    let (stdout, said) = second.whole_output();
    assert!(said.contains(setup.data_directory().to_str().unwrap()), "{said}");
    assert!(!stdout.contains("edge listening"), "{stdout}");
    first.get("/a.png").expect_hit(b"image");
    // Its end frees the directory.
    first.kill9();
    setup.start().get("/a.png").expect(200, b"image");
}

#[test]
fn a_304_writes_no_body_again() {
    let origin = Origin::start();
    let body = picture(51, 100_000);
    let reply = Reply::of(body.clone())
        .header("etag", "\"1\"")
        .header("cache-control", "no-cache");
    origin.set("/a.png", reply);
    let edge = Setup::of(&origin).with_ssd().start();
    edge.get("/a.png").expect_miss(&body);
    edge.wait_for_ssd_writes(1.0);
    let written = edge.metric("aquatint_ssd_writes_total{kind=\"blobs\"}");
    for _ in 0..5 {
        edge.get("/a.png").expect(200, &body);
    }
    edge.wait_for_metric("aquatint_ssd_queue_bytes", |bytes| bytes == 0.0);
    assert_eq!(edge.metric("aquatint_ssd_writes_total{kind=\"blobs\"}"), written);
}

#[test]
fn equal_bytes_are_written_once() {
    let origin = Origin::start();
    let body = picture(52, 100_000);
    let targets: Vec<_> = (0..5).map(|n| format!("/copy-{n}.png")).collect();
    let edge = Setup::of(&origin).with_ssd().start();
    for target in &targets {
        origin.set(target, Reply::fresh(body.clone()));
        edge.get(target).expect_miss(&body);
    }
    edge.wait_for_metric("aquatint_ssd_writes_total{kind=\"entries\"}", |writes| {
        writes >= 5.0
    });
    edge.wait_for_metric("aquatint_ssd_queue_bytes", |bytes| bytes == 0.0);
    assert_eq!(edge.metric("aquatint_ssd_writes_total{kind=\"blobs\"}"), 1.0);
    assert_eq!(edge.metric("aquatint_dedup_saved_bytes_total"), 400_000.0);
}
