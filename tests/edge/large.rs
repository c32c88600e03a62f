//! Bodies larger than a part, than the limit of what is stored, or than memory would like.

use crate::support::{Client, Edge, Origin, Reply, Setup, picture};

#[test]
fn a_large_image_is_served_in_parts_from_the_ssd_after_a_restart() {
    let body = picture(60, (5 << 20) + 12_345);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let setup = Setup::of(&origin).with_ssd();
    let edge = setup.start();
    edge.get("/a.png").expect_miss(&body);
    edge.get("/a.png").expect_hit(&body);
    assert!(edge.terminate().success());
    let edge = setup.start();
    let part = edge.get_with("/a.png", &[("Range", "bytes=3145000-3146999")]);
    part.expect(206, &body[3_145_000..3_147_000]);
    assert!(part.is_hit(), "{part:?}");
    edge.get("/a.png").expect_hit(&body);
    let end = edge.get_with("/a.png", &[("Range", "bytes=-1")]);
    end.expect(206, &body[body.len() - 1..]);
    assert_eq!(origin.count("/a.png"), 1);
}

#[test]
fn lengths_around_a_part_are_exact() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let part = 1 << 20;
    for length in [
        0,
        1,
        part - 1,
        part,
        part + 1,
        2 * part - 1,
        2 * part,
        2 * part + 1,
    ] {
        let target = format!("/{length}.png");
        let body = picture(61, length);
        origin.set(&target, Reply::fresh(body.clone()));
        edge.get(&target).expect(200, &body);
        edge.wait_for_fills();
        edge.get(&target).expect(200, &body);
        if length > 0 {
            let last = edge.get_with(&target, &[("Range", "bytes=-1")]);
            last.expect(206, &body[length - 1..]);
        }
    }
}

#[test]
fn a_hundred_megabytes_pass_through_and_are_not_stored() {
    let body = picture(62, 100_000_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    for count in 1..=2 {
        let answer = edge.get("/a.png");
        answer.expect(200, &body);
        assert!(
            !answer.is_hit() && !answer.cache_status().has("stored"),
            "{answer:?}"
        );
        assert_eq!(origin.count("/a.png"), count);
    }
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"entries\"}"), 0.0);
    assert!(
        resident_bytes(&edge) < 90 << 20,
        "{} bytes resident",
        resident_bytes(&edge)
    );
}

/// `VmHWM`: the most the process ever held.
fn resident_bytes(edge: &Edge) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", edge.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_body_that_turns_out_too_large_arrives_whole_and_is_not_stored() {
    let body = picture(63, 3 << 20);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()).chunked());
    let edge = Setup::of(&origin).route("object_bytes_max", "1MiB").start();
    for count in 1..=2 {
        edge.get("/a.png").expect(200, &body);
        edge.wait_for_fills();
        assert_eq!(origin.count("/a.png"), count);
    }
    let fitting = picture(64, 1 << 20);
    origin.set("/b.png", Reply::fresh(fitting.clone()).chunked());
    edge.get("/b.png").expect_miss(&fitting);
    edge.wait_for_fills();
    edge.get("/b.png").expect_hit(&fitting);
}

/// Several who wait for what turns out too large to be kept are each served.
#[test]
fn those_who_wait_for_a_body_too_large_all_get_it_whole() {
    let gate = crate::support::Gate::closed();
    let body = picture(65, 3 << 20);
    let origin = Origin::with(
        "/a.png",
        Reply::fresh(body.clone()).chunked().body_held_by(&gate, 100_000),
    );
    let edge = Setup::of(&origin).route("object_bytes_max", "1MiB").start();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(edge.address())).collect();
    for client in &mut clients {
        client.send_request("GET", "/a.png", &[]);
    }
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests >= 3.0);
    gate.open();
    std::thread::scope(|scope| {
        for client in &mut clients {
            let body = &body;
            scope.spawn(move || client.answer().expect(200, body).status);
        }
    });
}

/// What a fill may hold in memory is bounded; beyond it bodies pass through.
#[test]
fn fills_beyond_their_memory_pass_through_whole() {
    let body = picture(66, 3 << 20);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Setup::of(&origin).serve("fill_bytes_max", "1MiB").start();
    edge.get("/a.png").expect(200, &body);
    edge.wait_for_metric("aquatint_fill_bytes", |bytes| bytes == 0.0);
}

#[test]
fn memory_stays_within_its_capacity() {
    let origin = Origin::start();
    let edge = Setup::of(&origin).store("memory", "8MiB").start();
    for n in 0..40 {
        let target = format!("/{n}.png");
        origin.set(&target, Reply::fresh(picture(67 + n, 1 << 20)));
        assert_eq!(edge.get(&target).status, 200);
    }
    edge.wait_for_fills();
    assert!(edge.metric("aquatint_memory_bytes{kind=\"blobs\"}") <= f64::from(8 << 20));
    assert!(edge.metric("aquatint_memory_evictions_total{kind=\"blobs\"}") >= 20.0);
}

/// An entry whose body was evicted is not an empty image.
#[test]
fn an_evicted_body_is_fetched_again() {
    let origin = Origin::start();
    for eviction in ["lru", "lfu", "fifo", "s3fifo", "sieve"] {
        let edge = Setup::of(&origin)
            .store("memory", "8MiB")
            .store("eviction", eviction)
            .start();
        for _ in 0..2 {
            for n in 0..20 {
                let (target, body) = (format!("/{n}.png"), picture(100 + n, 1 << 20));
                origin.set(&target, Reply::fresh(body.clone()));
                edge.get(&target).expect(200, &body);
            }
        }
    }
}
