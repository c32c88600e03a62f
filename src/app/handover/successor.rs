//! The process that is to take this one's place, as this one sees it.
//!
//! Invariant: one that does not make it is ended. It does not know what is handed over beside the sockets.

use super::channel::{Channel, Handed, Word, send_sockets};
use super::{HandOverError, STANDARD_INPUT, VARIABLE};
use rustix::process::Pid;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A process that was killed ends at once, but for one that stands still in the system.
const ENDING: Duration = Duration::from_secs(10);

/// What a successor runs, found out while the file that this process was started from is still where it was.
#[derive(Clone, Debug)]
pub(in crate::app) struct Binary {
    path: PathBuf,
    /// Its name in a successor's arguments, where a successor of that one finds it again.
    name: PathBuf,
    arguments: Vec<OsString>,
}

impl Binary {
    pub(in crate::app) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        // As it was written, so that a link is followed anew.
        let written = arguments
            .next()
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let path = written.map_or_else(std::env::current_exe, Ok)?;
        Ok(Binary {
            name: path.clone(),
            path,
            arguments: arguments.collect(),
        })
    }

    /// The very binary that this process runs, also where its file has been replaced since.
    pub(in crate::app) fn that_runs(&self) -> Self {
        Binary {
            path: PathBuf::from("/proc/self/exe"),
            name: self.name.clone(),
            arguments: self.arguments.clone(),
        }
    }
}

pub(in crate::app) struct Successor {
    /// `None` once it has been ended.
    child: Option<Child>,
    number: u32,
    channel: Channel,
    /// Whether it goes on when this process lets go of it.
    serves: bool,
}

impl Successor {
    /// Starts it and waits until it is prepared.
    pub(in crate::app) async fn start(
        binary: &Binary,
        sockets: &[Handed],
        deadline: Duration,
    ) -> Result<Self, HandOverError> {
        let (own, its) = UnixStream::pair().map_err(HandOverError::Start)?;
        let child = Command::new(&binary.path)
            .arg0(&binary.name)
            .args(&binary.arguments)
            .env(VARIABLE, STANDARD_INPUT)
            .stdin(OwnedFd::from(its))
            .spawn()
            .map_err(HandOverError::Start)?;
        let number = child.id();
        tracing::info!(process = number, "handing over to another process");
        let sent = send_sockets(&own, sockets);
        let mut successor = Successor {
            child: Some(child),
            number,
            channel: Channel::new(own).map_err(HandOverError::Start)?,
            serves: false,
        };
        sent.map_err(HandOverError::Sockets)?;
        successor.channel.hear_within(Word::Prepared, deadline).await?;
        Ok(successor)
    }

    /// Log and cache are its own from here on; waits until it has opened them.
    pub(in crate::app) async fn take(&mut self, deadline: Duration) -> Result<(), HandOverError> {
        self.channel.say(Word::Yours).await?;
        self.channel.hear_within(Word::Ready, deadline).await
    }

    /// This process answers nothing from its cache any more: the other serves. Returns its number.
    ///
    /// # Errors
    /// When it has ended meanwhile: then nobody serves.
    pub(in crate::app) async fn serve(mut self) -> Result<Pid, HandOverError> {
        self.channel.say(Word::Retired).await?;
        self.serves = true;
        Pid::from_raw(self.number.cast_signed()).ok_or(HandOverError::Ended)
    }

    /// Ends it, and waits for that: what it holds is free then.
    pub(in crate::app) async fn end(mut self) {
        if let Some(ending) = self.kill() {
            timeout(ENDING, ending).await.ok();
        }
    }

    /// Waiting for an end stands still with a process that stands still in the system.
    fn kill(&mut self) -> Option<JoinHandle<()>> {
        let mut child = self.child.take()?;
        // One that has ended by itself can not be ended.
        child.kill().ok();
        Some(tokio::task::spawn_blocking(move || drop(child.wait())))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            drop(self.kill());
        }
    }
}
