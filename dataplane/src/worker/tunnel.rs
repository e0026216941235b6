//! WebSockets: once an origin has accepted one, bytes pass both ways as they come, until both sides have finished, one
//! breaks off, or nobody says anything for too long.
//!
//! A tunnel keeps its client and its origin connection to itself. It has left the pool's count, so that those who wait
//! for an origin don't wait for a chat to end, and has a count of its own.

use std::ops::Range;
use std::time::Duration;

use super::client::Phase;
use super::failures::OriginFailure;
use super::relay::{HAND_OVER_BYTES_MIN, Incoming};
use super::request::Answer;
use super::upstream::Download;
use super::{ClientId, HANDED_OVER_MAX, UpstreamId, Worker};
use crate::http;
use crate::io::{Io, ReceiveBuffer};
use crate::telemetry::{Limit, UpstreamError};

/// What a client's connection knows of its tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) upstream: UpstreamId,
    /// Silence of both sides that ends it.
    idle_timeout: Duration,
    /// How long the client may take nothing of what waits for it.
    pub(crate) send_timeout: Duration,
    /// The origin sends no more.
    origin_ended: bool,
    /// The client's end was passed on.
    told_origin: bool,
    /// The origin's end was passed on.
    told_client: bool,
}

impl<I: Io> Worker<I> {
    /// The origin answered 101: looks whether that accepts what was asked for, and joins the two connections. The head
    /// for the client is written to `out`.
    pub(super) fn tunnel_opens(
        &mut self,
        id: UpstreamId,
        client_id: ClientId,
        out: &mut Vec<u8>,
    ) -> Result<(), OriginFailure> {
        let Some(client) = self.clients.get_mut(client_id) else { return Ok(()) };
        let Some(mut request) = client.request.take() else { return Ok(()) };
        let accepted = http::websocket_key(&request.head, &request.head_bytes)
            .is_some_and(|key| http::accepts_websocket(&request.response, &request.response_bytes, key));
        let limits = request.limits().filter(|_| accepted);
        let Some((idle_timeout, send_timeout)) =
            limits.map(|limits| (limits.tunnel_timeout, limits.send_timeout))
        else {
            client.request = Some(request);
            let detail = "a 101 that does not accept the WebSocket that was asked for (RFC 6455 section 4.1)";
            return Err(OriginFailure::new(502, UpstreamError::BadResponse, detail));
        };
        http::write_switch_head(&request.response, &request.response_bytes, &request.id, out);
        (request.status, request.answer, request.upstream) = (101, Answer::Done, None);
        // Its place among the tunnels is the connection's from here on.
        request.websocket = false;
        client.phase = Phase::Tunnel;
        client.deadline.clear();
        client.tunnel = Some(Box::new(Tunnel {
            upstream: id,
            idle_timeout,
            send_timeout,
            origin_ended: false,
            told_origin: false,
            told_client: false,
        }));
        self.account(&mut request);
        self.put_request(request);
        if let Some(upstream) = self.upstreams.get_mut(id) {
            upstream.download = Download::Tunnel;
            upstream.metrics.upstream_connection_tunnelled(upstream.origin);
            let index = upstream.pool;
            let pool = self.pools.get(index);
            pool.open -= 1;
            self.pools.open_total -= 1;
            self.upstream_set_deadline(id, idle_timeout);
            self.serve_waiting(index);
        }
        // The client may have sent something already.
        self.client_later(client_id);
        Ok(())
    }

    /// Bytes of the origin for the client, behind `out`.
    pub(super) fn tunnel_from_origin(
        &mut self,
        id: UpstreamId,
        client_id: ClientId,
        incoming: Incoming<'_, I::Buffer>,
        range: Range<usize>,
        mut out: Vec<u8>,
    ) {
        self.tunnel_lives(client_id);
        let hands_over = range.len() >= HAND_OVER_BYTES_MIN && self.handed_over < HANDED_OVER_MAX;
        let body = match incoming.buffer {
            Some(buffer) if hands_over => Some((buffer, range)),
            Some(buffer) => {
                out.extend_from_slice(&buffer.bytes()[range]);
                None
            }
            None => {
                out.extend_from_slice(&incoming.plaintext[range]);
                None
            }
        };
        self.client_push(client_id, out, body);
        self.relay_pause(id, client_id);
    }

    /// Bytes of the client for the origin. Zero if it has to take some of what waits for it first.
    pub(super) fn tunnel_from_client(&mut self, id: ClientId, bytes: &[u8]) -> usize {
        let Some(client) = self.clients.get(id) else { return 0 };
        let Some(tunnel) = &client.tunnel else { return 0 };
        let upstream_id = tunnel.upstream;
        let parked_max = self.current.snapshot.connection(client.listener).parked_bytes;
        let Some(upstream) = self.upstreams.get_mut(upstream_id) else { return bytes.len() };
        let room = parked_max.saturating_sub(upstream.output.pending_bytes());
        if room == 0 {
            return 0;
        }
        let bytes = &bytes[..bytes.len().min(room)];
        let mut out = self.buffers.take();
        match &mut upstream.engine {
            None => out.extend_from_slice(bytes),
            Some(engine) => {
                if let Err(failure) = engine.seal(&[bytes], &mut out) {
                    self.upstream_failed(upstream_id, failure.into());
                    return bytes.len();
                }
            }
        }
        upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
        self.tunnel_lives(id);
        bytes.len()
    }

    /// Something passed: the time-out for silence starts anew. While the client takes too little, its own runs.
    fn tunnel_lives(&mut self, id: ClientId) {
        let Some(tunnel) = self.clients.get(id).and_then(|client| client.tunnel.as_ref()) else { return };
        let (upstream, idle_timeout) = (tunnel.upstream, tunnel.idle_timeout);
        if self.upstreams.get(upstream).is_some_and(|upstream| !upstream.paused) {
            self.upstream_set_deadline(upstream, idle_timeout);
        }
    }

    /// The client took something: the origin may go on.
    pub(super) fn tunnel_client_sent(&mut self, id: ClientId, pending_bytes: usize) {
        self.client_refresh_send_deadline(id);
        let Some(client) = self.clients.get(id) else { return };
        let Some(tunnel) = &client.tunnel else { return };
        let parked_max = self.current.snapshot.connection(client.listener).parked_bytes;
        let (upstream_id, idle_timeout) = (tunnel.upstream, tunnel.idle_timeout);
        if let Some(upstream) = self.upstreams.get_mut(upstream_id)
            && upstream.paused
            && pending_bytes <= parked_max / 2
        {
            upstream.paused = false;
            self.io.receive(upstream.socket);
            self.upstream_set_deadline(upstream_id, idle_timeout);
        }
        self.tunnel_settle(id);
    }

    /// The origin sends no more. WebSocket says by itself whether that is the end that was meant.
    pub(super) fn tunnel_origin_ended(&mut self, id: ClientId) {
        if let Some(tunnel) = self.clients.get_mut(id).and_then(|client| client.tunnel.as_mut()) {
            tunnel.origin_ended = true;
        }
        self.tunnel_settle(id);
    }

    /// Passes the ends of both directions on, behind what was sent before them, and closes once both have ended.
    pub(super) fn tunnel_settle(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let client_ended = client.input_ended && client.unread.is_empty();
        let Some(tunnel) = &mut client.tunnel else { return };
        let Some(upstream) = self.upstreams.get_mut(tunnel.upstream) else { return };
        if client_ended
            && !tunnel.told_origin
            && upstream.output.is_empty()
            && let Some(engine) = &mut upstream.engine
        {
            // Nothing is appended the second time, and then the output stays empty.
            let mut out = self.buffers.take();
            engine.close_notify(&mut out);
            upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
        }
        if client_ended && !tunnel.told_origin && upstream.output.is_empty() {
            tunnel.told_origin = true;
            self.io.shutdown_write(upstream.socket);
        }
        let socket = client.socket;
        let tells_client = tunnel.origin_ended && !tunnel.told_client && client.output.is_empty();
        tunnel.told_client |= tells_client;
        let over = tunnel.told_origin && tunnel.told_client;
        if tells_client {
            self.client_close_notify(id);
            self.io.shutdown_write(socket);
        }
        if over {
            self.client_close(id, false);
        }
    }

    /// Nobody said anything for too long.
    pub(super) fn tunnel_timed_out(&mut self, id: ClientId) {
        self.metrics.limit(Limit::TunnelTimeout);
        self.client_close(id, false);
    }

    /// Gives a request that opens a WebSocket its place among the tunnels, which is free again when the request or the
    /// tunnel ends. False if there is none left.
    pub(super) fn tunnel_has_room(&mut self) -> bool {
        let room = self.tunnels < self.current.snapshot.http.tunnels_per_worker;
        if room {
            self.tunnels += 1;
        } else {
            self.metrics.limit(Limit::MaxTunnels);
        }
        room
    }
}
