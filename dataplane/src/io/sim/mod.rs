//! A deterministic backend for tests: a virtual network in one thread, with virtual time and faults.
//!
//! Time passes only in [`Io::wait`], which jumps to the next thing that happens. The same seed and the same
//! calls give the same events at the same times. Tests play the clients and the origins through a
//! [`SimNetwork`]; the code under test gets the [`SimIo`] made from it.
//!
//! ```
//! use weir::io::sim::{Faults, SimNetwork, SimOptions};
//! use weir::io::{Event, Io, ReceiveBuffer};
//!
//! let listener = "10.0.0.1:80".parse().unwrap();
//! let network = SimNetwork::new(SimOptions::default(), Faults::default());
//! let mut io = network.io(&[listener]);
//! let client = network.connect_client(listener, "192.0.2.7:1234".parse().unwrap());
//! network.send(client, b"hello");
//!
//! let (mut events, mut received) = (Vec::new(), Vec::new());
//! while received.len() < 5 {
//!     io.wait(None, &mut events).unwrap();
//!     for event in events.drain(..) {
//!         match event {
//!             Event::Accepted { socket, .. } => io.receive(socket),
//!             Event::Received { buffer, .. } => received.extend_from_slice(buffer.bytes()),
//!             other => panic!("{other:?}"),
//!         }
//!     }
//! }
//! assert_eq!(received, b"hello");
//! ```

mod network;
mod peers;
mod random;

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use network::{Network, Owner};
pub use peers::{PeerState, SimNetwork, SimPeer};

use super::{Errno, Event, Io, IoCounters, Monotonic, Outgoing, ReceiveBuffer, SocketId, Wake, Waker};

/// The wall clock at virtual time zero: 2026-01-01 00:00:00 UTC, in nanoseconds since 1970.
const UNIX_START_NANOS: u64 = 1_767_225_600_000_000_000;

/// Sizes and the seed of a virtual network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SimOptions {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Receive buffers of the backend.
    pub buffer_count: usize,
    /// Most bytes of one received buffer; at least 1.
    pub buffer_bytes: usize,
    /// Most bytes on their way to, or unread at, one end of a connection; at least 1.
    pub window_bytes: usize,
    /// Most sockets of the backend at a time; a connect beyond it fails with `EMFILE`.
    pub socket_limit: usize,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            buffer_count: 256,
            buffer_bytes: 64 * 1024,
            window_bytes: 256 * 1024,
            socket_limit: 65_536,
        }
    }
}

/// How received bytes are cut into buffers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cutting {
    /// As many as arrived and fit.
    Whole,
    /// A random number of them; on their way, too, they travel in pieces of random length.
    Random,
    /// One byte each.
    EveryByte,
    /// As `Whole`, with one cut before this byte of each stream. A test tries every place in turn.
    At(u64),
}

/// What goes wrong, and how often. `..._one_in` is once in so many chances on average; 0 is never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Time that bytes, connects, FINs and resets travel. They never overtake each other on one connection.
    pub delay: RangeInclusive<Duration>,
    /// Time from the last byte's being taken to [`Event::Sent`].
    pub sent_delay: RangeInclusive<Duration>,
    /// How received bytes are cut.
    pub cutting: Cutting,
    /// The connection is reset as bytes arrive. Half of the ends lose what they hadn't read by then.
    pub reset_one_in: u32,
    /// A connect is refused, in either direction.
    pub refuse_one_in: u32,
    /// Arrived bytes can't be read for [`Self::stall`].
    pub stall_one_in: u32,
    /// Length of a stall.
    pub stall: RangeInclusive<Duration>,
    /// A receive of the backend finds no buffer at first.
    pub starve_one_in: u32,
    /// A [`Io::pause`] comes too late for one more receive.
    pub late_receive_one_in: u32,
}

impl Default for Faults {
    /// Nothing goes wrong, and everything takes 10 microseconds.
    fn default() -> Self {
        let delay = Duration::from_micros(10);
        Self {
            delay: delay..=delay,
            sent_delay: Duration::ZERO..=Duration::ZERO,
            cutting: Cutting::Whole,
            reset_one_in: 0,
            refuse_one_in: 0,
            stall_one_in: 0,
            stall: Duration::ZERO..=Duration::ZERO,
            starve_one_in: 0,
            late_receive_one_in: 0,
        }
    }
}

impl Faults {
    /// A network that varies all that it may without breaking a connection: what is sent arrives.
    pub fn rough() -> Self {
        Self {
            delay: Duration::ZERO..=Duration::from_millis(5),
            sent_delay: Duration::ZERO..=Duration::from_millis(5),
            cutting: Cutting::Random,
            stall_one_in: 20,
            stall: Duration::from_millis(1)..=Duration::from_millis(50),
            starve_one_in: 10,
            late_receive_one_in: 2,
            ..Self::default()
        }
    }

    /// As [`Self::rough`], and connections are refused and reset.
    pub fn hostile() -> Self {
        Self { reset_one_in: 50, refuse_one_in: 10, ..Self::rough() }
    }
}

/// Bytes that the backend received; one of [`SimOptions::buffer_count`].
#[derive(Debug)]
pub struct SimBuffer {
    bytes: Vec<u8>,
    buffers_left: Rc<Cell<usize>>,
}

impl SimBuffer {
    fn new(bytes: Vec<u8>, buffers_left: &Rc<Cell<usize>>) -> Self {
        buffers_left.set(buffers_left.get() - 1);
        Self { bytes, buffers_left: Rc::clone(buffers_left) }
    }
}

impl ReceiveBuffer for SimBuffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for SimBuffer {
    fn drop(&mut self) {
        self.buffers_left.set(self.buffers_left.get() + 1);
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An [`Io`] on a virtual network; made by [`SimNetwork::io`].
pub struct SimIo {
    network: Rc<RefCell<Network>>,
    woken: Arc<Flag>,
    now: Monotonic,
    enters: u64,
}

impl SimIo {
    fn new(network: Rc<RefCell<Network>>) -> Self {
        let now = Monotonic(network.borrow().now);
        Self { network, woken: Arc::default(), now, enters: 0 }
    }
}

impl Io for SimIo {
    type Buffer = SimBuffer;

    fn now(&self) -> Monotonic {
        self.now
    }

    fn unix_nanos(&self) -> u64 {
        UNIX_START_NANOS + self.now.0
    }

    fn connect(&mut self, address: SocketAddr) -> Result<SocketId, Errno> {
        let mut network = self.network.borrow_mut();
        if network.open_sockets() >= network.options.socket_limit {
            return Err(Errno(libc::EMFILE));
        }
        let end = network.knock(Owner::Nobody, None, address);
        Ok(network.open_slot(end))
    }

    fn local_address(&mut self, socket: SocketId) -> Option<SocketAddr> {
        self.network.borrow().local_address(socket)
    }

    fn receive(&mut self, socket: SocketId) {
        self.network.borrow_mut().receive(socket);
    }

    fn pause(&mut self, socket: SocketId) {
        self.network.borrow_mut().pause(socket);
    }

    /// # Panics
    /// If a send is in flight already, or the sending side was shut down: the caller broke the rules.
    fn send(&mut self, socket: SocketId, data: Outgoing<SimBuffer>) {
        self.network.borrow_mut().send(socket, data);
    }

    fn shutdown_write(&mut self, socket: SocketId) {
        let mut network = self.network.borrow_mut();
        if let Some(end) = network.end_of(socket) {
            network.finish(end);
        }
    }

    fn close(&mut self, socket: SocketId, reset: bool) {
        self.network.borrow_mut().close_socket(socket, reset);
    }

    fn stop_accepting(&mut self) {
        self.network.borrow_mut().listeners.clear();
    }

    fn is_accepting(&self) -> bool {
        !self.network.borrow().listeners.is_empty()
    }

    /// Returns without an event if nothing can happen any more: no deadline, and nothing under way.
    fn wait(
        &mut self,
        deadline: Option<Monotonic>,
        events: &mut Vec<Event<SimBuffer>>,
    ) -> std::io::Result<()> {
        self.enters += 1;
        let mut network = self.network.borrow_mut();
        let limit = deadline.map(|deadline| deadline.0);
        loop {
            if self.woken.0.swap(false, Ordering::Acquire) {
                network.pending.push_back(Event::Woken);
            }
            network.deliver_ready();
            if !network.pending.is_empty() {
                events.extend(network.pending.drain(..));
                break;
            }
            if !network.step(limit) {
                network.now = network.now.max(limit.unwrap_or(0));
                break;
            }
        }
        self.now = Monotonic(network.now);
        Ok(())
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.woken) as Waker
    }

    fn counters(&self) -> IoCounters {
        IoCounters { enters: self.enters, starved: self.network.borrow().starved_count, accept_failures: 0 }
    }
}
