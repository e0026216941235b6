//! Answers of our own to a client: refusals, blocks, origins that can't be reached.

use weir_policy::{Reason, Verdict};

use super::request::{Answer, Upload};
use super::{ClientId, Life, Worker};
use crate::http::{self, HeadError, PageValues};
use crate::io::Io;
use crate::telemetry::Limit;
use crate::telemetry::rfc3339_milliseconds;

/// The verdict on a request that was refused for its framing, its size or its slowness.
const REFUSED: Verdict = Verdict { block: true, reason: Reason::Protocol, record: false };

/// What a client hears that takes too long for its head.
pub(super) const HEAD_TIMEOUT: HeadError = HeadError {
    status: 408,
    code: "head_timeout",
    detail: "the request head did not come in whole within head_timeout",
};

impl<I: Io> Worker<I> {
    /// Refuses a bad head: an answer, and the end of the connection.
    pub(super) fn client_refuse(&mut self, id: ClientId, error: &HeadError) {
        self.metrics.protocol_error(error.status, error.code);
        if let Some(limit) = limit_of(error) {
            self.metrics.limit(limit);
        }
        let request_id = self.request_ids.next();
        if let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.as_mut()) {
            request.id = request_id;
        }
        self.client_refuse_with(id, error.status, error.code);
    }

    /// The body's framing is broken: where nothing was answered yet, the client is told; the origin's
    /// connection is reset, so that what it got never looks whole.
    pub(super) fn client_bad_request(&mut self, id: ClientId, code: &'static str) {
        self.metrics.protocol_error(400, code);
        self.client_refuse_with(id, 400, code);
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
            request.body_broke_off |= request.is_uploading();
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
        request.answer = Answer::Done;
        request.keep_alive &= self.life == Life::Serving;
        let page = request.block_page.take();
        request.status = page.as_ref().map_or(status, |page| page.status);
        let answer = http::Answer {
            status,
            reason_code: code,
            request_id: &request.id,
            accept: request.accept(),
            keep_alive: request.keep_alive,
            head_only: request.wants_head_only(),
        };
        match page {
            None => http::write_answer(&answer, &mut out),
            Some(page) => {
                let client_ip = request.client_ip().to_string();
                let time = rfc3339_milliseconds(self.io.unix_nanos());
                let values = PageValues {
                    request_id: &request.id,
                    client_ip: client_ip.as_bytes(),
                    time: time.as_bytes(),
                    host: request.head.host(&request.head_bytes),
                    method: request.head.method(&request.head_bytes),
                    path: request.head.path(&request.head_bytes),
                    reason: code.as_bytes(),
                    status: page.status,
                };
                http::write_block_answer(&answer, &page, &values, &mut out);
            }
        }
        request.answer_bytes = out.len() as u64;
        self.client_push(id, out, None);
    }
}

/// The limit that a head was refused for, if it was one.
fn limit_of(error: &HeadError) -> Option<Limit> {
    match error.code {
        "head_too_large" => Some(Limit::HeadBytes),
        "target_too_long" => Some(Limit::TargetBytes),
        "header_too_large" => Some(Limit::HeaderBytes),
        "too_many_headers" => Some(Limit::HeaderCount),
        "head_timeout" => Some(Limit::HeadTimeout),
        _ => None,
    }
}
