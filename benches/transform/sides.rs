//! The two that are compared, as processes: an order is a line of JSON, and so is its answer.

use crate::jobs::Target;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The argument that makes this program our side.
pub(crate) const WORKER: &str = "--worker";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) source: PathBuf,
    pub(crate) width: u32,
    pub(crate) format: Target,
    /// Of sharp's output method. Our side has none: it makes what the server does.
    pub(crate) options: Value,
    /// The most runs; fewer where they take longer than a second, but two at least.
    pub(crate) runs: u32,
    /// Where the last run's bytes go.
    pub(crate) output: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Made(Measured),
    Failed { error: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Of each run.
    pub(crate) ns: Vec<u64>,
    /// The process's most resident memory until now.
    pub(crate) peak_kib: u64,
}

/// The first line of a worker: what it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) version: String,
    /// As [`Measured::peak_kib`], before the first order.
    pub(crate) idle_kib: u64,
}

/// How to start the sides.
pub(crate) struct Sides {
    sharp: Option<Sharp>,
}

struct Sharp {
    script: PathBuf,
    /// A directory with sharp installed in it.
    modules: PathBuf,
}

/// A side at work. It ends when its orders do.
pub(crate) struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) hello: Hello,
}

impl Sides {
    pub(crate) fn alone() -> Sides {
        Sides { sharp: None }
    }

    pub(crate) fn beside_sharp(script: PathBuf, modules: PathBuf) -> Sides {
        let sharp = Some(Sharp { script, modules });
        Sides { sharp }
    }

    pub(crate) fn start_ours(&self) -> Worker {
        let program = std::env::current_exe().expect("a running program has a file");
        Worker::start(Command::new(program).arg(WORKER))
    }

    pub(crate) fn start_sharp(&self) -> Option<Worker> {
        let Sharp { script, modules } = self.sharp.as_ref()?;
        let mut command = Command::new("node");
        command.arg(script).arg(modules).env("UV_THREADPOOL_SIZE", "1");
        Some(Worker::start(&mut command))
    }
}

impl Worker {
    fn start(command: &mut Command) -> Worker {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the side can be started");
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let hello = read_line(&mut answers);
        Worker {
            child,
            orders,
            answers,
            hello,
        }
    }

    /// # Errors
    /// What the side says about an order it can not carry out.
    pub(crate) fn ask(&mut self, order: &Order) -> Result<Measured, String> {
        let orders = self.orders.as_mut().expect("open until it is dropped");
        let line = serde_json::to_string(order).expect("an order is plain data");
        writeln!(orders, "{line}").expect("a side takes orders until they end");
        match read_line(&mut self.answers) {
            Answer::Made(measured) => Ok(measured),
            Answer::Failed { error } => Err(error),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Err(error) = self.child.wait() {
            panic!("a side can be waited for: {error}");
        }
    }
}

fn read_line<T: for<'a> Deserialize<'a>>(from: &mut impl BufRead) -> T {
    let mut line = String::new();
    from.read_line(&mut line).expect("a side answers in UTF-8");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("a side ended or said {line:?}: {error}"))
}

/// The most resident memory this process has had.
pub(crate) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

pub(crate) fn output_file(directory: &Path, side: &str) -> PathBuf {
    directory.join(format!("output-of-{side}"))
}
