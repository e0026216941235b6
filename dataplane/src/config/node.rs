//! `[node]`, `[events]` and `[admin]`: the process and what it tells.

use crate::listen::ListenAddress;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use super::model::{AdminConfig, EventsConfig, IoBackend, ListenerConfig, NodeConfig};
use super::origin_health::{RESOLVER, read_resolver};
use super::read::TableReader;
use super::schema::{DAY, Default, GIB, HOUR, KIB, Key, Kind, MIB, SECOND, Section, range, range_or_zero};
use crate::control::Token;

/// `[node]`.
pub(super) static NODE: Section = Section {
    header: "[node]",
    about: "The process and its workers.",
    keys: &[&[
        Key {
            name: "workers",
            kind: Kind::Integer(range_or_zero("one per core that this process may use", 1, 1024)),
            default: Default::Value("0"),
            meaning: "Worker threads, each with its own ring, connections and pools. The count of cores follows \
                      affinity and cgroup limits.",
        },
        Key {
            name: "max_connections",
            kind: Kind::Integer(range(1, 16_777_216)),
            default: Default::Value("100000"),
            meaning: "Client connections open at once, over all workers. One more is closed at once.",
        },
        Key {
            name: "max_tunnels",
            kind: Kind::Integer(range_or_zero("none is opened", 1, 16_777_216)),
            default: Default::Value("10000"),
            meaning: "WebSockets open at once, over all workers. One more is answered 503. Each also counts as a client \
                      connection, and none as a connection of its origin.",
        },
        Key {
            name: "body_bytes_total",
            kind: Kind::Size(range(MIB, 1024 * GIB)),
            default: Default::Value("\"256MiB\""),
            meaning: "Request bodies that are kept in memory for inspection, over all workers. Beyond it `overload` says \
                      what happens.",
        },
        Key {
            name: "origin_connections_total",
            kind: Kind::Integer(range(1, 1_048_576)),
            default: Default::Value("4096"),
            meaning: "Connections to all origins together, per worker, idle ones included. At the cap the oldest idle \
                      one makes room.",
        },
        Key {
            name: "rate_limit_memory",
            kind: Kind::Size(range(64 * KIB, 64 * GIB)),
            default: Default::Value("\"64MiB\""),
            meaning: "Memory for the buckets of rate limits, shared by all workers: 16 bytes a key. It is taken once \
                      there is a rule of type `rate_limit`, page by page as keys come, and kept from then on. When it is \
                      full, the key that holds back least is forgotten.",
        },
        Key {
            name: "drain_timeout",
            kind: Kind::Time(range(0, HOUR)),
            default: Default::Value("\"30s\""),
            meaning: "How long running requests may take to finish after SIGTERM.",
        },
        Key {
            name: "certificate_check_interval",
            kind: Kind::Time(range_or_zero("never", SECOND / 10, DAY)),
            default: Default::Value("\"10s\""),
            meaning: "How often the files of certificates, keys, bundles and revocation lists are looked at. When they have changed \
                      and then stayed the same for one look, the config is reloaded, as by SIGHUP.",
        },
        Key {
            name: "state_dir",
            kind: Kind::Path("the path of a folder"),
            default: Default::Value("\"state\""),
            meaning: "Folder of rules and lists that were changed over the admin API. Made if it is missing; one node \
                      alone may use it.",
        },
        Key {
            name: "io",
            kind: Kind::Choice(&["auto", "uring", "portable", "monoio"]),
            default: Default::Value("\"auto\""),
            meaning: "I/O backend. `auto` takes io_uring where a ring can be made at start, and `portable` otherwise: epoll, \
                      for kernels before 6.1 and containers that refuse io_uring. `monoio` is another name of it. The \
                      log and `/status` say which it is.",
        },
        Key {
            name: "resolver",
            kind: Kind::Table("[node.resolver]"),
            default: Default::Absent("all defaults", "{}"),
            meaning: "How the names of origins are resolved.",
        },
    ]],
};

/// `[events]`.
pub(super) static EVENTS: Section = Section {
    header: "[events]",
    about: "Where attacks are recorded.",
    keys: &[&[
        Key {
            name: "file",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: events are counted only", "\"events.jsonl\""),
            meaning: "One JSON object a line is appended to it.",
        },
        Key {
            name: "queue_length",
            kind: Kind::Integer(range(16, 1_048_576)),
            default: Default::Value("8192"),
            meaning: "Events that may wait in the queue of one worker; one more is dropped and counted in \
                      `weir_events_dropped_total`.",
        },
        Key {
            name: "queue_bytes",
            kind: Kind::Size(range(64 * KIB, 64 * GIB)),
            default: Default::Value("\"64MiB\""),
            meaning: "Bytes of events that may wait in memory while the file can't be written; more is dropped and \
                      counted.",
        },
        Key {
            name: "refusals_per_second",
            kind: Kind::Integer(range_or_zero("no such events", 1, 1_000_000)),
            default: Default::Value("5"),
            meaning: "Events of a worker about requests that are no sound HTTP, too long or too slow, on average; ten \
                      times as many may come at once. Further ones are counted in the next such event and in \
                      `weir_events_suppressed_total`.",
        },
    ]],
};

/// `[admin]`.
pub(super) static ADMIN: Section = Section {
    header: "[admin]",
    about: "The admin endpoint: state, metrics, explanations, reload. Off when this table is absent.",
    keys: &[&[
        Key {
            name: "address",
            kind: Kind::Text("an IP address and a port, as \"127.0.0.1:9901\""),
            default: Default::Required("\"127.0.0.1:9901\""),
            meaning: "Where it listens. Any address but a loopback one needs `token_file`. Port 0 takes any free port.",
        },
        Key {
            name: "token_file",
            kind: Kind::Path("the path of a file"),
            default: Default::Absent("none: loopback callers need no token", "\"admin.token\""),
            meaning: "File that holds the bearer token which every call must carry then. A reload reads it again.",
        },
    ]],
};

/// Reads `[node]`.
pub(super) fn read_node(table: &TableReader<'_>) -> NodeConfig {
    let backends = [
        ("auto", IoBackend::Auto),
        ("uring", IoBackend::Uring),
        ("portable", IoBackend::Portable),
        ("monoio", IoBackend::Portable),
    ];
    let io = table.choice("io", &backends);
    NodeConfig {
        workers: table
            .integer("workers")
            .and_then(|count| u16::try_from(count).ok())
            .filter(|count| *count > 0),
        max_connections: table.integer_u32("max_connections"),
        max_tunnels: table.integer_u32("max_tunnels"),
        body_bytes_total: table.size("body_bytes_total").unwrap_or(0),
        origin_connections_total: table.integer_u32("origin_connections_total"),
        rate_limit_memory_bytes: table.size("rate_limit_memory").unwrap_or(0),
        drain_timeout: table.time_or_zero("drain_timeout"),
        certificate_check_interval: table.time_or_zero("certificate_check_interval"),
        state_dir: table.path("state_dir").unwrap_or_default(),
        io: io.unwrap_or(IoBackend::Auto),
        resolver: read_resolver(&table.table("resolver", &RESOLVER)),
    }
}

/// Reads `[events]`. If the node is to `serve`, the file must be one that it can write to.
pub(super) fn read_events(table: &TableReader<'_>, serve: bool) -> EventsConfig {
    let file = table.path("file");
    if let Some(file) = file.as_ref().filter(|_| serve)
        && let Err(reason) = judge_appendable(file)
    {
        let message = format!("events can't be appended to {}: {reason}", file.display());
        table.error("file", message, "name a file in a folder that exists and that this user may write to");
    }
    EventsConfig {
        file,
        queue_length: table.integer_u32("queue_length"),
        queue_bytes: table.size("queue_bytes").unwrap_or(0),
        refusals_per_second: table.integer_u32("refusals_per_second"),
    }
}

/// Whether this user could open a file for appending, or create it. Opens and creates nothing.
fn judge_appendable(file: &Path) -> Result<(), String> {
    if file.is_dir() {
        return Err("it is a folder".to_owned());
    }
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        return Err("it is a socket".to_owned());
    }
    if file.exists() {
        return access(file, Access::READ_OK | Access::WRITE_OK).map_err(|error| error.to_string());
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("it doesn't exist, and folder {}: {error}", folder.display()))
}

/// Reads `[admin]`. `listeners` are those that its address must not meet. If the node is to `serve`, the token
/// must be there.
pub(super) fn read_admin(table: &TableReader<'_>, listeners: &[ListenerConfig], serve: bool) -> AdminConfig {
    let address = table.address("address");
    let token_file = table.path("token_file");
    let token = token_file.as_ref().filter(|_| serve).and_then(|file| {
        let advice = "write the token into that file, or name one that this user may read";
        Token::read(file).map_err(|reason| table.error("token_file", reason, advice)).ok()
    });
    if let Some(address) = address {
        judge_admin_address(table, address, listeners);
    }
    AdminConfig {
        place: table.place(),
        address: address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        token_file,
        token,
    }
}

fn judge_admin_address(table: &TableReader<'_>, address: SocketAddr, listeners: &[ListenerConfig]) {
    if !address.ip().to_canonical().is_loopback() && !table.has("token_file") {
        let message = format!("found {address}: without token_file only a loopback address is allowed");
        table.error("address", message, "add token_file = \"admin.token\", or listen on 127.0.0.1");
    }
    if let Some(listener) = listeners.iter().find(|listener| shares_port(address, &listener.address)) {
        let message = format!(
            "found {address}, which listener {:?} at {} listens on with {}",
            listener.name, listener.place, listener.address
        );
        table.error("address", message, "give the admin endpoint a port of its own");
    }
}

/// Whether the admin endpoint's socket and a listener's can't both be bound.
fn shares_port(admin: SocketAddr, listener: &ListenAddress) -> bool {
    let ListenAddress::Tcp(listener) = listener else { return false };
    let overlap = match (admin.ip().to_canonical(), listener.ip().to_canonical()) {
        // Bound to the wildcard of IPv6 the admin endpoint takes IPv4 too, as the system has it; a listener
        // never does.
        (IpAddr::V6(admin), IpAddr::V4(_)) => admin.is_unspecified(),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
        (admin, listener) => admin == listener || admin.is_unspecified() || listener.is_unspecified(),
    };
    overlap && admin.port() != 0 && admin.port() == listener.port()
}
