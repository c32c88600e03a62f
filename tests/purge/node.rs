//! The real binary: one edge on directories that outlive its processes, started, stopped and killed.
//!
//! Each start draws the settings of the log anew: small tables and rare snapshots are no other guarantee. It knows the
//! command line and the configuration, and nothing of the code.

use crate::order::{KEY, Node, WEBHOOK_SECRET};
use crate::origin::Origin;
use crate::random::Random;
use crate::run::{Fault, Subject};
use crate::wire::{Connection, Request};
use aquatint::base::clock::monotonic;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// A busy machine needs far less for a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(5);

/// Of what the edge has said, at the end.
const TOLD_BYTES: usize = 6000;

const HANDING_OVER: &str = "handing over to another process";
const TAKEN_OVER: &str = "serving in the place of another process";

/// Metrics that tell what was put to the proof.
const COUNTED: [&str; 4] = [
    "aquatint_tier_hits_total{",
    "aquatint_purge_refused_hits_total",
    "aquatint_fills_fenced_total",
    "aquatint_purge_table_",
];

pub(crate) struct Edge {
    binary: PathBuf,
    hole: Option<String>,
    directory: TempDir,
    random: Random,
    running: Option<(Process, Node)>,
    /// They have handed over, and answer who is still connected to them.
    retired: Vec<Process>,
    starts: usize,
}

/// A process that this one has started, or one that has taken another's place.
enum Process {
    Child(Child),
    Successor(Pid),
}

impl Process {
    fn signal(&self, signal: Signal) {
        let pid = match self {
            Process::Child(child) => Pid::from_child(child),
            Process::Successor(pid) => *pid,
        };
        // One that has ended already has been seen to.
        kill_process(pid, signal).ok();
    }

    fn has_ended(&mut self) -> bool {
        match self {
            Process::Child(child) => child.try_wait().unwrap().is_some(),
            Process::Successor(pid) => {
                let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
                // A zombie where nobody above it waits for it.
                status.map_or(true, |text| {
                    text.rsplit_once(") ")
                        .is_none_or(|(_, rest)| rest.starts_with('Z'))
                })
            }
        }
    }

    fn kill(&mut self) {
        // Its number may be another's once it has ended.
        if !self.has_ended() {
            self.signal(Signal::KILL);
        }
        if let Process::Child(child) = self {
            child.wait().ok();
        }
    }
}

impl Edge {
    /// `AQUATINT_BINARY` may name another than this build's.
    pub(crate) fn new(seed: u64) -> Edge {
        let built = env!("CARGO_BIN_EXE_aquatint").into();
        Edge::of(
            std::env::var_os("AQUATINT_BINARY").unwrap_or(built).into(),
            None,
            seed,
        )
    }

    /// A build with the feature `holes`, with one of them open, or none.
    pub(crate) fn with_hole(binary: PathBuf, hole: Option<&str>, seed: u64) -> Edge {
        Edge::of(binary, hole.map(str::to_owned), seed)
    }

    fn of(binary: PathBuf, hole: Option<String>, seed: u64) -> Edge {
        Edge {
            binary,
            hole,
            directory: TempDir::new().unwrap(),
            random: Random::new(seed, 3),
            running: None,
            retired: Vec::new(),
            starts: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn configuration(&mut self, origin: &Origin) -> String {
        let (data, purges) = (self.path("data"), self.path("purges"));
        let (data, purges) = (data.display(), purges.display());
        let origin = origin.address();
        let hash = blake3::hash(KEY.as_bytes()).to_hex();
        let scopes_max = self.random.pick(&[1024, 1_000_000]);
        let snapshot_entries = self.random.pick(&[40, 400, 10_000]);
        // Shorter than a configuration may say without the feature.
        let life = match self.hole.as_deref() {
            Some("forget-without-floor") => "object_life: 2s, ",
            _ => "",
        };
        format!(
            "edge: {{listen: '127.0.0.1:0', threads: 2, drain_deadline: 5s, access_log: {{to: off}}}}
admin: {{listen: '127.0.0.1:0'}}
store: {{directory: '{data}', memory: 8MiB, entry_memory: 1MiB, ssd: 256MiB, entry_ssd: 256MiB,
  admission: always, ssd_read_deadline: 1m}}
origins: {{default: {{url: 'http://{origin}', host: client, breaker: {{failures: 0}}}}}}
routes:
- {{path: /, transform: {{enabled: true, sizes: [8, 16]}}}}
- {{path: /forward, ranges: forward, transform: {{enabled: true, sizes: [8, 16]}}}}
purge: {{directory: '{purges}', scopes_max: {scopes_max}, snapshot_entries: {snapshot_entries}, {life}
  keys: {{test: {{hash: 'blake3:{hash}', scopes: ['purge:all']}}}},
  webhooks: {{shop: {{secrets: ['{WEBHOOK_SECRET}'], scopes: ['purge:all']}}}}}}
"
        )
    }

    fn spawn(&self) -> Child {
        let output = |name: String| File::create(self.path(&name)).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--config"])
            .arg(self.path("aquatint.yaml"));
        if let Some(hole) = &self.hole {
            command.env("AQUATINT_HOLE", hole);
        }
        command.stdin(Stdio::null());
        command.stdout(output(format!("stdout.{}", self.starts)));
        command.stderr(output(format!("stderr.{}", self.starts)));
        command.spawn().unwrap()
    }

    fn said(&self, stream: &str) -> String {
        let mut text = Vec::new();
        let file = File::open(self.path(&format!("{stream}.{}", self.starts)));
        file.and_then(|mut file| file.read_to_end(&mut text)).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The listeners, once the last of them has been named.
    fn listening(&self) -> Option<Node> {
        let said = self.said("stdout");
        let after = |prefix: &str| -> Option<SocketAddr> {
            let line = said.lines().find_map(|line| line.strip_prefix(prefix))?;
            line.parse().ok()
        };
        Some(Node {
            admin: after("admin listening on http://")?,
            edge: after("edge listening on http://")?,
        })
    }

    fn tell(&self) -> String {
        let said = self.said("stderr");
        let from = said.len().saturating_sub(TOLD_BYTES);
        let end = said.get(from..).unwrap_or(&said);
        format!("--- start {} of the edge said last\n{end}---", self.starts)
    }
}

impl Subject for Edge {
    fn start(&mut self, origin: &Origin) {
        self.starts += 1;
        fs::write(self.path("aquatint.yaml"), self.configuration(origin)).unwrap();
        let mut child = self.spawn();
        let deadline = monotonic() + PATIENCE;
        let node = loop {
            if let Some(node) = self.listening() {
                break node;
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "ended at its start: {ended:?}\n{}", self.tell());
            if monotonic() > deadline {
                child.kill().ok();
                child.wait().ok();
                panic!("does not listen\n{}", self.tell());
            }
            thread::sleep(POLL);
        };
        self.running = Some((Process::Child(child), node));
    }

    fn nodes(&self) -> Vec<Node> {
        self.running.iter().map(|(_, node)| *node).collect()
    }

    fn stop(&mut self, fault: Fault) {
        let (mut process, _) = self.running.take().unwrap();
        process.signal(match fault {
            Fault::Terminate => Signal::TERM,
            Fault::Kill | Fault::LoseLog | Fault::HandOver => Signal::KILL,
        });
        let deadline = monotonic() + PATIENCE;
        while !process.has_ended() {
            if monotonic() > deadline {
                process.kill();
                panic!("does not end\n{}", self.tell());
            }
            thread::sleep(POLL);
        }
        if fault == Fault::LoseLog {
            fs::remove_dir_all(self.path("purges")).unwrap();
        }
    }

    fn hand_over(&mut self) {
        let (process, node) = self.running.take().unwrap();
        let handed = |edge: &Edge| edge.said("stderr").matches(TAKEN_OVER).count();
        let before = handed(self);
        process.signal(Signal::QUIT);
        self.retired.push(process);
        let deadline = monotonic() + PATIENCE;
        while handed(self) == before {
            assert!(monotonic() < deadline, "does not hand over\n{}", self.tell());
            thread::sleep(POLL);
        }
        let said = self.said("stderr");
        let started = said.lines().rfind(|line| line.contains(HANDING_OVER));
        let number = started.and_then(|line| line.rsplit_once("process=")?.1.trim().parse().ok());
        let pid = Pid::from_raw(number.expect("its number is told")).unwrap();
        self.running = Some((Process::Successor(pid), node));
    }

    fn counts(&self) -> Vec<(String, u64)> {
        let metrics = self.running.as_ref().and_then(|(_, node)| {
            let mut admin = Connection::open(node.admin).ok()?;
            admin.ask(&Request::new("GET", "admin.test", "/metrics")).ok()
        });
        let text = metrics.map_or(String::new(), |answer| {
            String::from_utf8_lossy(&answer.body).into_owned()
        });
        let told = text
            .lines()
            .filter(|line| COUNTED.iter().any(|name| line.starts_with(name)));
        let parsed = told.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse::<f64>().ok()? as u64))
        });
        parsed.filter(|(_, count)| *count > 0).collect()
    }

    fn tell(&self) -> String {
        Edge::tell(self)
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let running = self.running.take().map(|(process, _)| process);
        for mut process in running.into_iter().chain(self.retired.drain(..)) {
            process.kill();
        }
    }
}
