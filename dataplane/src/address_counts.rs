//! Connections by client address, over all workers: for the cap on those of one address.
//!
//! Only the accept path and the end of a connection come here, and only where there is a cap. An entry lives as long as
//! a connection that it counts, so there are never more entries than connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::io::ListenerId;

/// So many locks, so that workers seldom meet at one.
const SHARDS: usize = 64;
/// The part of an IPv6 address that a client can't choose: what one network is given.
const IPV6_CLIENT_BITS: u32 = 64;

/// Who is counted: a client at a listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Counted {
    listener: ListenerId,
    address: IpAddr,
}

/// How many connections each client address has open at each listener.
#[derive(Debug)]
pub(crate) struct AddressCounts {
    hasher: RandomState,
    shards: [Mutex<HashMap<Counted, u32, RandomState>>; SHARDS],
}

/// A connection's place in the count; dropped with the connection.
#[derive(Debug)]
pub(crate) struct CountedConnection {
    counts: Arc<AddressCounts>,
    counted: Counted,
}

impl Default for AddressCounts {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl AddressCounts {
    /// Counts one more connection of `address`, unless it has `max` of them.
    pub(crate) fn admit(
        self: &Arc<Self>,
        listener: ListenerId,
        address: IpAddr,
        max: u32,
    ) -> Option<CountedConnection> {
        let counted = Counted { listener, address: client_of(address) };
        let mut shard = self.shard(&counted);
        let count = shard.entry(counted).or_insert(0);
        // An entry is never left at zero: `max` is at least 1.
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(CountedConnection { counts: Arc::clone(self), counted })
    }

    fn shard(&self, counted: &Counted) -> MutexGuard<'_, HashMap<Counted, u32, RandomState>> {
        let number = self.hasher.hash_one(counted) % SHARDS as u64;
        // Nothing panics while it holds the lock, and a count is whole at any time.
        self.shards[number as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut shard = self.counts.shard(&self.counted);
        if let Some(count) = shard.get_mut(&self.counted) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.counted);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, an IPv6 network of 64 bits.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> IPV6_CLIENT_BITS << IPV6_CLIENT_BITS;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ListenerId = ListenerId(0);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entries(counts: &AddressCounts) -> usize {
        counts.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let counts = Arc::new(AddressCounts::default());
        let client = address("192.0.2.1");
        let first = counts.admit(FIRST, client, 2).unwrap();
        let second = counts.admit(FIRST, client, 2).unwrap();
        assert!(counts.admit(FIRST, client, 2).is_none());
        assert!(counts.admit(FIRST, address("192.0.2.2"), 2).is_some());
        assert!(counts.admit(ListenerId(1), client, 2).is_some(), "listeners count apart");
        drop(first);
        let third = counts.admit(FIRST, client, 2).unwrap();
        assert!(counts.admit(FIRST, client, 2).is_none());
        drop((second, third));
        assert_eq!(entries(&counts), 0, "nobody is remembered who has no connection");
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_ipv4_is_told_apart_in_any_form() {
        let counts = Arc::new(AddressCounts::default());
        let table = [
            ("2001:db8::1", "2001:db8::ffff:2", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ];
        for (one, other, same) in table {
            let place = counts.admit(FIRST, address(one), 1);
            assert!(place.is_some());
            assert_eq!(counts.admit(FIRST, address(other), 1).is_none(), same, "{one} {other}");
        }
    }

    #[test]
    fn workers_that_count_at_once_never_admit_too_many() {
        let counts = Arc::new(AddressCounts::default());
        let held: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let ask = |_| counts.admit(FIRST, address("192.0.2.1"), 100);
                        let places: Vec<_> = (0..1000).filter_map(ask).collect();
                        let held = places.len();
                        std::mem::forget(places);
                        held
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(held, 100);
    }
}
