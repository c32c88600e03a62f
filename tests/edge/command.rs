//! The command line: flags, checks, exit codes.

use crate::support::edge::run;
use crate::support::{Certificate, Edge, Origin, Reply, Setup};
use std::ffi::OsStr;

/// `sysexits.h`: the configuration can not stand.
const BAD_CONFIG: i32 = 64;

#[test]
fn the_version_is_told() {
    let (status, stdout, _) = run(&["--version"]);
    assert!(status.success());
    assert_eq!(stdout.trim(), format!("aquatint {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_origin_is_all_that_is_needed() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let data = tempfile::TempDir::new().unwrap();
    let url = origin.url();
    let arguments = [
        "serve",
        "--origin",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let edge = started(&arguments.map(OsStr::new));
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
    assert_eq!(edge.metric("aquatint_ssd_up"), 0.0);
    drop(edge);
    // With the SSD's default sizes it takes a while to reserve them, and it is there.
    let mut arguments: Vec<_> = arguments.iter().map(OsStr::new).collect();
    arguments.extend([OsStr::new("--data"), data.path().as_os_str()]);
    let edge = started(&arguments);
    assert_eq!(edge.metric("aquatint_ssd_up"), 1.0);
}

fn started(arguments: &[&OsStr]) -> Edge {
    let mut edge = Edge::spawn(arguments);
    edge.wait_until_listening();
    edge
}

#[test]
fn flags_win_over_the_file() {
    let (named, flagged) = (
        Origin::with("/a.png", Reply::fresh("file")),
        Origin::with("/a.png", Reply::fresh("flag")),
    );
    let setup = Setup::of(&named).edge("listen", "127.0.0.1:1");
    let file = setup.file();
    let url = flagged.url();
    let arguments = [
        "serve".as_ref(),
        "--config".as_ref(),
        file.as_os_str(),
        "--listen".as_ref(),
        "127.0.0.1:0".as_ref(),
        "--origin".as_ref(),
        url.as_ref(),
    ];
    let edge = started(&arguments);
    assert_ne!(edge.address().port(), 1);
    edge.get("/a.png").expect_miss(b"flag");
}

/// Every problem at once, each with its key, its value and what is allowed; and no port was opened.
#[test]
fn a_bad_configuration_opens_no_port_and_lists_every_problem() {
    let origin = Origin::start();
    let setup = Setup::of(&origin)
        .edge("threads", "5000")
        .store("memory", "1MiB")
        .origin("retries", "99")
        .route("object_bytes_max", "1B")
        .route("ttl", "{by_status: {banana: 1s}}")
        .serve("read_ahead", "77");
    let file = setup.file();
    let file = file.to_str().unwrap();
    for command in [vec!["serve", "--config", file], vec!["check", file]] {
        let (status, stdout, stderr) = run(&command);
        assert_eq!(status.code(), Some(BAD_CONFIG), "{command:?}: {stderr}");
        assert!(!stdout.contains("listening"), "{command:?}: {stdout}");
        for (key, value, allowed) in [
            ("edge.threads", "5000", "0..1024"),
            ("store.memory", "1MiB", "8MiB.."),
            ("origins.default.retries", "99", "0..10"),
            ("routes[0].object_bytes_max", "1B", "1KiB..4GiB"),
            ("routes[0].ttl.by_status.banana", "banana", "a status such as 404"),
            ("serve.read_ahead", "77", "0..16"),
        ] {
            let line = stderr.lines().find(|line| line.contains(&format!("{key}: ")));
            let line = line.unwrap_or_else(|| panic!("{key} is not named in: {stderr}"));
            assert!(
                line.contains(file) && line.contains(value) && line.contains(allowed),
                "{line}"
            );
        }
    }
}

#[test]
fn a_key_that_is_not_known_and_a_value_of_the_wrong_kind_are_named() {
    let origin = Origin::start();
    for (setup, named) in [
        (Setup::of(&origin).edge("threds", "1"), "threds"),
        (Setup::of(&origin).edge("threads", "many"), "edge.threads"),
        (Setup::of(&origin).store("memory", "512"), "store.memory"),
        (
            Setup::of(&origin).route("ttl", "{default: 30}"),
            "routes[0].ttl.default",
        ),
        (Setup::of(&origin).route("origin", "nowhere"), "nowhere"),
        (Setup::without_origin().origin("retries", "1"), "origins.default"),
        (Setup::of(&origin).edge("listen", "nowhere"), "edge.listen"),
    ] {
        let file = setup.file();
        let (status, stdout, stderr) = run(&["serve", "--config", file.to_str().unwrap()]);
        assert_eq!(status.code(), Some(BAD_CONFIG), "{named}: {stderr}");
        assert!(
            stderr.contains(named) && stderr.contains(file.to_str().unwrap()),
            "{named}: {stderr}"
        );
        assert!(!stdout.contains("listening"), "{stdout}");
    }
}

/// Complaints about what is inside a file come before any port is opened, with the file that is to blame.
#[test]
fn tls_files_that_can_not_be_used_are_refused_before_anything_is_bound() {
    let origin = Origin::start();
    let [good, other, garbled, keyless] = std::array::from_fn(|_| Certificate::new());
    std::fs::write(garbled.path(), "garbage").unwrap();
    std::fs::write(keyless.key_path(), "garbage").unwrap();
    std::fs::copy(good.key_path(), other.key_path()).unwrap();
    let broken = other.path().with_file_name("ca.pem");
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&broken, text).unwrap();
    let with_ca = |ca: &std::path::Path| {
        let tls = format!("{{enabled: true, ca: '{}'}}", ca.display());
        Setup::without_origin()
            .origin("addresses", "[{address: '127.0.0.1:1'}]")
            .origin("tls", tls)
    };
    for (setup, key, file) in [
        (
            Setup::of(&origin).with_tls(&garbled),
            "edge.tls.certificate",
            garbled.path(),
        ),
        (
            Setup::of(&origin).with_tls(&keyless),
            "edge.tls.key",
            keyless.key_path(),
        ),
        (
            Setup::of(&origin).with_tls(&other),
            "edge.tls.key",
            other.key_path(),
        ),
        (with_ca(&garbled.path()), "origins.default.tls.ca", garbled.path()),
        (with_ca(&broken), "origins.default.tls.ca", broken),
    ] {
        let configuration = setup.file();
        let configuration = configuration.to_str().unwrap();
        for command in [
            vec!["serve", "--config", configuration],
            vec!["check", configuration],
        ] {
            let (status, stdout, stderr) = run(&command);
            assert_eq!(status.code(), Some(BAD_CONFIG), "{command:?}: {stderr}");
            assert!(!stdout.contains("listening"), "{command:?}: {stdout}");
            let line = format!("{configuration}: {key}: {}: allowed ", file.display());
            assert!(stderr.starts_with(&line), "{line}.. is not: {stderr}");
        }
    }
    for setup in [Setup::of(&origin).with_tls(&good), with_ca(&good.path())] {
        let (status, _, stderr) = run(&["check", setup.file().to_str().unwrap()]);
        assert!(status.success(), "{stderr}");
    }
}

#[test]
fn a_configuration_that_can_not_be_read_is_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    let broken = directory.path().join("broken.yaml");
    std::fs::write(&broken, "edge: [\n").unwrap();
    for file in [broken.to_str().unwrap(), "/nonexistent/aquatint.yaml"] {
        let (status, _, stderr) = run(&["check", file]);
        assert_eq!(status.code(), Some(BAD_CONFIG), "{stderr}");
        assert!(stderr.contains(file), "{stderr}");
    }
}

#[test]
fn without_any_origin_there_is_nothing_to_serve() {
    let (status, stdout, _) = run(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert_eq!(status.code(), Some(BAD_CONFIG));
    assert!(!stdout.contains("listening"));
}

#[test]
fn a_good_configuration_passes_the_check() {
    let origin = Origin::start();
    let setup = Setup::of(&origin).with_ssd();
    let file = setup.file();
    let file = file.to_str().unwrap();
    let (status, stdout, stderr) = run(&["check", file]);
    assert!(status.success(), "{stderr}");
    assert!(stdout.contains(file), "{stdout}");
}

#[test]
fn a_port_that_is_taken_is_an_error_and_not_a_silence() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    let taken = edge.address().to_string();
    let mut second = Setup::of(&origin).edge("listen", format!("'{taken}'")).spawn();
    assert!(!second.wait_for_exit().success());
    crate::support::eventually("the port is named", || {
        second.stderr().contains(&taken).then_some(())
    });
}
