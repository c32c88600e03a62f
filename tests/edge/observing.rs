//! What operators see: metrics that exist and move, health.

use crate::support::{Edge, Origin, Reply, get, picture};

/// Complaint 22: a cache whose metrics did not tell hits from misses.
#[test]
fn the_metrics_of_the_cache_exist_from_the_start_and_move() {
    let body = picture(70, 10_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    let (hits, misses) = (
        "aquatint_requests_total{outcome=\"hit_memory\"}",
        "aquatint_requests_total{outcome=\"miss\"}",
    );
    assert_eq!((edge.metric(hits), edge.metric(misses)), (0.0, 0.0));
    edge.get("/a.png").expect_miss(&body);
    for _ in 0..3 {
        edge.get("/a.png").expect_hit(&body);
    }
    edge.wait_for_metric(
        "aquatint_requests_total{outcome=\"hit_memory\",status_class=\"2xx\"}",
        |count| count == 3.0,
    );
    edge.wait_for_metric(
        "aquatint_requests_total{outcome=\"miss\",status_class=\"2xx\"}",
        |count| count == 1.0,
    );
    edge.wait_for_metric(
        "aquatint_request_duration_seconds_count{outcome=\"hit_memory\"}",
        |count| count == 3.0,
    );
    edge.wait_for_metric("aquatint_response_body_bytes_total", |bytes| bytes == 40_000.0);
    assert_eq!(edge.metric("aquatint_origin_requests_total"), 1.0);
    assert_eq!(edge.metric("aquatint_origin_body_bytes_total"), 10_000.0);
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"entries\"}"), 1.0);
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"blobs\"}"), 1.0);
    assert!(edge.metric("aquatint_memory_bytes{kind=\"blobs\"}") >= 10_000.0);
    assert!(edge.metric("aquatint_memory_capacity_bytes{kind=\"blobs\"}") >= f64::from(512 << 20));
    assert!(edge.metric("aquatint_tier_hits_total{tier=\"memory\",kind=\"entries\"}") >= 3.0);
    assert!(edge.metric("aquatint_tier_misses_total{kind=\"entries\"}") >= 1.0);
    assert_eq!(edge.metric("aquatint_ssd_up"), 0.0);
    edge.wait_for_metric("aquatint_requests_in_flight", |requests| requests == 0.0);
}

#[test]
fn failures_and_passed_requests_have_their_own_outcomes() {
    let origin = Origin::with("/broken.png", Reply::hang_up());
    let edge = Edge::before(&origin);
    assert_eq!(edge.get("/broken.png").status, 502);
    crate::support::request(edge.address(), "POST", "/form", &[("Content-Length", "0")]);
    edge.wait_for_metric(
        "aquatint_requests_total{outcome=\"error\",status_class=\"5xx\"}",
        |count| count == 1.0,
    );
    edge.wait_for_metric(
        "aquatint_requests_total{outcome=\"bypass\",status_class=\"4xx\"}",
        |count| count == 1.0,
    );
    assert!(edge.metric("aquatint_origin_failures_total") >= 1.0);
}

/// The same bytes under two URLs are held once.
#[test]
fn equal_images_under_two_urls_are_held_once_and_counted() {
    let body = picture(71, 50_000);
    let origin = Origin::with("/a.png", Reply::fresh(body.clone()));
    origin.set("/b.png", Reply::fresh(body.clone()));
    let edge = Edge::before(&origin);
    edge.get("/a.png").expect_miss(&body);
    assert_eq!(edge.metric("aquatint_dedup_saved_bytes_total"), 0.0);
    edge.get("/b.png").expect_miss(&body);
    edge.wait_for_metric("aquatint_dedup_saved_bytes_total", |bytes| bytes == 50_000.0);
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"blobs\"}"), 1.0);
    assert_eq!(edge.metric("aquatint_memory_objects{kind=\"entries\"}"), 2.0);
    edge.get("/a.png").expect_hit(&body);
    edge.get("/b.png").expect_hit(&body);
}

#[test]
fn health_is_told_on_the_admin_listener_alone() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(edge.admin_address(), path).status, 200, "{path}");
    }
    let metrics = get(edge.admin_address(), "/metrics");
    assert!(
        metrics.said("content-type").starts_with("text/plain"),
        "{metrics:?}"
    );
    assert_eq!(get(edge.admin_address(), "/nonsense").status, 404);
    // On the edge these are paths like any others.
    assert_eq!(edge.get("/metrics").status, 404);
    assert_eq!(origin.count("/metrics"), 1);
}
