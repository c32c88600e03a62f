//! The longest lease that was granted on a log, noted beside it, for the process that keeps it next.
//!
//! Invariant: it is on disk before a lease of that length is granted. A log without it has granted none, as far as its directory
//! tells. It does not know who holds leases.

use super::{LogError, Place};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(in crate::purge) struct LeaseNote(PathBuf);

impl LeaseNote {
    pub(in crate::purge) fn beside(place: &Place) -> Self {
        LeaseNote(place.directory.join("lease"))
    }

    /// Blocking.
    pub(in crate::purge) fn read(&self) -> Result<Option<Duration>, LogError> {
        match fs::read_to_string(&self.0) {
            Ok(text) => match text.trim().parse() {
                Ok(millis) => Ok(Some(Duration::from_millis(millis))),
                Err(error) => Err(self.refusal(&error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    /// On disk when it returns. Blocking.
    pub(in crate::purge) fn write(&self, lease: Duration) -> Result<(), LogError> {
        self.try_write(lease).map_err(|error| self.refusal(&error))
    }

    fn try_write(&self, lease: Duration) -> io::Result<()> {
        let new = self.0.with_extension("new");
        let mut file = File::create(&new)?;
        writeln!(file, "{}", lease.as_nanos().div_ceil(1_000_000))?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        File::open(self.directory())?.sync_all()
    }

    /// No lease of an earlier process is held any more, and none is granted here. Blocking.
    pub(in crate::purge) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "the next start waits for leases that nobody holds");
        }
    }

    fn directory(&self) -> &Path {
        self.0.parent().unwrap_or(Path::new("."))
    }

    fn refusal(&self, cause: &dyn std::error::Error) -> LogError {
        LogError::Open {
            directory: self.directory().to_owned(),
            cause: format!("which leases were granted on it is not known: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_is_known_to_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let note = LeaseNote(directory.path().join("lease"));
        assert_eq!(note.read().unwrap(), None);
        note.write(Duration::from_micros(1500)).unwrap();
        assert_eq!(note.read().unwrap(), Some(Duration::from_millis(2)));
        note.remove();
        assert_eq!(note.read().unwrap(), None);
        fs::write(&note.0, "soon").unwrap();
        assert!(note.read().is_err());
    }
}
