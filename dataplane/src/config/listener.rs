//! `[[listener]]`: where clients connect.

use std::net::{Ipv4Addr, SocketAddr};

use super::model::ListenerConfig;
use super::read::TableReader;
use super::schema::{Default, Key, Kind, Section};

/// `[[listener]]`.
pub(super) static LISTENER: Section = Section {
    header: "[[listener]]",
    about: "Where clients connect; at least one.",
    keys: &[&[
        Key {
            name: "name",
            kind: Kind::Text("a name, unique among listeners"),
            default: Default::Required("\"public\""),
            meaning: "Shown in logs and metrics.",
        },
        Key {
            name: "address",
            kind: Kind::Text("an IP address and a port, as \"0.0.0.0:8080\" or \"[::]:8080\""),
            default: Default::Required("\"0.0.0.0:8080\""),
            meaning: "Where it listens. Port 0 takes any free port.",
        },
        Key {
            name: "proxy_protocol",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            meaning: "Whether connections begin with a PROXY protocol header. `true` is not supported in this version.",
        },
        Key {
            name: "tls",
            kind: Kind::Later("TLS listeners are not supported in this version"),
            default: Default::Absent("plain HTTP", "{}"),
            meaning: "TLS towards clients, `[listener.tls]`.",
        },
    ]],
};

/// Reads one listener.
pub(super) fn read_listener(table: &TableReader<'_>) -> ListenerConfig {
    if table.boolean("proxy_protocol") == Some(true) {
        let message = "found true: the PROXY protocol is not supported in this version";
        table.error("proxy_protocol", message, "set it to false or remove it");
    }
    ListenerConfig {
        place: table.place(),
        name: table.text("name").unwrap_or_default(),
        address: table.address("address").unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
    }
}
