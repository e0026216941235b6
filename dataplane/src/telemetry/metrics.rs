//! What one worker counts.

use super::codes::CodeCounters;
use super::counters::Counters;
use super::histogram::LatencyHistogram;
use super::labels::{
    AttackAction, BlockReason, ConnectionState, EjectionReason, HandshakeResult, Labels, Limit, MODES,
    UpstreamError, VerdictLabel,
};
use super::registry::Family;
use crate::io::IoCounters;
use std::sync::Arc;

/// The name under which an index that the labels don't know is counted. Its presence is a defect.
const UNKNOWN: &str = "unknown";

/// The counters of one worker under one generation of labels.
///
/// Shared with the control thread through an `Arc`; **only the worker's own thread may call the counting
/// methods** (two writers would lose counts). They take neither lock nor memory: an index calculation, a load and
/// a store. An index that is out of range is counted as `unknown` and never panics.
///
/// A new generation of the config with other names gets a new value through
/// [`super::MetricsRegistry::next_generation`]. Running requests may go on counting into the old one.
#[derive(Debug)]
pub struct WorkerMetrics {
    labels: Arc<Labels>,
    layout: Layout,
    cells: Counters,
    unlabelled: Arc<Unlabelled>,
}

/// What has no names from the config in it, and so outlives generations.
pub(crate) struct Unlabelled {
    plain: Counters,
    blocked: Counters,
    limits: Counters,
    client_handshakes: Counters,
    protocol_errors: CodeCounters,
    pub(crate) inspection: LatencyHistogram,
    pub(crate) request: LatencyHistogram,
}

impl Default for Unlabelled {
    fn default() -> Self {
        Self {
            plain: Counters::new(Plain::COUNT),
            blocked: Counters::new(BlockReason::COUNT),
            limits: Counters::new(Limit::COUNT),
            client_handshakes: Counters::new(HandshakeResult::COUNT),
            protocol_errors: CodeCounters::default(),
            inspection: LatencyHistogram::default(),
            request: LatencyHistogram::default(),
        }
    }
}

impl std::fmt::Debug for Unlabelled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlabelled").field("request", &self.request).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

/// Counters without any label.
#[derive(Clone, Copy)]
enum Plain {
    Connections,
    ConnectionsAccepted,
    ReceivedBytes,
    SentBytes,
    BlockedReceivedBytes,
    BlockedSentBytes,
    AllowListed,
    EventsSuppressed,
    RingEnters,
    ReceiveStarved,
    AcceptFailures,
}

impl Plain {
    const ALL: [(Self, Family); 11] = [
        (Self::Connections, Family::Connections),
        (Self::ConnectionsAccepted, Family::ConnectionsAccepted),
        (Self::ReceivedBytes, Family::ReceivedBytes),
        (Self::SentBytes, Family::SentBytes),
        (Self::BlockedReceivedBytes, Family::BlockedReceivedBytes),
        (Self::BlockedSentBytes, Family::BlockedSentBytes),
        (Self::AllowListed, Family::AllowListed),
        (Self::EventsSuppressed, Family::EventsSuppressed),
        (Self::RingEnters, Family::RingEnters),
        (Self::ReceiveStarved, Family::ReceiveStarved),
        (Self::AcceptFailures, Family::AcceptFailures),
    ];
    const COUNT: usize = Self::ALL.len();
}

/// Where each family of labelled counters starts in the flat table. Each named dimension has one place more than
/// there are names, for `unknown`.
#[derive(Debug, Default)]
struct Layout {
    attacks: usize,
    connections: usize,
    connections_opened: usize,
    connections_reused: usize,
    connections_warmed: usize,
    handshakes: usize,
    errors: usize,
    retries: usize,
    ejections: usize,
    panics: usize,
    length: usize,
}

impl Layout {
    fn of(labels: &Labels) -> Self {
        let servers = labels.servers.len() + 1;
        let origins = labels.origins.len() + 1;
        let mut layout = Self { length: servers * MODES.len() * VerdictLabel::COUNT, ..Self::default() };
        layout.attacks = layout.take((labels.attack_classes.len() + 1) * AttackAction::COUNT);
        layout.connections = layout.take(origins * ConnectionState::COUNT);
        layout.connections_opened = layout.take(origins);
        layout.connections_reused = layout.take(origins);
        layout.connections_warmed = layout.take(origins);
        layout.handshakes = layout.take(origins * HandshakeResult::COUNT);
        layout.errors = layout.take(origins * UpstreamError::COUNT);
        layout.retries = layout.take(origins);
        layout.ejections = layout.take(origins * EjectionReason::COUNT);
        layout.panics = layout.take(origins);
        layout
    }

    fn take(&mut self, places: usize) -> usize {
        let start = self.length;
        self.length += places;
        start
    }
}

/// The row of an index, or the last row (`unknown`).
#[inline]
fn row(index: u32, names: &[String]) -> usize {
    (index as usize).min(names.len())
}

impl WorkerMetrics {
    /// Counters at zero. A worker whose counts are to be exported gets its value from
    /// [`super::MetricsRegistry::add_worker`].
    pub fn new(labels: &Arc<Labels>) -> Self {
        Self::with_unlabelled(labels, Arc::default())
    }

    /// New labelled counters that share all others with an earlier generation of the same worker.
    pub(crate) fn with_unlabelled(labels: &Arc<Labels>, unlabelled: Arc<Unlabelled>) -> Self {
        let layout = Layout::of(labels);
        Self { labels: Arc::clone(labels), cells: Counters::new(layout.length), layout, unlabelled }
    }

    /// The names that the indexes of this value refer to.
    pub fn labels(&self) -> &Arc<Labels> {
        &self.labels
    }

    pub(crate) fn unlabelled(&self) -> &Arc<Unlabelled> {
        &self.unlabelled
    }

    /// A request got its verdict. `mode` is the effective mode's number, 0 to 3.
    #[inline]
    pub fn request(&self, server: u32, mode: u8, verdict: VerdictLabel) {
        let mode = usize::from(mode).min(MODES.len() - 1);
        let place = row(server, &self.labels.servers) * MODES.len() + mode;
        self.cells.add(place * VerdictLabel::COUNT + verdict as usize, 1);
    }

    /// One attack class was found in a request (a request with several classes counts once for each).
    #[inline]
    pub fn attack(&self, class: u32, action: AttackAction) {
        let place = row(class, &self.labels.attack_classes) * AttackAction::COUNT + action as usize;
        self.cells.add(self.layout.attacks + place, 1);
    }

    /// A request was blocked.
    #[inline]
    pub fn blocked(&self, reason: BlockReason) {
        self.unlabelled.blocked.add(reason as usize, 1);
    }

    /// The bytes of a blocked request: received from the client, and sent to it as the answer.
    #[inline]
    pub fn blocked_bytes(&self, received: u64, sent: u64) {
        self.plain(Plain::BlockedReceivedBytes, received);
        self.plain(Plain::BlockedSentBytes, sent);
    }

    /// A request passed without checks because its source is on the allowlist.
    #[inline]
    pub fn allow_listed(&self) {
        self.plain(Plain::AllowListed, 1);
    }

    /// A request was refused without an event, because there were too many.
    #[inline]
    pub fn event_suppressed(&self) {
        self.plain(Plain::EventsSuppressed, 1);
    }

    /// A message was refused as bad HTTP: the status of our answer, and the stable code of the reason.
    #[inline]
    pub fn protocol_error(&self, status: u16, code: &'static str) {
        self.unlabelled.protocol_errors.count(status, code);
    }

    /// A connection to an origin is being opened: it is `connecting` from now on.
    #[inline]
    pub fn upstream_connection_opened(&self, origin: u32) {
        self.cells.add(self.layout.connections_opened + self.origin(origin), 1);
        self.connection_enters(origin, ConnectionState::Connecting);
    }

    /// A connection is ready (TCP and TLS done) and takes its first request: `connecting` becomes `active`.
    #[inline]
    pub fn upstream_connection_ready(&self, origin: u32) {
        self.connection_leaves(origin, ConnectionState::Connecting);
        self.connection_enters(origin, ConnectionState::Active);
    }

    /// A connection goes into the pool: `active` becomes `idle`.
    #[inline]
    pub fn upstream_connection_idle(&self, origin: u32) {
        self.connection_leaves(origin, ConnectionState::Active);
        self.connection_enters(origin, ConnectionState::Idle);
    }

    /// A connection carries a WebSocket from now on: `active` becomes `tunnel`.
    #[inline]
    pub fn upstream_connection_tunnelled(&self, origin: u32) {
        self.connection_leaves(origin, ConnectionState::Active);
        self.connection_enters(origin, ConnectionState::Tunnel);
    }

    /// A connection is taken from the pool: `idle` becomes `active`.
    #[inline]
    pub fn upstream_connection_reused(&self, origin: u32) {
        self.cells.add(self.layout.connections_reused + self.origin(origin), 1);
        self.connection_leaves(origin, ConnectionState::Idle);
        self.connection_enters(origin, ConnectionState::Active);
    }

    /// A connection that was opened ahead of any request is ready.
    #[inline]
    pub fn upstream_connection_warmed(&self, origin: u32) {
        self.cells.add(self.layout.connections_warmed + self.origin(origin), 1);
    }

    /// A connection is closed, by whomever; `state` is where it stood.
    #[inline]
    pub fn upstream_connection_closed(&self, origin: u32, state: ConnectionState) {
        self.connection_leaves(origin, state);
    }

    /// A TLS handshake with an origin came to its end, or a finished one was refused afterwards.
    #[inline]
    pub fn handshake(&self, origin: u32, result: HandshakeResult) {
        let place = self.origin(origin) * HandshakeResult::COUNT + result as usize;
        self.cells.add(self.layout.handshakes + place, 1);
    }

    /// A TLS handshake with a client came to its end.
    #[inline]
    pub fn client_handshake(&self, result: HandshakeResult) {
        self.unlabelled.client_handshakes.add(result as usize, 1);
    }

    /// An origin could not serve a request (each attempt counts).
    #[inline]
    pub fn upstream_error(&self, origin: u32, error: UpstreamError) {
        let place = self.origin(origin) * UpstreamError::COUNT + error as usize;
        self.cells.add(self.layout.errors + place, 1);
    }

    /// A request is tried again on a fresh connection.
    #[inline]
    pub fn retry(&self, origin: u32) {
        self.cells.add(self.layout.retries + self.origin(origin), 1);
    }

    /// An address of an origin is left out for a while.
    #[inline]
    pub fn ejection(&self, origin: u32, reason: EjectionReason) {
        let place = self.origin(origin) * EjectionReason::COUNT + reason as usize;
        self.cells.add(self.layout.ejections + place, 1);
    }

    /// A request chose among all addresses of an origin because too few were usable.
    #[inline]
    pub fn panic(&self, origin: u32) {
        self.cells.add(self.layout.panics + self.origin(origin), 1);
    }

    /// A limit was reached.
    #[inline]
    pub fn limit(&self, limit: Limit) {
        self.unlabelled.limits.add(limit as usize, 1);
    }

    /// A client connected.
    #[inline]
    pub fn connection_opened(&self) {
        self.plain(Plain::Connections, 1);
        self.plain(Plain::ConnectionsAccepted, 1);
    }

    /// A client's connection was closed, by whomever.
    #[inline]
    pub fn connection_closed(&self) {
        self.unlabelled.plain.subtract(Plain::Connections as usize, 1);
    }

    /// Bytes exchanged with clients, as they were on the wire.
    #[inline]
    pub fn bytes(&self, received: u64, sent: u64) {
        self.plain(Plain::ReceivedBytes, received);
        self.plain(Plain::SentBytes, sent);
    }

    /// Publishes what the I/O backend counted since it started (totals, not differences).
    #[inline]
    pub fn io_counters(&self, totals: &IoCounters) {
        let plain = &self.unlabelled.plain;
        plain.set(Plain::RingEnters as usize, totals.enters);
        plain.set(Plain::ReceiveStarved as usize, totals.starved);
        plain.set(Plain::AcceptFailures as usize, totals.accept_failures);
    }

    /// The time that the inspection of one request took, in nanoseconds.
    #[inline]
    pub fn inspection_nanos(&self, nanos: u64) {
        self.unlabelled.inspection.record(nanos);
    }

    /// The time from the first byte of a request to the last byte of its answer, in nanoseconds.
    #[inline]
    pub fn request_nanos(&self, nanos: u64) {
        self.unlabelled.request.record(nanos);
    }

    #[inline]
    fn plain(&self, counter: Plain, amount: u64) {
        self.unlabelled.plain.add(counter as usize, amount);
    }

    #[inline]
    fn origin(&self, origin: u32) -> usize {
        row(origin, &self.labels.origins)
    }

    #[inline]
    fn connection_enters(&self, origin: u32, state: ConnectionState) {
        let place = self.origin(origin) * ConnectionState::COUNT + state as usize;
        self.cells.add(self.layout.connections + place, 1);
    }

    #[inline]
    fn connection_leaves(&self, origin: u32, state: ConnectionState) {
        let place = self.origin(origin) * ConnectionState::COUNT + state as usize;
        self.cells.subtract(self.layout.connections + place, 1);
    }

    /// Calls `visit` with every counter that carries names of the config: family, label values, value. The row
    /// `unknown` is left out while it is zero.
    pub(crate) fn visit_labelled(&self, visit: &mut dyn FnMut(Family, &[&str], u64)) {
        for (server, name) in rows(&self.labels.servers) {
            for (mode, mode_name) in MODES.iter().enumerate() {
                for verdict in VerdictLabel::ALL {
                    let place = (server * MODES.len() + mode) * VerdictLabel::COUNT + *verdict as usize;
                    self.cell(visit, Family::Requests, &[name, mode_name, verdict.as_str()], place);
                }
            }
        }
        for (class, name) in rows(&self.labels.attack_classes) {
            for action in AttackAction::ALL {
                let place = self.layout.attacks + class * AttackAction::COUNT + *action as usize;
                self.cell(visit, Family::Attacks, &[name, action.as_str()], place);
            }
        }
        for (origin, name) in rows(&self.labels.origins) {
            self.visit_origin(visit, origin, name);
        }
    }

    fn visit_origin(&self, visit: &mut dyn FnMut(Family, &[&str], u64), origin: usize, name: &str) {
        let layout = &self.layout;
        for state in ConnectionState::ALL {
            let place = layout.connections + origin * ConnectionState::COUNT + *state as usize;
            self.cell(visit, Family::UpstreamConnections, &[name, state.as_str()], place);
        }
        for result in HandshakeResult::ALL {
            let place = layout.handshakes + origin * HandshakeResult::COUNT + *result as usize;
            self.cell(visit, Family::UpstreamHandshakes, &[name, result.as_str()], place);
        }
        for error in UpstreamError::ALL {
            let place = layout.errors + origin * UpstreamError::COUNT + *error as usize;
            self.cell(visit, Family::UpstreamErrors, &[name, error.as_str()], place);
        }
        self.cell(visit, Family::UpstreamConnectionsOpened, &[name], layout.connections_opened + origin);
        self.cell(visit, Family::UpstreamConnectionsReused, &[name], layout.connections_reused + origin);
        self.cell(visit, Family::UpstreamConnectionsWarmed, &[name], layout.connections_warmed + origin);
        self.cell(visit, Family::UpstreamRetries, &[name], layout.retries + origin);
        for reason in EjectionReason::ALL {
            let place = layout.ejections + origin * EjectionReason::COUNT + *reason as usize;
            self.cell(visit, Family::OriginEjections, &[name, reason.as_str()], place);
        }
        self.cell(visit, Family::OriginPanics, &[name], layout.panics + origin);
    }

    fn cell(
        &self,
        visit: &mut dyn FnMut(Family, &[&str], u64),
        family: Family,
        names: &[&str],
        place: usize,
    ) {
        let value = self.cells.get(place);
        if value != 0 || names.first() != Some(&UNKNOWN) {
            visit(family, names, value);
        }
    }
}

/// Every row of a named dimension with its name, `unknown` last.
fn rows(names: &[String]) -> impl Iterator<Item = (usize, &str)> {
    names.iter().map(String::as_str).chain([UNKNOWN]).enumerate()
}

impl Unlabelled {
    /// Calls `visit` with every counter: family, label values, value.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(Family, &[&str], u64)) {
        for (counter, family) in Plain::ALL {
            visit(family, &[], self.plain.get(counter as usize));
        }
        for reason in BlockReason::ALL {
            visit(Family::Blocked, &[reason.as_str()], self.blocked.get(*reason as usize));
        }
        for limit in Limit::ALL {
            visit(Family::LimitHits, &[limit.as_str()], self.limits.get(*limit as usize));
        }
        for result in HandshakeResult::ALL {
            let count = self.client_handshakes.get(*result as usize);
            if count != 0 {
                visit(Family::ClientHandshakes, &[result.as_str()], count);
            }
        }
        self.protocol_errors.visit(|status, code, count| {
            visit(Family::ProtocolErrors, &[&status.to_string(), code], count);
        });
    }
}
