//! What the bodies drive a backend with.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::PATIENCE;
use crate::io::{Event, Io, Outgoing, ReceiveBuffer, ReceiveEnd, SocketId};

/// A backend with its events in a queue.
pub(in crate::io) struct Driver<I: Io> {
    pub(in crate::io) io: I,
    queue: VecDeque<Event<I::Buffer>>,
    pub(super) events: Vec<Event<I::Buffer>>,
}

impl<I: Io> Driver<I> {
    pub(in crate::io) fn new(io: I) -> Self {
        Self { io, queue: VecDeque::new(), events: Vec::new() }
    }

    /// The next event, whenever it comes.
    pub(in crate::io) fn next(&mut self) -> Event<I::Buffer> {
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

    /// Events of the next `duration`, and at least of one wait, however late that begins.
    pub(in crate::io) fn during(&mut self, duration: Duration) -> Vec<Event<I::Buffer>> {
        let deadline = self.io.now().after(duration);
        loop {
            self.io.wait(Some(deadline), &mut self.events).unwrap();
            self.queue.extend(self.events.drain(..));
            if self.io.now() >= deadline {
                break;
            }
        }
        self.queue.drain(..).collect()
    }

    /// Connects to `address`, where this backend listens: the connecting and the accepted end.
    pub(in crate::io) fn pair(&mut self, address: SocketAddr) -> (SocketId, SocketId) {
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

    pub(in crate::io) fn send(&mut self, socket: SocketId, bytes: &[u8]) {
        self.io.send(socket, Outgoing { head: bytes.to_vec(), body: None });
    }

    /// Receives on `socket` until its end; other sockets may only report that they sent.
    pub(in crate::io) fn receive_all(&mut self, socket: SocketId) -> (Vec<u8>, ReceiveEnd) {
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
pub(in crate::io) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[1]).collect()
}

/// Passes received buffers on: of each socket to another one, or back to itself.
pub(super) struct Relay<I: Io> {
    pub(super) routes: HashMap<SocketId, Route<I::Buffer>>,
}

pub(super) struct Route<B> {
    pub(super) to: SocketId,
    /// Buffers for `to` that wait for the send before them.
    waiting: VecDeque<B>,
    sending: bool,
    /// Nothing more comes in.
    ended: bool,
}

impl<I: Io> Relay<I> {
    pub(super) fn new() -> Self {
        Self { routes: HashMap::new() }
    }

    pub(super) fn add(&mut self, from: SocketId, to: SocketId) {
        self.routes.insert(from, Route { to, waiting: VecDeque::new(), sending: false, ended: false });
    }

    /// Pauses the source while it is ahead of the destination.
    pub(super) fn received(&mut self, io: &mut I, from: SocketId, buffer: I::Buffer) {
        let route = self.routes.get_mut(&from).unwrap();
        route.waiting.push_back(buffer);
        if route.sending {
            io.pause(from);
        } else {
            route.send_next(io);
        }
    }

    pub(super) fn sent(&mut self, io: &mut I, to: SocketId) {
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
    pub(super) fn ended(&mut self, io: &mut I, from: SocketId) {
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
