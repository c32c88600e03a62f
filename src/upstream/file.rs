//! The body of a directory origin's response: a stretch of one open file.
//!
//! Invariant: exactly the bytes promised when the file was opened, or an error; a file that shrinks meanwhile yields
//! [`OriginError::Truncated`]. Reads happen on the blocking pool.

use super::deadline::Deadlines;
use super::error::{OriginError, Stage};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Large enough that going to the blocking pool and back does not show.
const CHUNK_BYTES: u64 = 256 << 10;

pub(super) struct FileBody {
    file: Arc<File>,
    start: u64,
    length: u64,
    sent: u64,
    deadlines: Deadlines,
}

/// The bytes of a file that a response promises.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) start: u64,
    pub(super) length: u64,
}

impl FileBody {
    pub(super) fn new(file: File, stretch: Stretch, deadlines: Deadlines) -> Self {
        let Stretch { start, length } = stretch;
        FileBody {
            file: Arc::new(file),
            start,
            length,
            sent: 0,
            deadlines,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let wanted = (self.length - self.sent).min(CHUNK_BYTES);
        if wanted == 0 {
            return Ok(None);
        }
        let (file, offset) = (self.file.clone(), self.start + self.sent);
        let bytes = off_the_runtime(&mut self.deadlines, Stage::Read, move || {
            read_at(&file, offset, wanted as usize)
        })
        .await?;
        if bytes.is_empty() {
            return Err(OriginError::Truncated {
                expected: Some(self.length),
                received: self.sent,
            });
        }
        self.sent += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Runs file work on the blocking pool for as long as `stage` may take; a hung disk is left behind there.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    deadlines: &mut Deadlines,
    stage: Stage,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, OriginError> {
    let done = deadlines.within(stage, tokio::task::spawn_blocking(work)).await?;
    done.unwrap_or_else(|gone| Err(io::Error::other(gone)))
        .map_err(|error| OriginError::file(&error))
}

/// Up to `wanted` bytes at `offset`; fewer only at the file's end.
fn read_at(file: &File, offset: u64, wanted: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}
