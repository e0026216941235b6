//! Client connections: accepted, written to, ended. `input` reads from them, `deadlines` watches their time.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use super::output::Output;
use super::request::Request;
use super::timers::Deadline;
use super::transport::Transport;
use super::tunnel::Tunnel;
use super::{ClientId, Life, Owner, Worker};
use crate::address_counts::CountedConnection;
use crate::io::{Errno, Io, ListenerId, Monotonic, SocketId};
use crate::snapshot::Snapshot;
use crate::telemetry::Limit;

/// What a client connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Between requests. Holds no buffer.
    Idle,
    /// Part of a head came in.
    Head,
    /// A request runs.
    Active,
    /// A WebSocket: bytes pass both ways.
    Tunnel,
    /// An error was answered; input is thrown away for a while so that the answer arrives.
    Lingering { discarded: u64 },
    /// What is queued is sent, then the connection is closed.
    Flushing { linger: bool },
}

/// A client connection.
#[derive(Debug)]
pub(crate) struct Client<B> {
    pub(crate) socket: SocketId,
    /// Where it came in.
    pub(crate) listener: ListenerId,
    /// Its place among the connections of its address, where there is a cap on them.
    pub(crate) counted: Option<Box<CountedConnection>>,
    /// The other side: of the socket, or what a PROXY header said.
    pub(crate) peer: SocketAddr,
    /// Where the client connected to, if a PROXY header said so.
    pub(crate) passed_on_to: Option<Box<SocketAddr>>,
    pub(crate) transport: Transport,
    pub(crate) phase: Phase,
    pub(crate) request: Option<Box<Request>>,
    /// Bytes that came in and weren't used yet.
    pub(crate) unread: Vec<u8>,
    pub(crate) output: Output<B>,
    /// There exactly in [`Phase::Tunnel`]. Boxed, because few have one.
    pub(crate) tunnel: Option<Box<Tunnel>>,
    pub(crate) deadline: Deadline,
    pub(crate) served: u32,
    pub(crate) opened: Monotonic,
    pub(crate) paused: bool,
    /// The client has finished sending (FIN). It may still wait for its answer.
    pub(crate) input_ended: bool,
    /// What was last looked up about its address, and the generation that knew it.
    known: Cell<Option<(u64, weir_policy::Client)>>,
}

impl<B> Client<B> {
    /// What is known about the address that a request is judged by. Looked up once, unless a proxy in front sends
    /// requests of many clients over one connection.
    pub(crate) fn known(&self, snapshot: &Snapshot, address: IpAddr) -> weir_policy::Client {
        if !snapshot.policy.uses_attributes() {
            return address.into();
        }
        match self.known.get() {
            Some((generation, known)) if generation == snapshot.generation && known.address == address => {
                known
            }
            _ => {
                let client = snapshot.client(address);
                self.known.set(Some((snapshot.generation, client)));
                client
            }
        }
    }

    /// Whether no request of it was there yet.
    pub(crate) fn is_new(&self) -> bool {
        self.phase == Phase::Idle && self.served == 0
    }

    /// Whether a stop may close it at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.served > 0 && self.output.is_empty()
    }
}

impl<I: Io> Worker<I> {
    pub(super) fn client_accepted(&mut self, listener: ListenerId, socket: SocketId, peer: SocketAddr) {
        if let Some(limit) = self.connections_are_full(listener) {
            self.metrics.limit(limit);
            self.io.close(socket, true);
            return;
        }
        let Some((transport, counted)) = self.client_transport(listener, peer) else {
            self.io.close(socket, true);
            return;
        };
        let id = self.clients.insert(Client {
            socket,
            listener,
            counted,
            peer,
            passed_on_to: None,
            transport,
            phase: Phase::Idle,
            request: None,
            unread: Vec::new(),
            output: Output::default(),
            tunnel: None,
            deadline: Deadline::default(),
            served: 0,
            opened: self.io.now(),
            paused: false,
            input_ended: false,
            known: Cell::new(None),
        });
        self.own(socket, Owner::Client(id));
        let open = self.open_at(listener) + 1;
        self.open_by_listener.resize(self.open_by_listener.len().max(listener.0 as usize + 1), 0);
        self.open_by_listener[listener.0 as usize] = open;
        self.metrics.connection_opened();
        self.io.receive(socket);
        self.client_awaits_first_head(id);
    }

    /// The limit that stands against one more connection.
    fn connections_are_full(&self, listener: ListenerId) -> Option<Limit> {
        let snapshot = &self.current.snapshot;
        // What was accepted before accepting ended is served, and told to come again.
        if self.life == Life::Stopped || self.clients.len() >= snapshot.http.connections_per_worker {
            return Some(Limit::MaxConnections);
        }
        let settings = snapshot.listeners.get(listener.0 as usize)?;
        let full = self.open_at(listener) >= settings.connections_per_worker;
        full.then_some(Limit::ListenerMaxConnections)
    }

    /// Connections of a listener that are open at this worker.
    fn open_at(&self, listener: ListenerId) -> usize {
        self.open_by_listener.get(listener.0 as usize).copied().unwrap_or(0)
    }

    /// Counts a connection towards those of its address, where they have a cap.
    ///
    /// # Errors
    /// If it is one too many.
    pub(super) fn count_address(
        &mut self,
        listener: ListenerId,
        peer: SocketAddr,
    ) -> Result<Option<Box<CountedConnection>>, Limit> {
        let snapshot = &self.current.snapshot;
        let address = peer.ip().to_canonical();
        let Some(max) = snapshot.connection(listener).connections_per_address else { return Ok(None) };
        if snapshot.is_trusted(address) {
            return Ok(None); // it brings requests of many clients
        }
        if let Some(counted) = snapshot.address_counts.admit(listener, address, max) {
            return Ok(Some(Box::new(counted)));
        }
        self.metrics.limit(Limit::ConnectionsPerAddress);
        if let Some(similar_before) = self.address_refusals.pass(Instant::now()) {
            let listener = snapshot.listeners.get(listener.0 as usize).map_or("", |settings| &settings.name);
            tracing::warn!(
                %address,
                listener,
                connections_per_address = max,
                similar_before,
                "a client has as many connections as one address may have; another one was closed"
            );
        }
        Err(Limit::ConnectionsPerAddress)
    }

    /// What a new connection has to pass before it speaks HTTP, and its place among those of its address; nothing if it
    /// isn't welcome.
    fn client_transport(
        &mut self,
        listener: ListenerId,
        peer: SocketAddr,
    ) -> Option<(Transport, Option<Box<CountedConnection>>)> {
        let generation = Rc::clone(&self.current);
        let snapshot = &generation.snapshot;
        let Some(settings) = snapshot.listeners.get(listener.0 as usize) else {
            return Some((Transport::default(), None));
        };
        if settings.proxy_protocol && !snapshot.is_trusted(peer.ip().to_canonical()) {
            tracing::debug!(%peer, "a PROXY header is due, and the peer is not one of trusted_proxies");
            self.metrics.protocol_error(0, "untrusted_proxy");
            return None;
        }
        // A PROXY header says who the client is, once it is here.
        let counted = if settings.proxy_protocol { None } else { self.count_address(listener, peer).ok()? };
        let transport = Transport::new(settings)
            .inspect_err(|failure| tracing::error!(%peer, %failure, "TLS with a client can't begin"))
            .ok()?;
        Some((transport, counted))
    }

    /// Puts the request back that was taken out to work on it.
    pub(super) fn client_put_request(&mut self, id: ClientId, request: Box<Request>) {
        match self.clients.get_mut(id) {
            Some(client) => client.request = Some(request),
            None => self.put_request(request),
        }
    }

    /// Queues bytes for the client.
    pub(super) fn client_push(
        &mut self,
        id: ClientId,
        head: Vec<u8>,
        body: Option<(I::Buffer, std::ops::Range<usize>)>,
    ) {
        let Some((head, body)) = self.client_wrap(id, head, body) else { return };
        let Some(client) = self.clients.get_mut(id) else { return };
        let bytes = head.len() + body.as_ref().map_or(0, |(_, range)| range.len());
        self.metrics.bytes(0, bytes as u64);
        self.handed_over += usize::from(body.is_some());
        client.output.push(&mut self.io, &mut self.buffers, client.socket, head, body);
        self.client_refresh_send_deadline(id);
    }

    pub(super) fn client_sent(&mut self, id: ClientId, result: Result<(), Errno>) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if result.is_err() {
            self.client_close(id, true);
            return;
        }
        self.handed_over -= client.output.sent(&mut self.io, client.socket);
        let pending = client.output.pending_bytes();
        match client.phase {
            Phase::Flushing { linger } if pending == 0 => self.client_flushed(id, linger),
            Phase::Flushing { linger } => self.client_flushes(id, linger),
            // A part of a handshake. The first head is still due when it was.
            Phase::Idle if client.served == 0 => self.client_later(id),
            Phase::Idle if pending == 0 && self.life == Life::Draining => self.client_flushed(id, true),
            Phase::Idle => {
                self.client_idles(id);
                self.client_later(id);
            }
            Phase::Head => self.client_later(id),
            Phase::Active => {
                self.client_refresh_send_deadline(id);
                self.relay_resume(id, pending);
            }
            Phase::Tunnel => self.tunnel_client_sent(id, pending),
            _ => {}
        }
    }

    /// The request is over: the connection goes on to the next one, or ends.
    pub(super) fn client_finish(&mut self, id: ClientId, linger: bool) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(mut request) = client.request.take() else { return };
        let keep_alive = request.keep_alive && self.life == Life::Serving;
        // A client that was not to know may have sent its next request already.
        let linger = linger || request.may_be_followed() || !client.unread.is_empty();
        self.account(&mut request);
        self.put_request(request);
        let Some(client) = self.clients.get_mut(id) else { return };
        if keep_alive {
            client.phase = Phase::Idle;
            self.client_idles(id);
            return;
        }
        self.client_flushes(id, linger);
        self.client_close_notify(id);
        if self.clients.get(id).is_some_and(|client| client.output.is_empty()) {
            self.client_flushed(id, linger);
        }
    }

    /// The connection ends once the client has taken what waits for it: it has `send_timeout` for each part.
    pub(super) fn client_flushes(&mut self, id: ClientId, linger: bool) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.phase = Phase::Flushing { linger };
        let span = self.current.snapshot.connection(client.listener).send_timeout;
        self.client_set_deadline(id, span);
    }

    /// All was sent and the connection is to end.
    pub(super) fn client_flushed(&mut self, id: ClientId, linger: bool) {
        self.client_close_notify(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        let timeout = self.current.snapshot.connection(client.listener).lingering_timeout;
        if !linger || client.input_ended {
            self.client_close(id, false);
            return;
        }
        // RFC 9112 section 9.6: close in stages, or unread input makes the kernel reset the connection and
        // the answer may be lost on its way.
        client.phase = Phase::Lingering { discarded: 0 };
        self.io.shutdown_write(client.socket);
        if client.paused {
            client.paused = false;
            self.io.receive(client.socket);
        }
        self.client_set_deadline(id, timeout);
    }

    /// Ends a client connection and all that hangs on it.
    pub(super) fn client_close(&mut self, id: ClientId, reset: bool) {
        self.upstream_abandon(id);
        if !reset {
            self.client_close_notify(id);
        }
        let Some(mut client) = self.clients.remove(id) else { return };
        if let Some(open) = self.open_by_listener.get_mut(client.listener.0 as usize) {
            *open -= 1;
        }
        self.handed_over -= client.output.handed_over();
        // Whoever hears of the connection's end finds its place free.
        drop(client.counted.take());
        self.metrics.connection_closed();
        if let Some(tunnel) = client.tunnel.take() {
            self.tunnels -= 1;
            self.upstream_remove(tunnel.upstream, reset);
        }
        if let Some(mut request) = client.request.take() {
            if client.phase == Phase::Active {
                self.account(&mut request);
            }
            self.put_request(request);
        }
        self.buffers.put(client.unread);
        self.close_socket(client.socket, reset);
        self.discard_carried(client.peer);
    }
}
