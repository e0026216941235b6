//! `[[listener]]`: where clients connect.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::limits::{LISTENER_LIMITS, read_listener_limits};
use super::model::{
    ClientAuth, ConnectionLimits, ListenerCertificateConfig, ListenerConfig, ListenerTlsConfig, TlsVersion,
};
use super::read::TableReader;
use super::schema::{Default, Key, Kind, SECOND, Section, range_or_zero};
use crate::listen::ListenAddress;
use crate::tls::tickets::TicketKeys;

/// The longest time between two changes of ticket keys, in microseconds.
const MAX_TICKET_ROTATION: u64 = TicketKeys::MAX_ROTATION.as_secs() * SECOND;

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
            kind: Kind::Text(
                "an IP address and a port, as \"0.0.0.0:8080\" or \"[::]:8080\", or unix: and a path",
            ),
            default: Default::Required("\"0.0.0.0:8080\""),
            meaning: "Where it listens. Port 0 takes any free port. An IPv6 address takes IPv6 alone. With `unix:/run/weir.sock` it is \
                      a Unix socket, whose clients count as 127.0.0.1; a relative path is relative to the file.",
        },
        Key {
            name: "proxy_protocol",
            kind: Kind::Boolean,
            default: Default::Value("false"),
            meaning: "Whether every connection begins with a PROXY protocol header, version 1 or 2, whose source is then the \
                      client. Only `[http].trusted_proxies` may connect; others, and connections without a header, are closed.",
        },
        Key {
            name: "tls",
            kind: Kind::Table("[listener.tls]"),
            default: Default::Absent(
                "plain HTTP",
                "{ certificates = [{ certificate = \"certs/site.pem\", private_key = \"certs/site.key\" }] }",
            ),
            meaning: "TLS towards clients.",
        },
        Key {
            name: "limits",
            kind: Kind::Table("[listener.limits]"),
            default: Default::Absent("all inherited", "{}"),
            meaning: "Limits of its connections and of the requests that come in by it.",
        },
    ]],
};

/// `[listener.tls]`.
pub(super) static LISTENER_TLS: Section = Section {
    header: "[listener.tls]",
    about: "TLS towards the clients of the `[[listener]]` above it.",
    keys: &[&[
        Key {
            name: "certificates",
            kind: Kind::Tables("[[listener.tls.certificates]]"),
            default: Default::Required(
                "[{ certificate = \"certs/site.pem\", private_key = \"certs/site.key\" }]",
            ),
            meaning: "The certificates to choose from by the name that the client asks for (SNI). The first one answers names \
                      that none of them carries, and clients that ask for none.",
        },
        Key {
            name: "minimum_version",
            kind: Kind::Choice(&["1.2", "1.3"]),
            default: Default::Value("\"1.2\""),
            meaning: "The oldest TLS version spoken; the newest is 1.3.",
        },
        Key {
            name: "client_auth",
            kind: Kind::Choice(&["none", "request", "require"]),
            default: Default::Value("\"none\""),
            meaning: "Whether clients are asked for a certificate. With `request` they are served without one, or with one that \
                      can't be verified, and origins are told; with `require` the handshake fails.",
        },
        Key {
            name: "client_ca",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Absent("none; needed where client_auth asks", "\"certs/clients-ca.pem\""),
            meaning: "The authorities that clients' certificates are verified against.",
        },
        Key {
            name: "client_crl",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Absent("none: revocation is not checked", "\"certs/clients.crl.pem\""),
            meaning: "Revocation lists of those authorities. Every certificate of a chain must then be covered by one.",
        },
        Key {
            name: "ticket_rotation",
            kind: Kind::Time(range_or_zero("no session tickets", SECOND, MAX_TICKET_ROTATION)),
            default: Default::Value("\"6h\""),
            meaning: "How often the key that seals session tickets changes. A ticket is good for that long at least and twice \
                      as long at most. Without tickets every connection begins with a full handshake.",
        },
    ]],
};

/// `[[listener.tls.certificates]]`.
pub(super) static LISTENER_CERTIFICATE: Section = Section {
    header: "[[listener.tls.certificates]]",
    about: "A certificate of the listener above it; usually written inline, as `certificates = [{ ... }]`.",
    keys: &[&[
        Key {
            name: "certificate",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Required("\"certs/site.pem\""),
            meaning: "The certificate, then intermediates. The names that it carries (subjectAltName) choose it.",
        },
        Key {
            name: "private_key",
            kind: Kind::Path("the path of a PEM file"),
            default: Default::Required("\"certs/site.key\""),
            meaning: "The certificate's private key, not encrypted.",
        },
    ]],
};

const CLIENT_AUTH: [(&str, ClientAuth); 3] =
    [("none", ClientAuth::None), ("request", ClientAuth::Request), ("require", ClientAuth::Require)];
const VERSIONS: [(&str, TlsVersion); 2] = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];

/// Reads one listener. `limits` are those of http.
pub(super) fn read_listener(table: &TableReader<'_>, limits: &ConnectionLimits) -> ListenerConfig {
    ListenerConfig {
        place: table.place(),
        name: table.text("name").unwrap_or_default(),
        address: table
            .listen_address("address")
            .unwrap_or(ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))),
        proxy_protocol: table.boolean("proxy_protocol").unwrap_or(false),
        limits: read_listener_limits(&table.table("limits", &LISTENER_LIMITS), limits),
        tls: table.table_if_present("tls", &LISTENER_TLS).map(|tls| read_tls(&tls)),
    }
}

/// Whose PROXY header is believed must be said.
pub(super) fn judge_proxy_protocol(table: &TableReader<'_>, listener: &ListenerConfig, trusted: &[IpNet]) {
    if listener.proxy_protocol && trusted.is_empty() && table.file.is_whole() {
        let message = "found true, and [http].trusted_proxies is empty: nobody could connect";
        let advice = "add trusted_proxies = [\"ADDRESS OF THE PROXY\"] to [http]";
        table.error("proxy_protocol", message, advice);
    }
}

fn read_tls(table: &TableReader<'_>) -> ListenerTlsConfig {
    let certificates = table.tables("certificates", &LISTENER_CERTIFICATE);
    let none_given = !table.has("certificates") && table.file.is_whole();
    if none_given || table.is_empty_list("certificates") {
        let advice = "for example certificates = [{ certificate = \"certs/site.pem\", private_key = \"certs/site.key\" }]";
        table.error("certificates", "a TLS listener needs at least one certificate", advice);
    }
    let client_auth = table.choice("client_auth", &CLIENT_AUTH).unwrap_or_default();
    let client_ca = table.path("client_ca");
    if client_auth != ClientAuth::None && !table.has("client_ca") && table.file.is_whole() {
        let advice = "add client_ca = \"PEM FILE\" with the authorities of your clients";
        table.error("client_auth", "clients are asked for a certificate, and client_ca is missing", advice);
    }
    for key in ["client_ca", "client_crl"] {
        if client_auth == ClientAuth::None && table.has(key) {
            table.warning(key, "has no effect: client_auth is \"none\"");
        }
    }
    ListenerTlsConfig {
        place: table.place(),
        certificates: certificates
            .iter()
            .map(|certificate| ListenerCertificateConfig {
                place: certificate.place(),
                certificate: certificate.path("certificate").unwrap_or_default(),
                private_key: certificate.path("private_key").unwrap_or_default(),
            })
            .collect(),
        minimum_version: table.choice("minimum_version", &VERSIONS).unwrap_or_default(),
        client_auth,
        client_ca,
        client_crl: table.path("client_crl"),
        ticket_rotation: Some(table.time_or_zero("ticket_rotation")).filter(|time| !time.is_zero()),
    }
}
