//! An edge's place taken by another process, which is no child of the test's.

use super::{Edge, eventually};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A process that has taken over; its end is the handle's.
pub(crate) struct Successor(Pid);

impl Edge {
    /// SIGQUIT.
    pub(crate) fn ask_to_hand_over(&self) {
        let pid = Pid::from_raw(self.id().cast_signed()).unwrap();
        kill_process(pid, Signal::QUIT).unwrap();
    }

    /// SIGQUIT, and the process that serves then.
    #[track_caller]
    pub(crate) fn hand_over(&self) -> Successor {
        let before = self.taken_over();
        self.ask_to_hand_over();
        self.wait_for_successor(before)
    }

    /// Has the process that has taken over hand over in its turn.
    #[track_caller]
    pub(crate) fn hand_over_again(&self, serving: &Successor) -> Successor {
        let before = self.taken_over();
        kill_process(serving.0, Signal::QUIT).unwrap();
        self.wait_for_successor(before)
    }

    #[track_caller]
    pub(crate) fn wait_for_successor(&self, before: usize) -> Successor {
        eventually("another process serves", || {
            (self.taken_over() > before).then_some(())
        });
        let told = self.stderr();
        let started = told
            .lines()
            .rfind(|line| line.contains("handing over to another process"))
            .and_then(|line| line.rsplit_once("process=")?.1.trim().parse().ok());
        Successor(Pid::from_raw(started.expect("its number is told")).unwrap())
    }

    /// How often a process has taken over.
    fn taken_over(&self) -> usize {
        self.stderr()
            .matches("serving in the place of another process")
            .count()
    }
}

impl Successor {
    /// SIGTERM, and its end.
    #[track_caller]
    pub(crate) fn terminate(self) {
        kill_process(self.0, Signal::TERM).unwrap();
        self.wait_for_exit();
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&self) {
        eventually("the other process ends", || self.has_ended().then_some(()));
    }

    /// One that has ended is a zombie where nobody above it waits for it.
    fn has_ended(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.0.as_raw_nonzero()));
        let is_zombie = |text: String| {
            text.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        };
        test_kill_process(self.0).is_err() || status.map_or(true, is_zombie)
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        // Its number may be another's once it has ended.
        if !self.has_ended() {
            kill_process(self.0, Signal::KILL).ok();
        }
    }
}
