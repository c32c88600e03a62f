//! A directory as the origin: its files, and nothing beside them.

use crate::support::{Answer, Client, Edge, HOST, Setup, eventually, picture};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn edge_on(directory: &Path) -> Edge {
    let setup = Setup::without_origin().origin("directory", format!("'{}'", directory.display()));
    setup.route("ttl", "{default: 1h}").start()
}

/// As it stands in the request line, unnormalised.
fn raw(edge: &Edge, path: &str) -> Answer {
    let mut client = Client::connect(edge.address());
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    ));
    client.answer()
}

#[test]
fn a_file_is_served_with_its_type_and_a_tag_and_then_from_the_cache() {
    let directory = TempDir::new().unwrap();
    let body = picture(97, 200_000);
    fs::create_dir(directory.path().join("sub dir")).unwrap();
    fs::write(directory.path().join("sub dir/é.jpg"), &body).unwrap();
    let edge = edge_on(directory.path());
    let miss = edge.get("/sub%20dir/%C3%A9.jpg");
    miss.expect_miss(&body);
    assert_eq!(miss.said("content-type"), "image/jpeg");
    let tag = miss.said("etag").to_owned();
    edge.wait_for_fills();
    edge.get("/sub%20dir/%C3%A9.jpg").expect_hit(&body);
    edge.get_with("/sub%20dir/%C3%A9.jpg", &[("If-None-Match", &tag)])
        .expect(304, b"");
    edge.get_with("/sub%20dir/%C3%A9.jpg", &[("Range", "bytes=5-9")])
        .expect(206, &body[5..10]);
}

#[test]
fn what_is_no_file_is_404() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("sub")).unwrap();
    fs::write(directory.path().join("a.png"), "image").unwrap();
    let edge = edge_on(directory.path());
    for path in ["/missing.png", "/sub", "/sub/", "/", "/a.png/", "/a.png/b"] {
        assert_eq!(raw(&edge, path).status, 404, "{path}");
    }
}

#[test]
fn nothing_outside_the_directory_is_served() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret.png"), "secret").unwrap();
    let directory = outside.path().join("public");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("a.png"), "image").unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.png"), directory.join("link.png")).unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.join("linked")).unwrap();
    let edge = edge_on(&directory);
    for path in [
        "/../secret.png",
        "/%2e%2e/secret.png",
        "/..%2fsecret.png",
        "/%2e%2e%2fsecret.png",
        "/x/..%2f..%2fsecret.png",
        "/link.png",
        "/linked/secret.png",
        "//secret.png",
        "/a.png%00",
    ] {
        let answer = raw(&edge, path);
        assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {answer:?}");
    }
    edge.get("/a.png").expect(200, b"image");
}

#[test]
fn a_file_that_changed_is_seen_when_it_is_no_longer_fresh() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("a.png"), "old").unwrap();
    let setup = Setup::without_origin().origin("directory", format!("'{}'", directory.path().display()));
    let edge = setup.route("ttl", "{by_status: {200: 1s}}").start();
    edge.get("/a.png").expect_miss(b"old");
    fs::write(directory.path().join("a.png"), "new image").unwrap();
    eventually("the new image is served", || {
        (edge.get("/a.png").body == b"new image").then_some(())
    });
}

#[test]
fn a_directory_may_be_given_on_the_command_line() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("a.webp"), "image").unwrap();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--origin",
    ];
    let mut arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(|argument| argument.as_ref()).collect();
    arguments.push(directory.path().as_os_str());
    let mut edge = Edge::spawn(&arguments);
    edge.wait_until_listening();
    let answer = edge.get("/a.webp");
    answer.expect(200, b"image");
    assert_eq!(answer.said("content-type"), "image/webp");
}

/// Where images lie, `.git` and `.env` lie too.
#[test]
fn hidden_files_are_left_out_but_for_the_well_known() {
    let directory = TempDir::new().unwrap();
    for name in [".git", ".well-known"] {
        fs::create_dir(directory.path().join(name)).unwrap();
        fs::write(directory.path().join(name).join("a.png"), "image").unwrap();
    }
    fs::write(directory.path().join(".env.png"), "secret").unwrap();
    let edge = edge_on(directory.path());
    for hidden in ["/.git/a.png", "/.env.png", "/%2eenv.png"] {
        assert_eq!(edge.get(hidden).status, 404, "{hidden}");
    }
    edge.get("/.well-known/a.png").expect(200, b"image");
}
