//! Bytes that clients send: heads, bodies, what waits its turn, and the end of it all.

use super::client::{Client, Phase};
use super::request::{Request, Sink, Upload};
use super::{ClientId, TimerKey, Worker, until};
use crate::http::{self, BodyFraming, ChunkLimits, ChunkedDecoder, Progress};
use crate::io::{Io, ReceiveBuffer, ReceiveEnd};
use crate::telemetry::Limit;

/// Received bytes that wait on a connection (a pipelined request, a body that can't go on yet) before its
/// socket isn't read any more.
pub(super) const UNREAD_BYTES_MAX: usize = 64 * 1024;

impl<I: Io> Worker<I> {
    pub(super) fn client_received(&mut self, id: ClientId, buffer: &mut I::Buffer) {
        let length = buffer.bytes().len() as u64;
        self.metrics.bytes(length, 0);
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.phase {
            Phase::Lingering { discarded } => {
                let discarded = discarded + length;
                client.phase = Phase::Lingering { discarded };
                if discarded > self.current.snapshot.connection(client.listener).lingering_bytes {
                    self.metrics.limit(Limit::LingeringBytes);
                    self.client_close(id, false);
                }
                return;
            }
            Phase::Flushing { .. } => return,
            Phase::Idle | Phase::Head | Phase::Active | Phase::Tunnel => {}
        }
        if client.transport.is_plain() {
            self.client_data(id, buffer.bytes());
        } else {
            self.client_unwrap(id, buffer.bytes_mut());
        }
    }

    /// HTTP of a client, freed of what lay around it.
    pub(super) fn client_data(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.unread.is_empty() {
            let used = self.client_feed(id, bytes);
            if used < bytes.len() {
                self.client_keep_unread(id, &bytes[used..]);
            }
        } else {
            client.unread.extend_from_slice(bytes);
            self.client_use_unread(id);
        }
    }

    fn client_keep_unread(&mut self, id: ClientId, rest: &[u8]) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.unread.capacity() == 0 {
            client.unread = self.buffers.take();
        }
        client.unread.extend_from_slice(rest);
        if client.unread.len() >= UNREAD_BYTES_MAX && !client.paused {
            client.paused = true;
            self.io.pause(client.socket);
        }
    }

    /// Goes on with what came in earlier. Called whenever something that held it up has changed.
    pub(super) fn client_use_unread(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if !client.unread.is_empty() {
            let mut bytes = std::mem::take(&mut client.unread);
            let used = self.client_feed(id, &bytes);
            let rest = bytes.len() - used;
            bytes.copy_within(used.., 0);
            bytes.truncate(rest);
            match self.clients.get_mut(id) {
                Some(client) if rest > 0 => client.unread = bytes,
                _ => self.buffers.put(bytes),
            }
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.unread.len() >= UNREAD_BYTES_MAX {
            if !client.paused {
                client.paused = true;
                self.io.pause(client.socket);
            }
        } else if client.paused && client.unread.len() < UNREAD_BYTES_MAX / 2 {
            client.paused = false;
            self.io.receive(client.socket);
        }
        // The end of the input counts once all that came before it was used.
        if client.input_ended && client.unread.is_empty() {
            self.client_input_ended(id);
        }
    }

    /// Uses as much of `bytes` as can be used now, and says how much that was.
    fn client_feed(&mut self, id: ClientId, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let Some(client) = self.clients.get(id) else { return bytes.len() };
            let step = match client.phase {
                // Who doesn't take answers gets no more of them: the next request waits.
                Phase::Idle | Phase::Head if self.client_is_behind(client) => 0,
                Phase::Idle | Phase::Head => self.client_feed_head(id, &bytes[used..]),
                Phase::Active => self.client_feed_body(id, &bytes[used..]),
                Phase::Tunnel => self.tunnel_from_client(id, &bytes[used..]),
                Phase::Lingering { .. } | Phase::Flushing { .. } => return bytes.len(),
            };
            if step == 0 {
                break;
            }
            used += step;
        }
        used
    }

    /// Whether so much waits for the client that it has to take some of it first.
    fn client_is_behind(&self, client: &Client<I::Buffer>) -> bool {
        client.output.pending_bytes() > self.current.snapshot.connection(client.listener).parked_bytes
    }

    fn client_feed_head(&mut self, id: ClientId, bytes: &[u8]) -> usize {
        let now = self.io.now();
        let Some(client) = self.clients.get_mut(id) else { return bytes.len() };
        let settings = self.current.snapshot.connection(client.listener);
        let (head_timeout, limits) = (settings.head_timeout, settings.head);
        let mut request = match client.request.take() {
            Some(request) => request,
            None => self.take_request(),
        };
        let before = request.head_bytes.len();
        // A head that is larger than this is refused anyway; a body behind the head isn't copied here.
        let room = (limits.head_bytes as usize + 4).saturating_sub(before);
        let end = http::find_head_end(bytes).unwrap_or(bytes.len());
        let taken = end.min(room).min(bytes.len());
        request.head_bytes.extend_from_slice(&bytes[..taken]);
        let result = request.head.parse(&request.head_bytes, &limits);
        let Some(client) = self.clients.get_mut(id) else { return bytes.len() };
        match result {
            Ok(Progress::Incomplete) => {
                client.request = Some(request);
                let first = client.served == 0;
                if client.phase == Phase::Idle {
                    client.phase = Phase::Head;
                    if first {
                        return taken;
                    }
                    self.timers.set(&mut client.deadline, TimerKey::Client(id), until(now, head_timeout));
                }
                taken
            }
            Ok(Progress::Complete { consumed }) => {
                let used = consumed - before;
                request.head_bytes.truncate(consumed);
                client.phase = Phase::Active;
                client.deadline.clear();
                client.served += 1;
                request.body_at_hand = used < bytes.len();
                self.request_begins(id, request);
                used
            }
            Err(error) => {
                client.request = Some(request);
                self.client_refuse(id, &error);
                bytes.len()
            }
        }
    }

    /// Uses body bytes of the running request. Zero if there is no body left, or if it can't go on now.
    fn client_feed_body(&mut self, id: ClientId, bytes: &[u8]) -> usize {
        let Some(mut request) = self.clients.get_mut(id).and_then(|client| client.request.take()) else {
            return 0;
        };
        let at_hand = std::mem::take(&mut request.body_at_hand);
        let room = match request.sink {
            _ if request.paced.is_some() => 0,
            Sink::Stream => self.origin_room(&request),
            Sink::Hold | Sink::Discard => usize::MAX,
        };
        request.body_clock.go_on(self.io.now());
        if bytes.len() > room {
            request.body_clock.stop(self.io.now());
        }
        // What goes beyond the room waits on the connection, which isn't read any more once that is too much.
        let bytes = &bytes[..bytes.len().min(room)];
        let mut used = 0;
        let mut failure = None;
        let is_held_enough = |request: &Request| request.sink == Sink::Hold && request.body_over_limit;
        while used < bytes.len() && request.is_uploading() && !is_held_enough(&request) {
            let (step, data) = match request.upload.step(&bytes[used..]) {
                Ok(taken) => taken,
                Err(error) => {
                    failure = Some(error.code);
                    break;
                }
            };
            used += step;
            if let Err(refusal) = self.body_data(&mut request, data) {
                self.client_put_request(id, request);
                if refusal.by_rule {
                    // The rule's event tells of it.
                    self.client_answer_and_close(id, refusal.status, refusal.code);
                } else {
                    self.client_refuse_with(id, refusal.status, refusal.code);
                }
                return bytes.len();
            }
            if step == 0 && data.is_empty() {
                break;
            }
        }
        let finished = used > 0 && !request.is_uploading();
        let over_limit = is_held_enough(&request);
        let is_due = at_hand && request.forwarded;
        self.client_put_request(id, request);
        if let Some(code) = failure {
            self.client_bad_request(id, code);
            return bytes.len();
        }
        self.client_body_progress(id);
        if over_limit {
            self.request_over_body_limit(id);
        }
        if finished {
            self.request_body_ended(id);
        } else {
            self.origin_flush(id);
        }
        if is_due {
            self.acquire(id);
        }
        used
    }

    pub(super) fn client_receive_ended(&mut self, id: ClientId, end: ReceiveEnd) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if let ReceiveEnd::Failed(_) = end {
            self.client_close(id, true);
            return;
        }
        client.input_ended = true;
        match client.phase {
            Phase::Lingering { .. } => self.client_close(id, false),
            Phase::Flushing { .. } => {}
            _ if client.unread.is_empty() => self.client_input_ended(id),
            _ => {}
        }
    }

    /// The client sends no more. A whole request is still answered (half-close is legal), a part of one is
    /// the end.
    fn client_input_ended(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.phase {
            Phase::Idle if client.output.is_empty() => self.client_close(id, false),
            Phase::Idle => self.client_flushes(id, false),
            Phase::Head => {
                self.metrics.protocol_error(0, "incomplete_head");
                if client.output.is_empty() {
                    self.client_close(id, false);
                } else {
                    // Answers to the requests before it are still on their way.
                    self.client_flushes(id, false);
                }
            }
            Phase::Active => {
                if client.request.as_ref().is_some_and(|request| request.is_uploading()) {
                    // An incomplete body must never look complete at the origin.
                    self.metrics.protocol_error(0, "incomplete_body");
                    self.client_close(id, true);
                }
            }
            Phase::Tunnel => self.tunnel_settle(id),
            Phase::Lingering { .. } | Phase::Flushing { .. } => {}
        }
    }
}

/// How a request's body is framed, as the state of its upload.
pub(super) fn upload_of(framing: BodyFraming) -> Upload {
    match framing {
        BodyFraming::None | BodyFraming::Length(0) => Upload::Done,
        BodyFraming::Length(bytes) => Upload::Length(bytes),
        BodyFraming::Chunked => Upload::Chunked(ChunkedDecoder::new(ChunkLimits::default())),
    }
}
