//! The backend of the data path: one io_uring per worker.
//!
//! What makes it cheap: completions run only when the worker waits, accepts and receives are armed once and
//! complete many times (a receive until it has brought a buffer's worth, so that the worker can hold a fast peer up; on
//! kernels that can't end one there, once each), the kernel picks receive buffers from a ring shared with it, and everything that a
//! turn of the worker asks for is submitted by the same system call that waits for the next completions.
//!
//! Life of a socket: `Open` until [`Io::close`], `Draining` until the kernel is done with every operation
//! (they are cancelled, and what they still complete with is dropped), then its descriptor is closed by the
//! ring and its slot is free for a socket of the next generation.

mod buffers;
mod completions;
mod operations;
mod ring;
mod setup;
mod sockets;
mod user_data;
mod wake;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

pub use buffers::UringBuffer;
use buffers::{BUFFER_COUNT_LIMIT, BufferPool};
use operations::ReceiveForm;
use ring::Ring;
pub use ring::RingCounters;
pub use setup::{Rung, SetupMask, SetupReport};
use sockets::{Phase, Receiving, SocketTable};
use user_data::{Kind, UserData};
use wake::EventFd;

use super::sending::Sending;
use super::system::{finish, monotonic, unix_nanos};
use super::{
    Errno, Event, Io, IoCounters, ListenerId, ListeningSocket, Monotonic, Outgoing, SocketId, Waker,
};

/// How often the shutdown waits for the kernel to let go of the worker's memory, and for how long each.
const SHUTDOWN_ATTEMPTS: u32 = 50;
const SHUTDOWN_WAIT: Duration = Duration::from_millis(100);

/// Sizes and limits of a [`UringIo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UringOptions {
    /// Receive buffers of the worker: a power of two from 1 to 32768.
    pub buffer_count: u16,
    /// Size of each receive buffer: 512 bytes to 1 MiB. Large ones make large transfers cheap (one send a
    /// buffer); memory is backed by pages only where it was used.
    pub buffer_bytes: u32,
    /// Length of the submission queue, rounded up to a power of two by the kernel.
    pub submission_entries: u32,
    /// Length of the completion queue; at least `submission_entries`.
    pub completion_entries: u32,
    /// Most sockets at a time. Beyond it, connections that come in are closed and counted as failed accepts.
    pub socket_limit: u32,
    /// Kernel features to do without.
    pub mask: SetupMask,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self {
            buffer_count: 256,
            // An answer of 64 KiB, which is what many origins write at a time, fits with its head.
            buffer_bytes: 68 * 1024,
            submission_entries: 4096,
            completion_entries: 16384,
            socket_limit: 65_536,
            mask: SetupMask::default(),
        }
    }
}

impl UringOptions {
    fn check(&self) -> std::io::Result<()> {
        let wrong = |text| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        if !self.buffer_count.is_power_of_two() || self.buffer_count > BUFFER_COUNT_LIMIT {
            return wrong(format!(
                "{} receive buffers: expected a power of two up to {BUFFER_COUNT_LIMIT}",
                self.buffer_count
            ));
        }
        if !(512..=1 << 20).contains(&self.buffer_bytes) {
            return wrong(format!("receive buffers of {} bytes: expected 512 to 1048576", self.buffer_bytes));
        }
        if self.submission_entries == 0 || self.completion_entries < self.submission_entries {
            return wrong(format!(
                "{} submission and {} completion entries: expected at least 1, and no fewer completions \
                 than submissions",
                self.submission_entries, self.completion_entries
            ));
        }
        Ok(())
    }
}

/// A listening socket and the accept on it.
struct Listener {
    id: ListenerId,
    /// Gone once accepting was stopped and the kernel is done with it.
    socket: Option<OwnedFd>,
    accepting: bool,
    /// Accepting was stopped, and this is the accept behind it.
    last_accept: bool,
    /// When to accept again after a failure.
    resume_at: Option<Monotonic>,
}

/// An [`Io`] on io_uring. It is made on, and never leaves, the thread of its worker.
pub struct UringIo {
    // Field order matters: the ring goes first, then what the kernel was given addresses of.
    ring: Ring,
    sockets: SocketTable,
    pool: Rc<BufferPool>,
    wake_counter: Box<u64>,
    wake: Arc<EventFd>,
    listeners: Vec<Listener>,
    /// How sockets receive.
    receive_form: ReceiveForm,
    /// Sockets whose receive has come to its end and is to be started anew. Entries may be out of date.
    due: Vec<SocketId>,
    /// Sockets whose receive found no buffer, first come first served. Entries may be out of date.
    starved: VecDeque<SocketId>,
    stopping: bool,
    shutting_down: bool,
    now: Monotonic,
    unix_nanos: u64,
    starved_count: u64,
    accept_failures: u64,
    setup: SetupReport,
}

impl UringIo {
    /// Makes the ring, its buffers and the wake, and starts to accept on `listeners` with the first
    /// [`Io::wait`]. Give each worker listeners of its own (`SO_REUSEPORT`). They are switched to blocking
    /// mode, which the ring needs, and to `TCP_NODELAY`, which accepted sockets inherit.
    ///
    /// # Errors
    /// If an option is out of its range, or the kernel refuses; the text says what to do.
    pub fn new(options: UringOptions, listeners: Vec<ListeningSocket>) -> std::io::Result<Self> {
        options.check()?;
        let (ring, setup) =
            setup::open(options.submission_entries, options.completion_entries, options.mask)?;
        let receive_form = match setup.limited_receives {
            true => ReceiveForm::Multishot { limit_bytes: options.buffer_bytes },
            false => ReceiveForm::Single,
        };
        let pool = BufferPool::new(options.buffer_count, options.buffer_bytes)?;
        operations::register_buffers(&ring, &pool).map_err(|error| {
            std::io::Error::new(error.kind(), format!("no io_uring: receive buffers were refused ({error})"))
        })?;
        for listener in &listeners {
            let socket = SockRef::from(&listener.socket);
            socket.set_nonblocking(false)?;
            if socket.domain()? != Domain::UNIX {
                socket.set_tcp_nodelay(true)?;
            }
        }
        let mut io = Self {
            ring,
            sockets: SocketTable::new(options.socket_limit),
            pool,
            wake_counter: Box::default(),
            wake: Arc::new(EventFd::new()?),
            listeners: listeners
                .into_iter()
                .map(|ListeningSocket { listener, socket }| Listener {
                    id: listener,
                    socket: Some(socket),
                    accepting: false,
                    last_accept: false,
                    resume_at: None,
                })
                .collect(),
            receive_form,
            due: Vec::new(),
            starved: VecDeque::new(),
            stopping: false,
            shutting_down: false,
            now: Monotonic::default(),
            unix_nanos: 0,
            starved_count: 0,
            accept_failures: 0,
            setup,
        };
        io.read_clocks();
        operations::read_wake(&mut io.ring, io.wake.as_raw_fd(), &mut io.wake_counter);
        for index in 0..io.listeners.len() as u32 {
            io.accept(index);
        }
        Ok(io)
    }

    /// How the ring was set up: which kernel features it got.
    pub fn setup(&self) -> &SetupReport {
        &self.setup
    }

    /// What the ring's queues counted.
    pub fn ring_counters(&self) -> RingCounters {
        self.ring.counters
    }

    fn read_clocks(&mut self) {
        self.now = monotonic();
        self.unix_nanos = unix_nanos();
    }

    fn accept(&mut self, index: u32) {
        let Some(listener) = self.listeners.get_mut(index as usize) else { return };
        listener.resume_at = None;
        if let Some(socket) = &listener.socket {
            operations::accept(&mut self.ring, socket.as_raw_fd(), index);
            listener.accepting = true;
        }
    }

    /// Takes in what came in while the accept on the listener was being cancelled, and no more.
    ///
    /// The kernel tells of a new connection only one of those that wait at a socket. If that was this ring, and its accept
    /// was cancelled before it took the connection, a successor at the same socket would not hear of it.
    fn accept_for_the_last_time(&mut self, index: u32) {
        self.accept(index);
        operations::cancel(&mut self.ring, UserData::plain(Kind::Accept, index));
        self.listeners[index as usize].last_accept = true;
    }

    /// Resumes accepting where the pause is over, and returns when the next pause ends.
    fn resume_accepting(&mut self) -> Option<Monotonic> {
        let mut next = None;
        for index in 0..self.listeners.len() {
            match self.listeners[index].resume_at {
                Some(at) if at <= self.now => self.accept(index as u32),
                Some(at) => next = Some(next.map_or(at, |next: Monotonic| next.min(at))),
                None => {}
            }
        }
        next
    }

    /// Starts the receives that came to their end, where the caller still wants bytes: it has seen by now what they brought.
    fn receive_what_is_due(&mut self) {
        while let Some(socket) = self.due.pop() {
            let Some(slot) = self.sockets.open(socket) else { continue };
            if slot.wants_bytes {
                slot.receiving = Receiving::Armed;
                operations::receive(&mut self.ring, slot, socket.index, self.receive_form);
            } else {
                slot.receiving = Receiving::Idle;
            }
        }
    }

    /// Arms as many starved sockets again as there are buffers.
    fn feed_starved(&mut self) {
        let mut turns = u32::from(self.pool.available()).min(self.starved.len() as u32);
        while turns > 0 {
            let Some(socket) = self.starved.pop_front() else { return };
            let Some(slot) = self.sockets.open(socket) else { continue };
            if slot.wants_bytes {
                slot.receiving = Receiving::Armed;
                operations::receive(&mut self.ring, slot, socket.index, self.receive_form);
                turns -= 1;
            } else {
                slot.receiving = Receiving::Idle;
            }
        }
    }

    /// Puts a socket at the end of the starved ones. An open socket is in there once at most, and those
    /// closed meanwhile are weeded out, so that the list stays as short as the table.
    fn starve(&mut self, socket: SocketId) {
        self.starved_count += 1;
        if self.starved.len() >= self.sockets.len() as usize {
            self.starved.retain(|&other| self.sockets.open(other).is_some());
        }
        self.starved.push_back(socket);
    }

    /// Closes a socket's descriptor and frees its slot if the kernel is done with it.
    fn settle(&mut self, index: u32) {
        if let Some(descriptor) = self.sockets.release(index) {
            operations::close(&mut self.ring, descriptor);
        }
    }

    /// Marks a slot closed and cancels what it has in flight.
    fn abandon(&mut self, index: u32) {
        let Some(slot) = self.sockets.at(index).filter(|slot| slot.phase == Phase::Open) else { return };
        slot.phase = Phase::Draining;
        if slot.receiving == Receiving::Armed {
            operations::cancel(&mut self.ring, slot.user_data(Kind::Receive, index));
        }
        if slot.sending.is_some() {
            operations::cancel(&mut self.ring, slot.user_data(Kind::Send, index));
        }
        if slot.connecting {
            operations::cancel(&mut self.ring, slot.user_data(Kind::Connect, index));
        }
        self.settle(index);
    }
}

impl Io for UringIo {
    type Buffer = UringBuffer;

    fn now(&self) -> Monotonic {
        self.now
    }

    fn unix_nanos(&self) -> u64 {
        self.unix_nanos
    }

    fn connect(&mut self, address: SocketAddr) -> Result<SocketId, Errno> {
        let socket = new_socket(address).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let socket = self.sockets.insert(socket).map_err(|_| Errno(libc::EMFILE))?;
        if let Some(slot) = self.sockets.open(socket) {
            slot.connecting = true;
            slot.wire.address = Some(Box::new(SockAddr::from(address)));
            operations::connect(&mut self.ring, slot, socket.index);
        }
        Ok(socket)
    }

    fn local_address(&mut self, socket: SocketId) -> Option<SocketAddr> {
        let descriptor = self.sockets.open(socket)?.descriptor.as_ref()?;
        SockRef::from(descriptor).local_addr().ok()?.as_socket()
    }

    fn receive(&mut self, socket: SocketId) {
        let Some(slot) = self.sockets.open(socket) else { return };
        slot.wants_bytes = true;
        if slot.receiving == Receiving::Idle && !slot.connecting {
            slot.receiving = Receiving::Armed;
            operations::receive(&mut self.ring, slot, socket.index, self.receive_form);
        }
    }

    fn pause(&mut self, socket: SocketId) {
        let Some(slot) = self.sockets.open(socket) else { return };
        slot.wants_bytes = false;
        if slot.receiving == Receiving::Armed {
            slot.receiving = Receiving::Cancelling;
            operations::cancel(&mut self.ring, slot.user_data(Kind::Receive, socket.index));
        }
    }

    /// # Panics
    /// If the body's range reaches beyond its bytes, or if a send is in flight already.
    fn send(&mut self, socket: SocketId, data: Outgoing<UringBuffer>) {
        let Some(slot) = self.sockets.open(socket) else { return };
        // Not only a rule: the kernel reads the bytes of the first one by address.
        assert!(slot.sending.is_none(), "a second send on {socket:?} before its first was Sent");
        slot.sending = Some(Sending::new(data));
        operations::send(&mut self.ring, slot, socket.index);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        let Some(slot) = self.sockets.open(socket) else { return };
        if slot.sending.is_some() {
            slot.finish_after_send = true;
        } else if let Some(descriptor) = &slot.descriptor {
            // The ring's own operation would start a kernel thread for what never blocks.
            finish(&SockRef::from(descriptor));
        }
    }

    fn close(&mut self, socket: SocketId, reset: bool) {
        let Some(slot) = self.sockets.open(socket) else { return };
        if reset && let Some(descriptor) = &slot.descriptor {
            // Only fails on a socket that is broken already.
            let _ = SockRef::from(descriptor).set_linger(Some(Duration::ZERO));
        }
        self.abandon(socket.index);
    }

    fn stop_accepting(&mut self) {
        self.stopping = true;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.resume_at = None;
            if listener.accepting {
                operations::cancel(&mut self.ring, UserData::plain(Kind::Accept, index as u32));
            } else {
                listener.socket = None;
            }
        }
    }

    fn is_accepting(&self) -> bool {
        self.listeners.iter().any(|listener| listener.socket.is_some())
    }

    fn wait(
        &mut self,
        deadline: Option<Monotonic>,
        events: &mut Vec<Event<UringBuffer>>,
    ) -> std::io::Result<()> {
        self.now = monotonic();
        let resume = self.resume_accepting();
        // Those that wait for a buffer come first: the others have just had one.
        self.feed_starved();
        self.receive_what_is_due();
        let deadline = deadline.into_iter().chain(resume).min();
        self.ring.enter(deadline.map(|deadline| deadline.since(self.now)))?;
        self.read_clocks();
        self.drain_completions(events);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.wake) as Waker
    }

    fn counters(&self) -> IoCounters {
        IoCounters {
            enters: self.ring.counters.enters,
            starved: self.starved_count,
            accept_failures: self.accept_failures,
        }
    }
}

impl Drop for UringIo {
    /// Cancels everything and waits until the kernel is done with the worker's memory before it is freed.
    fn drop(&mut self) {
        self.shutting_down = true;
        self.stop_accepting();
        for index in 0..self.sockets.len() {
            self.abandon(index);
        }
        let mut dropped = Vec::new();
        for _ in 0..SHUTDOWN_ATTEMPTS {
            if self.ring.in_flight == 0 && self.ring.is_submitted() {
                break;
            }
            if self.ring.in_flight > 0 {
                operations::cancel_everything(&mut self.ring);
            }
            let wait = if self.ring.in_flight > 0 { SHUTDOWN_WAIT } else { Duration::ZERO };
            if self.ring.enter(Some(wait)).is_err() {
                break;
            }
            self.drain_completions(&mut dropped);
            for event in dropped.drain(..) {
                if let Event::Accepted { socket, .. } = event {
                    self.abandon(socket.index);
                }
            }
        }
        if self.ring.in_flight > 0 {
            tracing::error!(operations = self.ring.in_flight, "the kernel keeps worker memory in use");
            // Memory that is never freed can't be written to after it was freed.
            std::mem::forget(Rc::clone(&self.pool));
            std::mem::forget(std::mem::take(&mut self.wake_counter));
            std::mem::forget(std::mem::replace(&mut self.sockets, SocketTable::new(0)));
        }
        if let Err(error) = operations::unregister_buffers(&self.ring) {
            tracing::warn!(%error, "the receive buffers could not be unregistered");
        }
    }
}

/// Whether workers can use io_uring here: makes a small ring with everything that a worker's has, and drops it. The calling
/// thread may meet interrupted system calls (EINTR) for a while after.
///
/// # Errors
/// What is missing or refuses, and what to do about it.
pub fn probe() -> std::io::Result<()> {
    let options = UringOptions {
        buffer_count: 1,
        buffer_bytes: 512,
        submission_entries: 4,
        completion_entries: 8,
        ..UringOptions::default()
    };
    UringIo::new(options, Vec::new()).map(drop)
}

/// A socket to connect with: blocking, since a ring operation on a non-blocking one fails with EAGAIN
/// instead of waiting, closed on exec, and without Nagle's delay.
fn new_socket(address: SocketAddr) -> std::io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}
