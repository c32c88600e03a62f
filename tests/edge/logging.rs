//! What is logged of requests, and by which id every hop knows them.

use crate::support::http2::Http2;
use crate::support::{Client, Edge, Origin, Reply, Setup, eventually, get, picture, request};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Sent by clients, and by an origin, where secrets are.
const SECRET: &str = "s3cr3t-7f21";

/// An edge that logs into a file, with further keys of `access_log`.
fn logging(origin: &Origin, keys: &str) -> (Edge, PathBuf) {
    logging_with(Setup::of(origin), keys)
}

fn logging_with(setup: Setup, keys: &str) -> (Edge, PathBuf) {
    let path = setup.directory().join("access.log");
    let value = format!("{{to: '{}', {keys}}}", path.display());
    (setup.edge("access_log", value).start(), path)
}

/// The lines that are there, as soon as there are so many.
fn lines(path: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{count} lines are logged"), || {
        let log = std::fs::read_to_string(path).ok()?;
        let lines: Vec<String> = log.lines().map(str::to_owned).collect();
        (lines.len() >= count && log.ends_with('\n')).then_some(lines)
    })
}

fn objects(path: &Path, count: usize) -> Vec<Value> {
    let lines = lines(path, count);
    assert_eq!(lines.len(), count, "{lines:?}");
    let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    lines.iter().map(parse).collect()
}

/// The one line about a path. Threads write on their own, so that lines may stand out of order.
fn about<'a>(objects: &'a [Value], key: &str, value: &str) -> &'a Value {
    let found: Vec<&Value> = objects.iter().filter(|object| object[key] == value).collect();
    assert_eq!(found.len(), 1, "{key}={value} in {objects:?}");
    found[0]
}

#[test]
fn every_request_is_a_line_of_the_access_log() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "");
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/a.png?x=1");
    edge.get("/a.png").expect_hit(b"image");
    let objects = objects(&path, 3);
    let miss = about(&objects[..], "query", "x=*");
    assert_eq!((&miss["status"], &miss["outcome"]), (&404.into(), &"miss".into()));
    let hit = about(&objects, "outcome", "hit_memory");
    assert_eq!(
        (&hit["path"], &hit["status"], &hit["bytes"]),
        (&"/a.png".into(), &200.into(), &5.into())
    );
    assert!(!edge.stdout().contains("/a.png"));
}

#[test]
fn a_line_tells_what_was_asked_what_came_of_it_and_how_long_it_took() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "");
    let headers = [
        ("Referer", "https://shop.example/shoes?id=7"),
        ("User-Agent", "agent/1.0"),
    ];
    edge.get_with("/a.png", &headers).expect_miss(b"image");
    edge.get("/a.png").expect_hit(b"image");
    let objects = objects(&path, 2);
    let miss = about(&objects, "outcome", "miss");
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("host", "images.example"),
        ("path", "/a.png"),
        ("protocol", "HTTP/1.1"),
        ("route", "*/"),
        ("referrer", "https://shop.example/shoes"),
        ("user_agent", "agent/1.0"),
    ] {
        assert_eq!(miss[key], value, "{key} of {miss}");
    }
    let took = |key: &str| miss[key].as_u64().unwrap_or_else(|| panic!("{key} of {miss}"));
    assert!(took("origin_time_us") <= took("first_byte_us"), "{miss}");
    assert!(took("first_byte_us") <= took("duration_us"), "{miss}");
    let hit = about(&objects, "outcome", "hit_memory");
    assert!(
        hit["age"].is_u64() && hit.get("origin_time_us").is_none(),
        "{hit}"
    );
    assert!(
        hit.get("query").is_none() && hit.get("referrer").is_none(),
        "{hit}"
    );
}

#[test]
fn a_request_over_http2_is_logged_as_one() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "");
    let answer = Http2::connect(edge.address()).get("/a.png");
    let objects = objects(&path, 1);
    assert_eq!(
        (&objects[0]["protocol"], &objects[0]["path"]),
        (&"HTTP/2".into(), &"/a.png".into())
    );
    assert!(!objects[0]["host"].as_str().unwrap().is_empty());
    assert_eq!(objects[0]["request_id"], answer.said("x-request-id"));
}

#[test]
fn a_log_of_text_reads_as_the_combined_log_format() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "format: text");
    let headers = [
        ("Referer", "https://shop.example/"),
        ("User-Agent", "agent \"1\""),
    ];
    edge.get_with("/a.png?v=3&x=1", &headers);
    let line = &lines(&path, 1)[0];
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    let told = "] \"GET /a.png?v=3&x=* HTTP/1.1\" 404 ";
    assert!(line.contains(told), "{line}");
    assert!(
        line.contains("\"https://shop.example/\" \"agent \\\"1\\\"\" \"images.example\" miss"),
        "{line}"
    );
}

/// A hostile URL can not forge a line.
#[test]
fn the_access_log_keeps_a_request_on_its_line() {
    let origin = Origin::start();
    let edge = Edge::before(&origin);
    edge.get_with(
        "/a%0Ab.png?%22",
        &[("User-Agent", "agent\t\"quoted\\\""), ("Referer", "x\u{9b}y")],
    );
    edge.get("/last.png");
    let log = eventually("the last is logged", || {
        Some(edge.stdout()).filter(|log| log.contains("/last.png"))
    });
    let lines = log
        .lines()
        .filter(|line| !line.contains(" listening on "))
        .count();
    assert!(lines <= 2, "{log}");
}

#[test]
fn of_a_share_the_failures_are_logged_all_the_same() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    origin.set("/broken.png", Reply::hang_up());
    let (edge, path) = logging(&origin, "sample: 0");
    edge.get("/a.png").expect_miss(b"image");
    assert_eq!(edge.get("/broken.png").status, 502);
    let objects = objects(&path, 1);
    assert_eq!(
        (&objects[0]["path"], &objects[0]["outcome"]),
        (&"/broken.png".into(), &"error".into())
    );
}

/// Secrets wherever a client or an origin may put them.
fn ask_with_secrets(edge: &Edge) {
    let authorization = format!("Bearer {SECRET}");
    let cookie = format!("session={SECRET}");
    let referrer = format!("https://user:{SECRET}@shop.example/page?token={SECRET}#{SECRET}");
    let headers: &[(&str, &str)] = &[
        ("Authorization", &authorization),
        ("Proxy-Authorization", &authorization),
        ("Cookie", &cookie),
        ("X-Api-Key", SECRET),
        ("Referer", &referrer),
    ];
    for query in [
        format!("w=300&X-Amz-Signature={SECRET}&X-Amz-Security-Token={SECRET}"),
        format!("v=1;sig={SECRET}"),
        format!("v=1%26sig%3D{SECRET}&{SECRET}"),
        format!("token%3D{SECRET}"),
        format!("h={SECRET}"),
        format!("preset={SECRET}"),
    ] {
        for path in [
            "/a.png",
            "/missing.png",
            "/broken.png",
            "/garbled.png",
            "/cut.png",
        ] {
            // What was cut short ends as it ends.
            let mut client = Client::connect(edge.address());
            client.send_request("GET", &format!("{path}?{query}"), headers);
            client.try_answer_to("GET").ok();
        }
    }
    request(
        edge.address(),
        "POST",
        &format!("/a.png?token={SECRET}"),
        &[("Content-Length", "0")],
    );
    request(
        edge.address(),
        "PURGE",
        &format!("/a.png?token={SECRET}"),
        headers,
    );
    request(
        edge.address(),
        "CONNECT",
        &format!("user:{SECRET}@shop.example:443"),
        &[],
    );
    get(
        edge.address(),
        &format!("http://user:{SECRET}@images.example/a.png?token={SECRET}"),
    );
    get(edge.address(), &format!("/{}?token={SECRET}", "x".repeat(9000)));
    let mut host = Client::connect(edge.address());
    host.send(format!(
        "GET / HTTP/1.1\r\nHost: user:{SECRET}@images.example\r\n\r\n"
    ));
    host.answer();
    let mut malformed = Client::connect(edge.address());
    malformed.send(format!(
        "GET /a.png?token={SECRET} HTTP/1.1\r\nCook ie: {SECRET}\r\n\r\n"
    ));
    malformed.rest();
    edge.get("/last.png");
}

fn secretive_origin() -> Origin {
    let origin = Origin::with("/a.png", Reply::fresh(picture(3, 100)));
    let cookie = format!("session={SECRET}");
    let answers: [(&str, Reply); 4] = [
        ("/a.png", Reply::fresh("image").and_header("Set-Cookie", &cookie)),
        ("/broken.png", Reply::hang_up()),
        (
            "/garbled.png",
            Reply::raw(format!("HTTP/1.1 200 OK\r\nSet Cookie: {SECRET}\r\n\r\n")),
        ),
        ("/cut.png", Reply::fresh(vec![7; 5000]).cut_after(100)),
    ];
    for (path, reply) in answers {
        for query in [
            // Sorted, as they are asked for.
            format!("?X-Amz-Security-Token={SECRET}&X-Amz-Signature={SECRET}"),
            format!("?v=1;sig={SECRET}"),
            format!("?{SECRET}&v=1%26sig%3D{SECRET}"),
            format!("?token%3D{SECRET}"),
            String::new(),
        ] {
            origin.set(&format!("{path}{query}"), reply.clone());
        }
    }
    origin
}

/// Neither in the access log, of whichever format, nor in what the process says of itself, however much that is.
#[test]
fn no_secret_of_a_client_or_an_origin_is_logged() {
    for format in ["json", "text"] {
        let origin = secretive_origin();
        let setup = Setup::of(&origin).route("audit", "1.0");
        let setup = setup.log("filter", "info,aquatint=trace").with_key();
        let (mut edge, path) = logging_with(setup, &format!("format: {format}"));
        ask_with_secrets(&edge);
        let log = eventually("the last is logged", || {
            let log = std::fs::read_to_string(&path).ok()?;
            log.contains("/last.png").then_some(log)
        });
        assert!(log.contains("X-Amz-Signature=*"), "{log}");
        let failed = |line: &&str| line.contains("/garbled.png") && line.contains("502");
        assert!(log.lines().filter(failed).count() >= 3, "{log}");
        edge.ask_to_stop();
        edge.wait_for_exit();
        let (stdout, stderr) = edge.whole_output();
        for (name, text) in [("access log", log), ("stdout", stdout), ("stderr", stderr)] {
            let line = text.lines().find(|line| line.contains(SECRET));
            assert_eq!(line, None, "{name}, {format}");
        }
    }
}

#[test]
fn who_wants_the_whole_query_or_none_gets_it() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "query: all");
    edge.get("/a.png?token=open");
    assert_eq!(objects(&path, 1)[0]["query"], "token=open");
    let (edge, path) = logging(&origin, "query: none");
    edge.get("/a.png?v=1");
    assert!(objects(&path, 1)[0].get("query").is_none());
}

/// The same id in the client's answer, the origin's request and the log.
#[test]
fn a_request_has_one_id_wherever_it_is_seen() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "");
    let given = edge.get_with("/a.png", &[("X-Request-Id", "client-7")]);
    assert_eq!(given.said("x-request-id"), "client-7");
    assert_eq!(origin.last("/a.png").header("x-request-id"), Some("client-7"));
    let hit = edge.get("/a.png");
    let made = hit.said("x-request-id");
    assert_eq!(made.len(), 32, "{made}");
    request(
        edge.address(),
        "POST",
        "/form",
        &[("X-Request-Id", "client-8"), ("Content-Length", "0")],
    );
    assert_eq!(origin.last("/form").header("x-request-id"), Some("client-8"));
    let objects = objects(&path, 3);
    assert_eq!(about(&objects, "outcome", "miss")["request_id"], "client-7");
    assert_eq!(about(&objects, "outcome", "hit_memory")["request_id"], made);
    assert_eq!(about(&objects, "outcome", "bypass")["request_id"], "client-8");
}

#[test]
fn a_hostile_request_id_is_replaced_before_anybody_sees_it() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let (edge, path) = logging(&origin, "");
    let long = "a".repeat(200);
    let hostile = ["\"}{\"forged\":\"1", "<script>", "a b", &long];
    for (number, hostile) in hostile.iter().enumerate() {
        let target = format!("/{number}.png");
        let answer = edge.get_with(&target, &[("X-Request-Id", hostile)]);
        let id = answer.said("x-request-id");
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        assert_eq!(origin.last(&target).header("x-request-id"), Some(id));
        let objects = objects(&path, number + 1);
        assert_eq!(about(&objects, "path", &target)["request_id"], id);
    }
}

#[test]
fn refused_requests_have_an_id_and_a_line_too() {
    let origin = Origin::start();
    let setup = Setup::of(&origin).edge("header_deadline", "200ms");
    let (edge, path) = logging_with(setup, "");
    let refused = request(edge.address(), "TRACE", "/a.png", &[("X-Request-Id", "client-9")]);
    assert_eq!((refused.status, refused.said("x-request-id")), (405, "client-9"));
    let wrong = edge.get("/a.png?w=wide");
    assert_eq!(wrong.status, 400);
    let mut malformed = Client::connect(edge.address());
    malformed.send("GET /a.png HTTP/1.1\r\nBad header: 1\r\n\r\n");
    let malformed = malformed.answer();
    let mut late = Client::connect(edge.address());
    late.send("GET /late.png HTTP/1.1\r\nHost: images.example\r\n");
    let late = late.answer();
    let objects = objects(&path, 4);
    assert!(
        objects.iter().all(|object| object["outcome"] == "refused"),
        "{objects:?}"
    );
    for answer in [&refused, &wrong, &malformed, &late] {
        let line = about(&objects, "request_id", answer.said("x-request-id"));
        assert_eq!(line["status"], answer.status);
    }
    assert_eq!((malformed.status, late.status), (400, 408));
}
