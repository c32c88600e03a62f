//! One run of the checker: readers, writers and faults against some nodes, and what was found.
//!
//! Bounded in reads and in time. It knows nodes by their addresses alone, so that a fake, one edge or many can be judged.

use crate::history::{Event, seconds};
use crate::order::{Mode, Node, Way};
use crate::origin::Origin;
use crate::random::Random;
use crate::reader::Reader;
use crate::tally::Tally;
use crate::world::{Scope, World};
use crate::writer::Writer;
use aquatint::base::clock::monotonic;
use parking_lot::{Mutex, RwLock};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Violations told in full.
const TOLD_MAX: usize = 3;

const POLL: Duration = Duration::from_millis(5);

/// Connections that outlive a hand-over.
const CONNECTED: u64 = 40;

/// What is done to a node in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, and a start on the same directories.
    Kill,
    /// SIGTERM, and a start on the same directories.
    Terminate,
    /// Everything is purged; SIGKILL at once; a start with an empty log.
    LoseLog,
    /// SIGQUIT: another process takes its place.
    HandOver,
}

/// What is judged.
pub(crate) trait Subject {
    fn start(&mut self, origin: &Origin);
    fn nodes(&self) -> Vec<Node>;
    /// The node is gone on return.
    fn stop(&mut self, fault: Fault);
    /// Another process serves on return, where it did before; who is connected to the old one may still ask that.
    fn hand_over(&mut self);
    /// What it counted since its start, by metric.
    fn counts(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// What it said last.
    fn tell(&self) -> String {
        String::new()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) urls: usize,
    pub(crate) readers: u64,
    pub(crate) writers: u64,
    /// The longest pause of a writer.
    pub(crate) pace: Duration,
    /// Of the origin, each before and after it reads the version.
    pub(crate) delay: Duration,
    pub(crate) reads_max: u64,
    pub(crate) time_max: Duration,
    pub(crate) faults: Vec<Fault>,
    /// Whether the first violation ends the run.
    pub(crate) until: Until,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    TheEnd,
    AViolation,
}

pub(crate) struct Shared {
    pub(crate) seed: u64,
    pub(crate) world: World,
    pub(crate) tally: Tally,
    started: Instant,
    nodes: RwLock<Vec<Node>>,
    reads: AtomicU64,
    reads_max: u64,
    time_max: Duration,
    until: Until,
    stopped: AtomicBool,
    violations: AtomicU64,
    told: Mutex<Vec<String>>,
    refusals: Mutex<Vec<String>>,
}

pub(crate) struct Violation {
    pub(crate) url: usize,
    pub(crate) needed: u64,
    pub(crate) told: String,
}

/// What a run came to.
pub(crate) struct Found {
    pub(crate) violations: u64,
    pub(crate) told: String,
    pub(crate) shared: Arc<Shared>,
}

impl Plan {
    /// Short, for a fake that answers at once.
    pub(crate) fn short(seed: u64) -> Plan {
        Plan {
            seed,
            urls: 480,
            readers: 12,
            writers: 3,
            pace: Duration::from_millis(30),
            delay: Duration::from_millis(40),
            reads_max: 40_000,
            time_max: Duration::from_secs(20),
            faults: Vec::new(),
            until: Until::TheEnd,
        }
    }

    pub(crate) fn run(&self, subject: &mut dyn Subject) -> Found {
        println!("{self:?}");
        let shared = Arc::new(Shared::new(self));
        let origin = Origin::start(shared.clone(), self.delay);
        subject.start(&origin);
        shared.now_at(subject.nodes());
        let fault_random = &mut Random::new(self.seed, 1);
        thread::scope(|scope| {
            for number in 0..self.readers {
                let shared = &shared;
                scope.spawn(move || Reader::new(shared, number).run());
            }
            for number in 0..self.writers {
                let shared = &shared;
                scope.spawn(move || Writer::new(shared, number, self.pace).run());
            }
            for (number, fault) in self.faults.iter().enumerate() {
                let jitter = fault_random.below(600) as f64 / 1000.0;
                let due = (number as f64 + 0.5 + jitter) / (self.faults.len() + 1) as f64;
                if !shared.wait_for_progress(due) {
                    break;
                }
                strike(&shared, *fault, subject, &origin);
            }
            while shared.is_running() {
                thread::sleep(POLL);
            }
        });
        if self.until == Until::TheEnd {
            self.read_everything(&shared);
        }
        shared.note_counts(subject);
        let mut found = shared.found();
        if found.violations > 0 {
            found.told += &subject.tell();
        }
        found
    }

    /// What nobody asked for lately may be all that is wrong.
    fn read_everything(&self, shared: &Shared) {
        thread::scope(|scope| {
            for number in 0..self.readers {
                scope.spawn(move || {
                    let mut reader = Reader::new(shared, self.readers + number);
                    reader.read_share(number as usize, self.readers as usize);
                });
            }
        });
    }
}

fn strike(shared: &Shared, fault: Fault, subject: &mut dyn Subject, origin: &Origin) {
    shared.node_event(match fault {
        Fault::HandOver => "the node hands over to another process",
        Fault::Kill => "the node is killed",
        Fault::Terminate => "the node is asked to stop",
        Fault::LoseLog => "everything is purged, and then the node is killed and loses its log",
    });
    if fault == Fault::LoseLog {
        let mut writer = Writer::new(shared, 999, Duration::ZERO);
        while !writer.purge(vec![Scope::All], Mode::Hard, Way::Api) {
            if !shared.is_running() {
                return;
            }
        }
    }
    shared.note_counts(subject);
    if fault == Fault::HandOver {
        hand_over(shared, subject);
    } else {
        subject.stop(fault);
        shared.now_at(Vec::new());
        subject.start(origin);
        shared.now_at(subject.nodes());
    }
    shared.tally.add("faults", &format!("{fault:?}"));
    shared.node_event("the node is back");
}

/// Who has connected to the old process asks it when the new one has purged everything.
fn hand_over(shared: &Shared, subject: &mut dyn Subject) {
    let mut connected: Vec<_> = (0..CONNECTED)
        .map(|number| Reader::new(shared, 10_000 + number))
        .collect();
    connected.iter_mut().for_each(Reader::connect);
    subject.hand_over();
    let mut writer = Writer::new(shared, 998, Duration::ZERO);
    while !writer.purge(vec![Scope::All], Mode::Hard, Way::Api) {
        if !shared.is_running() {
            return;
        }
    }
    connected.iter_mut().for_each(Reader::read_hot);
}

impl Shared {
    fn new(plan: &Plan) -> Shared {
        Shared {
            seed: plan.seed,
            world: World::new(plan.urls, plan.seed),
            tally: Tally::default(),
            started: monotonic(),
            nodes: RwLock::default(),
            reads: AtomicU64::new(0),
            reads_max: plan.reads_max,
            time_max: plan.time_max,
            until: plan.until,
            stopped: AtomicBool::new(false),
            violations: AtomicU64::new(0),
            told: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        monotonic() - self.started
    }

    /// One of those that are there.
    pub(crate) fn node(&self, random: &mut Random) -> Option<Node> {
        let nodes = self.nodes.read();
        (!nodes.is_empty()).then(|| random.pick(&nodes))
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.stopped.load(Ordering::Acquire) && self.progress() < 1.0
    }

    pub(crate) fn count_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// From 0 to 1, by whichever bound is nearer.
    fn progress(&self) -> f64 {
        let reads = self.reads.load(Ordering::Relaxed) as f64 / self.reads_max as f64;
        reads.max(self.elapsed().as_secs_f64() / self.time_max.as_secs_f64())
    }

    fn wait_for_progress(&self, due: f64) -> bool {
        while self.is_running() && self.progress() < due {
            thread::sleep(POLL);
        }
        self.is_running()
    }

    fn now_at(&self, nodes: Vec<Node>) {
        *self.nodes.write() = nodes;
    }

    fn note_counts(&self, subject: &dyn Subject) {
        for (metric, count) in subject.counts() {
            self.tally.add_many("counted by the edge", &metric, count);
        }
    }

    fn node_event(&self, what: &'static str) {
        let now = self.elapsed();
        for url in 0..self.world.urls.len() {
            self.world.history(url).add(now, Event::Node(what));
        }
    }

    pub(crate) fn violated(&self, violation: Violation) {
        self.violations.fetch_add(1, Ordering::Relaxed);
        let Violation { url, needed, told } = violation;
        let mut all = self.told.lock();
        if all.len() < TOLD_MAX {
            let at = seconds(self.elapsed());
            let mut text = format!("VIOLATION at {at} (seed {}): {told}\n", self.seed);
            let history = self.world.history(url).tell();
            write!(text, "the last of url {url}, acknowledged {needed}:\n{history}")
                .expect("a string takes it");
            all.push(text);
        }
        if self.until == Until::AViolation {
            self.stopped.store(true, Ordering::Release);
        }
    }

    pub(crate) fn refused(&self, what: &str) {
        let mut refusals = self.refusals.lock();
        if refusals.len() < TOLD_MAX {
            refusals.push(what.to_owned());
        }
    }

    fn found(self: Arc<Self>) -> Found {
        let told = self.told.lock().join("\n");
        let violations = self.violations.load(Ordering::Relaxed);
        let refusals = self.refusals.lock().join("\n  ");
        println!(
            "{}violations: {violations}, after {:?}",
            self.tally,
            self.elapsed()
        );
        if !refusals.is_empty() {
            println!("some purges that were refused:\n  {refusals}");
        }
        Found {
            violations,
            told,
            shared: self,
        }
    }
}

impl Found {
    /// # Panics
    /// When the guarantee did not hold.
    #[track_caller]
    pub(crate) fn expect_none(&self) -> &Self {
        assert_eq!(self.violations, 0, "\n{}", self.told);
        self
    }
}
