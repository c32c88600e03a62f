//! A network of namespaces: each node has one of its own, and the test's is the router between them.
//!
//! A cut is a rule of the router that drops what one node sends to another, without a word, as a broken network does. All of
//! it takes rights that a user has in a namespace of his own, where the system allows those: a test starts this crate's
//! binary again within one ([`within`]), and the test named there finds itself alone with its network.

use crate::cluster::{Cluster, Settings};
use crate::network::{Addresses, CLUSTER_PORT, Network};
use crate::operation::Operation;
use crate::turn::Turn;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// By which every node finds the origin.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// User, mount and network: in it this process may do what root may.
const UNSHARE: [&str; 3] = ["--user", "--map-root-user", "--net"];

pub(crate) struct Spaces {
    cuts: Vec<(usize, usize)>,
    directory: TempDir,
}

/// Whether they can be made here.
fn are_possible() -> bool {
    let script = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add probe && ip rule add from 10.77.9.9 blackhole";
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["--mount", "sh", "-c", script]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs a test of this crate, which is ignored otherwise, in a namespace of its own.
#[track_caller]
pub(crate) fn within(test: &str) {
    if !are_possible() {
        println!("skipped: no network namespaces can be made here");
        return;
    }
    let _turn = Turn::take();
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["--mount", "--kill-child", "--fork"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", test]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test}");
}

#[track_caller]
pub(crate) fn run_in_spaces(settings: Settings, operations: &[Operation]) {
    Cluster::new(Box::new(Spaces::new()), settings).run(operations);
}

impl Spaces {
    fn new() -> Spaces {
        must("mount", "-t tmpfs tmpfs /run");
        fs::create_dir("/run/netns").unwrap();
        must("ip", "link set lo up");
        must("ip", &format!("address add {ROUTER}/32 dev lo"));
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        Spaces {
            cuts: Vec::new(),
            directory: TempDir::new_in("/tmp").unwrap(),
        }
    }
}

impl Network for Spaces {
    fn origin_at(&self) -> Ipv4Addr {
        ROUTER
    }

    fn add(&mut self, node: usize) {
        let (space, own, gateway) = (space(node), address(node), Ipv4Addr::new(10, 77, node as u8, 1));
        must("ip", &format!("netns add {space}"));
        must(
            "ip",
            &format!("link add v{node} type veth peer name e0 netns {space}"),
        );
        must("ip", &format!("address add {gateway}/30 dev v{node}"));
        must("ip", &format!("link set v{node} up"));
        must("ip", &format!("-n {space} link set lo up"));
        must("ip", &format!("-n {space} address add {own}/30 dev e0"));
        must("ip", &format!("-n {space} link set e0 up"));
        must("ip", &format!("-n {space} route add default via {gateway}"));
    }

    fn started(&mut self, _: usize, _: u32) {}

    fn addresses(&self, node: usize) -> Addresses {
        let at = |port| SocketAddr::new(address(node).into(), port);
        Addresses {
            clients: at(0),
            admin: at(0),
            cluster: at(CLUSTER_PORT),
            advertised: at(CLUSTER_PORT),
        }
    }

    /// A script that becomes the binary, so that its process is the node's.
    fn executable(&self, node: usize, binary: &Path) -> PathBuf {
        let path = self.directory.path().join(space(node));
        let (space, binary) = (space(node), binary.display());
        let script = format!("#!/bin/sh\nexec ip netns exec {space} '{binary}' \"$@\"\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn cut(&mut self, from: usize, to: usize) {
        must("ip", &format!("rule add {} blackhole", way(from, to)));
        self.cuts.push((from, to));
    }

    fn heal(&mut self) {
        for (from, to) in self.cuts.drain(..) {
            must("ip", &format!("rule del {} blackhole", way(from, to)));
        }
    }

    fn break_connections(&mut self) {
        panic!("a router can not end a connection: the forwarders can");
    }

    fn delay(&mut self, _: Duration) {
        panic!("not every kernel can delay what passes a namespace: the forwarders can");
    }
}

fn space(node: usize) -> String {
    format!("n{node}")
}

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, node as u8, 2)
}

fn way(from: usize, to: usize) -> String {
    format!("from {} to {}", address(from), address(to))
}

#[track_caller]
fn must(command: &str, arguments: &str) {
    let output = Command::new(command).args(arguments.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {arguments}: {said}");
}
