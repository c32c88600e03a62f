//! The harness itself: the network between strangers, who are number 0, and a node's addresses.

use crate::network::Network;
use crate::origin::{Origin, Wrong, target};
use crate::proxy::Proxy;
use crate::support::{PATIENCE, eventually};
use crate::wire::{Connection, Request};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const BRIEFLY: Duration = Duration::from_millis(100);

#[test]
fn a_cut_freezes_a_connection_in_one_direction_and_healing_thaws_it() {
    let mut network = Proxy::new();
    network.add(1);
    let addresses = network.addresses(1);
    let listener = TcpListener::bind(addresses.cluster).unwrap();
    let mut near = TcpStream::connect(addresses.advertised).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let mut four = [0; 4];
    near.write_all(b"ping").unwrap();
    far.read_exact(&mut four).unwrap();
    network.cut(0, 1);
    near.write_all(b"held").unwrap();
    far.set_read_timeout(Some(BRIEFLY)).unwrap();
    assert_eq!(far.read(&mut four).unwrap_err().kind(), ErrorKind::WouldBlock);
    far.write_all(b"pong").unwrap();
    near.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"pong", "the other direction is open");
    network.heal();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    far.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"held");
    drop(near);
    assert_eq!(far.read(&mut four).unwrap(), 0, "an end is passed on");
}

#[test]
fn a_datagram_comes_from_the_one_that_stands_for_its_sender_unless_the_way_is_cut() {
    let mut network = Proxy::new();
    network.add(1);
    network.add(2);
    let (one, two) = (network.addresses(1), network.addresses(2));
    let (near, far) = (
        UdpSocket::bind(one.cluster).unwrap(),
        UdpSocket::bind(two.cluster).unwrap(),
    );
    let mut bytes = [0; 16];
    for socket in [&near, &far] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    near.send_to(b"hello", two.advertised).unwrap();
    let (length, from) = far.recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes[..length], from), (&b"hello"[..], one.advertised));
    far.send_to(b"back", from).unwrap();
    assert_eq!(near.recv_from(&mut bytes).unwrap(), (4, two.advertised));
    network.cut(1, 2);
    near.send_to(b"lost", two.advertised).unwrap();
    far.send_to(b"through", one.advertised).unwrap();
    assert_eq!(near.recv_from(&mut bytes).unwrap().0, 7);
    far.set_read_timeout(Some(BRIEFLY)).unwrap();
    assert_eq!(
        far.recv_from(&mut bytes).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn a_process_is_found_by_the_connection_it_holds() {
    let mut network = Proxy::new();
    network.add(1);
    let addresses = network.addresses(1);
    let listener = TcpListener::bind(addresses.cluster).unwrap();
    let to = addresses.advertised;
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; read -r line <&3; echo $line >&3",
        to.ip(),
        to.port()
    );
    let child = std::process::Command::new("bash").args(["-c", &script]).spawn();
    let mut child = child.unwrap();
    network.add(2);
    network.cut(2, 1);
    network.started(2, child.id());
    listener.set_nonblocking(true).unwrap();
    std::thread::sleep(BRIEFLY * 3);
    assert!(listener.accept().is_err(), "the way from 2 to 1 is cut");
    network.heal();
    let (mut far, _) = eventually("the connection arrives", || listener.accept().ok());
    far.set_nonblocking(false).unwrap();
    far.write_all(b"line\n").unwrap();
    let mut said = String::new();
    far.read_to_string(&mut said).unwrap();
    assert_eq!(said, "line\n");
    child.wait().unwrap();
}

/// Two connections to different ends may have one near address: who is asked after has been taken for the other, and a
/// connection that nobody seemed to hold was reset.
#[test]
fn a_process_is_found_though_another_connection_has_its_near_address() {
    let mut network = Proxy::new();
    network.add(1);
    let addresses = network.addresses(1);
    let listener = TcpListener::bind(addresses.cluster).unwrap();
    let elsewhere = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut shared = "127.0.0.1:0".parse().unwrap();
    for other in &elsewhere {
        shared = from(shared, other.local_addr().unwrap()).local_addr().unwrap();
        // It ends at once, stays in the kernel's table, and is in nobody's hands.
    }
    let mut again = from(shared, addresses.advertised);
    listener.set_nonblocking(true).unwrap();
    let (mut far, _) = eventually("the connection arrives", || listener.accept().ok());
    far.set_nonblocking(false).unwrap();
    again.write_all(b"ping").unwrap();
    let mut four = [0; 4];
    far.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"ping");
}

/// A connection from that address.
fn from(near: SocketAddr, far: SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    bind(&socket, &near).unwrap();
    connect(&socket, &far).unwrap();
    socket.into()
}

#[test]
fn the_origin_counts_and_its_answers_are_judged_by_object_and_version() {
    let origin = Origin::start(Ipv4Addr::LOCALHOST);
    let ask = |object: usize| {
        let request = Request::new("GET", "any", &target(object));
        Connection::open(origin.address()).unwrap().ask(&request).unwrap()
    };
    let first = ask(7);
    origin.judge(7, 0, &first).unwrap();
    assert!(matches!(origin.judge(8, 0, &first), Err(Wrong::Answer(_))));
    origin.change(7);
    assert!(matches!(origin.judge(7, 1, &first), Err(Wrong::Stale(_))));
    let second = ask(7);
    origin.judge(7, 1, &second).unwrap();
    assert_ne!(first.body, second.body);
    assert_eq!((origin.fetches()[7], origin.fetches()[8]), (2, 0));
    origin.fail();
    assert!(matches!(origin.judge(7, 0, &ask(7)), Err(Wrong::Answer(_))));
}
