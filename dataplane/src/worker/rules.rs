//! Rules beside that of the mode on a request's way: rates, sizes, and what virtual patches ask for.

use std::time::Duration;

use weir_inspect::PointValues;
use weir_policy::{Stage, Verdict};

use super::decide::{guarded, renew};
use super::request::{Paced, RateRefusal, Request};
use super::{ClientId, TimerKey, Worker};
use crate::decision::{self, HeaderList};
use crate::http::Version;
use crate::io::Io;
use crate::rules::{Admission, PathKeyScratch, RateKeyParts, RateRule};
use crate::telemetry::Limit;

impl<I: Io> Worker<I> {
    /// As [`Worker::request_starts`], for a request that rules hold for (spec S1.8).
    pub(super) fn request_starts_under_rules(
        &mut self,
        id: ClientId,
        mut request: Box<Request>,
        stage: Stage,
    ) {
        if !matches!(stage, Stage::Inspect { .. }) {
            return self.request_starts(id, request, stage);
        }
        match self.admit_by_head(id, &mut request) {
            Admission::Pass => self.request_was_admitted(id, request),
            Admission::Wait(span) => self.request_waits(id, request, Paced::Starts, span),
            Admission::Refuse => {
                // What it carries is looked at for the sake of the record.
                let verdict = self.inspect(&mut request);
                self.block(id, request, verdict);
            }
        }
    }

    /// No rate limit keeps the request from going on.
    fn request_was_admitted(&mut self, id: ClientId, mut request: Box<Request>) {
        let Some(Stage::Inspect { hold }) = request.resolution.map(|resolution| resolution.stage) else {
            return self.client_put_request(id, request);
        };
        if request.is_uploading() && self.too_large_a_body(&request).is_some() {
            // Its length says so: there is no need to read it.
            return self.request_decides(id, request);
        }
        let hold = hold || request.active.holds_body();
        let looks = !hold && request.is_uploading() && request.active.looks_at_head_first();
        if looks && let Some(verdict) = self.head_blocks(&mut request) {
            return self.block(id, request, verdict);
        }
        self.request_starts(id, request, Stage::Inspect { hold });
    }

    /// The request waits for its turn. Nothing more of it is read until then.
    pub(super) fn request_waits(
        &mut self,
        id: ClientId,
        mut request: Box<Request>,
        then: Paced,
        span: Duration,
    ) {
        self.metrics.limit(Limit::RateLimitPaced);
        request.paced = Some(then);
        let now = self.io.now();
        request.body_clock.stop(now);
        let at = now.after(span);
        self.timers.set(&mut request.turn, TimerKey::Turn(id), at);
        if let Some(client) = self.clients.get_mut(id) {
            client.deadline.clear();
        }
        self.client_put_request(id, request);
    }

    /// A request that waited under a rate limit goes on.
    pub(super) fn request_has_its_turn(&mut self, id: ClientId) {
        let Some(mut request) = self.clients.get_mut(id).and_then(|client| client.request.take()) else {
            return;
        };
        request.body_clock.go_on(self.io.now());
        match request.paced.take() {
            Some(Paced::Starts) => self.request_was_admitted(id, request),
            Some(Paced::Forwards) => {
                self.client_put_request(id, request);
                self.client_body_progress(id);
                self.forward(id);
            }
            None => self.client_put_request(id, request),
        }
        self.client_later(id);
    }

    /// Asks the rate limits that count by something in the head or around it.
    fn admit_by_head(&mut self, id: ClientId, request: &mut Request) -> Admission {
        let Some(generation) = &request.generation else { return Admission::Pass };
        if request.active.counts_by_body(&generation.snapshot.rules) {
            return Admission::Pass; // asked once the body is here
        }
        self.admit(id, request)
    }

    /// Asks the rate limits if one of them counts by something in the body, which is here now.
    pub(super) fn admit_by_body(&mut self, id: ClientId, request: &mut Request) -> Admission {
        let Some(generation) = &request.generation else { return Admission::Pass };
        if request.active.is_empty() || !request.active.counts_by_body(&generation.snapshot.rules) {
            return Admission::Pass;
        }
        self.admit(id, request)
    }

    /// Asks the lowest of the rate limits whose point is there; all of them where readings of the path differ over the
    /// limits, and then the strictest answer counts. A refusal is noted in the request.
    fn admit(&mut self, id: ClientId, request: &mut Request) -> Admission {
        let Some(generation) = request.generation.clone() else { return Admission::Pass };
        let Some(table) = &generation.snapshot.rules.rates else { return Admission::Pass };
        let mut keys = PointValues::new(self.buffers.take());
        let mut scratch = std::mem::take(&mut self.path_keys);
        let mut admission = Admission::Pass;
        let mut refused = None;
        for (rule, limit) in request.active.rates(&generation.snapshot.rules) {
            self.rate_keys(id, request, limit, &mut keys, &mut scratch);
            if keys.is_empty() {
                continue;
            }
            for key in keys.iter() {
                let (answer, evicted) = table.admit(limit.buckets, key, limit.rate, self.io.now());
                if evicted {
                    self.metrics.limit(Limit::RateLimitMemory);
                }
                admission = admission.max(answer);
                if answer == Admission::Refuse {
                    refused = Some(RateRefusal { rule, status: limit.status });
                    break;
                }
            }
            if refused.is_some() || !request.active.every_rate_counts() {
                break;
            }
        }
        request.refused = refused.or(request.refused);
        self.buffers.put(keys.into_buffer());
        self.path_keys = scratch;
        admission
    }

    /// Writes what a rate limit counts this request by; nothing where the request doesn't have it.
    fn rate_keys(
        &self,
        id: ClientId,
        request: &Request,
        limit: &RateRule,
        keys: &mut PointValues,
        scratch: &mut PathKeyScratch,
    ) {
        keys.clear();
        let (Some(generation), Some(resolution)) = (&request.generation, &request.resolution) else {
            return;
        };
        let bytes = &request.head_bytes;
        let snapshot = &generation.snapshot;
        let parts = RateKeyParts {
            client: request.client_ip(),
            application: resolution.application,
            method: request.head.method(bytes),
            scheme: self.clients.get(id).map_or(&b""[..], |client| client.transport.scheme()),
            proto: match request.head.version() {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            },
            path: request.head.path(bytes),
            query: request.head.query(bytes),
            path_has_readings: snapshot.http.ambiguous_path.compares_readings(),
        };
        limit.keys(&parts, keys, scratch, &mut |selector, keys| {
            let mut headers = HeaderList::new();
            headers.extend(request.head.headers(bytes));
            let body = &request.body[..request.body.len().min(snapshot.detection.body_limit_bytes)];
            let view = decision::view(&request.head, bytes, &headers, body, !request.is_uploading());
            let inspector = &mut *generation.inspector.borrow_mut();
            let found = guarded(&view, || inspector.values_at(&snapshot.engine, &view, selector, keys));
            if found.is_none() {
                renew(inspector, snapshot);
            }
        });
    }

    /// The verdict on a request whose body is known to be larger than a rule allows, if that blocks it.
    pub(super) fn too_large_a_body(&self, request: &Request) -> Option<Verdict> {
        if request.active.is_empty() {
            return None;
        }
        let (generation, resolution) = (request.generation.as_ref()?, request.resolution.as_ref()?);
        let bytes = request.body_seen().bytes;
        decision::too_large_a_body(&generation.snapshot, resolution, &request.active, bytes)
    }
}
