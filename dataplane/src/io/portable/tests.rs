//! Real loopback sockets driven through epoll.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::io::ListenerId;
use crate::io::conformance::{self, Driver, pattern};

fn listening(number: u32, socket: TcpListener) -> ListeningSocket {
    ListeningSocket { listener: ListenerId(number), socket: socket.into() }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn backend_with(options: PortableOptions) -> (PortableIo, SocketAddr) {
    let (listener, address) = listener();
    (PortableIo::new(options, vec![listening(0, listener)]).unwrap(), address)
}

fn backend() -> (PortableIo, SocketAddr) {
    backend_with(PortableOptions::default())
}

#[test]
fn echo_on_many() {
    let (io, address) = backend();
    conformance::echo_on_many(io, address, 300);
}

#[test]
fn large_transfer_to_a_pausing_reader() {
    let (io, address) = backend();
    conformance::large_transfer_to_a_pausing_reader(io, address, 10 << 20);
}

#[test]
fn pause_holds_bytes_back() {
    let (io, address) = backend();
    conformance::pause_holds_bytes_back(io, address);
}

#[test]
fn head_and_body_are_sent_in_order() {
    let (io, address) = backend();
    conformance::head_and_body_are_sent_in_order(io, address);
}

#[test]
fn a_finished_sender_still_receives() {
    let (io, address) = backend();
    conformance::a_finished_sender_still_receives(io, address);
}

#[test]
fn resets_are_reported() {
    let (io, address) = backend();
    conformance::resets_are_reported(io, address);
}

#[test]
fn close_abandons_a_send() {
    let (io, address) = backend();
    conformance::close_abandons_a_send(io, address);
}

#[test]
fn stale_ids_reach_nobody() {
    let (io, address) = backend();
    conformance::stale_ids_reach_nobody(io, address);
}

#[test]
fn refused_connects_are_reported() {
    let (io, _) = backend();
    let nobody = listener().1;
    conformance::refused_connects_are_reported(io, nobody);
}

#[test]
fn starved_sockets_get_their_turn() {
    let options = PortableOptions { buffer_count: 4, buffer_bytes: 4096, ..PortableOptions::default() };
    let (io, address) = backend_with(options);
    conformance::starved_sockets_get_their_turn(io, address, 64);
}

#[test]
fn wakes_arrive() {
    conformance::wakes_arrive(backend().0);
}

#[test]
fn accepting_stops() {
    let (io, address) = backend();
    conformance::accepting_stops(io, address);
}

#[test]
fn relay() {
    let ((first, front), (second, back)) = (listener(), listener());
    let listeners = vec![listening(0, first), listening(1, second)];
    conformance::relay(PortableIo::new(PortableOptions::default(), listeners).unwrap(), front, back, 40);
}

/// All buffers are on their way out of connections that wait for one themselves.
#[test]
fn a_relay_with_few_buffers_goes_on() {
    let ((first, front), (second, back)) = (listener(), listener());
    let listeners = vec![listening(0, first), listening(1, second)];
    let options = PortableOptions { buffer_count: 2, buffer_bytes: 4096, ..PortableOptions::default() };
    conformance::relay(PortableIo::new(options, listeners).unwrap(), front, back, 10);
}

#[test]
fn connections_beyond_the_limit_are_closed_and_counted() {
    let (io, address) = backend_with(PortableOptions { socket_limit: 2, ..PortableOptions::default() });
    let mut driver = Driver::new(io);
    let mut streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    assert_eq!(driver.io.counters().accept_failures, 1);
    assert_eq!(driver.io.connect(address), Err(Errno(libc::EMFILE)));
    assert_eq!(streams.pop().unwrap().read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn unix_sockets_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let listening = ListeningSocket { listener: ListenerId(0), socket: listener.into() };
    let mut driver = Driver::new(PortableIo::new(PortableOptions::default(), vec![listening]).unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(&pattern(100)).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let Event::Accepted { socket, peer, .. } = driver.next() else { panic!("expected a connection") };
    assert!(peer.ip().is_loopback());
    assert_eq!(driver.io.local_address(socket), None);
    assert_eq!(driver.receive_all(socket), (pattern(100), ReceiveEnd::Finished));
}

/// The end of a stream that came with its last bytes is told, although those fill a buffer only in part.
#[test]
fn the_end_that_came_with_bytes_is_told() {
    let (io, address) = backend();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"all").unwrap();
    drop(client);
    let mut driver = Driver::new(io);
    let Event::Accepted { socket, .. } = driver.next() else { panic!("expected a connection") };
    assert_eq!(driver.receive_all(socket), (b"all".to_vec(), ReceiveEnd::Finished));
}
