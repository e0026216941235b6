//! The test's side of the virtual network: clients, origins, and the weather.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use super::network::{Network, Owner};
use super::{Faults, SimIo, SimOptions};
use crate::io::{Monotonic, ReceiveEnd};

/// A client or an origin connection that the test acts for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SimPeer(pub(super) usize);

/// What a test's end of a connection knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerState {
    /// The connection was made. It stays true afterwards.
    pub connected: bool,
    /// The connect was refused.
    pub refused: bool,
    /// Nothing more comes in, and everything that did was read.
    pub end: Option<ReceiveEnd>,
    /// Bytes sent that the other side has no room for yet.
    pub unsent_bytes: usize,
}

/// The virtual network; clones are handles to the same one.
#[derive(Clone)]
pub struct SimNetwork {
    network: Rc<RefCell<Network>>,
}

impl SimNetwork {
    /// An empty network at virtual time zero.
    ///
    /// # Panics
    /// If buffers or windows have no room for a byte.
    pub fn new(options: SimOptions, faults: Faults) -> Self {
        assert!(options.buffer_bytes > 0 && options.window_bytes > 0, "no room for a byte: {options:?}");
        Self { network: Rc::new(RefCell::new(Network::new(options, faults))) }
    }

    /// The backend for the code under test, listening on these addresses. A network has one backend.
    ///
    /// # Panics
    /// If the network has listeners already.
    pub fn io(&self, listeners: &[SocketAddr]) -> SimIo {
        let mut network = self.network.borrow_mut();
        assert!(network.listeners.is_empty(), "a virtual network has one backend");
        network.listeners = listeners.to_vec();
        drop(network);
        SimIo::new(Rc::clone(&self.network))
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.network.borrow_mut().faults = faults;
    }

    /// The virtual time.
    pub fn now(&self) -> Monotonic {
        Monotonic(self.network.borrow().now)
    }

    /// Whether nothing is under way: without a deadline, the next wait would return nothing, unless there
    /// are bytes that a socket had not received yet.
    pub fn is_idle(&self) -> bool {
        self.network.borrow().is_idle()
    }

    /// Sockets that the backend has open; 0 at the end of a test shows that nothing leaked.
    pub fn open_sockets(&self) -> usize {
        self.network.borrow().open_sockets()
    }

    /// Buffers that the backend has to give out; all of them at the end of a test shows that none leaked.
    pub fn buffers_left(&self) -> usize {
        self.network.borrow().buffers_left.get()
    }

    /// Connects to a listener of the backend, from address `from`. Bytes may be sent at once.
    pub fn connect_client(&self, listener: SocketAddr, from: SocketAddr) -> SimPeer {
        SimPeer(self.network.borrow_mut().knock(Owner::Test, Some(from), listener))
    }

    /// Lets the backend connect to `address`; the connections queue up for [`Self::accept_origin`].
    pub fn listen_origin(&self, address: SocketAddr) {
        self.network.borrow_mut().origins.entry(address).or_default();
    }

    /// Refuses connects to `address` from now on.
    pub fn stop_origin(&self, address: SocketAddr) {
        self.network.borrow_mut().origins.remove(&address);
    }

    /// Never answers connects to `address`.
    pub fn black_hole(&self, address: SocketAddr) {
        self.network.borrow_mut().black_holes.insert(address);
    }

    /// The next connection that the backend made to an origin.
    pub fn accept_origin(&self, address: SocketAddr) -> Option<SimPeer> {
        self.network.borrow_mut().origins.get_mut(&address)?.pop_front()
    }

    /// Sends bytes. There is no limit to what waits for the backend to read.
    pub fn send(&self, peer: SimPeer, bytes: &[u8]) {
        let mut network = self.network.borrow_mut();
        if network.ends[peer.0].broken.is_none() {
            network.ends[peer.0].outbox.extend(bytes);
            network.transmit(peer.0);
        }
    }

    /// Takes the bytes that came in since the last call.
    pub fn received(&self, peer: SimPeer) -> Vec<u8> {
        std::mem::take(&mut self.network.borrow_mut().ends[peer.0].received)
    }

    /// With `false`, leaves what comes in unread, so that the backend's sends fill the window and wait.
    pub fn set_reading(&self, peer: SimPeer, reading: bool) {
        let mut network = self.network.borrow_mut();
        network.ends[peer.0].reading = reading;
        network.noticed(peer.0);
    }

    /// Sends FIN after what is being sent.
    pub fn finish(&self, peer: SimPeer) {
        self.network.borrow_mut().finish(peer.0);
    }

    /// Closes; with `reset`, or over unread bytes, the backend sees a reset.
    pub fn close(&self, peer: SimPeer, reset: bool) {
        self.network.borrow_mut().close(peer.0, reset);
    }

    /// What the peer knows of its connection.
    pub fn state(&self, peer: SimPeer) -> PeerState {
        let network = self.network.borrow();
        let end = &network.ends[peer.0];
        PeerState {
            connected: end.connected,
            refused: end.refused,
            end: end.receive_end(),
            unsent_bytes: end.outbox.len(),
        }
    }
}
