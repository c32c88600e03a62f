//! What the system's signals ask of an edge.
//!
//! Invariant: none that is listed here ends the process by itself. It does not know what is done about them.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGXFSZ on Linux: a file would grow beyond the limit that the process was given.
const FILE_TOO_LARGE: i32 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGQUIT.
    HandOver,
}

pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
    missed_reload: bool,
    /// Must not end the process: a write that is refused is an error like any.
    _file_too_large: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            missed_reload: false,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.quit.recv() => Told::HandOver,
        }
    }

    /// Passes over whatever else is asked for meanwhile, and remembers a reload.
    pub(super) async fn stop(&mut self) {
        loop {
            match self.next().await {
                Told::Stop => return,
                Told::Reload => self.missed_reload = true,
                Told::HandOver => {}
            }
        }
    }

    /// Whether a reload was passed over.
    pub(super) fn take_missed_reload(&mut self) -> bool {
        std::mem::take(&mut self.missed_reload)
    }
}
