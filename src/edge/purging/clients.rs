//! How much each client may have under way that is not known yet: so many bodies, and so many bytes of them.
//!
//! Invariant: a client that has none takes no room here. It does not know what the bodies say.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Of one address: far fewer than the smallest reserve is meant for, and enough for senders that share a gateway.
pub(super) const BODIES_MAX: usize = 64;

#[derive(Clone)]
pub(super) struct Clients {
    under_way: Arc<Mutex<HashMap<IpAddr, UnderWay>>>,
    bytes_max: u64,
}

#[derive(Default)]
struct UnderWay {
    bodies: usize,
    bytes: u64,
}

/// One of a client's bodies, as far as it has come.
pub(super) struct Place {
    clients: Clients,
    client: IpAddr,
    bytes: u64,
}

impl Clients {
    /// Each may have so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        Clients {
            under_way: Arc::default(),
            bytes_max,
        }
    }

    /// `None`: the client has as many bodies as it may.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let client = network(client);
        let mut all = self.under_way.lock();
        let under_way = all.entry(client).or_default();
        if under_way.bodies >= BODIES_MAX {
            return None;
        }
        under_way.bodies += 1;
        drop(all);
        Some(Place {
            clients: self.clone(),
            client,
            bytes: 0,
        })
    }
}

impl Place {
    /// Takes room for more of the body, unless the client has as much as it may.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let mut all = self.clients.under_way.lock();
        let under_way = all.entry(self.client).or_default();
        let has_room = under_way.bytes + bytes <= self.clients.bytes_max;
        if has_room {
            under_way.bytes += bytes;
            self.bytes += bytes;
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.clients.under_way.lock();
        match all.get_mut(&self.client) {
            Some(under_way) if under_way.bodies > 1 => {
                under_way.bodies -= 1;
                under_way.bytes -= self.bytes;
            }
            _ => drop(all.remove(&self.client)),
        }
    }
}

/// A subscriber has a whole network of 64 bits of IPv6, and may send from each of its addresses.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_have_so_many_and_another_as_many_again() {
        let clients = Clients::new(100);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let mut places: Vec<_> = (0..BODIES_MAX).map(|_| clients.enter(one).unwrap()).collect();
        assert!(clients.enter(one).is_none());
        assert!(
            clients.enter("2001:db8::2".parse().unwrap()).is_none(),
            "its network"
        );
        assert!(clients.enter("192.0.2.1".parse().unwrap()).is_some());
        places.pop();
        assert!(clients.enter(one).is_some());
        drop(places);
        assert!(clients.under_way.lock().is_empty());
    }
    #[test]
    fn a_client_may_have_so_many_bytes_in_however_few_bodies() {
        let clients = Clients::new(100);
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        let mut first = clients.enter(one).unwrap();
        let mut second = clients.enter(one).unwrap();
        assert!(first.grow(60) && second.grow(40) && !second.grow(1));
        let mut other = clients.enter("192.0.2.2".parse().unwrap()).unwrap();
        assert!(other.grow(100));
        drop(first);
        assert!(second.grow(60) && !second.grow(1));
        drop((second, other));
        assert!(clients.under_way.lock().is_empty());
    }
}
