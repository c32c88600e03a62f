//! Where the log lies: a directory, or memory.
//!
//! ```text
//! lock          held by flock(2) while a process uses the directory
//! log.redb      the log; whole from its first appearance on
//! log.redb.new  one that is being begun
//! mark          how far the log was agreed on
//! ```
//!
//! Invariants: two processes never share a directory; a log is begun only where there is none, so that a file that is cut
//! off, even to nothing, is never taken for a new one. It does not know what the database holds.

use super::LogError;
use super::mark::{self, Mark};
use super::store::{Check, Failure, Medium, begin, builder};
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

/// What is read at once.
const COPY_BYTES: usize = 1 << 20;

/// A log that ends with the process, and not before: it outlives a failure.
pub(super) struct Memory(SharedMemory);

/// A directory that is this process's.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
    mark: File,
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

    fn set_mark(&self, _mark: Mark) -> io::Result<()> {
        Ok(())
    }

    fn release(&self) {}
}

impl Directory {
    /// Creates the directory where it is missing, and takes it. Blocking.
    pub(super) fn take(path: &Path) -> Result<Self, LogError> {
        let unusable = |error: io::Error| LogError::Open {
            directory: path.into(),
            cause: error.to_string(),
        };
        let mut directory = DirBuilder::new();
        let made = directory.recursive(true).mode(DIRECTORY_MODE).create(path);
        made.map_err(unusable)?;
        let lock = own_file(&path.join("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory {
                path: path.into(),
                mark: own_file(&path.join("mark")).map_err(unusable)?,
                lock,
                was_opened: AtomicBool::new(false),
            }),
            Err(TryLockError::WouldBlock) => Err(LogError::Locked {
                directory: path.into(),
            }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
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

impl Medium for Directory {
    fn open(&self, check: Check<'_>) -> Result<Database, Failure> {
        match File::open(self.file()) {
            Ok(file) => {
                if self.was_opened.swap(true, Ordering::Relaxed) {
                    forget_cached(&file);
                }
                try_copy(&file, check)?;
                Ok(builder().open(self.file())?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(),
            Err(error) => Err(error.into()),
        }
    }

    fn mark(&self) -> Option<Mark> {
        let mut bytes = [0; mark::BYTES];
        self.mark.read_exact_at(&mut bytes, 0).ok()?;
        Mark::from_bytes(&bytes)
    }

    fn set_mark(&self, mark: Mark) -> io::Result<()> {
        self.mark.write_all_at(&mark.to_bytes(), 0)
    }

    fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(directory = %self.path.display(), %error, "the lock goes only with the process");
        }
    }
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
