//! How nodes are configured, started, stopped and awaited.

use super::orders::keys;
use super::{Cluster, Node, SETTINGS, State, name, told};
use crate::operation::{Disk, Expected};
use crate::support::command::{Ran, command, ran};
use crate::support::purging::KEY;
use crate::support::{Setup, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;

impl Cluster {
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
        let setup = all.fold(setup, |setup, (key, value)| setup.cluster(key, *value));
        (self.shape)(node, setup)
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
    pub(super) fn start_all(&mut self, count: usize) {
        (1..=count).for_each(|node| self.network.add(node));
        for node in 1..=count {
            self.spawn(node, self.setup(node), State::Running);
        }
        (1..=count).for_each(|node| self.await_listening(node));
        self.await_agreement();
    }

    #[track_caller]
    pub(super) fn join(&mut self, node: usize) {
        self.network.add(node);
        self.spawn(node, self.setup(node), State::Running);
        self.await_listening(node);
        self.await_agreement();
    }

    #[track_caller]
    pub(super) fn start_stranger(&mut self, node: usize, with: impl FnOnce(Setup) -> Setup) {
        self.network.add(node);
        self.spawn(node, with(self.setup(node)), State::Stranger);
    }

    pub(super) fn kill(&mut self, node: usize) {
        self.directory.interrupt(node);
        let found = self.node(node);
        found.state = State::Ended;
        found.edge.take().expect("it runs").kill9();
    }

    #[track_caller]
    pub(super) fn leave(&mut self, node: usize) {
        self.directory.withdraw(node);
        let found = self.node(node);
        found.state = State::Ended;
        let ended = found.edge.take().expect("it runs").terminate();
        assert!(ended.success(), "node {node} ended by {ended}");
    }

    /// By the command, as an operator does it; clients are sent there as before.
    #[track_caller]
    pub(super) fn drain(&mut self, node: usize) {
        let said = self.command(node, &["drain"]).expect(0).stdout;
        let expected = format!("{} gives up its keys, and goes on answering\n", name(node));
        assert_eq!(said, expected);
        self.node(node).state = State::Draining;
    }

    #[track_caller]
    pub(super) fn undrain(&mut self, node: usize) {
        let said = self.command(node, &["drain", "--undo"]).expect(0).stdout;
        assert_eq!(said, format!("{} takes its keys back\n", name(node)));
        self.node(node).state = State::Running;
        self.await_agreement();
    }

    /// A command about a node, with the key that it needs.
    #[track_caller]
    pub(crate) fn command(&self, node: usize, arguments: &[&str]) -> Ran {
        let admin = self.edge(node).admin_url();
        let mut command = command(arguments);
        command.args(["--admin", &admin]).env("AQUATINT_KEY", KEY);
        ran(command, "")
    }

    pub(super) fn pause(&mut self, node: usize) {
        self.directory.interrupt(node);
        self.signal(node, Signal::STOP);
        self.node(node).state = State::Paused;
    }

    pub(super) fn resume(&mut self, node: usize) {
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
    pub(super) fn restart(&mut self, node: usize, disk: Disk) {
        self.start_again(node, disk);
        self.await_agreement();
    }

    #[track_caller]
    pub(super) fn await_end(&mut self, node: usize) {
        self.directory.interrupt(node);
        let found = self.node(node);
        found.state = State::Ended;
        found.edge.take().expect("it runs").wait_for_exit();
    }

    #[track_caller]
    pub(super) fn start_again(&mut self, node: usize, disk: Disk) {
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
}

/// `AQUATINT_BINARY` may name another than this build's.
fn binary() -> PathBuf {
    let built = env!("CARGO_BIN_EXE_aquatint").into();
    std::env::var_os("AQUATINT_BINARY").unwrap_or(built).into()
}
