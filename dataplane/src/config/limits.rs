//! Limits of client connections and requests.

use super::model::{ConnectionLimits, RequestLimits};
use super::read::TableReader;
use super::schema::{
    DAY, Default, GIB, HOUR, KIB, Key, Kind, MIB, MILLISECOND, SECOND, Section, TIB, range, range_or_zero,
};

const NO_LIMIT: &str = "no limit";

const CONNECTION_KEYS: &[Key] = &[
    Key {
        name: "head_bytes",
        kind: Kind::Size(range(KIB, MIB)),
        default: Default::Value("\"32KiB\""),
        meaning: "A request's head, request line and all fields. More is answered 431.",
    },
    Key {
        name: "target_bytes",
        kind: Kind::Size(range(256, MIB)),
        default: Default::Value("\"24KiB\""),
        meaning: "The request target. More is answered 414. Not above `head_bytes`.",
    },
    Key {
        name: "header_count",
        kind: Kind::Integer(range(1, 256)),
        default: Default::Value("100"),
        meaning: "Header fields of a request. More is answered 431.",
    },
    Key {
        name: "header_bytes",
        kind: Kind::Size(range(256, MIB)),
        default: Default::Value("\"8KiB\""),
        meaning: "One header line of a request, its name and its line end included. More is answered 431.",
    },
    Key {
        name: "head_timeout",
        kind: Kind::Time(range(10 * MILLISECOND, HOUR)),
        default: Default::Value("\"10s\""),
        meaning: "For a whole head, from its first byte (on a new connection: from accept). Answered 408; a new connection that sends nothing is closed without an answer.",
    },
    Key {
        name: "keep_alive_timeout",
        kind: Kind::Time(range(10 * MILLISECOND, DAY)),
        default: Default::Value("\"60s\""),
        meaning: "How long a connection may stay idle between two requests; then it is closed.",
    },
    Key {
        name: "keep_alive_requests",
        kind: Kind::Integer(range_or_zero(NO_LIMIT, 1, 4_294_967_295)),
        default: Default::Value("1000"),
        meaning: "Requests on one connection; it is closed with the answer to the last.",
    },
    Key {
        name: "connection_age_max",
        kind: Kind::Time(range_or_zero(NO_LIMIT, SECOND, 365 * DAY)),
        default: Default::Value("\"1h\""),
        meaning: "Age from which a connection is closed with the answer in progress.",
    },
    Key {
        name: "parked_bytes",
        kind: Kind::Size(range(KIB, GIB)),
        default: Default::Value("\"256KiB\""),
        meaning: "Received and not yet handled, per connection. Above it receiving pauses until half is gone. Not \
                  below `head_bytes`.",
    },
    Key {
        name: "lingering_bytes",
        kind: Kind::Size(range(0, GIB)),
        default: Default::Value("\"1MiB\""),
        meaning: "Input that is read and dropped after an error answer, so that the answer arrives.",
    },
    Key {
        name: "lingering_timeout",
        kind: Kind::Time(range(0, HOUR)),
        default: Default::Value("\"1s\""),
        meaning: "How long input is dropped after an error answer.",
    },
];

/// The same keys twice: in http they have defaults, below it they are inherited.
macro_rules! request_keys {
    ($($name:literal, $kind:expr, $default:literal, $meaning:literal;)*) => {
        const HTTP_REQUEST_KEYS: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Value($default), meaning: $meaning },)*
        ];
        const INHERITED_REQUEST_KEYS: &[Key] = &[
            $(Key { name: $name, kind: $kind, default: Default::Absent("inherited", $default), meaning: $meaning },)*
        ];
    };
}

request_keys! {
    "request_body_bytes", Kind::Size(range_or_zero(NO_LIMIT, 1, 1024 * TIB)), "0",
        "The longest request body that is forwarded. More is answered 413.";
    "body_timeout", Kind::Time(range(10 * MILLISECOND, DAY)), "\"30s\"",
        "Between two reads of a request body. Answered 408.";
    "body_rate_min_bytes", Kind::Size(range_or_zero(NO_LIMIT, 1, GIB)), "\"1KiB\"",
        "Lowest mean rate of a request body, in bytes a second, once `body_rate_grace` is over. Answered 408.";
    "body_rate_grace", Kind::Time(range(0, DAY)), "\"10s\"",
        "How long a request body may be slower than `body_rate_min_bytes`.";
    "send_timeout", Kind::Time(range(10 * MILLISECOND, DAY)), "\"30s\"",
        "Between two successful writes to the client; then the connection is closed.";
    "tunnel_timeout", Kind::Time(range(10 * MILLISECOND, 365 * DAY)), "\"10m\"",
        "How long a WebSocket may be silent in both directions; then both of its connections are closed.";
}

/// `[http.limits]`.
pub(super) static HTTP_LIMITS: Section = Section {
    header: "[http.limits]",
    about: "Limits of client connections and of requests. Those of a connection hold before a request's server is \
            known, so they are set here alone.",
    keys: &[CONNECTION_KEYS, HTTP_REQUEST_KEYS],
};

/// `[server.limits]`.
pub(super) static SERVER_LIMITS: Section = Section {
    header: "[server.limits]",
    about: "Limits of requests to this server; what is absent is inherited from `[http.limits]`.",
    keys: &[INHERITED_REQUEST_KEYS],
};

/// `[server.location.limits]`.
pub(super) static LOCATION_LIMITS: Section = Section {
    header: "[server.location.limits]",
    about: "Limits of requests to this location; what is absent is inherited from the server.",
    keys: &[INHERITED_REQUEST_KEYS],
};

/// Reads the limits of connections out of `[http.limits]`.
pub(super) fn read_connection_limits(table: &TableReader<'_>) -> ConnectionLimits {
    let limits = ConnectionLimits {
        head_bytes: table.size_u32("head_bytes"),
        target_bytes: table.size_u32("target_bytes"),
        header_count: table.integer("header_count").and_then(|count| u16::try_from(count).ok()).unwrap_or(0),
        header_bytes: table.size_u32("header_bytes"),
        head_timeout: table.time_or_zero("head_timeout"),
        keep_alive_timeout: table.time_or_zero("keep_alive_timeout"),
        keep_alive_requests: table.limit_u32("keep_alive_requests"),
        connection_age_max: table.time("connection_age_max").filter(|age| !age.is_zero()),
        parked_bytes: table.size_u32("parked_bytes"),
        lingering_bytes: table.size("lingering_bytes").unwrap_or(0),
        lingering_timeout: table.time_or_zero("lingering_timeout"),
    };
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
    limits
}

/// Reads the limits of requests; what is absent is as in `inherited`.
pub(super) fn read_request_limits(
    table: &TableReader<'_>,
    inherited: Option<&RequestLimits>,
) -> RequestLimits {
    let size = |name: &str, outer: Option<Option<u64>>| match table.size(name) {
        Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
        None => outer.flatten(),
    };
    let time =
        |name: &str, outer: Option<std::time::Duration>| table.time(name).or(outer).unwrap_or_default();
    RequestLimits {
        request_body_bytes: size("request_body_bytes", inherited.map(|limits| limits.request_body_bytes)),
        body_timeout: time("body_timeout", inherited.map(|limits| limits.body_timeout)),
        body_rate_min_bytes: size("body_rate_min_bytes", inherited.map(|limits| limits.body_rate_min_bytes)),
        body_rate_grace: time("body_rate_grace", inherited.map(|limits| limits.body_rate_grace)),
        send_timeout: time("send_timeout", inherited.map(|limits| limits.send_timeout)),
        tunnel_timeout: time("tunnel_timeout", inherited.map(|limits| limits.tunnel_timeout)),
    }
}
