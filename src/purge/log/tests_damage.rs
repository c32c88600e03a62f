//! Files that are not what was written: found whole, or refused and left alone.

use super::store::{ENTRIES, builder};
use super::tests::Opened;
use super::tests_disk::Chance;
use super::*;
use crate::purge::config::Config;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// redb's header and its two commit slots.
const HEADER_BYTES: usize = 320;

const PURGES: usize = 30;

/// What lay in a log's directory at one moment, and what had been acknowledged by then.
struct Image {
    log: Vec<u8>,
    mark: Vec<u8>,
    settled: Vec<Settled>,
}

impl Image {
    fn of(directory: &Path, settled: &[Settled]) -> Self {
        Image {
            log: fs::read(directory.join("log.redb")).unwrap(),
            mark: fs::read(directory.join("mark")).unwrap(),
            settled: settled.to_vec(),
        }
    }

    /// Of a process that was killed, and of one that ended in order.
    async fn both() -> [Image; 2] {
        let place = tempfile::tempdir().unwrap();
        let config = Config {
            snapshot_entries: 8,
            ..Config::default()
        };
        let opened = Opened::try_at(Some(place.path()), &config).await.unwrap();
        let mut settled = Vec::new();
        for number in 0..PURGES {
            settled.push(opened.purge(&format!("/{number}")).await);
        }
        let killed = Image::of(place.path(), &settled);
        opened.log.close().await;
        [killed, Image::of(place.path(), &settled)]
    }

    fn place(&self, log: &[u8]) -> (TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("log.redb");
        fs::write(&file, log).unwrap();
        fs::write(place.path().join("mark"), &self.mark).unwrap();
        (place, file)
    }

    /// Opens `log` in its place: whether it was found whole.
    async fn is_whole_or_refused(&self, log: &[u8], what: &str) -> bool {
        let (place, file) = self.place(log);
        match Opened::try_at(Some(place.path()), &Config::default()).await {
            Ok(opened) => {
                for (number, settled) in self.settled.iter().enumerate() {
                    assert_eq!(opened.log.settled(&settled.id), Some(*settled), "{what}");
                    assert_eq!(opened.highest(&format!("/{number}")), settled.index, "{what}");
                }
                opened.log.close().await;
                true
            }
            Err(error) => {
                assert!(matches!(error, LogError::Open { .. }), "{what}: {error}");
                assert!(
                    error.to_string().contains("move the whole directory away"),
                    "{what}: {error}"
                );
                assert!(
                    fs::read(&file).unwrap() == log,
                    "{what}: it was changed, and refused with {error}"
                );
                false
            }
        }
    }
}

#[tokio::test]
async fn a_torn_log_is_whole_or_refused_and_left_alone() {
    for image in Image::both().await {
        let whole = image.log.len();
        assert!(image.is_whole_or_refused(&image.log, "as it was").await);
        let header = [0, 1, 8, 9, 10, 63, 64, 100, 191, 192, 319, 320, 511, 512];
        let pages = (1..=whole / 4096)
            .step_by(3)
            .flat_map(|page| [page * 4096 - 1, page * 4096]);
        for length in header.into_iter().chain(pages).filter(|length| *length < whole) {
            let what = format!("{length} bytes of {whole}");
            image.is_whole_or_refused(&image.log[..length], &what).await;
        }
        let mut longer = image.log.clone();
        longer.resize(whole + 5000, 0);
        image.is_whole_or_refused(&longer, "with more behind it").await;
    }
}

#[tokio::test]
async fn a_log_with_flipped_bits_is_whole_or_refused_and_left_alone() {
    let seed = 5;
    let mut chance = Chance(seed);
    for image in Image::both().await {
        let anywhere = (0..40).map(|_| chance.next() as usize % image.log.len());
        let positions: Vec<usize> = (0..64)
            .chain((64..HEADER_BYTES).step_by(5))
            .chain(anywhere)
            .collect();
        for at in positions {
            let mut log = image.log.clone();
            log[at] ^= 1 << (chance.next() % 8);
            let what = format!(
                "byte {at} is {:02x} and not {:02x}, seed {seed}",
                log[at], image.log[at]
            );
            image.is_whole_or_refused(&log, &what).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_log_is_refused_and_left_alone() {
    let [_, image] = Image::both().await;
    assert!(!image.is_whole_or_refused(b"", "nothing").await);
    assert!(!image.is_whole_or_refused(b"a teapot", "a teapot").await);
    assert!(!image.is_whole_or_refused(&[0; 100_000], "zeros").await);
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("log.redb");
    let first = Opened::at(Some(place.path())).await;
    first.purge("/a").await;
    first.log.close().await;
    let older = fs::read(&file).unwrap();
    let second = Opened::at(Some(place.path())).await;
    second.purge("/b").await;
    second.log.close().await;
    fs::write(&file, &older).unwrap();
    let refused = Opened::try_at(Some(place.path()), &Config::default()).await;
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("older copy"), "{error}");
    assert!(!error.contains("restore"), "{error}");
    assert!(fs::read(&file).unwrap() == older);
}

/// A cache, its log elsewhere, and what was noted of the log with the cache.
struct Cache(TempDir);

impl Cache {
    fn new() -> Self {
        Cache(tempfile::tempdir().unwrap())
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    async fn try_open(&self) -> Result<Opened, LogError> {
        let place = Place {
            directory: self.log(),
            witness: Some(self.0.path().join("cache")),
        };
        Opened::try_in(Some(place), &Config::default()).await
    }

    /// Closes the log again.
    async fn purge(&self, paths: &[&str]) {
        let opened = self.try_open().await.unwrap();
        for path in paths {
            opened.purge(path).await;
        }
        opened.log.close().await;
    }

    /// Moves the log to another place, or back.
    fn move_log(&self, from: &str, to: &str) {
        fs::rename(self.0.path().join(from), self.0.path().join(to)).unwrap();
    }

    fn copy_log(&self) {
        let copy = self.0.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for name in ["log.redb", "mark", "lock"] {
            fs::copy(self.log().join(name), copy.join(name)).unwrap();
        }
    }

    async fn refusal(&self) -> String {
        let refused = self.try_open().await.err().unwrap().to_string();
        assert!(refused.contains("move the whole directory away"), "{refused}");
        refused
    }
}

#[tokio::test]
async fn an_older_copy_of_the_whole_directory_is_refused_until_a_log_begins_anew() {
    let cache = Cache::new();
    cache.purge(&["/a"]).await;
    cache.copy_log();
    cache.purge(&["/b"]).await;
    cache.move_log("log", "whole");
    cache.move_log("copy", "log");
    assert!(cache.refusal().await.contains("older copy"));
    fs::remove_dir_all(cache.log()).unwrap();
    cache.purge(&["/c"]).await;
    cache.purge(&[]).await;
}

#[tokio::test]
async fn a_log_that_is_put_back_after_another_has_begun_is_refused() {
    let cache = Cache::new();
    cache.purge(&["/a"]).await;
    cache.move_log("log", "first");
    cache.purge(&["/b"]).await;
    cache.move_log("log", "second");
    cache.move_log("first", "log");
    assert!(cache.refusal().await.contains("used with another log"));
    cache.move_log("log", "first");
    cache.move_log("second", "log");
    cache.purge(&["/c"]).await;
}

#[tokio::test]
async fn two_logs_do_not_share_a_cache() {
    let cache = Cache::new();
    let opened = cache.try_open().await.unwrap();
    let place = Place {
        directory: cache.0.path().join("other"),
        witness: Some(cache.0.path().join("cache")),
    };
    let other = Opened::try_in(Some(place), &Config::default()).await;
    assert!(matches!(other.err().unwrap(), LogError::Locked { .. }));
    opened.log.close().await;
    cache.purge(&["/a"]).await;
}

#[tokio::test]
async fn a_log_that_lacks_an_entry_is_refused() {
    for missing in [0, 2] {
        let place = tempfile::tempdir().unwrap();
        let opened = Opened::at(Some(place.path())).await;
        opened.purge("/a").await;
        opened.purge("/b").await;
        opened.log.close().await;
        let database = builder().open(place.path().join("log.redb")).unwrap();
        let write = database.begin_write().unwrap();
        write
            .open_table(ENTRIES)
            .unwrap()
            .remove(missing)
            .unwrap()
            .unwrap();
        write.commit().unwrap();
        drop(database);
        let refused = Opened::try_at(Some(place.path()), &Config::default()).await;
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("lacks others"), "{missing}: {error}");
    }
}

#[tokio::test]
async fn a_log_that_was_moved_away_begins_another_life() {
    let place = tempfile::tempdir().unwrap();
    let before = Opened::at(Some(place.path())).await;
    before.purge("/a").await;
    before.log.close().await;
    fs::remove_file(place.path().join("log.redb")).unwrap();
    let after = Opened::at(Some(place.path())).await;
    assert_ne!(after.log.incarnation(), before.log.incarnation());
    after.purge("/b").await;
    after.log.close().await;
}

#[tokio::test]
async fn what_a_crash_left_of_a_beginning_is_no_log() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("log.redb.new"), "half of one").unwrap();
    let opened = Opened::at(Some(place.path())).await;
    opened.purge("/a").await;
    opened.log.close().await;
    assert!(!place.path().join("log.redb.new").exists());
}

#[tokio::test]
async fn a_directory_belongs_to_one_process_at_a_time_and_to_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("purges");
    let first = Opened::at(Some(&directory)).await;
    let second = Opened::try_at(Some(&directory), &Config::default()).await;
    assert!(matches!(second.err().unwrap(), LogError::Locked { .. }));
    first.purge("/a").await;
    first.log.close().await;
    Opened::at(Some(&directory)).await.log.close().await;
    let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["", "log.redb", "mark"].map(mode), [0o700, 0o600, 0o600]);
}

#[tokio::test]
async fn a_log_that_nobody_closed_is_given_up_all_the_same() {
    let place = tempfile::tempdir().unwrap();
    drop(Opened::at(Some(place.path())).await);
    let again = async {
        loop {
            match Opened::try_at(Some(place.path()), &Config::default()).await {
                Ok(opened) => return opened,
                Err(LogError::Locked { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let again = tokio::time::timeout(std::time::Duration::from_secs(30), again).await;
    again.unwrap().log.close().await;
}
