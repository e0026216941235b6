//! `[http]`: the most global context.

use ipnet::IpNet;
use toml::de::DeValue;

use super::block_response::HTTP_BLOCK_RESPONSE;
use super::context::{CONTEXT_KEYS, read_context, read_field_name};
use super::handling::{HTTP_HANDLING_KEYS, read_handling};
use super::limits::{HTTP_LIMITS, read_connection_limits, read_http_request_limits};
use super::model::{AmbiguousPath, HttpConfig};
use super::read::{Refusal, TableReader};
use super::schema::{Default, Key, Kind, Section};
use crate::http::UnderscoreNames;

const UNDERSCORE_NAMES: [(&str, UnderscoreNames); 3] =
    [("pass", UnderscoreNames::Pass), ("drop", UnderscoreNames::Drop), ("reject", UnderscoreNames::Reject)];

const AMBIGUOUS_PATH: [(&str, AmbiguousPath); 3] = [
    ("strictest", AmbiguousPath::Strictest),
    ("reject", AmbiguousPath::Reject),
    ("literal", AmbiguousPath::Literal),
];

/// `[http]`.
pub(super) static HTTP: Section = Section {
    header: "[http]",
    about: "The most global context: what holds for every server and location that doesn't say otherwise. The \
            environment variable `WEIR_MODE` sets `mode` and wins over the file; empty counts as unset.",
    keys: &[
        CONTEXT_KEYS,
        &[
            Key {
                name: "acl_access_phase",
                kind: Kind::OnOff,
                default: Default::Value("\"on\""),
                meaning: "Whether denylisted addresses are blocked before anything else, in every mode but `off`. With \
                          `off` they are blocked only where they attack.",
            },
            Key {
                name: "trusted_proxies",
                kind: Kind::List("IP addresses and networks, for example \"10.0.0.0/8\""),
                default: Default::Absent("none: forwarding headers are not believed", "[\"10.0.0.0/8\"]"),
                meaning: "Peers whose forwarding header says who the client is.",
            },
            Key {
                name: "real_ip_header",
                kind: Kind::Text("the name of a header field"),
                default: Default::Value("\"X-Forwarded-For\""),
                meaning: "The forwarding header of trusted proxies.",
            },
            Key {
                name: "underscore_headers",
                kind: Kind::Choice(&["pass", "drop", "reject"]),
                default: Default::Value("\"pass\""),
                meaning: "Header fields of clients with `_` in their names, which origins of the CGI kind take for those \
                          with `-`. `drop` inspects them and leaves them out of what is forwarded; `reject` answers \
                          400.",
            },
            Key {
                name: "ambiguous_path",
                kind: Kind::Choice(&["strictest", "reject", "literal"]),
                default: Default::Value("\"strictest\""),
                meaning: "A path that servers may read in different ways (`%2f`, `%3a`, `\\\\`, `;`, dot segments, `//`), \
                          where the readings lead to different places: the strictest of them decides, or the request is answered \
                          400, or the path is taken as normalised for locations.",
            },
            Key {
                name: "limits",
                kind: Kind::Table("[http.limits]"),
                default: Default::Absent("all defaults", "{}"),
                meaning: "Limits of connections and requests.",
            },
        ],
        HTTP_HANDLING_KEYS,
        HTTP_BLOCK_RESPONSE,
    ],
};

/// Reads `[http]`. `WEIR_MODE` is laid over it by the caller.
pub(super) fn read_http(table: &TableReader<'_>) -> HttpConfig {
    let limits = table.table("limits", &HTTP_LIMITS);
    let proxies = table.list("trusted_proxies", "IP address or network", read_network);
    HttpConfig {
        context: read_context(table),
        acl_access_phase: table.boolean("acl_access_phase").unwrap_or(true),
        trusted_proxies: proxies.into_iter().map(|item| canonical_network(item.value)).collect(),
        real_ip_header: read_field_name(table, "real_ip_header"),
        underscore_headers: table
            .choice("underscore_headers", &UNDERSCORE_NAMES)
            .unwrap_or(UnderscoreNames::Pass),
        ambiguous_path: table.choice("ambiguous_path", &AMBIGUOUS_PATH).unwrap_or(AmbiguousPath::Strictest),
        connection_limits: read_connection_limits(&limits, None),
        limits: read_http_request_limits(&limits),
        handling: read_handling(table, None),
    }
}

/// An IP address or a network in CIDR form; host bits are kept, for a warning about them.
pub(super) fn read_network(value: &DeValue<'_>) -> Result<IpNet, Refusal> {
    let network = value.as_str().and_then(parse_network);
    network.ok_or_else(|| Refusal::new(value, "an IP address or a network", NETWORK_ADVICE.to_owned()))
}

pub(super) const NETWORK_ADVICE: &str = "for example \"192.0.2.7\", \"10.0.0.0/8\" or \"2001:db8::/32\"";

/// The same out of a text.
pub(crate) fn parse_network(text: &str) -> Option<IpNet> {
    let single = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    if text.contains('/') { text.parse().ok() } else { single() }
}

/// A network without host bits, and IPv4 inside IPv6 as plain IPv4: it compares equal whichever way it came.
pub(crate) fn canonical_network(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(mapped) = IpNet::new(v4.into(), prefix)
    {
        return mapped.trunc();
    }
    network.trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_canonical() {
        for (text, canonical) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:0.0.0.0/95", "::fffe:0:0/95"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(canonical_network(text.parse().unwrap()).to_string(), canonical, "{text}");
        }
    }
}
