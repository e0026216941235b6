//! Client connections: reading requests, holding bodies until the verdict, answering.

use std::net::SocketAddr;

use weir_policy::{Reason, Verdict};

use super::output::Output;
use super::request::{Answer, Request, Sink, Upload};
use super::timers::Deadline;
use super::{ClientId, Life, Owner, TimerKey, Worker, until};
use crate::http::{self, BodyFraming, ChunkLimits, ChunkedDecoder, HeadError, Progress};
use crate::io::{Errno, Io, ListenerId, Monotonic, ReceiveBuffer, ReceiveEnd, SocketId};
use crate::telemetry::Limit;

/// Received bytes that wait on a connection (a pipelined request, a body that can't go on yet) before its
/// socket isn't read any more.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// The verdict on a request that was refused for its framing, its size or its slowness.
const REFUSED: Verdict = Verdict { block: true, reason: Reason::Protocol, record: false };

/// What a client hears that takes too long for its head.
const HEAD_TIMEOUT: HeadError = HeadError {
    status: 408,
    code: "head_timeout",
    detail: "the request head did not come in whole within head_timeout",
};

/// What a client connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Between requests. Holds no buffer.
    Idle,
    /// Part of a head came in.
    Head,
    /// A request runs.
    Active,
    /// An error was answered; input is thrown away for a while so that the answer arrives.
    Lingering { discarded: u64 },
    /// What is queued is sent, then the connection is closed.
    Flushing { linger: bool },
}

/// A client connection.
#[derive(Debug)]
pub(crate) struct Client<B> {
    pub(crate) socket: SocketId,
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) request: Option<Box<Request>>,
    /// Bytes that came in and weren't used yet.
    pub(crate) unread: Vec<u8>,
    pub(crate) output: Output<B>,
    pub(crate) deadline: Deadline,
    pub(crate) served: u32,
    pub(crate) opened: Monotonic,
    pub(crate) paused: bool,
    /// The client has finished sending (FIN). It may still wait for its answer.
    pub(crate) input_ended: bool,
}

impl<B> Client<B> {
    /// Whether a stop may close it at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.output.is_empty()
    }
}

impl<I: Io> Worker<I> {
    pub(super) fn client_accepted(&mut self, _listener: ListenerId, socket: SocketId, peer: SocketAddr) {
        if self.life != Life::Serving
            || self.clients.len() >= self.current.snapshot.http.connections_per_worker
        {
            self.metrics.limit(Limit::MaxConnections);
            self.io.close(socket, true);
            return;
        }
        let id = self.clients.insert(Client {
            socket,
            peer,
            phase: Phase::Idle,
            request: None,
            unread: Vec::new(),
            output: Output::default(),
            deadline: Deadline::default(),
            served: 0,
            opened: self.io.now(),
            paused: false,
            input_ended: false,
        });
        self.own(socket, Owner::Client(id));
        self.metrics.connection_opened();
        self.io.receive(socket);
        // The first request's head is due from here on, so that an idle connection isn't kept for longer than a
        // slow one.
        self.client_set_deadline(id, self.current.snapshot.http.head_timeout);
    }

    pub(super) fn client_received(&mut self, id: ClientId, buffer: &I::Buffer) {
        let bytes = buffer.bytes();
        self.metrics.bytes(bytes.len() as u64, 0);
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.phase {
            Phase::Lingering { discarded } => {
                let discarded = discarded + bytes.len() as u64;
                client.phase = Phase::Lingering { discarded };
                if discarded > self.current.snapshot.http.lingering_bytes {
                    self.metrics.limit(Limit::LingeringBytes);
                    self.client_close(id, false);
                }
                return;
            }
            Phase::Flushing { .. } => return,
            Phase::Idle | Phase::Head | Phase::Active => {}
        }
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
        client.output.pending_bytes() > self.current.snapshot.http.parked_bytes
    }

    fn client_feed_head(&mut self, id: ClientId, bytes: &[u8]) -> usize {
        let now = self.io.now();
        let http = &self.current.snapshot.http;
        let (head_timeout, limits) = (http.head_timeout, http.head);
        let mut request = match self.clients.get_mut(id).and_then(|client| client.request.take()) {
            Some(request) => request,
            None => self.take_request(),
        };
        let before = request.head_bytes.len();
        // A head that is larger than this is refused anyway; a body behind the head isn't copied here.
        let room = (limits.head_bytes as usize + 4).saturating_sub(before);
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
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
        let blocked = request.sink == Sink::Stream && self.origin_is_behind(&request);
        let mut used = 0;
        let mut failure = None;
        while used < bytes.len() && !blocked && !(request.sink == Sink::Hold && request.body_over_limit) {
            let rest = &bytes[used..];
            let (step, data) = match &mut request.upload {
                Upload::Done => break,
                Upload::Length(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= step as u64;
                    let data = &rest[..step];
                    if *left == 0 {
                        request.upload = Upload::Done;
                    }
                    (step, data)
                }
                Upload::Chunked(decoder) => match decoder.decode(rest) {
                    Ok(chunk) => {
                        if chunk.finished {
                            request.upload = Upload::Done;
                        }
                        (chunk.consumed, &rest[chunk.data.clone()])
                    }
                    Err(error) => {
                        failure = Some(error.code);
                        break;
                    }
                },
            };
            used += step;
            if let Err(refusal) = self.body_data(&mut request, data) {
                self.client_put_request(id, request);
                self.client_answer_and_close(id, refusal.status, refusal.code);
                return bytes.len();
            }
            if step == 0 && data.is_empty() {
                break;
            }
        }
        let finished = used > 0 && !request.is_uploading();
        let over_limit = request.sink == Sink::Hold && request.body_over_limit;
        self.client_put_request(id, request);
        if let Some(code) = failure {
            self.client_bad_body(id, code);
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
        used
    }

    /// Puts the request back that was taken out to work on it.
    pub(super) fn client_put_request(&mut self, id: ClientId, request: Box<Request>) {
        match self.clients.get_mut(id) {
            Some(client) => client.request = Some(request),
            None => self.put_request(request),
        }
    }

    /// Something of the body came in: the time-out for the next part starts anew.
    pub(super) fn client_body_progress(&mut self, id: ClientId) {
        let now = self.io.now();
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(request) = &client.request else { return };
        if request.queued {
            return; // its place in the queue has a time-out of its own, and that runs
        }
        if request.is_discarding() {
            return; // nobody wants the rest: it has lingering_timeout in all, however it comes
        }
        let Some(settings) = request.settings().filter(|_| request.is_uploading()) else {
            self.client_refresh_send_deadline(id);
            return;
        };
        let elapsed = now.since(request.started);
        let at = until(now, settings.body_timeout);
        let too_slow = elapsed > settings.body_rate_grace
            && settings.body_rate_min_bytes.is_some_and(|rate| {
                u128::from(request.body_bytes) * 1000 < u128::from(rate) * elapsed.as_millis()
            });
        self.timers.set(&mut client.deadline, TimerKey::Client(id), at);
        // A body that waits for a slow origin isn't the client's fault.
        if too_slow && !client.paused && request.answer == Answer::None {
            self.metrics.limit(Limit::BodyRate);
            self.client_answer_and_close(id, 408, "body_rate_min_bytes");
        }
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
            Phase::Idle => client.phase = Phase::Flushing { linger: false },
            Phase::Head => {
                self.metrics.protocol_error(0, "incomplete_head");
                self.client_close(id, false);
            }
            Phase::Active => {
                if client.request.as_ref().is_some_and(|request| request.is_uploading()) {
                    // An incomplete body must never look complete at the origin.
                    self.metrics.protocol_error(0, "incomplete_body");
                    self.client_close(id, true);
                }
            }
            Phase::Lingering { .. } | Phase::Flushing { .. } => {}
        }
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
            Phase::Idle if pending == 0 && self.life != Life::Serving => self.client_flushed(id, true),
            Phase::Idle => {
                self.client_idles(id);
                self.client_later(id);
            }
            Phase::Head => self.client_later(id),
            Phase::Active => {
                self.client_refresh_send_deadline(id);
                self.relay_resume(id, pending);
            }
            _ => {}
        }
    }

    /// Between two requests. A client that hasn't taken its answer yet isn't idle, but may not be slow for ever.
    fn client_idles(&mut self, id: ClientId) {
        let http = &self.current.snapshot.http;
        let Some(client) = self.clients.get(id) else { return };
        let span = if client.output.is_empty() { http.keep_alive_timeout } else { http.send_timeout };
        self.client_set_deadline(id, span);
    }

    /// All was sent and the connection is to end.
    fn client_flushed(&mut self, id: ClientId, linger: bool) {
        let timeout = self.current.snapshot.http.lingering_timeout;
        let Some(client) = self.clients.get_mut(id) else { return };
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

    pub(super) fn client_set_deadline(&mut self, id: ClientId, span: std::time::Duration) {
        let at = until(self.io.now(), span);
        if let Some(client) = self.clients.get_mut(id) {
            self.timers.set(&mut client.deadline, TimerKey::Client(id), at);
        }
    }

    /// While an answer is on its way, the client must keep taking it.
    pub(super) fn client_refresh_send_deadline(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let span = client
            .request
            .as_ref()
            .and_then(|request| request.settings())
            .map_or(self.current.snapshot.http.send_timeout, |settings| settings.send_timeout);
        if client.request.as_ref().is_some_and(|request| request.is_uploading()) {
            return; // the body's time-out runs
        }
        if client.output.is_empty() {
            client.deadline.clear();
        } else {
            self.client_set_deadline(id, span);
        }
    }

    pub(super) fn client_timed_out(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        match client.phase {
            Phase::Idle if !client.output.is_empty() => {
                self.metrics.limit(Limit::SendTimeout);
                self.client_close(id, true);
            }
            Phase::Idle => {
                let limit = if client.served == 0 { Limit::HeadTimeout } else { Limit::KeepAliveTimeout };
                self.metrics.limit(limit);
                self.client_close(id, false);
            }
            Phase::Head => {
                self.client_refuse(id, &HEAD_TIMEOUT);
            }
            Phase::Active => self.client_active_timed_out(id),
            Phase::Lingering { .. } => {
                self.metrics.limit(Limit::LingeringTimeout);
                self.client_close(id, false);
            }
            Phase::Flushing { .. } => {
                self.metrics.limit(Limit::SendTimeout);
                self.client_close(id, true);
            }
        }
    }

    fn client_active_timed_out(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else { return };
        let Some(request) = &client.request else { return };
        if request.queued {
            self.queue_timed_out(id);
        } else if !client.output.is_empty() && request.answer != Answer::None {
            self.metrics.limit(Limit::SendTimeout);
            self.client_close(id, true);
        } else if !request.is_uploading() {
            // The origin's time-outs run.
        } else if request.is_discarding() {
            self.metrics.limit(Limit::LingeringTimeout);
            self.client_close(id, false);
        } else if request.sink == Sink::Stream && self.origin_is_behind(request) {
            // It isn't the client that is slow.
            self.client_body_progress(id);
        } else {
            self.metrics.limit(Limit::BodyTimeout);
            self.client_answer_and_close(id, 408, "body_timeout");
        }
    }

    /// Refuses a bad head: an answer, and the end of the connection.
    fn client_refuse(&mut self, id: ClientId, error: &HeadError) {
        self.metrics.protocol_error(error.status, error.code);
        if let Some(limit) = limit_of(error) {
            self.metrics.limit(limit);
        }
        let request_id = self.request_ids.next();
        if let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) {
            request.id = request_id;
        }
        self.client_answer_and_close(id, error.status, error.code);
    }

    /// The body's framing is broken: where nothing was answered yet, the client is told; the origin's
    /// connection is reset, so that what it got never looks whole.
    fn client_bad_body(&mut self, id: ClientId, code: &'static str) {
        self.metrics.protocol_error(400, code);
        self.client_answer_and_close(id, 400, code);
    }

    /// Answers and ends the connection. If an answer is on its way already, ends it right there.
    pub(super) fn client_answer_and_close(&mut self, id: ClientId, status: u16, code: &'static str) {
        self.upstream_abandon(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        let started = client.request.as_ref().is_some_and(|request| request.answer != Answer::None);
        if started {
            self.client_close(id, true);
            return;
        }
        if let Some(request) = &mut client.request {
            request.keep_alive = false;
            request.upload = Upload::Done;
            if !request.forwarded && request.verdict.is_none() {
                // It went nowhere, for what it is itself.
                request.verdict = Some(REFUSED);
            }
        }
        self.client_write_answer(id, status, code);
        self.client_finish(id, true);
    }

    /// Writes an answer of our own to the client's output.
    pub(super) fn client_write_answer(&mut self, id: ClientId, status: u16, code: &str) {
        let mut out = self.buffers.take();
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(request) = &mut client.request else { return };
        request.status = status;
        request.answer = Answer::Done;
        request.keep_alive &= self.life == Life::Serving;
        let answer = http::Answer {
            status,
            reason_code: code,
            request_id: &request.id,
            accept: request.accept(),
            keep_alive: request.keep_alive,
            head_only: request.wants_head_only(),
        };
        http::write_answer(&answer, &mut out);
        request.answer_bytes = out.len() as u64;
        self.client_push(id, out, None);
    }

    /// Queues bytes for the client.
    pub(super) fn client_push(
        &mut self,
        id: ClientId,
        head: Vec<u8>,
        body: Option<(I::Buffer, std::ops::Range<usize>)>,
    ) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let bytes = head.len() + body.as_ref().map_or(0, |(_, range)| range.len());
        self.metrics.bytes(0, bytes as u64);
        self.handed_over += usize::from(body.is_some());
        client.output.push(&mut self.io, &mut self.buffers, client.socket, head, body);
        self.client_refresh_send_deadline(id);
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
        client.phase = Phase::Flushing { linger };
        if client.output.is_empty() {
            self.client_flushed(id, linger);
        } else {
            let span = self.current.snapshot.http.send_timeout;
            self.client_set_deadline(id, span);
        }
    }

    /// Ends a client connection and all that hangs on it.
    pub(super) fn client_close(&mut self, id: ClientId, reset: bool) {
        self.upstream_abandon(id);
        let Some(mut client) = self.clients.remove(id) else { return };
        self.handed_over -= client.output.handed_over();
        self.metrics.connection_closed();
        if let Some(mut request) = client.request.take() {
            if client.phase == Phase::Active {
                self.account(&mut request);
            }
            self.put_request(request);
        }
        self.buffers.put(client.unread);
        self.close_socket(client.socket, reset);
    }
}

/// The limit that a head was refused for, if it was one.
fn limit_of(error: &HeadError) -> Option<Limit> {
    match error.code {
        "head_too_large" | "header_too_large" => Some(Limit::HeadBytes),
        "target_too_long" => Some(Limit::TargetBytes),
        "too_many_headers" => Some(Limit::HeaderCount),
        "head_timeout" => Some(Limit::HeadTimeout),
        _ => None,
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
