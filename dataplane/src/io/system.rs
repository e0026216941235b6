//! What the backends that use the kernel have in common: its clocks, and facts about its sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use socket2::{SockAddr, Socket};

use super::Monotonic;

/// How long accepting pauses after a failure that trying again at once wouldn't cure.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whom the clients of a Unix socket count as: they are on this host.
const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The monotonic clock; all workers of the process share its zero.
pub(super) fn monotonic() -> Monotonic {
    static ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);
    Monotonic(u64::try_from(ZERO.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// The wall clock: nanoseconds since 1970 UTC.
pub(super) fn unix_nanos() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

/// The address that a peer counts as; none for a family that nothing here listens on. A socket for both IPv6 and IPv4 gives
/// clients of the latter as `::ffff:192.0.2.1`: they are who they are on any other socket.
pub(super) fn peer_address(peer: &SockAddr) -> Option<SocketAddr> {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    peer.as_socket().map(canonical).or_else(|| peer.is_unix().then_some(UNIX_PEER))
}

/// Sends FIN. It fails only on a socket that is broken or finished already, which other events tell.
pub(super) fn finish(socket: &Socket) {
    let _ = socket.shutdown(std::net::Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_a_socket_for_both_families_are_who_they_are() {
        let of =
            |address: &str| peer_address(&address.parse::<SocketAddr>().unwrap().into()).unwrap().to_string();
        assert_eq!(of("[::ffff:192.0.2.1]:80"), "192.0.2.1:80");
        assert_eq!(of("[2001:db8::1]:80"), "[2001:db8::1]:80");
        assert_eq!(of("192.0.2.1:80"), "192.0.2.1:80");
    }
}
