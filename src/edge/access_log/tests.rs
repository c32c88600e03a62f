//! The log as a whole: from what threads record to what is written, followed and counted.

use super::config::{AccessLog as Config, Format};
use super::line::tests::line;
use super::*;
use crate::base::units::ByteSize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const PATIENCE: Duration = Duration::from_secs(30);

fn to(path: &Path) -> Config {
    Config {
        to: path.display().to_string(),
        ..Config::default()
    }
}

fn opened(config: &Config) -> (AccessLog, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (AccessLog::open(config, metrics.clone()).unwrap(), metrics)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

async fn logged(config: impl FnOnce(&mut Config), targets: &[&[u8]]) -> (String, u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut written = to(file.path());
    config(&mut written);
    let (log, metrics) = opened(&written);
    targets.iter().for_each(|target| log.record(&line(target)));
    log.close(PATIENCE).await;
    (read(file.path()), metrics.access_log_drops.get())
}

#[tokio::test]
async fn what_is_recorded_is_written_in_the_format_that_is_asked_for() {
    let targets: [&[u8]; 2] = [b"/a.jpg?w=300&token=s3cret", b"/b.jpg"];
    let (json, _) = logged(|_| {}, &targets).await;
    assert_eq!(json.lines().count(), 2);
    assert!(json.contains("\"query\":\"w=300&token=*\""), "{json}");
    let (text, _) = logged(|config| config.format = Format::Text, &targets).await;
    assert!(
        text.contains("\"GET /a.jpg?w=300&token=* HTTP/1.1\" 200"),
        "{text}"
    );
}

#[tokio::test]
async fn a_log_that_is_full_counts_what_it_loses() {
    let long = vec![b'a'; 4096];
    let targets: Vec<&[u8]> = (0..100_000).map(|_| long.as_slice()).collect();
    let (text, lost) = logged(|config| config.buffer = ByteSize::kib(64), &targets).await;
    assert!(lost > 0);
    assert_eq!(text.lines().count() as u64 + lost, 100_000);
}

#[tokio::test]
async fn lines_that_can_not_be_written_are_counted() {
    let (log, metrics) = opened(&to("/dev/full".as_ref()));
    (0..7).for_each(|_| log.record(&line(b"/a.jpg")));
    log.close(PATIENCE).await;
    assert_eq!(metrics.access_log_drops.get(), 7);
}

#[tokio::test]
async fn lines_after_the_close_are_counted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (log, metrics) = opened(&to(file.path()));
    log.record(&line(b"/a.jpg"));
    log.close(PATIENCE).await;
    log.record(&line(b"/b.jpg"));
    assert_eq!(read(file.path()).lines().count(), 1);
    assert_eq!(metrics.access_log_drops.get(), 1);
}

#[tokio::test]
async fn of_a_share_the_failures_are_written_all_the_same() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (log, metrics) = opened(&Config {
        sample: 0.25,
        ..to(file.path())
    });
    for number in 0..4000 {
        let status = if number % 100 == 0 { 502 } else { 200 };
        log.record(&Line {
            status,
            ..line(b"/a.jpg")
        });
    }
    log.close(PATIENCE).await;
    let text = read(file.path());
    assert_eq!(text.matches("\"status\":502").count(), 40);
    let others = text.matches("\"status\":200").count();
    assert!((700..1300).contains(&others), "{others}");
    assert_eq!(metrics.access_log_drops.get(), 0);
}

/// Renamed and reopened again and again while threads log: each line stands whole in one of the files.
#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_torn_when_the_file_is_reopened_under_load() {
    const THREADS: usize = 4;
    const TURNS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = to(&path);
    let (log, metrics) = opened(&config);
    let (log, stop) = (Arc::new(log), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (log, stop) = (log.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut recorded = 0;
                while !stop.load(Ordering::Relaxed) {
                    log.record(&line(format!("/{thread}/{recorded}").as_bytes()));
                    recorded += 1;
                    std::thread::sleep(Duration::from_micros(50));
                }
                recorded
            })
        })
        .collect();
    let is_growing = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    for turn in 0..TURNS {
        let growing = async {
            while !is_growing(&path) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, growing).await.expect("lines are written");
        std::fs::rename(&path, folder.path().join(format!("access.log.{turn}"))).unwrap();
        log.reopen(&config).unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let recorded: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    log.close(PATIENCE).await;
    let mut found: Vec<String> = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        for line in read(&file.unwrap().path()).lines() {
            let object: serde_json::Value = serde_json::from_str(line).expect("a whole line");
            found.push(object["path"].as_str().unwrap().to_owned());
        }
    }
    let mut expected: Vec<String> = Vec::new();
    for (thread, recorded) in recorded.into_iter().enumerate() {
        expected.extend((0..recorded).map(|number| format!("/{thread}/{number}")));
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(metrics.access_log_drops.get(), 0);
}

#[tokio::test]
async fn a_file_that_can_not_be_opened_leaves_the_old_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (log, _) = opened(&to(file.path()));
    assert!(log.reopen(&to("/nowhere/access.log".as_ref())).is_err());
    log.record(&line(b"/a.jpg"));
    log.close(PATIENCE).await;
    assert_eq!(read(file.path()).lines().count(), 1);
}

#[tokio::test]
async fn a_log_that_was_off_can_be_turned_on_and_off_again() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let off = Config {
        to: "off".into(),
        top_entries: 0,
        ..Config::default()
    };
    let (log, _) = opened(&off);
    assert!(!log.is_wanted());
    log.reopen(&to(file.path())).unwrap();
    assert!(log.is_wanted());
    let mut follower = log.follow(Filter::default()).unwrap();
    log.record(&line(b"/a.jpg"));
    // It was written once it was followed: both happen in one turn of the writer.
    assert!(follower.next().await.is_some());
    drop(follower);
    log.reopen(&off).unwrap();
    assert!(!log.is_wanted());
    log.close(PATIENCE).await;
    assert_eq!(read(file.path()).lines().count(), 1);
}

#[tokio::test]
async fn the_live_log_is_there_though_nothing_is_written() {
    let (log, metrics) = opened(&Config {
        to: "off".into(),
        top_entries: 0,
        followers_max: 1,
        ..Config::default()
    });
    let mut follower = log.follow(Filter::parse([("path", "/b")]).unwrap()).unwrap();
    assert!(log.follow(Filter::default()).is_none());
    assert!(log.is_wanted());
    log.record(&line(b"/a.jpg"));
    log.record(&line(b"/b.jpg?token=s3cret"));
    let seen = String::from_utf8(follower.next().await.unwrap().to_vec()).unwrap();
    assert!(
        seen.contains("/b.jpg") && !seen.contains("/a.jpg") && !seen.contains("s3cret"),
        "{seen}"
    );
    drop(follower);
    assert!(!log.is_wanted());
    let mut next = log.follow(Filter::default()).unwrap();
    log.close(PATIENCE).await;
    assert!(next.next().await.is_none());
    assert_eq!(metrics.access_log_drops.get(), 0);
}

#[tokio::test]
async fn what_is_busiest_is_counted_though_nothing_is_written() {
    let (log, _) = opened(&Config {
        to: "off".into(),
        ..Config::default()
    });
    for target in ["/a.jpg?token=s3cret", "/a.jpg", "/b.jpg"] {
        log.record(&line(target.as_bytes()));
    }
    log.close(PATIENCE).await;
    let top = log.top(TopBy::Paths, 10);
    let counts = [("shop.example/a.jpg", 2), ("shop.example/b.jpg", 1)];
    let found: Vec<_> = top
        .entries
        .iter()
        .map(|entry| (&*entry.name, entry.count))
        .collect();
    assert_eq!(found, counts);
    let json = serde_json::to_value(&top).unwrap();
    assert_eq!((&json["by"], &json["total"]), (&"path".into(), &3.into()));
}
