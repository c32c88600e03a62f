//! SIGHUP: a changed configuration while requests are answered, all of it or nothing.

use crate::support::load::{Load, Way};
use crate::support::{Certificate, Client, Edge, Origin, Reply, Setup, eventually, get, picture};
use rustix::process::{Pid, Signal, kill_process};

impl Edge {
    /// SIGHUP with another configuration in the file, and what the edge says of it.
    #[track_caller]
    fn reload(&self, setup: &Setup) -> String {
        setup.file();
        let told = |edge: &Edge| {
            let stderr = edge.stderr();
            let lines = stderr.lines().filter(|line| line.contains("reloaded"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = told(self).len();
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), Signal::HUP).unwrap();
        eventually("the edge says what came of it", || {
            told(self).into_iter().nth(before)
        })
    }
}

#[test]
fn routes_origins_and_limits_change_and_the_cache_stays() {
    let (one, other) = (
        Origin::with("/a.png", Reply::fresh("one")),
        Origin::with("/c.png", Reply::fresh("two")),
    );
    let setup = Setup::of(&one);
    let edge = setup.start();
    edge.get("/a.png").expect_miss(b"one");
    let told = edge.reload(
        &setup
            .clone()
            .origin("url", other.url())
            .edge("url_bytes_max", "64B")
            .route("ttl", "{browser: 7s}"),
    );
    assert!(
        told.contains("changed=\"edge.url_bytes_max, origins.default.url, routes\""),
        "{told}"
    );
    let hit = edge.get("/a.png");
    hit.expect_hit(b"one");
    assert!(
        hit.said("cache-control").starts_with("public, max-age=7"),
        "{hit:?}"
    );
    edge.get("/c.png").expect_fetched(b"two");
    assert_eq!(edge.get(&format!("/{}", "a".repeat(64))).status, 414);
    assert_eq!(one.count("/a.png"), 1);
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin);
    let edge = setup.start();
    edge.get("/a.png").expect_miss(b"image");
    let bad = [
        (
            setup.clone().route("origin", "nobody"),
            "routes[0].origin: nobody: allowed",
        ),
        (
            setup.clone().edge("threads", "1").route("path", "/b"),
            "edge.threads can not change while serving",
        ),
        (setup.clone().origin("url", "gopher://a"), "origins.default.url"),
        (
            setup.clone().edge("access_log", "{to: /nowhere/log}"),
            "/nowhere/log",
        ),
    ];
    for (bad, why) in bad {
        let told = edge.reload(&bad.route("ttl", "{browser: 7s}"));
        assert!(told.contains("not reloaded") && told.contains(why), "{told}");
        let hit = edge.get("/a.png");
        hit.expect_hit(b"image");
        assert!(!hit.said("cache-control").contains("max-age=7"), "{hit:?}");
        assert_eq!(edge.metric("aquatint_last_reload_successful"), 0.0);
    }
    assert_eq!(edge.metric("aquatint_reloads_total{result=\"refused\"}"), 4.0);
    assert!(edge.reload(&setup).contains("changed=\"\""));
    assert_eq!(edge.metric("aquatint_last_reload_successful"), 1.0);
    assert_eq!(get(edge.admin_address(), "/readyz").status, 200);
}

#[test]
fn under_load_no_request_fails() {
    let origin = Origin::start();
    let (a, b) = (picture(5, 30_000), picture(6, 2_500_000));
    origin.set("/a.png", Reply::fresh(a.clone()));
    origin.set("/b.png", Reply::fresh(b.clone()));
    let certificate = Certificate::new();
    let setup = Setup::of(&origin).with_tls(&certificate);
    let edge = setup.start();
    let ways = [Way::Kept, Way::NewEachTime, Way::KeptTls, Way::Http2];
    let load = Load::on(&edge, Some(certificate), &[("/a.png", &a), ("/b.png", &b)], &ways);
    for round in 0..10 {
        load.go_on_for(20);
        let changed = setup.clone().route("ttl", format!("{{browser: {round}s}}"));
        let changed = changed.origin("read_deadline", format!("{}s", 20 + round));
        let told = edge.reload(&changed);
        assert!(told.contains("changed="), "{told}");
    }
    load.go_on_for(20);
    load.stop();
}

#[test]
fn new_connections_are_shown_the_new_certificate() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (old, new) = (Certificate::new(), Certificate::new());
    let setup = Setup::of(&origin).with_tls(&old);
    let edge = setup.start();
    let mut kept = Client::connect_tls(edge.tls_address(), &old);
    kept.get("/a.png").expect_miss(b"image");
    let ends = "aquatint_certificate_not_after_seconds{listener=\"edge_tls\"}";
    // That of rcgen: the first of January 4096.
    assert_eq!(edge.metric(ends), 67_090_118_400.0);
    // As a renewal does it: the same names, other contents.
    std::fs::copy(new.path(), old.path()).unwrap();
    std::fs::copy(new.key_path(), old.key_path()).unwrap();
    edge.reload(&setup);
    kept.get("/a.png").expect_hit(b"image");
    Client::connect_tls(edge.tls_address(), &new)
        .get("/a.png")
        .expect_hit(b"image");
    // A pair that does not match is refused, and the one in force stays.
    std::fs::copy(Certificate::new().key_path(), old.key_path()).unwrap();
    let told = edge.reload(&setup);
    assert!(told.contains("not reloaded"), "{told}");
    Client::connect_tls(edge.tls_address(), &new)
        .get("/a.png")
        .expect_hit(b"image");
}

#[test]
fn a_key_that_is_taken_away_orders_nothing_any_more() {
    let origin = Origin::start();
    let setup = Setup::of(&origin);
    let edge = setup.clone().with_key().start();
    edge.purge("{\"purge_everything\": true}");
    edge.reload(&setup);
    assert_eq!(edge.order("{\"purge_everything\": true}").status, 403);
    edge.reload(&setup.with_key());
    edge.purge("{\"purge_everything\": true}");
}

#[test]
fn a_renamed_log_is_opened_anew_also_where_the_configuration_is_refused() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin);
    let path = setup.directory().join("access.log");
    let setup = setup.edge("access_log", format!("{{to: '{}'}}", path.display()));
    let edge = setup.start();
    let wrong = setup.clone().route("origin", "nobody");
    for (number, configuration) in [&setup, &wrong, &setup].into_iter().enumerate() {
        let renamed = setup.directory().join(format!("access.log.{number}"));
        std::fs::rename(&path, &renamed).unwrap();
        edge.reload(configuration);
        eventually("lines are written to the new file", || {
            edge.get("/a.png");
            let log = std::fs::read_to_string(&path).ok()?;
            log.contains("/a.png").then_some(())
        });
    }
}
