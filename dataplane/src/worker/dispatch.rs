//! Finds a request its connection: address, pool, queue, and what to answer if there is none.

use super::balance::Choice;
use super::decide::frame_body;
use super::failures::OriginFailure;
use super::pool::PoolIndex;
use super::request::{Repeated, Request, Sink, Wait, forget};
use super::upstream::{Download, Stage};
use super::{ClientId, UpstreamId, Worker};
use crate::decision;
use crate::http::{self, ForwardFacts};
use crate::io::Io;
use crate::telemetry::{Limit, UpstreamError};

impl<I: Io> Worker<I> {
    /// Writes the request for its origin and finds it a connection.
    pub(super) fn forward(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(mut request) = client.request.take() else { return };
        if request.to_origin.capacity() == 0 {
            request.to_origin = self.buffers.take();
        }
        request.to_origin.clear();
        if !request.forwarded && self.opens_websocket(&request) {
            if !self.tunnel_has_room() {
                self.client_put_request(id, request);
                self.client_write_answer(id, 503, Limit::MaxTunnels.as_str());
                self.client_finish(id, false);
                self.client_later(id);
                return;
            }
            request.websocket = true;
        }
        self.write_request(&mut request, id);
        if request.sink != Sink::Stream && !request.is_repeatable() {
            // There is no second time. Its bytes count until the origin has them.
            forget(&mut request.body);
        }
        if !request.forwarded {
            request.forwarded = true;
            let choice = Choice::of(&request);
            if let Some(pool) = choice.and_then(|choice| self.choose_address(&choice)) {
                request.goes_to(pool);
            }
        }
        let waits_for_body = request.body_at_hand;
        self.client_put_request(id, request);
        if !waits_for_body {
            self.acquire(id);
        }
    }

    /// Whether the request asks for a WebSocket in a place that has them.
    fn opens_websocket(&self, request: &Request) -> bool {
        request.settings().is_some_and(|settings| settings.websocket)
            && http::websocket_key(&request.head, &request.head_bytes).is_some()
    }

    fn write_request(&self, request: &mut Request, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let peer = client.peer.ip();
        let Some(generation) = &request.generation else { return };
        let client_ip = http::address_text(request.client_ip.unwrap_or(peer));
        let Some(settings) = request.settings() else { return };
        let origin = &generation.snapshot.origins[settings.origin as usize];
        let facts = ForwardFacts {
            fallback_host: origin.fallback_host.as_bytes(),
            client_ip: &client_ip,
            peer_is_trusted: generation.snapshot.is_trusted(peer),
            scheme: client.transport.scheme(),
            client_certificate: client.transport.certificate(),
            request_id: &request.id,
            body: request.framing_to_origin,
            websocket: request.websocket,
        };
        http::write_request_head(&request.head, &request.head_bytes, &facts, &mut request.to_origin);
        // A body that was held goes with its head. One that streams follows later.
        if request.sink != Sink::Stream || request.body_over_limit {
            frame_body(request.framing_to_origin, &request.body, &mut request.to_origin);
        }
    }

    /// Gives the request an idle connection, a new one, or a place in a queue.
    pub(super) fn acquire(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let Some(request) = &client.request else { return };
        let Some(generation) = request.generation.clone() else { return };
        let Some(index) = request.pool else {
            let failure = OriginFailure::new(
                502,
                UpstreamError::ConnectFailed,
                "the origin has no address to connect to",
            );
            return self.origin_failed(id, failure);
        };
        let fresh_only = request.repeated != Repeated::Never;
        if request.is_uploading() && self.pools.peek(index).uploads_are_full() {
            self.metrics.limit(Limit::OriginUploads);
            self.wait_for_connection(id, index, Wait::Upload);
            return;
        }
        let carries = self.carried_client(index, id);
        let pool = self.pools.get(index);
        if !fresh_only && let Some(upstream) = pool.idle.pop(carries) {
            if let Some(upstream) = self.upstreams.get(upstream) {
                upstream.metrics.upstream_connection_reused(upstream.origin);
            }
            self.pools.note_cold(index);
            self.bind(upstream, id);
            return;
        }
        if let Some(full) = self.make_room(index, generation.snapshot.http.origin_connections_total) {
            self.metrics.limit(full);
            self.wait_for_connection(id, index, Wait::Connection);
        } else if let Err(failure) = self.upstream_open(index, Some(id)) {
            self.try_next_address(id, failure);
        }
    }

    /// Makes sure that one more connection may be opened, at the cost of idle ones if need be. Says which limit
    /// stands against it.
    fn make_room(&mut self, index: PoolIndex, total_max: u32) -> Option<Limit> {
        let pool = self.pools.peek(index);
        if pool.is_full() {
            let Some(oldest) = pool.idle.oldest() else { return Some(Limit::OriginConnections) };
            // Removed and not discarded: the place is taken already, nobody who waits may have it.
            self.upstream_remove(oldest, false);
        }
        if self.pools.open_total >= total_max {
            let Some(oldest) = self.pools.any_idle() else {
                self.pools.total_is_short = true;
                return Some(Limit::OriginConnectionsTotal);
            };
            self.upstream_remove(oldest, false);
        }
        None
    }

    /// Joins a ready connection and a request that doesn't wait any more.
    pub(super) fn bind(&mut self, id: UpstreamId, client_id: ClientId) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        upstream.client = Some(client_id);
        upstream.download = Download::Head;
        upstream.answering = false;
        let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        request.upstream = Some(id);
        self.upload_begins(id);
        self.origin_flush(client_id);
    }

    /// Sends what waits for the origin, if its connection is ready.
    pub(super) fn origin_flush(&mut self, id: ClientId) {
        let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        if request.to_origin.is_empty() || request.body_at_hand {
            return;
        }
        let Some(upstream_id) = request.upstream else { return };
        let Some(upstream) = self.upstreams.get_mut(upstream_id) else { return };
        if upstream.stage != Stage::Ready {
            return;
        }
        let mut out = self.buffers.take();
        if let Some(engine) = &mut upstream.engine {
            let sealed = engine.seal(&[&request.to_origin], &mut out);
            request.to_origin.clear();
            if let Err(failure) = sealed {
                self.upstream_failed(upstream_id, failure.into());
                return;
            }
        } else {
            std::mem::swap(&mut out, &mut request.to_origin);
        }
        upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
        self.upstream_awaits(upstream_id);
    }

    /// The origin has taken all that was there for it: a body that was held and can't be sent again is gone.
    pub(super) fn origin_took_all(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let sent = |request: &mut Box<Request>| {
            request.kept_bytes > 0
                && !request.inspect
                && request.to_origin.is_empty()
                && !request.is_repeatable()
        };
        if let Some(mut request) = client.request.take_if(sent) {
            self.release_body(&mut request);
            self.client_put_request(id, request);
        }
    }

    /// Whether so much waits for the origin that the client is not to be read until some of it has gone.
    pub(super) fn origin_is_behind(&self, request: &Request) -> bool {
        self.origin_room(request) == 0
    }

    /// How many bytes of the client may be taken for the origin now.
    pub(super) fn origin_room(&self, request: &Request) -> usize {
        let Some(generation) = &request.generation else { return usize::MAX };
        let in_flight = request
            .upstream
            .and_then(|id| self.upstreams.get(id))
            .map_or(0, |upstream| upstream.output.pending_bytes());
        let parked_max = generation.snapshot.connection(request.listener).parked_bytes;
        parked_max.saturating_sub(request.to_origin.len() + in_flight)
    }

    /// Nothing was sent yet, so another address may be tried whatever the method is.
    pub(super) fn try_next_address(&mut self, id: ClientId, failure: OriginFailure) {
        let Some(choice) = self.choice_for(id).filter(Choice::has_more) else {
            self.origin_failed(id, failure);
            return;
        };
        self.move_to_other_address(id, &choice);
        self.acquire(id);
    }

    /// What the choice of another address for a client's request depends on.
    pub(super) fn choice_for(&self, id: ClientId) -> Option<Choice> {
        Choice::of(self.clients.get(id)?.request.as_ref()?)
    }

    /// The request goes to another address from now on.
    pub(super) fn move_to_other_address(&mut self, id: ClientId, choice: &Choice) {
        let Some(pool) = self.choose_address(choice) else { return };
        if let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) {
            request.goes_to(pool);
        }
        self.count_retry(pool);
    }

    /// No origin could serve the request: says so to the client and records why.
    pub(super) fn origin_failed(&mut self, id: ClientId, failure: OriginFailure) {
        self.record_origin_failure(id, &failure);
        let Some(request) = self.clients.get(id).and_then(|client| client.request.as_ref()) else { return };
        if request.is_uploading() {
            self.client_answer_and_close(id, failure.status, failure.code);
            return;
        }
        self.client_write_answer(id, failure.status, failure.code);
        self.client_finish(id, false);
        self.client_later(id);
    }

    /// An event that tells why an origin could not serve a request.
    pub(super) fn record_origin_failure(&mut self, id: ClientId, failure: &OriginFailure) {
        let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        let Some(context) = request.event_context(self.io.unix_nanos()) else { return };
        let event = decision::origin_event(&context, failure.code, &failure.detail);
        request.events.push(event);
    }
}
