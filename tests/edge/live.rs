//! What operators see while requests are answered, and what they change: the live log, the busiest, a reload by command.

use crate::support::command::{command, json_of, ran};
use crate::support::{Client, Edge, Origin, Reply, Setup, eventually, get};
use serde_json::Value;

/// Follows the log, and returns when the edge has begun to send it.
#[track_caller]
fn follow(edge: &Edge, query: &str) -> Client {
    let mut client = Client::connect(edge.admin_address());
    let target = format!("/api/v1/log{query}");
    let address = edge.admin_address().to_string();
    client.send_request("GET", &target, &[("Host", &address)]);
    let header = client.header().unwrap();
    assert_eq!(header.status, 200, "{header:?}");
    assert_eq!(header.header("content-type"), Some("application/x-ndjson"));
    client
}

/// The next line.
#[track_caller]
fn next_line(client: &mut Client) -> Value {
    let chunk = client.chunk().unwrap();
    let text = String::from_utf8(chunk).unwrap();
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

#[test]
fn who_follows_the_log_sees_the_requests_that_fit_as_they_are_answered() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let mut edge = Setup::of(&origin).edge("access_log", "{to: 'off'}").start();
    let mut follower = follow(&edge, "?status=404&path=/b");
    edge.get("/a.png").expect_miss(b"image");
    edge.get("/c.png");
    edge.get("/b.png?token=secret");
    let line = next_line(&mut follower);
    assert_eq!(
        (&line["path"], &line["status"]),
        (&"/b.png".into(), &404.into()),
        "{line}"
    );
    assert_eq!(line["query"], "token=*");
    edge.ask_to_stop();
    assert!(
        follower.rest().ends_with(b"0\r\n\r\n"),
        "the stream ends when the edge stops"
    );
    assert_eq!(edge.wait_for_exit().code(), Some(0));
}

#[test]
fn a_follower_that_leaves_makes_room_for_another() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin)
        .edge("access_log", "{to: 'off', followers_max: 1}")
        .start();
    let first = follow(&edge, "");
    let refused = get(edge.admin_address(), "/api/v1/log");
    assert_eq!(refused.status, 403, "{refused:?}");
    let address = edge.admin_address().to_string();
    let ask = || crate::support::get_with(edge.admin_address(), "/api/v1/log", &[("Host", &address)]);
    let busy = ask();
    assert_eq!(busy.status, 429, "{busy:?}");
    drop(first);
    eventually("there is room", || {
        let mut client = Client::connect(edge.admin_address());
        client.send_request("GET", "/api/v1/log", &[("Host", &address)]);
        (client.header().unwrap().status == 200).then_some(())
    });
}

#[test]
fn the_busiest_are_counted_also_where_nothing_is_logged() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).edge("access_log", "{to: 'off'}").start();
    for _ in 0..5 {
        edge.get("/a.png");
    }
    edge.get("/b.png");
    let top = eventually("all are counted", || {
        let answer = edge.api("GET", "/api/v1/top?by=path", "", &[]);
        Some(json_of(&answer)).filter(|top| top["total"] == 6)
    });
    assert_eq!(top["entries"][0]["name"], "images.example/a.png", "{top}");
    assert_eq!(top["entries"][0]["count"], 5, "{top}");
    for (by, name) in [
        ("miss", "images.example/"),
        ("client", "127.0.0.1"),
        ("bytes", "images.example/"),
    ] {
        let top = json_of(&edge.api("GET", &format!("/api/v1/top?by={by}"), "", &[]));
        let first = top["entries"][0]["name"].as_str().unwrap();
        assert!(first.starts_with(name), "{top}");
    }
    for wrong in [
        "/api/v1/top?by=colour",
        "/api/v1/log?colour=red",
        "/api/v1/log?status=red",
    ] {
        assert_eq!(edge.api("GET", wrong, "", &[]).status, 400, "{wrong}");
    }
}

#[test]
fn the_commands_show_both() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let edge = Setup::of(&origin).start();
    edge.get("/a.png");
    eventually("it is counted", || {
        let top = ran(
            command(&["top", "--once", "--json", "--admin", &edge.admin_url()]),
            "",
        );
        top.stdout.contains("images.example/a.png").then_some(())
    });
    let mut log = command(&["log", "--path", "/a", "--admin", &edge.admin_url()])
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(log.stdout.take().unwrap());
    let (sender, line) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut text = String::new();
        std::io::BufRead::read_line(&mut output, &mut text).unwrap();
        sender.send(text).ok();
    });
    let text = eventually("a request is shown", || {
        edge.get("/a.png");
        line.try_recv().ok()
    });
    log.kill().unwrap();
    log.wait().unwrap();
    assert!(text.contains("/a.png") && text.contains("200"), "{text}");
}

#[test]
fn a_reload_by_command_says_what_has_changed_or_everything_that_is_wrong() {
    let origin = Origin::with("/a.png", Reply::fresh("image"));
    let setup = Setup::of(&origin);
    let edge = setup.start();
    let reload = || ran(command(&["reload", "--admin", &edge.admin_url()]), "");
    setup.clone().edge("url_bytes_max", "1KiB").file();
    let done = reload().expect(0);
    assert!(done.stdout.contains("edge.url_bytes_max"), "{done:?}");
    setup
        .clone()
        .route("origin", "nobody")
        .edge("headers_max", "0")
        .file();
    let refused = reload().expect(3);
    for key in ["routes[0].origin", "edge.headers_max"] {
        assert!(refused.stderr.contains(key), "{refused:?}");
    }
    setup
        .clone()
        .edge("url_bytes_max", "1KiB")
        .edge("threads", "1")
        .file();
    let fixed = reload().expect(3);
    assert!(fixed.stderr.contains("edge.threads can not change"), "{fixed:?}");
}
