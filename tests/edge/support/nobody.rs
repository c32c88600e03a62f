//! An address where nobody listens, and nobody else can come to listen.
//!
//! Invariant: for as long as it lives its port is taken, and who connects is refused. It does not know who connects.

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    /// Bound, and not listening.
    _socket: OwnedFd,
}

impl Nobody {
    pub(crate) fn there() -> Nobody {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = getsockname(&socket).unwrap().try_into().unwrap();
        Nobody {
            address,
            _socket: socket,
        }
    }
}
