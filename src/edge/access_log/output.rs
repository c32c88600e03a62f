//! Where lines are written to: a file, the standard output, or nowhere.
//!
//! Invariant: a line is written whole or counted as lost, and after one that was torn the next begins on a line of its own.
//! It does not know what is in a line.

use super::config::{AccessLog, Format, ShownQuery};
use crate::base::metrics::Metrics;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What is to be written, how, and to where that is open already.
pub(crate) struct Plan {
    pub(super) to: Option<File>,
    pub(super) format: Format,
    pub(super) query: ShownQuery,
    /// From 0 to 1.
    pub(super) sample: f64,
    pub(super) config: AccessLog,
}

impl Plan {
    /// Opens what is written to.
    ///
    /// # Errors
    /// When the file can not be opened for appending.
    pub(crate) fn new(config: &AccessLog) -> io::Result<Plan> {
        Ok(Plan {
            to: open(&config.to)?,
            format: config.format,
            query: config.query,
            sample: config.sample,
            config: config.clone(),
        })
    }
}

fn open(to: &str) -> io::Result<Option<File>> {
    Ok(Some(match to {
        "off" => return Ok(None),
        // Not through the library's own buffer and lock: a reader that stands still would hold them for ever.
        "stdout" => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        path => OpenOptions::new().create(true).append(true).open(path)?,
    }))
}

/// Writes whole lines, and counts those that can not be.
pub(super) struct Output<W> {
    to: W,
    metrics: Arc<Metrics>,
    health: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// The last write failed, at the end of a line.
    Failed,
    /// It failed within a line.
    Torn,
}

/// Lines that could not be written, and why.
struct Lost {
    lines: u64,
    health: Health,
    error: io::Error,
}

impl<W: Write> Output<W> {
    pub(super) fn new(to: W, metrics: Arc<Metrics>) -> Self {
        Output {
            to,
            metrics,
            health: Health::Well,
        }
    }

    pub(super) fn write(&mut self, lines: &[u8]) {
        let written = match self.health {
            Health::Torn => write_all(&mut self.to, b"\n", lines),
            Health::Well | Health::Failed => write_all(&mut self.to, b"", lines),
        };
        let Err(Lost { lines, health, error }) = written else {
            self.health = Health::Well;
            return;
        };
        self.metrics.access_log_drops.inc_by(lines);
        if self.health == Health::Well {
            tracing::error!(%error, "the access log can not be written; its lines are lost");
        }
        self.health = health;
    }
}

/// Writes `before`, the end of what was torn, then `lines`.
fn write_all(to: &mut impl Write, before: &[u8], lines: &[u8]) -> Result<(), Lost> {
    let lost = |left: &[u8], health, error| {
        let lines = left.iter().filter(|byte| **byte == b'\n').count() as u64;
        Err(Lost { lines, health, error })
    };
    if let (_, Err(error)) = write_some(to, before) {
        return lost(lines, Health::Torn, error);
    }
    let (left, written) = write_some(to, lines);
    let Err(error) = written else { return Ok(()) };
    let at_an_end = lines[..lines.len() - left.len()]
        .last()
        .is_none_or(|byte| *byte == b'\n');
    let health = if at_an_end { Health::Failed } else { Health::Torn };
    lost(left, health, error)
}

/// What is left, and why.
fn write_some<'a>(to: &mut impl Write, mut left: &'a [u8]) -> (&'a [u8], io::Result<()>) {
    while !left.is_empty() {
        match to.write(left) {
            Ok(0) => return (left, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (left, Err(error)),
        }
    }
    (left, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and then fails, until it is given more room.
    #[derive(Default)]
    struct Paper {
        written: Vec<u8>,
        room: usize,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_written_before_a_failure_is_not_lost_and_what_follows_is_a_line_of_its_own() {
        let metrics = Arc::new(Metrics::new());
        let mut output = Output::new(Paper::default(), metrics.clone());
        output.to.room = 5;
        output.write(b"a\nb\ncde\nf\n");
        assert_eq!(metrics.access_log_drops.get(), 2);
        output.write(b"g\n");
        assert_eq!(metrics.access_log_drops.get(), 3);
        output.to.room = 100;
        output.write(b"h\n");
        output.write(b"i\n");
        assert_eq!(String::from_utf8_lossy(&output.to.written), "a\nb\nc\nh\ni\n");
        assert_eq!(metrics.access_log_drops.get(), 3);
    }

    #[test]
    fn a_failure_between_lines_tears_none() {
        let metrics = Arc::new(Metrics::new());
        let mut output = Output::new(Paper::default(), metrics.clone());
        output.to.room = 2;
        output.write(b"a\nb\n");
        output.to.room = 100;
        output.write(b"c\n");
        assert_eq!(output.to.written, b"a\nc\n");
        assert_eq!(metrics.access_log_drops.get(), 1);
    }
}
