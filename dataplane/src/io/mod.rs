//! The boundary between protocol code and the kernel: a small, completion-style set of verbs.
//!
//! Everything above this module takes bytes and a time and knows neither descriptors nor rings, which is
//! what lets the same worker run on io_uring, on a portable backend, and in a deterministic simulation.
//!
//! Rules of the boundary:
//! - Buffers are **owned and handed over**. A received buffer belongs to whoever holds it and goes back to
//!   the backend when it is dropped; a sent buffer belongs to the backend until its `Sent` event.
//! - One send is in flight per socket at most; two could be reordered by the kernel.
//! - After [`Io::close`] no event of that socket is delivered any more. A [`SocketId`] carries a generation,
//!   so a stale one never reaches the socket that took its slot.
//! - One wait hands over less than two receive buffers' worth of bytes of one socket, however much of it has come in:
//!   whoever has to hold the peer up can do so before more is there.
//! - Verbs don't block and need no system call of their own; [`Io::wait`] submits them all at once.

pub mod portable;
mod sending;
pub mod sim;
mod system;
pub mod uring;

#[cfg(test)]
mod conformance;

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// A connected (or connecting) stream socket of one worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    /// Slot in the backend's table; small and dense, so that callers can index an array with it.
    pub index: u32,
    /// Changes each time the slot is used again.
    pub generation: u32,
}

/// A listening socket, numbered in the order in which it was handed to the backend.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct ListenerId(pub u32);

/// A listening socket for a worker.
#[derive(Debug)]
pub struct ListeningSocket {
    /// What its connections are reported as.
    pub listener: ListenerId,
    /// The socket, TCP or Unix.
    pub socket: OwnedFd,
}

/// Nanoseconds on a clock that never goes back. Its zero is arbitrary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This moment plus `delay`, saturating at the end of time.
    pub fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A kernel error number (`errno`), kept as a number so that the hot path allocates nothing for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(pub i32);

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// Why a socket stopped receiving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiveEnd {
    /// The peer finished sending in an orderly way (FIN).
    Finished,
    /// The connection broke: reset, time-out of the kernel, unreachable.
    Failed(Errno),
}

/// What has happened since the last [`Io::wait`].
#[derive(Debug)]
pub enum Event<B> {
    /// A connection came in. It isn't received from until [`Io::receive`] is called.
    Accepted {
        /// Where it came in.
        listener: ListenerId,
        /// The new socket.
        socket: SocketId,
        /// The address of the other side.
        peer: SocketAddr,
    },
    /// The outcome of [`Io::connect`]. After an error the socket still needs [`Io::close`].
    Connected {
        /// The socket that `connect` returned.
        socket: SocketId,
        /// Success, or the reason.
        result: Result<(), Errno>,
    },
    /// At least one byte came in. The buffer may be held, sent on, or dropped.
    Received {
        /// From where.
        socket: SocketId,
        /// The bytes.
        buffer: B,
    },
    /// Nothing more will come in on this socket.
    ReceiveEnded {
        /// Which one.
        socket: SocketId,
        /// Why.
        end: ReceiveEnd,
    },
    /// A send came to its end: all of its bytes were taken by the kernel, or the connection failed.
    Sent {
        /// Which socket is free to send again.
        socket: SocketId,
        /// The bytes that were taken, or why none were.
        result: Result<(), Errno>,
        /// The head buffer of the send, for reuse (a received body has gone back to the backend already).
        head: Vec<u8>,
    },
    /// A [`Waker`] was used: look at the mailbox.
    Woken,
}

/// Bytes to send: `head`, then the part `range` of a received `body` that is passed on without a copy.
#[derive(Debug)]
pub struct Outgoing<B> {
    /// Bytes of our own making. May be empty if there is a body.
    pub head: Vec<u8>,
    /// A received buffer handed over whole, and the part of it to send.
    pub body: Option<(B, Range<usize>)>,
}

/// A buffer that the backend filled. Dropping it gives the memory back to the backend.
pub trait ReceiveBuffer: std::fmt::Debug {
    /// The received bytes.
    fn bytes(&self) -> &[u8];
    /// The received bytes, to be decrypted in place.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Wakes a worker from another thread: its next (or running) [`Io::wait`] returns with [`Event::Woken`].
pub trait Wake: Send + Sync {
    /// Wakes the worker; several calls before it looks count as one.
    fn wake(&self);
}

/// A shared handle to a worker's [`Wake`].
pub type Waker = Arc<dyn Wake>;

/// Counters that a backend keeps of itself.
#[derive(Clone, Copy, Default, Debug)]
pub struct IoCounters {
    /// System calls that entered the kernel to submit or wait.
    pub enters: u64,
    /// Times that a socket had to wait because all receive buffers were in use.
    pub starved: u64,
    /// Accepts that failed (for example for lack of descriptors).
    pub accept_failures: u64,
}

/// The verbs of a backend. One value serves one worker and never leaves its thread.
pub trait Io {
    /// The backend's received buffer.
    type Buffer: ReceiveBuffer;

    /// The monotonic time as of the last return of [`Io::wait`].
    fn now(&self) -> Monotonic;

    /// The wall clock as of the last return of [`Io::wait`]: nanoseconds since 1970 UTC.
    fn unix_nanos(&self) -> u64;

    /// Starts to connect to `address`; the outcome comes as [`Event::Connected`]. Fails at once only if no
    /// socket can be made.
    ///
    /// # Errors
    /// The error number of `socket(2)`, for example `EMFILE`.
    fn connect(&mut self, address: SocketAddr) -> Result<SocketId, Errno>;

    /// The address of this side of a connection: the one that its peer connected to. Nothing for a Unix socket, and for one
    /// that is closed.
    fn local_address(&mut self, socket: SocketId) -> Option<SocketAddr>;

    /// Starts or resumes receiving, until [`Io::pause`] or the end. Idempotent.
    fn receive(&mut self, socket: SocketId);

    /// Stops receiving. What the kernel has delivered already may still come as [`Event::Received`].
    fn pause(&mut self, socket: SocketId);

    /// Sends all of `data`. The caller waits for [`Event::Sent`] before it sends on this socket again.
    fn send(&mut self, socket: SocketId, data: Outgoing<Self::Buffer>);

    /// Tells the peer that nothing more will be sent (FIN), after what is in flight.
    fn shutdown_write(&mut self, socket: SocketId);

    /// Closes the socket, abandoning what is in flight. With `reset` the peer sees RST instead of FIN, which
    /// is how a truncated message is told from a whole one.
    fn close(&mut self, socket: SocketId, reset: bool);

    /// Stops accepting on all listeners and closes them. Connections that were accepted by then may still come as
    /// [`Event::Accepted`], until [`Io::is_accepting`] says no.
    fn stop_accepting(&mut self);

    /// Whether connections may still come in.
    fn is_accepting(&self) -> bool;

    /// Submits everything, waits until something happens or `deadline` has passed, and appends to `events`.
    ///
    /// # Errors
    /// Only if the ring itself is broken; the worker can't go on then.
    fn wait(
        &mut self,
        deadline: Option<Monotonic>,
        events: &mut Vec<Event<Self::Buffer>>,
    ) -> std::io::Result<()>;

    /// A handle for other threads.
    fn waker(&self) -> Waker;

    /// What the backend counted so far.
    fn counters(&self) -> IoCounters;
}
