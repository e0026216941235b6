//! The portable backend: readiness from epoll, by way of mio, and one system call for each transfer.
//!
//! It serves where there is no io_uring: older kernels, and containers whose seccomp profile refuses it. What it
//! does is the same, at the cost of more system calls for a request.
//!
//! A verb notes what is wanted and puts the connection into a queue; [`Io::wait`] gives each in the queue a turn, asks the
//! kernel what has become ready, and gives those a turn too. A turn receives one buffer at most, so that no connection
//! keeps the others waiting.

mod buffers;
mod connections;
mod listeners;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use buffers::BufferPool;
pub use buffers::PortableBuffer;
use connections::{Connecting, Connection, Table};
use listeners::{Listener, WAKE};

use super::sending::Sending;
use super::system::{finish, monotonic, unix_nanos};
use super::{
    Errno, Event, Io, IoCounters, ListeningSocket, Monotonic, Outgoing, ReceiveEnd, SocketId, Wake, Waker,
};

/// Most words of the kernel that one wait takes in.
const READINESS_BATCH: usize = 1024;

/// Sizes and limits of a [`PortableIo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortableOptions {
    /// Receive buffers of the worker.
    pub buffer_count: u32,
    /// Size of each receive buffer. Large ones make large transfers cheap.
    pub buffer_bytes: usize,
    /// Most sockets at a time. Beyond it, connections that come in are closed and counted as failed accepts.
    pub socket_limit: u32,
}

impl Default for PortableOptions {
    fn default() -> Self {
        // As the ring has it: an answer of 64 KiB fits with its head.
        Self { buffer_count: 256, buffer_bytes: 68 * 1024, socket_limit: 65_536 }
    }
}

/// An [`Io`] on epoll. It serves one worker, on the thread of that worker.
pub struct PortableIo {
    poll: Poll,
    readiness: Events,
    connections: Table,
    pool: Rc<BufferPool>,
    listeners: Vec<Listener>,
    wake: Arc<PollWake>,
    /// Connections that get a turn at the next wait.
    queue: VecDeque<SocketId>,
    /// Connections whose receive found no buffer, first come first served.
    starved: VecDeque<SocketId>,
    stopping: bool,
    now: Monotonic,
    unix_nanos: u64,
    counters: IoCounters,
}

impl PortableIo {
    /// Makes the poll and the wake, and starts to accept on `listeners` with the first [`Io::wait`]. Give each worker
    /// listeners of its own (`SO_REUSEPORT`). They are switched to non-blocking mode, and to `TCP_NODELAY`, which
    /// accepted sockets inherit.
    ///
    /// # Errors
    /// If the kernel refuses, for example for lack of descriptors.
    pub fn new(options: PortableOptions, listeners: Vec<ListeningSocket>) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let wake =
            PollWake { waker: mio::Waker::new(poll.registry(), WAKE)?, pending: AtomicBool::new(false) };
        let listeners = listeners
            .into_iter()
            .enumerate()
            .map(|(number, listener)| Listener::new(number, listener, poll.registry()))
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            poll,
            readiness: Events::with_capacity(READINESS_BATCH),
            connections: Table::new(options.socket_limit),
            pool: BufferPool::new(options.buffer_count, options.buffer_bytes),
            listeners,
            wake: Arc::new(wake),
            queue: VecDeque::new(),
            starved: VecDeque::new(),
            stopping: false,
            now: monotonic(),
            unix_nanos: unix_nanos(),
            counters: IoCounters::default(),
        })
    }

    /// Gives a socket a slot and asks the kernel to tell what becomes of it. It is closed if there is no room.
    fn adopt(&mut self, socket: Socket, connecting: Connecting) -> Result<SocketId, Errno> {
        let descriptor = socket.as_raw_fd();
        let id = self.connections.insert(Connection::new(socket, connecting)).ok_or(Errno(libc::EMFILE))?;
        if let Err(error) = register(self.poll.registry(), descriptor, Token(id.index as usize)) {
            self.connections.remove(id);
            return Err(errno(&error));
        }
        Ok(id)
    }

    /// Sees to it that a connection gets a turn, if it has work.
    fn enqueue(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        if !connection.queued && connection.has_work() {
            connection.queued = true;
            self.queue.push_back(socket);
        }
    }

    /// Gives those that wait for a buffer a turn, as many as there are buffers.
    fn feed_starved(&mut self) {
        let mut turns = self.pool.available();
        while turns > 0 {
            let Some(socket) = self.starved.pop_front() else { return };
            let Some(connection) = self.connections.get(socket) else { continue };
            connection.starved = false;
            turns -= 1;
            self.enqueue(socket);
        }
    }

    /// Gives each connection that is in the queue by now one turn.
    fn run_queue(&mut self, events: &mut Vec<Event<PortableBuffer>>) {
        for _ in 0..self.queue.len() {
            let Some(socket) = self.queue.pop_front() else { return };
            let Some(connection) = self.connections.get(socket) else { continue };
            connection.queued = false;
            if connection.connecting != Connecting::Done {
                events.extend(connected(socket, connection));
            }
            if connection.connecting == Connecting::Done {
                events.extend(send(socket, connection));
                self.receive_once(socket, events);
            }
            self.enqueue(socket);
        }
    }

    fn receive_once(&mut self, socket: SocketId, events: &mut Vec<Event<PortableBuffer>>) {
        let Some(connection) = self.connections.get(socket) else { return };
        if !connection.can_receive() {
            return;
        }
        let Some(buffer) = self.pool.take() else {
            connection.starved = true;
            self.starve(socket);
            return;
        };
        events.extend(receive(socket, connection, buffer));
    }

    /// Puts a connection at the end of the starved ones. An open one is in there once at most, and those closed meanwhile are
    /// weeded out, so that the list stays as short as the table.
    fn starve(&mut self, socket: SocketId) {
        self.counters.starved += 1;
        if self.starved.len() >= self.connections.len() {
            self.starved.retain(|&other| self.connections.get(other).is_some());
        }
        self.starved.push_back(socket);
    }

    /// Takes in what the kernel says has become ready.
    fn take_notice(&mut self, events: &mut Vec<Event<PortableBuffer>>) {
        let readiness = std::mem::replace(&mut self.readiness, Events::with_capacity(0));
        for word in &readiness {
            if word.token() == WAKE {
                // Before the mailboxes are looked at: a wake from here on counts anew.
                self.wake.pending.swap(false, Ordering::AcqRel);
                events.push(Event::Woken);
            } else if let Some(listener) = listeners::of_token(&mut self.listeners, word.token()) {
                listener.ready = true;
            } else if let Some((socket, connection)) = self.connections.at(word.token().0) {
                connection.note(word);
                self.enqueue(socket);
            }
        }
        self.readiness = readiness;
    }
}

impl Io for PortableIo {
    type Buffer = PortableBuffer;

    fn now(&self) -> Monotonic {
        self.now
    }

    fn unix_nanos(&self) -> u64 {
        self.unix_nanos
    }

    fn connect(&mut self, address: SocketAddr) -> Result<SocketId, Errno> {
        let socket = new_socket(address).map_err(|error| errno(&error))?;
        let connecting = match socket.connect(&address.into()) {
            Ok(()) => Connecting::Waiting,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Connecting::Waiting,
            Err(error) => Connecting::Failed(errno(&error)),
        };
        let id = self.adopt(socket, connecting)?;
        self.enqueue(id);
        Ok(id)
    }

    fn local_address(&mut self, socket: SocketId) -> Option<SocketAddr> {
        self.connections.get(socket)?.socket.local_addr().ok()?.as_socket()
    }

    fn receive(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get(socket) {
            connection.wants_bytes = true;
            self.enqueue(socket);
        }
    }

    fn pause(&mut self, socket: SocketId) {
        if let Some(connection) = self.connections.get(socket) {
            connection.wants_bytes = false;
        }
    }

    /// # Panics
    /// If the body's range reaches beyond its bytes, or if a send is in flight already.
    fn send(&mut self, socket: SocketId, data: Outgoing<PortableBuffer>) {
        let Some(connection) = self.connections.get(socket) else { return };
        assert!(connection.sending.is_none(), "a second send on {socket:?} before its first was Sent");
        connection.sending = Some(Sending::new(data));
        self.enqueue(socket);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get(socket) else { return };
        if connection.sending.is_some() {
            connection.finish_after_send = true;
        } else {
            finish(&connection.socket);
        }
    }

    fn close(&mut self, socket: SocketId, reset: bool) {
        let Some(mut connection) = self.connections.remove(socket) else { return };
        // What was to be sent gets its one attempt, as it does where a ring carries out one verb after the other.
        if connection.connecting == Connecting::Done {
            let _ = send(socket, &mut connection);
        }
        if reset {
            // Only fails on a socket that is broken already.
            let _ = connection.socket.set_linger(Some(Duration::ZERO));
        }
        // Told by hand, since a process that is just being started may hold a copy of the descriptor, and the kernel would
        // go on to talk of it. It only fails where nothing is registered.
        let _ = self.poll.registry().deregister(&mut SourceFd(&connection.socket.as_raw_fd()));
    }

    fn stop_accepting(&mut self) {
        self.stopping = true;
    }

    fn is_accepting(&self) -> bool {
        self.listeners.iter().any(Listener::is_open)
    }

    fn wait(
        &mut self,
        deadline: Option<Monotonic>,
        events: &mut Vec<Event<PortableBuffer>>,
    ) -> std::io::Result<()> {
        let before = events.len();
        self.now = monotonic();
        let resume = self.resume_accepting();
        self.feed_starved();
        self.run_queue(events);
        let busy = events.len() > before || !self.queue.is_empty() || self.stopping && self.is_accepting();
        let deadline = if busy { Some(self.now) } else { deadline.into_iter().chain(resume).min() };
        self.counters.enters += 1;
        match self.poll.poll(&mut self.readiness, deadline.map(|deadline| deadline.since(self.now))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => self.readiness.clear(),
            Err(error) => return Err(error),
        }
        self.now = monotonic();
        self.unix_nanos = unix_nanos();
        self.take_notice(events);
        self.accept(events);
        self.run_queue(events);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.wake) as Waker
    }

    fn counters(&self) -> IoCounters {
        self.counters
    }
}

/// A poll's waker with a flag in front of it, so that many wakes in a row cost one system call.
struct PollWake {
    waker: mio::Waker,
    /// Set from the first wake until the worker has taken notice.
    pending: AtomicBool,
}

impl Wake for PollWake {
    fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a worker could not be woken");
        }
    }
}

/// The outcome of a connection that was being made, once there is one.
fn connected(socket: SocketId, connection: &mut Connection) -> Option<Event<PortableBuffer>> {
    let result = match connection.connecting {
        Connecting::Failed(errno) => Err(errno),
        _ => match connection.socket.take_error() {
            Ok(Some(error)) | Err(error) => Err(errno(&error)),
            Ok(None) if connection.socket.peer_addr().is_ok() => Ok(()),
            // Not yet: the kernel spoke of something else.
            Ok(None) => {
                connection.writable = false;
                return None;
            }
        },
    };
    connection.connecting = Connecting::Done;
    connection.receive_ended = result.is_err();
    Some(Event::Connected { socket, result })
}

/// Sends what the kernel takes; the outcome once all of it was taken or the connection broke.
fn send(socket: SocketId, connection: &mut Connection) -> Option<Event<PortableBuffer>> {
    if !connection.writable {
        return None;
    }
    let sending = connection.sending.as_mut()?;
    let result = loop {
        if sending.is_finished() {
            break Ok(());
        }
        let (head, body) = sending.remaining();
        // Without a signal where the peer is gone.
        let taken = connection
            .socket
            .send_vectored_with_flags(&[IoSlice::new(head), IoSlice::new(body)], libc::MSG_NOSIGNAL);
        match taken {
            Ok(bytes) => sending.advance(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.writable = false;
                return None;
            }
            Err(error) => break Err(errno(&error)),
        }
    };
    let head = connection.sending.take().map(Sending::into_head).unwrap_or_default();
    if connection.finish_after_send {
        finish(&connection.socket);
    }
    Some(Event::Sent { socket, result, head })
}

/// Receives once.
fn receive(
    socket: SocketId,
    connection: &mut Connection,
    mut buffer: PortableBuffer,
) -> Option<Event<PortableBuffer>> {
    let space = buffer.space();
    let end = match (&connection.socket).read(space) {
        Ok(0) => ReceiveEnd::Finished,
        Ok(bytes) => {
            // Less than there was room for: that was all, and what comes later is told anew. The end of a stream that has
            // ended already is not.
            connection.readable = bytes == space.len() || connection.peer_closed;
            return Some(Event::Received { socket, buffer: buffer.filled(bytes) });
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => return None,
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            connection.readable = false;
            return None;
        }
        Err(error) => ReceiveEnd::Failed(errno(&error)),
    };
    connection.receive_ended = true;
    Some(Event::ReceiveEnded { socket, end })
}

/// Asks the kernel to tell whenever a socket becomes ready for either direction.
fn register(registry: &Registry, descriptor: i32, token: Token) -> std::io::Result<()> {
    registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE | Interest::WRITABLE)
}

/// A socket to connect with: it doesn't block, is closed on exec, and has no Nagle's delay.
fn new_socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
