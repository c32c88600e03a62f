//! The commands that ask a running edge: what they print, and how they end.

use crate::support::command::{ADMIN_KEY, command, ran};
use crate::support::purging::KEY;
use crate::support::{Edge, Gate, HOST, Nobody, Origin, Reply, Setup, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread;

const DONE: i32 = 0;
const FAILURE: i32 = 1;
const REFUSED: i32 = 3;
const UNREACHABLE: i32 = 5;

const TARGET: &str = "/a.png";

fn url(target: &str) -> String {
    format!("http://{HOST}{target}")
}

#[test]
fn every_command_says_that_no_edge_is_there() {
    let nobody = Nobody::there();
    let admin = format!("http://{}", nobody.address);
    for arguments in [
        vec!["stat", "--once"],
        vec!["top", "--once"],
        vec!["log"],
        vec!["get", "http://a/b"],
        vec!["get", "http://a/b", "--explain"],
        vec!["reload"],
    ] {
        let arguments: Vec<&str> = arguments.into_iter().chain(["--admin", &admin]).collect();
        let ran = ran(command(&arguments), "").expect(UNREACHABLE);
        assert!(
            ran.stderr.contains(&admin) && ran.stdout.is_empty(),
            "{arguments:?}: {ran:?}"
        );
    }
    let arguments = ["warm", "-", "--admin", &admin];
    ran(command(&arguments), "http://a/b\n").expect(UNREACHABLE);
    let arguments = ["ready", "--admin", &admin];
    ran(command(&arguments), "").expect(FAILURE);
}

/// Any web server answers: what is no edge is told so, and believed in nothing.
#[test]
fn every_command_knows_what_is_no_edge() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                let answer =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 8\r\n\r\nIt works";
                stream.write_all(answer).ok();
            });
        }
    });
    for arguments in [
        vec!["stat", "--once"],
        vec!["stat", "--json"],
        vec!["top"],
        vec!["log"],
        vec!["get", "http://a/b"],
        vec!["get", "http://a/b", "--explain"],
        vec!["reload"],
    ] {
        let arguments: Vec<&str> = arguments.into_iter().chain(["--admin", &admin]).collect();
        let ran = ran(command(&arguments), "").expect(UNREACHABLE);
        assert!(ran.stderr.contains("no admin listener"), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.is_empty(), "{arguments:?}: {ran:?}");
    }
    ran(command(&["warm", "-", "--admin", &admin]), "http://a/b\n").expect(UNREACHABLE);
    ran(command(&["ready", "--admin", &admin]), "").expect(FAILURE);
}

#[test]
fn stat_prints_once_where_nobody_watches() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Setup::of(&origin).edge("name", "edge-7").start();
    edge.get(TARGET).expect_miss(b"image");
    edge.wait_for_metric("aquatint_requests_total{outcome=\"miss\"}", |misses| {
        misses == 1.0
    });
    let ran = edge.run(&["stat", "--filter", "requests_total"]).expect(DONE);
    assert!(ran.stdout.starts_with("edge-7 0."), "{ran:?}");
    let line = ran
        .stdout
        .lines()
        .find(|line| line.contains("outcome=miss"))
        .unwrap();
    assert!(line.starts_with("aquatint_requests_total{"), "{line}");
    let told = edge.run(&["stat", "--json"]).expect(DONE).json();
    assert_eq!(told["node"], "edge-7");
}

#[test]
fn who_closes_the_pipe_ends_a_command_quietly() {
    let edge = Edge::before(&Origin::start());
    let admin = edge.admin_url();
    let mut child = command(&["stat", "--all", "--admin", &admin]).spawn().unwrap();
    // As `head -1` does, or sooner.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(DONE), ""));
}

#[test]
fn get_tells_how_an_image_was_answered_and_explains_how_it_would_be() {
    let origin = Origin::with(TARGET, Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let ran = edge.run(&["get", &url(TARGET), "--explain"]).expect(DONE);
    assert!(
        ran.stdout.contains("would         fetch it from the origin"),
        "{}",
        ran.stdout
    );
    assert_eq!(origin.count(TARGET), 0);
    let ran = edge.run(&["get", &url(TARGET)]).expect(DONE);
    assert!(ran.stdout.contains("outcome       miss\n"), "{}", ran.stdout);
    let told = edge
        .run(&["get", &url(TARGET), "--explain", "--json"])
        .expect(DONE)
        .json();
    assert_eq!(told["answer"]["action"], "serve");
    let told = edge.run(&["get", &url(TARGET), "--json"]).expect(DONE).json();
    assert_eq!(told["outcome"], "hit_memory");
    edge.run(&["get", &url("/missing")]).expect(FAILURE);
    let ran = edge.run(&["get", "ftp://a/b"]).expect(REFUSED);
    assert!(ran.stderr.contains("refused with 400"), "{ran:?}");
    let wants = [
        "get",
        &url(TARGET),
        "--explain",
        "--json",
        "-H",
        "Cache-Control: no-cache",
    ];
    assert_eq!(edge.run(&wants).expect(DONE).json()["answer"]["why"], "request");
}

#[test]
fn a_key_is_taken_from_a_file_or_the_surroundings() {
    let edge = Setup::of(&Origin::start()).with_admin_key().start();
    let folder = tempfile::TempDir::new().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, format!("{ADMIN_KEY}\n")).unwrap();
    std::fs::write(&wrong, "aqk_wrong\n").unwrap();
    edge.run(&["stat", "--json", "--key-file", right.to_str().unwrap()])
        .expect(DONE);
    let ran = edge
        .run(&["stat", "--json", "--key-file", wrong.to_str().unwrap()])
        .expect(REFUSED);
    assert!(
        ran.stderr.contains("401") && !ran.stderr.contains("aqk_wrong"),
        "{ran:?}"
    );
    let admin = edge.admin_url();
    let mut by_variable = command(&["stat", "--json", "--admin", &admin]);
    by_variable.env("AQUATINT_KEY", "aqk_wrong");
    self::ran(by_variable, "").expect(REFUSED);
}

/// The edge answers and hangs up while most of the order is still to be written.
#[test]
fn an_order_that_is_refused_before_it_was_sent_whole_is_told_as_refused() {
    let edge = Setup::of(&Origin::start())
        .with_key()
        .purge("body_bytes_max", "1KiB")
        .start();
    let urls: Vec<String> = (0..200)
        .map(|n| url(&format!("/{n}/{}", "a".repeat(8_000))))
        .collect();
    let arguments: Vec<&str> = ["purge"]
        .into_iter()
        .chain(urls.iter().map(String::as_str))
        .collect();
    let admin = edge.admin_url();
    let arguments: Vec<&str> = arguments.into_iter().chain(["--admin", &admin]).collect();
    for (key, told) in [("aqk_wrong", "refused with 401"), (KEY, "refused with 413")] {
        let mut purge = command(&arguments);
        purge.env("AQUATINT_KEY", key);
        let ran = ran(purge, "").expect(REFUSED);
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
}

#[test]
fn warm_goes_on_over_failures_and_says_whether_all_went_well() {
    let origin = Origin::with("/a", Reply::fresh("image"));
    origin.set("/b", Reply::fresh("image"));
    let edge = Edge::before(&origin);
    let list = "# a comment\n\nhttp://images.example/a\r\nnot a url\nhttp://images.example/missing\nhttp://images.example/b";
    let ran = edge.run_with(&["warm", "-"], list).expect(FAILURE);
    assert!(ran.stdout.contains("failed not a url: "), "{ran:?}");
    let summary = ran.stdout.lines().last().unwrap();
    assert!(summary.starts_with("4 URLs (miss 3, refused 1), "), "{summary}");
    assert!(summary.contains("2 failed; "), "{summary}");
    edge.get("/a").expect_hit(b"image");
    let ran = edge.run_with(
        &["warm", "-", "--json"],
        "http://images.example/a\nhttp://images.example/b\n",
    );
    let lines = ran.expect(DONE).lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["summary"]["by_outcome"]["hit_memory"], 2);
    edge.run_with(&["warm", "-"], "# nothing\n").expect(DONE);
}

#[test]
fn warm_asks_for_no_more_at_once_than_it_may() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    for n in 0..12 {
        origin.set(&format!("/{n}"), Reply::fresh("image").header_held_by(&gate));
    }
    let edge = Edge::before(&origin);
    let folder = tempfile::TempDir::new().unwrap();
    let list = folder.path().join("list");
    let urls: String = (0..12).map(|n| url(&format!("/{n}\n"))).collect();
    std::fs::write(&list, urls).unwrap();
    let admin = edge.admin_url();
    let arguments = [
        "warm",
        list.to_str().unwrap(),
        "--concurrency",
        "3",
        "--admin",
        &admin,
    ];
    let child = command(&arguments).spawn().unwrap();
    gate.wait_for_held(3);
    assert_eq!(origin.targets().len(), 3);
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(DONE), "{output:?}");
    assert_eq!(origin.targets().len(), 12);
}

#[test]
fn warm_waits_where_the_edge_has_no_place_free() {
    let origin = Origin::start();
    for n in 0..6 {
        origin.set(&format!("/{n}"), Reply::fresh("image"));
    }
    let edge = Setup::of(&origin).admin("warm_max", "1").start();
    let list: &'static str = (0..6).map(|n| url(&format!("/{n}\n"))).collect::<String>().leak();
    let ran = edge
        .run_with(&["warm", "-", "--concurrency", "6"], list)
        .expect(DONE);
    assert!(
        ran.stdout
            .lines()
            .last()
            .unwrap()
            .starts_with("6 URLs (miss 6); "),
        "{ran:?}"
    );
}

#[test]
fn warm_takes_a_list_of_ten_thousand() {
    let origin = Origin::start();
    let targets: Vec<String> = (0..10_000).map(|n| format!("/{n}.png")).collect();
    targets
        .iter()
        .for_each(|target| origin.set(target, Reply::fresh("image")));
    let edge = Setup::of(&origin).edge("access_log", "{to: 'off'}").start();
    let folder = tempfile::TempDir::new().unwrap();
    let list = folder.path().join("list");
    let urls: String = targets.iter().map(|target| url(target) + "\n").collect();
    std::fs::write(&list, urls).unwrap();
    let list = list.to_str().unwrap();
    let ran = edge.run(&["warm", list, "--concurrency", "8"]).expect(DONE);
    let summary = ran.stdout.lines().last().unwrap();
    assert!(summary.starts_with("10000 URLs (miss 10000); "), "{summary}");
    assert_eq!(ran.stdout.lines().count(), 10_001);
    edge.get("/9999.png").expect_hit(b"image");
}

#[test]
fn an_interrupted_warm_ends_with_its_summary() {
    let (origin, gate) = (Origin::start(), Gate::closed());
    origin.set("/a", Reply::fresh("image"));
    origin.set("/b", Reply::fresh("image").header_held_by(&gate));
    let edge = Edge::before(&origin);
    let admin = edge.admin_url();
    let mut warm = command(&["warm", "-", "--concurrency", "1", "--admin", &admin]);
    warm.stdin(std::process::Stdio::piped());
    let mut child = warm.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}\n{}", url("/a"), url("/b")).unwrap();
    gate.wait_for_held(1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = eventually("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(FAILURE));
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let summary = text.lines().last().unwrap();
    assert!(
        summary.starts_with("1 URL (miss 1); ") && summary.contains("interrupted"),
        "{text}"
    );
    gate.open();
}

#[test]
fn ready_is_0_while_requests_are_wanted_and_1_afterwards() {
    let edge = Setup::of(&Origin::start()).edge("drain_delay", "20s").start();
    assert_eq!(edge.run(&["ready"]).expect(DONE).stdout, "ready\n");
    edge.ask_to_stop();
    eventually("it is not ready any more", || {
        let ran = edge.run(&["ready", "--json"]);
        (ran.code == FAILURE).then(|| assert_eq!(ran.json()["ready"], false))
    });
}

#[test]
fn shells_and_man_are_told_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = ran(command(&["completions", shell]), "").expect(DONE);
        assert!(
            ran.stdout.contains("warm") && ran.stdout.contains("key-file"),
            "{shell}"
        );
    }
    let page = ran(command(&["man"]), "").expect(DONE).stdout;
    assert!(page.contains("aquatint") && page.contains("64"), "{page}");
    let folder = tempfile::TempDir::new().unwrap();
    ran(command(&["man", "--to", folder.path().to_str().unwrap()]), "").expect(DONE);
    assert!(folder.path().join("aquatint-warm.1").exists());
    let help = ran(command(&["--help"]), "").expect(DONE).stdout;
    assert!(help.contains("Exit codes, of every command:"), "{help}");
}
