//! How connections come, end and fail.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;
use super::driver::{Driver, pattern};
use crate::io::{Errno, Event, Io, ReceiveBuffer, ReceiveEnd};

/// FIN comes after what is still being sent, and the other direction stays open.
pub(in crate::io) fn a_finished_sender_still_receives<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    let bytes = pattern(300_000);
    driver.send(client, &bytes);
    driver.io.shutdown_write(client);
    let (received, end) = driver.receive_all(server);
    assert!(received == bytes, "bytes differ");
    assert_eq!(end, ReceiveEnd::Finished);
    driver.send(server, b"answer");
    driver.io.shutdown_write(server);
    let (answer, end) = driver.receive_all(client);
    assert_eq!((answer.as_slice(), end), (&b"answer"[..], ReceiveEnd::Finished));
}

/// A reset is told from an orderly end, and a send into it fails.
pub(in crate::io) fn resets_are_reported<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    driver.io.receive(server);
    driver.io.close(client, true);
    match driver.next() {
        Event::ReceiveEnded { socket, end } => {
            assert_eq!(socket, server);
            assert_eq!(end, ReceiveEnd::Failed(Errno(libc::ECONNRESET)));
        }
        other => panic!("unexpected {other:?}"),
    }
    driver.send(server, b"too late");
    match driver.next() {
        Event::Sent { socket, result, head } => {
            assert_eq!(socket, server);
            assert!(result.is_err());
            assert_eq!(head, b"too late");
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// Closing with a send in flight brings no event, and the peer learns of it.
pub(in crate::io) fn close_abandons_a_send<I: Io>(io: I, address: SocketAddr) {
    // Far more than the buffers of both ends hold.
    const LENGTH: usize = 32 << 20;
    let mut driver = Driver::new(io);
    for reset in [false, true] {
        let (client, server) = driver.pair(address);
        driver.send(client, &vec![7; LENGTH]);
        assert!(driver.during(Duration::from_millis(20)).is_empty());
        driver.io.close(client, reset);
        assert!(driver.during(Duration::from_millis(20)).is_empty());
        driver.io.receive(server);
        let mut received = 0;
        let end = loop {
            match driver.next() {
                Event::Received { socket, buffer } => {
                    assert_eq!(socket, server);
                    received += buffer.bytes().len();
                    assert!(buffer.bytes().iter().all(|&byte| byte == 7));
                }
                Event::ReceiveEnded { socket, end } => {
                    assert_eq!(socket, server);
                    break end;
                }
                other => panic!("unexpected {other:?}"),
            }
        };
        assert_eq!(end == ReceiveEnd::Finished, !reset, "{end:?}");
        assert!(received < LENGTH, "the send went on after the close");
        driver.io.close(server, false);
    }
}

/// A slot is used again under a new generation, and the old id reaches nobody.
pub(in crate::io) fn stale_ids_reach_nobody<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (old, old_server) = driver.pair(address);
    driver.io.receive(old);
    driver.io.receive(old_server);
    driver.io.close(old, false);
    match driver.next() {
        Event::ReceiveEnded { socket, end } => assert_eq!((socket, end), (old_server, ReceiveEnd::Finished)),
        other => panic!("unexpected {other:?}"),
    }
    driver.io.close(old_server, false);
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    let (client, server) = driver.pair(address);
    assert!([client.index, server.index].contains(&old.index), "the slot should be used again");
    assert!(![client, server].contains(&old));
    driver.io.close(old, true);
    driver.io.pause(old);
    driver.io.shutdown_write(old);
    driver.send(old, b"to nobody");
    driver.send(client, b"to the new one");
    driver.io.shutdown_write(client);
    let (bytes, end) = driver.receive_all(server);
    assert_eq!((bytes.as_slice(), end), (&b"to the new one"[..], ReceiveEnd::Finished));
}

/// Nobody listens: the connect fails, and the socket can be closed.
pub(in crate::io) fn refused_connects_are_reported<I: Io>(io: I, nobody: SocketAddr) {
    let mut driver = Driver::new(io);
    let client = driver.io.connect(nobody).unwrap();
    driver.io.receive(client);
    match driver.next() {
        Event::Connected { socket, result } => {
            assert_eq!((socket, result), (client, Err(Errno(libc::ECONNREFUSED))));
        }
        other => panic!("unexpected {other:?}"),
    }
    driver.io.close(client, false);
    assert!(driver.during(Duration::from_millis(20)).is_empty());
}

/// Wakes arrive from another thread, several as one, and again after each.
pub(in crate::io) fn wakes_arrive<I: Io>(io: I) {
    let mut driver = Driver::new(io);
    let waker = driver.io.waker();
    for _ in 0..3 {
        let waker = waker.clone();
        let waking = std::thread::spawn(move || {
            waker.wake();
            waker.wake();
        });
        // Joined first: what is woken before the wait must end the wait just as well.
        waking.join().unwrap();
        assert!(matches!(driver.next(), Event::Woken));
        assert!(driver.during(Duration::from_millis(10)).is_empty());
    }
}

/// After the stop, what was accepted goes on and what comes is refused.
pub(in crate::io) fn accepting_stops<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    driver.io.stop_accepting();
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    let late = driver.io.connect(address).unwrap();
    match driver.next() {
        Event::Connected { socket, result } => {
            assert_eq!((socket, result), (late, Err(Errno(libc::ECONNREFUSED))));
        }
        other => panic!("unexpected {other:?}"),
    }
    driver.send(client, b"still here");
    driver.io.shutdown_write(client);
    let (bytes, _) = driver.receive_all(server);
    assert_eq!(bytes, b"still here");
}

/// `before` and `after` accept on the same socket, and `before` stops just when a connection has come in.
pub(in crate::io) fn a_listener_changes_hands<I: Io>(before: I, after: I, address: SocketAddr) {
    let (mut before, mut after) = (Driver::new(before), Driver::new(after));
    for driver in [&mut before, &mut after] {
        assert!(driver.during(Duration::from_millis(1)).is_empty(), "it only begins to accept");
    }
    let _client = TcpStream::connect(address).unwrap();
    before.io.stop_accepting();
    let deadline = after.io.now().after(PATIENCE);
    let mut accepted = 0;
    while accepted == 0 {
        assert!(after.io.now() < deadline, "nobody took the connection");
        for driver in [&mut before, &mut after] {
            let events = driver.during(Duration::from_millis(1));
            accepted += events.iter().filter(|event| matches!(event, Event::Accepted { .. })).count();
        }
    }
    assert_eq!(accepted, 1);
    assert!(!before.io.is_accepting());
}

/// Of three connections a backend with room for two takes two and closes one; it can't connect either.
pub(in crate::io) fn connections_beyond_the_limit_are_closed_and_counted<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let mut streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    assert_eq!(driver.io.counters().accept_failures, 1);
    assert_eq!(driver.io.connect(address), Err(Errno(libc::EMFILE)));
    assert_eq!(streams.pop().unwrap().read(&mut [0; 1]).unwrap(), 0);
}
