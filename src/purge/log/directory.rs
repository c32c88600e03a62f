//! Where the log lies: a directory, or memory.
//!
//! ```text
//! lock          held by flock(2) while a process uses the directory
//! log.redb      the log; whole from its first appearance on
//! log.redb.new  one that is being begun
//! mark          how far the log was agreed on
//! lease         the longest lease that was ever granted on it
//! ```
//!
//! The witness, a second mark, lies with the cache and not here: who puts the whole directory back puts the mark back too.
//!
//! Invariants: two processes never share a directory, nor a witness; a log is begun only where there is none, so that a file
//! that is cut off, even to nothing, is never taken for a new one. It does not know what the database holds.

use super::mark::{self, Mark};
use super::store::{Check, Failure, Medium, begin, builder};
use super::{LogError, Place};
use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use rustix::fs::{Advice, fadvise};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is purged, and who ordered it, is nobody else's to read.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The name of the second mark, in the cache's directory.
const WITNESS: &str = "purges.mark";

/// What is read at once.
const COPY_BYTES: usize = 1 << 20;

/// A log that ends with the process, and not before: it outlives a failure.
pub(super) struct Memory(SharedMemory);

/// A directory that is this process's.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
    mark: File,
    witness: Option<File>,
    was_opened: AtomicBool,
}

#[derive(Clone, Debug)]
struct SharedMemory(Arc<InMemoryBackend>);

impl Memory {
    pub(super) fn new() -> Self {
        Memory(SharedMemory(Arc::new(InMemoryBackend::new())))
    }
}

impl StorageBackend for SharedMemory {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

impl Medium for Memory {
    fn open(&self, _check: Check<'_>) -> Result<Database, Failure> {
        Ok(builder().create_with_backend(self.0.clone())?)
    }

    fn mark(&self) -> Option<Mark> {
        None
    }

    fn witness(&self) -> Option<Mark> {
        None
    }

    fn set_mark(&self, _mark: Mark) -> io::Result<()> {
        Ok(())
    }

    fn release(&self) {}
}

impl Directory {
    /// Creates the directory where it is missing, and takes it. Blocking.
    pub(super) fn take(place: &Place) -> Result<Self, LogError> {
        let path = &place.directory;
        let in_log = |error| refusal(path, error);
        // Locked apart: two logs of one cache would each take the other's note for its own.
        Ok(Directory {
            path: path.clone(),
            lock: locked_file(path, "lock").map_err(in_log)?,
            mark: own_file(&path.join("mark"))
                .map_err(TryLockError::Error)
                .map_err(in_log)?,
            witness: place.witness.as_deref().map(witness_file).transpose()?,
            was_opened: AtomicBool::new(false),
        })
    }

    fn file(&self) -> PathBuf {
        self.path.join("log.redb")
    }

    /// A crash leaves the whole of it or nothing that would be taken for it.
    fn create(&self) -> Result<Database, Failure> {
        let new = self.path.join("log.redb.new");
        own_file(&new)?.set_len(0)?;
        let database = builder().create(&new)?;
        begin(&database)?;
        fs::rename(&new, self.file())?;
        File::open(&self.path)?.sync_all()?;
        Ok(database)
    }
}

/// The second mark, locked.
pub(in crate::purge) fn witness_file(cache: &Path) -> Result<File, LogError> {
    locked_file(cache, WITNESS).map_err(|error| refusal(cache, error))
}

fn refusal(directory: &Path, error: TryLockError) -> LogError {
    let directory = directory.to_owned();
    match error {
        TryLockError::WouldBlock => LogError::Locked { directory },
        TryLockError::Error(error) => LogError::Open {
            directory,
            cause: error.to_string(),
        },
    }
}

impl Medium for Directory {
    fn open(&self, check: Check<'_>) -> Result<Database, Failure> {
        match File::open(self.file()) {
            Ok(file) => {
                if self.was_opened.swap(true, Ordering::Relaxed) {
                    forget_cached(&file);
                }
                try_copy(&file, check)?;
                if let Some(witness) = &self.witness {
                    // Once for each start: what a process has noted outlives a power loss from the next one on.
                    witness.sync_data()?;
                }
                Ok(builder().open(self.file())?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(),
            Err(error) => Err(error.into()),
        }
    }

    fn mark(&self) -> Option<Mark> {
        read_mark(&self.mark)
    }

    fn witness(&self) -> Option<Mark> {
        read_mark(self.witness.as_ref()?)
    }

    fn set_mark(&self, mark: Mark) -> io::Result<()> {
        let bytes = mark.to_bytes();
        let marked = self.mark.write_all_at(&bytes, 0);
        let witnessed = self.witness.as_ref().map(|file| file.write_all_at(&bytes, 0));
        witnessed.unwrap_or(Ok(())).and(marked)
    }

    fn release(&self) {
        for file in [Some(&self.lock), self.witness.as_ref()].into_iter().flatten() {
            if let Err(error) = file.unlock() {
                tracing::warn!(directory = %self.path.display(), %error, "a lock goes only with the process");
            }
        }
    }
}

/// The file, which is created with its directory where it is missing, locked.
fn locked_file(directory: &Path, name: &str) -> Result<File, TryLockError> {
    let mut created = DirBuilder::new();
    let created = created.recursive(true).mode(DIRECTORY_MODE).create(directory);
    let file = created.and_then(|()| own_file(&directory.join(name)));
    let file = file.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

fn read_mark(file: &File) -> Option<Mark> {
    let mut bytes = [0; mark::BYTES];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Mark::from_bytes(&bytes)
}

fn own_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    options.mode(FILE_MODE).open(path)
}

/// Opens a copy in memory, every page of it verified. redb repairs what it opens, also where it then finds that it can not;
/// what is refused is to be left as it was. The log is small.
fn try_copy(mut file: &File, check: Check<'_>) -> Result<(), Failure> {
    let copy = InMemoryBackend::new();
    let mut chunk = vec![0; COPY_BYTES];
    let mut length = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => {
                copy.set_len(length + count as u64)?;
                copy.write(length, &chunk[..count])?;
                length += count as u64;
            }
        }
    }
    if length == 0 {
        return Err(Failure::Damaged("it is empty".to_owned()));
    }
    let mut builder = builder();
    builder.set_check_integrity_on_open(true);
    let opened = builder.create_with_backend(copy).map_err(Failure::from);
    opened
        .and_then(|database| check(&database))
        .map_err(|failure| match failure {
            // Memory does not fail: something points to where there is nothing.
            Failure::Io(text) => Failure::Damaged(text),
            failure => failure,
        })
}

/// After a failed fsync the kernel may hold pages that are not on the disk and count as clean: what is read next comes from
/// the disk. Only advice; where it is not taken, checksums find out after the next crash.
fn forget_cached(file: &File) {
    if let Err(error) = fadvise(file, 0, None, Advice::DontNeed) {
        tracing::debug!(%error, "pages of the log of purges stay cached");
    }
}
