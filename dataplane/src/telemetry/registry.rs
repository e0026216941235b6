//! The control thread's view of all workers' counters.

use super::histogram::HistogramTotals;
use super::labels::Labels;
use super::metrics::{Unlabelled, WorkerMetrics};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many label sets of one family are kept of generations that are gone. Further ones are added up under the
/// name `retired`, so that a config whose names change again and again can't fill the memory.
const RETIRED_SERIES_LIMIT: usize = 20_000;
const RETIRED: &str = "retired";

/// Whether a metric only grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

macro_rules! families {
    ($($variant:ident = $kind:ident, $name:literal, [$($label:literal),*], $help:literal;)+) => {
        /// A metric with its labels; histograms stand beside these in [`MetricsSnapshot`].
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[allow(missing_docs, reason = "the table in registry.rs gives each its name and meaning")]
        pub enum Family {
            $($variant,)+
        }

        impl Family {
            /// Every family, in the order in which they are exported.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Counter or gauge.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }

            /// The metric's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Names of the labels.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// What it counts, one sentence.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)+ }
            }
        }
    };
}

families! {
    BuildInfo = Gauge, "weir_build_info", ["version"], "Always 1; the version is in the label.";
    StartTime = Gauge, "weir_start_time_seconds", [], "When the process started, in seconds since 1970 UTC.";
    ConfigGeneration = Gauge, "weir_config_generation", [], "Number of the config in force; grows with each one that takes effect.";
    ConfigReloads = Counter, "weir_config_reloads_total", ["result"], "Reloads, by whether the config was put in force or refused.";
    Workers = Gauge, "weir_workers", ["state"], "Workers by state: configured, or ready to accept.";
    ClientCertificateNotAfter = Gauge, "weir_client_certificate_not_after_seconds", ["name"], "When a client certificate expires, in seconds since 1970 UTC.";
    ListenerCertificateNotAfter = Gauge, "weir_listener_certificate_not_after_seconds", ["name"], "When a certificate of a listener expires, in seconds since 1970 UTC.";
    Requests = Counter, "weir_requests_total", ["server", "mode", "verdict"], "Requests with a sound head, by effective mode and verdict.";
    Attacks = Counter, "weir_attacks_total", ["class", "action"], "Attacks; a request with several classes counts once for each.";
    Blocked = Counter, "weir_blocked_total", ["reason"], "Blocked requests.";
    AllowListed = Counter, "weir_allow_listed_total", [], "Requests passed unchecked because their source is on the allowlist.";
    ProtocolErrors = Counter, "weir_protocol_errors_total", ["status", "code"], "Messages refused as bad HTTP, by status of the answer and reason.";
    EventsSuppressed = Counter, "weir_events_suppressed_total", [], "Refused requests without an event of their own, because there were too many.";
    LimitHits = Counter, "weir_limit_hits_total", ["limit"], "Times that a limit was reached.";
    Connections = Gauge, "weir_connections", [], "Open client connections.";
    ConnectionsAccepted = Counter, "weir_connections_accepted_total", [], "Client connections accepted.";
    AcceptFailures = Counter, "weir_accept_failures_total", [], "Client connections that could not be accepted.";
    ClientHandshakes = Counter, "weir_client_handshakes_total", ["result"], "TLS handshakes with clients.";
    ReceivedBytes = Counter, "weir_received_bytes_total", [], "Bytes received from clients.";
    SentBytes = Counter, "weir_sent_bytes_total", [], "Bytes sent to clients.";
    BlockedReceivedBytes = Counter, "weir_blocked_received_bytes_total", [], "Bytes received with blocked requests.";
    BlockedSentBytes = Counter, "weir_blocked_sent_bytes_total", [], "Bytes sent as answers to blocked requests.";
    UpstreamConnections = Gauge, "weir_upstream_connections", ["origin", "state"], "Connections to origins.";
    UpstreamConnectionsOpened = Counter, "weir_upstream_connections_opened_total", ["origin"], "Connections to origins that were begun.";
    UpstreamConnectionsReused = Counter, "weir_upstream_connections_reused_total", ["origin"], "Times that a pooled connection took another request.";
    UpstreamConnectionsWarmed = Counter, "weir_upstream_connections_warmed_total", ["origin"], "Connections to origins that were opened ahead of any request and got ready.";
    UpstreamHandshakes = Counter, "weir_upstream_handshakes_total", ["origin", "result"], "TLS handshakes with origins.";
    UpstreamErrors = Counter, "weir_upstream_errors_total", ["origin", "reason"], "Attempts that an origin could not serve.";
    UpstreamRetries = Counter, "weir_upstream_retries_total", ["origin"], "Requests tried again on a fresh connection.";
    OriginAddresses = Gauge, "weir_origin_addresses", ["origin"], "Addresses of an origin, those of its names included.";
    OriginAddressHealthy = Gauge, "weir_origin_address_healthy", ["origin", "address"], "Whether health checks let an address be used: 1 or 0. Of origins with health checks.";
    OriginChecks = Counter, "weir_origin_health_checks_total", ["origin", "result"], "Health checks, by whether they passed or failed.";
    OriginEjections = Counter, "weir_origin_ejections_total", ["origin", "reason"], "Times that a worker left an address out for a while.";
    OriginPanics = Counter, "weir_origin_panics_total", ["origin"], "Requests that chose among all addresses because too few were usable.";
    DnsAnswerAge = Gauge, "weir_dns_answer_age_seconds", ["name"], "Time since a name of an origin was last resolved.";
    DnsLookups = Counter, "weir_dns_lookups_total", ["name", "result"], "Lookups of the names of origins: found, or failed.";
    EventsWritten = Counter, "weir_events_written_total", [], "Events written to the event file, or only counted where there is no file.";
    EventsDropped = Counter, "weir_events_dropped_total", [], "Events lost: the queue was full, or the file could not be written until the end.";
    EventWriteErrors = Counter, "weir_event_write_errors_total", [], "Failed attempts to write to the event file.";
    RingEnters = Counter, "weir_ring_enters_total", [], "System calls of the workers that submitted to or waited for the kernel.";
    ReceiveStarved = Counter, "weir_receive_starved_total", [], "Times that a socket waited because all receive buffers were in use.";
}

type Values = Vec<Cow<'static, str>>;

/// All counters as of one moment, added up over workers and generations.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    families: BTreeMap<Family, BTreeMap<Values, u64>>,
    /// Time that inspection took.
    pub inspection: HistogramTotals,
    /// Time that requests took as a whole.
    pub request: HistogramTotals,
}

impl MetricsSnapshot {
    /// Adds to one value. Negative parts of gauges are given as wrapped numbers and cancel out.
    pub fn add(&mut self, family: Family, labels: &[&str], amount: u64) {
        let series = self.families.entry(family).or_default();
        let value = series.entry(owned(labels)).or_default();
        *value = value.wrapping_add(amount);
    }

    /// The label values and the number of every series of a family.
    pub fn series(&self, family: Family) -> impl Iterator<Item = (&[Cow<'static, str>], u64)> {
        let gauge = family.kind() == Kind::Gauge;
        self.families.get(&family).into_iter().flatten().map(move |(labels, value)| {
            // A gauge read between two steps of its writer may be one below zero for a moment.
            let below_zero = gauge && *value > i64::MAX as u64;
            (labels.as_slice(), if below_zero { 0 } else { *value })
        })
    }

    /// The sum over all series of a family.
    pub fn total(&self, family: Family) -> u64 {
        self.series(family).fold(0, |sum, (_, value)| sum.wrapping_add(value))
    }

    /// The sum over the series of a family whose label `name` is `value`.
    pub fn total_where(&self, family: Family, name: &str, value: &str) -> u64 {
        let Some(position) = family.labels().iter().position(|label| *label == name) else { return 0 };
        let matching =
            self.series(family).filter(|(labels, _)| labels.get(position).is_some_and(|l| l == value));
        matching.fold(0, |sum, (_, number)| sum.wrapping_add(number))
    }

    /// Keeps what a generation that is gone has counted, within limits.
    fn retire(&mut self, metrics: &WorkerMetrics) {
        metrics.visit_labelled(&mut |family, labels, value| {
            if value == 0 {
                return;
            }
            let series = self.families.entry(family).or_default();
            let mut key = owned(labels);
            if series.len() >= RETIRED_SERIES_LIMIT && !series.contains_key(&key) {
                key[0] = Cow::Borrowed(RETIRED);
            }
            let total = series.entry(key).or_default();
            *total = total.wrapping_add(value);
        });
    }
}

fn owned(labels: &[&str]) -> Values {
    labels.iter().map(|label| Cow::Owned((*label).to_owned())).collect()
}

struct Worker {
    unlabelled: Arc<Unlabelled>,
    /// Every generation that still counts, the newest last.
    generations: Vec<Arc<WorkerMetrics>>,
}

/// Knows every worker's counters, of this generation and of those that still run.
///
/// The lock is for the control thread and for starting and reloading; workers don't touch it while they serve.
#[derive(Default)]
pub struct MetricsRegistry {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    workers: Vec<Worker>,
    retired: MetricsSnapshot,
}

impl std::fmt::Debug for MetricsRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsRegistry").finish_non_exhaustive()
    }
}

impl MetricsRegistry {
    /// No workers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a worker and returns what it counts into.
    pub fn add_worker(&self, labels: &Arc<Labels>) -> Arc<WorkerMetrics> {
        let metrics = Arc::new(WorkerMetrics::new(labels));
        let unlabelled = Arc::clone(metrics.unlabelled());
        self.lock().workers.push(Worker { unlabelled, generations: vec![Arc::clone(&metrics)] });
        metrics
    }

    /// What a worker counts into under new labels: the same value if the names are the same, otherwise a new one.
    /// The old one stays readable as long as the worker holds it, and what it counted is kept for good.
    pub fn next_generation(&self, current: &Arc<WorkerMetrics>, labels: &Arc<Labels>) -> Arc<WorkerMetrics> {
        if current.labels() == labels {
            return Arc::clone(current);
        }
        let unlabelled = Arc::clone(current.unlabelled());
        let next = Arc::new(WorkerMetrics::with_unlabelled(labels, Arc::clone(&unlabelled)));
        let mut inner = self.lock();
        let generations = vec![Arc::clone(&next)];
        match inner.workers.iter_mut().find(|worker| Arc::ptr_eq(&worker.unlabelled, &unlabelled)) {
            Some(worker) => worker.generations.extend(generations),
            None => inner.workers.push(Worker { unlabelled, generations }),
        }
        next
    }

    /// Adds everything up.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let mut inner = self.lock();
        inner.retire_unused();
        let mut snapshot = inner.retired.clone();
        for worker in &inner.workers {
            worker.unlabelled.visit(&mut |family, labels, value| snapshot.add(family, labels, value));
            worker.unlabelled.inspection.add_to(&mut snapshot.inspection);
            worker.unlabelled.request.add_to(&mut snapshot.request);
            for metrics in &worker.generations {
                metrics.visit_labelled(&mut |family, labels, value| snapshot.add(family, labels, value));
            }
        }
        snapshot
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing that panics half-way leaves the counters in a state worse than incomplete.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Moves what only this registry still holds into the totals. The newest generation of a worker stays.
    fn retire_unused(&mut self) {
        for worker in &mut self.workers {
            let newest = worker.generations.len().saturating_sub(1);
            let mut position = 0;
            worker.generations.retain_mut(|metrics| {
                // `get_mut` also orders our reads after the worker's last writes; `strong_count` would not.
                let keep = position == newest || Arc::get_mut(metrics).is_none();
                position += 1;
                if !keep {
                    self.retired.retire(metrics);
                }
                keep
            });
        }
    }
}
