//! `[[origin]]` and `[[client_certificate]]`: where requests are forwarded to, and as whom.

use base64::Engine as _;
use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::model::{
    Balance, ClientCertificateConfig, OriginAddress, OriginConfig, OriginLimits, OriginTlsConfig, OriginTrust,
};
use super::names::Names;
use super::origin_health::{HEALTH_CHECK, OUTLIER_DETECTION, read_health_check, read_outlier_detection};
use super::read::{Item, Refusal, TableReader, show};
use super::schema::{DAY, Default, HOUR, Key, Kind, MILLISECOND, SECOND, Section, range, range_or_zero};
use crate::proxy_protocol::Version;

const BALANCES: [(&str, Balance); 3] = [
    ("round_robin", Balance::RoundRobin),
    ("least_requests", Balance::LeastRequests),
    ("client_ip", Balance::ClientIp),
];

const PROXY_PROTOCOLS: [(&str, Option<Version>); 3] =
    [("off", None), ("v1", Some(Version::V1)), ("v2", Some(Version::V2))];

/// `[[origin]]`.
pub(super) static ORIGIN: Section = Section {
    header: "[[origin]]",
    about: "Where requests are forwarded to; at least one. Counts are per worker, over all addresses of the origin.",
    keys: &[&[
        Key {
            name: "name",
            kind: Kind::Text("a name, unique among origins"),
            default: Default::Required("\"app\""),
            meaning: "What servers and locations refer to; shown in metrics.",
        },
        Key {
            name: "addresses",
            kind: Kind::List(
                "addresses with a port, as \"10.0.0.5:9443\", \"[2001:db8::5]:9443\" or \"app.internal:9443\"",
            ),
            default: Default::Required("[\"127.0.0.1:9443\"]"),
            meaning: "A name stands for all addresses that it has, and is resolved again when its records end: see \
                      `[node.resolver]`.",
        },
        Key {
            name: "balance",
            kind: Kind::Choice(&["round_robin", "least_requests", "client_ip"]),
            default: Default::Value("\"round_robin\""),
            meaning: "How an address is picked: in turn, the one with the fewest running requests, or by a hash of the \
                      client's address.",
        },
        Key {
            name: "proxy_protocol",
            kind: Kind::Choice(&["off", "v1", "v2"]),
            default: Default::Value("\"off\""),
            meaning: "The PROXY protocol header that each connection begins with, before TLS: it names the real client, so a \
                      connection then serves one client only.",
        },
        Key {
            name: "connect_timeout",
            kind: Kind::Time(range(MILLISECOND, HOUR)),
            default: Default::Value("\"3s\""),
            meaning: "For a connection, TCP and TLS handshake together. Answered 504.",
        },
        Key {
            name: "first_byte_timeout",
            kind: Kind::Time(range(MILLISECOND, DAY)),
            default: Default::Value("\"30s\""),
            meaning: "From the end of the request to the first byte of the answer. Answered 504.",
        },
        Key {
            name: "idle_timeout",
            kind: Kind::Time(range(MILLISECOND, DAY)),
            default: Default::Value("\"60s\""),
            meaning: "Between two reads of an answer, and between two successful writes of a request.",
        },
        Key {
            name: "keep_alive_timeout",
            kind: Kind::Time(range(0, DAY)),
            default: Default::Value("\"60s\""),
            meaning: "How long an unused connection is kept.",
        },
        Key {
            name: "connections",
            kind: Kind::Integer(range(1, 1_048_576)),
            default: Default::Value("256"),
            meaning: "Connections, idle ones included.",
        },
        Key {
            name: "upload_connections",
            kind: Kind::Integer(range(1, 1_048_576)),
            default: Default::Absent("three quarters of `connections`, at least 1", "192"),
            meaning: "How many of the connections requests may have whose body is still coming in. Beyond it a body is collected, up to \
                      `parked_bytes`; once it is whole, its request needs none of these.",
        },
        Key {
            name: "stalled_connections",
            kind: Kind::Integer(range(1, 1_048_576)),
            default: Default::Absent("four times `connections`", "1024"),
            meaning: "How many connections, beyond `connections`, may hold answers that slow clients don't take: more than `parked_bytes` of each \
                      wait for its client. With one more, the one that waits longest is closed, and its client's connection reset.",
        },
        Key {
            name: "idle_connections",
            kind: Kind::Integer(range(0, 1_048_576)),
            default: Default::Value("256"),
            meaning: "Unused connections that are kept; 0 keeps none.",
        },
        Key {
            name: "min_idle_connections",
            kind: Kind::Integer(range(0, 4096)),
            default: Default::Value("0"),
            meaning: "Unused connections that are kept ready, handshake included: opened at start, and again for those that are \
                      taken or close. At most `idle_connections`.",
        },
        Key {
            name: "requests_per_connection",
            kind: Kind::Integer(range_or_zero("no limit", 1, 4_294_967_295)),
            default: Default::Value("0"),
            meaning: "Requests on one connection; then it is closed.",
        },
        Key {
            name: "connection_age_max",
            kind: Kind::Time(range_or_zero("no limit", SECOND, 365 * DAY)),
            default: Default::Value("\"1h\""),
            meaning: "Age from which a connection is closed with the answer in progress, or at once if it is unused; for each \
                      up to a tenth less, at random, so that they don't all end together. WebSockets stay.",
        },
        Key {
            name: "queue",
            kind: Kind::Integer(range(0, 1_048_576)),
            default: Default::Value("1024"),
            meaning: "Requests that may wait for a connection; one more is answered 503. With 0 none waits.",
        },
        Key {
            name: "queue_timeout",
            kind: Kind::Time(range(MILLISECOND, HOUR)),
            default: Default::Value("\"3s\""),
            meaning: "How long a request may wait for a connection. Answered 503.",
        },
        Key {
            name: "panic_threshold_percent",
            kind: Kind::Integer(range(0, 100)),
            default: Default::Value("25"),
            meaning: "When fewer of the addresses are usable (healthy, and not left out as outliers), all are used. When none \
                      is, all are used anyway.",
        },
        Key {
            name: "tls",
            kind: Kind::Table("[origin.tls]"),
            default: Default::Absent("plain TCP", "{}"),
            meaning: "TLS to the origin; an empty table is TLS with the defaults.",
        },
        Key {
            name: "health_check",
            kind: Kind::Table("[origin.health_check]"),
            default: Default::Absent("no checks", "{ path = \"/healthz\" }"),
            meaning: "Checks of the addresses by requests of the node's own.",
        },
        Key {
            name: "outlier_detection",
            kind: Kind::Table("[origin.outlier_detection]"),
            default: Default::Absent("all defaults", "{}"),
            meaning: "When an address is left out because of what requests met there.",
        },
    ]],
};

/// `[origin.tls]`.
pub(super) static ORIGIN_TLS: Section = Section {
    header: "[origin.tls]",
    about: "TLS to the `[[origin]]` above it.",
    keys: &[&[
        Key {
            name: "server_name",
            kind: Kind::Text("a DNS name or an IP address"),
            default: Default::Absent(
                "the host of `addresses`, if they all have the same",
                "\"app.internal\"",
            ),
            meaning: "Sent as SNI, and what the origin's certificate must carry.",
        },
        Key {
            name: "ca",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Absent("the roots of the system", "\"certs/origin-ca.pem\""),
            meaning: "Certificates that the origin's certificate is verified against.",
        },
        Key {
            name: "verify",
            kind: Kind::Boolean,
            default: Default::Value("true"),
            meaning: "Whether the origin's certificate and name are verified. Without it anyone on the way can pose as \
                      the origin; there is a warning.",
        },
        Key {
            name: "crl",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Absent("none: revocation is not checked", "\"certs/origin.crl.pem\""),
            meaning: "Revocation lists. Every certificate of the origin's chain must then be covered by one that is up to date.",
        },
        Key {
            name: "pinned_keys",
            kind: Kind::List("SHA-256 of a public key, as \"sha256//BASE64\""),
            default: Default::Absent(
                "none: any key",
                "[\"sha256//RCV0aQBm7tOmfYHvZiRpTPKvMT7Ij2ILBhOPM8FvI7w=\"]",
            ),
            meaning: "The origin's certificate must have one of these public keys (SHA-256 over SubjectPublicKeyInfo, as curl's \
                      `--pinnedpubkey`), besides all else. With `verify = false` it is what the origin is known by.",
        },
        Key {
            name: "require_mtls",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            meaning: "Whether the origin must ask for our certificate. One that doesn't, and so lets anyone in, is refused: 502 \
                      `certificate_not_requested`. Needs `client_certificate`.",
        },
        Key {
            name: "client_certificate",
            kind: Kind::Text("the name of a [[client_certificate]]"),
            default: Default::Absent("none", "\"edge\""),
            meaning: "The identity that is shown when the origin asks for one.",
        },
    ]],
};

/// `[[client_certificate]]`.
pub(super) static CLIENT_CERTIFICATE: Section = Section {
    header: "[[client_certificate]]",
    about: "An identity towards origins; each origin picks one.",
    keys: &[&[
        Key {
            name: "name",
            kind: Kind::Text("a name, unique among client certificates"),
            default: Default::Required("\"edge\""),
            meaning: "What origins refer to; shown in `weir_client_certificate_not_after_seconds`.",
        },
        Key {
            name: "certificate",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Required("\"certs/edge.pem\""),
            meaning: "The certificate, then intermediates. It must allow client authentication.",
        },
        Key {
            name: "private_key",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Required("\"certs/edge.key\""),
            meaning: "The certificate's private key.",
        },
        Key {
            name: "ca_bundle",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Required("\"certs/edge-ca.pem\""),
            meaning: "The certificates up to the issuer's root.",
        },
    ]],
};

/// Reads one client certificate; the files stay closed.
pub(super) fn read_client_certificate(table: &TableReader<'_>) -> ClientCertificateConfig {
    ClientCertificateConfig {
        place: table.place(),
        name: table.text("name").unwrap_or_default(),
        certificate: table.path("certificate").unwrap_or_default(),
        private_key: table.path("private_key").unwrap_or_default(),
        ca_bundle: table.path("ca_bundle").unwrap_or_default(),
    }
}

/// Reads one origin. `certificates` are the names of the client certificates.
pub(super) fn read_origin(table: &TableReader<'_>, certificates: &Names) -> OriginConfig {
    let written = table.list("addresses", "address", split_address);
    let mut addresses: Vec<OriginAddress> = Vec::new();
    for Item { value: HostPort { host, port }, place, path } in &written {
        let address =
            OriginAddress { place: place.clone(), path: path.clone(), host: host.clone(), port: *port };
        if addresses.iter().any(|other| other.host.eq_ignore_ascii_case(host) && other.port == *port) {
            let message = format!("{address} is already an address of this origin; it counts once");
            table.warning("addresses", message);
        } else {
            addresses.push(address);
        }
    }
    let tls = table.table_if_present("tls", &ORIGIN_TLS);
    let health_check = table.table_if_present("health_check", &HEALTH_CHECK);
    OriginConfig {
        place: table.place(),
        name: table.text("name").unwrap_or_default(),
        addresses,
        balance: table.choice("balance", &BALANCES).unwrap_or(Balance::RoundRobin),
        proxy_protocol: table.choice("proxy_protocol", &PROXY_PROTOCOLS).flatten(),
        panic_threshold_percent: table.integer_u32("panic_threshold_percent"),
        health_check: health_check.map(|check| read_health_check(&check)),
        outliers: read_outlier_detection(&table.table("outlier_detection", &OUTLIER_DETECTION)),
        limits: read_limits(table),
        tls: tls.map(|tls| read_tls(&tls, &written, certificates)),
    }
}

/// Below this a connection that is kept ready would be made anew all the time.
const READY_TIME_MIN: Duration = Duration::from_secs(1);

fn read_limits(table: &TableReader<'_>) -> OriginLimits {
    let limits = OriginLimits {
        connect_timeout: table.time_or_zero("connect_timeout"),
        first_byte_timeout: table.time_or_zero("first_byte_timeout"),
        idle_timeout: table.time_or_zero("idle_timeout"),
        keep_alive_timeout: table.time_or_zero("keep_alive_timeout"),
        connections: table.integer_u32("connections"),
        upload_connections: table.integer("upload_connections").and_then(|count| u32::try_from(count).ok()),
        stalled_connections: table.integer("stalled_connections").and_then(|count| u32::try_from(count).ok()),
        idle_connections: table.integer_u32("idle_connections"),
        min_idle_connections: table.integer_u32("min_idle_connections"),
        requests_per_connection: table.limit_u32("requests_per_connection"),
        connection_age_max: Some(table.time_or_zero("connection_age_max")).filter(|age| !age.is_zero()),
        queue: table.integer_u32("queue"),
        queue_timeout: table.time_or_zero("queue_timeout"),
    };
    let ready = limits.min_idle_connections;
    if ready > limits.idle_connections || ready > limits.connections {
        let message = format!(
            "found {ready}, allowed is at most idle_connections ({}) and connections ({})",
            limits.idle_connections, limits.connections
        );
        table.error("min_idle_connections", message, "raise those, or keep fewer ready");
    }
    if ready > 0 && limits.keep_alive_timeout < READY_TIME_MIN {
        let message = "found less than 1s, but min_idle_connections keeps connections ready";
        table.error("keep_alive_timeout", message, "set at least \"1s\", or leave min_idle_connections out");
    }
    if ready > 0 && table.raw_text("proxy_protocol").is_some_and(|version| version != "off") {
        let message = "has no effect: with proxy_protocol a connection is made for one client";
        table.warning("min_idle_connections", message);
    }
    limits
}

fn read_tls(table: &TableReader<'_>, addresses: &[Item<HostPort>], certificates: &Names) -> OriginTlsConfig {
    let verify = table.boolean("verify").unwrap_or(true);
    let ca = table.path("ca");
    let pins = table.list("pinned_keys", "SHA-256 of a public key", read_pin);
    for key in ["ca", "crl"] {
        if !verify && table.has(key) {
            table.warning(key, "has no effect: verify is false");
        }
    }
    if !verify && pins.is_empty() {
        table.warning(
            "verify",
            "the origin's certificate is not verified: anyone on the way can pose as the origin",
        );
    }
    let require_mtls = table.boolean("require_mtls").unwrap_or(false);
    if require_mtls && !table.has("client_certificate") && table.file.is_whole() {
        let advice = "add client_certificate = \"NAME\" of a [[client_certificate]]";
        table.error("require_mtls", "found true without client_certificate", advice);
    }
    OriginTlsConfig {
        place: table.place(),
        server_name: read_server_name(table, addresses),
        trust: match (verify, ca) {
            (false, _) => OriginTrust::Unverified,
            (true, Some(file)) => OriginTrust::Bundle(file),
            (true, None) => OriginTrust::SystemRoots,
        },
        crl: table.path("crl").filter(|_| verify),
        pinned_keys: pins.into_iter().map(|item| item.value).collect(),
        require_mtls,
        client_certificate: certificates.find(table, "client_certificate"),
    }
}

/// `sha256//` and 32 bytes in base64.
fn read_pin(value: &DeValue<'_>) -> Result<[u8; 32], Refusal> {
    let refuse = || {
        Refusal {
        message: format!("found {}, allowed is \"sha256//\" and the SHA-256 of a public key in base64", show(value)),
        advice: "the key of a certificate: openssl x509 -in FILE -pubkey -noout | openssl pkey -pubin -outform der | \
                 openssl dgst -sha256 -binary | base64"
            .to_owned(),
    }
    };
    let text = value.as_str().and_then(|text| text.strip_prefix("sha256//")).ok_or_else(refuse)?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| refuse())?;
    bytes.try_into().map_err(|_| refuse())
}

fn read_server_name(table: &TableReader<'_>, addresses: &[Item<HostPort>]) -> String {
    if let Some(name) = table.text("server_name") {
        if rustls_pki_types::ServerName::try_from(name.as_str()).is_err() {
            let message = format!("found {name:?}, allowed is a DNS name or an IP address");
            table.error("server_name", message, "for example server_name = \"app.internal\", without a port");
        }
        return name;
    }
    let mut hosts = addresses.iter().map(|item| item.value.host.as_str());
    let first = hosts.next().unwrap_or_default();
    if hosts.any(|host| host != first) && !table.has("server_name") && table.file.is_whole() {
        let message = "is missing, and the addresses of the origin have several hosts";
        table.error(
            "server_name",
            message,
            "add server_name = \"NAME\", the name in the origin's certificate",
        );
    }
    first.to_owned()
}

/// An address as it was written.
struct HostPort {
    host: String,
    port: u16,
}

/// `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`.
fn split_address(value: &DeValue<'_>) -> Result<HostPort, Refusal> {
    let text = value.as_str().unwrap_or("");
    let refuse = |advice: &str| {
        let allowed = "an IP address or a host name, and a port";
        Refusal { message: format!("found {}, allowed is {allowed}", show(value)), advice: advice.to_owned() }
    };
    if text.starts_with("unix:") || text.starts_with('/') {
        return Err(refuse("unix sockets are not supported in this version"));
    }
    if text.contains("://") {
        return Err(refuse("leave the scheme out; TLS is switched on by [origin.tls]"));
    }
    let example = "for example \"127.0.0.1:9443\", \"[2001:db8::5]:9443\" or \"app.internal:9443\"";
    let (host, port) = text.rsplit_once(':').ok_or_else(|| refuse(example))?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port > 0);
    let port = port.ok_or_else(|| refuse("a port is a number from 1 to 65535"))?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let address = host.parse::<IpAddr>().ok();
    let is_name = address.is_none() && rustls_pki_types::DnsName::try_from(host).is_ok();
    match (bracketed, address) {
        (Some(_), Some(IpAddr::V6(_))) | (None, Some(IpAddr::V4(_))) => {}
        (None, Some(IpAddr::V6(_))) => {
            return Err(refuse("write an IPv6 address in brackets, as \"[2001:db8::5]:9443\""));
        }
        (None, None) if is_name => {}
        _ => return Err(refuse(example)),
    }
    Ok(HostPort { host: host.to_owned(), port })
}
