//! `[[server]]` and `[[server.location]]`: which hosts and paths are served, and how.

use toml::de::DeValue;

use super::block_response::BLOCK_RESPONSE_KEY;
use super::context::{CONTEXT_KEYS, read_context};
use super::handling::{HANDLING_KEYS, read_handling};
use super::limits::{LOCATION_LIMITS, OwnRequestLimits, SERVER_LIMITS, read_own_request_limits};
use super::model::{HandlingConfig, HttpConfig, LocationConfig, MatchKind, ServerConfig};
use super::names::Names;
use super::read::{Refusal, TableReader, show};
use super::schema::{Default, Key, Kind, Section};

const MATCHES: [(&str, MatchKind); 5] = {
    const fn named(kind: MatchKind) -> (&'static str, MatchKind) {
        (kind.as_str(), kind)
    }
    [
        named(MatchKind::Prefix),
        named(MatchKind::Exact),
        named(MatchKind::PrefixFinal),
        named(MatchKind::Regex),
        named(MatchKind::RegexNocase),
    ]
};

/// `[[server]]`.
pub(super) static SERVER: Section = Section {
    header: "[[server]]",
    about: "Which hosts are served, and how; at least one. An exact host wins over wildcards, the longest wildcard \
            over shorter ones, then comes the default server, and without one the first.",
    keys: &[
        &[
            Key {
                name: "name",
                kind: Kind::Text("a name, unique among servers"),
                default: Default::Required("\"server-a\""),
                meaning: "Shown in events, metrics and explanations.",
            },
            Key {
                name: "hosts",
                kind: Kind::List("host names, for example \"www.example\" or \"*.example\""),
                default: Default::Absent("none", "[\"server-a.example\"]"),
                meaning: "Host names in any case, without ports. `*.x` is any name below `x`, at any depth, not `x` \
                          itself. A host belongs to one server.",
            },
            Key {
                name: "default",
                kind: Kind::Boolean,
                default: Default::Value("false"),
                meaning: "Whether it answers hosts that no server names. At most one server does.",
            },
            Key {
                name: "origin",
                kind: Kind::Text("the name of an [[origin]]"),
                default: Default::Required("\"app\""),
                meaning: "Where requests are forwarded to.",
            },
        ],
        CONTEXT_KEYS,
        HANDLING_KEYS,
        BLOCK_RESPONSE_KEY,
        &[
            Key {
                name: "limits",
                kind: Kind::Table("[server.limits]"),
                default: Default::Absent("all inherited", "{}"),
                meaning: "Limits of requests to this server.",
            },
            Key {
                name: "location",
                kind: Kind::Tables("[[server.location]]"),
                default: Default::Absent("none", "[]"),
                meaning: "Paths with settings of their own.",
            },
        ],
    ],
};

/// `[[server.location]]`.
pub(super) static LOCATION: Section = Section {
    header: "[[server.location]]",
    about: "Settings for some paths of the `[[server]]` above it. Ranked as in nginx: `exact`; then the longest prefix \
            if it is `prefix_final`; then the first regular expression, `regex` or `regex_nocase`, in the order of the file; \
            then the longest prefix. Paths are compared with dot segments, repeated slashes \
            and percent-encodings normalised.",
    keys: &[
        &[
            Key {
                name: "path",
                kind: Kind::Text("a path that begins with /, or a regular expression"),
                default: Default::Required("\"/login\""),
                meaning: "What is compared with the request's path.",
            },
            Key {
                name: "match",
                kind: Kind::Choice(&["prefix", "exact", "prefix_final", "regex", "regex_nocase"]),
                default: Default::Value("\"prefix\""),
                meaning: "How it is compared.",
            },
            Key {
                name: "origin",
                kind: Kind::Text("the name of an [[origin]]"),
                default: Default::Absent("inherited", "\"app\""),
                meaning: "Where requests are forwarded to.",
            },
        ],
        CONTEXT_KEYS,
        HANDLING_KEYS,
        BLOCK_RESPONSE_KEY,
        &[Key {
            name: "limits",
            kind: Kind::Table("[server.location.limits]"),
            default: Default::Absent("all inherited", "{}"),
            meaning: "Limits of requests to this location.",
        }],
    ],
};

/// Reads all servers. `origins` are the origins' names, `http` is what they inherit from.
pub(super) fn read_servers(
    tables: &[TableReader<'_>],
    origins: &Names,
    http: &HttpConfig,
) -> Vec<ServerConfig> {
    let mut hosts = Names::new("host");
    let mut default_server = None;
    let mut servers = Vec::with_capacity(tables.len());
    for table in tables {
        let server = read_server(table, origins, http, &mut hosts);
        if server.default {
            match &default_server {
                None => default_server = Some(table.place_of("default")),
                Some(first) => {
                    let message = format!("found a second default server; the first is at {first}");
                    table.error("default", message, "set default = true in one server alone");
                }
            }
        }
        servers.push(server);
    }
    servers
}

fn read_server(
    table: &TableReader<'_>,
    origins: &Names,
    http: &HttpConfig,
    all_hosts: &mut Names,
) -> ServerConfig {
    let hosts = table.list("hosts", "host name", read_host);
    for host in &hosts {
        let same = host.value.trim_end_matches('.').to_ascii_lowercase();
        all_hosts.add_at(&same, &host.place, &host.path, table.file);
    }
    let origin = origins.find(table, "origin").unwrap_or(0);
    let limits = read_own_request_limits(&table.table("limits", &SERVER_LIMITS));
    let handling = read_handling(table, Some(&http.handling));
    ServerConfig {
        place: table.place(),
        name: table.text("name").unwrap_or_default(),
        hosts: hosts.into_iter().map(|host| host.value).collect(),
        default: table.boolean("default").unwrap_or(false),
        context: read_context(table),
        locations: read_locations(table, origins, origin, &limits, &handling),
        origin,
        limits,
        handling,
    }
}

fn read_locations(
    server: &TableReader<'_>,
    origins: &Names,
    origin: usize,
    limits: &OwnRequestLimits,
    handling: &HandlingConfig,
) -> Vec<LocationConfig> {
    let mut locations = Vec::new();
    let mut paths = Names::new("location");
    for table in server.tables("location", &LOCATION) {
        let match_kind = table.choice("match", &MATCHES).unwrap_or(MatchKind::Prefix);
        let path = table.text("path").unwrap_or_default();
        if let Some(compared_as) = compared_as(match_kind)
            && !path.is_empty()
        {
            if !path.starts_with('/') {
                let message = format!("found {}, allowed is a path that begins with /", table.shown("path"));
                table.error("path", message, advice_for_path(&path));
            }
            let same = format!("{compared_as} {path}");
            paths.add_at(&same, &table.place_of("path"), &table.path_of("path"), table.file);
        }
        let limits = read_own_request_limits(&table.table("limits", &LOCATION_LIMITS)).or(limits);
        locations.push(LocationConfig {
            place: table.place(),
            path,
            match_kind,
            context: read_context(&table),
            origin: origins.find(&table, "origin").unwrap_or(origin),
            limits,
            handling: read_handling(&table, Some(handling)),
        });
    }
    locations
}

/// What to write instead of a path without its slash. Modifiers as nginx has them stand in a key of their own.
fn advice_for_path(path: &str) -> String {
    let modified =
        |match_name: &str, rest: &str| format!("write path = {rest:?} with match = {match_name:?}");
    if let Some(rest) = path.strip_prefix("^~") {
        modified("prefix_final", rest.trim_start())
    } else if let Some(rest) = path.strip_prefix('=') {
        modified("exact", rest.trim_start())
    } else if let Some(rest) = path.strip_prefix("~*") {
        modified("regex_nocase", rest.trim_start())
    } else if let Some(rest) = path.strip_prefix('~') {
        modified("regex", rest.trim_start())
    } else {
        format!("write {:?}", format!("/{path}"))
    }
}

/// What can't be there twice for one path. `prefix` and `prefix_final` are two ways to treat one prefix, so
/// that both at once contradict each other. Of regexes the first one in the file holds.
const fn compared_as(match_kind: MatchKind) -> Option<&'static str> {
    match match_kind {
        MatchKind::Prefix | MatchKind::PrefixFinal => Some("prefix"),
        MatchKind::Exact => Some("exact"),
        MatchKind::Regex | MatchKind::RegexNocase => None,
    }
}

/// A host name, perhaps below `*.`; an IPv6 address stands in brackets.
fn read_host(value: &DeValue<'_>) -> Result<String, Refusal> {
    let text = value.as_str().unwrap_or("");
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_v6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_address = is_v6.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    if text != "_" && (is_address || (name.len() <= 253 && name.split('.').all(label))) {
        return Ok(text.to_owned());
    }
    let advice = if text.contains("://") || text.contains('/') {
        "write the host name alone, without scheme and path"
    } else if text == "_" {
        "default = true answers all hosts that no server names"
    } else if text.contains('*') {
        "a wildcard is written \"*.example\" and stands for whole labels; default = true answers all other hosts"
    } else if text.contains(':') {
        "leave the port out; an IPv6 address is written \"[2001:db8::1]\""
    } else if !text.is_ascii() {
        "write international names in their xn-- form"
    } else {
        "for example \"www.example\" or \"*.example\""
    };
    Err(Refusal {
        message: format!("found {}, allowed is a host name, or \"*.\" and a host name", show(value)),
        advice: advice.to_owned(),
    })
}
