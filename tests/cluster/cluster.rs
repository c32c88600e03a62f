//! A cluster of real processes, and how each [`Operation`] is carried out on it.

use crate::load::{Client, Directory, HOST, Running, ask_each};
use crate::network::{self, Network};
use crate::operation::{Disk, Expected, Fetches, Operation};
use crate::origin::{Origin, target};
use crate::support::command::{command, ran};
use crate::support::edge::sum_of;
use crate::support::purging::KEY;
use crate::support::{Edge, PATIENCE, Setup, eventually};
use crate::wire::{Connection, Request};
use aquatint::base::clock::monotonic;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

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

pub(crate) struct Cluster {
    began: Instant,
    settings: Settings,
    /// Of one node alone.
    particular: Box<dyn Fn(usize) -> Settings>,
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
}

struct Node {
    setup: Setup,
    edge: Option<Edge>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
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
        let origin = Arc::new(Origin::start(network.origin_at()));
        Cluster {
            began: monotonic(),
            settings,
            particular: Box::new(|_| &[]),
            directory: Arc::new(Directory::new(origin.clone())),
            origin,
            network,
            secret: unused_secret(),
            nodes: BTreeMap::new(),
            loads: Vec::new(),
            answered: BTreeMap::new(),
            purged: 0,
        }
    }

    pub(crate) fn with_particular(mut self, particular: impl Fn(usize) -> Settings + 'static) -> Cluster {
        self.particular = Box::new(particular);
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
            Operation::Join(node) => self.join(*node),
            Operation::Kill(node) => self.kill(*node),
            Operation::Leave(node) => self.leave(*node),
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

    // ---- Nodes ----

    fn setup(&self, node: usize) -> Setup {
        let addresses = self.network.addresses(node);
        let setup = Setup::without_origin()
            .origin("url", format!("http://{}", self.origin.address()))
            // An origin that is late is a machine that is busy, unless a test says otherwise.
            .origin("connect_deadline", "30s")
            .origin("first_byte_deadline", "60s")
            .edge("listen", addresses.clients.to_string())
            .edge("access_log", "{to: off}")
            .edge("name", name(node))
            .admin("listen", addresses.admin.to_string())
            .log(
                "filter",
                "info,foyer=error,pingora_core=off,chitchat=warn,aquatint::serve::neighbours=debug",
            )
            .with_ssd()
            .purge("keys", keys())
            .cluster("listen", format!("'{}'", addresses.cluster))
            .cluster("advertise", format!("'{}'", addresses.advertised))
            .cluster("node", name(node))
            .cluster("secret", format!("'{}'", self.secret))
            .cluster("voters", format!("[{}]", name(1)));
        let seeds = [1, 2].map(|seed| format!("'{}'", self.network.addresses(seed).advertised));
        let setup = setup.cluster("seeds", format!("[{}]", seeds.join(", ")));
        let all = SETTINGS
            .iter()
            .chain(self.settings)
            .chain((self.particular)(node));
        all.fold(setup, |setup, (key, value)| setup.cluster(key, *value))
    }

    fn spawn(&mut self, node: usize, setup: Setup, state: State) {
        let executable = self.network.executable(node, &binary());
        let edge = setup.spawn_from(&executable);
        self.network.started(node, edge.id());
        let edge = Some(edge);
        self.nodes.insert(node, Node { setup, edge, state });
    }

    /// Until it listens, and clients may be sent there.
    #[track_caller]
    fn await_listening(&mut self, node: usize) {
        let edge = self.edge_mut(node);
        edge.wait_until_listening();
        let address = edge.address();
        self.directory.offer(node, address);
    }

    #[track_caller]
    fn start_all(&mut self, count: usize) {
        (1..=count).for_each(|node| self.network.add(node));
        for node in 1..=count {
            self.spawn(node, self.setup(node), State::Running);
        }
        (1..=count).for_each(|node| self.await_listening(node));
        self.await_agreement();
    }

    #[track_caller]
    fn join(&mut self, node: usize) {
        self.network.add(node);
        self.spawn(node, self.setup(node), State::Running);
        self.await_listening(node);
        self.await_agreement();
    }

    #[track_caller]
    fn start_stranger(&mut self, node: usize, with: impl FnOnce(Setup) -> Setup) {
        self.network.add(node);
        self.spawn(node, with(self.setup(node)), State::Stranger);
    }

    fn kill(&mut self, node: usize) {
        self.directory.interrupt(node);
        let found = self.node(node);
        found.state = State::Ended;
        found.edge.take().expect("it runs").kill9();
    }

    #[track_caller]
    fn leave(&mut self, node: usize) {
        self.directory.withdraw(node);
        let found = self.node(node);
        found.state = State::Ended;
        let ended = found.edge.take().expect("it runs").terminate();
        assert!(ended.success(), "node {node} ended by {ended}");
    }

    fn pause(&mut self, node: usize) {
        self.directory.interrupt(node);
        self.signal(node, Signal::STOP);
        self.node(node).state = State::Paused;
    }

    fn resume(&mut self, node: usize) {
        self.signal(node, Signal::CONT);
        self.node(node).state = State::Running;
        let address = self.edge_mut(node).address();
        self.directory.offer(node, address);
    }

    fn signal(&mut self, node: usize, signal: Signal) {
        let id = Pid::from_raw(self.edge_mut(node).id() as i32).unwrap();
        kill_process(id, signal).unwrap();
    }

    #[track_caller]
    fn restart(&mut self, node: usize, disk: Disk) {
        self.start_again(node, disk);
        self.await_agreement();
    }

    #[track_caller]
    fn await_end(&mut self, node: usize) {
        self.directory.interrupt(node);
        let found = self.node(node);
        found.state = State::Ended;
        found.edge.take().expect("it runs").wait_for_exit();
    }

    #[track_caller]
    fn start_again(&mut self, node: usize, disk: Disk) {
        let found = &self.nodes[&node];
        assert_eq!(found.state, State::Ended, "node {node} runs");
        let setup = found.setup.clone();
        if disk == Disk::Lost {
            std::fs::remove_dir_all(setup.data_directory()).unwrap();
        }
        self.spawn(node, setup, State::Running);
        self.await_listening(node);
    }

    /// Each node that runs knows those that run as alive, and may serve what it keeps.
    #[track_caller]
    fn await_agreement(&mut self) {
        let running = self.running();
        self.assert_members(&running, &running);
        let follows = "aquatint_purge_lease_held";
        for node in &running {
            eventually("all have come to their full weight", || {
                let told = told(self.edge(*node), "/api/v1/cluster")?;
                let members = told["members"].as_array()?.iter();
                let mut up = members.filter(|member| member["state"] == "up");
                up.all(|member| member["weight"] == 100).then_some(())
            });
        }
        let followers: Vec<_> = running.iter().copied().filter(|node| *node != 1).collect();
        for node in followers {
            self.assert_metric(&[node], follows, Expected::Is(1.0));
        }
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|(_, node)| node.state == State::Running);
        running.map(|(number, _)| *number).collect()
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

    fn purge_and_read(&mut self, nodes: &[usize], objects: &Range<usize>) {
        let readers: Vec<_> = self.running();
        let mut client = Client::new(&self.directory);
        for (turn, object) in objects.clone().enumerate() {
            let at = nodes[turn % nodes.len()];
            self.purge(at, object);
            for node in &readers {
                client.ask(*node, object);
            }
        }
    }

    /// Says whether it was acknowledged.
    fn purge(&mut self, at: usize, object: usize) -> bool {
        let version = self.origin.change(object);
        let applied = self.order(at, object).is_some_and(|state| state == "applied");
        if applied {
            self.origin.acknowledge(object, version);
            self.purged += 1;
        }
        applied
    }

    /// What became of an order to purge an object; nothing where it was refused, or no answer came.
    fn order(&self, node: usize, object: usize) -> Option<String> {
        let url = format!("http://{HOST}{}", target(object));
        let order = json!({"files": [url]}).to_string();
        let request = authorized("POST", "/api/v1/purge")
            .with("content-type", "application/json")
            .with_body(order);
        let mut connection = Connection::open(self.edge(node).admin_address()).ok()?;
        let answer = connection.ask(&request).ok()?;
        let receipt: Value = serde_json::from_slice(&answer.body).ok()?;
        receipt["state"].as_str().map(str::to_owned)
    }

    #[track_caller]
    fn await_purges(&mut self, node: usize) {
        eventually("a purge is acknowledged", || self.purge(node, 0).then_some(()));
    }

    // ---- Assertions ----

    #[track_caller]
    fn assert_members(&self, at: &[usize], alive: &[usize]) {
        for node in at {
            let edge = self.edge(*node);
            let names: BTreeSet<_> = alive.iter().map(|node| name(*node)).collect();
            eventually(&format!("node {node} knows {alive:?} as alive"), || {
                let told = told(edge, "/api/v1/cluster")?;
                let members = told["members"].as_array()?.iter();
                let up = members.filter(|member| member["state"] == "up");
                let up: BTreeSet<_> = up.filter_map(|member| member["node"].as_str()).collect();
                up.into_iter().eq(&names).then_some(())
            });
        }
    }

    #[track_caller]
    fn assert_fetches(&self, expected: &Fetches) {
        let fetches = self.origin.fetches();
        let all: u64 = fetches.iter().sum();
        let asked = || {
            let some = fetches.iter().enumerate().filter(|(_, count)| **count > 0);
            some.map(|(object, count)| format!("{object}: {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let holds = match expected {
            Fetches::Each(objects, count) => fetches[objects.clone()].iter().all(|found| found == count),
            Fetches::EachAtMost(most) => fetches.iter().all(|found| found <= most),
            Fetches::AtMost(most) => all <= *most,
        };
        assert!(
            holds,
            "{expected:?} does not hold; {all} fetches in all: {}",
            asked()
        );
    }

    #[track_caller]
    fn assert_purges(&self, least: u64) {
        let purged = self.purged;
        assert!(purged >= least, "only {purged} purges were acknowledged");
    }

    #[track_caller]
    fn assert_metric(&self, at: &[usize], selector: &str, expected: Expected) {
        let mut last = 0.0;
        let until = monotonic() + PATIENCE;
        while monotonic() < until {
            let values = at.iter().filter_map(|node| metric(self.edge(*node), selector));
            last = values.sum();
            if expected.suits(last) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{selector} at {at:?} is {last}, not {expected:?}");
    }

    #[track_caller]
    fn assert_busiest(&self, nodes: &[usize], times: f64) {
        let answered = nodes.iter().map(|node| {
            let before = self.answered.get(node).copied().unwrap_or(0.0);
            self.answered_by(*node) - before
        });
        let answered: Vec<f64> = answered.collect();
        let mean = answered.iter().sum::<f64>() / answered.len() as f64;
        let busiest = answered.iter().copied().fold(0.0, f64::max);
        println!(
            "        answered {answered:?}: the busiest {:.2} times the mean",
            busiest / mean
        );
        assert!(
            busiest <= times * mean,
            "{answered:?}, more than {times} times the mean"
        );
    }

    #[track_caller]
    fn assert_says(&self, node: usize, text: &str) {
        let edge = self.edge(node);
        eventually(&format!("node {node} says {text:?}"), || {
            edge.stderr().contains(text).then_some(())
        });
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

/// [`KEY`] may do everything.
fn keys() -> String {
    let hash = blake3::hash(KEY.as_bytes()).to_hex();
    format!("{{tests: {{hash: 'blake3:{hash}', scopes: ['admin', 'purge:all']}}}}")
}

fn name(node: usize) -> String {
    format!("n{node}")
}

/// `AQUATINT_BINARY` may name another than this build's.
fn binary() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_aquatint").into();
    std::env::var_os("AQUATINT_BINARY").unwrap_or(built).into()
}

fn unused_secret() -> String {
    let made = ran(command(&["key", "--cluster", "--json"]), "").expect(0);
    made.json()["secret"].as_str().unwrap().to_owned()
}
