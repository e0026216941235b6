//! What every backend has to do: the same test bodies run over all of them.
//!
//! Each body drives both ends of its connections through one backend that listens and connects to itself.

mod driver;
mod lifecycle;
mod transfers;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{ListenerId, ListeningSocket};

pub(super) use driver::{Driver, pattern};
pub(super) use lifecycle::*;
pub(super) use transfers::*;

/// Longest that a body waits for something that must happen; far beyond what any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the tests of a backend on the kernel's sockets vary.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) buffer_count: u16,
    pub(super) buffer_bytes: u32,
    pub(super) socket_limit: u32,
}

impl Sizes {
    /// As a worker has them.
    pub(super) const ORDINARY: Self =
        Self { buffer_count: 256, buffer_bytes: 68 * 1024, socket_limit: 65_536 };
    /// Too few and small buffers for what is done.
    pub(super) const STARVING: Self = Self { buffer_count: 4, buffer_bytes: 4096, ..Self::ORDINARY };
}

/// A socket that listens on a free port of the loopback, and its address.
pub(super) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nobody listens, and the socket that keeps others from it.
pub(super) fn unserved() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

pub(super) fn listening(number: u32, socket: TcpListener) -> ListeningSocket {
    ListeningSocket { listener: ListenerId(number), socket: socket.into() }
}

/// The tests of a backend on the kernel's sockets, which `$make` makes from [`Sizes`] and listeners.
macro_rules! kernel_backend_conforms {
    ($make:path) => {
        mod conforms {
            use super::*;
            use crate::io::conformance::{Sizes, listener, listening};

            fn with(sizes: Sizes) -> (impl Io, SocketAddr) {
                let (socket, address) = listener();
                ($make(sizes, vec![listening(0, socket)]), address)
            }

            fn relay_with(sizes: Sizes, connections: usize) {
                let ((first, front), (second, back)) = (listener(), listener());
                let io = $make(sizes, vec![listening(0, first), listening(1, second)]);
                conformance::relay(io, front, back, connections);
            }

            #[test]
            fn echo_on_many() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::echo_on_many(io, address, 300);
            }

            #[test]
            fn large_transfer_to_a_pausing_reader() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::large_transfer_to_a_pausing_reader(io, address, 10 << 20);
            }

            #[test]
            fn pause_holds_bytes_back() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::pause_holds_bytes_back(io, address);
            }

            #[test]
            fn one_wait_hands_over_little_of_a_socket() {
                let (io, address) = with(Sizes::ORDINARY);
                let bytes = Sizes::ORDINARY.buffer_bytes as usize;
                conformance::one_wait_hands_over_little_of_a_socket(io, address, bytes);
            }

            #[test]
            fn head_and_body_are_sent_in_order() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::head_and_body_are_sent_in_order(io, address);
            }

            #[test]
            fn a_finished_sender_still_receives() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::a_finished_sender_still_receives(io, address);
            }

            #[test]
            fn resets_are_reported() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::resets_are_reported(io, address);
            }

            #[test]
            fn close_abandons_a_send() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::close_abandons_a_send(io, address);
            }

            #[test]
            fn stale_ids_reach_nobody() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::stale_ids_reach_nobody(io, address);
            }

            #[test]
            fn refused_connects_are_reported() {
                let (_unserved, nobody) = conformance::unserved();
                conformance::refused_connects_are_reported(with(Sizes::ORDINARY).0, nobody);
            }

            #[test]
            fn starved_sockets_get_their_turn() {
                let (io, address) = with(Sizes::STARVING);
                conformance::starved_sockets_get_their_turn(io, address, 64);
            }

            #[test]
            fn wakes_arrive() {
                conformance::wakes_arrive(with(Sizes::ORDINARY).0);
            }

            #[test]
            fn accepting_stops() {
                let (io, address) = with(Sizes::ORDINARY);
                conformance::accepting_stops(io, address);
            }

            #[test]
            fn a_connection_that_comes_while_accepting_stops_is_not_left_waiting() {
                let (socket, address) = listener();
                let copy = socket.try_clone().unwrap();
                let before = $make(Sizes::ORDINARY, vec![listening(0, socket)]);
                let after = $make(Sizes::ORDINARY, vec![listening(0, copy)]);
                conformance::a_listener_changes_hands(before, after, address);
            }

            #[test]
            fn relay() {
                relay_with(Sizes::ORDINARY, 40);
            }

            /// All buffers are on their way out of connections that wait for one themselves.
            #[test]
            fn a_relay_with_few_buffers_goes_on() {
                relay_with(Sizes::STARVING, 10);
            }

            #[test]
            fn connections_beyond_the_limit_are_closed_and_counted() {
                let (io, address) = with(Sizes { socket_limit: 2, ..Sizes::ORDINARY });
                conformance::connections_beyond_the_limit_are_closed_and_counted(io, address);
            }
        }
    };
}
pub(super) use kernel_backend_conforms;
