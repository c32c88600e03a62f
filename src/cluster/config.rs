//! Where a node stands in its cluster, and how patient it is with the others.

mod calls;
mod role;
mod windows;

pub use calls::Calls;
pub use role::Role;
pub use windows::Windows;

use super::secret::ClusterSecret;
use crate::base::problem::Problems;
use crate::base::secret::Secret;
use crate::base::units::{ByteSize, Span};
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// More owners of one key are hardly ever alive at once and asked.
pub const REPLICATION_MAX: usize = 4;

pub const WEIGHT_MAX: u32 = 10_000;

/// Of the names of nodes, zones and pools.
pub const NAME_BYTES_MAX: usize = 64;

/// What any node may allow on one connection.
const STREAMS_MAX: u32 = 10_000;

const HOST_BYTES_MAX: usize = 253;
const SEEDS_MAX: usize = 256;

const NAME: &str = "a name of 1 to 64 letters, digits, -, . and _";
const NONE: &str = "(none)";

/// Without `listen` a node is alone, and all else here means nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// TCP for peers and gRPC, UDP of the same number for gossip.
    pub listen: Option<SocketAddr>,
    /// By which others reach it, where that is another: behind NAT, or when it listens on all addresses.
    pub advertise: Option<SocketAddr>,
    /// One name in the whole cluster; `edge.name` where it is not given.
    pub node: Option<String>,
    /// Shared by all nodes: 32 random bytes as `aquatint key --cluster` makes them. It signs and encrypts gossip, and
    /// certificates derive from it where `tls` gives none.
    pub secret: Option<Secret>,
    /// A file that holds the secret, instead.
    pub secret_file: Option<PathBuf>,
    pub tls: Option<Tls>,
    /// Addresses, `host:port`; a name may have many. Any one that lives is enough.
    pub seeds: Vec<String>,
    /// Owners are looked for in the requester's own zone first.
    pub zone: String,
    /// Share of keys, relative to the other nodes.
    pub weight: u32,
    /// Of [`Role::CHOSEN`].
    pub roles: Vec<Role>,
    /// Of this node as an owner: routes may ask for one (`routes[].pool`).
    pub pool: String,
    /// The nodes that keep the log of purges, whose role is [`Role::Voter`]. One, so far: the others follow it.
    pub voters: Vec<String>,
    /// How long a follower of the log may serve from its cache without a word from it.
    pub lease: Span,
    /// Owners of each key.
    pub replication: usize,
    /// How much more than the mean an owner may have under way before the next is asked, as a factor.
    pub load_factor: f64,
    /// Requests under way at an owner that never are too many, whatever the mean.
    pub load_floor: u32,
    pub gossip_interval: Span,
    /// How suspicious silence is (phi of the failure detector).
    pub suspicion: f64,
    /// How long a node that came, or came back, takes to its full weight.
    pub ramp: Span,
    pub connect_deadline: Span,
    /// From a request's end to its answer's header; an owner may have to ask the origin meanwhile.
    pub first_byte_deadline: Span,
    /// So much longer waits who passes on a client's request: the owner may have to ask the primary, and be told that it waits too
    /// long. Who waits for it hears why, instead of guessing.
    pub relay_margin: Span,
    /// For what a node that had a key before may still have of it.
    pub look_deadline: Span,
    /// From one part of a body to the next.
    pub read_deadline: Span,
    /// Connections to each peer.
    pub connections: usize,
    /// Requests under way to one peer for what is to be stored here; beyond it the next is asked.
    pub requests_max: usize,
    /// Clients' requests under way to one peer, beside those: each lasts as long as its client takes to read.
    pub relays_max: usize,
    /// Requests under way on one connection of a peer to this node.
    pub streams_max: u32,
    /// What may be sent of one message ahead of being read.
    pub stream_window: ByteSize,
    /// Connections to this node that are open at once; further ones are closed unanswered.
    pub connections_max: usize,
    /// Connections that still have to prove who they are, beside those; the one that has waited longest goes for a further one.
    pub handshakes_max: usize,
    /// How long a connection to this node may take to prove who it is.
    pub handshake_deadline: Span,
    /// How often a connection is asked whether it lives, and how long it has to answer.
    pub keepalive_interval: Span,
    pub keepalive_deadline: Span,
    /// Header of a question between nodes, and of its answer.
    pub header_bytes_max: ByteSize,
    /// Nodes that are asked for one thing, one after the other, before this one serves by itself.
    pub asked_max: usize,
    /// How long a question, or a copy, waits for a purge that its sender knows, and this node not yet.
    pub log_patience: Span,
    /// A batch of the log, or an order, of the longest URLs.
    pub log_message_bytes_max: ByteSize,
    /// Failures in a row that keep a peer from being asked; 0 never does.
    pub breaker_failures: u32,
    pub breaker_open_for: Span,
    /// Copies that wait to be pushed to other owners; more are dropped.
    pub push_queue_bytes_max: ByteSize,
    /// A part of a body, with what surrounds it.
    pub push_message_bytes_max: ByteSize,
    /// Bodies of copies that arrive, together; further ones are refused.
    pub arriving_bytes_max: ByteSize,
    /// Copies that are pushed at once.
    pub pushes_max: usize,
    /// How long a node may take to say whether it wants a copy: one that hangs holds up copies to others for so long.
    pub offer_deadline: Span,
    /// How long a push may take, with its body.
    pub push_deadline: Span,
    /// How long a client waits until other nodes know what its request has changed.
    pub invalidate_deadline: Span,
    /// URLs that another node may say have changed, in one message; a response names a few.
    pub changed_keys_max: usize,
    /// Bodies that a node gives to others when it leaves.
    pub handover_bytes_max: ByteSize,
    /// Requests in a second for one key that make it hot; 0 never does.
    pub hot_rate: u32,
    /// Hot keys that are known at once.
    pub hot_keys_max: usize,
    /// How long a key is taken to be hot after its owner said so.
    pub hot_for: Span,
    /// How often hits on copies are told to their owner.
    pub report_interval: Span,
    pub calls: Calls,
}

/// Certificates of the operator's own, in the place of those that derive from the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: who may be a node.
    pub ca: PathBuf,
    /// PEM, the leaf first; for `server_name`, as server and as client.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
    /// The name that every node's certificate carries.
    pub server_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: None,
            advertise: None,
            node: None,
            secret: None,
            secret_file: None,
            tls: None,
            seeds: Vec::new(),
            zone: String::new(),
            weight: 100,
            roles: vec![Role::Edge, Role::Cache],
            pool: "default".into(),
            voters: Vec::new(),
            lease: Span::secs(5),
            replication: 2,
            load_factor: 1.25,
            load_floor: 8,
            gossip_interval: Span::millis(500),
            suspicion: 8.0,
            ramp: Span::secs(60),
            connect_deadline: Span::secs(1),
            first_byte_deadline: Span::secs(20),
            relay_margin: Span::secs(2),
            look_deadline: Span::millis(250),
            read_deadline: Span::secs(10),
            connections: 2,
            requests_max: 1024,
            relays_max: 512,
            streams_max: 512,
            stream_window: ByteSize::kib(256),
            connections_max: 4096,
            handshakes_max: 256,
            handshake_deadline: Span::secs(5),
            keepalive_interval: Span::secs(1),
            keepalive_deadline: Span::secs(2),
            header_bytes_max: ByteSize::kib(256),
            asked_max: 3,
            log_patience: Span::millis(200),
            log_message_bytes_max: ByteSize::mib(128),
            breaker_failures: 5,
            breaker_open_for: Span::secs(2),
            push_queue_bytes_max: ByteSize::mib(64),
            push_message_bytes_max: ByteSize::mib(2),
            arriving_bytes_max: ByteSize::mib(64),
            pushes_max: 4,
            offer_deadline: Span::secs(1),
            push_deadline: Span::secs(10),
            invalidate_deadline: Span::millis(500),
            changed_keys_max: 256,
            handover_bytes_max: ByteSize::mib(256),
            hot_rate: 50,
            hot_keys_max: 256,
            hot_for: Span::secs(30),
            report_interval: Span::secs(1),
            calls: Calls::default(),
        }
    }
}

impl Config {
    pub fn validate(&self, problems: &mut Problems) {
        self.validate_names(problems);
        self.validate_addresses(problems);
        self.validate_secret(problems);
        self.validate_log(problems);
        self.validate_ownership(problems);
        self.validate_gossip(problems);
        self.validate_patience(problems);
        self.validate_limits(problems);
        problems.below("calls", |p| self.calls.validate(p));
    }

    fn validate_names(&self, problems: &mut Problems) {
        let named = [("node", self.node.as_deref()), ("pool", Some(self.pool.as_str()))];
        for (key, name) in named {
            if let Some(name) = name.filter(|name| !is_name(name)) {
                problems.refuse(key, name, NAME);
            }
        }
        if !self.zone.is_empty() && !is_name(&self.zone) {
            problems.refuse("zone", &self.zone, format!("nothing, or {NAME}"));
        }
        let roles: BTreeSet<Role> = self.roles.iter().copied().collect();
        let are_chosen = roles.iter().all(|role| Role::CHOSEN.contains(role));
        if roles.is_empty() || roles.len() < self.roles.len() || !are_chosen {
            let given: Vec<&str> = self.roles.iter().map(|role| role.name()).collect();
            let given = format!("[{}]", given.join(", "));
            let allowed = "edge, cache or both, each once; voters says who is voter";
            problems.refuse("roles", given, allowed);
        }
    }

    fn validate_addresses(&self, problems: &mut Problems) {
        let is_everybody = |address: SocketAddr| address.ip().is_unspecified() || address.ip().is_multicast();
        let allowed = "an address by which the other nodes reach this one";
        match (self.listen, self.advertise) {
            (_, Some(advertise)) if is_everybody(advertise) => {
                problems.refuse("advertise", advertise, allowed);
            }
            (Some(listen), None) if is_everybody(listen) => {
                let allowed = format!("{allowed}, since it listens on {listen}");
                problems.refuse("advertise", NONE, allowed);
            }
            _ => {}
        }
        problems.check("seeds", self.seeds.len(), 0..=SEEDS_MAX);
        for (at, seed) in self
            .seeds
            .iter()
            .enumerate()
            .filter(|(_, seed)| !is_host_and_port(seed))
        {
            let allowed = "a host and a port, such as 10.0.0.1:7946 or edges.example:7946";
            problems.refuse(&format!("seeds[{at}]"), seed, allowed);
        }
    }

    /// The secret's file is looked at where files are.
    fn validate_secret(&self, problems: &mut Problems) {
        let allowed = "exactly one of secret and secret_file; `aquatint key --cluster` makes a secret";
        match (&self.secret, &self.secret_file) {
            (Some(_), Some(_)) => problems.refuse("secret", "both", allowed),
            (None, None) if self.listen.is_some() => problems.refuse("secret", NONE, allowed),
            (Some(secret), None) if ClusterSecret::parse(secret.expose()).is_err() => {
                let allowed =
                    "aqc_ and the base64url of 32 random bytes, as `aquatint key --cluster` prints it";
                problems.refuse("secret", "(not shown)", allowed);
            }
            _ => {}
        }
        if let Some(tls) = &self.tls
            && ServerName::try_from(tls.server_name.as_str()).is_err()
        {
            problems.refuse(
                "tls.server_name",
                &tls.server_name,
                "a name that certificates can carry",
            );
        }
    }

    fn validate_log(&self, problems: &mut Problems) {
        for (at, voter) in self
            .voters
            .iter()
            .enumerate()
            .filter(|(_, voter)| !is_name(voter))
        {
            problems.refuse(&format!("voters[{at}]"), voter, NAME);
        }
        let given = || format!("[{}]", self.voters.join(", "));
        if self.voters.len() > 1 {
            problems.refuse("voters", given(), "one node, so far");
        }
        if self.voters.is_empty() && self.listen.is_some() {
            let allowed = "the node that keeps the log of purges, the same on all nodes";
            problems.refuse("voters", given(), allowed);
        }
        problems.check("lease", self.lease, Span::millis(500)..=Span::secs(60));
    }

    fn validate_ownership(&self, problems: &mut Problems) {
        problems.check("weight", self.weight, 1..=WEIGHT_MAX);
        problems.check("replication", self.replication, 1..=REPLICATION_MAX);
        problems.check("load_factor", self.load_factor, 1.05..=10.0);
        problems.check("load_floor", self.load_floor, 0..=1_000_000);
        problems.check("ramp", self.ramp, Span::secs(0)..=Span::days(1));
    }

    fn validate_gossip(&self, problems: &mut Problems) {
        let interval = Span::millis(50)..=Span::secs(10);
        problems.check("gossip_interval", self.gossip_interval, interval);
        problems.check("suspicion", self.suspicion, 2.0..=50.0);
    }

    fn validate_patience(&self, problems: &mut Problems) {
        let deadlines = [
            ("connect_deadline", self.connect_deadline),
            ("first_byte_deadline", self.first_byte_deadline),
            ("relay_margin", self.relay_margin),
            ("read_deadline", self.read_deadline),
            ("breaker_open_for", self.breaker_open_for),
            ("handshake_deadline", self.handshake_deadline),
            ("look_deadline", self.look_deadline),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_deadline", self.keepalive_deadline),
            ("log_patience", self.log_patience),
            ("offer_deadline", self.offer_deadline),
            ("push_deadline", self.push_deadline),
            ("invalidate_deadline", self.invalidate_deadline),
            ("hot_for", self.hot_for),
            ("report_interval", self.report_interval),
        ];
        for (key, span) in deadlines {
            problems.check(key, span, Span::millis(10)..=Span::secs(600));
        }
    }

    fn validate_limits(&self, problems: &mut Problems) {
        problems.check("connections", self.connections, 1..=64);
        problems.check("requests_max", self.requests_max, 1..=1_000_000);
        problems.check("relays_max", self.relays_max, 1..=1_000_000);
        problems.check("streams_max", self.streams_max, 1..=STREAMS_MAX);
        let window = ByteSize::kib(64)..=ByteSize::mib(16);
        problems.check("stream_window", self.stream_window, window);
        problems.check("connections_max", self.connections_max, 1..=1_000_000);
        problems.check("handshakes_max", self.handshakes_max, 1..=100_000);
        let header = ByteSize::kib(16)..=ByteSize::mib(16);
        problems.check("header_bytes_max", self.header_bytes_max, header);
        problems.check("breaker_failures", self.breaker_failures, 0..=1_000_000);
        let queue = ByteSize(0)..=ByteSize::gib(64);
        problems.check("push_queue_bytes_max", self.push_queue_bytes_max, queue.clone());
        problems.check("arriving_bytes_max", self.arriving_bytes_max, queue);
        problems.check("pushes_max", self.pushes_max, 1..=1000);
        let handover = ByteSize(0)..=ByteSize::gib(1024);
        problems.check("handover_bytes_max", self.handover_bytes_max, handover);
        self.validate_messages(problems);
        problems.check("asked_max", self.asked_max, 1..=16);
        problems.check("hot_rate", self.hot_rate, 0..=1_000_000);
        problems.check("hot_keys_max", self.hot_keys_max, 1..=10_000);
    }

    fn validate_messages(&self, problems: &mut Problems) {
        let log = ByteSize::mib(1)..=ByteSize::gib(1);
        problems.check("log_message_bytes_max", self.log_message_bytes_max, log);
        // A part of a body is 1 MiB.
        let push = ByteSize::mib(2)..=ByteSize::mib(256);
        problems.check("push_message_bytes_max", self.push_message_bytes_max, push);
        problems.check("changed_keys_max", self.changed_keys_max, 1..=100_000);
    }

    /// Of a connection to a peer.
    pub fn windows_of_answers(&self) -> Windows {
        let questions = self.requests_max.saturating_add(self.relays_max);
        let streams = u32::try_from(questions).unwrap_or(u32::MAX);
        Windows::of(self.stream_window, streams.min(STREAMS_MAX))
    }

    /// Of a connection of a peer to this node.
    pub fn windows_of_questions(&self) -> Windows {
        Windows::of(self.stream_window, self.streams_max)
    }

    /// Whether the node of this name keeps the log of purges.
    pub fn is_voter(&self, node: &str) -> bool {
        self.voters.first().is_some_and(|voter| voter == node)
    }

    /// Roles of the node of this name, which this is the configuration of.
    pub fn roles_of(&self, node: &str) -> BTreeSet<Role> {
        let voter = self.is_voter(node).then_some(Role::Voter);
        self.roles.iter().copied().chain(voter).collect()
    }
}

/// Whether a text may name a node, a zone or a pool.
pub fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

/// An address, or a name that stands for some, with a port.
fn is_host_and_port(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0;
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
        is_port && (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that are refused.
    fn refused(config: &Config) -> Vec<String> {
        let mut problems = Problems::default();
        config.validate(&mut problems);
        problems
            .into_found()
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    }

    fn of_three() -> Config {
        Config {
            listen: Some(([127, 0, 0, 1], 7946).into()),
            secret: Some(ClusterSecret::unused().unwrap()),
            seeds: vec!["edges.example:7946".into(), "[::1]:7946".into()],
            voters: vec!["node1".into()],
            ..Config::default()
        }
    }

    #[test]
    fn a_node_alone_and_one_of_three_can_stand() {
        assert_eq!(refused(&Config::default()), [""; 0]);
        assert_eq!(refused(&of_three()), [""; 0]);
    }

    #[test]
    fn whoever_listens_needs_one_secret_that_is_sound() {
        let without = Config {
            secret: None,
            ..of_three()
        };
        assert_eq!(refused(&without), ["secret"]);
        let twice = Config {
            secret_file: Some("secret".into()),
            ..of_three()
        };
        assert_eq!(refused(&twice), ["secret"]);
        for weak in [
            "",
            "hunter2",
            "aqc_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "aqc_c2hvcnQ",
        ] {
            let weak = Config {
                secret: Some(Secret::new(weak.into())),
                ..of_three()
            };
            assert_eq!(refused(&weak), ["secret"]);
        }
    }

    #[test]
    fn the_others_have_to_reach_this_node() {
        let everywhere = Some(([0, 0, 0, 0], 7946).into());
        let unreachable = Config {
            listen: everywhere,
            ..of_three()
        };
        assert_eq!(refused(&unreachable), ["advertise"]);
        let told = Config {
            advertise: Some(([10, 0, 0, 1], 7946).into()),
            ..unreachable
        };
        assert_eq!(refused(&told), [""; 0]);
        let mistold = Config {
            advertise: everywhere,
            ..of_three()
        };
        assert_eq!(refused(&mistold), ["advertise"]);
    }

    #[test]
    fn one_node_keeps_the_log_of_a_cluster() {
        let nobody = Config {
            voters: Vec::new(),
            ..of_three()
        };
        assert_eq!(refused(&nobody), ["voters"]);
        let two = Config {
            voters: vec!["a".into(), "b".into()],
            ..of_three()
        };
        assert_eq!(refused(&two), ["voters"]);
        // Others could join it that follow another's log.
        let first = Config {
            voters: Vec::new(),
            seeds: Vec::new(),
            ..of_three()
        };
        assert_eq!(refused(&first), ["voters"]);
    }

    #[test]
    fn seeds_are_hosts_with_ports() {
        for (seed, expected) in [
            ("10.0.0.1:7946", true),
            ("edges:1", true),
            ("10.0.0.1", false),
            ("edges:0", false),
            ("edges:99999", false),
            (":7946", false),
            ("http://edges:7946", false),
            ("a b:7946", false),
            ("", false),
        ] {
            assert_eq!(is_host_and_port(seed), expected, "{seed}");
        }
    }

    #[test]
    fn names_are_plain_and_roles_are_some() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "a b", "a/b", "é", &long] {
            let config = Config {
                node: Some(name.into()),
                pool: name.into(),
                voters: vec![name.into()],
                ..of_three()
            };
            assert_eq!(refused(&config), ["node", "pool", "voters[0]"], "{name}");
        }
        for roles in [
            vec![],
            vec![Role::Edge, Role::Edge],
            vec![Role::Cache, Role::Voter],
        ] {
            assert_eq!(refused(&Config { roles, ..of_three() }), ["roles"]);
        }
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let config = Config {
            load_factor: f64::NAN,
            suspicion: f64::INFINITY,
            weight: 0,
            gossip_interval: Span::secs(0),
            ..of_three()
        };
        assert_eq!(
            refused(&config),
            ["weight", "load_factor", "gossip_interval", "suspicion"]
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let config = of_three();
        let secret = config.secret.clone().unwrap();
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains(secret.expose()));
    }
}
