//! A network of forwarders in this process: each node advertises one that stands for it, and whatever others send it passes
//! there.
//!
//! A forwarder has to know who sends, since a cut may be for one sender, and for one direction. Each node listens at a
//! loopback address of its own, so a datagram says where it is from; it is passed on from the forwarder that stands for its
//! sender, where an answer then arrives. A connection comes from no such address: which process holds its other end is
//! looked up in /proc. A cut holds back what is sent over a connection, its end too, and drops datagrams.

use crate::network::{Addresses, CLUSTER_PORT, Network};
use crate::support::PATIENCE;
use aquatint::base::clock::monotonic;
use parking_lot::{Condvar, Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Of the third byte of the forwarders' addresses, and of the nodes'.
const FORWARDER: u8 = 100;

const CHUNK_BYTES: usize = 64 << 10;

/// How long the other end of a connection is looked for: a process is known a moment after its start.
const LOOK_UP: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(20);

static NETWORKS: AtomicU16 = AtomicU16::new(0);

pub(crate) struct Proxy(Arc<Shared>);

struct Shared {
    /// The middle bytes of all addresses here.
    middle: [u8; 2],
    state: Mutex<State>,
    changed: Condvar,
    delay_ms: AtomicU64,
    /// Connections under way, both ends of each; some have ended.
    connections: Mutex<Vec<TcpStream>>,
    processes: Mutex<HashMap<usize, u32>>,
    /// Of each node's forwarder.
    sockets: RwLock<HashMap<usize, UdpSocket>>,
}

#[derive(Default)]
struct State {
    /// From, to.
    cuts: HashSet<(usize, usize)>,
    over: bool,
}

impl Proxy {
    pub(crate) fn new() -> Proxy {
        Proxy(Arc::new(Shared {
            middle: unused_middle(),
            state: Mutex::default(),
            changed: Condvar::new(),
            delay_ms: AtomicU64::new(0),
            connections: Mutex::default(),
            processes: Mutex::default(),
            sockets: RwLock::default(),
        }))
    }
}

/// Another process that takes the same addresses has others tried.
pub(crate) fn unused_middle() -> [u8; 2] {
    for _ in 0..200 {
        let number = NETWORKS.fetch_add(1, Ordering::SeqCst);
        let number = number.wrapping_add(std::process::id().wrapping_mul(61) as u16);
        let middle = [1 + (number >> 8) as u8 % 250, number as u8];
        let first = SocketAddr::new(
            Ipv4Addr::new(127, middle[0], middle[1], FORWARDER + 1).into(),
            CLUSTER_PORT,
        );
        if TcpListener::bind(first).is_ok() {
            return middle;
        }
    }
    panic!("no loopback addresses are free");
}

impl Network for Proxy {
    fn origin_at(&self) -> Ipv4Addr {
        Ipv4Addr::LOCALHOST
    }

    fn add(&mut self, node: usize) {
        let at = self.0.forwarder(node);
        let listener = TcpListener::bind(at).unwrap();
        let socket = UdpSocket::bind(at).unwrap();
        socket.set_read_timeout(Some(POLL * 10)).unwrap();
        let receiving = socket.try_clone().unwrap();
        self.0.sockets.write().insert(node, socket);
        let shared = self.0.clone();
        thread::spawn(move || shared.forward_datagrams(&receiving, node));
        let shared = self.0.clone();
        thread::spawn(move || shared.accept(&listener, node));
    }

    fn started(&mut self, node: usize, process: u32) {
        self.0.processes.lock().insert(node, process);
    }

    fn addresses(&self, node: usize) -> Addresses {
        let unused = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        Addresses {
            clients: unused,
            admin: unused,
            cluster: self.0.node(node),
            advertised: self.0.forwarder(node),
        }
    }

    fn executable(&self, _: usize, binary: &Path) -> PathBuf {
        binary.to_owned()
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.0.state.lock().cuts.insert((from, to));
    }

    fn heal(&mut self) {
        self.0.state.lock().cuts.clear();
        self.0.changed.notify_all();
    }

    fn break_connections(&mut self) {
        for socket in self.0.connections.lock().drain(..) {
            // It may have ended.
            socket.shutdown(Shutdown::Both).ok();
        }
    }

    fn delay(&mut self, by: Duration) {
        let by = by.as_millis() as u64;
        self.0.delay_ms.store(by, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.state.lock().over = true;
        self.0.changed.notify_all();
        for node in self.0.sockets.read().keys() {
            // Wakes who accepts.
            drop(TcpStream::connect(self.0.forwarder(*node)));
        }
    }
}

impl Shared {
    fn forwarder(&self, node: usize) -> SocketAddr {
        self.address(FORWARDER + node as u8)
    }

    fn node(&self, node: usize) -> SocketAddr {
        self.address(node as u8)
    }

    fn address(&self, last: u8) -> SocketAddr {
        let [second, third] = self.middle;
        SocketAddr::new(Ipv4Addr::new(127, second, third, last).into(), CLUSTER_PORT)
    }

    fn is_over(&self) -> bool {
        self.state.lock().over
    }

    // ---- Datagrams ----

    fn forward_datagrams(&self, receiving: &UdpSocket, to: usize) {
        let mut bytes = vec![0; CHUNK_BYTES];
        while !self.is_over() {
            // Late, or an error that an earlier datagram came back with.
            let Ok((length, from)) = receiving.recv_from(&mut bytes) else {
                continue;
            };
            let delay = self.delay_ms.load(Ordering::SeqCst);
            thread::sleep(Duration::from_millis(delay));
            self.forward(&bytes[..length], from, to, receiving);
        }
    }

    /// What is from no node is passed on as it is: a stranger's.
    fn forward(&self, datagram: &[u8], from: SocketAddr, to: usize, receiving: &UdpSocket) {
        let sockets = self.sockets.read();
        let sender = sockets.keys().find(|node| self.node(**node) == from);
        let cut = sender.is_some_and(|from| self.state.lock().cuts.contains(&(*from, to)));
        if !cut {
            let socket = sender.map_or(receiving, |from| &sockets[from]);
            // Nobody listens where a node is down.
            socket.send_to(datagram, self.node(to)).ok();
        }
    }

    // ---- Connections ----

    fn accept(self: &Arc<Self>, listener: &TcpListener, to: usize) {
        for socket in listener.incoming().map_while(Result::ok) {
            if self.is_over() {
                return;
            }
            let shared = self.clone();
            thread::spawn(move || shared.connect(socket, to));
        }
    }

    /// A connection of nobody's is one that has ended meanwhile.
    fn connect(self: &Arc<Self>, socket: TcpStream, to: usize) {
        let Some(from) = self.sender_of(&socket) else {
            return;
        };
        if !self.pass(from, to) {
            return;
        }
        let Ok(onward) = TcpStream::connect(self.node(to)) else {
            return;
        };
        drop(socket.set_nodelay(true).and(onward.set_nodelay(true)));
        let ends = || Ok::<_, io::Error>((socket.try_clone()?, onward.try_clone()?));
        if let Ok((back_to, back_from)) = ends() {
            if let Ok((near, far)) = ends() {
                self.connections.lock().extend([near, far]);
            }
            let shared = self.clone();
            thread::spawn(move || shared.pump(back_from, back_to, to, from));
        }
        self.pump(socket, onward, from, to);
    }

    /// Copies one direction, as long as both ends live. The end is passed on like all else.
    fn pump(&self, mut source: TcpStream, mut sink: TcpStream, from: usize, to: usize) {
        let mut bytes = vec![0; CHUNK_BYTES];
        loop {
            let read = source.read(&mut bytes);
            let delay = self.delay_ms.load(Ordering::SeqCst);
            thread::sleep(Duration::from_millis(delay));
            if !self.pass(from, to) {
                return;
            }
            match read {
                Ok(0) => return drop(sink.shutdown(Shutdown::Write)),
                Ok(length) if sink.write_all(&bytes[..length]).is_ok() => {}
                _ => return drop((source.shutdown(Shutdown::Both), sink.shutdown(Shutdown::Both))),
            }
        }
    }

    /// Waits while the way is cut; says whether there is a network still.
    fn pass(&self, from: usize, to: usize) -> bool {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| {
            !state.over && state.cuts.contains(&(from, to))
        });
        !state.over
    }

    /// Strangers are number 0.
    fn sender_of(&self, socket: &TcpStream) -> Option<usize> {
        let (peer, own) = (socket.peer_addr().ok()?, socket.local_addr().ok()?);
        let until = monotonic() + LOOK_UP;
        while monotonic() < until {
            // The kernel's table changes while it is read: what is missing may be there the next time.
            if let Some(node) = inode_of(peer, own).and_then(|inode| self.holder_of(inode)) {
                return Some(node);
            }
            thread::sleep(POLL);
        }
        None
    }

    fn holder_of(&self, inode: u64) -> Option<usize> {
        let link = format!("socket:[{inode}]");
        let processes = self.processes.lock().clone();
        let known = processes.into_iter().chain([(0, std::process::id())]);
        let mut holders = known.filter(|(_, process)| holds(*process, &link));
        holders.next().map(|(node, _)| node)
    }
}

/// Of the socket at `near` that is connected to `far`, as /proc has it; nothing for one that nobody holds any more. Another one
/// may have the near address too, towards another end.
fn inode_of(near: SocketAddr, far: SocketAddr) -> Option<u64> {
    let (near, far) = (as_in_table(near)?, as_in_table(far)?);
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let rows = table.lines().map(|line| line.split_whitespace().collect());
    let mut found = rows.filter(|row: &Vec<&str>| row.len() > 9 && row[1] == near && row[2] == far);
    let inode = found.next()?[9].parse().ok()?;
    (inode != 0).then_some(inode)
}

fn as_in_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

fn holds(process: u32, link: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    let mut links = files.flatten().map(|file| fs::read_link(file.path()));
    links.any(|target| target.is_ok_and(|target| target.as_os_str() == link))
}

const _: () = assert!(
    LOOK_UP.as_secs() < PATIENCE.as_secs(),
    "a test outlasts a look-up"
);
