//! Clients of a cluster: they ask any of its nodes, check all that they get, and note what went wrong.
//!
//! A client keeps its connections, and sends a request that a node has not begun to answer on a kept connection again, as
//! RFC 9110 section 9.2.2 has it. Who is sent where is for the [`Directory`], as a load balancer does it.

use crate::origin::{Origin, Wrong, target};
use crate::random::Random;
use crate::wire::{Connection, Request};
use aquatint::base::clock::monotonic;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const HOST: &str = "images.test";

/// Failures that are kept to be shown.
const SHOWN: usize = 20;

/// Of a thousand requests, those for the hot object of [`Pick::Hot`].
const HOT_PERMILLE: usize = 500;

#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) nodes: &'static [usize],
    pub(crate) objects: Range<usize>,
    pub(crate) pick: Pick,
    pub(crate) clients: usize,
    /// Between two requests of a client.
    pub(crate) pause: Duration,
}

/// Which object is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    Even,
    /// The nth most popular n times less than the first.
    Zipf,
    /// The first half of the time, any of the others else.
    Hot,
}

/// The nodes that clients may be sent to, and what was seen there.
pub(crate) struct Directory {
    pub(crate) origin: Arc<Origin>,
    nodes: Mutex<BTreeMap<usize, Listed>>,
    changed: Condvar,
    failures: Mutex<Failures>,
    answered: AtomicU64,
    /// Of right answers since they were last taken, in microseconds.
    latencies: Mutex<Vec<u32>>,
}

#[derive(Clone, Copy)]
struct Listed {
    address: SocketAddr,
    /// Grows whenever the process is killed or stands still: who asked it before may lose its answer.
    interruptions: u64,
    offered: bool,
}

#[derive(Default)]
struct Failures {
    wrong: Vec<String>,
    broken_off: Vec<String>,
    stale: Vec<String>,
    /// In flight on a node that was killed or stood still.
    lost: u64,
}

impl Directory {
    pub(crate) fn new(origin: Arc<Origin>) -> Directory {
        Directory {
            origin,
            nodes: Mutex::default(),
            changed: Condvar::new(),
            failures: Mutex::default(),
            answered: AtomicU64::new(0),
            latencies: Mutex::default(),
        }
    }

    pub(crate) fn offer(&self, node: usize, address: SocketAddr) {
        let mut nodes = self.nodes.lock();
        let interruptions = nodes.get(&node).map_or(0, |listed| listed.interruptions);
        let listed = Listed {
            address,
            interruptions,
            offered: true,
        };
        nodes.insert(node, listed);
        self.changed.notify_all();
    }

    /// No client is sent there any more; those that wait for its answer get it.
    pub(crate) fn withdraw(&self, node: usize) {
        self.nodes
            .lock()
            .entry(node)
            .and_modify(|listed| listed.offered = false);
    }

    /// As [`Directory::withdraw`], and who waits for its answer may wait in vain.
    pub(crate) fn interrupt(&self, node: usize) {
        self.nodes.lock().entry(node).and_modify(|listed| {
            listed.offered = false;
            listed.interruptions += 1;
        });
    }

    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(crate) fn take_latencies(&self) -> Vec<u32> {
        std::mem::take(&mut *self.latencies.lock())
    }

    #[track_caller]
    pub(crate) fn expect_no_errors(&self) {
        self.expect_right_bytes();
        expect_none(
            "requests without a whole answer",
            &self.failures.lock().broken_off,
        );
    }

    /// Answers may break off; those that are whole are right.
    #[track_caller]
    pub(crate) fn expect_right_bytes(&self) {
        expect_none("wrong answers", &self.failures.lock().wrong);
    }

    #[track_caller]
    pub(crate) fn expect_nothing_stale(&self) {
        expect_none("stale answers", &self.failures.lock().stale);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.failures.lock().lost
    }

    fn listed(&self, node: usize) -> Option<Listed> {
        self.nodes.lock().get(&node).copied()
    }

    fn note(&self, node: usize, before: Listed, wrong: Wrong) {
        let now = self.listed(node);
        let interrupted = now.is_some_and(|now| now.interruptions != before.interruptions);
        let mut failures = self.failures.lock();
        match wrong {
            Wrong::Stale(what) => failures.stale.push(format!("at {node}: {what}")),
            Wrong::BrokenOff(_) if interrupted => failures.lost += 1,
            Wrong::BrokenOff(what) => failures.broken_off.push(format!("at {node}: {what}")),
            Wrong::Answer(what) => failures.wrong.push(format!("at {node}: {what}")),
        }
    }
}

#[track_caller]
fn expect_none(what: &str, found: &[String]) {
    let shown = &found[..found.len().min(SHOWN)];
    assert!(found.is_empty(), "{} {what}: {shown:#?}", found.len());
}

/// One that keeps a connection to each node.
pub(crate) struct Client {
    directory: Arc<Directory>,
    connections: BTreeMap<usize, Connection>,
}

impl Client {
    pub(crate) fn new(directory: &Arc<Directory>) -> Client {
        Client {
            directory: directory.clone(),
            connections: BTreeMap::new(),
        }
    }

    /// Says whether the right answer came. A node that is not offered is asked too.
    pub(crate) fn ask(&mut self, node: usize, object: usize) -> bool {
        let directory = self.directory.clone();
        let Some(before) = directory.listed(node) else {
            return false;
        };
        let began = monotonic();
        let judged = self.judged(node, before.address, object);
        match judged {
            Ok(()) => {
                let took = (monotonic() - began).as_micros() as u32;
                directory.latencies.lock().push(took);
                directory.answered.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(wrong) => {
                self.connections.remove(&node);
                directory.note(node, before, wrong);
                false
            }
        }
    }

    fn judged(&mut self, node: usize, address: SocketAddr, object: usize) -> Result<(), Wrong> {
        let origin = self.directory.origin.clone();
        let oldest = origin.oldest(object);
        let request = Request::new("GET", HOST, &target(object));
        let failed = |error: io::Error| Wrong::BrokenOff(format!("{error} for {object}"));
        let kept = self.connections.remove(&node).filter(|kept| kept.to == address);
        let again = kept.is_some();
        let mut connection = kept
            .map_or_else(|| Connection::open(address), Ok)
            .map_err(failed)?;
        let mut answer = connection.ask(&request);
        if again && answer.as_ref().is_err_and(is_unanswered) {
            connection = Connection::open(address).map_err(failed)?;
            answer = connection.ask(&request);
        }
        let answer = answer.map_err(failed)?;
        if !answer.ends_connection() && answer.header("connection") != Some("close") {
            self.connections.insert(node, connection);
        }
        origin.judge(object, oldest, &answer)
    }
}

/// A kept connection that was closed while nobody asked.
fn is_unanswered(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// A load under way.
pub(crate) struct Running {
    stopped: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn begin(load: &Load, directory: &Arc<Directory>) -> Running {
        let stopped = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (load, directory, stopped) = (load.clone(), directory.clone(), stopped.clone());
            thread::spawn(move || load.run(number, &directory, &stopped))
        };
        Running {
            clients: (0..load.clients as u64).map(client).collect(),
            stopped,
        }
    }

    pub(crate) fn end(self) {
        self.stopped.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

impl Load {
    fn run(&self, number: u64, directory: &Arc<Directory>, stopped: &AtomicBool) {
        let mut random = Random::new(7, number);
        let mut client = Client::new(directory);
        let popularity = Popularity::of(self);
        while !stopped.load(Ordering::SeqCst) {
            let Some(node) = self.node(directory, &mut random) else {
                continue;
            };
            client.ask(node, popularity.draw(&mut random));
            if !self.pause.is_zero() {
                thread::sleep(random.span(self.pause * 2));
            }
        }
    }

    /// One that is offered, or nothing for the time being.
    fn node(&self, directory: &Directory, random: &mut Random) -> Option<usize> {
        let mut nodes = directory.nodes.lock();
        let offered = |nodes: &BTreeMap<usize, Listed>| -> Vec<usize> {
            let listed = self.nodes.iter().copied();
            listed
                .filter(|node| nodes.get(node).is_some_and(|listed| listed.offered))
                .collect()
        };
        let mut found = offered(&nodes);
        if found.is_empty() {
            directory.changed.wait_for(&mut nodes, Duration::from_millis(100));
            found = offered(&nodes);
        }
        (!found.is_empty()).then(|| random.pick(&found))
    }
}

/// What is drawn how often.
pub(crate) struct Popularity {
    objects: Range<usize>,
    pick: Pick,
    /// Of all up to each one, where they differ.
    sums: Vec<f64>,
}

impl Popularity {
    fn of(load: &Load) -> Popularity {
        let mut sum = 0.0;
        let weights = (1..=load.objects.len()).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Popularity {
            objects: load.objects.clone(),
            pick: load.pick,
            sums: weights.collect(),
        }
    }

    fn draw(&self, random: &mut Random) -> usize {
        let objects = self.objects.len();
        let at = match self.pick {
            Pick::Hot if random.permille(HOT_PERMILLE) => 0,
            Pick::Even | Pick::Hot => random.below(objects),
            Pick::Zipf => {
                let drawn = random.number() as f64 / u64::MAX as f64 * self.sums[objects - 1];
                self.sums.partition_point(|sum| *sum < drawn).min(objects - 1)
            }
        };
        self.objects.start + at
    }
}

/// Each of the objects at each of the nodes, all nodes at once, so that they meet.
pub(crate) fn ask_each(nodes: &[usize], objects: &Range<usize>, directory: &Arc<Directory>) {
    thread::scope(|scope| {
        for node in nodes {
            for part in 0..2 {
                let objects = objects.clone().skip(part).step_by(2);
                scope.spawn(move || {
                    let mut client = Client::new(directory);
                    for object in objects {
                        client.ask(*node, object);
                    }
                });
            }
        }
    });
}
