//! The log's database: how it is opened, and that only one at a time works on it, off the async threads.
//!
//! Invariants: after the first failure nothing more is read or written here, so that nothing is built on what may not be on
//! disk; a panic of redb is a failure like others. It does not know raft.

use super::mark::Mark;
use super::types::StorageError;
use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageIOError};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::task::JoinError;
use uuid::Uuid;

/// redb's own, for reads and writes: what is read often is small.
const CACHE_BYTES: usize = 8 << 20;

/// Of everything that is written here; another is refused.
const FORMAT: u8 = 2;

/// What there is one of: see the constants of [`Key`].
pub(super) const SINGLES: TableDefinition<&str, &[u8]> = TableDefinition::new("singles");

/// Entries, by their place in the raft's log.
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");

/// The snapshot, in parts.
pub(super) const SNAPSHOT: TableDefinition<u32, &[u8]> = TableDefinition::new("snapshot");

/// The keys of [`SINGLES`].
pub(super) struct Key;

impl Key {
    const FORMAT: &'static str = "format";
    pub(super) const INCARNATION: &'static str = "incarnation";
    pub(super) const VOTE: &'static str = "vote";
    pub(super) const COMMITTED: &'static str = "committed";
    pub(super) const PURGED: &'static str = "purged";
    pub(super) const SNAPSHOT: &'static str = "snapshot";
}

/// Why the database is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the disk is full")]
    Full,
    #[error("{0}")]
    Io(String),
    /// It is not what this program has written.
    #[error("{0}")]
    Damaged(String),
    #[error("it is closed")]
    Closed,
}

/// A place for a database: a file, memory, or what a test makes of them.
pub(super) trait Medium: Send + Sync + 'static {
    /// Opens what is there, or begins anew where nothing ever was. Blocking.
    ///
    /// # Errors
    /// When it can not be told what is there, or `check` finds it wanting; then it is left alone.
    fn open(&self, check: Check<'_>) -> Result<Database, Failure>;

    /// What [`Medium::set_mark`] noted last beside the log, if that is known.
    fn mark(&self) -> Option<Mark>;

    /// What it noted last with the cache, whatever log was there at the time.
    fn witness(&self) -> Option<Mark>;

    /// Notes it in both places, so that it outlives the process. It need not outlive the machine. Blocking.
    ///
    /// # Errors
    /// When it is not noted; an earlier one still is.
    fn set_mark(&self, mark: Mark) -> io::Result<()>;

    /// Lets others have it, also while this value lives.
    fn release(&self);
}

/// Looks at a database that was there before.
pub(super) type Check<'a> = &'a dyn Fn(&Database) -> Result<(), Failure>;

pub(super) struct Store {
    medium: Arc<dyn Medium>,
    /// `None` once it is closed.
    database: Mutex<Option<Database>>,
    failure: OnceLock<Failure>,
    incarnation: [u8; 16],
    /// Bytes of entries that no snapshot holds, about.
    pending_bytes: AtomicU64,
}

impl Store {
    /// `check_whole` is handed the place of an entry that was agreed on and so has to be there, if one is known.
    pub(super) async fn open(
        medium: Arc<dyn Medium>,
        check_whole: fn(&Database, Option<u64>) -> Result<(), Failure>,
    ) -> Result<Arc<Self>, Failure> {
        blocking(move || {
            let (mark, witness) = (medium.mark(), medium.witness());
            let check = |database: &Database| match known(database)? {
                Some(incarnation) => {
                    let mark = mark.filter(|mark| mark.incarnation == incarnation);
                    let witness = testimony(witness, incarnation)?;
                    check_whole(database, mark.map(|mark| mark.index).max(witness))
                }
                None => Ok(()),
            };
            let database = medium.open(&check)?;
            let incarnation = begin(&database)?;
            let pending_bytes = entry_bytes(&database)?;
            Ok(Arc::new(Store {
                medium,
                database: Mutex::new(Some(database)),
                failure: OnceLock::new(),
                incarnation,
                pending_bytes: AtomicU64::new(pending_bytes),
            }))
        })
        .await
    }

    pub(super) fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    /// Notes that the entry at `index` is agreed on.
    pub(super) async fn mark(&self, index: u64) {
        let medium = self.medium.clone();
        let incarnation = self.incarnation;
        let marking = blocking(move || Ok(medium.set_mark(Mark { incarnation, index })?));
        if let Err(error) = marking.await {
            tracing::warn!(%error, "how far the log of purges goes is not noted: an older copy of it would pass for whole");
        }
    }

    /// The first failure, if there was one.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.get().cloned()
    }

    pub(super) fn count_pending(&self, bytes: u64) {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// A snapshot holds what was counted up to `bytes`, which is not more than what is counted now.
    pub(super) fn settle_pending(&self, bytes: u64) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Does `work` on the database, one at a time.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let store = self.clone();
        let working = blocking(move || {
            let database = store.database.lock();
            database.as_ref().ok_or(Failure::Closed).and_then(work)
        });
        working.await.map_err(|failure| match failure {
            Failure::Closed => failure,
            failure => self.failure.get_or_init(|| failure).clone(),
        })
    }

    /// Writes what was put off, and gives the file up. Nothing can be done here from then on.
    pub(super) async fn close(self: &Arc<Self>) -> Result<(), Failure> {
        let store = self.clone();
        blocking(move || {
            let database = store.database.lock().take();
            database.map_or(Ok(()), Database::close).map_err(Failure::from)
        })
        .await
    }
}

/// Does work that takes long or waits for a disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let working = tokio::task::spawn_blocking(work).await;
    working.unwrap_or_else(|panic| Err(panicked(panic)))
}

/// How redb is used everywhere here.
pub(super) fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Sees to it that a new database has what every one has, and that another is one of ours; its incarnation.
pub(super) fn begin(database: &Database) -> Result<[u8; 16], Failure> {
    if let Some(incarnation) = known(database)? {
        return Ok(incarnation);
    }
    let incarnation = *Uuid::now_v7().as_bytes();
    let write = database.begin_write().map_err(failed)?;
    {
        write.open_table(ENTRIES).map_err(failed)?;
        write.open_table(SNAPSHOT).map_err(failed)?;
        let mut singles = write.open_table(SINGLES).map_err(failed)?;
        singles.insert(Key::FORMAT, [FORMAT].as_slice()).map_err(failed)?;
        singles
            .insert(Key::INCARNATION, incarnation.as_slice())
            .map_err(failed)?;
    }
    write.commit().map_err(failed)?;
    Ok(incarnation)
}

/// What the witness says of the log of `incarnation`. One that the cache was used without lacks what was purged meanwhile.
fn testimony(witness: Option<Mark>, incarnation: [u8; 16]) -> Result<Option<u64>, Failure> {
    match witness {
        Some(witness) if witness.incarnation != incarnation => {
            let text = "the cache was used with another log since: this one lacks what was purged meanwhile";
            Err(Failure::Damaged(text.to_owned()))
        }
        witness => Ok(witness.map(|witness| witness.index)),
    }
}

/// `None`: nothing was ever written there.
fn known(database: &Database) -> Result<Option<[u8; 16]>, Failure> {
    let read = database.begin_read().map_err(failed)?;
    if read.list_tables().map_err(failed)?.next().is_none() {
        return Ok(None);
    }
    let singles = read.open_table(SINGLES).map_err(failed)?;
    let format = singles.get(Key::FORMAT).map_err(failed)?;
    match format.as_ref().map(redb::AccessGuard::value) {
        Some([FORMAT]) => {}
        other => {
            return Err(Failure::Damaged(format!(
                "its format is {other:?}, and {FORMAT} is known here"
            )));
        }
    }
    let incarnation = singles.get(Key::INCARNATION).map_err(failed)?;
    let bytes = incarnation.and_then(|bytes| bytes.value().try_into().ok());
    bytes
        .map(Some)
        .ok_or_else(|| Failure::Damaged("it does not say which log it is".to_owned()))
}

fn entry_bytes(database: &Database) -> Result<u64, Failure> {
    let read = database.begin_read().map_err(failed)?;
    let entries = read.open_table(ENTRIES).map_err(failed)?;
    Ok(entries.stats().map_err(failed)?.stored_bytes())
}

/// Any of redb's errors.
pub(super) fn failed(error: impl Into<redb::Error>) -> Failure {
    match error.into() {
        redb::Error::Io(error) => Failure::from(error),
        error @ (redb::Error::PreviousIo | redb::Error::DatabaseAlreadyOpen) => {
            Failure::Io(error.to_string())
        }
        error => Failure::Damaged(error.to_string()),
    }
}

/// redb's panics tell of damage that it did not expect.
fn panicked(error: JoinError) -> Failure {
    let text = match error.try_into_panic() {
        Ok(panic) => panic_text(&*panic),
        Err(error) => error.to_string(),
    };
    Failure::Damaged(text)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "redb panicked".to_owned())
}

impl From<redb::DatabaseError> for Failure {
    fn from(error: redb::DatabaseError) -> Self {
        failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
            // What redb says of a file that is not one of its own.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Failure::Damaged(error.to_string()),
            _ => Failure::Io(error.to_string()),
        }
    }
}

impl From<postcard::Error> for Failure {
    fn from(error: postcard::Error) -> Self {
        Failure::Damaged(error.to_string())
    }
}

impl From<Failure> for StorageError {
    fn from(failure: Failure) -> Self {
        StorageIOError::new(ErrorSubject::Store, ErrorVerb::Write, AnyError::new(&failure)).into()
    }
}
