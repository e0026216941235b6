//! What every backend has to do: the same test bodies run over all of them.
//!
//! Each body drives both ends of its connections through one backend that listens and connects to itself.

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{Errno, Event, Io, ListenerId, ListeningSocket, Outgoing, ReceiveBuffer, ReceiveEnd, SocketId};

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
            fn one_wait_hands_over_two_buffers_of_a_socket_at_most() {
                let (io, address) = with(Sizes::ORDINARY);
                let bytes = Sizes::ORDINARY.buffer_bytes as usize;
                conformance::one_wait_hands_over_two_buffers_of_a_socket_at_most(io, address, bytes);
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

/// A backend with its events in a queue.
pub(super) struct Driver<I: Io> {
    pub(super) io: I,
    queue: VecDeque<Event<I::Buffer>>,
    events: Vec<Event<I::Buffer>>,
}

impl<I: Io> Driver<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, queue: VecDeque::new(), events: Vec::new() }
    }

    /// The next event, whenever it comes.
    pub(super) fn next(&mut self) -> Event<I::Buffer> {
        let deadline = self.io.now().after(PATIENCE);
        loop {
            if let Some(event) = self.queue.pop_front() {
                return event;
            }
            assert!(self.io.now() < deadline, "nothing happened");
            self.io.wait(Some(deadline), &mut self.events).unwrap();
            self.queue.extend(self.events.drain(..));
        }
    }

    /// Events of the next `duration`.
    pub(super) fn during(&mut self, duration: Duration) -> Vec<Event<I::Buffer>> {
        let deadline = self.io.now().after(duration);
        while self.io.now() < deadline {
            self.io.wait(Some(deadline), &mut self.events).unwrap();
            self.queue.extend(self.events.drain(..));
        }
        self.queue.drain(..).collect()
    }

    /// Connects to `address`, where this backend listens: the connecting and the accepted end.
    pub(super) fn pair(&mut self, address: SocketAddr) -> (SocketId, SocketId) {
        let client = self.io.connect(address).unwrap();
        let (mut connected, mut accepted) = (false, None);
        loop {
            match self.next() {
                Event::Connected { socket, result } if socket == client => {
                    result.unwrap();
                    connected = true;
                }
                Event::Accepted { socket, peer, .. } => {
                    assert_eq!(peer.ip(), address.ip());
                    assert_eq!(self.io.local_address(socket), Some(address));
                    accepted = Some(socket);
                }
                other => panic!("unexpected {other:?}"),
            }
            if let (true, Some(server)) = (connected, accepted) {
                return (client, server);
            }
        }
    }

    pub(super) fn send(&mut self, socket: SocketId, bytes: &[u8]) {
        self.io.send(socket, Outgoing { head: bytes.to_vec(), body: None });
    }

    /// Receives on `socket` until its end; other sockets may only report that they sent.
    pub(super) fn receive_all(&mut self, socket: SocketId) -> (Vec<u8>, ReceiveEnd) {
        self.io.receive(socket);
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                Event::Received { socket: from, buffer } if from == socket => {
                    bytes.extend_from_slice(buffer.bytes());
                }
                Event::ReceiveEnded { socket: from, end } if from == socket => return (bytes, end),
                Event::Sent { result, .. } => result.unwrap(),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

/// Bytes in which every place can be told from its neighbours.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]).collect()
}

/// Passes received buffers on: of each socket to another one, or back to itself.
struct Relay<I: Io> {
    routes: HashMap<SocketId, Route<I::Buffer>>,
}

struct Route<B> {
    to: SocketId,
    /// Buffers for `to` that wait for the send before them.
    waiting: VecDeque<B>,
    sending: bool,
    /// Nothing more comes in.
    ended: bool,
}

impl<I: Io> Relay<I> {
    fn new() -> Self {
        Self { routes: HashMap::new() }
    }

    fn add(&mut self, from: SocketId, to: SocketId) {
        self.routes.insert(from, Route { to, waiting: VecDeque::new(), sending: false, ended: false });
    }

    /// Pauses the source while it is ahead of the destination.
    fn received(&mut self, io: &mut I, from: SocketId, buffer: I::Buffer) {
        let route = self.routes.get_mut(&from).unwrap();
        route.waiting.push_back(buffer);
        if route.sending {
            io.pause(from);
        } else {
            route.send_next(io);
        }
    }

    fn sent(&mut self, io: &mut I, to: SocketId) {
        let (&from, route) = self.routes.iter_mut().find(|(_, route)| route.to == to).unwrap();
        route.sending = false;
        if !route.waiting.is_empty() {
            route.send_next(io);
        } else if route.ended {
            io.shutdown_write(to);
        } else {
            io.receive(from);
        }
    }

    /// The source has finished: so does the destination, after what waits.
    fn ended(&mut self, io: &mut I, from: SocketId) {
        let route = self.routes.get_mut(&from).unwrap();
        route.ended = true;
        if route.waiting.is_empty() {
            io.shutdown_write(route.to);
        }
    }
}

impl<B: ReceiveBuffer> Route<B> {
    fn send_next(&mut self, io: &mut impl Io<Buffer = B>) {
        let Some(buffer) = self.waiting.pop_front() else { return };
        let all = 0..buffer.bytes().len();
        io.send(self.to, Outgoing { head: Vec::new(), body: Some((buffer, all)) });
        self.sending = true;
    }
}

/// Several exchanges with an echo on each of many connections at once.
pub(super) fn echo_on_many<I: Io>(io: I, address: SocketAddr, connections: usize) {
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
pub(super) fn large_transfer_to_a_pausing_reader<I: Io>(io: I, address: SocketAddr, length: usize) {
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
pub(super) fn pause_holds_bytes_back<I: Io>(io: I, address: SocketAddr) {
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

/// However much of it waits in the kernel, a wait brings little of a socket, and nothing follows a pause but what is left
/// of that.
pub(super) fn one_wait_hands_over_two_buffers_of_a_socket_at_most<I: Io>(
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
pub(super) fn head_and_body_are_sent_in_order<I: Io>(io: I, address: SocketAddr) {
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

/// FIN comes after what is still being sent, and the other direction stays open.
pub(super) fn a_finished_sender_still_receives<I: Io>(io: I, address: SocketAddr) {
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
pub(super) fn resets_are_reported<I: Io>(io: I, address: SocketAddr) {
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
pub(super) fn close_abandons_a_send<I: Io>(io: I, address: SocketAddr) {
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
pub(super) fn stale_ids_reach_nobody<I: Io>(io: I, address: SocketAddr) {
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
pub(super) fn refused_connects_are_reported<I: Io>(io: I, nobody: SocketAddr) {
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

/// Few buffers, many senders, and a caller that sits on what it has: nothing is lost, all get their turn.
pub(super) fn starved_sockets_get_their_turn<I: Io>(io: I, address: SocketAddr, connections: usize) {
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

/// Wakes arrive from another thread, several as one, and again after each.
pub(super) fn wakes_arrive<I: Io>(io: I) {
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
pub(super) fn accepting_stops<I: Io>(io: I, address: SocketAddr) {
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
pub(super) fn a_listener_changes_hands<I: Io>(before: I, after: I, address: SocketAddr) {
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

/// A relay between two listeners: each connection to `front` gets one to `back`, whose other end echoes.
pub(super) fn relay<I: Io>(io: I, front: SocketAddr, back: SocketAddr, connections: usize) {
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

/// Of three connections a backend with room for two takes two and closes one; it can't connect either.
pub(super) fn connections_beyond_the_limit_are_closed_and_counted<I: Io>(io: I, address: SocketAddr) {
    let mut driver = Driver::new(io);
    let mut streams: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(matches!(driver.next(), Event::Accepted { .. }));
    assert!(driver.during(Duration::from_millis(20)).is_empty());
    assert_eq!(driver.io.counters().accept_failures, 1);
    assert_eq!(driver.io.connect(address), Err(Errno(libc::EMFILE)));
    assert_eq!(streams.pop().unwrap().read(&mut [0; 1]).unwrap(), 0);
}
