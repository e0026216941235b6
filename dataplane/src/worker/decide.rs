//! From a parsed head to a verdict: policy, access lists, inspection, and what follows from them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use weir_inspect::{Inspector, Report, RequestView};
use weir_policy::{Finding, Reason, Stage, Verdict};

use super::body_clock::BodyClock;
use super::input::upload_of;
use super::request::{Answer, Paced, Request, Sink, Upload, forget};
use super::{ClientId, Life, Worker};
use crate::decision::{self, BodySeen, HeaderList, Shortened};
use crate::http::{self, BlockPage, BodyFraming};
use crate::io::Io;
use crate::placement;
use crate::rules::{Active, Admission};
use crate::snapshot::{Snapshot, attack_class_number};
use crate::telemetry::{BlockReason, Event, Limit, VerdictLabel};

/// The verdict on what was not looked at.
const PASS: Verdict = Verdict { block: false, reason: Reason::None, record: false };

/// A request that can't be served for a reason of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    /// A rule says so, and not the config's limits.
    pub(super) by_rule: bool,
}

impl<I: Io> Worker<I> {
    /// The head is complete: resolves the policy and starts what it says.
    pub(super) fn request_begins(&mut self, id: ClientId, mut request: Box<Request>) {
        let generation = Rc::clone(&self.current);
        let snapshot = &generation.snapshot;
        let Some(client) = self.clients.get(id) else { return self.put_request(request) };
        request.id = self.request_ids.next();
        request.started = self.io.now();
        request.body_clock = BodyClock::starting(request.started);
        request.upload = upload_of(request.head.framing());
        // Without a body, what follows the head is the next request.
        request.body_at_hand &= request.is_uploading();
        request.framing_to_origin = request.head.framing();
        request.listener = client.listener;
        let settings = snapshot.connection(client.listener);
        let worn_out = if client.served >= settings.keep_alive_requests {
            Some(Limit::KeepAliveRequests)
        } else if self.io.now().since(client.opened) >= settings.connection_age_max {
            Some(Limit::ConnectionAge)
        } else {
            None
        };
        request.keep_alive = request.head.keep_alive() && worn_out.is_none() && self.life == Life::Serving;
        if let (true, Some(limit)) = (request.head.keep_alive(), worn_out) {
            self.metrics.limit(limit);
        }

        let certificate = client.transport.certificate();
        let mut headers = HeaderList::new();
        decision::judged_headers(&request.head, &request.head_bytes, certificate, &mut headers);
        let client_ip = snapshot.client_address(client.peer.ip(), &headers);
        let facts = decision::facts(&request.head, &request.head_bytes, client.transport.scheme(), &headers);
        let now = self.io.unix_nanos() / 1_000_000_000;
        let placement = placement::place(
            &snapshot.policy,
            snapshot.http.ambiguous_path,
            &mut self.policy_scratch,
            &mut self.path_readings,
            &facts,
            &client.known(snapshot, client_ip),
            now,
        );
        let resolution = placement.resolution;
        drop(headers);
        request.active.fill(&snapshot.rules, &snapshot.policy.effects(&self.policy_scratch));
        request.client_ip = Some(client_ip);
        request.resolution = Some(resolution);

        request.active.divides_differently(placement.divides_differently);
        request.shared_place = placement.shared_place(snapshot, request.listener);
        request.generation = Some(generation);
        let body_limit = request.limits().and_then(|limits| limits.request_body_bytes);
        let too_long =
            matches!((&request.upload, body_limit), (Upload::Length(bytes), Some(limit)) if *bytes > limit);
        if placement.refused {
            self.client_put_request(id, request);
            self.client_bad_request(id, "ambiguous_path");
            return;
        }
        if too_long {
            self.client_put_request(id, request);
            self.metrics.limit(Limit::RequestBodyBytes);
            self.client_refuse_with(id, 413, "request_body_too_long");
            return;
        }
        if request.active.is_empty() {
            self.request_starts(id, request, resolution.stage);
        } else {
            self.request_starts_under_rules(id, request, resolution.stage);
        }
    }

    /// Goes the way that the policy says.
    pub(super) fn request_starts(&mut self, id: ClientId, mut request: Box<Request>, stage: Stage) {
        match stage {
            Stage::PassUninspected => {
                request.verdict = Some(self.verdict(&request, Finding::None));
                self.request_streams(id, request);
            }
            Stage::BlockNow(_) => {
                let verdict = self.verdict(&request, Finding::None);
                self.block(id, request, verdict);
            }
            Stage::Inspect { .. } if !request.is_uploading() => self.request_decides(id, request),
            Stage::Inspect { hold: true } => {
                // A client that asks before it sends the body is not told to go on for nothing.
                let asks = request.waits_for_continue() && !request.body_at_hand;
                if asks && let Some(verdict) = self.head_blocks(&mut request) {
                    return self.block(id, request, verdict);
                }
                request.sink = Sink::Hold;
                request.inspect = true;
                self.request_expects(id, request);
            }
            Stage::Inspect { hold: false } => {
                request.inspect = true;
                self.request_streams(id, request);
            }
        }
    }

    /// The verdict if the head alone blocks the request. If not, the head is looked at once more together with the body.
    pub(super) fn head_blocks(&self, request: &mut Request) -> Option<Verdict> {
        let verdict = self.inspect(request);
        if verdict.block {
            return Some(verdict);
        }
        request.events.clear();
        request.verdict = None;
        None
    }

    /// Puts a request whose body is still to come in place, and tells a client that waits for it to go on.
    fn request_expects(&mut self, id: ClientId, request: Box<Request>) {
        let expects = request.is_uploading() && request.head.expects_continue();
        self.client_put_request(id, request);
        if expects {
            let mut out = self.buffers.take();
            out.extend_from_slice(http::CONTINUE);
            self.client_push(id, out, None);
        }
        self.client_body_progress(id);
    }

    /// Forwards at once; the body follows as it comes.
    fn request_streams(&mut self, id: ClientId, mut request: Box<Request>) {
        request.sink = Sink::Stream;
        self.request_expects(id, request);
        self.forward(id);
    }

    /// All that is to be inspected is here: inspects it and acts on the verdict.
    pub(super) fn request_decides(&mut self, id: ClientId, mut request: Box<Request>) {
        let admission = self.admit_by_body(id, &mut request);
        let verdict = self.inspect(&mut request);
        if verdict.block {
            self.block(id, request, verdict);
            return;
        }
        // From here on the rest, if there is any, streams behind what was held.
        request.sink = if request.is_uploading() { Sink::Stream } else { Sink::Discard };
        if let Admission::Wait(span) = admission {
            return self.request_waits(id, request, Paced::Forwards, span);
        }
        self.client_put_request(id, request);
        self.forward(id);
    }

    /// Takes body bytes that came in (framing removed) to where they belong.
    pub(super) fn body_data(&mut self, request: &mut Request, data: &[u8]) -> Result<(), Refusal> {
        request.body_bytes += data.len() as u64;
        if request.sink != Sink::Discard
            && let Some(verdict) = self.too_large_a_body(request)
        {
            request.verdict = Some(verdict);
            return Err(Refusal { status: 403, code: verdict.reason.as_str(), by_rule: true });
        }
        let Some(generation) = &request.generation else { return Ok(()) };
        let snapshot = &generation.snapshot;
        let limit = request.limits().and_then(|limits| limits.request_body_bytes);
        if request.sink != Sink::Discard && limit.is_some_and(|limit| request.body_bytes > limit) {
            self.metrics.limit(Limit::RequestBodyBytes);
            return Err(Refusal { status: 413, code: "request_body_too_long", by_rule: false });
        }
        let inspected = snapshot.detection.body_limit_bytes;
        let spare = snapshot.http.body_bytes_per_worker.saturating_sub(self.body_bytes);
        match request.sink {
            Sink::Discard => {}
            Sink::Hold => {
                // What goes beyond a limit isn't inspected, but it is kept: it may have to be forwarded.
                request.overloaded = data.len() > spare;
                self.keep_body(request, data);
                request.body_over_limit = request.body.len() > inspected || request.overloaded;
            }
            Sink::Stream => {
                if request.inspect {
                    let wanted = inspected.saturating_sub(request.body.len()).min(data.len());
                    let kept = wanted.min(spare);
                    self.keep_body(request, &data[..kept]);
                    request.overloaded |= kept < wanted;
                    request.body_over_limit |= kept < data.len();
                } else {
                    self.release_body(request);
                }
                request.streamed = true;
                frame_body(request.framing_to_origin, data, &mut request.to_origin);
            }
        }
        Ok(())
    }

    fn keep_body(&mut self, request: &mut Request, data: &[u8]) {
        request.body.extend_from_slice(data);
        request.kept_bytes += data.len();
        self.body_bytes += data.len();
    }

    /// What was kept of a body is needed no more.
    pub(super) fn release_body(&mut self, request: &mut Request) {
        self.body_bytes -= std::mem::take(&mut request.kept_bytes);
        forget(&mut request.body);
    }

    /// A held body has outgrown what is inspected: decides on what is there.
    pub(super) fn request_over_body_limit(&mut self, id: ClientId) {
        if let Some(request) = self.clients.get_mut(id).and_then(|client| client.request.take()) {
            self.request_decides(id, request);
        }
    }

    /// The last byte of the body came in.
    pub(super) fn request_body_ended(&mut self, id: ClientId) {
        let Some(mut request) = self.clients.get_mut(id).and_then(|client| client.request.take()) else {
            return;
        };
        match request.sink {
            Sink::Hold => {
                // All of it is here: its length is known, however it came.
                request.framing_to_origin = BodyFraming::Length(request.body.len() as u64);
                self.request_decides(id, request);
            }
            Sink::Stream => {
                if matches!(request.framing_to_origin, BodyFraming::Chunked) {
                    request.to_origin.extend_from_slice(http::LAST_CHUNK);
                }
                if request.inspect {
                    // The origin has it already: what is found is recorded (spec S1.2, monitoring).
                    self.inspect(&mut request);
                    self.release_body(&mut request);
                }
                self.client_put_request(id, request);
                self.upload_ends(id);
                self.origin_flush(id);
            }
            Sink::Discard => {
                let answered = request.answer == Answer::Done;
                self.client_put_request(id, request);
                if answered {
                    self.client_finish(id, false);
                }
            }
        }
    }

    /// Inspects what is there of the request, records what was found, and gives the verdict.
    pub(super) fn inspect(&self, request: &mut Request) -> Verdict {
        request.inspect = false;
        // Taken out while they are added to, because what they are made of lies in the request too.
        let mut events = std::mem::take(&mut request.events);
        let inspected = self.inspect_into(request, &mut events);
        request.events = events;
        let Some((verdict, uninspected)) = inspected else { return PASS };
        request.verdict = Some(verdict);
        request.uninspected = uninspected;
        verdict
    }

    /// The verdict, and whether it comes of what could not be inspected by our own fault.
    fn inspect_into(&self, request: &Request, events: &mut Vec<Event>) -> Option<(Verdict, bool)> {
        let context = request.event_context(self.io.unix_nanos())?;
        let generation = request.generation.as_ref()?;
        let snapshot = &generation.snapshot;
        let started = Instant::now();
        let mut inspector = generation.inspector.borrow_mut();
        let mut headers = HeaderList::new();
        headers.extend(request.head.headers(&request.head_bytes));
        let body = &request.body[..request.body.len().min(snapshot.detection.body_limit_bytes)];
        let complete = !request.is_uploading() && !request.body_broke_off && !request.body_over_limit;
        let view = decision::view(&request.head, &request.head_bytes, &headers, body, complete);
        let seen = request.body_seen();
        let report = inspect_guarded(&mut inspector, snapshot, &request.active, &view, seen);
        self.metrics.inspection_nanos(nanos(started.elapsed()));
        let mut judged = decision::judge(
            snapshot,
            context.resolution,
            request.settings()?,
            &request.active,
            report.as_ref(),
            seen,
        );
        if let Some(shortened) = judged.shortened {
            self.metrics.limit(shortened.counted_as());
        }
        if request.refused.is_some() {
            judged.verdict = decision::refused_for_rate(report.as_ref());
        }
        let refused_by = request.refused.map(|refusal| refusal.rule);
        decision::record(&context, report.as_ref(), judged, seen, refused_by, events);
        let uninspected = judged.verdict.block
            && judged.verdict.reason == Reason::OverLimit
            && judged.shortened.is_some_and(Shortened::is_our_fault);
        if report.is_none() {
            renew(&mut inspector, snapshot);
        }
        Some((judged.verdict, uninspected))
    }

    /// The verdict where nothing was inspected.
    fn verdict(&self, request: &Request, finding: Finding) -> Verdict {
        match (&request.generation, &request.resolution) {
            (Some(generation), Some(resolution)) => generation.snapshot.policy.verdict(resolution, finding),
            _ => PASS,
        }
    }

    /// Answers 403, or what the rate limit says that refused the request. The connection lives on where the request's framing is sound and the rest of its body
    /// is short enough to be thrown away.
    pub(super) fn block(&mut self, id: ClientId, mut request: Box<Request>, verdict: Verdict) {
        request.verdict = Some(verdict);
        if verdict.record && request.events.is_empty() {
            self.record_access(&mut request, verdict);
        }
        request.sink = Sink::Discard;
        let discards = self.current.snapshot.connection(request.listener).lingering_bytes;
        let reads_on = match &request.upload {
            Upload::Done => true,
            // A client that waits for 100 may never send the body after a final answer.
            Upload::Length(bytes) => *bytes <= discards && !request.waits_for_continue(),
            Upload::Chunked(_) => false,
        };
        request.keep_alive &= reads_on;
        let uploading = request.is_uploading();
        let timeout = self.current.snapshot.connection(request.listener).lingering_timeout;
        // A client that is sent away because we can't look at its request did nothing wrong, and may try again.
        let status = match request.refused {
            Some(refusal) => refusal.status,
            None if request.uninspected => 503,
            None => 403,
        };
        request.block_page = block_page(&request, verdict, self.io.unix_nanos());
        self.release_body(&mut request);
        self.client_put_request(id, request);
        if !reads_on {
            self.client_answer_and_close(id, status, verdict.reason.as_str());
            return;
        }
        self.client_write_answer(id, status, verdict.reason.as_str());
        if uploading {
            self.client_set_deadline(id, timeout);
        } else {
            self.client_finish(id, false);
        }
    }

    /// An event for a request that was refused for where it came from.
    fn record_access(&self, request: &mut Request, verdict: Verdict) {
        let Some(context) = request.event_context(self.io.unix_nanos()) else { return };
        let event = decision::access_event(&context, verdict);
        request.events.push(event);
    }

    /// The request is over: counts it and hands its events on.
    pub(super) fn account(&mut self, request: &mut Request) {
        if request.inspect {
            // It ended before its body did. What there was of it may have been at the origin.
            let verdict = request.verdict;
            self.inspect(request);
            request.verdict = verdict.or(request.verdict);
        }
        let (Some(resolution), Some(generation)) = (&request.resolution, &request.generation) else { return };
        let verdict = request.verdict.unwrap_or(PASS);
        let label = if verdict.block { VerdictLabel::Block } else { VerdictLabel::Pass };
        // Server numbers are those of the request's own generation, and so are its counters.
        generation.metrics.request(resolution.server.0, resolution.mode as u8, label);
        self.metrics.request_nanos(nanos(self.io.now().since(request.started)));
        if verdict.reason == Reason::AllowList {
            self.metrics.allow_listed();
        }
        if verdict.block
            && let Some(reason) = BlockReason::from_name(verdict.reason.as_str())
        {
            self.metrics.blocked(reason);
            let received = request.head_bytes.len() as u64 + request.body_bytes;
            self.metrics.blocked_bytes(received, request.answer_bytes);
        }
        for mut event in request.events.drain(..) {
            event.status = (request.status != 0).then_some(request.status);
            if let (Some(attack), Some(action)) = (&event.attack, event.action)
                && let Some(class) = attack_class_number(attack.class)
            {
                self.metrics.attack(class, action);
            }
            self.events.send(event);
        }
    }
}

/// What the request's place answers to those that are blocked for this reason.
fn block_page(request: &Request, verdict: Verdict, unix_nanos: u64) -> Option<Arc<BlockPage>> {
    let has_page = !request.uninspected && request.refused.is_none();
    let responses = &request.settings().filter(|_| has_page)?.block_responses;
    let page = match verdict.reason {
        Reason::DenyList if responses.acl_ip == responses.acl_source => &responses.acl_ip,
        Reason::DenyList if request.event_context(unix_nanos)?.is_listed_by_address() => &responses.acl_ip,
        Reason::DenyList => &responses.acl_source,
        _ => &responses.attack,
    };
    page.clone()
}

/// Inspects, and outlives a panic of the inspection: one request that finds a defect there must not end the worker,
/// and what becomes of it is for `inspection_failure` to say. `None` after a panic.
fn inspect_guarded<'a>(
    inspector: &'a mut Inspector,
    snapshot: &Snapshot,
    active: &Active,
    view: &RequestView<'_>,
    seen: BodySeen,
) -> Option<Report<'a>> {
    guarded(view, move || {
        // Moved, not borrowed again: the report borrows from it.
        let inspector = inspector;
        decision::inspect(inspector, snapshot, active, view, seen, false)
    })
}

/// Looks at a request, and outlives a panic. `None` after one: what it worked with is not to be used again then.
#[cfg_attr(not(any(test, debug_assertions)), expect(unused_variables))]
pub(super) fn guarded<T>(view: &RequestView<'_>, look: impl FnOnce() -> T) -> Option<T> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(any(test, debug_assertions))]
        super::defect::panic_if_asked(view);
        look()
    }));
    if outcome.is_err() {
        tracing::error!("the inspection of a request panicked; this is a defect");
    }
    outcome.ok()
}

/// Puts a new inspector in the place of one that panicked.
pub(super) fn renew(inspector: &mut Inspector, snapshot: &Snapshot) {
    match snapshot.engine.inspector() {
        Ok(fresh) => *inspector = fresh,
        Err(error) => tracing::error!(%error, "the inspector could not be made anew"),
    }
}

fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Body bytes as they go to the origin.
pub(super) fn frame_body(framing: BodyFraming, data: &[u8], out: &mut Vec<u8>) {
    match framing {
        BodyFraming::Chunked if data.is_empty() => {}
        BodyFraming::Chunked => http::write_chunk(data, out),
        BodyFraming::None | BodyFraming::Length(_) => out.extend_from_slice(data),
    }
}
