//! Limits of client connections and requests.

use std::time::Duration;

use super::model::{ConnectionLimits, RequestLimits};
use super::read::TableReader;
use super::schema::{
    DAY, Default, GIB, HOUR, KIB, Key, Kind, MIB, MILLISECOND, SECOND, Section, TIB, range, range_or_zero,
};

const NO_LIMIT: &str = "no limit";

/// The same keys twice: in http they have defaults, below it they are inherited.
macro_rules! limit_keys {
    ($http:ident, $inherited:ident; $($name:literal, $kind:expr, $default:literal, $meaning:literal;)*) => {
        const $http: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Value($default), meaning: $meaning },)*
        ];
        const $inherited: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Absent("inherited", $default), meaning: $meaning },)*
        ];
    };
}

limit_keys! {
    HTTP_CONNECTION_KEYS, LISTENER_CONNECTION_KEYS;
    "head_bytes", Kind::Size(range(KIB, MIB)), "\"32KiB\"",
        "A request's head, request line and all fields. More is answered 431.";
    "target_bytes", Kind::Size(range(256, MIB)), "\"24KiB\"",
        "The request target. More is answered 414. Not above `head_bytes`.";
    "header_count", Kind::Integer(range(1, 256)), "100",
        "Header fields of a request. More is answered 431.";
    "header_bytes", Kind::Size(range(256, MIB)), "\"8KiB\"",
        "One header line of a request, its name and its line end included. More is answered 431.";
    "head_timeout", Kind::Time(range(10 * MILLISECOND, HOUR)), "\"10s\"",
        "For a whole head, from its first byte (on a new connection: from accept). Answered 408; a new connection that sends nothing is closed without an answer.";
    "keep_alive_timeout", Kind::Time(range(10 * MILLISECOND, DAY)), "\"60s\"",
        "How long a connection may stay idle between two requests; then it is closed.";
    "keep_alive_requests", Kind::Integer(range_or_zero(NO_LIMIT, 1, 4_294_967_295)), "1000",
        "Requests on one connection; it is closed with the answer to the last.";
    "connection_age_max", Kind::Time(range_or_zero(NO_LIMIT, SECOND, 365 * DAY)), "\"1h\"",
        "Age from which a connection is closed with the answer in progress.";
    "parked_bytes", Kind::Size(range(KIB, GIB)), "\"256KiB\"",
        "Received and not yet handled, per connection. Above it receiving pauses until half is gone. Not below `head_bytes`.";
    "lingering_bytes", Kind::Size(range(0, GIB)), "\"1MiB\"",
        "Input that is read and dropped after an error answer, so that the answer arrives.";
    "lingering_timeout", Kind::Time(range(0, HOUR)), "\"1s\"",
        "How long input is dropped after an error answer.";
    "connections_per_address", Kind::Integer(range_or_zero(NO_LIMIT, 1, 16_777_216)), "0",
        "Connections that one client address (of IPv6: one /64 network) may have open at one listener, over all workers. One more is closed at once. Those of `trusted_proxies` don't count.";
}

limit_keys! {
    HTTP_REQUEST_KEYS, INHERITED_REQUEST_KEYS;
    "request_body_bytes", Kind::Size(range_or_zero(NO_LIMIT, 1, 1024 * TIB)), "0",
        "The longest request body that is forwarded. More is answered 413.";
    "body_timeout", Kind::Time(range(10 * MILLISECOND, DAY)), "\"30s\"",
        "Between two reads of a request body. Answered 408.";
    "body_rate_min_bytes", Kind::Size(range_or_zero(NO_LIMIT, 1, GIB)), "\"1KiB\"",
        "Lowest mean rate of a request body, in bytes a second, once `body_rate_grace` is over. Answered 408.";
    "body_rate_grace", Kind::Time(range(0, DAY)), "\"10s\"",
        "How long a request body may be slower than `body_rate_min_bytes`.";
    "send_timeout", Kind::Time(range(10 * MILLISECOND, DAY)), "\"60s\"",
        "Between two successful writes to the client; then the connection is closed.";
    "tunnel_timeout", Kind::Time(range(10 * MILLISECOND, 365 * DAY)), "\"10m\"",
        "How long a WebSocket may be silent in both directions; then both of its connections are closed.";
}

/// `[http.limits]`.
pub(super) static HTTP_LIMITS: Section = Section {
    header: "[http.limits]",
    about: "Limits of client connections and of requests. Those of a connection hold before a request's server is \
            known, so they are set here and in `[listener.limits]` alone.",
    keys: &[HTTP_CONNECTION_KEYS, HTTP_REQUEST_KEYS],
};

/// `[listener.limits]`.
pub(super) static LISTENER_LIMITS: Section = Section {
    header: "[listener.limits]",
    about: "Limits of the connections of the `[[listener]]` above it, and of the requests that come in by it; what is \
            absent is inherited from `[http.limits]`. What a server or a location sets of a request wins.",
    keys: &[
        &[Key {
            name: "max_connections",
            kind: Kind::Integer(range(1, 16_777_216)),
            default: Default::Absent("`node.max_connections` alone counts", "50000"),
            meaning: "Client connections of this listener open at once, over all workers. One more is closed at once.",
        }],
        LISTENER_CONNECTION_KEYS,
        INHERITED_REQUEST_KEYS,
    ],
};

/// `[server.limits]`.
pub(super) static SERVER_LIMITS: Section = Section {
    header: "[server.limits]",
    about: "Limits of requests to this server; what is absent is inherited from the `[listener.limits]` of where \
            the request came in, and then from `[http.limits]`.",
    keys: &[INHERITED_REQUEST_KEYS],
};

/// `[server.location.limits]`.
pub(super) static LOCATION_LIMITS: Section = Section {
    header: "[server.location.limits]",
    about: "Limits of requests to this location; what is absent is inherited from the server.",
    keys: &[INHERITED_REQUEST_KEYS],
};

/// What one place sets of [`RequestLimits`]; `None` = inherited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRequestLimits {
    /// 0 = no limit.
    pub request_body_bytes: Option<u64>,
    /// See [`RequestLimits::body_timeout`].
    pub body_timeout: Option<Duration>,
    /// 0 = no limit.
    pub body_rate_min_bytes: Option<u64>,
    /// See [`RequestLimits::body_rate_grace`].
    pub body_rate_grace: Option<Duration>,
    /// See [`RequestLimits::send_timeout`].
    pub send_timeout: Option<Duration>,
    /// See [`RequestLimits::tunnel_timeout`].
    pub tunnel_timeout: Option<Duration>,
}

impl OwnRequestLimits {
    /// These limits, and those of `outer` where these are silent.
    #[must_use]
    pub fn or(&self, outer: &Self) -> Self {
        Self {
            request_body_bytes: self.request_body_bytes.or(outer.request_body_bytes),
            body_timeout: self.body_timeout.or(outer.body_timeout),
            body_rate_min_bytes: self.body_rate_min_bytes.or(outer.body_rate_min_bytes),
            body_rate_grace: self.body_rate_grace.or(outer.body_rate_grace),
            send_timeout: self.send_timeout.or(outer.send_timeout),
            tunnel_timeout: self.tunnel_timeout.or(outer.tunnel_timeout),
        }
    }

    /// The limits in force where nothing but `outer` is left to inherit from.
    #[must_use]
    pub fn over(&self, outer: &RequestLimits) -> RequestLimits {
        let bytes = |own: Option<u64>, outer: Option<u64>| match own {
            Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
            None => outer,
        };
        RequestLimits {
            request_body_bytes: bytes(self.request_body_bytes, outer.request_body_bytes),
            body_timeout: self.body_timeout.unwrap_or(outer.body_timeout),
            body_rate_min_bytes: bytes(self.body_rate_min_bytes, outer.body_rate_min_bytes),
            body_rate_grace: self.body_rate_grace.unwrap_or(outer.body_rate_grace),
            send_timeout: self.send_timeout.unwrap_or(outer.send_timeout),
            tunnel_timeout: self.tunnel_timeout.unwrap_or(outer.tunnel_timeout),
        }
    }
}

/// `[listener.limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections of this listener open at once in the whole process; `None` = only `node.max_connections` counts.
    pub max_connections: Option<u32>,
    /// Limits of its connections: its own, else those of http.
    pub connection: ConnectionLimits,
    /// What it sets for requests.
    pub request: OwnRequestLimits,
}

/// Reads the limits of connections; what is absent is as in `inherited`, and in `[http.limits]` as its keys say.
pub(super) fn read_connection_limits(
    table: &TableReader<'_>,
    inherited: Option<&ConnectionLimits>,
) -> ConnectionLimits {
    let narrow = |size: Option<u64>| size.and_then(|bytes| u32::try_from(bytes).ok());
    let size = |name: &str, outer: Option<u32>| narrow(table.size(name)).or(outer).unwrap_or(0);
    let time = |name: &str, outer: Option<Duration>| table.time(name).or(outer).unwrap_or_default();
    // 0 is "no limit", wherever it is written.
    let count = |name: &str, outer: Option<Option<u32>>| match narrow(table.integer(name)) {
        Some(number) => Some(number).filter(|number| *number > 0),
        None => outer.flatten(),
    };
    let outer = inherited;
    let header_count = table.integer("header_count").and_then(|count| u16::try_from(count).ok());
    let mut limits = ConnectionLimits {
        connections_per_address: count(
            "connections_per_address",
            outer.map(|outer| outer.connections_per_address),
        ),
        head_bytes: size("head_bytes", outer.map(|outer| outer.head_bytes)),
        target_bytes: size("target_bytes", outer.map(|outer| outer.target_bytes)),
        header_count: header_count.or(outer.map(|outer| outer.header_count)).unwrap_or(0),
        header_bytes: size("header_bytes", outer.map(|outer| outer.header_bytes)),
        head_timeout: time("head_timeout", outer.map(|outer| outer.head_timeout)),
        keep_alive_timeout: time("keep_alive_timeout", outer.map(|outer| outer.keep_alive_timeout)),
        keep_alive_requests: count("keep_alive_requests", outer.map(|outer| outer.keep_alive_requests)),
        connection_age_max: match table.time("connection_age_max") {
            Some(age) => Some(age).filter(|age| !age.is_zero()),
            None => outer.and_then(|outer| outer.connection_age_max),
        },
        parked_bytes: size("parked_bytes", outer.map(|outer| outer.parked_bytes)),
        lingering_bytes: table
            .size("lingering_bytes")
            .or(outer.map(|outer| outer.lingering_bytes))
            .unwrap_or(0),
        lingering_timeout: time("lingering_timeout", outer.map(|outer| outer.lingering_timeout)),
    };
    // What nobody wrote follows what was written.
    if table.has("head_bytes") && !table.has("target_bytes") {
        limits.target_bytes = limits.target_bytes.min(limits.head_bytes);
    }
    if table.has("head_bytes") && !table.has("parked_bytes") {
        limits.parked_bytes = limits.parked_bytes.max(limits.head_bytes);
    }
    judge_sizes(table, &limits);
    limits
}

fn judge_sizes(table: &TableReader<'_>, limits: &ConnectionLimits) {
    // What is inherited whole was judged where it is written.
    let touched = ["head_bytes", "target_bytes", "parked_bytes"].iter().any(|name| table.has(name));
    if !touched {
        return;
    }
    let head = super::units::format_size(limits.head_bytes.into());
    if limits.target_bytes > limits.head_bytes {
        let target = super::units::format_size(limits.target_bytes.into());
        let message = format!("found {target}, allowed is at most head_bytes, which is {head}");
        table.error("target_bytes", message, "lower target_bytes or raise head_bytes");
    }
    if limits.parked_bytes < limits.head_bytes {
        let parked = super::units::format_size(limits.parked_bytes.into());
        let message = format!("found {parked}, allowed is at least head_bytes, which is {head}");
        table.error("parked_bytes", message, "raise parked_bytes or lower head_bytes");
    }
}

/// Reads `[http.limits]` as far as it is about requests.
pub(super) fn read_http_request_limits(table: &TableReader<'_>) -> RequestLimits {
    let no_limit = RequestLimits {
        request_body_bytes: None,
        body_timeout: Duration::ZERO,
        body_rate_min_bytes: None,
        body_rate_grace: Duration::ZERO,
        send_timeout: Duration::ZERO,
        tunnel_timeout: Duration::ZERO,
    };
    // Every key of that table has a default.
    read_own_request_limits(table).over(&no_limit)
}

/// Reads what a table sets of the limits of requests.
pub(super) fn read_own_request_limits(table: &TableReader<'_>) -> OwnRequestLimits {
    OwnRequestLimits {
        request_body_bytes: table.size("request_body_bytes"),
        body_timeout: table.time("body_timeout"),
        body_rate_min_bytes: table.size("body_rate_min_bytes"),
        body_rate_grace: table.time("body_rate_grace"),
        send_timeout: table.time("send_timeout"),
        tunnel_timeout: table.time("tunnel_timeout"),
    }
}

/// Reads `[listener.limits]`; what is absent is as in `inherited`.
pub(super) fn read_listener_limits(table: &TableReader<'_>, inherited: &ConnectionLimits) -> ListenerLimits {
    ListenerLimits {
        max_connections: table.integer("max_connections").and_then(|count| u32::try_from(count).ok()),
        connection: read_connection_limits(table, Some(inherited)),
        request: read_own_request_limits(table),
    }
}
