//! Why a request gets what it gets: the slow path that tells everything.

use std::net::IpAddr;

use serde::Serialize;

use crate::attributes::Client;
use crate::hosts::{self, Host};
use crate::list_matches::{CoveringEntry, ListMatch};
use crate::mode::{Mode, Override, RuleMode};
use crate::path::{Path, PathScratch};
use crate::policy::{
    HeaderMap, LocationIndex, ModeSource, Policy, RequestFacts, Resolution, Scratch, ServerIndex, SetBy,
    Stage,
};
use crate::rules::Facts;
use crate::source::{ContextSource, List, ServerSource};

/// What one context sets of its own; what is absent is inherited from the context before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextSettings {
    /// `http`, `environment` (where that sets the mode of `http`), `server NAME` or `location PATH`.
    pub context: String,
    /// The local mode.
    pub mode: Option<Mode>,
    /// The header that `mode_by_header` looks at.
    pub mode_by_header: Option<String>,
    /// How far rules may change the mode.
    pub mode_allow_override: Option<Override>,
    /// The application.
    pub application: Option<i64>,
    /// Whether lists are left unread.
    pub disable_acl: Option<bool>,
}

impl ContextSettings {
    fn new(context: String, settings: &ContextSource) -> Self {
        Self {
            context,
            mode: settings.mode,
            mode_by_header: settings.mode_by_header.as_ref().map(|map| map.header.clone()),
            mode_allow_override: settings.mode_allow_override,
            application: settings.application,
            disable_acl: settings.disable_acl,
        }
    }
}

/// A value, and who set it: `environment`, `http`, `server NAME`, `location PATH` or `default`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub from: String,
}

/// Why a server answers a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "pattern", rename_all = "snake_case")]
pub enum ServerBy {
    /// It names the host.
    Exact(String),
    /// One of its wildcards covers the host, and no longer one of another server.
    Wildcard(String),
    /// No server names the host: it is the default server.
    Default,
    /// No server names the host, and none is the default: it is the first.
    First,
}

/// What `mode_by_header` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// The header's name, as the map has it.
    pub header: String,
    /// The text of the map that occurs in it.
    pub contains: String,
}

/// A rule that matches the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleMatch {
    /// Its id.
    pub id: u64,
    /// Index in the source.
    #[serde(skip)]
    pub index: usize,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What a rule of type `mode` says; none for other types.
    pub mode: Option<RuleMode>,
    /// It counts: of mode rules it is the one that goes before the others, and whether that sets the mode is up to
    /// `mode_allow_override`; of other types it holds for this request.
    pub wins: bool,
    /// Why it wins or loses, in words.
    pub why: String,
}

/// What becomes of the general mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneralMode {
    /// What it is.
    pub mode: RuleMode,
    /// It goes before all mode rules that match; whether it sets the mode is up to `mode_allow_override`.
    pub wins: bool,
    /// Why it wins or loses, in words.
    pub why: String,
}

/// How a resolution came about. Serialises to the fields that `weir explain --json` prints, and two more.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The server's name.
    pub server: String,
    /// Why that server.
    pub server_by: ServerBy,
    /// Every context of the place with what it sets, from the most global one to the most local one.
    pub contexts: Vec<ContextSettings>,
    /// The location's path; none if no location of the server takes the path.
    pub location: Option<String>,
    /// The application.
    pub application: i64,
    /// The local mode.
    pub local_mode: Sourced<Mode>,
    /// The header that chose the local mode, if one did.
    pub local_mode_by_header: Option<HeaderMatch>,
    /// The override policy.
    pub mode_allow_override: Sourced<Override>,
    /// Every rule that matches: of the mode rules the one that wins first; then the others by type, in the order in which
    /// they hold.
    pub rules: Vec<RuleMatch>,
    /// The general mode, as it ranks among those rules.
    #[serde(skip)]
    pub general_mode: GeneralMode,
    /// The effective mode.
    pub mode: Mode,
    /// Where it came from.
    pub mode_from: ModeSource,
    /// The list that holds the client, of those that are read.
    pub list: Option<List>,
    /// The entry behind that.
    pub list_entry: Option<ListMatch>,
    /// Every entry that is about the client, also those that don't count, with the reason; at most
    /// [`LIST_ENTRIES_SHOWN_MAX`](crate::LIST_ENTRIES_SHOWN_MAX).
    pub list_entries: Vec<CoveringEntry>,
    /// How many such entries there are.
    pub list_entry_count: usize,
    /// The path as locations and conditions see it.
    pub normalised_path: String,
    /// The same in numbers, as [`Policy::resolve`] gives it.
    #[serde(skip)]
    pub resolution: Resolution,
}

/// What a server or location decides about modes, before any request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocationModes {
    /// The local mode, where no header chooses another.
    pub local_mode: Sourced<Mode>,
    /// The override policy.
    pub mode_allow_override: Sourced<Override>,
    /// Names of the headers that may choose another local mode, those of the closest context first.
    pub headers: Vec<String>,
}

/// Who set a value, in words.
fn name_of(set_by: SetBy, server: &str, location_path: Option<&str>) -> String {
    match set_by {
        SetBy::Environment => "environment".to_owned(),
        SetBy::Http => "http".to_owned(),
        SetBy::Server => format!("server {server}"),
        SetBy::Location => format!("location {}", location_path.unwrap_or_default()),
        SetBy::Default => "default".to_owned(),
    }
}

impl Policy {
    /// The modes of a location, own or inherited. `None` if no location has that number.
    pub fn location_modes(&self, number: LocationIndex) -> Option<LocationModes> {
        let location = self.locations.get(number.0 as usize)?;
        let server = self.server_name(ServerIndex(location.server));
        let name = |set_by| name_of(set_by, server, self.location_path(number));
        let header = |map: &HeaderMap| String::from_utf8_lossy(&map.name).into_owned();
        Some(LocationModes {
            local_mode: Sourced { value: location.local_mode.0, from: name(location.local_mode.1) },
            mode_allow_override: Sourced {
                value: location.allow_override.0,
                from: name(location.allow_override.1),
            },
            headers: location.maps.iter().map(header).collect(),
        })
    }

    /// Tells how [`Policy::resolve`] comes to its answer. Allocates, and looks at every rule.
    pub fn explain(&self, facts: &RequestFacts<'_>, client: IpAddr, now_unix_seconds: u64) -> Explanation {
        self.explain_client(facts, &client.into(), now_unix_seconds)
    }

    /// The contexts of a location, from the most global one on.
    fn contexts(&self, location: LocationIndex) -> Vec<ContextSettings> {
        let http = &self.source.http;
        let mut contexts = vec![ContextSettings::new("http".to_owned(), http)];
        if http.mode_from_environment {
            contexts[0].mode = None;
            let environment = ContextSource { mode: http.mode, ..ContextSource::default() };
            contexts.push(ContextSettings::new("environment".to_owned(), &environment));
        }
        let Some((server, index)) = self.location_position(location) else { return contexts };
        let server = &self.source.servers[server];
        contexts.push(ContextSettings::new(format!("server {}", server.name), &server.context));
        if let Some(location) = index.and_then(|index| server.locations.get(index)) {
            contexts.push(ContextSettings::new(format!("location {}", location.path), &location.context));
        }
        contexts
    }

    /// The same for a client of whom more is known than the address.
    pub fn explain_client(
        &self,
        facts: &RequestFacts<'_>,
        client: &Client,
        now_unix_seconds: u64,
    ) -> Explanation {
        let resolution = self.resolve_client(&mut Scratch::default(), facts, client, now_unix_seconds);
        let location = &self.locations[resolution.location.0 as usize];
        let (local, set_by) = location.mapped_mode(facts.headers).unwrap_or(location.local_mode);
        let (policy, policy_set_by) = location.allow_override;
        let (mut host, mut path) = (Vec::new(), PathScratch::default());
        let host = Host::read(facts.host, &mut host);
        let path = Path::normalise(facts.path, &mut path);
        let server = self.server_name(resolution.server).to_owned();
        let location_path = self.location_path(resolution.location).map(str::to_owned);
        let name = |set_by| name_of(set_by, &server, location_path.as_deref());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let by_header = location.mapped_by(facts.headers);
        let contexts = self.contexts(resolution.location);
        let disabled_by = contexts.iter().rev().find(|context| context.disable_acl.is_some());
        let disabled_by = disabled_by.filter(|_| location.disable_acl).map(|context| &*context.context);
        let (list_entries, list_entry_count) =
            self.covering_entries(client, &resolution, now_unix_seconds, disabled_by);
        let of_rules = Facts { request: facts, host, path, location };
        let (rules, general_mode) = self.rules.explain(&of_rules, policy, local, idle(&resolution));
        Explanation {
            list_entries,
            list_entry_count,
            contexts,
            server_by: server_by(&self.source.servers[resolution.server.0 as usize], host.name),
            local_mode_by_header: by_header
                .map(|(header, contains)| HeaderMatch { header: text(header), contains: text(contains) }),
            application: resolution.application,
            local_mode: Sourced { value: local, from: name(set_by) },
            mode_allow_override: Sourced { value: policy, from: name(policy_set_by) },
            rules,
            general_mode,
            mode: resolution.mode,
            mode_from: resolution.mode_source,
            list: resolution.list,
            list_entry: self.list_match(client, &resolution, now_unix_seconds),
            normalised_path: String::from_utf8_lossy(path.bytes).into_owned(),
            resolution,
            location: location_path.clone(),
            server: server.clone(),
        }
    }
}

/// Why no rule but those of modes runs for a request, if none does; of denied ones masks still hold.
const fn idle(resolution: &Resolution) -> Option<Idle> {
    match (resolution.stage, resolution.mode) {
        (Stage::PassUninspected, Mode::Off) => Some(Idle::Off),
        (Stage::PassUninspected, _) => Some(Idle::Allowed),
        (Stage::BlockNow(_), _) => Some(Idle::Denied),
        (Stage::Inspect { .. }, _) => None,
    }
}

/// Why rules don't run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idle {
    Off,
    Allowed,
    Denied,
}

/// Why `server`, which was found to answer `name`, does.
fn server_by(server: &ServerSource, name: &[u8]) -> ServerBy {
    let patterns = || server.hosts.iter().filter_map(|host| Some((host, hosts::pattern(host).ok()?)));
    if let Some((host, _)) = patterns().find(|(_, pattern)| pattern.as_bytes() == name) {
        return ServerBy::Exact(host.clone());
    }
    // What follows the star begins with the dot that has to be there.
    let covers = |pattern: &str| pattern.strip_prefix('*').is_some_and(|end| name.ends_with(end.as_bytes()));
    let covering = patterns().filter(|(_, pattern)| covers(pattern));
    match covering.max_by_key(|(_, pattern)| pattern.len()) {
        Some((host, _)) => ServerBy::Wildcard(host.clone()),
        None if server.default => ServerBy::Default,
        None => ServerBy::First,
    }
}

impl Serialize for ModeSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
