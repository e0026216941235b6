//! The JSON that the admin endpoints speak.

use super::backend::{AddressStatus, CertificateExpiry, OriginStatus, Status};
use crate::origins::NameStatus;
use crate::telemetry::{EventCounters, Family, MetricsSnapshot};
use crate::text::rfc3339;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer: a stable code for programs, a sentence for people.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Single errors, where there may be several.
    pub(super) errors: Vec<Value>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), errors: Vec::new() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.code, "error": self.message });
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        (self.status, Json(body)).into_response()
    }
}

/// The body of `GET /status`.
pub(super) fn status(status: &Status, ready: bool, metrics: &MetricsSnapshot) -> Value {
    let ends = |certificates: &[CertificateExpiry]| -> Vec<Value> {
        certificates
            .iter()
            .map(|one| json!({ "name": one.name, "not_after": rfc3339(one.not_after_unix_seconds) }))
            .collect()
    };
    json!({
        "version": status.version,
        "config_digest": status.config_digest,
        "generation": status.generation,
        "config_since": rfc3339(status.config_since_unix_seconds),
        "started": rfc3339(status.started_unix_seconds),
        "ready": ready,
        "draining": status.draining,
        "workers": status.workers,
        "workers_ready": status.workers_ready,
        "io": status.io,
        "client_certificates": ends(&status.client_certificates),
        "listener_certificates": ends(&status.listener_certificates),
        "origins": status.origins.iter().map(origin).collect::<Vec<_>>(),
        "names": status.names.iter().map(name).collect::<Vec<_>>(),
        "counters": counters(metrics),
    })
}

fn origin(origin: &OriginStatus) -> Value {
    let address = |one: &AddressStatus| {
        let mut shown = json!({ "address": one.address.to_string(), "healthy": one.healthy });
        if let Some(check) = &one.last_check {
            shown["since"] = json!(rfc3339(check.since_unix_seconds));
            shown["last_check"] = match &check.outcome {
                Ok(status) => json!({ "time": rfc3339(check.unix_seconds), "status": status }),
                Err(reason) => json!({ "time": rfc3339(check.unix_seconds), "error": reason }),
            };
        }
        shown
    };
    json!({
        "name": origin.name,
        "health_check": origin.is_checked,
        "addresses": origin.addresses.iter().map(address).collect::<Vec<_>>(),
    })
}

fn name(name: &NameStatus) -> Value {
    json!({
        "name": name.name,
        "addresses": name.addresses,
        "age_seconds": name.age.as_secs(),
        "error": name.error,
    })
}

/// The statistics of spec S7.5 as far as they exist here, under the names of the metrics.
fn counters(metrics: &MetricsSnapshot) -> Value {
    let total = |family| metrics.total(family);
    let blocked = |reason| metrics.total_where(Family::Blocked, "reason", reason);
    let limit = |name| metrics.total_where(Family::LimitHits, "limit", name);
    let microseconds = |nanos: u64| nanos as f64 / 1_000.0;
    let inspection = |share| metrics.inspection.quantile_nanos(share).map(microseconds);
    json!({
        "requests": total(Family::Requests),
        "protocol_errors": total(Family::ProtocolErrors),
        "attacks": total(Family::Attacks),
        "blocked": total(Family::Blocked),
        "blocked_by_deny_list": blocked("deny_list"),
        "blocked_by_virtual_patch": blocked("virtual_patch"),
        "blocked_by_rate_limit": blocked("rate_limit"),
        "allow_listed": total(Family::AllowListed),
        "received_bytes": total(Family::ReceivedBytes),
        "sent_bytes": total(Family::SentBytes),
        "blocked_received_bytes": total(Family::BlockedReceivedBytes),
        "blocked_sent_bytes": total(Family::BlockedSentBytes),
        "connections": total(Family::Connections),
        "upstream_connections": total(Family::UpstreamConnections),
        "upstream_errors": total(Family::UpstreamErrors),
        "upstream_retries": total(Family::UpstreamRetries),
        "inspection_time_limit_hits": limit("inspection_time"),
        "inspection_size_limit_hits": limit("inspection_size"),
        "inspection_seconds": metrics.inspection.sum_nanos() as f64 / 1e9,
        "inspection_microseconds_p50": inspection(0.5),
        "inspection_microseconds_p99": inspection(0.99),
        "events_written": total(Family::EventsWritten),
        "events_dropped": total(Family::EventsDropped),
        "event_write_errors": total(Family::EventWriteErrors),
    })
}

/// Adds to the workers' counters what is known outside of them.
pub(super) fn complete(metrics: &mut MetricsSnapshot, status: &Status, events: &EventCounters) {
    metrics.add(Family::BuildInfo, &[&status.version], 1);
    metrics.add(Family::StartTime, &[], status.started_unix_seconds);
    metrics.add(Family::ConfigGeneration, &[], status.generation);
    metrics.add(Family::Workers, &["configured"], u64::from(status.workers));
    metrics.add(Family::Workers, &["ready"], u64::from(status.workers_ready));
    for one in &status.client_certificates {
        let not_after = u64::try_from(one.not_after_unix_seconds).unwrap_or(0);
        metrics.add(Family::ClientCertificateNotAfter, &[&one.name], not_after);
    }
    for one in &status.listener_certificates {
        let not_after = u64::try_from(one.not_after_unix_seconds).unwrap_or(0);
        metrics.add(Family::ListenerCertificateNotAfter, &[&one.name], not_after);
    }
    for origin in &status.origins {
        let count = u64::try_from(origin.addresses.len()).unwrap_or(u64::MAX);
        metrics.add(Family::OriginAddresses, &[&origin.name], count);
        if !origin.is_checked {
            continue;
        }
        for one in &origin.addresses {
            let labels = [origin.name.as_str(), &one.address.to_string()];
            metrics.add(Family::OriginAddressHealthy, &labels, u64::from(one.healthy));
        }
        metrics.add(Family::OriginChecks, &[&origin.name, "passed"], origin.checks.0);
        metrics.add(Family::OriginChecks, &[&origin.name, "failed"], origin.checks.1);
    }
    for name in &status.names {
        metrics.add(Family::DnsAnswerAge, &[&name.name], name.age.as_secs());
        metrics.add(Family::DnsLookups, &[&name.name, "found"], name.found);
        metrics.add(Family::DnsLookups, &[&name.name, "failed"], name.failed);
    }
    metrics.add(Family::EventsWritten, &[], events.written());
    metrics.add(Family::EventsDropped, &[], events.dropped());
    metrics.add(Family::EventWriteErrors, &[], events.write_errors());
}
