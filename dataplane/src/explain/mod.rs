//! What would happen to a request, without a network: the same parser, policy, inspection and verdict as on the
//! data path, and the reasons for each.

mod described;
mod effects;
mod listener;
mod nominations;
mod text;

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use weir_inspect::{Inspector, Nominated, RequestView};
use weir_policy::{
    CoveringEntry, Finding, GeneralMode, ListMatch, ModeSource, RequestFacts, Resolution, RuleMode, Scratch,
    Stage, Verdict,
};

pub use described::{Described, DescriptionError, DescriptionErrors, Parts};
pub use effects::RuleEffect;
use effects::{COUNTS, effects, overruled_headers, rate_effects};

use crate::decision::{self, BodyCut, BodySeen, HeaderList, Shortened};
use crate::http::{BodyFraming, ChunkLimits, ChunkedDecoder, PathReadings, Progress, RequestHead};
use crate::io::ListenerId;
use crate::placement;
use crate::rules::{Active, RateKeyParts};
use crate::snapshot::{API, LocationSettings, Snapshot};
use crate::text::rfc3339;

/// Explains requests by a snapshot. Reused from request to request, as a worker would.
pub struct Explainer<'s> {
    snapshot: &'s Snapshot,
    inspector: Inspector,
    head: RequestHead,
    scratch: Scratch,
    active: Active,
}

/// A request that came in.
struct Received<'a> {
    head: &'a RequestHead,
    /// The bytes of the head.
    bytes: &'a [u8],
    /// Its body, without framing.
    body: &'a [u8],
    headers: &'a HeaderList<'a>,
    client: IpAddr,
    listener: ListenerId,
}

/// What was found out about a request.
#[derive(Clone, Debug)]
pub enum Explanation {
    /// It isn't sound HTTP: every mode refuses it, and an event tells of it (at a bounded rate, unless refusals have none).
    Refused {
        /// Status of the answer.
        status: u16,
        /// Stable short code.
        code: String,
        /// A sentence.
        detail: String,
    },
    /// It was understood.
    Decided(Box<Decided>),
}

/// Everything about a request that was understood.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The policy's part.
    pub policy: weir_policy::Explanation,
    /// The path that an origin may read and that decided, where it isn't the path as received.
    pub read_as: Option<String>,
    /// The client that it was judged by.
    pub client: IpAddr,
    /// Name of the listener that it came in by.
    pub listener: String,
    /// `https` if that listener speaks TLS, else `http`.
    pub scheme: &'static str,
    /// Name of the origin that it would go to.
    pub origin: String,
    /// What inspection found; empty where nothing was inspected.
    pub findings: Vec<weir_inspect::Finding>,
    /// What patterns nominated, confirmed or not; at most 256.
    pub nominations: Vec<Nominated>,
    /// The score from which on a class is an attack.
    pub min_score: u32,
    /// What rules beside that of the mode found and did.
    pub effects: Vec<RuleEffect>,
    /// The path as conditions see it, without what masks hide.
    pub path: String,
    /// The limit that cut inspection short.
    pub shortened: Option<Shortened>,
    /// Whether it was inspected at all.
    pub inspected: bool,
    /// The end of it.
    pub verdict: Verdict,
    /// Whether an event is written.
    pub recorded: bool,
    /// There are other listeners.
    has_other_listeners: bool,
    /// Where the rules that match are written, in the order of the policy's part; then the general mode's place.
    written: Vec<Option<(&'static str, String)>>,
}

impl<'s> Explainer<'s> {
    /// An explainer for `snapshot`.
    ///
    /// # Errors
    /// If the inspector's memory can't be had.
    pub fn new(snapshot: &'s Snapshot) -> Result<Self, String> {
        let inspector = snapshot.engine.inspector().map_err(|error| error.to_string())?;
        let (head, scratch, active) = (RequestHead::default(), Scratch::default(), Active::default());
        Ok(Self { snapshot, inspector, head, scratch, active })
    }

    /// Says what would happen to `request`.
    ///
    /// # Errors
    /// It names a listener that isn't there.
    pub fn explain(&mut self, request: &Described) -> Result<Explanation, DescriptionErrors> {
        let listener = listener::of(self.snapshot, request)?;
        let mut head = std::mem::take(&mut self.head);
        let explanation = self.explain_at(request, listener, &mut head);
        self.head = head;
        Ok(explanation)
    }

    fn explain_at(
        &mut self,
        request: &Described,
        listener: ListenerId,
        head: &mut RequestHead,
    ) -> Explanation {
        head.clear();
        let bytes = &request.bytes;
        let consumed = match head.parse(bytes, &self.snapshot.connection(listener).head) {
            Ok(Progress::Complete { consumed }) => consumed,
            Ok(Progress::Incomplete) => {
                return refused(400, "incomplete_head", "the head has no end (an empty line)");
            }
            Err(error) => return refused(error.status, error.code, error.detail),
        };
        let body = match body_of(head.framing(), &bytes[consumed..]) {
            Ok(body) => body,
            Err((code, detail)) => return refused(400, code, detail),
        };
        let bytes = &bytes[..consumed];
        let headers: HeaderList<'_> = head.headers(bytes).collect();
        let client = self.snapshot.client_address(request.client, &headers);
        self.decide(&Received { head, bytes, body: &body, headers: &headers, client, listener })
    }

    fn decide(&mut self, request: &Received<'_>) -> Explanation {
        let snapshot = self.snapshot;
        let known = snapshot.client(request.client);
        // No certificate was presented: what the request says of one isn't what rules see.
        let mut judged = HeaderList::new();
        decision::judged_headers(request.head, request.bytes, None, &mut judged);
        let scheme = listener::scheme(snapshot, request.listener);
        let facts = decision::facts(request.head, request.bytes, scheme.as_bytes(), &judged);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut readings = PathReadings::default();
        let setting = snapshot.http.ambiguous_path;
        let scratch = &mut self.scratch;
        let placement =
            placement::place(&snapshot.policy, setting, scratch, &mut readings, &facts, &known, now);
        self.active.fill(&snapshot.rules, &snapshot.policy.effects(&self.scratch));
        self.active.divides_differently(placement.divides_differently);
        if placement.refused {
            let detail = "servers may take the path to different places, and ambiguous_path refuses that";
            return refused(400, "ambiguous_path", detail);
        }
        let others = if setting.compares_readings() { readings.of(facts.path) } else { &[] };
        let policy = snapshot.policy.explain_readings(&facts, others, &known, now);
        let read_as = placement.read_as.map(|number| self.shown_path(readings.get(number)));
        let location = policy.resolution.location;
        let shared = placement.shared_place(snapshot, request.listener);
        let own = &snapshot.locations[location.0 as usize];
        let settings = shared.as_ref().map_or(own, |shared| &shared.settings);
        let own_limits = snapshot.request_limits(request.listener, location);
        let limits = shared.as_ref().map(|shared| &shared.limits).or(own_limits);
        let body_limit = limits.and_then(|limits| limits.request_body_bytes);
        if body_limit.is_some_and(|limit| request.body.len() as u64 > limit) {
            return refused(413, "request_body_too_long", "the body is longer than request_body_bytes");
        }
        let mut decided = self.before_inspection(request, policy, read_as, settings);
        if decided.inspected {
            self.inspect(request, &facts, settings, &mut decided);
        }
        Explanation::Decided(Box::new(decided))
    }

    /// What is known of a request that nobody has looked into.
    fn before_inspection(
        &self,
        request: &Received<'_>,
        policy: weir_policy::Explanation,
        read_as: Option<String>,
        settings: &LocationSettings,
    ) -> Decided {
        let snapshot = self.snapshot;
        let places = &snapshot.rule_places;
        let of_rules = policy.rules.iter().map(|rule| places.rule(rule.index));
        let written = of_rules.chain([places.general_mode()]);
        let written = written.map(|one| one.map(|one| (one.source, one.place.to_string()))).collect();
        let verdict = snapshot.policy.verdict(&policy.resolution, Finding::None);
        Decided {
            read_as,
            client: request.client,
            listener: listener::name(snapshot, request.listener),
            scheme: listener::scheme(snapshot, request.listener),
            has_other_listeners: snapshot.listeners.len() > 1,
            origin: snapshot.origins[settings.origin as usize].name.to_string(),
            findings: Vec::new(),
            nominations: Vec::new(),
            min_score: snapshot.engine.options().min_score,
            effects: Vec::new(),
            path: self.shown_path(policy.normalised_path.as_bytes()),
            shortened: None,
            inspected: matches!(policy.resolution.stage, Stage::Inspect { .. }),
            verdict,
            recorded: verdict.record,
            written,
            policy,
        }
    }

    /// Looks into the request, and notes what comes of it.
    fn inspect(
        &mut self,
        request: &Received<'_>,
        facts: &RequestFacts<'_>,
        settings: &LocationSettings,
        decided: &mut Decided,
    ) {
        let snapshot = self.snapshot;
        let resolution = decided.policy.resolution;
        let (body, seen, complete) = self.seen_of_body(request, &resolution, settings);
        let view = decision::view(request.head, request.bytes, request.headers, body, complete);
        let parts = RateKeyParts {
            client: request.client,
            application: resolution.application,
            method: facts.method,
            scheme: facts.scheme,
            proto: facts.proto,
            path: facts.path,
            query: facts.query,
            path_has_readings: snapshot.http.ambiguous_path.compares_readings(),
        };
        decided.effects = rate_effects(snapshot, &self.active, &mut self.inspector, &view, &parts);
        decided.settle_rates();
        let report = decision::inspect(&mut self.inspector, snapshot, &self.active, &view, seen, true);
        let judged = decision::judge(snapshot, &resolution, settings, &self.active, Some(&report), seen);
        let overruled = overruled_headers(snapshot, &self.active);
        decided.effects.extend(effects(snapshot, &self.active, report.hits, seen, &overruled));
        decided.settle_headers(&overruled);
        decided.findings = report.findings.to_vec();
        decided.nominations = report.nominations.to_vec();
        (decided.shortened, decided.verdict) = (judged.shortened, judged.verdict);
        // what experimental detectors find is recorded whatever the verdict is
        let mut experimental = self.active.experimental_details(&snapshot.rules, report.hits);
        decided.recorded = judged.verdict.record || experimental.next().is_some();
    }

    /// The part of the body that is inspected, what is known of all of it, and whether the part is all.
    fn seen_of_body<'b>(
        &mut self,
        request: &Received<'b>,
        resolution: &Resolution,
        settings: &LocationSettings,
    ) -> (&'b [u8], BodySeen, bool) {
        let body = request.body;
        if !body.is_empty() {
            let head = decision::view(request.head, request.bytes, request.headers, &[], false);
            let place = (self.snapshot, resolution, settings);
            let framing = request.head.framing();
            let bytes = body.len() as u64;
            let early = decided_by_head(place, &self.active, &mut self.inspector, &head, framing, bytes);
            if let Some(early) = early {
                return (&[], early, false);
            }
        }
        let limit = self.snapshot.detection.body_limit_bytes;
        let cut = BodyCut { over_limit: body.len() > limit, overloaded: false };
        let whole = BodySeen { bytes: body.len() as u64, cut };
        (&body[..body.len().min(limit)], whole, !cut.over_limit)
    }

    /// A path without what masks hide.
    fn shown_path(&self, path: &[u8]) -> String {
        String::from_utf8_lossy(&self.active.masked_path(&self.snapshot.rules, path)).into_owned()
    }
}

/// What is seen of the body of a request that is blocked before it is read: for its size, or, where it would stream to the
/// origin, for what a virtual patch finds in the head. None where the body is read.
fn decided_by_head(
    (snapshot, resolution, settings): (&Snapshot, &Resolution, &LocationSettings),
    active: &Active,
    inspector: &mut Inspector,
    head: &RequestView<'_>,
    framing: BodyFraming,
    bytes: u64,
) -> Option<BodySeen> {
    let of_bytes = |bytes| BodySeen { bytes, ..BodySeen::default() };
    let is_too_large = decision::too_large_a_body(snapshot, resolution, active, bytes).is_some();
    let is_length = matches!(framing, BodyFraming::Length(_));
    if is_length && is_too_large {
        return Some(of_bytes(bytes));
    }
    let streams = matches!(resolution.stage, Stage::Inspect { hold: false }) && !active.holds_body();
    if streams && active.looks_at_head_first() {
        let seen = of_bytes(if is_length { bytes } else { 0 });
        let report = decision::inspect(inspector, snapshot, active, head, seen, false);
        let judged = decision::judge(snapshot, resolution, settings, active, Some(&report), seen);
        if judged.verdict.block {
            return Some(seen);
        }
    }
    // in chunks, that shows as soon as too much has come in
    is_too_large.then(|| of_bytes(bytes))
}

fn refused(status: u16, code: &str, detail: &str) -> Explanation {
    Explanation::Refused { status, code: code.to_owned(), detail: detail.to_owned() }
}

/// The body behind a head, its framing removed.
fn body_of(framing: BodyFraming, bytes: &[u8]) -> Result<Vec<u8>, (&'static str, &'static str)> {
    match framing {
        BodyFraming::None => Ok(Vec::new()),
        BodyFraming::Length(length) => usize::try_from(length)
            .ok()
            .and_then(|length| bytes.get(..length))
            .map(<[u8]>::to_vec)
            .ok_or(("incomplete_body", "the body is shorter than Content-Length says")),
        BodyFraming::Chunked => {
            let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
            let mut body = Vec::new();
            let mut used = 0;
            while used < bytes.len() {
                let chunk = decoder.decode(&bytes[used..]).map_err(|error| (error.code, error.detail))?;
                body.extend_from_slice(&bytes[used..][chunk.data.clone()]);
                used += chunk.consumed;
                if chunk.finished {
                    return Ok(body);
                }
            }
            Err(("incomplete_body", "the last chunk is missing"))
        }
    }
}

impl Explanation {
    /// The object that `weir explain --json` prints.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Refused { status, code, detail } => json!({
                "server": null, "server_by": null, "location": null, "application": null, "origin": null,
                "local_mode": null, "mode_allow_override": null, "rules": [],
                "mode": null, "mode_from": null, "list": null, "findings": [], "nominations": [], "scores": {},
                "verdict": "block", "reason": "protocol", "recorded": true,
                "status": status, "code": code, "detail": detail,
            }),
            Self::Decided(decided) => decided.to_json(),
        }
    }
}

impl Decided {
    /// Of the rate limits that match one counts at most, which the policy alone can't tell.
    fn settle_rates(&mut self) {
        let counting = self.effects.iter().filter(|effect| effect.effect == COUNTS).count();
        for effect in &self.effects {
            let of_effect = self.policy.rules.iter_mut().find(|rule| rule.id == effect.rule);
            if let (Some(rule), Some(detail)) = (of_effect, &effect.detail) {
                rule.wins = effect.effect == COUNTS;
                rule.why = if rule.wins && counting > 1 {
                    "readings of the path differ over rate limits, so that each of them counts the request"
                        .to_owned()
                } else if rule.wins {
                    "of the rate limits that match and whose point is there it has the lowest rate".to_owned()
                } else {
                    format!("it matches, but {detail}")
                };
            }
        }
    }

    /// Of several changes of a header the last one that sets or deletes it counts, and what is appended behind that.
    fn settle_headers(&mut self, overruled: &[(u64, u64, String)]) {
        for (id, by, name) in overruled {
            if let Some(rule) = self.policy.rules.iter_mut().find(|rule| rule.id == *id) {
                rule.wins = false;
                rule.why =
                    format!("it matches, but rule {by} comes behind it and has the last word on `{name}`");
            }
        }
    }

    fn to_json(&self) -> Value {
        let policy = &self.policy;
        let shown = |id, kind, mode, wins, why: &str, written: Option<&(&str, String)>| {
            json!({
                "id": id, "type": kind, "mode": mode, "wins": wins, "why": why,
                "source": written.map_or("default", |(source, _)| source),
                "place": written.map(|(_, place)| place),
            })
        };
        let of_rules = policy.rules.iter().enumerate().map(|(at, rule)| {
            shown(Some(rule.id), rule.kind, rule.mode, rule.wins, &rule.why, self.written_at(at))
        });
        // It is no rule, but ranks as one.
        let general = self.told_general_mode().map(|(general, written)| {
            shown(None, "mode", Some(general.mode), general.wins, &general.why, written)
        });
        let rules: Vec<Value> = of_rules.chain(general).collect();
        let entries: Vec<Value> = policy.list_entries.iter().map(covering_entry_json).collect();
        json!({
            "server": policy.server,
            "server_by": policy.server_by,
            "location": policy.location,
            "application": policy.application,
            "origin": self.origin,
            "local_mode": {
                "value": policy.local_mode.value.as_str(),
                "from": policy.local_mode.from,
                "by_header": policy.local_mode_by_header,
            },
            "mode_allow_override": {
                "value": policy.mode_allow_override.value.as_str(),
                "from": policy.mode_allow_override.from,
            },
            "contexts": policy.contexts,
            "rules": rules,
            "mode": policy.mode.as_str(),
            "mode_from": mode_from(policy.mode_from),
            "list": policy.list.map(|list| list.as_str()),
            "list_entry": policy.list_entry.as_ref().map(list_entry_json),
            "list_entries": entries,
            "list_entry_count": policy.list_entry_count,
            "listener": self.listener,
            "scheme": self.scheme,
            "client": self.client.to_string(),
            "path": self.path,
            "read_as": self.read_as,
            "inspected": self.inspected,
            "findings": self.findings_json(),
            "nominations": nominations::to_json(&self.nominations),
            "scores": nominations::scores(&self.findings),
            "min_score": self.min_score,
            "effects": self.effects,
            "over_limit": self.shortened.map(|shortened| shortened.limit),
            "verdict": if self.verdict.block { "block" } else { "pass" },
            "reason": self.verdict.reason.as_str(),
            "recorded": self.recorded,
        })
    }
}

impl Decided {
    /// Where the rule at this place of the policy's part is written, and by whom.
    fn written_at(&self, at: usize) -> Option<&(&'static str, String)> {
        self.written.get(at)?.as_ref()
    }

    /// What becomes of the general mode and where it is written. One that is `default` says nothing, unless it takes the
    /// place of what the file says.
    fn told_general_mode(&self) -> Option<(&GeneralMode, Option<&(&'static str, String)>)> {
        let (general, written) = (&self.policy.general_mode, self.written_at(self.policy.rules.len()));
        let is_of_api = written.is_some_and(|(source, _)| *source == API);
        (general.mode != RuleMode::Default || is_of_api).then_some((general, written))
    }

    /// What signatures found, then what detectors of rules found.
    fn findings_json(&self) -> Vec<Value> {
        let of_rules = self.effects.iter().filter_map(RuleEffect::finding_json);
        self.findings.iter().map(finding_json).chain(of_rules).collect()
    }
}

fn list_entry_json(entry: &ListMatch) -> Value {
    let expires = entry.expires.and_then(rfc3339);
    let mut shown = json!({ "source": entry.source, "expires": expires, "reason": entry.reason });
    shown[entry.source] = json!(entry.name);
    shown
}

fn covering_entry_json(covering: &CoveringEntry) -> Value {
    let mut shown = list_entry_json(&covering.entry);
    shown["list"] = json!(covering.entry.list.as_str());
    shown["applications"] = json!(covering.applications);
    shown["wins"] = json!(covering.wins);
    shown["why"] = json!(covering.why);
    shown
}

fn finding_json(finding: &weir_inspect::Finding) -> Value {
    json!({
        "class": finding.class.as_str(),
        "point": finding.point,
        "payload": String::from_utf8_lossy(&finding.payload),
        "signature": &*finding.signature,
        "score": finding.score,
        "confirmed_by": finding.confirmed_by,
    })
}

/// Where the effective mode comes from, in words.
fn mode_from(source: ModeSource) -> String {
    match source {
        ModeSource::Local => "local".to_owned(),
        ModeSource::Rule(id) => format!("rule {id}"),
        ModeSource::General => "general".to_owned(),
    }
}
