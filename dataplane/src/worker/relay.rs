//! Carries the origin's answer to the client: head checked and written anew, body re-framed.

use std::ops::Range;

use super::failures::OriginFailure;
use super::request::Answer;
use super::upstream::{Download, Stage};
use super::{ClientId, HANDED_OVER_MAX, Life, UpstreamId, Worker};
use crate::http::{self, HeaderEdits, Progress, ResponseFacts, ResponseFraming, Version};
use crate::io::{Io, ReceiveBuffer};
use crate::telemetry::{Limit, UpstreamError};

/// Body parts of at least this size are passed on in the buffer they came in; smaller ones are copied, so that
/// a few bytes never pin a whole receive buffer.
pub(super) const HAND_OVER_BYTES_MIN: usize = 16 * 1024;
/// Interim answers (1xx) per request.
const INTERIM_RESPONSES_MAX: u32 = 8;

/// Bytes from an origin: a whole received buffer, or plaintext that belongs to the worker.
pub(super) struct Incoming<'a, B> {
    pub(super) buffer: Option<B>,
    pub(super) plaintext: &'a [u8],
}

impl<B: ReceiveBuffer> Incoming<'_, B> {
    fn bytes(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => buffer.bytes(),
            None => self.plaintext,
        }
    }
}

impl<I: Io> Worker<I> {
    /// Takes bytes that an origin sent.
    pub(super) fn relay(
        &mut self,
        id: UpstreamId,
        incoming: Incoming<'_, I::Buffer>,
        mut range: Range<usize>,
    ) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        let Some(client_id) = upstream.client else {
            // Nobody asked: whatever this is, the connection can't be trusted with a request.
            upstream.metrics.upstream_error(upstream.origin, UpstreamError::BadResponse);
            self.idle_ended(id, "the origin spoke before it was asked");
            return;
        };
        if upstream.stage != Stage::Ready {
            let failure =
                OriginFailure::new(502, UpstreamError::BadResponse, "the origin spoke before it was asked");
            self.upstream_failed(id, failure);
            return;
        }
        if matches!(upstream.download, Download::Tunnel) {
            let out = self.buffers.take();
            self.tunnel_from_origin(id, client_id, incoming, range, out);
            return;
        }
        upstream.answering = true;
        // What still comes in on a paused connection was under way; the client is the slow one.
        if !upstream.paused {
            let idle_timeout = self.pools.get(upstream.pool).limits.idle_timeout;
            self.upstream_set_deadline(id, idle_timeout);
        }
        let mut out = self.buffers.take();
        let mut head_start = None;
        if matches!(self.download(id), Some(Download::Head)) {
            match self.relay_head(id, client_id, incoming.bytes(), &mut range, &mut out) {
                Ok(Some(start)) => {
                    head_start = Some(start);
                    self.note_refused_certificate(id, client_id, &incoming.bytes()[range.clone()]);
                }
                Ok(None) => {
                    self.client_push(client_id, out, None);
                    return;
                }
                Err(failure) => {
                    self.buffers.put(out);
                    self.upstream_failed(id, failure);
                    return;
                }
            }
        }
        if matches!(self.download(id), Some(Download::Tunnel)) {
            self.tunnel_from_origin(id, client_id, incoming, range, out);
            return;
        }
        self.relay_body(id, client_id, incoming, range, out, head_start);
    }

    fn download(&self, id: UpstreamId) -> Option<&Download> {
        self.upstreams.get(id).map(|upstream| &upstream.download)
    }

    /// Takes head bytes off the front of `range`. Once the final head was written to `out`: where in it that starts.
    fn relay_head(
        &mut self,
        id: UpstreamId,
        client_id: ClientId,
        bytes: &[u8],
        range: &mut Range<usize>,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, OriginFailure> {
        let limits = self.current.snapshot.http.connection.head;
        loop {
            let Some(client) = self.clients.get_mut(client_id) else { return Ok(None) };
            let Some(request) = &mut client.request else { return Ok(None) };
            let before = request.response_bytes.len();
            let room = (limits.head_bytes as usize + 4).saturating_sub(before);
            let new = &bytes[range.clone()];
            let end = http::find_head_end(new).unwrap_or(new.len());
            let taken = end.min(room).min(new.len());
            request.response_bytes.extend_from_slice(&new[..taken]);
            let was_head = request.head.is_head();
            let progress = request
                .response
                .parse_answer(&request.response_bytes, was_head, request.websocket, &limits)
                .map_err(|error| OriginFailure::new(502, UpstreamError::BadResponse, error.detail))?;
            let Progress::Complete { consumed } = progress else {
                range.start += taken;
                if range.start >= range.end {
                    return Ok(None);
                }
                continue;
            };
            range.start += consumed - before;
            request.response_bytes.truncate(consumed);
            if request.response.status() == 101 {
                let pool = self.upstreams.get(id).map(|upstream| upstream.pool);
                self.tunnel_opens(id, client_id, out)?;
                if let Some(pool) = pool {
                    self.address_answered(pool, 101);
                }
                return Ok(Some(0));
            }
            if !request.response.is_interim() {
                break;
            }
            self.relay_interim(client_id, out)?;
        }
        let start = out.len();
        self.relay_final_head(id, client_id, out);
        Ok(Some(start))
    }

    /// An interim answer: 100 was given by us, others go to clients that know them.
    fn relay_interim(&mut self, client_id: ClientId, out: &mut Vec<u8>) -> Result<(), OriginFailure> {
        let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut()) else {
            return Ok(());
        };
        request.interim_responses += 1;
        let status = request.response.status();
        if request.interim_responses > INTERIM_RESPONSES_MAX {
            let detail = format!("interim answer {status} (number {})", request.interim_responses);
            return Err(OriginFailure::new(502, UpstreamError::BadResponse, detail));
        }
        if status != 100 && request.head.version() == Version::Http11 {
            let facts = ResponseFacts {
                client_version: Version::Http11,
                keep_alive: true,
                framing: ResponseFraming::None,
                request_id: &request.id,
                edits: HeaderEdits::NONE,
            };
            http::write_response_head(&request.response, &request.response_bytes, &facts, out);
        }
        request.response_bytes.clear();
        request.response.clear();
        Ok(())
    }

    fn relay_final_head(&mut self, id: UpstreamId, client_id: ClientId, out: &mut Vec<u8>) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        let framing = request.response.framing();
        let (pool, status) = (upstream.pool, request.response.status());
        upstream.download = match framing {
            ResponseFraming::None | ResponseFraming::Length(0) => Download::Done,
            ResponseFraming::Length(bytes) => Download::Length(bytes),
            ResponseFraming::Chunked => {
                Download::Chunked(http::ChunkedDecoder::new(http::ChunkLimits::default()))
            }
            ResponseFraming::UntilClose => Download::UntilClose,
        };
        let version = request.head.version();
        let to_client = match (framing, version) {
            (ResponseFraming::None | ResponseFraming::Length(_), _) => framing,
            (ResponseFraming::Chunked | ResponseFraming::UntilClose, Version::Http11) => {
                ResponseFraming::Chunked
            }
            (ResponseFraming::Chunked | ResponseFraming::UntilClose, Version::Http10) => {
                ResponseFraming::UntilClose
            }
        };
        request.chunk_to_client = to_client == ResponseFraming::Chunked;
        // An answer before the body's end leaves bytes on the connection that nobody wants to read.
        request.keep_alive &=
            to_client != ResponseFraming::UntilClose && !request.is_uploading() && self.life == Life::Serving;
        request.answer = Answer::Relaying;
        request.status = request.response.status();
        let facts = ResponseFacts {
            client_version: version,
            keep_alive: request.keep_alive,
            framing: to_client,
            request_id: &request.id,
            edits: request.header_edits(),
        };
        http::write_response_head(&request.response, &request.response_bytes, &facts, out);
        self.address_answering(pool, status);
    }

    /// Takes body bytes, writes them (re-framed) behind `out`, and ends the answer if they are the last. `head_start` is
    /// where the answer's head starts in `out`, if it came with these bytes and nothing of it was sent yet.
    fn relay_body(
        &mut self,
        id: UpstreamId,
        client_id: ClientId,
        incoming: Incoming<'_, I::Buffer>,
        range: Range<usize>,
        mut out: Vec<u8>,
        head_start: Option<usize>,
    ) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        let bytes = &incoming.bytes()[range.clone()];
        let is_large = matches!(upstream.download, Download::Length(left) if left >= HAND_OVER_BYTES_MIN as u64)
            && bytes.len() >= HAND_OVER_BYTES_MIN;
        let hands_over = is_large && incoming.buffer.is_some() && self.handed_over < HANDED_OVER_MAX;
        let (mut used, mut handed_over, mut failure) = (0, None, None);
        if hands_over {
            used = upstream.download.pass_length(bytes);
            handed_over = Some(range.start..range.start + used);
        } else {
            match upstream.download.copy_body(bytes, request.chunk_to_client, &mut out) {
                Ok(copied) => used = copied,
                Err(error) => failure = Some(error.detail),
            }
        }
        if let (Some(_), Some(start)) = (failure, head_start) {
            // Nothing of this answer was sent: the client gets a 502 in its place.
            out.truncate(start);
            request.answer = Answer::None;
        }
        let finished = matches!(upstream.download, Download::Done);
        let excess = used < bytes.len() && failure.is_none();
        if finished && request.chunk_to_client {
            out.extend_from_slice(http::LAST_CHUNK);
        }
        let body = match (handed_over, incoming.buffer) {
            (Some(range), Some(buffer)) => Some((buffer, range)),
            _ => None,
        };
        self.client_push(client_id, out, body);
        if let Some(code) = failure {
            self.upstream_failed(id, OriginFailure::new(502, UpstreamError::BadResponse, code));
        } else if finished {
            self.relay_done(id, excess);
        } else {
            self.relay_pause(id, client_id);
        }
    }

    /// A slow client must not make the worker park more than its share: the origin waits.
    pub(super) fn relay_pause(&mut self, id: UpstreamId, client_id: ClientId) {
        let Some(client) = self.clients.get(client_id) else { return };
        let parked_max = self.current.snapshot.connection(client.listener).parked_bytes;
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        if client.output.pending_bytes() > parked_max && !upstream.paused {
            (upstream.paused, upstream.held_back) = (true, true);
            self.metrics.limit(Limit::ParkedBytes);
            upstream.deadline.clear();
            self.io.pause(upstream.socket);
            // A tunnel has left the pool's count: there is no place to give to others.
            if !matches!(upstream.download, Download::Tunnel) {
                self.stall_begins(id);
            }
        }
    }

    /// The client took something: the origin may go on.
    pub(super) fn relay_resume(&mut self, client_id: ClientId, pending_bytes: usize) {
        let Some(request) = self.clients.get(client_id).and_then(|client| client.request.as_ref()) else {
            return;
        };
        let parked_max = self.current.snapshot.connection(request.listener).parked_bytes;
        let Some(id) = request.upstream else { return };
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        if upstream.paused && pending_bytes <= parked_max / 2 {
            upstream.paused = false;
            self.io.receive(upstream.socket);
            let pool = self.pools.get(upstream.pool);
            pool.stalled.retain(|stalled| *stalled != id);
            let timeout = pool.limits.idle_timeout;
            self.upstream_set_deadline(id, timeout);
        }
    }

    /// The answer ended with the connection, in order.
    pub(super) fn relay_finished(&mut self, id: UpstreamId) {
        let Some(client_id) = self.upstreams.get(id).and_then(|upstream| upstream.client) else { return };
        let Some(request) = self.clients.get(client_id).and_then(|client| client.request.as_ref()) else {
            return;
        };
        if request.chunk_to_client {
            let mut out = self.buffers.take();
            out.extend_from_slice(http::LAST_CHUNK);
            self.client_push(client_id, out, None);
        }
        self.relay_done(id, true);
    }

    /// The answer is complete: the connection is pooled if nothing speaks against it, and the client goes on.
    fn relay_done(&mut self, id: UpstreamId, close: bool) {
        let Some(upstream) = self.upstreams.get_mut(id) else { return };
        let Some(client_id) = upstream.client.take() else { return };
        upstream.served += 1;
        if upstream.paused {
            // The end came with bytes that were on their way already.
            upstream.paused = false;
            self.io.receive(upstream.socket);
            self.pools.get(upstream.pool).stalled.retain(|stalled| *stalled != id);
        }
        let pool = self.pools.get(upstream.pool);
        pool.warming.succeeded();
        let requests_max = pool.limits.requests_per_connection;
        let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut()) else {
            return;
        };
        request.upstream = None;
        request.answer = Answer::Done;
        let (index, status) = (upstream.pool, request.status);
        let uploading = request.is_uploading();
        let reusable = !close
            && !uploading
            && request.to_origin.is_empty()
            && request.response.keep_alive()
            && upstream.output.is_empty()
            && upstream.engine.as_ref().is_none_or(|engine| engine.is_open())
            && upstream.served < requests_max;
        let retires = reusable && upstream.retires_at <= self.io.now();
        if retires {
            self.metrics.limit(Limit::OriginConnectionAge);
        }
        self.address_answered(index, status);
        if reusable && !retires {
            self.upstream_release(id);
        } else {
            self.upstream_discard(id);
        }
        if uploading {
            // Never reuse a connection with half a request on it.
            if let Some(request) = self.clients.get_mut(client_id).and_then(|client| client.request.as_mut())
            {
                request.keep_alive = false;
            }
        }
        self.client_finish(client_id, uploading);
        self.client_later(client_id);
    }

    /// The origin broke off inside its answer. The client must be able to tell: the message isn't ended in
    /// order, and where only the connection's end marks the message's, that end is a reset.
    pub(super) fn relay_truncated(&mut self, client_id: ClientId) {
        let Some(client) = self.clients.get_mut(client_id) else { return };
        let Some(request) = &mut client.request else { return };
        request.keep_alive = false;
        let marks_end_by_close =
            !request.chunk_to_client && !matches!(request.response.framing(), ResponseFraming::Length(_));
        if marks_end_by_close {
            self.client_close(client_id, true);
        } else {
            self.client_finish(client_id, false);
        }
    }
}
