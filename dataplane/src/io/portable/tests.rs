//! Real loopback sockets driven through epoll.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::io::ListenerId;
use crate::io::conformance::{self, Driver, Sizes, listener, pattern};

fn backend(sizes: Sizes, listeners: Vec<ListeningSocket>) -> PortableIo {
    let Sizes { buffer_count, buffer_bytes, socket_limit } = sizes;
    let (buffer_count, buffer_bytes) = (buffer_count.into(), buffer_bytes as usize);
    PortableIo::new(PortableOptions { buffer_count, buffer_bytes, socket_limit }, listeners).unwrap()
}

conformance::kernel_backend_conforms!(backend);

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
    let (listening, address) = listener();
    let io = PortableIo::new(PortableOptions::default(), vec![conformance::listening(0, listening)]).unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"all").unwrap();
    drop(client);
    let mut driver = Driver::new(io);
    let Event::Accepted { socket, .. } = driver.next() else { panic!("expected a connection") };
    assert_eq!(driver.receive_all(socket), (b"all".to_vec(), ReceiveEnd::Finished));
}
