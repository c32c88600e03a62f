//! A directory of files, and requests that try to leave it.

use super::*;
use crate::upstream::scripted::{asking, get, open, patient, whole};
use crate::upstream::{Origin, config};
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// `site/` with a few files, and `secret.txt` beside it.
fn site() -> (TempDir, Origin) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("site");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(directory.path().join("secret.txt"), "secret").unwrap();
    std::fs::write(root.join("a.jpg"), "0123456789").unwrap();
    std::fs::write(root.join("sub/b c%.PNG"), "png").unwrap();
    std::fs::write(root.join("empty.svg"), "").unwrap();
    let origin = open(&config::Config {
        directory: Some(root),
        ..patient()
    });
    (directory, origin)
}

async fn status(origin: &Origin, path: &str) -> StatusCode {
    origin.fetch(get(path)).await.unwrap().status
}

#[tokio::test]
async fn a_file_comes_with_its_type_length_and_validators() {
    let (_directory, origin) = site();
    let response = origin.fetch(get("/a.jpg?v=1")).await.unwrap();
    assert_eq!((response.status, response.length), (StatusCode::OK, Some(10)));
    assert_eq!(response.headers["content-type"], "image/jpeg");
    assert_eq!(response.headers["content-length"], "10");
    assert!(response.headers.contains_key("etag") && response.headers.contains_key("last-modified"));
    assert!(!response.headers.contains_key("cache-control"));
    assert_eq!(response.body.framing(), Framing::Framed);
    assert_eq!(whole(response).await.unwrap(), "0123456789");
    let encoded = origin.fetch(get("/sub/b%20c%25.PNG")).await.unwrap();
    assert_eq!(encoded.headers["content-type"], "image/png");
    assert_eq!(whole(encoded).await.unwrap(), "png");
    assert_eq!(
        whole(origin.fetch(get("/empty.svg")).await.unwrap())
            .await
            .unwrap(),
        ""
    );
}

#[tokio::test]
async fn head_says_what_get_would() {
    let (_directory, origin) = site();
    let response = origin.fetch(asking(Method::HEAD, "/a.jpg")).await.unwrap();
    assert_eq!((response.status, response.length), (StatusCode::OK, Some(10)));
    assert_eq!(whole(response).await.unwrap(), "");
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let (_directory, origin) = site();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let response = origin.fetch(asking(method, "/a.jpg")).await.unwrap();
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers["allow"], "GET, HEAD");
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_found() {
    let (directory, origin) = site();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        directory.path().join("site/pipe"),
        rustix::fs::Mode::RUSR,
    )
    .unwrap();
    let long = format!("/{}", "x".repeat(300));
    for path in [
        "/", "/sub", "/sub/", "/none", "/a.jpg/", "/a.jpg/x", "//a.jpg", "/pipe", "a.jpg", "", &long,
    ] {
        assert_eq!(status(&origin, path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn no_path_leaves_the_root() {
    let (directory, origin) = site();
    let secret = directory.path().join("secret.txt");
    let absolute = format!("/{}", secret.display());
    let paths = [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/sub%2f..%2f..%2fsecret.txt",
        "/sub/../a.jpg",
        "/sub%2fb%20c%25.PNG",
        "/./a.jpg",
        "/a.jpg%00",
        "/%00",
        &absolute,
    ];
    for path in paths {
        assert_eq!(status(&origin, path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn links_are_followed_only_while_they_stay_beneath_the_root() {
    let (directory, origin) = site();
    let root = directory.path().join("site");
    symlink("sub/b c%.PNG", root.join("inside.png")).unwrap();
    symlink("../secret.txt", root.join("outside.txt")).unwrap();
    symlink(directory.path(), root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("/proc/self/cwd", root.join("magic")).unwrap();
    assert_eq!(status(&origin, "/inside.png").await, StatusCode::OK);
    for path in [
        "/outside.txt",
        "/up/secret.txt",
        "/up/site/a.jpg",
        "/loop",
        "/magic/Cargo.toml",
    ] {
        assert_eq!(status(&origin, path).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_root_may_be_swapped_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (current, next) = (directory.path().join("current"), directory.path().join("next"));
    for version in ["1", "2"] {
        std::fs::create_dir(directory.path().join(version)).unwrap();
        std::fs::write(directory.path().join(version).join("v.txt"), version).unwrap();
    }
    symlink("1", &current).unwrap();
    let origin = open(&config::Config {
        directory: Some(current.clone()),
        ..patient()
    });
    assert_eq!(
        whole(origin.fetch(get("/v.txt")).await.unwrap()).await.unwrap(),
        "1"
    );
    symlink("2", &next).unwrap();
    std::fs::rename(next, current).unwrap();
    assert_eq!(
        whole(origin.fetch(get("/v.txt")).await.unwrap()).await.unwrap(),
        "2"
    );
}

#[tokio::test]
async fn a_file_not_changed_since_is_not_sent_again() {
    let (directory, origin) = site();
    let first = origin.fetch(get("/a.jpg")).await.unwrap();
    for (condition, validator) in [("if-none-match", "etag"), ("if-modified-since", "last-modified")] {
        let mut request = get("/a.jpg");
        request
            .headers
            .insert(condition, first.headers[validator].clone());
        let again = origin.fetch(request).await.unwrap();
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{condition}");
        assert_eq!(again.headers["etag"], first.headers["etag"]);
        assert_eq!(whole(again).await.unwrap(), "");
    }
    std::fs::write(directory.path().join("site/a.jpg"), "changed").unwrap();
    let mut request = get("/a.jpg");
    request
        .headers
        .insert("if-none-match", first.headers["etag"].clone());
    assert_eq!(origin.fetch(request).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn one_range_is_answered_with_that_part() {
    let (_directory, origin) = site();
    let ranged = async |range: &'static str| {
        let mut request = get("/a.jpg");
        request.headers.insert("range", HeaderValue::from_static(range));
        let response = origin.fetch(request).await.unwrap();
        let content_range = response.headers.get("content-range").cloned();
        let (status, length) = (response.status, response.length);
        (status, length, content_range, whole(response).await.unwrap())
    };
    let (status, length, content_range, body) = ranged("bytes=2-4").await;
    assert_eq!((status, length), (StatusCode::PARTIAL_CONTENT, Some(3)));
    assert_eq!(
        (content_range.unwrap().to_str().unwrap(), &body[..]),
        ("bytes 2-4/10", &b"234"[..])
    );
    let (status, _, content_range, _) = ranged("bytes=10-").await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(content_range.unwrap(), "bytes */10");
    let (status, _, _, body) = ranged("lines=1-2").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"0123456789"[..]));
}

#[tokio::test]
async fn a_range_of_another_version_gets_the_whole() {
    let (_directory, origin) = site();
    let mut request = get("/a.jpg");
    request
        .headers
        .insert("range", HeaderValue::from_static("bytes=2-4"));
    request
        .headers
        .insert("if-range", HeaderValue::from_static("\"another\""));
    assert_eq!(origin.fetch(request).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_truncated() {
    let (directory, origin) = site();
    let path = directory.path().join("site/large.bin");
    std::fs::write(&path, vec![7; 1 << 20]).unwrap();
    let mut response = origin.fetch(get("/large.bin")).await.unwrap();
    let first = response.body.next().await.unwrap().unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(first.len() as u64 + 10)
        .unwrap();
    assert_eq!(response.body.next().await.unwrap().unwrap().len(), 10);
    let error = response.body.next().await.unwrap_err();
    let OriginError::Truncated { expected, received } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, received), (Some(1 << 20), first.len() as u64 + 10));
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_ends_where_it_was_promised_to() {
    let (directory, origin) = site();
    let path = directory.path().join("site/large.bin");
    std::fs::write(&path, vec![7; 1 << 20]).unwrap();
    let response = origin.fetch(get("/large.bin")).await.unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    assert_eq!(whole(response).await.unwrap().len(), 1 << 20);
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for root in [file, directory.path().join("none")] {
        assert!(matches!(
            Directory::open(&root, &patient()),
            Err(OpenError::Directory { .. })
        ));
    }
}
