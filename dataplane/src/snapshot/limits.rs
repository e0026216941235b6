//! Limits of connections and requests, as what the config sets of them at each level comes to.

use std::sync::Arc;
use std::time::Duration;

use super::build::places;
use super::{ConnectionSettings, ListenerSettings};
use crate::config::{Config, ConnectionLimits, OwnRequestLimits, RequestLimits};
use crate::http::HeadLimits;

/// What one worker may have of a number that is for all of them.
pub(super) fn share(count: u32, workers: usize) -> usize {
    (count as usize).div_ceil(workers.max(1))
}

/// Limits of connections. `request` is what holds for requests while their server isn't known.
pub(super) fn connection_settings(
    config: &Config,
    limits: &ConnectionLimits,
    request: &RequestLimits,
) -> ConnectionSettings {
    ConnectionSettings {
        head: HeadLimits {
            head_bytes: limits.head_bytes,
            target_bytes: limits.target_bytes,
            header_count: limits.header_count,
            header_bytes: limits.header_bytes,
            underscore_names: config.http.underscore_headers,
            ..HeadLimits::default()
        },
        head_timeout: limits.head_timeout,
        keep_alive_timeout: limits.keep_alive_timeout,
        keep_alive_requests: limits.keep_alive_requests.unwrap_or(u32::MAX),
        connection_age_max: limits.connection_age_max.unwrap_or(Duration::MAX),
        send_timeout: request.send_timeout,
        parked_bytes: limits.parked_bytes as usize,
        lingering_bytes: limits.lingering_bytes,
        lingering_timeout: limits.lingering_timeout,
        connections_per_address: limits.connections_per_address,
    }
}

/// The listeners with the limits of the requests that come in by each: what the location sets, or else its server, the
/// listener, http.
pub(super) fn with_request_limits(
    mut listeners: Vec<ListenerSettings>,
    config: &Config,
    policy: &weir_policy::Policy,
) -> Vec<ListenerSettings> {
    let nothing = OwnRequestLimits::default();
    let below = |listener: &OwnRequestLimits| -> Arc<[RequestLimits]> {
        let outer = listener.over(&config.http.limits);
        let own = places(config, policy).map(|(server, location)| match location {
            Some(location) => location.limits.over(&outer),
            None => server.limits.over(&outer),
        });
        own.collect()
    };
    let common = below(&nothing);
    for (settings, listener) in listeners.iter_mut().zip(&config.listeners) {
        let own = &listener.limits.request;
        settings.request_limits = if *own == nothing { Arc::clone(&common) } else { below(own) };
    }
    listeners
}
