//! The real binary as a child process: configured, started, watched, asked to stop, killed.

use super::{Certificate, Origin, PATIENCE, eventually, get};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_aquatint");

/// A configuration, and where the edges started from it keep their data: starting twice is a restart.
#[derive(Clone)]
pub(crate) struct Setup {
    sections: BTreeMap<&'static str, BTreeMap<String, String>>,
    directory: Arc<TempDir>,
}

impl Setup {
    pub(crate) fn of(origin: &Origin) -> Setup {
        Setup::without_origin().origin("url", origin.url())
    }

    /// An origin has still to be said.
    pub(crate) fn without_origin() -> Setup {
        let setup = Setup {
            sections: BTreeMap::new(),
            directory: Arc::new(TempDir::new().unwrap()),
        };
        let setup = setup
            .edge("listen", "127.0.0.1:0")
            .edge("threads", "2")
            .edge("drain_deadline", "10s");
        setup.admin("listen", "127.0.0.1:0").route("path", "/")
    }

    /// A body and entry tier on disk, as small as they may be, and everything that is stored admitted.
    pub(crate) fn with_ssd(self) -> Setup {
        let directory = self.data_directory().display().to_string();
        let setup = self.store("directory", directory).store("admission", "always");
        // A read that is late is a miss, and a busy disk is none of what the tests are about.
        let setup = setup.store("ssd_read_deadline", "1m");
        setup.store("ssd", "256MiB").store("entry_ssd", "256MiB")
    }

    pub(crate) fn with_tls(self, certificate: &Certificate) -> Setup {
        let (path, key) = (certificate.path(), certificate.key_path());
        let tls = format!(
            "{{listen: '127.0.0.1:0', certificate: '{}', key: '{}'}}",
            path.display(),
            key.display()
        );
        self.edge("tls", tls)
    }

    pub(crate) fn edge(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("edge", key, value)
    }

    pub(crate) fn admin(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("admin", key, value)
    }

    pub(crate) fn store(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("store", key, value)
    }

    pub(crate) fn serve(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("serve", key, value)
    }

    pub(crate) fn log(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("log", key, value)
    }

    pub(crate) fn purge(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("purge", key, value)
    }

    #[allow(dead_code, reason = "for the tests of clusters")]
    pub(crate) fn cluster(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("cluster", key, value)
    }

    pub(crate) fn tracing(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("tracing", key, value)
    }

    pub(crate) fn origin(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("origins.default", key, value)
    }

    pub(crate) fn route(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("routes[0]", key, value)
    }

    #[allow(dead_code, reason = "for the tests of clusters")]
    pub(crate) fn second_route(self, key: &str, value: impl Into<String>) -> Setup {
        self.set("routes[1]", key, value)
    }

    /// `value` is YAML in flow style.
    fn set(mut self, section: &'static str, key: &str, value: impl Into<String>) -> Setup {
        self.sections
            .entry(section)
            .or_default()
            .insert(key.into(), value.into());
        self
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn yaml(&self) -> String {
        let mut text = String::new();
        for (section, lines) in &self.sections {
            let (title, first, indent) = match *section {
                "origins.default" => ("origins:\n  default:", "    ", "    "),
                "routes[0]" => ("routes:", "- ", "  "),
                "routes[1]" => ("", "- ", "  "),
                plain => {
                    writeln!(text, "{plain}:").unwrap();
                    lines
                        .iter()
                        .for_each(|(key, value)| writeln!(text, "  {key}: {value}").unwrap());
                    continue;
                }
            };
            writeln!(text, "{title}").unwrap();
            for (number, (key, value)) in lines.iter().enumerate() {
                let indent = if number == 0 { first } else { indent };
                writeln!(text, "{indent}{key}: {value}").unwrap();
            }
        }
        text
    }

    /// Writes the configuration's file and returns its path.
    pub(crate) fn file(&self) -> PathBuf {
        let path = self.directory().join("aquatint.yaml");
        std::fs::write(&path, self.yaml()).unwrap();
        path
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Edge {
        let mut edge = self.spawn();
        edge.wait_until_listening();
        edge
    }

    /// For a start that may be refused.
    pub(crate) fn spawn(&self) -> Edge {
        self.spawn_from(BINARY.as_ref())
    }

    /// As [`Setup::start`], from another file than this build's.
    #[track_caller]
    pub(crate) fn start_from(&self, binary: &Path) -> Edge {
        let mut edge = self.spawn_from(binary);
        edge.wait_until_listening();
        edge
    }

    /// As [`Setup::spawn`], from another file than this build's.
    pub(crate) fn spawn_from(&self, binary: &Path) -> Edge {
        let file = self.file();
        let arguments: [&OsStr; 3] = ["serve".as_ref(), "--config".as_ref(), file.as_os_str()];
        let mut edge = Edge::spawn_from(binary, &arguments);
        edge.directory = Some(self.directory.clone());
        edge
    }
}

/// One running process; its end is the handle's.
pub(crate) struct Edge {
    child: Child,
    stdout: Output,
    stderr: Output,
    addresses: Option<Addresses>,
    /// Lives as long as the process that reads and writes there.
    directory: Option<Arc<TempDir>>,
}

struct Addresses {
    clear: SocketAddr,
    tls: Option<SocketAddr>,
    admin: SocketAddr,
}

/// What a stream of the process has said so far.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<String>>);

impl Edge {
    /// Caches what the origin says, by the defaults.
    #[track_caller]
    pub(crate) fn before(origin: &Origin) -> Edge {
        Setup::of(origin).start()
    }

    pub(crate) fn spawn(arguments: &[&OsStr]) -> Edge {
        Edge::spawn_from(BINARY.as_ref(), arguments)
    }

    fn spawn_from(binary: &Path, arguments: &[&OsStr]) -> Edge {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        Edge {
            child,
            stdout,
            stderr,
            addresses: None,
            directory: None,
        }
    }

    #[track_caller]
    pub(crate) fn wait_until_listening(&mut self) {
        let addresses = eventually("the edge says where it listens", || {
            let addresses = Addresses::parse(&self.stdout());
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() || addresses.is_some(),
                "ended at start: {ended:?}"
            );
            addresses
        });
        self.addresses = Some(addresses);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses().clear
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.addresses().tls.expect("the edge listens for TLS")
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.addresses().admin
    }

    fn addresses(&self) -> &Addresses {
        self.addresses.as_ref().expect("the edge listens")
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// What an ended process has said on its two streams: their readers may be a moment behind its end.
    #[track_caller]
    pub(crate) fn whole_output(&self) -> (String, String) {
        eventually("the output is read", || {
            (self.stdout.is_whole() && self.stderr.is_whole()).then_some(())
        });
        (self.stdout(), self.stderr())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> super::Answer {
        get(self.address(), target)
    }

    #[track_caller]
    pub(crate) fn get_with(&self, target: &str, headers: super::client::Headers) -> super::Answer {
        super::get_with(self.address(), target, headers)
    }

    /// Asks until there is a whole answer and no 504: a deadline that is short for the test's sake may run out on a
    /// busy machine where nothing is wrong.
    #[track_caller]
    pub(crate) fn get_despite_deadlines(&self, target: &str) -> super::Answer {
        eventually("an answer in time", || {
            let mut client = super::Client::connect(self.address());
            let answer = client.send_request("GET", target, &[]).try_answer_to("GET");
            answer.ok().filter(|answer| answer.status != 504)
        })
    }

    /// Asks until the answer is no fresh hit any more: past the second that `max-age=1` grants.
    #[track_caller]
    pub(crate) fn get_past_freshness(&self, target: &str) -> super::Answer {
        eventually("the image is no longer fresh", || {
            let answer = self.get(target);
            let fresh = answer.is_hit() && !answer.cache_status().is_stale();
            (!fresh).then_some(answer)
        })
    }

    /// The sum of the series that a selector such as `aquatint_requests_total{outcome="hit_memory"}` covers.
    #[track_caller]
    pub(crate) fn metric(&self, selector: &str) -> f64 {
        let answer = get(self.admin_address(), "/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        sum_of(&String::from_utf8(answer.body).unwrap(), selector)
            .unwrap_or_else(|| panic!("no metric {selector}"))
    }

    #[track_caller]
    pub(crate) fn wait_for_metric(&self, selector: &str, suits: impl Fn(f64) -> bool) -> f64 {
        eventually(selector, || {
            Some(self.metric(selector)).filter(|value| suits(*value))
        })
    }

    /// Waits until the SSD has taken so many bodies and entries, and nothing waits to be written.
    #[track_caller]
    pub(crate) fn wait_for_ssd_writes(&self, objects: f64) {
        for kind in ["entries", "blobs"] {
            self.wait_for_metric(&format!("aquatint_ssd_writes_total{{kind=\"{kind}\"}}"), |n| {
                n >= objects
            });
        }
        self.wait_for_metric("aquatint_ssd_queue_bytes", |bytes| bytes == 0.0);
    }

    /// Waits until no request is waited for at an origin any more.
    #[track_caller]
    pub(crate) fn wait_for_fills(&self) {
        self.wait_for_metric("aquatint_fills_in_flight", |fills| fills == 0.0);
    }

    /// SIGKILL: nothing can be written after it.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) fn ask_to_stop(&self) {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::TERM).unwrap();
    }

    /// SIGTERM, and how the process ended.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait_for_exit()
    }

    #[track_caller]
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        eventually("the edge ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        // It may have ended already, which is what some tests are about.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!(
                "--- stdout of the edge\n{}--- its stderr\n{}---",
                self.stdout(),
                self.stderr()
            );
        }
    }
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Output {
        let output = Output::default();
        let text = output.0.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                *text.lock().unwrap() += &(line + "\n");
            }
        });
        output
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    /// Whether the stream has ended and its reader with it.
    fn is_whole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Addresses {
    /// The listeners' lines, once the last of them, the admin's, is there.
    fn parse(stdout: &str) -> Option<Addresses> {
        let after = |prefix: &str| {
            let found = stdout.lines().find_map(|line| line.strip_prefix(prefix))?;
            Some(found.parse().unwrap_or_else(|_| panic!("no address: {found}")))
        };
        let admin = after("admin listening on http://")?;
        let clear = after("edge listening on http://")?;
        Some(Addresses {
            clear,
            tls: after("edge listening on https://"),
            admin,
        })
    }
}

/// Nothing when no series is covered.
pub(crate) fn sum_of(text: &str, selector: &str) -> Option<f64> {
    let (name, labels) = selector.split_once('{').unwrap_or((selector, ""));
    let labels: Vec<_> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.is_empty())
        .collect();
    let covered = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        let covers = series_name == name && labels.iter().all(|label| series_labels.contains(label));
        covers.then(|| value.parse::<f64>().unwrap())
    });
    covered.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &[&str]) -> (ExitStatus, String, String) {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_ref()).collect();
    let mut edge = Edge::spawn(&arguments);
    let status = edge.wait_for_exit();
    let (stdout, stderr) = edge.whole_output();
    (status, stdout, stderr)
}

const _: () = assert!(
    PATIENCE.as_secs() > 10,
    "the drain deadline lies within the patience"
);
