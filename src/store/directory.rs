//! The SSD tier's directory: whose it is, how it is divided, and that its space is there.
//!
//! ```text
//! lock        held by flock(2) while a process uses the directory
//! geometry    format version and sizes of what lies beside it
//! entries/    block files of entries
//! blobs/      block files of bodies
//! ```
//!
//! Invariants: two processes never share a directory; nothing is removed but block files, and those only where
//! a geometry file says that they are this tier's; those of another geometry or version are removed before any
//! is read; space is reserved before the first write, so that a full disk is found here. It does not know what
//! block files hold.

use super::codec;
use super::config::Config;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const BLOCK_BYTES_MIN: u64 = 32 << 20;
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// foyer keeps every block's file open: a tier has about so many, unless they would be too small.
const BLOCKS_WANTED: u64 = 256;

/// foyer evicts whole blocks: with fewer, each would take too much along.
const BLOCKS_MIN: u64 = 8;

const PAGE_BYTES: u64 = 4096;

/// What foyer 0.22.6 puts before the number of a block, of eight digits, in the name of its file.
const BLOCK_PREFIX: &str = "foyer-storage-direct-fs-";

/// How every version's geometry file begins.
const GEOMETRY_PREFIX: &str = "format: ";

/// Sizes of the tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) entries: Region,
    pub(super) blobs: Region,
}

/// Sizes of one of the two stores, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// A multiple of the block.
    pub(super) capacity: u64,
    pub(super) block: u64,
}

/// A directory that is this process's.
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

/// Bytes of blocks that held data when the directory was prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) entries: u64,
    pub(super) blobs: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error("{} is used by another process; nothing in it was touched", .directory.display())]
    Locked { directory: PathBuf },
    #[error("the filesystem of {} has {available} bytes for the {needed} that are to be reserved", .directory.display())]
    Full {
        directory: PathBuf,
        needed: u64,
        available: u64,
    },
    #[error("{} holds files, but no geometry file beside it says that they are this cache's; nothing in it was \
        touched: name another directory, or empty this one if nobody needs it", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} is no geometry file of this cache; nothing was touched: name another directory", .path.display())]
    ForeignGeometry { path: PathBuf },
    #[error("{} can not be used: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Geometry {
    pub(super) fn of(config: &Config) -> Self {
        Geometry {
            entries: Region::of(config.entry_ssd.bytes()),
            blobs: Region::of(config.ssd.bytes()),
        }
    }

    fn text(&self) -> String {
        let Geometry { entries, blobs } = self;
        format!(
            "{GEOMETRY_PREFIX}{}\nentries: {} bytes in blocks of {}\nblobs: {} bytes in blocks of {}\n",
            codec::VERSION,
            entries.capacity,
            entries.block,
            blobs.capacity,
            blobs.block,
        )
    }
}

impl Region {
    fn of(bytes: u64) -> Self {
        let most = (bytes / BLOCKS_MIN).max(PAGE_BYTES);
        let block = (bytes / BLOCKS_WANTED)
            .clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
            .min(most);
        let block = block - block % PAGE_BYTES;
        Region {
            capacity: bytes - bytes % block,
            block,
        }
    }

    pub(super) fn blocks(&self) -> u64 {
        self.capacity / self.block
    }
}

impl Directory {
    /// Creates the directory where it is missing, and takes it.
    pub(super) fn open(path: &Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(at(path))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory {
                path: path.into(),
                lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Locked {
                directory: path.into(),
            }),
            Err(TryLockError::Error(source)) => Err(at(&lock_path)(source)),
        }
    }

    pub(super) fn entries(&self) -> PathBuf {
        self.path.join("entries")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// Removes block files of another geometry and reserves all space. Blocking.
    pub(super) fn prepare(&self, geometry: &Geometry) -> Result<Prepared, DirectoryError> {
        let found = self.found()?;
        self.check_space(geometry)?;
        self.settle_geometry(&found, geometry)?;
        Ok(Prepared {
            entries: reserve(&self.entries(), geometry.entries)?,
            blobs: reserve(&self.blobs(), geometry.blobs)?,
        })
    }

    /// Gives the directory up, also while someone still holds this value.
    pub(super) fn unlock(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(directory = %self.path.display(), %error, "the lock goes only with the process");
        }
    }

    fn check_space(&self, geometry: &Geometry) -> Result<(), DirectoryError> {
        let wanted = geometry.entries.capacity.saturating_add(geometry.blobs.capacity);
        let reserved = [self.entries(), self.blobs()]
            .iter()
            .map(|path| reserved_bytes(path))
            .sum();
        let needed = wanted.saturating_sub(reserved);
        let space = statvfs(&self.path).map_err(|error| at(&self.path)(error.into()))?;
        let available = space.f_bavail.saturating_mul(space.f_frsize);
        if needed > available {
            let directory = self.path.clone();
            return Err(DirectoryError::Full {
                directory,
                needed,
                available,
            });
        }
        Ok(())
    }

    /// Whose block files lie here, if any.
    fn found(&self) -> Result<Found, DirectoryError> {
        let path = self.geometry_path();
        match fs::read_to_string(&path) {
            Ok(text) if text.starts_with(GEOMETRY_PREFIX) => Ok(Found::Ours(text)),
            Ok(_) => Err(DirectoryError::ForeignGeometry { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_empty(&self.entries())?;
                check_empty(&self.blobs())?;
                Ok(Found::Nothing)
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The geometry is written when no block file of another is left, never before.
    fn settle_geometry(&self, found: &Found, geometry: &Geometry) -> Result<(), DirectoryError> {
        let wanted = geometry.text();
        match found {
            Found::Ours(found) if *found == wanted => return Ok(()),
            Found::Ours(found) => {
                tracing::warn!(directory = %self.path.display(), %found, %wanted,
                    "the SSD tier's sizes or format changed: what it held is removed");
                remove_blocks(&self.entries())?;
                remove_blocks(&self.blobs())?;
            }
            Found::Nothing => {}
        }
        let next = self.path.join("geometry.next");
        write_synced(&next, &wanted).map_err(at(&next))?;
        let path = self.geometry_path();
        fs::rename(&next, &path).map_err(at(&path))
    }

    fn geometry_path(&self) -> PathBuf {
        self.path.join("geometry")
    }
}

/// What lies in a directory before it is prepared.
enum Found {
    Nothing,
    /// Block files of the geometry of this text.
    Ours(String),
}

fn check_empty(directory: &Path) -> Result<(), DirectoryError> {
    match fs::read_dir(directory) {
        Ok(mut files) => match files.next() {
            None => Ok(()),
            Some(_) => Err(DirectoryError::Foreign {
                path: directory.into(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(directory)(error)),
    }
}

/// Whatever else lies there is somebody else's and stays.
fn remove_blocks(directory: &Path) -> Result<(), DirectoryError> {
    for path in block_files(directory)? {
        fs::remove_file(&path).map_err(at(&path))?;
    }
    Ok(())
}

fn block_files(directory: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let files = match fs::read_dir(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory)(error)),
    };
    let mut blocks = Vec::new();
    for file in files {
        let file = file.map_err(at(directory))?;
        let kind = file.file_type().map_err(at(&file.path()))?;
        if kind.is_file() && file.file_name().to_str().is_some_and(is_block_name) {
            blocks.push(file.path());
        }
    }
    Ok(blocks)
}

fn is_block_name(name: &str) -> bool {
    let number = name.strip_prefix(BLOCK_PREFIX);
    number.is_some_and(|number| number.len() == 8 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// A power cut leaves the whole text or no file under its later name.
fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes every block file whole on disk; the bytes of blocks that hold data.
fn reserve(directory: &Path, region: Region) -> Result<u64, DirectoryError> {
    fs::create_dir_all(directory).map_err(at(directory))?;
    let mut made = Vec::new();
    let mut in_use = 0;
    for number in 0..region.blocks() {
        let path = block_path(directory, number);
        if !path.exists() {
            made.push(path.clone());
        }
        match reserve_block(&path, region.block) {
            Ok(Block::InUse) => in_use += region.block,
            Ok(Block::Clean) => {}
            Err(source) => {
                give_back(&made);
                return Err(at(&path)(source));
            }
        }
    }
    Ok(in_use)
}

enum Block {
    Clean,
    InUse,
}

fn reserve_block(path: &Path, bytes: u64) -> io::Result<Block> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // Some filesystems can not reserve: there, a full disk is found by the check of the tier's health.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(bytes)?,
        Err(error) => return Err(error.into()),
    }
    let mut first = [0; 8];
    file.read_exact(&mut first)?;
    // foyer starts a block in use with a checksum and a clean one with zeros.
    Ok(if first == [0; 8] {
        Block::Clean
    } else {
        Block::InUse
    })
}

/// What could not be reserved whole must not fill the disk for others.
fn give_back(made: &[PathBuf]) {
    for path in made {
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(file = %path.display(), %error, "a reserved file of the SSD tier stays behind");
        }
    }
}

fn block_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{BLOCK_PREFIX}{number:08}"))
}

fn reserved_bytes(directory: &Path) -> u64 {
    let files = block_files(directory).unwrap_or_default();
    files
        .iter()
        .filter_map(|path| path.metadata().ok())
        .map(|data| data.blocks() * 512)
        .sum()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_path_buf();
    move |source| DirectoryError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::ByteSize;

    fn geometry(mib: u64) -> Geometry {
        Geometry::of(&Config {
            ssd: ByteSize::mib(mib),
            entry_ssd: ByteSize::mib(32),
            ..Config::default()
        })
    }

    #[test]
    fn blocks_are_neither_too_few_nor_too_many_files() {
        for (bytes, block, blocks) in [
            (256 << 20, 32 << 20, 8),
            (1 << 30, 32 << 20, 32),
            (10 << 30, 40 << 20, 256),
            (1 << 40, 1 << 30, 1024),
        ] {
            let region = Region::of(bytes);
            assert_eq!((region.block, region.blocks()), (block, blocks), "{bytes}");
        }
    }

    #[test]
    fn all_space_is_reserved_before_anything_is_written() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let prepared = directory.prepare(&geometry(64)).unwrap();
        assert_eq!(prepared, Prepared::default());
        assert!(reserved_bytes(&directory.blobs()) >= 64 << 20);
        assert!(reserved_bytes(&directory.entries()) >= 32 << 20);
    }

    #[test]
    fn blocks_in_use_are_told_from_clean_ones() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        directory.prepare(&geometry(64)).unwrap();
        for number in 0..3 {
            let path = block_path(&directory.blobs(), number);
            let file = OpenOptions::new().write(true).open(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &[1], 0).unwrap();
        }
        let prepared = directory.prepare(&geometry(64)).unwrap();
        assert_eq!(
            prepared,
            Prepared {
                entries: 0,
                blobs: 3 * (8 << 20)
            }
        );
    }

    #[test]
    fn what_can_not_be_reserved_whole_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let region = Region {
            capacity: 8 << 20,
            block: 1 << 20,
        };
        fs::create_dir_all(block_path(place.path(), 5)).unwrap();
        assert!(reserve(place.path(), region).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_without_a_geometry_are_refused_and_left_alone() {
        for name in [
            "blobs/sha256",
            "entries/a",
            "blobs/foyer-storage-direct-fs-00000000",
        ] {
            let place = tempfile::tempdir().unwrap();
            let foreign = place.path().join(name);
            fs::create_dir_all(foreign.parent().unwrap()).unwrap();
            fs::write(&foreign, "another's").unwrap();
            let directory = Directory::open(place.path()).unwrap();
            let refused = directory.prepare(&geometry(64)).unwrap_err();
            assert!(matches!(refused, DirectoryError::Foreign { .. }), "{refused}");
            assert_eq!(fs::read_to_string(&foreign).unwrap(), "another's");
            assert!(!place.path().join("geometry").exists());
        }
    }

    #[test]
    fn a_geometry_file_of_somebody_else_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let foreign = place.path().join("geometry");
        fs::write(&foreign, "a teapot").unwrap();
        let directory = Directory::open(place.path()).unwrap();
        let refused = directory.prepare(&geometry(64)).unwrap_err();
        assert!(
            matches!(refused, DirectoryError::ForeignGeometry { .. }),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "a teapot");
    }

    #[test]
    fn another_geometry_removes_block_files_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        directory.prepare(&geometry(64)).unwrap();
        let block = block_path(&directory.blobs(), 0);
        fs::write(&block, vec![1; 8 << 20]).unwrap();
        let kept = [
            "notes",
            "foyer-storage-direct-fs-1",
            "foyer-storage-direct-fs-0000000x",
        ];
        for name in kept {
            fs::write(directory.blobs().join(name), "another's").unwrap();
        }
        assert_eq!(directory.prepare(&geometry(32)).unwrap(), Prepared::default());
        assert_eq!(fs::read(&block).unwrap(), vec![0; 4 << 20]);
        for name in kept {
            assert_eq!(
                fs::read_to_string(directory.blobs().join(name)).unwrap(),
                "another's"
            );
        }
    }

    #[test]
    fn a_directory_given_up_can_be_taken_while_its_value_lives() {
        let place = tempfile::tempdir().unwrap();
        let first = Directory::open(place.path()).unwrap();
        assert!(matches!(
            Directory::open(place.path()),
            Err(DirectoryError::Locked { .. })
        ));
        first.unlock();
        Directory::open(place.path()).unwrap();
    }
}
