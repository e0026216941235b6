//! Connections to origins once they are open: bytes in, requests out, time-outs, their end, and what becomes of them after a
//! request. `connect.rs` opens them, `failures.rs` is about those that fail.

use std::sync::Arc;
use std::time::Duration;

use super::failures::OriginFailure;
use super::output::Output;
use super::pool::PoolIndex;
use super::timers::Deadline;
use super::transport::is_of_handshake;
use super::{ClientId, Life, TimerKey, UpstreamId, Worker, until};
use crate::http::{self, ChunkError, ChunkedDecoder};
use crate::io::{Errno, Io, Monotonic, ReceiveBuffer, ReceiveEnd, SocketId};
use crate::proxy_protocol::Endpoints;
use crate::telemetry::{ConnectionState, HandshakeResult, Limit, UpstreamError, WorkerMetrics};
use crate::tls::ClientEngine;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Connecting,
    Handshaking,
    Ready,
}

/// Where in the origin's answer a connection is.
#[derive(Clone, Debug)]
pub(crate) enum Download {
    /// The head (perhaps after interim ones) is awaited.
    Head,
    /// So many body bytes are missing.
    Length(u64),
    Chunked(ChunkedDecoder),
    /// The body ends with the connection.
    UntilClose,
    Done,
    /// A WebSocket: bytes pass as they come.
    Tunnel,
}

impl Download {
    /// Takes what of `bytes` belongs to the body and appends it to `out`, in chunks where `to_chunks`. Gives how many bytes
    /// it took; behind the body's end it takes none.
    ///
    /// # Errors
    /// The chunks are broken; what came before is in `out`.
    pub(crate) fn copy_body(
        &mut self,
        bytes: &[u8],
        to_chunks: bool,
        out: &mut Vec<u8>,
    ) -> Result<usize, ChunkError> {
        let mut write = |data: &[u8]| {
            if to_chunks {
                http::write_chunk(data, out);
            } else {
                out.extend_from_slice(data);
            }
        };
        match self {
            Self::Head | Self::Done | Self::Tunnel => Ok(0),
            Self::Length(_) => {
                let used = self.pass_length(bytes);
                out.extend_from_slice(&bytes[..used]);
                Ok(used)
            }
            Self::UntilClose => {
                write(bytes);
                Ok(bytes.len())
            }
            Self::Chunked(decoder) => {
                let mut used = 0;
                while used < bytes.len() {
                    let chunk = decoder.decode(&bytes[used..])?;
                    write(&bytes[used..][chunk.data]);
                    used += chunk.consumed;
                    if chunk.finished {
                        *self = Self::Done;
                        break;
                    }
                }
                Ok(used)
            }
        }
    }

    /// How many of `bytes` belong to a body of known length, which has them then. None to any other.
    pub(crate) fn pass_length(&mut self, bytes: &[u8]) -> usize {
        let Self::Length(left) = self else { return 0 };
        let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= used as u64;
        if *left == 0 {
            *self = Self::Done;
        }
        used
    }
}

/// A connection to an origin.
#[derive(Debug)]
pub(crate) struct Upstream<B> {
    pub(crate) socket: SocketId,
    pub(crate) pool: PoolIndex,
    /// What it counts into from its beginning to its end, and under which origin, whatever a reload brings.
    pub(crate) metrics: Arc<WorkerMetrics>,
    pub(crate) origin: u32,
    pub(crate) engine: Option<Box<ClientEngine>>,
    pub(crate) stage: Stage,
    /// Whose request it serves; none while it idles.
    pub(crate) client: Option<ClientId>,
    /// It counts among those whose request's body is still coming in.
    pub(crate) uploads: bool,
    /// The only connection of a client whose requests it may carry, where the origin is told.
    pub(crate) carries: Option<Box<Endpoints>>,
    pub(crate) output: Output<B>,
    pub(crate) deadline: Deadline,
    pub(crate) download: Download,
    /// A byte of the answer to the running request came in.
    pub(crate) answering: bool,
    /// Requests that it has served to their end.
    pub(crate) served: u32,
    pub(crate) ready_at: Monotonic,
    /// Its age ends it then, or with the answer that is under way.
    pub(crate) retires_at: Monotonic,
    /// Nobody had asked when it was opened.
    pub(crate) warmed: bool,
    /// The origin asked for our certificate.
    pub(crate) certificate_asked: bool,
    /// Its TLS session began with an earlier connection.
    pub(crate) resumed: bool,
    pub(crate) paused: bool,
    /// It was paused at some time of the running answer.
    pub(crate) held_back: bool,
}

impl<I: Io> Worker<I> {
    pub(super) fn upstream_received(&mut self, id: UpstreamId, mut buffer: I::Buffer) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        let Some(engine) = &mut upstream.engine else {
            let length = buffer.bytes().len();
            self.relay(id, super::relay::Incoming { buffer: Some(buffer), plaintext: &[] }, 0..length);
            return;
        };
        let mut plaintext = std::mem::take(&mut self.plaintext);
        plaintext.clear();
        let mut out = self.buffers.take();
        let handshaking = upstream.stage == Stage::Handshaking;
        let asked_before = self.pools.certificate_requests(upstream.pool);
        let result = engine.ingest(buffer.bytes_mut(), &mut plaintext, &mut out);
        drop(buffer);
        upstream.certificate_asked |=
            handshaking && self.pools.certificate_requests(upstream.pool) > asked_before;
        upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
        let result = result.and_then(|ingested| match ingested.handshake_finished_now && !ingested.resumed {
            true => self.pools.expect_certificate_request(upstream).map(|()| ingested),
            false => Ok(ingested),
        });
        match result {
            Ok(ingested) => {
                if ingested.handshake_finished_now {
                    let kind =
                        if ingested.resumed { HandshakeResult::Resumed } else { HandshakeResult::Full };
                    upstream.metrics.handshake(upstream.origin, kind);
                    upstream.resumed = ingested.resumed;
                    self.upstream_ready(id);
                }
                if !plaintext.is_empty() {
                    let incoming = super::relay::Incoming { buffer: None, plaintext: &plaintext };
                    self.relay(id, incoming, 0..plaintext.len());
                }
                if ingested.peer_closed {
                    self.upstream_ended(id, ReceiveEnd::Finished, true, "the origin closed the connection");
                }
            }
            Err(failure) => {
                // What came before the failure may be a whole answer.
                if !handshaking && !plaintext.is_empty() {
                    let incoming = super::relay::Incoming { buffer: None, plaintext: &plaintext };
                    self.relay(id, incoming, 0..plaintext.len());
                }
                if let Some(upstream) = self.upstreams.get(id)
                    && is_of_handshake(handshaking, &failure)
                {
                    let result = HandshakeResult::from_failure_code(failure.code);
                    upstream.metrics.handshake(upstream.origin, result);
                }
                self.upstream_failed(id, failure.into());
            }
        }
        self.plaintext = plaintext;
    }

    pub(super) fn upstream_receive_ended(&mut self, id: UpstreamId, end: ReceiveEnd) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        match end {
            // Under TLS only close_notify ends a message in order; a bare FIN may be an attacker's.
            ReceiveEnd::Finished => {
                let orderly = upstream.engine.is_none();
                self.upstream_ended(id, end, orderly, "the origin closed the connection");
            }
            ReceiveEnd::Failed(error) => {
                let detail = error.to_string();
                self.upstream_ended(id, end, false, &detail);
            }
        }
    }

    /// Nothing more comes from the origin.
    fn upstream_ended(&mut self, id: UpstreamId, end: ReceiveEnd, orderly: bool, detail: &str) {
        let broken = matches!(end, ReceiveEnd::Failed(_));
        let Some(upstream) = self.upstreams.get(id) else { return };
        if upstream.client.is_none() && upstream.stage == Stage::Ready {
            return self.idle_ended(id, detail);
        }
        if let (Download::Tunnel, Some(client)) = (&upstream.download, upstream.client) {
            return if broken { self.client_close(client, true) } else { self.tunnel_origin_ended(client) };
        }
        if orderly && matches!(upstream.download, Download::UntilClose) {
            self.relay_finished(id);
            return;
        }
        let error = match upstream.stage {
            Stage::Connecting => UpstreamError::ConnectFailed,
            Stage::Handshaking => {
                upstream.metrics.handshake(upstream.origin, HandshakeResult::Closed);
                UpstreamError::Tls
            }
            Stage::Ready if upstream.answering => UpstreamError::Truncated,
            Stage::Ready => UpstreamError::Reset,
        };
        self.upstream_failed(id, OriginFailure::new(502, error, detail));
    }

    pub(super) fn upstream_sent(&mut self, id: UpstreamId, result: Result<(), Errno>) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        if result.is_err() {
            // The origin may have answered before it stopped reading: what it sent says more than this error,
            // and the receiving side is about to tell.
            return;
        }
        upstream.output.sent(&mut self.io, upstream.socket);
        let Some(client) = upstream.client else { return };
        if upstream.stage == Stage::Ready {
            self.upstream_awaits(id);
            self.origin_flush(client);
            if self.upstreams.get(id).is_some_and(|upstream| upstream.output.is_empty()) {
                self.origin_took_all(client);
            }
            self.client_use_unread(client);
            self.tunnel_settle(client);
        }
    }

    /// Sets what the origin may take its time for: an answer if it has the whole request, or else to read what
    /// is there of it.
    pub(super) fn upstream_awaits(&mut self, id: UpstreamId) {
        let uploading = self.is_uploading(id);
        let Some(upstream) = self.upstreams.get_mut(id).filter(|upstream| !upstream.answering) else {
            return;
        };
        let limits = &self.pools.get(upstream.pool).limits;
        let timeout = match (upstream.output.is_empty(), uploading) {
            (false, _) => limits.idle_timeout,
            (true, false) => limits.first_byte_timeout,
            (true, true) => {
                upstream.deadline.clear(); // it is the client's turn, and its time-out runs
                return;
            }
        };
        self.upstream_set_deadline(id, timeout);
    }

    /// Whether the request of a connection is still on its way from the client.
    pub(super) fn is_uploading(&self, id: UpstreamId) -> bool {
        let client = self.upstreams.get(id).and_then(|upstream| self.clients.get(upstream.client?));
        client.and_then(|client| client.request.as_ref()).is_some_and(|request| request.is_uploading())
    }

    pub(super) fn upstream_timed_out(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        if upstream.client.is_none() && upstream.stage == Stage::Ready {
            if upstream.retires_at <= self.io.now() {
                self.metrics.limit(Limit::OriginConnectionAge);
            }
            self.upstream_discard(id);
            return;
        }
        if let (Download::Tunnel, Some(client)) = (&upstream.download, upstream.client) {
            self.tunnel_timed_out(client);
            return;
        }
        if upstream.stage == Stage::Handshaking {
            upstream.metrics.handshake(upstream.origin, HandshakeResult::TimedOut);
        }
        let failure = match (upstream.stage, &upstream.download) {
            (Stage::Connecting | Stage::Handshaking, _) => OriginFailure::new(
                504,
                UpstreamError::ConnectTimeout,
                "the connection or its handshake took longer than connect_timeout",
            ),
            (Stage::Ready, Download::Head) if !upstream.output.is_empty() => OriginFailure::new(
                504,
                UpstreamError::IdleTimeout,
                "the origin took nothing of the request for longer than idle_timeout",
            ),
            (Stage::Ready, Download::Head) => OriginFailure::new(
                504,
                UpstreamError::FirstByteTimeout,
                "no answer came within first_byte_timeout",
            ),
            (Stage::Ready, _) => OriginFailure::new(
                504,
                UpstreamError::IdleTimeout,
                "the answer paused for longer than idle_timeout",
            ),
        };
        self.upstream_failed(id, failure);
    }

    pub(super) fn upstream_set_deadline(&mut self, id: UpstreamId, span: Duration) {
        let at = until(self.io.now(), span);
        if let Some(upstream) = self.upstreams.get_mut(id) {
            self.timers.set(&mut upstream.deadline, TimerKey::Upstream(id), at);
        }
    }

    /// Takes a connection out of everything and closes it. Says whose request it served.
    pub(super) fn upstream_remove(&mut self, id: UpstreamId, reset: bool) -> Option<ClientId> {
        let mut upstream = self.upstreams.remove(id)?;
        if let Some(engine) = &mut upstream.engine
            && !reset
            && upstream.output.is_empty()
        {
            let mut out = self.buffers.take();
            engine.close_notify(&mut out);
            upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
        }
        let is_tunnel = matches!(upstream.download, Download::Tunnel);
        let pool = self.pools.get(upstream.pool);
        // A tunnel has left the pool's count already.
        pool.open -= u32::from(!is_tunnel);
        pool.warming.under_way -= u32::from(upstream.client.is_none() && upstream.stage != Stage::Ready);
        pool.uploads -= u32::from(upstream.uploads);
        if upstream.paused {
            pool.stalled.retain(|stalled| *stalled != id);
        }
        let was_idle = pool.idle.forget(id);
        let state = match upstream.stage {
            _ if was_idle => ConnectionState::Idle,
            _ if is_tunnel => ConnectionState::Tunnel,
            Stage::Ready => ConnectionState::Active,
            Stage::Connecting | Stage::Handshaking => ConnectionState::Connecting,
        };
        self.pools.open_total -= u32::from(!is_tunnel);
        self.pools.note_cold(upstream.pool);
        upstream.metrics.upstream_connection_closed(upstream.origin, state);
        self.close_socket(upstream.socket, reset);
        upstream.client
    }

    /// Closes a connection that serves nobody.
    pub(super) fn upstream_discard(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        let pool = upstream.pool;
        self.upstream_remove(id, false);
        self.serve_waiting(pool);
    }

    /// The client's request needs its connection no more: whatever state it's in, it can't be used again.
    pub(super) fn upstream_abandon(&mut self, client: ClientId) {
        self.leave_queue(client);
        let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut()) else {
            return;
        };
        let Some(id) = request.upstream.take() else { return };
        let Some(upstream) = self.upstreams.get(id) else { return };
        let pool = upstream.pool;
        self.upstream_remove(id, true);
        self.serve_waiting(pool);
    }

    /// An answer was relayed to its end: the connection serves the next request, idles, or is closed.
    pub(super) fn upstream_release(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        upstream.client = None;
        (upstream.answering, upstream.held_back) = (false, false);
        upstream.download = Download::Head;
        let pool_index = upstream.pool;
        let carries = upstream.carries.as_ref().map(|endpoints| endpoints.source);
        if carries.is_some() && self.pools.peek(pool_index).has_waiting() {
            // Who waits is somebody else, and gets the place for a connection of its own.
            self.upstream_discard(id);
            return;
        }
        if self.hand_on(id, pool_index) {
            return;
        }
        // Under the cap over all origins, an idle connection here may keep a request for another one waiting.
        let wanted_elsewhere = self.pools.total_is_short;
        let pool = self.pools.get(pool_index);
        // More than there may be were open while clients were slow.
        let too_many = pool.counted() > pool.limits.connections as usize;
        let full = pool.idle.len() >= pool.limits.idle_connections as usize;
        // Connections of one client each aren't worth the same: the one that idled longest goes.
        let replaced = pool.idle.oldest().filter(|_| full && carries.is_some());
        let unwanted = wanted_elsewhere || too_many || (full && replaced.is_none());
        if self.life != Life::Serving || unwanted {
            self.upstream_discard(id);
            return;
        }
        if let Some(oldest) = replaced {
            self.upstream_remove(oldest, false);
        }
        let pool = self.pools.get(pool_index);
        pool.idle.push(id, carries);
        let end = until(self.io.now(), pool.limits.keep_alive_timeout);
        if let Some(upstream) = self.upstreams.get_mut(id) {
            upstream.metrics.upstream_connection_idle(upstream.origin);
            let at = end.min(upstream.retires_at);
            self.timers.set(&mut upstream.deadline, TimerKey::Upstream(id), at);
        }
    }
}
