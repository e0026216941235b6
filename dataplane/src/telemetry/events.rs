//! Events: what happened to a request that an operator should hear about, and the ring that carries them.

use super::labels::AttackAction;
use base64::Engine as _;
use serde::Serialize as _;
use serde::ser::{SerializeMap, Serializer};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest kept `method`, in bytes.
pub const METHOD_LIMIT_BYTES: usize = 32;
/// Longest kept `host`, in bytes.
pub const HOST_LIMIT_BYTES: usize = 255;
/// Longest kept `path`, in bytes.
pub const PATH_LIMIT_BYTES: usize = 2_048;
/// Longest kept `point`, in bytes.
pub const POINT_LIMIT_BYTES: usize = 512;
/// Longest kept `payload`, in bytes.
pub const PAYLOAD_LIMIT_BYTES: usize = 1_024;
/// Longest kept detail of an origin's failure, in bytes.
pub const DETAIL_LIMIT_BYTES: usize = 512;
/// Most signatures that one event names.
pub const SIGNATURES_LIMIT: usize = 32;

/// Bytes from outside, cut to a limit. They need not be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventText {
    bytes: Box<[u8]>,
    truncated: bool,
}

impl EventText {
    /// Keeps at most `limit_bytes` of `bytes`; never cuts a UTF-8 character in two.
    pub fn new(bytes: &[u8], limit_bytes: usize) -> Self {
        if bytes.len() <= limit_bytes {
            return Self { bytes: bytes.into(), truncated: false };
        }
        // A character has at most three continuation bytes; if there are more the text isn't UTF-8 anyway.
        let is_continuation = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
        let start = (limit_bytes.saturating_sub(3)..=limit_bytes).rev().find(|at| !is_continuation(*at));
        Self { bytes: bytes[..start.unwrap_or(limit_bytes)].into(), truncated: true }
    }

    /// A method, cut to [`METHOD_LIMIT_BYTES`].
    pub fn method(bytes: &[u8]) -> Self {
        Self::new(bytes, METHOD_LIMIT_BYTES)
    }

    /// A host, cut to [`HOST_LIMIT_BYTES`].
    pub fn host(bytes: &[u8]) -> Self {
        Self::new(bytes, HOST_LIMIT_BYTES)
    }

    /// A path, cut to [`PATH_LIMIT_BYTES`].
    pub fn path(bytes: &[u8]) -> Self {
        Self::new(bytes, PATH_LIMIT_BYTES)
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether something was cut off.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Writes `name` as text; if the bytes are not UTF-8, with U+FFFD in place of what isn't, and then the exact
    /// bytes as `name_base64` beside it.
    fn write<M: SerializeMap>(&self, map: &mut M, name: &str) -> Result<(), M::Error> {
        if let Ok(text) = std::str::from_utf8(&self.bytes) {
            return map.serialize_entry(name, text);
        }
        map.serialize_entry(name, &String::from_utf8_lossy(&self.bytes))?;
        let exact = base64::engine::general_purpose::STANDARD.encode(&self.bytes);
        map.serialize_entry(&format!("{name}_base64"), &exact)
    }
}

/// One attack class in one request (spec S4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttackDetail {
    /// The class's code (spec S4.4): `sqli`, `xss`, ... or `blocked_source` for a denylisted source.
    pub class: &'static str,
    /// Where it was found: `query.id`, `header.user-agent`, decoders as suffixes.
    pub point: EventText,
    /// The evidence with its context.
    pub payload: EventText,
    /// Ids of the signatures that matched.
    pub signatures: Vec<Arc<str>>,
    /// Ids of the rules that found it, or that say what happens.
    pub rules: Vec<u64>,
    /// Found by experimental detectors alone: it has no consequence.
    pub experimental: bool,
}

impl AttackDetail {
    /// A finding without signatures, its texts cut to [`POINT_LIMIT_BYTES`] and [`PAYLOAD_LIMIT_BYTES`].
    pub fn new(class: &'static str, point: &[u8], payload: &[u8]) -> Self {
        Self {
            class,
            point: EventText::new(point, POINT_LIMIT_BYTES),
            payload: EventText::new(payload, PAYLOAD_LIMIT_BYTES),
            signatures: Vec::new(),
            rules: Vec::new(),
            experimental: false,
        }
    }

    /// Adds a rule's id; beyond [`SIGNATURES_LIMIT`], and if it is there already, nothing happens.
    pub fn add_rule(&mut self, id: u64) {
        if self.rules.len() < SIGNATURES_LIMIT && !self.rules.contains(&id) {
            self.rules.push(id);
        }
    }

    /// Adds a signature's id; beyond [`SIGNATURES_LIMIT`], and if it is there already, nothing happens.
    pub fn add_signature(&mut self, id: Arc<str>) {
        if self.signatures.len() < SIGNATURES_LIMIT && !self.signatures.contains(&id) {
            self.signatures.push(id);
        }
    }
}

/// Why a request was refused for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolRefusal {
    /// Stable short code: `bare_lf`, `head_timeout`, ...
    pub code: &'static str,
    /// Refusals of the same worker that made no event since its last one that did.
    pub suppressed_before: u64,
}

/// Why an origin could not serve a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginFailure {
    /// The origin's name.
    pub origin: Arc<str>,
    /// Stable short code: `connect_refused`, `certificate_refused`, `wrong_name`, ...
    pub code: &'static str,
    /// A sentence for the operator.
    pub detail: EventText,
}

impl OriginFailure {
    /// A failure whose detail is cut to [`DETAIL_LIMIT_BYTES`].
    pub fn new(origin: Arc<str>, code: &'static str, detail: &str) -> Self {
        Self { origin, code, detail: EventText::new(detail.as_bytes(), DETAIL_LIMIT_BYTES) }
    }
}

/// One line of the event file. `docs/events.md` describes each field as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When the request came in: nanoseconds since 1970 UTC.
    pub unix_nanos: u64,
    /// The request's id: 32 hex digits, as in `X-Request-Id`.
    pub request_id: [u8; 32],
    /// The client as trusted proxies report it.
    pub client_ip: IpAddr,
    /// Name of the server; none for a request whose head was refused.
    pub server: Option<Arc<str>>,
    /// Number of the application, -1 if none is set.
    pub application: i64,
    /// The method, use [`EventText::method`].
    pub method: EventText,
    /// The effective host, use [`EventText::host`].
    pub host: EventText,
    /// The path as received, use [`EventText::path`].
    pub path: EventText,
    /// The attack class and its evidence, if there is one.
    pub attack: Option<AttackDetail>,
    /// The effective mode; none where no mode was resolved.
    pub mode: Option<&'static str>,
    /// Where the mode came from: `local`, `rule` or `general`.
    pub mode_source: Option<&'static str>,
    /// The rule that won, if the mode came from one.
    pub mode_rule_id: Option<u64>,
    /// The rule beside that of the mode that decided about the request, such as a virtual patch.
    pub decided_by: Option<u64>,
    /// The list that the source is on, if that list was read: `allow`, `deny`, `gray`.
    pub list: Option<&'static str>,
    /// What the entry of that list is about: `address`, `country`, `datacenter`, `proxy`.
    pub list_source: Option<&'static str>,
    /// What was done about it; none for events that record no attack and no block.
    pub action: Option<AttackAction>,
    /// Why: `none`, `attack`, `virtual_patch`, `deny_list`, `protocol`, `over_limit`, `rate_limit`.
    pub reason: &'static str,
    /// Status of the answer to the client; none if there was no answer.
    pub status: Option<u16>,
    /// What was wrong with a request that was refused as such.
    pub refusal: Option<ProtocolRefusal>,
    /// Why the origin could not serve the request, for 502, 503 and 504.
    pub origin_error: Option<OriginFailure>,
}

impl Event {
    /// One event for each class among `findings`, those of experimental detectors apart: the point and payload of the
    /// class's first finding, the signatures and rules of all. Without findings the event stays alone.
    pub fn for_attacks(self, findings: impl IntoIterator<Item = AttackDetail>) -> Vec<Self> {
        let mut classes: Vec<AttackDetail> = Vec::new();
        for finding in findings {
            let same = |known: &&mut AttackDetail| {
                known.class == finding.class && known.experimental == finding.experimental
            };
            match classes.iter_mut().find(same) {
                Some(known) => {
                    finding.signatures.into_iter().for_each(|id| known.add_signature(id));
                    finding.rules.into_iter().for_each(|id| known.add_rule(id));
                }
                None => classes.push(finding),
            }
        }
        if classes.is_empty() {
            return vec![self];
        }
        classes.into_iter().map(|attack| Self { attack: Some(attack), ..self.clone() }).collect()
    }

    /// The rule that the event is due to: the one that found the attack or decided about the request, or else the one
    /// that the mode came from.
    fn rule_id(&self) -> Option<u64> {
        let found = self.attack.as_ref().and_then(|attack| attack.rules.first().copied());
        found.or(self.decided_by).or(self.mode_rule_id)
    }

    fn truncated_fields(&self) -> Vec<&'static str> {
        let attack = self.attack.as_ref();
        let fields = [
            ("method", Some(&self.method)),
            ("host", Some(&self.host)),
            ("path", Some(&self.path)),
            ("point", attack.map(|attack| &attack.point)),
            ("payload", attack.map(|attack| &attack.payload)),
        ];
        let cut = fields.into_iter().filter(|(_, text)| text.is_some_and(EventText::is_truncated));
        cut.map(|(name, _)| name).collect()
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(crate) fn rfc3339_milliseconds(unix_nanos: u64) -> String {
    // Only times outside jiff's range (after the year 9999) fail; u64 nanoseconds end in 2554.
    let time = jiff::Timestamp::from_nanosecond(i128::from(unix_nanos)).unwrap_or_default();
    format!("{time:.3}")
}

impl serde::Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &rfc3339_milliseconds(self.unix_nanos))?;
        map.serialize_entry("request_id", &String::from_utf8_lossy(&self.request_id))?;
        map.serialize_entry("client_ip", &self.client_ip)?;
        map.serialize_entry("server", &self.server.as_deref())?;
        map.serialize_entry("application", &self.application)?;
        self.method.write(&mut map, "method")?;
        self.host.write(&mut map, "host")?;
        self.path.write(&mut map, "path")?;
        match &self.attack {
            Some(attack) => {
                map.serialize_entry("attack_class", attack.class)?;
                attack.point.write(&mut map, "point")?;
                attack.payload.write(&mut map, "payload")?;
                let signatures: Vec<&str> = attack.signatures.iter().map(AsRef::as_ref).collect();
                map.serialize_entry("signatures", &signatures)?;
            }
            None => {
                for name in ["attack_class", "point", "payload"] {
                    map.serialize_entry(name, &None::<&str>)?;
                }
                map.serialize_entry("signatures", &[(); 0])?;
            }
        }
        map.serialize_entry("mode", &self.mode)?;
        map.serialize_entry("mode_source", &self.mode_source)?;
        map.serialize_entry("rule_id", &self.rule_id())?;
        map.serialize_entry("mode_rule_id", &self.mode_rule_id)?;
        let rules = self.attack.as_ref().map_or(&[][..], |attack| &attack.rules);
        map.serialize_entry("rules", rules)?;
        map.serialize_entry("experimental", &self.attack.as_ref().is_some_and(|attack| attack.experimental))?;
        map.serialize_entry("list", &self.list)?;
        map.serialize_entry("list_source", &self.list_source)?;
        map.serialize_entry("action", &self.action.map(AttackAction::as_str))?;
        map.serialize_entry("reason", self.reason)?;
        map.serialize_entry("status", &self.status)?;
        if let Some(refusal) = &self.refusal {
            map.serialize_entry("code", refusal.code)?;
            if refusal.suppressed_before > 0 {
                map.serialize_entry("suppressed_before", &refusal.suppressed_before)?;
            }
        }
        if let Some(failure) = &self.origin_error {
            map.serialize_entry("origin", &*failure.origin)?;
            map.serialize_entry("origin_error", failure.code)?;
            failure.detail.write(&mut map, "origin_error_detail")?;
        }
        let truncated = self.truncated_fields();
        if !truncated.is_empty() {
            map.serialize_entry("truncated", &truncated)?;
        }
        map.end()
    }
}

impl Event {
    /// Appends the event as one line of JSON.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Neither a Vec nor this type's own serialisation fails; a half line must not stay in any case.
        match self.serialize(&mut serde_json::Serializer::new(&mut *out)) {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(start),
        }
    }
}

/// A bounded queue from one worker to the event writer.
pub fn event_queue(capacity_events: usize) -> (EventSender, EventReceiver) {
    let (producer, consumer) = rtrb::RingBuffer::new(capacity_events);
    let dropped = Arc::new(AtomicU64::new(0));
    (EventSender { producer, dropped: Arc::clone(&dropped) }, EventReceiver { consumer, dropped })
}

/// The worker's end of its queue.
#[derive(Debug)]
pub struct EventSender {
    producer: rtrb::Producer<Box<Event>>,
    dropped: Arc<AtomicU64>,
}

impl EventSender {
    /// Hands an event over; never waits. `false`: the queue is full, the event is lost, and the loss is counted
    /// (as `weir_events_dropped_total`; the caller need not count it again).
    pub fn send(&mut self, event: Event) -> bool {
        let sent = self.producer.push(Box::new(event)).is_ok();
        if !sent {
            // The only writer of this counter is the owner of the sender.
            self.dropped.store(self.dropped.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
        sent
    }
}

/// The writer's end of a worker's queue.
#[derive(Debug)]
pub struct EventReceiver {
    consumer: rtrb::Consumer<Box<Event>>,
    dropped: Arc<AtomicU64>,
}

impl EventReceiver {
    /// The oldest event, if there is one.
    pub fn receive(&mut self) -> Option<Box<Event>> {
        self.consumer.pop().ok()
    }

    /// How many events were lost because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether the worker is gone and nothing more will come.
    pub fn is_finished(&self) -> bool {
        // In this order: what was pushed before the sender went away is seen as not empty.
        self.consumer.is_abandoned() && self.consumer.is_empty()
    }
}
