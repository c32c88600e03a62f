//! A cluster of real processes, and how each [`Operation`] is carried out on it.

mod assertions;
mod nodes;
mod orders;

use crate::load::{Directory, Running, ask_each};
use crate::network::{self, Network};
use crate::operation::Operation;
use crate::origin::Origin;
use crate::support::command::{command, ran};
use crate::support::edge::sum_of;
use crate::support::purging::KEY;
use crate::support::{Edge, Setup, eventually};
use crate::turn::Turn;
use crate::wire::{Connection, Request};
use aquatint::base::clock::monotonic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Keys of the section `cluster` that a test sets, beside those that all have.
pub(crate) type Settings = &'static [(&'static str, &'static str)];

/// Waits of the tests' own nodes: short, so that a test does not wait for long, and long enough for a busy machine.
const SETTINGS: Settings = &[
    ("gossip_interval", "200ms"),
    ("ramp", "1s"),
    ("lease", "4s"),
    ("connect_deadline", "2s"),
    ("look_deadline", "4s"),
    ("first_byte_deadline", "4s"),
    ("read_deadline", "4s"),
];

/// For tests in which no node is to be given up for lateness: what is slow there is the machine.
pub(crate) const PATIENT: Settings = &[
    ("connect_deadline", "15s"),
    ("handshake_deadline", "15s"),
    ("first_byte_deadline", "20s"),
    ("read_deadline", "20s"),
    ("look_deadline", "15s"),
    ("keepalive_interval", "10s"),
    ("log_patience", "5s"),
    ("suspicion", "20"),
    ("lease", "20s"),
    // A node that comes asks the others for three times as long.
    ("ramp", "4s"),
];

pub(crate) struct Cluster {
    began: Instant,
    settings: Settings,
    /// Of one node alone.
    particular: Box<dyn Fn(usize) -> Settings>,
    /// What a test sets beyond that, last of all.
    shape: Shape,
    origin: Arc<Origin>,
    network: Box<dyn Network>,
    directory: Arc<Directory>,
    secret: String,
    nodes: BTreeMap<usize, Node>,
    loads: Vec<Running>,
    /// What each node had answered at the last count.
    answered: BTreeMap<usize, f64>,
    /// Orders that have been acknowledged.
    purged: u64,
    /// Given up when all processes have ended.
    _turn: Turn,
}

/// What becomes of the configuration of a node of this number.
pub(crate) type Shape = Box<dyn Fn(usize, Setup) -> Setup>;

struct Node {
    setup: Setup,
    edge: Option<Edge>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// It owns nothing, and answers as before.
    Draining,
    Paused,
    Ended,
    /// It runs, and is not meant to be let in.
    Stranger,
}

/// Carries the operations out over forwarders.
#[track_caller]
pub(crate) fn run(operations: &[Operation]) {
    run_with(&[], operations);
}

#[track_caller]
pub(crate) fn run_with(settings: Settings, operations: &[Operation]) {
    Cluster::new(network::proxied(), settings).run(operations);
}

impl Cluster {
    pub(crate) fn new(network: Box<dyn Network>, settings: Settings) -> Cluster {
        let turn = Turn::take();
        let origin = Arc::new(Origin::start(network.origin_at()));
        Cluster {
            began: monotonic(),
            settings,
            particular: Box::new(|_| &[]),
            shape: Box::new(|_, setup| setup),
            directory: Arc::new(Directory::new(origin.clone())),
            origin,
            network,
            secret: unused_secret(),
            nodes: BTreeMap::new(),
            loads: Vec::new(),
            answered: BTreeMap::new(),
            purged: 0,
            _turn: turn,
        }
    }

    pub(crate) fn with_particular(mut self, particular: impl Fn(usize) -> Settings + 'static) -> Cluster {
        self.particular = Box::new(particular);
        self
    }

    pub(crate) fn with_shape(mut self, shape: impl Fn(usize, Setup) -> Setup + 'static) -> Cluster {
        self.shape = Box::new(shape);
        self
    }

    /// Carries them out, and lets loads go on.
    #[track_caller]
    pub(crate) fn run_on(&mut self, operations: &[Operation]) {
        for operation in operations {
            let elapsed = (monotonic() - self.began).as_secs_f64();
            println!("{elapsed:7.2} {operation:?}");
            self.carry_out(operation);
        }
    }

    #[track_caller]
    pub(crate) fn run(&mut self, operations: &[Operation]) {
        self.run_on(operations);
        self.loads.drain(..).for_each(Running::end);
        self.directory.expect_nothing_stale();
    }

    #[track_caller]
    fn carry_out(&mut self, operation: &Operation) {
        match operation {
            Operation::Start(count) => self.start_all(*count),
            Operation::StartWarm(count, objects) => self.start_warm(*count, objects),
            Operation::Join(node) => self.join(*node),
            Operation::Kill(node) => self.kill(*node),
            Operation::Leave(node) => self.leave(*node),
            Operation::Drain(node) => self.drain(*node),
            Operation::Undrain(node) => self.undrain(*node),
            Operation::Pause(node) => self.pause(*node),
            Operation::Resume(node) => self.resume(*node),
            Operation::Restart(node, disk) => self.restart(*node, *disk),
            Operation::StartWithIdOf(node, other) => {
                self.start_stranger(*node, |setup| setup.cluster("node", name(*other)));
            }
            Operation::StartWithWrongSecret(node) => {
                let secret = unused_secret();
                self.start_stranger(*node, |setup| setup.cluster("secret", format!("'{secret}'")));
            }
            Operation::StartWithoutSeeds(node) => {
                self.start_stranger(*node, |setup| setup.cluster("seeds", "['127.0.0.1:1']"));
            }
            Operation::StartStranger(node) => self.start_stranger(*node, |setup| setup),
            Operation::Return(node, disk) => self.start_again(*node, *disk),
            Operation::AwaitEnd(node) => self.await_end(*node),
            Operation::Partition(one, other) => self.partition(one, other),
            Operation::PartitionOneWay(from, to) => self.network.cut(*from, *to),
            Operation::Heal => self.network.heal(),
            Operation::Delay(by) => self.network.delay(*by),
            Operation::BreakConnections => self.network.break_connections(),
            Operation::Flood(node, datagrams) => self.flood(*node, *datagrams),
            Operation::OriginDelay(delay) => self.origin.be_slow(*delay),
            Operation::OriginFails => self.origin.fail(),
            Operation::OriginRecovers => self.origin.recover(),
            Operation::CountAnew => self.count_anew(),
            Operation::Ask(nodes, objects) => ask_each(nodes, objects, &self.directory),
            Operation::BeginLoad(load) => self.loads.push(Running::begin(load, &self.directory)),
            Operation::AwaitAnswers(count) => self.await_answers(*count),
            Operation::EndLoad => self.loads.drain(..).for_each(Running::end),
            Operation::PurgeAndRead(nodes, objects) => self.purge_and_read(nodes, objects),
            Operation::AwaitPurges(node) => self.await_purges(*node),
            Operation::AssertPurgeRefused(node) => assert_eq!(self.order(*node, 0), None),
            Operation::AssertMembers(at, alive) => self.assert_members(at, alive),
            Operation::AssertOriginFetches(fetches) => self.assert_fetches(fetches),
            Operation::AssertNoClientErrors => self.directory.expect_no_errors(),
            Operation::AssertNothingStale => self.directory.expect_nothing_stale(),
            Operation::AssertRightBytes => self.directory.expect_right_bytes(),
            Operation::AssertPurges(least) => self.assert_purges(*least),
            Operation::AssertMetric(at, selector, expected) => self.assert_metric(at, selector, *expected),
            Operation::AssertBusiest(nodes, times) => self.assert_busiest(nodes, *times),
            Operation::AssertSays(node, text) => self.assert_says(*node, text),
        }
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|(_, node)| node.state == State::Running);
        running.map(|(number, _)| *number).collect()
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Where the other nodes reach it.
    pub(crate) fn address_between(&self, node: usize) -> SocketAddr {
        self.network.addresses(node).advertised
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    fn node(&mut self, node: usize) -> &mut Node {
        self.nodes
            .get_mut(&node)
            .unwrap_or_else(|| panic!("no node {node}"))
    }

    fn edge_mut(&mut self, node: usize) -> &mut Edge {
        self.node(node).edge.as_mut().expect("it runs")
    }

    pub(crate) fn edge(&self, node: usize) -> &Edge {
        self.nodes[&node].edge.as_ref().expect("it runs")
    }

    // ---- The network and the origin ----

    fn partition(&mut self, one: &[usize], other: &[usize]) {
        for from in one {
            for to in other {
                self.network.cut(*from, *to);
                self.network.cut(*to, *from);
            }
        }
    }

    fn flood(&mut self, node: usize, datagrams: usize) {
        let to = self.network.addresses(node).cluster;
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for number in 0..datagrams {
            let junk = crate::support::picture(number as u64, number % 1400);
            socket.send_to(&junk, to).unwrap();
        }
    }

    fn count_anew(&mut self) {
        self.origin.count_anew();
        let running = self.running();
        let counts = running.iter().map(|node| (*node, self.answered_by(*node)));
        self.answered = counts.collect();
    }

    /// Requests of clients and of other nodes.
    pub(crate) fn answered_by(&self, node: usize) -> f64 {
        let edge = self.edge(node);
        metric(edge, "aquatint_requests_total").unwrap_or(0.0)
            + metric(edge, "aquatint_cluster_answers_total").unwrap_or(0.0)
    }

    // ---- Clients ----

    #[track_caller]
    fn start_warm(&mut self, count: usize, objects: &Range<usize>) {
        self.start_all(count);
        let nodes: Vec<_> = (1..=count).collect();
        ask_each(&nodes, objects, &self.directory);
        ask_each(&nodes, objects, &self.directory);
    }

    #[track_caller]
    fn await_answers(&self, count: u64) {
        let (mut seen, goal) = (self.directory.answered(), self.directory.answered() + count);
        while seen < goal {
            // However long all of them take, the next one does not take long.
            seen = eventually("another request is answered", || {
                let answered = self.directory.answered();
                (answered > seen).then_some(answered)
            });
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            // Clients wait for nodes; these end first.
            self.loads.clear();
        }
    }
}

/// Nothing where no answer comes, or there is no such series.
pub(crate) fn metric(edge: &Edge, selector: &str) -> Option<f64> {
    let mut connection = Connection::open(edge.admin_address()).ok()?;
    let answer = connection.ask(&Request::new("GET", "admin", "/metrics")).ok()?;
    sum_of(&String::from_utf8(answer.body).ok()?, selector)
}

/// What the API tells; nothing where it does not answer.
pub(crate) fn told(edge: &Edge, path: &str) -> Option<Value> {
    let mut connection = Connection::open(edge.admin_address()).ok()?;
    let answer = connection.ask(&authorized("GET", path)).ok()?;
    serde_json::from_slice(&answer.body)
        .ok()
        .filter(|_| answer.status == 200)
}

fn authorized(method: &str, path: &str) -> Request {
    Request::new(method, "admin", path).with("authorization", format!("Bearer {KEY}"))
}

fn name(node: usize) -> String {
    format!("n{node}")
}

fn unused_secret() -> String {
    let made = ran(command(&["key", "--cluster", "--json"]), "").expect(0);
    made.json()["secret"].as_str().unwrap().to_owned()
}
