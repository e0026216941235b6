//! `[origin.health_check]`, `[origin.outlier_detection]` and `[node.resolver]`: which addresses of an origin are used.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use toml::de::DeValue;

use super::model::{HealthCheckConfig, OutlierConfig, ResolverConfig};
use super::read::{Refusal, TableReader, show};
use super::schema::{DAY, Default, HOUR, Key, Kind, MILLISECOND, SECOND, Section, range, range_or_zero};

/// `[node.resolver]`.
pub(super) static RESOLVER: Section = Section {
    header: "[node.resolver]",
    about: "How the names in `addresses` of origins are resolved: from `/etc/hosts` first, then by DNS.",
    keys: &[&[
        Key {
            name: "addresses",
            kind: Kind::List(
                "IP addresses of DNS servers, with a port or without, as \"10.0.0.2\" or \"127.0.0.1:5353\"",
            ),
            default: Default::Absent("those of `/etc/resolv.conf`", "[\"10.0.0.2\", \"10.0.0.3:5353\"]"),
            meaning: "DNS servers. With them, the search list of `/etc/resolv.conf` doesn't count.",
        },
        Key {
            name: "ttl_min",
            kind: Kind::Time(range(SECOND, DAY)),
            default: Default::Value("\"5s\""),
            meaning: "A record counts at least so long, whatever its TTL says. A lookup that failed is repeated after this \
                      time, too.",
        },
        Key {
            name: "ttl_max",
            kind: Kind::Time(range(SECOND, DAY)),
            default: Default::Value("\"5m\""),
            meaning: "A record counts at most so long, whatever its TTL says; names in `/etc/hosts` are looked up so often.",
        },
        Key {
            name: "timeout",
            kind: Kind::Time(range(10 * MILLISECOND, HOUR)),
            default: Default::Value("\"5s\""),
            meaning: "For one lookup, all servers and repetitions together.",
        },
        Key {
            name: "ipv6",
            kind: Kind::Boolean,
            default: Default::Value("true"),
            meaning: "Whether IPv6 addresses (AAAA) are asked for beside those of IPv4 (A).",
        },
    ]],
};

/// `[origin.health_check]`.
pub(super) static HEALTH_CHECK: Section = Section {
    header: "[origin.health_check]",
    about: "Requests of the node itself that find out which addresses of the `[[origin]]` above it work. One prober serves \
            all workers.",
    keys: &[&[
        Key {
            name: "path",
            kind: Kind::Text("a path, with a query if need be"),
            default: Default::Required("\"/healthz\""),
            meaning: "What is asked for.",
        },
        Key {
            name: "method",
            kind: Kind::Choice(&["GET", "HEAD"]),
            default: Default::Value("\"GET\""),
            meaning: "How it is asked for.",
        },
        Key {
            name: "host",
            kind: Kind::Text("a host, with a port if need be"),
            default: Default::Absent(
                "`server_name` of `[origin.tls]`, else the address as it is written",
                "\"app.internal\"",
            ),
            meaning: "The Host of these requests. The TLS name is always that of `[origin.tls]`.",
        },
        Key {
            name: "interval",
            kind: Kind::Time(range(100 * MILLISECOND, DAY)),
            default: Default::Value("\"5s\""),
            meaning: "From one check of an address to the next; a tenth more or less, at random.",
        },
        Key {
            name: "timeout",
            kind: Kind::Time(range(10 * MILLISECOND, HOUR)),
            default: Default::Value("\"2s\""),
            meaning: "For a whole check: connection, TLS handshake, request and head of the answer.",
        },
        Key {
            name: "healthy_threshold",
            kind: Kind::Integer(range(1, 100)),
            default: Default::Value("2"),
            meaning: "Checks that an unhealthy address must pass one after another to be used again.",
        },
        Key {
            name: "unhealthy_threshold",
            kind: Kind::Integer(range(1, 100)),
            default: Default::Value("3"),
            meaning: "Checks that a healthy address must fail one after another to be used no more. The first check of an \
                      address decides alone.",
        },
        Key {
            name: "statuses",
            kind: Kind::List("statuses, as 204 or \"200-399\""),
            default: Default::Absent("200 to 399", "[\"200-299\", 401]"),
            meaning: "Statuses that pass the check.",
        },
    ]],
};

/// `[origin.outlier_detection]`.
pub(super) static OUTLIER_DETECTION: Section = Section {
    header: "[origin.outlier_detection]",
    about: "When an address of the `[[origin]]` above it is left out because of what requests met there. Each worker judges \
            for itself.",
    keys: &[&[
        Key {
            name: "connect_failures",
            kind: Kind::Integer(range_or_zero("never", 1, 1000)),
            default: Default::Value("1"),
            meaning: "Connections (TCP and TLS handshake) that can't be made, one after another, until an address is left out.",
        },
        Key {
            name: "request_failures",
            kind: Kind::Integer(range_or_zero("never", 1, 1000)),
            default: Default::Value("5"),
            meaning: "Requests that fail one after another until an address is left out: the connection breaks before the \
                      end of the answer, its head takes too long, it is no sound HTTP or has one of `statuses`.",
        },
        Key {
            name: "statuses",
            kind: Kind::List("statuses, as 503 or \"502-504\""),
            default: Default::Absent("none", "[502, 503, 504]"),
            meaning: "Statuses of answers that count as failures. The answers are relayed as they are.",
        },
        Key {
            name: "base_ejection_time",
            kind: Kind::Time(range(100 * MILLISECOND, DAY)),
            default: Default::Value("\"10s\""),
            meaning: "How long an address is left out the first time; the n-th time in a row n times as long. Then one \
                      request tries it, and the others follow once that one was served.",
        },
        Key {
            name: "max_ejection_time",
            kind: Kind::Time(range(100 * MILLISECOND, DAY)),
            default: Default::Value("\"5m\""),
            meaning: "How long an address is left out at most.",
        },
        Key {
            name: "max_ejected_percent",
            kind: Kind::Integer(range(0, 100)),
            default: Default::Value("50"),
            meaning: "Addresses of the origin that may be left out at once because of `request_failures`; one always may. \
                      Those to which no connection can be made are always left out.",
        },
    ]],
};

/// Reads `[node.resolver]`.
pub(super) fn read_resolver(table: &TableReader<'_>) -> ResolverConfig {
    let servers = table.list("addresses", "IP address of a DNS server", read_server);
    let (ttl_min, ttl_max) = bounds(table, "ttl_min", "ttl_max");
    ResolverConfig {
        addresses: servers.into_iter().map(|item| item.value).collect(),
        ttl_min,
        ttl_max,
        timeout: table.time_or_zero("timeout"),
        ipv6: table.boolean("ipv6").unwrap_or(true),
    }
}

const DNS_PORT: u16 = 53;

fn read_server(value: &DeValue<'_>) -> Result<SocketAddr, Refusal> {
    let text = value.as_str().unwrap_or_default();
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)).or_else(|_| text.parse());
    match address {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => {
            let advice = "for example \"10.0.0.2\", \"127.0.0.1:5353\" or \"[2001:db8::53]:53\"".to_owned();
            Err(Refusal::new(value, "an IP address, with a port or without", advice))
        }
    }
}

/// Reads `[origin.health_check]`.
pub(super) fn read_health_check(table: &TableReader<'_>) -> HealthCheckConfig {
    let path = table.text("path");
    if path.as_deref().is_some_and(|path| !is_target(path)) {
        let message =
            format!("found {}, allowed is a path of printable ASCII without spaces", table.shown("path"));
        table.error("path", message, "for example path = \"/healthz\"");
    }
    let host = table.text("host");
    if let Some(host) = host.as_deref().filter(|host| !crate::http::is_valid_host(host.as_bytes())) {
        table.error(
            "host",
            format!("found {host:?}, allowed is a host, with a port if need be"),
            "leave the scheme out",
        );
    }
    let mut statuses = ranges(table);
    if statuses.is_empty() {
        statuses = vec![(200, 399)];
    }
    HealthCheckConfig {
        path: path.unwrap_or_default(),
        is_head: table.choice("method", &[("GET", false), ("HEAD", true)]).unwrap_or(false),
        host,
        interval: table.time_or_zero("interval"),
        timeout: table.time_or_zero("timeout"),
        healthy_threshold: table.integer_u32("healthy_threshold"),
        unhealthy_threshold: table.integer_u32("unhealthy_threshold"),
        statuses,
    }
}

fn is_target(path: &str) -> bool {
    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Reads `[origin.outlier_detection]`.
pub(super) fn read_outlier_detection(table: &TableReader<'_>) -> OutlierConfig {
    let (base, max) = bounds(table, "base_ejection_time", "max_ejection_time");
    OutlierConfig {
        connect_failures: table.limit_u32("connect_failures"),
        request_failures: table.limit_u32("request_failures"),
        statuses: ranges(table),
        base_ejection_time: base,
        max_ejection_time: max,
        max_ejected_percent: table.integer_u32("max_ejected_percent"),
    }
}

/// Two times, the second of which must not be the shorter one.
fn bounds(table: &TableReader<'_>, least: &str, most: &str) -> (Duration, Duration) {
    let (shortest, longest) = (table.time_or_zero(least), table.time_or_zero(most));
    if longest < shortest {
        table.error(most, format!("is shorter than {least}"), "swap them, or set both to the same time");
    }
    (shortest, longest)
}

/// `statuses`: single ones, and ranges with both ends included.
fn ranges(table: &TableReader<'_>) -> Vec<(u16, u16)> {
    table.list("statuses", "status", read_range).into_iter().map(|item| item.value).collect()
}

fn read_range(value: &DeValue<'_>) -> Result<(u16, u16), Refusal> {
    let status = |text: &str| text.parse::<u16>().ok().filter(|status| (200..=599).contains(status));
    let found = match value {
        DeValue::Integer(number) => status(&number.to_string()).map(|one| (one, one)),
        DeValue::String(text) => match text.split_once('-') {
            Some((first, last)) => status(first).zip(status(last)),
            None => status(text).map(|one| (one, one)),
        },
        _ => None,
    };
    found.filter(|(first, last)| first <= last).ok_or_else(|| Refusal {
        message: format!("found {}, allowed is a status from 200 to 599, or a range of them", show(value)),
        advice: "for example 204 or \"200-399\"".to_owned(),
    })
}
