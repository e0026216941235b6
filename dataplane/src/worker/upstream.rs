//! Connections to origins: connect, handshake, requests out, bytes in, and what their end means.

use std::sync::Arc;
use std::time::Duration;

use super::outliers;
use super::output::Output;
use super::pool::PoolIndex;
use super::request::Answer;
use super::timers::Deadline;
use super::{ClientId, Life, Owner, TimerKey, UpstreamId, Worker, until};
use crate::config::OutlierConfig;
use crate::http::ChunkedDecoder;
use crate::io::{Errno, Io, Monotonic, ReceiveBuffer, ReceiveEnd, SocketId};
use crate::proxy_protocol::{self, Endpoints};
use crate::telemetry::{ConnectionState, EjectionReason, HandshakeResult, UpstreamError, WorkerMetrics};
use crate::tls::{ClientEngine, TlsFailure};

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
    /// Nobody had asked when it was opened.
    pub(crate) warmed: bool,
    /// The origin asked for our certificate.
    pub(crate) certificate_asked: bool,
    pub(crate) paused: bool,
}

/// Why an origin could not serve a request.
#[derive(Clone, Debug)]
pub(crate) struct OriginFailure {
    pub(crate) status: u16,
    /// Its kind, for the metric.
    pub(crate) error: UpstreamError,
    /// Stable and short, for the event and the answer: the kind, or what TLS says about it.
    pub(crate) code: &'static str,
    /// For the log.
    pub(crate) detail: String,
}

impl OriginFailure {
    pub(crate) fn new(status: u16, error: UpstreamError, detail: impl Into<String>) -> Self {
        Self { status, error, code: error.as_str(), detail: detail.into() }
    }

    /// A connection that could not be made.
    fn connect(error: Errno) -> Self {
        let kind = match error.0 {
            libc::ECONNREFUSED => UpstreamError::ConnectRefused,
            _ => UpstreamError::ConnectFailed,
        };
        Self::new(502, kind, error.to_string())
    }
}

impl From<TlsFailure> for OriginFailure {
    fn from(failure: TlsFailure) -> Self {
        Self { status: 502, error: UpstreamError::Tls, code: failure.code, detail: failure.detail }
    }
}

impl<I: Io> Worker<I> {
    /// Opens a connection for a client's request, or for those to come.
    pub(super) fn upstream_open(
        &mut self,
        pool_index: PoolIndex,
        client: Option<ClientId>,
    ) -> Result<(), OriginFailure> {
        let carries = client.and_then(|client| {
            let source = self.carried_client(pool_index, client)?;
            self.carried_endpoints(source, client)
        });
        let pool = self.pools.get(pool_index);
        let address = pool.key.address;
        let timeout = pool.limits.connect_timeout;
        let socket = self.io.connect(address).map_err(OriginFailure::connect)?;
        let pool = self.pools.get(pool_index);
        pool.open += 1;
        let (metrics, origin) = (Arc::clone(&pool.metrics), pool.origin);
        self.pools.open_total += 1;
        metrics.upstream_connection_opened(origin);
        let id = self.upstreams.insert(Upstream {
            socket,
            pool: pool_index,
            metrics,
            origin,
            engine: None,
            stage: Stage::Connecting,
            client,
            uploads: false,
            carries: carries.map(Box::new),
            output: Output::default(),
            deadline: Deadline::default(),
            download: Download::Head,
            answering: false,
            served: 0,
            ready_at: Monotonic::default(),
            warmed: client.is_none(),
            certificate_asked: false,
            paused: false,
        });
        self.own(socket, Owner::Upstream(id));
        self.upstream_set_deadline(id, timeout);
        let Some(client) = client else {
            self.pools.get(pool_index).warming.under_way += 1;
            return Ok(());
        };
        if let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut()) {
            request.upstream = Some(id);
        }
        self.upload_begins(id);
        Ok(())
    }

    pub(super) fn upstream_connected(&mut self, id: UpstreamId, result: Result<(), Errno>) {
        if let Err(error) = result {
            self.upstream_failed(id, OriginFailure::connect(error));
            return;
        }
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        self.io.receive(upstream.socket);
        let pool = self.pools.peek(upstream.pool);
        let mut out = self.buffers.take();
        if let (Some(version), Some(endpoints)) = (pool.key.proxy_protocol, &upstream.carries) {
            proxy_protocol::write(version, endpoints, &mut out);
        }
        let Some(tls) = &pool.tls else {
            upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
            self.upstream_ready(id);
            return;
        };
        let started =
            ClientEngine::new(&tls.worker.config, tls.server_name.clone()).and_then(|mut engine| {
                engine.start(&mut out)?;
                Ok(engine)
            });
        match started {
            Ok(engine) => {
                upstream.engine = Some(Box::new(engine));
                upstream.stage = Stage::Handshaking;
                upstream.output.push(&mut self.io, &mut self.buffers, upstream.socket, out, None);
            }
            Err(failure) => self.upstream_failed(id, failure.into()),
        }
    }

    fn upstream_ready(&mut self, id: UpstreamId) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        upstream.stage = Stage::Ready;
        upstream.ready_at = self.io.now();
        upstream.metrics.upstream_connection_ready(upstream.origin);
        let (pool, client) = (upstream.pool, upstream.client);
        if self.pools.get(pool).outliers.connected() {
            self.address_is_back(pool);
        }
        match client {
            Some(client) => self.origin_flush(client),
            None => self.warmed(id),
        }
    }

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
                if let Some(upstream) = self.upstreams.get(id) {
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
        let timeout = match uploading {
            false => limits.first_byte_timeout,
            true if !upstream.output.is_empty() => limits.idle_timeout,
            true => {
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
            (Stage::Ready, Download::Head) if self.is_uploading(id) => OriginFailure::new(
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
        upstream.answering = false;
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
        let full = pool.idle.len() >= pool.limits.idle_connections as usize;
        // Connections of one client each aren't worth the same: the one that idled longest goes.
        let replaced = pool.idle.oldest().filter(|_| full && carries.is_some());
        let unwanted = wanted_elsewhere || (full && replaced.is_none());
        if self.life != Life::Serving || unwanted {
            self.upstream_discard(id);
            return;
        }
        if let Some(oldest) = replaced {
            self.upstream_remove(oldest, false);
        }
        let pool = self.pools.get(pool_index);
        pool.idle.push(id, carries);
        let timeout = pool.limits.keep_alive_timeout;
        if let Some(upstream) = self.upstreams.get(id) {
            upstream.metrics.upstream_connection_idle(upstream.origin);
        }
        self.upstream_set_deadline(id, timeout);
    }

    /// A connection failed: its request is tried elsewhere where that is safe, or answered with the reason.
    pub(super) fn upstream_failed(&mut self, id: UpstreamId, failure: OriginFailure) {
        let Some(upstream) = self.upstreams.get(id) else { return };
        if let (Download::Tunnel, Some(client)) = (&upstream.download, upstream.client) {
            upstream.metrics.upstream_error(upstream.origin, failure.error);
            self.client_close(client, true);
            return;
        }
        let (pool, stage, answering) = (upstream.pool, upstream.stage, upstream.answering);
        let (metrics, origin) = (Arc::clone(&upstream.metrics), upstream.origin);
        let (served, idled) = (upstream.served, upstream.served > 0 || upstream.warmed);
        // A time-out says that the origin has the request and is slow; only a closed connection says that it
        // may never have looked at it.
        let closed_early = failure.error == UpstreamError::Reset && !answering;
        let client = self.upstream_remove(id, false);
        metrics.upstream_error(origin, failure.error);
        if client.is_none() && served == 0 {
            if stage != Stage::Ready {
                self.address_failed(pool, EjectionReason::Connect, &failure);
            }
            self.warming_failed(pool, &failure);
        }
        if let Some(client) = client
            && let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut())
        {
            request.upstream = None;
            let may_repeat = closed_early && !request.retried && request.is_repeatable();
            if request.answer == Answer::Relaying {
                self.record_origin_failure(client, &failure);
                self.relay_truncated(client);
            } else if stage != Stage::Ready {
                self.address_failed(pool, EjectionReason::Connect, &failure);
                self.try_next_address(client, failure);
            } else {
                // The origin may have closed a connection that it took for idle while the request was on its way: that
                // says nothing about the address.
                let stale = may_repeat && idled;
                if let Some(reason) = EjectionReason::of(failure.error).filter(|_| !stale) {
                    self.address_failed(pool, reason, &failure);
                }
                self.repeat_or_fail(client, may_repeat, stale, failure);
            }
        }
        self.serve_waiting(pool);
    }

    /// A connection broke that had a request: once, and on a fresh connection only, the request is sent again where that
    /// is safe. Another address is the better choice, as this one may be about to go; but a client that belongs to this
    /// one stays, if the connection may just have been stale. To an address alone a request is sent again for that only.
    fn repeat_or_fail(&mut self, client: ClientId, may_repeat: bool, stale: bool, failure: OriginFailure) {
        let choice = self.choice_for(client).filter(|_| may_repeat);
        let elsewhere = choice.filter(|choice| choice.has_more() && !(stale && choice.is_sticky()));
        let Some(request) = self.clients.get_mut(client).and_then(|client| client.request.as_mut()) else {
            return;
        };
        request.retried |= stale || elsewhere.is_some();
        let pool = request.pool;
        match (elsewhere, pool) {
            (Some(choice), _) => self.move_to_other_address(client, &choice),
            (None, Some(pool)) if stale => self.count_retry(pool),
            _ => return self.origin_failed(client, failure),
        }
        self.forward(client);
    }

    /// Something failed at an address: after too much of that it is left out for a while.
    pub(super) fn address_failed(
        &mut self,
        index: PoolIndex,
        reason: EjectionReason,
        failure: &OriginFailure,
    ) {
        let pool = self.pools.get(index);
        let settings = Arc::clone(&pool.outlier_settings);
        if !pool.outliers.failed(reason, &settings) {
            return;
        }
        if reason != EjectionReason::Connect && !self.may_eject(index, &settings) {
            return;
        }
        let now = self.io.now();
        let pool = self.pools.get(index);
        let time = pool.outliers.eject(reason, &settings, now);
        pool.metrics.ejection(pool.origin, reason);
        tracing::warn!(
            origin = &*pool.key.origin,
            address = %pool.key.address,
            reason = failure.code,
            detail = failure.detail.as_str(),
            seconds = time.as_secs_f64(),
            "an address of an origin failed; its others are preferred for a while"
        );
    }

    /// Whether one more address of a pool's origin may be left out for failed requests.
    fn may_eject(&self, index: PoolIndex, settings: &OutlierConfig) -> bool {
        let targets = self.current.targets.borrow();
        let Some(targets) = targets.get(self.pools.peek(index).origin as usize) else { return false };
        if !targets.iter().any(|target| target.pool == index) {
            return false; // no origin has it any more
        }
        let others = targets.iter().filter(|target| target.pool != index);
        let ejected = others.filter(|target| self.pools.peek(target.pool).outliers.is_ejected()).count();
        outliers::has_room(settings, ejected, targets.len())
    }

    /// A request is tried again at an address.
    pub(super) fn count_retry(&self, index: PoolIndex) {
        let pool = self.pools.peek(index);
        pool.metrics.retry(pool.origin);
    }

    /// An address has shown that it works again.
    fn address_is_back(&self, index: PoolIndex) {
        let key = &self.pools.peek(index).key;
        tracing::info!(origin = &*key.origin, address = %key.address, "an address of an origin works again");
    }

    /// An answer's head came from an address: it may count as a failure, too.
    pub(super) fn address_answered(&mut self, index: PoolIndex, status: u16) {
        let pool = self.pools.get(index);
        if outliers::is_failure(&pool.outlier_settings, status) {
            let failure = OriginFailure {
                status,
                error: UpstreamError::BadResponse,
                code: "status",
                detail: status.to_string(),
            };
            self.address_failed(index, EjectionReason::Status, &failure);
        } else if pool.outliers.answered() {
            self.address_is_back(index);
        }
    }
}
