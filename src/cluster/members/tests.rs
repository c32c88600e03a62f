//! Several nodes in one process, over UDP on loopback.

use super::seal::Format;
use super::*;
use crate::base::metrics::GossipDrop;
use crate::base::secret::Secret;
use crate::base::units::Span;
use crate::cluster::Cluster;
use crate::cluster::identity::Identity;
use crate::cluster::member::State;
use crate::cluster::peers::Peers;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);

/// A node, and what it counts.
struct Node {
    members: Members,
    metrics: Arc<Metrics>,
}

fn secret() -> Secret {
    ClusterSecret::unused().unwrap()
}

/// Patient enough for a machine that is busy.
fn config(secret: &Secret, seeds: &[SocketAddr]) -> Config {
    Config {
        secret: Some(secret.clone()),
        seeds: seeds.iter().map(ToString::to_string).collect(),
        gossip_interval: Span::millis(50),
        suspicion: 40.0,
        ramp: Span::secs(0),
        ..Config::default()
    }
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn own(id: &str, address: SocketAddr) -> Own {
    Own::new(&Config::default(), id, address)
}

async fn start(id: &str, config: &Config) -> Node {
    let (socket, address) = socket();
    start_on(own(id, address), config, socket).await
}

async fn start_on(own: Own, config: &Config, socket: UdpSocket) -> Node {
    let metrics = Arc::new(Metrics::new());
    let members = Members::start(config, own, socket, metrics.clone())
        .await
        .unwrap();
    Node { members, metrics }
}

impl Node {
    fn address(&self) -> SocketAddr {
        self.members.own().address
    }

    fn member(&self, id: &str) -> Option<Arc<Member>> {
        let roll = self.members.roll();
        roll.iter().find(|member| member.id.as_str() == id).cloned()
    }

    fn state(&self, id: &str) -> Option<State> {
        self.member(id).map(|member| member.state)
    }

    fn dropped(&self, reason: GossipDrop) -> u64 {
        self.metrics.cluster_gossip_dropped[reason].get()
    }

    async fn sees(&self, id: &str, state: State) {
        self.sees_that(id, |member| member.state == state).await;
    }

    async fn sees_that(&self, id: &str, holds: impl Fn(&Member) -> bool) {
        let mut roll = self.members.changes();
        let is_so = |roll: &Roll| {
            roll.iter()
                .any(|member| member.id.as_str() == id && holds(member))
        };
        let seen = timeout(DEADLINE, roll.wait_for(is_so)).await;
        assert!(matches!(seen, Ok(Ok(_))), "{id}: {:?}", self.members.roll());
    }
}

async fn eventually(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap();
}

#[tokio::test]
async fn nodes_find_each_other_through_any_seed() {
    let secret = secret();
    let a = start("a", &config(&secret, &[])).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    let (_, nobody) = socket();
    let c = start("c", &config(&secret, &[nobody, b.address()])).await;
    for node in [&a, &b, &c] {
        for id in ["a", "b", "c"] {
            node.sees(id, State::Up).await;
        }
    }
    let seen = a.member("c").unwrap();
    assert_eq!(seen.address, c.address());
    assert_eq!(
        (&*seen.pool, &*seen.version),
        ("default", env!("CARGO_PKG_VERSION"))
    );
    assert!(seen.owns());
    timeout(DEADLINE, c.members.settled()).await.unwrap();
}

#[tokio::test]
async fn a_node_that_leaves_is_known_to_have_left_without_having_been_suspected() {
    let secret = secret();
    let a = start("a", &config(&secret, &[])).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    a.sees("b", State::Up).await;
    b.sees("a", State::Up).await;
    let mut roll = a.members.changes();
    b.members.leave().await;
    timeout(DEADLINE, b.members.ended()).await.unwrap();
    while a.state("b") != Some(State::Left) {
        timeout(DEADLINE, roll.changed()).await.unwrap().unwrap();
        assert_ne!(a.state("b"), Some(State::Down));
    }
}

#[tokio::test]
async fn a_node_that_dies_is_down_and_its_next_life_is_up() {
    let secret = secret();
    let hasty = Config {
        suspicion: 8.0,
        ..config(&secret, &[])
    };
    let a = start("a", &hasty).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    a.sees("b", State::Up).await;
    let first = a.member("b").unwrap();
    drop(b);
    a.sees("b", State::Down).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    a.sees_that("b", |member| {
        member.state == State::Up && member.generation > first.generation && member.address == b.address()
    })
    .await;
    assert_eq!(a.dropped(GossipDrop::DuplicateId), 0);
}

#[tokio::test]
async fn a_node_that_drains_says_so_and_owns_nothing() {
    let secret = secret();
    let a = start("a", &config(&secret, &[])).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    a.sees("b", State::Up).await;
    b.members.set_state(OwnState::Draining).await;
    assert_eq!(b.state("b"), Some(State::Draining));
    a.sees("b", State::Draining).await;
    assert!(!a.member("b").unwrap().owns());
    b.members.set_state(OwnState::Up).await;
    a.sees("b", State::Up).await;
}

#[tokio::test]
async fn who_has_another_secret_never_joins_and_is_counted() {
    let a = start("a", &config(&secret(), &[])).await;
    let b = start("b", &config(&secret(), &[a.address()])).await;
    eventually(|| a.dropped(GossipDrop::Unsealed) >= 5).await;
    timeout(DEADLINE, b.members.settled()).await.unwrap();
    assert_eq!((a.members.roll().len(), b.members.roll().len()), (1, 1));
}

#[tokio::test]
async fn seeds_that_name_nobody_are_no_error() {
    let mut nowhere = config(&secret(), &[socket().1]);
    nowhere.seeds.push("nobody.invalid:7946".into());
    nowhere.ramp = Span::secs(3600);
    let a = start("a", &nowhere).await;
    assert_eq!(a.member("a").unwrap().weight, 10);
    timeout(DEADLINE, a.members.settled()).await.unwrap();
    // Nobody is there whose keys could come all at once.
    a.sees_that("a", |member| member.weight == 100).await;
}

#[tokio::test]
async fn a_node_that_joins_others_begins_with_little_weight() {
    let secret = secret();
    let ramped = |seeds: &[SocketAddr], ramp| Config {
        ramp,
        ..config(&secret, seeds)
    };
    let a = start("a", &ramped(&[], Span::secs(3600))).await;
    a.sees_that("a", |member| member.weight == 100).await;
    let slow = start("slow", &ramped(&[a.address()], Span::secs(3600))).await;
    a.sees_that("slow", |member| member.weight == 10).await;
    timeout(DEADLINE, slow.members.settled()).await.unwrap();
    assert_eq!(slow.member("slow").unwrap().weight, 10);
    let fast = start("fast", &ramped(&[a.address()], Span::millis(200))).await;
    a.sees_that("fast", |member| member.weight == 100).await;
    drop(fast);
}

#[tokio::test]
async fn a_flood_of_junk_is_counted_and_the_members_stay() {
    let secret = secret();
    let a = start("a", &config(&secret, &[])).await;
    let b = start("b", &config(&secret, &[a.address()])).await;
    a.sees("b", State::Up).await;
    b.sees("a", State::Up).await;
    let (flood, _) = socket();
    let target = a.address();
    let flooding = Arc::new(AtomicBool::new(true));
    let goes_on = flooding.clone();
    let thread = std::thread::spawn(move || {
        let sizes = [0, 1, 43, 44, 500, 1400, 60_000];
        for size in sizes.iter().cycle() {
            let mut junk = vec![0x5a; *size];
            if size % 2 == 0 && *size > 4 {
                junk[..4].copy_from_slice(b"AQ\x01\x01");
            }
            if !goes_on.load(Ordering::Relaxed) {
                return;
            }
            flood.send_to(&junk, target).ok();
        }
    });
    let mut roll = a.members.changes();
    let lost = tokio::spawn(async move {
        let is_lost = |roll: &Roll| roll.iter().any(|member| member.state == State::Down);
        roll.wait_for(is_lost).await.is_ok()
    });
    let junk = || {
        a.dropped(GossipDrop::Malformed)
            .min(a.dropped(GossipDrop::Unsealed))
    };
    eventually(|| junk() > 2_000).await;
    // Word of a member still comes through.
    b.members.set_state(OwnState::Draining).await;
    a.sees("b", State::Draining).await;
    flooding.store(false, Ordering::Relaxed);
    thread.join().unwrap();
    assert_eq!(b.state("a"), Some(State::Up));
    drop(a);
    assert!(!lost.await.unwrap());
}

#[tokio::test]
async fn of_two_nodes_with_one_id_all_name_the_newest_and_it_is_counted() {
    let secret = secret();
    let hasty = |seeds: &[SocketAddr]| Config {
        suspicion: 8.0,
        ..config(&secret, seeds)
    };
    let a = start("a", &hasty(&[])).await;
    let one = start("b", &hasty(&[a.address()])).await;
    a.sees("b", State::Up).await;
    // Generations are milliseconds.
    sleep(Duration::from_millis(5)).await;
    let other = start("b", &hasty(&[a.address()])).await;
    for node in [&a, &one, &other] {
        node.sees_that("b", |member| member.address == other.address())
            .await;
    }
    eventually(|| a.dropped(GossipDrop::DuplicateId) > 0 && one.dropped(GossipDrop::DuplicateId) > 0).await;
    drop(other);
    a.sees_that("b", |member| {
        member.state == State::Up && member.address == one.address()
    })
    .await;
}

async fn start_release(id: &str, secret: &Secret, newest: u8, seeds: &[SocketAddr]) -> Node {
    let (socket, address) = socket();
    let metrics = Arc::new(Metrics::new());
    let key = ClusterSecret::parse(secret.expose()).unwrap();
    let sealer = Sealer::of_release(&key, Format(newest));
    let config = config(secret, seeds);
    let members = Members::start_sealed(&config, own(id, address), socket, sealer, metrics.clone());
    Node {
        members: members.await.unwrap(),
        metrics,
    }
}

#[tokio::test]
async fn adjacent_releases_work_together_and_others_do_not() {
    let secret = secret();
    let old = start_release("old", &secret, 4, &[]).await;
    let new = start_release("new", &secret, 5, &[old.address()]).await;
    old.sees("new", State::Up).await;
    new.sees("old", State::Up).await;
    let newer = start_release("newer", &secret, 6, &[old.address()]).await;
    eventually(|| old.dropped(GossipDrop::Version) > 5).await;
    assert_eq!((old.state("newer"), newer.state("old")), (None, None));
}

#[tokio::test]
async fn a_process_that_takes_over_is_the_same_member_all_the_time() {
    let secret = secret();
    let ramped = |seeds: &[SocketAddr]| Config {
        ramp: Span::secs(3600),
        ..config(&secret, seeds)
    };
    let a = start("a", &ramped(&[])).await;
    let (socket, address) = socket();
    let handed = socket.try_clone().unwrap();
    let before = start_on(own("b", address).taking_over(), &ramped(&[a.address()]), socket).await;
    a.sees("b", State::Up).await;
    let first = a.member("b").unwrap().generation;
    let mut roll = a.members.changes();
    before.members.hand_over().await;
    let after = start_on(own("b", address).taking_over(), &ramped(&[a.address()]), handed).await;
    while a.member("b").unwrap().generation == first {
        timeout(DEADLINE, roll.changed()).await.unwrap().unwrap();
        let seen = a.member("b").unwrap();
        assert_eq!((seen.state, seen.weight), (State::Up, 100));
    }
    after.sees("a", State::Up).await;
}

/// Two addresses that stand for two nodes; what goes from one to the other can be cut in either direction.
struct Link {
    ends: [SocketAddr; 2],
    cut: [Arc<AtomicBool>; 2],
    tasks: Vec<AbortHandle>,
}

impl Link {
    fn between(real: [SocketAddr; 2]) -> Self {
        let sockets = [(); 2].map(|()| {
            let (socket, _) = socket();
            socket.set_nonblocking(true).unwrap();
            Arc::new(tokio::net::UdpSocket::from_std(socket).unwrap())
        });
        let cut = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let ends = [0, 1].map(|end: usize| sockets[end].local_addr().unwrap());
        let carry = |end: usize| {
            let (here, there, cut) = (sockets[end].clone(), sockets[1 - end].clone(), cut[end].clone());
            let to = real[end];
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok((length, _)) = here.recv_from(&mut buffer).await {
                    if !cut.load(Ordering::Relaxed) {
                        there.send_to(&buffer[..length], to).await.ok();
                    }
                }
            })
            .abort_handle()
        };
        let tasks = vec![carry(0), carry(1)];
        Link { ends, cut, tasks }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[tokio::test]
async fn in_a_half_open_network_neither_node_flaps() {
    let secret = secret();
    let [(socket_a, real_a), (socket_b, real_b)] = [socket(), socket()];
    let link = Link::between([real_a, real_b]);
    let a = start_on(own("a", link.ends[0]), &config(&secret, &[]), socket_a).await;
    let hasty = Config {
        suspicion: 8.0,
        ..config(&secret, &[link.ends[0]])
    };
    let b = start_on(own("b", link.ends[1]), &hasty, socket_b).await;
    a.sees("b", State::Up).await;
    b.sees("a", State::Up).await;
    link.cut[1].store(true, Ordering::Relaxed);
    b.sees("a", State::Down).await;
    let (mut of_a, mut of_b) = (a.members.changes(), b.members.changes());
    of_a.borrow_and_update();
    of_b.borrow_and_update();
    // What would flap would do so within a few dead times.
    let flapped = timeout(Duration::from_secs(3), async {
        tokio::select! {
            changed = of_a.changed() => ("a", changed),
            changed = of_b.changed() => ("b", changed),
        }
    });
    assert!(flapped.await.is_err());
    assert_eq!((a.state("b"), b.state("a")), (Some(State::Up), Some(State::Down)));
    link.cut[1].store(false, Ordering::Relaxed);
    b.sees("a", State::Up).await;
}

#[tokio::test]
async fn a_cluster_has_a_view_for_each_change_and_tells_its_load() {
    let secret = secret();
    let cluster = |id: &'static str, seeds: Vec<SocketAddr>| {
        let config = config(&secret, &seeds);
        async move {
            let (socket, address) = socket();
            let metrics = Arc::new(Metrics::new());
            let own = own(id, address);
            let identity = Identity::open(&config, &own.id).unwrap();
            let peers = Peers::new(&config, &identity, metrics.clone());
            let started = Cluster::start(&config, own, socket, peers, metrics.clone()).await;
            (started.unwrap(), metrics)
        }
    };
    let (a, metrics) = cluster("a", Vec::new()).await;
    assert_eq!(a.view().members.len(), 1);
    let rings = metrics.cluster_ring_changes.get();
    let (b, _) = cluster("b", vec![a.own().address]).await;
    // It has waited until it had found somebody.
    assert_eq!(b.view().ring.members().len(), 2);
    let mut versions = a.changes();
    let has_two = async {
        while a.view().ring.members().len() < 2 {
            versions.changed().await.unwrap();
        }
    };
    timeout(DEADLINE, has_two).await.unwrap();
    assert_eq!(a.view().version, *a.changes().borrow());
    assert_eq!(metrics.cluster_ring_changes.get(), rings + 1);
    b.set_load(100);
    let b_id = b.own().id.clone();
    eventually(|| a.view().member(&b_id).is_some_and(|member| member.load == 96)).await;
    assert_eq!(metrics.cluster_ring_changes.get(), rings + 1);
    b.drain().await;
    eventually(|| a.view().ring.members().len() == 1).await;
    b.leave().await;
    eventually(|| {
        a.view()
            .member(&b_id)
            .is_some_and(|member| member.state == State::Left)
    })
    .await;
    assert_eq!(metrics.cluster_ring_changes.get(), rings + 2);
}

#[test]
fn a_node_is_known_by_what_it_advertises_and_the_port_it_has() {
    let bound: SocketAddr = "127.0.0.1:7946".parse().unwrap();
    let mut config = Config::default();
    assert_eq!(Own::new(&config, "edge1", bound).address, bound);
    config.advertise = Some("10.0.0.1:0".parse().unwrap());
    config.node = Some("node1".into());
    let own = Own::new(&config, "edge1", bound);
    assert_eq!(own.address, "10.0.0.1:7946".parse().unwrap());
    assert_eq!(own.id.as_str(), "node1");
}
