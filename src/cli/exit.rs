//! The exit codes, the same for every command, and which end has which.
//!
//! Invariant: a command that did what it was asked ends with 0, and no other. It does not know commands.

use super::CommandError;
use std::io::ErrorKind;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    /// It was begun, and failed.
    Failure = 1,
    /// The edge said no.
    Refused = 3,
    /// The edge can not say yes yet.
    Pending = 4,
    /// No edge was reached, or none answered.
    Unreachable = 5,
    /// The command or the configuration can not stand: `EX_USAGE` of sysexits.h.
    Usage = 64,
}

/// What `--help` says of them.
pub(super) const HELP: &str = "Exit codes, of every command:
  0   done
  1   failed; of warm: not all went well; of ready: not ready
  3   refused by the edge
  4   pending: ordered, and not known to be done
  5   no edge was reached, none answered, or what answered is none
  64  the command or the configuration can not stand";

impl Exit {
    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn of(error: &CommandError) -> Self {
        match error {
            CommandError::Config(_) | CommandError::Usage(_) => Exit::Usage,
            CommandError::App(_) | CommandError::Random(_) => Exit::Failure,
            CommandError::Output(_) | CommandError::System(_) => Exit::Failure,
            CommandError::Refused { .. } => Exit::Refused,
            CommandError::Unreachable { .. }
            | CommandError::Unheard { .. }
            | CommandError::CutOff { .. }
            | CommandError::NoAdmin { .. } => Exit::Unreachable,
        }
    }
}

/// Of a command that prints for as long as somebody reads: who closes the pipe has read enough.
pub(super) fn for_as_long_as_read(ended: Result<Exit, CommandError>) -> Result<Exit, CommandError> {
    match ended {
        Err(CommandError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(Exit::Done),
        ended => ended,
    }
}
