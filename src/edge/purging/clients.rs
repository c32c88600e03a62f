//! How many bodies each client may have under way that is not known yet.
//!
//! Invariant: a client that has none takes no room here. It does not know what the bodies say.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Of one address: far fewer than the smallest reserve is meant for, and enough for senders that share a gateway.
pub(super) const BODIES_MAX: usize = 64;

#[derive(Clone, Default)]
pub(super) struct Clients {
    bodies: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of a client's bodies.
pub(super) struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// `None`: the client has as many as it may.
    pub(super) fn enter(&self, client: IpAddr) -> Option<Place> {
        let client = network(client);
        let mut bodies = self.bodies.lock();
        let count = bodies.entry(client).or_default();
        if *count >= BODIES_MAX {
            return None;
        }
        *count += 1;
        drop(bodies);
        Some(Place {
            clients: self.clone(),
            client,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut bodies = self.clients.bodies.lock();
        match bodies.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(bodies.remove(&self.client)),
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
        let clients = Clients::default();
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
        assert!(clients.bodies.lock().is_empty());
    }
}
