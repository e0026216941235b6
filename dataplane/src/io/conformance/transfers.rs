//! Bytes from one end to the other: all of them, in order, and no faster than they are wanted.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::driver::{Driver, Relay, pattern};
use crate::io::{Event, Io, ListenerId, Outgoing, ReceiveBuffer, ReceiveEnd, SocketId};

/// Several exchanges with an echo on each of many connections at once.
pub(in crate::io) fn echo_on_many<I: Io>(io: I, address: SocketAddr, connections: usize) {
    const ROUNDS: usize = 5;
    let mut driver = Driver::new(io);
    let message = pattern(1000);
    let mut clients: HashMap<SocketId, (usize, Vec<u8>)> =
        (0..connections).map(|_| (driver.io.connect(address).unwrap(), (0, Vec::new()))).collect();
    let mut echo = Relay::new();
    let mut ended = 0;
    while ended < connections {
        match driver.next() {
            Event::Accepted { socket, listener, .. } => {
                assert_eq!(listener, ListenerId(0));
                echo.add(socket, socket);
                driver.io.receive(socket);
            }
            Event::Connected { socket, result } => {
                result.unwrap();
                driver.io.receive(socket);
                driver.send(socket, &message);
            }
            Event::Received { socket, buffer } => match clients.get_mut(&socket) {
                None => echo.received(&mut driver.io, socket, buffer),
                Some((rounds, received)) => {
                    received.extend_from_slice(buffer.bytes());
                    if received.len() < message.len() {
                        continue;
                    }
                    assert!(*received == message, "the echo differs");
                    received.clear();
                    *rounds += 1;
                    if *rounds < ROUNDS {
                        driver.send(socket, &message);
                    } else {
                        driver.io.close(socket, false);
                    }
                }
            },
            Event::Sent { socket, result, .. } => {
                result.unwrap();
                if !clients.contains_key(&socket) {
                    echo.sent(&mut driver.io, socket);
                }
            }
            Event::ReceiveEnded { socket, end } => {
                assert_eq!(end, ReceiveEnd::Finished);
                assert!(!clients.contains_key(&socket), "an event after close");
                driver.io.close(socket, false);
                ended += 1;
            }
            Event::Woken => panic!("nobody woke"),
        }
    }
}

/// A large transfer to a reader that pauses after every buffer.
pub(in crate::io) fn large_transfer_to_a_pausing_reader<I: Io>(io: I, address: SocketAddr, length: usize) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    let bytes = pattern(length);
    driver.send(client, &bytes);
    driver.io.receive(server);
    let mut received = 0;
    let mut sent = false;
    while received < length || !sent {
        match driver.next() {
            Event::Received { socket, buffer } => {
                assert_eq!(socket, server);
                driver.io.pause(server);
                let got = buffer.bytes();
                assert!(bytes[received..][..got.len()] == *got, "bytes differ near {received}");
                received += got.len();
                drop(buffer);
                driver.io.receive(server);
            }
            Event::Sent { socket, result, head } => {
                assert_eq!(socket, client);
                result.unwrap();
                assert_eq!(head.len(), length);
                sent = true;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// A paused socket gets nothing but what was under way, and everything once it receives again.
pub(in crate::io) fn pause_holds_bytes_back<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    driver.io.receive(server);
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    driver.io.pause(server);
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    driver.send(client, b"held back");
    let events = driver.during(Duration::from_millis(50));
    assert!(matches!(events[..], [Event::Sent { .. }]), "{events:?}");
    driver.io.shutdown_write(client);
    let (bytes, end) = driver.receive_all(server);
    assert_eq!((bytes.as_slice(), end), (&b"held back"[..], ReceiveEnd::Finished));
}

/// However much of it waits in the kernel, a wait brings two buffers' worth of a socket at most, and nothing follows a
/// pause but what is left of that.
pub(in crate::io) fn one_wait_hands_over_little_of_a_socket<I: Io>(
    io: I,
    address: SocketAddr,
    buffer_bytes: usize,
) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    let bytes = pattern(4 << 20);
    driver.send(client, &bytes);
    let mut received = 0;
    let mut sent = false;
    while received < bytes.len() || !sent {
        driver.io.receive(server);
        // Until something comes, and for as long as it still may after the pause.
        let mut burst = 0;
        let mut quiet = 0;
        while (burst == 0 && received < bytes.len()) || quiet < 3 {
            let deadline = driver.io.now().after(Duration::from_micros(100));
            driver.io.wait(Some(deadline), &mut driver.events).unwrap();
            quiet += u32::from(driver.events.is_empty());
            for event in driver.events.drain(..) {
                match event {
                    Event::Received { buffer, .. } => {
                        let got = buffer.bytes();
                        assert!(bytes[received + burst..][..got.len()] == *got, "bytes differ");
                        burst += got.len();
                    }
                    Event::Sent { result, .. } => {
                        result.unwrap();
                        sent = true;
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
            if burst > 0 {
                driver.io.pause(server);
            }
        }
        assert!(burst <= 2 * buffer_bytes, "{burst} bytes before and after a pause");
        received += burst;
    }
}

/// Head and body leave as one stream, in order; only the chosen part of the body does.
pub(in crate::io) fn head_and_body_are_sent_in_order<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let (client, server) = driver.pair(address);
    driver.send(client, b"<body>");
    driver.io.shutdown_write(client);
    driver.io.receive(server);
    let mut waiting = VecDeque::new();
    let (mut sending, mut ended) = (false, false);
    let mut expected = Vec::new();
    while !ended || sending {
        match driver.next() {
            Event::Received { buffer, .. } => waiting.push_back(buffer),
            Event::ReceiveEnded { end, .. } => {
                assert_eq!(end, ReceiveEnd::Finished);
                ended = true;
            }
            Event::Sent { socket, result, head } => {
                result.unwrap();
                if socket == server {
                    assert_eq!(head, b"head:");
                    sending = false;
                }
            }
            other => panic!("unexpected {other:?}"),
        }
        if !sending && let Some(buffer) = waiting.pop_front() {
            // Passed back with a head of its own, and without its first byte if it has more.
            let range = usize::from(buffer.bytes().len() > 1)..buffer.bytes().len();
            expected.extend_from_slice(b"head:");
            expected.extend_from_slice(&buffer.bytes()[range.clone()]);
            driver.io.send(server, Outgoing { head: b"head:".to_vec(), body: Some((buffer, range)) });
            sending = true;
        }
    }
    driver.io.shutdown_write(server);
    let (bytes, end) = driver.receive_all(client);
    assert_eq!(bytes, expected);
    assert_eq!(end, ReceiveEnd::Finished);
}

/// Few buffers, many senders, and a caller that sits on what it has: nothing is lost, all get their turn.
pub(in crate::io) fn starved_sockets_get_their_turn<I: Io>(io: I, address: SocketAddr, connections: usize) {
    let mut driver = Driver::new(io);
    let pairs: Vec<_> = (0..connections).map(|_| driver.pair(address)).collect();
    let message = pattern(10_000);
    for &(client, server) in &pairs {
        driver.io.receive(server);
        driver.send(client, &message);
        driver.io.shutdown_write(client);
    }
    let mut received = vec![Vec::new(); connections];
    let mut held = Vec::new();
    let mut ended = 0;
    while ended < connections {
        let deadline = driver.io.now().after(Duration::from_millis(20));
        driver.io.wait(Some(deadline), &mut driver.events).unwrap();
        if driver.events.is_empty() {
            // All buffers are with us, so nothing can come before some go back.
            assert!(!held.is_empty(), "everybody waits");
            held.clear();
        }
        for event in driver.events.drain(..) {
            match event {
                Event::Received { socket, buffer } => {
                    let place = pairs.iter().position(|&(_, server)| server == socket).unwrap();
                    received[place].extend_from_slice(buffer.bytes());
                    held.push(buffer);
                }
                Event::ReceiveEnded { end, .. } => {
                    assert_eq!(end, ReceiveEnd::Finished);
                    ended += 1;
                }
                Event::Sent { result, .. } => result.unwrap(),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    assert!(received.iter().all(|bytes| *bytes == message), "bytes differ");
    assert!(driver.io.counters().starved > 0);
}

/// A relay between two listeners: each connection to `front` gets one to `back`, whose other end echoes.
pub(in crate::io) fn relay<I: Io>(io: I, front: SocketAddr, back: SocketAddr, connections: usize) {
    let mut driver = Driver::new(io);
    let bytes = pattern(200_000);
    let mut clients: HashMap<SocketId, Vec<u8>> =
        (0..connections).map(|_| (driver.io.connect(front).unwrap(), Vec::new())).collect();
    let mut relay = Relay::new();
    let mut finished = 0;
    while finished < connections {
        match driver.next() {
            Event::Accepted { socket, listener: ListenerId(0), .. } => {
                let upstream = driver.io.connect(back).unwrap();
                relay.add(socket, upstream);
                relay.add(upstream, socket);
            }
            Event::Accepted { socket, .. } => {
                relay.add(socket, socket);
                driver.io.receive(socket);
            }
            Event::Connected { socket, result } => {
                result.unwrap();
                driver.io.receive(socket);
                if clients.contains_key(&socket) {
                    driver.send(socket, &bytes);
                } else {
                    driver.io.receive(relay.routes[&socket].to);
                }
            }
            Event::Received { socket, buffer } => match clients.get_mut(&socket) {
                None => relay.received(&mut driver.io, socket, buffer),
                Some(received) => received.extend_from_slice(buffer.bytes()),
            },
            Event::Sent { socket, result, .. } => {
                result.unwrap();
                if clients.contains_key(&socket) {
                    driver.io.shutdown_write(socket);
                } else {
                    relay.sent(&mut driver.io, socket);
                }
            }
            Event::ReceiveEnded { socket, end } => {
                assert_eq!(end, ReceiveEnd::Finished);
                match clients.get(&socket) {
                    Some(received) => {
                        assert!(*received == bytes, "the echo differs");
                        finished += 1;
                    }
                    None => relay.ended(&mut driver.io, socket),
                }
            }
            Event::Woken => panic!("nobody woke"),
        }
    }
}
