//! A disk for tests: it knows what was synced, fills up, fails, and loses power at a given sync.

use super::mark::Mark;
use super::store::{Check, Failure, Medium, begin, builder};
use parking_lot::Mutex;
use redb::{Database, StorageBackend};
use std::io;
use std::sync::Arc;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A cheap handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// As the process sees it.
    now: Vec<u8>,
    /// As it was synced last, and what has been done since.
    synced: Vec<u8>,
    since: Vec<Change>,
    /// Where the log stood whole for the first time: it has its name from then on.
    is_named: bool,
    mark: Option<Mark>,
    syncs: u64,
    mood: Mood,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    /// At most a sector.
    Bytes(usize, Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mood {
    #[default]
    Well,
    /// Nothing can be written.
    Full,
    /// Syncs fail.
    Failing,
    /// It loses power in the sync of this number, from 1 on, and nothing gets through any more.
    PowerLossAt(u64),
    /// It has no power.
    Off,
}

/// What a power loss leaves of the changes that were not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    None,
    All,
    /// Each sector or not, by this seed.
    Some(u64),
}

impl Disk {
    pub(super) fn set(&self, mood: Mood) {
        self.0.lock().mood = mood;
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.lock().mood == Mood::Off
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// The disk that is found when the power is back.
    pub(super) fn after_power_loss(&self, left: Left) -> Disk {
        let inner = self.0.lock();
        if !inner.is_named {
            return Disk::default();
        }
        let mut image = inner.synced.clone();
        let mut chance = match left {
            Left::Some(seed) => Chance(seed),
            Left::None | Left::All => Chance(0),
        };
        for change in &inner.since {
            let stays = match left {
                Left::None => false,
                Left::All => true,
                Left::Some(_) => chance.next().is_multiple_of(2),
            };
            if stays {
                change.make(&mut image);
            }
        }
        Disk(Arc::new(Mutex::new(Inner {
            now: image.clone(),
            synced: image,
            is_named: true,
            mark: inner.mark,
            ..Inner::default()
        })))
    }
}

impl Change {
    fn make(&self, image: &mut Vec<u8>) {
        match self {
            Change::Length(length) => image.resize(*length, 0),
            Change::Bytes(at, bytes) => {
                let end = at + bytes.len();
                image.resize(image.len().max(end), 0);
                image[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Inner {
    fn change(&mut self, change: Change) -> io::Result<()> {
        match self.mood {
            Mood::Full => return Err(io::ErrorKind::StorageFull.into()),
            Mood::Off => return Err(io::Error::other("no power")),
            Mood::Well | Mood::Failing | Mood::PowerLossAt(_) => {}
        }
        change.make(&mut self.now);
        self.since.push(change);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        match self.mood {
            Mood::Failing => return Err(io::Error::other("the disk does not answer")),
            Mood::Off => return Err(io::Error::other("no power")),
            Mood::PowerLossAt(at) if at == self.syncs => {
                self.mood = Mood::Off;
                return Err(io::Error::other("no power"));
            }
            Mood::Well | Mood::Full | Mood::PowerLossAt(_) => {}
        }
        self.since.clear();
        self.synced.clone_from(&self.now);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.0.lock();
        let found = inner.now.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.lock().change(Change::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.0.lock();
        for (number, sector) in data.chunks(SECTOR).enumerate() {
            inner.change(Change::Bytes(offset as usize + number * SECTOR, sector.to_vec()))?;
        }
        Ok(())
    }
}

impl Medium for Disk {
    fn open(&self, check: Check<'_>) -> Result<Database, Failure> {
        if self.is_off() {
            return Err(Failure::Io("no power".to_owned()));
        }
        let database = builder().create_with_backend(self.clone())?;
        check(&database)?;
        begin(&database)?;
        self.0.lock().is_named = true;
        Ok(database)
    }

    fn mark(&self) -> Option<Mark> {
        self.0.lock().mark
    }

    fn witness(&self) -> Option<Mark> {
        None
    }

    fn set_mark(&self, mark: Mark) -> io::Result<()> {
        let mut inner = self.0.lock();
        if inner.mood == Mood::Off {
            return Err(io::Error::other("no power"));
        }
        inner.mark = Some(mark);
        Ok(())
    }

    fn release(&self) {}
}

/// Chance that can be had again from its seed (splitmix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
