//! From a parsed request to what policy and inspection say about it, and to the events that tell of it.
//!
//! The workers and `weir explain` go through the same functions, so that what is explained is what happens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use weir_inspect::{Applied, HitKind, Inspector, Report, RequestView, RuleHit};
use weir_policy::{Finding, ModeSource, Reason, RequestFacts, Resolution, UploadAction, Verdict};

use crate::config::OverLimit;
use crate::http::{
    CERTIFICATE_FIELDS, CertificateFacts, FieldId, HeaderField, MAX_HEADER_COUNT, PathReadings, RequestHead,
    Version,
};
use crate::rules::Active;
use crate::snapshot::{DetectionSettings, LocationSettings, Snapshot};
use crate::telemetry::{AttackAction, AttackDetail, Event, EventText, Limit, OriginFailure, ProtocolRefusal};

/// Names and values of a head, borrowed from its bytes.
pub type HeaderList<'a> = ArrayVec<(&'a [u8], &'a [u8]), { MAX_HEADER_COUNT as usize + CERTIFICATE_FIELDS }>;

/// Fills in the fields that rules see: what clients claim about their certificates is left out, what the listener found
/// out takes its place.
///
/// The list is filled where it stands: it has room for the most fields there may be, and to return it would copy all of
/// that for each request.
pub fn judged_headers<'a>(
    head: &'a RequestHead,
    bytes: &'a [u8],
    certificate: Option<CertificateFacts<'a>>,
    headers: &mut HeaderList<'a>,
) {
    let claims = |field: &&HeaderField| field.id == FieldId::XClientCertificate;
    let received = head.fields().iter().filter(|field| !claims(field));
    headers.extend(received.map(|field| (field.name.of(bytes), field.value.of(bytes))));
    if let Some(certificate) = certificate {
        headers.extend(certificate.fields());
    }
}

/// What the policy looks at.
pub fn facts<'a>(
    head: &RequestHead,
    bytes: &'a [u8],
    scheme: &'a [u8],
    headers: &'a HeaderList<'a>,
) -> RequestFacts<'a> {
    RequestFacts {
        method: head.method(bytes),
        scheme,
        proto: match head.version() {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        },
        host: head.host(bytes),
        path: head.path(bytes),
        query: head.query(bytes),
        headers,
    }
}

/// What inspection looks at.
pub fn view<'a>(
    head: &RequestHead,
    bytes: &'a [u8],
    headers: &'a HeaderList<'a>,
    body: &'a [u8],
    body_complete: bool,
) -> RequestView<'a> {
    RequestView {
        method: head.method(bytes),
        path: head.path(bytes),
        query: head.query(bytes),
        headers,
        body,
        body_complete,
    }
}

/// A limit that cut an inspection short.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortened {
    /// The limit's name, for the event.
    pub limit: &'static str,
    /// What the config says about it.
    pub then: OverLimit,
}

impl Shortened {
    /// The metric that counts it.
    pub fn counted_as(self) -> Limit {
        match self.limit {
            BODY_LIMIT => Limit::InspectedBodyBytes,
            TIME_LIMIT => Limit::InspectionTime,
            OVERLOAD => Limit::BodyBytesTotal,
            FAILURE | MEMORY => Limit::InspectionFailure,
            _ => Limit::InspectionSize,
        }
    }

    /// Whether the request itself has no part in it.
    pub fn is_our_fault(self) -> bool {
        matches!(self.limit, OVERLOAD | FAILURE | MEMORY)
    }
}

/// Why not all of a body was there to be inspected, if so.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BodyCut {
    /// It is longer than what is inspected, or `overloaded`.
    pub over_limit: bool,
    /// There was no memory to keep all that is to be inspected.
    pub overloaded: bool,
}

/// The names of the limits that aren't inspection's own.
const BODY_LIMIT: &str = "body_limit";
const TIME_LIMIT: &str = "time";
const OVERLOAD: &str = "overload";
const FAILURE: &str = "inspection_failure";
/// Inspection's own name for the memory that it could not get.
const MEMORY: &str = weir_inspect::OverLimit::Memory.as_str();

/// Whether inspection saw all there was. Without a report it failed. Of several limits one that blocks counts, otherwise
/// the first.
pub fn shortened(
    report: Option<&Report<'_>>,
    cut: BodyCut,
    settings: &DetectionSettings,
    location: &LocationSettings,
) -> Option<Shortened> {
    let Some(report) = report else {
        return Some(Shortened { limit: FAILURE, then: location.inspection_failure });
    };
    let has_no_memory = report.over_limits.contains(weir_inspect::OverLimit::Memory);
    let of_inspection = report.over_limit.filter(|limit| *limit != weir_inspect::OverLimit::Memory);
    let all = [
        has_no_memory.then_some(Shortened { limit: MEMORY, then: location.inspection_failure }),
        cut.overloaded.then_some(Shortened { limit: OVERLOAD, then: location.overload }),
        of_inspection.map(|limit| Shortened { limit: limit.as_str(), then: settings.over_time_limit }),
        cut.over_limit.then_some(Shortened { limit: BODY_LIMIT, then: settings.over_body_limit }),
    ];
    let all = || all.iter().flatten().copied();
    all().find(|shortened| shortened.then == OverLimit::Block).or_else(|| all().next())
}

/// What inspection saw of a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodySeen {
    /// All its bytes, as far as they are known: what came in, or what its length is said to be.
    pub bytes: u64,
    /// Why not all of it was there to be inspected.
    pub cut: BodyCut,
}

/// The verdict on a request whose body is known to have so many bytes, if a rule allows less and blocks it for that.
pub fn too_large_a_body(
    snapshot: &Snapshot,
    resolution: &Resolution,
    active: &Active,
    bytes: u64,
) -> Option<Verdict> {
    let blocks = |action| match action {
        UploadAction::Block => true,
        UploadAction::Inherited => snapshot.policy.verdict(resolution, Finding::OverLimitBlock).block,
        UploadAction::Monitoring | UploadAction::Off => false,
    };
    let mut sizes = active.body_sizes(&snapshot.rules);
    let blocks = sizes.any(|(_, size)| bytes > size.limit && blocks(size.action));
    blocks.then_some(Verdict { block: true, reason: Reason::OverLimit, record: true })
}

/// Inspects a request under the rules that hold for it. `body` is about what `view` holds the first part of.
pub fn inspect<'i>(
    inspector: &'i mut Inspector,
    snapshot: &Snapshot,
    active: &Active,
    view: &RequestView<'_>,
    body: BodySeen,
    trace: bool,
) -> Report<'i> {
    let started = Instant::now();
    let time_limit = active.settings(&snapshot.detection).time_limit;
    let mut time_is_up = || started.elapsed() >= time_limit;
    let unseen = body.bytes.saturating_sub(view.body.len() as u64);
    // A trace is told even where no rule holds.
    let applied = if trace {
        Some(Applied { trace, ..active.all_applied(&snapshot.rules, unseen) })
    } else {
        active.applied(&snapshot.rules, unseen)
    };
    let Some(applied) = applied else {
        return inspector.inspect_within(&snapshot.engine, view, &mut time_is_up);
    };
    if !active.has_unsure_segments() {
        return inspector.inspect_applying(&snapshot.engine, view, applied, &mut time_is_up);
    }
    let mut readings = PathReadings::default();
    let others = snapshot.http.ambiguous_path.compares_readings();
    let path_readings: Vec<&[u8]> = readings.forms(view.path, others).collect();
    let applied = Applied { path_readings: &path_readings, ..applied };
    inspector.inspect_applying(&snapshot.engine, view, applied, &mut time_is_up)
}

/// What an inspection comes to.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// The limit that cut it short.
    pub shortened: Option<Shortened>,
    /// What happens.
    pub verdict: Verdict,
}

fn hits_of<'r>(report: Option<&Report<'r>>) -> &'r [RuleHit] {
    report.map_or(&[], |report| report.hits)
}

/// What a report means for a request to a place with the settings `location` (spec S1.8). Without a report inspection failed.
pub fn judge(
    snapshot: &Snapshot,
    resolution: &Resolution,
    location: &LocationSettings,
    active: &Active,
    report: Option<&Report<'_>>,
    body: BodySeen,
) -> Judged {
    let settings = active.settings(&snapshot.detection);
    let shortened = shortened(report, body.cut, &settings, location);
    let hits = hits_of(report);
    let upload = active.upload_action(&snapshot.rules, hits, body);
    let limits = match (shortened.map(|shortened| shortened.then), upload) {
        (Some(OverLimit::Block), _) | (_, Some(UploadAction::Inherited)) => Finding::OverLimitBlock,
        (Some(OverLimit::Pass), _) | (_, Some(UploadAction::Monitoring | UploadAction::Block)) => {
            Finding::OverLimitPass
        }
        (None, Some(UploadAction::Off) | None) => Finding::None,
    };
    let finding = if hits.iter().any(|hit| hit.what == HitKind::Patched) {
        Finding::VirtualPatch
    } else if report.is_some_and(|report| report.attack) {
        Finding::Attack
    } else {
        limits
    };
    let mut verdict = snapshot.policy.verdict(resolution, finding);
    if upload == Some(UploadAction::Block) && !verdict.block {
        verdict = Verdict { block: true, reason: Reason::OverLimit, record: true };
    }
    Judged { shortened, verdict }
}

/// The verdict on a request that a rate limit refuses: it is recorded only if it carries signs of an attack (spec S4.1).
pub fn refused_for_rate(report: Option<&Report<'_>>) -> Verdict {
    let has_signs = report.is_some_and(|report| report.attack || !report.findings.is_empty())
        || hits_of(report).iter().any(|hit| hit.what == HitKind::Patched);
    Verdict { block: true, reason: Reason::RateLimit, record: has_signs }
}

/// What all events of a request have in common.
pub struct EventContext<'a> {
    /// The request's identifier.
    pub request_id: &'a [u8; 32],
    /// Now.
    pub unix_nanos: u64,
    /// The client as trusted proxies tell it.
    pub client_ip: IpAddr,
    /// The generation that decided.
    pub snapshot: &'a Snapshot,
    /// What the policy said.
    pub resolution: &'a Resolution,
    /// What the strictest reading of its path alone comes to, where readings lead to several locations.
    pub strictest: Option<&'a Resolution>,
    /// The rules beside that of the mode that hold.
    pub active: &'a Active,
    /// The request.
    pub head: &'a RequestHead,
    /// The bytes that the head points into.
    pub bytes: &'a [u8],
}

impl EventContext<'_> {
    /// What the list entry that holds the client is about.
    fn list_source(&self) -> Option<&'static str> {
        self.resolution.list?;
        let client = self.snapshot.client(self.client_ip);
        let now = self.unix_nanos / 1_000_000_000;
        let resolution = self.strictest.unwrap_or(self.resolution);
        Some(self.snapshot.policy.list_match(&client, resolution, now)?.source)
    }

    /// Whether the client is on its list by address or network, and not for what is known of its address.
    pub fn is_listed_by_address(&self) -> bool {
        self.list_source() == Some("address")
    }

    fn event(&self, reason: Reason, action: Option<AttackAction>) -> Event {
        let resolution = self.resolution;
        let rules = &self.snapshot.rules;
        let server = self.snapshot.server_names.get(resolution.server.0 as usize);
        let (mode_source, mode_rule_id) = match resolution.mode_source {
            ModeSource::Local => ("local", None),
            ModeSource::Rule(id) => ("rule", Some(id)),
            ModeSource::General => ("general", None),
        };
        let list_source = self.list_source();
        Event {
            unix_nanos: self.unix_nanos,
            request_id: *self.request_id,
            client_ip: self.client_ip,
            server: server.cloned(),
            application: resolution.application,
            method: EventText::method(self.head.method(self.bytes)),
            host: EventText::host(self.active.masked_header(rules, "host", self.head.host(self.bytes))),
            path: EventText::path(&self.active.masked_path(rules, self.head.path(self.bytes))),
            attack: None,
            mode: Some(resolution.mode.as_str()),
            mode_source: Some(mode_source),
            mode_rule_id,
            decided_by: None,
            list: resolution.list.map(|list| list.as_str()),
            list_source,
            action,
            reason: reason.as_str(),
            status: None,
            refusal: None,
            origin_error: None,
        }
    }
}

fn action(verdict: Verdict) -> AttackAction {
    if verdict.block { AttackAction::Blocked } else { AttackAction::Monitored }
}

/// Adds the events of an inspected request: one for each attack class (spec S4.3), or one for the limit that
/// was reached. What experimental detectors found is recorded whatever the verdict is. `decided_by` is the rate limit that
/// refused the request.
pub fn record(
    context: &EventContext<'_>,
    report: Option<&Report<'_>>,
    judged: Judged,
    body: BodySeen,
    decided_by: Option<u64>,
    events: &mut Vec<Event>,
) {
    let Judged { shortened, verdict } = judged;
    let rules = &context.snapshot.rules;
    let hits = hits_of(report);
    if !verdict.record {
        let mut experimental = context.active.experimental_details(rules, hits).peekable();
        if experimental.peek().is_some() {
            let event = context.event(Reason::None, Some(AttackAction::Monitored));
            events.extend(event.for_attacks(experimental));
        }
        return;
    }
    let mut event = context.event(verdict.reason, Some(action(verdict)));
    event.decided_by = decided_by.or_else(|| context.active.decided_by(rules, hits, verdict.reason));
    let found = report.map_or(&[][..], |report| report.findings).iter().map(|finding| {
        let mut detail =
            AttackDetail::new(finding.class.as_str(), finding.point.as_bytes(), &finding.payload);
        detail.add_signature(Arc::clone(&finding.signature));
        detail
    });
    let limit =
        shortened.map(|shortened| AttackDetail::new("overlimit_res", shortened.limit.as_bytes(), b""));
    let of_rules = context.active.details(rules, hits, body);
    events.extend(event.for_attacks(found.chain(of_rules).chain(limit)));
}

/// The event of a request that was refused behind a sound head: for its body, its path or its slowness.
pub fn refusal_event(context: &EventContext<'_>, refusal: ProtocolRefusal, status: Option<u16>) -> Event {
    Event { refusal: Some(refusal), status, ..context.event(Reason::Protocol, Some(AttackAction::Blocked)) }
}

/// The event of a request that was blocked for its source, without a look at its content.
pub fn access_event(context: &EventContext<'_>, verdict: Verdict) -> Event {
    let source = context.client_ip.to_string();
    Event {
        attack: Some(AttackDetail::new("blocked_source", b"client_ip", source.as_bytes())),
        ..context.event(verdict.reason, Some(action(verdict)))
    }
}

/// The event of a request that its origin could not serve.
pub fn origin_event(context: &EventContext<'_>, code: &'static str, detail: &str) -> Event {
    let location = context.resolution.location.0 as usize;
    let origin = &context.snapshot.origins[context.snapshot.locations[location].origin as usize];
    Event {
        origin_error: Some(OriginFailure::new(Arc::clone(&origin.name), code, detail)),
        ..context.event(Reason::None, None)
    }
}
